//! `dockgate explain -- COMMAND`: what a command sends, judged, and nothing of it done.
//!
//! `explain` calls it. The command finds a socket of ours instead of its engine (`DOCKER_HOST`): the gateway with the
//! listener's policies, asked for all of their reasons, in front of `recorder`, which answers as an engine. What must stay
//! true: the sockets are in a folder that only this user can open, and go with the command; nobody else is asked anything;
//! a command that says nothing new for a while is ended.

use std::fmt;
use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::UnixListener;
use tokio::process::{Child, Command};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::recorder::Recorder;
use super::report::{Said, Seeing};
use super::{DENIED, UNDECIDED};
use crate::auth::Authentication;
use crate::cli::{failure, note, out};
use crate::config::{self, Bind, Config};
use crate::engine::{Address, Engine};
use crate::gateway::{
    Budgets, Control, ListenerHandle, ListenerState, Plugins, Seen, SeenCall, Told, Witness,
};
use crate::listener::{Listener, Service, Socket};
use crate::policy::{Fact, JobDeed, Question};
use crate::telemetry::access::{Format, Log};
use crate::telemetry::metrics::Metrics;

/// A command that waits for what never happens here, or asks the same again and again.
const SILENCE: Duration = Duration::from_secs(30);
/// How often it is looked at whether it has.
const LOOK: Duration = Duration::from_secs(1);
/// How long one that was told to end may take.
const LAST_WORDS: Duration = Duration::from_secs(5);
const MOST_CONNECTIONS: usize = 1024;

/// Judges all that this command sends on this listener, as this user.
pub(super) fn run(
    config: &Config,
    listener: &config::Listener,
    user: Option<&str>,
    command: &[String],
) -> ExitCode {
    if let Some(option) = goes_elsewhere(command) {
        let hint = "leave it out: the command is to find the recorder";
        out::complain(&format!("`{option}` leads the command to another engine\n  hint: {hint}"));
        return ExitCode::from(2);
    }
    match explain(config, listener, user, command) {
        Ok((said, ending)) => {
            let (verdict, code) = verdict(&said, ending);
            out::end(&format!("{}\n{verdict}", said.text), ExitCode::from(code))
        }
        Err(error) => failure(&format!("{error:#}")),
    }
}

/// How the command ended.
enum Ending {
    /// By itself.
    Status(ExitStatus),
    /// By us: it had nothing new to say.
    Silent,
    /// By us, who were told to.
    Interrupted,
}

/// What all of it comes to. What a command would have sent after it failed, nobody knows.
fn verdict(said: &Said, ending: Ending) -> (String, u8) {
    let Said { calls, denied, .. } = said;
    match ending {
        _ if *denied > 0 => (format!("denied: {denied} of {calls} different calls"), DENIED),
        _ if *calls == 0 => ("undecided: the command has asked no engine".to_owned(), UNDECIDED),
        Ending::Status(status) if status.success() => ("allowed".to_owned(), 0),
        ending => (format!("undecided: all of it is allowed, but the command {ending}"), UNDECIDED),
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Status(status) => write!(f, "ended with {status}"),
            Ending::Silent => {
                write!(f, "was ended: it had nothing new to say for {} seconds", SILENCE.as_secs())
            }
            Ending::Interrupted => f.write_str("was interrupted"),
        }
    }
}

fn explain(
    config: &Config,
    listener: &config::Listener,
    user: Option<&str>,
    command: &[String],
) -> anyhow::Result<(Said, Ending)> {
    let folder = Folder::new()?;
    let (chain, plugins) = crate::run::chain_without_plugins(config, listener)?;
    plugins.iter().for_each(|name| note(&format!("plugin `{name}` is not asked")));
    if chain.is_empty() {
        note(&format!("no policy of listener `{}` judges here", listener.name));
    }
    let watching = Arc::new(Watching::default());
    let state = state(config, listener, chain, user, &folder, Arc::clone(&watching))?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let (tasks, drain) = (state.tasks.clone(), state.drain.clone());
        let engine = UnixListener::bind(folder.engine())?;
        tokio::spawn(Arc::clone(&watching.recorder).serve(engine));
        let bind = Bind::Unix { path: folder.socket(), mode: 0o600, owner: None, group: None };
        let socket = Socket::open(&bind, None)?;
        let acceptor = Listener::new(socket, MOST_CONNECTIONS, None).watch()?;
        let handle: Arc<dyn Service> = Arc::new(ListenerHandle::new(state));
        tasks.spawn(acceptor.serve(handle));
        let child = spawn(command, &folder)?;
        let ended = wait(child, &watching.seeing).await?;
        // Calls that have come, and of which it has not awaited the answer.
        drain.cancel();
        tasks.close();
        let _ = tokio::time::timeout(LAST_WORDS, tasks.wait()).await;
        Ok::<_, anyhow::Error>(ended)
    })?;
    // What still runs is the recorder's, and has no more to say.
    runtime.shutdown_background();
    Ok((watching.seeing.said(), ended))
}

fn state(
    config: &Config,
    listener: &config::Listener,
    chain: crate::policy::Chain,
    user: Option<&str>,
    folder: &Folder,
    watching: Arc<Watching>,
) -> anyhow::Result<ListenerState> {
    let process = Budgets::of_process(&config.limits);
    // The log is off: its writer has nothing to do.
    let (log, _writer) = Log::start(Format::Off)?;
    Ok(ListenerState {
        listener: listener.name.as_str().into(),
        generation: 0,
        authentication: Arc::new(user.map(Authentication::imagined).unwrap_or_default()),
        trust: None,
        hosts: None,
        chain: Arc::new(chain),
        engine: Engine::new(Address::Unix(folder.engine()), config.engine.patience),
        limits: config.limits,
        budgets: Arc::new(Budgets::within(&process, &config.limits)),
        revoke: config::Revoke::default(),
        replaced: CancellationToken::new(),
        log,
        tally: Metrics::new().tally(0, &listener.name),
        memory: Arc::default(),
        plugins: Arc::new(Plugins::default()),
        control: Arc::new(NoControl),
        witness: Some(watching),
        drain: CancellationToken::new(),
        stopping: CancellationToken::new(),
        tasks: TaskTracker::new(),
    })
}

/// Is told of every call.
#[derive(Debug, Default)]
struct Watching {
    seeing: Seeing,
    recorder: Arc<Recorder>,
}

impl Witness for Watching {
    fn saw(&self, mut call: SeenCall, what: Seen) {
        call.line = self.recorder.with_names(&call.line);
        self.seeing.saw(call, what);
    }

    fn knows(&self, operation: &str, question: &Question) -> Option<Fact> {
        self.recorder.knows(operation, question)
    }
}

/// Opens nothing, and says that it did.
#[derive(Debug)]
struct NoControl;

impl Control for NoControl {
    fn open(&self, _: config::RuntimeListener) -> Told<'_> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn job(&self, deed: JobDeed) -> Told<'_, String> {
        let id = match deed {
            JobDeed::Open(wanted) => wanted.id,
            JobDeed::Made { id, .. } | JobDeed::End { id, .. } => id,
        };
        Box::pin(std::future::ready(Ok(id)))
    }

    fn opened(&self, _: &str) {}
}

/// The command, with the recorder in the place of its engine. What it says goes to stderr: stdout is the answer's.
fn spawn(command: &[String], folder: &Folder) -> anyhow::Result<Child> {
    let (program, arguments) =
        command.split_first().ok_or_else(|| anyhow::anyhow!("there is no command"))?;
    let mut starting = Command::new(program);
    starting
        .args(arguments)
        .env("DOCKER_HOST", format!("unix://{}", folder.socket().display()))
        // buildx keeps what it knows of builds and builders; it is to use the engine's own, and to leave no trace.
        .env("BUILDX_BUILDER", "default")
        .env("BUILDX_CONFIG", folder.path().join("buildx"))
        .stdout(Stdio::from(std::io::stderr()))
        .kill_on_drop(true);
    for name in ["DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"] {
        starting.env_remove(name);
    }
    starting.spawn().map_err(|error| anyhow::anyhow!("`{program}` cannot be started: {error}"))
}

/// Waits for its end, and ends it where it waits for what does not come.
async fn wait(mut child: Child, seeing: &Seeing) -> anyhow::Result<Ending> {
    let mut known = (seeing.different(), Instant::now());
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let ending = loop {
        tokio::select! {
            status = child.wait() => return Ok(Ending::Status(status?)),
            _ = interrupt.recv() => break Ending::Interrupted,
            _ = terminate.recv() => break Ending::Interrupted,
            () = tokio::time::sleep(LOOK) => {
                let now = (seeing.different(), Instant::now());
                if now.0 != known.0 {
                    known = now;
                } else if known.1.elapsed() >= SILENCE {
                    break Ending::Silent;
                }
            }
        }
    };
    if let Some(pid) =
        child.id().and_then(|pid| rustix::process::Pid::from_raw(pid.try_into().ok()?))
    {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    if tokio::time::timeout(LAST_WORDS, child.wait()).await.is_err() {
        child.kill().await?;
    }
    Ok(ending)
}

/// An option of the docker CLI by which it asks another engine than `DOCKER_HOST`.
fn goes_elsewhere(command: &[String]) -> Option<&str> {
    let (program, arguments) = command.split_first()?;
    let name = Path::new(program).file_name()?.to_str()?;
    if !matches!(name, "docker" | "docker-compose") {
        return None;
    }
    let before = arguments.iter().map(String::as_str).take_while(|one| one.starts_with('-'));
    let leads = |one: &&str| {
        ["-H", "--host", "--context", "-c="].iter().any(|option| one.starts_with(option))
            || *one == "-c"
    };
    before.into_iter().find(leads)
}

/// A folder of our own, which goes with us.
struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Folder> {
        let mut random = [0; 8];
        aws_lc_rs::rand::fill(&mut random)?;
        let name: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = std::env::temp_dir().join(format!("dockgate-explain-{name}"));
        // It must not be there already, and the umask may not make it wider.
        DirBuilder::new().mode(0o700).create(&path)?;
        let folder = Folder(path);
        std::fs::set_permissions(&folder.0, std::fs::Permissions::from_mode(0o700))?;
        Ok(folder)
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn socket(&self) -> PathBuf {
        self.0.join("docker.sock")
    }

    fn engine(&self) -> PathBuf {
        self.0.join("engine.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
