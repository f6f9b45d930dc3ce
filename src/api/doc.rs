//! A JSON body, read the way dockerd reads it, or refused.
//!
//! `api::call` parses every JSON body here by the shape of its endpoint and sends upstream only what
//! `render` writes. Go's `encoding/json` matches struct keys by folding (`hostconfig`, `HoſtConfig`),
//! lets the last duplicate win (merging objects, and reusing the elements of lists), and ignores
//! what it does not know: each is a way to show a policy one body and dockerd another. What must stay
//! true: one reading only; known keys leave in the engine's spelling; unknown ones never leave.

pub mod proto;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Number;

use super::endpoint::Minor;
use super::shape::{Field, Kind, Object};

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    List(Vec<Value>),
    /// In the client's order. A struct's keys are in the engine's spelling, borrowed from its shape;
    /// those of a map, and of what is unknown, are the client's and owned.
    Object(Vec<(Cow<'static, str>, Value)>),
}

/// A body: what the engine knows, and apart from it what it does not.
#[derive(Clone, Debug, PartialEq)]
pub struct Doc {
    pub root: Value,
    pub unknown: Vec<Unknown>,
}

/// A key that no engine in the tables reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Unknown {
    /// From the root, such as `HostConfig.Frobnicate`.
    pub path: String,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDoc {
    #[error("invalid JSON body: {0}")]
    Json(String),
    #[error("invalid protobuf message: {0}")]
    Proto(String),
    #[error("the JSON body has more than {0} values")]
    TooManyValues(usize),
}

/// Of a body, where nobody says otherwise: a few bytes of JSON are a hundred of memory, each value is
/// judged, and the largest body of a client has some hundreds.
pub const MOST_VALUES: usize = 65_536;
/// More than any message names, and than any route has query parameters: clients repeat those.
const MOST_UNKNOWN: usize = 64;
/// Of a key, in a message.
const MOST_OF_A_KEY: usize = 128;

/// Reads a body whose root is of this kind.
pub fn parse(bytes: &[u8], kind: &Kind) -> Result<Doc, BadDoc> {
    parse_within(MOST_VALUES, bytes, kind)
}

/// The same, of a body with so many values at most.
pub fn parse_within(most: usize, bytes: &[u8], kind: &Kind) -> Result<Doc, BadDoc> {
    let mut reading = Reading { path: Vec::new(), unknown: Vec::new(), left: most };
    // Checked once for all strings in it.
    let text = std::str::from_utf8(bytes).map_err(|error| BadDoc::Json(error.to_string()))?;
    let mut json = serde_json::Deserializer::from_str(text);
    let root = Seed { kind, reading: &mut reading }
        .deserialize(&mut json)
        .and_then(|root| json.end().map(|()| root));
    match root {
        Ok(root) => Ok(Doc { root, unknown: reading.unknown }),
        Err(error) if error.to_string().starts_with(TOO_MANY) => Err(BadDoc::TooManyValues(most)),
        Err(error) => Err(BadDoc::Json(error.to_string())),
    }
}

/// A client's key, as far as a message repeats it.
pub fn clipped(key: &str) -> Cow<'_, str> {
    match key.char_indices().nth(MOST_OF_A_KEY) {
        Some((end, _)) => Cow::Owned(format!("{}…", key.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(key),
    }
}

/// Takes out the fields that an API version does not have yet.
pub fn drop_newer(value: &mut Value, kind: &Kind, version: Minor) {
    match (value, kind) {
        (Value::Object(entries), Kind::Object(fields) | Kind::Encoded(fields)) => {
            let field = |name: &str| fields.iter().find(|field| field.name == name);
            entries.retain(|(name, _)| field(name).is_none_or(|field| field.since <= version));
            for (name, value) in entries {
                if let Some(field) = field(name) {
                    drop_newer(value, &field.kind, version);
                }
            }
        }
        (Value::Object(entries), Kind::Map(kind)) => {
            entries.iter_mut().for_each(|(_, value)| drop_newer(value, kind, version));
        }
        (Value::List(items), Kind::List(kind)) => {
            items.iter_mut().for_each(|value| drop_newer(value, kind, version));
        }
        _ => {}
    }
}

impl Doc {
    /// The body as the engine gets it: known keys only, canonical.
    pub fn render(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        // Cannot fail: the keys are strings and a vector takes all.
        let _ = serde_json::to_writer(&mut out, &self.root);
        out
    }

    /// The value at a path of keys; `None` when a part of it is absent or null.
    pub fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(&self.root, |value, key| value.get(key)).filter(|v| **v != Value::Null)
    }
}

impl Value {
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Object(entries) => entries.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        match self {
            Value::Object(entries) => entries.iter_mut().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The value at a path of keys, made where it is absent or null; `None` where something else than
    /// an object stands in the way.
    pub fn at_mut(&mut self, path: &[&'static str]) -> Option<&mut Value> {
        path.iter().try_fold(self, |value, key| {
            if *value == Value::Null {
                *value = Value::Object(Vec::new());
            }
            let Value::Object(entries) = value else { return None };
            let index = entries.iter().position(|(k, _)| k == key).unwrap_or_else(|| {
                entries.push((Cow::Borrowed(*key), Value::Null));
                entries.len() - 1
            });
            entries.get_mut(index).map(|(_, value)| value)
        })
    }

    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Number(number) => number.as_i64(),
            _ => None,
        }
    }

    pub fn entries(&self) -> &[(Cow<'static, str>, Value)] {
        match self {
            Value::Object(entries) => entries,
            _ => &[],
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn items(&self) -> &[Value] {
        match self {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// Whether it is the zero value of its Go type. A struct of zeros is; a map with a key in it is
    /// not, whatever the key holds (`Tmpfs: {"/x": ""}` mounts), nor is what could be either.
    pub fn is_zero(&self) -> bool {
        match self {
            Value::Null => true,
            Value::Bool(value) => !value,
            Value::Number(number) => number.as_f64() == Some(0.0),
            Value::String(text) => text.is_empty(),
            Value::List(items) => items.is_empty(),
            Value::Object(entries) => entries
                .iter()
                .all(|(key, value)| matches!(key, Cow::Borrowed(_)) && value.is_zero()),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => out.serialize_unit(),
            Value::Bool(value) => out.serialize_bool(*value),
            Value::Number(number) => number.serialize(out),
            Value::String(text) => out.serialize_str(text),
            Value::List(items) => out.collect_seq(items),
            Value::Object(entries) => {
                let mut map = out.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key.as_ref(), value)?;
                }
                map.end()
            }
        }
    }
}

/// Whether Go's decoder takes a key for this ASCII field name. Beyond case, only `ſ` and the Kelvin
/// sign fold into ASCII (`encoding/json` fold.go).
pub fn folds_to(key: &str, name: &str) -> bool {
    if key.is_ascii() {
        return key.eq_ignore_ascii_case(name);
    }
    key.chars().map(fold).eq(name.chars().map(fold))
}

fn fold(c: char) -> char {
    match c {
        '\u{17f}' => 'S',
        '\u{212a}' => 'K',
        _ => c.to_ascii_uppercase(),
    }
}

/// What a body's reading carries along: where it is, and what it did not know.
struct Reading {
    path: Vec<DocStep>,
    unknown: Vec<Unknown>,
    /// How many values may still come.
    left: usize,
}

/// How serde is told that no value is left.
const TOO_MANY: &str = "too many values";

enum DocStep {
    Field(&'static str),
    Key(String),
    Index(usize),
}

impl Reading {
    /// Writes an unknown key down. Of ten thousand, the first few tell, and the first few that are not zero.
    fn note(&mut self, value: Value) {
        let is_one_of_few = self.unknown.len() < MOST_UNKNOWN;
        let said = || self.unknown.iter().filter(|one| !one.value.is_zero()).count();
        if is_one_of_few || (!value.is_zero() && said() < MOST_UNKNOWN) {
            self.unknown.push(Unknown { path: self.here(), value });
        }
    }

    fn here(&self) -> String {
        let steps = self.path.iter().map(|step| match step {
            DocStep::Field(name) => Cow::Borrowed(*name),
            DocStep::Key(key) => clipped(key),
            DocStep::Index(index) => Cow::Owned(index.to_string()),
        });
        let path = steps.collect::<Vec<_>>().join(".");
        if path.is_empty() { "the body".to_owned() } else { path }
    }
}

struct Seed<'r> {
    kind: &'r Kind,
    reading: &'r mut Reading,
}

impl Seed<'_> {
    fn scalar<E: serde::de::Error>(self, value: Value) -> Result<Value, E> {
        match (self.kind, &value) {
            (Kind::Any, _)
            | (_, Value::Null)
            | (Kind::Bool, Value::Bool(_))
            | (Kind::Float, Value::Number(_))
            | (Kind::Str | Kind::Bytes, Value::String(_)) => Ok(value),
            (Kind::Int | Kind::Int32, Value::Number(number)) if !number.is_f64() => Ok(value),
            (Kind::Enum(names), Value::String(name)) if names.contains(&name.as_str()) => Ok(value),
            // Engine 29 takes nothing but a list here, and older ones take both for the same.
            (Kind::StrOrList, Value::String(_)) => Ok(Value::List(vec![value])),
            _ => Err(self.mismatch()),
        }
    }

    fn mismatch<E: serde::de::Error>(&self) -> E {
        let wanted = match self.kind {
            Kind::Bool => "a boolean",
            Kind::Int | Kind::Int32 => "an integer",
            Kind::Float => "a number",
            Kind::Str => "a string",
            Kind::Bytes => "a string in base64",
            Kind::Enum(names) => {
                return E::custom(format!(
                    "`{}` must be one of `{}`",
                    self.reading.here(),
                    names.join("`, `")
                ));
            }
            Kind::StrOrList => "a string or a list of strings",
            Kind::List(_) => "a list",
            Kind::Map(_) | Kind::Object(_) | Kind::Encoded(_) => "an object",
            Kind::Any => "any JSON",
        };
        E::custom(format!("`{}` must be {wanted}", self.reading.here()))
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        let Some(left) = self.reading.left.checked_sub(1) else {
            return Err(D::Error::custom(TOO_MANY));
        };
        self.reading.left = left;
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        self.scalar(Value::Null)
    }
    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Value, E> {
        self.scalar(Value::Bool(value))
    }
    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        self.scalar(Value::Number(value.into()))
    }
    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        self.scalar(Value::Number(value.into()))
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| self.mismatch())?;
        self.scalar(Value::Number(number))
    }
    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.scalar(Value::String(value.to_owned()))
    }
    fn visit_string<E: serde::de::Error>(self, value: String) -> Result<Value, E> {
        self.scalar(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let kind = match self.kind {
            Kind::List(kind) => kind,
            Kind::StrOrList => &Kind::Str,
            Kind::Any => &Kind::Any,
            _ => return Err(self.mismatch()),
        };
        let mut items = Vec::new();
        loop {
            self.reading.path.push(DocStep::Index(items.len()));
            let item = seq.next_element_seed(Seed { kind, reading: self.reading })?;
            self.reading.path.pop();
            match item {
                Some(item) => items.push(item),
                None => return Ok(Value::List(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        match self.kind {
            Kind::Object(fields) | Kind::Encoded(fields) => read_struct(fields, self.reading, map),
            Kind::Map(kind) => read_map(kind, self.reading, map),
            Kind::Any => read_map(&Kind::Any, self.reading, map),
            _ => Err(self.mismatch()),
        }
    }
}

/// A Go struct: keys fold, and two that fold together are refused.
fn read_struct<'de, A: MapAccess<'de>>(
    fields: &'static Object,
    reading: &mut Reading,
    mut map: A,
) -> Result<Value, A::Error> {
    let mut entries = Vec::new();
    let mut seen = [0u64; 4];
    let mut strangers = HashSet::new();
    let mut next = 0;
    while let Some(key) = map.next_key_seed(KeySeed { fields, next })? {
        let is_new = match &key {
            Key::Field(index, _) => mark(&mut seen, *index),
            Key::Unknown(name) => strangers.insert(name.chars().map(fold).collect::<String>()),
        };
        let (kind, keeps) = match &key {
            Key::Field(_, field) if !field.ignored => (&field.kind, Some(field.name)),
            Key::Field(..) | Key::Unknown(_) => (&Kind::Any, None),
        };
        let is_unknown = matches!(key, Key::Unknown(_));
        reading.path.push(match key {
            Key::Field(index, field) => {
                next = index + 1;
                DocStep::Field(field.name)
            }
            Key::Unknown(name) => DocStep::Key(name),
        });
        if !is_new {
            return Err(A::Error::custom(format!("`{}` is given twice", reading.here())));
        }
        let value = map.next_value_seed(Seed { kind, reading })?;
        if let Some(name) = keeps {
            entries.push((Cow::Borrowed(name), value));
        } else if is_unknown {
            reading.note(value);
        }
        reading.path.pop();
    }
    Ok(Value::Object(entries))
}

/// Sets a bit; false when it was set. No shape has as many fields as there are bits.
fn mark(seen: &mut [u64; 4], index: usize) -> bool {
    let Some(word) = seen.get_mut(index / 64) else { return false };
    let bit = 1u64 << (index % 64);
    let was_set = *word & bit != 0;
    *word |= bit;
    !was_set
}

/// A Go map: keys are exact, and the same one twice is refused.
fn read_map<'de, A: MapAccess<'de>>(
    kind: &Kind,
    reading: &mut Reading,
    mut map: A,
) -> Result<Value, A::Error> {
    let mut entries: Vec<(Cow<'static, str>, Value)> = Vec::new();
    let mut seen = HashSet::new();
    while let Some(key) = map.next_key::<String>()? {
        // Most maps are small; a large one must not cost the square of its size.
        let is_new = if entries.len() < FEW {
            entries.iter().all(|(other, _)| *other != key)
        } else {
            if seen.is_empty() {
                seen.extend(entries.iter().map(|(other, _)| other.to_string()));
            }
            seen.insert(key.clone())
        };
        reading.path.push(DocStep::Key(key));
        if !is_new {
            return Err(A::Error::custom(format!("`{}` is given twice", reading.here())));
        }
        let value = map.next_value_seed(Seed { kind, reading })?;
        if let Some(DocStep::Key(key)) = reading.path.pop() {
            entries.push((Cow::Owned(key), value));
        }
    }
    Ok(Value::Object(entries))
}

const FEW: usize = 16;

/// A key of a struct, looked up while it is still the client's bytes.
struct KeySeed {
    fields: &'static Object,
    /// Where to look first: clients written in Go send fields in the order of the struct.
    next: usize,
}

enum Key {
    Field(usize, &'static Field),
    Unknown(String),
}

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Key;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Key, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Key;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Key, E> {
        let fields = || self.fields.iter().enumerate();
        let exact = fields()
            .skip(self.next)
            .chain(fields().take(self.next))
            .find(|(_, field)| field.name == key);
        let found = exact.or_else(|| fields().find(|(_, field)| folds_to(key, field.name)));
        Ok(match found {
            Some((index, field)) => Key::Field(index, field),
            None => Key::Unknown(key.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests;
