//! The test harness: starts the service, sends requests to it, and disturbs it.
//!
//! - [`service`]: starts the service; every test and tool starts it there
//! - [`client`], [`response`]: sends requests and checks responses
//! - [`recorder`]: records and disturbs the requests that the service sends to DynamoDB
//! - [`clock`]: moves time forward, so that no test waits
//! - [`dynamodb`]: the fault engine between the service and DynamoDB
//! - [`guarantees`]: the checker of the delivery guarantees
//! - [`socket`], [`follower`]: a WebSocket client, and one that follows a conversation
//! - [`posts`]: a stand-in for the service that sends frames
//! - [`template`]: what `template.yaml` declares

pub mod client;
pub mod clock;
pub mod dynamodb;
pub mod follower;
pub mod guarantees;
pub mod posts;
pub mod recorder;
pub mod response;
pub mod service;
pub mod socket;
pub mod template;
