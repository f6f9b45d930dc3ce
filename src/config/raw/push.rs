//! `[[registry.NAME.push_rule]]` as it is written.
//!
//! Only `config::check::push` reads it. What must stay true: an unknown key is an error.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct PushRule {
    pub name: Option<Spanned<String>>,
    pub repositories: Option<Vec<Spanned<String>>>,
    pub users: Option<Vec<Spanned<String>>>,
    pub tags: Option<Vec<Spanned<String>>>,
    pub immutable: Option<Vec<Spanned<String>>>,
    pub media_types: Option<Vec<Spanned<String>>>,
    pub platforms: Option<Vec<Spanned<String>>>,
    pub max_size: Option<Spanned<String>>,
    pub max_layer_size: Option<Spanned<String>>,
    pub max_layers: Option<Spanned<i64>>,
    pub max_age: Option<Spanned<String>>,
    pub require_labels: Option<BTreeMap<String, Spanned<String>>>,
    pub forbid_labels: Option<Vec<Spanned<String>>>,
    pub base_layers: Option<Vec<Spanned<String>>>,
    pub forbidden_layers: Option<Vec<Spanned<String>>>,
    pub set_annotations: Option<BTreeMap<String, Spanned<String>>>,
    pub rewrite_tag: Option<Spanned<String>>,
    pub policy: Option<Spanned<String>>,
    pub policy_timeout: Option<Spanned<String>>,
    pub hook: Option<Spanned<Hook>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Hook {
    pub url: Spanned<String>,
    pub timeout: Option<Spanned<String>>,
    pub ca: Option<Spanned<String>>,
    pub base: Option<Spanned<String>>,
}
