//! TLS of clients that think they speak with an origin: shaken hands with in its place, or passed on as it is.
//!
//! `run` opens an `InterceptListener` for each `https://` of a cache that has `intercept` and no `tls`, and says
//! who its clients are (`Clients`). The story of a connection is `InterceptListener::connection`: greet, decide,
//! then shake hands and converse, or splice. What must stay true: nobody is led to a host that the cache is not
//! for, whatever a hello names; no certificate is made for such a name; a client that does not want ours
//! loses one handshake, and none after it; nothing waits without end.

mod fingerprint;
mod hello;
mod refusals;
mod splice;
mod terminate;
pub(super) mod upgrade;

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use quick_cache::sync::Cache as Map;
use rustls::sign::CertifiedKey;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::front::{CacheListener, address_of, plain_http};
use super::key::Scheme;
use super::stats::Outcome;
use super::upstream::Fault;
use crate::auth::Peer;
use crate::config::Intercept;
use crate::listener::{Incoming, Service, Serving};
use crate::wire::buffer::Buffer;
use crate::wire::io::Stream;
use crate::wire::linger::linger;
pub use fingerprint::{Fingerprint, NoFingerprint};
use hello::{Heard, Hello, LONGEST_RAW, NoHello};
use refusals::Refusals;

/// Alerts (RFC 8446 §6).
const UNEXPECTED_MESSAGE: u8 = 10;
const DECODE_ERROR: u8 = 50;
const PROTOCOL_VERSION: u8 = 70;
const INTERNAL_ERROR: u8 = 80;
const MISSING_EXTENSION: u8 = 109;
const UNRECOGNIZED_NAME: u8 = 112;

/// How long is waited for the word of who connects.
const WHO: Duration = Duration::from_secs(2);
/// How long a client that was refused may take to read why.
const PATIENCE: Duration = Duration::from_secs(2);
/// What was said once of an image and a host is not said again.
const MOST_SAID: usize = 4096;

/// What is known of who connects; `run` gives it to a cache that intercepts.
pub trait Clients: Send + Sync + fmt::Debug {
    /// Which certificates this client trusts. None: its connections are passed on as they are.
    fn client<'a>(
        &'a self,
        address: IpAddr,
    ) -> Pin<Box<dyn Future<Output = Option<InterceptedClient>> + Send + 'a>>;

    /// A CRL by the path of its URL, DER.
    fn crl(&self, path: &str) -> Option<Arc<[u8]>>;
}

#[derive(Clone, Debug)]
pub struct InterceptedClient {
    pub container: String,
    /// Its id.
    pub image: String,
    pub tenant: Option<Arc<str>>,
    /// Whether new certificates have come since the container began: what its programs refuse says nothing of others that
    /// begin in this image.
    pub is_renewed: bool,
    pub certificates: Arc<dyn Certificates>,
}

impl InterceptedClient {
    /// Whose kinds of clients refusals are of.
    fn scope(&self) -> &str {
        if self.is_renewed { &self.container } else { &self.image }
    }
}

/// Those of one generation.
pub trait Certificates: Send + Sync + fmt::Debug {
    fn id(&self) -> &str;

    /// May take its time.
    fn certificate(&self, server_name: &str) -> Option<Arc<CertifiedKey>>;
}

/// What the configuration says of it.
#[derive(Clone, Debug)]
pub struct InterceptSettings {
    pub mode: Intercept,
    /// Kinds of clients that are always passed on.
    pub never: Vec<Fingerprint>,
    /// Where refusals are remembered.
    pub file: Option<PathBuf>,
    /// For a whole hello, and again for the handshake behind it.
    pub handshake_time: Duration,
}

/// A cache's state of it, which its listeners in all workers share.
#[derive(Debug)]
pub(super) struct Interception {
    settings: InterceptSettings,
    clients: ArcSwapOption<GivenClients>,
    refusals: Arc<Refusals>,
    /// Image and host of what was said in the log.
    said: Map<(String, String), ()>,
    /// From which addresses of ours connections are passed on.
    ways: Mutex<HashSet<SocketAddr>>,
}

/// One of the ways on which a connection is passed on; it ends with this.
struct OwnWay<'w> {
    ways: &'w Mutex<HashSet<SocketAddr>>,
    from: Option<SocketAddr>,
}

impl Drop for OwnWay<'_> {
    fn drop(&mut self) {
        if let Some(from) = self.from {
            self.ways.lock().unwrap_or_else(PoisonError::into_inner).remove(&from);
        }
    }
}

/// A trait object has no place in an `ArcSwap`.
#[derive(Debug)]
struct GivenClients(Arc<dyn Clients>);

impl Interception {
    pub(super) fn new(settings: InterceptSettings) -> Interception {
        let refusals = Arc::new(Refusals::open(settings.file.clone()));
        Interception {
            settings,
            clients: ArcSwapOption::empty(),
            refusals,
            said: Map::new(MOST_SAID),
            ways: Mutex::default(),
        }
    }

    /// To be held as long as something is passed on from there.
    fn way(&self, from: Option<SocketAddr>) -> OwnWay<'_> {
        if let Some(from) = from {
            self.ways.lock().unwrap_or_else(PoisonError::into_inner).insert(from);
        }
        OwnWay { ways: &self.ways, from }
    }

    /// Whether a connection is one that is passed on from here: it would be passed on for ever.
    fn is_own(&self, peer: &Peer) -> bool {
        let Peer::Tcp(address) = peer else { return false };
        self.ways.lock().unwrap_or_else(PoisonError::into_inner).contains(address)
    }

    pub(super) fn takes_clients(&self, clients: Arc<dyn Clients>) {
        self.clients.store(Some(Arc::new(GivenClients(clients))));
    }

    /// Whether what was learned of clients is in its file.
    pub(super) fn is_settled(&self) -> bool {
        self.refusals.is_written()
    }

    pub(super) async fn client(&self, address: Option<IpAddr>) -> Option<InterceptedClient> {
        let clients = self.clients.load_full()?;
        timeout(WHO, clients.0.client(address?)).await.ok().flatten()
    }

    pub(super) fn crl(&self, path: &str) -> Option<Arc<[u8]>> {
        self.clients.load().as_ref()?.0.crl(path)
    }
}

/// A listening socket at which clients take the cache for their origins, in one worker.
#[derive(Debug)]
pub struct InterceptListener(pub CacheListener);

impl Service for InterceptListener {
    fn name(&self) -> Arc<str> {
        self.0.name()
    }

    fn drain(&self) -> &CancellationToken {
        self.0.drain()
    }

    fn tasks(&self) -> &TaskTracker {
        self.0.tasks()
    }

    fn serve(self: Arc<Self>, incoming: Incoming) -> Serving {
        Box::pin(async move { self.connection(incoming).await })
    }

    fn too_many_connections(&self) -> Vec<u8> {
        alert(INTERNAL_ERROR).to_vec()
    }

    fn plain_http(&self) -> Vec<u8> {
        plain_http()
    }

    fn shaken(&self, result: &'static str) {
        self.0.shaken(result);
    }
}

/// What becomes of a connection.
enum Decision {
    /// In the origin's place.
    Terminate(InterceptedClient, Arc<CertifiedKey>),
    Splice,
}

impl InterceptListener {
    async fn connection(&self, incoming: Incoming) {
        let Incoming { stream, peer, permit, .. } = incoming;
        let _open = self.0.tally.connection();
        let Some(interception) = &self.0.cache.interception else { return };
        // One that reads nothing is to cost little.
        if let Err(error) = stream.hold_little() {
            return tracing::debug!(%error, "a connection of the cache was lost");
        }
        let address = address_of(&peer);
        // Boxed, as what follows: a connection does not keep the room of what is behind it.
        let greeted = Box::pin(self.greet(interception, &stream, &peer)).await;
        let (hello, name) = match greeted {
            Ok(greeted) => greeted,
            Err(no) => return self.refuse(stream, &peer, no).await,
        };
        let client = interception.client(address).await;
        let (tenant, asking) = self.0.cache.known(&peer, client.as_ref());
        match self.decide(interception, &hello, &name, client).await {
            Decision::Terminate(client, key) => {
                let met = terminate::Met { hello: &hello, name: &name, client, tenant, asking };
                Box::pin(self.terminate(interception, stream, peer, met, key)).await;
            }
            Decision::Splice => {
                self.shaken("spliced");
                let cache = &self.0.cache;
                let splicing = splice::run(cache, interception, stream, &name, &tenant, &asking);
                Box::pin(splicing).await;
            }
        }
        drop(permit);
    }

    /// Reads a hello without taking it from the socket: whoever answers it finds it there.
    async fn greet(
        &self,
        interception: &Interception,
        stream: &Stream,
        peer: &Peer,
    ) -> Result<(Box<Hello>, String), NoGreeting> {
        let wait = interception.settings.handshake_time;
        let hello = timeout(wait, peek(stream)).await.map_err(|_| NoGreeting::TooSlow)??;
        let name = hello.server_name.clone().ok_or(NoGreeting::NoName)?;
        if !self.0.cache.settings.serves(&name, Scheme::Https) {
            return Err(NoGreeting::Foreign(name));
        }
        // Only now: whoever passes it on has made a note of it before it sent the hello.
        if interception.is_own(peer) {
            return Err(NoGreeting::Own(name));
        }
        Ok((hello, name))
    }

    async fn decide(
        &self,
        interception: &Interception,
        hello: &Hello,
        name: &str,
        client: Option<InterceptedClient>,
    ) -> Decision {
        let Some(client) = client else { return Decision::Splice };
        let which = hello.fingerprint();
        if !hello.speaks_http()
            || interception.settings.never.contains(&which)
            || interception.refusals.knows(&client.image, which)
            || interception.refusals.knows(client.scope(), which)
        {
            return Decision::Splice;
        }
        if interception.settings.mode == Intercept::Observe {
            interception.would(&self.0.cache.name, &client, name, which);
            return Decision::Splice;
        }
        let (certificates, asked) = (Arc::clone(&client.certificates), name.to_owned());
        // It may have to be made.
        let made = tokio::task::spawn_blocking(move || certificates.certificate(&asked)).await;
        match made.ok().flatten() {
            Some(key) => Decision::Terminate(client, key),
            None => Decision::Splice,
        }
    }

    async fn refuse(&self, stream: Stream, peer: &Peer, no: NoGreeting) {
        self.shaken(no.kind());
        tracing::debug!(listener = %self.0.name, client = %peer, "not intercepted: {no}");
        if let NoGreeting::Foreign(_) | NoGreeting::NoName = no {
            let cache = &self.0.cache;
            let address = address_of(peer);
            // Not by the name: a stranger could say any.
            cache.stats.account("-", &cache.tenant(address), Outcome::Refused).close(0);
        }
        match no {
            NoGreeting::TooSlow | NoGreeting::Left | NoGreeting::Connection(_) => {}
            NoGreeting::Not(NoHello::PlainHttp) => say_and_close(stream, &plain_http()).await,
            NoGreeting::Not(why) => say_and_close(stream, &alert(why.alert())).await,
            NoGreeting::NoName => say_and_close(stream, &alert(MISSING_EXTENSION)).await,
            NoGreeting::Foreign(_) => say_and_close(stream, &alert(UNRECOGNIZED_NAME)).await,
            NoGreeting::Own(name) => {
                self.0.cache.origin_failed(&name, &Fault::Loop);
                say_and_close(stream, &alert(INTERNAL_ERROR)).await;
            }
        }
    }
}

impl Interception {
    /// Says once of an image and a host that it would be intercepted.
    fn would(&self, cache: &str, client: &InterceptedClient, host: &str, which: Fingerprint) {
        let key = (client.image.clone(), host.to_owned());
        if self.said.get(&key).is_none() {
            self.said.insert(key, ());
            tracing::info!(
                cache, container = %client.container, image = %client.image, host, fingerprint = %which,
                "it would be intercepted: `intercept` is `observe`, so it is passed on"
            );
        }
    }
}

/// Why there is nothing to decide.
#[derive(Debug, thiserror::Error)]
enum NoGreeting {
    #[error("its hello took too long")]
    TooSlow,
    #[error("it left before its hello was whole")]
    Left,
    #[error("{0}")]
    Not(NoHello),
    #[error("its hello names no host")]
    NoName,
    #[error("`{0}` is not a host of this cache")]
    Foreign(String),
    #[error("the way to `{0}` leads back here")]
    Own(String),
    #[error("the connection failed: {0}")]
    Connection(#[from] std::io::Error),
}

impl NoGreeting {
    /// For the metric.
    fn kind(&self) -> &'static str {
        match self {
            NoGreeting::TooSlow => "too_slow",
            NoGreeting::Left => "left",
            NoGreeting::Not(NoHello::PlainHttp) => "plain_http",
            NoGreeting::Not(_) => "protocol",
            NoGreeting::NoName | NoGreeting::Foreign(_) => "foreign_name",
            NoGreeting::Own(_) => "loop",
            NoGreeting::Connection(_) => "connection",
        }
    }
}

async fn peek(stream: &Stream) -> Result<Box<Hello>, NoGreeting> {
    // Most of them need no more.
    let mut bytes = vec![0; 2048];
    let mut seen = 0;
    loop {
        if seen == bytes.len() {
            bytes.resize((2 * seen).min(LONGEST_RAW), 0);
        }
        let now = stream.peek_past(seen, &mut bytes).await?;
        let raw = bytes.get(..now).unwrap_or_default();
        match Hello::read(raw) {
            Heard::Hello(hello) => return Ok(hello),
            Heard::Not(why) => return Err(NoGreeting::Not(why)),
            Heard::Part if now <= seen => return Err(NoGreeting::Left),
            Heard::Part => seen = now,
        }
    }
}

/// A fatal one, in a record of its own: before any other, so that every version reads it.
const fn alert(description: u8) -> [u8; 7] {
    [21, 3, 1, 0, 2, 2, description]
}

/// To a client whose hello lies unread in the socket, which would reset what is said.
async fn say_and_close(mut stream: Stream, answer: &[u8]) {
    let (mut reader, mut writer) = stream.split();
    writer.be_patient(PATIENCE);
    if writer.write_all(answer).await.is_ok() {
        linger(&mut reader, &mut writer, &mut Buffer::new()).await;
    }
}
