//! What a name, an id or the beginning of one means within a namespace.
//!
//! `request` and `view` look things up here, by what is known of the engine. What must stay true: whatever is not this
//! namespace's is absent; who a thing belongs to is read from the name that the engine has for it, and from nothing else.

use serde_json::{Value as Json, json};

use super::names::{BRIDGE, PREDEFINED, Tenant};
use super::request::is_plain;
use super::volumes;
use crate::api::endpoint::Resource;
use crate::api::grammar::reference::{is_hexadecimal, is_id, without_slash};
use crate::policy::{Context, Fact, Question, Reason, Verdict};

/// Or what must be known or said first.
pub(super) type Looked<T> = Result<T, Verdict>;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Found<'f> {
    /// As the engine inspects it, or lists it.
    Own(&'f Json),
    Absent,
    /// More than one thing has an id that begins so.
    Several,
}

impl<'f> Found<'f> {
    pub(super) fn own(self) -> Option<&'f Json> {
        match self {
            Found::Own(json) => Some(json),
            Found::Absent | Found::Several => None,
        }
    }
}

/// Whether it can mean nothing but what has this name. The engine then is asked for the name that it has in its place, and
/// finds that at the moment of its use: nothing comes between, and what is not there it does not find.
pub(super) fn is_only_a_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(is_plain)
        && !is_hexadecimal(text)
        && !PREDEFINED.contains(&text)
}

/// What the engine is to be asked for, where that is known without asking it: by its own name it finds a thing itself, and
/// an id of this namespace's own is nothing else's.
pub(super) fn directly(
    tenant: &Tenant,
    resource: Resource,
    text: &str,
    cx: &Context<'_>,
) -> Looked<Option<String>> {
    let sent = tenant.sent(text);
    if is_only_a_name(text) {
        return Ok(Some(sent));
    }
    if !is_hexadecimal(text) {
        return Ok(None);
    }
    // A name goes before the beginning of an id.
    if !is_id(text) && indexed(tenant, resource, &sent, cx)?.is_some() {
        return Ok(Some(sent));
    }
    let own = indexed(tenant, resource, text, cx)?;
    Ok(own.map(|json| str_of(json, "Id").to_owned()))
}

/// `Id` and `Name` of what is known to be this namespace's. Of what is not known the engine has to be asked, and so of what is
/// another's: both take as long.
pub(super) fn indexed<'f>(
    tenant: &Tenant,
    resource: Resource,
    text: &str,
    cx: &Context<'f>,
) -> Looked<Option<&'f Json>> {
    let found = known(Question::Indexed(resource, text.to_owned()), cx)?;
    Ok(found.filter(|json| tenant.is_own(str_of(json, "Name"))))
}

/// Full id, name, then the beginning of an id, as the engine has it (`daemon.GetContainer` of moby).
pub(super) fn container<'f>(tenant: &Tenant, text: &str, cx: &Context<'f>) -> Looked<Found<'f>> {
    let text = without_slash(text);
    let is_own = |json: &Json| tenant.is_own(without_slash(str_of(json, "Name")));
    let listed = |json: &Json| name_in_list(json).is_some_and(|name| tenant.is_own(name));
    if is_id(text) {
        let found = known(Question::Container(text.to_owned()), cx)?;
        return Ok(found.filter(|json| is_own(json)).map_or(Found::Absent, Found::Own));
    }
    let by_name = known(Question::Container(tenant.sent(text)), cx)?;
    match by_name.filter(|json| is_own(json)) {
        Some(json) => Ok(Found::Own(json)),
        None => by_prefix(tenant, Resource::Container, text, &listed, cx),
    }
}

/// The same for networks (`FindNetwork` of moby).
pub(super) fn network<'f>(tenant: &Tenant, text: &str, cx: &Context<'f>) -> Looked<Found<'f>> {
    let is_own = |json: &Json| {
        let name = str_of(json, "Name");
        tenant.is_own(name) || PREDEFINED.contains(&name)
    };
    if PREDEFINED.contains(&text) || is_id(text) {
        let found = known(Question::Network(text.to_owned()), cx)?;
        return Ok(found.filter(|json| is_own(json)).map_or(Found::Absent, Found::Own));
    }
    match known(Question::Network(tenant.sent(text)), cx)? {
        Some(json) => Ok(Found::Own(json)),
        None => by_prefix(tenant, Resource::Network, text, &is_own, cx),
    }
}

/// Volumes have no ids. Whose one is that the engine has named by itself stands in its labels.
pub(super) fn volume(tenant: &Tenant, name: &str, cx: &Context<'_>) -> Looked<Option<String>> {
    // The engine makes another path of what is no name of a volume.
    if !is_plain(name) {
        return Ok(None);
    }
    let sent = tenant.sent(name);
    if known(Question::Volume(sent.clone()), cx)?.is_some() {
        return Ok(Some(sent));
    }
    if !is_id(name) {
        return Ok(None);
    }
    let found = known(Question::Volume(name.to_owned()), cx)?;
    let own = found.filter(|json| volumes::is_own_anonymous(tenant, json));
    Ok(own.map(|_| name.to_owned()))
}

/// The container that an exec is in, where it is this namespace's.
pub(super) fn exec<'f>(tenant: &Tenant, id: &str, cx: &Context<'f>) -> Looked<Found<'f>> {
    let Some(exec) = known(Question::ExecInspect(id.to_owned()), cx)? else {
        // It takes as long as to find another's.
        known(Question::Container(id.to_owned()), cx)?;
        return Ok(Found::Absent);
    };
    match str_of(exec, "ContainerID") {
        "" => Ok(Found::Absent),
        id if indexed(tenant, Resource::Container, id, cx)?.is_some() => Ok(Found::Own(exec)),
        container_id => Ok(match container(tenant, container_id, cx)? {
            Found::Own(_) => Found::Own(exec),
            other => other,
        }),
    }
}

/// What the engine has of a kind, with these filters.
pub(super) fn list<'f>(resource: Resource, filter: Json, cx: &Context<'f>) -> Looked<&'f [Json]> {
    let question = Question::List(resource, Some(filter.to_string()));
    let all = known(question, cx)?;
    let all = all.map(|json| json.get("Volumes").unwrap_or(json));
    Ok(all.and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default())
}

/// Of a container in a list: its own name, not those that others link to it by.
pub(super) fn name_in_list(container: &Json) -> Option<&str> {
    let names = container.get("Names")?.as_array()?;
    let mut own = names.iter().filter_map(Json::as_str).map(without_slash);
    own.find(|name| !name.contains('/'))
}

pub(super) fn str_of<'j>(json: &'j Json, key: &str) -> &'j str {
    json.get(key).and_then(Json::as_str).unwrap_or_default()
}

/// The default network under its own name, and others under theirs.
pub(super) fn network_name(name: &str) -> &str {
    if name == "default" { BRIDGE } else { name }
}

fn by_prefix<'f>(
    tenant: &Tenant,
    resource: Resource,
    text: &str,
    is_own: &dyn Fn(&Json) -> bool,
    cx: &Context<'f>,
) -> Looked<Found<'f>> {
    if !is_hexadecimal(text) {
        return Ok(Found::Absent);
    }
    // Not with a filter by the id: engines know no container by a beginning that another's has too.
    let filter = json!({ "name": [tenant.pattern()] });
    let all = list(resource, filter, cx)?;
    let begins = |one: &&Json| str_of(one, "Id").starts_with(text) && is_own(one);
    let mut own = all.iter().filter(begins);
    Ok(match (own.next(), own.next()) {
        (None, _) => Found::Absent,
        (Some(one), None) => Found::Own(one),
        (Some(_), Some(_)) => Found::Several,
    })
}

/// What the engine says, or what must be asked of it.
pub(super) fn known<'f>(question: Question, cx: &Context<'f>) -> Looked<Option<&'f Json>> {
    match cx.facts.get(&question) {
        None => Err(Verdict::Ask(vec![question])),
        Some(Fact::Absent) => Ok(None),
        Some(Fact::Json(json)) => Ok(Some(json)),
        Some(Fact::Failed(why)) => Err(unknown(&question, why)),
        Some(_) => Err(unknown(&question, "it is something else")),
    }
}

/// The engine's own words about something are not its users' to see.
fn unknown(question: &Question, why: &str) -> Verdict {
    let what = match question {
        Question::Container(_) => "a container",
        Question::Network(_) => "a network",
        Question::Volume(_) => "a volume",
        Question::Image(_) => "an image",
        _ => "the engine",
    };
    let why =
        format!("cannot be judged: what the engine says of {what} cannot be understood ({why})");
    Verdict::deny(Reason { status: 502, ..Reason::new("namespace.unknown", "request", why, "") })
}
