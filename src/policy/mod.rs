//! May it, and rewritten how: policies judge a call on its way in and its answer on the way back.
//!
//! Pure: a policy gets values and returns values; what it needs to know comes in as `Context`, and what
//! that lacks it asks for (`Verdict::Ask`). `gateway` runs one `Chain` a listener. What must stay true: a
//! policy's error is a refusal, and only `Chain` makes a `Permitted`.
//!
//! No match over `Endpoint` or `Class` has a wildcard here, so that a new endpoint does not compile
//! until every policy says what it thinks of it.
#![deny(clippy::wildcard_enum_match_arm)]

pub mod authz;
pub mod builds;
pub mod cases;
mod chain;
pub mod conservative;
mod contents;
mod deed;
pub mod edit;
pub mod facts;
mod found;
mod host_paths;
pub mod layout;
pub mod limits;
pub mod mount_table;
mod named;
pub mod namespace;
mod ports;
pub mod redirect;
#[cfg(feature = "rego")]
pub mod rego;
pub mod rehearsal;
pub mod temporary;
mod trusted;
mod versions;

use std::borrow::Cow;
use std::collections::BTreeSet;

pub use chain::{Chain, Deciding, Finding, Later, Link, Permitted, Step};
pub use contents::{Contents, FileContent};
pub use deed::{Deed, JobDeed, Slot, WantedGrant, WantedJob, WantedLogin, WantedPull};
pub use edit::Edit;
pub use facts::{Fact, Facts, Question};
pub use found::{FindingDetail, RequestPart, RuleFinding};
pub use named::{Name, ResourceKind};
pub use trusted::{Installed, TrustAnchor, TrustFact, TrustQuestion};

use crate::api::dockerfile::AskedBuild;
use crate::api::endpoint::Versions;
use crate::api::{Row, Typed};
use crate::auth::Identity;
use crate::config::{self, Invalid, PolicyKind};
use crate::wire::head::Lines;
use crate::wire::tar::TarEntry;

/// What a policy may know besides the call.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub identity: &'a Identity,
    pub listener: &'a str,
    pub engine: Versions,
    /// What was asked for and answered so far.
    pub facts: &'a Facts,
    /// Whether every reason against a call is wanted, with what was found, and not only the first:
    /// somebody audits.
    pub thorough: bool,
    /// The policies behind the one that is asked; the chain fills it in.
    pub later: Later<'a>,
}

pub trait Policy: Send + Sync + std::fmt::Debug {
    /// As in the configuration: `conservative`.
    fn name(&self) -> &str;

    /// Judges a call. Policies are asked in the listener's order, each about the call as the ones before have changed
    /// it. One that asks, or wants something done, is called again with what came of it.
    fn request(&self, call: &Typed, cx: &Context<'_>) -> Verdict;

    /// Whether a call can be refused for what it asks. Else what cannot be known does not keep it from going on.
    fn judges(&self) -> bool {
        true
    }

    /// The slot that a call must have. Asked when every policy has let it through, so that none is held by what is refused;
    /// a call that finds no slot is refused all the same.
    fn slot(&self, _call: &Typed, _cx: &Context<'_>) -> Option<Slot> {
        None
    }

    /// Takes off a container's create body what this policy puts on every container, so that an earlier
    /// policy sees of an existing container what its maker asked for.
    fn strip(&self, _made: &mut crate::api::doc::Value, _cx: &Context<'_>) {}

    /// What it refers to by name, and so belongs to the operator.
    fn names(&self) -> Vec<Name> {
        Vec::new()
    }

    /// Whether `entry` wants the entries of the archive that this call sends; others stream past.
    fn reads_entries(&self, _call: &Typed, _cx: &Context<'_>) -> bool {
        false
    }

    /// Judges one entry of an archive before the engine has its header. What went before is with the engine by then.
    fn entry(
        &self,
        _call: &Typed,
        _entry: &TarEntry,
        _cx: &Context<'_>,
    ) -> Result<(), Vec<Reason>> {
        Ok(())
    }

    /// Whether `file` wants files of the archive that a call to this route sends, or is answered with.
    fn reads_files(&self, _row: &Row) -> bool {
        false
    }

    /// Whether it wants this one, which then is held back until it is whole.
    fn wants_file(&self, _call: &Typed, _entry: &TarEntry) -> Result<bool, Reason> {
        Ok(false)
    }

    /// What goes on in the place of a file that it wanted. None: the file as it is.
    fn file(
        &self,
        _call: &Typed,
        _entry: &TarEntry,
        _content: &[u8],
        _cx: &Context<'_>,
    ) -> Result<Option<Vec<u8>>, Verdict> {
        Ok(None)
    }

    /// Judges an archive that is loaded by all that it holds, before its end goes on.
    fn contents(&self, _call: &Typed, _contents: &Contents) -> Result<(), Reason> {
        Ok(())
    }

    /// Whether `dockerfile` wants the Dockerfiles of builds.
    fn reads_dockerfile(&self) -> bool {
        false
    }

    /// Judges the Dockerfile of a build before the engine has it, as the policies in front have changed it.
    fn dockerfile(&self, _build: &AskedBuild, _file: &[u8], _cx: &Context<'_>) -> Verdict {
        Verdict::pass()
    }

    /// Judges whether the engine may ask the client of a build for its credentials for this registry.
    fn credentials(&self, _host: &str, _cx: &Context<'_>) -> Verdict {
        Verdict::pass()
    }

    /// The Dockerfile as the engine gets it, once nothing speaks against it. None: as it is.
    fn dockerfile_sent(
        &self,
        _build: &AskedBuild,
        _file: &[u8],
        _cx: &Context<'_>,
    ) -> Result<Option<Vec<u8>>, Reason> {
        Ok(None)
    }

    /// How much of an answer to this route `answer` wants; others stream past.
    fn reads_answer(&self, _row: &Row, _cx: &Context<'_>) -> Reads {
        Reads::Nothing
    }

    /// Whether this body of an answer that it reads whole may concern it: others are not read as JSON.
    fn reads_body(&self, _row: &Row, _body: &[u8]) -> bool {
        true
    }

    /// Looks at one JSON value of a stream (an event, a line of progress), which it may change or drop.
    fn item(&self, _call: &Typed, _item: &mut serde_json::Value, _cx: &Context<'_>) -> Item {
        Item::Keep
    }

    /// Whether `text` has something to say.
    fn shows_texts(&self) -> bool {
        false
    }

    /// How a text that the engine's builder says is shown to its caller: the name of a step, an error. None: as it is.
    fn text(&self, _text: &str, _cx: &Context<'_>) -> Option<String> {
        None
    }

    /// Where it shows its callers, and the policies in front of it, another engine than there is.
    fn view(&self) -> Option<&dyn View> {
        None
    }

    /// Judges an answer and may change it. Policies are asked in reverse order.
    fn answer(&self, _answer: &mut Answer<'_>, _cx: &Context<'_>) -> Verdict {
        Verdict::pass()
    }
}

/// Another engine than there is, for the policies in front of the one that makes it up.
pub trait View: Send + Sync {
    /// Whose it is, for the log.
    fn owner(&self, cx: &Context<'_>) -> Option<String>;

    /// What is known there, from what `cx` knows of the engine itself.
    fn look(&self, question: &Question, cx: &Context<'_>) -> Look;

    /// Whether it is by a registry of ours that the engine pulls and pushes, where it comes to this host.
    fn is_own_registry(&self, host: &str) -> bool;

    /// What a build may do there that asks for a token with these scopes, and pushes these images.
    fn token(
        &self,
        scopes: &[&str],
        pushed: &BTreeSet<String>,
        cx: &Context<'_>,
    ) -> Result<WantedGrant, Reason>;
}

#[derive(Debug, PartialEq)]
pub enum Look {
    /// What the engine itself would say.
    Same,
    Known(Fact),
    /// Not without knowing this of the engine.
    Ask(Vec<Question>),
}

#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// Nothing speaks against it, with these changes. An answer is changed in place: it has none.
    Pass(Vec<Edit>),
    /// Not without knowing this.
    Ask(Vec<Question>),
    /// Not before this is done.
    Do(Vec<Deed>),
    /// One reason at least; the client is told the first.
    Deny(Vec<Reason>),
    /// The policy answers by itself, and the engine gets no call. Not to an answer, which there is already.
    Answer(Reply),
}

/// What a policy answers in the engine's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub json: Option<serde_json::Value>,
}

/// Why not: the same id in the client's message, the access log, the metrics and the docs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Stable, such as `container.privileged`.
    pub rule: Cow<'static, str>,
    /// Where in the request, such as `HostConfig.Privileged`.
    pub field: Cow<'static, str>,
    /// What is allowed.
    pub why: Cow<'static, str>,
    pub hint: Cow<'static, str>,
    pub status: u16,
    /// What was there instead, where it may stand in a log.
    pub found: Option<Box<FindingDetail>>,
}

/// How much of an answer a policy wants to see. An error (status 400 or more) in JSON is shown whole to whoever wants to
/// see anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reads {
    #[default]
    Nothing,
    /// Of one that is an error in JSON, the whole; of others nothing.
    Errors,
    /// Its status, before anything is passed on; the body streams past.
    Status,
    /// Its JSON values, one by one while they come. For streams of them.
    Items,
    /// All of it. Not for streams.
    Whole,
}

/// What becomes of one value of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    Keep,
    Drop,
}

/// The engine's answer, as far as policies see it.
#[derive(Clone, Debug)]
pub struct Answer<'c> {
    /// What was asked, as the engine got it.
    pub call: &'c Typed,
    pub status: u16,
    /// As the engine sent them.
    pub headers: &'c Lines,
    pub api_version: Option<String>,
    pub json: Option<serde_json::Value>,
    /// A body that is no JSON.
    pub text: Vec<u8>,
}

impl<'a> Context<'a> {
    pub fn new(
        identity: &'a Identity,
        listener: &'a str,
        engine: Versions,
        facts: &'a Facts,
    ) -> Context<'a> {
        let later = Later::default();
        Context { identity, listener, engine, facts, thorough: false, later }
    }

    /// Has this done, and passes once it is; what could not be done is a refusal.
    pub fn once(&self, deed: Deed) -> Verdict {
        match self.facts.outcome(&deed) {
            None => Verdict::Do(vec![deed]),
            Some(Err(why)) => {
                let why = format!("{deed} could not be done: {why}");
                Verdict::deny(Reason {
                    status: 502,
                    ..Reason::new("policy.deed", "request", why, "")
                })
            }
            Some(Ok(())) => Verdict::pass(),
        }
    }
}

impl Verdict {
    /// Nothing speaks against it, and nothing is changed.
    pub fn pass() -> Verdict {
        Verdict::Pass(Vec::new())
    }

    pub fn deny(reason: Reason) -> Verdict {
        Verdict::Deny(vec![reason])
    }
}

/// Refused for these reasons, or allowed without one.
impl From<Result<(), Reason>> for Verdict {
    fn from(result: Result<(), Reason>) -> Verdict {
        result.map_or_else(Verdict::deny, |()| Verdict::pass())
    }
}

impl Reason {
    /// A refusal by a rule: 403.
    pub fn new(
        rule: impl Into<Cow<'static, str>>,
        field: impl Into<Cow<'static, str>>,
        why: impl Into<Cow<'static, str>>,
        hint: impl Into<Cow<'static, str>>,
    ) -> Reason {
        Reason {
            rule: rule.into(),
            field: field.into(),
            why: why.into(),
            hint: hint.into(),
            status: 403,
            found: None,
        }
    }

    /// The sentence that the client prints.
    pub fn message(&self) -> String {
        if self.field.is_empty() {
            return self.why.to_string();
        }
        let Reason { rule, field, why, hint, .. } = self;
        let hint = if hint.is_empty() { String::new() } else { format!(". hint: {hint}") };
        format!("dockgate: {field}: {why} (rule {rule}){hint}")
    }
}

/// Rules of the operator's own for what is no call of Docker's API.
pub trait OwnRules: Send + Sync + std::fmt::Debug {
    /// What they want changed, if anything; or why it is refused.
    fn judge(&self, input: &serde_json::Value) -> Result<Option<serde_json::Value>, Vec<String>>;
}

/// Those of a push rule.
pub fn own_rules(settings: &config::PushPolicy) -> Result<Box<dyn OwnRules>, Invalid> {
    #[cfg(feature = "rego")]
    return Ok(Box::new(rego::Values::new(settings)?));
    #[cfg(not(feature = "rego"))]
    Err(without_rego(&settings.file))
}

#[cfg(not(feature = "rego"))]
fn without_rego(file: &config::File) -> Invalid {
    let hint = "build with the default features of cargo";
    file.invalid("this dockgate was built without `rego`", hint)
}

/// A new policy is a line here. Files that the configuration names are read.
pub fn build(
    policy: &config::Policy,
    around: &conservative::Surroundings,
) -> Result<Box<dyn Policy>, Invalid> {
    let name = &policy.name;
    Ok(match &policy.kind {
        PolicyKind::Conservative(settings) => {
            Box::new(conservative::Conservative::new(name, settings, around)?)
        }
        PolicyKind::Limits(settings) => Box::new(limits::Limits::new(name, settings)),
        #[cfg(feature = "rego")]
        PolicyKind::Rego(settings) => Box::new(rego::Rego::new(name, settings, around)?),
        #[cfg(not(feature = "rego"))]
        PolicyKind::Rego(settings) => return Err(without_rego(&settings.file)),
        PolicyKind::Authz(_) => Box::new(authz::Authz::new(name)),
        PolicyKind::Namespace(settings) => Box::new(namespace::Namespaces::new(name, settings)?),
        PolicyKind::TemporaryListener(settings) => {
            Box::new(temporary::TemporaryListeners::new(name, settings, around))
        }
        PolicyKind::TransparentCache(settings) => {
            Box::new(redirect::TransparentCaches::new(name, settings))
        }
    })
}
