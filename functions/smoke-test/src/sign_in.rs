//! How the smoke test signs in: with client credentials (OAuth 2.0), whose secret Secrets Manager keeps.

use std::env;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::retry::RetryConfig;
use aws_sdk_secretsmanager::config::timeout::TimeoutConfig;
use aws_sdk_secretsmanager::config::{BehaviorVersion, Builder, Config, Credentials, Region};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use form_urlencoded::byte_serialize;
use lambda_http::Error;
use serde::Deserialize;
use tokio::task::spawn_blocking;
use ureq::Agent;

/// How long before its end a token is no longer used.
const MARGIN: Duration = Duration::from_secs(120);
/// How long either service may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Gets access tokens, and keeps each while it lives.
#[derive(Debug)]
pub struct SignIn {
    secrets: Client,
    secret_arn: String,
    token_url: String,
    kept: Mutex<Option<Token>>,
}

/// What the secret says.
#[derive(Deserialize)]
struct Secret {
    client_id: String,
    client_secret: String,
    /// Some issuers ask for it.
    audience: Option<String>,
}

struct Token {
    text: Arc<str>,
    until: Instant,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Token").field("until", &self.until).finish_non_exhaustive()
    }
}

impl SignIn {
    /// At `TOKEN_URL`, with the secret `SECRET_ARN`; `None` where there is no `TOKEN_URL`, since the service is open.
    ///
    /// # Errors
    /// Which other variable is missing.
    pub fn from_env() -> Result<Option<Self>, Error> {
        let Some(token_url) = env::var("TOKEN_URL").ok().filter(|url| !url.is_empty()) else {
            return Ok(None);
        };
        let region = Region::new(env::var("AWS_REGION")?);
        let config = config()
            .region(region)
            .credentials_provider(EnvironmentVariableCredentialsProvider::new());
        Ok(Some(Self::new(config.build(), env::var("SECRET_ARN")?, token_url)))
    }

    /// With a secret of something that speaks as Secrets Manager does and does not check who asks.
    #[must_use]
    pub fn at(endpoint: &str, secret_arn: &str, token_url: &str) -> Self {
        let config = config()
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "local"))
            .endpoint_url(endpoint);
        Self::new(config.build(), secret_arn.to_owned(), token_url.to_owned())
    }

    fn new(config: Config, secret_arn: String, token_url: String) -> Self {
        Self { secrets: Client::from_conf(config), secret_arn, token_url, kept: Mutex::new(None) }
    }

    /// An access token that lives for a while.
    ///
    /// # Errors
    /// Which of the two services refused, and what it said; never the secret.
    pub async fn token(&self) -> Result<Arc<str>, Error> {
        if let Some(token) = &*self.kept.lock().unwrap_or_else(PoisonError::into_inner)
            && token.until > Instant::now()
        {
            return Ok(token.text.clone());
        }
        let secret = self.secrets.get_secret_value().secret_id(&self.secret_arn).send().await;
        // Only what the service says of its refusal: an answer in full might hold the secret.
        let secret = secret.map_err(|error| match error.as_service_error() {
            Some(refusal) => format!("the secret: {}", refusal.meta()),
            None => format!("the secret: {error}"),
        })?;
        let secret: Secret = serde_json::from_str(secret.secret_string().unwrap_or_default())
            .map_err(|_| "the secret: it is not {\"client_id\", \"client_secret\"}")?;
        let token_url = self.token_url.clone();
        let token = spawn_blocking(move || request(&token_url, &secret)).await??;
        let text = token.text.clone();
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
        Ok(text)
    }

    /// Forgets the token, which may be why something failed.
    pub fn forget(&self) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn config() -> Builder {
    let client =
        aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring));
    Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .retry_config(RetryConfig::standard().with_max_attempts(2))
        .timeout_config(TimeoutConfig::builder().operation_timeout(PATIENCE).build())
        .http_client(client.build_https())
}

/// Asks for a token, as RFC 6749 says in sections 2.3.1 and 4.4.2.
fn request(url: &str, secret: &Secret) -> Result<Token, String> {
    #[derive(Deserialize)]
    struct Answer {
        access_token: Option<Arc<str>>,
        #[serde(default)]
        expires_in: u64,
        error: Option<String>,
    }
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let credentials = BASE64_STANDARD.encode(format!(
        "{}:{}",
        encoded(&secret.client_id),
        encoded(&secret.client_secret)
    ));
    let mut form = vec![("grant_type", "client_credentials"), ("scope", "chat/read chat/write")];
    form.extend(secret.audience.as_deref().map(|audience| ("audience", audience)));
    let agent = Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .build()
        .new_agent();
    let asked =
        agent.post(url).header("authorization", format!("Basic {credentials}")).send_form(form);
    let mut response = asked.map_err(|error| format!("the token: {error}"))?;
    let status = response.status().as_u16();
    let text =
        response.body_mut().read_to_string().map_err(|error| format!("the token: {error}"))?;
    let answer: Answer = serde_json::from_str(&text)
        .map_err(|_| format!("the token: answered {status}, not in JSON"))?;
    match answer.access_token {
        Some(text) => {
            let until =
                Instant::now() + Duration::from_secs(answer.expires_in).saturating_sub(MARGIN);
            Ok(Token { text, until })
        }
        None => Err(format!("the token: answered {status} {}", answer.error.unwrap_or_default())),
    }
}
