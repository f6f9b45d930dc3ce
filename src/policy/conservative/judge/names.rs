//! The containers and networks that a call names: looked up, judged, and their ids in the names' places.
//!
//! `judge` comes here for each. What must stay true: no name is sent on whose id is known, but for
//! links that are names of the DNS; what exists and refers to something that is gone is a no.

use super::super::pinned::Pinned;
use super::super::{Conservative, own, state};
use super::{Correction, Edit, Judge, Judgement, PathStep, Pin, SHORT_ID, yes};
use crate::api::Endpoint;
use crate::api::doc::Value;
use crate::api::grammar::reference::{self, Reference};
use crate::policy::{Context, Fact, Question, Reason};

impl Judge<'_> {
    /// A container that starts is connected to its networks, and only ids mean the same then as now.
    pub(super) fn starts(&mut self, endpoint: Endpoint, name: &str, cx: &Context<'_>) {
        if !matches!(endpoint, Endpoint::ContainerStart | Endpoint::ContainerRestart) {
            return;
        }
        if let Some(network) = state::unpinned_network(name, cx) {
            let why = format!(
                "would be connected to whatever network has the name `{network}` by then: it was made elsewhere"
            );
            let hint = "disconnect it from that network and connect it again, or make it anew";
            let reason = Reason::new("container.network-by-name", self.here(), why, hint);
            self.refuse(reason, None, &Value::Null, cx);
        }
    }

    /// A container that something refers to that exists.
    pub(super) fn made_with(
        &mut self,
        with: &Conservative,
        reference: &Reference<'_>,
        shares_namespace: bool,
        cx: &Context<'_>,
    ) -> Judgement {
        let name = reference.name;
        // The engine looks the name up at every start, and nobody can tell whom it meant at the last one.
        if shares_namespace && !self.is_to_end && !reference::is_id(name) {
            let why = "shares a namespace with whatever container has that name";
            return Judgement::Because(why.to_owned()).of(name);
        }
        let holds = state::container(self, with, name, cx).of(name);
        let holds = if shares_namespace { own::neighbour(with, holds, name, cx) } else { holds };
        match holds {
            // Its namespace lives on, and what it was nobody can tell.
            Judgement::Absent(_) if shares_namespace && !self.is_to_end => {
                let why = "is gone, and its namespace is still used";
                Judgement::Because(why.to_owned()).of(name)
            }
            // What came from there was fixed then: mounts are judged by themselves, and links end.
            Judgement::Absent(_) => Judgement::Yes,
            holds => holds,
        }
    }

    pub(super) fn networks(
        &mut self,
        with: &Conservative,
        value: &Value,
        cx: &Context<'_>,
    ) -> Judgement {
        let Value::Object(entries) = value else {
            let Some(name) = value.as_str() else { return Judgement::No };
            let holds = self.network(with, name, cx);
            return match (holds, state::network_of(name, cx)) {
                (Judgement::Yes, Some((name, id))) => self.pin_network(name, id),
                (holds, _) => holds,
            };
        };
        let mut all = Judgement::Yes;
        for (name, _) in entries {
            match self.network(with, name, cx) {
                Judgement::Yes => {
                    let known = state::network_of(name, cx).filter(|_| !self.is_made);
                    let pin =
                        |(_, id)| Correction::Pin(Pin::Endpoint { key: name.to_string(), id });
                    self.corrections.extend(known.map(pin));
                }
                Judgement::Unknown => all = Judgement::Unknown,
                no => return no,
            }
        }
        all
    }

    pub(super) fn network(
        &mut self,
        with: &Conservative,
        name: &str,
        cx: &Context<'_>,
    ) -> Judgement {
        let holds = self.once(Question::Network(name.to_owned()), |judge| {
            state::network(judge, with, name, cx).of(name)
        });
        match holds {
            // Nothing is connected to it, and nothing ever will be: an id does not come back.
            Judgement::Absent(_) if self.is_made && (self.is_to_end || reference::is_id(name)) => {
                Judgement::Yes
            }
            // The operator's to make, and nobody here can take its name: the engine says that it is not there.
            Judgement::Absent(_) if self.is_made && state::is_forced(name, cx) => Judgement::Yes,
            Judgement::Absent(_) if self.is_made => {
                Judgement::Because("is gone".to_owned()).of(name)
            }
            holds => holds,
        }
    }

    /// Engines below 25 make a second network of the same name, and a name then means neither.
    pub(super) fn new_network(&mut self, name: &str, cx: &Context<'_>) -> Judgement {
        let question = Question::Network(name.to_owned());
        match cx.facts.get(&question) {
            None => {
                self.ask(question, cx);
                return Judgement::Unknown;
            }
            // It would be taken for a whole id.
            Some(Fact::Absent) => return yes(!reference::is_id(name)),
            // The beginning of another's id: clients that send as many digits as they show would get this one.
            Some(Fact::Json(json)) if json.get("Name").is_none_or(|known| known != name) => {
                return yes(name.len() < SHORT_ID || !reference::is_hexadecimal(name));
            }
            // Or it cannot be told: of two the engine says that the name is ambiguous.
            Some(_) => {}
        }
        let why = format!("network with name {name} already exists");
        self.push(Reason { status: 409, ..Reason::new("network.name-taken", "", why, "") });
        Judgement::Yes
    }

    /// Puts the id that was judged in the place of a name, which could lead elsewhere a moment later.
    pub(super) fn pin_container(&mut self, text: &str, reference: &Reference<'_>, id: &str) {
        let field = self.path.iter().rev().find_map(|step| match step {
            PathStep::Key(key) => Some(*key),
            _ => None,
        });
        let is_of_host_config = self.path.first().is_some_and(|step| step.is("HostConfig"));
        let sent = match field {
            // Of a link in a network of one's own the engine makes nothing but a name of its DNS, for what has the other
            // name there, and a whole id is no name there (`libnetwork/sandbox_dns_unix.go` of moby).
            Some("Links") if !is_of_host_config => return,
            Some("Links") => reference.link_with_id(id),
            _ => reference.with_id(id),
        };
        if let Some(PathStep::Query(name)) = self.path.last() {
            return self.edit(Edit::Query((*name).into(), Some(sent)));
        }
        // Links of the default bridge are shown with names anyway.
        if field == Some("VolumesFrom") {
            self.pinned.push(Pinned { sent: sent.clone(), asked: text.to_owned() });
        }
        self.replace_here(None, sent);
    }

    /// The same for a network. `NetworkMode` stays what the user wrote: the engine goes by the id that stands beside the
    /// name in the container's place there (`getNetworkID` in moby's `daemon/container_operations.go`), at every start.
    pub(super) fn pin_network(&mut self, name: String, id: String) -> Judgement {
        match self.path.last() {
            // The builder keeps no such id for its containers, and looks the name up when each of them starts.
            Some(PathStep::Query(_)) if reference::is_hexadecimal(&name) => {
                let why =
                    "could be the beginning of another's id by the time a step of the build starts";
                return Judgement::Because(why.to_owned()).of(&name);
            }
            Some(PathStep::Query(param)) => self.edit(Edit::Query((*param).into(), Some(id))),
            Some(PathStep::Key("NetworkMode")) if !self.is_made => {
                self.corrections.push(Correction::Pin(Pin::OnlyEndpoint { name, id }));
            }
            _ => self.replace_here(None, id),
        }
        Judgement::Yes
    }
}
