//! The configuration: what an operator wrote, checked, as one value.
//!
//! `cli` loads it, `run` builds the world from it. Parsing and checking need no network, no engine and
//! no privileges. What must stay true: an unknown key is an error, and every complaint says where.

mod check;
mod raw;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use check::DEFAULT_POLICY;

use crate::telemetry::{access, diagnostics};

/// Everything that `run` needs, valid.
#[derive(Clone, Debug)]
pub struct Config {
    pub engine: Engine,
    pub listeners: Vec<Listener>,
    pub limits: Limits,
    pub log: Log,
    /// How long running calls may go on after SIGTERM.
    pub drain_timeout: Duration,
}

#[derive(Clone, Debug)]
pub struct Engine {
    /// `unix://…` or `tcp://…`; `engine::Address` reads it.
    pub url: String,
    pub patience: Duration,
}

#[derive(Clone, Debug)]
pub struct Listener {
    pub name: String,
    pub bind: Bind,
    pub policies: Vec<Policy>,
    pub max_connections: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    Unix {
        path: PathBuf,
        mode: u32,
        owner: Option<u32>,
        group: Option<u32>,
    },
    /// `host:port`.
    Tcp {
        address: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Conservative,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of a request line and headers together, in bytes.
    pub header_bytes: usize,
    /// From the first byte of a head to its last.
    pub header_time: Duration,
    /// Of a JSON body, in bytes.
    pub json_body: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    pub format: diagnostics::Format,
    pub access: access::Format,
}

/// What is wrong with a configuration, and where; all of it at once.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Invalid(Vec<String>);

/// Reads and checks a file.
pub fn load(path: &Path) -> Result<Config, Invalid> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Invalid(vec![format!("{}: {error}", path.display())]))?;
    parse(&text, &path.display().to_string(), &|name| std::env::var(name).ok())
}

/// Checks a text; `file` stands in the complaints, `env` gives the values of `${NAME}`.
pub fn parse(
    text: &str,
    file: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Invalid> {
    let locate = |complaint: &check::Complaint| {
        let (line, column) = position(text, complaint.at);
        let hint = match complaint.hint.as_str() {
            "" => String::new(),
            hint => format!("\n  hint: {hint}"),
        };
        format!("{file}:{line}:{column}: {}{hint}", complaint.what)
    };
    raw::parse(text)
        .and_then(|raw| check::check(raw, env))
        .map_err(|complaints| Invalid(complaints.iter().map(locate).collect()))
}

/// What `serve` runs without a file.
pub fn without_file(
    listeners: &[String],
    engine: Option<String>,
    policies: &[String],
) -> Result<Config, Invalid> {
    check::without_file(listeners, engine, policies)
        .map_err(|complaints| Invalid(complaints.into_iter().map(|c| c.in_words()).collect()))
}

/// Line and column, from 1, of a byte.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at.min(text.len())).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    (before.matches('\n').count() + 1, column)
}

#[cfg(test)]
mod tests;
