//! The files of a container, one by one, and a container that is made only to have its image's files looked at.
//!
//! `gateway::layouts` and `gateway::install` call it. What must stay true: as for `own` and `change`, requests are
//! constants but for names, which are encoded whole; a container that is made here is never started, has no network, and
//! is known by its label and its name, so that one that was left is found.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::change::words;
use super::own::{AGENT, MOST_SMALL, is_a_name, read_head};
use super::{Conn, Engine, EngineError, Inspected, Subject};
use crate::api::endpoint::{Minor, Resource};
use crate::api::json as read_json;
use crate::wire::pump::{Inbox, collect};
use crate::wire::tar::{TarFile, first_file};
use crate::wire::trail::Trail;

/// How a container is known that was made to be looked into.
const LABEL: &str = "io.dockgate.probe";
const PREFIX: &str = "dockgate-probe-";
/// Of an archive with one file in it: its header, what is said in front of that, and the end.
const AROUND_A_FILE: usize = 128 * 1024;
/// Go's bits of a mode (`io/fs.FileMode`).
const FOLDER: u64 = 1 << 31;
const SYMLINK: u64 = 1 << 27;
/// Devices, pipes, sockets and what is none of the others.
const IRREGULAR: u64 = 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19;

/// What is by a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathKind {
    /// With its size.
    File(u64),
    Folder,
    /// Where it leads in the container, all links resolved; there need be nothing.
    Link(String),
    Other,
}

/// Why nothing is known of a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("the engine's answer about `{path}` {what}")]
    Odd { path: String, what: String },
}

impl Engine {
    /// What is by this path in a container, whose folders are no links.
    pub async fn path_kind(
        &self,
        version: Minor,
        container: &str,
        path: &str,
        trail: &Trail,
    ) -> Result<Option<PathKind>, FileError> {
        let line = archive_line("HEAD", version, container, path);
        let (status, stat, _) = self.ask_archive(&line, trail, 0).await?;
        match status {
            200 => read_stat(&stat).map(Some).ok_or_else(|| odd(path, "is no file's state")),
            404 => Ok(None),
            other => Err(odd(path, &format!("is {other}"))),
        }
    }

    /// A file of a container; none where there is none, or a larger one.
    pub async fn file(
        &self,
        version: Minor,
        container: &str,
        path: &str,
        most: usize,
        trail: &Trail,
    ) -> Result<Option<TarFile>, FileError> {
        let line = archive_line("GET", version, container, path);
        match self.ask_archive(&line, trail, most.saturating_add(AROUND_A_FILE)).await? {
            (200, _, archive) => {
                let read = first_file(archive);
                read.map_err(|error| odd(path, &format!("cannot be read: {error}")))
            }
            (404, ..) => Ok(None),
            (other, ..) => Err(odd(path, &format!("is {other}"))),
        }
    }

    /// Makes a container of an image, to look into: its id.
    pub async fn make_probe(
        &self,
        version: Minor,
        image: &str,
        unique: &str,
        trail: &Trail,
    ) -> Result<Result<String, String>, EngineError> {
        // Without a command an image need not have one, and nothing of it ever runs.
        let body = json!({
            "Image": image,
            "Entrypoint": ["/"],
            "Cmd": ["/"],
            "Healthcheck": { "Test": ["NONE"] },
            "NetworkDisabled": true,
            "Labels": { LABEL: "1" },
            "HostConfig": { "NetworkMode": "none" },
        });
        let line = format!("POST /v1.{version}/containers/create?name={PREFIX}{unique}");
        let body = body.to_string();
        let made = self.change(&line, Some(("application/json", body.as_bytes())), trail).await?;
        Ok(match made {
            (201, answer) => {
                let answer: Option<Value> = read_json::read(&answer).ok();
                let id = answer.as_ref().and_then(|answer| answer.get("Id")?.as_str());
                id.map(str::to_owned).ok_or_else(|| "its answer has no id".to_owned())
            }
            (status, body) => Err(words(status, &body)),
        })
    }

    /// Removes those that were left longer than this ago by a gateway that was killed meanwhile.
    pub async fn sweep_probes(
        &self,
        version: Minor,
        before: u64,
        trail: &Trail,
    ) -> Result<(), EngineError> {
        let filters = json!({ "label": [LABEL], "status": ["created"] }).to_string();
        let subject = Subject::List(Resource::Container, Some(&filters));
        let Inspected::Json(found) = self.look_up(version, subject, trail).await? else {
            return Ok(());
        };
        for id in left_probes(&found, before) {
            // One that cannot be removed is there the next time.
            let _ = self.remove(version, Resource::Container, id, trail).await?;
        }
        Ok(())
    }

    /// Status, the head's line about the file, and the body. Asked again where a connection of the pool has closed:
    /// nothing was changed.
    async fn ask_archive(
        &self,
        line: &str,
        trail: &Trail,
        most: usize,
    ) -> Result<(u16, Vec<u8>, Vec<u8>), EngineError> {
        let mut request =
            format!("{line} HTTP/1.1\r\nHost: docker\r\nUser-Agent: {AGENT}\r\n").into_bytes();
        request.extend_from_slice(b"\r\n");
        trail.put(&mut request);
        let asking = async {
            if let Some(mut conn) = self.pool.take()
                && let Ok((reply, keeps)) = exchange_archive(&mut conn, &request, most).await
            {
                keeps.then(|| self.keep(conn));
                return Ok(reply);
            }
            let mut conn = self.connect().await?;
            let answer = exchange_archive(&mut conn, &request, most).await;
            let (reply, keeps) = answer.map_err(|error| self.refused(&error))?;
            keeps.then(|| self.keep(conn));
            Ok(reply)
        };
        tokio::time::timeout(self.patience(), asking).await.unwrap_or_else(|_| Err(self.silent()))
    }
}

fn odd(path: &str, what: &str) -> FileError {
    FileError::Odd { path: path.to_owned(), what: what.to_owned() }
}

type ArchiveReply = (u16, Vec<u8>, Vec<u8>);

async fn exchange_archive(
    conn: &mut Conn,
    request: &[u8],
    most: usize,
) -> std::io::Result<(ArchiveReply, bool)> {
    conn.write(request).await?;
    let (reader, _) = conn.stream.split();
    let mut inbox = Inbox { reader, buffer: &mut conn.buffer };
    let to_head = request.starts_with(b"HEAD ");
    let (head, mut framing) = read_head(&mut inbox, to_head).await?;
    let most = if head.status == 200 { most } else { MOST_SMALL };
    let body = collect(&mut inbox, &mut framing, most, &mut 0).await;
    let invalid = || std::io::Error::from(std::io::ErrorKind::InvalidData);
    let body = body.map_err(|_| invalid())?.ok_or_else(invalid)?;
    let stat = head.headers.get("x-docker-container-path-stat").unwrap_or_default().to_vec();
    let keeps = head.version == 1 && !head.headers.lists("connection", "close");
    Ok(((head.status, stat, body), keeps && framing.is_done()))
}

/// A name that cannot be one is asked for as the engine takes none.
fn archive_line(method: &str, version: Minor, container: &str, path: &str) -> String {
    let container = if is_a_name(container) { container } else { "-" };
    let container = utf8_percent_encode(container, NON_ALPHANUMERIC);
    let path = utf8_percent_encode(path, NON_ALPHANUMERIC);
    format!("{method} /v1.{version}/containers/{container}/archive?path={path}")
}

fn read_stat(header: &[u8]) -> Option<PathKind> {
    let json: Value = read_json::read(&BASE64_STANDARD.decode(header).ok()?).ok()?;
    let mode = json.get("mode")?.as_u64()?;
    Some(match mode {
        _ if mode & SYMLINK != 0 => PathKind::Link(json.get("linkTarget")?.as_str()?.to_owned()),
        _ if mode & FOLDER != 0 => PathKind::Folder,
        _ if mode & IRREGULAR != 0 => PathKind::Other,
        _ => PathKind::File(json.get("size")?.as_u64()?),
    })
}

/// An image can have the label too, and whoever uses it a name of his own: both must be ours.
fn left_probes(list: &Value, before: u64) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(move |one| {
        let mut names = one.get("Names")?.as_array()?.iter().filter_map(Value::as_str);
        let is_ours = names.all(|name| name.trim_start_matches('/').starts_with(PREFIX));
        let is_old = one.get("Created")?.as_u64()? < before;
        one.get("Id")?.as_str().filter(|_| is_ours && is_old)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(json: &Value) -> Option<PathKind> {
        read_stat(BASE64_STANDARD.encode(json.to_string()).as_bytes())
    }

    #[test]
    fn what_is_by_a_path_is_in_the_bits_of_go() {
        let with = |mode: u64| json!({ "name": "a", "size": 7, "mode": mode, "linkTarget": "" });
        assert_eq!(stat(&with(0o644)), Some(PathKind::File(7)));
        assert_eq!(stat(&with(1 << 23 | 0o4755)), Some(PathKind::File(7)), "setuid");
        assert_eq!(stat(&with(1 << 31 | 0o755)), Some(PathKind::Folder));
        assert_eq!(stat(&with(1 << 25 | 0o644)), Some(PathKind::Other), "a pipe");
        let link = json!({ "size": 1, "mode": 1 << 27 | 0o777, "linkTarget": "/etc/x" });
        assert_eq!(stat(&link), Some(PathKind::Link("/etc/x".to_owned())));
        assert_eq!(stat(&json!({ "size": 1 })), None);
        assert_eq!(read_stat(b"%"), None);
    }

    #[test]
    fn only_what_was_made_here_long_ago_is_swept() {
        let list = json!([
            { "Id": "a", "Names": ["/dockgate-probe-1"], "Created": 10 },
            { "Id": "b", "Names": ["/dockgate-probe-2"], "Created": 99 },
            { "Id": "c", "Names": ["/mine"], "Created": 10 },
            { "Id": "d", "Created": 10 },
        ]);
        assert_eq!(left_probes(&list, 50).collect::<Vec<_>>(), ["a"]);
        assert_eq!(left_probes(&json!({}), 50).count(), 0);
    }
}
