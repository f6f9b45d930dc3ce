//! What a 304, or the answer to a HEAD, changes of a stored response (RFC 9111 §3.2, §4.3.4, §4.3.5).
//!
//! `fill` asks `same` first. What must stay true: the fields that say what the stored bytes are stay
//! as they were stored.

use http::StatusCode;
use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, HeaderMap, HeaderName,
    LAST_MODIFIED, SET_COOKIE, VARY, WARNING,
};

use super::conditions::Tag;
use super::date::{date_of, repair_date};
use super::fields::strip_stored;
use crate::cache::meta::Meta;

/// Whether a 304 speaks of this stored response. One without any validator does: it answers the
/// validators that were sent.
pub fn same(meta: &Meta, not_modified: &HeaderMap) -> bool {
    if let Some(tag) = not_modified.get(ETAG) {
        let stored = meta.headers.get(ETAG).map(|stored| Tag::of(stored.as_bytes()));
        return stored.is_some_and(|stored| stored.same(Tag::of(tag.as_bytes())));
    }
    let Some(changed) = not_modified.get(LAST_MODIFIED) else { return true };
    let Some(stored) = meta.headers.get(LAST_MODIFIED) else { return true };
    let date = date_of(not_modified, &LAST_MODIFIED);
    changed == stored || (date.is_some() && date == date_of(&meta.headers, &LAST_MODIFIED))
}

/// The stored response as a 304 makes it, or the answer to a HEAD.
pub fn updated(meta: &Meta, new: &HeaderMap, request_time: u64, response_time: u64) -> Meta {
    let mut new = new.clone();
    strip_stored(&mut new);
    for name in KEPT {
        new.remove(name);
    }
    let mut headers = meta.headers.clone();
    // They spoke of the answer before; without a new one, it is new.
    for name in [AGE, DATE, WARNING] {
        headers.remove(name);
    }
    for name in new.keys() {
        headers.remove(name);
    }
    for (name, value) in &new {
        headers.append(name, value.clone());
    }
    // The field that withholds others may be new.
    strip_stored(&mut headers);
    repair_date(&mut headers, response_time);
    Meta { headers, request_time, response_time, ..meta.clone() }
}

/// What the answer to a HEAD says of what is stored for GET.
#[derive(Clone, Debug, PartialEq)]
pub enum HeadUpdate {
    /// The same response: this is how it is now.
    Refreshed(Box<Meta>),
    /// Another one: what is stored is stale.
    Invalid,
    Nothing,
}

pub fn head_update(
    meta: &Meta,
    status: StatusCode,
    head: &HeaderMap,
    request_time: u64,
    response_time: u64,
) -> HeadUpdate {
    if status != StatusCode::OK || meta.status != StatusCode::OK {
        return HeadUpdate::Nothing;
    }
    let kept =
        |name: HeaderName| head.get(&name).is_none_or(|it| meta.headers.get(&name) == Some(it));
    let length = head.get(CONTENT_LENGTH).is_none_or(|it| *it == meta.length.to_string());
    if length && kept(ETAG) && kept(LAST_MODIFIED) {
        HeadUpdate::Refreshed(Box::new(updated(meta, head, request_time, response_time)))
    } else {
        HeadUpdate::Invalid
    }
}

/// Fields of a 304 that change nothing: they describe the stored bytes, chose the variant, or are for the
/// client alone that asked.
const KEPT: [HeaderName; 6] =
    [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, SET_COOKIE, VARY];
