//! Sends frames to connections. Another fan-out service could take over here.

use std::time::Duration;

use aws_sdk_apigatewaymanagement::Client;
use aws_sdk_apigatewaymanagement::config::retry::RetryConfig;
use aws_sdk_apigatewaymanagement::config::timeout::TimeoutConfig;
use aws_sdk_apigatewaymanagement::config::{
    BehaviorVersion, Builder, HttpClient, Region, StalledStreamProtectionConfig,
};
use aws_sdk_apigatewaymanagement::error::SdkError;
use aws_sdk_apigatewaymanagement::primitives::Blob;
use shared::Error;
use shared::live::ConnectionId;
use shared::table::{Access, variable};
use tokio::time::sleep;

/// The time for one attempt.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The longest pause before the second attempt at a throttled post.
const PAUSE: Duration = Duration::from_millis(500);

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posted {
    /// It was sent.
    Sent,
    /// The connection has ended, or is not open yet.
    Gone,
    /// It was refused twice, because the account or the client receives too much.
    Throttled,
    /// It is larger than a frame may be.
    TooLarge,
}

/// Sends frames to connections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Publisher {
    client: Client,
}

impl Publisher {
    /// Returns the publisher for the stage at `CONNECTIONS_URL`.
    ///
    /// # Errors
    /// A variable is not set.
    pub fn from_env() -> shared::Result<Self> {
        let endpoint = variable("CONNECTIONS_URL")?;
        let Access { region, credentials, http } =
            Access::from_env(endpoint.contains(".amazonaws.com/"))?;
        let config = config(http).region(region).credentials_provider(credentials);
        Ok(Self { client: Client::from_conf(config.endpoint_url(endpoint).build()) })
    }

    /// Returns a publisher whose requests this client answers. They are not signed.
    #[must_use]
    pub fn with_http_client(client: impl HttpClient + 'static) -> Self {
        let config = config(client).region(Region::from_static("us-east-1")).allow_no_auth();
        let config = config.endpoint_url("http://localhost");
        Self { client: Client::from_conf(config.build()) }
    }

    /// Sends a frame. Tries a throttled one once more.
    ///
    /// # Errors
    /// It is unknown whether the frame was sent.
    pub async fn post(&self, connection: &ConnectionId, frame: &str) -> shared::Result<Posted> {
        let posted = self.try_post(connection, frame).await?;
        if posted != Posted::Throttled {
            return Ok(posted);
        }
        sleep(PAUSE.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        self.try_post(connection, frame).await
    }

    async fn try_post(&self, connection: &ConnectionId, frame: &str) -> shared::Result<Posted> {
        let request = self.client.post_to_connection().connection_id(connection.as_str());
        let error = match request.data(Blob::new(frame)).send().await {
            Ok(_) => return Ok(Posted::Sent),
            Err(error) => error,
        };
        let status = match &error {
            SdkError::ServiceError(answer) => answer.raw().status().as_u16(),
            _ => 0,
        };
        match status {
            410 => Ok(Posted::Gone),
            413 => Ok(Posted::TooLarge),
            429 => Ok(Posted::Throttled),
            _ => Err(Error::Unavailable(error.into())),
        }
    }
}

fn config(client: impl HttpClient + 'static) -> Builder {
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(TIMEOUT).build();
    Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .timeout_config(timeouts)
        .http_client(client)
}
