//! The engine's events, one after the other, for dockgate itself.
//!
//! `job` and `watch` follow them. What must stay true: what the engine says is followed as long as it says something; an end is told,
//! for whoever follows must then look for themselves.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value as Json;

use super::own::{AGENT, read_head};
use super::{Conn, Engine, EngineError};
use crate::api::endpoint::Minor;
use crate::api::json;
use crate::wire::framing::Framing;
use crate::wire::items::Items;
use crate::wire::pump::Inbox;
use crate::wire::trail::Trail;

#[derive(Debug)]
pub struct Events {
    conn: Conn,
    framing: Framing,
    items: Items,
}

impl Engine {
    /// Those that come from now on and that these filters (JSON) let through.
    pub async fn events(&self, version: Minor, filters: &str) -> Result<Events, EngineError> {
        let filters = utf8_percent_encode(filters, NON_ALPHANUMERIC);
        let request = format!(
            "GET /v1.{version}/events?filters={filters} HTTP/1.1\r\nHost: docker\r\nUser-Agent: {AGENT}\r\n\r\n"
        );
        let mut request = request.into_bytes();
        Trail::default().put(&mut request);
        let opening = async {
            let mut conn = self.connect().await?;
            let refused = |error: std::io::Error| self.refused(&error);
            conn.write(&request).await.map_err(refused)?;
            let (reader, _) = conn.stream.split();
            let mut inbox = Inbox { reader, buffer: &mut conn.buffer };
            let (head, framing) = read_head(&mut inbox, false).await.map_err(refused)?;
            if head.status != 200 {
                let what = format!("its events: it answered {}", head.status);
                return Err(self.refused(&std::io::Error::other(what)));
            }
            Ok(Events { conn, framing, items: Items::default() })
        };
        tokio::time::timeout(self.patience(), opening).await.unwrap_or_else(|_| Err(self.silent()))
    }
}

impl Events {
    /// The next one; none when there are no more, whatever the reason is.
    pub async fn next(&mut self) -> Option<Json> {
        loop {
            match self.items.take() {
                Ok(Some(item)) => match json::read(&item.json) {
                    Ok(event) => return Some(event),
                    Err(_) => return None,
                },
                Ok(None) => self.more().await?,
                Err(_) => return None,
            }
        }
    }

    async fn more(&mut self) -> Option<()> {
        if self.framing.is_done() {
            return None;
        }
        let (reader, _) = self.conn.stream.split();
        let mut inbox = Inbox { reader, buffer: &mut self.conn.buffer };
        if inbox.buffer.is_empty() && !inbox.more().await.ok()? {
            return None;
        }
        let items = &mut self.items;
        let taken =
            self.framing.take_payload(inbox.buffer.unread(), |part| items.push(part)).ok()?;
        inbox.buffer.consume(taken);
        Some(())
    }
}
