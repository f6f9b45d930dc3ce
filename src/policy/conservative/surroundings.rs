//! Where a listener stands: which paths of the host no container may ever have.
//!
//! `run::plan` makes one for each listener from the configuration. What must stay true: whoever has one
//! of these paths, or a directory around it, has the host.

use std::path::{Path, PathBuf};

use crate::api::grammar::mounts::ENGINE_SOCKETS;
use crate::config::{Bind, Config, Jobs, Listener, open_jobs_dir};
use crate::policy::temporary::Members;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Whether paths of the engine's host can be looked at from here.
    pub shares_host: bool,
    /// The engine's own, containerd's and dockgate's.
    pub forbidden: Vec<PathBuf>,
    /// Those of them by which a container would be somebody else: the sockets, and where those of jobs are.
    pub sockets: Vec<PathBuf>,
    /// The listener's socket file, for containers that are to have what their maker has.
    pub own_socket: Option<PathBuf>,
    /// Where the sockets of jobs are.
    pub jobs: PathBuf,
    /// Whether a policy behind puts another socket in the place of the engine's, or refuses it.
    pub gives_sockets: bool,
    /// On a job's socket: the containers whose mounts a policy behind puts in the place of paths in them.
    pub members: Members,
}

/// Whatever the configuration says: the kernel's own, and where engines have their sockets and data.
const FORBIDDEN: &[&str] = &[
    "/proc",
    "/sys",
    "/dev",
    "/etc/docker",
    "/run/containerd",
    "/run/docker",
    "/run/docker.sock",
    "/run/dockgate",
    "/run/podman",
    "/run/crio",
    "/var/lib/containerd",
    "/var/lib/docker",
    "/var/lib/dockgate",
    "/var/run/containerd",
    "/var/run/docker",
    "/var/run/docker.sock",
    "/var/run/dockgate",
];

impl Surroundings {
    pub fn of(config: &Config, listener: &Listener) -> Surroundings {
        let engine = config.engine.url.strip_prefix("unix://").map(PathBuf::from);
        let shares_host = engine.is_some();
        let sockets = config.listeners.iter().map(|one| &one.bind).chain(&config.admin);
        let ours = sockets.filter_map(socket).map(Path::to_owned);
        let files = config.files().into_iter().map(absolute);
        let Jobs { dir, ledger, .. } = &config.jobs;
        let jobs = [dir.clone(), open_jobs_dir(dir), ledger.clone()];
        let fixed = FORBIDDEN.iter().map(PathBuf::from);
        let known = ENGINE_SOCKETS.iter().map(PathBuf::from);
        let sockets: Vec<PathBuf> = engine.into_iter().chain(ours).chain(jobs).collect();
        Surroundings {
            shares_host,
            forbidden: fixed.chain(sockets.iter().cloned()).chain(files).collect(),
            sockets: known.chain(sockets).collect(),
            own_socket: socket(&listener.bind).map(Path::to_owned),
            jobs: config.jobs.dir.clone(),
            gives_sockets: listener
                .policies
                .iter()
                .any(|policy| policy.temporary().is_some() && !policy.audits),
            members: Members::default(),
        }
    }
}

impl Surroundings {
    /// The folder of a job's socket, which a policy behind has given to a container: nobody else can.
    pub(super) fn is_given_folder(&self, path: &str) -> bool {
        self.gives_sockets && Path::new(path).parent() == Some(&self.jobs)
    }
}

/// Whether no configuration can give it away, whatever else is forbidden there.
pub(super) fn is_never_given(path: &Path) -> bool {
    let touches =
        |forbidden: &&str| path.starts_with(forbidden) || Path::new(forbidden).starts_with(path);
    FORBIDDEN.iter().any(touches)
}

fn socket(bind: &Bind) -> Option<&Path> {
    match bind {
        Bind::Unix { path, .. } => Some(path),
        Bind::Tcp { .. } | Bind::Inherited { .. } => None,
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
