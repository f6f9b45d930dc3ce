//! The client's side of TLS, towards an engine behind `tls://`.
//!
//! `engine::connect` uses it. What must stay true: the engine's certificate is always verified, by the
//! configured authority or the system's, for the name that the address has.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore};

use crate::config::{self, Invalid, Place};
use crate::wire::io::{HandshakeError, Stream};

#[derive(Clone, Debug)]
pub struct TlsClient {
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

impl TlsClient {
    pub(super) fn new(engine: &config::Engine, host: &str) -> Result<TlsClient, Invalid> {
        let place = engine.ca.as_ref().map_or_else(Place::default, |ca| ca.place.clone());
        let bad = |what: String| Invalid::at(&place, what, "");
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| bad(format!("`{host}` is not a name that a certificate can have")))?;
        let roots = match &engine.ca {
            Some(ca) => ca.authorities()?,
            None => system_roots(),
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| bad(error.to_string()))?
            .with_root_certificates(roots);
        let mut config = match &engine.certificate {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => builder
                .with_client_auth_cert(cert.certificates()?, key.private_key()?)
                .map_err(|error| cert.invalid(format!("cannot be shown: {error}"), ""))?,
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsClient { name, config: Arc::new(config) })
    }

    pub(super) async fn secure(&self, stream: &mut Stream) -> Result<(), HandshakeError> {
        let conn = ClientConnection::new(Arc::clone(&self.config), self.name.clone())
            .map_err(HandshakeError::Protocol)?;
        stream.secure(Connection::Client(conn)).await
    }
}

/// Those that the machine trusts. None at all is no reason not to start: no engine is trusted then.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        tracing::warn!("the system trusts no authority: set `ca` in `[engine]`");
    }
    roots
}
