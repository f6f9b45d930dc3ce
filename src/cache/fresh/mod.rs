//! When a response may be stored, and when what is stored may be used (RFC 9111).
//!
//! Pure: `now` is an argument. Called by `serve` and `fill`. `storing` decides what is kept, `lifetime`
//! how long it is fresh, `reuse` whether one request may have it, `conditions` and `update` are the two
//! halves of a validation, `vary` tells variants apart, `invalidate` what a write makes worthless,
//! `fields` what never goes further, `status` tells it all to the client. What must stay true: where
//! the origin contradicts itself or cannot be understood, the stricter reading wins.

mod conditions;
mod date;
mod directives;
mod fields;
mod invalidate;
mod lifetime;
mod reuse;
mod status;
mod storing;
mod update;
mod vary;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

pub use conditions::{
    Precondition, add_validators, not_modified_headers, precondition, strip_conditions,
};
pub use date::repair_date;
pub use fields::{for_one_client, strip_forwarded, strip_stored};
pub use invalidate::{invalidated_targets, invalidates, post_as_get};
pub use lifetime::{age, fresh_until_ms, says_how_long};
pub use reuse::{Reuse, StaleReason, only_if_cached, reuse, wants_nothing_stored};
pub use status::{CacheStatus, Forwarded};
pub use storing::{NotStored, forbids_storing, may_store, shareable};
pub use update::{HeadUpdate, head_update, same, updated};
pub use vary::{Seal, variant, vary_names};

/// What a route or the configuration adds to what the origin says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreshnessRules {
    /// Reuse of answers to requests with `Authorization` as RFC 9111 §3.5 allows it, and of answers to
    /// requests with `Cookie`, of which it says nothing.
    pub share_authorized: bool,
    /// Heuristic freshness (RFC 9111 §4.2.2).
    pub heuristic: bool,
    /// The longest that it gives.
    pub heuristic_most: Duration,
    /// What it gives to a response that does not say when it changed.
    pub heuristic_undated: Duration,
    /// A 200 never changes under its key: whatever the origin says of freshness, it is kept. What it
    /// says of `no-store` and `private` holds.
    pub artifact: bool,
    /// How long a 200 is fresh after it came, whatever the origin says of freshness.
    pub ttl: Option<Duration>,
    /// The same for a 404 or 410 without explicit freshness.
    pub negative: Option<Duration>,
    /// RFC 5861, when the origin says nothing of it.
    pub stale_if_error: Duration,
    pub stale_while_revalidate: Duration,
    /// The same when the origin gives no answer at all: RFC 9111 §4.2.4 lets a cache that is
    /// disconnected serve what is stale.
    pub stale_if_unreachable: Duration,
    /// Fields that, the first one first, are obeyed instead of `Cache-Control` and `Expires` (RFC 9213).
    pub targeted: Arc<[HeaderName]>,
}

impl Default for FreshnessRules {
    fn default() -> FreshnessRules {
        FreshnessRules {
            share_authorized: false,
            heuristic: false,
            heuristic_most: Duration::from_secs(24 * 60 * 60),
            heuristic_undated: Duration::ZERO,
            artifact: false,
            ttl: None,
            negative: None,
            stale_if_error: Duration::ZERO,
            stale_while_revalidate: Duration::ZERO,
            stale_if_unreachable: Duration::from_secs(24 * 60 * 60),
            targeted: Arc::new([HeaderName::from_static("cdn-cache-control")]),
        }
    }
}

#[cfg(test)]
mod tests;
