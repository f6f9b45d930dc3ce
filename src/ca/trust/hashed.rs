//! The name of a root's file in a directory that OpenSSL looks through: `<hash of its subject>.0`.
//!
//! As `X509_NAME_hash` has it since OpenSSL 1.0: the first four bytes, the least significant one first, of the
//! SHA-1 of the subject in a canonical form: text is UTF-8, without spaces around it, with one space where there
//! are more, and in lower case as far as it is ASCII.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use x509_parser::asn1_rs::{Any, ToDer as _};
use x509_parser::prelude::{AttributeTypeAndValue, FromDer as _, X509Certificate, X509Name};

use super::der;

const BMP: u32 = 30;
const UNIVERSAL: u32 = 28;
const UTF8: u32 = 12;
/// Printable, T61, IA5 and visible text: OpenSSL takes each byte for a character of Latin-1.
const BYTES: [u32; 4] = [19, 20, 22, 26];

/// Of a certificate (DER): eight hexadecimal digits. `None` where its subject cannot be read.
pub fn subject_hash(certificate: &[u8]) -> Option<String> {
    let (rest, certificate) = X509Certificate::from_der(certificate).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let sum = digest(&SHA1_FOR_LEGACY_USE_ONLY, &canonical(certificate.subject())?);
    let first = u32::from_le_bytes(*sum.as_ref().first_chunk()?);
    Some(format!("{first:08x}"))
}

/// The parts of the name one after the other, without the sequence around them.
fn canonical(name: &X509Name) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for part in name.iter_rdn() {
        let attributes: Option<Vec<_>> = part.iter().map(canonical_attribute).collect();
        let mut attributes = attributes?;
        // The order of a set in DER.
        attributes.sort();
        out.extend(der::written(der::SET, &attributes.concat())?);
    }
    Some(out)
}

fn canonical_attribute(attribute: &AttributeTypeAndValue) -> Option<Vec<u8>> {
    let mut content = attribute.attr_type().to_der_vec().ok()?;
    let value = attribute.attr_value();
    match text(value) {
        Some(text) => content.extend(der::written(der::UTF8_STRING, folded(&text?).as_bytes())?),
        None => content.extend(value.to_der_vec().ok()?),
    }
    der::written(der::SEQUENCE, &content)
}

/// `None` for what is left as it is, `Some(None)` for text that cannot be read.
fn text(value: &Any) -> Option<Option<String>> {
    let bytes = value.data;
    match value.tag().0 {
        UTF8 => Some(std::str::from_utf8(bytes).ok().map(str::to_owned)),
        BMP => {
            let units = bytes.chunks(2).map(|two| Some(u16::from_be_bytes(*two.first_chunk()?)));
            let units: Option<Vec<u16>> = units.collect();
            Some(units.and_then(|units| String::from_utf16(&units).ok()))
        }
        UNIVERSAL => {
            let characters = bytes
                .chunks(4)
                .map(|four| char::from_u32(u32::from_be_bytes(*four.first_chunk()?)));
            Some(characters.collect())
        }
        tag if BYTES.contains(&tag) => Some(Some(bytes.iter().copied().map(char::from).collect())),
        _ => None,
    }
}

fn folded(text: &str) -> String {
    let is_space = |c: char| c.is_ascii_whitespace() || c == '\x0b';
    let words: Vec<&str> = text.split(is_space).filter(|word| !word.is_empty()).collect();
    words.join(" ").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rcgen::{
        BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, IsCa, KeyPair,
    };

    use super::*;

    fn root(name: &[(DnType, DnValue)]) -> rcgen::Certificate {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in name {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
        params.self_signed(&KeyPair::generate().unwrap()).unwrap()
    }

    #[test]
    fn files_are_named_as_openssl_names_them() {
        let Ok(version) = Command::new("openssl").arg("version").output() else {
            eprintln!("SKIPPED: no `openssl` here");
            return;
        };
        assert!(version.status.success());
        let utf8 = |text: &str| DnValue::Utf8String(text.to_owned());
        let dir = tempfile::tempdir().unwrap();
        for name in [
            vec![(DnType::CommonName, utf8("dockgate cache root 0011223344556677"))],
            vec![
                (DnType::CountryName, DnValue::PrintableString("DE".try_into().unwrap())),
                (DnType::OrganizationName, utf8("  Two  \t Words ")),
                (DnType::CommonName, utf8("Ünïcode ÄÖÜ")),
            ],
            vec![(DnType::OrganizationName, DnValue::Ia5String("Some IA5".try_into().unwrap()))],
            vec![(
                DnType::OrganizationName,
                DnValue::TeletexString("Old Text".try_into().unwrap()),
            )],
            vec![(DnType::CommonName, DnValue::BmpString("Wide  Text é".try_into().unwrap()))],
            vec![(
                DnType::CommonName,
                DnValue::UniversalString("Very Wide \u{1F512}".try_into().unwrap()),
            )],
            vec![],
        ] {
            let certificate = root(&name);
            let file = dir.path().join("root.pem");
            std::fs::write(&file, certificate.pem()).unwrap();
            let mut command = Command::new("openssl");
            command.args(["x509", "-noout", "-hash", "-in"]).arg(&file);
            let out = command.output().unwrap();
            assert!(out.status.success(), "{out:?}");
            let expected = String::from_utf8(out.stdout).unwrap();
            assert_eq!(
                subject_hash(certificate.der()).as_deref(),
                Some(expected.trim()),
                "{name:?}"
            );
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_hash() {
        let whole = root(&[(DnType::CommonName, DnValue::Utf8String("a".to_owned()))]);
        assert!(subject_hash(whole.der()).is_some());
        assert_eq!(subject_hash(&whole.der()[..40]), None);
        assert_eq!(subject_hash(&[whole.der().as_ref(), b"x"].concat()), None);
        assert_eq!(subject_hash(b""), None);
    }
}
