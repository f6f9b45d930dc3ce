//! An origin that does what it is told for each request, byte by byte.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What an origin does with a request.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Send(Vec<u8>),
    /// Reads this many bytes of the request's body.
    Read(usize),
    /// Nothing more, ever.
    Hang,
    Close,
    Reset,
}

pub(super) struct Origin {
    pub(super) address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
pub(super) struct Seen {
    pub(super) heads: Mutex<Vec<String>>,
    pub(super) bodies: Mutex<Vec<u8>>,
    pub(super) connections: AtomicUsize,
}

impl Origin {
    /// `script` is asked for each request, by its head.
    pub(super) async fn new(script: impl Fn(&str) -> Vec<Act> + Send + Sync + 'static) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (script, seen) = (Arc::new(script), Arc::new(Seen::default()));
        let origin = Origin { address, seen: Arc::clone(&seen) };
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                seen.connections.fetch_add(1, Ordering::Relaxed);
                let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
                tokio::spawn(async move { converse(stream, &*script, &seen).await });
            }
        });
        origin
    }

    /// Always the same.
    pub(super) async fn saying(bytes: impl Into<Vec<u8>>) -> Origin {
        let bytes = bytes.into();
        Origin::new(move |_| vec![Act::Send(bytes.clone())]).await
    }

    pub(super) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(super) fn heads(&self) -> Vec<String> {
        self.seen.heads.lock().unwrap().clone()
    }

    pub(super) fn bodies(&self) -> Vec<u8> {
        self.seen.bodies.lock().unwrap().clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }
}

pub(super) async fn converse(
    mut stream: impl Stream,
    script: &(dyn Fn(&str) -> Vec<Act> + Send + Sync),
    seen: &Seen,
) {
    let mut buffer = Vec::new();
    while let Some(head) = read_head(&mut stream, &mut buffer).await {
        seen.heads.lock().unwrap().push(head.clone());
        for act in script(&head) {
            match act {
                Act::Send(bytes) => {
                    if stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                    let _ = stream.flush().await;
                }
                Act::Read(mut count) => {
                    while count > 0 {
                        if buffer.is_empty() && stream.read_buf(&mut buffer).await.unwrap_or(0) == 0
                        {
                            return;
                        }
                        let taken: Vec<u8> = buffer.drain(..count.min(buffer.len())).collect();
                        count -= taken.len();
                        seen.bodies.lock().unwrap().extend(taken);
                    }
                }
                Act::Hang => return std::future::pending().await,
                Act::Close => return drop(stream.shutdown().await),
                Act::Reset => return stream.reset(),
            }
        }
    }
}

/// Up to and with the empty line; what is behind it stays in `buffer`.
pub(super) async fn read_head(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
) -> Option<String> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head: Vec<u8> = buffer.drain(..end + 4).collect();
            return Some(String::from_utf8(head).unwrap());
        }
        if stream.read_buf(buffer).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    fn reset(self);
}

impl Stream for TcpStream {
    fn reset(self) {
        self.set_zero_linger().unwrap();
    }
}

impl Stream for tokio_rustls::server::TlsStream<TcpStream> {
    fn reset(self) {
        self.into_inner().0.reset();
    }
}

/// A whole answer of HTTP/1.1.
pub(super) fn answer(status: &str, fields: &[&str], body: &str) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
    fields.iter().for_each(|field| text.push_str(&format!("{field}\r\n")));
    format!("{text}\r\n{body}").into_bytes()
}
