//! Which `Host` and `Origin` headers a server accepts.
//!
//! A web page that is open on the developer's machine can send requests to local ports. It cannot
//! read the responses of another origin, unless the page's own host name resolves to 127.0.0.1 (DNS
//! rebinding): then the browser takes the port for the page's own server. Such requests name the
//! page's host in `Host`, so a server that accepts only its own names is safe.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HOST, HeaderValue};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Response, StatusCode};
use serde_json::json;

/// The name of the host machine in a container of Docker. The public DNS has no names under
/// `internal`.
const DOCKER_HOST: &str = "host.docker.internal";

/// The hosts that a request may name: 127.0.0.1, `localhost` and \[::1\], with any port, and those
/// that are added.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowedHosts {
    address: Option<IpAddr>,
    containers: bool,
}

impl AllowedHosts {
    /// Also allows the address that the server listens on. If it listens on all addresses, allows
    /// every IP address: DNS rebinding needs a name.
    #[must_use]
    pub fn with_address(self, address: IpAddr) -> Self {
        Self { address: Some(address), ..self }
    }

    /// Also allows the name by which containers reach this machine.
    #[must_use]
    pub fn with_containers(self) -> Self {
        Self { containers: true, ..self }
    }

    /// Returns whether a request has exactly one `Host` header and it names an allowed host.
    #[must_use]
    pub fn allow(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(HOST).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return false };
        let Some(authority) = value.to_str().ok().and_then(parse_authority) else { return false };
        let host = authority.host();
        let name = |name: &str| host.eq_ignore_ascii_case(name);
        name("localhost")
            || (self.containers && name(DOCKER_HOST))
            || parse_address(host).is_some_and(|address| self.allow_address(address))
    }

    fn allow_address(&self, address: IpAddr) -> bool {
        [Ipv4Addr::LOCALHOST.into(), IpAddr::from(Ipv6Addr::LOCALHOST)].contains(&address)
            || self.address.is_some_and(|own| own == address || own.is_unspecified())
    }
}

/// Parses `host` or `host:port`. A user name is refused.
fn parse_authority(text: &str) -> Option<Authority> {
    text.parse().ok().filter(|_| !text.contains('@'))
}

fn parse_address(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse().ok().map(IpAddr::V6),
        None => host.parse().ok().map(IpAddr::V4),
    }
}

/// Returns an error response of a server in front of the functions, in API Gateway's shape.
pub(crate) fn error_response(status: StatusCode, message: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(json!({ "message": message }).to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Returns the response to a request that names a host that is not allowed.
pub(crate) fn misdirected() -> Response<Body> {
    error_response(
        StatusCode::MISDIRECTED_REQUEST,
        "Host not allowed: use localhost, 127.0.0.1, [::1] or the address given with --host",
    )
}

/// Parses an origin, as browsers send it in `Origin`: scheme, host in lower case, and the port
/// unless it is the scheme's default.
///
/// # Errors
/// Why this is not an origin that CORS can allow, in one line.
pub fn parse_origin(text: &str) -> Result<HeaderValue, String> {
    if text == "*" {
        let help = "pass each origin that may call the API, such as http://localhost:5173";
        return Err(format!("'*' is not supported: {help}"));
    }
    let origin = normal_origin(text).and_then(|origin| HeaderValue::try_from(origin).ok());
    origin.ok_or_else(|| {
        let form = "scheme://host[:port] with http or https and without a path";
        format!("'{text}' is not an origin: pass {form}, such as http://localhost:5173")
    })
}

fn normal_origin(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let authority = parse_authority(rest)?;
    // The port that follows the host must be a number of 16 bits.
    let port = match rest.strip_prefix(authority.host())? {
        "" => None,
        port => Some(port.strip_prefix(':')?.parse::<u16>().ok()?),
    };
    let host = authority.host().to_ascii_lowercase();
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if host.is_empty() || !(host.chars().all(is_name) || parse_address(&host).is_some()) {
        return None;
    }
    Some(match port.filter(|port| *port != default_port) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(hosts: AllowedHosts, values: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HOST, value.parse().expect("a header value"));
        }
        hosts.allow(&headers)
    }

    #[test]
    fn only_the_names_of_this_machine_are_allowed() {
        let hosts = AllowedHosts::default();
        for host in ["127.0.0.1", "127.0.0.1:3000", "localhost", "LocalHost:1", "[::1]", "[::1]:9"]
        {
            assert!(allows(hosts, &[host]), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:3000",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "localhost@evil.example",
            "evil@localhost",
            "192.168.1.5:3000",
            "host.docker.internal:8000",
            "[::2]",
            "localhost,evil.example",
        ] {
            assert!(!allows(hosts, &[host]), "{host}");
        }
        assert!(!allows(hosts, &[]), "no Host");
        assert!(!allows(hosts, &["localhost", "evil.example"]), "two Hosts");
        assert!(allows(hosts.with_containers(), &["host.docker.internal:8000"]));
    }

    #[test]
    fn the_address_of_the_flag_is_allowed_and_all_addresses_if_it_means_all() {
        let one = AllowedHosts::default().with_address("192.168.1.5".parse().expect("an address"));
        assert!(allows(one, &["192.168.1.5:3000"]));
        assert!(!allows(one, &["192.168.1.6:3000"]));
        let all = AllowedHosts::default().with_address(Ipv4Addr::UNSPECIFIED.into());
        assert!(allows(all, &["192.168.1.6:3000"]) && allows(all, &["[fe80::1]:3000"]));
        assert!(!allows(all, &["evil.example:3000"]));
    }

    #[test]
    fn origins_are_written_as_browsers_send_them() {
        for (text, expected) in [
            ("http://localhost:5173", "http://localhost:5173"),
            ("HTTPS://Chat.Example", "https://chat.example"),
            ("https://chat.example:443", "https://chat.example"),
            ("http://[::1]:5173", "http://[::1]:5173"),
        ] {
            assert_eq!(
                parse_origin(text).as_ref().map(HeaderValue::as_bytes),
                Ok(expected.as_bytes())
            );
        }
    }

    #[test]
    fn what_is_not_an_origin_is_refused_in_one_line() {
        for text in [
            "*",
            "",
            "foo",
            "null",
            "http://",
            "localhost:5173",
            "ftp://localhost",
            "file:///index.html",
            "http://localhost:5173/",
            "http://localhost/app",
            "http://a@localhost",
            "http://localhost:",
            "http://localhost:99999",
            "http://local host",
            "http://localhost?x",
            "http://localhost#x",
            "http://*.example",
            "http://a b",
        ] {
            let error = parse_origin(text).expect_err(text);
            assert!(
                error.lines().count() == 1 && error.contains("http://localhost:5173"),
                "{error}"
            );
        }
    }
}
