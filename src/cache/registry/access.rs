//! Who has shown lately that they may read a repository.
//!
//! `case` asks before it gives what is stored, and tells what upstreams have said. Pure but for its lock. What must stay
//! true: a digest is no capability: without an upstream's word to this caller, or to anybody, nothing stored is given;
//! what one caller has shown counts for no other; a repository's word is no other repository's.

use std::sync::{Mutex, PoisonError};

use quick_cache::unsync::Cache as Bounded;

use super::upstream::Whose;

/// Callers times repositories.
const MOST: usize = 20_000;

#[derive(Debug)]
pub(super) struct Access {
    /// By whose and which; no credential stays here.
    shown: Mutex<Bounded<(String, String), u64>>,
    /// In ms.
    ttl: u64,
}

impl Access {
    pub(super) fn new(ttl: u64) -> Access {
        Access { shown: Mutex::new(Bounded::new(MOST)), ttl }
    }

    /// The upstream has let them read: `repository` with the upstream's host.
    pub(super) fn show(&self, whose: &Whose, repository: &str, now: u64) {
        let key = (whose.turn(), repository.to_owned());
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).insert(key, now);
    }

    /// It does not any more.
    pub(super) fn forget(&self, whose: &Whose, repository: &str) {
        let key = (whose.turn(), repository.to_owned());
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }

    /// Whether they, or anybody, have been let read it lately.
    pub(super) fn has(&self, whose: &Whose, repository: &str, now: u64) -> bool {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        [whose, &Whose::Nobody].into_iter().any(|whose| {
            let at = shown.get(&(whose.turn(), repository.to_owned()));
            // `now < at`: the clock was set back.
            at.is_some_and(|at| *at <= now && now - at < self.ttl)
        })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn client(text: &'static str) -> Whose {
        Whose::Client(HeaderValue::from_static(text))
    }

    #[test]
    fn what_one_has_shown_counts_for_them_and_for_a_while() {
        let access = Access::new(100);
        access.show(&client("a"), "h/x", 1000);
        assert!(access.has(&client("a"), "h/x", 1099));
        for (whose, repository, now) in [
            (client("a"), "h/x", 1100),
            (client("a"), "h/x", 999),
            (client("a"), "h/y", 1000),
            (client("b"), "h/x", 1000),
            (Whose::Own, "h/x", 1000),
            (Whose::Nobody, "h/x", 1000),
        ] {
            assert!(!access.has(&whose, repository, now), "{whose:?} {repository} {now}");
        }
        access.forget(&client("a"), "h/x");
        assert!(!access.has(&client("a"), "h/x", 1000));
    }

    #[test]
    fn what_anybody_may_read_everybody_may() {
        let access = Access::new(100);
        access.show(&Whose::Nobody, "h/x", 0);
        assert!(access.has(&client("a"), "h/x", 0) && access.has(&Whose::Own, "h/x", 0));
    }
}
