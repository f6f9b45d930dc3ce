//! The server's side of TLS: from `[listener.tls]` and its like to handshakes.
//!
//! `listener` shakes hands before a connection becomes the service's. What must stay true: only TLS
//! 1.2 and 1.3, only the protocols that the service has offered, every failure has an alert for the
//! client and one line for the operator, and a handshake is bounded in time.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{CertificateError, Connection, Error, ServerConfig, ServerConnection};

use crate::config::{self, ClientAuth, File, Invalid};
use crate::wire::io::{HandshakeError, Stream};

/// How the first record of every TLS connection begins: `handshake` (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

/// What a service speaks over TLS.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// By their names in ALPN (RFC 7301).
    pub protocols: &'static [&'static [u8]],
    /// Whether clients that come again are spared a full handshake, and the look at their certificate.
    pub resumes: bool,
}

#[derive(Debug)]
pub struct Server {
    config: Arc<ServerConfig>,
    verifier: Arc<dyn ClientCertVerifier>,
    handshake_time: Duration,
}

/// Why a connection did not get as far as a request.
#[derive(Debug, thiserror::Error)]
pub enum NoHandshake {
    #[error("the client speaks plain HTTP to a TLS port")]
    PlainHttp,
    #[error("the handshake took too long")]
    TooSlow,
    #[error("the client left during the handshake")]
    Left,
    #[error("{}", in_words(.0))]
    Protocol(Error),
    #[error("the connection failed: {0}")]
    Connection(std::io::Error),
}

impl Server {
    /// Reads the files and checks that they fit together.
    pub fn new(tls: &config::Tls, offer: Offer) -> Result<Server, Invalid> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = match &tls.client {
            ClientAuth::None => WebPkiClientVerifier::no_client_auth(),
            ClientAuth::Optional { ca, crl } => verifier(ca, crl.as_ref(), true)?,
            ClientAuth::Required { ca, crl } => verifier(ca, crl.as_ref(), false)?,
        };
        let chain = tls.cert.certificates()?;
        let key = tls.key.private_key()?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|config| {
                config.with_client_cert_verifier(Arc::clone(&verifier)).with_single_cert(chain, key)
            })
            .map_err(|error| match error {
                Error::InconsistentKeys(_) => {
                    tls.key.invalid("the key is not that of the certificate", "")
                }
                error => tls.cert.invalid(format!("the certificate cannot be used: {error}"), ""),
            })?;
        config.alpn_protocols = offer.protocols.iter().map(|name| name.to_vec()).collect();
        if offer.resumes {
            config.ticketer =
                aws_lc_rs::Ticketer::new().map_err(|error| tls.key.invalid(error, ""))?;
        } else {
            config.send_tls13_tickets = 0;
            config.session_storage = Arc::new(NoServerSessionStorage {});
        }
        Ok(Server { config: Arc::new(config), verifier, handshake_time: tls.handshake_time })
    }

    /// Shakes hands, and verifies the client's certificate where that is asked for.
    pub async fn accept(&self, stream: &mut Stream) -> Result<(), NoHandshake> {
        let shaken = tokio::time::timeout(self.handshake_time, self.shake_hands(stream)).await;
        shaken.unwrap_or(Err(NoHandshake::TooSlow))
    }

    async fn shake_hands(&self, stream: &mut Stream) -> Result<(), NoHandshake> {
        match stream.peek().await {
            Ok(Some(HANDSHAKE)) => {}
            Ok(None) => return Err(NoHandshake::Left),
            Ok(Some(first)) if first.is_ascii_uppercase() => return Err(NoHandshake::PlainHttp),
            // rustls finds the words for anything else.
            Ok(Some(_)) => {}
            Err(error) => return Err(NoHandshake::Connection(error)),
        }
        let conn =
            ServerConnection::new(Arc::clone(&self.config)).map_err(NoHandshake::Protocol)?;
        stream.secure(Connection::Server(conn)).await.map_err(|error| match error {
            HandshakeError::Protocol(error) => NoHandshake::Protocol(error),
            HandshakeError::Left => NoHandshake::Left,
            HandshakeError::Connection(error) => NoHandshake::Connection(error),
        })
    }

    /// Whether a certificate that was verified once would be verified now: authorities and
    /// revocation lists may have changed, and time has passed.
    pub fn still_trusts(&self, certificates: &[CertificateDer<'static>]) -> bool {
        if !self.verifier.offer_client_auth() {
            // A certificate that nobody verifies any more says nothing.
            return certificates.is_empty();
        }
        let Some((leaf, others)) = certificates.split_first() else {
            return !self.verifier.client_auth_mandatory();
        };
        self.verifier.verify_client_cert(leaf, others, UnixTime::now()).is_ok()
    }
}

impl NoHandshake {
    /// For the metric.
    pub fn kind(&self) -> &'static str {
        match self {
            NoHandshake::PlainHttp => "plain_http",
            NoHandshake::TooSlow => "too_slow",
            NoHandshake::Left => "left",
            NoHandshake::Protocol(
                Error::InvalidCertificate(_) | Error::NoCertificatesPresented,
            ) => "bad_certificate",
            NoHandshake::Protocol(_) => "protocol",
            NoHandshake::Connection(_) => "connection",
        }
    }
}

fn verifier(
    ca: &File,
    crl: Option<&File>,
    is_optional: bool,
) -> Result<Arc<dyn ClientCertVerifier>, Invalid> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let roots = Arc::new(ca.authorities()?);
    let mut builder = WebPkiClientVerifier::builder_with_provider(roots, provider);
    if let Some(crl) = crl {
        // A list that is out of date says nothing about today: nobody is let in (as OpenSSL does).
        builder = builder
            .with_crls(crl.revocation_lists()?)
            .only_check_end_entity_revocation()
            .enforce_revocation_expiration();
    }
    if is_optional {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| {
        let file = crl.unwrap_or(ca);
        file.invalid(format!("`{}` cannot be used: {error}", file.path.display()), "")
    })
}

fn in_words(error: &Error) -> String {
    use CertificateError as Certificate;
    let why = match error {
        Error::NoCertificatesPresented => "shows no certificate",
        Error::InvalidCertificate(certificate) => match certificate {
            Certificate::Expired | Certificate::ExpiredContext { .. } => {
                "shows a certificate that has expired"
            }
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
                "shows a certificate that is not valid yet"
            }
            Certificate::Revoked => "shows a certificate that is revoked",
            Certificate::UnknownIssuer => "shows a certificate of an authority that is not ours",
            Certificate::UnknownRevocationStatus => {
                "shows a certificate that no revocation list covers"
            }
            Certificate::ExpiredRevocationList
            | Certificate::ExpiredRevocationListContext { .. } => {
                "cannot be judged: the revocation list is out of date"
            }
            Certificate::InvalidPurpose | Certificate::InvalidPurposeContext { .. } => {
                "shows a certificate that is not for clients"
            }
            other => return format!("the client shows a bad certificate: {other}"),
        },
        Error::AlertReceived(alert) => {
            return format!("the client refuses our certificate or terms: alert {alert:?}");
        }
        Error::NoApplicationProtocol => "speaks neither HTTP/1.1 nor HTTP/2 (ALPN)",
        Error::PeerIncompatible(why) => {
            return format!("the client and we have no terms in common: {why:?}");
        }
        other => return format!("the handshake failed: {other}"),
    };
    format!("the client {why}")
}
