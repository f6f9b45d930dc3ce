//! Who is told of each call and of every reason against it: `dockgate explain`, of what a command sends.
//!
//! `gateway` tells it where a call was decided and where it is refused; no listener of `serve` has one. What must stay
//! true: it is told by whoever decides, and decides nothing.

use std::fmt;

use super::refusal::Refusal;
use crate::api::Call;
use crate::api::endpoint::Method;
use crate::policy::{Edit, Fact, Finding, Question, Reason};
use crate::telemetry::access::Record;

pub trait Witness: Send + Sync + fmt::Debug {
    fn saw(&self, call: SeenCall, what: Seen);

    /// What a policy wants to know of a call, where the engine would be told of it only after the answer.
    fn knows(&self, operation: &str, question: &Question) -> Option<Fact>;
}

/// A call in few words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenCall {
    /// `POST /containers/create?name=x`: without the API's version, and of the query only names.
    pub line: String,
    pub operation: &'static str,
    /// Whether it only asks.
    pub asks: bool,
}

#[derive(Debug)]
pub enum Seen {
    /// By all policies: what speaks against it, and what they have changed.
    Judged(Vec<Finding>, Vec<(String, Edit)>),
    /// By who did not need to ask them, or of what follows a call.
    Refused(Vec<Reason>),
    /// It could not be understood.
    Rejected(String),
}

/// Of a query, what names things.
const NAMES: &[&str] = &["name", "fromImage", "fromSrc", "repo", "tag", "t", "remote", "version"];

impl SeenCall {
    pub(super) fn of(record: &Record, call: Option<&Call>) -> SeenCall {
        let path = record.path.split('?').next().unwrap_or_default();
        let mut line = format!("{} {}", record.method, unversioned(path));
        if let Some(Call::Typed(call)) = call {
            let mut mark = '?';
            for (name, value) in call.query().iter().filter(|(name, _)| NAMES.contains(name)) {
                line.push_str(&format!("{mark}{name}={value}"));
                mark = '&';
            }
        }
        let row = call.and_then(Call::row);
        let asks = row.is_some_and(|row| matches!(row.method, Method::Get | Method::Head));
        SeenCall { line, operation: record.operation, asks }
    }
}

/// A refusal that the client is about to be told of.
pub(super) fn refused(witness: &dyn Witness, refusal: &Refusal, record: &Record) {
    let seen = match refusal {
        // Of what comes in HTTP/2 each call is told.
        Refusal::Left | Refusal::Answered(_) | Refusal::Http2 => return,
        Refusal::Denied(reasons) => Seen::Refused(reasons.clone()),
        other => Seen::Rejected(other.message()),
    };
    witness.saw(SeenCall::of(record, None), seen);
}

fn unversioned(path: &str) -> &str {
    let Some((version, rest)) = path.strip_prefix("/v").and_then(|rest| rest.split_once('/'))
    else {
        return path;
    };
    let is_version = version.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let start = path.len() - rest.len() - 1;
    if is_version { path.get(start..).unwrap_or(path) } else { path }
}
