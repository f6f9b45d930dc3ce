//! What a policy wants done, as values.
//!
//! A policy returns them (`Verdict::Do`); `gateway::deeds` carries them out and the policy is asked again, with what came
//! of each as a fact. What must stay true: no policy does I/O; a policy that only audits has nothing done but
//! remembering, which no engine sees.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::builds::BuildSession;
use super::facts::Secret;
use super::layout::WantedInstall;
use super::namespace::image::Repository;
use super::{Fact, Question, Reason};
use crate::api::dockerfile::AskedBuild;
use crate::api::endpoint::Resource;
use crate::config::RuntimeListener;

#[derive(Clone, PartialEq)]
pub enum Deed {
    /// The fact is known to later calls of this gateway.
    Remember(Question, Fact),
    /// What a session's Dockerfile is judged for, from now on.
    Bind(Arc<BuildSession>, Arc<AskedBuild>),
    /// A container, network, volume or image is removed by the engine, by its id or name; a container even while it
    /// runs, with its anonymous volumes.
    Remove(Resource, String),
    /// The same as a client would have it: not while it is used, and without its volumes.
    RemoveUnused(Resource, String),
    /// An image gets one more name.
    Tag { image: String, name: String },
    /// A network is made, of this create body.
    CreateNetwork { name: String, body: Arc<str> },
    /// On the engine itself, where a policy shows others something else (`Policy::view`).
    OfEngine(Box<Deed>),
    /// An archive (tar) is unpacked in a container below this path.
    PutArchive { container: String, path: String, tar: Arc<[u8]> },
    /// A listener is opened beside those that there are.
    OpenListener(RuntimeListener),
    /// The call has a slot among these until it ends, however it ends.
    Take(Slot),
    /// Something about a job: it has a listener of its own.
    Job(JobDeed),
    /// Symbolic links in a container's files that lead to one place in it. Folders that are not there are made.
    Link { container: String, links: Vec<String>, to: String },
    /// The engine may do this at a registry of ours for the call, until it ends: `Question::Granted` then says by which
    /// header.
    Grant(WantedGrant),
    /// The engine pulls an image; what is known of it is asked anew.
    Pull(WantedPull),
    /// A container trusts a root certificate of ours.
    Install(WantedInstall),
    /// It does not until the call ends: its files are what they would be without it.
    Uninstall(WantedInstall),
}

/// An image that is to be there before a call goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedPull {
    /// As the engine has it, with its tag or its digest.
    pub reference: String,
    /// The engine's own, where it is empty.
    pub platform: String,
    /// None for what is not at a registry of ours.
    pub grant: Option<WantedGrant>,
}

/// What becomes of a job, whose container has a Docker socket of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobDeed {
    /// It is written down, and its socket listens; or the call's container is to be one of a job that is open. The call
    /// that wants it is waited for. Which job it is, is known then (`Question::Job`).
    Open(WantedJob),
    /// The engine has made its container.
    Made { id: String, container: String },
    /// Of a call for a container, nothing has come; or it was removed again. With its last container a job is over.
    End { id: String, container: Option<String> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedJob {
    /// Nobody has had it before.
    pub id: String,
    /// An open job with the same is joined: of this policy, listener, user and engine.
    pub group: Option<String>,
    /// The policy that says what holds inside.
    pub policy: String,
    /// Whose it is.
    pub listener: String,
    pub user: Option<String>,
    /// The engine's own id.
    pub engine: String,
}

/// What the engine is to do for a call at a registry of ours, in the name of who makes it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct WantedGrant {
    /// The registry by its name in the configuration, and its address as the engine is told.
    pub registry: String,
    pub address: String,
    pub repository: Repository,
    pub pull: bool,
    pub push: bool,
    /// The client's own `X-Registry-Auth`, if there is one.
    pub header: Option<Vec<u8>>,
    /// Else what it has said of all registries (`X-Registry-Config`).
    pub logins: Option<Vec<u8>>,
}

/// A client's own name and password, of which a registry says whether they are good: asked through one of ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WantedLogin {
    /// Ours, by its name in the configuration.
    pub registry: String,
    /// That the client names, as in references of images.
    pub host: String,
    pub username: String,
    pub password: Secret,
}

/// Never what is in the header.
impl fmt::Debug for WantedGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WantedGrant { registry, repository, pull, push, .. } = self;
        write!(f, "WantedGrant({repository} at {registry}, pull: {pull}, push: {push})")
    }
}

/// One of the slots that calls of one caller may have side by side, by a policy of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    pub policy: String,
    pub listener: String,
    /// Without one, those without a user share the listener's.
    pub user: Option<String>,
    pub most: usize,
    pub rule: &'static str,
    /// What has them, in the plural: `builds`.
    pub what: &'static str,
    /// How long one is waited for.
    pub patience: Duration,
}

impl Slot {
    /// For what takes its time: a client may have read the end of an answer whose slot is not given back yet, and who
    /// builds one thing after the other is not refused.
    pub const A_MOMENT: Duration = Duration::from_secs(1);
    /// For what has its turn: nothing of it takes long.
    pub const A_WHILE: Duration = Duration::from_secs(60);

    /// Why a call that finds none is refused.
    pub(super) fn refusal(&self) -> Reason {
        let Slot { user, most, rule, what, .. } = self;
        let why = format!("must be at most {most} at the same time");
        let running = match user {
            Some(_) => "and so many of yours run",
            None => "and so many on this listener run",
        };
        match most {
            0 => Reason::new(*rule, *what, why, ""),
            _ => {
                let hint = "wait until one of them has ended, or end it";
                Reason::new(*rule, *what, format!("{why}, {running}"), hint)
            }
        }
    }
}

impl Deed {
    /// What is to be done, on whichever engine.
    pub fn plain(&self) -> &Deed {
        let mut deed = self;
        while let Deed::OfEngine(inner) = deed {
            deed = inner;
        }
        deed
    }

    /// What is known once a token was issued, to the policy that wanted it.
    pub fn granted(&self, wanted: &WantedGrant) -> Question {
        self.question(Question::Granted(Box::new(wanted.clone())))
    }

    /// A question about the engine that this is done on.
    pub fn question(&self, question: Question) -> Question {
        if let Deed::OfEngine(_) = self {
            return Question::OfEngine(Box::new(question));
        }
        question
    }

    /// Whether nobody but this gateway can tell that it was done.
    pub(super) fn is_memory(&self) -> bool {
        match self {
            Deed::Remember(..) | Deed::Bind(..) | Deed::Take(_) => true,
            Deed::OfEngine(deed) => deed.is_memory(),
            Deed::Remove(..)
            | Deed::RemoveUnused(..)
            | Deed::Tag { .. }
            | Deed::CreateNetwork { .. }
            | Deed::PutArchive { .. }
            | Deed::OpenListener(_)
            | Deed::Job(_)
            | Deed::Link { .. }
            | Deed::Grant(_)
            | Deed::Pull(_)
            | Deed::Install(_)
            | Deed::Uninstall(_) => false,
        }
    }
}

/// As messages and `dockgate explain` say it.
impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Deed::Remember(question, _) => write!(f, "remembering {question}"),
            Deed::Bind(session, _) => write!(f, "building in session `{}`", session.engine_id),
            Deed::OfEngine(deed) => deed.fmt(f),
            Deed::Tag { image, .. } => write!(f, "keeping image `{image}`"),
            Deed::CreateNetwork { name, .. } => write!(f, "making network `{name}`"),
            Deed::Remove(resource, name) | Deed::RemoveUnused(resource, name) => {
                write!(f, "removing {resource} `{name}`")
            }
            Deed::PutArchive { container, path, .. } => {
                write!(f, "putting files below `{path}` of container `{container}`")
            }
            Deed::OpenListener(listener) => {
                write!(
                    f,
                    "opening listener `{}` on `unix://{}`",
                    listener.name,
                    listener.path.display()
                )
            }
            Deed::Take(slot) => write!(f, "taking one of {} slots of {}", slot.most, slot.what),
            Deed::Job(JobDeed::Open(job)) => write!(f, "opening the socket of job `{}`", job.id),
            Deed::Job(JobDeed::Made { id, .. }) => write!(f, "keeping whose job `{id}` is"),
            Deed::Job(JobDeed::End { id, .. }) => write!(f, "ending job `{id}`"),
            Deed::Link { container, .. } => {
                write!(f, "putting a link to the socket into container `{container}`")
            }
            Deed::Grant(wanted) => write!(f, "a token for `{}`", wanted.repository.visible()),
            Deed::Pull(WantedPull { grant: Some(wanted), .. }) => {
                write!(f, "pulling `{}`", wanted.repository.visible())
            }
            Deed::Pull(wanted) => write!(f, "pulling `{}`", wanted.reference),
            Deed::Install(wanted) => {
                write!(f, "putting a root certificate into container `{}`", wanted.container)
            }
            Deed::Uninstall(wanted) => {
                write!(f, "taking the root certificate out of container `{}`", wanted.container)
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
