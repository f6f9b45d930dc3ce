//! Whom containers trust for the sake of transparent caches, and which container has been given what.
//!
//! `facts` and `deeds` tell it and ask it for calls, `run` for whoever connects to a cache and when an authority is followed
//! by another. What must stay true: a container counts as trusting only while what it was given is in it; of one that is not
//! known nothing is assumed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::ca::{Authority, Generation};
use crate::policy::{Fact, TrustAnchor, TrustFact, WantedInstall};

/// As many as an engine has at most, and some that are gone.
const MOST: usize = 65_536;

#[derive(Debug, Default)]
pub struct Trusting(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// By the names of caches.
    authorities: BTreeMap<String, Arc<Authority>>,
    /// By the ids of containers.
    given: HashMap<Arc<str>, Given>,
}

#[derive(Debug)]
struct Given {
    install: Arc<WantedInstall>,
    /// Else it was taken out, for as long as a call runs.
    is_in: bool,
}

/// A container, and the authority that it trusts.
#[derive(Clone, Debug)]
pub struct TrustingContainer {
    pub install: Arc<WantedInstall>,
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
            Some(given) => Fact::Trust(TrustFact::Installed(Arc::clone(&given.install))),
            None => Fact::Absent,
        }
    }

    /// It is in the container now.
    pub fn given(&self, install: Arc<WantedInstall>) {
        let mut state = self.state();
        let container: Arc<str> = install.container.as_str().into();
        if state.given.len() >= MOST && !state.given.contains_key(&container) {
            tracing::warn!(%container, "more than {MOST} containers trust caches: one more is not told apart");
            return;
        }
        state.given.insert(container, Given { install, is_in: true });
    }

    /// It is not in there, for a while.
    pub fn taken_out(&self, container: &str) {
        if let Some(given) = self.state().given.get_mut(container) {
            given.is_in = false;
        }
    }

    /// There is no such container any more.
    pub fn forget(&self, container: &str) {
        self.state().given.remove(container);
    }

    /// Whom a container trusts.
    pub fn of(&self, container: &str, cache: &str) -> Option<TrustingContainer> {
        let state = self.state();
        let given = state.given.get(container).filter(|given| given.is_in)?;
        let install = Arc::clone(&given.install);
        let is_used = install.cache == cache && install.layout.has_store();
        let authority = state.authorities.get(cache).filter(|_| is_used)?;
        let generation = authority.generation(&install.anchor.generation, SystemTime::now())?;
        Some(TrustingContainer { install, generation })
    }

    /// What is to be put into containers that trust another authority than their cache has now.
    pub fn outdated(&self) -> Vec<Arc<WantedInstall>> {
        let state = self.state();
        let now = SystemTime::now();
        let current: BTreeMap<&str, Arc<TrustAnchor>> = state
            .authorities
            .iter()
            .filter_map(|(cache, authority)| {
                Some((cache.as_str(), Arc::new(anchor_of(&*authority.current(now).ok()?))))
            })
            .collect();
        let renewed = |given: &Given| {
            let anchor = current.get(given.install.cache.as_str())?;
            let is_old = anchor.generation != given.install.anchor.generation;
            (given.is_in && is_old).then(|| {
                Arc::new(WantedInstall {
                    anchor: Arc::clone(anchor),
                    ..WantedInstall::clone(&given.install)
                })
            })
        };
        state.given.values().filter_map(renewed).collect()
    }

    /// The containers that were given something.
    pub fn containers(&self) -> Vec<Arc<str>> {
        self.state().given.keys().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn anchor_of(generation: &Generation) -> TrustAnchor {
    TrustAnchor {
        generation: generation.id().into(),
        pem: generation.root_pem().into(),
        der: generation.root_der().into(),
    }
}
