//! How old a stored response is, and how long it is fresh (RFC 9111 §4.2).
//!
//! Used by `reuse` and `storing`; `serve` writes `age` into each answer and keeps `fresh_until_ms`
//! beside what it holds in memory. What must stay true: a response is never taken for younger than
//! what any cache on its way, its `Date` or this machine's clock say.

use http::StatusCode;
use http::header::{AGE, DATE, EXPIRES, HeaderMap, LAST_MODIFIED};

use super::FreshnessRules;
use super::date::{FOREVER, date_of, seconds};
use super::directives::Directives;
use super::storing::is_heuristic;
use crate::cache::meta::{Meta, Stored};

/// The age in seconds, as `Age` says it.
pub fn age(meta: &Meta, now_ms: u64) -> u64 {
    age_ms(meta, now_ms) / 1000
}

/// Until when a request without any directive may have it as it is.
pub fn fresh_until_ms(meta: &Meta, rules: &FreshnessRules) -> u64 {
    let directives = Directives::of_response(&meta.headers, rules);
    match Lifetime::of(meta, &directives, rules) {
        Lifetime::Artifact => u64::MAX,
        Lifetime::FromArrival { ms } => meta.response_time.saturating_add(ms),
        Lifetime::FromOrigin { .. } if directives.no_cache => 0,
        Lifetime::FromOrigin { ms } => {
            meta.response_time.saturating_add(ms).saturating_sub(initial_age_ms(meta))
        }
    }
}

/// By whom and how long it is fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// Never changes.
    Artifact,
    /// By a rule of ours: it counts from when it came here.
    FromArrival { ms: u64 },
    /// By what the origin says; zero if it says nothing.
    FromOrigin { ms: u64 },
}

impl Lifetime {
    pub(super) fn of(meta: &Meta, directives: &Directives, rules: &FreshnessRules) -> Lifetime {
        if meta.kind == Stored::Artifact && meta.status == StatusCode::OK {
            return Lifetime::Artifact;
        }
        if let Some(ttl) = rule(meta.status, &meta.headers, directives, rules) {
            return Lifetime::FromArrival { ms: ttl };
        }
        let seconds = explicit(&meta.headers, directives, meta.response_time)
            .or_else(|| heuristic(meta, directives, rules));
        Lifetime::FromOrigin { ms: seconds.unwrap_or(0) * 1000 }
    }
}

/// What a rule gives to a response, in milliseconds.
pub(super) fn rule(
    status: StatusCode,
    headers: &HeaderMap,
    directives: &Directives,
    rules: &FreshnessRules,
) -> Option<u64> {
    let ttl = match status {
        StatusCode::OK => rules.ttl?,
        StatusCode::NOT_FOUND | StatusCode::GONE if !is_explicit(headers, directives) => {
            rules.negative?
        }
        _ => return None,
    };
    Some(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).min(FOREVER * 1000))
}

/// Whether the origin says at all how long it is fresh.
pub(super) fn is_explicit(headers: &HeaderMap, directives: &Directives) -> bool {
    explicit(headers, directives, 0).is_some()
}

/// Whether the origin says how long a response is fresh, so that it knows that it is kept.
pub fn says_how_long(response: &HeaderMap, rules: &FreshnessRules) -> bool {
    is_explicit(response, &Directives::of_response(response, rules))
}

/// The lifetime that the origin gives (RFC 9111 §4.2.1), in seconds.
pub(super) fn explicit(
    headers: &HeaderMap,
    directives: &Directives,
    response_time: u64,
) -> Option<u64> {
    if let Some(seconds) = directives.s_maxage.or(directives.max_age) {
        return Some(seconds);
    }
    if directives.targeted || !headers.contains_key(EXPIRES) {
        return None;
    }
    let born = date_of(headers, &DATE).unwrap_or(response_time / 1000);
    // A date that cannot be read, such as `0`, is in the past.
    Some(date_of(headers, &EXPIRES).map_or(0, |expires| expires.saturating_sub(born)))
}

/// A tenth of the time for which it had not changed, and not too much (RFC 9111 §4.2.2).
fn heuristic(meta: &Meta, directives: &Directives, rules: &FreshnessRules) -> Option<u64> {
    if !rules.heuristic || !(is_heuristic(meta.status) || directives.public) {
        return None;
    }
    let born = date_of(&meta.headers, &DATE).unwrap_or(meta.response_time / 1000);
    let seconds = match date_of(&meta.headers, &LAST_MODIFIED) {
        Some(changed) => born.saturating_sub(changed) / 10,
        None => rules.heuristic_undated.as_secs(),
    };
    Some(seconds.min(rules.heuristic_most.as_secs()))
}

pub(super) fn age_ms(meta: &Meta, now_ms: u64) -> u64 {
    initial_age_ms(meta).saturating_add(now_ms.saturating_sub(meta.response_time))
}

/// The age when it came (RFC 9111 §4.2.3).
fn initial_age_ms(meta: &Meta) -> u64 {
    let born = date_of(&meta.headers, &DATE);
    let apparent = born.map_or(0, |born| (meta.response_time / 1000).saturating_sub(born));
    let delay = meta.response_time.saturating_sub(meta.request_time);
    let corrected = (age_value(&meta.headers) * 1000).saturating_add(delay);
    corrected.max(apparent.min(FOREVER) * 1000)
}

/// `Age` as it came: the first value counts, and one that is no number not at all (RFC 9111 §5.1).
fn age_value(headers: &HeaderMap) -> u64 {
    let first =
        headers.get(AGE).and_then(|line| line.as_bytes().split(|byte| *byte == b',').next());
    first.and_then(|value| seconds(value.trim_ascii())).unwrap_or(0)
}
