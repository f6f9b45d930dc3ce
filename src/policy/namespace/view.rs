//! The engine as the policies in front of this one see it: with this namespace's things in it, by their visible names.
//!
//! `gateway::facts` asks it whenever such a policy wants to know something. What must stay true: it shows what `answer`
//! would show a client.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::look::{self, Found, Looked, str_of};
use super::names::Tenant;
use super::{Namespaces, guests, show};
use crate::api::endpoint::Resource;
use crate::api::{Endpoint, Row, table};
use crate::policy::{Context, Fact, Look, Question, Verdict};

pub(super) fn look(
    with: &Namespaces,
    tenant: &Tenant,
    question: &Question,
    cx: &Context<'_>,
) -> Look {
    match known(with, tenant, question, cx) {
        Ok(None) => Look::Same,
        Ok(Some(fact)) => Look::Known(fact),
        Err(Verdict::Ask(questions)) => Look::Ask(questions),
        Err(_) => Look::Known(Fact::Failed("the engine does not say".to_owned())),
    }
}

/// Nothing where the engine itself would say the same.
fn known(
    with: &Namespaces,
    tenant: &Tenant,
    question: &Question,
    cx: &Context<'_>,
) -> Looked<Option<Fact>> {
    let shown = |endpoint, found: Option<&Json>| {
        let Some(json) = found else { return Some(Fact::Absent) };
        let mut json = json.clone();
        if let Some(row) = row(endpoint) {
            show::object(with, tenant, row, &mut json);
        }
        Some(Fact::Json(Arc::new(json)))
    };
    Ok(match question {
        Question::Container(text) => {
            let inspected = |json: &Json| Question::Container(str_of(json, "Id").to_owned());
            match look::container(tenant, text, cx)? {
                Found::Own(json) if json.get("Names").is_some() => {
                    shown(Endpoint::ContainerInspect, look::known(inspected(json), cx)?)
                }
                Found::Own(json) => shown(Endpoint::ContainerInspect, Some(json)),
                Found::Absent => match guests::container(&with.members, text, cx)? {
                    Found::Own(json) => shown(Endpoint::ContainerInspect, Some(json)),
                    Found::Absent => Some(Fact::Absent),
                    Found::Several => Some(several()),
                },
                Found::Several => Some(several()),
            }
        }
        Question::Network(text) => match look::network(tenant, look::network_name(text), cx)? {
            // Lists do not say who is in it.
            Found::Own(json) => {
                let inspected = Question::Network(str_of(json, "Id").to_owned());
                shown(Endpoint::NetworkInspect, look::known(inspected, cx)?)
            }
            Found::Absent => {
                let found = guests::network(&with.members, text, cx)?.own();
                shown(Endpoint::NetworkInspect, found)
            }
            Found::Several => Some(several()),
        },
        Question::Volume(name) => match look::volume(tenant, name, cx)? {
            None => Some(Fact::Absent),
            Some(sent) => shown(Endpoint::VolumeInspect, look::known(Question::Volume(sent), cx)?),
        },
        Question::Image(text) => {
            let sent = match with.is_shared(text) {
                true => Ok(text.clone()),
                false => with.images(tenant).sent(text),
            };
            // No engine has what is no reference.
            let Ok(sent) = sent else { return Ok(Some(Fact::Absent)) };
            shown(Endpoint::ImageInspect, look::known(Question::Image(sent), cx)?)
        }
        Question::List(resource, None) => {
            let (filter, endpoint) = match resource {
                Resource::Container => {
                    (json!({ "name": [tenant.pattern()] }), Endpoint::ContainerList)
                }
                Resource::Network => (json!({ "name": [tenant.pattern()] }), Endpoint::NetworkList),
                _ => return Ok(Some(Fact::Failed("that is not listed in a namespace".to_owned()))),
            };
            let own = look::list(*resource, filter, cx)?;
            shown(endpoint, Some(&Json::Array(own.to_vec())))
        }
        Question::List(..) => Some(Fact::Failed("that is not listed in a namespace".to_owned())),
        Question::ExecInspect(id) => match look::exec(tenant, id, cx)? {
            Found::Own(json) => Some(Fact::Json(Arc::new(json.clone()))),
            Found::Absent | Found::Several => Some(Fact::Absent),
        },
        Question::Indexed(..)
        | Question::Info
        | Question::HostPath(_)
        | Question::MountsBelow(_)
        | Question::Aliases(_)
        | Question::Addresses(_)
        | Question::WhichEngine
        | Question::Exec(_)
        | Question::Begun { .. }
        | Question::Fresh
        | Question::Job(_)
        | Question::Granted(_)
        | Question::Login(_)
        | Question::Trust(_)
        | Question::Layout(_)
        | Question::OfEngine(_)
        | Question::Plugin { .. } => None,
    })
}

fn row(endpoint: Endpoint) -> Option<&'static Row> {
    table::TABLE.iter().find(|row| row.endpoint == endpoint)
}

fn several() -> Fact {
    Fact::Failed("several things have ids that begin so".to_owned())
}
