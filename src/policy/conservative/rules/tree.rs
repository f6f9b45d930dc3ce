//! From what a file says to rules that stand where the endpoint tables have their fields.
//!
//! `Rules` calls it once. What must stay true: a name that no API version knows is a complaint, and so is a
//! predicate for a value of another type; every complaint has its place.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::read::{Entry, Named, Raw, RawOperation, RawPath};
use super::{Absent, Allowed, Node, Operation, PathRule, Refusal, Requirement, Rule, Rules};
use crate::api::doc::Value;
use crate::api::endpoint::{BodyKind, Row};
use crate::api::shape::Kind;
use crate::api::{Endpoint, table};
use crate::config::{Complaints, Invalid, Place};

/// Groups within groups.
const MOST_DEPTH: usize = 4;

pub(super) fn grow(raw: Raw) -> Result<Rules, Invalid> {
    let mut growing = Builder { groups: &raw.groups, complaints: Complaints::default() };
    let mut rules = Rules {
        operations: BTreeMap::new(),
        refused: BTreeMap::new(),
        judging: BTreeMap::new(),
        mounts_of_made: None,
    };
    for refusal in &raw.refuse {
        for (id, place) in &refusal.value.operations {
            if let Some(row) = growing.row(id, place) {
                let (why, hint) = (refusal.value.why.clone(), refusal.value.hint.clone());
                let refusal = Refusal { id: refusal.name.clone(), why, hint };
                rules.refused.insert(row.endpoint, refusal);
            }
        }
    }
    for operation in &raw.operations {
        if let Some(row) = growing.row(&operation.name, &operation.place) {
            rules.operations.insert(row.endpoint, growing.operation(row, operation));
        }
    }
    for operation in &raw.judging {
        if let Some(row) = growing.row(&operation.name, &operation.place) {
            rules.judging.insert(row.endpoint, growing.operation(row, operation));
        }
    }
    rules.mounts_of_made = rules.making(Endpoint::ContainerCreate).and_then(mounts_of_made);
    growing.complaints.or(rules)
}

fn mounts_of_made(create: &Operation) -> Option<Rule> {
    let host_config = create.body.field("HostConfig")?;
    let rule = |list| host_config.field(list)?.rule.as_ref();
    let both = [rule("Mounts"), rule("Binds")].into_iter().flatten();
    let allowed = |rule: &Rule| match &rule.must {
        Requirement::Be(allowed) => allowed.clone(),
        Requirement::BeAnything
        | Requirement::BeDropped
        | Requirement::BeZero
        | Requirement::BeNull => Vec::new(),
    };
    if both.clone().any(|rule| matches!(rule.must, Requirement::BeAnything)) {
        return both.clone().find(|rule| matches!(rule.must, Requirement::BeAnything)).cloned();
    }
    let first = both.clone().next()?.clone();
    let allowed: Vec<_> = both.flat_map(allowed).collect();
    (!allowed.is_empty()).then(|| Rule { must: Requirement::Be(allowed), ..first })
}

struct Builder<'r> {
    groups: &'r [Named<Vec<Named<Entry>>>],
    complaints: Complaints<'r>,
}

/// A path through a body with what its end is.
struct Target {
    steps: Vec<TargetStep>,
    kind: Kind,
}

#[derive(Clone)]
enum TargetStep {
    Field(&'static str),
    /// Of a map of texts.
    Key(String),
    Each,
}

impl Builder<'_> {
    fn row(&mut self, id: &str, place: &Place) -> Option<&'static Row> {
        let row = table::all().find(|row| row.endpoint.id() == id);
        if row.is_none() {
            let hint = "operation ids are those of moby's OpenAPI files, such as `ContainerCreate`";
            self.complaints.add(place, format!("there is no operation `{id}`"), hint);
        }
        row
    }

    fn operation(&mut self, row: &'static Row, raw: &Named<RawOperation>) -> Operation {
        let mut operation = Operation::default();
        let RawOperation { path, query, headers, body, redact } = &raw.value;
        operation.path = path.as_ref().map(|path| match path {
            RawPath::Own => PathRule::Own,
            RawPath::OwnToEnd => PathRule::OwnToEnd,
            RawPath::Is(rule) => PathRule::Is(rule.clone()),
        });
        if path.is_some() && row.path_names.is_empty() {
            self.complaints.add(
                &raw.place,
                format!("the path of `{}` names nothing", raw.name),
                "",
            );
        }
        self.query(&mut operation, row, &raw.name, query);
        self.headers(&mut operation, row, &raw.name, headers);
        let kind = match row.body {
            BodyKind::Json(object) | BodyKind::Message(object) => Some(Kind::Object(object)),
            BodyKind::JsonList(kind) => Some(*kind),
            BodyKind::None | BodyKind::Tar | BodyKind::Raw => None,
        };
        match kind {
            Some(kind) => {
                self.body(&mut operation, body, "", kind);
                absent(&operation.body, kind, &mut Vec::new(), &mut operation.absent_body);
                let Operation { absent_body, fills, .. } = &mut operation;
                absent_body.retain(|one| !fills.iter().any(|(path, _)| *path == one.path));
            }
            None => {
                if let Some(entry) = body.first() {
                    let what = format!("`{}` has no JSON body", raw.name);
                    self.complaints.add(&entry.place, what, "");
                }
            }
        }
        let paths = redact.iter().flatten();
        operation.redact = paths.map(|path| path.split('.').map(str::to_owned).collect()).collect();
        operation
    }

    fn query(
        &mut self,
        operation: &mut Operation,
        row: &'static Row,
        name: &str,
        query: &[Named<Entry>],
    ) {
        for entry in query {
            let param = row.query.iter().find(|param| param.name == entry.name && !param.ignored);
            match param {
                Some(param) => {
                    let kind = param.json.unwrap_or(Kind::Str);
                    let Some(rule) = self.plain(entry, kind) else { continue };
                    if let (Some(means), Requirement::Be(_)) = (param.means, &rule.must) {
                        operation.absent_query.push((param.name, means, rule.clone()));
                    }
                    operation.query.push((param.name, rule));
                }
                None => {
                    let what = format!("`{}` is not a query parameter of `{}`", entry.name, name);
                    self.complaints.add(&entry.place, what, "");
                }
            }
        }
    }

    fn headers(
        &mut self,
        operation: &mut Operation,
        row: &'static Row,
        name: &str,
        headers: &[Named<Entry>],
    ) {
        for entry in headers {
            match row.headers.iter().find(|header| header.name == entry.name) {
                Some(header) => {
                    let rule = self.plain(entry, Kind::Str);
                    operation.headers.extend(rule.map(|rule| (header.name, rule)));
                }
                None => {
                    let what = format!("`{}` is not a header of `{}`", entry.name, name);
                    self.complaints.add(&entry.place, what, "names are in lower case");
                }
            }
        }
    }

    /// A rule for a value that is judged as a whole.
    fn plain(&mut self, entry: &Named<Entry>, kind: Kind) -> Option<Rule> {
        match &entry.value {
            Entry::Rule { rule, fill: None } => {
                self.suit(entry, rule, kind);
                Some(rule.clone())
            }
            Entry::Rule { .. } | Entry::Group(_) => {
                self.complaints.add(&entry.place, "`group` and `fill` are for bodies", "");
                None
            }
        }
    }

    /// Groups first: what the operation says itself counts more.
    fn body(&mut self, operation: &mut Operation, entries: &[Named<Entry>], at: &str, root: Kind) {
        for entry in entries {
            if let Entry::Group(name) = &entry.value {
                self.group(operation, entry, name, &join(at, &entry.name), root, 0);
            }
        }
        for entry in entries {
            if let Entry::Rule { rule, fill } = &entry.value {
                self.place(operation, entry, &join(at, &entry.name), root, rule, fill.as_ref());
            }
        }
    }

    fn group(
        &mut self,
        operation: &mut Operation,
        entry: &Named<Entry>,
        name: &str,
        at: &str,
        root: Kind,
        depth: usize,
    ) {
        let Some(group) = self.groups.iter().find(|group| group.name == *name) else {
            self.complaints.add(&entry.place, format!("there is no group `{name}`"), "");
            return;
        };
        if depth == MOST_DEPTH {
            self.complaints.add(&entry.place, format!("group `{name}` holds itself"), "");
            return;
        }
        for inner in &group.value {
            let at = join(at, &inner.name);
            match &inner.value {
                Entry::Group(name) => self.group(operation, inner, name, &at, root, depth + 1),
                Entry::Rule { rule, fill } => {
                    self.place(operation, inner, &at, root, rule, fill.as_ref());
                }
            }
        }
    }

    fn place(
        &mut self,
        operation: &mut Operation,
        entry: &Named<Entry>,
        path: &str,
        root: Kind,
        rule: &Rule,
        fill: Option<&Value>,
    ) {
        let target = match find(path, root) {
            Ok(target) => target,
            Err(what) => {
                return self.complaints.add(&entry.place, what, "see the Engine API's definition");
            }
        };
        self.suit(entry, rule, target.kind);
        if let Some(value) = fill {
            let fields = target.steps.iter().map(|step| match step {
                TargetStep::Field(name) => Some(*name),
                TargetStep::Key(_) | TargetStep::Each => None,
            });
            match fields.collect::<Option<Vec<_>>>() {
                Some(fields) if is_of(value, target.kind) => {
                    operation.fills.retain(|(other, _)| *other != fields);
                    operation.fills.push((fields, value.clone()));
                }
                _ => self.complaints.add(
                    &entry.place,
                    "`fill` is for a text or a bool outside of lists",
                    "",
                ),
            }
        }
        let node = target.steps.iter().fold(&mut operation.body, |node, step| match step {
            TargetStep::Each => &mut **node.each.get_or_insert_default(),
            TargetStep::Field(name) => node.field_mut(Cow::Borrowed(name)),
            TargetStep::Key(name) => node.field_mut(Cow::Owned(name.clone())),
        });
        node.rule = Some(rule.clone());
    }

    /// A predicate for another type would refuse everything.
    fn suit(&mut self, entry: &Named<Entry>, rule: &Rule, kind: Kind) {
        let Requirement::Be(allowed) = &rule.must else { return };
        for one in allowed {
            if !suits(one, kind) {
                let what = format!("`{}` can never be {}", entry.name, one.describe());
                self.complaints.add(
                    &entry.place,
                    what,
                    "the predicate is for values of another type",
                );
            }
        }
    }
}

impl Node {
    fn field_mut(&mut self, name: Cow<'static, str>) -> &mut Node {
        let index = match self.fields.binary_search_by(|(known, _)| known.cmp(&name)) {
            Ok(index) => index,
            Err(index) => {
                self.fields.insert(index, (name, Node::default()));
                index
            }
        };
        #[expect(clippy::indexing_slicing, reason = "found at this index, or just put there")]
        &mut self.fields[index].1
    }
}

/// The fields whose absence means something to the engine, with their rules.
fn absent(node: &Node, kind: Kind, path: &mut Vec<&'static str>, found: &mut Vec<Absent>) {
    let (Kind::Object(fields) | Kind::Encoded(fields)) = kind else { return };
    for field in fields {
        let Some(node) = node.field(field.name) else { continue };
        path.push(field.name);
        if let (Some(means), Some(rule @ Rule { must: Requirement::Be(_), .. })) =
            (field.means, &node.rule)
        {
            found.push(Absent { path: path.clone(), means, rule: rule.clone() });
        }
        absent(node, field.kind, path, found);
        path.pop();
    }
}

fn is_of(value: &Value, kind: Kind) -> bool {
    matches!((value, kind), (Value::String(_), Kind::Str) | (Value::Bool(_), Kind::Bool))
}

fn join(at: &str, name: &str) -> String {
    match (at, name) {
        ("", name) => name.to_owned(),
        (at, "") => at.to_owned(),
        (at, name) => format!("{at}.{name}"),
    }
}

fn find(path: &str, root: Kind) -> Result<Target, String> {
    let mut target = Target { steps: Vec::new(), kind: root };
    for name in path.split('.').filter(|name| !name.is_empty()) {
        let (step, kind) = match (target.kind, name) {
            (Kind::List(kind) | Kind::Map(kind), "*") => (TargetStep::Each, *kind),
            (Kind::Map(kind @ Kind::Str), name) => (TargetStep::Key(name.to_owned()), *kind),
            (Kind::Object(fields) | Kind::Encoded(fields), name) => {
                let field = fields.iter().find(|field| field.name == name && !field.ignored);
                let field = field.ok_or_else(|| {
                    format!("`{name}` of `{path}` is not a field that any engine reads")
                })?;
                (TargetStep::Field(field.name), field.kind)
            }
            (Kind::List(_) | Kind::Map(_), name) => {
                return Err(format!(
                    "`{name}` of `{path}` stands where `*` must, for every element"
                ));
            }
            (_, name) => return Err(format!("there is nothing like `{name}` of `{path}`")),
        };
        target.steps.push(step);
        target.kind = kind;
    }
    Ok(target)
}

fn suits(allowed: &Allowed, kind: Kind) -> bool {
    let is_text = |kind: Kind| matches!(kind, Kind::Str | Kind::StrOrList | Kind::Enum(_));
    let is_texts = match kind {
        Kind::List(kind) => is_text(*kind),
        kind => is_text(kind),
    };
    match allowed {
        Allowed::OneOf(_) => is_texts || matches!(kind, Kind::Int | Kind::Bool),
        // In a query everything is text.
        Allowed::Range { .. } => matches!(kind, Kind::Int | Kind::Int32 | Kind::Float | Kind::Str),
        Allowed::Matches(_)
        | Allowed::NotMatches(_)
        | Allowed::Size(..)
        | Allowed::NewNetwork
        | Allowed::Outside(_)
        | Allowed::Capabilities(_)
        | Allowed::Changes(_)
        | Allowed::RegistryOfName
        | Allowed::RegistryOfNames
        | Allowed::RegistryAddress
        | Allowed::OwnContainer(_) => is_texts,
        Allowed::OwnNetwork => is_texts || matches!(kind, Kind::Map(_)),
        Allowed::KeysMatch(_) | Allowed::KeysNotMatch(_) => matches!(kind, Kind::Map(_)),
        Allowed::TmpfsOptions(_)
        | Allowed::VolumeOptions
        | Allowed::Filters
        | Allowed::FiltersWith(_) => matches!(kind, Kind::Map(_)),
        Allowed::Ulimits(_) => matches!(kind, Kind::List(_) | Kind::Str),
        Allowed::Retries(_) => matches!(kind, Kind::Object(_)),
        Allowed::Ports(_) => matches!(kind, Kind::Map(_) | Kind::Bool),
        Allowed::NamedVolume | Allowed::Bind | Allowed::OwnSocket => {
            matches!(kind, Kind::List(_))
        }
        Allowed::BuildSource => is_texts || matches!(kind, Kind::Object(_)),
        Allowed::Exporter => matches!(kind, Kind::Object(_) | Kind::Map(_)),
        Allowed::Cache => is_texts || matches!(kind, Kind::List(_)),
        Allowed::NoHostMounts => true,
        Allowed::EngineDefault => is_texts || matches!(kind, Kind::List(_)),
    }
}
