//! `certificate`: the user of the client's verified certificate.
//!
//! `listener` puts a chain into `Caller` only when rustls has verified it; here only its leaf is read
//! (RFC 5280 §4.1.2.6, §4.2.1.6). What must stay true: a certificate names one user or none; where
//! two readers could see two different names in it, it is refused.

use std::borrow::Cow;
use std::fmt::Write as _;

use rustls::pki_types::CertificateDer;
use x509_parser::asn1_rs::{Any, Tag, ToDer as _};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::{Asking, Authenticator, Deciding, Outcome, Validity, Who, is_name};
use crate::config::CertificateName;

/// Tags of `GeneralName` (RFC 5280 §4.2.1.6).
const EMAIL: Tag = Tag(1);
const DNS: Tag = Tag(2);
const URI: Tag = Tag(6);

/// Why a certificate names nobody.
type NameError = Cow<'static, str>;

#[derive(Debug)]
pub(super) struct Certificate {
    name: CertificateName,
}

impl Certificate {
    pub(super) fn new(name: CertificateName) -> Certificate {
        Certificate { name }
    }

    fn read(&self, leaf: &CertificateDer<'_>) -> Result<Who, NameError> {
        let leaf = parse(leaf).ok_or("the client certificate cannot be read")?;
        let user = match self.name {
            CertificateName::Cn => common_name(leaf.subject()),
            CertificateName::SanEmail => alternative(&leaf, EMAIL, "email address"),
            CertificateName::SanDns => alternative(&leaf, DNS, "DNS name"),
            CertificateName::SanUri => alternative(&leaf, URI, "URI"),
        }?;
        Ok(Who { user, groups: units(leaf.subject())?, ..Who::default() })
    }
}

impl Authenticator for Certificate {
    fn challenges(&self) -> Vec<String> {
        Vec::new()
    }

    fn holds(&self) -> Validity {
        Validity::Connection
    }

    fn decide<'a>(&'a self, asking: Asking<'a>) -> Deciding<'a> {
        let outcome = match asking.caller.certificates.first().map(|leaf| self.read(leaf)) {
            None => Outcome::Absent,
            Some(Ok(who)) => Outcome::Recognised(who.into()),
            Some(Err(why)) => Outcome::Refused(why),
        };
        Box::pin(async { outcome })
    }
}

/// The subject as text (RFC 4514): `CN=ann,OU=ci,O=Example`.
pub(super) fn subject(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = parse(certificate)?;
    let parts = certificate.subject().iter_rdn().map(|part| {
        let values: Vec<_> = part.iter().map(attribute).collect();
        values.join("+")
    });
    let mut parts: Vec<_> = parts.collect();
    parts.reverse();
    Some(parts.join(","))
}

fn parse<'c>(certificate: &'c CertificateDer<'_>) -> Option<X509Certificate<'c>> {
    match X509Certificate::from_der(certificate) {
        Ok(([], certificate)) => Some(certificate),
        _ => None,
    }
}

fn common_name(subject: &X509Name<'_>) -> Result<String, NameError> {
    let mut names = subject.iter_common_name();
    match (names.next(), names.next()) {
        (Some(name), None) => {
            text(name).ok_or("the common name of the client certificate is no user name".into())
        }
        (None, _) => Err("the client certificate has no common name".into()),
        (Some(_), Some(_)) => Err("the client certificate has more than one common name".into()),
    }
}

fn units(subject: &X509Name<'_>) -> Result<Vec<String>, NameError> {
    let wrong = || "an organizational unit of the client certificate is no group name".into();
    subject.iter_organizational_unit().map(|unit| text(unit).ok_or_else(wrong)).collect()
}

/// Only encodings with one reading (RFC 5280 §4.1.2.4); the old ones (T.61, BMP) have several.
fn text(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let is_plain = matches!(attribute.attr_value().tag(), Tag::Utf8String | Tag::PrintableString);
    let text = attribute.as_str().ok().filter(|text| is_plain && is_name(text))?;
    Some(text.to_owned())
}

/// The one alternative name of a kind. One that cannot be read counts too.
fn alternative(leaf: &X509Certificate<'_>, kind: Tag, called: &str) -> Result<String, NameError> {
    let names = leaf
        .subject_alternative_name()
        .map_err(|_| "the alternative names of the client certificate cannot be read")?
        .map_or(&[][..], |extension| &extension.value.general_names);
    let of_kind = |name: &GeneralName<'_>| match name {
        GeneralName::RFC822Name(name) if kind == EMAIL => Some(Some((*name).to_owned())),
        GeneralName::DNSName(name) if kind == DNS => Some(Some((*name).to_owned())),
        GeneralName::URI(name) if kind == URI => Some(Some((*name).to_owned())),
        GeneralName::Invalid(tag, _) if *tag == kind => Some(None),
        _ => None,
    };
    let mut found = names.iter().filter_map(of_kind);
    match (found.next(), found.next()) {
        // An IA5String is ASCII; the parser takes more.
        (Some(Some(name)), None) if name.is_ascii() && is_name(&name) => Ok(name),
        (Some(_), None) => Err(format!("the {called} of the client certificate is no user name")),
        (None, _) => Err(format!("the client certificate has no {called}")),
        (Some(_), Some(_)) => Err(format!("the client certificate has more than one {called}")),
    }
    .map_err(Cow::Owned)
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    // RFC 4514 §3; anything else has its number, and then its value in hexadecimal.
    let name = match oid.as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        _ => return format!("{oid}={}", hexadecimal(attribute.attr_value())),
    };
    match attribute.as_str() {
        Ok(text) => format!("{name}={}", escaped(text)),
        Err(_) => format!("{name}={}", hexadecimal(attribute.attr_value())),
    }
}

/// RFC 4514 §2.4.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (at, c) in text.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => out.extend(['\\', c]),
            ' ' if at == 0 || at == last => out.extend(['\\', c]),
            '#' if at == 0 => out.extend(['\\', c]),
            c if c.is_control() => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(out, "\\{byte:02x}");
                }
            }
            c => out.push(c),
        }
    }
    out
}

fn hexadecimal(value: &Any<'_>) -> String {
    let mut out = String::from("#");
    for byte in value.to_der_vec().unwrap_or_default() {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

#[cfg(test)]
mod tests;
