//! Whom containers trust for the sake of transparent caches, and which container has been given what.
//!
//! `facts` and `deeds` tell it and ask it for calls, `run` for whoever connects to a cache and when an authority is followed
//! by another. What must stay true: a container counts as trusting only while what it was given is in it; of one that is not
//! known nothing is assumed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::api::endpoint::NEWEST;
use crate::ca::{Authority, Generation};
use tokio::sync::OwnedMutexGuard;

use super::install;
use super::memory::Memory;
use crate::ca::trust::hashed;
use crate::engine::Engine;
use crate::policy::layout::WantedInstall;
use crate::policy::{Fact, Installed, TrustAnchor, TrustFact};
use crate::wire::trail::Trail;

/// As many as an engine has at most, and some that are gone.
const MOST: usize = 65_536;

#[derive(Debug, Default)]
pub struct Trusting(Mutex<TrustState>);

#[derive(Debug, Default)]
struct TrustState {
    /// By the names of caches.
    authorities: BTreeMap<String, Arc<Authority>>,
    /// By the ids of containers.
    given: HashMap<Arc<str>, Given>,
}

#[derive(Debug)]
struct Given {
    installed: Arc<Installed>,
    /// Else it was taken out, for as long as a call runs.
    is_in: bool,
    /// Held while its files are changed, and while they are to stay as they are.
    files: Arc<tokio::sync::Mutex<()>>,
}

/// A container whose files are without what was put there: put back when this is dropped.
#[derive(Debug)]
pub(super) struct TakenOut {
    memory: Arc<Memory>,
    engine: Engine,
    installed: Arc<Installed>,
    files: Option<OwnedMutexGuard<()>>,
}

/// A container, and the authority that it trusts.
#[derive(Clone, Debug)]
pub struct TrustingContainer {
    pub installed: Arc<Installed>,
    pub generation: Arc<Generation>,
}

impl Trusting {
    /// Those of the configuration that holds from now on.
    pub fn replace(&self, authorities: BTreeMap<String, Arc<Authority>>) {
        self.state().authorities = authorities;
    }

    pub fn authority(&self, cache: &str) -> Option<Arc<Authority>> {
        self.state().authorities.get(cache).cloned()
    }

    pub(super) fn anchor(&self, cache: &str) -> Fact {
        let Some(authority) = self.authority(cache) else { return Fact::Absent };
        match authority.current(SystemTime::now()) {
            Ok(generation) => Fact::Trust(TrustFact::Anchor(Arc::new(anchor_of(&generation)))),
            Err(error) => Fact::Failed(error.to_string()),
        }
    }

    pub(super) fn installed(&self, container: &str) -> Fact {
        match self.state().given.get(container) {
            Some(given) => Fact::Trust(TrustFact::Installed(Arc::clone(&given.installed))),
            None => Fact::Absent,
        }
    }

    /// It is in the container now.
    pub(super) fn given(&self, installed: Arc<Installed>) {
        let mut state = self.state();
        let container: Arc<str> = installed.install.container.as_str().into();
        if state.given.len() >= MOST && !state.given.contains_key(&container) {
            tracing::warn!(%container, "more than {MOST} containers trust caches: connections of one more are passed on");
            return;
        }
        let given = state.given.entry(container);
        let given = given.or_insert_with(|| Given {
            installed: Arc::clone(&installed),
            is_in: true,
            files: Arc::default(),
        });
        (given.installed, given.is_in) = (installed, true);
    }

    fn files(&self, container: &str) -> Option<Arc<tokio::sync::Mutex<()>>> {
        self.state().given.get(container).map(|given| Arc::clone(&given.files))
    }

    fn taken_out(&self, container: &str) -> Option<Arc<Installed>> {
        let mut state = self.state();
        let given = state.given.get_mut(container)?;
        given.is_in = false;
        Some(Arc::clone(&given.installed))
    }

    /// There is no such container any more.
    fn forget(&self, container: &str) {
        self.state().given.remove(container);
    }

    /// Whom a container trusts.
    pub fn of(&self, container: &str, cache: &str) -> Option<TrustingContainer> {
        let state = self.state();
        let given = state.given.get(container).filter(|given| given.is_in)?;
        let installed = Arc::clone(&given.installed);
        let authority = state.authorities.get(cache).filter(|_| installed.cache == cache)?;
        let now = SystemTime::now();
        let generation = authority.generation(&installed.install.generation, now)?;
        Some(TrustingContainer { installed, generation })
    }

    /// What is to be put into containers that trust another authority than their cache has now.
    pub fn outdated(&self) -> Vec<Arc<Installed>> {
        let state = self.state();
        let now = SystemTime::now();
        let current = state.authorities.iter().filter_map(|(cache, authority)| {
            Some((cache.as_str(), anchor_of(&*authority.current(now).ok()?)))
        });
        let current: BTreeMap<&str, TrustAnchor> = current.collect();
        let renewed = |given: &Given| {
            let Installed { install, cache, image, owner, .. } = &*given.installed;
            let TrustAnchor { generation, pem, der, subject_hash } = current.get(cache.as_str())?;
            (given.is_in && *generation != install.generation).then(|| {
                Arc::new(Installed {
                    install: WantedInstall {
                        generation: generation.clone(),
                        root_pem: pem.clone(),
                        root_der: der.clone(),
                        is_new: false,
                        ..install.clone()
                    },
                    cache: cache.clone(),
                    image: image.clone(),
                    owner: owner.clone(),
                    subject_hash: subject_hash.clone(),
                })
            })
        };
        state.given.values().filter_map(renewed).collect()
    }

    fn state(&self) -> MutexGuard<'_, TrustState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From here on the container counts as one that trusts nobody; whoever has it taken out already is waited for.
pub(super) async fn take_out(
    memory: &Arc<Memory>,
    engine: &Engine,
    container: &str,
) -> Option<TakenOut> {
    let files = memory.trusting.files(container)?.lock_owned().await;
    let installed = memory.trusting.taken_out(container)?;
    let (memory, engine) = (Arc::clone(memory), engine.for_another_worker());
    Some(TakenOut { memory, engine, installed, files: Some(files) })
}

impl Drop for TakenOut {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (memory, engine) = (Arc::clone(&self.memory), self.engine.for_another_worker());
        let (installed, files) = (Arc::clone(&self.installed), self.files.take());
        runtime.spawn(async move {
            put_back(&memory, &engine, installed).await;
            drop(files);
        });
    }
}

/// Puts another authority's certificate into a container, or the same once more.
pub async fn reinstall(memory: &Arc<Memory>, engine: &Engine, installed: Arc<Installed>) {
    let Some(files) = memory.trusting.files(&installed.install.container) else { return };
    // While it is taken out, whoever has done that puts it back; the next look is soon.
    let Ok(_files) = files.try_lock_owned() else { return };
    put_back(memory, engine, installed).await;
}

async fn put_back(memory: &Memory, engine: &Engine, installed: Arc<Installed>) {
    let trail = Trail::default();
    let container = &installed.install.container;
    let again = WantedInstall { is_new: false, ..installed.install.clone() };
    let done = match engine.versions(&trail).await {
        Ok(versions) => install::install(engine, versions.newest.min(NEWEST), &again, &trail).await,
        Err(error) => Err(error.to_string()),
    };
    match done {
        Ok(()) => memory.trusting.given(installed),
        Err(why) => {
            tracing::debug!(%container, why, "its connections are passed on: it does not have the certificate any more");
            memory.trusting.forget(container);
        }
    }
}

fn anchor_of(generation: &Generation) -> TrustAnchor {
    TrustAnchor {
        generation: generation.id().to_owned(),
        pem: generation.root_pem().into(),
        der: generation.root_der().into(),
        subject_hash: hashed::subject_hash(generation.root_der()),
    }
}
