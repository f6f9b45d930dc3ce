//! Whom containers trust for the sake of a transparent cache, as values.
//!
//! `redirect` asks for it and has it remembered, `gateway::trusting` knows it. What must stay true: what is said of a
//! container is what was put into it.

use std::fmt;
use std::sync::Arc;

use super::Question;
use super::layout::WantedInstall;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TrustQuestion {
    /// Whom containers are to trust for the sake of a `[cache.NAME]`.
    Anchor(String),
    /// What was put into a container, by its id.
    Installed(String),
}

#[derive(Clone, Debug, PartialEq)]
pub enum TrustFact {
    Anchor(Arc<TrustAnchor>),
    Installed(Arc<Installed>),
}

/// Who is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustAnchor {
    pub generation: String,
    pub pem: Arc<str>,
    pub der: Arc<[u8]>,
    /// By which OpenSSL finds it in a folder.
    pub subject_hash: Option<String>,
}

/// What was put into a container, and whose that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    pub install: WantedInstall,
    /// The `[cache.NAME]`.
    pub cache: String,
    /// The id of the container's image.
    pub image: String,
    /// Who has made the container.
    pub owner: Option<String>,
    /// Whether roots have come since the container began: its programs may know none but those of before.
    pub is_renewed: bool,
}

impl From<TrustQuestion> for Question {
    fn from(question: TrustQuestion) -> Question {
        Question::Trust(question)
    }
}

impl fmt::Display for TrustQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrustQuestion::Anchor(cache) => write!(f, "the authority of cache `{cache}`"),
            TrustQuestion::Installed(id) => write!(f, "what was put into container `{id}`"),
        }
    }
}
