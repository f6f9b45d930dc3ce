//! A public key in PEM: bare (`PUBLIC KEY`, `RSA PUBLIC KEY`) or in a certificate.
//!
//! `source` reads it at start. What must stay true: there is one key in the file, and it is public.
//! Of a certificate only the key is taken: neither its dates nor its issuer say anything here.

use x509_parser::asn1_rs::oid;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::{PublicKey, RSAPublicKey};
use x509_parser::x509::SubjectPublicKeyInfo;

use super::keys::{Allowed, Keys, Public};
use crate::config::{self, Invalid};

const HOW: &str = "`openssl pkey -in KEY -pubout` writes the public key of a private one";

pub(super) fn read(file: &config::File, allowed: &Allowed) -> Result<Keys, Invalid> {
    let bytes = file.read()?;
    keys(&bytes, allowed)
        .map_err(|(what, hint)| file.invalid(format!("`{}`: {what}", file.path.display()), hint))
}

fn keys(bytes: &[u8], allowed: &Allowed) -> Result<Keys, (&'static str, &'static str)> {
    let mut blocks = Pem::iter_from_buffer(bytes);
    let no_key = ("there is no public key or certificate in PEM", HOW);
    let block = blocks.next().ok_or(no_key)?.map_err(|_| no_key)?;
    if block.label.contains("PRIVATE KEY") {
        return Err(("it is a private key: dockgate only verifies", HOW));
    }
    if blocks.next().is_some() {
        return Err((
            "there is more than one key or certificate",
            "several keys belong in a key set: `jwks`",
        ));
    }
    of_block(&block.label, &block.contents, allowed).ok_or((
        "the key cannot be used, or not with `algorithms`",
        "RSA of 2048 bits at least, P-256, P-384 or Ed25519",
    ))
}

fn of_block(label: &str, der: &[u8], allowed: &Allowed) -> Option<Keys> {
    match label {
        "CERTIFICATE" => {
            let (_, certificate) = X509Certificate::from_der(der).ok()?;
            of_info(certificate.public_key(), allowed)
        }
        "PUBLIC KEY" => of_info(&SubjectPublicKeyInfo::from_der(der).ok()?.1, allowed),
        "RSA PUBLIC KEY" => of_rsa(&RSAPublicKey::from_der(der).ok()?.1, allowed),
        _ => None,
    }
}

fn of_info(info: &SubjectPublicKeyInfo<'_>, allowed: &Allowed) -> Option<Keys> {
    let curve = || info.algorithm.parameters.as_ref()?.as_oid().ok();
    match info.parsed().ok()? {
        PublicKey::RSA(key) => of_rsa(&key, allowed),
        PublicKey::EC(point) if curve()? == oid!(1.2.840.10045.3.1.7) => {
            Keys::of_public(Public::P256(point.data()), allowed)
        }
        PublicKey::EC(point) if curve()? == oid!(1.3.132.0.34) => {
            Keys::of_public(Public::P384(point.data()), allowed)
        }
        PublicKey::Unknown(key) if info.algorithm.algorithm == oid!(1.3.101.112) => {
            Keys::of_public(Public::Ed25519(key), allowed)
        }
        _ => None,
    }
}

fn of_rsa(key: &RSAPublicKey<'_>, allowed: &Allowed) -> Option<Keys> {
    let public = Public::Rsa { modulus: key.modulus, exponent: key.exponent };
    Keys::of_public(public, allowed)
}
