//! Prunes: what this namespace has and nobody uses is listed, and removed one by one.
//!
//! `request` calls it. What must stay true: the engine's own prune, which takes everybody's, is never asked; nothing is
//! removed that is used by the time that it is.

use serde_json::{Map, Value as Json, json};

use super::lists::{Filters, filters};
use super::look::{self, Looked, str_of};
use super::names::{BRIDGE, LABEL};
use super::request::{ANONYMOUS, Request, says};
use super::volumes::{self, OWNER};
use crate::api::endpoint::{Minor, Resource};
use crate::api::grammar::moment::{LocalTime, UnixTime};
use crate::policy::{Context, Deed, Edit, Question, Reply, Verdict};

pub(super) fn containers(request: &Request<'_>) -> Looked<Vec<Edit>> {
    let given = given(request, &["label", "label!", "until"])?;
    let wanted = json!({
        "name": [request.tenant.pattern()],
        "status": ["created", "exited", "dead"],
    });
    let all = look::list(Resource::Container, wanted, request.cx)?;
    let until = until(&given, 44, request.cx)?;
    let own = all.iter().filter(|one| {
        look::name_in_list(one).is_some_and(|name| request.tenant.is_own(name))
            && is_labelled(one, &given)
    });
    let ids = own.map(|one| (str_of(one, "Id"), one));
    let ids = older(ids, until, &Question::Container, request.cx)?;
    let removed = remove(request, Resource::Container, &ids)?;
    Err(answer(json!({ "ContainersDeleted": or_null(removed), "SpaceReclaimed": 0 })))
}

pub(super) fn networks(request: &Request<'_>) -> Looked<Vec<Edit>> {
    let given = given(request, &["label", "label!", "until"])?;
    let all = request.all(Resource::Network)?;
    let until = until(&given, 44, request.cx)?;
    let own = all.iter().filter(|one| {
        let name = request.tenant.shown(str_of(one, "Name"));
        name.is_some_and(|name| name != BRIDGE)
            && is_labelled(one, &given)
            && until.is_none_or(|until| created(one).is_some_and(|created| created <= until))
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
    let newest = request.cx.engine.newest;
    let known: &[&str] =
        if newest < 42 { &["label", "label!"] } else { &["label", "label!", "all"] };
    let given = given(request, known)?;
    // From 1.42 on only those that nobody has named, unless all are wanted.
    let takes_named = request.call.version().unwrap_or(newest) < 42 || is_all_wanted(&given)?;
    let unused = Map::from_iter([("dangling".to_owned(), json!(["true"]))]);
    let own = volumes::own(request, &unused)?.into_iter().filter(|one| {
        let is_anonymous = one.get("Labels").is_some_and(|labels| labels.get(ANONYMOUS).is_some());
        // What its driver was told may lead to what is nobody's own (`Prune` of moby's volume/service).
        let options = one.get("Options").and_then(Json::as_object);
        let is_plain = str_of(one, "Driver") == "local" && options.is_none_or(Map::is_empty);
        (takes_named || is_anonymous) && is_plain && is_labelled(one, &given)
    });
    let names: Vec<&str> = own.map(|one| str_of(one, "Name")).collect();
    let removed = remove(request, Resource::Volume, &names)?;
    let shown = removed.into_iter().map(|name| request.tenant.shown(name).unwrap_or(name));
    let removed: Vec<&str> = shown.collect();
    Err(answer(json!({ "VolumesDeleted": or_null(removed), "SpaceReclaimed": 0 })))
}

/// `withPrune` of moby's volume/service, with the words of `strconv.ParseBool`.
fn is_all_wanted(given: &Filters) -> Looked<bool> {
    let values = given.get("all").map(Vec::as_slice).unwrap_or_default();
    let why = match values {
        [] => return Ok(false),
        [one] => match one.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => return Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => return Ok(false),
            other => format!("'all': strconv.ParseBool: parsing {other:?}: invalid syntax"),
        },
        more => format!("'all=[{}]': only one value is expected", more.join(" ")),
    };
    Err(says(400, format!("invalid filter {why}")))
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

/// The filters of a prune, each of its values once, where the engine knows all of them.
pub(super) fn given(request: &Request<'_>, known: &[&str]) -> Looked<Filters> {
    let mut given = filters(request.call.query().get("filters"))?;
    if let Some(key) = given.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(invalid(key, request.cx));
    }
    for values in given.values_mut() {
        values.sort_unstable();
        values.dedup();
    }
    Ok(given)
}

/// What is said of a filter, by its name or with its values.
pub(super) fn invalid(filter: &str, cx: &Context<'_>) -> Verdict {
    let word = if cx.engine.newest < 42 { "Invalid" } else { "invalid" };
    says(400, format!("{word} filter '{filter}'"))
}

/// What is newer than this stays, by the clock of the engine. Until some version of the API its complaints have no status
/// of their own.
pub(super) fn until(given: &Filters, since: Minor, cx: &Context<'_>) -> Looked<Option<UnixTime>> {
    let Some(values) = given.get("until") else { return Ok(None) };
    let status = if cx.engine.newest < since { 500 } else { 400 };
    let text = match values.as_slice() {
        [one] => one,
        // The engine ends in a trace (`getUntilFromPruneFilters` of moby).
        [] => return Err(says(400, "no until filter specified".to_owned())),
        _ => return Err(says(status, "more than one until filter specified".to_owned())),
    };
    let info = look::known(Question::Info, cx)?;
    let now = info.and_then(|info| LocalTime::parse(str_of(info, "SystemTime")));
    let Some(now) = now else {
        return Err(says(500, "the engine does not say what time it is".to_owned()));
    };
    let until = UnixTime::written(text, now);
    until
        .map(Some)
        .ok_or_else(|| says(status, format!("failed to parse value as time or duration: {text:?}")))
}

/// Those that are no newer, by what stands in lists: whole seconds. Of what was made in the very second the engine is asked
/// for more.
pub(super) fn older<'j>(
    all: impl Iterator<Item = (&'j str, &'j Json)>,
    until: Option<UnixTime>,
    question: &dyn Fn(String) -> Question,
    cx: &Context<'_>,
) -> Looked<Vec<&'j str>> {
    let Some(until) = until else { return Ok(all.map(|(id, _)| id).collect()) };
    let (mut old, mut open) = (Vec::new(), Vec::new());
    for (id, one) in all {
        let seconds = one.get("Created").and_then(Json::as_i64).unwrap_or(i64::MAX);
        // An image that says nothing of when it was made stands there as if it were very old.
        let is_told = seconds > 0 && seconds != until.seconds;
        if is_told && seconds > until.seconds {
            continue;
        }
        if !is_told {
            match look::known(question(id.to_owned()), cx) {
                Ok(Some(one)) if created(one).is_some_and(|created| created <= until) => {}
                Ok(_) => continue,
                Err(Verdict::Ask(questions)) => {
                    open.extend(questions);
                    continue;
                }
                Err(other) => return Err(other),
            }
        }
        old.push(id);
    }
    if open.is_empty() { Ok(old) } else { Err(Verdict::Ask(open)) }
}

/// When the engine says that it was made; of some images it says the beginning of all time.
fn created(one: &Json) -> Option<UnixTime> {
    let text = str_of(one, "Created");
    LocalTime::parse(text).filter(|_| !text.starts_with("0001-")).map(|time| time.moment)
}

/// Whether it has all of the labels that are wanted, and not all of those that are not (`matchLabels` of moby).
pub(super) fn is_labelled(one: &Json, given: &Filters) -> bool {
    let has_all = |wanted: &Vec<String>| wanted.iter().all(|wanted| has_label(one, wanted));
    given.get("label").is_none_or(has_all) && !given.get("label!").is_some_and(has_all)
}

fn has_label(one: &Json, wanted: &str) -> bool {
    let (key, value) =
        wanted.split_once('=').map_or((wanted, None), |(key, value)| (key, Some(value)));
    // Ours are not there.
    let labels = one.get("Labels").filter(|_| key != LABEL && key != OWNER);
    let found = labels.and_then(|labels| labels.get(key)).and_then(Json::as_str);
    found.is_some_and(|found| value.is_none_or(|value| value == found))
}
