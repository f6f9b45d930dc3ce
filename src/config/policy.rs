//! `[policy.*]`, checked: which policy, how strictly, and with what.
//!
//! `run::plan` builds policies from it. What must stay true: nothing here has read another file yet.

mod limits;
mod template;
mod temporary;
mod transparent;

use std::path::PathBuf;
use std::time::Duration;

pub use limits::{
    Caps, LimitRules, LimitSettings, LimitsPolicy, LogSetting, Restart, Size, Ulimit, Word,
};
pub use template::{Template, TemplatePart};
pub use temporary::{JobEnd, TemporaryListener};
pub use transparent::TransparentCache;

use ipnet::Ipv4Net;

use super::{File, Invalid, Place, Text};
use crate::wire::url::HttpUrl;

/// A policy as a listener names it.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The name of `[policy.NAME]`, or of a built-in kind.
    pub name: String,
    /// Decides and writes down, but lets pass.
    pub audits: bool,
    pub kind: PolicyKind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum PolicyKind {
    Conservative(Box<Conservative>),
    Limits(Box<LimitsPolicy>),
    Rego(Rego),
    Authz(Authz),
    Namespace(Box<Namespace>),
    TemporaryListener(Box<TemporaryListener>),
    TransparentCache(Box<TransparentCache>),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conservative {
    /// A file of rules in the place of the built-in ones.
    pub rules: Option<File>,
    pub binds: Vec<AllowedBind>,
    pub ports: Ports,
    /// Hosts of registries that the engine may be sent to; `*.` stands for any name below. Without it:
    /// any DNS name, but no address and no local name.
    pub registries: Option<Vec<String>>,
    /// Below what a build may have the engine fetch. Without it: well-known public hosts.
    pub fetch: Option<Vec<HttpUrl>>,
    /// Set on every container.
    pub no_new_privileges: bool,
}

/// Rules of the operator's own, in Rego.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rego {
    pub file: File,
    /// Of one evaluation.
    pub timeout: Duration,
    /// The largest request that is judged; larger ones are refused.
    pub input_bytes: usize,
}

/// A Docker AuthZ plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authz {
    /// `unix:///path`, `http://…` or `https://…`.
    pub url: Text,
    pub timeout: Duration,
    /// Who signed the certificate of an `https://` plugin; the system's roots when absent.
    pub ca: Option<File>,
}

/// A tenant's own part of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// What a caller's namespace is called.
    pub name: Template,
    /// What makes the prefixes of names out of the names of namespaces.
    pub key: File,
    /// Whether the operator has said where that is; else it is made where it is missing.
    pub has_own_key: bool,
    /// Out of which networks get their subnets.
    pub network_pool: Option<Ipv4Net>,
    /// The `[registry.NAME]` that images come by.
    pub registry: Option<NamespaceRegistry>,
    /// What may be published on which of the host's addresses.
    pub ports: NamespacePorts,
    /// Images that every namespace may read, by patterns of their full names.
    pub shared: Vec<String>,
    pub quota: NamespaceQuota,
}

/// How much one namespace may have of each; without a number as much as there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceQuota {
    pub containers: Option<u64>,
    pub volumes: Option<u64>,
    pub networks: Option<u64>,
    /// Of all its images, as `docker images` tells their sizes.
    pub image_bytes: Option<u64>,
    /// Of the host, that its running containers have.
    pub ports: Option<u64>,
    /// At the same time.
    pub builds: Option<u64>,
}

impl Namespace {
    /// Nothing of one that is made when dockgate starts, as long as it has not: whoever only checks has none.
    pub fn key_bytes(&self) -> Result<Vec<u8>, Invalid> {
        match self.has_own_key || self.key.path.exists() {
            true => self.key.read(),
            false => Ok(Vec::new()),
        }
    }

    /// The key's file where the operator has given it, and where it is made.
    fn own_key(&self) -> Option<&File> {
        self.has_own_key.then_some(&self.key)
    }

    fn made_key(&self) -> Option<&File> {
        (!self.has_own_key).then_some(&self.key)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceRegistry {
    pub name: String,
    /// As the engine is told it: `127.0.0.1:5454`.
    pub address: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NamespacePorts {
    #[default]
    AsAsked,
    Random,
    Namespace,
}

/// A directory of the host that containers may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedBind {
    pub host: PathBuf,
    pub writable: bool,
    pub place: Place,
}

/// Which ports of the host a container may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ports {
    None,
    /// Those that the engine chooses.
    #[default]
    Random,
    Any,
    Between(u16, u16),
}

impl Policy {
    /// Whether it shows its callers another engine than there is.
    pub fn is_view(&self) -> bool {
        matches!(self.kind, PolicyKind::Namespace(_))
    }

    pub fn temporary(&self) -> Option<&TemporaryListener> {
        match &self.kind {
            PolicyKind::TemporaryListener(settings) => Some(settings),
            _ => None,
        }
    }

    pub fn transparent(&self) -> Option<&TransparentCache> {
        match &self.kind {
            PolicyKind::TransparentCache(settings) => Some(settings),
            _ => None,
        }
    }

    pub fn namespace(&self) -> Option<&Namespace> {
        match &self.kind {
            PolicyKind::Namespace(settings) => Some(settings),
            _ => None,
        }
    }

    /// The key that is made at the first start, where the operator has not given one.
    pub fn made_key(&self) -> Option<&File> {
        match &self.kind {
            PolicyKind::Namespace(namespace) => namespace.made_key(),
            PolicyKind::TemporaryListener(temporary) => temporary.namespace.made_key(),
            _ => None,
        }
    }

    /// A built-in kind by its name alone.
    pub(super) fn conservative() -> Policy {
        let kind = PolicyKind::Conservative(Box::default());
        Policy { name: "conservative".to_owned(), audits: false, kind }
    }

    /// The files that it names.
    pub fn files(&self) -> Vec<&File> {
        match &self.kind {
            PolicyKind::Conservative(conservative) => conservative.rules.iter().collect(),
            PolicyKind::Limits(_) | PolicyKind::TransparentCache(_) => Vec::new(),
            PolicyKind::Rego(rego) => vec![&rego.file],
            PolicyKind::Authz(authz) => authz.ca.iter().collect(),
            PolicyKind::Namespace(namespace) => namespace.own_key().into_iter().collect(),
            PolicyKind::TemporaryListener(temporary) => temporary.files(),
        }
    }
}
