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

use super::{Engine, EngineError, Inner, pool};
use crate::api::endpoint::{NEWEST, Resource};
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
struct SharedIndex(Mutex<Index>);

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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        index.lock().forget();
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Until the engine tells of no more events; an error is one that came before anything was known.
async fn follow(engine: &Weak<Inner>, index: &SharedIndex) -> Result<(), EngineError> {
    let Some(on) = upgraded(engine) else { return Ok(()) };
    let version = on.versions(&Trail::default()).await?.newest.min(NEWEST);
    let mut events = on.events(version, FILTERS).await?;
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
