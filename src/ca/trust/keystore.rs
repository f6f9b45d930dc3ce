//! A Java key store of trusted certificates, with a root added.
//!
//! Read are JKS and what JDK 18 and later ship, PKCS #12 without a password; written is JKS, which every JDK reads
//! whatever the configured type is (`keystore.type.compat`). A store with private keys, with another password than
//! the usual one, or with anything that is not understood is an error: what we would not write back must not get
//! lost. What must stay true: any input gives a store or an error, and every certificate of the input is in the
//! output under its alias.

mod jks;
mod pkcs12;

use std::time::{SystemTime, UNIX_EPOCH};

/// 20 times as long as any JDK's.
const LONGEST: usize = 8 * 1024 * 1024;
const MOST_ENTRIES: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeystoreError {
    #[error("neither a JKS nor a PKCS #12 key store")]
    Unknown,
    #[error(
        "a key store that is longer than {LONGEST} bytes, or has more than {MOST_ENTRIES} entries"
    )]
    TooLarge,
    #[error("a key store that is cut off or malformed")]
    Malformed,
    #[error("a key store with another password than `changeit`, or one that has been damaged")]
    Digest,
    #[error("a key store with a password: only PKCS #12 without one is read")]
    Encrypted,
    #[error("a key store with private keys")]
    PrivateKey,
}

/// One trusted certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trusted {
    /// As Java writes text: UTF-8 of UTF-16, with a zero in two bytes.
    alias: Vec<u8>,
    /// Milliseconds since 1970.
    since: u64,
    certificate: Vec<u8>,
}

/// `store` as JKS with the password `changeit`, and `root` (DER) as the entry `dockgate-<id>`. What stood under
/// that alias is replaced.
pub fn with_root(
    store: &[u8],
    id: &str,
    root: &[u8],
    now: SystemTime,
) -> Result<Vec<u8>, KeystoreError> {
    let mut entries = read(store)?;
    // Java takes aliases in lower case, and neither zeros nor long ones occur in ids.
    let alias = format!("dockgate-{}", id.to_ascii_lowercase()).into_bytes();
    entries.retain(|entry| entry.alias != alias);
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let since = u64::try_from(since).unwrap_or(u64::MAX);
    entries.push(Trusted { alias, since, certificate: root.to_vec() });
    jks::written(&entries).ok_or(KeystoreError::TooLarge)
}

/// One that trusts nobody.
#[cfg(test)]
pub(in crate::ca) fn empty() -> Vec<u8> {
    jks::written(&[]).unwrap_or_default()
}

fn read(store: &[u8]) -> Result<Vec<Trusted>, KeystoreError> {
    if store.len() > LONGEST {
        return Err(KeystoreError::TooLarge);
    }
    if store.starts_with(&jks::MAGIC) {
        return jks::read(store);
    }
    match store.first() {
        Some(&super::der::SEQUENCE) => pkcs12::read(store),
        _ => Err(KeystoreError::Unknown),
    }
}

#[cfg(test)]
mod tests;
