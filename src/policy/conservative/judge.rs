//! One call, followed through the rules.
//!
//! `Conservative` makes a `Judge` for each call; `state` makes another for each thing that the call uses.
//! What must stay true: every value of the call that is not zero meets a rule or is a reason; a rule that
//! lacks a fact asks for it, and nothing is allowed meanwhile.

use super::registry;
use super::rules::{Allowed, Must, Node, Operation, PathRule, Rule};
use super::{Conservative, host, plain, state};
use crate::api::doc::{self, Value};
use crate::api::endpoint::Resource;
use crate::api::shape::Kind;
use crate::api::{Row, Typed};
use crate::policy::{Context, Question, Reason};

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Judge<'j> {
    pub reasons: Vec<Reason>,
    pub asks: Vec<Question>,
    pub edits: Vec<Edit>,
    /// What was found of containers, by id. One that is still being judged counts as allowed: it refers to
    /// itself.
    pub seen: Vec<(String, Holds)>,
    /// The whole body, for rules that look at more than their own value.
    body: Option<&'j Value>,
    /// Something that exists is judged: what it is made of is as the engine tells it.
    pub is_made: bool,
    path: Vec<Step<'j>>,
}

/// A change of the call, for when nothing speaks against it.
#[derive(Debug)]
pub(super) enum Edit {
    Name(usize, String),
    Body(Vec<OwnStep>, Option<Value>),
}

#[derive(Clone, Copy, Debug)]
enum Step<'j> {
    Key(&'j str),
    Index(usize),
    Query(&'static str),
    Header(&'static str),
    Name(&'j str),
}

#[derive(Clone, Debug)]
pub(super) enum OwnStep {
    Key(String),
    Index(usize),
}

/// Whether a predicate holds.
#[derive(Clone, Debug)]
pub(super) enum Holds {
    Yes,
    No,
    /// Not without an answer, which was asked for.
    Unknown,
    /// What exists speaks against it, for this reason.
    Because(String),
}

impl Holds {
    /// With the name of what speaks against it.
    pub(super) fn of(self, name: &str) -> Holds {
        match self {
            Holds::Because(why) => Holds::Because(format!("`{name}` {why}")),
            other => other,
        }
    }
}

impl<'j> Judge<'j> {
    /// For something that exists already; `seen` is being judged further out.
    pub(super) fn of_made(seen: Vec<(String, Holds)>) -> Judge<'j> {
        Judge { seen, is_made: true, ..Judge::default() }
    }

    /// Follows a call through the rules of its operation.
    pub(super) fn call(
        &mut self,
        with: &Conservative,
        operation: &'j Operation,
        call: &'j Typed,
        cx: &Context<'_>,
    ) {
        let row = call.row();
        self.path_names(with, operation, row, call, cx);
        for (name, value) in call.query().iter() {
            let Some(param) = row.query.iter().find(|param| param.name == name) else { continue };
            self.path.push(Step::Query(param.name));
            let rule = operation.query.iter().find(|(known, _)| *known == param.name);
            let value = query_value(value, param.json);
            self.whole(with, rule.map(|(_, rule)| rule), &value, cx);
            self.path.pop();
        }
        // What must be there is missed when it is not.
        for (name, rule) in operation.query.iter().filter(|(_, rule)| rule.demands()) {
            if call.query().get(name).is_none() {
                self.path.push(Step::Query(name));
                self.whole(with, Some(rule), &Value::Null, cx);
                self.path.pop();
            }
        }
        for (name, value) in call.headers() {
            // The client's name for itself means nothing to the engine.
            let Some(header) = row.headers.iter().find(|header| header.name == name) else {
                continue;
            };
            self.path.push(Step::Header(header.name));
            let rule = operation.headers.iter().find(|(known, _)| *known == header.name);
            let value = Value::String(String::from_utf8_lossy(value).into_owned());
            self.whole(with, rule.map(|(_, rule)| rule), &value, cx);
            self.path.pop();
        }
        if let Some(doc) = call.doc() {
            self.body(with, &operation.body, &doc.root, cx);
        }
    }

    /// Follows a body through its rules.
    pub(super) fn body(
        &mut self,
        with: &Conservative,
        node: &'j Node,
        body: &'j Value,
        cx: &Context<'_>,
    ) {
        self.body = Some(body);
        self.walk(with, node, body, cx);
    }

    fn path_names(
        &mut self,
        with: &Conservative,
        operation: &'j Operation,
        row: &'static Row,
        call: &'j Typed,
        cx: &Context<'_>,
    ) {
        let (Some(rule), Some(name)) = (&operation.path, call.names().first()) else { return };
        self.path.push(Step::Name(name));
        match rule {
            PathRule::Is(rule) => self.whole(with, Some(rule), &Value::String(name.clone()), cx),
            PathRule::Own => match row.path_names.first() {
                Some(Resource::Container) => {
                    let holds = state::container(self, with, name, cx);
                    if let (Holds::Yes, Some(id)) = (&holds, state::id_of(name, cx)) {
                        self.edits.push(Edit::Name(0, id));
                    }
                    self.not_own("container.not-own", holds);
                }
                Some(Resource::Network) => {
                    let holds = state::network(self, with, name, cx);
                    self.not_own("network.not-own", holds);
                }
                Some(Resource::Volume) => {
                    let holds = state::volume(self, with, name, cx);
                    self.not_own("volume.not-own", holds);
                }
                Some(Resource::Exec) => {
                    if let Some(reason) = state::exec(self, name, cx) {
                        self.reasons.push(reason);
                    }
                }
                _ => self.not_own("rules.own", Holds::No),
            },
        }
        self.path.pop();
    }

    fn not_own(&mut self, id: &'static str, holds: Holds) {
        let why = match holds {
            Holds::Yes | Holds::Unknown => return,
            Holds::No => "could not have been made here".to_owned(),
            Holds::Because(why) => why,
        };
        let hint =
            "what was made elsewhere with more than this listener allows cannot be used from here";
        self.reasons.push(Reason::new(id, self.here(), why, hint));
    }

    fn walk(&mut self, with: &Conservative, node: &'j Node, value: &'j Value, cx: &Context<'_>) {
        if let Some(rule) = &node.rule {
            if matches!(rule.must, Must::BeDropped) {
                return self.drop_here();
            }
            // What is judged part by part is no reason as a whole.
            let is_container = node.looks_inside() && matches!(rule.must, Must::BeAnything);
            if !is_container {
                self.whole(with, Some(rule), value, cx);
            }
        }
        if !node.looks_inside() {
            if node.rule.is_none() {
                self.whole(with, None, value, cx);
            }
            return;
        }
        match value {
            Value::Object(entries) => {
                for (key, value) in entries {
                    self.path.push(Step::Key(key));
                    match node.field(key).or(node.each.as_deref()) {
                        Some(node) => self.walk(with, node, value, cx),
                        None => self.whole(with, None, value, cx),
                    }
                    self.path.pop();
                }
            }
            Value::List(items) => {
                for (index, value) in items.iter().enumerate() {
                    self.path.push(Step::Index(index));
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

    /// Judges a value by its rule, or, where there is none, by the closed world.
    fn whole(&mut self, with: &Conservative, rule: Option<&Rule>, value: &Value, cx: &Context<'_>) {
        let Some(rule) = rule else {
            if !value.is_zero() {
                let why = "is not allowed by the rules of this listener";
                let mut reason = Reason::new("rules.unlisted", self.here(), why, "leave it out");
                reason.found = found(value);
                self.reasons.push(reason);
            }
            return;
        };
        let because = match &rule.must {
            Must::BeAnything | Must::BeDropped => return,
            Must::BeZero if value.is_zero() => return,
            Must::BeNull if *value == Value::Null => return,
            Must::BeZero | Must::BeNull => None,
            Must::Be(_) if value.is_zero() && !rule.demands() => return,
            Must::Be(allowed) => match self.any(with, allowed, value, cx) {
                Holds::Yes | Holds::Unknown => return,
                Holds::No => None,
                Holds::Because(why) => Some(why),
            },
        };
        let why = match (because, &rule.must, value) {
            (Some(because), ..) => because,
            (None, Must::BeZero, Value::Bool(_)) if rule.why == "must not be set" => {
                "must be false".to_owned()
            }
            (None, ..) => rule.why.clone(),
        };
        let mut reason = Reason::new(rule.id.clone(), self.here(), why, rule.hint.clone());
        reason.found = found(value);
        self.reasons.push(reason);
    }

    /// Whether one of the alternatives holds; for lists of texts, for each of them.
    fn any(
        &mut self,
        with: &Conservative,
        allowed: &[Allowed],
        value: &Value,
        cx: &Context<'_>,
    ) -> Holds {
        let takes_whole = |one: &Allowed| {
            !matches!(
                one,
                Allowed::OneOf(_)
                    | Allowed::Matches(_)
                    | Allowed::Outside(_)
                    | Allowed::Capabilities(_)
                    | Allowed::RegistryOfName
                    | Allowed::RegistryAddress
                    | Allowed::OwnContainer(_)
                    | Allowed::Changes(_)
                    | Allowed::NamedVolume
                    | Allowed::Bind
                    | Allowed::OwnSocket
            )
        };
        match value {
            Value::List(items) if !allowed.iter().any(takes_whole) => {
                let mut all = Holds::Yes;
                for (index, item) in items.iter().enumerate() {
                    self.path.push(Step::Index(index));
                    let one = self.one(with, allowed, item, cx);
                    self.path.pop();
                    match one {
                        Holds::Yes => {}
                        Holds::Unknown => all = Holds::Unknown,
                        no => return no,
                    }
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
    ) -> Holds {
        let mut best = Holds::No;
        for alternative in allowed {
            match self.holds(with, alternative, value, cx) {
                Holds::Yes => return Holds::Yes,
                Holds::No => {}
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
    ) -> Holds {
        // Null in a list of strings is Go's empty string.
        let text = value.as_str().unwrap_or_default();
        match allowed {
            Allowed::RegistryOfName => yes(with.registries.allow(registry::host_of_name(text))),
            Allowed::RegistryAddress => yes(with.registries.allow(registry::host_of_address(text))),
            Allowed::Ports => yes(plain::ports(with.ports, value)),
            Allowed::OwnContainer(prefix) => match container_of(text, prefix) {
                // A prefix with nothing behind it names nobody.
                Some("") if !prefix.is_empty() => Holds::No,
                Some(name) => state::container(self, with, name, cx).of(name),
                None => Holds::No,
            },
            Allowed::OwnNetwork => self.networks(with, value, cx),
            Allowed::NamedVolume | Allowed::Bind | Allowed::OwnSocket => {
                self.mount(with, allowed, value, cx)
            }
            Allowed::NoHostMounts => yes(!self.body.is_some_and(host::is_mounted)),
            Allowed::Retries(most) => self.retries(*most, value),
            plain => yes(plain::holds(plain, value)),
        }
    }

    fn networks(&mut self, with: &Conservative, value: &Value, cx: &Context<'_>) -> Holds {
        let Value::Object(entries) = value else {
            return match value.as_str() {
                Some(name) => state::network(self, with, name, cx).of(name),
                None => Holds::No,
            };
        };
        let mut all = Holds::Yes;
        for (name, _) in entries {
            match state::network(self, with, name, cx).of(name) {
                Holds::Yes => {}
                Holds::Unknown => all = Holds::Unknown,
                no => return no,
            }
        }
        all
    }

    fn mount(
        &mut self,
        with: &Conservative,
        allowed: &Allowed,
        value: &Value,
        cx: &Context<'_>,
    ) -> Holds {
        let mount = match value {
            Value::Object(_) => crate::policy::mounts::of_mount(0, value),
            _ => crate::policy::mounts::of_bind(0, value),
        };
        host::mount(self, with, allowed, &mount, cx)
    }

    /// `on-failure` without a number tries for ever: it gets one.
    fn retries(&mut self, most: i64, policy: &Value) -> Holds {
        let count = policy.get("MaximumRetryCount").and_then(Value::as_i64).unwrap_or(0);
        let is_endless =
            policy.get("Name").and_then(Value::as_str) == Some("on-failure") && count == 0;
        if is_endless && !self.is_made {
            let mut steps = self.own_path();
            steps.push(OwnStep::Key("MaximumRetryCount".to_owned()));
            self.edits.push(Edit::Body(steps, Some(Value::Number(most.into()))));
        }
        yes((0..=most).contains(&count))
    }

    /// Puts another text in the place of the value that is judged, once it is allowed.
    pub(super) fn replace_here(&mut self, key: Option<&str>, text: String) {
        if self.is_made {
            return;
        }
        let mut steps = self.own_path();
        steps.extend(key.map(|key| OwnStep::Key(key.to_owned())));
        self.edits.push(Edit::Body(steps, Some(Value::String(text))));
    }

    fn drop_here(&mut self) {
        let steps = self.own_path();
        self.edits.push(Edit::Body(steps, None));
    }

    fn own_path(&self) -> Vec<OwnStep> {
        let own = |step: &Step<'_>| match step {
            Step::Key(key) => Some(OwnStep::Key((*key).to_owned())),
            Step::Index(index) => Some(OwnStep::Index(*index)),
            Step::Query(_) | Step::Header(_) | Step::Name(_) => None,
        };
        self.path.iter().filter_map(own).collect()
    }

    /// Where the judge stands, as messages say it.
    fn here(&self) -> String {
        let step = |step: &Step<'_>| match step {
            Step::Key(key) => (*key).to_owned(),
            Step::Index(index) => index.to_string(),
            Step::Query(name) => format!("?{name}"),
            Step::Header(name) => format!("header `{name}`"),
            Step::Name(name) => format!("`{name}`"),
        };
        self.path.iter().map(step).collect::<Vec<_>>().join(".")
    }
}

fn yes(holds: bool) -> Holds {
    if holds { Holds::Yes } else { Holds::No }
}

/// `container:NAME` with a prefix; `NAME[:alias or mode]` without one.
fn container_of<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    match prefix {
        "" => Some(text.split(':').next().unwrap_or_default()),
        prefix => text.strip_prefix(prefix),
    }
}

/// As dockerd reads it: JSON where it decodes JSON, text otherwise.
fn query_value(text: &str, json: Option<Kind>) -> Value {
    let parsed = json.and_then(|kind| doc::parse(text.as_bytes(), &kind).ok());
    parsed.map_or_else(|| Value::String(text.to_owned()), |doc| doc.root)
}

/// What may stand in a log of somebody who audits.
fn found(value: &Value) -> Option<Box<str>> {
    let text = String::from_utf8(doc_text(value)).ok()?;
    (text.len() <= 256).then(|| text.into())
}

fn doc_text(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
