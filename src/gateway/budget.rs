//! How much memory the requests of a listener may hold before they are sent on: one budget for heads and one
//! for bodies, each within one of the whole process.
//!
//! `run` makes them, `request` and `answer` take from them. What must stay true: what is taken is given back
//! exactly once; one client can never take what others need: it may hold as much as it leaves free, which is
//! half when it is alone, and there is always something left for the next one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::auth::PeerKey;
use crate::config::Limits;

/// So little is not counted: the number of connections bounds it, and nearly every call needs no more.
pub(super) const FREE: usize = 4096;

/// One listener's budgets, for all workers.
#[derive(Debug)]
pub struct Budgets {
    pub(super) heads: Arc<Budget>,
    pub(super) bodies: Arc<Budget>,
}

#[derive(Debug)]
pub(super) struct Budget {
    what: What,
    most: AtomicUsize,
    held: Mutex<Held>,
    /// The process's, in a listener's.
    whole: Option<Arc<Budget>>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    by: HashMap<PeerKey, usize>,
}

/// What memory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Heads,
    Bodies,
}

/// Memory that one request holds.
#[derive(Debug)]
pub(super) struct Lease {
    budget: Arc<Budget>,
    source: PeerKey,
    bytes: usize,
}

/// There is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} of {} hold too much memory{}", self.what(), self.whose(), self.place())]
pub(super) struct Full {
    what: What,
    /// This client holds most of it.
    is_own: bool,
    is_process: bool,
}

impl Budgets {
    /// Those of the process.
    pub fn of_process(limits: &Limits) -> Budgets {
        Budgets {
            heads: Budget::new(What::Heads, limits.head_memory_total, None),
            bodies: Budget::new(What::Bodies, limits.body_memory_total, None),
        }
    }

    /// A listener's, within those of the process.
    pub fn within(process: &Budgets, limits: &Limits) -> Budgets {
        let whole = |budget: &Arc<Budget>| Some(Arc::clone(budget));
        Budgets {
            heads: Budget::new(What::Heads, limits.head_memory, whole(&process.heads)),
            bodies: Budget::new(What::Bodies, limits.body_memory, whole(&process.bodies)),
        }
    }

    /// From now on; what is held stays held.
    pub fn change(&self, limits: &Limits) {
        for budget in [&self.heads, &self.bodies] {
            budget.most.store(budget.limit(limits), Relaxed);
        }
    }
}

impl Budget {
    fn new(what: What, most: usize, whole: Option<Arc<Budget>>) -> Arc<Budget> {
        let (most, held) = (AtomicUsize::new(most), Mutex::default());
        Arc::new(Budget { what, most, held, whole })
    }

    fn limit(&self, limits: &Limits) -> usize {
        match (self.what, self.whole.is_some()) {
            (What::Heads, true) => limits.head_memory,
            (What::Heads, false) => limits.head_memory_total,
            (What::Bodies, true) => limits.body_memory,
            (What::Bodies, false) => limits.body_memory_total,
        }
    }

    /// Makes a lease one of so many bytes, unless it is as large already.
    pub(super) fn cover(
        self: &Arc<Budget>,
        lease: &mut Option<Lease>,
        source: PeerKey,
        bytes: usize,
    ) -> Result<(), Full> {
        if bytes <= FREE {
            return Ok(());
        }
        let lease =
            lease.get_or_insert_with(|| Lease { budget: Arc::clone(self), source, bytes: 0 });
        let more = bytes.saturating_sub(lease.bytes);
        self.take(source, more)?;
        lease.bytes += more;
        Ok(())
    }

    fn take(&self, source: PeerKey, more: usize) -> Result<(), Full> {
        self.take_here(source, more)?;
        let whole = self.whole.as_ref().map_or(Ok(()), |whole| whole.take_here(source, more));
        if whole.is_err() {
            self.give_back_here(source, more);
        }
        whole
    }

    fn take_here(&self, source: PeerKey, more: usize) -> Result<(), Full> {
        let most = self.most.load(Relaxed);
        let mut held = self.held();
        let before = held.by.get(&source).copied().unwrap_or(0);
        let (own, all) = (before.saturating_add(more), held.all.saturating_add(more));
        if most.checked_sub(all).is_none_or(|left| own > left) {
            let is_own = before > held.all / 2;
            return Err(Full { what: self.what, is_own, is_process: self.whole.is_none() });
        }
        held.all = all;
        held.by.insert(source, own);
        Ok(())
    }

    fn give_back_here(&self, source: PeerKey, bytes: usize) {
        let mut held = self.held();
        held.all = held.all.saturating_sub(bytes);
        if let Some(own) = held.by.get_mut(&source) {
            *own = own.saturating_sub(bytes);
            if *own == 0 {
                held.by.remove(&source);
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.budget.give_back_here(self.source, self.bytes);
        if let Some(whole) = &self.budget.whole {
            whole.give_back_here(self.source, self.bytes);
        }
    }
}

impl Full {
    /// Whether it is this client's own doing, and not everybody's.
    pub(super) fn status(&self) -> u16 {
        if self.is_own { 429 } else { 503 }
    }

    /// The key that says how much may be held.
    pub(super) fn key(&self) -> &'static str {
        match (self.what, self.is_process) {
            (What::Heads, false) => "limits.head_memory",
            (What::Heads, true) => "limits.head_memory_total",
            (What::Bodies, false) => "limits.body_memory",
            (What::Bodies, true) => "limits.body_memory_total",
        }
    }

    fn what(&self) -> &'static str {
        match self.what {
            What::Heads => "the request lines and headers",
            What::Bodies => "the JSON bodies",
        }
    }

    fn whose(&self) -> &'static str {
        if self.is_own { "this client" } else { "all clients" }
    }

    fn place(&self) -> &'static str {
        if self.is_process { "" } else { " on this listener" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: usize = 1 << 20;

    fn limits(listener: usize, process: usize) -> Limits {
        let (head_memory, head_memory_total) = (listener, process);
        let (body_memory, body_memory_total) = (listener, process);
        Limits {
            head_memory,
            head_memory_total,
            body_memory,
            body_memory_total,
            ..Limits::default()
        }
    }

    fn budgets(listener: usize, process: usize) -> (Budgets, Budgets) {
        let process = Budgets::of_process(&limits(listener, process));
        (Budgets::within(&process, &limits(listener, 0)), process)
    }

    fn user(uid: u32) -> PeerKey {
        PeerKey::User(uid)
    }

    /// As many leases of this size as there is room for.
    fn fill(budget: &Arc<Budget>, source: PeerKey, bytes: usize) -> (Vec<Lease>, Full) {
        let mut leases = Vec::new();
        loop {
            let mut lease = None;
            match budget.cover(&mut lease, source, bytes) {
                Ok(()) => leases.extend(lease),
                Err(full) => return (leases, full),
            }
        }
    }

    #[test]
    fn one_client_gets_half_and_the_next_half_of_the_rest() {
        let (budgets, process) = budgets(32 * MIB, 128 * MIB);
        let (first, full) = fill(&budgets.heads, user(1), MIB);
        assert_eq!((first.len(), full.status(), full.key()), (16, 429, "limits.head_memory"));
        let (second, full) = fill(&budgets.heads, user(2), MIB);
        assert_eq!((second.len(), full.status()), (8, 503));
        let (third, _) = fill(&budgets.heads, user(3), MIB);
        assert_eq!(third.len(), 4);
        assert_eq!(fill(&budgets.bodies, user(1), MIB).0.len(), 16, "bodies are counted apart");
        drop((first, second, third));
        assert_eq!((budgets.heads.held().all, process.heads.held().all), (0, 0));
        assert!(budgets.heads.held().by.is_empty() && process.heads.held().by.is_empty());
    }

    #[test]
    fn the_process_bounds_all_listeners_together() {
        let process = Budgets::of_process(&limits(0, 16 * MIB));
        let listeners = [(); 3].map(|()| Budgets::within(&process, &limits(32 * MIB, 0)));
        let (first, full) = fill(&listeners[0].bodies, user(1), MIB);
        assert_eq!((first.len(), full.key()), (8, "limits.body_memory_total"));
        assert!(fill(&listeners[1].bodies, user(1), MIB).0.is_empty(), "the same client");
        assert_eq!(fill(&listeners[2].bodies, user(2), MIB).0.len(), 4);
        assert_eq!(listeners[1].bodies.held().all, 0, "what the process refused is given back");
    }

    #[test]
    fn a_lease_grows_and_little_is_free() {
        let (budgets, _) = budgets(MIB, MIB);
        let mut lease = None;
        budgets.heads.cover(&mut lease, user(1), FREE).unwrap();
        assert!(lease.is_none());
        for bytes in [FREE + 1, 3 * FREE, 2 * FREE, MIB / 2] {
            budgets.heads.cover(&mut lease, user(1), bytes).unwrap();
        }
        assert_eq!(budgets.heads.held().all, MIB / 2);
        assert!(budgets.heads.cover(&mut lease, user(1), MIB / 2 + 1).is_err());
        assert_eq!(budgets.heads.held().all, MIB / 2, "as before");
        budgets.change(&limits(4 * MIB, MIB));
        assert!(
            budgets.heads.cover(&mut lease, user(1), MIB).is_err(),
            "the process's is as it was"
        );
        drop(lease);
        assert_eq!(budgets.heads.held().all, 0);
    }

    proptest! {
        #[test]
        fn there_is_always_something_left(asked in proptest::collection::vec((0u32..20, 1usize..MIB), 1..200)) {
            let (budgets, _) = budgets(8 * MIB, 8 * MIB);
            let mut leases = Vec::new();
            for (uid, bytes) in asked {
                let mut lease = None;
                let _ = budgets.heads.cover(&mut lease, user(uid), bytes);
                leases.extend(lease);
                let held = budgets.heads.held();
                prop_assert!(held.all < 8 * MIB);
                drop(held);
            }
            drop(leases);
            prop_assert_eq!(budgets.heads.held().all, 0);
        }
    }
}
