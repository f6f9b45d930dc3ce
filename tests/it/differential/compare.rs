//! What dockgate understood, written as Go writes what it understood, and the comparison of both.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::rc::Rc;

use dockgate::api::doc::{self, Doc, Value, folds_to};
use dockgate::api::shape::Kind;
use dockgate::api::table::TABLE;
use serde_json::{Map, Value as Json, json};

use super::decoder::{Answers, GENERATIONS};
use super::shapes::{Go, Shape};

/// Divergences that are printed; the first ones are enough to find the cause.
const SHOWN: usize = 10;

/// A body and dockgate's reading of it.
pub struct Case<'s> {
    pub shape: &'s Shape,
    pub body: Vec<u8>,
    doc: Option<Doc>,
}

impl Case<'_> {
    pub fn read(shape: &Shape, body: Vec<u8>) -> Case<'_> {
        // As `Typed::refused_field` has it: what is unknown and says something is refused, unless the route drops it.
        let row = TABLE.iter().find(|row| row.endpoint.id() == shape.id).unwrap();
        let is_option = |name: &str| row.query.iter().any(|param| param.name == name);
        let is_known = |doc: &Doc| {
            let mut unknown = doc.unknown.iter();
            unknown.all(|one| one.value.is_zero() || row.drops_unknown || is_option(&one.path))
        };
        let doc = doc::parse(&body, &shape.kind).ok().filter(is_known);
        Case { shape, body, doc }
    }

    pub fn is_accepted(&self) -> bool {
        self.doc.is_some()
    }

    /// What the engine would get; nothing of a refused body.
    pub fn sent(&self) -> Vec<u8> {
        self.doc.as_ref().map(Doc::render).unwrap_or_default()
    }

    /// Whether a key was dropped that is known to be of no use to any engine.
    fn has_ignored(&self) -> bool {
        let whole: Json = std::str::from_utf8(&self.body).unwrap().parse().unwrap();
        let mut keys = whole.as_object().into_iter().flat_map(Map::keys);
        keys.any(|key| self.shape.fields.iter().any(|f| f.ignored && folds_to(key, f.name)))
    }
}

#[derive(Default)]
pub struct Tally {
    accepted: BTreeMap<&'static str, u64>,
    refused: u64,
    /// Accepted, and too large a number for every engine.
    out_of_range: u64,
    /// Accepted without something that is zero, unused, or unknown to every engine.
    reduced: u64,
    pub diverging: u64,
    pub divergences: Vec<String>,
}

impl Tally {
    pub fn refuse(&mut self, _: &Case<'_>) {
        self.refused += 1;
    }

    pub fn take(&mut self, case: &Case<'_>, answers: &Answers) {
        let Some(doc) = &case.doc else { return };
        *self.accepted.entry(case.shape.id).or_default() += 1;
        self.out_of_range += u64::from(answers.sent.iter().all(Result::is_err));
        self.reduced += u64::from(!doc.unknown.is_empty());
        let Err(why) = compare(case, doc, answers) else { return };
        self.diverging += 1;
        if self.divergences.len() < SHOWN {
            self.divergences.push(format!(
                "{}: {why}\n  client {}\n  sent   {}",
                case.shape.id,
                String::from_utf8_lossy(&case.body),
                String::from_utf8_lossy(&case.sent()),
            ));
        }
    }

    pub fn accepted_of(&self, shape: &Shape) -> u64 {
        self.accepted.get(shape.id).copied().unwrap_or_default()
    }

    pub fn accepted_share(&self) -> f64 {
        let accepted: u64 = self.accepted.values().sum();
        accepted as f64 / (accepted + self.refused) as f64
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let accepted: u64 = self.accepted.values().sum();
        write!(
            f,
            "{} bodies: {accepted} accepted ({:.1}%), of these {} without something that is zero or unknown, \
             {} with a number that engines refuse; {} diverge",
            accepted + self.refused,
            100.0 * self.accepted_share(),
            self.reduced,
            self.out_of_range,
            self.diverging,
        )
    }
}

fn compare(case: &Case<'_>, doc: &Doc, answers: &Answers) -> Result<(), String> {
    let understood = element(&case.shape.go, &doc.root)?;
    let mut compared: Option<Rc<str>> = None;
    for (at, engine) in GENERATIONS.iter().enumerate() {
        let (client, sent) = match (&answers.client[at], &answers.sent[at]) {
            (Err(_), Err(_)) => continue,
            (Ok(_), Err(why)) => {
                return Err(format!("{engine} takes the client's body and not dockgate's: {why}"));
            }
            (client, Ok(sent)) => (client, sent),
        };
        if compared.as_ref() != Some(sent) {
            let go: Json = serde_json::from_str(sent).unwrap();
            if go != understood {
                return Err(format!("{engine} reads {go}\n  where dockgate reads {understood}"));
            }
            compared = Some(Rc::clone(sent));
        }
        match client {
            Ok(client) if client == sent => {}
            Ok(client) => {
                let same = without_zeros(case, client) == without_zeros(case, sent);
                let dropped = !doc.unknown.is_empty() || case.has_ignored();
                if !dropped || !same {
                    return Err(format!("{engine} reads the client's body as {client}"));
                }
            }
            // A key of no use may hold anything, and engine 29 takes no string for a list.
            Err(_) if !doc.unknown.is_empty() || case.has_ignored() => {}
            Err(_) if *engine == "29" && answers.client[at - 1].is_ok() => {}
            Err(why) => return Err(format!("{engine} refuses the client's body: {why}")),
        }
    }
    Ok(())
}

/// Without the ignored keys, and without what `Value::is_zero` takes for absent.
fn without_zeros(case: &Case<'_>, text: &str) -> Json {
    let mut whole: Json = serde_json::from_str(text).unwrap();
    if let Json::Object(fields) = &mut whole {
        fields.retain(|name, _| !case.shape.fields.iter().any(|f| f.ignored && f.name == name));
    }
    prune(&case.shape.go, whole).unwrap_or_else(|| json!({}))
}

fn prune(go: &Go, value: Json) -> Option<Json> {
    match (go, value) {
        (_, Json::Null | Json::Bool(false)) => None,
        (_, Json::Number(number)) if number.as_f64() == Some(0.0) => None,
        (_, Json::String(text)) if text.is_empty() => None,
        (_, Json::Array(items)) if items.is_empty() => None,
        // A lone `""` where it is not known to stand for a list.
        (Go::Strings { .. }, Json::Array(items)) if items == [""] => None,
        (Go::Pointer { of }, value) => prune(of, value),
        (Go::Struct { fields }, Json::Object(held)) => {
            let left: Map<_, _> = held
                .into_iter()
                .filter_map(|(name, value)| prune(&fields[&name], value).map(|value| (name, value)))
                .collect();
            (!left.is_empty()).then_some(Json::Object(left))
        }
        (Go::Map { .. }, Json::Object(held)) if held.is_empty() => None,
        (_, value) => Some(value),
    }
}

/// What stands in a list, in a map or at the root.
fn element(go: &Go, value: &Value) -> Result<Json, String> {
    if let Value::Object(entries) = value {
        let mut seen = HashSet::new();
        if let Some((key, _)) = entries.iter().find(|(key, _)| !seen.insert(key)) {
            return Err(format!("dockgate holds `{key}` twice, and policies look at the first"));
        }
    }
    Ok(match (go, value) {
        (Go::Pointer { .. }, Value::Null) => Json::Null,
        (Go::Pointer { of }, value) => element(of, value)?,
        (Go::Bool, Value::Null) => json!(false),
        (Go::Bool, Value::Bool(value)) => json!(value),
        (Go::Int, Value::Null) => json!(0),
        (Go::Int, Value::Number(number)) => Json::Number(number.clone()),
        (Go::String, Value::Null) => json!(""),
        (Go::String, Value::String(text)) => json!(text),
        (Go::List { .. } | Go::Strings { .. } | Go::Map { .. }, Value::Null) => Json::Null,
        (Go::List { of } | Go::Strings { of }, Value::List(items)) => {
            items.iter().map(|item| element(of, item)).collect::<Result<_, _>>()?
        }
        // Go fills up with zeros and drops what is too much.
        (Go::Array { of, length }, Value::List(_) | Value::Null) => {
            let items = value.items().iter().chain(std::iter::repeat(&Value::Null)).take(*length);
            items.map(|item| element(of, item)).collect::<Result<_, _>>()?
        }
        (Go::Map { of }, Value::Object(entries)) => {
            let pairs =
                entries.iter().map(|(key, value)| Ok((key.to_string(), element(of, value)?)));
            Json::Object(pairs.collect::<Result<_, String>>()?)
        }
        (Go::Struct { .. }, Value::Null) => json!({}),
        (Go::Struct { fields }, Value::Object(entries)) => {
            let mut known = Map::new();
            for (key, value) in entries {
                let go = fields.get(key.as_ref()).ok_or_else(|| format!("Go has no `{key}`"))?;
                if let Some(value) = field(go, value)? {
                    known.insert(key.to_string(), value);
                }
            }
            Json::Object(known)
        }
        (go, value) => return Err(format!("dockgate has {value:?} for {go:?}")),
    })
}

/// What stands in a field of a struct; `None` for what Go does not tell from an absent key.
fn field(go: &Go, value: &Value) -> Result<Option<Json>, String> {
    if *value == Value::Null {
        return Ok(None);
    }
    let written = element(go, value)?;
    let is_absent = match go {
        Go::Bool => written == json!(false),
        Go::Int => written == json!(0),
        Go::String => written == json!(""),
        Go::Struct { .. } => written == json!({}),
        Go::Array { of, .. } => {
            written == element(go, &Value::Null)? && !matches!(**of, Go::Pointer { .. })
        }
        Go::Pointer { .. } | Go::List { .. } | Go::Strings { .. } | Go::Map { .. } => false,
    };
    Ok((!is_absent).then_some(written))
}

/// Names what the shape and the Go type do not have in common.
pub fn same_fields(kind: &Kind, go: &Go, path: &str, wrong: &mut String) {
    match (kind, go) {
        (_, Go::Pointer { of }) => same_fields(kind, of, path, wrong),
        (Kind::Bool, Go::Bool)
        | (Kind::Int, Go::Int)
        | (Kind::Str, Go::String)
        | (Kind::StrOrList, Go::Strings { .. }) => {}
        (Kind::List(kind), Go::List { of } | Go::Array { of, .. })
        | (Kind::Map(kind), Go::Map { of }) => same_fields(kind, of, path, wrong),
        (Kind::Object(shape), Go::Struct { fields }) => {
            for field in shape.iter().filter(|field| !field.ignored) {
                let path = format!("{path}.{}", field.name);
                match fields.get(field.name) {
                    Some(go) => same_fields(&field.kind, go, &path, wrong),
                    None => wrong.push_str(&format!("{path}: not in Go\n")),
                }
                if shape.iter().filter(|other| folds_to(field.name, other.name)).count() > 1 {
                    wrong.push_str(&format!("{path}: folds to another field\n"));
                }
            }
            for name in fields.keys() {
                if !shape.iter().any(|field| field.name == name) {
                    wrong.push_str(&format!("{path}.{name}: only in Go\n"));
                }
            }
        }
        (kind, go) => wrong.push_str(&format!("{path}: {kind:?} is not {go:?}\n")),
    }
}
