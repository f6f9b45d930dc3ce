//! What upstreams have lately said not to have.
//!
//! `pull` asks, `push` makes. Pure but for its lock. What must stay true: what is absent for one caller may be there for
//! another; what was asked before something was made there is not remembered after it.

use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::unsync::Cache as Bounded;

use super::upstream::Whose;
use super::writes::Writes;

const MOST: usize = 20_000;

#[derive(Debug)]
pub(super) struct Absent {
    /// By whose and which (no credential stays here): when, and what had been written then.
    said: Mutex<Bounded<(String, String), (u64, u64)>>,
    /// To URLs, through this registry and others.
    writes: Arc<Writes>,
    /// In ms.
    ttl: u64,
}

impl Absent {
    pub(super) fn new(ttl: u64, writes: Arc<Writes>) -> Absent {
        Absent { said: Mutex::new(Bounded::new(MOST)), writes, ttl }
    }

    /// To be taken before the upstream is asked.
    pub(super) fn moment(&self, url: &str) -> u64 {
        self.writes.count(url)
    }

    /// `began`: when the upstream was asked.
    pub(super) fn remember(&self, whose: &Whose, url: &str, now: u64, began: u64) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        // While nobody can forget it.
        if self.moment(url) == began {
            said.insert((whose.turn(), url.to_owned()), (now, began));
        }
    }

    pub(super) fn knows(&self, whose: &Whose, url: &str, now: u64) -> bool {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let known = said.get(&(whose.turn(), url.to_owned()));
        known.is_some_and(|(at, began)| {
            *at <= now && now - at < self.ttl && *began == self.moment(url)
        })
    }

    /// Something was made there, by whomever.
    pub(super) fn forget(&self, url: &str) {
        self.writes.written(url);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.retain(|(_, other), _| other != url);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_absent_for_who_was_told_so_for_a_while() {
        let writes = Arc::new(Writes::new());
        let absent = Absent::new(10, Arc::clone(&writes));
        let began = absent.moment("h/v2/x");
        absent.remember(&Whose::Own, "h/v2/x", 100, began);
        assert!(absent.knows(&Whose::Own, "h/v2/x", 109));
        assert!(
            !absent.knows(&Whose::Own, "h/v2/x", 110) && !absent.knows(&Whose::Own, "h/v2/x", 99)
        );
        assert!(
            !absent.knows(&Whose::Nobody, "h/v2/x", 100)
                && !absent.knows(&Whose::Own, "h/v2/y", 100)
        );
        absent.forget("h/v2/x");
        assert!(!absent.knows(&Whose::Own, "h/v2/x", 100));
        absent.remember(&Whose::Own, "h/v2/x", 100, began);
        assert!(!absent.knows(&Whose::Own, "h/v2/x", 100), "it was asked before");
        absent.remember(&Whose::Own, "h/v2/x", 100, absent.moment("h/v2/x"));
        assert!(absent.knows(&Whose::Own, "h/v2/x", 100));
        writes.written("h/v2/x");
        assert!(!absent.knows(&Whose::Own, "h/v2/x", 100), "it was made through another registry");
    }
}
