//! How often something was written to, so that what was learned of it before is not remembered after.
//!
//! `tags` and `absent` ask before an upstream is asked, again before they keep what it said, and when they use it. Names
//! are URLs of upstreams and share a bounded number of places: a write to one may cost another that it is asked about
//! again. What must stay true: a write that has ended is seen by everybody who looks after it, also where it ends on a
//! registry that a reload has replaced, or on another registry that has the same upstream.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use tokio::sync::{Mutex, MutexGuard};

const PLACES: u64 = 4096;

static OF_THIS_PROCESS: LazyLock<Arc<Writes>> = LazyLock::new(|| Arc::new(Writes::new()));

#[derive(Debug)]
pub(super) struct Writes {
    places: Box<[WritesOf]>,
    hash: RandomState,
}

#[derive(Debug, Default)]
struct WritesOf {
    count: AtomicU64,
    turn: Mutex<()>,
}

impl Writes {
    /// Those through any registry that this process has, or had before a reload.
    pub(super) fn of_this_process() -> Arc<Writes> {
        Arc::clone(&OF_THIS_PROCESS)
    }

    pub(super) fn new() -> Writes {
        Writes {
            places: (0..PLACES).map(|_| WritesOf::default()).collect(),
            hash: RandomState::new(),
        }
    }

    /// How many there were; names share it.
    pub(super) fn count(&self, name: &str) -> u64 {
        self.place(name).map_or(0, |place| place.count.load(Ordering::SeqCst))
    }

    pub(super) fn written(&self, name: &str) {
        if let Some(place) = self.place(name) {
            place.count.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// One at a time, for what takes long.
    pub(super) async fn turn(&self, name: &str) -> Option<MutexGuard<'_, ()>> {
        Some(self.place(name)?.turn.lock().await)
    }

    fn place(&self, name: &str) -> Option<&WritesOf> {
        self.places.get(usize::try_from(self.hash.hash_one(name) % PLACES).ok()?)
    }
}
