//! One password hash: bcrypt or argon2, strong enough and not too expensive.
//!
//! `htpasswd` reads them, `Basic` verifies with them. What must stay true: a hash that was read can
//! always be verified, within bounds of memory and time that no line of a file exceeds.

use std::fmt;

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier as _;
use argon2::password_hash::phc::PasswordHash;

/// Of a password, in bytes; the hash functions read all of it.
pub(super) const LONGEST: usize = 1024;
/// bcrypt reads no further: two passwords that differ behind it would be the same.
pub(super) const BCRYPT_LONGEST: usize = 72;

/// OWASP's minimum; above the upper end one login takes many seconds.
const BCRYPT_COST: std::ops::RangeInclusive<u32> = 10..=16;
/// KiB. OWASP's sets of parameters have at least 7 MiB and as much work as 7 MiB read five times;
/// the second recommendation of RFC 9106 is 64 MiB.
const ARGON2_MEMORY: std::ops::RangeInclusive<u32> = 7 * 1024..=128 * 1024;
/// Memory times passes.
const ARGON2_WORK: std::ops::RangeInclusive<u64> = 5 * 7 * 1024..=1024 * 1024;
const ARGON2_LANES: u32 = 16;
/// Without `v=`, a PHC string is of the version before (0x10), which RFC 9106 does not describe.
const ARGON2_VERSION: u32 = 0x13;

#[derive(Clone)]
pub(super) struct Hash {
    text: String,
    cost: Cost,
}

/// What the time to verify depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cost {
    Bcrypt(u32),
    /// Variant, memory, passes, lanes, length.
    Argon2(&'static str, u32, u32, u32, usize),
}

impl Hash {
    /// Why not, for people.
    pub(super) fn parse(text: &str) -> Result<Hash, String> {
        let cost = match text.get(..4) {
            Some("$2y$" | "$2a$" | "$2b$") => bcrypt(text)?,
            _ if text.starts_with("$argon2") => argon2(text)?,
            _ => return Err(format!("{} not taken", weak(text))),
        };
        Ok(Hash { text: text.to_owned(), cost })
    }

    pub(super) fn cost(&self) -> &Cost {
        &self.cost
    }

    /// Tells this hash from any other, and nothing else.
    pub(super) fn digest(&self) -> [u8; 32] {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.text.as_bytes());
        digest.as_ref().try_into().unwrap_or_default()
    }

    pub(super) fn verify(&self, password: &str) -> bool {
        match self.cost {
            Cost::Bcrypt(_) => {
                let is_right = bcrypt::verify(password, &self.text).unwrap_or(false);
                is_right && password.len() <= BCRYPT_LONGEST
            }
            Cost::Argon2(..) => {
                Argon2::default().verify_password(password.as_bytes(), self.text.as_str()).is_ok()
            }
        }
    }
}

/// Never the hash.
impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({:?})", self.cost)
    }
}

fn bcrypt(text: &str) -> Result<Cost, String> {
    let parts: bcrypt::HashParts =
        text.parse().map_err(|_| "this bcrypt hash is malformed".to_owned())?;
    let cost = parts.get_cost();
    match BCRYPT_COST.contains(&cost) {
        true => Ok(Cost::Bcrypt(cost)),
        false if cost < *BCRYPT_COST.start() => {
            Err(format!("bcrypt with cost {cost} is weak (at least {})", BCRYPT_COST.start()))
        }
        false => {
            Err(format!("bcrypt with cost {cost} takes too long (at most {})", BCRYPT_COST.end()))
        }
    }
}

fn argon2(text: &str) -> Result<Cost, String> {
    let malformed = || "this argon2 hash is malformed".to_owned();
    let hash = PasswordHash::new(text).map_err(|_| malformed())?;
    let variant = match hash.algorithm.as_str() {
        "argon2id" => "argon2id",
        "argon2i" => "argon2i",
        "argon2d" => return Err("argon2d is open to timing attacks: not taken".to_owned()),
        _ => return Err(malformed()),
    };
    if hash.version != Some(ARGON2_VERSION) {
        return Err(format!("only version {ARGON2_VERSION} of argon2 (`v=`) is taken"));
    }
    // Also refuses parameters that it does not know.
    let params = argon2::Params::try_from(&hash).map_err(|_| malformed())?;
    let (memory, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
    let length = hash.hash.as_ref().map_or(0, |output| output.as_bytes().len());
    let salt = hash.salt.as_ref().map_or(0, |salt| salt.as_ref().len());
    if length < 16 || salt < 8 {
        return Err("argon2 with a hash below 16 or a salt below 8 bytes is weak".to_owned());
    }
    let work = u64::from(memory) * u64::from(passes);
    // RFC 9106 §4: the data-independent variant needs three passes.
    let least_passes = if variant == "argon2i" { 3 } else { 1 };
    let given = format!("{variant} with m={memory},t={passes},p={lanes}");
    if memory < *ARGON2_MEMORY.start() || work < *ARGON2_WORK.start() || passes < least_passes {
        return Err(format!("{given} is weak"));
    }
    if memory > *ARGON2_MEMORY.end() || work > *ARGON2_WORK.end() || lanes > ARGON2_LANES {
        return Err(format!("{given} takes too much memory or time"));
    }
    Ok(Cost::Argon2(variant, memory, passes, lanes, length))
}

/// What it is instead.
fn weak(text: &str) -> &'static str {
    const KINDS: [(&str, &str); 9] = [
        ("$apr1$", "MD5 (`$apr1$`) is weak:"),
        ("$1$", "MD5 crypt (`$1$`) is weak:"),
        ("{SHA}", "unsalted SHA-1 (`{SHA}`) is weak:"),
        ("{SSHA}", "SHA-1 (`{SSHA}`) is weak:"),
        ("$2x$", "a hash of the faulty bcrypt (`$2x$`) is"),
        ("$5$", "SHA-256 crypt (`$5$`) is"),
        ("$6$", "SHA-512 crypt (`$6$`) is"),
        ("$y$", "yescrypt (`$y$`) is"),
        ("$", "a hash of this kind is"),
    ];
    let found = KINDS.iter().find(|(prefix, _)| text.starts_with(prefix));
    found.map_or("DES crypt or plain text is weak:", |(_, what)| what)
}
