//! What the admin sockets tell and do: the world, seen from outside.
//!
//! `run` opens them, on the main thread. What must stay true: what changes the world is done by the one who
//! holds it, and only asked for here (`commands`).

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use super::commands::{Command, Commands};
use super::jobs::process_job;
use super::open_listeners::OpenListener;
use super::world::World;
use crate::admin::report::{JobReport, ListenerReport};
use crate::admin::{self, AdminApi, Later, OpenJob};
use crate::cache::Cache;
use crate::cache::stats::{Outcome, Sums};
use crate::config::RuntimeListener;
use crate::engine::Engine;
use crate::job::{Job, JobPhase, Jobs};
use crate::listener::Socket;
use crate::policy::temporary::FILE;
use crate::telemetry::caches::CacheNumbers;
use crate::telemetry::jobs::JobNumbers;
use crate::telemetry::metrics::Metrics;

/// A probe is not to wait as long as a call may.
const PROBE: Duration = Duration::from_secs(3);

/// The admin sockets that are being served. The file of a unix socket stays as long as its `Socket`
/// is here: readiness is asked for during a drain too.
pub(super) struct AdminServer {
    serving: HashMap<String, (CancellationToken, Socket)>,
    state: Arc<AdminState>,
}

struct AdminState {
    metrics: Metrics,
    view: ArcSwap<View>,
    commands: Commands,
    jobs: Arc<Jobs>,
    drain: CancellationToken,
}

/// What can be seen of the world.
struct View {
    engine: Engine,
    /// Caches need none.
    needs_engine: bool,
    /// By what they are called in `/readyz`.
    sockets: Vec<(String, Socket)>,
    listeners: Vec<ListenerReport>,
    caches: Vec<Arc<Cache>>,
}

impl View {
    fn of(world: &World) -> View {
        let open = || world.open_listeners.iter();
        let needs_engine = open().any(|one| one.plan().is_some());
        View {
            engine: world.engine.for_another_worker(),
            needs_engine,
            sockets: open().map(|one| (one.shown(), one.socket().clone())).collect(),
            listeners: open().map(report).collect(),
            caches: world.caches.all(),
        }
    }
}

impl AdminServer {
    /// Serves nothing yet.
    pub(super) fn new(world: &World) -> AdminServer {
        let view = ArcSwap::from_pointee(View::of(world));
        let (metrics, drain) = (world.metrics.clone(), world.drain.clone());
        let commands = world.commands.clone();
        let jobs = Arc::clone(&world.jobs);
        let state = Arc::new(AdminState { metrics, view, commands, jobs, drain });
        AdminServer { serving: HashMap::new(), state }
    }

    /// Serves what the world has now, and no more.
    pub(super) fn follow(&mut self, world: &World) -> io::Result<()> {
        self.state.view.store(Arc::new(View::of(world)));
        let wanted: Vec<String> = world.admin.iter().map(|(bind, _)| bind.to_string()).collect();
        self.serving.retain(|place, (stop, _)| {
            let stays = wanted.contains(place);
            if !stays {
                stop.cancel();
            }
            stays
        });
        for ((_, socket), place) in world.admin.iter().zip(wanted) {
            if self.serving.contains_key(&place) {
                continue;
            }
            let stop = CancellationToken::new();
            let state = Arc::clone(&self.state) as Arc<dyn AdminApi>;
            let serving = admin::serve(socket.duplicate()?, socket.is_unix(), state, stop.clone());
            tokio::spawn(serving);
            self.serving.insert(place, (stop, socket.clone()));
        }
        Ok(())
    }

    /// Holds no listening socket any more: they are to close.
    pub(super) fn let_go(&self) {
        let view = self.state.view.load();
        self.state.view.store(Arc::new(View {
            engine: view.engine.for_another_worker(),
            needs_engine: view.needs_engine,
            sockets: Vec::new(),
            listeners: view.listeners.clone(),
            caches: view.caches.clone(),
        }));
    }

    /// Leaves the sockets to another process.
    pub(super) fn close(&mut self) {
        self.serving.drain().for_each(|(_, (stop, _))| stop.cancel());
    }
}

impl AdminApi for AdminState {
    fn metrics(&self) -> String {
        let view = self.view.load();
        let caches = view.caches.iter().map(|cache| numbers(cache)).collect();
        self.metrics.render_with(caches, job_numbers(&self.jobs))
    }

    fn ready(&self) -> Later<'_, Vec<(String, Result<(), String>)>> {
        let view = self.view.load_full();
        Box::pin(async move {
            let engine = match view.needs_engine {
                true => Some(("engine".to_owned(), view.probe().await)),
                false => None,
            };
            let bound = view.sockets.iter();
            let bound = bound.map(|(name, socket)| (name.clone(), socket.is_reachable()));
            engine.into_iter().chain(bound).collect()
        })
    }

    fn reload(&self) -> Later<'_, Result<String, String>> {
        Box::pin(self.commands.give(Command::Reload))
    }

    fn open_listener(&self, listener: RuntimeListener) -> Later<'_, Result<String, String>> {
        Box::pin(self.commands.give(Command::Open(listener)))
    }

    fn close_listener(&self, name: String) -> Later<'_, Result<String, String>> {
        Box::pin(self.commands.give(Command::Close(name)))
    }

    fn jobs(&self) -> Vec<JobReport> {
        self.jobs.all().into_iter().map(|job| job_report(&self.jobs, job)).collect()
    }

    fn open_job(&self, wanted: OpenJob) -> Later<'_, Result<JobReport, String>> {
        Box::pin(async move {
            let engine = self.view.load().engine.for_another_worker();
            let (record, policy) = process_job(&engine, wanted).await?;
            let id = record.id.clone();
            self.commands.give(Command::OpenJob(Box::new(record), policy)).await?;
            let opened = self.jobs.get(&id).map(|job| job_report(&self.jobs, job));
            opened.ok_or_else(|| "it has ended already".to_owned())
        })
    }

    fn end_job(&self, id: &str) -> Result<(), String> {
        self.jobs.end(id)
    }

    fn listeners(&self) -> Vec<ListenerReport> {
        self.view.load().listeners.clone()
    }

    fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    fn caches(&self) -> Vec<Arc<Cache>> {
        self.view.load().caches.clone()
    }
}

impl View {
    async fn probe(&self) -> Result<(), String> {
        match tokio::time::timeout(PROBE, self.engine.is_alive()).await {
            Ok(true) => Ok(()),
            _ => Err(format!("`{}` does not answer", self.engine.address())),
        }
    }
}

fn report(open: &OpenListener) -> ListenerReport {
    ListenerReport {
        name: open.label(),
        url: open.url(),
        like: open.runtime().map(|runtime| runtime.like.clone()),
    }
}

fn job_report(jobs: &Jobs, job: Job) -> JobReport {
    let process = job.record.process.as_ref();
    JobReport {
        socket: jobs.folder(&job.record).join(FILE).display().to_string(),
        state: job.phase.as_str().to_owned(),
        name: process.map(|of| of.name.clone()),
        pid: process.map(|of| of.process.pid),
        id: job.record.id,
        listener: job.record.listener,
        user: job.record.user,
        containers: job.record.containers,
        began: job.record.began,
        error: job.error,
    }
}

/// What a scrape tells of jobs. What is gone is none any more.
fn job_numbers(jobs: &Jobs) -> JobNumbers {
    let (all, counts) = (jobs.all(), jobs.counts());
    let is_in = |phase| all.iter().filter(|job| job.phase == phase).count() as u64;
    let states = [JobPhase::Opening, JobPhase::Open, JobPhase::Ending];
    JobNumbers {
        jobs: states.iter().map(|phase| (phase.as_str(), is_in(*phase))).collect(),
        failing: all.iter().filter(|job| job.error.is_some()).count() as u64,
        ended: counts.ended,
        removed: vec![
            ("container", counts.removed.containers),
            ("network", counts.removed.networks),
            ("volume", counts.removed.volumes),
            ("image", counts.removed.images),
        ],
    }
}

/// What a scrape tells of a cache: no zeros, of which there would be many.
fn numbers(cache: &Cache) -> CacheNumbers {
    let (usage, stats) = (cache.store.usage(), &cache.stats);
    let domains = stats.by_domain();
    let total = Sums::total(domains.values());
    let requests = domains.iter().flat_map(|(domain, sums)| {
        let known = Outcome::ALL.into_iter().map(Outcome::as_str);
        known.filter_map(|result| {
            let count = sums.requests.get(result).filter(|count| **count > 0)?;
            Some((domain.clone(), result, *count))
        })
    });
    CacheNumbers {
        name: cache.name.clone(),
        requests: requests.collect(),
        bytes: vec![
            ("sent", total.bytes_sent),
            ("saved", total.bytes_saved),
            ("fetched", total.bytes_fetched),
            ("stored", total.bytes_stored),
        ],
        origin_requests: total.origin_requests,
        not_stored: stats.reasons().into_iter().collect(),
        evicted: cache.evicted(),
        disk_errors: stats.disk_errors(),
        in_flight: cache.flights() as u64,
        objects: usage.objects,
        stored_bytes: usage.bytes,
        limit_bytes: usage.limit,
        registry: cache.registry_numbers(),
    }
}
