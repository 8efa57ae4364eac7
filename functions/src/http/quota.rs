//! The headers of the rate limit. Source:
//! <https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/>

use lambda_http::http::header::{HeaderMap, HeaderName, HeaderValue};
use shared::Quota;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Adds the posts that an author has left, as `RateLimit` and `RateLimit-Policy`.
pub(super) fn insert_quota(headers: &mut HeaderMap, quota: &Quota) {
    let Quota { limit, window, remaining, reset } = quota;
    let policy = format!("\"posts\";q={limit};w={window}");
    let left = format!("\"posts\";r={remaining};t={reset}");
    for (name, value) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, left)] {
        headers.extend(HeaderValue::try_from(value).ok().map(|value| (name, value)));
    }
}
