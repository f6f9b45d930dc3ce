//! What a policy must know besides the call: questions, and the answers to them.
//!
//! A policy that lacks a fact asks for it (`Verdict::Ask`); `gateway::facts` finds it out and the policy
//! is asked again. What must stay true: no policy does I/O; a question that cannot be answered is an
//! `Fact::Failed`, which no policy may take for a yes.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use super::builds::BuildSession;
use super::layout::Layout;
use super::trusted::{TrustFact, TrustQuestion};
use super::{Deed, WantedGrant, WantedLogin};
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
    /// The `Id` and `Name` of a container or network by its id, the beginning of its id, or its name, as far as that is known
    /// without asking the engine. Absent says nothing.
    Indexed(Resource, String),
    /// `/info`.
    Info,
    /// Of `/info` the engine's own `ID` and its `CgroupDriver`, which stay as they are while it runs.
    WhichEngine,
    /// A path of the host with its symbolic links resolved.
    HostPath(PathBuf),
    /// What is mounted below a path of the host.
    MountsBelow(PathBuf),
    /// By which paths of the host what is at these is found as well: links resolved, and what is mounted twice.
    Aliases(Arc<[PathBuf]>),
    /// The addresses of a name of the DNS.
    Addresses(String),
    /// Which container an exec was made in through this gateway, and by whom.
    Exec(String),
    /// Who has begun a session or a build through this gateway; with a wait for one that is about to.
    Begun { what: Resource, id: String, waits: bool },
    /// All that the engine has of these (containers, images, networks, volumes), as its list answers it: stopped
    /// containers too. With a filter of the API, as its JSON.
    List(Resource, Option<String>),
    /// A text that nobody has had before.
    Fresh,
    /// The id of the job that a call with this id of its own is for; once `JobDeed::Open` is done.
    Job(String),
    /// An exec's inspect answer.
    ExecInspect(String),
    /// The same of the engine itself, where a policy shows others something else (`Policy::view`).
    OfEngine(Box<Question>),
    /// What a Docker plugin, by the name of its policy, answers to this method with this JSON.
    Plugin { name: Arc<str>, method: &'static str, body: Arc<str> },
    /// The `X-Registry-Auth` by which the engine does this; once `Deed::Grant` is done.
    Granted(Box<WantedGrant>),
    /// Whether a registry takes a client's name and password, as a status with a message: 200, 401, 500.
    Login(Box<WantedLogin>),
    /// What containers trust.
    Trust(TrustQuestion),
    /// Where an image, by its id, keeps the certificates that its programs trust.
    Layout(String),
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
    /// Who has begun something.
    Owner(Arc<Owner>),
    Fresh(String),
    /// A header's text. It is a secret.
    Header(Secret),
    Trust(TrustFact),
    Layout(Arc<Layout>),
    /// It could not be found out.
    Failed(String),
}

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(pub Arc<str>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Whose a session or a build is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub listener: String,
    pub user: Option<String>,
    /// The session, and of a build the one that it is in, where the engine has it by another id.
    pub session: Option<Arc<BuildSession>>,
}

impl Owner {
    pub fn new(listener: &str, user: Option<&str>) -> Owner {
        Owner { listener: listener.to_owned(), user: user.map(str::to_owned), session: None }
    }

    /// Whether it is the session of one build, by the id that the engine has it by.
    pub fn is_of_a_build(&self, engine_id: &str) -> bool {
        self.session.as_ref().is_some_and(|session| session.engine_id == engine_id)
    }

    pub fn is_same_caller(&self, other: &Owner) -> bool {
        (&self.listener, &self.user) == (&other.listener, &other.user)
    }
}

impl Question {
    /// Who has begun this, as far as is known now.
    pub fn begun(what: Resource, id: &str) -> Question {
        Question::Begun { what, id: id.to_owned(), waits: false }
    }

    /// The same, of what may be about to begin.
    pub fn awaited(what: Resource, id: &str) -> Question {
        Question::Begun { what, id: id.to_owned(), waits: true }
    }
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
    /// What the policy knows that shows the others another engine than there is.
    of_engine: Option<Box<Facts>>,
}

static NOTHING: LazyLock<Facts> = LazyLock::new(Facts::default);

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Question::Container(name) => write!(f, "container `{name}`"),
            Question::Network(name) => write!(f, "network `{name}`"),
            Question::Volume(name) => write!(f, "volume `{name}`"),
            Question::Image(name) => write!(f, "image `{name}`"),
            Question::Indexed(resource, text) => write!(f, "whose {resource} `{text}` is"),
            Question::Info => f.write_str("`/info`"),
            Question::WhichEngine => f.write_str("which engine it is"),
            Question::HostPath(path) => write!(f, "where `{}` leads", path.display()),
            Question::MountsBelow(path) => write!(f, "what is mounted below `{}`", path.display()),
            Question::Aliases(_) => {
                f.write_str("by which other paths the engine's and our sockets are found")
            }
            Question::Addresses(name) => write!(f, "the addresses of `{name}`"),
            Question::List(resource, _) => write!(f, "all of kind {resource}"),
            Question::Exec(id) => write!(f, "who made exec `{id}`"),
            Question::ExecInspect(id) => write!(f, "exec `{id}`"),
            Question::OfEngine(question) => question.fmt(f),
            Question::Begun { what, id, .. } => write!(f, "who began {what} `{id}`"),
            Question::Fresh => f.write_str("a fresh id"),
            Question::Job(id) => write!(f, "the job of call `{id}`"),
            Question::Plugin { name, method, .. } => write!(f, "`{method}` of plugin `{name}`"),
            Question::Granted(wanted) => {
                write!(f, "the token for `{}`", wanted.repository.visible())
            }
            Question::Login(wanted) => write!(f, "the login at `{}`", wanted.host),
            Question::Trust(question) => question.fmt(f),
            Question::Layout(image) => write!(f, "which certificates image `{image}` trusts"),
        }
    }
}

impl Facts {
    /// Those about the engine itself.
    pub fn of_engine(&self) -> &Facts {
        self.of_engine.as_deref().unwrap_or(&NOTHING)
    }

    /// What came of a deed: done, or why not. None where it was not tried yet.
    pub fn outcome(&self, deed: &Deed) -> Option<&DeedResult> {
        if let Deed::OfEngine(deed) = deed {
            return self.of_engine().outcome(deed);
        }
        self.outcomes.iter().find(|(other, _)| other == deed).map(|(_, outcome)| outcome)
    }

    /// How many deeds were tried.
    pub fn outcomes(&self) -> usize {
        self.outcomes.len() + self.of_engine.as_ref().map_or(0, |below| below.outcomes())
    }

    pub fn report(&mut self, deed: Deed, outcome: DeedResult) {
        if let Deed::OfEngine(deed) = deed {
            self.of_engine.get_or_insert_default().report(*deed, outcome);
        } else {
            self.outcomes.push((deed, outcome));
        }
    }

    pub fn get(&self, question: &Question) -> Option<&Fact> {
        if let Question::OfEngine(question) = question {
            return self.of_engine().get(question);
        }
        self.answers.get(question)
    }

    pub fn insert(&mut self, question: Question, answer: Fact) {
        if let Question::OfEngine(question) = question {
            self.of_engine.get_or_insert_default().insert(*question, answer);
        } else {
            self.answers.entry(question).or_insert(answer);
        }
    }

    /// What is asked anew.
    pub fn forget(&mut self, question: &Question) {
        if let Question::OfEngine(question) = question {
            if let Some(below) = &mut self.of_engine {
                below.forget(question);
            }
        } else {
            self.answers.remove(question);
        }
    }

    /// The session that the engine has by this id, where it was asked for.
    pub fn session(&self, engine_id: &str) -> Option<&Arc<BuildSession>> {
        self.answers.values().find_map(|fact| {
            let Fact::Owner(owner) = fact else { return None };
            owner.session.as_ref().filter(|session| session.engine_id == engine_id)
        })
    }

    pub fn len(&self) -> usize {
        self.answers.len() + self.of_engine.as_ref().map_or(0, |below| below.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
