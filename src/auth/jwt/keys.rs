//! The keys that tokens may be signed with, and what each of them may verify.
//!
//! `source` reads them; `jwt` asks one set about one token. What must stay true: the algorithms come
//! from the key and the configuration, and a token only chooses among them (RFC 8725 §3.1); a public
//! key is never a shared secret; what cannot be used safely is not in the set.

use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::Deserialize;
use serde_json::Value;

use super::token::{Token, algorithm, decode};
use Algorithm::{ES256, ES384, EdDSA, HS256, HS384, HS512};
use Algorithm::{PS256, PS384, PS512, RS256, RS384, RS512};

const OF_RSA: &[Algorithm] = &[RS256, RS384, RS512, PS256, PS384, PS512];
/// What one token may make us compute.
const MOST_TRIES: usize = 16;
const MOST_KEYS: usize = 256;
/// RFC 7518 §3.3 asks for 2048 bits; aws-lc verifies no more than 8192.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

#[derive(Debug)]
pub(super) struct Key {
    id: Option<String>,
    /// Never empty.
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

#[derive(Debug)]
pub(super) struct Keys(Vec<Key>);

/// What the configuration allows; empty for all that fits.
#[derive(Clone, Debug)]
pub(super) struct Allowed(Vec<Algorithm>);

/// A public key before it is known what it may verify.
#[derive(Clone, Copy, Debug)]
pub(super) enum Public<'a> {
    Rsa {
        modulus: &'a [u8],
        exponent: &'a [u8],
    },
    /// An uncompressed point.
    P256(&'a [u8]),
    P384(&'a [u8]),
    Ed25519(&'a [u8]),
}

impl Allowed {
    /// `None` for a name that is no algorithm.
    pub(super) fn new(names: &[String]) -> Option<Allowed> {
        names.iter().map(|name| algorithm(name)).collect::<Option<_>>().map(Allowed)
    }

    fn of(&self, all: &[Algorithm]) -> Vec<Algorithm> {
        let is_allowed = |one: &Algorithm| self.0.is_empty() || self.0.contains(one);
        all.iter().copied().filter(is_allowed).collect()
    }
}

impl Keys {
    /// A key set (RFC 7517 §5); keys in it that cannot be used are left out, as it demands.
    pub(super) fn of_set(json: &[u8], allowed: &Allowed) -> Result<Keys, &'static str> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let text = std::str::from_utf8(json).map_err(|_| "it is not a key set")?;
        let set: Set = serde_json::from_str(text).map_err(|_| "it is not a key set")?;
        let parsed = set.keys.into_iter().filter_map(|value| serde_json::from_value(value).ok());
        let keys = parsed.filter_map(|jwk: Jwk| jwk.key(allowed)).take(MOST_KEYS);
        Keys::some(keys.collect()).ok_or("there is no usable key in the set")
    }

    pub(super) fn of_public(public: Public<'_>, allowed: &Allowed) -> Option<Keys> {
        Keys::some(public.key(None, None, allowed).into_iter().collect())
    }

    /// As long as the hash at least (RFC 7518 §3.2).
    pub(super) fn of_secret(secret: &[u8], allowed: &Allowed) -> Option<Keys> {
        let mut algorithms = allowed.of(&[HS256, HS384, HS512]);
        algorithms.retain(|algorithm| match algorithm {
            HS512 => secret.len() >= 64,
            HS384 => secret.len() >= 48,
            _ => secret.len() >= 32,
        });
        let key = DecodingKey::from_secret(secret);
        (!algorithms.is_empty()).then_some(Keys(vec![Key { id: None, algorithms, key }]))
    }

    fn some(keys: Vec<Key>) -> Option<Keys> {
        (!keys.is_empty()).then_some(Keys(keys))
    }

    /// Whether any key may be the one that the token names.
    pub(super) fn has_key_of(&self, token: &Token<'_>) -> bool {
        self.named_by(token).next().is_some()
    }

    pub(super) fn verify(&self, token: &Token<'_>) -> Result<(), &'static str> {
        if token.is_critical {
            return Err("the token demands an extension that is not known");
        }
        if !self.has_key_of(token) {
            return Err("the token names a key that is not known");
        }
        let algorithm = token.algorithm.ok_or("the token's algorithm is not accepted")?;
        let mut fitting =
            self.named_by(token).filter(|key| key.algorithms.contains(&algorithm)).peekable();
        if fitting.peek().is_none() {
            return Err("the token's algorithm is not accepted");
        }
        let signed = token.signed.as_bytes();
        let is_signed_with = |key: &Key| {
            crypto::verify(token.signature, signed, &key.key, algorithm).unwrap_or(false)
        };
        match fitting.take(MOST_TRIES).any(is_signed_with) {
            true => Ok(()),
            false => Err("the token's signature is wrong"),
        }
    }

    /// A key without a name, such as one in PEM, may be the one of any token.
    fn named_by<'a>(&'a self, token: &'a Token<'_>) -> impl Iterator<Item = &'a Key> {
        self.0.iter().filter(move |key| match (&key.id, &token.key_id) {
            (Some(id), Some(named)) => id == named,
            (None, _) | (_, None) => true,
        })
    }
}

/// RFC 7517 §4, RFC 7518 §6 and RFC 8037 §2: as much of it as says what a public key is.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<Value>,
}

impl Jwk {
    /// `oct` is in no set that others may read, a private key neither.
    fn key(self, allowed: &Allowed) -> Option<Key> {
        let is_to_verify = self.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !is_to_verify || self.d.is_some() {
            return None;
        }
        let named = match &self.alg {
            None => None,
            Some(name) => Some(algorithm(name)?),
        };
        let part = |text: &Option<String>| decode(text.as_ref()?);
        let point = |size: usize| {
            let (x, y) = (part(&self.x)?, part(&self.y)?);
            (x.len() == size && y.len() == size).then(|| [&[4], &*x, &*y].concat())
        };
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let (modulus, exponent) = (part(&self.n)?, part(&self.e)?);
                let public = Public::Rsa { modulus: &modulus, exponent: &exponent };
                public.key(self.kid, named, allowed)
            }
            ("EC", Some("P-256")) => Public::P256(&point(32)?).key(self.kid, named, allowed),
            ("EC", Some("P-384")) => Public::P384(&point(48)?).key(self.kid, named, allowed),
            ("OKP", Some("Ed25519")) => {
                Public::Ed25519(&part(&self.x)?).key(self.kid, named, allowed)
            }
            _ => None,
        }
    }
}

impl Public<'_> {
    /// `named`: the one algorithm that the key says it is for.
    fn key(self, id: Option<String>, named: Option<Algorithm>, allowed: &Allowed) -> Option<Key> {
        let (key, fitting) = match self {
            Public::Rsa { modulus, exponent } => {
                let (modulus, exponent) = (without_zeroes(modulus), without_zeroes(exponent));
                if !RSA_BITS.contains(&bits(modulus)) || !is_exponent(exponent) {
                    return None;
                }
                (DecodingKey::from_rsa_raw_components(modulus, exponent), OF_RSA)
            }
            Public::P256(point) if is_point(point, 32) => {
                (DecodingKey::from_ec_der(point), &[ES256][..])
            }
            Public::P384(point) if is_point(point, 48) => {
                (DecodingKey::from_ec_der(point), &[ES384][..])
            }
            Public::Ed25519(x) if x.len() == 32 => (DecodingKey::from_ed_der(x), &[EdDSA][..]),
            _ => return None,
        };
        let mut algorithms = allowed.of(fitting);
        algorithms.retain(|one| named.is_none_or(|named| named == *one));
        (!algorithms.is_empty()).then_some(Key { id, algorithms, key })
    }
}

fn without_zeroes(number: &[u8]) -> &[u8] {
    let zeroes = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeroes..).unwrap_or_default()
}

fn bits(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

/// Odd, not 1, and not so long that verifying costs as much as signing.
fn is_exponent(number: &[u8]) -> bool {
    number.last().is_some_and(|last| last % 2 == 1) && (2..=33).contains(&bits(number))
}

fn is_point(point: &[u8], size: usize) -> bool {
    point.first() == Some(&4) && point.len() == 1 + 2 * size
}
