//! The callers and their tokens.

use std::sync::{Arc, OnceLock};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use local::authorizer::{AUDIENCE, Authorizer, ISSUER};

use tests::service::{Value, json};

/// The rights that a caller's token gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing: the token is absent or invalid.
    Unauthenticated,
    /// Nothing: the token has none of the scopes.
    Scopeless,
    /// Reading.
    Reader,
    /// Writing, but the caller owns none of the test's resources.
    Writer,
    /// Reading and writing, but the caller owns none of the test's resources.
    Stranger,
    /// Reading and writing; the caller owns the test's resources.
    Owner,
    /// Everything.
    Admin,
}

/// A caller: a description, a role, and something that identifies the caller.
pub(super) type CallerWith<T> = (&'static str, Role, T);

pub(super) const OWNER: &str = "5f2b8c1e-7d8f-4a55-9a44-3f1f6c1f8a10";
pub(crate) const READ_WRITE: &str = "chat/read chat/write";

const COGNITO: &str = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI";

/// Returns the callers with a valid token, by its claims.
pub(super) fn authenticated_callers() -> Vec<CallerWith<Value>> {
    let claims = |sub: &str, scope: &str| json!({ "sub": sub, "scope": scope });
    let in_groups = |sub: &str, scope: &str, groups: Value| {
        let mut claims = claims(sub, scope);
        // The groups of a Cognito user pool, whose names have no white space.
        claims["iss"] = json!(ISSUER);
        claims["cognito:groups"] = groups;
        claims
    };
    vec![
        ("the owner", Role::Owner, claims(OWNER, READ_WRITE)),
        (
            "the owner, scopes in scp",
            Role::Owner,
            json!({ "sub": OWNER, "scp": ["chat/read", "chat/write"] }),
        ),
        ("a stranger", Role::Stranger, claims("eve", READ_WRITE)),
        (
            "a stranger in groups with similar names",
            Role::Stranger,
            in_groups("eve", READ_WRITE, json!(["admins", "x,admin"])),
        ),
        (
            "an admin by the second of two groups",
            Role::Admin,
            in_groups("boss", READ_WRITE, json!(["x", "admin"])),
        ),
        (
            "another device",
            Role::Stranger,
            json!({ "sub": "3n4b5urk1ft4", "scope": READ_WRITE, "token_use": "access" }),
        ),
        ("an admin by scope", Role::Admin, claims("operator", "chat/admin")),
        ("an admin by group", Role::Admin, in_groups("boss", READ_WRITE, json!(["admin"]))),
        ("the owner's ID token", Role::Scopeless, json!({ "sub": OWNER, "token_use": "id" })),
        (
            "the owner, similar scopes",
            Role::Scopeless,
            claims(OWNER, "openid chat chat/reads xchat/write"),
        ),
        ("the owner, read only", Role::Reader, claims(OWNER, "chat/read")),
        ("a stranger, write only", Role::Writer, claims("eve", "chat/write")),
        (
            "an admin by group, read only",
            Role::Reader,
            in_groups("boss", "chat/read", json!(["admin"])),
        ),
    ]
}

/// Returns callers that the development authorizer cannot produce, by the claims in the event.
/// `None` is an event without an authorizer.
pub(super) fn callers_by_event() -> Vec<CallerWith<Option<Value>>> {
    let in_groups = |issuer: &str, groups: &str| {
        Some(json!({
            "sub": "eve", "scope": READ_WRITE, "iss": issuer, "cognito:groups": groups,
        }))
    };
    let other = "https://issuer.example";
    let fake = "https://evil.example/https://cognito-idp.";
    vec![
        ("an event without authorizer", Role::Unauthenticated, None),
        ("no claims", Role::Unauthenticated, Some(json!({}))),
        ("no sub", Role::Unauthenticated, Some(json!({ "scope": READ_WRITE }))),
        ("an empty sub", Role::Unauthenticated, Some(json!({ "sub": "", "scope": "chat/admin" }))),
        (
            "a sub of 256 bytes",
            Role::Unauthenticated,
            Some(json!({ "sub": "x".repeat(256), "scope": READ_WRITE })),
        ),
        ("Cognito's second group", Role::Admin, in_groups(COGNITO, "[x admin]")),
        ("Cognito's only group", Role::Admin, in_groups(COGNITO, "[admin]")),
        ("Cognito's similar groups", Role::Stranger, in_groups(COGNITO, "[admins x,admin]")),
        ("another issuer's only group", Role::Admin, in_groups(other, "[admin]")),
        ("another issuer's group as text", Role::Admin, in_groups(other, "admin")),
        // One group or two.
        ("another issuer's `x admin`", Role::Stranger, in_groups(other, "[x admin]")),
        ("another issuer's `not admin`", Role::Stranger, in_groups(other, "[not admin]")),
        ("another issuer's `not admin` as text", Role::Stranger, in_groups(other, "not admin")),
        ("a group in brackets", Role::Stranger, in_groups(other, "[[admin]]")),
        ("an issuer that contains Cognito's", Role::Stranger, in_groups(fake, "[x admin]")),
    ]
}

/// Returns the authorizer of all tests: generating its key takes long.
pub(crate) fn authorizer() -> Arc<Authorizer> {
    static AUTHORIZER: OnceLock<Arc<Authorizer>> = OnceLock::new();
    AUTHORIZER.get_or_init(|| Arc::new(Authorizer::generate().expect("a key"))).clone()
}

fn now() -> u64 {
    jsonwebtoken::get_current_timestamp()
}

/// Adds the claims that a valid token needs.
fn complete(claims: &Value) -> Value {
    let mut complete =
        json!({ "iss": ISSUER, "client_id": AUDIENCE, "iat": now(), "exp": now() + 3600 });
    for (name, value) in claims.as_object().expect("claims") {
        complete[name] = value.clone();
    }
    complete
}

/// Returns a valid token with these claims.
pub(crate) fn token(claims: &Value) -> String {
    authorizer().sign(&complete(claims)).expect("a token")
}

/// Returns every caller, by the header `Authorization`.
pub(super) fn callers() -> Vec<CallerWith<Option<String>>> {
    let valid = token(&json!({ "sub": OWNER, "scope": READ_WRITE }));
    let two_audiences =
        token(&json!({ "sub": OWNER, "scope": READ_WRITE, "aud": ["other", AUDIENCE] }));
    let mut callers = vec![
        ("the owner, without Bearer", Role::Owner, Some(valid)),
        ("the owner, one audience of two", Role::Owner, Some(two_audiences)),
        ("a caller without token", Role::Unauthenticated, None),
    ];
    for (name, role, claims) in authenticated_callers() {
        callers.push((name, role, Some(format!("Bearer {}", token(&claims)))));
    }
    let invalid = tokens_with_invalid_claims().into_iter().chain(forged_tokens());
    callers.extend(invalid.map(|(name, token)| (name, Role::Unauthenticated, Some(token))));
    callers
}

fn tokens_with_invalid_claims() -> Vec<(&'static str, String)> {
    let owner = json!({ "sub": OWNER, "scope": READ_WRITE });
    let with = |name: &str, value: Value| {
        let mut claims = owner.clone();
        claims[name] = value;
        token(&claims)
    };
    let without = |name: &str| {
        let mut claims = complete(&owner);
        claims.as_object_mut().expect("claims").remove(name);
        authorizer().sign(&claims).expect("a token")
    };
    vec![
        ("an expired token", with("exp", json!(now()))),
        ("a token without expiry", without("exp")),
        ("a token not valid yet", with("nbf", json!(now() + 3600))),
        ("a token issued in the future", with("iat", json!(now() + 3600))),
        ("a token of another issuer", with("iss", json!("https://evil.example"))),
        ("a token without issuer", without("iss")),
        ("a token for another audience", with("aud", json!("other"))),
        ("a token for another client", with("client_id", json!("other"))),
        ("a token without client", without("client_id")),
    ]
}

fn forged_tokens() -> Vec<(&'static str, String)> {
    let owner = complete(&json!({ "sub": OWNER, "scope": READ_WRITE }));
    let valid = authorizer().sign(&owner).expect("a token");
    let (body, signature) = valid.rsplit_once('.').expect("a signature");
    let (header, _) = body.split_once('.').expect("claims");
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let other_claims = complete(&json!({ "sub": "other", "scope": READ_WRITE }));
    let other_key = Authorizer::generate().expect("a key").sign(&owner).expect("a token");
    let mac = jsonwebtoken::encode(
        &jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256),
        &owner,
        &jsonwebtoken::EncodingKey::from_secret(b"guessed"),
    );
    let unsigned = part(&json!({ "alg": "none", "typ": "JWT" }));
    vec![
        ("an empty header", String::new()),
        ("Bearer without token", "Bearer ".to_owned()),
        ("a password", "Basic YWRhOmFkYQ==".to_owned()),
        ("a token without signature", format!("{body}.")),
        ("a truncated token", valid[..valid.len() - 20].to_owned()),
        ("a token of another key", other_key),
        ("an unsigned token", format!("{unsigned}.{}.", part(&owner))),
        ("a signature of other claims", format!("{header}.{}.{signature}", part(&other_claims))),
        ("a token with a MAC", mac.expect("a token")),
    ]
}
