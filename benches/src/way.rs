//! The ways in which a client reaches a target: a unix socket, TCP, TLS; and the TLS client itself.
//! It offers every target the same and keeps no session. It checks neither chain nor signature:
//! what that costs the client is not what is measured.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, NamedGroup, SignatureScheme, StreamOwned,
};

use crate::http::bad;

/// A peer that is silent for so long counts as hung.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub(crate) enum Way {
    Unix(PathBuf),
    Tcp(SocketAddr),
    Tls(SocketAddr, Arc<ClientConfig>),
}

/// A connection whose direction to the peer can be ended on its own.
pub(crate) trait Stream: Read + Write + Send {
    fn end_writing(&mut self) -> io::Result<()>;
    /// The socket alone: what the client itself remembers of the connection is forgotten.
    fn into_socket(self: Box<Self>) -> Socket;
}

/// Held to keep a connection open.
pub(crate) enum Socket {
    Unix(#[expect(dead_code, reason = "held open")] UnixStream),
    Tcp(#[expect(dead_code, reason = "held open")] TcpStream),
}

impl Way {
    pub(crate) fn connect(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Unix(path) => Ok(Box::new(unix(path)?)),
            Self::Tcp(address) => Ok(Box::new(tcp(*address)?)),
            Self::Tls(address, config) => {
                let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
                let client = ClientConnection::new(Arc::clone(config), name);
                let client = client.map_err(io::Error::other)?;
                Ok(Box::new(Tls(StreamOwned::new(client, tcp(*address)?))))
            }
        }
    }
}

pub(crate) fn unix(path: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

impl Stream for UnixStream {
    fn end_writing(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn into_socket(self: Box<Self>) -> Socket {
        Socket::Unix(*self)
    }
}

impl Stream for TcpStream {
    fn end_writing(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn into_socket(self: Box<Self>) -> Socket {
        Socket::Tcp(*self)
    }
}

struct Tls(StreamOwned<ClientConnection, TcpStream>);

impl Read for Tls {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.0.read(into) {
            // Ended without close_notify: HAProxy may; how it ends is not what is measured.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            other => other,
        }
    }
}

impl Write for Tls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Stream for Tls {
    fn end_writing(&mut self) -> io::Result<()> {
        self.0.conn.send_close_notify();
        self.0.flush()?;
        self.0.sock.shutdown(Shutdown::Write)
    }

    fn into_socket(self: Box<Self>) -> Socket {
        Socket::Tcp(self.0.sock)
    }
}

/// What a client offers. One suite and one group, so that both servers do the same work: OpenSSL
/// takes its own first choice of what is offered, rustls the client's.
#[derive(Clone, Copy)]
pub(crate) enum Offer {
    X25519,
    /// What Go 1.24 and later offer; OpenSSL 3.0 takes the second.
    Hybrid,
}

/// A client that offers this; with the client certificate in `certs`, if given.
pub(crate) fn tls_client(offer: Offer, certs: Option<&Path>) -> io::Result<Arc<ClientConfig>> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
    provider.kx_groups = match offer {
        Offer::X25519 => vec![aws_lc_rs::kx_group::X25519],
        Offer::Hybrid => vec![aws_lc_rs::kx_group::X25519MLKEM768, aws_lc_rs::kx_group::X25519],
    };
    debug_assert!(provider.kx_groups.iter().any(|group| group.name() == NamedGroup::X25519));
    let provider = Arc::new(provider);
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unverified(provider)));
    let mut config = match certs {
        None => config.with_no_client_auth(),
        Some(dir) => {
            let wrong = |error| bad(format!("{}: {error}", dir.display()));
            let cert = CertificateDer::from_pem_file(dir.join("cert.pem")).map_err(wrong)?;
            let key = PrivateKeyDer::from_pem_file(dir.join("key.pem")).map_err(wrong)?;
            config.with_client_auth_cert(vec![cert], key).map_err(io::Error::other)?
        }
    };
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// HAProxy wants certificate and key in one file.
pub(crate) fn server_bundle(certs: &Path) -> io::Result<PathBuf> {
    let bundle = certs.join("server-bundle.pem");
    let both = ["server-cert.pem", "server-key.pem"].map(|name| fs::read(certs.join(name)));
    let [cert, key] = both;
    fs::write(&bundle, [cert?, key?].concat())?;
    Ok(bundle)
}

#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
