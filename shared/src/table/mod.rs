//! The table: one DynamoDB table for everything, and the only place that knows of it.
//!
//! `impl Table` is spread over one file per resource, and one for posting. Every request goes through [`attempts`], the one loop that tries again.

mod attempts;
mod conversations;
pub mod create;
mod idempotency;
mod keys;
mod messages;
mod posting;
mod profiles;
mod requests;

use std::collections::HashMap;
use std::env;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Builder, Config, Credentials, HttpClient, Region, StalledStreamProtectionConfig};
use aws_sdk_dynamodb::types::{AttributeValue, ConsumedCapacity};
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use tokio::time::Instant;

pub use attempts::{Backoff, SHORTEST_ATTEMPT, Setback, backoff};
pub use idempotency::{Created, Idempotency};
pub use messages::Cursor;

use crate::{Error, Result};
use keys::Key;
use requests::{owned, read};

/// An item as DynamoDB knows it.
type Item = HashMap<String, AttributeValue>;

/// The longest that a function waits for the table before its first request: too short for a second attempt.
const WARM_UP: Duration = Duration::from_millis(300);

/// A handle to the table, cheap to clone. One made by [`Table::until`] belongs to one request: it knows when that request must
/// be answered, and counts what it uses.
#[derive(Clone, Debug)]
pub struct Table {
    client: Client,
    name: Arc<str>,
    deadline: Instant,
    backoff: Backoff,
    usage: Arc<Mutex<Usage>>,
}

/// What one request has used of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Requests sent to DynamoDB, repeated ones included.
    pub requests: u32,
    /// Transactions among them.
    pub transactions: u32,
    /// Read capacity units, as DynamoDB reports them.
    pub read_units: f64,
    /// Write capacity units, as DynamoDB reports them.
    pub write_units: f64,
}

impl Table {
    /// The table named by `TABLE_NAME` in `AWS_REGION`, with the credentials that Lambda puts into the environment, or at
    /// `AWS_ENDPOINT_URL_DYNAMODB` where that is set. Only the environment is read: no file, no metadata service.
    pub fn from_env() -> Result<Self> {
        let name = env::var("TABLE_NAME").map_err(|_| Error::internal("TABLE_NAME is not set"))?;
        let region = env::var("AWS_REGION").map_err(|_| Error::internal("AWS_REGION is not set"))?;
        let endpoint = env::var("AWS_ENDPOINT_URL_DYNAMODB").ok().filter(|url| !url.is_empty());
        let trust = if endpoint.is_none() && is_amazons(&region) { amazon() } else { TrustStore::default() };
        let mut config =
            trusting(trust).region(Region::new(region)).credentials_provider(EnvironmentVariableCredentialsProvider::new());
        config.set_endpoint_url(endpoint);
        Ok(Self::new(config.build(), &name))
    }

    /// A table on an engine that does not check who asks, such as the embedded one or DynamoDB Local.
    #[must_use]
    pub fn at(endpoint: &str, name: &str) -> Self {
        Self::new(without_credentials(config_over_tls()).endpoint_url(endpoint).build(), name)
    }

    /// A table that this client of HTTP reaches, such as one that hands its requests to an engine in the same process. They are
    /// not signed, for nobody is there to check it.
    #[must_use]
    pub fn on(client: impl HttpClient + 'static, name: &str) -> Self {
        let config = config().http_client(client).region(Region::from_static("us-east-1")).allow_no_auth();
        Self::new(config.endpoint_url("http://localhost").build(), name)
    }

    /// A table reached in whatever way `config` says; see [`config`].
    #[must_use]
    pub fn new(config: Config, name: &str) -> Self {
        Self {
            client: Client::from_conf(config),
            name: name.into(),
            deadline: Instant::now() + Duration::from_secs(8),
            backoff,
            usage: Arc::default(),
        }
    }

    /// The same table, with other pauses between attempts: for measuring what they are worth.
    #[must_use]
    pub fn with_backoff(self, backoff: Backoff) -> Self {
        Self { backoff, ..self }
    }

    /// A handle for one request, which has to be answered by `deadline`.
    #[must_use]
    pub fn until(&self, deadline: Instant) -> Self {
        Self { deadline, usage: Arc::default(), ..self.clone() }
    }

    /// Opens the connection that the first request will use, by reading an item that there is not. A table that does not answer at
    /// once is no reason not to start.
    pub async fn warm_up(&self) {
        if let Err(error) = self.until(Instant::now() + WARM_UP).get([Key::nothing()]).await {
            tracing::warn!(error = error.chain(), "the table was not reached before the first request");
        }
    }

    /// What this handle and its clones have used so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        *self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, add: impl FnOnce(&mut Usage)) {
        add(&mut self.usage.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn count_read<'c>(&self, consumed: impl IntoIterator<Item = &'c ConsumedCapacity>) {
        let units: f64 = consumed.into_iter().filter_map(ConsumedCapacity::capacity_units).sum();
        self.count(|usage| usage.read_units += units);
    }

    fn count_written<'c>(&self, consumed: impl IntoIterator<Item = &'c ConsumedCapacity>) {
        let units: f64 = consumed.into_iter().filter_map(ConsumedCapacity::capacity_units).sum();
        self.count(|usage| usage.write_units += units);
    }
}

/// What every client of the table has in common: the SDK does not try again by itself (see [`attempts`]), and an attempt
/// without an answer is given up while there is time for another.
pub fn config() -> Builder {
    Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(1))
                .operation_attempt_timeout(Duration::from_secs(2))
                .build(),
        )
}

/// The same, by a client for HTTPS that trusts what the operating system trusts.
pub fn config_over_tls() -> Builder {
    trusting(TrustStore::default())
}

/// With ring, whose first random bytes cost nothing to speak of.
fn trusting(trust: TrustStore) -> Builder {
    let tls = TlsContext::builder().with_trust_store(trust).build().expect("no part of it can be wrong");
    let client = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(tls);
    config().http_client(client.build_https())
}

/// The roots of Amazon Trust Services, of which all certificates of DynamoDB come. Reading the 140 or so that the operating system
/// trusts takes six times as many instructions as all else that a function does before its first request.
///
/// Source: <https://www.amazontrust.com/repository/>, the five that AWS tells clients to trust; the first to expire does so in 2037.
fn amazon() -> TrustStore {
    TrustStore::empty().with_pem_certificate(include_bytes!("amazon.pem").as_slice())
}

/// Whether DynamoDB in this region has certificates of Amazon's own roots. In China, in Europe's sovereign cloud and in isolated
/// regions others issue them.
fn is_amazons(region: &str) -> bool {
    !region.starts_with("cn-") && !region.starts_with("eusc-") && !region.contains("-iso")
}

/// For an engine that does not check who asks.
fn without_credentials(config: Builder) -> Builder {
    config.region(Region::from_static("us-east-1")).credentials_provider(Credentials::new("local", "local", None, None, "local"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_does_not_try_again_and_gives_an_attempt_up_while_there_is_time_for_another() {
        let config = without_credentials(trusting(amazon())).build();
        assert_eq!(config.retry_config().map(RetryConfig::max_attempts), Some(1));
        let timeouts = config.timeout_config().expect("timeouts");
        assert_eq!(timeouts.connect_timeout(), Some(Duration::from_secs(1)));
        assert_eq!(timeouts.operation_attempt_timeout(), Some(Duration::from_secs(2)));
        assert_eq!((timeouts.operation_timeout(), timeouts.read_timeout()), (None, None));
        assert!(!config.stalled_stream_protection().expect("said").is_enabled());
    }

    #[test]
    fn amazons_roots_are_five_that_can_be_read() {
        assert_eq!(include_str!("amazon.pem").matches("-----BEGIN CERTIFICATE-----").count(), 5);
        // A client reads what it trusts when it is made, and panics at what is no certificate.
        let table = Table::new(without_credentials(trusting(amazon())).build(), "chat");
        assert_eq!(table.usage(), Usage::default());
        assert!(is_amazons("eu-central-1") && is_amazons("us-gov-west-1"));
        assert!(
            !is_amazons("cn-north-1")
                && !is_amazons("eusc-de-east-1")
                && !is_amazons("us-iso-east-1")
                && !is_amazons("eu-isoe-west-1")
        );
    }
}
