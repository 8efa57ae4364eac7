//! The test harness: how tests start the service, talk to it, and disturb it.
//!
//! - [`dynamodb`]: the fault engine between the service and DynamoDB
//! - [`guarantees`]: the checker of the delivery guarantees
//! - [`service`]: a running service, its responses, and the requests that it sends to DynamoDB

pub mod dynamodb;
pub mod guarantees;
pub mod service;
