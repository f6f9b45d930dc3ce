//! What a policy must know besides the call: questions, and the answers to them.
//!
//! A policy that lacks a fact asks for it (`Verdict::Ask`); `gateway::facts` finds it out and the policy
//! is asked again. What must stay true: no policy does I/O; a question that cannot be answered is an
//! `Fact::Failed`, which no policy may take for a yes.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::Deed;
use crate::api::endpoint::Resource;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// A container's inspect answer, by whatever names it: name, id or the beginning of an id.
    Container(String),
    /// A network's inspect answer.
    Network(String),
    /// A volume's inspect answer.
    Volume(String),
    /// An image's inspect answer.
    Image(String),
    /// `/info`.
    Info,
    /// A path of the host with its symbolic links resolved.
    HostPath(PathBuf),
    /// What is mounted below a path of the host.
    MountsBelow(PathBuf),
    /// The addresses of a name of the DNS.
    Addresses(String),
    /// Which container an exec was made in through this gateway, and by whom.
    Exec(String),
    /// All that the engine has of these (containers, images, networks, volumes), as its list answers it: stopped
    /// containers too. With a filter of the API, as its JSON.
    List(Resource, Option<String>),
    /// What a Docker plugin, by the name of its policy, answers to this method with this JSON.
    Plugin { name: Arc<str>, method: &'static str, body: Arc<str> },
}

#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// There is none of that name.
    Absent,
    Json(Arc<Value>),
    Path(PathBuf),
    Paths(Vec<PathBuf>),
    Addresses(Vec<IpAddr>),
    /// Who made an exec, and where.
    Exec(Arc<Made>),
    /// It could not be found out.
    Failed(String),
}

/// An exec as it was made through this gateway.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Made {
    pub listener: String,
    pub user: Option<String>,
    /// The full id of the container.
    pub container: String,
}

/// What came of a deed: done, or why not.
pub type DeedResult = Result<(), String>;

/// What was asked and done for one call, and what came of it.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    answers: HashMap<Question, Fact>,
    outcomes: Vec<(Deed, DeedResult)>,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Question::Container(name) => write!(f, "container `{name}`"),
            Question::Network(name) => write!(f, "network `{name}`"),
            Question::Volume(name) => write!(f, "volume `{name}`"),
            Question::Image(name) => write!(f, "image `{name}`"),
            Question::Info => f.write_str("`/info`"),
            Question::HostPath(path) => write!(f, "where `{}` leads", path.display()),
            Question::MountsBelow(path) => write!(f, "what is mounted below `{}`", path.display()),
            Question::Addresses(name) => write!(f, "the addresses of `{name}`"),
            Question::List(resource, _) => write!(f, "all of kind {resource}"),
            Question::Exec(id) => write!(f, "who made exec `{id}`"),
            Question::Plugin { name, method, .. } => write!(f, "`{method}` of plugin `{name}`"),
        }
    }
}

impl Facts {
    /// What came of a deed: done, or why not. None where it was not tried yet.
    pub fn outcome(&self, deed: &Deed) -> Option<&DeedResult> {
        self.outcomes.iter().find(|(other, _)| other == deed).map(|(_, outcome)| outcome)
    }

    /// How many deeds were tried.
    pub fn outcomes(&self) -> usize {
        self.outcomes.len()
    }

    pub fn report(&mut self, deed: Deed, outcome: DeedResult) {
        self.outcomes.push((deed, outcome));
    }

    pub fn get(&self, question: &Question) -> Option<&Fact> {
        self.answers.get(question)
    }

    pub fn insert(&mut self, question: Question, answer: Fact) {
        self.answers.entry(question).or_insert(answer);
    }

    pub fn len(&self) -> usize {
        self.answers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }
}
