//! Whether one request may have a stored response (RFC 9111 §4), and what with one that it may not.
//!
//! `serve` asks once it found an object. What must stay true: a response that its origin forbids to use
//! stale is never said to be usable so, whatever the client or a rule allows.

use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderMap, PRAGMA};

use super::FreshnessRules;
use super::date::FOREVER;
use super::directives::Directives;
use super::lifetime::{Lifetime, age_ms};
use crate::cache::meta::Meta;

/// In ms, between two hosts that share a store, or two looks at one clock.
const CLOCKS_DIFFER: u64 = 5_000;

/// What may be done with a stored response. `ttl` is the freshness that is left, in seconds; negative
/// if it is stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// It answers. With a negative `ttl` the client said that stale will do.
    Fresh { age: u64, ttl: i64 },
    /// It answers, and one request behind the scenes renews it.
    WhileRevalidating { age: u64, ttl: i64 },
    /// The origin is asked first.
    Stale {
        age: u64,
        ttl: i64,
        /// It answers if the origin's answer is a 500, 502, 503 or 504, or there is none.
        if_error: bool,
        /// It answers if there is no answer.
        if_unreachable: bool,
        /// Its origin forbids both.
        must_revalidate: bool,
        why: StaleReason,
    },
}

/// Why the origin is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StaleReason {
    Expired,
    NoCache,
    RequestMaxAge,
    RequestMinFresh,
    RequestNoCache,
}

impl StaleReason {
    /// Whether it would do, but for the client's wish.
    pub fn is_wish(self) -> bool {
        match self {
            StaleReason::RequestMaxAge
            | StaleReason::RequestMinFresh
            | StaleReason::RequestNoCache => true,
            StaleReason::Expired | StaleReason::NoCache => false,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            StaleReason::Expired => "expired",
            StaleReason::NoCache => "no-cache",
            StaleReason::RequestMaxAge => "request-max-age",
            StaleReason::RequestMinFresh => "request-min-fresh",
            StaleReason::RequestNoCache => "request-no-cache",
        }
    }
}

/// Whether the client wants no answer to its request stored.
pub fn wants_nothing_stored(request: &HeaderMap) -> bool {
    Directives::of(request).no_store
}

/// Whether the client wants no answer rather than one from the origin.
pub fn only_if_cached(request: &HeaderMap) -> bool {
    Directives::of(request).only_if_cached
}

pub fn reuse(meta: &Meta, request: &HeaderMap, now_ms: u64, rules: &FreshnessRules) -> Reuse {
    let wish = RequestDirectives::of(request);
    let origin = Directives::of_response(&meta.headers, rules);
    let lifetime = Lifetime::of(meta, &origin, rules);
    let state = Freshness::of(meta, &lifetime, now_ms);
    let by_origin = matches!(lifetime, Lifetime::FromOrigin { .. });
    let no_cache = by_origin && origin.no_cache;
    let must_revalidate = lifetime != Lifetime::Artifact && origin.never_stale();
    let (age, ttl) = (state.age_ms / 1000, state.ttl());

    let why = if wish.no_cache {
        Some(StaleReason::RequestNoCache)
    } else if no_cache {
        Some(StaleReason::NoCache)
    } else {
        wish.refuses(&state, origin.immutable || lifetime == Lifetime::Artifact)
    };
    let Some(why) = why else { return Reuse::Fresh { age, ttl } };
    let late = state.late_ms();
    if why == StaleReason::Expired && !must_revalidate {
        if wish.max_stale.is_some_and(|limit| within(late, limit)) {
            return Reuse::Fresh { age, ttl };
        }
        let window = origin.stale_while_revalidate.unwrap_or(whole(rules.stale_while_revalidate));
        if within(late, window) {
            return Reuse::WhileRevalidating { age, ttl };
        }
    }
    // Who asks for the origin's word does not want an old one, and an old failure helps nobody.
    let useful = !must_revalidate && !wish.no_cache && !meta.status.is_server_error();
    let limit = match (origin.stale_if_error, wish.stale_if_error) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    let error = limit.unwrap_or(whole(rules.stale_if_error));
    let unreachable = limit.unwrap_or(whole(rules.stale_if_unreachable)).max(error);
    Reuse::Stale {
        age,
        ttl,
        if_error: useful && within(late, error),
        if_unreachable: useful && within(late, unreachable),
        must_revalidate,
        why,
    }
}

/// What the client's directives ask for (RFC 9111 §5.2.1).
struct RequestDirectives {
    no_cache: bool,
    max_age: Option<u64>,
    min_fresh: Option<u64>,
    max_stale: Option<u64>,
    stale_if_error: Option<u64>,
}

impl RequestDirectives {
    fn of(request: &HeaderMap) -> RequestDirectives {
        let directives = Directives::of(request);
        let pragma = || request.get_all(PRAGMA).iter().any(|line| names_no_cache(line.as_bytes()));
        RequestDirectives {
            // RFC 9111 §5.4: `Pragma` counts where there is no `Cache-Control`.
            no_cache: directives.no_cache || (!request.contains_key(CACHE_CONTROL) && pragma()),
            max_age: directives.max_age,
            min_fresh: directives.min_fresh,
            max_stale: directives.max_stale,
            stale_if_error: directives.stale_if_error,
        }
    }

    /// Why a response in this state does not do.
    fn refuses(&self, state: &Freshness, immutable: bool) -> Option<StaleReason> {
        // RFC 8246: a reload does not ask about what is fresh and does not change.
        let settled = immutable && !state.is_stale();
        if !settled && self.max_age.is_some_and(|limit| state.is_older(limit)) {
            return Some(StaleReason::RequestMaxAge);
        }
        let min_fresh = self.min_fresh.unwrap_or(0).saturating_mul(1000);
        if state.left_ms() < min_fresh {
            return Some(StaleReason::RequestMinFresh);
        }
        state.is_stale().then_some(StaleReason::Expired)
    }
}

fn names_no_cache(pragma: &[u8]) -> bool {
    pragma.split(|byte| *byte == b',').any(|it| it.trim_ascii().eq_ignore_ascii_case(b"no-cache"))
}

/// How it is now.
struct Freshness {
    age_ms: u64,
    /// What of its lifetime is over.
    spent_ms: u64,
    lifetime_ms: u64,
}

impl Freshness {
    fn of(meta: &Meta, lifetime: &Lifetime, now_ms: u64) -> Freshness {
        let age_ms = age_ms(meta, now_ms);
        let here_ms = now_ms.saturating_sub(meta.response_time);
        let (spent_ms, lifetime_ms) = match *lifetime {
            Lifetime::Artifact => (0, FOREVER * 1000),
            // The clock was set back: how long it has been here nobody knows.
            Lifetime::FromArrival { ms } | Lifetime::FromOrigin { ms }
                if meta.response_time > now_ms.saturating_add(CLOCKS_DIFFER) =>
            {
                (ms, ms)
            }
            Lifetime::FromArrival { ms } => (here_ms, ms),
            Lifetime::FromOrigin { ms } => (age_ms, ms),
        };
        Freshness { age_ms, spent_ms, lifetime_ms }
    }

    fn is_stale(&self) -> bool {
        self.spent_ms >= self.lifetime_ms
    }

    fn left_ms(&self) -> u64 {
        self.lifetime_ms.saturating_sub(self.spent_ms)
    }

    fn late_ms(&self) -> u64 {
        self.spent_ms.saturating_sub(self.lifetime_ms)
    }

    fn ttl(&self) -> i64 {
        let seconds = |ms: u64| i64::try_from(ms / 1000).unwrap_or(i64::MAX);
        seconds(self.left_ms()) - seconds(self.late_ms())
    }

    /// `max-age=0` asks for the origin's word even if it came this very moment.
    fn is_older(&self, seconds: u64) -> bool {
        seconds == 0 || self.age_ms > seconds.saturating_mul(1000)
    }
}

fn within(late_ms: u64, seconds: u64) -> bool {
    seconds > 0 && late_ms <= seconds.saturating_mul(1000)
}

fn whole(duration: Duration) -> u64 {
    duration.as_secs().min(FOREVER)
}
