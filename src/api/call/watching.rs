//! Which calls only look on, for as long as they are let.
//!
//! `gateway` asks when the program ends: a client of theirs loses nothing that it cannot ask for again. What must stay true:
//! what does or carries work (attach, exec, builds, pulls, waits) is none of them.

use super::{Call, Endpoint, Query};

/// Whether the answer has no end of its own.
pub(super) fn watches(call: &Call) -> bool {
    let Some(row) = call.row() else { return false };
    let (switch, unless_said) = match row.endpoint {
        Endpoint::SystemEvents => return true,
        Endpoint::ContainerLogs | Endpoint::ServiceLogs | Endpoint::TaskLogs => ("follow", false),
        Endpoint::ContainerStats => ("stream", true),
        _ => return false,
    };
    let is_on = |query: &Query| query.get(switch).map_or(unless_said, is_true);
    match call {
        Call::Typed(call) => is_on(call.query()),
        Call::Verbatim(call) => {
            let target = String::from_utf8_lossy(call.head.target());
            let (_, query) = target.split_once('?').unwrap_or_default();
            // What nobody here can read may be an answer that ends by itself.
            Query::parse(query).is_ok_and(|query| is_on(&query))
        }
        Call::Http2 => false,
    }
}

/// As the engine reads it (`BoolValue` in moby's `api/server/httputils/form.go`).
fn is_true(value: &str) -> bool {
    !matches!(value.trim().to_lowercase().as_str(), "" | "0" | "no" | "false" | "none")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::head::RequestHead;

    #[test]
    fn what_follows_looks_on_and_what_works_does_not() {
        let watched = |line: &str| {
            let raw = format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n");
            let head = RequestHead::parse(raw.as_bytes()).unwrap();
            watches(&Call::verbatim(head))
        };
        for line in [
            "GET /events",
            "GET /v1.41/events?filters={}",
            "GET /containers/a/logs?stdout=1&follow=true",
            "GET /v1.41/services/a/logs?follow=1",
            "GET /containers/a/stats",
            "GET /containers/a/stats?stream=yes",
        ] {
            assert!(watched(line), "{line}");
        }
        for line in [
            "GET /containers/a/logs?stdout=1",
            "GET /containers/a/logs?follow=0",
            "GET /tasks/a/logs?follow=",
            "GET /containers/a/stats?stream=false",
            "POST /containers/a/attach?stream=1",
            "POST /containers/a/wait",
            "POST /images/create?fromImage=a",
            "GET /containers/a/logs?follow=1;",
        ] {
            assert!(!watched(line), "{line}");
        }
    }
}
