//! `[[registry.NAME.push_rule]]`, checked: what is demanded of a manifest before it becomes visible, and what is
//! changed in it.
//!
//! `cache::registry` reads it in terms of its own. What must stay true: nothing here has read another file yet.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{File, Text};

/// All of those that a push matches hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PushRule {
    /// What messages call it.
    pub name: String,
    /// Patterns of names as clients write them; none: all.
    pub repositories: Option<Vec<Text>>,
    /// Whoever it is for, by name or as `@group`; none: everybody.
    pub users: Option<Vec<String>>,
    /// Of patterns, `*` stands for any characters. None: nothing is demanded; so below.
    pub tags: Option<Vec<String>>,
    pub immutable: Vec<String>,
    pub media_types: Option<Vec<String>>,
    pub platforms: Option<Vec<String>>,
    /// In bytes.
    pub max_size: Option<u64>,
    pub max_layer_size: Option<u64>,
    pub max_layers: Option<usize>,
    pub max_age: Option<Duration>,
    pub require_labels: BTreeMap<String, String>,
    pub forbid_labels: Vec<String>,
    pub base_layers: Option<Vec<Text>>,
    pub forbidden_layers: Vec<Text>,
    /// Values are templates.
    pub set_annotations: BTreeMap<String, Text>,
    pub rewrite_tag: Option<Text>,
    pub policy: Option<PushPolicy>,
    pub hook: Option<Hook>,
}

/// Rules of the operator's own, in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct PushPolicy {
    pub file: File,
    pub timeout: Duration,
}

/// A program outside that judges too.
#[derive(Clone, Debug, PartialEq)]
pub struct Hook {
    /// `unix:///path`, `http://…` or `https://…`.
    pub url: Text,
    pub timeout: Duration,
    pub ca: Option<File>,
    /// What stands before the paths of blobs that it is told, such as `https://registry.example`.
    pub base: String,
}

impl PushRule {
    pub(super) fn files(&self) -> impl Iterator<Item = &File> {
        let policy = self.policy.iter().map(|policy| &policy.file);
        policy.chain(self.hook.iter().filter_map(|hook| hook.ca.as_ref()))
    }
}
