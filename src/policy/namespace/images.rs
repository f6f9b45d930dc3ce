//! Images within a namespace: whose a reference is, and whether an id may be used.
//!
//! `request` and `create` call it. What must stay true: a reference that a user writes leads to this namespace's own
//! repositories or to what the operator shares; an id only where the namespace has a tag or a container on it.

use serde_json::{Value as Json, json};

use super::NO_REGISTRY_HINT;
use super::image::{AskedImage, BadReference, ImageNames, ImageReference, pair};
use super::look::{self, Looked, str_of};
use super::nameless;
use super::prune::{given, invalid, is_labelled, older, remove, until};
use super::request::{Request, says};
use crate::api::Endpoint;
use crate::api::endpoint::{Minor, Resource};
use crate::api::grammar::image::{digits, is_image_id};
use crate::api::grammar::reference::is_id;
use crate::config::NamespaceRegistry;
use crate::policy::edit::keys;
use crate::policy::facts::Secret;
use crate::policy::{Deed, Edit, Fact, Question, Reason, Reply, Verdict, WantedGrant};

/// What the engine is asked for in the place of a reference or id that is used.
pub(super) fn used(request: &Request<'_>, text: &str) -> Looked<String> {
    match ImageNames::asked(text).map_err(|why| bad(request, &why))? {
        // It can mean nothing else: the engine says whether it is there.
        AskedImage::Name(_) => named(request, text),
        AskedImage::NameOrPrefix(..) => {
            let sent = named(request, text)?;
            if look::known(Question::Image(sent.clone()), request.cx)?.is_some() {
                return Ok(sent);
            }
            Ok(by_id(request, text, text)?.unwrap_or(sent))
        }
        AskedImage::Id(id) => by_id(request, &id, text)?.ok_or_else(|| absent(request, text)),
    }
}

/// The reference by which the engine has an image, whether it is there or not.
pub(super) fn named(request: &Request<'_>, reference: &str) -> Looked<String> {
    match request.with.is_shared(reference) {
        true => Ok(reference.to_owned()),
        false => {
            request.with.images(request.tenant).sent(reference).map_err(|why| bad(request, &why))
        }
    }
}

fn by_id(request: &Request<'_>, id: &str, text: &str) -> Looked<Option<String>> {
    let bare = digits(id);
    if !crate::api::grammar::reference::is_hexadecimal(bare) {
        return Ok(None);
    }
    let all = look::list(Resource::Image, json!({}), request.cx)?;
    // Whether there is one or not: that of another's is looked for there too.
    request.all(Resource::Container)?;
    let mut own = Vec::new();
    for image in all {
        let full = str_of(image, "Id");
        let begins = digits(full).starts_with(bare);
        if begins && is_own(request, image)? {
            own.push(full);
        }
    }
    match own.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some((*one).to_owned())),
        _ => Err(says(400, format!("invalid reference format: ambiguous image id `{text}`"))),
    }
}

/// Whether this namespace may know of an image: by a tag or digest of its own, one that is shared, or a container of its.
pub(super) fn is_own(request: &Request<'_>, image: &Json) -> Looked<bool> {
    if has_name(request, image) {
        return Ok(true);
    }
    let id = str_of(image, "Id");
    let filter = json!({ "name": [request.tenant.pattern()] });
    let containers = look::list(Resource::Container, filter, request.cx)?;
    Ok(containers.iter().any(|one| {
        str_of(one, "ImageID") == id
            && look::name_in_list(one).is_some_and(|name| request.tenant.is_own(name))
    }))
}

fn has_name(request: &Request<'_>, image: &Json) -> bool {
    is_named_here(request, image) || names(image).any(|name| request.with.is_shared(name))
}

/// Whether the namespace has a name of its own on an image, seen or not.
pub(super) fn is_named_here(request: &Request<'_>, image: &Json) -> bool {
    let own = request.with.images(request.tenant);
    names(image).any(|name| own.shown(name).is_some() || own.is_anchor(name))
}

fn names(image: &Json) -> impl Iterator<Item = &str> {
    let list = |key| image.get(key).and_then(Json::as_array).into_iter().flatten();
    list("RepoTags").chain(list("RepoDigests")).filter_map(Json::as_str)
}

pub(super) fn delete(request: &Request<'_>) -> Looked<Vec<Edit>> {
    let text = request.call.names().first().map(String::as_str).unwrap_or_default();
    if request.with.is_shared(text) {
        return Err(says(
            409,
            format!(
                "conflict: unable to remove repository reference \"{text}\": it is shared by the operator"
            ),
        ));
    }
    // With force the engine would take it from others' containers too.
    let edits = |sent: String| vec![Edit::Name(0, sent), Edit::Query("force".into(), None)];
    let sent = match ImageNames::asked(text).map_err(|why| bad(request, &why))? {
        AskedImage::Name(_) => named(request, text)?,
        AskedImage::NameOrPrefix(..) | AskedImage::Id(_) => used(request, text)?,
    };
    if !is_image_id(&sent) {
        if let Some(image) = look::known(Question::Image(sent.clone()), request.cx)? {
            nameless::let_go(request, image)?;
        }
        return Ok(edits(sent));
    }
    // By its id: that is, by all the names that it has here.
    let all = look::list(Resource::Image, json!({}), request.cx)?;
    let Some(image) = all.iter().find(|image| str_of(image, "Id") == sent) else {
        return Err(absent(request, text));
    };
    // As the engine says it of an id, which is asked for a name (`checkImageDeleteConflict` of moby): what stands in the way
    // of force too first.
    let short = |id: &str| digits(id).chars().take(12).collect::<String>();
    let containers = request.all(Resource::Container)?;
    let is_on = |one: &&Json| {
        look::name_in_list(one).is_some_and(|name| request.tenant.is_own(name))
            && str_of(one, "ImageID") == sent
    };
    let is_running =
        |one: &&Json| matches!(str_of(one, "State"), "running" | "paused" | "restarting");
    let conflict = |how: &str, why: &str| {
        let image = short(&sent);
        says(409, format!("conflict: unable to delete {image} ({how}) - image is {why}"))
    };
    if let Some(one) = containers.iter().filter(is_on).find(is_running) {
        let why = format!("being used by running container {}", short(str_of(one, "Id")));
        return Err(conflict("cannot be forced", &why));
    }
    let (tags, anchors) = (nameless::visible(request, image), nameless::anchors(request, image));
    let is_forced = request
        .call
        .query()
        .get("force")
        .is_some_and(|text| !matches!(text, "" | "0" | "false" | "False"));
    if tags.len() > 1 && !is_forced {
        return Err(conflict("must be forced", "referenced in multiple repositories"));
    }
    if let Some(one) = containers.iter().find(is_on).filter(|_| !is_forced) {
        let why = format!("being used by stopped container {}", short(str_of(one, "Id")));
        return Err(conflict("must be forced", &why));
    }
    let mut names = [tags, anchors].concat();
    // One after the other, and the last one by the call itself.
    let Some(first) = (!names.is_empty()).then(|| names.remove(0)) else {
        return Err(absent(request, text));
    };
    remove(request, Resource::Image, &names)?;
    let mut edits = edits(first.to_owned());
    edits.push(Edit::Note(REMOVED_NOTE, sent));
    Ok(edits)
}

/// The id of an image that is removed by it, for `answer`.
pub(super) const REMOVED_NOTE: &str = "image";

pub(super) fn get_all(request: &Request<'_>) -> Looked<Vec<Edit>> {
    let names = request.call.query().all("names");
    let sent = names.map(|name| used(request, name)).collect::<Looked<Vec<String>>>()?;
    Ok(vec![Edit::Queries("names".into(), sent)])
}

pub(super) fn tag(request: &Request<'_>) -> Looked<Vec<Edit>> {
    let text = request.call.names().first().map(String::as_str).unwrap_or_default();
    let repo = request.call.query().get("repo").unwrap_or_default();
    // Here it is not found (`postImagesTag` of moby).
    if let (Err(why), true) = (ImageNames::asked(text), request.cx.engine.newest >= 42) {
        return Err(says(404, why.said(request.cx.engine.newest >= 44)));
    }
    let (image, sent) = (used(request, text)?, own_name(request, repo)?);
    moves(request, repo)?;
    Ok(vec![Edit::Name(0, image), Edit::Query("repo".into(), Some(sent))])
}

pub(super) fn commit(request: &Request<'_>) -> Looked<Vec<Edit>> {
    let query = request.call.query();
    let container = request.container(query.get("container").unwrap_or_default())?;
    let mut edits = vec![Edit::Query("container".into(), Some(container))];
    // The engine writes it into the image and looks nothing up by it.
    if request.call.doc().is_some_and(|doc| doc.at(&["Image"]).is_some()) {
        edits.push(Edit::Body(keys(&["Image"]), None));
    }
    edits.extend(new_name(request)?);
    Ok(edits)
}

/// What `repo` and `tag` say that a new image is called; without a name it gets one of ours.
fn new_name(request: &Request<'_>) -> Looked<Vec<Edit>> {
    let repo = request.call.query().get("repo").unwrap_or_default();
    if !repo.is_empty() {
        let sent = own_name(request, repo)?;
        moves(request, repo)?;
        return Ok(vec![Edit::Query("repo".into(), Some(sent))]);
    }
    let anchor = nameless::fresh(request)?;
    let (repo, tag) = anchor.rsplit_once(':').unwrap_or((&anchor, ""));
    let set = |name: &'static str, text: &str| Edit::Query(name.into(), Some(text.to_owned()));
    Ok(vec![set("repo", repo), set("tag", tag)])
}

/// A name of a query, with its tag, is about to be another image's. Of what is no reference the engine says so.
fn moves(request: &Request<'_>, name: &str) -> Looked<()> {
    let tag = request.call.query().get("tag").unwrap_or_default();
    let Ok(reference) = pair(name, tag) else { return Ok(()) };
    match request.with.images(request.tenant).sent_reference(&reference) {
        Ok(sent) => nameless::keep(request, &sent),
        Err(_) => Ok(()),
    }
}

/// A pull, or an import of what the client sends.
pub(super) fn create(request: &Request<'_>) -> Looked<Vec<Edit>> {
    let query = request.call.query();
    let mut edits = Vec::new();
    if query.get("fromSrc").is_some_and(|from| !matches!(from, "" | "-")) {
        return Err(request.refuse("?fromSrc", "an address that the engine would fetch for you"));
    }
    if let Some(image) = query.get("fromImage").filter(|image| !image.is_empty()) {
        if request.with.is_shared(image) {
            return shared_pull(request, image);
        }
        edits.push(Edit::Query("fromImage".into(), Some(named(request, image)?)));
        edits.push(granted(request, image, false)?);
        moves(request, image)?;
        return Ok(edits);
    }
    edits.extend(new_name(request)?);
    Ok(edits)
}

pub(super) fn push(request: &Request<'_>) -> Looked<Vec<Edit>> {
    let text = request.call.names().first().map(String::as_str).unwrap_or_default();
    let sent = own_name(request, text)?;
    Ok(vec![Edit::Name(0, sent), granted(request, text, true)?])
}

/// What the registry has by a name, whether the engine has it or not.
pub(super) fn distribution(request: &Request<'_>) -> Looked<Vec<Edit>> {
    let text = request.call.names().first().map(String::as_str).unwrap_or_default();
    let sent = request.with.images(request.tenant).sent(text).map_err(|why| bad(request, &why))?;
    Ok(vec![Edit::Name(0, sent), granted(request, text, false)?])
}

/// What this namespace has and no container of its uses, by its names: another's tag of the same image stays.
pub(super) fn prune(request: &Request<'_>) -> Looked<Vec<Edit>> {
    let given = given(request, &["dangling", "label", "label!", "until"])?;
    let only_dangling = match given.get("dangling") {
        None => true,
        Some(values) => is_dangling_asked(values).ok_or_else(|| {
            let values = values.join(" ");
            invalid(&format!("dangling=[{values}]"), request.cx)
        })?,
    };
    let containers = request.all(Resource::Container)?;
    let used = |id: &str| containers.iter().any(|one| str_of(one, "ImageID") == id);
    let mut names = Vec::new();
    let all = look::list(Resource::Image, json!({}), request.cx)?;
    // Its complaints of a time have no status of their own to this day.
    let until = until(&given, Minor::MAX, request.cx)?;
    let own = all.iter().filter(|image| is_named_here(request, image));
    let own = own.map(|image| (str_of(image, "Id"), image));
    let unused = own.filter(|(id, image)| !used(id) && is_labelled(image, &given));
    let old = older(unused, until, &Question::Image, request.cx)?;
    for image in all {
        let id = str_of(image, "Id");
        if !old.contains(&id) {
            continue;
        }
        let tags = nameless::visible(request, image);
        if tags.is_empty() || !only_dangling {
            let all = [nameless::anchors(request, image), tags].concat();
            names.extend(all.into_iter().map(|name| (name, id)));
        }
    }
    let wanted: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
    let removed = remove(request, Resource::Image, &wanted)?;
    let own = request.with.images(request.tenant);
    let mut said = Vec::new();
    for (name, id) in names.iter().filter(|(name, _)| removed.contains(name)) {
        let one = match own.shown(name) {
            Some(name) => json!({ "Untagged": name }),
            None => json!({ "Deleted": id }),
        };
        if !said.contains(&one) {
            said.push(one);
        }
    }
    let removed = if said.is_empty() { Json::Null } else { Json::Array(said) };
    let json = json!({ "ImagesDeleted": removed, "SpaceReclaimed": 0 });
    Err(Verdict::Answer(Reply { status: 200, json: Some(json) }))
}

/// `GetBoolOrDefault` of moby's filters: none where nothing is said, or both.
fn is_dangling_asked(values: &[String]) -> Option<bool> {
    let says = |words: [&str; 2]| values.iter().any(|value| words.contains(&value.as_str()));
    let (is_false, is_true) = (says(["0", "false"]), says(["1", "true"]));
    (is_false != is_true).then_some(is_true)
}

/// The engine comes to our registry for this call and this repository, by a token that stands where the client's own
/// credentials were.
fn granted(request: &Request<'_>, reference: &str, push: bool) -> Looked<Edit> {
    let Some(NamespaceRegistry { name, address }) = &request.with.settings.registry else {
        let why = "no registry is named in this namespace's policy";
        let reason = Reason::new("namespace.registry", "image", why, NO_REGISTRY_HINT);
        return Err(Verdict::deny(reason));
    };
    let reference = ImageReference::parse(reference).map_err(|why| bad(request, &why))?;
    let mut headers = request.call.headers();
    let header = headers.find(|(name, _)| *name == AUTH).map(|(_, value)| value.to_vec());
    let repository = request.with.images(request.tenant).repository(&reference);
    let (registry, address) = (name.clone(), address.clone());
    let (pull, logins) = (true, None);
    let wanted = WantedGrant { registry, address, repository, pull, push, header, logins };
    match request.cx.once(Deed::Grant(wanted.clone())) {
        Verdict::Pass(_) => {}
        other => return Err(other),
    }
    match request.cx.facts.get(&Question::Granted(Box::new(wanted))) {
        Some(Fact::Header(Secret(text))) => Ok(Edit::Header(AUTH, Some(text.as_bytes().to_vec()))),
        _ => Err(says(502, "no token for the registry could be had".to_owned())),
    }
}

const AUTH: &str = "x-registry-auth";

/// What is shared is pulled where it is not there. Whoever could pull it anew would change it for everybody.
fn shared_pull(request: &Request<'_>, image: &str) -> Looked<Vec<Edit>> {
    let tag = request.call.query().get("tag").unwrap_or_default();
    let separator = if tag.contains(':') { '@' } else { ':' };
    let reference = match tag {
        "" => image.to_owned(),
        tag => format!("{image}{separator}{tag}"),
    };
    let platform = request.call.query().get("platform").unwrap_or_default();
    if look::known(Question::Image(reference.clone()), request.cx)?.is_none() {
        // What the first one pulls everybody has: nothing of it is theirs to choose.
        return match tag.is_empty() || !platform.is_empty() {
            true => Err(says(
                403,
                format!(
                    "denied: `{image}` is shared by the operator: it is pulled by a tag, and for the engine's platform"
                ),
            )),
            false => Ok(Vec::new()),
        };
    }
    let status = format!("Status: Image is up to date for {reference}");
    Err(Verdict::Answer(Reply { status: 200, json: Some(json!({ "status": status })) }))
}

/// The name for something new, which nobody else is to see.
pub(super) fn own_name(request: &Request<'_>, reference: &str) -> Looked<String> {
    if request.with.is_shared(reference) {
        return Err(says(
            403,
            format!("denied: `{reference}` is shared by the operator, and only read"),
        ));
    }
    request.with.images(request.tenant).sent(reference).map_err(|why| bad(request, &why))
}

/// In the engine's words, which are others before 1.44; and before 1.42 so is where they are said (moby 20.10
/// daemon/images/images.go, `LookupImage`; errors of a tag and a commit have no status of their own).
fn bad(request: &Request<'_>, why: &BadReference) -> Verdict {
    let newest = request.cx.engine.newest;
    let words = why.said(newest >= 44);
    match request.call.endpoint() {
        Endpoint::ImageInspect if newest < 42 => {
            let name = request.call.names().first().map(String::as_str).unwrap_or_default();
            says(400, format!("no such image: {name}: {words}"))
        }
        // But for the name of what is tagged.
        Endpoint::ImageTag
            if newest < 42
                && request
                    .call
                    .names()
                    .first()
                    .is_some_and(|name| ImageNames::asked(name).is_err()) =>
        {
            says(400, words)
        }
        Endpoint::ImageTag | Endpoint::ImageCommit if newest < 42 => says(500, words),
        _ => says(400, words),
    }
}

/// An id is said as a digest, however it was written.
fn absent(request: &Request<'_>, text: &str) -> Verdict {
    let said = if is_id(text) { format!("sha256:{text}") } else { text.to_owned() };
    let is_told_twice =
        request.cx.engine.newest < 42 && request.call.endpoint() == Endpoint::ImageInspect;
    let before = if is_told_twice { format!("no such image: {text}: ") } else { String::new() };
    says(404, format!("{before}No such image: {said}"))
}
