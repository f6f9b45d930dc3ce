//! Prunes: what this namespace has and nobody uses is listed, and removed one by one.
//!
//! `request` calls it. What must stay true: the engine's own prune, which takes everybody's, is never asked; nothing is
//! removed that is used by the time that it is.

use serde_json::{Map, Value as Json, json};

use super::lists::filters;
use super::look::{self, Looked, str_of};
use super::names::BRIDGE;
use super::request::{ANONYMOUS, Request, says};
use super::volumes;
use crate::api::endpoint::Resource;
use crate::policy::{Deed, Edit, Reply, Verdict};

pub(super) fn containers(request: &Request<'_>) -> Looked<Vec<Edit>> {
    let given = filters(request.call.query().get("filters"))?;
    only(&given, &["label", "label!"])?;
    let mut wanted = json!({
        "name": [request.tenant.pattern()],
        "status": ["created", "exited", "dead"],
    });
    if let Some(labels) = given.get("label")
        && let Some(map) = wanted.as_object_mut()
    {
        map.insert("label".to_owned(), json!(labels));
    }
    let all = look::list(Resource::Container, wanted, request.cx)?;
    let own = all.iter().filter(|one| {
        look::name_in_list(one).is_some_and(|name| request.tenant.is_own(name))
            && is_wanted(one, &given)
    });
    let ids: Vec<&str> = own.map(|one| str_of(one, "Id")).collect();
    let removed = remove(request, Resource::Container, &ids)?;
    Err(answer(json!({ "ContainersDeleted": or_null(removed), "SpaceReclaimed": 0 })))
}

pub(super) fn networks(request: &Request<'_>) -> Looked<Vec<Edit>> {
    let given = filters(request.call.query().get("filters"))?;
    only(&given, &["label", "label!"])?;
    let all = request.all(Resource::Network)?;
    let own = all.iter().filter(|one| {
        let name = request.tenant.shown(str_of(one, "Name"));
        name.is_some_and(|name| name != BRIDGE) && has_labels(one, &given) && is_wanted(one, &given)
    });
    let (ids, names): (Vec<&str>, Vec<&str>) =
        own.map(|one| (str_of(one, "Id"), str_of(one, "Name"))).unzip();
    let removed = remove(request, Resource::Network, &ids)?;
    let name = |id: &&str| names.get(ids.iter().position(|other| other == id)?).copied();
    let removed: Vec<&str> =
        removed.iter().filter_map(name).filter_map(|name| request.tenant.shown(name)).collect();
    Err(answer(json!({ "NetworksDeleted": or_null(removed) })))
}

pub(super) fn volumes(request: &Request<'_>) -> Looked<Vec<Edit>> {
    let given = filters(request.call.query().get("filters"))?;
    only(&given, &["label", "label!", "all"])?;
    let is_all = |text: &String| matches!(text.as_str(), "1" | "true" | "True");
    // From 1.42 on only those that nobody has named, unless all are wanted.
    let version = request.call.version().unwrap_or(request.cx.engine.newest);
    let takes_named = version < 42 || given.get("all").is_some_and(|all| all.iter().any(is_all));
    let unused = Map::from_iter([("dangling".to_owned(), json!(["true"]))]);
    let own = volumes::own(request, &unused)?.into_iter().filter(|one| {
        let is_anonymous = one.get("Labels").is_some_and(|labels| labels.get(ANONYMOUS).is_some());
        (takes_named || is_anonymous) && has_labels(one, &given) && is_wanted(one, &given)
    });
    let names: Vec<&str> = own.map(|one| str_of(one, "Name")).collect();
    let removed = remove(request, Resource::Volume, &names)?;
    let shown = removed.into_iter().map(|name| request.tenant.shown(name).unwrap_or(name));
    let removed: Vec<&str> = shown.collect();
    Err(answer(json!({ "VolumesDeleted": or_null(removed), "SpaceReclaimed": 0 })))
}

/// What could be removed; what is used by now stays.
pub(super) fn remove<'n>(
    request: &Request<'_>,
    resource: Resource,
    names: &[&'n str],
) -> Looked<Vec<&'n str>> {
    let deed = |name: &&str| Deed::RemoveUnused(resource, (*name).to_owned());
    let outcome = |name: &&str| request.cx.facts.outcome(&deed(name));
    let open: Vec<Deed> = names.iter().filter(|name| outcome(name).is_none()).map(deed).collect();
    if !open.is_empty() {
        return Err(Verdict::Do(open));
    }
    Ok(names.iter().filter(|name| outcome(name).is_some_and(Result::is_ok)).copied().collect())
}

/// Go writes `null` for a list that nothing was put into.
fn or_null(list: Vec<&str>) -> Json {
    if list.is_empty() { Json::Null } else { json!(list) }
}

fn answer(json: Json) -> Verdict {
    Verdict::Answer(Reply { status: 200, json: Some(json) })
}

/// Nothing is removed by a filter that is not looked at here: `until` too, for a policy has no clock.
pub(super) fn only(given: &super::lists::Filters, known: &[&str]) -> Looked<()> {
    match given.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(says(400, format!("invalid filter '{key}': it is not for namespaces"))),
        None => Ok(()),
    }
}

pub(super) fn has_labels(one: &Json, given: &super::lists::Filters) -> bool {
    given.get("label").into_iter().flatten().all(|wanted| has_label(one, wanted))
}

/// `label!`, which lists do not have.
pub(super) fn is_wanted(one: &Json, given: &super::lists::Filters) -> bool {
    !given.get("label!").into_iter().flatten().any(|unwanted| has_label(one, unwanted))
}

fn has_label(one: &Json, wanted: &str) -> bool {
    let (key, value) =
        wanted.split_once('=').map_or((wanted, None), |(key, value)| (key, Some(value)));
    let found = one.get("Labels").and_then(|labels| labels.get(key)).and_then(Json::as_str);
    found.is_some_and(|found| value.is_none_or(|value| value == found))
}
