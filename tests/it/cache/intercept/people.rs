//! Authorities, and who trusts which: containers by their addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use dockgate::cache::intercept::{Certificates, Clients, InterceptedClient};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

/// Signs whatever it is asked for, and counts.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pub made: Mutex<Vec<String>>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

impl Authority {
    pub fn new(name: &str) -> Arc<Authority> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Arc::new(Authority { issuer, made: Mutex::default() })
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// For these names.
    pub fn pair(&self, names: &[&str]) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        (cert.der().clone(), key.into())
    }
}

impl Certificates for Authority {
    fn id(&self) -> &str {
        "0123456789abcdef"
    }

    fn certificate(&self, server_name: &str) -> Option<Arc<CertifiedKey>> {
        self.made.lock().unwrap().push(server_name.to_owned());
        if server_name.starts_with("unknown.") {
            return None;
        }
        let (cert, key) = self.pair(&[server_name]);
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
        Some(Arc::new(CertifiedKey::new(vec![cert], key)))
    }
}

/// Containers' images by their addresses.
#[derive(Debug)]
pub struct People {
    pub authority: Arc<Authority>,
    pub images: BTreeMap<IpAddr, &'static str>,
    /// Whose certificates have changed since they began.
    pub renewed: Vec<IpAddr>,
}

pub const LIST: &[u8] = b"a list";
pub const LIST_PATH: &str = "/.dockgate/crl/0123456789abcdef/root.crl";

impl Clients for People {
    fn client<'a>(
        &'a self,
        address: IpAddr,
    ) -> Pin<Box<dyn Future<Output = Option<InterceptedClient>> + Send + 'a>> {
        Box::pin(async move {
            let image = self.images.get(&address)?;
            Some(InterceptedClient {
                container: format!("at-{address}"),
                image: (*image).to_owned(),
                tenant: Some("team".into()),
                is_renewed: self.renewed.contains(&address),
                certificates: Arc::clone(&self.authority) as Arc<dyn Certificates>,
            })
        })
    }

    fn crl(&self, path: &str) -> Option<Arc<[u8]>> {
        (path == LIST_PATH).then(|| LIST.into())
    }
}
