//! A call, taken apart: what its path names, its query, its headers, its body, and what it leaves out.
//!
//! `Conservative` begins here with each call; `judge` follows the values through the rules. What must stay true: nothing
//! of a call that an engine reads is left without a rule.

use super::super::rules::{Absent, Node, Operation, PathRule};
use super::super::{Conservative, state};
use super::{Correction, Edit, Judge, Judgement, PathStep, Pin};
use crate::api::doc::{self, Value};
use crate::api::endpoint::Resource;
use crate::api::shape::Kind;
use crate::api::{Endpoint, Row, Typed};
use crate::policy::Context;

impl<'j> Judge<'j> {
    /// Follows a call through the rules of its operation.
    pub(in crate::policy::conservative) fn call(
        &mut self,
        with: &Conservative,
        operation: &'j Operation,
        call: &'j Typed,
        cx: &Context<'_>,
    ) {
        let row = call.row();
        self.operation = row.endpoint.id();
        self.path_names(with, operation, row, call, cx);
        for (name, value) in call.query().iter() {
            let Some(param) = row.query.iter().find(|param| param.name == name) else { continue };
            self.path.push(PathStep::Query(param.name));
            let rule = operation.query.iter().find(|(known, _)| *known == param.name);
            let value = query_value(value, param.json);
            self.whole(with, rule.map(|(_, rule)| rule), &value, cx);
            self.path.pop();
        }
        // What must be there is missed when it is not.
        for (name, rule) in operation.query.iter().filter(|(_, rule)| rule.demands()) {
            if call.query().get(name).is_none() {
                self.path.push(PathStep::Query(name));
                self.whole(with, Some(rule), &Value::Null, cx);
                self.path.pop();
            }
        }
        self.left_out(with, operation, call, cx);
        for (name, value) in call.headers() {
            // The client's name for itself means nothing to the engine.
            let Some(header) = row.headers.iter().find(|header| header.name == name) else {
                continue;
            };
            self.path.push(PathStep::Header(header.name));
            let rule = operation.headers.iter().find(|(known, _)| *known == header.name);
            let value = Value::String(String::from_utf8_lossy(value).into_owned());
            self.whole(with, rule.map(|(_, rule)| rule), &value, cx);
            self.path.pop();
        }
        if let Some(doc) = call.doc() {
            self.body(with, &operation.body, &doc.root, cx);
        }
    }

    /// What the engine puts where the client says nothing is judged as if the client had said it.
    fn left_out(
        &mut self,
        with: &Conservative,
        operation: &'j Operation,
        call: &'j Typed,
        cx: &Context<'_>,
    ) {
        for (name, means, rule) in &operation.absent_query {
            if call.query().get(name).is_none_or(str::is_empty) {
                self.path.push(PathStep::Query(name));
                self.whole(with, Some(rule), &Value::String((*means).to_owned()), cx);
                self.path.pop();
            }
        }
        for Absent { path, means, rule } in &operation.absent_body {
            let said = call.doc().and_then(|doc| doc.at(path));
            if said.is_none_or(Value::is_zero) {
                self.path.extend(path.iter().map(|name| PathStep::Key(name)));
                self.whole(with, Some(rule), &Value::String((*means).to_owned()), cx);
                self.path.clear();
            }
        }
    }

    /// Follows a body through its rules.
    pub(in crate::policy::conservative) fn body(
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
        self.path.push(PathStep::Name(name));
        match rule {
            PathRule::Is(rule) => self.whole(with, Some(rule), &Value::String(name.clone()), cx),
            PathRule::Own => self.own(with, row, name, call, cx),
            PathRule::OwnToEnd => {
                self.is_to_end = true;
                self.own(with, row, name, call, cx);
                self.is_to_end = false;
            }
        }
        self.path.pop();
    }

    /// What the path names, and its id in the name's place.
    fn own(
        &mut self,
        with: &Conservative,
        row: &'static Row,
        name: &str,
        call: &Typed,
        cx: &Context<'_>,
    ) {
        match row.path_names.first() {
            Some(Resource::Container) => {
                let holds = state::container(self, with, name, cx);
                if let (Judgement::Yes, Some(id)) = (&holds, state::id_of_container(name, cx)) {
                    self.edit(Edit::Name(0, id));
                    self.starts(row.endpoint, name, cx);
                }
                self.not_own("container.not-own", holds, cx);
            }
            Some(Resource::Network) => {
                let holds = state::network(self, with, name, cx);
                if let (Judgement::Yes, Some((_, id))) = (&holds, state::network_of(name, cx)) {
                    if row.endpoint == Endpoint::NetworkConnect {
                        self.corrections.push(Correction::Pin(Pin::Connect { id: id.clone() }));
                    }
                    self.edit(Edit::Name(0, id));
                }
                self.not_own("network.not-own", holds, cx);
            }
            Some(Resource::Volume) => {
                let holds = state::volume(self, with, name, cx);
                // The engine's own answer to `volume rm --force` of one that is not there.
                let is_done = call.query().get("force").is_some_and(is_true);
                match holds {
                    Judgement::Absent(_) if row.endpoint == Endpoint::VolumeDelete && is_done => {
                        self.is_done = true;
                    }
                    holds => self.not_own("volume.not-own", holds, cx),
                }
            }
            Some(Resource::Exec) => {
                if let Some(reason) = state::exec(self, name, cx) {
                    self.refuse(reason, None, &Value::Null, cx);
                }
            }
            _ => self.not_own("rules.own", Judgement::No, cx),
        }
    }
}

/// moby's `httputils.BoolValue`.
fn is_true(value: &str) -> bool {
    !matches!(value.trim().to_ascii_lowercase().as_str(), "" | "0" | "no" | "false" | "none")
}

/// As dockerd reads it: JSON where it decodes JSON, text otherwise.
fn query_value(text: &str, json: Option<Kind>) -> Value {
    let parsed = json.and_then(|kind| doc::parse(text.as_bytes(), &kind).ok());
    parsed.map_or_else(|| Value::String(text.to_owned()), |doc| doc.root)
}
