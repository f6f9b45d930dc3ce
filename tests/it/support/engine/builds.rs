//! An engine that takes a build by query or by gRPC, and asks its session: for the Dockerfile, or for whatever a test says.
//!
//! When it asks is the test's to say too. What comes of it is a note: `dockerfile STATUS TEXT` with the file or with why not,
//! `asked STATUS TEXT` of all else.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Request;
use tokio::sync::Notify;

use super::{Behaviour, Wire, grpc};
use crate::support::fsutil::{DATA, FIN, Packet, Packets, REQ, STAT, send};
use crate::support::http::answer;

const DIFF_COPY: &str = "/moby.filesync.v1.FileSync/DiffCopy";

const BUILDING: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n";

/// Whether the engine wants what it is told of, or has it from before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    Everything,
    Nothing,
}

/// What a session is asked, once.
#[derive(Default)]
pub struct Ask {
    pub path: &'static str,
    pub fields: &'static [(&'static str, &'static str)],
    pub message: Vec<u8>,
    /// In which session, where there are several: in one that is a build's own, or in its client's.
    pub in_builds: Option<bool>,
}

impl Ask {
    pub fn dockerfile() -> Ask {
        let fields = &[
            ("dir-name", "dockerfile"),
            ("followpaths", "Dockerfile"),
            ("followpaths", "Dockerfile.dockerignore"),
        ];
        Ask { path: DIFF_COPY, fields, ..Ask::default() }
    }

    fn is_of_dockerfile(&self) -> bool {
        self.path == DIFF_COPY && self.fields.contains(&("dir-name", "dockerfile"))
    }
}

/// What sessions are to be asked, each by the next of them that is there.
pub struct Asks {
    queue: Mutex<VecDeque<Ask>>,
    news: Notify,
}

impl Asks {
    pub fn add(&self, ask: Ask) {
        self.queue.lock().unwrap().push_back(ask);
        self.news.notify_waiters();
    }

    /// The next one that this session may be asked: one of a build's own has a dot in its id.
    async fn next(&self, uuid: &str) -> Ask {
        let is_builds = uuid.contains('.');
        loop {
            let mut news = std::pin::pin!(self.news.notified());
            news.as_mut().enable();
            if let Some(ask) = self.take(is_builds) {
                return ask;
            }
            news.await;
        }
    }

    fn take(&self, is_builds: bool) -> Option<Ask> {
        let mut queue = self.queue.lock().unwrap();
        let at = queue.iter().position(|ask| ask.in_builds.is_none_or(|only| only == is_builds))?;
        queue.remove(at)
    }
}

pub fn behaviour(wants: Wants) -> (Behaviour, Arc<Asks>) {
    let asks = Arc::new(Asks { queue: Mutex::default(), news: Notify::new() });
    let shared = Arc::clone(&asks);
    let behaviour: Behaviour = Box::new(move |wire| {
        while let Some(head) = wire.conn.try_head() {
            let _ = wire.conn.request_body(&head);
            match head.path() {
                path if path.ends_with("/grpc") => {
                    wire.conn.send(grpc::SWITCHING);
                    return grpc::block_on(grpc::serve(wire));
                }
                path if path.ends_with("/session") => {
                    let uuid =
                        head.get("x-docker-expose-session-uuid").unwrap_or_default().to_owned();
                    wire.note(&format!("session {uuid}"));
                    wire.conn.send(grpc::SWITCHING);
                    grpc::block_on(ask(wire, wants, &shared, &uuid));
                    return wire.note(&format!("gone {uuid}"));
                }
                // It builds until its client is gone.
                "/build" => {
                    wire.note("building");
                    wire.conn.send(BUILDING);
                    return drop(wire.conn.rest());
                }
                _ => {
                    if wire.conn.try_send(answer("200 OK", "{}")).is_err() {
                        return;
                    }
                }
            }
        }
    });
    (behaviour, asks)
}

async fn ask(wire: &mut Wire, wants: Wants, asks: &Asks, uuid: &str) {
    let Ok((mut sender, connection)) = h2::client::handshake(grpc::io(wire)).await else { return };
    let mut driving = tokio::spawn(connection);
    loop {
        let ask = tokio::select! {
            ask = asks.next(uuid) => ask,
            _ = &mut driving => return,
        };
        let mut request = Request::post(format!("http://session{}", ask.path))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in ask.fields {
            request = request.header(*name, *value);
        }
        let Ok(ready) = sender.ready().await else { return };
        sender = ready;
        let Ok((answer, mut up)) = sender.send_request(request.body(()).unwrap(), false) else {
            break;
        };
        if !ask.is_of_dockerfile() {
            let length = u32::try_from(ask.message.len()).unwrap().to_be_bytes();
            let message = [&[0][..], &length, &ask.message].concat();
            let _ = up.send_data(Bytes::from(message), true);
        }
        let Ok(answer) = answer.await else { break };
        let early = answer.headers().clone();
        let word = if ask.is_of_dockerfile() { "dockerfile" } else { "asked" };
        let mut packets = Packets::new(answer.into_body());
        let (mut files, mut open, mut is_listed, mut come) = (0, 0, false, Vec::new());
        while let Some(packet) = packets.next().await {
            match packet {
                Packet { kind: STAT, stat: Some(_), .. } => {
                    if wants == Wants::Everything {
                        open += 1;
                        send(&mut up, &Packet { kind: REQ, id: files, ..Packet::default() });
                    }
                    files += 1;
                }
                Packet { kind: STAT, .. } => is_listed = true,
                Packet { kind: DATA, data, .. } if data.is_empty() => open -= 1,
                Packet { kind: DATA, data, .. } => come.extend(data),
                Packet { kind: FIN, .. } => {}
                other => panic!("{other:?}"),
            }
            if is_listed && open == 0 {
                send(&mut up, &Packet { kind: FIN, ..Packet::default() });
                is_listed = false;
            }
        }
        let trailers = packets.into_body().trailers().await.ok().flatten().unwrap_or_default();
        let said = |name: &str| {
            let value = trailers.get(name).or_else(|| early.get(name));
            let value = value.map_or(&b""[..], |value| value.as_bytes());
            percent_encoding::percent_decode(value).decode_utf8().unwrap().into_owned()
        };
        let come = String::from_utf8(come).unwrap();
        wire.note(&format!("{word} {} {come}{}", said("grpc-status"), said("grpc-message")));
    }
    drop(sender);
    let _ = driving.await;
}
