//! What the engine has, known without asking it: one index for each engine, which all workers share.
//!
//! `gateway::facts` asks it for ids, which it knows from the engine's lists and events; the first question begins the
//! watch, which ends with the engine's last user. What must stay true: the events are opened before the lists are read, so
//! that nothing is missed between; a watch that has lost the engine knows nothing until it has read the lists again.

mod index;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use serde_json::Value as Json;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Engine, EngineError, Inner, WhichEngine, pool};
use crate::api::endpoint::{Minor, NEWEST, Resource};
use crate::wire::trail::Trail;
pub use index::Entry;
pub(super) use index::ListedName;
use index::{Index, MOST};

/// How often the lists are read again, whatever the events say.
const EVERY: Duration = Duration::from_secs(60);
/// Between two tries to follow an engine: from the first to the second, doubled each time.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const FILTERS: &str =
    r#"{"type":["container","network"],"event":["create","rename","destroy","remove"]}"#;

#[derive(Debug)]
pub(super) struct Watch {
    index: Arc<SharedIndex>,
    has_begun: AtomicBool,
    stop: CancellationToken,
    _ends: DropGuard,
}

#[derive(Debug, Default)]
struct SharedIndex {
    index: Mutex<Index>,
    which: Mutex<KnownEngine>,
}

/// Which engine it is. Known as long as it is followed: another one cannot be there before its events end.
#[derive(Debug, Default)]
struct KnownEngine {
    /// Counts the connections that it was followed by; 0 while it is not.
    following: u64,
    before: u64,
    which: Option<WhichEngine>,
}

impl Default for Watch {
    fn default() -> Watch {
        let stop = CancellationToken::new();
        let _ends = stop.clone().drop_guard();
        Watch { index: Arc::default(), has_begun: AtomicBool::new(false), stop, _ends }
    }
}

impl Engine {
    /// The container or network of this id, beginning of an id or name, where that is known. Nothing else has the id that is
    /// told; whether it is still there, and by that name, the engine says when it is used.
    pub fn known(&self, resource: Resource, text: &str) -> Option<Entry> {
        self.begin_watch();
        self.shared.watch.index.lock().find(resource, text)
    }

    /// What the engine has just made for a client, who may use it before its event is here.
    pub fn has_made(&self, resource: Resource, id: &str, name: &str) {
        self.shared.watch.index.enter(resource, id, name);
    }

    /// Which engine it is, asked once for as long as it is followed; none where it does not say.
    pub async fn which(
        &self,
        version: Minor,
        trail: &Trail,
    ) -> Result<Option<WhichEngine>, EngineError> {
        self.begin_watch();
        let index = &self.shared.watch.index;
        let following = match index.known_which() {
            (_, Some(which)) => return Ok(Some(which)),
            (following, None) => following,
        };
        let which = self.asked_which(version, trail).await?;
        index.keep_which(following, which.as_ref());
        Ok(which)
    }

    fn begin_watch(&self) {
        let watch = &self.shared.watch;
        if watch.has_begun.load(Relaxed) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !watch.has_begun.swap(true, Relaxed) {
            let (index, stop) = (Arc::clone(&watch.index), watch.stop.clone());
            let watching = watch_on(Arc::downgrade(&self.shared), index);
            runtime.spawn(async move { stop.run_until_cancelled(watching).await });
        }
    }
}

impl SharedIndex {
    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_which(&self) -> MutexGuard<'_, KnownEngine> {
        self.which.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By which connection it is followed, and what is known by that.
    fn known_which(&self) -> (u64, Option<WhichEngine>) {
        let known = self.lock_which();
        (known.following, known.which.clone())
    }

    /// Asked while it was followed by this one.
    fn keep_which(&self, following: u64, which: Option<&WhichEngine>) {
        let mut known = self.lock_which();
        if following > 0 && known.following == following {
            known.which = which.cloned();
        }
    }

    fn begins(&self) {
        let mut known = self.lock_which();
        let following = known.before + 1;
        *known = KnownEngine { following, before: following, which: None };
    }

    fn ends(&self) {
        self.lock().forget();
        let mut known = self.lock_which();
        (known.following, known.which) = (0, None);
    }

    fn replace(&self, containers: Vec<ListedName>, networks: Vec<ListedName>) {
        let is_taken = self.lock().replace(containers, networks);
        Self::tell(is_taken);
    }

    fn apply(&self, event: &Json) {
        let is_taken = self.lock().apply(event);
        Self::tell(is_taken);
    }

    fn enter(&self, resource: Resource, id: &str, name: &str) {
        let is_taken = self.lock().enter(resource, id, name);
        Self::tell(is_taken);
    }

    fn tell(is_taken: bool) {
        if !is_taken {
            tracing::warn!(
                "the engine has more than {MOST} containers and networks: what an id is is asked of it for each call"
            );
        }
    }
}

/// For as long as anybody uses the engine.
async fn watch_on(engine: Weak<Inner>, index: Arc<SharedIndex>) {
    let mut pause = PAUSE;
    loop {
        match follow(&engine, &index).await {
            Ok(()) => pause = PAUSE,
            Err(error) => tracing::debug!(%error, "the engine cannot be watched"),
        }
        index.ends();
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Until the engine tells of no more events; an error is one that came before anything was known.
async fn follow(engine: &Weak<Inner>, index: &SharedIndex) -> Result<(), EngineError> {
    let Some(on) = upgraded(engine) else { return Ok(()) };
    let version = on.versions(&Trail::default()).await?.newest.min(NEWEST);
    let mut events = on.events(version, FILTERS).await?;
    index.begins();
    let containers = on.list_names(version, Resource::Container).await?;
    let networks = on.list_names(version, Resource::Network).await?;
    drop(on);
    index.replace(containers, networks);
    let mut next = Instant::now() + EVERY;
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(event) => index.apply(&event),
                None => return Ok(()),
            },
            () = tokio::time::sleep_until(next) => {
                let Some(on) = upgraded(engine) else { return Ok(()) };
                let lists = async {
                    let containers = on.list_names(version, Resource::Container).await?;
                    Ok::<_, EngineError>((containers, on.list_names(version, Resource::Network).await?))
                };
                let Ok((containers, networks)) = lists.await else { return Ok(()) };
                index.replace(containers, networks);
                next = Instant::now() + EVERY;
            }
        }
    }
}

/// With connections of its own, where anybody still uses it.
fn upgraded(engine: &Weak<Inner>) -> Option<Engine> {
    Some(Engine { shared: engine.upgrade()?, pool: pool::Pool::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_engine_it_is_is_known_only_while_that_one_is_followed() {
        let (shared, id) = (
            SharedIndex::default(),
            WhichEngine { id: "A".to_owned(), cgroup_driver: String::new() },
        );
        shared.keep_which(0, Some(&id));
        assert_eq!(shared.known_which(), (0, None), "nobody would tell that it has gone");
        shared.begins();
        let (first, none) = shared.known_which();
        assert!(first > 0 && none.is_none());
        shared.keep_which(first, Some(&id));
        assert_eq!(shared.known_which(), (first, Some(id.clone())));
        shared.ends();
        assert_eq!(shared.known_which(), (0, None));
        shared.begins();
        let (second, none) = shared.known_which();
        assert!(second != first && none.is_none());
        // Asked of the one before, and answered late.
        shared.keep_which(first, Some(&id));
        assert_eq!(shared.known_which(), (second, None));
    }
}
