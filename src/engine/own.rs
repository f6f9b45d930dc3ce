//! dockgate's own questions to the engine, through a door that no client bytes can reach.
//!
//! The gateway asks for the API versions before it judges a call, and whether the engine is alive
//! when a call has had no answer for long. What must stay true: requests here are constants.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Away, Conn, Engine};
use crate::api::endpoint::{Minor, Versions};
use crate::wire::buffer::BLOCK;
use crate::wire::framing::Framing;
use crate::wire::head::{ResponseHead, find_end};
use crate::wire::pump::{Inbox, collect};

#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Option<Versions>>);

impl Cache {
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

impl Engine {
    /// Asked once for as long as the engine can be reached.
    pub async fn versions(&self) -> Result<Versions, Away> {
        if let Some(known) = self.shared.versions.get() {
            return Ok(known);
        }
        let body = Box::pin(self.ask("/version", self.patience())).await?;
        let versions = read_versions(&body).ok_or_else(|| Away::Refused {
            address: self.address().to_string(),
            cause: "its `/version` could not be understood".to_owned(),
        })?;
        self.shared.versions.set(versions);
        Ok(versions)
    }

    /// Whether the engine answers at all.
    pub async fn is_alive(&self) -> bool {
        Box::pin(self.ask("/_ping", self.patience())).await.is_ok()
    }

    async fn ask(&self, path: &'static str, patience: Duration) -> Result<Vec<u8>, Away> {
        let asking = async {
            let mut conn = self.connect().await?;
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n");
            conn.write(request.as_bytes()).await.map_err(|error| self.refused(&error))?;
            read_answer(&mut conn).await.map_err(|error| self.refused(&error))
        };
        tokio::time::timeout(patience, asking).await.unwrap_or_else(|_| Err(self.silent()))
    }
}

async fn read_answer(conn: &mut Conn) -> std::io::Result<Vec<u8>> {
    let invalid = || std::io::Error::from(std::io::ErrorKind::InvalidData);
    let (reader, _) = conn.stream.split();
    let mut inbox = Inbox { reader, buffer: &mut conn.buffer };
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
    let mut framing = Framing::of_response(&head, false).map_err(|_| invalid())?;
    let body = collect(&mut inbox, &mut framing, 1 << 20, &mut 0).await.map_err(|_| invalid())?;
    body.filter(|_| head.status == 200).ok_or_else(invalid)
}

fn read_versions(body: &[u8]) -> Option<Versions> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        api_version: String,
        #[serde(rename = "MinAPIVersion", default)]
        min_api_version: String,
    }
    let minor = |version: &str| version.strip_prefix("1.")?.parse::<Minor>().ok();
    let answer: Answer = serde_json::from_reader(body).ok()?;
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
