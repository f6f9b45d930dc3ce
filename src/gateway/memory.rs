//! What answers have taught, for later calls of any worker: who made which exec.
//!
//! `run` has one for the process, `facts` asks it, and a restart hands it over. What must stay true: bounded;
//! what is forgotten is refused, not allowed.

use std::sync::Arc;

use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};

use crate::policy::facts::Made;
use crate::policy::{Fact, Question};

/// Each is used within moments of being made, and once more when it has ended.
const MOST: usize = 65_536;

#[derive(Debug)]
pub struct Memory(Cache<Question, Fact>);

/// One thing remembered, as it goes to the process that takes over.
#[derive(Serialize, Deserialize)]
struct SavedExec {
    exec: String,
    #[serde(flatten)]
    made: Made,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory(Cache::new(MOST))
    }
}

impl Memory {
    pub(super) fn keep(&self, question: Question, fact: Fact) {
        self.0.insert(question, fact);
    }

    pub(super) fn recall(&self, question: &Question) -> Option<Fact> {
        self.0.get(question)
    }

    /// Everything, one line each.
    pub fn tell(&self) -> Vec<String> {
        let told = |(question, answer)| match (question, answer) {
            (Question::Exec(exec), Fact::Exec(made)) => {
                serde_json::to_string(&SavedExec { exec, made: Made::clone(&made) }).ok()
            }
            _ => None,
        };
        self.0.iter().filter_map(told).collect()
    }

    /// What another process told.
    pub fn learn(&self, lines: &[String]) {
        for line in lines {
            if let Ok(SavedExec { exec, made }) =
                line.parse::<serde_json::Value>().and_then(SavedExec::deserialize)
            {
                self.0.insert(Question::Exec(exec), Fact::Exec(Arc::new(made)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_process_tells_another_knows() {
        let made = Made { listener: "l".into(), user: Some("ann".into()), container: "c".into() };
        let question = || Question::Exec("e".repeat(64));
        let old = Memory::default();
        old.keep(question(), Fact::Exec(Arc::new(made.clone())));
        let mut lines = old.tell();
        lines.push("nonsense".to_owned());
        let new = Memory::default();
        new.learn(&lines);
        assert_eq!(new.recall(&question()), Some(Fact::Exec(Arc::new(made))));
        assert_eq!(new.recall(&Question::Exec("other".to_owned())), None);
    }
}
