//! What an allowed call is changed to, so that the safe thing is what the engine gets.
//!
//! `Conservative` returns as edits what the judge wrote down, once nothing speaks against the call. What must stay
//! true: nothing that the client has said is filled in for it.

use std::collections::BTreeSet;

use super::judge::{Correction, Pin};
use super::pinned::{self, Pinned};
use super::rules::Operation;
use crate::api::doc::Value;
use crate::api::{Endpoint, Typed};
use crate::policy::edit::{Edit, Segment, keys};

/// The edits of one call, while they are collected.
pub(super) struct Edits<'c> {
    /// As the client sent it.
    root: Option<&'c Value>,
    all: Vec<Edit>,
    /// Places that have nothing any more.
    removed: BTreeSet<Vec<Segment>>,
}

/// All that is to be changed of a call.
pub(super) fn edits(
    call: &Typed,
    operation: &Operation,
    corrections: Vec<Correction>,
    pinned: Vec<Pinned>,
    adds_no_new_privileges: bool,
) -> Vec<Edit> {
    let root = call.doc().map(|doc| &doc.root);
    let mut edits = Edits { root, all: Vec::new(), removed: BTreeSet::new() };
    let (mut pins, mut mounts) = (Vec::new(), Vec::new());
    for correction in corrections {
        match correction {
            Correction::Edit(edit) => edits.push(edit),
            Correction::Pin(pin) => pins.push(pin),
            Correction::Mount(index, mount) => mounts.push((index, mount)),
        }
    }
    let Some(root) = root else { return edits.all };
    pins.into_iter().for_each(|pin| edits.pin(pin));
    mounts.sort_by_key(|(index, _)| *index);
    mounts.into_iter().for_each(|(index, mount)| edits.move_bind(index, mount));
    if call.endpoint() == Endpoint::ContainerCreate {
        edits.all.extend(pinned::kept(root, pinned));
    }
    operation.fills.iter().for_each(|(path, value)| edits.fill(keys(path), value.clone()));
    if adds_no_new_privileges && call.endpoint() == Endpoint::ContainerCreate {
        edits.add_no_new_privileges();
    }
    edits.all
}

impl Edits<'_> {
    fn push(&mut self, edit: Edit) {
        if let Edit::Body(path, None) = &edit {
            self.removed.insert(path.clone());
        }
        self.all.push(edit);
    }

    /// Says what the client left to the engine.
    fn fill(&mut self, path: Vec<Segment>, value: Value) {
        if self.is_left(&path) {
            self.all.push(Edit::Body(path, Some(value)));
        }
    }

    /// Whether a place has nothing, or the zero value.
    fn is_left(&self, path: &[Segment]) -> bool {
        let Some(root) = self.root else { return true };
        let value = path.iter().try_fold(root, |value, segment| match segment {
            Segment::Key(key) => value.get(key),
            Segment::Index(index) => value.items().get(*index),
            Segment::End => None,
        });
        value.is_none_or(Value::is_zero) || self.removed.contains(path)
    }

    /// Unless the client names a network there itself, which was judged and replaced by its id.
    fn pin(&mut self, pin: Pin) {
        const PLACES: [&str; 2] = ["NetworkingConfig", "EndpointsConfig"];
        let in_network = |name: String| {
            let mut path = keys(&PLACES);
            path.extend([Segment::Key(name.into()), Segment::Key("NetworkID".into())]);
            path
        };
        let (path, id) = match pin {
            Pin::OnlyEndpoint { .. } if !self.is_left(&keys(&PLACES)) => return,
            Pin::OnlyEndpoint { name, id } => (in_network(name), id),
            Pin::Endpoint { key, id } => (in_network(key), id),
            Pin::Connect { id } => (keys(&["EndpointConfig", "NetworkID"]), id),
        };
        self.fill(path, Value::String(id));
    }

    /// A bind that is a mount instead.
    fn move_bind(&mut self, index: usize, mount: Value) {
        let mut path = keys(&["HostConfig", "Binds"]);
        path.push(Segment::Index(index));
        self.push(Edit::Body(path, None));
        let mut path = keys(&["HostConfig", "Mounts"]);
        path.push(Segment::End);
        self.push(Edit::Body(path, Some(mount)));
    }

    fn add_no_new_privileges(&mut self) {
        let options = self.root.and_then(|root| root.get("HostConfig")?.get("SecurityOpt"));
        let has = options.map(Value::items).unwrap_or_default().iter().any(|option| {
            matches!(option.as_str(), Some("no-new-privileges" | "no-new-privileges=true"))
        });
        if !has {
            let mut path = keys(&["HostConfig", "SecurityOpt"]);
            path.push(Segment::End);
            self.push(Edit::Body(path, Some(Value::String("no-new-privileges".to_owned()))));
        }
    }
}
