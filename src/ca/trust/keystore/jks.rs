//! JKS, Java's own format: entries one after the other, sealed by a digest over the password and all of them.

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

use super::{KeystoreError, MOST_ENTRIES, Trusted};

pub(super) const MAGIC: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];
const PRIVATE_KEY: u32 = 1;
const TRUSTED: u32 = 2;
/// The JDK's own, for a store that holds nothing secret.
const PASSWORD: &str = "changeit";
const TYPE: &[u8] = b"X.509";
const DIGEST: usize = 20;

pub(super) fn read(store: &[u8]) -> Result<Vec<Trusted>, KeystoreError> {
    let split = store.len().checked_sub(DIGEST).and_then(|at| store.split_at_checked(at));
    let (content, digest) = split.ok_or(KeystoreError::Malformed)?;
    let mut from = Reader { rest: content };
    // What it is comes first: of a store of somebody's keys, the password does not matter.
    let entries = entries(&mut from)?;
    match digest == seal(content) {
        true => Ok(entries),
        false => Err(KeystoreError::Digest),
    }
}

fn entries(from: &mut Reader) -> Result<Vec<Trusted>, KeystoreError> {
    const MALFORMED: KeystoreError = KeystoreError::Malformed;
    from.take(MAGIC.len()).ok_or(MALFORMED)?;
    let version = from.u32().filter(|version| [1, 2].contains(version)).ok_or(MALFORMED)?;
    let count = from.u32().and_then(|count| usize::try_from(count).ok()).ok_or(MALFORMED)?;
    if count > MOST_ENTRIES {
        return Err(KeystoreError::TooLarge);
    }
    let mut entries = Vec::new();
    for _ in 0..count {
        match from.u32() {
            Some(TRUSTED) => entries.push(from.trusted(version).ok_or(MALFORMED)?),
            Some(PRIVATE_KEY) => return Err(KeystoreError::PrivateKey),
            _ => return Err(MALFORMED),
        }
    }
    match from.rest.is_empty() {
        true => Ok(entries),
        false => Err(MALFORMED),
    }
}

/// Version 2. `None` where something is longer than the format can say.
pub(super) fn written(entries: &[Trusted]) -> Option<Vec<u8>> {
    let mut out = MAGIC.to_vec();
    out.extend(2_u32.to_be_bytes());
    out.extend(u32::try_from(entries.len()).ok()?.to_be_bytes());
    for entry in entries {
        out.extend(TRUSTED.to_be_bytes());
        push_text(&mut out, &entry.alias)?;
        out.extend(entry.since.to_be_bytes());
        push_text(&mut out, TYPE)?;
        out.extend(u32::try_from(entry.certificate.len()).ok()?.to_be_bytes());
        out.extend_from_slice(&entry.certificate);
    }
    let seal = seal(&out);
    out.extend(seal);
    Some(out)
}

fn push_text(out: &mut Vec<u8>, text: &[u8]) -> Option<()> {
    out.extend(u16::try_from(text.len()).ok()?.to_be_bytes());
    out.extend_from_slice(text);
    Some(())
}

pub(super) fn seal(content: &[u8]) -> Vec<u8> {
    let mut sum = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    let password: Vec<u8> = PASSWORD.encode_utf16().flat_map(u16::to_be_bytes).collect();
    // The words are a constant of the format.
    for part in [password.as_slice(), b"Mighty Aphrodite", content] {
        sum.update(part);
    }
    sum.finish().as_ref().to_vec()
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn trusted(&mut self, version: u32) -> Option<Trusted> {
        let alias = self.text()?.to_vec();
        let since = u64::from_be_bytes(*self.take(8)?.first_chunk()?);
        if version == 2 && self.text()? != TYPE {
            return None;
        }
        let length = usize::try_from(self.u32()?).ok()?;
        let certificate = self.take(length)?.to_vec();
        Some(Trusted { alias, since, certificate })
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = u16::from_be_bytes(*self.take(2)?.first_chunk()?);
        self.take(usize::from(length))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(*self.take(4)?.first_chunk()?))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }
}
