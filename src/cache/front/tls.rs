//! The server's side of TLS for a cache: one certificate for all its domains.
//!
//! What must stay true: TLS 1.2 and 1.3 only; HTTP/2 is offered, for cargo and others ask for
//! hundreds of files at a time; tickets spare clients that come again a full handshake.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// How the first record of every TLS connection begins: `handshake` (RFC 8446 §5.1).
pub(super) const HANDSHAKE: u8 = 22;

pub fn server(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(Arc::new(config))
}
