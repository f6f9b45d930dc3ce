//! From an access log with findings to the smallest file of rules that would have let all of it pass.
//!
//! `dockgate learn` gives a `LearnedRules` the lines of a log and prints what it has learned, for a person to read.
//! What must stay true: what the built-in rules allow stays allowed, what no line asked for stays refused,
//! and each line that gives away the host says so; nothing of a log can be more than a quoted text or a
//! comment in the file.

mod mounts;
mod report;
mod widen;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value as Json;

use super::rules::{Operation, PathRule, Rule, Rules};
use crate::api::doc::Value;
use crate::api::endpoint::Row;
use crate::api::table;
use crate::config::Invalid;
use crate::policy::{RequestPart, RuleFinding};

/// What a log has taught so far.
#[derive(Debug)]
pub struct LearnedRules {
    builtin: Rules,
    listener: Option<String>,
    calls: u64,
    audited: u64,
    /// Refused by policies that enforce; what they would have needed is not in the log.
    denied: u64,
    /// Findings that a record had no room for.
    left_out: u64,
    operations: BTreeMap<String, Used>,
    /// What is no matter of rules: of other policies, and what dockgate does not know. By policy and rule.
    others: BTreeMap<(String, String), u64>,
}

/// One operation.
#[derive(Debug)]
struct Used {
    row: &'static Row,
    /// The rule by which it is refused as a whole, and how often it was.
    refused: Option<Seen>,
    places: BTreeMap<(RequestPart, String), Seen>,
}

/// What was found at one place.
#[derive(Debug, Default)]
struct Seen {
    rule: String,
    times: u64,
    by: BTreeSet<String>,
    /// Each once; none for what could not be written down.
    found: Vec<Option<Json>>,
    /// What each use of something that was made elsewhere was refused for.
    causes: Vec<Vec<RuleFinding>>,
}

#[derive(Deserialize)]
struct Record {
    operation: String,
    verdict: String,
    #[serde(default)]
    listener: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    findings: Vec<Finding>,
}

#[derive(Deserialize)]
struct Finding {
    #[serde(default)]
    policy: String,
    #[serde(default)]
    rule: String,
    #[serde(default)]
    left_out: u64,
    #[serde(flatten)]
    found: Option<RuleFinding>,
}

impl LearnedRules {
    /// `listener` leaves out the records of others.
    pub fn new(listener: Option<String>) -> Result<LearnedRules, Invalid> {
        Ok(LearnedRules {
            builtin: Rules::builtin()?,
            listener,
            calls: 0,
            audited: 0,
            denied: 0,
            left_out: 0,
            operations: BTreeMap::new(),
            others: BTreeMap::new(),
        })
    }

    /// Learns from a line of JSON or LTSV; false if it is no access record.
    pub fn read(&mut self, line: &str) -> bool {
        let record = match line.starts_with('{') {
            true => serde_json::from_str(line).ok(),
            false => of_ltsv(line),
        };
        let Some(record) = record else { return false };
        if self.listener.as_ref().is_none_or(|listener| *listener == record.listener) {
            self.record(record);
        }
        true
    }

    pub fn calls(&self) -> u64 {
        self.calls
    }

    fn record(&mut self, record: Record) {
        let Record { operation, verdict, listener, user, findings } = record;
        match verdict.as_str() {
            "allow" | "fail" => {}
            "audit" => self.audited += 1,
            "deny" => {
                self.denied += 1;
                return;
            }
            _ => return,
        }
        self.calls += 1;
        if let Some(row) = row_of(&operation) {
            self.used(row);
        }
        let by =
            if user == "-" || user.is_empty() { listener } else { format!("{listener}/{user}") };
        for finding in findings {
            self.left_out += finding.left_out;
            let row = finding.found.as_ref().and_then(|found| row_of(&found.operation));
            match (row, finding.found) {
                (Some(row), Some(found)) => self.finding(row, finding.rule, found, &by),
                _ if finding.left_out > 0 => {}
                _ => *self.others.entry((finding.policy, finding.rule)).or_default() += 1,
            }
        }
    }

    fn used(&mut self, row: &'static Row) -> &mut Used {
        let new = || Used { row, refused: None, places: BTreeMap::new() };
        self.operations.entry(row.endpoint.id().to_owned()).or_insert_with(new)
    }

    fn finding(&mut self, row: &'static Row, rule: String, found: RuleFinding, by: &str) {
        let used = self.used(row);
        let RuleFinding { part, place, found, causes, .. } = found;
        let seen = match part {
            RequestPart::Operation => used.refused.get_or_insert_default(),
            part => used.places.entry((part, place)).or_default(),
        };
        seen.rule = rule;
        seen.times += 1;
        seen.by.insert(by.to_owned());
        if !seen.found.contains(&found) {
            seen.found.push(found);
        }
        if !seen.causes.contains(&causes) {
            seen.causes.push(causes);
        }
    }

    /// What the built-in rules say of a place.
    fn builtin_rule(&self, row: &Row, part: RequestPart, place: &str) -> Option<&Rule> {
        let operation = self.builtin.operations.get(&row.endpoint)?;
        let named =
            |list: &'_ [(&'static str, Rule)]| list.iter().position(|(name, _)| *name == place);
        match part {
            RequestPart::Operation => None,
            RequestPart::Path => match operation.path.as_ref()? {
                PathRule::Is(rule) => Some(rule),
                PathRule::Own | PathRule::OwnToEnd => None,
            },
            RequestPart::Query => {
                operation.query.get(named(&operation.query)?).map(|(_, rule)| rule)
            }
            RequestPart::Header => {
                operation.headers.get(named(&operation.headers)?).map(|(_, rule)| rule)
            }
            RequestPart::Body => {
                let mut steps = place.split('.').filter(|step| !step.is_empty());
                let node = steps.try_fold(&operation.body, |node, step| match step {
                    "*" => node.each.as_deref(),
                    step => node.field(step),
                });
                node?.rule.as_ref()
            }
        }
    }

    /// What a place of a body is filled with when it is empty.
    fn fill(&self, row: &Row, place: &str) -> Option<&Value> {
        let Operation { fills, .. } = self.builtin.operations.get(&row.endpoint)?;
        fills.iter().find(|(path, _)| path.join(".") == place).map(|(_, value)| value)
    }

    /// Whether all that speaks against something made elsewhere may be made here, too, by what was learned.
    fn may_be_made(&self, causes: &[RuleFinding]) -> bool {
        !causes.is_empty() && causes.iter().all(|cause| self.covers(cause))
    }

    fn covers(&self, cause: &RuleFinding) -> bool {
        let place = (cause.part, cause.place.clone());
        let used = self.operations.get(cause.operation.as_ref());
        let Some(seen) = used.and_then(|used| used.places.get(&place)) else { return false };
        if seen.found.contains(&None) {
            return true;
        }
        let known: Vec<String> = seen.found.iter().flatten().flat_map(parts).collect();
        match &cause.found {
            Some(found) => parts(found).iter().all(|part| known.contains(part)),
            // As `state` says it of what is mounted.
            None => cause.place == crate::api::grammar::mounts::BINDS,
        }
    }
}

/// A value or its elements, in one spelling: engines put `CAP_` in front of capabilities.
fn parts(found: &Json) -> Vec<String> {
    match found {
        Json::Array(items) => items.iter().flat_map(parts).collect(),
        Json::String(text) => vec![text.strip_prefix("CAP_").unwrap_or(text).to_owned()],
        other => vec![other.to_string()],
    }
}

fn row_of(operation: &str) -> Option<&'static Row> {
    table::all().find(|row| row.endpoint.id() == operation)
}

fn of_ltsv(line: &str) -> Option<Record> {
    let fields: BTreeMap<&str, &str> =
        line.split('\t').filter_map(|one| one.split_once(':')).collect();
    let text = |name| fields.get(name).map(|text| (*text).to_owned());
    let findings =
        fields.get("findings").map(|json| serde_json::from_str(json)).transpose().ok()?;
    Some(Record {
        operation: text("operation")?,
        verdict: text("verdict")?,
        listener: text("listener").unwrap_or_default(),
        user: text("user").unwrap_or_default(),
        findings: findings.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests;
