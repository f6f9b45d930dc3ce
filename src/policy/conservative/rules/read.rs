//! A file of rules as it is written: TOML, with the place of each word.
//!
//! `Rules` reads the built-in file and an operator's own. What must stay true: an unknown key or a value of
//! the wrong type is a complaint with line and column; `extends` takes everything over that the file does
//! not say itself.

use std::borrow::Cow;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::allowed::{self, Allowed};
use super::{Requirement, Rule};
use crate::api::doc::Value;
use crate::config::{Complaints, Invalid, Place, SourceText};

/// What `extends` may name, and what is compiled in.
pub(super) const BUILTIN: &str = include_str!("../../../../policies/conservative.toml");
const BUILTIN_NAME: &str = "conservative";

type Word<'t> = Spanned<Cow<'t, str>>;
type Item<'t> = (&'t Word<'t>, &'t Spanned<DeValue<'t>>);

/// A named thing of the file, in the order of the file.
#[derive(Clone, Debug)]
pub(super) struct Named<T> {
    pub name: String,
    pub place: Place,
    pub value: T,
}

#[derive(Debug, Default)]
pub(super) struct Raw {
    pub(super) refuse: Vec<Named<RawRefusal>>,
    pub(super) groups: Vec<Named<Vec<Named<Entry>>>>,
    pub(super) operations: Vec<Named<RawOperation>>,
    /// What `only` left out.
    pub(super) judging: Vec<Named<RawOperation>>,
}

#[derive(Clone, Debug)]
pub(super) struct RawRefusal {
    pub operations: Vec<(String, Place)>,
    pub why: String,
    pub hint: String,
}

#[derive(Clone, Debug, Default)]
pub(super) struct RawOperation {
    pub path: Option<RawPath>,
    pub query: Vec<Named<Entry>>,
    pub headers: Vec<Named<Entry>>,
    pub body: Vec<Named<Entry>>,
    pub redact: Option<Vec<String>>,
}

#[derive(Clone, Debug)]
pub(super) enum RawPath {
    Own,
    OwnToEnd,
    Is(Rule),
}

#[derive(Clone, Debug)]
pub(super) enum Entry {
    Group(String),
    Rule { rule: Rule, fill: Option<Value> },
}

impl Raw {
    pub(super) fn builtin() -> Result<Raw, Invalid> {
        Raw::parse(BUILTIN, Path::new("policies/conservative.toml"))
    }

    pub(super) fn parse(text: &str, path: &Path) -> Result<Raw, Invalid> {
        let source = SourceText::new(path, text);
        let table = DeTable::parse(text).map_err(|error| source.malformed(&error))?;
        let mut reading = Reading { source, complaints: Complaints::about(source) };
        let raw = reading.file(table.get_ref());
        reading.complaints.or(raw)
    }
}

struct Reading<'r> {
    source: SourceText<'r>,
    complaints: Complaints<'r>,
}

impl Reading<'_> {
    fn file(&mut self, table: &DeTable<'_>) -> Raw {
        let mut raw = Raw::default();
        let mut only = None;
        for (key, value) in in_order(table) {
            match key.get_ref().as_ref() {
                "extends" => {
                    if self.string(value).as_deref() != Some(BUILTIN_NAME) {
                        self.complaints.add(value.span().start, "must be `conservative`", "");
                    } else if let Ok(builtin) = Raw::builtin() {
                        raw = builtin;
                    }
                }
                "only" => only = Some(self.placed_strings(value)),
                "refuse" | "group" | "operation" => {}
                other => {
                    let what = format!("`{other}` is not a part of a file of rules");
                    let hint = "parts: `extends`, `only`, `[refuse.ID]`, `[group.NAME]` and `[operation.ID]`";
                    self.complaints.add(key.span().start, what, hint);
                }
            }
        }
        if let Some(only) = only {
            for (id, place) in &only {
                if !raw.operations.iter().any(|operation| operation.name == *id) {
                    let what = format!("`{id}` is not an operation of what the file extends");
                    let hint = "`only` chooses among operations that are allowed there";
                    self.complaints.add(place, what, hint);
                }
            }
            let (listed, left_out) = std::mem::take(&mut raw.operations)
                .into_iter()
                .partition(|operation| only.iter().any(|(id, _)| *id == operation.name));
            (raw.operations, raw.judging) = (listed, left_out);
        }
        for (key, value) in in_order(table) {
            let Some(part) = self.part(key, value) else { continue };
            for (name, value) in part {
                match key.get_ref().as_ref() {
                    "refuse" => self.refusal(&mut raw, name, value),
                    "group" => {
                        let entries = self.entries(value);
                        let place = self.source.place(name.span().start);
                        if let Some(group) = named(&mut raw.groups, name, place) {
                            merge_entries(group, entries);
                        }
                    }
                    _ => self.operation(&mut raw, name, value),
                }
            }
        }
        raw
    }

    /// The tables below `refuse`, `group` and `operation`.
    fn part<'t>(
        &mut self,
        key: &Word<'t>,
        value: &'t Spanned<DeValue<'t>>,
    ) -> Option<Vec<Item<'t>>> {
        if !matches!(key.get_ref().as_ref(), "refuse" | "group" | "operation") {
            return None;
        }
        self.table(value)
    }

    fn refusal(&mut self, raw: &mut Raw, name: &Word<'_>, value: &Spanned<DeValue<'_>>) {
        let Some(keys) = self.table(value) else { return };
        let mut refusal =
            RawRefusal { operations: Vec::new(), why: String::new(), hint: String::new() };
        for (key, value) in keys {
            match key.get_ref().as_ref() {
                "operations" => refusal.operations = self.placed_strings(value),
                "why" => refusal.why = self.string(value).unwrap_or_default(),
                "hint" => refusal.hint = self.string(value).unwrap_or_default(),
                other => self.complaints.add(
                    key.span().start,
                    format!("`{other}` says nothing of a refusal"),
                    "",
                ),
            }
        }
        if refusal.why.is_empty() {
            self.complaints.add(name.span().start, "a refusal needs `why`", "");
        }
        let place = self.source.place(name.span().start);
        // An operation that this file refuses is refused, whatever it extends.
        raw.operations.retain(|one| !refusal.operations.iter().any(|(id, _)| *id == one.name));
        raw.refuse.push(Named { name: name.get_ref().to_string(), place, value: refusal });
    }

    fn operation(&mut self, raw: &mut Raw, name: &Word<'_>, value: &Spanned<DeValue<'_>>) {
        let Some(keys) = self.table(value) else { return };
        let id = name.get_ref().to_string();
        // And one that it allows is allowed.
        for refusal in &mut raw.refuse {
            refusal.value.operations.retain(|(other, _)| *other != id);
        }
        let place = self.source.place(name.span().start);
        let mut read = RawOperation::default();
        for (key, value) in keys {
            match key.get_ref().as_ref() {
                "path" => read.path = self.path_rule(value),
                "query" => read.query = self.entries(value),
                "headers" => read.headers = self.entries(value),
                "body" => read.body = self.entries(value),
                "redact" => read.redact = Some(self.strings(value)),
                other => {
                    let what = format!("`{other}` says nothing of an operation");
                    let hint = "`path`, `query`, `headers`, `body` or `redact`";
                    self.complaints.add(key.span().start, what, hint);
                }
            }
        }
        let Some(operation) = named(&mut raw.operations, name, place) else { return };
        operation.path = read.path.or(operation.path.take());
        operation.redact = read.redact.or(operation.redact.take());
        merge_entries(&mut operation.query, read.query);
        merge_entries(&mut operation.headers, read.headers);
        merge_entries(&mut operation.body, read.body);
    }

    fn path_rule(&mut self, value: &Spanned<DeValue<'_>>) -> Option<RawPath> {
        match value.get_ref().as_str() {
            Some("own") => return Some(RawPath::Own),
            Some("own-to-end") => return Some(RawPath::OwnToEnd),
            _ => {}
        }
        match self.entry(value)? {
            Entry::Rule { rule, fill: None } => Some(RawPath::Is(rule)),
            Entry::Rule { .. } | Entry::Group(_) => {
                self.complaints.add(value.span().start, "`group` and `fill` are for bodies", "");
                None
            }
        }
    }

    fn entries(&mut self, value: &Spanned<DeValue<'_>>) -> Vec<Named<Entry>> {
        let keys = self.table(value).unwrap_or_default();
        let entry = |(key, value): Item<'_>| {
            let place = self.source.place(key.span().start);
            let value = self.entry(value)?;
            Some(Named { name: key.get_ref().to_string(), place, value })
        };
        keys.into_iter().filter_map(entry).collect()
    }

    fn entry(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Entry> {
        let at = value.span().start;
        if let DeValue::String(word) = value.get_ref() {
            let must = match word.as_ref() {
                "any" => Requirement::BeAnything,
                "drop" => Requirement::BeDropped,
                "zero" => Requirement::BeZero,
                _ => {
                    let hint = "`any`, `zero`, `drop`, or a table";
                    self.complaints.add(at, format!("`{word}` is not a rule"), hint);
                    return None;
                }
            };
            let rule = Rule { id: String::new(), why: why(&must), must, hint: String::new() };
            return Some(Entry::Rule { rule, fill: None });
        }
        let keys = self.table(value)?;
        self.rule(at, &keys)
    }

    fn rule(&mut self, at: usize, keys: &[Item<'_>]) -> Option<Entry> {
        let mut rule = Rule {
            id: String::new(),
            must: Requirement::BeAnything,
            why: String::new(),
            hint: String::new(),
        };
        let (mut allowed, mut fill, mut range) = (Vec::new(), None, (None, None));
        for (key, value) in keys {
            let value_at = value.span().start;
            match key.get_ref().as_ref() {
                "group" => return self.string(value).map(Entry::Group),
                "rule" => rule.id = self.string(value).unwrap_or_default(),
                "why" => rule.why = self.string(value).unwrap_or_default(),
                "hint" => rule.hint = self.string(value).unwrap_or_default(),
                "fill" => match value.get_ref().as_bool() {
                    Some(value) => fill = Some(Value::Bool(value)),
                    None => fill = self.string(value).map(Value::String),
                },
                "zero" => rule.must = Requirement::BeZero,
                "null" => rule.must = Requirement::BeNull,
                "at-least" => range.0 = self.integer(value),
                "at-most" => range.1 = self.integer(value),
                word => match allowed::read(word, value.get_ref()) {
                    Ok(Some(one)) => allowed.push(one),
                    Ok(None) => {
                        self.complaints.add(
                            key.span().start,
                            format!("there is no predicate `{word}`"),
                            allowed::WORDS,
                        );
                    }
                    Err(what) => self.complaints.add(value_at, what, ""),
                },
            }
        }
        if range != (None, None) {
            allowed.push(Allowed::Range { least: range.0, most: range.1 });
        }
        match (&rule.must, allowed.is_empty()) {
            (Requirement::BeAnything, false) => rule.must = Requirement::Be(allowed),
            (_, true) => {}
            (_, false) => self.complaints.add(at, "`zero` and `null` stand alone", ""),
        }
        if rule.id.is_empty() && !matches!(rule.must, Requirement::BeAnything) {
            self.complaints.add(at, "a rule that can refuse needs an id", "add `rule = \"…\"`");
        }
        if rule.why.is_empty() {
            rule.why = why(&rule.must);
        }
        Some(Entry::Rule { rule, fill })
    }

    fn table<'t>(&mut self, value: &'t Spanned<DeValue<'t>>) -> Option<Vec<Item<'t>>> {
        match value.get_ref() {
            DeValue::Table(table) => Some(in_order(table)),
            _ => {
                self.complaints.add(value.span().start, "must be a table", "");
                None
            }
        }
    }

    fn string(&mut self, value: &Spanned<DeValue<'_>>) -> Option<String> {
        let text = value.get_ref().as_str().map(str::to_owned);
        if text.is_none() {
            self.complaints.add(value.span().start, "must be a string", "");
        }
        text
    }

    fn integer(&mut self, value: &Spanned<DeValue<'_>>) -> Option<i64> {
        let number = allowed::integer(value.get_ref());
        if number.is_none() {
            self.complaints.add(value.span().start, "must be an integer", "");
        }
        number
    }

    fn strings(&mut self, value: &Spanned<DeValue<'_>>) -> Vec<String> {
        self.placed_strings(value).into_iter().map(|(text, _)| text).collect()
    }

    fn placed_strings(&mut self, value: &Spanned<DeValue<'_>>) -> Vec<(String, Place)> {
        let DeValue::Array(items) = value.get_ref() else {
            self.complaints.add(value.span().start, "must be a list of strings", "");
            return Vec::new();
        };
        let mut strings = Vec::new();
        for item in items.iter() {
            let place = self.source.place(item.span().start);
            strings.extend(self.string(item).map(|text| (text, place)));
        }
        strings
    }
}

fn why(must: &Requirement) -> String {
    match must {
        Requirement::BeAnything => "may be anything".to_owned(),
        Requirement::BeDropped => "is not sent".to_owned(),
        Requirement::BeZero => "must not be set".to_owned(),
        Requirement::BeNull => "must be null or left out".to_owned(),
        Requirement::Be(allowed) => {
            let words: Vec<_> = allowed.iter().map(Allowed::describe).collect();
            format!("must be {}", words.join(", or "))
        }
    }
}

/// What a later file says of a place replaces what an earlier one said of it, and of all below it unless
/// it is a predicate: that is about the whole, and its parts keep their rules.
fn merge_entries(into: &mut Vec<Named<Entry>>, from: Vec<Named<Entry>>) {
    for Named { name, value, .. } in &from {
        let is_predicate =
            matches!(value, Entry::Rule { rule, .. } if matches!(rule.must, Requirement::Be(_)));
        let below = format!("{name}.");
        into.retain(|old| match old.name == *name {
            true => is_predicate && matches!(old.value, Entry::Group(_)),
            false => is_predicate || name.is_empty() || !old.name.starts_with(&below),
        });
    }
    into.extend(from);
}

/// The value of this name, made where there is none.
fn named<'l, T: Default>(
    list: &'l mut Vec<Named<T>>,
    name: &Word<'_>,
    place: Place,
) -> Option<&'l mut T> {
    let found = list.iter().position(|one| one.name == name.get_ref().as_ref());
    let index = found.unwrap_or_else(|| {
        list.push(Named { name: name.get_ref().to_string(), place, value: T::default() });
        list.len() - 1
    });
    list.get_mut(index).map(|one| &mut one.value)
}

/// Keys in the order of the file: TOML tables have none.
fn in_order<'t>(table: &'t DeTable<'t>) -> Vec<Item<'t>> {
    let mut keys: Vec<_> = table.iter().collect();
    keys.sort_by_key(|(key, _)| key.span().start);
    keys
}
