//! Directories of the host that a create body asks for, and where they lead.
//!
//! `BindMounts` of the input comes from here. What must stay true: both ways to write a bind are seen,
//! and a path that cannot be looked at is not taken for harmless: the call is refused.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::api::grammar::mounts::{self, MountSource};
use crate::api::{Endpoint, Typed};
use crate::policy::Facts;
use crate::policy::host_paths::{Unresolved, cleaned, leads_to};

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bind {
    /// As the client wrote it.
    pub(super) source: String,
    pub(super) read_only: bool,
    /// Without `.`, `..` and symbolic links.
    pub(super) resolved: PathBuf,
}

pub(super) fn of(call: &Typed, facts: &Facts, shares_host: bool) -> Result<Vec<Bind>, Unresolved> {
    if call.endpoint() != Endpoint::ContainerCreate {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    let mut questions = Vec::new();
    // A body may name one path ten thousand times.
    let mut known: HashMap<PathBuf, Result<PathBuf, Unresolved>> = HashMap::new();
    let mounts = call.doc().map(|doc| mounts::of(&doc.root)).unwrap_or_default();
    for mount in mounts {
        let MountSource::Host(source) = mount.source else { continue };
        let read_only = mount.read_only;
        let path = cleaned(Path::new(source));
        let resolved = match shares_host {
            true => match known.get(&path) {
                Some(Err(Unresolved::Ask(_))) => continue,
                Some(known) => known.clone(),
                None => {
                    let found = leads_to(&path, facts);
                    known.insert(path, found.clone());
                    found
                }
            },
            false => Ok(path),
        };
        match resolved {
            Ok(resolved) => {
                found.push(Bind { source: source.to_owned(), read_only, resolved });
            }
            Err(Unresolved::Ask(more)) => questions.extend(more),
            Err(unknown) => return Err(unknown),
        }
    }
    if questions.is_empty() { Ok(found) } else { Err(Unresolved::Ask(questions)) }
}
