//! Tests of the whole service through its HTTP API. Run with `cargo test -p tests --test api`.
//!
//! - `profiles`, `conversations`, `members`, `messages`: every operation with its responses and
//!   errors
//! - `pages`: lists, in both directions
//! - `places`, `gaps`: posts between reservation and commit, and what readers see of them
//! - `limits`: the rate limit of a profile, and the limit of a conversation
//! - `live`: live delivery, with a WebSocket client
//! - `changes`: following a conversation, whatever is visible
//! - `preconditions`, `overtaken`: versions, `If-Match`, and changes that meet others
//! - `points`: points and congratulations, also under concurrent posts
//! - `idempotency`: a repeated POST has no second effect
//! - `access`: which caller may do what, on every route
//! - `removal`: removals of members and profiles that meet other requests
//! - `requests`: requests that are refused before a handler runs, and the gateway's own responses
//! - `problems`: the code and the text of every error
//! - `bad_input`: generated events and requests
//! - `faults`: unanswered, unreadable and refused requests to DynamoDB
//! - `deletion`: how a deleted conversation is removed
//! - `cost`: which requests each operation sends to DynamoDB, and what they consume
//! - `documentation`: the pages, their files, and the OpenAPI document
//! - `template`: routes, scopes, queries, binaries and events agree wherever they are listed
//! - `deployment`: what the templates and `samconfig.toml` promise an operator
//! - `permissions`: each function may send exactly the requests that it sends
//! - `smoke`: the smoke test passes on a working service and fails on a broken one
//! - `server`: the development server: restart, ports, files
//!
//! [`stage`] is a service whose database, clock and requests to DynamoDB a test controls.
//!
//! `logs.rs` and the folders `simulation` and `browser` are targets of their own.
//!
//! Each test has a table of its own on an engine of its own. With `AWS_ENDPOINT_URL_DYNAMODB` set,
//! all tests use that engine. With `CHAT_API_URL` set, tests that need no table of their own use
//! that service.
//!
//! `tests/dynamodb-local` runs the tests on DynamoDB Local, which differs from the embedded engine:
//! - It reports 2 capacity units for a whole transaction. DynamoDB and the embedded engine report 2
//!   for each written item, so `cost` always uses the embedded engine.
//! - It reports a conflict (`TransactionConflict`) when transactions meet, as DynamoDB does. The
//!   embedded engine never does.

mod access;
mod bad_input;
mod changes;
mod conversations;
mod cost;
mod deletion;
mod deployment;
mod documentation;
mod faults;
mod gaps;
mod idempotency;
mod limits;
mod live;
mod members;
mod messages;
mod overtaken;
mod pages;
mod permissions;
mod places;
mod points;
mod preconditions;
mod problems;
mod profiles;
mod removal;
mod requests;
mod server;
mod smoke;
mod stage;
mod template;
