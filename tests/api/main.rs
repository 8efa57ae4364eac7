//! What is true of the whole service, through its HTTP face. Run with `cargo test -p tests`.
//!
//! - `profiles`, `conversations`, `messages`: every operation with its answers and errors
//! - `pages`: lists, in both directions
//! - `points`: the reward, and what stays true when many post at once
//! - `idempotency`: a repeated POST has no second effect
//! - `access`: who may do what, on every route; `callers`: who asks
//! - `requests`: what is refused before any resource is looked at, and what the gateway answers by itself
//! - `bad_input`: whatever API Gateway sends, generated
//! - `cost`: which requests each operation sends to DynamoDB, and what they consume
//! - `documentation`: the pages, their files, and the OpenAPI document, which says what is true
//! - `faults`: what is answered when the table does not answer, or not in time
//! - `house`: what stands in more than one place is the same in all: routes, binaries, events, permissions
//! - `permissions`: what each function sends to DynamoDB is exactly what `template.yaml` lets it
//! - `smoke`: the smoke test finds a service that works, and one that does not
//! - `server`: the development server itself: restart, ports, files
//!
//! `logs.rs`, what the log says, `simulation`, the promise under faults, and `browser.rs`, journeys in a real browser, are targets of
//! their own.
//!
//! Each test has a table of its own on an engine of its own. With `AWS_ENDPOINT_URL_DYNAMODB` set they share that engine, each
//! with its own table. With `CHAT_API_URL` set, all that does not need a table to itself runs against that service instead.
//!
//! `tests/dynamodb-local` starts Amazon's own DynamoDB Local. Where it and the embedded engine differ:
//! - it reports 2 capacity units for a whole transaction, where DynamoDB and the embedded engine report 2 for each item written;
//!   so `cost` always runs on the embedded engine;
//! - it answers a conflict (`TransactionConflict`) when transactions meet, as DynamoDB does; the embedded engine never does.

mod access;
mod bad_input;
mod callers;
mod conversations;
mod cost;
mod documentation;
mod faults;
mod idempotency;
mod messages;
mod pages;
mod permissions;
mod points;
mod profiles;
mod requests;
mod server;
mod smoke;
mod template;
