//! Whom containers trust for the sake of transparent caches, and which container has been given what.
//!
//! `facts` and `deeds` tell it and ask it for calls, `run` for whoever connects to a cache and when an authority is followed
//! by another. What must stay true: a container counts as trusting only while what it was given is in it; of one that is not
//! known nothing is assumed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::api::endpoint::{Minor, NEWEST};
use crate::ca::{Authority, Generation};
use tokio::sync::OwnedMutexGuard;

use super::install;
use super::memory::Memory;
use crate::ca::trust::hashed;
use crate::engine::{Engine, Inspected, Subject};
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
    retry: Retry,
}

/// When what could not be done is tried again, in looks.
#[derive(Clone, Copy, Debug, Default)]
struct Retry {
    failed: u32,
    waits: u32,
}

impl Retry {
    const LONGEST: u32 = 64;

    /// Whether it is time; each look asks once.
    fn is_due(&mut self) -> bool {
        self.waits = self.waits.saturating_sub(1);
        self.waits == 0
    }

    fn failed(&mut self) {
        self.failed = self.failed.saturating_add(1);
        self.waits = 1 << self.failed.min(Retry::LONGEST.ilog2());
    }
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
            retry: Retry::default(),
        });
        (given.installed, given.is_in, given.retry) = (installed, true, Retry::default());
    }

    /// It is as it was before, and is tried again.
    fn not_given(&self, container: &str) {
        if let Some(given) = self.state().given.get_mut(container) {
            given.retry.failed();
        }
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

    /// Whom a container trusts: the oldest that is good still, for that is known to programs which have read it at their start
    /// and to those that began later.
    pub fn of(&self, container: &str, cache: &str) -> Option<TrustingContainer> {
        let state = self.state();
        let given = state.given.get(container).filter(|given| given.is_in)?;
        let installed = Arc::clone(&given.installed);
        let authority = state.authorities.get(cache).filter(|_| installed.cache == cache)?;
        let now = SystemTime::now();
        let roots = &installed.install.roots;
        let generation = roots.iter().find_map(|root| authority.lasting(&root.generation, now))?;
        Some(TrustingContainer { installed, generation })
    }

    /// What is to be put into containers that do not know the authority which their cache has now, or have nothing in them.
    pub fn outdated(&self) -> Vec<Arc<Installed>> {
        let mut state = self.state();
        let now = SystemTime::now();
        let current = state.authorities.iter().filter_map(|(cache, authority)| {
            Some((cache.clone(), Arc::new(anchor_of(&*authority.current(now).ok()?))))
        });
        let current: BTreeMap<String, Arc<TrustAnchor>> = current.collect();
        let renewed = |given: &mut Given| {
            let Installed { install, cache, .. } = &*given.installed;
            let newest = current.get(cache)?;
            let has_it =
                install.roots.last().is_some_and(|root| root.generation == newest.generation);
            if (given.is_in && has_it) || !given.retry.is_due() {
                return None;
            }
            Some(match has_it {
                true => Arc::clone(&given.installed),
                false => Arc::new(Installed {
                    install: install.with_newer(Arc::clone(newest)),
                    is_renewed: true,
                    ..Installed::clone(&given.installed)
                }),
            })
        };
        state.given.values_mut().filter_map(renewed).collect()
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
        Ok(versions) => {
            let version = versions.newest.min(NEWEST);
            match install::install(engine, version, &again, &trail).await {
                Ok(()) => Ok(()),
                Err(why) => Err((why, is_gone(engine, version, container, &trail).await)),
            }
        }
        Err(error) => Err((error.to_string(), false)),
    };
    match done {
        Ok(()) => memory.trusting.given(installed),
        Err((_, true)) => memory.trusting.forget(container),
        // The engine is away, or busy with it: what the container has, and whom it is shown, stays as it is till then.
        Err((why, false)) => {
            tracing::debug!(%container, why, "it does not get the next certificate yet");
            memory.trusting.not_given(container);
        }
    }
}

/// Whether the engine says that there is no such container.
async fn is_gone(engine: &Engine, version: Minor, container: &str, trail: &Trail) -> bool {
    let looked = engine.look_up(version, Subject::Container(container), trail).await;
    matches!(looked, Ok(Inspected::Nothing))
}

fn anchor_of(generation: &Generation) -> TrustAnchor {
    TrustAnchor {
        generation: generation.id().to_owned(),
        pem: generation.root_pem().into(),
        der: generation.root_der().into(),
        subject_hash: hashed::subject_hash(generation.root_der()),
    }
}

#[cfg(test)]
mod tests;
