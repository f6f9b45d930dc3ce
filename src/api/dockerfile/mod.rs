//! What a Dockerfile makes the engine fetch: images, URLs, repositories, frontends.
//!
//! `policy` judges by it what a build asks for; `context` finds the file in a build's archive. Pure, bounded and linear. What
//! must stay true: whatever an engine from 20.10 on fetches for this file is listed, or the file is no answer at all:
//! engines read it differently, so it is read as each of them does. Listing too much is allowed, and too little is a hole.

mod asked;
pub mod context;
mod expand;
mod frontend;
mod lines;
mod rename;
mod stages;
mod words;

use std::collections::BTreeMap;

pub use asked::{AskedBuild, AskedPulls, LOGINS_NOTE, PULLS_NOTE};
pub use context::{ContextError, DockerfileFinder};

pub use rename::renamed;

use lines::Dialect;
use stages::Stages;

/// A Dockerfile that is larger is not read.
pub const MOST_BYTES: usize = 1 << 20;
/// More of them is nobody's Dockerfile, and each costs a question.
const MOST_FETCHES: usize = 128;

/// Which of the engine's builders reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builder {
    Classic,
    BuildKit,
}

/// What a build says beside its Dockerfile.
#[derive(Clone, Debug)]
pub struct BuildSettings<'a> {
    pub builder: Builder,
    /// Build arguments that have a value.
    pub args: &'a BTreeMap<String, String>,
    /// The last stage to build; empty is all of them.
    pub target: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FetchKind {
    /// An image that a stage begins with: the build carries out its triggers (`ONBUILD`).
    Base,
    Image,
    Url,
    Git,
    /// An image that reads the Dockerfile in the engine's place.
    Frontend,
}

/// One thing that the engine is to fetch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fetch {
    pub line: usize,
    pub kind: FetchKind,
    /// Its name, up to what only the build will know.
    pub name: Expanded,
    /// As it is written.
    pub written: String,
}

/// A text with its variables replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expanded {
    pub known: String,
    /// Nothing comes behind what is known.
    pub is_whole: bool,
}

/// Why nobody can tell what a Dockerfile fetches.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} {why}")]
pub struct Unreadable {
    pub line: usize,
    pub why: &'static str,
}

impl Fetch {
    /// The host that an image is pulled from; None where it depends on what is not known.
    pub fn registry(&self) -> Option<&str> {
        let known = self.name.known.as_str();
        let is_decided = self.name.is_whole || known.contains('/');
        is_decided.then(|| super::grammar::image::host_of_name(known))
    }
}

/// All that any engine fetches for this Dockerfile, each once.
pub fn fetches(file: &[u8], with: &BuildSettings<'_>) -> Result<Vec<Fetch>, Unreadable> {
    if file.len() > MOST_BYTES {
        return Err(Unreadable { line: 1, why: "begins a Dockerfile of more than 1 MiB" });
    }
    // As Go does, rune by rune; parts where engines go byte by byte must be ASCII.
    let text = String::from_utf8_lossy(file);
    let frontends = frontend::of(&text, with);
    in_all_dialects(&text, frontends, with, Stages::of_file)
}

/// The same for one instruction that an image has left to builds from it.
pub fn triggered(trigger: &str, with: &BuildSettings<'_>) -> Result<Vec<Fetch>, Unreadable> {
    if trigger.len() > MOST_BYTES {
        return Err(Unreadable { line: 1, why: "is a trigger of more than 1 MiB" });
    }
    in_all_dialects(trigger, Vec::new(), with, Stages::of_trigger)
}

fn in_all_dialects<'w>(
    text: &str,
    mut found: Vec<Fetch>,
    with: &'w BuildSettings<'w>,
    begin: fn(&'w BuildSettings<'w>, Dialect, char) -> Stages<'w>,
) -> Result<Vec<Fetch>, Unreadable> {
    lines::check(text)?;
    for dialect in Dialect::ALL {
        found.extend(stages::read(text, dialect, |escape| begin(with, dialect, escape))?);
    }
    found.sort();
    found.dedup();
    match found.get(MOST_FETCHES) {
        Some(one) => Err(Unreadable { line: one.line, why: "refers to one thing too many" }),
        None => Ok(found),
    }
}

#[cfg(test)]
mod tests;
