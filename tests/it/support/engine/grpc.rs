//! BuildKit's side of an engine: gRPC behind `/grpc` or on the socket itself, and a client that asks in a session.
//!
//! Every call is answered with its own message, and is a note: `PATH HEX`; one that says `held` has no answer, and is noted as
//! `held` behind that. In a session the engine asks the client for its
//! health and for a service that clients do not have; what comes of each is a note: `PATH STATUS`.

use std::io::Cursor;
use std::os::unix::net::UnixStream;

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

use super::{Behaviour, Wire};
use crate::support::http::answer;

pub const SESSION: &str = "/moby.buildkit.v1.Control/Session";
pub const HEALTH: &str = "/grpc.health.v1.Health/Check";
pub const UNKNOWN: &str = "/moby.unknown.v1.Files/Read";
/// A call whose message has this in it has no answer.
pub const HELD: &[u8] = b"held";
pub(super) const SWITCHING: &str =
    "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";

pub fn behaviour() -> Behaviour {
    Box::new(|wire| {
        loop {
            if wire.conn.peek_starts_with(b"PRI") {
                wire.note("without an upgrade");
                return block_on(serve(wire));
            }
            let Some(head) = wire.conn.try_head() else { return };
            let body = wire.conn.request_body(&head);
            match head.path() {
                path if path.ends_with("/grpc") => {
                    wire.conn.send(SWITCHING);
                    return block_on(serve(wire));
                }
                path if path.ends_with("/session") => {
                    let uuid = head.get("x-docker-expose-session-uuid").unwrap_or_default();
                    wire.note(&format!("session {uuid}"));
                    wire.conn.send(SWITCHING);
                    return block_on(ask(wire));
                }
                path => {
                    let said = serde_json::json!({ "path": path, "body": body.len() });
                    if wire.conn.try_send(answer("200 OK", &said.to_string())).is_err() {
                        return;
                    }
                }
            }
        }
    })
}

pub(super) fn block_on(serving: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(serving);
}

pub(super) fn io(wire: &mut Wire) -> impl AsyncRead + AsyncWrite + Unpin + Send + 'static {
    let (read, socket): (Vec<u8>, UnixStream) = wire.conn.parts();
    socket.set_nonblocking(true).unwrap();
    let (reader, writer) = tokio::net::UnixStream::from_std(socket).unwrap().into_split();
    tokio::io::join(Cursor::new(read).chain(reader), writer)
}

pub(super) async fn serve(wire: &mut Wire) {
    let Ok(mut connection) = h2::server::handshake(io(wire)).await else { return };
    let (notes, mut noted) = mpsc::unbounded_channel::<Note>();
    loop {
        tokio::select! {
            Some((note, written)) = noted.recv() => {
                wire.note(&note);
                let _ = written.send(());
            }
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    tokio::spawn(one(request, respond, notes.clone()));
                }
                _ => return,
            },
        }
    }
}

/// A note, and who waits until it is written down: whoever has an answer finds the note.
type Note = (String, oneshot::Sender<()>);
type Notes = mpsc::UnboundedSender<Note>;

async fn note(notes: &Notes, text: String) {
    let (written, is_written) = oneshot::channel();
    let _ = notes.send((text, written));
    let _ = is_written.await;
}

async fn one(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, notes: Notes) {
    let path = request.uri().path().to_owned();
    let uuid = request.headers().get("x-docker-expose-session-uuid").cloned();
    let mut body = request.into_body();
    let Ok(mut down) = respond.send_response(Response::new(()), false) else { return };
    if path == SESSION {
        let uuid = uuid.map_or(String::new(), |uuid| uuid.to_str().unwrap().to_owned());
        note(&notes, format!("session {uuid}")).await;
    }
    let message = all(&mut body).await;
    if message.windows(HELD.len()).any(|part| part == HELD) {
        note(&notes, format!("{path} {}", hex(&message))).await;
        note(&notes, "held".to_owned()).await;
        let _ = std::future::poll_fn(|cx| down.poll_reset(cx)).await;
        return;
    }
    note(&notes, format!("{path} {}", hex(&message))).await;
    let _ = down.send_data(message, false);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let _ = down.send_trailers(trailers);
}

fn hex(message: &[u8]) -> String {
    message.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn all(body: &mut RecvStream) -> Bytes {
    let mut all = BytesMut::new();
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
        all.extend_from_slice(&data);
    }
    all.freeze()
}

/// The engine's part of a session.
async fn ask(wire: &mut Wire) {
    let Ok((mut sender, connection)) = h2::client::handshake(io(wire)).await else { return };
    let driving = tokio::spawn(connection);
    for path in [HEALTH, UNKNOWN] {
        let request = Request::post(format!("http://session{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let Ok(ready) = sender.ready().await else { return };
        sender = ready;
        let asked = sender.send_request(request.body(()).unwrap(), false);
        let Ok((answer, mut up)) = asked else { return };
        let _ = up.send_data(Bytes::from_static(&[0; 5]), true);
        let Ok(answer) = answer.await else { return };
        let early = answer.headers().get("grpc-status").cloned();
        let mut body = answer.into_body();
        all(&mut body).await;
        let trailers = body.trailers().await.ok().flatten().unwrap_or_default();
        let status = early.or_else(|| trailers.get("grpc-status").cloned());
        wire.note(&format!("{path} {}", status.as_ref().map_or("", |one| one.to_str().unwrap())));
    }
    drop(sender);
    let _ = driving.await;
}
