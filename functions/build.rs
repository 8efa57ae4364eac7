//! Compresses, once and as well as it can be done, the files that `get-documentation` serves: those in `assets/`, and Swagger
//! UI's from the archive in its crate. They are in `OUT_DIR` afterwards, each with `.gz` at the end of its name.

use std::error::Error;
use std::fs::{File, read, read_dir};
use std::io::{Cursor, Read, Write};
use std::path::PathBuf;
use std::{env, io};

use flate2::Compression;
use flate2::write::GzEncoder;
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

/// What the reference needs of Swagger UI.
const SWAGGER_UI: [&str; 2] = ["swagger-ui-bundle.js", "swagger-ui.css"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=assets");
    for file in read_dir("assets")? {
        let file = file?;
        compress(&file.file_name().to_string_lossy(), &read(file.path())?)?;
    }
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    for index in 0..archive.len() {
        let mut file = archive.by_index(index)?;
        // The archive's one folder is named after the version.
        let path = file.name()?.into_owned();
        if let Some(name) = SWAGGER_UI.into_iter().find(|name| path.ends_with(&format!("/dist/{name}"))) {
            let mut content = Vec::new();
            file.read_to_end(&mut content)?;
            compress(name, &content)?;
        }
    }
    Ok(())
}

fn compress(name: &str, content: &[u8]) -> io::Result<()> {
    let folder = env::var_os("OUT_DIR").map(PathBuf::from).unwrap_or_default();
    let mut encoder = GzEncoder::new(File::create(folder.join(format!("{name}.gz")))?, Compression::best());
    encoder.write_all(content)?;
    encoder.finish().map(drop)
}
