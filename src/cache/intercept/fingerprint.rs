//! What kind of client a `ClientHello` is from: the same for all connections of one program, and another
//! one where its TLS library, its version or what it makes of it is another.
//!
//! `hello` makes them, `refusals` remembers them. Pure. What must stay true: what a client changes from
//! connection to connection (the name, keys, tickets, padding, GREASE, the order of extensions) is not in it.
//!
//! It is SHA-256, cut to 16 bytes, over this text: `dockgate-hello-1`, the newest version offered, the
//! ciphers and the extensions' types (each sorted), the groups (sorted), the signature algorithms and the
//! protocols (as they came), one a line; numbers as four hexadecimal digits with commas between them.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};

use super::hello::{Hello, is_grease};

/// `server_name`, `padding`, `pre_shared_key`, `early_data`, `cookie`, `session_ticket`: they come and go.
const PASSING: [u16; 6] = [0, 21, 41, 42, 44, 35];

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    pub(super) fn of(hello: &Hello) -> Fingerprint {
        let mut text = format!("dockgate-hello-1\n{:04x}\n", hello.version);
        let lasting = hello.extensions.iter().filter(|kind| !PASSING.contains(*kind));
        put(&mut text, sorted(hello.ciphers.iter()));
        put(&mut text, sorted(lasting));
        put(&mut text, sorted(hello.groups.iter()));
        put(&mut text, hello.signatures.iter().copied().filter(|one| !is_grease(*one)).collect());
        for protocol in hello.protocols.iter().flatten() {
            // Some of them are GREASE as well (RFC 8701 §3.1).
            let number = <[u8; 2]>::try_from(protocol.as_slice()).map(u16::from_be_bytes);
            if !number.is_ok_and(is_grease) {
                let _ = write!(text, "{},", protocol.escape_ascii());
            }
        }
        let hash = digest(&SHA256, text.as_bytes());
        Fingerprint(hash.as_ref().first_chunk().copied().unwrap_or_default())
    }
}

fn sorted<'n>(numbers: impl Iterator<Item = &'n u16>) -> Vec<u16> {
    let mut all: Vec<u16> = numbers.copied().filter(|one| !is_grease(*one)).collect();
    all.sort_unstable();
    all
}

fn put(text: &mut String, numbers: Vec<u16>) {
    for number in numbers {
        let _ = write!(text, "{number:04x},");
    }
    text.push('\n');
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = NoFingerprint;

    fn from_str(text: &str) -> Result<Fingerprint, NoFingerprint> {
        let number = u128::from_str_radix(text, 16).map_err(|_| NoFingerprint)?;
        let fingerprint = Fingerprint(number.to_be_bytes());
        // No sign, no capitals, and nothing left out.
        if fingerprint.to_string() == text { Ok(fingerprint) } else { Err(NoFingerprint) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint has 32 hexadecimal digits in lower case")]
pub struct NoFingerprint;
