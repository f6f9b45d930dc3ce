//! What is to be fetched, for whom and what for: everything that one request to an origin needs to know.
//!
//! `serve` makes it of a request and its route, `filler` carries it out, `ask` and `judge` read it. What must stay true:
//! it holds nothing of the client's connection, for it goes on when the client has left.

use http::{HeaderMap, Method};

use super::flights::Flight;
use crate::cache::fresh;
use crate::cache::key::Partition;
use crate::cache::route::Route;
use crate::cache::stats::Account;
use crate::cache::store::StoredResponse;
use crate::cache::upstream::RequestBody;

#[derive(Debug)]
pub struct Job {
    pub route: Route,
    pub method: Method,
    /// The client's own, which variants are chosen by.
    pub request: HeaderMap,
    /// Where an answer that others may have is kept.
    pub common: Partition,
    pub upload: RequestBody,
    pub purpose: Purpose,
    pub account: Account,
    /// In ms since 1970.
    pub began: u64,
}

#[derive(Debug)]
pub enum Purpose {
    /// Into the store, if it may be; renewing what was found there. `alone`: what comes is for one
    /// client, and nobody waits for it.
    Fill { flight: Flight, found: Option<StoredResponse>, alone: bool },
    /// To one client only.
    Pass { found: Option<StoredResponse> },
}

impl Job {
    pub(super) fn found(&self) -> Option<&StoredResponse> {
        match &self.purpose {
            Purpose::Fill { found, .. } | Purpose::Pass { found } => found.as_ref(),
        }
    }

    /// Whether what was found may answer in place of an error of the origin.
    pub(super) fn may_use_stale(&self) -> bool {
        let reuse = self
            .found()
            .map(|found| fresh::reuse(&found.meta, &self.request, self.began, &self.route.rules));
        matches!(reuse, Some(fresh::Reuse::Stale { if_error: true, .. }))
    }

    pub(super) fn fills(&self) -> bool {
        matches!(self.purpose, Purpose::Fill { .. })
    }
}
