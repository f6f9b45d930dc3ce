//! Builds the world from a `Config`, and changes or ends it when it is told to.
//!
//! Called by `cli::serve`. What must stay true: nothing is served before everything is bound; the
//! engine need not be there yet; a reload that is not right changes nothing; SIGTERM lets running
//! calls finish, a second one does not wait.

mod admin;
mod caches;
mod commands;
mod handover;
mod in_sight;
mod inherit;
mod jobs;
mod keys;
mod open_listeners;
mod own_address;
mod plan;
mod signals;
mod transparent;
mod warnings;
mod watch;
mod worker;
mod world;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Builder;
use tokio::sync::mpsc;

pub use plan::{Plan, chain, chain_without_plugins, policy_tests};
pub use warnings::warnings;

use crate::auth::Backoff;
use crate::config::{self, Config, Invalid};
use crate::job::{self, Jobs};
use crate::policy::JobDeed;
use crate::telemetry::access::Log;
use crate::telemetry::diagnostics::announce;
use admin::AdminServer;
use commands::{Command, CommandRequest, Commands};
use handover::{Predecessor, Program};
use inherit::Inherited;
use jobs::JobHost;
use signals::{SignalEvent, Signals};
use watch::Watch;
use world::{Applied, World};

/// Where the configuration comes from, now and at a reload.
#[derive(Debug)]
pub enum ConfigSource {
    File(PathBuf),
    /// The command line: it does not change.
    Arguments(Box<Config>),
}

impl ConfigSource {
    pub fn load(&self) -> Result<Config, Invalid> {
        match self {
            ConfigSource::File(path) => config::load(path),
            ConfigSource::Arguments(config) => Ok((**config).clone()),
        }
    }

    fn files(&self, config: &Config) -> Vec<PathBuf> {
        match self {
            ConfigSource::File(path) if config.watch => {
                let named = config.files().into_iter().map(PathBuf::from);
                std::iter::once(path.clone()).chain(named).collect()
            }
            ConfigSource::File(_) | ConfigSource::Arguments(_) => Vec::new(),
        }
    }
}

pub fn run(source: &ConfigSource, config: Config) -> anyhow::Result<()> {
    raise_open_files();
    let program = Program::this()?;
    let mut inherited = Inherited::take()?;
    let backoff = Backoff::default();
    backoff.learn(&inherited.memory);
    keys::make_missing(&config)?;
    let jobs = known_jobs(&config)?;
    let runtime = inherited.runtime_listeners();
    let plan = Plan::after(&config, &backoff, &runtime, Some(&*jobs))?;
    inherited.keep_wanted(&config, &plan.runtime_listeners());
    let (log, writer) = Log::start(config.log.access)?;
    let main = Builder::new_current_thread().enable_all().build()?;
    // Whoever reads `listening on`, or hears that we took over, may send a signal at once.
    let signals = main.block_on(async { Signals::new() })?;
    let (commands, requests) = Commands::new(&jobs);
    let control = (commands, jobs);
    let (world, applied) = World::new(config, plan, log, backoff, control, &mut inherited)?;
    warn(&world.config);
    let format = world.config.log.format;
    applied.opened.iter().for_each(|line| announce(format, line));
    applied.closed.iter().for_each(|line| tracing::warn!("{line}"));
    main.block_on(live(world, requests, signals, source, &program, inherited.predecessor))?;
    // What reads a whole cache for an operator who has left is not waited for.
    main.shutdown_background();
    drop(writer);
    Ok(())
}

async fn live(
    mut world: World,
    mut requests: mpsc::Receiver<CommandRequest>,
    mut signals: Signals,
    source: &ConfigSource,
    program: &Program,
    predecessor: Option<Predecessor>,
) -> std::io::Result<()> {
    let mut watch = Watch::new(source.files(&world.config));
    let mut admin = AdminServer::new(&world);
    admin.follow(&world)?;
    // The last that can fail: from here on this process is the one that serves.
    if let Some(predecessor) = predecessor {
        predecessor.dismiss()?;
    }
    world.own_files();
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    world.jobs.all().into_iter().for_each(|job| world.follow_process(job.record));
    let host = JobHost::new(&world);
    let reaping = world.drain.child_token();
    tokio::spawn(job::reap(Arc::clone(&world.jobs), Arc::clone(&host) as _, reaping));
    world.follow_addresses();
    tokio::spawn(transparent::renew(
        Arc::clone(&world.memory),
        Arc::clone(&host),
        world.drain.child_token(),
    ));
    let most = loop {
        let (command, asker) = tokio::select! {
            signal = signals.next() => match signal {
                SignalEvent::Stop => break Some(world.config.drain_timeout),
                SignalEvent::Reload => (Command::Reload, None),
                SignalEvent::Restart => match hand_over(&world, program, &mut signals).await {
                    // A job may last for hours, and nobody waits for the old process.
                    Handover::Done => break None,
                    Handover::Failed => continue,
                    Handover::Stopped => break Some(world.config.drain_timeout),
                },
            },
            () = watch.changed() => (Command::Reload, None),
            Some((command, asker)) = requests.recv() => (command, Some(asker)),
        };
        let call = command.opens_job().map(str::to_owned);
        let result = obey(&mut world, command, source, &mut watch);
        if let Err(error) = admin.follow(&world) {
            tracing::error!(%error, "an admin socket is not served");
        }
        host.follow(&world);
        let is_heard = asker.is_none_or(|asker| asker.send(result).is_ok());
        // Its call has ended before, and nobody says so any more.
        if let Some(call) = call.filter(|_| !is_heard) {
            world.jobs.opened(&call);
        }
    };
    // Whoever still asks for something is told that nobody does it any more, and holds up no drain.
    drop(requests);
    admin.let_go();
    match most {
        // The service goes on, in another process: `STOPPING=1` would be the end of that one too.
        None => admin.close(),
        Some(_) => {
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
            if inherit::may_be_stored() {
                world.leave_files();
            }
        }
    }
    let drain_timeout = world.config.drain_timeout;
    world.close();
    drained(&world, &mut signals, most, drain_timeout).await;
    world.stop.cancel();
    Ok(())
}

fn obey(
    world: &mut World,
    command: Command,
    source: &ConfigSource,
    watch: &mut Watch,
) -> Result<String, String> {
    let result = match command {
        Command::Reload => return reload(world, source, watch),
        Command::Open(listener) => world.open(listener),
        Command::Close(name) => world.close_one(&name),
        Command::Job(JobDeed::Open(wanted)) => {
            let opened = world.job_for(wanted).map_err(|error| format!("{error:#}"));
            match &opened {
                Ok(id) => tracing::info!("the socket of job `{id}` is open"),
                Err(why) => tracing::warn!("no job is opened: {why}"),
            }
            return opened;
        }
        Command::Job(deed) => world.job(deed),
        Command::OpenJob(record, policy) => world.open_process_job(*record, policy.as_deref()),
        Command::CloseJob(id) => Ok(world.close_job(&id)),
    };
    match &result {
        Ok(said) => tracing::info!("{said}"),
        Err(why) => tracing::warn!("nothing has changed: {why:#}"),
    }
    result.map_err(|error| format!("{error:#}"))
}

/// Puts the configuration that is there now into place, or says what is wrong with it.
fn reload(world: &mut World, source: &ConfigSource, watch: &mut Watch) -> Result<String, String> {
    use sd_notify::NotifyState::{self, Ready, Reloading};
    let begun = NotifyState::monotonic_usec_now();
    let _ = begun.and_then(|begun| sd_notify::notify(&[Reloading, begun]));
    let result = try_reload(world, source, watch);
    let _ = sd_notify::notify(&[Ready]);
    world.metrics.reloaded(result.is_ok());
    match &result {
        Ok(said) => tracing::info!("{said}"),
        Err(why) => tracing::error!("not reloaded, nothing has changed: {why}"),
    }
    result
}

fn try_reload(
    world: &mut World,
    source: &ConfigSource,
    watch: &mut Watch,
) -> Result<String, String> {
    if let ConfigSource::Arguments(_) = source {
        return Err("dockgate was started without a file: there is nothing to reload".to_owned());
    }
    let config = source.load().map_err(|invalid| invalid.to_string())?;
    // Also those of one that is refused: the file that was missing may come.
    watch.follow(source.files(&config));
    if config.jobs != world.config.jobs {
        let why = "`[jobs]` and `state_dir` are read at a start only: they have changed";
        return Err(format!("{why}. hint: restart dockgate"));
    }
    let runtime: Vec<_> = world.runtime_listeners().cloned().collect();
    let plan = keys::make_missing(&config)
        .and_then(|()| Plan::after(&config, &world.backoff, &runtime, Some(&*world.jobs)));
    let plan = plan.map_err(|invalid| invalid.to_string())?;
    let applied = world.apply(config, plan, &mut Inherited::default());
    world.backoff.prune();
    let Applied { opened, closed } = applied.map_err(|error| format!("{error:#}"))?;
    warn(&world.config);
    opened.iter().for_each(|line| announce(world.config.log.format, line));
    let names: Vec<&str> =
        world.config.listeners.iter().map(|listener| listener.name.as_str()).collect();
    let parts = [("listeners", names), ("caches", world.caches.names())];
    let parts = parts.iter().filter(|(_, names)| !names.is_empty());
    let said: Vec<_> = parts.map(|(what, names)| format!("{what} {}", names.join(", "))).collect();
    let closed = closed.iter().map(|line| format!("\n{line}"));
    Ok(format!("reloaded: {}{}", said.join("; "), closed.collect::<String>()))
}

/// Those that the ledger tells of; each has the folder of its socket, also after a reboot.
fn known_jobs(config: &Config) -> anyhow::Result<Arc<Jobs>> {
    let Config { jobs: config::Jobs { ledger, dir, .. }, .. } = config;
    let read = Jobs::of(ledger, dir);
    let (jobs, wrong) =
        read.with_context(|| format!("the ledger `{}` cannot be read", ledger.display()))?;
    wrong.iter().for_each(|what| tracing::error!("what the ledger tells is no job: {what}"));
    for job in jobs.all().iter().filter(|job| job.is_served()) {
        jobs::make_folder(&jobs, &job.record)?;
    }
    Ok(Arc::new(jobs))
}

fn warn(config: &Config) {
    for warning in warnings(config) {
        tracing::warn!("{}", warning.replace("\n  hint", ". hint"));
    }
}

enum Handover {
    /// The new process serves, and we are to end.
    Done,
    Failed,
    /// We were told to stop meanwhile: so does the new process.
    Stopped,
}

/// Starts the program anew with our sockets.
async fn hand_over(world: &World, program: &Program, signals: &mut Signals) -> Handover {
    tracing::info!("restarting: the new process gets the sockets");
    let taking = async { program.take_over(world.sockets()?, world.remembered()).await };
    let taken = tokio::select! {
        taken = taking => taken,
        () = signals.stop() => return Handover::Stopped,
    };
    match taken {
        Ok(pid) => {
            tracing::info!(pid, "the new process serves; what has begun here ends here");
            let _ = sd_notify::notify(&[sd_notify::NotifyState::MainPid(pid)]);
            world.leave_files();
            Handover::Done
        }
        Err(error) => {
            tracing::error!(%error, "not restarted, nothing has changed");
            Handover::Failed
        }
    }
}

/// Waits for running calls, as long as that is wanted.
async fn drained(
    world: &World,
    signals: &mut Signals,
    most: Option<Duration>,
    after_signal: Duration,
) {
    let tasks = &world.tasks;
    if most.is_some() {
        world.stopping.cancel();
    }
    let over = async {
        match most {
            Some(most) => tokio::time::sleep(most).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = tasks.wait() => tracing::info!("stopped"),
        () = signals.stop() => match most {
            Some(_) => tracing::warn!(open = tasks.len(), "stopped at once"),
            None => Box::pin(drained(world, signals, Some(after_signal), after_signal)).await,
        },
        () = over => tracing::warn!(open = tasks.len(), "stopped: `drain_timeout` is over"),
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
