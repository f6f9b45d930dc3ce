//! `[registry.NAME]` as it is written.
//!
//! Only `config::check::registry` reads it. What must stay true: an unknown key is an error.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::super::check::OneOrMore;
use super::cache::Tls;
use super::push::PushRule;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Registry {
    /// `"127.0.0.1:5000"`, or URLs as a cache has them.
    pub listen: Option<Spanned<OneOrMore>>,
    pub address: Option<Spanned<String>>,
    pub mode: Option<Spanned<String>>,
    pub owner: Option<Spanned<String>>,
    pub group: Option<Spanned<String>>,
    pub max_connections: Option<Spanned<i64>>,
    pub tls: Option<Spanned<Tls>>,
    pub auth: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    pub insecure: bool,
    pub dir: Option<Spanned<String>>,
    pub size: Option<Spanned<String>>,
    pub free: Option<Spanned<String>>,
    pub fsync: Option<bool>,
    pub upstream_ca: Option<Spanned<String>>,
    pub allow_private: Option<Vec<Spanned<String>>>,
    pub connections_per_host: Option<Spanned<i64>>,
    pub connect_timeout: Option<Spanned<String>>,
    pub head_timeout: Option<Spanned<String>>,
    pub body_timeout: Option<Spanned<String>>,
    pub queue_timeout: Option<Spanned<String>>,
    pub access_ttl: Option<Spanned<String>>,
    pub tag_ttl: Option<Spanned<String>>,
    pub stale: Option<Spanned<String>>,
    pub negative_ttl: Option<Spanned<String>>,
    pub redirects: Option<Spanned<String>>,
    #[serde(default)]
    pub catalog: bool,
    pub upstream: Option<BTreeMap<Spanned<String>, Upstream>>,
    pub rule: Option<Vec<Spanned<RegistryRule>>>,
    pub push_rule: Option<Vec<Spanned<PushRule>>>,
    pub upload_ttl: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Upstream {
    pub url: Option<Spanned<String>>,
    pub prefix: Option<Spanned<String>>,
    pub realm: Option<Spanned<String>>,
    pub mirror: Option<Spanned<OneOrMore>>,
    pub credentials: Option<Spanned<Credentials>>,
    pub create_repository: Option<Spanned<bool>>,
    #[serde(default)]
    pub tenant: Vec<UpstreamTenant>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct UpstreamTenant {
    pub users: Vec<Spanned<String>>,
    pub credentials: Spanned<Credentials>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Credentials {
    pub kind: Spanned<String>,
    pub username: Option<Spanned<String>>,
    pub password_file: Option<Spanned<String>>,
    pub helper: Option<Spanned<String>>,
    pub region: Option<Spanned<String>>,
    pub profile: Option<Spanned<String>>,
    pub endpoint: Option<Spanned<String>>,
    pub sts_endpoint: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RegistryRule {
    pub repositories: Vec<Spanned<String>>,
    pub actions: Option<Vec<Spanned<String>>>,
    pub users: Option<Vec<Spanned<String>>>,
    pub allow: Option<bool>,
}
