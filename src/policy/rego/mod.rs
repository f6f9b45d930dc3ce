//! `rego`: the operator's own rules, in Rego.
//!
//! `run::plan` makes one of each `[policy.NAME]` of this kind. `compile` reads the file, `input` says
//! what a policy sees, `patch` changes the body. What must stay true: a call passes only if `allow` is
//! true and `deny` is empty; whatever goes wrong on the way, a panic of the interpreter included,
//! refuses; what a patch makes is read by the same rules as what a client sends.

mod binds;
mod calls;
mod compile;
mod evaluator;
mod input;
mod patch;
mod values;

use std::fmt;

use super::conservative::Surroundings;
use super::host_paths::Unresolved;
use super::{Context, Policy, Reason, Verdict};
use crate::api::Typed;
use crate::config::{self, Invalid};
use evaluator::Evaluator;
use input::TooLarge;
pub(super) use values::Values;

pub struct Rego {
    name: String,
    evaluator: Evaluator,
    input_bytes: usize,
    /// Whether paths of the engine's host can be looked at from here.
    shares_host: bool,
}

impl Rego {
    pub fn new(
        name: &str,
        settings: &config::Rego,
        around: &Surroundings,
    ) -> Result<Rego, Invalid> {
        Ok(Rego {
            name: name.to_owned(),
            evaluator: Evaluator::new(&settings.file, settings.timeout, &compile::OF_CALLS)?,
            input_bytes: settings.input_bytes,
            shares_host: around.shares_host,
        })
    }

    fn judge(&self, call: &Typed, cx: &Context<'_>) -> Result<Verdict, Reason> {
        let binds = match binds::of(call, cx.facts, self.shares_host) {
            Ok(binds) => binds,
            Err(Unresolved::Ask(questions)) => return Ok(Verdict::Ask(questions)),
            Err(Unresolved::Unknown(why)) => return Err(self.refuse(call, why)),
        };
        let input = input::of(call, cx, binds, self.input_bytes).map_err(|TooLarge| {
            self.refuse(call, format!("is larger than `input_bytes` ({})", self.input_bytes))
        })?;
        let said = self.evaluator.evaluate(input).map_err(|why| self.refuse(call, why))?;
        if !said.deny.is_empty() {
            let reasons = said.deny.into_iter().map(|message| self.refuse(call, message));
            return Ok(Verdict::Deny(reasons.collect()));
        }
        if !said.allow {
            let why = format!("is not allowed by `{}.allow`", self.evaluator.package());
            return Err(self.refuse(call, why));
        }
        let Some(operations) = said.patch else { return Ok(Verdict::pass()) };
        let edits = patch::edits(&operations, call).map_err(|why| self.refuse(call, why))?;
        Ok(Verdict::Pass(edits))
    }

    fn refuse(&self, call: &Typed, why: impl Into<String>) -> Reason {
        let rule = format!("rego.{}", self.name);
        Reason::new(rule, call.row().path, why.into(), "")
    }
}

impl Policy for Rego {
    fn name(&self) -> &str {
        &self.name
    }

    fn request(&self, call: &Typed, cx: &Context<'_>) -> Verdict {
        self.judge(call, cx).unwrap_or_else(Verdict::deny)
    }
}

impl fmt::Debug for Rego {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rego").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
