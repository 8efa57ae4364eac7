//! What the JWT authorizer of API Gateway does, with a key of its own that signs tokens for development.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use functions::http::auth::claim_values;
use jsonwebtoken::errors::Error;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use rsa::RsaPrivateKey;
use rsa::pkcs1::{EncodeRsaPrivateKey, EncodeRsaPublicKey};
use rsa::rand_core::OsRng;
use serde_json::{Map, Value, json};

use crate::now;

/// `iss` of the tokens.
pub const ISSUER: &str = "https://chat.local";
/// `client_id` of the tokens, or `aud`.
pub const AUDIENCE: &str = "local";

/// Signs access tokens, and verifies them as API Gateway does: RS256 only, issuer, audience, times, and one of the route's scopes.
/// Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html>
pub struct Authorizer {
    signs: EncodingKey,
    verifies: DecodingKey,
    validation: Validation,
}

/// Why a request is not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no token, or not a valid one.
    Unauthorized,
    /// The token has none of the route's scopes.
    Forbidden,
}

impl Authorizer {
    /// One with a new key, which lives as long as this does.
    ///
    /// # Errors
    /// When no key can be made, in one line.
    pub fn generate() -> Result<Self, String> {
        let key =
            RsaPrivateKey::new(&mut OsRng, 2048).map_err(|error| format!("a key: {error}"))?;
        let private = key.to_pkcs1_der().map_err(|error| format!("a key: {error}"))?;
        let public =
            key.to_public_key().to_pkcs1_der().map_err(|error| format!("a key: {error}"))?;
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss"]);
        validation.leeway = 0;
        // The second in which it ends is not one of its life.
        validation.reject_tokens_expiring_in_less_than = 1;
        validation.validate_nbf = true;
        // It may stand in either of two claims; see `is_for_us`.
        validation.validate_aud = false;
        Ok(Self {
            signs: EncodingKey::from_rsa_der(private.as_bytes()),
            verifies: DecodingKey::from_rsa_der(public.as_bytes()),
            validation,
        })
    }

    /// A token as Cognito issues it: `scopes` are separated by spaces.
    ///
    /// # Errors
    /// When it cannot be signed, in one line.
    pub fn token(&self, subject: &str, scopes: &str, lifetime: Duration) -> Result<String, String> {
        let issued = now().as_secs();
        self.sign(&json!({
            "sub": subject,
            "iss": ISSUER,
            "client_id": AUDIENCE,
            "token_use": "access",
            "scope": scopes,
            "iat": issued,
            "exp": issued + lifetime.as_secs(),
        }))
        .map_err(|error| format!("a token: {error}"))
    }

    /// A token with these claims, whatever they are.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn sign(&self, claims: &Value) -> Result<String, Error> {
        encode(&Header::new(Algorithm::RS256), claims, &self.signs)
    }

    /// Lets a request through that has an `Authorization` of this value to a route with these scopes: what the function is told
    /// of the caller, as `requestContext.authorizer`.
    ///
    /// # Errors
    /// Why it is not let through.
    pub fn authorize(
        &self,
        authorization: Option<&str>,
        scopes: &[String],
    ) -> Result<Value, Refusal> {
        let authorization = authorization.unwrap_or_default();
        let token = authorization.strip_prefix("Bearer ").unwrap_or(authorization);
        let claims = decode::<Map<String, Value>>(token, &self.verifies, &self.validation)
            .map_err(|_| Refusal::Unauthorized)?;
        let claims = claims.claims;
        let issued = claims.get("iat").map_or(Some(0), Value::as_u64);
        if !is_for_us(&claims) || issued.is_none_or(|issued| issued > now().as_secs()) {
            return Err(Refusal::Unauthorized);
        }
        let claims: BTreeMap<String, String> =
            claims.iter().map(|(name, value)| (name.clone(), as_text(value))).collect();
        let claimed =
            claims.get("scope").or(claims.get("scp")).map(String::as_str).unwrap_or_default();
        if !scopes.is_empty()
            && !claim_values(claimed).any(|claimed| scopes.iter().any(|scope| scope == claimed))
        {
            return Err(Refusal::Forbidden);
        }
        Ok(json!({ "jwt": { "claims": claims, "scopes": scopes } }))
    }
}

impl fmt::Debug for Authorizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Authorizer").finish_non_exhaustive()
    }
}

/// Whether a token is for this API: by `aud`, one or several, or by `client_id` where there is no `aud`.
fn is_for_us(claims: &Map<String, Value>) -> bool {
    match claims.get("aud") {
        Some(Value::Array(audiences)) => audiences.iter().any(|audience| audience == AUDIENCE),
        Some(audience) => audience == AUDIENCE,
        None => claims.get("client_id").is_some_and(|client| client == AUDIENCE),
    }
}

/// A claim as API Gateway hands it over: always a text, and a list as `[admin other]`.
fn as_text(claim: &Value) -> String {
    match claim {
        Value::String(text) => text.clone(),
        Value::Array(members) => {
            format!("[{}]", members.iter().map(as_text).collect::<Vec<_>>().join(" "))
        }
        other => other.to_string(),
    }
}
