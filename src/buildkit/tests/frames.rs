//! A client that writes its own frames, for what no library would send.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use super::support::{EngineHears, Fails, Setting, engine};
use crate::buildkit::terminate::{H2Limits, H2Reply, OpenAlready, Upstream, serve};

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut out = length[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// Fields as literals that no table holds (RFC 7541 §6.2.2).
pub(super) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            out.push(u8::try_from(text.len()).unwrap());
            out.extend(text.bytes());
        }
    }
    out
}

pub(super) const CALL: &[(&str, &str)] = &[
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/a.B/C"),
    (":authority", "x"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
];

/// What a connection was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Kind, stream and payload of each frame.
    pub(super) frames: Vec<(u8, u32, Vec<u8>)>,
    /// Whether it was closed.
    pub(super) is_closed: bool,
}

impl Told {
    /// The code of the reset of a stream.
    pub(super) fn reset(&self, stream: u32) -> Option<u32> {
        let reset = |(kind, of, payload): &(u8, u32, Vec<u8>)| {
            (*kind == RST_STREAM && *of == stream).then(|| code(payload))
        };
        self.frames.iter().find_map(reset)
    }

    /// The code with which the connection was ended.
    pub(super) fn goaway(&self) -> Option<u32> {
        let away = |(kind, _, payload): &(u8, u32, Vec<u8>)| {
            (*kind == GOAWAY).then(|| code(payload.get(4..8).unwrap()))
        };
        self.frames.iter().find_map(away)
    }

    pub(super) fn is_answered(&self, stream: u32) -> bool {
        self.frames.iter().any(|(kind, of, _)| *kind == HEADERS && *of == stream)
    }
}

fn code(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().unwrap())
}

/// A raw connection to the terminator, with nothing said on it; the engine is not there.
pub(super) fn raw(limits: H2Limits) -> UnixStream {
    let upstream = Fails(H2Reply::Grpc { code: 14, message: "nobody".to_owned() });
    raw_to(Box::new(upstream), limits)
}

/// The same, with an engine.
pub(super) async fn raw_with_engine() -> (UnixStream, EngineHears) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (engine, _) = engine(theirs, Default::default(), CancellationToken::new());
    (raw_to(Box::new(OpenAlready(Some(Box::new(ours)))), H2Limits::default()), engine)
}

fn raw_to(upstream: Box<dyn Upstream<'static>>, limits: H2Limits) -> UnixStream {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (judge, _) = Setting::default().judge();
    tokio::spawn(async move {
        serve(Box::new(ours), upstream, judge, &CancellationToken::new(), limits).await;
    });
    theirs
}

/// What is told to whom says this behind the preface, until everything has been answered or the end.
pub(super) async fn told(said: &[u8]) -> Told {
    let mut client = raw(H2Limits::default());
    let mut sent = PREFACE.to_vec();
    sent.extend(frame(SETTINGS, 0, 0, &[]));
    sent.extend(said);
    tell(&mut client, &sent).await
}

/// Says it, and reads what is said to it. An answer is on its way through a few tasks of one thread, each of
/// which has had its turn after some pings.
pub(super) async fn tell(client: &mut UnixStream, said: &[u8]) -> Told {
    let mut told = Told::default();
    let ping = frame(PING, 0, 0, b"the last");
    let (mut reading, mut writing) = client.split();
    for turn in 0..5 {
        let mut sent = if turn == 0 { said.to_vec() } else { Vec::new() };
        sent.extend(&ping);
        let write = async {
            // Who was cut off hears no more.
            let _ = writing.write_all(&sent).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = read(&mut reading, &mut told) => {}
            () = write => unreachable!(),
        }
    }
    told
}

/// Reads frames up to the answer to a ping, or the end.
async fn read(from: &mut (impl tokio::io::AsyncRead + Unpin), told: &mut Told) {
    loop {
        let mut head = [0; 9];
        if from.read_exact(&mut head).await.is_err() {
            told.is_closed = true;
            return;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        if from.read_exact(&mut payload).await.is_err() {
            told.is_closed = true;
            return;
        }
        if head[3] == PING && head[4] == 1 && payload == b"the last" {
            return;
        }
        told.frames.push((head[3], u32::from_be_bytes(head[5..].try_into().unwrap()), payload));
    }
}
