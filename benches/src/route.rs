//! Which answer of the stub belongs to a request.

use std::io;

use crate::answers::Answers;
use crate::http::{self, bad};

pub(crate) enum Route {
    /// A prepared answer.
    Say(fn(&Answers) -> &[u8]),
    /// A stream of events in which nothing happens.
    Forever,
    /// `POST /images/load`.
    Load,
    /// `GET /images/get`, that many bytes.
    Save(u64),
    Hijack(Hijack),
}

/// What a hijacked stream does, by the id in the path.
#[derive(Clone, Copy)]
pub(crate) enum Hijack {
    /// Sends back what comes.
    Echo,
    /// Reads to the end, then says how many bytes came.
    Sink,
    /// Sends that many bytes as they are, then ends its direction.
    Source(u64),
    /// Sends that many bytes in dockerd's frames of 32 KiB.
    Frames(u64),
    /// Waits for the client to end.
    Idle,
}

/// Reads a request head: where it goes, and whether it asks for an upgrade.
pub(crate) fn of(head: &[u8]) -> io::Result<(Route, bool)> {
    let line = head.split(|b| *b == b'\r').next().unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| bad("request line"))?;
    let mut words = line.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(bad("request line"));
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let upgrade = http::header(head, "upgrade").is_some();
    Ok((find(method, unversioned(path), query), upgrade))
}

fn find(method: &str, path: &str, query: &str) -> Route {
    let mut parts = path.split('/').skip(1);
    match (method, parts.next(), parts.next(), parts.next()) {
        ("GET", Some("_ping"), None, None) => Route::Say(|a| &a.ping),
        ("HEAD", Some("_ping"), None, None) => Route::Say(|a| &a.ping_head),
        ("GET", Some("version"), None, None) => Route::Say(|a| &a.version),
        ("GET", Some("info"), None, None) => Route::Say(|a| &a.info),
        ("GET", Some("events"), None, None) => Route::Forever,
        ("GET", Some("containers"), Some("json"), None) => Route::Say(|a| &a.list),
        ("POST", Some("containers"), Some("create"), None)
        | ("POST", Some("containers"), Some(_), Some("exec")) => Route::Say(|a| &a.created),
        ("GET", Some("containers" | "exec"), Some(_), Some("json")) => Route::Say(|a| &a.inspected),
        ("POST", Some("containers"), Some(id), Some("attach"))
        | ("POST", Some("exec"), Some(id), Some("start")) => Route::Hijack(hijack(id)),
        ("POST", Some("containers" | "exec"), Some(_), Some("start" | "resize")) => {
            Route::Say(|a| &a.no_content)
        }
        ("POST", Some("images"), Some("load"), None) => Route::Load,
        ("GET", Some("images"), Some("get"), None) => Route::Save(trailing_number(query)),
        _ => Route::Say(|a| &a.missing),
    }
}

fn hijack(id: &str) -> Hijack {
    match id.split_once('-').map_or(id, |(kind, _)| kind) {
        "echo" => Hijack::Echo,
        "sink" => Hijack::Sink,
        "source" => Hijack::Source(trailing_number(id)),
        "frames" => Hijack::Frames(trailing_number(id)),
        _ => Hijack::Idle,
    }
}

/// `names=bench:1024` and `source-1024` say 1024; without a number it is 1 GiB.
fn trailing_number(text: &str) -> u64 {
    let digits = text.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().unwrap_or(1 << 30)
}

fn unversioned(path: &str) -> &str {
    let number = path.strip_prefix("/v").and_then(|rest| rest.split_once('/'));
    match number {
        Some((version, _)) if version.starts_with(|c: char| c.is_ascii_digit()) => {
            &path[2 + version.len()..]
        }
        _ => path,
    }
}
