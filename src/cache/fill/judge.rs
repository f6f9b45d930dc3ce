//! Whether an answer is stored, and as what.
//!
//! Called by `filler` when the answer's head is there; pure. What must stay true: what was asked for
//! with credentials is for others only if `fresh` says so, and only for those who send the same but for
//! the credentials that it knows.

use http::{HeaderMap, Method, StatusCode, header};

use super::ask::ResponseStart;
use super::in_flight::Unstored;
use super::job::Job;
use crate::cache::Cache;
use crate::cache::fresh;
use crate::cache::key::Key;
use crate::cache::meta::{Meta, Stored};
use crate::cache::route::Kind;

pub(super) fn storable(job: &Job, begun: &ResponseStart) -> Result<(), Unstored> {
    let ResponseStart { status, headers, .. } = begun;
    let route = &job.route;
    let as_get = fresh::post_as_get(&route.key, &job.method, *status, headers, &route.rules);
    if route.kind == Kind::PassThrough || (!job.fills() && !as_get) {
        return Err(Unstored::PassThrough);
    }
    // It cannot be checked: it is for whom it came, at his own risk.
    if route.verify.is_some() && *status == StatusCode::OK && !is_plain_file(*status, headers) {
        return Err(Unstored::Unchecked);
    }
    // Who has led here has a say, too.
    if let Some(reason) =
        begun.hops.iter().find_map(|hop| fresh::forbids_storing(hop, &route.rules))
    {
        return Err(Unstored::Response(reason));
    }
    // What one caller may not have another may.
    if matches!(route.kind, Kind::Restricted | Kind::Permitted) && *status != StatusCode::OK {
        return Err(Unstored::Response(fresh::NotStored::Status));
    }
    // What is stored is worth more than an error.
    if job.found().is_some() && matches!(status.as_u16(), 500 | 502..=504) && job.may_use_stale() {
        return Err(Unstored::Error);
    }
    fresh::may_store(&Method::GET, &job.request, *status, headers, &route.rules)
        .map_err(Unstored::Response)
}

pub(super) fn meta(cache: &Cache, job: &Job, begun: &ResponseStart, stored: bool) -> Meta {
    let mut headers = begun.headers.clone();
    if stored {
        fresh::strip_stored(&mut headers);
        // A rule says that it may be kept, and the origin does not: whose cookie that is nobody knows.
        if !fresh::says_how_long(&headers, &job.route.rules) {
            headers.remove(header::SET_COOKIE);
        }
    }
    let partition = match fresh::shareable(&job.request, &headers, &job.route.rules) {
        true if !matches!(job.route.kind, Kind::Restricted | Kind::Permitted) => job.common,
        _ => job.route.key.partition,
    };
    let kind = match (&job.route.kind, begun.status) {
        (Kind::Artifact | Kind::Restricted | Kind::Permitted, StatusCode::OK) => Stored::Artifact,
        _ => Stored::Metadata,
    };
    let names = fresh::vary_names(&headers);
    Meta {
        key: Key { partition, ..job.route.key.clone() },
        kind,
        status: begun.status,
        vary: cache.variant(&job.route, &names, &job.request),
        headers,
        request_time: begun.times.0,
        response_time: begun.times.1,
        length: begun.length.unwrap_or(0),
        sha256: [0; 32],
    }
}

/// A compressed transfer of a file is not the file that a digest is of.
pub(super) fn is_plain_file(status: StatusCode, headers: &HeaderMap) -> bool {
    let coding = headers.get(header::CONTENT_ENCODING);
    status == StatusCode::OK
        && coding.is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}
