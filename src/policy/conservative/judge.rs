//! One call, followed through the rules.
//!
//! `Conservative` makes a `Judge` for each call; `state` makes another for each thing that the call uses.
//! What must stay true: every value of the call that is not zero meets a rule or is a reason; a rule that
//! lacks a fact asks for it, and nothing is allowed meanwhile.

mod calls;
mod here;
mod names;
mod subject;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::pinned::Pinned;

use super::rules::{Allowed, Node, Requirement, Rule};
use super::{Conservative, build, defaults, host, own, plain, published, registry, seen, state};
use crate::api::Endpoint;
use crate::api::doc::Value;
use crate::api::grammar::image;
use crate::api::grammar::reference::Reference;
use crate::policy::edit::{Edit, Segment};
use crate::policy::{Context, Question, Reason, RequestPart, RuleFinding};

/// Of one call: a create body may name many volumes and containers, and each of these others.
const MOST_QUESTIONS: usize = 256;
/// As many digits of an id as clients show and send.
const SHORT_ID: usize = 12;
const TOO_MANY: &str = "facts.too-many";
/// More than a record of the access log has room for: it says how many are left out.
const MOST_REASONS: usize = 1024;

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Judge<'j> {
    pub reasons: Vec<Reason>,
    pub asks: HashSet<Question>,
    pub corrections: Vec<Correction>,
    /// What was written in a create body where an id is sent.
    pub pinned: Vec<Pinned>,
    /// What was found of containers, by id. One that is still being judged counts as allowed: it refers to
    /// itself.
    pub seen: Vec<(String, Judgement)>,
    /// The whole body, for rules that look at more than their own value.
    body: Option<&'j Value>,
    /// Something that exists is judged: what it is made of is as the engine tells it.
    pub is_made: bool,
    /// What it refers to may be gone, and may be named: it is only to end.
    pub is_to_end: bool,
    /// The engine would have nothing to do: what is to go is not there.
    pub is_done: bool,
    /// How many things lead to this one.
    pub depth: usize,
    /// Where in the container something of the host is mounted that is sure to be read-only as a whole.
    pub recursive: Vec<PathBuf>,
    /// By whose rules it is judged.
    operation: &'static str,
    /// Why something that the value in hand names could not have been made here.
    pub causes: Vec<RuleFinding>,
    /// Which elements of the list in hand are against the rule, in their order.
    failing: Vec<usize>,
    /// What came of each thing that was judged already, and why: a call may name one ten thousand times.
    judged: HashMap<Question, (Judgement, Vec<RuleFinding>)>,
    /// The paths that rules of mounts are about, once they are known.
    pub grounds: Option<Result<Arc<host::Grounds>, Judgement>>,
    /// What came of each path of the host, by whether it is only read.
    pub paths: HashMap<(String, bool), Result<host::Real, Judgement>>,
    asks_too_much: bool,
    path: Vec<PathStep<'j>>,
}

/// A change of the call, for when nothing speaks against it.
#[derive(Debug)]
pub(super) enum Correction {
    Edit(Edit),
    Pin(Pin),
    /// The bind of this index goes, and this is among the mounts instead.
    Mount(usize, Value),
}

/// The id of a network that was judged, beside its name.
#[derive(Debug)]
pub(super) enum Pin {
    /// A container's place in a network, by the key that it has: in the network of this id, whatever its name means
    /// when the container starts.
    Endpoint { key: String, id: String },
    /// Where the body has no places: the one that `NetworkMode` stands for.
    OnlyEndpoint { name: String, id: String },
    /// The place of a `connect`.
    Connect { id: String },
}

#[derive(Clone, Copy, Debug)]
enum PathStep<'j> {
    Key(&'j str),
    /// A key of a map.
    Each(&'j str),
    Index(usize),
    Query(&'static str),
    Header(&'static str),
    Name(&'j str),
}

/// Whether a predicate holds.
#[derive(Clone, Debug)]
pub(super) enum Judgement {
    Yes,
    No,
    /// Not without an answer, which was asked for.
    Unknown,
    /// What exists speaks against it, for this reason.
    Because(String),
    /// It is not there: the engine's words for that.
    Absent(String),
}

impl PathStep<'_> {
    fn is(&self, key: &str) -> bool {
        matches!(self, PathStep::Key(known) if *known == key)
    }
}

impl Judgement {
    /// With the name of what speaks against it.
    pub(super) fn of(self, name: &str) -> Judgement {
        match self {
            Judgement::Because(why) => Judgement::Because(format!("`{name}` {why}")),
            other => other,
        }
    }
}

impl<'j> Judge<'j> {
    /// Another one, for something that exists already and that was found on the way of this one.
    pub(super) fn of_made<'i>(&self, endpoint: Endpoint) -> Judge<'i> {
        let (seen, is_to_end, depth) = (self.seen.clone(), self.is_to_end, self.depth + 1);
        let operation = endpoint.id();
        Judge { seen, is_to_end, depth, is_made: true, operation, ..Judge::default() }
    }

    /// Wants to know something. A call that refers to too much is refused.
    pub(super) fn ask(&mut self, question: Question, cx: &Context<'_>) {
        super::count();
        if self.asks.len() + cx.facts.len() < MOST_QUESTIONS {
            self.asks.insert(question);
        } else if !std::mem::replace(&mut self.asks_too_much, true) {
            let why = format!("refers to more than {MOST_QUESTIONS} other things, directly or not");
            self.push(Reason::new(TOO_MANY, self.here(), why, ""));
        }
    }

    pub(super) fn push(&mut self, reason: Reason) {
        if self.reasons.len() < MOST_REASONS {
            self.reasons.push(reason);
        }
    }

    /// Judges a thing once, however often the call names it.
    pub(super) fn once(
        &mut self,
        thing: Question,
        judge: impl FnOnce(&mut Self) -> Judgement,
    ) -> Judgement {
        if let Some((holds, causes)) = self.judged.get(&thing) {
            if self.causes.is_empty() {
                self.causes.clone_from(causes);
            }
            return holds.clone();
        }
        let before = self.causes.len();
        let holds = judge(self);
        let causes = self.causes.get(before..).unwrap_or_default().to_vec();
        self.judged.insert(thing, (holds.clone(), causes));
        holds
    }

    fn not_own(&mut self, id: &'static str, holds: Judgement, cx: &Context<'_>) {
        let why = match holds {
            Judgement::Yes | Judgement::Unknown => return,
            Judgement::Absent(words) => return self.push(absent(words)),
            Judgement::No => "could not have been made here".to_owned(),
            Judgement::Because(why) => why,
        };
        let hint =
            "what was made elsewhere with more than this listener allows cannot be used from here";
        self.refuse(Reason::new(id, self.here(), why, hint), None, &Value::Null, cx);
    }

    fn walk(&mut self, with: &Conservative, node: &'j Node, value: &'j Value, cx: &Context<'_>) {
        if let Some(rule) = &node.rule {
            if matches!(rule.must, Requirement::BeDropped) {
                return self.drop_here();
            }
            // What is judged part by part is no reason as a whole.
            let is_container = node.looks_inside() && matches!(rule.must, Requirement::BeAnything);
            if !is_container {
                self.whole(with, Some(self.rule_of_made(with, rule)), value, cx);
            }
        }
        // Of a whole body that nothing is said about, the fields are named.
        let is_body = self.path.is_empty() && matches!(value, Value::Object(_));
        let names_fields = is_body && node.rule.is_none();
        if !node.looks_inside() && !names_fields {
            if node.rule.is_none() {
                self.whole(with, None, value, cx);
            }
            return;
        }
        match value {
            Value::Object(entries) => {
                for (key, value) in entries {
                    self.path.push(match node.each {
                        Some(_) => PathStep::Each(key),
                        None => PathStep::Key(key),
                    });
                    match node.field(key).or(node.each.as_deref()) {
                        Some(node) => self.walk(with, node, value, cx),
                        None => self.whole(with, None, value, cx),
                    }
                    self.path.pop();
                }
            }
            Value::List(items) => {
                for (index, value) in items.iter().enumerate() {
                    self.path.push(PathStep::Index(index));
                    match node.each.as_deref() {
                        Some(node) => self.walk(with, node, value, cx),
                        None => self.whole(with, None, value, cx),
                    }
                    self.path.pop();
                }
            }
            Value::Null => {}
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                if node.rule.is_none() {
                    self.whole(with, None, value, cx);
                }
            }
        }
    }

    /// Of a container that there is nobody can tell whether a mount was asked for as a bind.
    fn rule_of_made<'r>(&self, with: &'r Conservative, rule: &'r Rule) -> &'r Rule {
        let is_mounts = matches!(self.path.as_slice(), [host, mounts] if host.is("HostConfig") && mounts.is("Mounts"));
        match &with.rules.mounts_of_made {
            Some(either) if self.is_made && is_mounts => either,
            _ => rule,
        }
    }

    /// Judges a value by its rule, or, where there is none, by the closed world.
    fn whole(&mut self, with: &Conservative, rule: Option<&Rule>, value: &Value, cx: &Context<'_>) {
        let Some(rule) = rule else {
            if !value.is_zero() {
                let why = "is not allowed by the rules of this listener";
                let reason = Reason::new("rules.unlisted", self.here(), why, "leave it out");
                self.refuse(reason, None, value, cx);
            }
            return;
        };
        self.causes.clear();
        self.failing.clear();
        let because = match &rule.must {
            Requirement::BeAnything | Requirement::BeDropped => return,
            Requirement::BeZero if value.is_zero() => return,
            Requirement::BeNull if *value == Value::Null => return,
            Requirement::BeZero | Requirement::BeNull => None,
            Requirement::Be(_) if value.is_zero() && !rule.demands() => return,
            Requirement::Be(allowed) => match self.any(with, allowed, value, cx) {
                Judgement::Yes | Judgement::Unknown => return,
                Judgement::No => None,
                Judgement::Because(why) => Some(why),
                Judgement::Absent(words) if self.is_named_in_a_whole() => Some(words),
                Judgement::Absent(words) => return self.push(absent(words)),
            },
        };
        let why = match (because, &rule.must, value) {
            (Some(because), ..) => because,
            (None, Requirement::BeZero, Value::Bool(_)) if rule.why == "must not be set" => {
                "must be false".to_owned()
            }
            (None, ..) => rule.why.clone(),
        };
        let subject = self.subject(value);
        let reason = Reason::new(rule.id.clone(), subject, why, rule.hint.clone());
        self.refuse(reason, Some(&rule.must), value, cx);
    }

    /// Takes a reason down, with what was found where somebody audits.
    fn refuse(
        &mut self,
        mut reason: Reason,
        must: Option<&Requirement>,
        value: &Value,
        cx: &Context<'_>,
    ) {
        if cx.thorough {
            let part = match self.path.first() {
                Some(PathStep::Query(_)) => RequestPart::Query,
                Some(PathStep::Header(_)) => RequestPart::Header,
                Some(PathStep::Name(_)) => RequestPart::Path,
                Some(PathStep::Key(_) | PathStep::Each(_) | PathStep::Index(_)) | None => {
                    RequestPart::Body
                }
            };
            let found = RuleFinding {
                operation: self.operation.into(),
                part,
                place: self.place(),
                found: must.and_then(|must| seen::value(must, value, &self.failing)),
                causes: std::mem::take(&mut self.causes),
            };
            reason.found = Some(found.into());
        }
        self.push(reason);
    }

    /// Whether one of the alternatives holds; for lists of texts, for each of them.
    fn any(
        &mut self,
        with: &Conservative,
        allowed: &[Allowed],
        value: &Value,
        cx: &Context<'_>,
    ) -> Judgement {
        let is_default = |one: &Allowed| matches!(one, Allowed::EngineDefault);
        if allowed.iter().any(is_default) {
            match defaults::holds(self, value, cx) {
                Judgement::No if allowed.iter().all(is_default) => return Judgement::No,
                Judgement::No => {}
                holds => return holds,
            }
        }
        match value {
            Value::List(items) if allowed.iter().all(Allowed::is_of_elements) => {
                let mut all = Judgement::Yes;
                for (index, item) in items.iter().enumerate() {
                    self.path.push(PathStep::Index(index));
                    let one = self.one(with, allowed, item, cx);
                    self.path.pop();
                    all = match (one, all) {
                        (Judgement::Yes, all) => all,
                        (Judgement::Unknown, Judgement::Yes) => Judgement::Unknown,
                        (Judgement::Unknown, all) => all,
                        (no, _) if !cx.thorough => return no,
                        (no, all) => {
                            self.failing.push(index);
                            match all {
                                Judgement::Yes | Judgement::Unknown => no,
                                all => all,
                            }
                        }
                    };
                }
                all
            }
            value => self.one(with, allowed, value, cx),
        }
    }

    fn one(
        &mut self,
        with: &Conservative,
        allowed: &[Allowed],
        value: &Value,
        cx: &Context<'_>,
    ) -> Judgement {
        let mut best = Judgement::No;
        for alternative in allowed {
            match self.holds(with, alternative, value, cx) {
                Judgement::Yes => return Judgement::Yes,
                Judgement::No => {}
                other => best = other,
            }
        }
        best
    }

    fn holds(
        &mut self,
        with: &Conservative,
        allowed: &Allowed,
        value: &Value,
        cx: &Context<'_>,
    ) -> Judgement {
        super::count();
        // Null in a list of strings is Go's empty string.
        let text = value.as_str().unwrap_or_default();
        match allowed {
            Allowed::RegistryOfName => registry::judge(self, with, image::host_of_name(text), cx),
            Allowed::RegistryOfNames => build::all_registries(self, with, text.split(','), cx),
            Allowed::RegistryAddress => {
                registry::judge(self, with, image::host_of_address(text), cx)
            }
            Allowed::BuildSource => build::source(self, with, value, cx),
            Allowed::Exporter => build::exporter(self, with, value, cx),
            Allowed::Cache => build::cache(self, with, value, cx),
            Allowed::Ports(most) => published::holds(self, with, *most, value, cx),
            Allowed::NewNetwork => self.new_network(text, cx),
            Allowed::OwnContainer(prefix) => match Reference::parse(text, prefix) {
                // A prefix with nothing behind it names nobody.
                Some(reference) if reference.name.is_empty() && !prefix.is_empty() => Judgement::No,
                Some(reference) if self.is_made => {
                    self.made_with(with, &reference, !prefix.is_empty(), cx)
                }
                Some(reference) => {
                    let mut holds =
                        state::container(self, with, reference.name, cx).of(reference.name);
                    if !prefix.is_empty() {
                        holds = own::neighbour(with, holds, reference.name, cx);
                    }
                    let id = state::id_of_container(reference.name, cx);
                    if let (Judgement::Yes, Some(id)) = (&holds, id) {
                        self.pin_container(text, &reference, &id);
                    }
                    holds
                }
                None => Judgement::No,
            },
            Allowed::OwnNetwork => self.networks(with, value, cx),
            Allowed::NamedVolume | Allowed::Bind | Allowed::OwnSocket => {
                self.mount(with, allowed, value, cx)
            }
            // Where nobody has anything but their own, there is nothing of others to take.
            Allowed::FiltersWith(_) if cx.later.is_own() => Judgement::Yes,
            Allowed::NoHostMounts => yes(!self.body.is_some_and(host::is_mounted)),
            Allowed::Retries(most) => self.retries(*most, value),
            plain => yes(plain::holds(plain, value)),
        }
    }

    fn mount(
        &mut self,
        with: &Conservative,
        allowed: &Allowed,
        value: &Value,
        cx: &Context<'_>,
    ) -> Judgement {
        let mount = match value {
            Value::Object(_) => crate::api::grammar::mounts::of_mount(0, value),
            _ => crate::api::grammar::mounts::of_bind(0, value),
        };
        host::mount(self, with, allowed, &mount, cx)
    }

    /// `on-failure` without a number tries for ever: it gets one.
    fn retries(&mut self, most: i64, policy: &Value) -> Judgement {
        let count = policy.get("MaximumRetryCount").and_then(Value::as_i64).unwrap_or(0);
        let is_endless =
            policy.get("Name").and_then(Value::as_str) == Some("on-failure") && count == 0;
        if is_endless && !self.is_made {
            let mut steps = self.own_path();
            steps.push(Segment::Key("MaximumRetryCount".into()));
            self.edit(Edit::Body(steps, Some(Value::Number(most.into()))));
        }
        yes((0..=most).contains(&count))
    }
}

pub(super) fn yes(holds: bool) -> Judgement {
    if holds { Judgement::Yes } else { Judgement::No }
}

/// The engine's own answer to a name that means nothing.
fn absent(words: String) -> Reason {
    Reason { status: 404, ..Reason::new("name.absent", "", words, "") }
}
