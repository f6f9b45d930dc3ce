//! Directories of the host that a create body asks for, and where they lead.
//!
//! `BindMounts` of the input comes from here. What must stay true: both ways to write a bind are seen,
//! and a path that cannot be looked at is not taken for harmless: the call is refused.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use crate::api::grammar::mounts::{self, MountSource};
use crate::api::{Endpoint, Typed};
use crate::policy::{Fact, Facts, Question};

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bind {
    /// As the client wrote it.
    pub(super) source: String,
    pub(super) read_only: bool,
    /// Without `.`, `..` and symbolic links.
    pub(super) resolved: PathBuf,
}

/// The longest path of a system call (`PATH_MAX`): there is nothing behind a longer one.
const LONGEST_PATH: usize = 4096;

/// What stands between here and the answer.
#[derive(Clone, Debug)]
pub(super) enum Open {
    Ask(Vec<Question>),
    Unknown(String),
}

pub(super) fn of(call: &Typed, facts: &Facts, shares_host: bool) -> Result<Vec<Bind>, Open> {
    if call.endpoint() != Endpoint::ContainerCreate {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    let mut questions = Vec::new();
    // A body may name one path ten thousand times.
    let mut known: HashMap<PathBuf, Result<PathBuf, Open>> = HashMap::new();
    let mounts = call.doc().map(|doc| mounts::of(&doc.root)).unwrap_or_default();
    for mount in mounts {
        let MountSource::Host(source) = mount.source else { continue };
        let read_only = mount.read_only;
        let path = cleaned(Path::new(source));
        let resolved = match shares_host {
            true => match known.get(&path) {
                Some(Err(Open::Ask(_))) => continue,
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
            Err(Open::Ask(more)) => questions.extend(more),
            Err(unknown) => return Err(unknown),
        }
    }
    if questions.is_empty() { Ok(found) } else { Err(Open::Ask(questions)) }
}

/// As moby cleans the source of a bind (`volume/mounts/linux_parser.go`): by its words alone.
fn cleaned(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::ParentDir => {
                clean.pop();
            }
            Component::Normal(name) => clean.push(name),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

/// Where a path leads; of what does not exist yet, the part that does.
fn leads_to(path: &Path, facts: &Facts) -> Result<PathBuf, Open> {
    if path.as_os_str().len() > LONGEST_PATH {
        return Err(Open::Unknown(format!("a path is longer than {LONGEST_PATH} bytes")));
    }
    for above in path.ancestors() {
        let question = Question::HostPath(above.to_owned());
        match facts.get(&question) {
            None if above == path => return Err(Open::Ask(vec![question])),
            // Of one that is not there, all that is above it is asked for at once.
            None => {
                let above = above.ancestors().map(|path| Question::HostPath(path.to_owned()));
                return Err(Open::Ask(above.collect()));
            }
            Some(Fact::Path(real)) => {
                let rest = path.strip_prefix(above).unwrap_or(Path::new(""));
                // `join` of nothing would add a slash.
                let is_whole = rest.as_os_str().is_empty();
                return Ok(if is_whole { real.clone() } else { real.join(rest) });
            }
            Some(Fact::Absent) => {}
            Some(Fact::Failed(why)) => {
                let path = path.display();
                return Err(Open::Unknown(format!("where `{path}` leads is not known: {why}")));
            }
            Some(
                Fact::Json(_)
                | Fact::Paths(_)
                | Fact::Addresses(_)
                | Fact::Exec(_)
                | Fact::Owner(_)
                | Fact::Fresh(_)
                | Fact::Header(_)
                | Fact::Layout(_),
            ) => {
                break;
            }
        }
    }
    Err(Open::Unknown(format!("where `{}` leads is not known", path.display())))
}
