//! The input of a handler: the table, the caller and the request.

use std::fmt::Display;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_http::http::header::{CONTENT_TYPE, IF_MATCH};
use lambda_http::http::{HeaderMap, HeaderName};
use lambda_http::{Context, Request, RequestExt};
use shared::{Caller, IdempotencyKey, IfMatch, Limit, Seq, Table, Time};
use tokio::time::Instant;

use super::auth::token_expiry;
use super::error::Error;

/// How long before the end of its invocation a request must be answered.
const MARGIN: Duration = Duration::from_secs(2);
/// The time that is assumed to be left for an invocation whose deadline is unknown.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// One request to one operation.
#[derive(Debug)]
pub struct Invocation {
    /// The table, as a handle with the deadline of this request.
    pub table: Table,
    /// The caller.
    pub caller: Caller,
    request: Request,
}

impl Invocation {
    /// Creates the input of a handler. Errors: 400 if the query has a parameter that is not in
    /// `query`, or has one more than once.
    pub(super) fn new(
        table: Table,
        caller: Caller,
        request: Request,
        query: &[&str],
    ) -> Result<Self, Error> {
        if let Some(parameters) = request.query_string_parameters_ref() {
            for (index, (name, _)) in parameters.iter().enumerate() {
                if !query.contains(&name) {
                    return Err(Error::Malformed(unknown_parameter(name, query)));
                }
                if parameters.iter().skip(index + 1).any(|(other, _)| other == name) {
                    return Err(Error::Malformed(format!("Send the query parameter {name} once.")));
                }
            }
        }
        Ok(Self { table, caller, request })
    }

    /// Returns a parameter of the path. Errors: 400.
    pub fn path<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, Error> {
        let parameters = self.request.path_parameters_ref();
        let text = parameters.and_then(|parameters| parameters.first(name)).unwrap_or_default();
        let malformed = |error| Error::Malformed(format!("The path parameter {name} {error}."));
        text.parse().map_err(malformed)
    }

    /// Returns a parameter of the query, `None` if it is absent. Errors: 400.
    pub fn query<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, Error> {
        let malformed = |error| Error::Malformed(format!("The query parameter {name} {error}."));
        let parse = |text: &str| text.parse().map_err(malformed);
        let parameters = self.request.query_string_parameters_ref();
        parameters.and_then(|parameters| parameters.first(name)).map(parse).transpose()
    }

    /// Returns when the caller's token expires; `None` without a token.
    pub fn token_expiry(&self) -> Option<Time> {
        token_expiry(&self.request)
    }

    /// Returns the headers.
    pub fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// Returns the page size that the query asks for. Errors: 400.
    pub fn limit(&self) -> Result<Limit, Error> {
        Ok(self.query("limit")?.unwrap_or_default())
    }

    /// Returns whether the request has a body.
    pub(super) fn has_body(&self) -> bool {
        !self.request.body().is_empty()
    }

    /// Returns the body. Errors: 415 if the media type is not in `allowed`.
    pub(super) fn body(&self, allowed: &'static [&'static str]) -> Result<&[u8], Error> {
        let content_type = self.request.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if !allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(media_type)) {
            return Err(Error::MediaType(allowed));
        }
        Ok(self.request.body().as_ref())
    }

    /// Returns the header `If-Match`: `*`, or a list of strong entity tags (RFC 9110, section
    /// 13.1.1). An absent header counts as `*`. Errors: 400 if the header is malformed or has a
    /// weak tag.
    pub fn if_match(&self) -> Result<IfMatch, Error> {
        let mut versions = None;
        for value in self.request.headers().get_all(IF_MATCH) {
            let text = value.to_str().unwrap_or_default().trim();
            if text == "*" {
                return Ok(IfMatch::Any);
            }
            let malformed = || {
                let expected = "must be * or a list of strong entity tags such as \"3\"";
                Error::Malformed(format!("The header If-Match {expected}."))
            };
            versions.get_or_insert(Vec::new()).extend(strong_tags(text).ok_or_else(malformed)?);
        }
        Ok(versions.map_or(IfMatch::Any, IfMatch::Versions))
    }

    /// Returns the header `Idempotency-Key` without its optional quotes, `None` if it is absent.
    /// Errors: 400 if it is repeated or invalid.
    pub fn idempotency_key(&self) -> Result<Option<IdempotencyKey>, Error> {
        let mut values = self.request.headers().get_all(IDEMPOTENCY_KEY).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return match self.request.headers().contains_key(IDEMPOTENCY_KEY) {
                true => Err(Error::Malformed("Send the header Idempotency-Key once.".into())),
                false => Ok(None),
            };
        };
        let text = value.to_str().unwrap_or_default();
        let key = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        let malformed = |error| Error::Malformed(format!("The header Idempotency-Key {error}."));
        key.parse().map(Some).map_err(malformed)
    }
}

/// Returns the versions in a list of strong entity tags; `None` if the list is malformed. A tag
/// that is not a version becomes `u64::MAX`, which no resource has.
fn strong_tags(mut list: &str) -> Option<Vec<u64>> {
    let allowed = |byte: u8| byte == b'!' || (b'#'..=b'~').contains(&byte);
    let mut versions = Vec::new();
    loop {
        let (tag, rest) = list.strip_prefix('"')?.split_once('"')?;
        if !tag.bytes().all(allowed) {
            return None;
        }
        versions.push(tag.parse::<Seq>().map_or(u64::MAX, Seq::get));
        let rest = rest.trim_start();
        if rest.is_empty() {
            return Some(versions);
        }
        list = rest.strip_prefix(',')?.trim_start();
    }
}

fn unknown_parameter(name: &str, query: &[&str]) -> String {
    match query {
        [] => format!("The query parameter {name:?} is unknown: this operation takes none."),
        _ => format!("The query parameter {name:?} is unknown. Known: {}.", query.join(", ")),
    }
}

/// Returns the moment by which a request must be answered: [`MARGIN`] before its invocation ends.
///
/// A deadline in the past counts as unknown, and [`DEFAULT_TIMEOUT`] applies: `cargo lambda watch`
/// sends a deadline in 1970.
#[must_use]
pub fn deadline(context: &Context) -> Instant {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = Duration::from_millis(context.deadline).checked_sub(now);
    Instant::now() + left.unwrap_or(DEFAULT_TIMEOUT).saturating_sub(MARGIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(context: &Context) -> Duration {
        deadline(context).saturating_duration_since(Instant::now())
    }

    #[test]
    fn a_request_is_answered_two_seconds_before_its_invocation_ends() {
        let mut context = Context::default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let end = now + Duration::from_secs(60);
        context.deadline = u64::try_from(end.as_millis()).unwrap_or_default();
        assert!((57..=58).contains(&left(&context).as_secs()));
        context.deadline = 600_000;
        assert!((7..=8).contains(&left(&context).as_secs()), "a deadline in 1970 is unknown");
    }
}
