//! Which folders and files of a store a scope is about.
//!
//! Used by `pages`; pure. What must stay true: no object of the scope is left out, also not where its
//! name had to be cut.

use super::{Scope, layout};
use crate::cache::key::{Key, Scheme};

/// What a path must begin with, name by name; an empty one is any.
#[derive(Debug)]
pub(super) struct Bounds {
    names: Vec<String>,
    /// Of URLs: names alone do not say it.
    prefix: Option<String>,
}

/// Of the names above a host's objects: partition, scheme, host.
const HOST_DEPTH: usize = 3;

impl Bounds {
    pub(super) fn new(scope: &Scope) -> Bounds {
        let any = String::new;
        let (names, prefix) = match scope {
            Scope::Everything => (Vec::new(), None),
            Scope::Partition(partition) => (vec![layout::partition_name(*partition)], None),
            Scope::Host(host) => (vec![any(), any(), layout::folder_name(host)], None),
            Scope::Prefix(url) => (prefix_names(url), Some(url.clone())),
        };
        Bounds { names, prefix }
    }

    /// Whether something of the scope may be in this folder.
    pub(super) fn enters(&self, folder: &str) -> bool {
        let names = folder.split('/').skip(1);
        names.zip(&self.names).all(|(name, wanted)| wanted.is_empty() || name == wanted)
    }

    pub(super) fn may_have(&self, place: &str) -> bool {
        let depth = place.split('/').count() - 1;
        if !self.enters(place) {
            return depth > HOST_DEPTH && self.is_hashed(place);
        }
        depth > self.names.len() || self.is_hashed(place)
    }

    /// Whether it also takes the key to know.
    pub(super) fn reads_heads(&self) -> bool {
        self.prefix.is_some()
    }

    pub(super) fn has(&self, key: &Key) -> bool {
        self.prefix.as_ref().is_none_or(|prefix| key.to_string().starts_with(prefix))
    }

    /// A path that was too long is in its host's folder.
    fn is_hashed(&self, place: &str) -> bool {
        let mut names = place.split('/').skip(1 + HOST_DEPTH);
        names.next().is_some_and(|name| name.starts_with(layout::HASHED))
    }
}

/// Any partition, then what is sure: a last name may go on.
fn prefix_names(url: &str) -> Vec<String> {
    let (scheme, rest) = match url.split_once("://") {
        Some(("http", rest)) => (Scheme::Http, rest),
        Some(("https", rest)) => (Scheme::Https, rest),
        _ => return vec!["/".to_owned()],
    };
    let mut names = vec![String::new(), scheme.as_str().to_owned()];
    if let Some((host, path)) = rest.split_once('/') {
        names.push(layout::folder_name(host));
        let path = path.split('?').next().unwrap_or_default();
        if let Some((folders, _)) = path.rsplit_once('/') {
            names.extend(folders.split('/').map(layout::folder_name));
        }
    }
    names
}
