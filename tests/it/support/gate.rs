//! The gate: the real `dockgate` binary with a configuration of its own, its logs and its end.

use std::fmt::Write as _;
use std::io::Read;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::Value;
use tempfile::TempDir;

use super::{Conn, Engine, text, wait_until};

/// How the gate is to run.
pub struct Setup {
    engine: String,
    policies: &'static str,
    tcp: bool,
    tls: Option<String>,
    dir: Option<TempDir>,
    engine_keys: String,
    listener_keys: String,
    tables: String,
}

impl Setup {
    /// In front of this engine, with no policies.
    pub fn new(engine: &Engine) -> Setup {
        Setup::at(&format!("unix://{}", engine.path().display()))
    }

    pub fn at(engine_url: &str) -> Setup {
        Setup {
            engine: engine_url.to_owned(),
            policies: "[]",
            tcp: false,
            tls: None,
            dir: None,
            engine_keys: String::new(),
            listener_keys: String::new(),
            tables: String::new(),
        }
    }

    /// The listeners' policies, as TOML.
    pub fn policies(mut self, policies: &'static str) -> Setup {
        self.policies = policies;
        self
    }

    pub fn conservative(mut self) -> Setup {
        self.policies = r#"["conservative"]"#;
        self
    }

    /// With a policy that looks at every call and asks the engine nothing.
    pub fn typed(mut self) -> Setup {
        self.policies = r#"["typed"]"#;
        self
    }

    /// A second listener on loopback.
    pub fn tcp(mut self) -> Setup {
        self.tcp = true;
        self
    }

    /// The folder in which the configuration will be, with what it names.
    pub fn files(mut self, dir: TempDir) -> Setup {
        self.dir = Some(dir);
        self
    }

    /// A listener on loopback with TLS, with `cert.pem` and `key.pem` of `dir`; `keys` are the rest of
    /// `[listener.tls]`.
    pub fn tls(mut self, dir: TempDir, keys: &str) -> Setup {
        self.tls = Some(keys.to_owned());
        self.files(dir)
    }

    /// Of `[engine]`, such as `patience = "300ms"`.
    pub fn engine(mut self, keys: &str) -> Setup {
        self.engine_keys.push_str(keys);
        self
    }

    pub fn listener(mut self, keys: &str) -> Setup {
        self.listener_keys.push_str(keys);
        self
    }

    /// Further tables, such as `[limits]`.
    pub fn tables(mut self, toml: &str) -> Setup {
        self.tables.push_str(toml);
        self
    }

    pub fn start(self) -> Gate {
        let Setup { engine, policies, tcp, tls, dir, engine_keys, listener_keys, tables } = self;
        let dir = dir.unwrap_or_else(|| tempfile::tempdir().unwrap());
        let socket = dir.path().join("gate.sock");
        let mut config = format!(
            "{}\n[engine]\nurl = \"{engine}\"\n{engine_keys}\n[[listener]]\nname = \"it\"\n\
             url = \"unix://{}\"\npolicies = {policies}\n{listener_keys}\n",
            if tables.starts_with('[') { "" } else { &tables },
            socket.display(),
        );
        if tcp {
            let _ = write!(
                config,
                "[[listener]]\nname = \"it-tcp\"\nurl = \"tcp://127.0.0.1:0\"\n\
                 policies = {policies}\n{listener_keys}\n"
            );
        }
        if let Some(keys) = &tls {
            let _ = write!(
                config,
                "[[listener]]\nname = \"it-tls\"\nurl = \"tls://127.0.0.1:0\"\n\
                 policies = {policies}\n{listener_keys}\n[listener.tls]\ncert = \"cert.pem\"\n\
                 key = \"key.pem\"\n{keys}\n"
            );
        }
        if tables.starts_with('[') {
            config.push_str(&tables);
        }
        if policies.contains("typed") {
            std::fs::write(dir.path().join("typed.toml"), include_str!("typed.toml")).unwrap();
            config.push_str("\n[policy.typed]\nkind = \"conservative\"\nrules = \"typed.toml\"\n");
        }
        let listeners = 1 + usize::from(tcp) + usize::from(tls.is_some());
        Gate::of(dir, &config, listeners)
    }
}

/// The binary with these arguments and an empty environment.
pub fn dockgate(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dockgate"));
    command.args(args).env_clear();
    command
}

#[derive(Debug)]
pub struct Gate {
    child: Child,
    dir: TempDir,
    socket: PathBuf,
    stdout: Collected,
    stderr: Collected,
}

/// How a gate ended and all that it said.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Gate {
    pub fn pass(engine: &Engine) -> Gate {
        Setup::new(engine).start()
    }

    pub fn typed(engine: &Engine) -> Gate {
        Setup::new(engine).typed().start()
    }

    pub fn conservative(engine: &Engine) -> Gate {
        Setup::new(engine).conservative().start()
    }

    /// With this configuration, among the files of `dir`.
    pub fn of(dir: TempDir, config: &str, listeners: usize) -> Gate {
        let file = dir.path().join("dockgate.toml");
        std::fs::write(&file, config).unwrap();
        let socket = dir.path().join("gate.sock");
        let mut command = dockgate(&["serve", "-c", file.to_str().unwrap()]);
        Gate::spawn(&mut command, dir, socket, listeners)
    }

    /// Starts a command that listens on `socket`, and waits for its `listening on` lines.
    pub fn spawn(command: &mut Command, dir: TempDir, socket: PathBuf, listeners: usize) -> Gate {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the dockgate binary");
        let stdout = Collected::of(child.stdout.take().unwrap());
        let stderr = Collected::of(child.stderr.take().unwrap());
        let mut gate = Gate { child, dir, socket, stdout, stderr };
        wait_until("the gate listens", || {
            let said = gate.stderr();
            assert!(gate.child.try_wait().unwrap().is_none(), "the gate ended: {said}");
            said.matches("listening on ").count() >= listeners
        });
        gate
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub fn client(&self) -> Conn {
        Conn::unix(&self.socket)
    }

    /// Where the second listener is.
    pub fn tcp_address(&self) -> String {
        let said = self.stderr();
        let (_, rest) = said.split_once("listening on tcp://").expect("a TCP listener");
        rest.split(' ').next().unwrap_or_default().to_owned()
    }

    /// Where the listener with TLS is.
    pub fn tls_address(&self) -> String {
        let said = self.stderr();
        let (_, rest) = said.split_once("listening on tls://").expect("a TLS listener");
        rest.split(' ').next().unwrap_or_default().to_owned()
    }

    /// The configuration, to be changed.
    pub fn config(&self) -> PathBuf {
        self.dir().join("dockgate.toml")
    }

    pub fn stdout(&self) -> String {
        self.stdout.so_far()
    }

    pub fn stderr(&self) -> String {
        self.stderr.so_far()
    }

    /// The first `count` records of the access log, once they are there.
    pub fn records(&self, count: usize) -> Vec<Value> {
        wait_until("access records", || self.stdout().matches('\n').count() >= count);
        self.stdout().lines().take(count).map(|line| line.parse().expect("JSON")).collect()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How many different sockets the process has open. Several descriptors of one are counted once:
    /// each thread that serves has its own of the listener. The pipes that it keeps are no leak.
    pub fn sockets(&self) -> usize {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap();
        let links = entries.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
        let sockets = links.filter(|link| link.to_string_lossy().starts_with("socket:"));
        sockets.collect::<std::collections::HashSet<_>>().len()
    }

    /// The highest resident memory so far, in KiB.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Stops the process until it gets `CONT`.
    pub fn freeze(&self) {
        self.signal("STOP");
        let stat = format!("/proc/{}/stat", self.pid());
        wait_until("the gate is stopped", || {
            std::fs::read_to_string(&stat).unwrap().contains(") T ")
        });
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the end of a gate that was told to stop.
    pub fn ended(mut self) -> Ended {
        wait_until("the gate ends", || !self.is_running());
        let status = self.child.wait().unwrap();
        Ended {
            code: status.code(),
            signal: status.signal(),
            stdout: self.stdout.all(),
            stderr: self.stderr.all(),
        }
    }

    pub fn stop(self) -> Ended {
        self.signal("TERM");
        self.ended()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- access log\n{}--- stderr\n{}", self.stdout(), self.stderr());
        }
    }
}

#[derive(Debug)]
struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Collected {
    fn of(mut from: impl Read + Send + 'static) -> Collected {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let thread = std::thread::spawn({
            let bytes = Arc::clone(&bytes);
            move || {
                let mut block = [0; 4096];
                while let Ok(n @ 1..) = from.read(&mut block) {
                    bytes.lock().unwrap().extend_from_slice(&block[..n]);
                }
            }
        });
        Collected { bytes, thread: Some(thread) }
    }

    fn so_far(&self) -> String {
        text(&self.bytes.lock().unwrap())
    }

    fn all(&mut self) -> String {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        self.so_far()
    }
}
