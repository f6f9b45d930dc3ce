//! Directories of the host that a create body asks for, and where they lead.
//!
//! `BindMounts` of the input comes from here. What must stay true: both ways to write a bind are seen,
//! and a path that cannot be looked at is not taken for harmless: the call is refused.

use std::path::{Component, Path, PathBuf};

use crate::api::{Endpoint, Typed};
use crate::policy::mounts::{self, Source};
use crate::policy::{Answer, Facts, Question};

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bind {
    /// As the client wrote it.
    pub(super) source: String,
    pub(super) read_only: bool,
    /// Without `.`, `..` and symbolic links.
    pub(super) resolved: PathBuf,
}

/// What stands between here and the answer.
#[derive(Debug)]
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
    let mounts = call.doc().map(|doc| mounts::of(&doc.root)).unwrap_or_default();
    for mount in mounts {
        let Source::Host(source) = mount.source else { continue };
        let read_only = mount.read_only;
        let path = cleaned(Path::new(source));
        let resolved = match shares_host {
            true => leads_to(&path, facts),
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
    for above in path.ancestors() {
        let question = Question::HostPath(above.to_owned());
        match facts.get(&question) {
            None => return Err(Open::Ask(vec![question])),
            Some(Answer::Path(real)) => {
                let rest = path.strip_prefix(above).unwrap_or(Path::new(""));
                // `join` of nothing would add a slash.
                let is_whole = rest.as_os_str().is_empty();
                return Ok(if is_whole { real.clone() } else { real.join(rest) });
            }
            Some(Answer::Absent) => {}
            Some(Answer::Failed(why)) => {
                let path = path.display();
                return Err(Open::Unknown(format!("where `{path}` leads is not known: {why}")));
            }
            Some(Answer::Json(_) | Answer::Paths(_) | Answer::Addresses(_) | Answer::Exec(_)) => {
                break;
            }
        }
    }
    Err(Open::Unknown(format!("where `{}` leads is not known", path.display())))
}
