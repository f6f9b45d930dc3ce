//! When a response may be stored, and when what is stored may be used (RFC 9111).
//!
//! Pure: `now` is an argument. Called by `serve` and `fill`.

use std::time::Duration;

/// What a route or the configuration adds to what the origin says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Reuse of answers to requests with `Authorization` as RFC 9111 §3.5 allows it.
    pub share_authorized: bool,
    /// Heuristic freshness (RFC 9111 §4.2.2).
    pub heuristic: bool,
    /// RFC 5861, when the origin says nothing of it.
    pub stale_if_error: Duration,
    pub stale_while_revalidate: Duration,
}
