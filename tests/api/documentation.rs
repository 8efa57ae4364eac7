//! Tests of the web page, the API reference and their files.

mod examples;
mod openapi;

use std::io::Read;

use flate2::read::GzDecoder;

use tests::service::{Api, Response, json};

/// The header `Accept` of a browser.
const BROWSER: (&str, &str) =
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8");

/// Returns the paths of the scripts and style sheets that a page loads.
fn assets_of(page: &str) -> Vec<&str> {
    let tags = page.split('<').filter(|tag| tag.starts_with("script") || tag.starts_with("link"));
    let values = tags.flat_map(|tag| tag.split([' ', '>']));
    let values = values.filter_map(|attribute| {
        attribute.strip_prefix("src=\"").or(attribute.strip_prefix("href=\""))
    });
    values
        .filter_map(|value| value.strip_suffix('"'))
        .filter(|value| !value.starts_with("data:"))
        .collect()
}

/// Checks the headers that every page and file has.
#[track_caller]
fn assert_security_headers(api: &Api, response: &Response) {
    let live = api.url().replace("http:", "ws:");
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' {live}; \
         img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    assert_eq!(response.header("content-security-policy"), policy);
    assert_eq!(response.header("x-content-type-options"), "nosniff");
    assert_eq!(response.header("referrer-policy"), "no-referrer");
    assert_eq!(response.header("cache-control"), "no-cache");
    assert_eq!(response.header("vary"), "Accept, Accept-Encoding");
}

#[tokio::test]
async fn a_browser_gets_the_web_page_and_other_clients_the_index() {
    let api = Api::start_isolated().await;
    for accept in [
        BROWSER.1,
        "text/html",
        "text/*",
        "application/json;q=0.5, text/html;q=0.6",
        "TEXT/HTML ; Q=1, */*;q=0.9",
    ] {
        let response = api.send("GET", "/", &[("accept", accept)], "").await;
        assert_eq!(
            (response.status.as_u16(), response.header("content-type")),
            (200, "text/html; charset=utf-8"),
            "{accept}"
        );
        assert!(response.text.starts_with("<!doctype html>"), "{accept}");
        assert_security_headers(&api, &response);
    }
    for accept in [
        "*/*",
        "application/json",
        "text/html;q=0.5, application/json",
        "text/html;q=0, */*",
        "image/png",
        "",
    ] {
        let response = api.send("GET", "/", &[("accept", accept)], "").await;
        let index = json!({
            "profiles": "/profiles",
            "conversations": "/conversations",
            "documentation": "/docs",
            "openapi": "/openapi.json",
        });
        assert_eq!(response.expect(200), index, "{accept:?}");
        assert_eq!(response.header("content-type"), "application/json", "{accept:?}");
        assert_security_headers(&api, &response);
        for path in index.as_object().expect("an object").values() {
            api.get(path.as_str().expect("a path")).await.expect_status(200);
        }
    }
}

#[tokio::test]
async fn each_page_loads_only_files_that_the_service_serves() {
    let api = Api::start_isolated().await;
    for (page, least) in [("/", 4), ("/docs", 3)] {
        let response = api.send("GET", page, &[BROWSER], "").await;
        let paths = assets_of(&response.text);
        assert!(paths.len() >= least, "{page} loads {paths:?}");
        for path in paths {
            let file = api.get(path).await;
            file.expect_status(200);
            let expected = if path.ends_with(".css") {
                "text/css; charset=utf-8"
            } else {
                "text/javascript; charset=utf-8"
            };
            assert_eq!(file.header("content-type"), expected, "{path}");
            assert_security_headers(&api, &file);
            let imports = file.text.lines().filter(|line| line.starts_with("import "));
            for import in imports.filter_map(|line| line.split('"').nth(1)?.strip_prefix("./")) {
                api.get(&format!("/assets/{import}")).await.expect_status(200);
            }
        }
    }
}

#[tokio::test]
async fn an_unknown_file_is_not_found() {
    let api = Api::start_isolated().await;
    for path in [
        "/assets/none.js",
        "/docs/none",
        "/assets/index.html",
        "/docs/..%2Fopenapi.json",
        "/docs/swagger-ui.js",
    ] {
        api.get(path).await.problem(404);
    }
}

#[tokio::test]
async fn a_client_with_the_current_file_gets_304() {
    let api = Api::start_isolated().await;
    for path in ["/", "/assets/app.js", "/docs", "/docs/swagger-ui-bundle.js", "/openapi.json"] {
        let tag = api.get(path).await.header("etag").to_owned();
        assert!(tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"'), "{tag}");
        for same in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
            let response = api.send("GET", path, &[("if-none-match", &same)], "").await;
            assert_eq!((response.status.as_u16(), response.text.as_str()), (304, ""), "{path}");
            assert_eq!(response.header("etag"), tag);
            assert_security_headers(&api, &response);
        }
        let gzip = api
            .send("GET", path, &[("accept-encoding", "gzip")], "")
            .await
            .header("etag")
            .to_owned();
        assert_ne!(gzip, tag, "a strong tag belongs to one encoding");
        for other in [&gzip, "\"other\"", tag.trim_matches('"')] {
            api.send("GET", path, &[("if-none-match", other)], "").await.expect_status(200);
        }
    }
    let page = api.send("GET", "/", &[BROWSER], "").await;
    assert_ne!(page.header("etag"), api.get("/").await.header("etag"));
}

#[tokio::test]
async fn a_client_that_accepts_gzip_gets_it() {
    let api = Api::start_isolated().await;
    for path in ["/", "/assets/app.css", "/docs", "/docs/swagger-ui-bundle.js", "/openapi.json"] {
        let plain = api.get(path).await;
        assert_eq!(plain.header("content-encoding"), "");
        for accepted in ["gzip", "br, gzip;q=0.5", "*", "GZIP"] {
            let response = api.send("GET", path, &[("accept-encoding", accepted)], "").await;
            assert_eq!(response.header("content-encoding"), "gzip", "{path} {accepted}");
            let mut text = String::new();
            GzDecoder::new(response.bytes.as_slice()).read_to_string(&mut text).expect("gzip");
            assert!(text == plain.text, "{path} {accepted}");
        }
        for accepted in ["identity", "gzip;q=0", "br", "gzip;q=0, *"] {
            let response = api.send("GET", path, &[("accept-encoding", accepted)], "").await;
            assert_eq!(response.header("content-encoding"), "", "{path} {accepted}");
        }
        // Lambda returns at most 6 MB, and binary bodies in base64.
        assert!(plain.text.len() * 4 / 3 < 6_000_000, "{path} is too large for Lambda");
    }
}

#[tokio::test]
async fn the_documentation_needs_no_token_but_the_api_does() {
    let api = Api::closed().await;
    for path in ["/", "/assets/app.css", "/docs", "/openapi.json"] {
        api.get(path).await.expect_status(200);
    }
    api.get("/profiles").await.problem(401);
}
