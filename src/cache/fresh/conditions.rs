//! Conditions: those of a client, judged by what is stored, and ours, which ask whether it still holds
//! (RFC 9111 §4.3.1 and §4.3.2).
//!
//! `serve` judges before it answers and asks when `reuse` says so. What must stay true: a 304 goes only
//! to a client that has this very response; where only the origin may judge, it does.

use http::header::{
    CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, HeaderMap, HeaderName, HeaderValue,
    IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED,
    RANGE, VARY,
};
use http::{Method, StatusCode};

use super::date::{date_of, parse_date};
use super::directives::cut_member;
use crate::cache::meta::Meta;

/// What a request's conditions say to a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// It is sent as if there were none.
    None,
    /// The client has it: 304.
    NotModified,
    /// `If-Match` or `If-Unmodified-Since` does not hold for what is stored, but may for what the
    /// origin has: only it can tell.
    Origin,
}

/// In the order of RFC 9110 §13.2.2.
pub fn precondition(
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    response: &HeaderMap,
) -> Precondition {
    if !(method == Method::GET || method == Method::HEAD) || !status.is_success() {
        return Precondition::None;
    }
    if request.contains_key(IF_MATCH) {
        if !matches(request, &IF_MATCH, response, |a, b| a.same_strongly(b)) {
            return Precondition::Origin;
        }
    } else if request.contains_key(IF_UNMODIFIED_SINCE)
        && !is_unchanged_since(request, &IF_UNMODIFIED_SINCE, response)
    {
        return Precondition::Origin;
    }
    let unmodified = if request.contains_key(IF_NONE_MATCH) {
        matches(request, &IF_NONE_MATCH, response, |a, b| a.same(b))
    } else {
        is_unchanged_since(request, &IF_MODIFIED_SINCE, response)
    };
    if unmodified { Precondition::NotModified } else { Precondition::None }
}

/// Makes a request ask whether what is stored still holds. The client's own conditions go, and its
/// range: a validation is of the whole.
pub fn add_validators(meta: &Meta, request: &mut HeaderMap) {
    strip_conditions(request);
    request.remove(RANGE);
    if !meta.status.is_success() {
        return;
    }
    for (stored, condition) in [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)] {
        if let Some(value) = meta.headers.get(stored) {
            request.insert(condition, value.clone());
        }
    }
}

/// For a fetch of what is to be stored whole.
pub fn strip_conditions(request: &mut HeaderMap) {
    for name in [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE] {
        request.remove(name);
    }
}

/// What of a stored head belongs into a 304 (RFC 9110 §15.4.5).
pub fn not_modified_headers(stored: &HeaderMap) -> HeaderMap {
    let tagged = stored.contains_key(ETAG);
    let belongs = |name: &HeaderName| {
        [CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, VARY].contains(name)
            || name.as_str().ends_with("-cache-control")
            || (*name == LAST_MODIFIED && !tagged)
    };
    let lines = stored.iter().filter(|(name, _)| belongs(name));
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(name, value.clone());
    }
    headers
}

/// Whether any entity tag of a condition is the stored response's.
fn matches(
    request: &HeaderMap,
    condition: &HeaderName,
    response: &HeaderMap,
    same: fn(Tag<'_>, Tag<'_>) -> bool,
) -> bool {
    let stored = response.get(ETAG).map(HeaderValue::as_bytes).map(Tag::of);
    let lines = request.get_all(condition).iter().map(HeaderValue::as_bytes);
    lines.into_iter().any(|line| {
        line.trim_ascii() == b"*"
            || stored.is_some_and(|stored| tags(line).any(|tag| same(tag, stored)))
    })
}

fn tags(line: &[u8]) -> impl Iterator<Item = Tag<'_>> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let cut = cut_member(rest)?;
        rest = cut.rest;
        Some(Tag::of(cut.member))
    })
}

#[derive(Clone, Copy)]
pub(super) struct Tag<'a> {
    opaque: &'a [u8],
    weak: bool,
}

impl<'a> Tag<'a> {
    pub(super) fn of(text: &'a [u8]) -> Tag<'a> {
        let text = text.trim_ascii();
        match text.strip_prefix(b"W/") {
            Some(opaque) => Tag { opaque, weak: true },
            None => Tag { opaque: text, weak: false },
        }
    }

    /// RFC 9110 §8.8.3.2.
    pub(super) fn same(self, other: Tag<'_>) -> bool {
        !self.opaque.is_empty() && self.opaque == other.opaque
    }

    fn same_strongly(self, other: Tag<'_>) -> bool {
        self.same(other) && !self.weak && !other.weak
    }
}

/// Whether the stored response is not newer than a date; without `Last-Modified`, its own date counts
/// (RFC 9111 §4.3.2). A date that cannot be read is no condition.
fn is_unchanged_since(request: &HeaderMap, condition: &HeaderName, response: &HeaderMap) -> bool {
    let mut lines = request.get_all(condition).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return false };
    let Some(since) = line.to_str().ok().and_then(parse_date) else { return false };
    let changed = match response.contains_key(LAST_MODIFIED) {
        true => date_of(response, &LAST_MODIFIED),
        false => date_of(response, &DATE),
    };
    changed.is_some_and(|changed| changed <= since)
}
