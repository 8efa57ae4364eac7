//! The test harness: how tests start the service, talk to it, and disturb it.
//!
//! - [`service`]: a running service, its responses, and the requests that it sends to DynamoDB

pub mod clock;
pub mod service;
