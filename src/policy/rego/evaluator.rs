//! One policy's evaluator: an input, and what `allow`, `deny` and `patch` are for it.
//!
//! `Rego` asks it about calls and `Values` about what else is judged. What must stay true: whatever goes wrong on the way,
//! a panic of the interpreter included, is no verdict; messages hold no values that the policy did not put there.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use regorus::{Engine, LimitError, Value};

use super::compile::{self, Compiled, Packages};
use crate::config::{File, Invalid};

/// More messages than anybody reads, and longer ones.
const MOST_MESSAGES: usize = 32;
const LONGEST_MESSAGE: usize = 512;

pub(super) struct Evaluator {
    compiled: Compiled,
    /// Evaluators that were used and are clean: making one costs as much as a small policy.
    spare: Mutex<Vec<Engine>>,
}

/// What the policy says.
pub(super) struct Decision {
    pub(super) allow: bool,
    pub(super) deny: Vec<String>,
    pub(super) patch: Option<Value>,
}

impl Evaluator {
    pub(super) fn new(
        file: &File,
        timeout: Duration,
        packages: &Packages,
    ) -> Result<Evaluator, Invalid> {
        let compiled = compile::compile(file, timeout, packages)?;
        Ok(Evaluator { compiled, spare: Mutex::default() })
    }

    /// Such as `data.dockgate`.
    pub(super) fn package(&self) -> &str {
        &self.compiled.package
    }

    /// Whatever comes in here, what comes out is a word of the policy or the reason why there is none.
    pub(super) fn evaluate(&self, input: Value) -> Result<Decision, String> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut engine = spare.unwrap_or_else(|| self.compiled.engine.clone());
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            engine.set_input(input);
            let said = engine.eval_rule(compile::VERDICT.to_owned());
            engine.set_input(Value::Undefined);
            // What the policy prints is nobody's business here; it must not pile up.
            let _ = engine.take_prints();
            said
        }));
        let said = outcome
            .map_err(|_| "could not be judged: the policy broke the interpreter".to_owned())?
            .map_err(|error| why_not(&error))?;
        let said = read(&said)?;
        // Only after a clean end: an error may leave an evaluator in the middle of something.
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(engine);
        Ok(said)
    }
}

/// `[[allow], [deny], [patch]]`, each empty where it is undefined.
fn read(said: &Value) -> Result<Decision, String> {
    let at = |index: usize| {
        let word = said.as_array().ok().and_then(|words| words.get(index));
        word.and_then(|word| word.as_array().ok()).and_then(|word| word.first())
    };
    let allow = match at(0) {
        None => false,
        Some(Value::Bool(allow)) => *allow,
        Some(_) => return Err("could not be judged: `allow` is no boolean".to_owned()),
    };
    let deny = at(1).map_or(Ok(Vec::new()), messages)?;
    Ok(Decision { allow, deny, patch: at(2).cloned() })
}

/// `deny` as people write it: a set or list of strings or of objects with `msg`, or a boolean.
fn messages(deny: &Value) -> Result<Vec<String>, String> {
    let default = || "is not allowed".to_owned();
    let unreadable = || "could not be judged: `deny` holds neither text nor `msg`".to_owned();
    let text = |item: &Value| {
        let in_object = || item.as_object().ok()?.get(&"msg".into())?.as_string().ok();
        let text = item.as_string().ok().or_else(in_object);
        text.map(|text| cleaned(text)).ok_or_else(unreadable)
    };
    match deny {
        Value::Bool(false) => Ok(Vec::new()),
        Value::Bool(true) => Ok(vec![default()]),
        Value::Set(items) => items.iter().take(MOST_MESSAGES).map(text).collect(),
        Value::Array(items) => items.iter().take(MOST_MESSAGES).map(text).collect(),
        // `deny[msg] if …` makes a map of what was a set before Rego 1.0.
        Value::Object(items) if items.iter().all(|(_, value)| *value == Value::Bool(true)) => {
            items.iter_sorted().take(MOST_MESSAGES).map(|(key, _)| text(key)).collect()
        }
        Value::Null | Value::Number(_) | Value::String(_) | Value::Object(_) | Value::Undefined => {
            Err(unreadable())
        }
    }
}

/// A message of one line and of bounded length: parts of it may be the client's.
fn cleaned(text: &str) -> String {
    let line = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(LONGEST_MESSAGE).map(line).collect()
}

/// Why there is no verdict, without values of the request: they may be secrets.
fn why_not(error: &anyhow::Error) -> String {
    if let Some(LimitError::TimeLimitExceeded { limit, .. }) = error.downcast_ref() {
        return format!("could not be judged within {}", humantime::format_duration(*limit));
    }
    let (place, what) = compile::taken_apart(&error.to_string());
    let what = what.split(" Got `").next().unwrap_or_default().trim_end_matches('.').to_owned();
    match place {
        Some((line, _)) => format!("could not be judged: line {line} of the policy: {what}"),
        None => format!("could not be judged: {what}"),
    }
}
