//! What is true of the whole service, through its HTTP face. Run with `cargo test -p tests`.
//!
//! - `profiles`, `conversations`, `messages`: every operation with its answers and errors
//! - `pages`: lists, in both directions
//! - `points`: the reward, and what stays true when many post at once
//! - `idempotency`: a repeated POST has no second effect
//! - `requests`: what is refused before any resource is looked at, and what the gateway answers by itself
//! - `cost`: which requests each operation sends to DynamoDB, and what they consume
//! - `server`: the development server itself: restart, ports, files
//!
//! Each test has a table of its own on an engine of its own. With `AWS_ENDPOINT_URL_DYNAMODB` set they share that engine, each
//! with its own table. With `CHAT_API_URL` set, all that does not need a table to itself runs against that service instead.

mod conversations;
mod cost;
mod idempotency;
mod messages;
mod pages;
mod points;
mod profiles;
mod requests;
mod server;
mod support;
