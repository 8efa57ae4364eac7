//! One Lambda function per operation of the chat API.
//!
//! A request travels: API Gateway event → [`http::event`] → [`http::Operation::respond`] → handler →
//! one method of [`shared::Table`] → response.
//!
//! - [`operations`]: the list of all operations
//! - [`http`]: requests, responses, errors, and the handlers by resource
//! - [`live`]: live delivery
//! - [`jobs`]: scheduled work
//! - [`runtime`]: what each binary in `src/bin` calls
//! - [`log`]: the log's format

pub mod http;
pub mod jobs;
pub mod live;
pub mod log;
pub mod operations;
pub mod runtime;
