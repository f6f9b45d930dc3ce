//! Builds the world from a `Config` and runs it until it is told to stop.
//!
//! Called by `cli::serve`. What must stay true: nothing is served before everything is bound; the
//! engine need not be there yet; SIGTERM lets running calls finish, a second one does not wait.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{self, Config};
use crate::engine::{Address, Engine};
use crate::gateway::{House, Limits};
use crate::listener::Listener;
use crate::policy::conservative::Conservative;
use crate::policy::{Chain, Policy};
use crate::telemetry::access::{self, Log};

pub async fn run(config: Config) -> anyhow::Result<()> {
    raise_open_files();
    let mut signals = Signals::new()?;
    let (log, writer) = Log::start(access_format(config.log.access))?;
    let address = Address::parse(&config.engine.url)?;
    let engine = Engine::new(address, config.engine.patience);
    let (drain, tasks) = (CancellationToken::new(), TaskTracker::new());
    let mut bound = Vec::new();
    for listener in &config.listeners {
        let socket = Listener::bind(listener)
            .await
            .with_context(|| format!("listener `{}` cannot be opened", listener.name))?;
        bound.push((socket, listener));
    }
    for (socket, listener) in bound {
        announce(&socket, listener);
        let house = House {
            listener: listener.name.as_str().into(),
            chain: chain(&listener.policies),
            engine: engine.clone(),
            limits: limits(config.limits),
            log: log.clone(),
            drain: drain.clone(),
            tasks: tasks.clone(),
        };
        tasks.spawn(socket.serve(Arc::new(house)));
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    signals.stop().await;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    drain.cancel();
    tasks.close();
    drained(&tasks, &mut signals, config.drain_timeout).await;
    drop(writer);
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

fn limits(limits: config::Limits) -> Limits {
    let config::Limits { header_bytes, header_time, json_body } = limits;
    Limits { header_bytes, header_time, json_body }
}

const fn access_format(format: config::AccessFormat) -> access::Format {
    match format {
        config::AccessFormat::Json => access::Format::Json,
        config::AccessFormat::Ltsv => access::Format::Ltsv,
        config::AccessFormat::Off => access::Format::Off,
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
