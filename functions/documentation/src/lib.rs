//! The web page, the API reference and the OpenAPI document, served from the binary itself.
//!
//! A crate of its own, so that a change of a style sheet rebuilds one Lambda function only.
//!
//! - [`respond`]: the handler of the Lambda function [`FUNCTION`]
//! - [`openapi`]: generates `assets/openapi.json`, which is committed
//! - `assets/`: the page (`index.html`, its scripts from `app.js`, its style sheets `controls.css`
//!   and `app.css`), the reference (`docs.html`, `docs.js`), and `index.json`, the response to
//!   `GET /` for clients that prefer JSON
//! - `build.rs`: compresses and hashes the assets and Swagger UI at build time

pub mod openapi;

use std::io::Read;

use flate2::read::GzDecoder;
use functions::http::tickets::live_url;
use functions::http::{Error, Reply, respond_public};
use lambda_http::http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, VARY,
};
use lambda_http::http::{HeaderName, StatusCode};
use lambda_http::{Body, Request, RequestExt, Response};

/// The name of the Lambda function.
pub const FUNCTION: &str = "get-documentation";

/// Returns the Content-Security-Policy: allows only resources of this service, and connections to
/// the host of its WebSocket API.
fn policy(request: &HeaderMap) -> String {
    let url = live_url(request);
    // The origin: what precedes the path.
    let live = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' {live}; \
         img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
}

const CSS: &str = "text/css; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const JSON: &str = "application/json";

/// A file that `build.rs` has compressed and hashed.
struct File {
    media_type: &'static str,
    gzip: &'static [u8],
    /// The hash of `gzip`, in hexadecimal digits.
    hash: &'static str,
}

macro_rules! file {
    ($name:literal, $media_type:expr) => {
        File {
            media_type: $media_type,
            gzip: include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".gz")),
            hash: include_str!(concat!(env!("OUT_DIR"), "/", $name, ".hash")),
        }
    };
}

static INDEX_HTML: File = file!("index.html", HTML);
static INDEX_JSON: File = file!("index.json", JSON);

/// The other files, by path.
static FILES: [(&str, File); 22] = [
    ("/assets/access.js", file!("access.js", JAVASCRIPT)),
    ("/assets/api.js", file!("api.js", JAVASCRIPT)),
    ("/assets/app.css", file!("app.css", CSS)),
    ("/assets/app.js", file!("app.js", JAVASCRIPT)),
    ("/assets/changes.js", file!("changes.js", JAVASCRIPT)),
    ("/assets/controls.css", file!("controls.css", CSS)),
    ("/assets/conversations.js", file!("conversations.js", JAVASCRIPT)),
    ("/assets/dialogs.js", file!("dialogs.js", JAVASCRIPT)),
    ("/assets/docs.js", file!("docs.js", JAVASCRIPT)),
    ("/assets/inbox.js", file!("inbox.js", JAVASCRIPT)),
    ("/assets/list.js", file!("list.js", JAVASCRIPT)),
    ("/assets/live.js", file!("live.js", JAVASCRIPT)),
    ("/assets/log.js", file!("log.js", JAVASCRIPT)),
    ("/assets/members.js", file!("members.js", JAVASCRIPT)),
    ("/assets/messages.js", file!("messages.js", JAVASCRIPT)),
    ("/assets/poller.js", file!("poller.js", JAVASCRIPT)),
    ("/assets/profiles.js", file!("profiles.js", JAVASCRIPT)),
    ("/assets/ui.js", file!("ui.js", JAVASCRIPT)),
    ("/docs", file!("docs.html", HTML)),
    ("/docs/swagger-ui-bundle.js", file!("swagger-ui-bundle.js", JAVASCRIPT)),
    ("/docs/swagger-ui.css", file!("swagger-ui.css", CSS)),
    ("/openapi.json", file!("openapi.json", JSON)),
];

/// Responds to `GET /`, `GET /docs`, `GET /openapi.json` and requests for the pages' files.
pub fn respond(request: &Request) -> Response<Body> {
    respond_public(get_documentation, request)
}

fn get_documentation(request: &Request) -> Reply {
    let headers = request.headers();
    match request.raw_http_path() {
        "/" if prefers_html(&list(headers, ACCEPT)) => serve(headers, &INDEX_HTML),
        "/" => serve(headers, &INDEX_JSON),
        path => match FILES.iter().find(|(file, _)| *file == path) {
            Some((_, file)) => serve(headers, file),
            None => Err(shared::Error::NotFound("file").into()),
        },
    }
}

/// Returns 200 with the file, compressed if the client accepts gzip, or 304 if the client has it.
fn serve(request: &HeaderMap, file: &File) -> Reply {
    let gzip = quality(&list(request, ACCEPT_ENCODING), &["gzip"], "*") > Some(0);
    // Two representations, so two strong tags (RFC 9110, section 8.8.3.3).
    let etag = format!("\"{}{}\"", file.hash, if gzip { "-gzip" } else { "" });
    let fresh = list(request, IF_NONE_MATCH).split(',').any(|tag| {
        let tag = tag.trim();
        tag == "*" || tag.trim_start_matches("W/") == etag
    });
    let mut response = Response::new(match (fresh, gzip) {
        (true, _) => Body::Empty,
        (false, true) => Body::Binary(file.gzip.to_vec()),
        (false, false) => Body::Binary(decompress(file.gzip)?),
    });
    let headers = response.headers_mut();
    headers.insert(ETAG, HeaderValue::try_from(etag).map_err(Error::internal)?);
    // File names do not change with their content, so clients must revalidate.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    let policy = HeaderValue::try_from(policy(request)).map_err(Error::internal)?;
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    if fresh {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.media_type));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

/// Returns whether a client prefers HTML to JSON. Clients that accept anything (curl) get JSON.
fn prefers_html(accept: &str) -> bool {
    let html = quality(accept, &["text/html", "text/*"], "*/*");
    html > quality(accept, &["application/json", "application/*"], "*/*")
}

/// Returns the quality value (RFC 9110, section 12.4.2), in thousandths, of the first of `names`
/// that the list contains, otherwise that of `anything`. Returns `None` if it contains neither.
fn quality(accepted: &str, names: &[&str], anything: &str) -> Option<u16> {
    let named = |name: &str| {
        accepted.split(',').find_map(|item| {
            let (item, parameters) = item.split_once(';').unwrap_or((item, "q=1"));
            let mut parameters = parameters.split(';').map(|p| p.trim().to_ascii_lowercase());
            let weight = parameters.find_map(|p| p.strip_prefix("q=")?.parse::<f32>().ok());
            // A weight has at most three decimals, and floats do not compare.
            let thousandths = (weight.unwrap_or(1.0).clamp(0.0, 1.0) * 1000.0).round();
            item.trim().eq_ignore_ascii_case(name).then_some(thousandths as u16)
        })
    };
    names.iter().find_map(|name| named(name)).or_else(|| named(anything))
}

/// Returns a header that is a list, joined from all its lines.
fn list(headers: &HeaderMap, name: HeaderName) -> String {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.collect::<Vec<_>>().join(",")
}

fn decompress(gzip: &[u8]) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    GzDecoder::new(gzip).read_to_end(&mut content).map_err(Error::internal)?;
    Ok(content)
}
