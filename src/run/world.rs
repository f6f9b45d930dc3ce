//! Everything that runs, built from a plan, and replaced by another one while it runs.
//!
//! `run` holds the one world. What must stay true: a plan is applied whole or not at all; a socket that
//! the new configuration wants too is never closed; calls that have begun end with the state with which
//! they began.

use std::io;
use std::sync::Arc;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::caches::Caches;
use super::commands::Commands;
use super::in_sight;
use super::inherit::Inherited;
use super::open_listeners::{
    CachePort, Gateway, LeftOut, OpenListener, OpenListeners, Serve, Staged, Wanted, open_socket,
};
use super::own_address;
use super::plan::{ListenerPlan, Plan};
use super::transparent::{self, CacheClients};
use super::worker::Worker;
use crate::auth::Backoff;
use crate::cache::Cache;
use crate::cache::front::CacheListener;
use crate::cache::intercept::InterceptListener;
use crate::config::{self, Config, RuntimeListener};
use crate::engine::{Address, ContainerAddresses, Engine};
use crate::gateway::{Budgets, ListenerHandle, ListenerState, Memory};
use crate::job::Jobs;
use crate::listener::{Service, Socket};
use crate::telemetry::access::Log;
use crate::telemetry::metrics::Metrics;

/// Of those that are opened at run time.
const MOST_RUNTIME: usize = 1024;

pub(super) struct World {
    pub(super) config: Config,
    pub(super) engine: Engine,
    pub(super) open_listeners: OpenListeners,
    pub(super) admin: Vec<(config::Bind, Socket)>,
    pub(super) caches: Caches,
    workers: Vec<Worker>,
    log: Log,
    pub(super) metrics: Metrics,
    pub(super) memory: Arc<Memory>,
    /// Who has guessed too often, under this configuration and those before.
    pub(super) backoff: Backoff,
    /// What is told to this world goes through.
    pub(super) commands: Commands,
    pub(super) jobs: Arc<Jobs>,
    /// Of the engine's containers.
    addresses: Option<Arc<ContainerAddresses>>,
    /// Of the whole process.
    budgets: Arc<Budgets>,
    generation: u64,
    pub(super) drain: CancellationToken,
    /// Work that has begun has some time yet; who only looks on has none.
    pub(super) stopping: CancellationToken,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl World {
    pub(super) fn new(
        config: Config,
        plan: Plan,
        log: Log,
        backoff: Backoff,
        (commands, jobs): (Commands, Arc<Jobs>),
        inherited: &mut Inherited,
    ) -> anyhow::Result<(World, Applied)> {
        let stop = CancellationToken::new();
        let workers: Result<Vec<Worker>, _> =
            (0..workers()).map(|_| Worker::spawn(stop.clone())).collect();
        let engine = Engine::new(plan.engine.clone(), config.engine.patience);
        let mut world = World {
            config: config.clone(),
            engine,
            open_listeners: OpenListeners::default(),
            admin: Vec::new(),
            caches: Caches::default(),
            workers: workers?,
            log,
            metrics: Metrics::new(),
            memory: Arc::default(),
            backoff,
            commands,
            jobs,
            addresses: None,
            budgets: Arc::new(Budgets::of_process(&config.limits)),
            generation: 0,
            drain: CancellationToken::new(),
            stopping: CancellationToken::new(),
            stop,
            tasks: TaskTracker::new(),
        };
        world.memory.learn(&inherited.memory);
        let opened = world.apply(config, plan, inherited)?;
        Ok((world, opened))
    }

    /// Opens what is new, then puts everything in place of what there was; on an error nothing has
    /// changed.
    pub(super) fn apply(
        &mut self,
        config: Config,
        plan: Plan,
        inherited: &mut Inherited,
    ) -> anyhow::Result<Applied> {
        in_sight::check(&config, &plan.engine)?;
        let caches = self.caches.stage(plan.caches, &self.tasks)?;
        let wanted = plan.listeners.into_iter().map(Wanted::listener);
        let wanted =
            wanted.chain(caches.iter().flat_map(|cache| self.caches.wanted(cache))).collect();
        let admin = self.stage_admin(&config, &plan.engine, inherited)?;
        // The last that can fail: it makes files' modes tighter.
        let (staged, left_out) = self.stage(wanted, &plan.engine, inherited)?;
        let goes_on = self.config.engine == config.engine
            && self.config.limits == config.limits
            && self.config.log == config.log;
        self.engine = match goes_on {
            true => self.engine.for_another_worker(),
            false => Engine::new(plan.engine, config.engine.patience),
        };
        self.budgets.change(&config.limits);
        self.generation += 1;
        self.admin = admin;
        self.config = config;
        self.caches.replace(caches);
        let log = self.log.with_format(self.config.log.access);
        let caches = self.caches.all();
        for cache in &caches {
            cache.log_to(log.clone());
            cache.takes_grants(&self.memory.grants);
        }
        let logins = caches.iter().filter_map(|one| Some((one.name.clone(), one.checks_logins()?)));
        self.memory.logins.replace(logins.collect());
        self.lead_to(&caches);
        let opened = self.replace(staged, goes_on, |_| false);
        let left_out = left_out.iter().map(|(what, why)| format!("{what} is closed: {why:#}"));
        Ok(Applied { opened, closed: plan.closed.into_iter().chain(left_out).collect() })
    }

    /// Containers are led to these caches, and known there.
    fn lead_to(&mut self, caches: &[Arc<Cache>]) {
        let trusting = &self.memory.trusting;
        trusting
            .replace(transparent::authorities(&self.config, &|cache| trusting.authority(cache)));
        let before = self.addresses.take().filter(|addresses| addresses.is_of(&self.engine));
        let addresses = before
            .unwrap_or_else(|| Arc::new(ContainerAddresses::new(self.engine.for_another_worker())));
        for cache in caches.iter().filter(|cache| cache.intercepts()) {
            let clients = CacheClients::new(&cache.name, &self.memory, &addresses);
            cache.takes_clients(&(Arc::new(clients) as _));
        }
        self.addresses = Some(addresses);
        self.follow_addresses();
    }

    /// Whose addresses are whose is known from now on, where somebody will ask.
    pub(super) fn follow_addresses(&self) {
        let is_asked = self.caches.all().iter().any(|cache| cache.intercepts());
        if let Some(addresses) = self.addresses.as_ref().filter(|_| is_asked) {
            addresses.follow();
        }
    }

    /// Opens one beside those that there are.
    pub(super) fn open(&mut self, wanted: RuntimeListener) -> anyhow::Result<String> {
        let (bind, name) = (format!("unix://{}", wanted.path.display()), wanted.name.clone());
        let taken = self
            .open_listeners
            .iter()
            .find(|open| open.name == name || open.bind.to_string() == bind);
        if let Some(taken) = taken {
            anyhow::bail!("{} is open already, on `{}`", taken.shown(), taken.bind);
        }
        if self.runtime_listeners().count() >= MOST_RUNTIME {
            anyhow::bail!("{MOST_RUNTIME} listeners were opened at run time, and no more are");
        }
        let plan = ListenerPlan::like(&self.config, wanted, &self.backoff)?;
        let address = self.engine.address().clone();
        let wanted = vec![Wanted::listener(plan)];
        let (staged, left_out) = self.stage(wanted, &address, &mut Inherited::default())?;
        if let Some((what, error)) = left_out.into_iter().next() {
            return Err(error.context(format!("{what} cannot be opened")));
        }
        Ok(self.replace(staged, true, |_| true).concat())
    }

    /// Closes one that was opened at run time: what goes on through it goes on to its end.
    pub(super) fn close_one(&mut self, name: &str) -> anyhow::Result<String> {
        let found = self.open_listeners.iter().find(|open| open.name == name);
        match found.map(|open| open.runtime()) {
            Some(Some(_)) => {}
            Some(None) => anyhow::bail!(
                "listener `{name}` is in the configuration. hint: take it out there, and reload"
            ),
            None => anyhow::bail!("there is no listener `{name}`"),
        }
        self.replace(Vec::new(), true, |open| open.name != name);
        Ok(format!("closed listener `{name}`"))
    }

    pub(super) fn runtime_listeners(&self) -> impl Iterator<Item = &RuntimeListener> {
        self.open_listeners.iter().filter_map(OpenListener::runtime)
    }

    pub(super) fn stage(
        &self,
        wanted: Vec<Wanted>,
        engine: &Address,
        inherited: &mut Inherited,
    ) -> anyhow::Result<(Vec<Staged>, LeftOut)> {
        self.open_listeners.stage(wanted, engine, inherited, &self.workers, &self.tasks)
    }

    pub(super) fn replace(
        &mut self,
        staged: Vec<Staged>,
        goes_on: bool,
        stays: impl Fn(&OpenListener) -> bool,
    ) -> Vec<String> {
        let mut open = std::mem::take(&mut self.open_listeners);
        let opened = open.replace(staged, stays, &Services { world: self, goes_on });
        self.open_listeners = open;
        opened
    }

    fn stage_admin(
        &self,
        config: &Config,
        engine: &Address,
        inherited: &mut Inherited,
    ) -> anyhow::Result<Vec<(config::Bind, Socket)>> {
        let stage = |bind: &config::Bind| {
            let context = || format!("admin socket `{bind}` cannot be opened");
            own_address::refuse_file(bind, engine).with_context(context)?;
            let kept = self.admin.iter().find(|(other, _)| other.is_same_place(bind));
            let socket = match kept {
                Some((_, socket)) => socket.clone(),
                None => open_socket(bind, &bind.to_string(), inherited).with_context(context)?,
            };
            Ok((bind.clone(), socket))
        };
        config.admin.iter().map(stage).collect()
    }

    /// What the process that takes over should know, one line each.
    pub(super) fn remembered(&self) -> Vec<String> {
        let mut lines = self.memory.tell();
        lines.extend(self.backoff.tell());
        lines
    }

    /// Every listening socket, for the process that takes over.
    pub(super) fn sockets(&self) -> io::Result<Vec<(String, std::os::fd::OwnedFd)>> {
        let open = self.open_listeners.iter().map(|open| (open.key.clone(), open.socket()));
        let admin = self.admin.iter().map(|(bind, socket)| (bind.to_string(), socket));
        open.chain(admin).map(|(key, socket)| Ok((key, socket.duplicate()?))).collect()
    }

    /// The files of the sockets go when the sockets do.
    pub(super) fn own_files(&self) {
        self.all_sockets().for_each(Socket::own);
    }

    /// Leaves the files of the sockets where they are.
    pub(super) fn leave_files(&self) {
        self.all_sockets().for_each(Socket::leave);
    }

    fn all_sockets(&self) -> impl Iterator<Item = &Socket> {
        let open = self.open_listeners.iter().map(OpenListener::socket);
        open.chain(self.admin.iter().map(|(_, socket)| socket))
    }

    /// Closes the listening sockets and lets no new call begin. The sockets close with their last
    /// copy, in the workers.
    pub(super) fn close(&mut self) {
        self.open_listeners.close();
        self.admin.clear();
        self.caches.close();
        self.drain.cancel();
        self.tasks.close();
    }
}

/// What has changed of the sockets, a line for each.
pub(super) struct Applied {
    pub(super) opened: Vec<String>,
    /// Of those that were opened at run time.
    pub(super) closed: Vec<String>,
}

/// Makes services of plans, as the world is now.
struct Services<'w> {
    world: &'w World,
    /// Whether what all listeners share is as it was.
    goes_on: bool,
}

impl Serve for Services<'_> {
    fn drain(&self) -> CancellationToken {
        self.world.drain.child_token()
    }

    fn open(&self, plan: ListenerPlan, drain: &CancellationToken) -> Gateway {
        let budgets = Arc::new(Budgets::within(&self.world.budgets, &self.world.config.limits));
        let handle = |worker| {
            // Every call waits on its token: shared, the workers would fight for its lock.
            let state = self.listener_state(&plan, worker, &budgets, drain.child_token());
            Arc::new(ListenerHandle::new(state))
        };
        let handles = (0..self.world.workers.len()).map(handle).collect();
        Gateway { plan, handles, budgets }
    }

    /// What its callers are known by, and its connections to the engine, go on then.
    fn is_as(&self, gateway: &Gateway, plan: &ListenerPlan) -> bool {
        self.goes_on && gateway.plan.is_as(plan)
    }

    fn update(&self, gateway: Gateway, plan: ListenerPlan) -> Gateway {
        let Gateway { handles, budgets, .. } = gateway;
        budgets.change(&self.world.config.limits);
        for (worker, handle) in handles.iter().enumerate() {
            let drain = handle.drain().clone();
            handle.replace(self.listener_state(&plan, worker, &budgets, drain));
        }
        Gateway { plan, handles, budgets }
    }

    fn cache(&self, port: &CachePort, worker: usize, drain: CancellationToken) -> Arc<dyn Service> {
        let cache = &port.cache;
        let name = format!("{} {}", cache.table(), cache.name);
        let listener = CacheListener {
            cache: Arc::clone(cache),
            tally: self.world.metrics.tally(worker, &name),
            name: name.into(),
            drain,
            tasks: self.world.tasks.clone(),
        };
        match port.intercepts {
            true => Arc::new(InterceptListener(listener)),
            false => Arc::new(listener),
        }
    }
}

impl Services<'_> {
    fn listener_state(
        &self,
        part: &ListenerPlan,
        worker: usize,
        budgets: &Arc<Budgets>,
        drain: CancellationToken,
    ) -> ListenerState {
        let World { config, engine, .. } = self.world;
        ListenerState {
            listener: part.config.name.as_str().into(),
            generation: self.world.generation,
            authentication: Arc::clone(&part.authentication),
            trust: part.tls.clone(),
            hosts: part.hosts(),
            chain: Arc::clone(&part.chain),
            engine: engine.for_another_worker(),
            limits: config.limits,
            budgets: Arc::clone(budgets),
            revoke: part.config.revoke,
            replaced: CancellationToken::new(),
            log: self.world.log.with_format(config.log.access),
            tally: self.world.metrics.tally(worker, &part.label()),
            memory: Arc::clone(&self.world.memory),
            plugins: Arc::clone(&part.plugins),
            control: Arc::new(self.world.commands.clone()),
            witness: None,
            drain,
            stopping: self.world.stopping.child_token(),
            tasks: self.world.tasks.clone(),
        }
    }
}

fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
