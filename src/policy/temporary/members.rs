//! The containers that a job is: its own, not those that it has made.
//!
//! `job` says who they are while containers come and go; who judges calls on the job's socket reads it. What must stay true:
//! an id is here only once the ledger has it.

use std::sync::Arc;

use arc_swap::ArcSwap;

/// Cheap to clone; all clones say the same.
#[derive(Clone, Debug, Default)]
pub struct Members(Arc<ArcSwap<Vec<String>>>);

impl Members {
    pub fn of(ids: &[String]) -> Members {
        Members(Arc::new(ArcSwap::from_pointee(ids.to_vec())))
    }

    pub fn set(&self, ids: &[String]) {
        self.0.store(Arc::new(ids.to_vec()));
    }

    /// Their full ids; none on a listener that is no job's.
    pub fn ids(&self) -> Arc<Vec<String>> {
        self.0.load_full()
    }

    pub fn has(&self, id: &str) -> bool {
        self.0.load().iter().any(|one| one == id)
    }
}

/// Whether they are the same job's; nobody is where there is none.
impl PartialEq for Members {
    fn eq(&self, other: &Members) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.ids().is_empty() && other.ids().is_empty())
    }
}

impl Eq for Members {}
