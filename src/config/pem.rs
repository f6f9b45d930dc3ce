//! Certificates, keys and revocation lists out of the PEM files (RFC 7468) that a configuration names.
//!
//! `listener` and `engine` build their TLS from them. What must stay true: a file that holds none of
//! what it should is a complaint with its place, never an empty list.

use rustls::RootCertStore;
use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use super::{File, Invalid};

impl File {
    /// A chain, the leaf first.
    pub fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, Invalid> {
        self.all("certificate")
    }

    pub fn revocation_lists(&self) -> Result<Vec<CertificateRevocationListDer<'static>>, Invalid> {
        self.all("revocation list")
    }

    /// The first private key: PKCS#8, PKCS#1 or SEC1.
    pub fn private_key(&self) -> Result<PrivateKeyDer<'static>, Invalid> {
        let text = self.read()?;
        PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
            Error::NoItemsFound => self.invalid(
                format!("`{}` holds no private key", self.path.display()),
                "an encrypted key must be decrypted first: `openssl pkey -in FILE`",
            ),
            error => self.unreadable(&error),
        })
    }

    /// Who is trusted to sign.
    pub fn authorities(&self) -> Result<RootCertStore, Invalid> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            roots.add(certificate).map_err(|error| {
                let what = format!("`{}`: not an authority: {error}", self.path.display());
                self.invalid(what, "")
            })?;
        }
        Ok(roots)
    }

    fn all<T: PemObject>(&self, what: &str) -> Result<Vec<T>, Invalid> {
        let text = self.read()?;
        let all: Result<Vec<T>, Error> = T::pem_slice_iter(&text).collect();
        let all = all.map_err(|error| self.unreadable(&error))?;
        match all.is_empty() {
            true => Err(self.invalid(format!("`{}` holds no {what}", self.path.display()), "")),
            false => Ok(all),
        }
    }

    fn unreadable(&self, error: &Error) -> Invalid {
        self.invalid(format!("`{}`: {error}", self.path.display()), "")
    }
}
