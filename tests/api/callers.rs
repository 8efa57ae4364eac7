//! Those who ask in `access`: what their tokens say, and tokens that are none.

use std::sync::{Arc, OnceLock};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use local::authorizer::{AUDIENCE, Authorizer, ISSUER};

use tests::service::{Value, json};

/// What a caller's token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing: there is none, or it is not valid.
    Nobody,
    /// It has none of the scopes.
    Scopeless,
    ReadOnly,
    WriteOnly,
    /// Reading and writing, but nothing here belongs to them.
    Stranger,
    Owner,
    Admin,
}

pub(crate) const OWNER: &str = "5f2b8c1e-7d8f-4a55-9a44-3f1f6c1f8a10";
pub(crate) const BOTH: &str = "chat/read chat/write";

/// Those whom API Gateway lets through: the claims of their tokens.
pub(crate) fn known_callers() -> Vec<(&'static str, Standing, Value)> {
    vec![
        ("the owner", Standing::Owner, json!({ "sub": OWNER, "scope": BOTH })),
        (
            "the owner, scopes in scp",
            Standing::Owner,
            json!({ "sub": OWNER, "scp": ["chat/read", "chat/write"] }),
        ),
        ("a stranger", Standing::Stranger, json!({ "sub": "eve", "scope": BOTH })),
        (
            "a stranger in a group",
            Standing::Stranger,
            json!({ "sub": "eve", "scope": BOTH, "cognito:groups": ["admins", "x,admin"] }),
        ),
        // Another issuer's `[x admin]` may be one group named `x admin`.
        (
            "a stranger in a group with a space",
            Standing::Stranger,
            json!({ "sub": "eve", "scope": BOTH, "cognito:groups": ["x", "admin"] }),
        ),
        // A device has a client of its own, and so is an owner of its own.
        (
            "another device",
            Standing::Stranger,
            json!({ "sub": "3n4b5urk1ft4", "scope": BOTH, "token_use": "access" }),
        ),
        ("an admin by scope", Standing::Admin, json!({ "sub": "operator", "scope": "chat/admin" })),
        (
            "an admin by group",
            Standing::Admin,
            json!({ "sub": "boss", "scope": BOTH, "cognito:groups": ["admin"] }),
        ),
        ("the owner's ID token", Standing::Scopeless, json!({ "sub": OWNER, "token_use": "id" })),
        (
            "the owner, other scopes",
            Standing::Scopeless,
            json!({ "sub": OWNER, "scope": "openid chat chat/reads xchat/write" }),
        ),
        (
            "the owner, reading only",
            Standing::ReadOnly,
            json!({ "sub": OWNER, "scope": "chat/read" }),
        ),
        (
            "a stranger, writing only",
            Standing::WriteOnly,
            json!({ "sub": "eve", "scope": "chat/write" }),
        ),
        (
            "an admin, reading only",
            Standing::ReadOnly,
            json!({ "sub": "boss", "scope": "chat/read", "cognito:groups": ["admin"] }),
        ),
    ]
}

/// One key for all tests: it takes a while to find.
pub(crate) fn authorizer() -> Arc<Authorizer> {
    static AUTHORIZER: OnceLock<Arc<Authorizer>> = OnceLock::new();
    AUTHORIZER.get_or_init(|| Arc::new(Authorizer::generate().expect("a key"))).clone()
}

fn now() -> u64 {
    jsonwebtoken::get_current_timestamp()
}

/// The claims of a valid token, these among them.
fn complete(claims: &Value) -> Value {
    let mut complete =
        json!({ "iss": ISSUER, "client_id": AUDIENCE, "iat": now(), "exp": now() + 3600 });
    for (name, value) in claims.as_object().expect("claims") {
        complete[name] = value.clone();
    }
    complete
}

pub(crate) fn token(claims: &Value) -> String {
    authorizer().sign(&complete(claims)).expect("a token")
}

/// All who come with a token, or without one: their `Authorization`.
pub(crate) fn callers() -> Vec<(&'static str, Standing, Option<String>)> {
    let mut callers: Vec<(&str, Standing, Option<String>)> = known_callers()
        .into_iter()
        .map(|(name, standing, claims)| {
            (name, standing, Some(format!("Bearer {}", token(&claims))))
        })
        .collect();
    let owner = json!({ "sub": OWNER, "scope": BOTH });
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
    let good = token(&owner);
    let (body, signature) = good.rsplit_once('.').expect("a signature");
    let (header, _) = body.split_once('.').expect("claims");
    let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let of_another_key =
        Authorizer::generate().expect("a key").sign(&complete(&owner)).expect("a token");
    let mac = jsonwebtoken::encode(
        &jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256),
        &complete(&owner),
        &jsonwebtoken::EncodingKey::from_secret(b"guessed"),
    );
    callers.push(("the owner, without Bearer", Standing::Owner, Some(good.clone())));
    callers.push((
        "the owner, one audience of two",
        Standing::Owner,
        Some(with("aud", json!(["other", AUDIENCE]))),
    ));
    callers.push(("nobody", Standing::Nobody, None));
    for (name, authorization) in [
        ("an empty token", String::new()),
        ("no token", "Bearer ".to_owned()),
        ("a password", "Basic YWRhOmFkYQ==".to_owned()),
        ("an expired token", with("exp", json!(now()))),
        ("a token without an end", without("exp")),
        ("a token of tomorrow", with("nbf", json!(now() + 3600))),
        ("a token issued tomorrow", with("iat", json!(now() + 3600))),
        ("another issuer's token", with("iss", json!("https://evil.example"))),
        ("a token without an issuer", without("iss")),
        ("a token for another audience", with("aud", json!("other"))),
        ("a token for another client", with("client_id", json!("other"))),
        ("a token for no one", without("client_id")),
        ("a token without a signature", format!("{body}.")),
        ("a token cut short", good[..good.len() - 20].to_owned()),
        ("a token of another key", of_another_key),
        (
            "an unsigned token",
            format!("{}.{}.", part(json!({ "alg": "none", "typ": "JWT" })), part(complete(&owner))),
        ),
        (
            "an old signature on other claims",
            format!(
                "{header}.{}.{signature}",
                part(complete(&json!({ "sub": "other", "scope": BOTH })))
            ),
        ),
        ("a token with a MAC", mac.expect("a token")),
    ] {
        callers.push((name, Standing::Nobody, Some(authorization)));
    }
    callers
}
