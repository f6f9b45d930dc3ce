//! dockgate's own questions to the engine, on a way that no bytes of a client can take.
//!
//! The gateway asks for the API versions before it judges a call, for what its policies must know of
//! a container, network or volume, and whether the engine is alive when a call has had no answer for
//! long. What must stay true: requests here are constants but for one name, and that cannot be anything
//! but a name: it is encoded whole. Each says through which gateways it came, as the call has that it is
//! asked for: two gateways that ask each other would never end.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::watch::ListedName;
use super::{Conn, Engine, EngineError};
use crate::api::endpoint::{Minor, Resource, Versions};
use crate::api::json;
use crate::telemetry::printable::printable;
use crate::wire::buffer::BLOCK;
use crate::wire::framing::Framing;
use crate::wire::head::{ResponseHead, find_end};
use crate::wire::pump::{Inbox, collect};
use crate::wire::trail::Trail;

const VERSION: &str = "GET /version HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n";
const PING: &str = "GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n";
/// What a gateway says whose call has come back to it.
pub(super) const LOOP: u16 = 508;
/// How the engine can tell these from the calls of clients.
pub(super) const AGENT: &str = concat!("dockgate/", env!("CARGO_PKG_VERSION"));
pub(super) const MOST_SMALL: usize = 1 << 20;
/// Of an inspect answer: a network with thousands of containers is long.
const MOST_INSPECT: usize = 4 << 20;
/// Of a list of all that there is.
const MOST_LIST: usize = 64 << 20;

#[derive(Debug, Default)]
pub(super) struct VersionCache(Mutex<Option<Versions>>);

impl VersionCache {
    fn get(&self) -> Option<Versions> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, versions: Versions) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(versions);
    }

    /// Another engine may listen there when it is back.
    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// What is looked up, by name or id.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'s> {
    Container(&'s str),
    Network(&'s str),
    Volume(&'s str),
    Image(&'s str),
    Exec(&'s str),
    Info,
    /// All that there is of these: what the API's list answers, with its filters as JSON.
    List(Resource, Option<&'s str>),
}

/// As a message says what was asked.
impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Container(name) => write!(f, "what container `{}` is", printable(name)),
            Subject::Network(name) => write!(f, "what network `{}` is", printable(name)),
            Subject::Volume(name) => write!(f, "what volume `{}` is", printable(name)),
            Subject::Image(name) => write!(f, "what image `{}` is", printable(name)),
            Subject::Exec(id) => write!(f, "what exec `{}` is", printable(id)),
            Subject::Info => f.write_str("how it is set up (`/info`)"),
            Subject::List(resource, _) => write!(f, "what it has of kind {resource}"),
        }
    }
}

#[derive(Debug)]
pub enum Inspected {
    Json(serde_json::Value),
    Nothing,
    /// The engine said something else.
    Failed(String),
}

/// What of `/info` stays as it is while an engine runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhichEngine {
    /// Its own, made when it began for the first time.
    pub id: String,
    /// `cgroupfs`, `systemd` or `none`.
    pub cgroup_driver: String,
}

impl Engine {
    /// What the engine says of something, in the words of this API version.
    pub async fn look_up(
        &self,
        version: Minor,
        subject: Subject<'_>,
        trail: &Trail,
    ) -> Result<Inspected, EngineError> {
        let Some(path) = path_of(subject) else { return Ok(Inspected::Nothing) };
        let request = format!(
            "GET /v1.{version}{path} HTTP/1.1\r\nHost: docker\r\nUser-Agent: {AGENT}\r\n\r\n"
        );
        let (status, body) = match Box::pin(self.ask(&request, trail, MOST_INSPECT)).await {
            Err(EngineError::Silent { .. }) => {
                return Err(Box::pin(self.late(subject.to_string())).await);
            }
            answer => answer?,
        };
        Ok(match status {
            200 => match json::read(&body) {
                Ok(json) => Inspected::Json(json),
                Err(error) => Inspected::Failed(format!("its answer is no JSON: {error}")),
            },
            404 => Inspected::Nothing,
            LOOP => return Err(self.leads_back()),
            other => Inspected::Failed(format!("it answered {other}")),
        })
    }

    /// Which engine it is; none where it does not say.
    pub async fn asked_which(
        &self,
        version: Minor,
        trail: &Trail,
    ) -> Result<Option<WhichEngine>, EngineError> {
        let Inspected::Json(info) = self.look_up(version, Subject::Info, trail).await? else {
            return Ok(None);
        };
        let text = |key: &str| info.get(key).and_then(|text| text.as_str()).unwrap_or_default();
        let (id, cgroup_driver) = (text("ID").to_owned(), text("CgroupDriver").to_owned());
        Ok((!id.is_empty()).then_some(WhichEngine { id, cgroup_driver }))
    }

    /// All that there is of these, by name and id.
    pub(super) async fn list_names(
        &self,
        version: Minor,
        resource: Resource,
    ) -> Result<Vec<ListedName>, EngineError> {
        self.list(version, resource, None).await
    }

    /// All that these filters (JSON) let through, as far as it is of interest.
    pub(super) async fn list<T: serde::de::DeserializeOwned>(
        &self,
        version: Minor,
        resource: Resource,
        filters: Option<&str>,
    ) -> Result<Vec<T>, EngineError> {
        let path = path_of(Subject::List(resource, filters)).unwrap_or_default();
        let request = format!(
            "GET /v1.{version}{path} HTTP/1.1\r\nHost: docker\r\nUser-Agent: {AGENT}\r\n\r\n"
        );
        match Box::pin(self.ask(&request, &Trail::default(), MOST_LIST)).await? {
            (200, body) => json::read(&body).map_err(|error| self.refused(&error)),
            (LOOP, _) => Err(self.leads_back()),
            (other, _) => {
                let what = format!("what it has of kind {resource}: it answered {other}");
                Err(self.refused(&std::io::Error::other(what)))
            }
        }
    }

    /// Asked once for as long as the engine can be reached.
    pub async fn versions(&self, trail: &Trail) -> Result<Versions, EngineError> {
        if let Some(known) = self.shared.versions.get() {
            return Ok(known);
        }
        let (status, body) = match Box::pin(self.ask_anew(VERSION, trail)).await {
            Err(EngineError::Silent { .. }) => {
                return Err(Box::pin(self.late("which versions it speaks".to_owned())).await);
            }
            answer => answer?,
        };
        if status == LOOP {
            return Err(self.leads_back());
        }
        let understood = if status == 200 { read_versions(&body) } else { None };
        let versions = understood.ok_or_else(|| EngineError::Refused {
            address: self.place(),
            cause: "its `/version` could not be understood".to_owned(),
            is_forbidden: false,
        })?;
        self.shared.versions.set(versions);
        Ok(versions)
    }

    /// Whether the engine answers at all.
    pub async fn is_alive(&self) -> bool {
        matches!(Box::pin(self.ask_anew(PING, &Trail::default())).await, Ok((200, _)))
    }

    /// Asks whether what listens there is this gateway. Whatever else it says is no matter here.
    pub(super) async fn refuse_loop(&self) -> Result<(), EngineError> {
        match Box::pin(self.ask_anew(PING, &Trail::default())).await? {
            (LOOP, _) => Err(self.leads_back()),
            _ => Ok(()),
        }
    }

    fn leads_back(&self) -> EngineError {
        EngineError::Loop { address: self.place() }
    }

    /// No answer came in time: is it this question, or the engine?
    async fn late(&self, asked: String) -> EngineError {
        let (address, waited) = (self.place(), self.patience());
        match self.is_alive().await {
            true => EngineError::Busy { address, asked, waited },
            false => EngineError::Silent { address, asked: Some(asked) },
        }
    }

    /// On a connection of its own, which shows that the engine still takes one.
    async fn ask_anew(&self, request: &str, trail: &Trail) -> Result<(u16, Vec<u8>), EngineError> {
        let request = &sent_by(request, trail);
        let asking = async {
            let mut conn = self.connect().await?;
            let answer = exchange(&mut conn, request, MOST_SMALL).await;
            let (status, body, _) = answer.map_err(|error| self.refused(&error))?;
            Ok((status, body))
        };
        tokio::time::timeout(self.patience(), asking).await.unwrap_or_else(|_| Err(self.silent()))
    }

    /// Status and body of the answer to a request that changes nothing.
    async fn ask(
        &self,
        request: &str,
        trail: &Trail,
        most: usize,
    ) -> Result<(u16, Vec<u8>), EngineError> {
        let request = &sent_by(request, trail);
        let asking = async {
            // A pooled connection may close in this very moment: nothing was changed, so it is asked again.
            if let Some(mut conn) = self.pool.take()
                && let Ok((status, body, keeps)) = exchange(&mut conn, request, most).await
            {
                keeps.then(|| self.keep(conn));
                return Ok((status, body));
            }
            let mut conn = self.connect().await?;
            let answer = exchange(&mut conn, request, most).await;
            let (status, body, keeps) = answer.map_err(|error| self.refused(&error))?;
            keeps.then(|| self.keep(conn));
            Ok((status, body))
        };
        tokio::time::timeout(self.patience(), asking).await.unwrap_or_else(|_| Err(self.silent()))
    }
}

/// Where the engine tells it; none where the name cannot be one.
fn path_of(subject: Subject<'_>) -> Option<String> {
    let named = |folder: &str, name: &str, end: &str| {
        let encoded = utf8_percent_encode(name, NON_ALPHANUMERIC);
        is_a_name(name).then(|| format!("/{folder}/{encoded}{end}"))
    };
    match subject {
        Subject::Container(name) => named("containers", name, "/json"),
        Subject::Network(name) => named("networks", name, ""),
        Subject::Volume(name) => named("volumes", name, ""),
        Subject::Image(name) => named("images", name, "/json"),
        Subject::Exec(id) => named("exec", id, "/json"),
        Subject::Info => Some("/info".to_owned()),
        Subject::List(resource, filters) => {
            let list = match resource {
                Resource::Container => "/containers/json?all=1&filters=",
                Resource::Image => "/images/json?filters=",
                Resource::Network => "/networks?filters=",
                Resource::Volume => "/volumes?filters=",
                _ => return None,
            };
            let filters = utf8_percent_encode(filters.unwrap_or("{}"), NON_ALPHANUMERIC);
            Some(format!("{list}{filters}"))
        }
    }
}

/// dockerd cleans paths after it has decoded them, and answers `..` with a redirect.
pub(super) fn is_a_name(name: &str) -> bool {
    !name.is_empty() && name.split('/').all(|part| !matches!(part, "." | ".."))
}

/// Status, body, and whether the connection can carry another call.
type OwnReply = (u16, Vec<u8>, bool);

fn sent_by(request: &str, trail: &Trail) -> Vec<u8> {
    let mut request = request.as_bytes().to_vec();
    trail.put(&mut request);
    request
}

pub(super) async fn exchange(
    conn: &mut Conn,
    request: &[u8],
    most: usize,
) -> std::io::Result<OwnReply> {
    conn.write(request).await?;
    read_answer(conn, request.starts_with(b"HEAD "), most).await
}

async fn read_answer(conn: &mut Conn, to_head: bool, most: usize) -> std::io::Result<OwnReply> {
    let (reader, _) = conn.stream.split();
    let mut inbox = Inbox { reader, buffer: &mut conn.buffer };
    let (head, mut framing) = read_head(&mut inbox, to_head).await?;
    let until_close = matches!(framing, Framing::UntilClose { .. });
    let keeps = head.version == 1 && !head.headers.lists("connection", "close") && !until_close;
    let body = collect(&mut inbox, &mut framing, most, &mut 0).await.map_err(|_| invalid())?;
    Ok((head.status, body.ok_or_else(invalid)?, keeps))
}

pub(super) fn invalid() -> std::io::Error {
    std::io::ErrorKind::InvalidData.into()
}

/// Of an answer, and how its body comes.
pub(super) async fn read_head(
    inbox: &mut Inbox<'_>,
    to_head: bool,
) -> std::io::Result<(ResponseHead, Framing)> {
    let end = loop {
        if let Some(end) = find_end(inbox.buffer.unread(), 0) {
            break end;
        }
        if inbox.buffer.len() >= BLOCK || !inbox.more().await? {
            return Err(invalid());
        }
    };
    let head = ResponseHead::parse(inbox.buffer.unread().get(..end).unwrap_or_default())
        .map_err(|_| invalid())?;
    inbox.buffer.consume(end);
    let framing = Framing::of_response(&head, to_head).map_err(|_| invalid())?;
    Ok((head, framing))
}

fn read_versions(body: &[u8]) -> Option<Versions> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct VersionAnswer {
        api_version: String,
        #[serde(rename = "MinAPIVersion", default)]
        min_api_version: String,
    }
    let minor = |version: &str| version.strip_prefix("1.")?.parse::<Minor>().ok();
    let answer: VersionAnswer = json::read(body).ok()?;
    let newest = minor(&answer.api_version)?;
    Some(Versions { newest, oldest: minor(&answer.min_api_version).unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_minors() {
        let body = br#"{"ApiVersion":"1.51","MinAPIVersion":"1.24","Version":"28.5.2"}"#;
        assert_eq!(read_versions(body), Some(Versions { newest: 51, oldest: 24 }));
        assert_eq!(read_versions(br#"{"ApiVersion":"2.0"}"#), None);
        assert_eq!(read_versions(b"nonsense"), None);
    }
}
