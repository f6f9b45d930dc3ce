//! PKCS #12 (RFC 7292) without a password: certificates that lie open, and no seal.

use std::collections::HashSet;

use super::super::der::{
    BMP_STRING, CONTEXT_0, INTEGER, OBJECT_ID, OCTET_STRING, SEQUENCE, SET, Values,
};
use super::{KeystoreError, MOST_ENTRIES, Trusted};

/// 1.2.840.113549.1.7.1 and .6: what lies open, and what needs a password.
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
const ENCRYPTED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x06];
/// 1.2.840.113549.1.12.10.1.1 to .3: a key, one with a password, and a certificate.
const KEY_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x01];
const SHROUDED_KEY_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x02];
const CERTIFICATE_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x03];
/// 1.2.840.113549.1.9.22.1
const X509: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x16, 0x01];
/// 1.2.840.113549.1.9.20
const FRIENDLY_NAME: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x14];

pub(super) fn read(store: &[u8]) -> Result<Vec<Trusted>, KeystoreError> {
    const MALFORMED: KeystoreError = KeystoreError::Malformed;
    let mut whole = Values::within(store, SEQUENCE).ok_or(MALFORMED)?;
    if whole.next(INTEGER) != Some(&[3]) {
        return Err(KeystoreError::Unknown);
    }
    let safes = open(&mut whole)?;
    if !whole.is_empty() {
        // The seal is made with a password.
        return Err(KeystoreError::Encrypted);
    }
    let mut safes = Values::within(safes, SEQUENCE).ok_or(MALFORMED)?;
    let mut names = Names::default();
    let mut entries = Vec::new();
    while !safes.is_empty() {
        let mut bags = Values::within(open(&mut safes)?, SEQUENCE).ok_or(MALFORMED)?;
        while !bags.is_empty() {
            if entries.len() >= MOST_ENTRIES {
                return Err(KeystoreError::TooLarge);
            }
            let mut bag = bags.enter(SEQUENCE).ok_or(MALFORMED)?;
            entries.push(certificate(&mut bag, &mut names)?);
        }
    }
    Ok(entries)
}

/// The content of a `ContentInfo` that needs no password.
fn open<'a>(from: &mut Values<'a>) -> Result<&'a [u8], KeystoreError> {
    const MALFORMED: KeystoreError = KeystoreError::Malformed;
    let mut info = from.enter(SEQUENCE).ok_or(MALFORMED)?;
    match info.next(OBJECT_ID) {
        Some(DATA) => {}
        Some(ENCRYPTED_DATA) => return Err(KeystoreError::Encrypted),
        _ => return Err(MALFORMED),
    }
    let mut content = info.enter_last(CONTEXT_0).ok_or(MALFORMED)?;
    content.last(OCTET_STRING).ok_or(MALFORMED)
}

fn certificate(bag: &mut Values, names: &mut Names) -> Result<Trusted, KeystoreError> {
    const MALFORMED: KeystoreError = KeystoreError::Malformed;
    match bag.next(OBJECT_ID) {
        Some(CERTIFICATE_BAG) => {}
        Some(KEY_BAG | SHROUDED_KEY_BAG) => return Err(KeystoreError::PrivateKey),
        _ => return Err(MALFORMED),
    }
    let mut value = bag.enter(CONTEXT_0).ok_or(MALFORMED)?;
    let mut value = value.enter_last(SEQUENCE).ok_or(MALFORMED)?;
    if value.next(OBJECT_ID) != Some(X509) {
        return Err(MALFORMED);
    }
    let mut certificate = value.enter_last(CONTEXT_0).ok_or(MALFORMED)?;
    let certificate = certificate.last(OCTET_STRING).ok_or(MALFORMED)?.to_vec();
    let name = match bag.is_empty() {
        true => None,
        false => friendly_name(bag.enter_last(SET).ok_or(MALFORMED)?).ok_or(MALFORMED)?,
    };
    Ok(Trusted { alias: names.unique(name.unwrap_or_default()), since: 0, certificate })
}

/// `Some(None)` where there is none among the attributes.
fn friendly_name(mut attributes: Values) -> Option<Option<Vec<u8>>> {
    let mut found = None;
    while !attributes.is_empty() {
        let mut attribute = attributes.enter(SEQUENCE)?;
        if attribute.next(OBJECT_ID)? != FRIENDLY_NAME {
            continue;
        }
        let name = attribute.enter_last(SET)?.last(BMP_STRING)?;
        let units = name.chunks(2).map(|two| Some(u16::from_be_bytes(*two.first_chunk()?)));
        found = Some(units.collect::<Option<Vec<u16>>>()?);
    }
    Some(found.map(|units| units.into_iter().flat_map(java_text).collect()))
}

/// One unit of UTF-16, as Java's `writeUTF` has it, in lower case as Java has aliases.
fn java_text(unit: u16) -> Vec<u8> {
    let continued = |bits: u16| 0x80 | low_byte(bits & 0x3f);
    match unit {
        1..0x80 => vec![low_byte(unit).to_ascii_lowercase()],
        0 | 0x80..0x800 => vec![0xc0 | low_byte(unit >> 6), continued(unit)],
        0x800.. => vec![0xe0 | low_byte(unit >> 12), continued(unit >> 6), continued(unit)],
    }
}

fn low_byte(unit: u16) -> u8 {
    let [_, low] = unit.to_be_bytes();
    low
}

/// PKCS #12 may have names twice, or none; in JKS the second one would take the first one's place.
#[derive(Default)]
struct Names {
    taken: HashSet<Vec<u8>>,
    count: usize,
}

impl Names {
    fn unique(&mut self, name: Vec<u8>) -> Vec<u8> {
        self.count += 1;
        let mut name = name;
        while name.is_empty() || !self.taken.insert(name.clone()) {
            name.extend(format!("-{}", self.count).into_bytes());
        }
        name
    }
}
