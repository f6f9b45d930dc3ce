//! The file as it is written: a mirror of the TOML, with the place of each value.
//!
//! Only `config::check` reads it. What must stay true: unknown keys are refused here, by serde.

pub(super) mod cache;
pub(super) mod limits;

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::{Spanned, Value};

use crate::telemetry::{access, diagnostics};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    pub engine: Engine,
    pub listener: Vec<Listener>,
    pub auth: BTreeMap<Spanned<String>, Auth>,
    pub policy: BTreeMap<Spanned<String>, Policy>,
    pub cache: BTreeMap<Spanned<String>, cache::Cache>,
    pub limits: Limits,
    pub admin: Admin,
    pub log: Log,
    pub drain_timeout: Option<Spanned<String>>,
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

/// The keys of every kind; which belong to which is checked later, with their places.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Auth {
    pub kind: Spanned<String>,
    pub users: Option<Spanned<BTreeMap<String, Spanned<String>>>>,
    /// `unix-peer`: a table; `jwt`: the name of a claim.
    pub groups: Option<Spanned<Groups>>,
    pub user: Option<Spanned<String>>,
    pub file: Option<Spanned<String>>,
    pub jwks: Option<Spanned<String>>,
    pub key: Option<Spanned<String>>,
    pub issuer: Option<Spanned<String>>,
    pub audience: Option<Spanned<OneOrMore>>,
    pub algorithms: Option<Spanned<Vec<String>>>,
    pub require: Option<Spanned<BTreeMap<String, OneOrMore>>>,
    pub claims: Option<Spanned<Vec<String>>>,
    pub refresh: Option<Spanned<String>>,
    pub url: Option<Spanned<String>>,
    pub timeout: Option<Spanned<String>>,
    pub schemes: Option<Spanned<Vec<String>>>,
    pub ca: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Groups {
    Table(BTreeMap<String, String>),
    Claim(String),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    pub(super) fn into_vec(self) -> Vec<String> {
        match self {
            OneOrMore::One(one) => vec![one],
            OneOrMore::More(more) => more,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Admin {
    pub listen: Vec<Spanned<String>>,
}

/// The keys of every kind; which belong to which is checked later, with their places.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    pub kind: Spanned<String>,
    pub mode: Option<Spanned<String>>,
    pub rules: Option<Spanned<String>>,
    pub binds: Option<Vec<AllowedBind>>,
    pub ports: Option<Spanned<String>>,
    pub registries: Option<Spanned<Vec<Spanned<String>>>>,
    pub no_new_privileges: Option<Spanned<bool>>,
    pub force: Option<Spanned<limits::LimitSettings>>,
    pub default: Option<Spanned<limits::LimitSettings>>,
    pub max: Option<Spanned<limits::Caps>>,
    pub users: Option<Spanned<limits::Scopes>>,
    pub groups: Option<Spanned<limits::Scopes>>,
    pub file: Option<Spanned<String>>,
    pub input_bytes: Option<Spanned<i64>>,
    pub url: Option<Spanned<String>>,
    pub timeout: Option<Spanned<String>>,
    pub ca: Option<Spanned<String>>,
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
