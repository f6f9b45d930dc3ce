//! An authority of the test's own, the certificates that it signs, and the client's side of TLS.

use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

use super::Conn;
use super::conn::Socket;

pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub struct Pair {
    pub cert: String,
    pub key: String,
}

/// What a certificate says.
pub struct Says {
    pub cn: &'static str,
    pub purpose: ExtendedKeyUsagePurpose,
    pub serial: u64,
    /// The years of its validity, from the first of the one to the first of the other.
    pub years: (i32, i32),
}

impl Says {
    pub fn client(cn: &'static str) -> Says {
        let purpose = ExtendedKeyUsagePurpose::ClientAuth;
        Says { cn, purpose, serial: 7, years: (2020, 2090) }
    }

    pub fn server() -> Says {
        let purpose = ExtendedKeyUsagePurpose::ServerAuth;
        Says { cn: "gate", purpose, serial: 2, years: (2020, 2090) }
    }
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "the test's authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        Authority(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn sign(&self, says: &Says) -> Pair {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, says.cn);
        params.distinguished_name.push(DnType::OrganizationalUnitName, "ops");
        params.extended_key_usages = vec![says.purpose.clone()];
        params.serial_number = Some(SerialNumber::from(says.serial));
        params.not_before = date_time_ymd(says.years.0, 1, 1);
        params.not_after = date_time_ymd(says.years.1, 1, 1);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.0).unwrap();
        Pair { cert: cert.pem(), key: key.serialize_pem() }
    }

    /// A list that revokes these serial numbers.
    pub fn crl(&self, serials: &[u64]) -> String {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2021, 1, 1),
            next_update: date_time_ymd(2090, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).unwrap().pem().unwrap()
    }

    /// Puts `ca.pem`, `cert.pem` and `key.pem` of a server there.
    pub fn furnish(&self, dir: &Path) {
        let server = self.sign(&Says::server());
        for (name, text) in
            [("ca.pem", self.pem()), ("cert.pem", server.cert), ("key.pem", server.key)]
        {
            std::fs::write(dir.join(name), text).unwrap();
        }
    }

    /// The settings of a client that trusts this authority, with a certificate or without.
    pub fn client(
        &self,
        pair: Option<&Pair>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        match pair {
            None => builder.with_no_client_auth(),
            Some(Pair { cert, key }) => {
                let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![cert], key).unwrap()
            }
        }
    }
}

pub const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// Connects; the handshake is made with the first byte.
pub fn connect(address: &str, config: ClientConfig) -> Conn {
    let tcp = TcpStream::connect(address).expect("a listener");
    tcp.set_nodelay(true).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let tls = ClientConnection::new(Arc::new(config), name).unwrap();
    Conn::over(Socket::Tls(Box::new(rustls::StreamOwned::new(tls, tcp))))
}
