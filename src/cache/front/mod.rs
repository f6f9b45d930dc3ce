//! How clients are spoken to: HTTP/1.1 and HTTP/2, plain and over TLS.
//!
//! `listener` accepts, and hands over connections: a `CacheListener` is a `Service`. What must stay true: a
//! request that cannot be understood in one way only gets 400 and the end of its connection; whatever a
//! client does or does not do, it holds up nobody else.

mod h1;
mod h2;
mod progress;
mod revocations;
pub(super) mod tunnel;
mod write;

use std::net::IpAddr;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Cache;
use super::key::Scheme;
use super::served::Asking;
use crate::auth::{self, Peer};
use crate::listener::tls::Offer;
use crate::listener::{Incoming, Service, Serving};
use crate::telemetry::metrics::Tally;
use crate::wire::io::Stream;
pub(super) use h1::plain_http;
pub(super) use write::head_of;

/// HTTP/2, for cargo and others ask for hundreds of files at a time, and tickets, which spare clients that
/// come again a full handshake: nobody shows a certificate, of which one could be revoked.
pub const TLS: Offer = Offer { protocols: &[b"h2", b"http/1.1"], resumes: true };

/// A listening socket of a cache, in one worker.
#[derive(Debug)]
pub struct CacheListener {
    pub cache: Arc<Cache>,
    /// `cache NAME`.
    pub name: Arc<str>,
    pub tally: Arc<Tally>,
    pub drain: CancellationToken,
    pub tasks: TaskTracker,
}

/// What every request of a connection shares.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub scheme: Scheme,
    /// Asked for in the handshake.
    pub server_name: Option<Arc<str>>,
    /// Whether it takes us for the host that it asked for: then it is answered for that one alone.
    pub is_intercepted: bool,
    pub tenant: Arc<str>,
    /// For authenticators, where the cache has some.
    pub who: Arc<auth::Caller>,
    pub asking: Arc<Asking>,
}

impl Service for CacheListener {
    fn name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    fn drain(&self) -> &CancellationToken {
        &self.drain
    }

    fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    fn serve(self: Arc<Self>, incoming: Incoming) -> Serving {
        Box::pin(async move { self.connection(incoming).await })
    }

    fn too_many_connections(&self) -> Vec<u8> {
        h1::too_many_connections(&self.name)
    }

    fn plain_http(&self) -> Vec<u8> {
        h1::plain_http()
    }

    fn shaken(&self, result: &'static str) {
        self.tally.handshake(result);
    }
}

impl CacheListener {
    async fn connection(&self, incoming: Incoming) {
        let Incoming { stream, peer, permit, .. } = incoming;
        let _open = self.tally.connection();
        // One that reads nothing is to cost little.
        if let Err(error) = stream.hold_little() {
            return tracing::debug!(%error, "a connection of the cache was lost");
        }
        let (tenant, asking) = self.cache.asking(&peer).await;
        let server_name = stream.server_name().map(Arc::from);
        let scheme = if stream.is_plain() { Scheme::Http } else { Scheme::Https };
        let asking = Arc::new(asking);
        let who = Arc::new(auth::Caller::new(peer, Vec::new()));
        let caller = Caller { scheme, server_name, is_intercepted: false, tenant, who, asking };
        self.converse(stream, caller).await;
        drop(permit);
    }

    /// Answers requests for as long as the client asks.
    pub(super) async fn converse(&self, stream: Stream, caller: Caller) {
        match stream.protocol() {
            Some(protocol) if protocol == b"h2" => {
                h2::connection(&self.cache, stream, caller, &self.drain).await;
            }
            _ => h1::connection(&self.cache, stream, caller, &self.drain).await,
        }
    }
}

pub(super) fn address_of(peer: &Peer) -> Option<IpAddr> {
    match peer {
        Peer::Tcp(address) => Some(without_mapping(address.ip())),
        _ => None,
    }
}

/// `::ffff:10.0.0.1` is 10.0.0.1.
fn without_mapping(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
        v4 => v4,
    }
}
