//! The caches that run, and how a reload changes them.
//!
//! `world` stages, replaces and closes them; their sockets are among the others' (`open_listeners`). What must
//! stay true: a cache that the new configuration has as it was goes on with all it holds; of another one the
//! sockets and the statistics go on.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use tokio_util::task::TaskTracker;

use super::open_listeners::{CachePort, Wanted, WantedService};
use super::plan::CachePart;
use crate::cache::Cache;
use crate::cache::stats::Stats;
use crate::config::{self, CacheListen};

#[derive(Default)]
pub(super) struct Caches {
    running: Vec<Running>,
    /// By name, of all that ever ran: one that comes back goes on counting.
    stats: BTreeMap<String, Arc<Stats>>,
}

struct Running {
    config: config::Cache,
    /// Of what its files held.
    fingerprint: Vec<u8>,
    cache: Arc<Cache>,
}

/// A cache of the new configuration.
pub(super) enum Staged {
    /// The running one with this place in the list.
    Kept(usize, Box<CachePart>),
    New(Box<CachePart>, Arc<Cache>),
}

impl Caches {
    /// Opens what is new; nothing is served yet.
    pub(super) fn stage(
        &self,
        parts: Vec<CachePart>,
        tasks: &TaskTracker,
    ) -> anyhow::Result<Vec<Staged>> {
        parts.into_iter().map(|part| self.stage_one(part, tasks)).collect()
    }

    fn stage_one(&self, part: CachePart, tasks: &TaskTracker) -> anyhow::Result<Staged> {
        let name = &part.config.name;
        let before = self.running.iter().position(|running| running.config.name == *name);
        let same = before.filter(|at| {
            self.running.get(*at).is_some_and(|running| {
                running.config == part.config && running.fingerprint == part.fingerprint
            })
        });
        if let Some(at) = same {
            return Ok(Staged::Kept(at, Box::new(part)));
        }
        let stats = self.stats.get(name).cloned().unwrap_or_default();
        let cache = Cache::open(&part.config, &part.understood, stats, tasks.clone());
        let cache = cache.with_context(|| format!("cache `{name}` cannot be opened"))?;
        Ok(Staged::New(Box::new(part), Arc::new(cache)))
    }

    /// The sockets of one.
    pub(super) fn wanted(&self, staged: &Staged) -> Vec<Wanted> {
        let (part, cache) = match staged {
            Staged::Kept(at, part) => (part, self.running.get(*at).map(|running| &running.cache)),
            Staged::New(part, cache) => (part, Some(cache)),
        };
        let listen = part.config.listen.iter();
        cache.map_or_else(Vec::new, |cache| listen.map(|one| wanted(part, cache, one)).collect())
    }

    /// Has the new ones in place of the others.
    pub(super) fn replace(&mut self, staged: Vec<Staged>) {
        let mut old: Vec<Option<Running>> = self.running.drain(..).map(Some).collect();
        for one in staged {
            match one {
                Staged::Kept(at, _) => self.running.extend(old.get_mut(at).and_then(Option::take)),
                Staged::New(part, cache) => {
                    self.stats.insert(cache.name.clone(), Arc::clone(&cache.stats));
                    let CachePart { config, fingerprint, .. } = *part;
                    self.running.push(Running { config, fingerprint, cache });
                }
            }
        }
        for gone in old.into_iter().flatten() {
            gone.cache.stats.store_closed(gone.cache.store.usage().evicted);
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<Cache>> {
        self.running.iter().map(|running| Arc::clone(&running.cache)).collect()
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.running.iter().map(|running| running.config.name.as_str()).collect()
    }

    pub(super) fn close(&mut self) {
        self.running.clear();
    }
}

fn wanted(part: &CachePart, cache: &Arc<Cache>, listen: &CacheListen) -> Wanted {
    let is_open =
        "`domains` names no hosts: an open proxy. hint: name them, or say `domains = [\"*\"]`";
    Wanted {
        // No listener is called so: their names are without a space.
        name: format!("{} {} {listen}", cache.table(), part.config.name),
        bind: listen.bind.clone(),
        key: listen.bind.to_string(),
        tls: part.tls.clone().filter(|_| listen.has_tls),
        max_connections: part.config.max_connections,
        is_local: part.config.is_open.then_some(is_open),
        service: WantedService::Cache(CachePort {
            cache: Arc::clone(cache),
            intercepts: part.config.intercepts_on(listen),
        }),
    }
}
