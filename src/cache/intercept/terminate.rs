//! A handshake in an origin's place, and what it teaches of the client.
//!
//! `InterceptListener::connection` comes here with a certificate that the client trusts, as far as is known. What
//! must stay true: a client that ends the handshake, or leaves before it has said a word, is passed on the next
//! time; one that has spoken with us is not taken for such a one because it leaves.

use std::fmt;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, Connection, Error, ServerConfig, ServerConnection};
use tokio::time::timeout;

use super::hello::Hello;
use super::{InterceptListener, InterceptedClient, Interception, say_and_close};
use crate::auth::Peer;
use crate::cache::front::{self, Caller};
use crate::cache::key::Scheme;
use crate::cache::served::Asking;
use crate::listener::Service as _;
use crate::wire::io::{HandshakeError, Stream};

/// For the first word of a client that has shaken hands, as between two requests.
const FIRST_WORD: Duration = Duration::from_secs(75);

/// A client's connection, greeted.
pub(super) struct Met<'m> {
    pub hello: &'m Hello,
    pub name: &'m str,
    pub client: InterceptedClient,
    pub tenant: Arc<str>,
    pub asking: Asking,
}

/// How a client has shown that it does not want to speak with us.
enum Why {
    Said(AlertDescription),
    /// The terms are ours only.
    Terms,
    Left,
}

impl InterceptListener {
    pub(super) async fn terminate(
        &self,
        interception: &Interception,
        mut stream: Stream,
        peer: Peer,
        met: Met<'_>,
        key: Arc<CertifiedKey>,
    ) {
        let (cache, wait) = (&self.0.cache, interception.settings.handshake_time);
        let conn = match server(key) {
            Ok(conn) => conn,
            Err(error) => {
                return tracing::error!(cache = %cache.name, %error, "no handshake can be begun");
            }
        };
        match timeout(wait, stream.secure(Connection::Server(conn))).await {
            Err(_) => return self.shaken("too_slow"),
            Ok(Ok(())) => self.shaken("ok"),
            Ok(Err(error)) => {
                self.shaken(kind(&error));
                if let Some(why) = refusal(&error) {
                    interception.learn(&cache.name, &met, why);
                }
                // The alert must be read before a reset takes it away.
                if let HandshakeError::Protocol(_) = error {
                    say_and_close(stream.into_plain(), &[]).await;
                }
                return;
            }
        }
        // Some look at the certificate only now, and just leave.
        let heard = tokio::select! {
            heard = timeout(FIRST_WORD, stream.heard()) => Some(heard),
            () = self.0.drain.cancelled() => None,
        };
        let why = match heard {
            // It is told that there is no more.
            None => None,
            Some(Ok(Ok(true))) => {
                interception.refusals.is_content(met.client.scope(), met.hello.fingerprint());
                None
            }
            Some(Ok(Ok(false))) => Some(Why::Left),
            Some(Ok(Err(error))) => Some(alert_of(&error).map_or(Why::Left, Why::Said)),
            Some(Err(_)) => return stream.say_end(),
        };
        if let Some(why) = why {
            return interception.learn(&cache.name, &met, why);
        }
        let who = Arc::new(crate::auth::Caller::new(peer, Vec::new()));
        let caller = Caller {
            scheme: Scheme::Https,
            server_name: Some(met.name.into()),
            is_intercepted: true,
            tenant: met.tenant,
            who,
            asking: Arc::new(met.asking),
        };
        self.0.converse(stream, caller).await;
    }
}

impl Interception {
    fn learn(&self, cache: &str, met: &Met<'_>, why: Why) {
        let which = met.hello.fingerprint();
        let says_so = !matches!(why, Why::Left);
        let InterceptedClient { container, image, .. } = &met.client;
        if self.refusals.remember(met.client.scope(), which, says_so) {
            let place = if met.client.is_renewed { "container" } else { "image" };
            tracing::info!(
                cache, %container, %image, host = met.name, fingerprint = %which,
                "a client does not take our certificate ({why}): those of its kind in this {place} are passed on from now on"
            );
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Said(alert) => write!(f, "alert {alert:?}"),
            Why::Terms => f.write_str("no terms in common"),
            Why::Left => f.write_str("it left"),
        }
    }
}

fn server(key: Arc<CertifiedKey>) -> Result<ServerConnection, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Always(key)));
    config.alpn_protocols = front::TLS.protocols.iter().map(|name| name.to_vec()).collect();
    // Whoever comes again looks at the certificate again: it may be one of another generation.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    ServerConnection::new(Arc::new(config))
}

/// The certificate that was found for the name in the hello.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Whether the client is one that is better passed on.
fn refusal(error: &HandshakeError) -> Option<Why> {
    match error {
        HandshakeError::Protocol(Error::AlertReceived(alert)) => said(*alert),
        HandshakeError::Protocol(Error::PeerIncompatible(_) | Error::NoApplicationProtocol) => {
            Some(Why::Terms)
        }
        HandshakeError::Protocol(_) => None,
        HandshakeError::Left => Some(Why::Left),
        HandshakeError::Connection(_) => Some(Why::Left),
    }
}

/// Any of them ends the handshake, and most clients say little of why.
fn said(alert: AlertDescription) -> Option<Why> {
    match alert {
        AlertDescription::UserCanceled | AlertDescription::CloseNotify => Some(Why::Left),
        alert => Some(Why::Said(alert)),
    }
}

fn alert_of(error: &std::io::Error) -> Option<AlertDescription> {
    let inner = error.get_ref().filter(|_| error.kind() == ErrorKind::InvalidData)?;
    match inner.downcast_ref() {
        Some(Error::AlertReceived(alert)) => Some(*alert),
        _ => None,
    }
}

/// For the metric, as of other listeners.
fn kind(error: &HandshakeError) -> &'static str {
    match error {
        HandshakeError::Protocol(_) => "protocol",
        HandshakeError::Left => "left",
        HandshakeError::Connection(_) => "connection",
    }
}
