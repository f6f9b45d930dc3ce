//! The tables of `kind = "limits"` as they are written, and the quota of `kind = "namespace"`.
//!
//! Only `config::check` reads them. What must stay true: each table has its keys and no others.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::{Spanned, Value};

/// Of one user or group.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct SubjectLimits {
    pub force: Option<Spanned<LimitSettings>>,
    pub default: Option<Spanned<LimitSettings>>,
    pub max: Option<Spanned<Caps>>,
}

pub(in crate::config) type Scopes = BTreeMap<Spanned<String>, SubjectLimits>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct LimitSettings {
    pub memory: Option<Spanned<Value>>,
    pub swap: Option<Spanned<Value>>,
    pub cpus: Option<Spanned<Value>>,
    pub pids: Option<Spanned<Value>>,
    pub shm: Option<Spanned<Value>>,
    pub blkio_weight: Option<Spanned<Value>>,
    pub tmpfs: Option<Spanned<Value>>,
    pub cgroup_parent: Option<Spanned<String>>,
    pub user: Option<Spanned<String>>,
    pub network: Option<Spanned<String>>,
    pub runtime: Option<Spanned<String>>,
    pub labels: BTreeMap<Spanned<String>, Spanned<String>>,
    pub env: BTreeMap<Spanned<String>, Spanned<String>>,
    pub ulimits: BTreeMap<Spanned<String>, Spanned<Value>>,
    pub log: Option<LogSetting>,
    pub restart: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Caps {
    pub memory: Option<Spanned<Value>>,
    pub swap: Option<Spanned<Value>>,
    pub cpus: Option<Spanned<Value>>,
    pub pids: Option<Spanned<Value>>,
    pub shm: Option<Spanned<Value>>,
    pub blkio_weight: Option<Spanned<Value>>,
    pub tmpfs: Option<Spanned<Value>>,
    pub ulimits: BTreeMap<Spanned<String>, Spanned<Value>>,
    pub ports: Option<Spanned<Value>>,
    pub builds: Option<Spanned<Value>>,
    pub log: LogCaps,
    pub restart: Option<Vec<Spanned<String>>>,
}

/// Of `kind = "namespace"`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Quota {
    pub containers: Option<Spanned<Value>>,
    pub volumes: Option<Spanned<Value>>,
    pub networks: Option<Spanned<Value>>,
    pub image_bytes: Option<Spanned<Value>>,
    pub ports: Option<Spanned<Value>>,
    pub builds: Option<Spanned<Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct LogSetting {
    pub driver: Spanned<String>,
    #[serde(default)]
    pub options: BTreeMap<Spanned<String>, Spanned<String>>,
}

/// Named as the engine names its log options.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct LogCaps {
    #[serde(rename = "max-size")]
    pub max_size: Option<Spanned<Value>>,
    #[serde(rename = "max-file")]
    pub max_file: Option<Spanned<Value>>,
}
