//! The flags of the program.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::Parser;

use crate::database_file::one_line;
use crate::hosts::parse_origin;

/// Runs the whole chat API on this machine, on an embedded DynamoDB-compatible engine.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Options {
    /// Port of the API; 0 picks a free one.
    #[arg(long, default_value_t = 3000)]
    pub port: u16,
    /// Address of the API: 0.0.0.0 for phones and containers.
    #[arg(long, value_name = "ADDRESS", default_value_t = Ipv4Addr::LOCALHOST.into())]
    pub host: IpAddr,
    /// Confirms --host without --auth: everyone who reaches the address may act as any profile.
    #[arg(long)]
    pub allow_open: bool,
    /// Database file. The data survives a restart.
    #[arg(long, value_name = "FILE", default_value = "chat.db")]
    pub database: PathBuf,
    /// Keeps the database in memory until the server stops.
    #[arg(long, conflicts_with = "database")]
    pub in_memory: bool,
    /// Requires access tokens, as in the cloud, and prints tokens for development. Their key is
    /// kept next to the database file.
    #[arg(long)]
    pub auth: bool,
    /// Origins of web pages that may call the API, separated by commas, such as
    /// http://localhost:5173.
    #[arg(long, value_name = "ORIGINS", value_delimiter = ',')]
    pub cors_origins: Vec<String>,
    /// Opens the engine on this port of 127.0.0.1, for the AWS CLI and other tools; 0 picks a free
    /// one.
    #[arg(long, value_name = "PORT")]
    pub dynamodb_port: Option<u16>,
    /// Uses a running DynamoDB-compatible engine instead of the embedded one.
    #[arg(long, value_name = "URL", env = "AWS_ENDPOINT_URL_DYNAMODB")]
    pub dynamodb_endpoint: Option<String>,
    /// Messages that a profile may post per second, with a burst of ten times as many; 0 is unlimited.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub posts_per_second: u32,
    /// Does not print a line for each request.
    #[arg(long)]
    pub quiet: bool,
}

impl Options {
    /// Returns the endpoint of the external engine, `None` if the embedded engine is used.
    pub(crate) fn endpoint(&self) -> Option<&str> {
        self.dynamodb_endpoint.as_deref().filter(|endpoint| !endpoint.is_empty())
    }

    /// Checks combinations and values that the parser does not check.
    ///
    /// # Errors
    /// The unusable flag and the reason, in one line.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !self.host.is_loopback() && !self.auth && !self.allow_open {
            return Err(format!(
                "--host {}: everyone who reaches this address could act as any profile: \
                 add --auth, or --allow-open if that is intended",
                self.host
            ));
        }
        if self.dynamodb_port.is_some() && self.endpoint().is_some() {
            return Err(
                "--dynamodb-port: the embedded engine is not used with --dynamodb-endpoint \
                        or AWS_ENDPOINT_URL_DYNAMODB"
                    .into(),
            );
        }
        for origin in &self.cors_origins {
            parse_origin(origin).map_err(|error| format!("--cors-origins: {error}"))?;
        }
        Ok(())
    }
}

/// Returns an error of the parser in one line, without the usage.
#[must_use]
pub fn parser_error(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    one_line(first.strip_prefix("error: ").unwrap_or(first))
}
