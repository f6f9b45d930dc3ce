//! What calls have taught, for later ones of any worker: who made which exec, who began which build and session.
//!
//! `run` has one for the process, `facts` asks it, and a restart hands over what is known of execs: builds and sessions
//! end with their connections. What must stay true: bounded; what is forgotten is nobody's, and refused to whoever uses it.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::layouts::Layouts;
use super::running::RunningBuilds;
use super::sessions::OpenSessions;
use super::slots::Slots;
use super::trusting::Trusting;
use crate::api::endpoint::Resource;
use crate::auth::{Grants, Logins};
use crate::policy::builds::BuildSession;
use crate::policy::facts::{DeedResult, Made};
use crate::policy::{Fact, Question};

/// Each is used within moments of being made, and once more when it has ended.
const MOST: usize = 65_536;

#[derive(Debug)]
pub struct Memory {
    facts: Cache<Question, Fact>,
    /// Told whenever something has begun.
    begun: Notify,
    /// Held while an owner is looked up and written down.
    claims: Mutex<()>,
    /// Of calls that run.
    pub(super) slots: Arc<Slots>,
    /// Likewise.
    pub(super) builds: Arc<RunningBuilds>,
    pub(super) sessions: Arc<OpenSessions>,
    /// What images trust.
    pub(super) layouts: Arc<Layouts>,
    /// What the engine may do at registries of ours while calls run.
    pub grants: Arc<Grants>,
    /// Who says whether clients' logins are good.
    pub logins: Logins,
    /// Which containers trust caches.
    pub trusting: Trusting,
}

/// One thing remembered, as it goes to the process that takes over.
#[derive(Serialize, Deserialize)]
struct SavedExec {
    exec: String,
    #[serde(flatten)]
    made: Made,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory {
            facts: Cache::new(MOST),
            begun: Notify::new(),
            claims: Mutex::new(()),
            slots: Arc::default(),
            builds: Arc::default(),
            sessions: Arc::default(),
            layouts: Arc::default(),
            grants: Arc::default(),
            logins: Logins::default(),
            trusting: Trusting::default(),
        }
    }
}

impl Memory {
    /// An owner stays: of two that begin the same, one is told.
    pub(super) fn keep(&self, question: Question, fact: Fact) -> DeedResult {
        if !matches!(fact, Fact::Owner(_)) {
            self.facts.insert(question, fact);
            return Ok(());
        }
        {
            let _claim = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
            match self.facts.get(&question) {
                Some(other) if other != fact && !reopens(&question, &other, &fact) => {
                    return Err("it is another's".to_owned());
                }
                _ => self.facts.insert(question, fact),
            }
        }
        self.begun.notify_waiters();
        Ok(())
    }

    /// The session that was opened by this id of the client's, if the engine has it by this one of its own.
    pub(super) fn session(&self, id: &str, engine_id: &str) -> Option<Arc<BuildSession>> {
        match self.recall(&Question::begun(Resource::Session, id)) {
            Some(Fact::Owner(owner)) => {
                owner.session.clone().filter(|session| session.engine_id == engine_id)
            }
            _ => None,
        }
    }

    /// The session of one build, by the id that the engine has it by.
    pub(super) fn build_session(&self, engine_id: &str) -> Option<Arc<BuildSession>> {
        match self.recall(&Question::begun(Resource::Session, engine_id)) {
            Some(Fact::Owner(owner)) if owner.is_of_a_build(engine_id) => owner.session.clone(),
            _ => None,
        }
    }

    /// Waits until this is known.
    pub(super) async fn await_fact(&self, question: Question) -> Fact {
        loop {
            // Before looking, so that nothing is missed between.
            let mut told = pin!(self.begun.notified());
            told.as_mut().enable();
            if let Some(fact) = self.recall(&question) {
                return fact;
            }
            told.await;
        }
    }

    pub(super) fn recall(&self, question: &Question) -> Option<Fact> {
        self.facts.get(question)
    }

    /// Everything, one line each.
    pub fn tell(&self) -> Vec<String> {
        let told = |(question, answer)| match (question, answer) {
            (Question::Exec(exec), Fact::Exec(made)) => {
                serde_json::to_string(&SavedExec { exec, made: Made::clone(&made) }).ok()
            }
            _ => None,
        };
        self.facts.iter().filter_map(told).collect()
    }

    /// What another process told.
    pub fn learn(&self, lines: &[String]) {
        for line in lines {
            if let Ok(SavedExec { exec, made }) =
                line.parse::<serde_json::Value>().and_then(SavedExec::deserialize)
            {
                self.facts.insert(Question::Exec(exec), Fact::Exec(Arc::new(made)));
            }
        }
    }
}

/// Whether it is a session that its owner opens again.
fn reopens(question: &Question, before: &Fact, now: &Fact) -> bool {
    let is_session = matches!(question, Question::Begun { what: Resource::Session, .. });
    match (before, now) {
        (Fact::Owner(before), Fact::Owner(now)) => is_session && before.is_same_caller(now),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::facts::Owner;

    #[test]
    fn what_one_process_tells_another_knows() {
        let made = Made { listener: "l".into(), user: Some("ann".into()), container: "c".into() };
        let question = || Question::Exec("e".repeat(64));
        let old = Memory::default();
        old.keep(question(), Fact::Exec(Arc::new(made.clone()))).unwrap();
        let mut lines = old.tell();
        lines.push("nonsense".to_owned());
        let new = Memory::default();
        new.learn(&lines);
        assert_eq!(new.recall(&question()), Some(Fact::Exec(Arc::new(made))));
        assert_eq!(new.recall(&Question::Exec("other".to_owned())), None);
    }

    fn owner(user: &str) -> Fact {
        Fact::Owner(Arc::new(Owner::new("l", Some(user))))
    }

    #[tokio::test]
    async fn what_is_about_to_begin_is_waited_for_and_stays_its_owners() {
        let memory = Memory::default();
        let question = || Question::begun(Resource::Session, "s");
        let waiting = memory.await_fact(question());
        let beginning = async {
            assert_eq!(memory.recall(&question()), None);
            memory.keep(Question::begun(Resource::Session, "other"), owner("bob")).unwrap();
            memory.keep(question(), owner("ann")).unwrap();
        };
        let (found, ()) = tokio::join!(waiting, beginning);
        assert_eq!(found, owner("ann"));
        assert!(memory.keep(question(), owner("bob")).is_err());
        memory.keep(question(), owner("ann")).unwrap();
        assert_eq!(memory.await_fact(question()).await, owner("ann"));
    }
}
