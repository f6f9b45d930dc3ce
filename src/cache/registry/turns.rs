//! One at a time for each name: whoever comes meanwhile waits, and then finds what the first has found.
//!
//! `tokens`, `access` and `tags` take turns before they ask an upstream. What must stay true: a name costs nothing when
//! nobody waits for it, and who gives up gives its turn back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<String, Weak<Turn<()>>>>);

/// From here on, those that nobody holds are forgotten.
const MANY: usize = 256;

impl Turns {
    pub(super) async fn take(&self, name: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() >= MANY {
                all.retain(|_, turn| turn.strong_count() > 0);
            }
            match all.get(name).and_then(Weak::upgrade) {
                Some(turn) => turn,
                None => {
                    let turn = Arc::new(Turn::new(()));
                    all.insert(name.to_owned(), Arc::downgrade(&turn));
                    turn
                }
            }
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn one_has_the_turn_of_a_name_and_others_go_on() {
        let turns = Turns::default();
        let first = turns.take("a").await;
        assert!(turns.take("a").now_or_never().is_none());
        assert!(turns.take("b").now_or_never().is_some());
        drop(first);
        assert!(turns.take("a").now_or_never().is_some());
    }

    #[tokio::test]
    async fn names_that_nobody_holds_are_forgotten() {
        let turns = Turns::default();
        for at in 0..3 * MANY {
            drop(turns.take(&at.to_string()).await);
        }
        assert!(turns.0.lock().unwrap().len() <= MANY);
    }
}
