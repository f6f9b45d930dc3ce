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

use super::caches::{CacheContext, Caches};
use super::inherit::{self, Inherited};
use super::own_address;
use super::plan::{ListenerPlan, Plan};
use super::worker::{PendingListener, Worker};
use crate::auth::Backoff;
use crate::config::{self, Config};
use crate::engine::{Address, Engine};
use crate::gateway::{Budgets, ListenerHandle, ListenerState, Memory};
use crate::listener::{Listener, Socket};
use crate::telemetry::access::Log;
use crate::telemetry::metrics::Metrics;

pub(super) struct World {
    pub(super) config: Config,
    pub(super) engine: Engine,
    open_listeners: Vec<OpenListener>,
    pub(super) admin: Vec<(config::Bind, Socket)>,
    pub(super) caches: Caches,
    workers: Vec<Worker>,
    log: Log,
    pub(super) metrics: Metrics,
    pub(super) memory: Arc<Memory>,
    /// Who has guessed too often, under this configuration and those before.
    pub(super) backoff: Backoff,
    /// Of the whole process.
    budgets: Arc<Budgets>,
    generation: u64,
    pub(super) drain: CancellationToken,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

/// One listener, and each worker's handle to it.
struct OpenListener {
    /// What its states were made of.
    plan: ListenerPlan,
    listener: Listener,
    handles: Vec<Arc<ListenerHandle>>,
    budgets: Arc<Budgets>,
    drain: CancellationToken,
}

impl OpenListener {
    fn bind(&self) -> &config::Bind {
        &self.plan.config.bind
    }
}

impl World {
    pub(super) fn new(
        config: Config,
        plan: Plan,
        log: Log,
        backoff: Backoff,
        inherited: &mut Inherited,
    ) -> anyhow::Result<(World, Vec<String>)> {
        let stop = CancellationToken::new();
        let workers: Result<Vec<Worker>, _> =
            (0..workers()).map(|_| Worker::spawn(stop.clone())).collect();
        let engine = Engine::new(plan.engine.clone(), config.engine.patience);
        let mut world = World {
            config: config.clone(),
            engine,
            open_listeners: Vec::new(),
            admin: Vec::new(),
            caches: Caches::default(),
            workers: workers?,
            log,
            metrics: Metrics::new(),
            memory: Arc::default(),
            backoff,
            budgets: Arc::new(Budgets::of_process(&config.limits)),
            generation: 0,
            drain: CancellationToken::new(),
            stop,
            tasks: TaskTracker::new(),
        };
        world.memory.learn(&inherited.memory);
        let opened = world.apply(config, plan, inherited)?;
        Ok((world, opened))
    }

    /// Opens what is new, then puts everything in place of what there was; on an error nothing has
    /// changed. Gives a line for each listener that was opened.
    pub(super) fn apply(
        &mut self,
        config: Config,
        plan: Plan,
        inherited: &mut Inherited,
    ) -> anyhow::Result<Vec<String>> {
        let mut staged = Vec::new();
        for part in &plan.listeners {
            staged.push(self.stage(part, &plan.engine, &staged, inherited)?);
        }
        let admin = self.stage_admin(&config, &plan.engine, inherited)?;
        let caches = self.caches.stage(plan.caches, inherited, &self.tasks)?;
        self.tighten(&plan.listeners, &staged)?;
        // From here on nothing fails.
        let stays = self.config.engine == config.engine
            && self.config.limits == config.limits
            && self.config.log == config.log;
        let engine = match stays {
            true => self.engine.for_another_worker(),
            false => Engine::new(plan.engine, config.engine.patience),
        };
        self.budgets.change(&config.limits);
        self.generation += 1;
        let mut old: Vec<Option<OpenListener>> = self.open_listeners.drain(..).map(Some).collect();
        let mut opened = Vec::new();
        for (part, staged) in plan.listeners.into_iter().zip(staged) {
            let open = match staged {
                Staged::Kept(index) => match old.get_mut(index).and_then(Option::take) {
                    // What its callers are known by, and its connections to the engine, go on.
                    Some(open) if stays && open.plan.is_as(&part) => open,
                    Some(open) => self.update_listener(open, part, &config, &engine),
                    None => continue,
                },
                Staged::Opened(listener, pending) => {
                    opened.push(announcement(&listener, &part));
                    self.open_listener(listener, pending, part, &config, &engine)
                }
            };
            if let Err(error) = open.listener.socket().settle(&open.plan.config.bind) {
                tracing::error!(%error, "the file of `{}` keeps its tight mode", open.plan.config.bind);
            }
            self.open_listeners.push(open);
        }
        for gone in old.into_iter().flatten() {
            if !self.open_listeners.iter().any(|open| open.bind().is_same_place(gone.bind())) {
                inherit::forget(gone.bind());
            }
            gone.drain.cancel();
            gone.handles.iter().for_each(|handle| handle.close());
        }
        self.admin = admin;
        let opening =
            CacheContext { workers: &self.workers, drain: &self.drain, tasks: &self.tasks };
        opened.extend(self.caches.replace(caches, &opening));
        self.engine = engine;
        self.config = config;
        Ok(opened)
    }

    /// Opens what is not open yet, and nobody accepts from it.
    fn stage(
        &self,
        part: &ListenerPlan,
        engine: &Address,
        before: &[Staged],
        inherited: &mut Inherited,
    ) -> anyhow::Result<Staged> {
        let bind = &part.config.bind;
        let context = || format!("listener `{}` cannot be opened", part.config.name);
        own_address::refuse_file(bind, engine).with_context(context)?;
        let kept = self.open_listeners.iter().enumerate().find(|(index, open)| {
            let is_taken =
                before.iter().any(|other| matches!(other, Staged::Kept(i) if i == index));
            let socket = open.listener.socket();
            // One that nobody finds any more is opened anew.
            open.bind().is_same_place(bind) && !is_taken && socket.is_reachable().is_ok()
        });
        if let Some((index, open)) = kept {
            open.listener.socket().suits(&part.config).with_context(context)?;
            return Ok(Staged::Kept(index));
        }
        let socket = open(bind, inherited).with_context(context)?;
        own_address::refuse_socket(&socket, engine).with_context(context)?;
        let listener =
            Listener::new(socket, &part.config, part.tls.clone()).with_context(context)?;
        let pending: io::Result<Vec<PendingListener>> = self
            .workers
            .iter()
            .map(|worker| worker.watch(listener.clone(), self.tasks.clone()))
            .collect();
        Ok(Staged::Opened(listener, pending.with_context(context)?))
    }

    /// The files' modes get tighter before the new rules stand, and looser afterwards: at no time is
    /// a socket open to more than its rules, old or new, are meant for.
    fn tighten(&self, parts: &[ListenerPlan], staged: &[Staged]) -> anyhow::Result<()> {
        for (part, staged) in parts.iter().zip(staged) {
            let socket = match staged {
                Staged::Kept(index) => {
                    self.open_listeners.get(*index).map(|open| open.listener.socket())
                }
                Staged::Opened(listener, _) => Some(listener.socket()),
            };
            let tight = socket.map_or(Ok(()), |socket| socket.tighten(&part.config.bind));
            if let Err(error) = tight {
                for open in &self.open_listeners {
                    let _ = open.listener.socket().settle(&open.plan.config.bind);
                }
                let what = format!("the socket file of `{}` cannot be changed", part.config.name);
                return Err(anyhow::Error::new(error).context(what));
            }
        }
        Ok(())
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
                None => open(bind, inherited).with_context(context)?,
            };
            Ok((bind.clone(), socket))
        };
        config.admin.iter().map(stage).collect()
    }

    /// A new listener, with a state for each worker.
    fn open_listener(
        &self,
        listener: Listener,
        pending: Vec<PendingListener>,
        plan: ListenerPlan,
        config: &Config,
        engine: &Engine,
    ) -> OpenListener {
        let part = &plan;
        inherit::store(&part.config.bind, listener.socket());
        let drain = self.drain.child_token();
        let budgets = Arc::new(Budgets::within(&self.budgets, &config.limits));
        let open_listener = |(index, pending): (usize, PendingListener)| {
            // Every call waits on its token: shared, the workers would fight for its lock.
            let listener_state =
                self.listener_state(part, config, engine, index, &budgets, drain.child_token());
            let handle = Arc::new(ListenerHandle::new(listener_state));
            pending.start(Arc::clone(&handle));
            handle
        };
        let handles = pending.into_iter().enumerate().map(open_listener).collect();
        OpenListener { plan, listener, handles, budgets, drain }
    }

    /// New states behind the handles of a listener that stays.
    fn update_listener(
        &self,
        open: OpenListener,
        plan: ListenerPlan,
        config: &Config,
        engine: &Engine,
    ) -> OpenListener {
        let part = &plan;
        open.listener.change(&part.config, part.tls.clone());
        open.budgets.change(&config.limits);
        for (index, handle) in open.handles.iter().enumerate() {
            let drain = handle.drain().clone();
            handle.replace(self.listener_state(part, config, engine, index, &open.budgets, drain));
        }
        OpenListener { plan, ..open }
    }

    fn listener_state(
        &self,
        part: &ListenerPlan,
        config: &Config,
        engine: &Engine,
        worker: usize,
        budgets: &Arc<Budgets>,
        drain: CancellationToken,
    ) -> ListenerState {
        ListenerState {
            listener: part.config.name.as_str().into(),
            generation: self.generation,
            authentication: Arc::clone(&part.authentication),
            trust: part.tls.clone().map(|server| server as _),
            hosts: part.hosts(),
            chain: Arc::clone(&part.chain),
            engine: engine.for_another_worker(),
            limits: config.limits,
            budgets: Arc::clone(budgets),
            revoke: part.config.revoke,
            replaced: CancellationToken::new(),
            log: self.log.with_format(config.log.access),
            tally: self.metrics.tally(worker, &part.config.name),
            memory: Arc::clone(&self.memory),
            plugins: Arc::clone(&part.plugins),
            drain,
            tasks: self.tasks.clone(),
        }
    }

    /// What the process that takes over should know, one line each.
    pub(super) fn remembered(&self) -> Vec<String> {
        let mut lines = self.memory.tell();
        lines.extend(self.backoff.tell());
        lines
    }

    /// Every listening socket, for the process that takes over.
    pub(super) fn sockets(&self) -> io::Result<Vec<(String, std::os::fd::OwnedFd)>> {
        let listeners =
            self.open_listeners.iter().map(|open| (open.bind(), open.listener.socket()));
        let admin = self.admin.iter().map(|(bind, socket)| (bind, socket));
        listeners
            .chain(admin)
            .chain(self.caches.sockets())
            .map(|(bind, socket)| Ok((bind.to_string(), socket.duplicate()?)))
            .collect()
    }

    /// The files of the sockets go when the sockets do.
    pub(super) fn own_files(&self) {
        self.open_listeners.iter().for_each(|open| open.listener.socket().own());
        self.admin.iter().for_each(|(_, socket)| socket.own());
    }

    /// Leaves the files of the sockets where they are.
    pub(super) fn leave_files(&self) {
        self.open_listeners.iter().for_each(|open| open.listener.socket().leave());
        self.admin.iter().for_each(|(_, socket)| socket.leave());
    }

    /// Each listener's name and socket.
    pub(super) fn listeners(&self) -> Vec<(String, Socket)> {
        let named = self.config.listeners.iter().zip(&self.open_listeners);
        named
            .map(|(listener, open)| (listener.name.clone(), open.listener.socket().clone()))
            .collect()
    }

    /// Closes the listening sockets and lets no new call begin. The sockets close with their last
    /// copy, in the workers.
    pub(super) fn close(&mut self) {
        self.open_listeners.clear();
        self.admin.clear();
        self.caches.close();
        self.drain.cancel();
        self.tasks.close();
    }
}

/// A listener of the new configuration.
enum Staged {
    /// The socket of an old one serves.
    Kept(usize),
    Opened(Listener, Vec<PendingListener>),
}

pub(super) fn open(bind: &config::Bind, inherited: &mut Inherited) -> io::Result<Socket> {
    let found = inherited.find(bind);
    let was_found = found.is_some();
    match Socket::open(bind, found) {
        // Its file is gone: nobody can reach it.
        Err(error) if was_found && error.kind() == io::ErrorKind::NotFound => {
            Socket::open(bind, None)
        }
        opened => opened,
    }
}

fn announcement(listener: &Listener, part: &ListenerPlan) -> String {
    let names: Vec<_> = part.config.policies.iter().map(|policy| policy.name.as_str()).collect();
    let policies = if names.is_empty() { "none".to_owned() } else { names.join(",") };
    let names: Vec<_> = part.config.auth.iter().map(|auth| auth.name.as_str()).collect();
    let auth = if names.is_empty() { String::new() } else { format!(" auth={}", names.join(",")) };
    format!("listening on {} policies={policies}{auth}", listener.url())
}

fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
