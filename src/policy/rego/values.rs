//! The same rules for what is no call of Docker's API: a JSON value, judged.
//!
//! `policy::own_rules` makes one; `cache::registry` has pushes judged by it. What must stay true: no other answer than
//! `allow` without `deny` lets something pass.

use super::compile;
use super::evaluator::Evaluator;
use crate::config::{Invalid, PushPolicy};
use crate::policy::OwnRules;

pub(in crate::policy) struct Values(Evaluator);

impl Values {
    pub(in crate::policy) fn new(settings: &PushPolicy) -> Result<Values, Invalid> {
        Evaluator::new(&settings.file, settings.timeout, &compile::OF_PUSHES).map(Values)
    }
}

impl OwnRules for Values {
    fn judge(&self, input: &serde_json::Value) -> Result<Option<serde_json::Value>, Vec<String>> {
        let said = self.0.evaluate(input.clone().into()).map_err(|why| vec![why])?;
        if !said.deny.is_empty() {
            return Err(said.deny);
        }
        if !said.allow {
            return Err(vec![format!("is not allowed by `{}.allow`", self.0.package())]);
        }
        let patch = said.patch.map(serde_json::to_value).transpose();
        patch.map_err(|_| vec!["could not be judged: `patch` is no JSON".to_owned()])
    }
}

impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Values(…)")
    }
}
