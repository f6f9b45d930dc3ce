//! `conservative`: nothing that elevates privileges.
//!
//! The first form of it: whole classes of endpoints are refused, and the plainest fields of create,
//! exec, volumes, networks and builds. What must stay true: everything it wants is data, in
//! `opinion` (endpoints) and `rules` (fields).

mod opinion;
mod predicate;
mod rules;
mod surroundings;

use super::{Context, Policy, Reason, Verdict};
use crate::api::Typed;
use crate::config::{self, Invalid};
use opinion::Opinion;
use rules::QueryRule;
pub use surroundings::Surroundings;

#[derive(Debug)]
pub struct Conservative {
    name: String,
}

impl Conservative {
    pub fn new(
        name: &str,
        _settings: &config::Conservative,
        _around: &Surroundings,
    ) -> Result<Conservative, Invalid> {
        Ok(Conservative { name: name.to_owned() })
    }
}

impl Policy for Conservative {
    fn name(&self) -> &str {
        &self.name
    }

    fn request(&self, call: &mut Typed, _: &Context<'_>) -> Verdict {
        judge(call).into()
    }
}

fn judge(call: &Typed) -> Result<(), Reason> {
    match opinion::of(call.endpoint()) {
        Opinion::Allow => Ok(()),
        Opinion::Refuse { rule, why } => Err(Reason::new(rule, call.row().path, why, "")),
        Opinion::Judge { query, body } => {
            query.iter().try_for_each(|rule| judge_query(rule, call))?;
            let Some(doc) = call.doc() else { return Ok(()) };
            body.iter().try_for_each(|rule| predicate::check(rule, &doc.root))
        }
    }
}

fn judge_query(rule: &QueryRule, call: &Typed) -> Result<(), Reason> {
    match call.query().get(rule.name) {
        Some(value) if !rule.allowed.contains(&value) => {
            Err(Reason::new(rule.id, format!("?{}", rule.name), rule.why, rule.hint))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
