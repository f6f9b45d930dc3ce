//! The containers that a job is: its own, not those that it has made.
//!
//! `job` says who they are while containers come and go; who judges calls on the job's socket reads it. What must stay true:
//! an id is here only once the ledger has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use arc_swap::ArcSwap;

/// Cheap to clone; all clones say the same.
#[derive(Clone, Debug, Default)]
pub struct Members(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    ids: ArcSwap<Vec<String>>,
    /// Whether their job is over.
    is_over: AtomicBool,
}

impl Members {
    pub fn of(ids: &[String]) -> Members {
        let ids = ArcSwap::from_pointee(ids.to_vec());
        Members(Arc::new(Inner { ids, is_over: AtomicBool::new(false) }))
    }

    pub fn set(&self, ids: &[String]) {
        self.0.ids.store(Arc::new(ids.to_vec()));
    }

    /// Nobody is served any more, whatever becomes of the socket.
    pub fn end(&self) {
        self.0.is_over.store(true, Relaxed);
    }

    pub fn is_over(&self) -> bool {
        self.0.is_over.load(Relaxed)
    }

    /// Their full ids; none on a listener that is no job's.
    pub fn ids(&self) -> Arc<Vec<String>> {
        self.0.ids.load_full()
    }

    pub fn has(&self, id: &str) -> bool {
        self.0.ids.load().iter().any(|one| one == id)
    }
}

/// Whether they are the same job's; nobody is where there is none.
impl PartialEq for Members {
    fn eq(&self, other: &Members) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.ids().is_empty() && other.ids().is_empty())
    }
}

impl Eq for Members {}
