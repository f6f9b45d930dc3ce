//! `kind = "temporary-listener"`, checked: which containers get a socket of their own, and what holds behind it.
//!
//! `policy::temporary` and `run` read it. What must stay true: nothing here has read another file yet.

use std::time::Duration;

use super::super::File;
use super::{Namespace, Policy};

#[derive(Clone, Debug, PartialEq)]
pub struct TemporaryListener {
    /// Labels that a container must have, each with its value where one is said; none: every container.
    pub when: Vec<(String, Option<String>)>,
    /// Where the container finds its socket.
    pub mount: String,
    /// What holds behind it, in front of the namespace.
    pub policies: Vec<Policy>,
    /// What the job's own namespace is like; its name is the job's.
    pub namespace: Namespace,
    /// A label: containers with the same value of it are of one job.
    pub group: Option<String>,
    pub ends: JobEnd,
    /// Whether all containers of a job are in one cgroup.
    pub shares_cgroup: bool,
    /// Given to the container where it sets none by that name.
    pub env: Vec<(String, String)>,
}

/// When a job is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobEnd {
    /// When its container is removed.
    Destroy,
    /// When its container has not run for this long.
    Die { grace: Duration },
}

impl TemporaryListener {
    pub(super) fn files(&self) -> Vec<&File> {
        let inside = self.policies.iter().flat_map(Policy::files);
        inside.chain(self.namespace.own_key()).collect()
    }
}
