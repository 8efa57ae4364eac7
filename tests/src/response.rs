//! A response of the service, and the checks that most tests make.

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// A response of the service.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as text; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// The body.
    pub bytes: Vec<u8>,
}

impl Response {
    /// Returns the body as JSON, for any status.
    ///
    /// # Panics
    /// If the body is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text))
    }

    /// Returns a header, or "" if it is absent.
    ///
    /// # Panics
    /// If the header is not ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("an ASCII header"))
    }

    /// Checks the status.
    ///
    /// # Panics
    /// If the status differs.
    #[track_caller]
    pub fn expect_status(&self, status: u16) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
    }

    /// Checks the status. Returns the JSON body, `null` if it is empty.
    ///
    /// # Panics
    /// If the status differs, or the body is not JSON.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        self.expect_status(status);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// Checks the status, and that the body is problem details (RFC 9457) with the members that
    /// this service adds. Returns the body.
    ///
    /// # Panics
    /// If a check fails.
    #[track_caller]
    pub fn problem(&self, status: u16) -> Value {
        let problem = self.expect(status);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], "about:blank");
        for member in ["title", "detail", "code", "request_id"] {
            assert!(problem[member].is_string(), "{member}: {problem}");
        }
        problem
    }

    /// Checks for problem details with this code. Returns the body.
    ///
    /// # Panics
    /// If a check fails.
    #[track_caller]
    pub fn expect_code(&self, status: u16, code: &str) -> Value {
        let problem = self.problem(status);
        assert_eq!(problem["code"], code, "{problem}");
        problem
    }

    /// Checks for a 422 that lists invalid fields, each with a reason. Returns their names, sorted.
    ///
    /// # Panics
    /// If a check fails.
    #[track_caller]
    #[must_use]
    pub fn invalid_fields(&self) -> Vec<String> {
        let problem = self.expect_code(422, "invalid");
        let errors = problem["errors"].as_object().unwrap_or_else(|| panic!("{problem}"));
        let has_reason = |why: &Value| why.as_array().is_some_and(|why| !why.is_empty());
        assert!(errors.values().all(has_reason), "{problem}");
        let mut fields: Vec<String> = errors.keys().cloned().collect();
        fields.sort();
        fields
    }
}
