//! Generates events and requests, valid and invalid ones.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use local::template::Route;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::{collection, option};

use super::{MARK, Service};
use tests::service::{Value, json};

/// The largest request line and headers that API Gateway accepts, in bytes.
const MAX_HEAD: usize = 10_240;
const KEY: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

impl Service {
    fn route(&self) -> impl Strategy<Value = Route> + use<> {
        select(self.template.routes.clone())
    }

    /// Generates path parameters, decoded.
    fn parameter(&self) -> impl Strategy<Value = String> + use<> {
        let ids = vec![self.profile_id.clone(), self.conversation_id.clone()];
        let invalid = [
            "",
            "-1",
            "+1",
            "01",
            "18446744073709551616",
            "999999999999",
            "1000000000000",
            "index.html",
            "../x",
            "%2F",
            "a?b#c",
        ];
        prop_oneof![
            4 => select(ids),
            2 => (0..15_u64).prop_map(|seq| seq.to_string()),
            1 => one_of(&invalid),
            1 => odd_text(),
        ]
    }

    /// Generates queries, as they are in a URL.
    fn query(&self) -> impl Strategy<Value = String> + use<> {
        let values = ["0", "1", "100", "101", "1e3", "%31", "%", "%ff", "+", " 1"];
        let value = prop_oneof![self.parameter(), one_of(&values)];
        let name = prop_oneof![4 => one_of(&["limit", "before", "after"]), 1 => odd_text()];
        let pair = (name, value).prop_map(|(name, value)| format!("{name}={value}"));
        let pairs = collection::vec(pair, 0..3).prop_map(|pairs| pairs.join("&"));
        prop_oneof![4 => pairs, 1 => odd_text()]
    }

    /// Generates bodies of requests.
    fn body(&self) -> impl Strategy<Value = Vec<u8>> + use<> {
        let author = self.profile_id.clone();
        let valid = vec![
            json!({ "first_name": "Ada" }),
            json!({ "subject": "x", "author_id": author }),
            json!({ "author_id": author, "text": "x", "metadata": { "": [1] } }),
            json!({ "text": "y" }),
        ];
        let invalid = [
            "",
            "{",
            "{}{}",
            "nul",
            "\u{feff}{}",
            r#"{"text":"\ud800"}"#,
            r#"{"metadata":{"\udfff":1}}"#,
            r#"{"text":1e999}"#,
            r#"{"metadata":{"n":-0.1e-999999999999}}"#,
            r#"{"first_name":"a","first_name":"b"}"#,
            r#"{"metadata":{"a":{"b":1,"b":2}}}"#,
        ];
        let repeated = vec![
            ("[", 200),
            ("[", 20_000),
            ("{\"metadata\":", 127),
            ("{\"a\":", 9_000),
            ("9", 30_000),
            (" ", 96 * 1024 + 1),
        ];
        let not_utf_8 = vec![b"{\"text\":\"\xff\"}".to_vec(), vec![0xc3, 0x28], vec![0]];
        let generated = json_object(self.profile_id.clone());
        prop_oneof![
            6 => generated.prop_map(|body| body.to_string().into_bytes()),
            2 => select(valid).prop_map(|body| body.to_string().into_bytes()),
            1 => one_of(&invalid).prop_map(String::into_bytes),
            1 => select(not_utf_8),
            1 => select(repeated).prop_map(|(text, times)| text.repeat(times).into_bytes()),
            1 => collection::vec(any::<u8>(), 0..200),
        ]
    }

    /// Generates events that API Gateway could send to a function, and whether authentication is
    /// disabled. The body is valid base64 if the event says so, and the path begins with `/`, since
    /// API Gateway writes both.
    pub(super) fn event(&self) -> impl Strategy<Value = (Route, Value, bool)> + use<> {
        let parts = (
            self.route(),
            collection::vec(option::weighted(0.95, self.parameter()), 2),
            self.query(),
            headers(),
        );
        let rest = (
            self.body(),
            any::<bool>(),
            collection::vec(odd_text(), 0..3),
            collection::vec(prop::bool::weighted(0.9), 7),
            option::of(claims()),
            any::<bool>(),
        );
        (parts, rest).prop_map(|((route, parameters, query, headers), rest)| {
            let (body, base64, cookies, present, claims, open) = rest;
            let mut event = event(&route, &parameters, &query, &headers);
            let text = String::from_utf8(body.clone()).ok().filter(|_| !base64);
            event["isBase64Encoded"] = json!(text.is_none());
            event["body"] = json!(text.unwrap_or_else(|| BASE64_STANDARD.encode(&body)));
            event["cookies"] = json!(cookies);
            if let Some(claims) = claims {
                event["requestContext"]["authorizer"] =
                    json!({ "jwt": { "claims": claims, "scopes": null } });
            }
            let optional = [
                "cookies",
                "headers",
                "queryStringParameters",
                "pathParameters",
                "stageVariables",
                "rawQueryString",
            ];
            for (name, _) in optional.iter().zip(&present).filter(|(_, present)| !**present) {
                event.as_object_mut().expect("an object").remove(*name);
            }
            if !present[6] {
                event["body"] = Value::Null;
                event["isBase64Encoded"] = json!(false);
            }
            (route, event, open)
        })
    }

    /// Generates requests that a client could send to the development server.
    pub(super) fn request(
        &self,
    ) -> impl Strategy<Value = (String, String, BTreeMap<String, String>, Vec<u8>)> + use<> {
        let parts = (
            self.route(),
            collection::vec(self.parameter(), 2),
            option::of(self.query()),
            headers(),
            self.body(),
        );
        parts.prop_map(|(route, parameters, query, headers, body)| {
            let mut parameters = parameters.iter().map(|text| percent_encode(text));
            let path = route.path.split('/').map(|part| match part.starts_with('{') {
                true => parameters.next().unwrap_or_default(),
                false => part.to_owned(),
            });
            let path = path.collect::<Vec<_>>().join("/");
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            (route.method, path + &query, headers, body)
        })
    }
}

/// Builds an event without body, cookies and claims. Parameters that are `None` are left out.
fn event(
    route: &Route,
    parameters: &[Option<String>],
    query: &str,
    headers: &BTreeMap<String, String>,
) -> Value {
    let (mut raw_path, mut path) = (String::new(), BTreeMap::new());
    let mut parameters = parameters.iter();
    for part in route.path.split('/').skip(1) {
        raw_path.push('/');
        match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            None => raw_path += part,
            Some(name) => {
                if let Some(Some(value)) = parameters.next() {
                    path.insert(name.to_owned(), value.clone());
                    raw_path += value;
                }
            }
        }
    }
    let route_key = format!("{} {}", route.method, route.path);
    json!({
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": raw_path,
        "rawQueryString": query,
        "headers": headers,
        "queryStringParameters": { "x": query },
        "pathParameters": path,
        "stageVariables": null,
        "requestContext": {
            "accountId": "123456789012", "apiId": "api", "domainName": headers.get("host"),
            "domainPrefix": "api",
            "http": {
                "method": route.method, "path": raw_path, "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1", "userAgent": headers.get("user-agent"),
            },
            "requestId": "id", "routeKey": route_key, "stage": "$default",
            "time": "12/Mar/2020:19:03:58 +0000", "timeEpoch": 1_583_348_638_390_i64,
        },
    })
}

fn claims() -> impl Strategy<Value = BTreeMap<&'static str, String>> {
    let values = ["", "[admin]", "chat/admin", "[", "[admin other]"];
    let value = prop_oneof![2 => odd_text(), 1 => one_of(&values)];
    let names = vec!["sub", "scope", "cognito:groups", "aud", "iss", ""];
    collection::btree_map(select(names), value, 0..4)
}

fn headers() -> impl Strategy<Value = BTreeMap<String, String>> {
    let known = [
        "accept",
        "accept-encoding",
        "authorization",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "idempotency-key",
        "if-none-match",
        "origin",
        "range",
        "transfer-encoding",
        "user-agent",
        "x-amzn-trace-id",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-http-method-override",
    ];
    let name = prop_oneof![4 => one_of(&known), 1 => "[a-z!#$%&'*+.^_`|~0-9-]{1,30}"];
    let marked = (odd_text(), odd_text()).prop_map(|(one, other)| format!("{one}{MARK}{other}"));
    let value = prop_oneof![
        3 => marked,
        // Valid and invalid hosts.
        1 => "(xn--)?[a-z0-9]{0,3}(\\.(xn--)?[0-9a-fx]{0,3}){0,4}\\.?(:[0-9]{0,5})?",
        1 => collection::vec(odd_text(), 2..4).prop_map(|values| values.join(",")),
        1 => (1..9_000_usize).prop_map(|length| "a".repeat(length)),
    ];
    let content_type = prop_oneof![
        8 => Just("application/json".to_owned()),
        1 => Just("application/merge-patch+json;charset=utf-8".to_owned()),
        1 => odd_text(),
    ];
    let key = prop_oneof![
        2 => Just(KEY.to_owned()),
        1 => Just(format!("\"{KEY}\"")),
        1 => odd_text(),
    ];
    let any = collection::btree_map(name, value, 0..8);
    let headers = (any, option::weighted(0.9, content_type), option::weighted(0.2, key));
    headers.prop_map(|(mut headers, content_type, key)| {
        headers.extend(content_type.map(|value| ("content-type".to_owned(), value)));
        headers.extend(key.map(|value| ("idempotency-key".to_owned(), value)));
        let mut left = MAX_HEAD - 2_000;
        headers.retain(|name, value| {
            let fits = name.len() + value.len() <= left;
            left -= if fits { name.len() + value.len() } else { 0 };
            fits
        });
        headers
    })
}

/// Generates JSON objects with known and unknown fields.
fn json_object(profile_id: String) -> impl Strategy<Value = Value> {
    let mut known = ["Ada", "1", "\u{0}", " ", "\u{200b}"].map(str::to_owned).to_vec();
    known.extend([profile_id, "x".repeat(101), "é".repeat(5001)]);
    let leaf = prop_oneof![
        4 => prop_oneof![2 => select(known), 1 => odd_text()].prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    let fields =
        ["first_name", "last_name", "job_title", "subject", "author_id", "text", "metadata"];
    let read_only = ["id", "points", "is_admin", "seq", "type", "listing", "pk", ""];
    let names = prop_oneof![8 => one_of(&fields), 1 => one_of(&read_only), 1 => odd_text()];
    let object = move |value: BoxedStrategy<Value>| {
        collection::btree_map(names.clone(), value, 0..5).prop_map(|object| json!(object))
    };
    let nested = object.clone();
    let value = leaf.prop_recursive(4, 24, 5, move |value| {
        let list = collection::vec(value.clone(), 0..5).prop_map(Value::from);
        prop_oneof![list, nested(value)]
    });
    object(value.boxed())
}

fn one_of(texts: &[&str]) -> impl Strategy<Value = String> + Clone + use<> {
    select(texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())
}

/// Generates texts that programs often handle wrongly.
fn odd_text() -> impl Strategy<Value = String> + Clone {
    let known = [
        "", " ", "\"", "é", "\u{feff}", "a b", ":99999", "[::1", "a\tb", "\u{202e}", "💥", "<>#",
        "%00", "\r\n", "null",
    ];
    prop_oneof![2 => "[ -~]{0,12}", 1 => "\\PC{0,8}", 1 => any::<String>(), 1 => one_of(&known)]
}

/// Percent-encodes each byte that is not an ASCII letter or digit.
fn percent_encode(text: &str) -> String {
    let encode = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
