//! What a container was to have of the host: as little of it by rules as can be.
//!
//! `report` asks here for `Binds` and `Mounts`. A directory is given away in the configuration (`binds`), the
//! engine's socket by putting the listener's own in its place; a bind that neither can be is named in the
//! rule, letter for letter. What must stay true: a path that the configuration would not take is not
//! proposed for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::super::host;
use super::super::rules::{Allowed, Requirement, Rule, Scalar};
use super::super::surroundings;
use crate::api::doc::Value;
use crate::api::grammar::mounts::{ENGINE_SOCKETS, MountSource, of_bind};

/// Directories for `binds`, and whether they are to be writable.
pub(super) type Binds = BTreeMap<PathBuf, bool>;

/// The rule that allows what was found, as far as `binds` do not; none where only everything will do. The
/// same rule as before where `binds` are enough.
pub(super) fn widen(rule: &Rule, found: &[Option<Json>], binds: &mut Binds) -> Option<Rule> {
    let Requirement::Be(allowed) = &rule.must else { return None };
    let (mut exact, mut own_socket, mut given) = (Vec::new(), false, Binds::new());
    for found in found {
        for item in found.as_ref()?.as_array()? {
            match one(item)? {
                Way::OwnSocket => own_socket = true,
                Way::Bind(path, is_writable) => *given.entry(path).or_default() |= is_writable,
                Way::Exactly(text) => exact.push(Scalar::Text(text)),
            }
        }
    }
    for (path, is_writable) in given {
        *binds.entry(path).or_default() |= is_writable;
    }
    let mut allowed = allowed.clone();
    if own_socket {
        allowed.push(Allowed::OwnSocket);
    }
    if !exact.is_empty() {
        allowed.push(Allowed::OneOf(exact));
    }
    let id = rule.id.clone();
    Some(Rule { id, must: Requirement::Be(allowed), why: String::new(), hint: String::new() })
}

enum Way {
    OwnSocket,
    /// With whether it is writable.
    Bind(PathBuf, bool),
    Exactly(String),
}

fn one(item: &Json) -> Option<Way> {
    if let Json::String(text) = item {
        let value = Value::String(text.clone());
        let mount = of_bind(0, &value);
        let is_plain = host::has_plain_options(&mount);
        return Some(match mount.source {
            MountSource::Host(path) if is_plain => {
                of_host(path, mount.read_only).unwrap_or_else(|| Way::Exactly(text.clone()))
            }
            _ => Way::Exactly(text.clone()),
        });
    }
    let text = |key| item.get(key).and_then(Json::as_str);
    let is_plain = text("Propagation").is_none_or(host::is_plain_option);
    if text("Type") != Some("bind") || !is_plain {
        return None;
    }
    of_host(text("Source")?, item.get("ReadOnly") == Some(&Json::Bool(true)))
}

fn of_host(path: &str, read_only: bool) -> Option<Way> {
    let path = host::clean(path)?;
    if ENGINE_SOCKETS.iter().any(|socket| path == Path::new(socket)) {
        return Some(Way::OwnSocket);
    }
    (path != Path::new("/") && !surroundings::is_never_given(&path))
        .then_some(Way::Bind(path, !read_only))
}
