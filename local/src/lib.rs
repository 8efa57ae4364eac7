//! The development server: the whole service in one process, for a developer's machine.
//!
//! - [`server`]: the program; flags ([`server::Options`]), start-up, what it prints
//! - [`gateway`]: API Gateway; finds the route, checks the token, runs the function, responds
//! - `event`: the event that API Gateway sends to a function
//! - [`authorizer`]: API Gateway's JWT authorizer, with a key that signs tokens for development
//! - [`live`]: API Gateway's WebSocket API and the table's stream
//! - [`hosts`]: which `Host` and `Origin` headers are accepted; protects the ports from web pages
//! - [`engine`]: the embedded DynamoDB-compatible engine, in this process and on a port
//! - `database_file`: opens a database file and checks its format
//! - [`template`]: the routes and the table that `template.yaml` declares
//!
//! A request takes this way: `hosts` -> CORS -> [`Gateway::answer`] -> `event` -> [`invoke`] -> a
//! handler of the crates `functions` or `documentation` -> the table -> [`engine`].

pub mod authorizer;
mod database_file;
pub mod engine;
mod event;
pub mod gateway;
pub mod hosts;
pub mod live;
mod options;
pub mod server;
pub mod template;

pub use gateway::{Gateway, invoke, is_function};
