//! The table's handle: how it connects, until when it tries, and what it uses.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{env, fmt};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{
    BehaviorVersion, Builder, Config, Credentials, HttpClient, Region, SharedHttpClient,
    StalledStreamProtectionConfig,
};
use aws_sdk_dynamodb::types::ConsumedCapacity;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use tokio::time::Instant;

use super::backoff::{Backoff, backoff};
use crate::{Error, RateLimit, Result, Time};

/// The time for a request whose deadline is unknown.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(8);

/// A handle to the table, cheap to clone. [`Table::for_request`] returns one that belongs to one
/// request: it knows the request's deadline and counts what the request uses.
#[derive(Clone, Debug)]
pub struct Table {
    pub(super) client: Client,
    pub(super) name: Arc<str>,
    pub(super) deadline: Instant,
    pub(super) backoff: Backoff,
    pub(super) rate_limit: RateLimit,
    clock: Clock,
    usage: Arc<Mutex<Usage>>,
}

/// Where the table's times come from.
#[derive(Clone)]
struct Clock(Arc<dyn Fn() -> Time + Send + Sync>);

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Clock")
    }
}

/// The requests and capacity units that one request has used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Requests sent to DynamoDB, including repeated ones.
    pub requests: u32,
    /// Transactions among them.
    pub transactions: u32,
    /// Read capacity units, as DynamoDB reports them.
    pub read_units: f64,
    /// Write capacity units, as DynamoDB reports them.
    pub write_units: f64,
}

impl Table {
    /// Returns the table named by `TABLE_NAME` in `AWS_REGION`, with the credentials that Lambda puts
    /// into the environment, or at `AWS_ENDPOINT_URL_DYNAMODB` if that is set. `POSTS_PER_SECOND` is the
    /// rate limit. Reads only the environment: no file, no metadata service.
    pub fn from_env() -> Result<Self> {
        let name = variable("TABLE_NAME")?;
        let endpoint = env::var("AWS_ENDPOINT_URL_DYNAMODB").ok().filter(|url| !url.is_empty());
        let Access { region, credentials, http } = Access::from_env(endpoint.is_none())?;
        let mut config = config().http_client(http).region(region);
        config.set_endpoint_url(endpoint);
        let rate = env::var("POSTS_PER_SECOND").unwrap_or("0".into());
        let rate = rate.parse().map_err(|_| Error::internal("POSTS_PER_SECOND is not a number"))?;
        let table = Self::new(config.credentials_provider(credentials).build(), &name);
        Ok(table.with_rate_limit(RateLimit(rate)))
    }

    /// Returns a table on an engine that checks no credentials, such as DynamoDB Local.
    #[must_use]
    pub fn connect(endpoint: &str, name: &str) -> Self {
        let config = with_dummy_credentials(tls_config(TrustStore::default()));
        Self::new(config.endpoint_url(endpoint).build(), name)
    }

    /// Returns a table behind a custom HTTP client, such as one that calls an engine in the same
    /// process. Requests are not signed.
    #[must_use]
    pub fn with_http_client(client: impl HttpClient + 'static, name: &str) -> Self {
        let config = config().http_client(client).region(Region::from_static("us-east-1"));
        let config = config.allow_no_auth().endpoint_url("http://localhost");
        Self::new(config.build(), name)
    }

    fn new(config: Config, name: &str) -> Self {
        Self {
            client: Client::from_conf(config),
            name: name.into(),
            deadline: Instant::now() + DEFAULT_TIMEOUT,
            backoff,
            rate_limit: RateLimit::default(),
            clock: Clock(Arc::new(Time::now)),
            usage: Arc::default(),
        }
    }

    /// Returns the same table with another backoff, to measure it.
    #[must_use]
    pub fn with_backoff(self, backoff: Backoff) -> Self {
        Self { backoff, ..self }
    }

    /// Returns the same table with a rate limit for each profile. Default: unlimited.
    #[must_use]
    pub fn with_rate_limit(self, rate_limit: RateLimit) -> Self {
        Self { rate_limit, ..self }
    }

    /// Returns the same table with another clock, for simulations.
    #[must_use]
    pub fn with_clock(self, clock: impl Fn() -> Time + Send + Sync + 'static) -> Self {
        Self { clock: Clock(Arc::new(clock)), ..self }
    }

    /// Returns the current time.
    pub(super) fn now(&self) -> Time {
        (self.clock.0)()
    }

    /// Returns a handle for one request, which must be answered by `deadline`.
    #[must_use]
    pub fn for_request(&self, deadline: Instant) -> Self {
        Self { deadline, usage: Arc::default(), ..self.clone() }
    }

    /// Returns what this handle and its clones have used so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        *self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self, add: impl FnOnce(&mut Usage)) {
        add(&mut self.usage.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn count_read<'c>(&self, consumed: impl IntoIterator<Item = &'c ConsumedCapacity>) {
        let units = units(consumed);
        self.count(|usage| usage.read_units += units);
    }

    pub(super) fn count_written<'c>(
        &self,
        consumed: impl IntoIterator<Item = &'c ConsumedCapacity>,
    ) {
        let units = units(consumed);
        self.count(|usage| usage.write_units += units);
    }
}

fn units<'c>(consumed: impl IntoIterator<Item = &'c ConsumedCapacity>) -> f64 {
    consumed.into_iter().filter_map(ConsumedCapacity::capacity_units).sum()
}

/// Returns what all clients share. The SDK does not retry (see [`super::attempts`]), and an attempt
/// without an answer ends while there is time for another.
fn config() -> Builder {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_attempt_timeout(Duration::from_secs(2));
    Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .timeout_config(timeouts.build())
}

/// How a function reaches the services of AWS.
#[derive(Clone, Debug)]
pub struct Access {
    /// The region of the function.
    pub region: Region,
    /// The credentials that Lambda puts into the environment.
    pub credentials: Credentials,
    /// The client for HTTPS.
    pub http: SharedHttpClient,
}

impl Access {
    /// Reads the environment. `amazon` is true if the endpoint is one of AWS.
    pub fn from_env(amazon: bool) -> Result<Self> {
        let region = variable("AWS_REGION")?;
        let credentials = Credentials::new(
            variable("AWS_ACCESS_KEY_ID")?,
            variable("AWS_SECRET_ACCESS_KEY")?,
            env::var("AWS_SESSION_TOKEN").ok(),
            None,
            "environment",
        );
        let amazon = amazon && has_amazon_certificates(&region);
        let trust = if amazon { amazon_roots() } else { TrustStore::default() };
        Ok(Self { region: Region::new(region), credentials, http: https(trust) })
    }
}

/// Returns an environment variable.
pub fn variable(name: &str) -> Result<String> {
    env::var(name).map_err(|_| Error::internal(format!("{name} is not set")))
}

/// Returns a client for HTTPS with ring, which draws its first random bytes without delay.
fn https(trust: TrustStore) -> SharedHttpClient {
    let tls = TlsContext::builder().with_trust_store(trust).build().expect("a valid trust store");
    aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(tls)
        .build_https()
}

fn tls_config(trust: TrustStore) -> Builder {
    config().http_client(https(trust))
}

/// Returns the configuration of every client, with the roots of the operating system, for benchmarks
/// that compare the table with bare SDK calls.
pub fn client_config() -> Builder {
    tls_config(TrustStore::default())
}

fn with_dummy_credentials(config: Builder) -> Builder {
    let credentials = Credentials::new("local", "local", None, None, "local");
    config.region(Region::from_static("us-east-1")).credentials_provider(credentials)
}

/// Returns the roots of Amazon Trust Services, which issue DynamoDB's certificates.
///
/// Parsing the 140 or so roots of the operating system takes six times as many instructions as the
/// rest of a function's start. Source: <https://www.amazontrust.com/repository/>, the five that AWS
/// tells clients to trust. The first expires in 2037.
fn amazon_roots() -> TrustStore {
    TrustStore::empty().with_pem_certificate(include_bytes!("amazon.pem").as_slice())
}

/// Returns whether DynamoDB has certificates of Amazon's own roots in this region. It does not in
/// China, in the European sovereign cloud and in isolated regions.
fn has_amazon_certificates(region: &str) -> bool {
    !region.starts_with("cn-") && !region.starts_with("eusc-") && !region.contains("-iso")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_does_not_retry_and_ends_an_attempt_while_there_is_time_for_another() {
        let config = with_dummy_credentials(tls_config(amazon_roots())).build();
        assert_eq!(config.retry_config().map(RetryConfig::max_attempts), Some(1));
        let timeouts = config.timeout_config().expect("timeouts");
        assert_eq!(timeouts.connect_timeout(), Some(Duration::from_secs(1)));
        assert_eq!(timeouts.operation_attempt_timeout(), Some(Duration::from_secs(2)));
        assert_eq!((timeouts.operation_timeout(), timeouts.read_timeout()), (None, None));
        assert!(!config.stalled_stream_protection().expect("configured").is_enabled());
    }

    #[test]
    fn the_five_amazon_roots_can_be_parsed() {
        let pem = include_str!("amazon.pem");
        assert_eq!(pem.matches("-----BEGIN CERTIFICATE-----").count(), 5);
        // A client parses its roots when it is created, and panics if one is invalid.
        let config = with_dummy_credentials(tls_config(amazon_roots())).build();
        assert_eq!(Table::new(config, "chat").usage(), Usage::default());
    }

    #[test]
    fn only_public_aws_regions_have_amazon_certificates() {
        assert!(["eu-central-1", "us-gov-west-1"].into_iter().all(has_amazon_certificates));
        let others = ["cn-north-1", "eusc-de-east-1", "us-iso-east-1", "eu-isoe-west-1"];
        assert!(!others.into_iter().any(has_amazon_certificates));
    }
}
