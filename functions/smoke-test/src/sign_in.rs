//! Access tokens for the smoke test: OAuth 2.0 client credentials, with the client's secret in
//! Secrets Manager.

use std::env;
use std::fmt;
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

/// A token is no longer used this long before it expires.
const EXPIRY_MARGIN: Duration = Duration::from_secs(120);
/// The timeout of Secrets Manager and of the token endpoint.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Requests access tokens. Keeps each token until shortly before it expires.
#[derive(Debug)]
pub struct SignIn {
    secrets: Client,
    secret_arn: String,
    token_url: String,
    cached: Mutex<Option<Token>>,
}

/// The content of the secret.
#[derive(Deserialize)]
struct Secret {
    client_id: String,
    client_secret: String,
    /// Required by some issuers.
    audience: Option<String>,
}

struct Token {
    text: Arc<str>,
    use_until: Instant,
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Token").field("use_until", &self.use_until).finish_non_exhaustive()
    }
}

impl SignIn {
    /// Reads `TOKEN_URL` and `SECRET_ARN`. Returns `None` if `TOKEN_URL` is absent or empty: the
    /// service then requires no token. `AWS_ENDPOINT_URL_SECRETS_MANAGER` names another Secrets
    /// Manager.
    ///
    /// # Errors
    /// If `SECRET_ARN` or `AWS_REGION` is missing.
    pub fn from_env() -> Result<Option<Self>, Error> {
        let Some(token_url) = env::var("TOKEN_URL").ok().filter(|url| !url.is_empty()) else {
            return Ok(None);
        };
        let region = Region::new(env::var("AWS_REGION")?);
        let mut config = config()
            .region(region)
            .credentials_provider(EnvironmentVariableCredentialsProvider::new());
        config.set_endpoint_url(env::var("AWS_ENDPOINT_URL_SECRETS_MANAGER").ok());
        Ok(Some(Self::new(config.build(), env::var("SECRET_ARN")?, token_url)))
    }

    /// Uses another Secrets Manager endpoint, with fixed credentials. For tests.
    #[must_use]
    pub fn with_endpoint(endpoint: &str, secret_arn: &str, token_url: &str) -> Self {
        let config = config()
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "local"))
            .endpoint_url(endpoint);
        Self::new(config.build(), secret_arn.to_owned(), token_url.to_owned())
    }

    fn new(config: Config, secret_arn: String, token_url: String) -> Self {
        let secrets = Client::from_conf(config);
        Self { secrets, secret_arn, token_url, cached: Mutex::new(None) }
    }

    /// Returns a valid access token, from the cache or from the issuer.
    ///
    /// # Errors
    /// If Secrets Manager or the token endpoint refuses. The error never contains the secret.
    pub async fn token(&self) -> Result<Arc<str>, Error> {
        if let Some(token) = &*self.cached.lock().unwrap_or_else(PoisonError::into_inner)
            && token.use_until > Instant::now()
        {
            return Ok(token.text.clone());
        }
        let secret = self.secret().await?;
        let token_url = self.token_url.clone();
        let token = spawn_blocking(move || request_token(&token_url, &secret)).await??;
        let text = token.text.clone();
        *self.cached.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
        Ok(text)
    }

    /// Removes the token from the cache.
    pub fn forget(&self) {
        *self.cached.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    async fn secret(&self) -> Result<Secret, Error> {
        let secret = self.secrets.get_secret_value().secret_id(&self.secret_arn).send().await;
        // Only the metadata of a service error: a complete response may contain the secret.
        let secret = secret.map_err(|error| match error.as_service_error() {
            Some(error) => format!("Secrets Manager: {}", error.meta()),
            None => format!("Secrets Manager: {error}"),
        })?;
        serde_json::from_str(secret.secret_string().unwrap_or_default()).map_err(|_| {
            "Secrets Manager: the secret is not {\"client_id\", \"client_secret\"}".into()
        })
    }
}

fn config() -> Builder {
    let client =
        aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring));
    Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .retry_config(RetryConfig::standard().with_max_attempts(2))
        .timeout_config(TimeoutConfig::builder().operation_timeout(TIMEOUT).build())
        .http_client(client.build_https())
}

/// Requests a token with client credentials (RFC 6749, sections 2.3.1 and 4.4.2).
fn request_token(url: &str, secret: &Secret) -> Result<Token, String> {
    #[derive(Deserialize)]
    struct TokenResponse {
        access_token: Option<Arc<str>>,
        #[serde(default)]
        expires_in: u64,
        error: Option<String>,
    }
    let failed = |error: ureq::Error| format!("token endpoint: {error}");
    let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let credentials = format!("{}:{}", encode(&secret.client_id), encode(&secret.client_secret));
    let mut form = vec![("grant_type", "client_credentials"), ("scope", "chat/read chat/write")];
    form.extend(secret.audience.as_deref().map(|audience| ("audience", audience)));
    let agent = Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .http_status_as_error(false)
        .build()
        .new_agent();
    let mut response = agent
        .post(url)
        .header("authorization", format!("Basic {}", BASE64_STANDARD.encode(credentials)))
        .send_form(form)
        .map_err(failed)?;
    let status = response.status().as_u16();
    let text = response.body_mut().read_to_string().map_err(failed)?;
    let response: TokenResponse = serde_json::from_str(&text)
        .map_err(|_| format!("token endpoint: status {status}, not JSON"))?;
    let Some(text) = response.access_token else {
        let error = response.error.unwrap_or_default();
        return Err(format!("token endpoint: status {status} {error}"));
    };
    let lifetime = Duration::from_secs(response.expires_in).saturating_sub(EXPIRY_MARGIN);
    Ok(Token { text, use_until: Instant::now() + lifetime })
}
