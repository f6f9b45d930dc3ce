//! `kind = "limits"`, checked: what is forced, filled in and capped, and for whom.
//!
//! `config::check` makes it, `policy::limits` applies it. What must stay true: every number is in the
//! unit of the engine's own field (bytes, billionths of a CPU), and in its range.

use std::collections::BTreeMap;

use super::Template;
use crate::config::units::{show_bytes, show_cpus};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct LimitsPolicy {
    pub general: LimitRules,
    pub users: BTreeMap<String, LimitRules>,
    /// In the order of the file: of a caller's groups the first one counts most.
    pub groups: Vec<(String, LimitRules)>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct LimitRules {
    /// Whatever the client says.
    pub force: LimitSettings,
    /// Where the client says nothing.
    pub default: LimitSettings,
    pub max: Caps,
}

/// A limit that is one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Size {
    Memory,
    /// Beyond memory.
    Swap,
    Cpus,
    Pids,
    Shm,
    BlkioWeight,
    /// Of each tmpfs.
    Tmpfs,
}

/// A setting that is one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Word {
    CgroupParent,
    User,
    Network,
    Runtime,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct LimitSettings {
    pub sizes: BTreeMap<Size, i64>,
    pub words: BTreeMap<Word, Template>,
    pub labels: BTreeMap<String, Template>,
    pub env: BTreeMap<String, Template>,
    pub ulimits: BTreeMap<String, Ulimit>,
    pub log: Option<LogSetting>,
    pub restart: Option<Restart>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Caps {
    pub sizes: BTreeMap<Size, i64>,
    /// Of the hard limit, and so of the soft one; -1 is none.
    pub ulimits: BTreeMap<String, i64>,
    /// Bytes of one log file.
    pub log_size: Option<i64>,
    pub log_files: Option<i64>,
    /// Published by one container.
    pub ports: Option<i64>,
    /// Of one caller, at the same time.
    pub builds: Option<i64>,
    /// The only ones allowed; none is always.
    pub restart: Option<Vec<Restart>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ulimit {
    pub soft: i64,
    pub hard: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSetting {
    pub driver: String,
    pub options: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    pub name: &'static str,
    /// Of `on-failure`: how often; without it, without end.
    pub retries: Option<i64>,
}

impl LimitsPolicy {
    /// The rules of all users and groups, and the general ones last.
    pub fn everyone(&self) -> impl Iterator<Item = &LimitRules> {
        let groups = self.groups.iter().map(|(_, rules)| rules);
        groups.chain(self.users.values()).chain([&self.general])
    }
}

impl LimitRules {
    /// Puts other rules over these, key by key.
    pub fn overlay(&mut self, over: &LimitRules) {
        self.force.overlay(&over.force);
        self.default.overlay(&over.default);
        self.max.overlay(&over.max);
    }
}

impl LimitSettings {
    fn overlay(&mut self, over: &LimitSettings) {
        self.sizes.extend(&over.sizes);
        extend(&mut self.words, &over.words);
        extend(&mut self.labels, &over.labels);
        extend(&mut self.env, &over.env);
        extend(&mut self.ulimits, &over.ulimits);
        self.log = over.log.clone().or_else(|| self.log.take());
        self.restart = over.restart.clone().or_else(|| self.restart.take());
    }
}

impl Caps {
    fn overlay(&mut self, over: &Caps) {
        self.sizes.extend(&over.sizes);
        extend(&mut self.ulimits, &over.ulimits);
        self.log_size = over.log_size.or(self.log_size);
        self.log_files = over.log_files.or(self.log_files);
        self.ports = over.ports.or(self.ports);
        self.builds = over.builds.or(self.builds);
        self.restart = over.restart.clone().or_else(|| self.restart.take());
    }
}

fn extend<K: Clone + Ord, V: Clone>(map: &mut BTreeMap<K, V>, over: &BTreeMap<K, V>) {
    map.extend(over.iter().map(|(key, value)| (key.clone(), value.clone())));
}

impl Size {
    pub fn rule(self) -> &'static str {
        match self {
            Size::Memory => "limits.memory",
            Size::Swap => "limits.swap",
            Size::Cpus => "limits.cpus",
            Size::Pids => "limits.pids",
            Size::Shm => "limits.shm",
            Size::BlkioWeight => "limits.blkio-weight",
            Size::Tmpfs => "limits.tmpfs",
        }
    }

    /// As people write it.
    pub fn show(self, value: i64) -> String {
        match self {
            Size::Memory | Size::Swap | Size::Shm | Size::Tmpfs => show_bytes(value),
            Size::Cpus => show_cpus(value),
            Size::Pids | Size::BlkioWeight => value.to_string(),
        }
    }
}

impl Restart {
    /// `no`, `always`, `unless-stopped`, `on-failure` or `on-failure:5`.
    pub fn parse(text: &str) -> Option<Restart> {
        let (name, retries) = match text.split_once(':') {
            Some((name, retries)) => {
                (name, Some(retries.parse().ok().filter(|retries| *retries > 0)?))
            }
            None => (text, None),
        };
        let known = ["no", "always", "unless-stopped", "on-failure"];
        let name = known.into_iter().find(|known| *known == name)?;
        (retries.is_none() || name == "on-failure").then_some(Restart { name, retries })
    }

    /// `no` always is.
    pub fn is_within(&self, allowed: &[Restart]) -> bool {
        let covers = |one: &Restart| match (one.retries, self.retries) {
            _ if one.name != self.name => false,
            (None, _) => true,
            (Some(most), retries) => retries.is_some_and(|retries| retries <= most),
        };
        self.name == "no" || allowed.iter().any(covers)
    }
}
