//! What an allowed call is changed to, so that the safe thing is what the engine gets.
//!
//! `Conservative` applies what the judge wrote down, once nothing speaks against the call. What must stay
//! true: all changes of a body cost one walk through it, however many they are.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::judge::{Edit, OwnStep, Pin};
use crate::api::Typed;
use crate::api::doc::Value;

pub(super) fn apply(call: &mut Typed, edits: Vec<Edit>) {
    let mut body = Change::default();
    let (mut pins, mut moved) = (Vec::new(), BTreeMap::new());
    for edit in edits {
        match edit {
            Edit::Name(index, name) => call.set_name(index, name),
            Edit::Query(name, value) => call.query_mut().set(name, value),
            Edit::Body(steps, value) => {
                body.at(steps).becomes = Some(value);
            }
            Edit::Pin(pin) => pins.push(pin),
            Edit::Mount(index, mount) => {
                moved.insert(index, mount);
            }
            Edit::Version(least) => call.raise_version(least),
        }
    }
    if let Some(doc) = call.doc_mut() {
        body.apply(&mut doc.root);
        pins.into_iter().for_each(|one| pin(&mut doc.root, one));
        if !moved.is_empty() {
            move_binds(&mut doc.root, moved);
        }
    }
}

fn pin(root: &mut Value, pin: Pin) {
    const PLACES: [&str; 2] = ["NetworkingConfig", "EndpointsConfig"];
    match pin {
        Pin::Endpoint { key, id } => {
            let place = root.at_mut(&PLACES).and_then(|places| entry(places, key));
            keep_id(place, id);
        }
        Pin::OnlyEndpoint { name, id } => {
            let places = root.at_mut(&PLACES).filter(|places| places.is_zero());
            keep_id(places.and_then(|places| entry(places, name)), id);
        }
        Pin::Connect { id } => keep_id(root.at_mut(&["EndpointConfig"]), id),
    }
}

/// The value of a map's key, made where it is absent.
fn entry(map: &mut Value, key: String) -> Option<&mut Value> {
    if map.is_zero() {
        *map = Value::Object(Vec::new());
    }
    let Value::Object(entries) = map else { return None };
    let index = entries.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
        entries.push((Cow::Owned(key), Value::Null));
        entries.len() - 1
    });
    entries.get_mut(index).map(|(_, value)| value)
}

/// Unless the client names a network there itself, which was judged and replaced by its id.
fn keep_id(endpoint: Option<&mut Value>, id: String) {
    let place = endpoint.and_then(|endpoint| endpoint.at_mut(&["NetworkID"]));
    if let Some(place) = place.filter(|place| place.is_zero()) {
        *place = Value::String(id);
    }
}

/// Binds that are mounts instead. Last of all: the other edits count the binds as the client sent them.
fn move_binds(root: &mut Value, moved: BTreeMap<usize, Value>) {
    if let Some(Value::List(binds)) = root.at_mut(&["HostConfig", "Binds"]) {
        let mut index = 0..;
        binds.retain(|_| {
            let this = index.next();
            !this.is_some_and(|at| moved.contains_key(&at))
        });
    }
    let Some(mounts) = root.at_mut(&["HostConfig", "Mounts"]) else { return };
    let mut all = mounts.items().to_vec();
    all.extend(moved.into_values());
    *mounts = Value::List(all);
}

/// What the client left to the engine.
pub(super) fn fill(call: &mut Typed, fills: &[(Vec<&'static str>, Value)]) {
    let Some(doc) = call.doc_mut() else { return };
    for (path, value) in fills {
        if let Some(place) = doc.root.at_mut(path).filter(|place| place.is_zero()) {
            *place = value.clone();
        }
    }
}

pub(super) fn add_no_new_privileges(call: &mut Typed) {
    let Some(doc) = call.doc_mut() else { return };
    let Some(options) = doc.root.at_mut(&["HostConfig", "SecurityOpt"]) else { return };
    let has = options.items().iter().any(|option| {
        matches!(option.as_str(), Some("no-new-privileges" | "no-new-privileges=true"))
    });
    if has {
        return;
    }
    let mut items = options.items().to_vec();
    items.push(Value::String("no-new-privileges".to_owned()));
    *options = Value::List(items);
}

/// What becomes of one place in a body, and of what is below it.
#[derive(Debug, Default)]
struct Change {
    /// Another value, or none at all. The last word on a place counts.
    becomes: Option<Option<Value>>,
    below: BTreeMap<OwnStep, Change>,
}

impl Change {
    fn at(&mut self, steps: Vec<OwnStep>) -> &mut Change {
        steps.into_iter().fold(self, |change, step| change.below.entry(step).or_default())
    }

    /// Changes what is below; elements of lists stay where they are.
    fn apply(mut self, value: &mut Value) {
        if self.below.is_empty() {
            return;
        }
        match value {
            Value::Object(entries) => {
                entries.retain_mut(|(key, value)| {
                    super::count();
                    match self.below.remove(&OwnStep::Key(key.to_string())) {
                        Some(change) => change.keeps(value),
                        None => true,
                    }
                });
                for (step, change) in self.below {
                    if let (OwnStep::Key(key), Some(Some(value))) = (step, change.becomes) {
                        entries.push((Cow::Owned(key), value));
                    }
                }
            }
            Value::List(items) => {
                for (step, change) in self.below {
                    super::count();
                    if let OwnStep::Index(index) = step
                        && let Some(item) = items.get_mut(index)
                    {
                        change.keeps(item);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// Whether there is still something in this place.
    fn keeps(mut self, value: &mut Value) -> bool {
        match self.becomes.take() {
            Some(Some(other)) => {
                *value = other;
                true
            }
            Some(None) => false,
            None => {
                self.apply(value);
                true
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

    fn key(key: &str) -> OwnStep {
        OwnStep::Key(key.to_owned())
    }

    fn text(text: &str) -> Option<Value> {
        Some(Value::String(text.to_owned()))
    }

    #[test]
    fn each_change_is_made_in_its_own_place_and_the_last_word_on_a_place_counts() {
        let body = br#"{"Names":["a","b","c"],"Items":[{"A":"1","B":"2"},{"A":"3"}],"Labels":{"x":"1","y":"2"}}"#;
        let mut doc = parse(body, &BODY).unwrap();
        let mut change = Change::default();
        for (steps, value) in [
            (vec![key("Names"), OwnStep::Index(1)], text("B")),
            (vec![key("Names"), OwnStep::Index(1)], text("bb")),
            (vec![key("Names"), OwnStep::Index(7)], text("nowhere")),
            (vec![key("Items"), OwnStep::Index(0), key("A")], None),
            (vec![key("Items"), OwnStep::Index(1), key("B")], text("new")),
            (vec![key("Labels"), key("x")], None),
            (vec![key("Labels"), key("z")], None),
            (vec![key("Item"), key("A")], text("nobody has asked for an item")),
        ] {
            change.at(steps).becomes = Some(value);
        }
        change.apply(&mut doc.root);
        let wanted = r#"{"Names":["a","bb","c"],"Items":[{"B":"2"},{"A":"3","B":"new"}],"Labels":{"y":"2"}}"#;
        assert_eq!(String::from_utf8(doc.render()).unwrap(), wanted);
    }
}
