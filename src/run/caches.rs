//! The caches that run, and how a reload changes them.
//!
//! `world` stages, replaces and closes them. What must stay true: a cache that the new configuration has
//! as it was goes on with all it holds; of another one the sockets and the statistics go on.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::inherit::{self, Inherited};
use super::plan::CachePart;
use super::worker::Worker;
use super::world::open;
use crate::cache::Cache;
use crate::cache::front::CacheListener;
use crate::cache::stats::Stats;
use crate::config::{self, Bind, CacheListen};
use crate::listener::Socket;

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
    sockets: Vec<(Bind, Socket)>,
    /// Cancelled when another one takes its place.
    drain: CancellationToken,
}

/// A cache of the new configuration.
pub(super) enum Staged {
    /// The running one with this place in the list.
    Kept(usize),
    New(Box<CachePart>, Arc<Cache>, Vec<(Bind, Socket)>),
}

/// What a cache is opened with.
pub(super) struct CacheContext<'w> {
    pub workers: &'w [Worker],
    pub drain: &'w CancellationToken,
    pub tasks: &'w TaskTracker,
}

impl Caches {
    /// Opens what is new; nothing is served yet.
    pub(super) fn stage(
        &self,
        parts: Vec<CachePart>,
        inherited: &mut Inherited,
        tasks: &TaskTracker,
    ) -> anyhow::Result<Vec<Staged>> {
        parts.into_iter().map(|part| self.stage_one(part, inherited, tasks)).collect()
    }

    fn stage_one(
        &self,
        part: CachePart,
        inherited: &mut Inherited,
        tasks: &TaskTracker,
    ) -> anyhow::Result<Staged> {
        let name = &part.config.name;
        let before = self.running.iter().position(|running| running.config.name == *name);
        let same = before.filter(|at| {
            self.running.get(*at).is_some_and(|running| {
                running.config == part.config && running.fingerprint == part.fingerprint
            })
        });
        if let Some(at) = same {
            return Ok(Staged::Kept(at));
        }
        let context = || format!("cache `{name}` cannot be opened");
        let sockets = part.config.listen.iter().map(|listen| {
            let bind = listen.bind();
            let socket = match self.socket(&bind) {
                Some(socket) => socket,
                None => open(&bind, inherited)
                    .with_context(|| format!("`{listen}` of cache `{name}` cannot be opened"))?,
            };
            Ok((bind, socket))
        });
        let sockets = sockets.collect::<anyhow::Result<Vec<_>>>()?;
        let stats = self.stats.get(name).cloned().unwrap_or_default();
        let cache = Cache::open(&part.config, &part.understood, stats, tasks.clone());
        let cache = Arc::new(cache.with_context(context)?);
        Ok(Staged::New(Box::new(part), cache, sockets))
    }

    /// Serves the new ones and lets go of the others. Gives a line for each that was opened.
    pub(super) fn replace(
        &mut self,
        staged: Vec<Staged>,
        opening: &CacheContext<'_>,
    ) -> Vec<String> {
        let mut old: Vec<Option<Running>> = self.running.drain(..).map(Some).collect();
        let mut lines = Vec::new();
        for one in staged {
            match one {
                Staged::Kept(at) => self.running.extend(old.get_mut(at).and_then(Option::take)),
                Staged::New(part, cache, sockets) => {
                    lines.extend(part.config.listen.iter().zip(&sockets).map(
                        |(listen, (_, socket))| announcement(&part.config.name, listen, socket),
                    ));
                    self.stats.insert(cache.name.clone(), Arc::clone(&cache.stats));
                    self.running.push(serve(*part, cache, sockets, opening));
                }
            }
        }
        for gone in old.into_iter().flatten() {
            gone.cache.stats.store_closed(gone.cache.store.usage().evicted);
            for (bind, _) in &gone.sockets {
                if self.socket(bind).is_none() {
                    inherit::forget(bind);
                }
            }
            gone.drain.cancel();
        }
        lines
    }

    pub(super) fn all(&self) -> Vec<Arc<Cache>> {
        self.running.iter().map(|running| Arc::clone(&running.cache)).collect()
    }

    /// Each listening socket, by the cache and its address.
    pub(super) fn bound(&self) -> Vec<(String, Socket)> {
        let each = self.running.iter().flat_map(|running| {
            running.config.listen.iter().zip(&running.sockets).map(|(listen, (_, socket))| {
                let name = format!("cache {} {}", running.config.name, url(listen, socket));
                (name, socket.clone())
            })
        });
        each.collect()
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.running.iter().map(|running| running.config.name.as_str()).collect()
    }

    /// Every listening socket, for the process that takes over.
    pub(super) fn sockets(&self) -> impl Iterator<Item = (&Bind, &Socket)> {
        self.running
            .iter()
            .flat_map(|running| &running.sockets)
            .map(|(bind, socket)| (bind, socket))
    }

    /// Accepts nothing more.
    pub(super) fn close(&mut self) {
        self.running.drain(..).for_each(|running| running.drain.cancel());
    }

    fn socket(&self, bind: &Bind) -> Option<Socket> {
        let (_, socket) = self.sockets().find(|(other, _)| other.is_same_place(bind))?;
        Some(socket.clone())
    }
}

fn serve(
    part: CachePart,
    cache: Arc<Cache>,
    sockets: Vec<(Bind, Socket)>,
    opening: &CacheContext<'_>,
) -> Running {
    let drain = opening.drain.child_token();
    for (listen, (bind, socket)) in part.config.listen.iter().zip(&sockets) {
        inherit::store(bind, socket);
        let tls = part.tls.clone().filter(|_| listen.has_tls);
        let listener =
            CacheListener::new(Arc::clone(&cache), tls, drain.clone(), opening.tasks.clone());
        let listener = Arc::new(listener);
        for worker in opening.workers {
            match socket.as_fd().try_clone_to_owned() {
                Ok(socket) => worker.serve(Arc::clone(&listener), socket),
                Err(error) => tracing::error!(%listen, %error, "a worker cannot accept"),
            }
        }
    }
    Running { config: part.config, fingerprint: part.fingerprint, cache, sockets, drain }
}

fn announcement(name: &str, listen: &CacheListen, socket: &Socket) -> String {
    format!("listening on {} cache={name}", url(listen, socket))
}

/// With the port that it really has.
fn url(listen: &CacheListen, socket: &Socket) -> String {
    let scheme = if listen.has_tls { "https" } else { "http" };
    let address = socket.place().strip_prefix("tcp://").unwrap_or_else(|| socket.place());
    format!("{scheme}://{address}")
}
