//! How many connections a listener may have at one time.
//!
//! What must stay true: a permit is given back exactly once, and a reload may change the bound while
//! permits are out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

#[derive(Debug)]
pub(super) struct Connections(Arc<Count>);

#[derive(Debug)]
struct Count {
    open: AtomicUsize,
    most: AtomicUsize,
}

/// One connection's right to be open.
#[derive(Debug)]
pub struct Permit(Arc<Count>);

impl Connections {
    pub(super) fn new(most: usize) -> Connections {
        Connections(Arc::new(Count { open: AtomicUsize::new(0), most: AtomicUsize::new(most) }))
    }

    pub(super) fn allow(&self, most: usize) {
        self.0.most.store(most, Relaxed);
    }

    pub(super) fn take(&self) -> Option<Permit> {
        let most = self.0.most.load(Relaxed);
        let more = |open| (open < most).then_some(open + 1);
        self.0.open.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(Permit(Arc::clone(&self.0)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_holds_and_may_change() {
        let connections = Connections::new(2);
        let first = connections.take().unwrap();
        let _second = connections.take().unwrap();
        assert!(connections.take().is_none());
        connections.allow(1);
        drop(first);
        assert!(connections.take().is_none(), "one is still open");
        connections.allow(2);
        assert!(connections.take().is_some());
    }
}
