//! What the policies of a listener name belongs to the operator: a forced network, a volume or a container that a
//! rule has by name.
//!
//! `Chain` puts it in front where a policy that enforces names something. What must stay true: through that
//! listener nobody makes, removes or renames such a thing, connects anything to it or takes it away from it; for
//! whoever could, would put another thing in its place.

use regex::Regex;
use serde_json::Value as Json;

use super::mounts::{self, MountSource};
use super::{Context, Fact, Policy, Question, Reason, Verdict};
use crate::api::doc::{self, Value};
use crate::api::endpoint::Resource;
use crate::api::shape::{FILTERS, Kind};
use crate::api::{Endpoint, Typed};
use crate::config::{Template, TemplatePart};

/// The engine's own networks: they cannot be removed, and connecting to them is for other rules.
const PREDEFINED: &[&str] = &["", "bridge", "default", "host", "none"];

/// A name that a policy has, or all that its template can become.
#[derive(Clone, Debug)]
pub struct Name {
    kind: ResourceKind,
    text: String,
    /// Of a template with something to fill in.
    pattern: Option<Regex>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceKind {
    Container,
    Network,
    Volume,
}

#[derive(Debug)]
pub(super) struct Named(Vec<Name>);

/// Where a call has the name of something that it makes, removes or changes.
#[derive(Clone, Copy, Debug)]
enum NamePlace {
    Path,
    Query(&'static str),
    Body(&'static str),
    /// Volumes are made by mounting them.
    Mounts,
    Prune,
}

const PLACES: &[(Endpoint, ResourceKind, NamePlace)] = &[
    (Endpoint::NetworkCreate, ResourceKind::Network, NamePlace::Body("Name")),
    (Endpoint::NetworkDelete, ResourceKind::Network, NamePlace::Path),
    (Endpoint::NetworkConnect, ResourceKind::Network, NamePlace::Path),
    (Endpoint::NetworkConnect, ResourceKind::Container, NamePlace::Body("Container")),
    (Endpoint::NetworkDisconnect, ResourceKind::Network, NamePlace::Path),
    (Endpoint::NetworkDisconnect, ResourceKind::Container, NamePlace::Body("Container")),
    (Endpoint::NetworkPrune, ResourceKind::Network, NamePlace::Prune),
    (Endpoint::VolumeCreate, ResourceKind::Volume, NamePlace::Body("Name")),
    (Endpoint::VolumeUpdate, ResourceKind::Volume, NamePlace::Path),
    (Endpoint::VolumeDelete, ResourceKind::Volume, NamePlace::Path),
    (Endpoint::VolumePrune, ResourceKind::Volume, NamePlace::Prune),
    (Endpoint::ContainerCreate, ResourceKind::Container, NamePlace::Query("name")),
    (Endpoint::ContainerCreate, ResourceKind::Volume, NamePlace::Mounts),
    (Endpoint::ContainerRename, ResourceKind::Container, NamePlace::Path),
    (Endpoint::ContainerRename, ResourceKind::Container, NamePlace::Query("name")),
    (Endpoint::ContainerDelete, ResourceKind::Container, NamePlace::Path),
    (Endpoint::ContainerPrune, ResourceKind::Container, NamePlace::Prune),
];

impl Named {
    pub(super) fn new(names: Vec<Name>) -> Option<Named> {
        (!names.is_empty()).then_some(Named(names))
    }

    fn has(&self, kind: ResourceKind, name: &str) -> bool {
        self.0.iter().any(|one| one.kind == kind && one.holds(name))
    }

    /// Whether one of the operator's things is meant, by its name or in another way.
    fn is_meant(&self, kind: ResourceKind, text: &str, cx: &Context<'_>) -> Result<bool, Verdict> {
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
            if let MountSource::Volume(name) = mount.source
                && self.has(ResourceKind::Volume, name)
                && known(ResourceKind::Volume, name, cx)?.is_none()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A prune takes what nobody uses at that moment, by its labels.
    fn is_pruned(
        &self,
        kind: ResourceKind,
        call: &Typed,
        cx: &Context<'_>,
    ) -> Result<bool, Verdict> {
        let filters = call.query().get("filters").unwrap_or_default();
        let filters = doc::parse(filters.as_bytes(), &FILTERS).map(|doc| doc.root);
        for one in self.0.iter().filter(|one| one.kind == kind) {
            if one.pattern.is_some() {
                return Ok(true);
            }
            let Some(found) = known(kind, &one.text, cx)? else { continue };
            let labels = match kind {
                ResourceKind::Container => found.pointer("/Config/Labels"),
                ResourceKind::Network | ResourceKind::Volume => found.get("Labels"),
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

    fn request(&self, call: &Typed, cx: &Context<'_>) -> Verdict {
        let endpoint = call.endpoint();
        for (_, kind, place) in PLACES.iter().filter(|(other, ..)| *other == endpoint) {
            let body = call.doc().map(|doc| &doc.root);
            let (text, field) = match place {
                NamePlace::Path => (call.names().first().map(String::as_str), "path"),
                NamePlace::Query(name) => (call.query().get(name), *name),
                NamePlace::Body(key) => {
                    (body.and_then(|body| body.get(key)).and_then(Value::as_str), *key)
                }
                NamePlace::Mounts => (None, "HostConfig"),
                NamePlace::Prune => (None, "?filters"),
            };
            let found = match place {
                NamePlace::Mounts => {
                    body.map_or(Ok(false), |body| self.is_made_by_mounting(body, cx))
                }
                NamePlace::Prune => self.is_pruned(*kind, call, cx),
                NamePlace::Path | NamePlace::Query(_) | NamePlace::Body(_) => {
                    self.is_meant(*kind, text.unwrap_or_default(), cx)
                }
            };
            match found {
                Ok(false) => {}
                Ok(true) => return Verdict::deny(reason(*kind, *place, field)),
                Err(verdict) => return verdict,
            }
        }
        Verdict::pass()
    }
}

fn reason(kind: ResourceKind, place: NamePlace, field: &'static str) -> Reason {
    let (rule, what) = match kind {
        ResourceKind::Container => ("named.container", "a container"),
        ResourceKind::Network => ("named.network", "a network"),
        ResourceKind::Volume => ("named.volume", "a volume"),
    };
    let (why, hint) = match place {
        NamePlace::Mounts => {
            (format!("would make {what} that a policy of this listener names"), "")
        }
        NamePlace::Prune => (
            format!("could remove {what} that a policy of this listener names"),
            "remove your own by name, or filter by a label that only they have",
        ),
        NamePlace::Path | NamePlace::Query(_) | NamePlace::Body(_) => {
            (format!("must not be {what} that a policy of this listener names"), "")
        }
    };
    Reason::new(rule, field, why, hint)
}

/// What the engine has by that name or id.
fn known<'f>(
    kind: ResourceKind,
    text: &str,
    cx: &Context<'f>,
) -> Result<Option<&'f Json>, Verdict> {
    let question = match kind {
        ResourceKind::Container => Question::Container(text.to_owned()),
        ResourceKind::Network => Question::Network(text.to_owned()),
        ResourceKind::Volume => Question::Volume(text.to_owned()),
    };
    match cx.facts.get(&question) {
        None => Err(Verdict::Ask(vec![question])),
        Some(Fact::Absent) => Ok(None),
        Some(Fact::Json(json)) => Ok(Some(json)),
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
    pub fn new(kind: ResourceKind, text: &str) -> Name {
        Name { kind, text: text.to_owned(), pattern: None }
    }

    /// What a network mode or the like refers to, if it is none of the engine's own.
    pub fn of_network(mode: &str) -> Option<Name> {
        match mode.strip_prefix("container:") {
            Some(container) => Some(Name::new(ResourceKind::Container, container)),
            None if PREDEFINED.contains(&mode) => None,
            None => Some(Name::new(ResourceKind::Network, mode)),
        }
    }

    /// The network of a template, whoever asks.
    pub fn of_network_template(template: &Template) -> Option<Name> {
        let mut pattern = String::from("(?s)^");
        let (mut text, mut is_filled) = (String::new(), false);
        for piece in template.pieces() {
            match piece {
                TemplatePart::Text(part) => {
                    text.push_str(part);
                    pattern.push_str(&regex::escape(part));
                }
                TemplatePart::User | TemplatePart::Listener | TemplatePart::Claim(_) => {
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
        Some(Name { kind: ResourceKind::Network, text, pattern })
    }

    /// What a text in a field refers to that names things of this kind.
    pub fn of_field(resource: Resource, field: &str, text: &str) -> Option<Name> {
        if resource == Resource::Network {
            return Name::of_network(text);
        }
        if resource == Resource::Volume {
            let text = Value::String(text.to_owned());
            let MountSource::Volume(name) = mounts::of_bind(0, &text).source else { return None };
            return (!name.is_empty()).then(|| Name::new(ResourceKind::Volume, name));
        }
        if resource != Resource::Container {
            return None;
        }
        let name = match field {
            "VolumesFrom" | "Links" => text.split(':').next(),
            _ => text.strip_prefix("container:"),
        };
        name.map(|name| Name::new(ResourceKind::Container, name))
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
