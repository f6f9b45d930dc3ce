//! Images without a name: what keeps one its namespace's, where its users have no tag on it.
//!
//! The engine knows of no owner of an image, so each has a tag of ours below the namespace (`ImageNames::anchor`), which lists
//! do not show: the image is `<none>:<none>` to its users, as it would be. `images` and `build` have it made, before whatever
//! makes the image or takes its name away. What must stay true: no image that its users could use by its id is without
//! one; with the last name that its users see it goes, or nothing would ever be removed.

use serde_json::{Value as Json, json};

use super::look::{self, Looked, str_of};
use super::prune::remove;
use super::request::{Request, says};
use crate::api::endpoint::Resource;
use crate::api::grammar::image::digits;
use crate::policy::{Deed, Fact, Question, Verdict};

/// The tags that its users know of an image.
pub(super) fn visible<'j>(request: &Request<'_>, image: &'j Json) -> Vec<&'j str> {
    let names = request.with.images(request.tenant);
    tags(image).filter(|tag| names.shown(tag).is_some()).collect()
}

pub(super) fn anchors<'j>(request: &Request<'_>, image: &'j Json) -> Vec<&'j str> {
    let names = request.with.images(request.tenant);
    tags(image).filter(|tag| names.is_anchor(tag)).collect()
}

/// The image that has this name now stays, whatever is going to be called so.
pub(super) fn keep(request: &Request<'_>, name: &str) -> Looked<()> {
    // What is named by its digest cannot be anything else.
    if name.contains('@') {
        return Ok(());
    }
    let Some(image) = look::known(Question::Image(name.to_owned()), request.cx)? else {
        return Ok(());
    };
    if !anchors(request, image).is_empty() {
        return Ok(());
    }
    let id = str_of(image, "Id").to_owned();
    let anchor = request.with.images(request.tenant).anchor(digits(&id));
    match request.cx.once(Deed::Tag { image: id, name: anchor }) {
        Verdict::Pass(_) => Ok(()),
        other => Err(other),
    }
}

/// The name of an image that is given none: what the engine makes of a build, a commit or an import then has it from the
/// beginning.
pub(super) fn fresh(request: &Request<'_>) -> Looked<String> {
    tidy(request)?;
    match request.cx.facts.get(&Question::Fresh) {
        None => Err(Verdict::Ask(vec![Question::Fresh])),
        Some(Fact::Fresh(text)) => Ok(request.with.images(request.tenant).anchor(text)),
        Some(_) => Err(says(500, "no random name can be had".to_owned())),
    }
}

/// Before an image's last name goes. Those that are still in use say so themselves.
pub(super) fn let_go(request: &Request<'_>, image: &Json) -> Looked<()> {
    if visible(request, image).len() <= 1 {
        remove(request, Resource::Image, &anchors(request, image))?;
    }
    Ok(())
}

/// Who builds the same again and again gets one image, and keeps one tag on it.
fn tidy(request: &Request<'_>) -> Looked<()> {
    let all = look::list(Resource::Image, json!({}), request.cx)?;
    let more = all.iter().flat_map(|image| anchors(request, image).into_iter().skip(1));
    remove(request, Resource::Image, &more.collect::<Vec<_>>())?;
    Ok(())
}

fn tags(image: &Json) -> impl Iterator<Item = &str> {
    let tags = image.get("RepoTags").and_then(Json::as_array).into_iter().flatten();
    tags.filter_map(Json::as_str)
}
