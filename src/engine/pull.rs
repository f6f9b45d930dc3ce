//! A pull that a policy wants done before a call goes on.
//!
//! `gateway::deeds` calls it. What must stay true: of what the engine tells meanwhile no more is kept than how it ends; a pull
//! takes as long as it takes.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::change::{Changed, words};
use super::own::{AGENT, LOOP, invalid, read_head};
use super::{Conn, Engine, EngineError};
use crate::api::endpoint::Minor;
use crate::wire::framing::Framing;
use crate::wire::pump::Inbox;
use crate::wire::trail::Trail;

/// Of the last of what the engine tells: an error is one line.
const MOST_KEPT: usize = 64 * 1024;

impl Engine {
    /// Pulls an image by its tag or digest; `auth` is the text of `X-Registry-Auth`.
    pub async fn pull(
        &self,
        version: Minor,
        (reference, platform): (&str, &str),
        auth: Option<&str>,
        trail: &Trail,
    ) -> Result<Changed, EngineError> {
        let image = utf8_percent_encode(reference, NON_ALPHANUMERIC);
        let platform = utf8_percent_encode(platform, NON_ALPHANUMERIC);
        let auth = auth.map(|auth| format!("X-Registry-Auth: {auth}\r\n")).unwrap_or_default();
        let request = format!(
            "POST /v1.{version}/images/create?fromImage={image}&platform={platform} HTTP/1.1\r\nHost: docker\r\n\
             User-Agent: {AGENT}\r\nConnection: close\r\nContent-Length: 0\r\n{auth}\r\n"
        );
        let mut request = request.into_bytes();
        trail.put(&mut request);
        let mut conn = self.connect().await?;
        match self.while_alive(told(&mut conn, &request)).await? {
            (LOOP, _) => Err(EngineError::Loop { address: self.place() }),
            (200, last) => Ok(failure(&last).map_or(Ok(()), Err)),
            (status, last) => Ok(Err(words(status, &last))),
        }
    }
}

/// The status, and the last of what is told.
async fn told(conn: &mut Conn, request: &[u8]) -> std::io::Result<(u16, Vec<u8>)> {
    conn.write(request).await?;
    let (reader, _) = conn.stream.split();
    let mut inbox = Inbox { reader, buffer: &mut conn.buffer };
    let (head, mut framing) = read_head(&mut inbox, false).await?;
    let mut last = Vec::new();
    while !framing.is_done() {
        if inbox.buffer.is_empty() && !inbox.more().await? {
            if framing.close() {
                break;
            }
            return Err(invalid());
        }
        let taken = take(&mut framing, inbox.buffer.unread(), &mut last)?;
        inbox.buffer.consume(taken);
    }
    Ok((head.status, last))
}

fn take(framing: &mut Framing, bytes: &[u8], last: &mut Vec<u8>) -> std::io::Result<usize> {
    let taken = framing.take_payload(bytes, |part| last.extend_from_slice(part));
    last.drain(..last.len().saturating_sub(MOST_KEPT));
    taken.map_err(|_| invalid())
}

/// Why it has not come to its end, in the engine's words: the last line says it.
fn failure(last: &[u8]) -> Option<String> {
    let line = last.rsplit(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty())?;
    let line: serde_json::Value = crate::api::json::read(line).ok()?;
    line.get("error")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_pull_ends_is_in_its_last_line() {
        let error = b"{\"status\":\"Pulling\"}\r\n{\"errorDetail\":{\"message\":\"no\"},\"error\":\"no\"}\r\n";
        assert_eq!(failure(error).as_deref(), Some("no"));
        assert_eq!(failure(b"{\"error\":\"no\"}\n{\"status\":\"Status: Downloaded\"}\n"), None);
        for other in [&b""[..], b"\r\n", b"cut\"}\n"] {
            assert_eq!(failure(other), None);
        }
        let (mut framing, mut last) = (Framing::Length { left: 200_000 }, Vec::new());
        for _ in 0..2 {
            take(&mut framing, &[b'x'; 100_000], &mut last).unwrap();
        }
        assert!(framing.is_done() && last.len() == MOST_KEPT);
    }
}
