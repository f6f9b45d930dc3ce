//! `kind = "transparent-cache"`, checked: which hosts containers find at a cache, and where that is.
//!
//! `policy::redirect` and `run` read it. What must stay true: the cache is there and serves each of the hosts.

use std::net::IpAddr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransparentCache {
    /// The `[cache.NAME]`.
    pub cache: String,
    /// Exact names, in lower case: a hosts file knows no wildcards.
    pub domains: Vec<String>,
    /// Of the cache, as containers reach it.
    pub address: IpAddr,
    /// Whether BuildKit's builds are redirected too.
    pub buildkit: bool,
}

impl TransparentCache {
    /// A host as `ExtraHosts` of a container names it.
    pub fn entry(&self, domain: &str) -> String {
        format!("{domain}:{}", self.address)
    }
}
