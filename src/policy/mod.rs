//! May it, and rewritten how: policies judge a call on its way in and its answer on the way back.
//!
//! Pure: a policy gets values and returns values; what it needs to know comes in as `Context`.
//! `gateway` runs one `Chain` a listener. What must stay true: a policy's error is a refusal, and
//! only `Chain::decide` makes a `Permitted`.
//!
//! No match over `Endpoint` or `Class` has a wildcard here, so that a new endpoint does not compile
//! until every policy says what it thinks of it.
#![deny(clippy::wildcard_enum_match_arm)]

mod chain;
pub mod conservative;
mod versions;

use std::borrow::Cow;

pub use chain::{Chain, Permitted, Tunnel};

use crate::api::endpoint::Versions;
use crate::api::{Row, Typed};
use crate::auth::Identity;

/// What a policy may know besides the call.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub identity: &'a Identity,
    pub listener: &'a str,
    pub engine: Versions,
}

pub trait Policy: Send + Sync + std::fmt::Debug {
    /// As in the configuration: `conservative`.
    fn name(&self) -> &str;

    /// Judges a call and may change it. Policies are asked in the listener's order.
    fn request(&self, call: &mut Typed, cx: &Context<'_>) -> Verdict;

    /// Whether `answer` wants the JSON of answers to this route; others stream past.
    fn reads_answer(&self, _row: &Row, _cx: &Context<'_>) -> bool {
        false
    }

    /// Changes an answer. Policies are asked in reverse order.
    fn answer(&self, _reply: &mut Reply, _cx: &Context<'_>) -> Result<(), Reason> {
        Ok(())
    }
}

#[derive(Debug)]
pub enum Verdict {
    Continue,
    Deny(Reason),
}

/// Why not: the same id in the client's message, the access log, the metrics and the docs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Stable, such as `container.privileged`.
    pub rule: &'static str,
    /// Where in the request, such as `HostConfig.Privileged`.
    pub field: Cow<'static, str>,
    /// What is allowed.
    pub why: Cow<'static, str>,
    pub hint: Cow<'static, str>,
    pub status: u16,
}

/// The engine's answer, as far as policies see it.
#[derive(Debug)]
pub struct Reply {
    pub row: &'static Row,
    pub status: u16,
    pub api_version: Option<String>,
    pub json: Option<serde_json::Value>,
}

impl Reason {
    /// A refusal by a rule: 403.
    pub fn new(
        rule: &'static str,
        field: impl Into<Cow<'static, str>>,
        why: impl Into<Cow<'static, str>>,
        hint: impl Into<Cow<'static, str>>,
    ) -> Reason {
        Reason { rule, field: field.into(), why: why.into(), hint: hint.into(), status: 403 }
    }

    /// The sentence that the client prints.
    pub fn message(&self) -> String {
        if self.field.is_empty() {
            return self.why.to_string();
        }
        let Reason { rule, field, why, hint, .. } = self;
        let hint = if hint.is_empty() { String::new() } else { format!(". hint: {hint}") };
        format!("dockgate: {field}: {why} (rule {rule}){hint}")
    }
}
