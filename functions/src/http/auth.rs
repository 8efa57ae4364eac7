//! Authentication: who the caller is, by the claims of the verified access token.

use std::env;

use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt};
use shared::{Caller, Time};

use super::error::Error;

/// Scope of tokens that may read.
pub const READ_SCOPE: &str = "chat/read";
/// Scope of tokens that may create resources, and change or delete the caller's own.
pub const WRITE_SCOPE: &str = "chat/write";
/// Scope of an operator's tokens: every operation, on everyone's resources.
pub const ADMIN_SCOPE: &str = "chat/admin";

/// The group whose members may change everyone's resources.
const ADMIN_GROUP: &str = "admin";
/// The start of the `iss` claim of every Cognito user pool.
const COGNITO: &str = "https://cognito-idp.";
/// The longest `sub`, in bytes. Source: OpenID Connect Core 1.0, section 2.
const MAX_SUBJECT: usize = 255;

/// The authentication that requests need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// They do. API Gateway verifies the token and puts its claims into the event.
    Jwt,
    /// Authentication is disabled (local development): every caller may act as any profile.
    Open,
}

impl Auth {
    /// Returns [`Auth::Open`] if the environment variable `AUTH` is `open`, otherwise [`Auth::Jwt`].
    #[must_use]
    pub fn from_env() -> Self {
        match env::var("AUTH").as_deref() {
            Ok("open") => Self::Open,
            _ => Self::Jwt,
        }
    }

    /// Returns the caller of a request to an operation that needs `scope`.
    ///
    /// API Gateway checks the same scope. The check here keeps an operation closed when a route loses
    /// its authorizer or points at the wrong function. Claims are all strings; source:
    /// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html>
    ///
    /// # Errors
    /// 401 without a valid `sub`, 403 without the scope.
    pub(super) fn caller(self, request: &Request, scope: &'static str) -> Result<Caller, Error> {
        if self == Self::Open {
            return Ok(Caller::Anyone);
        }
        let claim = |name| claim(request, name).unwrap_or_default();
        let subject = claim("sub");
        if subject.is_empty() || subject.len() > MAX_SUBJECT {
            return Err(Error::Unauthenticated);
        }
        let scopes = || claim_values(claim("scope")).chain(claim_values(claim("scp")));
        let operator = scopes().any(|granted| granted == ADMIN_SCOPE);
        if !operator && !scopes().any(|granted| granted == scope) {
            return Err(Error::MissingScope(scope));
        }
        let admin = operator || is_in_admin_group(claim("iss"), claim("cognito:groups"));
        let subject = subject.to_owned();
        Ok(if admin { Caller::Admin(subject) } else { Caller::User(subject) })
    }
}

/// Returns a claim of the verified access token; `None` if there is no token or it lacks the claim.
pub(super) fn claim<'r>(request: &'r Request, name: &str) -> Option<&'r str> {
    let context = match request.request_context_ref()? {
        RequestContext::ApiGatewayV2(context) => context,
        _ => return None,
    };
    context.authorizer.as_ref()?.jwt.as_ref()?.claims.get(name).map(String::as_str)
}

/// Returns when the verified token expires; `None` without a token. A time that cannot be read counts
/// as passed.
pub(super) fn token_expiry(request: &Request) -> Option<Time> {
    let seconds = claim(request, "exp")?.parse::<f64>().unwrap_or_default();
    Time::from_second(seconds as i64)
}

/// Returns the values of a claim that is a list of words: API Gateway sends `["a", "b"]` as `[a b]`,
/// and `scope` is a string of words.
pub fn claim_values(claim: &str) -> impl Iterator<Item = &str> {
    claim_list(claim).unwrap_or(claim).split(' ')
}

fn claim_list(claim: &str) -> Option<&str> {
    claim.strip_prefix('[')?.strip_suffix(']')
}

/// Returns whether the groups contain [`ADMIN_GROUP`].
///
/// `[not admin]` may be two groups or one. Cognito allows no white space in a group's name, so its
/// list can be split; from another issuer only a list of exactly this one group is unambiguous. Source:
/// <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_CreateGroup.html>
fn is_in_admin_group(issuer: &str, groups: &str) -> bool {
    if issuer.starts_with(COGNITO) {
        claim_values(groups).any(|group| group == ADMIN_GROUP)
    } else {
        claim_list(groups).unwrap_or(groups) == ADMIN_GROUP
    }
}
