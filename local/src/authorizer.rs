//! API Gateway's JWT authorizer, with a key that signs tokens for development.
//!
//! The rules are API Gateway's: RS256 only, issuer, audience, times, and one of the route's scopes.
//! Source:
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html>

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use functions::http::auth::claim_values;
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{
    KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use rsa::RsaPrivateKey;
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey, LineEnding};
use rsa::rand_core::OsRng;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// `iss` of the tokens: a user pool of Cognito, so that groups have the same meaning as in the
/// cloud.
pub const ISSUER: &str = "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_local";
/// `client_id` of the tokens, or `aud`.
pub const AUDIENCE: &str = "local";

/// The size of a new key, in bits.
const KEY_BITS: usize = 2048;

/// Signs access tokens and verifies them as API Gateway does.
pub struct Authorizer {
    key: RsaKeyPair,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no valid token.
    Unauthorized,
    /// The token has none of the route's scopes.
    Forbidden,
}

impl Authorizer {
    /// Creates an authorizer with a new key.
    ///
    /// # Errors
    /// No key could be created, in one line.
    pub fn generate() -> Result<Self, String> {
        Self::with_key(&new_key()?)
    }

    /// Creates an authorizer with the key in a file (PKCS #1, PEM). If there is no such file,
    /// creates it with a new key; only its owner may read it.
    ///
    /// # Errors
    /// The file cannot be used, in one line.
    pub fn load_or_generate(file: &Path) -> Result<Self, String> {
        let unusable = |error: &dyn fmt::Display| format!("{}: {error}", file.display());
        match fs::read_to_string(file) {
            Ok(pem) => RsaPrivateKey::from_pkcs1_pem(&pem)
                .map_err(|error| error.to_string())
                .and_then(|key| Self::with_key(&key))
                .map_err(|error| unusable(&format!("not a usable key, delete it: {error}"))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key = new_key()?;
                let pem = key.to_pkcs1_pem(LineEnding::LF).map_err(|error| unusable(&error))?;
                write_private(file, pem.as_bytes()).map_err(|error| unusable(&error))?;
                Self::with_key(&key)
            }
            Err(error) => Err(unusable(&error)),
        }
    }

    fn with_key(key: &RsaPrivateKey) -> Result<Self, String> {
        let der = key.to_pkcs1_der().map_err(|error| format!("cannot encode the key: {error}"))?;
        let key = RsaKeyPair::from_der(der.as_bytes());
        Ok(Self { key: key.map_err(|error| format!("the key is not usable: {error}"))? })
    }

    /// Returns an access token as Cognito issues it. `scopes` are separated by spaces.
    ///
    /// # Errors
    /// It cannot be signed, in one line.
    pub fn token(&self, subject: &str, scopes: &str, lifetime: Duration) -> Result<String, String> {
        let issued = now();
        self.sign(&json!({
            "sub": subject,
            "iss": ISSUER,
            "client_id": AUDIENCE,
            "token_use": "access",
            "scope": scopes,
            "iat": issued,
            "exp": issued + lifetime.as_secs(),
        }))
    }

    /// Returns a token with these claims, valid or not.
    ///
    /// # Errors
    /// It cannot be signed, in one line.
    pub fn sign(&self, claims: &Value) -> Result<String, String> {
        self.sign_with_header(&json!({ "alg": "RS256", "typ": "JWT" }), claims)
    }

    /// Returns a token with this header and these claims, valid or not.
    ///
    /// # Errors
    /// It cannot be signed, in one line.
    pub fn sign_with_header(&self, header: &Value, claims: &Value) -> Result<String, String> {
        let encode = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| "cannot sign a token".to_owned())?;
        Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }

    /// Checks the value of `Authorization` for a route with these scopes. Returns what the function
    /// gets as `requestContext.authorizer`.
    ///
    /// # Errors
    /// Why the request is refused.
    pub fn authorize(
        &self,
        authorization: Option<&str>,
        scopes: &[String],
    ) -> Result<Value, Refusal> {
        let authorization = authorization.unwrap_or_default();
        let token = authorization.strip_prefix("Bearer ").unwrap_or(authorization);
        let claims = self.verified_claims(token).ok_or(Refusal::Unauthorized)?;
        if !are_valid(&claims) {
            return Err(Refusal::Unauthorized);
        }
        let claims: BTreeMap<&String, String> =
            claims.iter().map(|(name, value)| (name, claim_text(value))).collect();
        let granted = ["scope", "scp"].into_iter().find_map(|name| claims.get(&name.to_owned()));
        let mut granted = claim_values(granted.map_or("", String::as_str));
        if !scopes.is_empty() && !granted.any(|granted| scopes.iter().any(|scope| scope == granted))
        {
            return Err(Refusal::Forbidden);
        }
        Ok(json!({ "jwt": { "claims": claims, "scopes": scopes } }))
    }

    /// Returns the claims of a token that this key has signed. No extension of JWS is implemented,
    /// so a token with critical ones (`crit`) is invalid. Source: RFC 7515, section 4.1.11.
    fn verified_claims(&self, token: &str) -> Option<Map<String, Value>> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header: Map<String, Value> = decode(header)?;
        if header.get("alg")? != "RS256" || header.contains_key("crit") {
            return None;
        }
        let public_key = self.key.public_key().as_ref();
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public_key)
            .verify(signed.as_bytes(), &signature)
            .ok()?;
        decode(claims)
    }
}

impl fmt::Debug for Authorizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Authorizer").finish_non_exhaustive()
    }
}

fn new_key() -> Result<RsaPrivateKey, String> {
    RsaPrivateKey::new(&mut OsRng, KEY_BITS)
        .map_err(|error| format!("cannot create a key: {error}"))
}

/// Creates a file that only its owner may read and write. An interrupted write leaves no file.
fn write_private(file: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut unfinished = file.as_os_str().to_owned();
    unfinished.push(".new");
    // An earlier start may have left one.
    let _ = fs::remove_file(&unfinished);
    options.open(&unfinished)?.write_all(content)?;
    fs::rename(unfinished, file)
}

fn decode<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

fn now() -> u64 {
    u64::try_from(Timestamp::now().as_second()).unwrap_or_default()
}

/// Returns whether a token is from [`ISSUER`], for [`AUDIENCE`] and valid now. `sub` may be absent,
/// but must be a string.
fn are_valid(claims: &Map<String, Value>) -> bool {
    let now = now() as f64;
    let time = |name: &str| claims.get(name).map(Value::as_f64);
    let has_begun = |name: &str| time(name).is_none_or(|time| time.is_some_and(|time| time <= now));
    claims.get("iss").is_some_and(|issuer| issuer == ISSUER)
        && claims.get("sub").is_none_or(Value::is_string)
        && is_for_audience(claims)
        && time("exp").flatten().is_some_and(|expiry| expiry > now)
        && has_begun("nbf")
        && has_begun("iat")
}

/// Returns whether a token is for [`AUDIENCE`]: by `aud`, one or several, or by `client_id` if
/// there is no `aud`.
fn is_for_audience(claims: &Map<String, Value>) -> bool {
    match claims.get("aud") {
        Some(Value::Array(audiences)) => audiences.iter().any(|audience| audience == AUDIENCE),
        Some(audience) => audience == AUDIENCE,
        None => claims.get("client_id").is_some_and(|client| client == AUDIENCE),
    }
}

/// Returns a claim as API Gateway passes it on: always a string, and a list as `[admin other]`.
fn claim_text(claim: &Value) -> String {
    match claim {
        Value::String(text) => text.clone(),
        Value::Array(members) => {
            format!("[{}]", members.iter().map(claim_text).collect::<Vec<_>>().join(" "))
        }
        other => other.to_string(),
    }
}
