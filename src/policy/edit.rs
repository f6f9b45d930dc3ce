//! What a policy changes of a call, as values.
//!
//! A policy returns edits (`Verdict::Pass`), and `Chain` makes them of the call before the next policy is asked; one
//! that only audits has them dropped. What must stay true: all edits of a body cost one walk through it, however many
//! they are; they count elements of lists as the policy has seen them; the last word on a place counts, and what is
//! said of something below a place comes after what is said of the place.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use crate::api::Typed;
use crate::api::doc::Value;
use crate::api::endpoint::Minor;
use crate::api::query::Query;

/// One change of a call. `None` takes away what is there.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// Another name in the place of the one with this index in the path.
    Name(usize, String),
    Query(Cow<'static, str>, Option<String>),
    /// All values of one that may be given several times.
    Queries(Cow<'static, str>, Vec<String>),
    /// Of those that the engine reads on this route; others are not sent.
    Header(&'static str, Option<Vec<u8>>),
    /// At this place of the JSON body. Objects on the way there are made.
    Body(Vec<Segment>, Option<Value>),
    /// Kept beside the call for the policy that reads the answer; nobody sends it.
    Note(&'static str, String),
    /// The engine is asked by this API version.
    Version(Minor),
    /// The engine is asked by this API version at least.
    LeastVersion(Minor),
}

/// One step into a body.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    Key(Cow<'static, str>),
    Index(usize),
    /// Behind the last element of a list.
    End,
}

pub fn keys(path: &[&'static str]) -> Vec<Segment> {
    path.iter().map(|key| Segment::Key(Cow::Borrowed(key))).collect()
}

/// Makes all edits of a call. Versions first: what is said of fields is said for the version that they are sent by.
pub(super) fn apply(call: &mut Typed, edits: Vec<Edit>) {
    let mut body = Change::default();
    for edit in edits {
        match edit {
            Edit::Version(minor) => call.pin_version(minor),
            Edit::LeastVersion(least) => call.raise_version(least),
            Edit::Note(name, text) => call.add_note(name, text),
            Edit::Name(index, name) => call.set_name(index, name),
            Edit::Query(name, Some(value)) => call.query_mut().set(&name, value),
            Edit::Query(name, None) => call.query_mut().retain(|other, _| other != name),
            Edit::Queries(name, values) => call.query_mut().set_all(&name, values),
            Edit::Header(name, value) => call.set_header(name, value),
            Edit::Body(path, value) => body.add(path, value),
        }
    }
    if body.is_nothing() {
        return;
    }
    if let Some(root) = call.body_mut() {
        body.apply(root);
    }
}

/// What makes one body of another.
pub(super) fn between(before: &Value, after: Value) -> Vec<Edit> {
    let mut edits = Vec::new();
    compare(before, after, &mut Vec::new(), &mut edits);
    edits
}

fn compare(before: &Value, after: Value, path: &mut Vec<Segment>, edits: &mut Vec<Edit>) {
    let after = match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let new_key = |key: &str| new.iter().any(|(other, _)| other == key);
            for (key, _) in old.iter().filter(|(key, _)| !new_key(key)) {
                path.push(Segment::Key(key.clone()));
                edits.push(Edit::Body(path.clone(), None));
                path.pop();
            }
            for (key, value) in new {
                path.push(Segment::Key(key.clone()));
                match before.get(&key) {
                    Some(before) => compare(before, value, path, edits),
                    None => edits.push(Edit::Body(path.clone(), Some(value))),
                }
                path.pop();
            }
            return;
        }
        (_, after) => after,
    };
    if *before != after {
        edits.push(Edit::Body(path.clone(), Some(after)));
    }
}

/// What makes one query of another, as far as parameters that are given once go.
pub(super) fn between_queries(before: &Query, after: &Query) -> Vec<Edit> {
    let changed = after.iter().filter(|(name, value)| before.get(name) != Some(*value));
    let gone = before.iter().filter(|(name, _)| after.get(name).is_none());
    let set = changed.map(|(name, value)| (name, Some(value.to_owned())));
    let edits = set.chain(gone.map(|(name, _)| (name, None)));
    edits.map(|(name, value)| Edit::Query(Cow::Owned(name.to_owned()), value)).collect()
}

/// What becomes of one place in a body, and of what is below it.
#[derive(Debug, Default)]
struct Change {
    /// Another value, or none at all.
    becomes: Option<Option<Value>>,
    below: BTreeMap<Segment, Change>,
    /// Among those below the same place: what is new stands in the order in which it was said.
    order: usize,
    /// Behind the last element.
    appended: Vec<Value>,
}

impl Change {
    fn add(&mut self, path: Vec<Segment>, value: Option<Value>) {
        let (mut place, mut path) = (self, path.into_iter().peekable());
        while let Some(segment) = path.next() {
            match (&segment, path.peek(), &value) {
                (Segment::End, None, Some(_)) => {
                    place.appended.extend(value);
                    return;
                }
                // Nothing can be said of what is below something that is not there yet.
                (Segment::End, ..) => return,
                (Segment::Key(_) | Segment::Index(_), ..) => {
                    let order = place.below.len();
                    let new = || Change { order, ..Change::default() };
                    place = place.below.entry(segment).or_insert_with(new);
                }
            }
        }
        place.becomes = Some(value);
    }

    fn is_nothing(&self) -> bool {
        self.becomes.is_none() && self.below.is_empty() && self.appended.is_empty()
    }

    fn removes(&self) -> bool {
        matches!(self.becomes, Some(None)) && !self.adds_below()
    }

    /// Whether there is something where there was nothing.
    fn adds(&self) -> bool {
        matches!(self.becomes, Some(Some(_))) || self.adds_below()
    }

    fn adds_below(&self) -> bool {
        let is_key = |segment: &Segment| matches!(segment, Segment::Key(_));
        let below = self.below.iter();
        !self.appended.is_empty()
            || below.filter(|(step, _)| is_key(step)).any(|(_, below)| below.adds())
    }

    fn apply(mut self, value: &mut Value) {
        if let Some(becomes) = self.becomes.take() {
            *value = becomes.unwrap_or(Value::Null);
        }
        if *value == Value::Null && self.adds_below() {
            *value = match self.appended.is_empty() {
                true => Value::Object(Vec::new()),
                false => Value::List(Vec::new()),
            };
        }
        match value {
            Value::Object(entries) => self.apply_to_object(entries),
            Value::List(items) => self.apply_to_list(items),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn apply_to_object(mut self, entries: &mut Vec<(Cow<'static, str>, Value)>) {
        if self.below.is_empty() {
            return;
        }
        entries.retain_mut(|(key, value)| {
            super::conservative::count();
            match self.below.remove(&Segment::Key(key.clone())) {
                Some(change) if change.removes() => false,
                Some(change) => {
                    change.apply(value);
                    true
                }
                None => true,
            }
        });
        let mut new: Vec<_> = self.below.into_iter().filter(|(_, change)| change.adds()).collect();
        new.sort_by_key(|(_, change)| change.order);
        for (segment, change) in new {
            if let Segment::Key(key) = segment {
                let mut value = Value::Null;
                change.apply(&mut value);
                entries.push((key, value));
            }
        }
    }

    fn apply_to_list(self, items: &mut Vec<Value>) {
        let mut removed = Vec::new();
        for (segment, change) in self.below {
            super::conservative::count();
            let Segment::Index(index) = segment else { continue };
            let Some(item) = items.get_mut(index) else { continue };
            match change.removes() {
                true => removed.push(index),
                false => change.apply(item),
            }
        }
        if !removed.is_empty() {
            // In order, as they come out of the map.
            let (mut index, mut removed) = (0.., removed.into_iter().peekable());
            items.retain(|_| removed.next_if_eq(&index.next().unwrap_or_default()).is_none());
        }
        items.extend(self.appended);
    }
}

/// As `dockgate explain` prints it; places in bodies are JSON Pointers (RFC 6901).
impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Edit::Name(index, name) => write!(f, "name {} of the path: {name}", index + 1),
            Edit::Query(name, Some(value)) => write!(f, "?{name}: {value}"),
            Edit::Query(name, None) => write!(f, "?{name}: removed"),
            Edit::Queries(name, values) => write!(f, "?{name}: {}", values.join(", ")),
            Edit::Header(name, Some(value)) => {
                write!(f, "header {name}: {}", String::from_utf8_lossy(value))
            }
            Edit::Header(name, None) => write!(f, "header {name}: removed"),
            Edit::Note(name, _) => write!(f, "{name}: looked at in the answer"),
            Edit::Version(minor) => write!(f, "API version: 1.{minor}"),
            Edit::LeastVersion(minor) => write!(f, "API version: 1.{minor} at least"),
            Edit::Body(path, value) => {
                f.write_str("body ")?;
                path.iter().try_for_each(|segment| match segment {
                    Segment::Key(key) => {
                        write!(f, "/{}", key.replace('~', "~0").replace('/', "~1"))
                    }
                    Segment::Index(index) => write!(f, "/{index}"),
                    Segment::End => f.write_str("/-"),
                })?;
                match value.as_ref().map(serde_json::to_string) {
                    Some(Ok(json)) => write!(f, ": {json}"),
                    Some(Err(_)) => f.write_str(": changed"),
                    None => f.write_str(": removed"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::doc::parse;
    use crate::api::shape::{Kind, LABELS, STRINGS, f};

    const ITEM: Kind = Kind::Object(&[f("A", Kind::Str), f("B", Kind::Str)]);
    const BODY: Kind = Kind::Object(&[
        f("Names", STRINGS),
        f("Items", Kind::List(&ITEM)),
        f("Labels", LABELS),
        f("Item", ITEM),
    ]);
    const FULL: &str = r#"{"Names":["a","b","c"],"Items":[{"A":"1","B":"2"},{"A":"3"}],"Labels":{"x":"1","y":"2"}}"#;

    fn key(key: &'static str) -> Segment {
        Segment::Key(Cow::Borrowed(key))
    }

    fn text(text: &str) -> Option<Value> {
        Some(Value::String(text.to_owned()))
    }

    fn root(json: &str) -> Value {
        parse(json.as_bytes(), &BODY).unwrap().root
    }

    fn changed(json: &str, edits: Vec<(Vec<Segment>, Option<Value>)>) -> String {
        let (mut change, mut root) = (Change::default(), root(json));
        edits.into_iter().for_each(|(path, value)| change.add(path, value));
        change.apply(&mut root);
        serde_json::to_string(&root).unwrap()
    }

    #[test]
    fn each_change_is_made_in_its_own_place_and_the_last_word_on_a_place_counts() {
        let edits = vec![
            (vec![key("Names"), Segment::Index(1)], text("B")),
            (vec![key("Names"), Segment::Index(1)], text("bb")),
            (vec![key("Names"), Segment::Index(7)], text("nowhere")),
            (vec![key("Items"), Segment::Index(0), key("A")], None),
            (vec![key("Items"), Segment::Index(1), key("B")], text("new")),
            (vec![key("Labels"), key("x")], None),
            (vec![key("Labels"), key("z")], None),
            (vec![key("Item"), key("A")], None),
        ];
        let wanted = r#"{"Names":["a","bb","c"],"Items":[{"B":"2"},{"A":"3","B":"new"}],"Labels":{"y":"2"}}"#;
        assert_eq!(changed(FULL, edits), wanted);
    }

    #[test]
    fn objects_on_the_way_are_made_and_elements_are_counted_as_they_were() {
        let edits = vec![
            (vec![key("Item"), key("A")], text("made")),
            (vec![key("Labels"), key("z")], text("3")),
            (vec![key("Names"), Segment::Index(0)], None),
            (vec![key("Names"), Segment::Index(2)], text("C")),
            (vec![key("Names"), Segment::End], text("d")),
            (vec![key("Names"), Segment::End], text("e")),
        ];
        let wanted = r#"{"Names":["b","C","d","e"],"Labels":{"z":"3"},"Item":{"A":"made"}}"#;
        assert_eq!(changed(r#"{"Names":["a","b","c"],"Labels":null}"#, edits), wanted);
        let appended = vec![(vec![key("Names"), Segment::End], text("d"))];
        assert_eq!(changed("{}", appended), r#"{"Names":["d"]}"#);
    }

    #[test]
    fn what_is_said_of_a_place_comes_before_what_is_said_of_something_below_it() {
        let edits = vec![
            (vec![key("Item"), key("A")], text("new")),
            (vec![key("Item")], None),
            (vec![key("Labels"), key("a")], text("1")),
            (
                vec![key("Labels")],
                Some(root(r#"{"Labels":{"b":"2"}}"#).get("Labels").unwrap().clone()),
            ),
        ];
        let before = r#"{"Labels":{"x":"1"},"Item":{"A":"old","B":"old"}}"#;
        let wanted = r#"{"Labels":{"b":"2","a":"1"},"Item":{"A":"new"}}"#;
        assert_eq!(changed(before, edits), wanted);
    }

    #[test]
    fn what_lies_between_two_bodies_makes_one_of_the_other() {
        let all = [
            "{}",
            FULL,
            r#"{"Names":["a"],"Labels":{"y":"3"},"Item":{"A":"x"}}"#,
            r#"{"Names":[],"Items":null,"Item":{}}"#,
        ];
        for before in all {
            for after in all {
                let edits = between(&root(before), root(after));
                assert_eq!(edits.is_empty(), before == after);
                let places = edits.into_iter().map(|edit| {
                    let Edit::Body(path, value) = edit else { panic!("{edit:?}") };
                    (path, value)
                });
                let made = changed(before, places.collect());
                assert!(between(&root(&made), root(after)).is_empty(), "{made} {after}");
            }
        }
    }

    #[test]
    fn edits_are_printed_as_people_read_them() {
        let path = vec![key("Labels"), key("a/b~c"), Segment::End];
        let shown = |edit: Edit| edit.to_string();
        assert_eq!(shown(Edit::Body(path.clone(), text("x"))), r#"body /Labels/a~1b~0c/-: "x""#);
        assert_eq!(shown(Edit::Body(path, None)), "body /Labels/a~1b~0c/-: removed");
        assert_eq!(shown(Edit::Query("name".into(), None)), "?name: removed");
        assert_eq!(shown(Edit::Name(0, "web".to_owned())), "name 1 of the path: web");
        assert_eq!(shown(Edit::LeastVersion(44)), "API version: 1.44 at least");
    }
}
