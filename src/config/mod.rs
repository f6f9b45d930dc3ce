//! The configuration: what an operator wrote, checked, as one value.
//!
//! `cli` loads it, `run` builds the world from it. Parsing and checking need no network, no engine and
//! no privileges. What must stay true: an unknown key is an error, and every complaint says where.

mod auth;
mod cache;
mod check;
mod complaints;
mod pem;
mod place;
mod policy;
mod push;
mod raw;
mod registry;
mod runtime;
mod same;
pub mod units;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use auth::*;
pub use cache::{
    Authorization, AwsKey, Cache, CacheListen, Intercept, Login, OriginCredentials, PathMirror,
};
pub use check::DEFAULT_POLICY;
pub use complaints::{Complaints, Position, SourceText};
pub use place::{File, Invalid, Place, Text};
pub use policy::*;
pub use push::{Hook, PushPolicy, PushRule};
pub use registry::{
    EcrCredentials, Redirects, Registry, RegistryAction, RegistryCredentials, RegistryRule,
    RegistryUpstream, UpstreamTenant,
};
pub use runtime::RuntimeListener;
pub use same::is_same;

use crate::telemetry::{access, diagnostics};

/// Everything that `run` needs, valid.
#[derive(Clone, Debug)]
pub struct Config {
    pub engine: Engine,
    pub listeners: Vec<Listener>,
    pub caches: Vec<Cache>,
    pub limits: Limits,
    /// Where health, metrics and `reload` are served.
    pub admin: Vec<Bind>,
    pub log: Log,
    /// How long running calls may go on after SIGTERM.
    pub drain_timeout: Duration,
    /// Whether a changed file is a reason to reload.
    pub watch: bool,
    pub jobs: Jobs,
    pub ca: Ca,
}

/// Of the authorities that containers trust for the sake of a transparent cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ca {
    /// Of one; the next begins at half of it.
    pub lifetime: Duration,
}

/// Where the sockets of temporary listeners are, and what is known of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jobs {
    /// A folder for each job, which its container has.
    pub dir: PathBuf,
    /// What must be known of jobs after a restart.
    pub ledger: PathBuf,
    /// How many there may be at once.
    pub most: usize,
}

/// Where the sockets of jobs are that are no container's: beside `jobs.dir`, which only root can look into.
pub fn open_jobs_dir(jobs: &Path) -> PathBuf {
    let mut path = jobs.as_os_str().to_owned();
    path.push("-open");
    path.into()
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    /// `unix://…`, `tcp://…` or `tls://…`; `engine::Address` reads it.
    pub url: String,
    pub patience: Duration,
    /// For `tls://`: who may have signed the engine's certificate; the system's roots when absent.
    pub ca: Option<File>,
    /// For `tls://`: what dockgate shows the engine, certificate and key.
    pub certificate: Option<(File, File)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    pub name: String,
    pub bind: Bind,
    pub tls: Option<Tls>,
    /// In the order in which they are asked; none lets everybody in.
    pub auth: Vec<Auth>,
    pub policies: Vec<Policy>,
    pub max_connections: usize,
    /// What becomes of a stream whose user a reload has taken away.
    pub revoke: Revoke,
    /// Names in the DNS by which callers without a credential may call it.
    pub hosts: Vec<String>,
    /// Whether anybody beyond this machine may be let in without a name.
    pub insecure: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    pub cert: File,
    pub key: File,
    pub client: ClientAuth,
    /// From the first byte of a connection to the end of its handshake.
    pub handshake_time: Duration,
}

/// Whether clients show a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    None,
    Optional { ca: File, crl: Option<File> },
    Required { ca: File, crl: Option<File> },
}

/// What becomes of streams whose user a reload has taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Revoke {
    /// They go on to their end.
    #[default]
    Keep,
    Cut,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    Unix {
        path: PathBuf,
        mode: u32,
        owner: Option<u32>,
        group: Option<u32>,
    },
    /// `host:port`; with `Listener::tls` or without.
    Tcp {
        address: String,
    },
    /// A socket that the service manager opened (`LISTEN_FDNAMES`).
    Inherited {
        name: String,
    },
}

impl Bind {
    /// Whether a socket for one serves for the other.
    pub fn is_same_place(&self, other: &Bind) -> bool {
        self.to_string() == other.to_string()
    }
}

/// As in `url`; `tls://` too is `tcp://` here.
impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bind::Unix { path, .. } => write!(f, "unix://{}", path.display()),
            Bind::Tcp { address } => write!(f, "tcp://{address}"),
            Bind::Inherited { name } => write!(f, "systemd:{name}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of a request line and headers together, in bytes.
    pub header_bytes: usize,
    /// From the first byte of a head to its last.
    pub header_time: Duration,
    /// Of a JSON body, in bytes.
    pub json_body: usize,
    /// Of a JSON body, in values.
    pub json_elements: usize,
    /// From when dockgate begins to read a JSON body to its last byte.
    pub body_time: Duration,
    /// Of a JSON body after `header_time`, in bytes a second.
    pub body_rate: usize,
    /// What the heads on one listener may hold before their calls are sent on, in bytes.
    pub head_memory: usize,
    /// The same of the whole process.
    pub head_memory_total: usize,
    /// What collected bodies may hold on one listener, in bytes.
    pub body_memory: usize,
    /// The same of the whole process.
    pub body_memory_total: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            // As dockerd: dockerode repeats whole create bodies in the request line.
            header_bytes: 1 << 20,
            header_time: Duration::from_secs(30),
            json_body: 4 << 20,
            json_elements: 65_536,
            body_time: Duration::from_secs(300),
            body_rate: 1024,
            head_memory: 32 << 20,
            head_memory_total: 128 << 20,
            // Answers too: the list of ten thousand containers is 20 MiB.
            body_memory: 256 << 20,
            body_memory_total: 512 << 20,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    pub format: diagnostics::Format,
    pub access: access::Format,
}

impl Config {
    /// Every file that it names: a change of one of them is a change of the configuration.
    pub fn files(&self) -> Vec<&Path> {
        let listeners = self.listeners.iter().flat_map(Listener::files);
        let caches = self.caches.iter().flat_map(Cache::files);
        let all = self.engine.files().into_iter().chain(listeners).chain(caches);
        all.map(|file| file.path.as_path()).collect()
    }
}

impl Engine {
    pub fn files(&self) -> Vec<&File> {
        let certificate = self.certificate.iter().flat_map(|(cert, key)| [cert, key]);
        self.ca.iter().chain(certificate).collect()
    }
}

impl Listener {
    pub fn files(&self) -> Vec<&File> {
        let tls = self.tls.iter().flat_map(Tls::files);
        let auth = self.auth.iter().flat_map(Auth::files);
        tls.chain(auth).chain(self.policies.iter().flat_map(Policy::files)).collect()
    }
}

impl Tls {
    fn files(&self) -> Vec<&File> {
        let mut files = vec![&self.cert, &self.key];
        if let ClientAuth::Optional { ca, crl } | ClientAuth::Required { ca, crl } = &self.client {
            files.push(ca);
            files.extend(crl);
        }
        files
    }
}

/// Reads and checks a file.
pub fn load(path: &Path) -> Result<Config, Invalid> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let is_missing = error.kind() == std::io::ErrorKind::NotFound;
        let hint = if is_missing { "another one is named with `-c FILE`" } else { "" };
        Invalid::at(&Place::in_file(path), error.to_string(), hint)
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    parse(&text, path, folder, &|name| std::env::var(name).ok())
}

/// Checks a text; `file` stands in the complaints, relative paths are relative to `folder`, `env`
/// gives the values of `${NAME}`.
pub fn parse(
    text: &str,
    file: &Path,
    folder: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Invalid> {
    let source = SourceText::new(file, text);
    let raw = toml::from_str(text).map_err(|error| source.malformed(&error))?;
    check::check(raw, &check::Origin { folder, source, env })
}

/// What `serve` runs without a file.
pub fn without_file(
    listeners: &[String],
    engine: Option<String>,
    policies: &[String],
) -> Result<Config, Invalid> {
    check::without_file(listeners, engine, policies)
}

#[cfg(test)]
mod tests;
