//! Whether a response may be stored (RFC 9111 §3), and for whom (§3.5).
//!
//! Asked by `fill::judge` as soon as an answer's head is there. What must stay true: each refusal has a name
//! that `Cache-Status` tells; what the origin says of `no-store` and `private` holds against every rule.

use std::fmt;

use http::header::{AUTHORIZATION, COOKIE, ETAG, HeaderMap, LAST_MODIFIED, SET_COOKIE};
use http::{Method, StatusCode};

use super::FreshnessRules;
use super::directives::Directives;
use super::lifetime::{explicit, is_explicit, rule};
use super::vary::{Vary, vary_names};

/// Whether the answer to this request may be kept, by anybody.
pub fn may_store(
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    response: &HeaderMap,
    rules: &FreshnessRules,
) -> Result<(), NotStored> {
    if method != Method::GET {
        return Err(NotStored::Method);
    }
    if Directives::of(request).no_store {
        return Err(NotStored::RequestNoStore);
    }
    may_store_status(status)?;
    if let Vary::Everything = Vary::of(response) {
        return Err(NotStored::VaryStar);
    }
    let directives = Directives::of_response(response, rules);
    if directives.must_understand {
        // RFC 9111 §5.2.2.3: then `no-store` is for caches that do not know the status.
        if !is_understood(status) {
            return Err(NotStored::StatusNotUnderstood);
        }
    } else if directives.no_store {
        return Err(NotStored::NoStore);
    }
    if directives.private {
        return Err(NotStored::Private);
    }
    may_be_of_use(status, response, &directives, rules)
}

/// Why what a response led to is not to be kept, in its own words.
pub fn forbids_storing(response: &HeaderMap, rules: &FreshnessRules) -> Option<NotStored> {
    let directives = Directives::of_response(response, rules);
    match (directives.no_store, directives.private) {
        (true, _) => Some(NotStored::NoStore),
        (_, true) => Some(NotStored::Private),
        _ => None,
    }
}

/// Whether it may be given to anybody, or only to those who sent the same credentials.
pub fn shareable(request: &HeaderMap, response: &HeaderMap, rules: &FreshnessRules) -> bool {
    let authorized = request.contains_key(AUTHORIZATION);
    let cookie = request.contains_key(COOKIE);
    if !authorized && !cookie {
        return true;
    }
    if !rules.share_authorized || (cookie && response.contains_key(SET_COOKIE)) {
        return false;
    }
    if vary_names(response).iter().any(|name| *name == AUTHORIZATION || *name == COOKIE) {
        return false;
    }
    let directives = Directives::of_response(response, rules);
    directives.public || directives.must_revalidate || directives.s_maxage.is_some()
}

/// Why an answer is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotStored {
    /// The answer of a request with conditions, of which the cache stores no body.
    Conditional,
    /// Only answers to GET are.
    Method,
    /// Nothing says how long it could be used, and nothing how to ask whether it still can.
    NoFreshness,
    NoStore,
    /// It would have to be validated before each use, and cannot be.
    NoValidator,
    /// A part.
    Partial,
    Private,
    RequestNoStore,
    /// Not a status that is stored unless the origin asks for it.
    Status,
    /// `must-understand`, and this cache does not.
    StatusNotUnderstood,
    /// `Vary: *`, or a `Vary` that cannot be read.
    VaryStar,
}

impl NotStored {
    pub fn as_str(self) -> &'static str {
        match self {
            NotStored::Conditional => "conditional",
            NotStored::Method => "method",
            NotStored::NoFreshness => "no-freshness",
            NotStored::NoStore => "no-store",
            NotStored::NoValidator => "no-validator",
            NotStored::Partial => "partial",
            NotStored::Private => "private",
            NotStored::RequestNoStore => "request-no-store",
            NotStored::Status => "status",
            NotStored::StatusNotUnderstood => "status-not-understood",
            NotStored::VaryStar => "vary-star",
        }
    }
}

impl fmt::Display for NotStored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Statuses that may be kept without the origin asking for it (RFC 9110 §15.1).
pub(super) fn is_heuristic(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// Statuses of which this cache does all that their definition asks of a cache (RFC 9110 §15).
fn is_understood(status: StatusCode) -> bool {
    is_heuristic(status)
        || matches!(status.as_u16(), 201 | 202 | 205 | 302 | 303 | 307)
        || matches!(
            status.as_u16(),
            400..=403 | 406 | 408 | 409 | 411 | 413 | 415 | 417 | 421 | 422 | 426
        )
        || matches!(status.as_u16(), 500 | 502..=505)
}

fn may_store_status(status: StatusCode) -> Result<(), NotStored> {
    match status.as_u16() {
        0..200 => Err(NotStored::Status),
        206 => Err(NotStored::Partial),
        // They answer a condition or a range of this one request, not the URL.
        304 | 412 | 416 => Err(NotStored::Conditional),
        // They answer who asked.
        407 | 511 => Err(NotStored::Status),
        _ => Ok(()),
    }
}

/// Whether there is a request that it could serve.
fn may_be_of_use(
    status: StatusCode,
    response: &HeaderMap,
    directives: &Directives,
    rules: &FreshnessRules,
) -> Result<(), NotStored> {
    if rules.artifact && status == StatusCode::OK {
        return Ok(());
    }
    let validator = status.is_success()
        && (response.contains_key(ETAG) || response.contains_key(LAST_MODIFIED));
    let stale = directives.stale_if_error.is_some() || directives.stale_while_revalidate.is_some();
    if let Some(ms) = rule(status, response, directives, rules) {
        let usable = ms > 0 || validator;
        return if usable { Ok(()) } else { Err(NotStored::NoValidator) };
    }
    if !is_explicit(response, directives) {
        if !is_heuristic(status) && !directives.public {
            return Err(NotStored::Status);
        }
        let dated = response.contains_key(LAST_MODIFIED) || !rules.heuristic_undated.is_zero();
        let guessed = rules.heuristic && dated;
        return if guessed || validator { Ok(()) } else { Err(NotStored::NoFreshness) };
    }
    // `Expires` without a `Date` is compared with the time it came, which is not known here: any
    // `Expires` that can be read may be in the future.
    let never = explicit(response, directives, 0) == Some(0) && !stale;
    if (never || directives.no_cache) && !validator {
        return Err(NotStored::NoValidator);
    }
    Ok(())
}
