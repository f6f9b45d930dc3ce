//! URLs whose answers were found not to be stored, so that nobody waits for another's answer in vain.
//!
//! What must stay true: it is only a hint, bounded in number and time.

use std::time::Duration;

use quick_cache::sync::Cache as Map;

use super::key::Key;

const KEPT: Duration = Duration::from_secs(60);
const MOST: usize = 10_000;

/// Until when, in ms since 1970.
#[derive(Debug)]
pub(super) struct Passes(Map<Key, u64>);

impl Default for Passes {
    fn default() -> Passes {
        Passes(Map::new(MOST))
    }
}

impl Passes {
    pub(super) fn remember(&self, key: &Key, now: u64) {
        self.0.insert(key.clone(), now + KEPT.as_millis() as u64);
    }

    pub(super) fn forget(&self, key: &Key) {
        self.0.remove(key);
    }

    pub(super) fn knows(&self, key: &Key, now: u64) -> bool {
        // What is kept for longer is from before the clock was set back.
        self.0.get(key).is_some_and(|until| now < until && until <= now + KEPT.as_millis() as u64)
    }
}
