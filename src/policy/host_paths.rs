//! Where a path of the host leads that a client names.
//!
//! `rego` and `temporary` ask here for the sources of mounts. What must stay true: what cannot be looked at is not taken for
//! harmless, and what is not there yet is known by what is above it.

use std::path::{Component, Path, PathBuf};

use super::{Fact, Facts, Question};

/// The longest path of a system call (`PATH_MAX`): there is nothing behind a longer one.
const LONGEST_PATH: usize = 4096;

/// What stands between here and the answer.
#[derive(Clone, Debug)]
pub(super) enum Unresolved {
    Ask(Vec<Question>),
    Unknown(String),
}

/// As moby cleans the source of a bind (`volume/mounts/linux_parser.go`): by its words alone.
pub(super) fn cleaned(path: &Path) -> PathBuf {
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
pub(super) fn leads_to(path: &Path, facts: &Facts) -> Result<PathBuf, Unresolved> {
    if path.as_os_str().len() > LONGEST_PATH {
        return Err(Unresolved::Unknown(format!("a path is longer than {LONGEST_PATH} bytes")));
    }
    for above in path.ancestors() {
        let question = Question::HostPath(above.to_owned());
        match facts.get(&question) {
            None if above == path => return Err(Unresolved::Ask(vec![question])),
            // Of one that is not there, all that is above it is asked for at once.
            None => {
                let above = above.ancestors().map(|path| Question::HostPath(path.to_owned()));
                return Err(Unresolved::Ask(above.collect()));
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
                return Err(Unresolved::Unknown(format!(
                    "where `{path}` leads is not known: {why}"
                )));
            }
            Some(
                Fact::Json(_)
                | Fact::Paths(_)
                | Fact::Addresses(_)
                | Fact::Exec(_)
                | Fact::Owner(_)
                | Fact::Fresh(_)
                | Fact::Header(_)
                | Fact::Trust(_)
                | Fact::Layout(_),
            ) => {
                break;
            }
        }
    }
    Err(Unresolved::Unknown(format!("where `{}` leads is not known", path.display())))
}
