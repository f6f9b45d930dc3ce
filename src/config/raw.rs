//! The file as it is written: a mirror of the TOML, with the place of each value.
//!
//! Only `config::check` reads it. What must stay true: unknown keys are refused here, by serde.

pub(super) mod cache;
pub(super) mod limits;
pub(super) mod push;
pub(super) mod registry;

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::{Spanned, Value};

use super::check::{RawAuth, RawPolicy};
use crate::telemetry::{access, diagnostics};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    pub engine: Engine,
    pub listener: Vec<Listener>,
    pub auth: BTreeMap<Spanned<String>, RawAuth>,
    pub policy: BTreeMap<Spanned<String>, RawPolicy>,
    pub cache: BTreeMap<Spanned<String>, cache::Cache>,
    pub registry: BTreeMap<Spanned<String>, registry::Registry>,
    pub limits: Limits,
    pub admin: Admin,
    pub log: Log,
    pub jobs: Jobs,
    pub ca: Ca,
    pub drain_timeout: Option<Spanned<String>>,
    pub state_dir: Option<Spanned<String>>,
    pub watch: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Engine {
    pub url: Option<Spanned<String>>,
    pub patience: Option<Spanned<String>>,
    pub ca: Option<Spanned<String>>,
    pub cert: Option<Spanned<String>>,
    pub key: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listener {
    pub name: Spanned<String>,
    pub url: Spanned<String>,
    pub mode: Option<Spanned<String>>,
    pub owner: Option<Spanned<String>>,
    pub group: Option<Spanned<String>>,
    pub auth: Option<Vec<Spanned<String>>>,
    pub policies: Option<Vec<Spanned<String>>>,
    pub max_connections: Option<Spanned<i64>>,
    pub tls: Option<Spanned<Tls>>,
    pub hosts: Option<Vec<Spanned<String>>>,
    pub revoke: Option<Spanned<String>>,
    #[serde(default)]
    pub insecure: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub cert: Spanned<String>,
    pub key: Spanned<String>,
    pub client_ca: Option<Spanned<String>>,
    pub client_auth: Option<Spanned<String>>,
    pub crl: Option<Spanned<String>>,
    pub handshake_time: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Admin {
    pub listen: Vec<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Jobs {
    pub dir: Option<Spanned<String>>,
    pub sockets: Option<Spanned<i64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Ca {
    pub lifetime: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AllowedBind {
    pub host: Spanned<String>,
    pub mode: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    pub header_bytes: Option<Spanned<i64>>,
    pub header_time: Option<Spanned<String>>,
    pub json_body: Option<Spanned<i64>>,
    pub json_elements: Option<Spanned<i64>>,
    pub body_time: Option<Spanned<String>>,
    pub body_rate: Option<Spanned<Value>>,
    pub head_memory: Option<Spanned<Value>>,
    pub head_memory_total: Option<Spanned<Value>>,
    pub body_memory: Option<Spanned<Value>>,
    pub body_memory_total: Option<Spanned<Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub format: diagnostics::Format,
    pub access: access::Format,
}
