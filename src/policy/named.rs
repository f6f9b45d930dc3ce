//! What the policies of a listener name belongs to the operator: a forced network, a volume or a container that a
//! rule has by name.
//!
//! `Chain` puts it in front where a policy that enforces names something. What must stay true: through that
//! listener nobody makes, removes or renames such a thing, connects anything to it or takes it away from it; for
//! whoever could, would put another thing in its place.

use regex::Regex;
use serde_json::Value as Json;

use super::mounts::{self, Source};
use super::{Answer, Context, Policy, Question, Reason, Verdict};
use crate::api::doc::{self, Value};
use crate::api::endpoint::Resource;
use crate::api::shape::{FILTERS, Kind};
use crate::api::{Endpoint, Typed};
use crate::config::{Piece, Template};

/// The engine's own networks: they cannot be removed, and connecting to them is for other rules.
const PREDEFINED: &[&str] = &["", "bridge", "default", "host", "none"];

/// A name that a policy has, or all that its template can become.
#[derive(Clone, Debug)]
pub struct Name {
    kind: Thing,
    text: String,
    /// Of a template with something to fill in.
    pattern: Option<Regex>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    Container,
    Network,
    Volume,
}

#[derive(Debug)]
pub(super) struct Named(Vec<Name>);

/// Where a call has the name of something that it makes, removes or changes.
#[derive(Clone, Copy, Debug)]
enum Place {
    Path,
    Query(&'static str),
    Body(&'static str),
    /// Volumes are made by mounting them.
    Mounts,
    Prune,
}

const PLACES: &[(Endpoint, Thing, Place)] = &[
    (Endpoint::NetworkCreate, Thing::Network, Place::Body("Name")),
    (Endpoint::NetworkDelete, Thing::Network, Place::Path),
    (Endpoint::NetworkConnect, Thing::Network, Place::Path),
    (Endpoint::NetworkConnect, Thing::Container, Place::Body("Container")),
    (Endpoint::NetworkDisconnect, Thing::Network, Place::Path),
    (Endpoint::NetworkDisconnect, Thing::Container, Place::Body("Container")),
    (Endpoint::NetworkPrune, Thing::Network, Place::Prune),
    (Endpoint::VolumeCreate, Thing::Volume, Place::Body("Name")),
    (Endpoint::VolumeUpdate, Thing::Volume, Place::Path),
    (Endpoint::VolumeDelete, Thing::Volume, Place::Path),
    (Endpoint::VolumePrune, Thing::Volume, Place::Prune),
    (Endpoint::ContainerCreate, Thing::Container, Place::Query("name")),
    (Endpoint::ContainerCreate, Thing::Volume, Place::Mounts),
    (Endpoint::ContainerRename, Thing::Container, Place::Path),
    (Endpoint::ContainerRename, Thing::Container, Place::Query("name")),
    (Endpoint::ContainerDelete, Thing::Container, Place::Path),
    (Endpoint::ContainerPrune, Thing::Container, Place::Prune),
];

impl Named {
    pub(super) fn new(names: Vec<Name>) -> Option<Named> {
        (!names.is_empty()).then_some(Named(names))
    }

    fn has(&self, kind: Thing, name: &str) -> bool {
        self.0.iter().any(|one| one.kind == kind && one.holds(name))
    }

    /// Whether one of the operator's things is meant, by its name or in another way.
    fn is_meant(&self, kind: Thing, text: &str, cx: &Context<'_>) -> Result<bool, Verdict> {
        let text = text.strip_prefix('/').unwrap_or(text);
        if !self.0.iter().any(|one| one.kind == kind) || text.is_empty() {
            return Ok(false);
        }
        if self.has(kind, text) {
            return Ok(true);
        }
        match known(kind, text, cx)? {
            Some(found) => Ok(found
                .get("Name")
                .and_then(Json::as_str)
                .is_some_and(|name| self.has(kind, name.strip_prefix('/').unwrap_or(name)))),
            None => Ok(false),
        }
    }

    /// Mounting a volume that is not there makes it.
    fn is_made_by_mounting(&self, body: &Value, cx: &Context<'_>) -> Result<bool, Verdict> {
        for mount in mounts::of(body) {
            if let Source::Volume(name) = mount.source
                && self.has(Thing::Volume, name)
                && known(Thing::Volume, name, cx)?.is_none()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A prune takes what nobody uses at that moment, by its labels.
    fn is_pruned(&self, kind: Thing, call: &Typed, cx: &Context<'_>) -> Result<bool, Verdict> {
        let filters = call.query().get("filters").unwrap_or_default();
        let filters = doc::parse(filters.as_bytes(), &FILTERS).map(|doc| doc.root);
        for one in self.0.iter().filter(|one| one.kind == kind) {
            if one.pattern.is_some() {
                return Ok(true);
            }
            let Some(found) = known(kind, &one.text, cx)? else { continue };
            let labels = match kind {
                Thing::Container => found.pointer("/Config/Labels"),
                Thing::Network | Thing::Volume => found.get("Labels"),
            };
            if filters.as_ref().map_or(true, |filters| takes(filters, labels)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Policy for Named {
    fn name(&self) -> &'static str {
        "named"
    }

    fn request(&self, call: &mut Typed, cx: &Context<'_>) -> Verdict {
        let endpoint = call.endpoint();
        for (_, kind, place) in PLACES.iter().filter(|(other, ..)| *other == endpoint) {
            let body = call.doc().map(|doc| &doc.root);
            let (text, field) = match place {
                Place::Path => (call.names().first().map(String::as_str), "path"),
                Place::Query(name) => (call.query().get(name), *name),
                Place::Body(key) => {
                    (body.and_then(|body| body.get(key)).and_then(Value::as_str), *key)
                }
                Place::Mounts => (None, "HostConfig"),
                Place::Prune => (None, "?filters"),
            };
            let found = match place {
                Place::Mounts => body.map_or(Ok(false), |body| self.is_made_by_mounting(body, cx)),
                Place::Prune => self.is_pruned(*kind, call, cx),
                Place::Path | Place::Query(_) | Place::Body(_) => {
                    self.is_meant(*kind, text.unwrap_or_default(), cx)
                }
            };
            match found {
                Ok(false) => {}
                Ok(true) => return Verdict::deny(reason(*kind, *place, field)),
                Err(verdict) => return verdict,
            }
        }
        Verdict::Continue
    }
}

fn reason(kind: Thing, place: Place, field: &'static str) -> Reason {
    let (rule, what) = match kind {
        Thing::Container => ("named.container", "a container"),
        Thing::Network => ("named.network", "a network"),
        Thing::Volume => ("named.volume", "a volume"),
    };
    let (why, hint) = match place {
        Place::Mounts => (format!("would make {what} that a policy of this listener names"), ""),
        Place::Prune => (
            format!("could remove {what} that a policy of this listener names"),
            "remove your own by name, or filter by a label that only they have",
        ),
        Place::Path | Place::Query(_) | Place::Body(_) => {
            (format!("must not be {what} that a policy of this listener names"), "")
        }
    };
    Reason::new(rule, field, why, hint)
}

/// What the engine has by that name or id.
fn known<'f>(kind: Thing, text: &str, cx: &Context<'f>) -> Result<Option<&'f Json>, Verdict> {
    let question = match kind {
        Thing::Container => Question::Container(text.to_owned()),
        Thing::Network => Question::Network(text.to_owned()),
        Thing::Volume => Question::Volume(text.to_owned()),
    };
    match cx.facts.get(&question) {
        None => Err(Verdict::Ask(vec![question])),
        Some(Answer::Absent) => Ok(None),
        Some(Answer::Json(json)) => Ok(Some(json)),
        Some(_) => {
            let why = format!("cannot be judged: what is {question}?");
            Err(Verdict::deny(Reason::new("named.unknown", "request", why, "")))
        }
    }
}

/// Whether a prune with these filters takes what has these labels: all of `label` must hold and none of
/// `label!` (`filters.Args.MatchKVList` of moby).
fn takes(filters: &Value, labels: Option<&Json>) -> bool {
    let has = |wanted: &str| {
        let (key, value) = match wanted.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (wanted, None),
        };
        let found = labels.and_then(|labels| labels.get(key)).and_then(Json::as_str);
        found.is_some_and(|found| value.is_none_or(|value| value == found))
    };
    let of = |key: &str| -> Vec<&str> {
        match filters.get(key) {
            Some(Value::Object(entries)) => entries.iter().map(|(text, _)| &**text).collect(),
            Some(list) => list.items().iter().filter_map(Value::as_str).collect(),
            None => Vec::new(),
        }
    };
    of("label").into_iter().all(has) && !of("label!").into_iter().any(has)
}

impl Name {
    pub fn new(kind: Thing, text: &str) -> Name {
        Name { kind, text: text.to_owned(), pattern: None }
    }

    /// What a network mode or the like refers to, if it is none of the engine's own.
    pub fn of_network(mode: &str) -> Option<Name> {
        match mode.strip_prefix("container:") {
            Some(container) => Some(Name::new(Thing::Container, container)),
            None if PREDEFINED.contains(&mode) => None,
            None => Some(Name::new(Thing::Network, mode)),
        }
    }

    /// The network of a template, whoever asks.
    pub fn of_network_template(template: &Template) -> Option<Name> {
        let mut pattern = String::from("(?s)^");
        let (mut text, mut is_filled) = (String::new(), false);
        for piece in template.pieces() {
            match piece {
                Piece::Text(part) => {
                    text.push_str(part);
                    pattern.push_str(&regex::escape(part));
                }
                Piece::User | Piece::Listener | Piece::Claim(_) => {
                    is_filled = true;
                    // `limits::rules::is_part`.
                    pattern.push_str("[A-Za-z0-9_.@-]+");
                }
            }
        }
        pattern.push('$');
        if !is_filled {
            return Name::of_network(&text);
        }
        // Of a pattern that cannot be built everything is meant.
        let pattern = Regex::new(&pattern).or_else(|_| Regex::new("")).ok();
        Some(Name { kind: Thing::Network, text, pattern })
    }

    /// What a text in a field refers to that names things of this kind.
    pub fn of_field(resource: Resource, field: &str, text: &str) -> Option<Name> {
        if resource == Resource::Network {
            return Name::of_network(text);
        }
        if resource == Resource::Volume {
            let text = Value::String(text.to_owned());
            let Source::Volume(name) = mounts::of_bind(0, &text).source else { return None };
            return (!name.is_empty()).then(|| Name::new(Thing::Volume, name));
        }
        if resource != Resource::Container {
            return None;
        }
        let name = match field {
            "VolumesFrom" | "Links" => text.split(':').next(),
            _ => text.strip_prefix("container:"),
        };
        name.map(|name| Name::new(Thing::Container, name))
    }

    fn holds(&self, name: &str) -> bool {
        match &self.pattern {
            Some(pattern) => pattern.is_match(name),
            None => self.text == name,
        }
    }
}

/// Visits the fields of a body that name something.
pub(super) fn each_field(kind: Kind, visit: &mut dyn FnMut(&[&'static str], Resource)) {
    fn walk(
        kind: Kind,
        path: &mut Vec<&'static str>,
        visit: &mut dyn FnMut(&[&'static str], Resource),
    ) {
        let Kind::Object(fields) = kind else { return };
        for field in fields {
            path.push(field.name);
            if let Some(resource) = field.names {
                visit(path, resource);
            }
            walk(field.kind, path, visit);
            path.pop();
        }
    }
    walk(kind, &mut Vec::new(), visit);
}

#[cfg(test)]
mod tests;
