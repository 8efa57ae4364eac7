//! The handler of the documentation: the browsable API, the reference, and the OpenAPI document, all from the binary itself.

use std::io::{Read, Write};
use std::sync::LazyLock;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use lambda_http::http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue,
    IF_NONE_MATCH, VARY,
};
use lambda_http::http::{HeaderName, StatusCode};
use lambda_http::{Body, Request, RequestExt, Response};
use sha2::{Digest, Sha256};
use shared::Error;

use crate::{Reply, openapi};

/// Only what this service itself serves; Swagger UI needs no more than our own page does.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const CSS: &str = "text/css; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const JSON: &str = "application/json";

/// A file as `build.rs` left it.
macro_rules! compressed {
    ($name:literal) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".gz"))
    };
}

/// Every file: its path, its media type, and its content, compressed.
const FILES: [(&str, &str, &[u8]); 8] = [
    ("/assets/api.js", JAVASCRIPT, compressed!("api.js")),
    ("/assets/app.css", CSS, compressed!("app.css")),
    ("/assets/app.js", JAVASCRIPT, compressed!("app.js")),
    ("/assets/docs.js", JAVASCRIPT, compressed!("docs.js")),
    ("/assets/ui.js", JAVASCRIPT, compressed!("ui.js")),
    ("/docs", HTML, compressed!("docs.html")),
    ("/docs/swagger-ui-bundle.js", JAVASCRIPT, compressed!("swagger-ui-bundle.js")),
    ("/docs/swagger-ui.css", CSS, compressed!("swagger-ui.css")),
];
const INDEX_PAGE: &[u8] = compressed!("index.html");

const INDEX: &str =
    r#"{"profiles":"/profiles","conversations":"/conversations","documentation":"/docs","openapi":"/openapi.json"}"#;

/// The OpenAPI document, made when it is first asked for.
static DOCUMENT: LazyLock<Vec<u8>> = LazyLock::new(|| compress(&openapi::document()));

/// `GET /`, `GET /docs`, `GET /openapi.json`, and the files they load.
pub fn get_documentation(request: &Request) -> Reply {
    match request.raw_http_path() {
        "/" if prefers_html(&list(request.headers(), ACCEPT)) => answer(request, HTML, INDEX_PAGE),
        "/" => answer(request, JSON, &compress(INDEX)),
        "/openapi.json" => answer(request, JSON, &DOCUMENT),
        path => match FILES.iter().find(|(file, ..)| *file == path) {
            Some((_, content_type, compressed)) => answer(request, content_type, compressed),
            None => Err(Error::NotFound("file")),
        },
    }
}

/// 200 with the content, compressed where the client can read that, or 304 where it has it already.
fn answer(request: &Request, content_type: &'static str, compressed: &[u8]) -> Reply {
    let gzip = quality(&list(request.headers(), ACCEPT_ENCODING), &["gzip"], "*") > Some(0);
    // Two representations, so two strong tags (RFC 9110, section 8.8.3.3).
    let etag = format!("\"{:.32}{}\"", hex(&Sha256::digest(compressed)), if gzip { "-gzip" } else { "" });
    let fresh = list(request.headers(), IF_NONE_MATCH).split(',').any(|tag| {
        let tag = tag.trim();
        tag == "*" || tag.trim_start_matches("W/") == etag
    });
    let mut response = Response::new(match (fresh, gzip) {
        (true, _) => Body::Empty,
        (false, true) => Body::Binary(compressed.to_vec()),
        (false, false) => Body::Binary(decompress(compressed)?),
    });
    let headers = response.headers_mut();
    headers.insert(ETAG, HeaderValue::try_from(etag).map_err(Error::internal)?);
    // The names of files stay when their content changes, so a client asks each time whether it has.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    if fresh {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

/// Whether a client would rather have HTML than JSON. One that takes anything, as curl does, has JSON.
fn prefers_html(accept: &str) -> bool {
    quality(accept, &["text/html", "text/*"], "*/*") > quality(accept, &["application/json", "application/*"], "*/*")
}

/// How much a client wants one of these, the most specific first, in thousandths; `None` when it does not name it
/// (RFC 9110, section 12.4.2).
fn quality(accepted: &str, names: &[&str], anything: &str) -> Option<u16> {
    let named = |name: &str| {
        accepted.split(',').find_map(|item| {
            let (item, parameters) = item.split_once(';').unwrap_or((item, "q=1"));
            let mut parameters = parameters.split(';').map(|parameter| parameter.trim().to_ascii_lowercase());
            let weight = parameters.find_map(|parameter| parameter.strip_prefix("q=")?.parse::<f32>().ok());
            // Out of a thousand, because that is all the digits a weight may have, and floats do not compare.
            item.trim().eq_ignore_ascii_case(name).then(|| (weight.unwrap_or(1.0).clamp(0.0, 1.0) * 1000.0).round() as u16)
        })
    };
    names.iter().find_map(|name| named(name)).or_else(|| named(anything))
}

/// A header that is a list, however many lines it came in.
fn list(headers: &HeaderMap, name: HeaderName) -> String {
    let lines: Vec<&str> = headers.get_all(name).iter().filter_map(|line| line.to_str().ok()).collect();
    lines.join(",")
}

fn compress(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing into memory does not fail.
    encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()).unwrap_or_default()
}

fn decompress(compressed: &[u8]) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    GzDecoder::new(compressed).read_to_end(&mut content).map_err(Error::internal)?;
    Ok(content)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
