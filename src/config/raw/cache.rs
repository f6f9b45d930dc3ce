//! `[cache.NAME]` as it is written.
//!
//! Only `config::check::cache` reads it. What must stay true: an unknown key is an error.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Cache {
    pub listen: Option<Spanned<Vec<Spanned<String>>>>,
    pub mode: Option<Spanned<String>>,
    pub owner: Option<Spanned<String>>,
    pub group: Option<Spanned<String>>,
    pub max_connections: Option<Spanned<i64>>,
    pub tls: Option<Spanned<Tls>>,
    pub dir: Option<Spanned<String>>,
    pub size: Option<Spanned<String>>,
    pub free: Option<Spanned<String>>,
    pub memory: Option<Spanned<String>>,
    pub fsync: Option<bool>,
    pub object_store: Option<Spanned<String>>,
    pub mirror: Option<Spanned<PathMirror>>,
    pub domains: Option<Vec<Spanned<String>>>,
    pub origins: Option<BTreeMap<Spanned<String>, Spanned<String>>>,
    pub credentials: Option<BTreeMap<Spanned<String>, Spanned<Credentials>>>,
    #[serde(default)]
    pub forward: bool,
    pub intercept: Option<Spanned<String>>,
    #[serde(default)]
    pub never_intercept: Vec<Spanned<String>>,
    pub next_hop: Option<Spanned<String>>,
    pub upstream_ca: Option<Spanned<String>>,
    pub allow_private: Option<Vec<Spanned<String>>>,
    pub connections_per_host: Option<Spanned<i64>>,
    pub connect_timeout: Option<Spanned<String>>,
    pub head_timeout: Option<Spanned<String>>,
    pub body_timeout: Option<Spanned<String>>,
    pub queue_timeout: Option<Spanned<String>>,
    pub stale_after: Option<Spanned<String>>,
    pub rules: Option<Spanned<String>>,
    #[serde(default)]
    pub ecosystems: Vec<Spanned<String>>,
    pub authorization: Option<Spanned<String>>,
    pub targeted: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    pub offline: bool,
    pub tenants: Option<BTreeMap<Spanned<String>, Spanned<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Credentials {
    pub kind: Spanned<String>,
    pub username: Option<Spanned<String>>,
    pub password_file: Option<Spanned<String>>,
    pub token_file: Option<Spanned<String>>,
    pub realm: Option<Spanned<String>>,
    pub access_key: Option<Spanned<String>>,
    pub secret_file: Option<Spanned<String>>,
    pub region: Option<Spanned<String>>,
    pub service: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub(in crate::config) struct PathMirror {
    pub hosts: Vec<Spanned<String>>,
    pub pypi: Option<Vec<Spanned<String>>>,
    pub npm: Option<Vec<Spanned<String>>>,
    pub crates: Option<Vec<Spanned<String>>>,
    pub deb: Option<Vec<Spanned<String>>>,
    pub files: Option<Vec<Spanned<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Tls {
    pub cert: Spanned<String>,
    pub key: Spanned<String>,
    pub handshake_time: Option<Spanned<String>>,
}
