//! The containers that a job is, in the job's namespace: shown by their real names, and not for changing.
//!
//! `request`, `lists` and `view` ask here for what is not the namespace's own. What must stay true: `look` finds nothing of
//! it, so that whatever does not ask here takes it for another's; a thing of the namespace goes before one of these.

use serde_json::Value as Json;

use super::look::{self, Found, Looked, known, str_of};
use super::names::{BRIDGE, PREDEFINED};
use super::request::Request;
use crate::api::Endpoint;
use crate::api::grammar::reference::{is_hexadecimal, is_id, without_slash};
use crate::policy::temporary::Members;
use crate::policy::{Context, Question, Reason, Verdict};

/// By id, name or the beginning of an id, as the engine has it.
pub(super) fn container<'f>(members: &Members, text: &str, cx: &Context<'f>) -> Looked<Found<'f>> {
    let text = without_slash(text);
    if text.is_empty() || (is_id(text) && !members.has(text)) {
        return Ok(Found::Absent);
    }
    let all = containers(members, cx)?;
    let named = all.iter().find(|one| without_slash(str_of(one, "Name")) == text);
    if let Some(one) = named {
        return Ok(Found::Own(one));
    }
    let begins = |one: &&&Json| is_hexadecimal(text) && str_of(one, "Id").starts_with(text);
    let mut found = all.iter().filter(begins);
    Ok(match (found.next(), found.next()) {
        (None, _) => Found::Absent,
        (Some(one), None) => Found::Own(one),
        (Some(_), Some(_)) => Found::Several,
    })
}

/// A network that one of them is in; those that every engine has are not among them.
pub(super) fn network<'f>(members: &Members, text: &str, cx: &Context<'f>) -> Looked<Found<'f>> {
    let all = networks(members, cx)?;
    let named = all.iter().find(|(name, id)| *name == text || *id == text);
    let begins = |id: &str| is_hexadecimal(text) && id.starts_with(text);
    let Some((_, id)) = named.or_else(|| all.iter().find(|(_, id)| begins(id))) else {
        return Ok(Found::Absent);
    };
    let found = known(Question::Network((*id).to_owned()), cx)?;
    Ok(found.map_or(Found::Absent, Found::Own))
}

/// The names and ids of the networks that they are in.
pub(super) fn networks<'f>(members: &Members, cx: &Context<'f>) -> Looked<Vec<(&'f str, &'f str)>> {
    let mut all = Vec::new();
    for one in containers(members, cx)? {
        let networks = one.pointer("/NetworkSettings/Networks").and_then(Json::as_object);
        for (name, place) in networks.into_iter().flatten() {
            let id = str_of(place, "NetworkID");
            if name != BRIDGE && !PREDEFINED.contains(&name.as_str()) && !id.is_empty() {
                all.push((name.as_str(), id));
            }
        }
    }
    Ok(all)
}

/// What the engine calls them now.
pub(super) fn names<'f>(members: &Members, cx: &Context<'f>) -> Looked<Vec<&'f str>> {
    let all = containers(members, cx)?;
    Ok(all.into_iter().map(|one| without_slash(str_of(one, "Name"))).collect())
}

/// The id of one where this call only reads it, or joins what it has.
pub(super) fn id_for(request: &Request<'_>, found: &Json) -> Looked<String> {
    use Endpoint as E;
    match request.call.endpoint() {
        E::ContainerInspect
        | E::ContainerLogs
        | E::ContainerTop
        | E::ContainerStats
        | E::ContainerChanges
        | E::ContainerList
        | E::ContainerCreate
        | E::ImageBuild => Ok(str_of(found, "Id").to_owned()),
        _ => Err(refused(request, "container", "`inspect`, `ps`, `logs`, `top`, `stats`, `diff`")),
    }
}

/// A network of the namespace, else one that a container of the job is in.
pub(super) fn any_network<'f>(request: &Request<'f>, text: &str) -> Looked<Found<'f>> {
    match look::network(request.tenant, text, request.cx)? {
        Found::Absent => {}
        found => return Ok(found),
    }
    match network(&request.with.members, text, request.cx)? {
        Found::Own(json) => network_for(request, json).map(Found::Own),
        found => Ok(found),
    }
}

/// As `id_for`, of a network.
fn network_for<'f>(request: &Request<'_>, found: &'f Json) -> Looked<&'f Json> {
    use Endpoint as E;
    match request.call.endpoint() {
        E::NetworkInspect
        | E::NetworkConnect
        | E::NetworkDisconnect
        | E::ContainerList
        | E::ContainerCreate
        | E::ImageBuild => Ok(found),
        _ => Err(refused(request, "network", "`inspect`, and containers of the job can join it")),
    }
}

fn refused(request: &Request<'_>, what: &str, allowed: &str) -> Verdict {
    let why = format!("must not change the job's own {what} from within the job");
    let path = request.call.row().path;
    Verdict::deny(Reason::new("job.container", path, why, format!("what works is {allowed}")))
}

fn containers<'f>(members: &Members, cx: &Context<'f>) -> Looked<Vec<&'f Json>> {
    let ids = members.ids();
    let questions: Vec<Question> = ids.iter().cloned().map(Question::Container).collect();
    let open: Vec<Question> =
        questions.iter().filter(|one| cx.facts.get(one).is_none()).cloned().collect();
    if !open.is_empty() {
        return Err(Verdict::Ask(open));
    }
    let found = questions.into_iter().map(|question| known(question, cx));
    Ok(found.collect::<Looked<Vec<_>>>()?.into_iter().flatten().collect())
}
