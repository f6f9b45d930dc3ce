//! What a listening socket serves: all that `listener` knows of the protocols above it.
//!
//! `gateway::ListenerHandle` and `cache::front::CacheListener` are services. What must stay true: nothing
//! here knows a protocol, and a permit comes back however a connection ends.

use std::pin::Pin;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use super::connections::Permit;
use crate::auth::Peer;
use crate::wire::io::Stream;

/// A connection that was accepted and, where the listener has TLS, has shaken hands: what came of that
/// (certificates, ALPN, SNI) the stream can say.
#[derive(Debug)]
pub struct Incoming {
    pub stream: Stream,
    pub peer: Peer,
    /// Which one the service had when the connection came.
    pub generation: u64,
    /// Kept until nothing of the connection is left.
    pub permit: Permit,
}

pub type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Who serves the connections of a listening socket, in one worker.
pub trait Service: Send + Sync + 'static {
    /// For the log.
    fn name(&self) -> Arc<str>;

    /// Cancelled when no connection is to be accepted any more.
    fn drain(&self) -> &CancellationToken;

    /// Where every connection is a task of.
    fn tasks(&self) -> &TaskTracker;

    /// Of its settings: a number that changes whenever they do.
    fn generation(&self) -> u64 {
        0
    }

    /// Serves one connection to its end.
    fn serve(self: Arc<Self>, incoming: Incoming) -> Serving;

    /// The answer to a connection too many, written before anything was read.
    fn too_many_connections(&self) -> Vec<u8>;

    /// The answer to plain HTTP on a port for TLS.
    fn plain_http(&self) -> Vec<u8>;

    /// A TLS handshake has ended, well (`ok`) or with this kind of failure.
    fn shaken(&self, result: &'static str);
}
