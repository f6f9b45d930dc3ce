//! Slots that calls of one caller may have side by side: counted for the process, whichever worker serves the call.
//!
//! `memory` has them, `deeds` takes one where a policy wants it, and what the call keeps until it ends holds it. What must
//! stay true: a slot is given back by being dropped, so that no way to end forgets it; a reload forgets none; there are
//! no more counts than calls.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::policy::Slot;

#[derive(Debug, Default)]
pub(super) struct Slots {
    taken: Mutex<HashMap<SlotKey, usize>>,
    given_back: Notify,
}

/// Policy, listener, user, and what has it.
type SlotKey = (String, String, Option<String>, &'static str);

/// A slot until it is dropped.
#[derive(Debug)]
pub(super) struct HeldSlot {
    slots: Arc<Slots>,
    key: SlotKey,
}

impl Slots {
    /// None where all are taken.
    pub(super) async fn take(self: &Arc<Slots>, slot: &Slot) -> Option<HeldSlot> {
        let until = Instant::now() + slot.patience;
        loop {
            // Before looking, so that nothing is missed between.
            let mut told = pin!(self.given_back.notified());
            told.as_mut().enable();
            if let Some(held) = self.take_now(slot) {
                return Some(held);
            }
            if slot.most == 0 || timeout_at(until, told).await.is_err() {
                return None;
            }
        }
    }

    fn take_now(self: &Arc<Slots>, slot: &Slot) -> Option<HeldSlot> {
        let key = (slot.policy.clone(), slot.listener.clone(), slot.user.clone(), slot.what);
        let mut taken = self.taken();
        let count = taken.get(&key).copied().unwrap_or_default();
        if count >= slot.most {
            return None;
        }
        taken.insert(key.clone(), count + 1);
        Some(HeldSlot { slots: Arc::clone(self), key })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<SlotKey, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HeldSlot {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.slots.taken().entry(self.key.clone()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        self.slots.given_back.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(user: Option<&str>, most: usize) -> Slot {
        let (policy, listener) = ("p".to_owned(), "l".to_owned());
        let user = user.map(str::to_owned);
        let patience = Slot::A_MOMENT;
        Slot { policy, listener, user, most, rule: "r", what: "builds", patience }
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_as_many_as_the_policy_says_for_each_user() {
        let slots = Arc::new(Slots::default());
        let (anns, bobs) = (slot(Some("ann"), 2), slot(Some("bob"), 2));
        let first = slots.take(&anns).await.unwrap();
        let second = slots.take(&anns).await.unwrap();
        assert!(slots.take(&anns).await.is_none());
        assert!(slots.take(&slot(Some("ann"), 3)).await.is_some(), "a reload has allowed more");
        assert!(slots.take(&bobs).await.is_some());
        assert!(slots.take(&slot(None, 1)).await.is_some());
        let elsewhere = Slot { listener: "m".to_owned(), ..anns.clone() };
        assert!(slots.take(&elsewhere).await.is_some());
        assert!(slots.take(&Slot { what: "ports", ..anns.clone() }).await.is_some());
        drop(first);
        let third = slots.take(&anns).await.unwrap();
        assert!(slots.take(&anns).await.is_none());
        drop((second, third));
        assert!(slots.taken().is_empty());
        assert!(slots.take(&slot(None, 0)).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_about_to_be_given_back_is_waited_for() {
        let slots = Arc::new(Slots::default());
        let only = slot(None, 1);
        let held = slots.take(&only).await.unwrap();
        let (next, ()) = tokio::join!(slots.take(&only), async { drop(held) });
        assert!(next.is_some());
    }

    #[test]
    fn a_panic_gives_it_back() {
        let slots = Arc::new(Slots::default());
        let held = slots.take_now(&slot(None, 1)).unwrap();
        let ended = std::thread::spawn(move || {
            let _held = held;
            panic!("on purpose");
        });
        assert!(ended.join().is_err());
        assert!(slots.taken().is_empty());
    }
}
