//! The admin socket: health, readiness and metrics for whoever watches the process, `reload`, and the
//! caches' objects.
//!
//! `run` calls `serve` for each bound socket, on the main thread. What must stay true: nothing of an
//! engine's API is here; connections are few and short whatever a client does; only who may open the
//! Unix socket can change anything.

mod caches;
mod guard;
mod jobs;
mod listeners;
mod query;
pub mod report;
mod route;

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cache::Cache;
use crate::config::RuntimeListener;
pub use jobs::OpenJob;
use report::{JobReport, ListenerReport};

/// Probes and scrapes are short; more than this at once is somebody's mistake.
const MOST_CONNECTIONS: usize = 64;
const HEADER_TIME: Duration = Duration::from_secs(10);
/// Of a connection, which carries one request.
pub const MOST_TIME: Duration = Duration::from_secs(60);
/// Of one on the Unix socket: all bodies of a cache may have to be read, or removed.
pub const MOST_UNIX_TIME: Duration = Duration::from_secs(600);
/// How long to wait before the next try to accept, when descriptors have run out.
const PAUSE: Duration = Duration::from_millis(100);

pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the admin socket asks the rest of the program.
pub trait AdminApi: Send + Sync + 'static {
    /// In OpenMetrics.
    fn metrics(&self) -> String;

    /// Each thing that must work before clients are sent here, by its name, and what is wrong with it.
    fn ready(&self) -> Later<'_, Vec<(String, Result<(), String>)>>;

    /// Reads the configuration again: what has changed, or everything that is wrong with it. Two at
    /// once come one after the other.
    fn reload(&self) -> Later<'_, Result<String, String>>;

    /// Opens a listener beside those that there are: what was opened, or why nothing was.
    fn open_listener(&self, listener: RuntimeListener) -> Later<'_, Result<String, String>>;

    /// Closes one that was opened so.
    fn close_listener(&self, name: String) -> Later<'_, Result<String, String>>;

    /// Containers and processes that have a socket of their own.
    fn jobs(&self) -> Vec<JobReport>;

    /// Opens one for a process of the host.
    fn open_job(&self, job: OpenJob) -> Later<'_, Result<JobReport, String>>;

    /// Removes what was made through the socket of this one, and closes it.
    fn end_job(&self, id: &str) -> Result<(), String>;

    /// All listening sockets, those of caches too.
    fn listeners(&self) -> Vec<ListenerReport>;

    /// Whether running calls are only waited for.
    fn is_draining(&self) -> bool;

    /// Those that run.
    fn caches(&self) -> Vec<Arc<Cache>>;
}

/// Serves until `stop`; needs a tokio runtime around it.
pub async fn serve(
    socket: OwnedFd,
    is_unix: bool,
    state: Arc<dyn AdminApi>,
    stop: CancellationToken,
) -> io::Result<()> {
    let socket = Socket::new(socket, is_unix)?;
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            Some(_) = open.join_next() => {}
            accepted = socket.accept(), if open.len() < MOST_CONNECTIONS => match accepted {
                Ok((stream, asker)) => {
                    open.spawn(connection((stream, asker), is_unix, Arc::clone(&state)));
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin socket cannot accept");
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    }
}

/// One request: a scrape each few seconds needs no connection kept.
async fn connection(
    (stream, asker): (Box<dyn Duplex>, Option<Asker>),
    is_unix: bool,
    state: Arc<dyn AdminApi>,
) {
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        let state = Arc::clone(&state);
        request.extensions_mut().insert(asker);
        async move { Ok::<_, std::convert::Infallible>(route::answer(request, is_unix, state).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let most = if is_unix { MOST_UNIX_TIME } else { MOST_TIME };
    match tokio::time::timeout(most, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an admin connection broke off"),
        Err(_) => tracing::debug!("an admin connection took too long"),
    }
}

/// Who asks on the Unix socket, as the kernel says.
#[derive(Clone, Copy, Debug)]
struct Asker {
    uid: u32,
}

enum Socket {
    Unix(UnixListener),
    Tcp(TcpListener),
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl Socket {
    fn new(socket: OwnedFd, is_unix: bool) -> io::Result<Socket> {
        if is_unix {
            let socket = std::os::unix::net::UnixListener::from(socket);
            socket.set_nonblocking(true)?;
            return UnixListener::from_std(socket).map(Socket::Unix);
        }
        let socket = std::net::TcpListener::from(socket);
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket).map(Socket::Tcp)
    }

    async fn accept(&self) -> io::Result<(Box<dyn Duplex>, Option<Asker>)> {
        Ok(match self {
            Socket::Unix(socket) => {
                let stream = socket.accept().await?.0;
                let asker = stream.peer_cred().ok().map(|of| Asker { uid: of.uid() });
                (Box::new(stream), asker)
            }
            Socket::Tcp(socket) => (Box::new(socket.accept().await?.0), None),
        })
    }
}

#[cfg(test)]
mod tests;
