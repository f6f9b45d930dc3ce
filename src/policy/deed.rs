//! What a policy wants done, as values.
//!
//! A policy returns them (`Verdict::Do`); `gateway::deeds` carries them out and the policy is asked again, with what came
//! of each as a fact. What must stay true: no policy does I/O; a policy that only audits has nothing done but
//! remembering, which no engine sees.

use std::fmt;
use std::sync::Arc;

use super::{Fact, Question};
use crate::api::endpoint::Resource;

#[derive(Clone, PartialEq)]
pub enum Deed {
    /// The fact is known to later calls of this gateway.
    Remember(Question, Fact),
    /// A container, network, volume or image is removed by the engine, by its id or name; a container even while it
    /// runs, with its anonymous volumes.
    Remove(Resource, String),
    /// An archive (tar) is unpacked in a container below this path.
    PutArchive { container: String, path: String, tar: Arc<[u8]> },
}

impl Deed {
    /// Whether nobody but this gateway can tell that it was done.
    pub(super) fn is_memory(&self) -> bool {
        matches!(self, Deed::Remember(..))
    }
}

/// As messages and `dockgate explain` say it.
impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Deed::Remember(question, _) => write!(f, "remembering {question}"),
            Deed::Remove(resource, name) => write!(f, "removing {resource} `{name}`"),
            Deed::PutArchive { container, path, .. } => {
                write!(f, "putting files below `{path}` of container `{container}`")
            }
        }
    }
}

/// Archives are large.
impl fmt::Debug for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Deed({self})")
    }
}
