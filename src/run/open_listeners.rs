//! The listening sockets that are open: of listeners, of caches, and of those that were opened at run time.
//!
//! `world` keeps the one list of them. What must stay true: a change is made ready whole before any of it is
//! done, and then nothing fails; a socket that is wanted again is never closed; whoever was served before
//! goes on with what it began with.

use std::io;
use std::sync::Arc;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::inherit::{self, Inherited};
use super::own_address;
use super::plan::ListenerPlan;
use super::worker::{PendingListener, Worker};
use crate::cache::Cache;
use crate::config::{Bind, RuntimeListener};
use crate::engine::Address;
use crate::gateway::{Budgets, ListenerHandle};
use crate::listener::tls::Server;
use crate::listener::{Listener, Service, Socket};

#[derive(Default)]
pub(super) struct OpenListeners(Vec<OpenListener>);

/// One listening socket, and who serves it.
pub(super) struct OpenListener {
    /// No two have the same.
    pub name: String,
    pub bind: Bind,
    /// By which another process knows the socket.
    pub key: String,
    listener: Listener,
    served: Served,
    /// Cancelled when whoever serves it now is to accept no more.
    drain: CancellationToken,
}

pub(super) enum Served {
    Gateway(Box<Gateway>),
    Cache(CachePort),
}

/// A cache, as it is at one of its sockets.
#[derive(Clone)]
pub(super) struct CachePort {
    pub cache: Arc<Cache>,
    /// Whether clients there take it for their origins.
    pub intercepts: bool,
}

impl CachePort {
    fn is(&self, other: &CachePort) -> bool {
        Arc::ptr_eq(&self.cache, &other.cache) && self.intercepts == other.intercepts
    }
}

pub(super) struct Gateway {
    /// What its states were made of.
    pub plan: ListenerPlan,
    /// Each worker's.
    pub handles: Vec<Arc<ListenerHandle>>,
    pub budgets: Arc<Budgets>,
}

/// A listening socket that is to be open.
pub(super) struct Wanted {
    pub name: String,
    pub bind: Bind,
    pub key: String,
    pub tls: Option<Arc<Server>>,
    pub max_connections: usize,
    /// Why it may not be where other machines reach it.
    pub is_local: Option<&'static str>,
    pub service: WantedService,
}

pub(super) enum WantedService {
    Gateway(Box<ListenerPlan>),
    Cache(CachePort),
}

/// A wanted one whose socket is open, and from which nobody accepts yet.
pub(super) struct Staged {
    pub wanted: Wanted,
    listener: Listener,
    /// The place in the list of the one whose socket it is.
    before: Option<usize>,
    /// None where the workers go on with what they have.
    pending: Vec<PendingListener>,
}

/// Those that cannot be open, and why.
pub(super) type LeftOut = Vec<(String, anyhow::Error)>;

/// What makes a service of a plan: the rest of the world.
pub(super) trait Serve {
    fn drain(&self) -> CancellationToken;

    fn open(&self, plan: ListenerPlan, drain: &CancellationToken) -> Gateway;

    /// Whether nothing would be another.
    fn is_as(&self, gateway: &Gateway, plan: &ListenerPlan) -> bool;

    fn update(&self, gateway: Gateway, plan: ListenerPlan) -> Gateway;

    /// Of a worker.
    fn cache(&self, port: &CachePort, worker: usize, drain: CancellationToken) -> Arc<dyn Service>;
}

impl OpenListener {
    pub(super) fn socket(&self) -> &Socket {
        self.listener.socket()
    }

    pub(super) fn plan(&self) -> Option<&ListenerPlan> {
        match &self.served {
            Served::Gateway(gateway) => Some(&gateway.plan),
            Served::Cache(_) => None,
        }
    }

    /// What it was opened by, if that was at run time.
    pub(super) fn runtime(&self) -> Option<&RuntimeListener> {
        self.plan()?.runtime.as_ref()
    }

    /// Without the address, of which a cache may have several.
    pub(super) fn label(&self) -> String {
        match &self.served {
            Served::Gateway(_) => self.name.clone(),
            Served::Cache(port) => format!("{} {}", port.cache.table(), port.cache.name),
        }
    }

    /// Where it listens, with the port that it really has.
    pub(super) fn url(&self) -> String {
        match &self.served {
            Served::Gateway(_) => self.listener.url(),
            Served::Cache(port) => port.url(&self.listener),
        }
    }

    /// As in `/readyz`: with the address that it really has.
    pub(super) fn shown(&self) -> String {
        match &self.served {
            Served::Gateway(_) => format!("listener {}", self.name),
            Served::Cache(_) => format!("{} {}", self.label(), self.url()),
        }
    }

    fn is_as(&self, wanted: &WantedService, world: &dyn Serve) -> bool {
        match (wanted, &self.served) {
            (WantedService::Gateway(plan), Served::Gateway(gateway)) => world.is_as(gateway, plan),
            (WantedService::Cache(port), Served::Cache(other)) => port.is(other),
            _ => false,
        }
    }

    fn end(self) {
        self.drain.cancel();
        if let Served::Gateway(gateway) = self.served {
            gateway.handles.iter().for_each(|handle| handle.close());
        }
    }
}

impl OpenListeners {
    pub(super) fn iter(&self) -> impl Iterator<Item = &OpenListener> {
        self.0.iter()
    }

    /// Opens what is not open yet, and nobody accepts from it. Of those that were opened at run time, what cannot be
    /// open any more is left out: whoever can write to its folder holds up nothing else.
    pub(super) fn stage(
        &self,
        wanted: Vec<Wanted>,
        engine: &Address,
        inherited: &mut Inherited,
        workers: &[Worker],
        tasks: &TaskTracker,
    ) -> anyhow::Result<(Vec<Staged>, LeftOut)> {
        let (mut staged, mut left_out) = (Vec::<Staged>::new(), LeftOut::new());
        for one in wanted {
            let (what, is_runtime) = (one.what(), one.is_runtime());
            let is_taken = |at: usize| staged.iter().any(|other| other.before == Some(at));
            let before = self.socket_for(&one.bind, &is_taken);
            let ready = self.stage_one(one, before, engine, inherited, workers, tasks);
            match ready.and_then(|ready| ready.tighten().map(|()| ready)) {
                Ok(ready) => staged.push(ready),
                Err(error) if is_runtime => left_out.push((what, error)),
                Err(error) => {
                    for open in &self.0 {
                        let _ = open.socket().settle(&open.bind);
                    }
                    return Err(error.context(format!("{what} cannot be opened")));
                }
            }
        }
        Ok((staged, left_out))
    }

    /// One whose socket can go on.
    fn socket_for(&self, bind: &Bind, is_taken: &dyn Fn(usize) -> bool) -> Option<usize> {
        let found = self.0.iter().enumerate().find(|(at, open)| {
            // One that nobody finds any more is opened anew.
            open.bind.is_same_place(bind) && !is_taken(*at) && open.socket().is_reachable().is_ok()
        });
        found.map(|(at, _)| at)
    }

    fn stage_one(
        &self,
        wanted: Wanted,
        before: Option<usize>,
        engine: &Address,
        inherited: &mut Inherited,
        workers: &[Worker],
        tasks: &TaskTracker,
    ) -> anyhow::Result<Staged> {
        own_address::refuse_file(&wanted.bind, engine)?;
        let open = before.and_then(|at| self.0.get(at));
        let listener = match open {
            Some(open) => open.listener.clone(),
            None => {
                let socket = open_socket(&wanted.bind, &wanted.key, inherited)?;
                own_address::refuse_socket(&socket, engine)?;
                Listener::new(socket, wanted.max_connections, wanted.tls.clone())
            }
        };
        wanted.refuse_beyond_loopback(listener.socket())?;
        let before_it = open.filter(|open| open.key == wanted.key).map(|open| &open.served);
        let goes_on = match (&wanted.service, before_it) {
            (WantedService::Gateway(_), Some(Served::Gateway(_))) => true,
            (WantedService::Cache(port), Some(Served::Cache(other))) => port.is(other),
            _ => false,
        };
        let watch = |worker: &Worker| worker.watch(listener.clone(), tasks.clone());
        let pending = match goes_on {
            true => Vec::new(),
            false => workers.iter().map(watch).collect::<io::Result<_>>()?,
        };
        Ok(Staged { wanted, listener, before, pending })
    }

    /// Puts them in place of those that were there, of which only what `stays` is kept beside them. Nothing
    /// fails. Gives a line for each socket that was opened.
    pub(super) fn replace(
        &mut self,
        staged: Vec<Staged>,
        stays: impl Fn(&OpenListener) -> bool,
        world: &dyn Serve,
    ) -> Vec<String> {
        let mut old: Vec<Option<OpenListener>> = self.0.drain(..).map(Some).collect();
        let mut opened = Vec::new();
        let mut new = Vec::new();
        for one in staged {
            let before = one.before.and_then(|at| old.get_mut(at)).and_then(Option::take);
            if !one.pending.is_empty() {
                opened.push(one.announcement());
                inherit::store(&one.wanted.bind, &one.wanted.key, one.listener.socket());
            }
            new.push(one.serve(before, world));
        }
        let (stay, gone) = old.into_iter().flatten().partition(stays);
        self.0 = stay;
        self.0.extend(new);
        for open in &self.0 {
            if let Err(error) = open.socket().settle(&open.bind) {
                tracing::error!(%error, "the file of `{}` keeps its tight mode", open.bind);
            }
        }
        self.end(gone);
        opened
    }

    fn end(&self, gone: Vec<OpenListener>) {
        for one in gone {
            if !self.0.iter().any(|open| open.key == one.key) {
                inherit::forget(&one.key);
            }
            if !self.0.iter().any(|open| open.bind.is_same_place(&one.bind)) {
                // Not only when the last worker has let go of it: whoever is told that it is closed may look.
                one.socket().remove();
            }
            one.end();
        }
    }

    pub(super) fn close(&mut self) {
        self.0.clear();
    }
}

impl Staged {
    /// The file's mode gets tighter before the new rules stand, and looser afterwards: at no time is a
    /// socket open to more than its rules, old or new, are meant for.
    fn tighten(&self) -> anyhow::Result<()> {
        let tight = self.listener.socket().tighten(&self.wanted.bind);
        tight.with_context(|| "its socket file cannot be changed".to_owned())
    }

    fn serve(self, before: Option<OpenListener>, world: &dyn Serve) -> OpenListener {
        let Staged { wanted, listener, pending, .. } = self;
        let goes_on = pending.is_empty();
        let before = match before {
            Some(open) if goes_on && open.is_as(&wanted.service, world) => return open,
            before => before,
        };
        listener.change(wanted.max_connections, wanted.tls);
        let (served, drain) = match (wanted.service, before) {
            (
                WantedService::Gateway(plan),
                Some(OpenListener { served: Served::Gateway(gateway), drain, .. }),
            ) if goes_on => (Served::Gateway(Box::new(world.update(*gateway, *plan))), drain),
            (service, before) => {
                if let Some(before) = before {
                    before.end();
                }
                let drain = world.drain();
                (start(service, pending, &drain, world), drain)
            }
        };
        let Wanted { name, bind, key, .. } = wanted;
        OpenListener { name, bind, key, listener, served, drain }
    }

    fn announcement(&self) -> String {
        match &self.wanted.service {
            WantedService::Gateway(plan) => {
                let listed = |names: Vec<&str>| names.join(",");
                let policies = plan.config.policies.iter().map(|policy| &*policy.name).collect();
                let policies = Some(listed(policies)).filter(|names| !names.is_empty());
                let auth = listed(plan.config.auth.iter().map(|auth| &*auth.name).collect());
                let auth = if auth.is_empty() { auth } else { format!(" auth={auth}") };
                let policies = policies.as_deref().unwrap_or("none");
                format!("listening on {} policies={policies}{auth}", self.listener.url())
            }
            WantedService::Cache(port) => {
                let (url, what) = (port.url(&self.listener), port.cache.table());
                let intercepts = if port.intercepts { " intercepts" } else { "" };
                format!("listening on {url} {what}={}{intercepts}", port.cache.name)
            }
        }
    }
}

fn start(
    service: WantedService,
    pending: Vec<PendingListener>,
    drain: &CancellationToken,
    world: &dyn Serve,
) -> Served {
    match service {
        WantedService::Gateway(plan) => {
            let gateway = world.open(*plan, drain);
            for (pending, handle) in pending.into_iter().zip(&gateway.handles) {
                pending.start(Arc::clone(handle) as Arc<dyn Service>);
            }
            Served::Gateway(Box::new(gateway))
        }
        WantedService::Cache(port) => {
            for (worker, pending) in pending.into_iter().enumerate() {
                pending.start(world.cache(&port, worker, drain.child_token()));
            }
            Served::Cache(port)
        }
    }
}

impl Wanted {
    fn is_runtime(&self) -> bool {
        matches!(&self.service, WantedService::Gateway(plan) if plan.runtime.is_some() || plan.job.is_some())
    }

    pub(super) fn listener(plan: ListenerPlan) -> Wanted {
        let bind = plan.config.bind.clone();
        Wanted {
            name: plan.config.name.clone(),
            key: plan.runtime.as_ref().map_or_else(|| bind.to_string(), RuntimeListener::key),
            bind,
            tls: plan.tls.clone(),
            max_connections: plan.config.max_connections,
            is_local: plan.is_local(),
            service: WantedService::Gateway(Box::new(plan)),
        }
    }

    fn what(&self) -> String {
        match self.service {
            WantedService::Gateway(_) => format!("listener `{}`", self.name),
            WantedService::Cache(_) => format!("`{}`", self.name),
        }
    }

    /// As `config::check` refuses it for an address that it can see.
    fn refuse_beyond_loopback(&self, socket: &Socket) -> io::Result<()> {
        match (socket.beyond_loopback(), self.is_local) {
            (Some(address), Some(why)) => {
                let what = format!("the socket listens on {address}, beyond loopback, and {why}");
                Err(io::Error::other(what))
            }
            _ => Ok(()),
        }
    }
}

/// Opens a socket, or takes the one that was inherited by this key.
pub(super) fn open_socket(bind: &Bind, key: &str, inherited: &mut Inherited) -> io::Result<Socket> {
    let found = inherited.find(bind, key);
    let was_found = found.is_some();
    match Socket::open(bind, found) {
        // Its file is gone: nobody can reach it.
        Err(error) if was_found && error.kind() == io::ErrorKind::NotFound => {
            Socket::open(bind, None)
        }
        opened => opened,
    }
}

impl CachePort {
    /// With the port that it really has.
    fn url(&self, listener: &Listener) -> String {
        let url = listener.url();
        match (url.strip_prefix("tls://"), url.strip_prefix("tcp://")) {
            (Some(address), _) => format!("https://{address}"),
            (_, Some(address)) if self.intercepts => format!("https://{address}"),
            (_, Some(address)) => format!("http://{address}"),
            _ => url,
        }
    }
}
