//! Prints the OpenAPI document, to be committed as `assets/openapi.json`.

fn main() {
    print!("{}", documentation::openapi::document());
}
