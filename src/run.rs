//! Builds the world from a `Config` and runs it until it is told to stop.
//!
//! Called by `cli::serve`. What must stay true: nothing is served before everything is bound; the
//! engine need not be there yet; SIGTERM lets running calls finish, a second one does not wait.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Door;
use crate::config::{self, Config, Limits};
use crate::engine::{Address, Engine};
use crate::gateway::House;
use crate::listener::Listener;
use crate::policy::conservative::Conservative;
use crate::policy::{Chain, Policy};
use crate::telemetry::access::Log;

pub fn run(config: &Config) -> anyhow::Result<()> {
    raise_open_files();
    let (log, writer) = Log::start(config.log.access)?;
    let engine = Engine::new(Address::parse(&config.engine.url)?, config.engine.patience);
    let mut bound = Vec::new();
    for listener in &config.listeners {
        let socket = Listener::bind(listener)
            .with_context(|| format!("listener `{}` cannot be opened", listener.name))?;
        bound.push((socket, listener));
    }
    let world = World {
        bound,
        limits: config.limits,
        log,
        drain: CancellationToken::new(),
        stop: CancellationToken::new(),
        tasks: TaskTracker::new(),
    };
    for _ in 0..workers() {
        spawn_worker(world.houses(&engine), world.stop.clone())?;
    }
    let main = Builder::new_current_thread().enable_all().build()?;
    main.block_on(until_stopped(world, config.drain_timeout))?;
    drop(writer);
    Ok(())
}

/// What all workers share.
struct World<'c> {
    bound: Vec<(Listener, &'c config::Listener)>,
    limits: Limits,
    log: Log,
    drain: CancellationToken,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl World<'_> {
    /// One worker's own view of each listener.
    fn houses(&self, engine: &Engine) -> Vec<(Listener, Arc<House>)> {
        let house = |(socket, listener): &(Listener, &config::Listener)| {
            let house = House {
                listener: listener.name.as_str().into(),
                door: Door::default(),
                chain: chain(&listener.policies),
                engine: engine.for_another_worker(),
                limits: self.limits,
                log: self.log.clone(),
                // Every call waits on it: shared, the workers would fight for its lock.
                drain: self.drain.child_token(),
                tasks: self.tasks.clone(),
            };
            (socket.clone(), Arc::new(house))
        };
        self.bound.iter().map(house).collect()
    }
}

/// A connection stays on the thread that accepted it: no call ever waits for another processor, and
/// busy connections are dealt with in batches. (HAProxy and nginx do the same.)
///
/// Returns when the worker accepts.
fn spawn_worker(houses: Vec<(Listener, Arc<House>)>, stop: CancellationToken) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (ready, started) = std::sync::mpsc::channel();
    std::thread::Builder::new().name("worker".to_owned()).spawn(move || {
        runtime.block_on(async {
            let begun = houses.into_iter().try_for_each(|(listener, house)| {
                let acceptor = listener.watch()?;
                house.tasks.clone().spawn(acceptor.serve(house));
                Ok(())
            });
            let _ = ready.send(begun);
            tokio::select! {
                () = tick() => {}
                () = stop.cancelled() => {}
            }
        });
    })?;
    started.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
}

fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

async fn until_stopped(world: World<'_>, drain_timeout: Duration) -> io::Result<()> {
    let mut signals = Signals::new()?;
    let World { bound, drain, stop, tasks, .. } = world;
    for (socket, listener) in &bound {
        announce(socket, listener);
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    signals.stop().await;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    // The sockets close with their last copy, in the workers.
    drop(bound);
    drain.cancel();
    tasks.close();
    drained(&tasks, &mut signals, drain_timeout).await;
    stop.cancel();
    Ok(())
}

/// Waits for running calls, as long as that is wanted.
async fn drained(tasks: &TaskTracker, signals: &mut Signals, most: Duration) {
    tokio::select! {
        () = tasks.wait() => tracing::info!("stopped"),
        () = signals.stop() => tracing::warn!(open = tasks.len(), "stopped at once"),
        () = tokio::time::sleep(most) => {
            tracing::warn!(open = tasks.len(), "stopped: `drain_timeout` is over");
        }
    }
}

/// Keeps the next timer near. tokio wakes its driver, with a system call and a context switch,
/// whenever a timer is set that is due before all others; with this one they never are, and every
/// call sets two.
async fn tick() {
    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    loop {
        ticks.tick().await;
    }
}

/// One line a listener, for people and for scripts that wait for it.
#[expect(clippy::print_stderr, reason = "the contract wants exactly this line, whatever the log")]
fn announce(socket: &Listener, listener: &config::Listener) {
    let names: Vec<_> = listener.policies.iter().map(|policy| policy_name(*policy)).collect();
    let policies = if names.is_empty() { "none".to_owned() } else { names.join(",") };
    eprintln!("listening on {} policies={policies}", socket.url());
}

pub fn chain(policies: &[config::Policy]) -> Chain {
    Chain::new(policies.iter().map(|policy| build(*policy)).collect())
}

fn build(policy: config::Policy) -> Box<dyn Policy> {
    match policy {
        config::Policy::Conservative => Box::new(Conservative),
    }
}

const fn policy_name(policy: config::Policy) -> &'static str {
    match policy {
        config::Policy::Conservative => "conservative",
    }
}

/// A hijacked stream holds two descriptors; the soft limit of a shell is for far fewer.
fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Signals { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    /// SIGTERM, or Ctrl-C.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
