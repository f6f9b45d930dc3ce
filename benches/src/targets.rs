//! Who is measured: the stub itself, HAProxy and dockgate in front of it. Each is a child that
//! ends with this program (see `leash`), and is ended by its own id.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::doors::Doors;
use crate::http::bad;
use crate::process;
use crate::stream;
use crate::way::Way;

/// Something that answers on a socket like a Docker engine.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) socket: PathBuf,
    pub(crate) doors: Option<Doors>,
    child: Child,
    access_log: Option<File>,
    /// Resident memory after start and one ping.
    pub(crate) idle_kib: f64,
    /// Open files after start and one ping.
    pub(crate) idle_files: usize,
}

impl Target {
    /// The stub; what goes to it directly is the measure for the others.
    pub(crate) fn stub(dir: &Path) -> io::Result<Self> {
        let socket = dir.join("stub.sock");
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("stub").arg(&socket);
        Self::start("direct", dir, socket, command, None)
    }

    pub(crate) fn haproxy(dir: &Path, program: &Path) -> io::Result<Self> {
        let (socket, config) = (dir.join("haproxy.sock"), dir.join("haproxy.cfg"));
        fs::write(&config, haproxy_config(&dir.join("stub.sock"), &socket))?;
        let mut command = leashed(program)?;
        command.arg("-db").arg("-f").arg(config);
        Self::start("haproxy", dir, socket, command, None)
    }

    /// dockgate with its access log going to a file, as a service would have it.
    pub(crate) fn dockgate(dir: &Path, program: &Path, policy: &'static str) -> io::Result<Self> {
        let name = if policy == "none" { "dockgate, no policy" } else { "dockgate" };
        let socket = dir.join(format!("dockgate-{policy}.sock"));
        let log = dir.join(format!("dockgate-{policy}.log"));
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = leashed(program)?;
        command.arg("serve").args(["--policy", policy]);
        command.arg("--engine").arg(format!("unix://{}", dir.join("stub.sock").display()));
        command.arg("--listen").arg(format!("unix://{}", socket.display()));
        Self::start(name, dir, socket, command, Some(log))
    }

    pub(crate) fn start(
        name: &'static str,
        dir: &Path,
        socket: PathBuf,
        mut command: Command,
        access_log: Option<File>,
    ) -> io::Result<Self> {
        let errors = dir.join(format!("{name}.err"));
        let stdout = match &access_log {
            Some(log) => Stdio::from(log.try_clone()?),
            None => Stdio::null(),
        };
        command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(stdout);
        let child = command.stderr(File::create(&errors)?).spawn()?;
        let mut target =
            Self { name, socket, doors: None, child, access_log, idle_kib: 0.0, idle_files: 0 };
        let begin = Instant::now();
        while let Err(error) = stream::ping(&Way::Unix(target.socket.clone())) {
            let ended = target.child.try_wait()?;
            if ended.is_some() || begin.elapsed() > Duration::from_secs(10) {
                let said = fs::read_to_string(&errors).unwrap_or_default();
                let said = said.trim().lines().last().unwrap_or("no word on stderr");
                return Err(bad(format!("did not start ({error}): {said}")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_millis(300));
        target.idle_kib = process::rss_kib(target.pid())?;
        target.idle_files = process::open_files(target.pid())?;
        Ok(target)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Empties the access log, so that a long run does not fill the disk.
    pub(crate) fn forget_log(&self) -> io::Result<()> {
        self.access_log.as_ref().map_or(Ok(()), |log| log.set_len(0))
    }

    /// Bytes in the access log since it was emptied.
    pub(crate) fn logged(&self) -> Option<u64> {
        self.access_log.as_ref().and_then(|log| Some(log.metadata().ok()?.len()))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command for `program` that is killed when this process ends, however it ends.
pub(crate) fn leashed(program: &Path) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("leash").arg(program);
    Ok(command)
}

/// Becomes `program`, to be killed when the parent ends. Returns only if that fails.
pub(crate) fn leash(program: &str, args: &[String]) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let error = Command::new(program).args(args).exec();
    writeln!(io::stderr(), "{program}: {error}")?;
    Err(error)
}

/// HAProxy as Docker socket proxies use it: an ordered list of allowed areas, each a regular
/// expression over the decoded path; no access log, which those images do write.
pub(crate) fn haproxy_config(engine: &Path, socket: &Path) -> String {
    let rule = |area| {
        format!("    http-request allow if {{ path,url_dec -m reg -i ^(/v[\\d\\.]+)?/{area} }}\n")
    };
    let rules: String = AREAS.iter().map(rule).collect();
    format!(
        "global\n    maxconn 4000\n    nbthread 2\n\n\
         defaults\n    mode http\n    option http-keep-alive\n    option dontlognull\n\
         \x20   option redispatch\n    retries 3\n    maxconn 4000\n    timeout connect 10s\n\
         \x20   timeout http-request 10s\n    timeout queue 1m\n    timeout http-keep-alive 1h\n\
         \x20   timeout client 10m\n    timeout server 10m\n    timeout tunnel 24h\n\n\
         backend dockerbackend\n    server dockersocket unix@{}\n\n\
         frontend dockerfrontend\n    bind unix@{} mode 600\n{rules}\
         \x20   http-request deny\n    default_backend dockerbackend\n",
        engine.display(),
        socket.display()
    )
}

/// What a CI host would open, in the order in which such lists are written.
const AREAS: [&str; 15] = [
    "auth",
    "build",
    "commit",
    "containers",
    "distribution",
    "events",
    "exec",
    "images",
    "info",
    "networks",
    "_ping",
    "session",
    "system",
    "version",
    "volumes",
];
