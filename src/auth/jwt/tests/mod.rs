//! Tokens and keys for the tests of `jwt`.

mod claims;
mod keys;
mod rotation;
mod verify;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;
use std::time::SystemTime;

use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use rcgen::{KeyPair, PublicKeyData};
use serde_json::{Value, json};

use super::{Jwt, token};
use crate::auth::Outcome;
use crate::config::{self, Keys, Place};

pub(super) fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits =
            (0..3).fold(0u32, |bits, at| bits << 8 | u32::from(*three.get(at).unwrap_or(&0)));
        for digit in 0..=three.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize]));
        }
    }
    text
}

pub(super) fn unsigned(header: &str, claims: &str) -> String {
    format!("{}.{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()), encode(b"nothing"))
}

/// A pair of keys, as an issuer has it.
pub(super) struct Pair {
    pub(super) algorithm: Algorithm,
    private: EncodingKey,
    pub(super) public_pem: String,
    raw: Vec<u8>,
    pub(super) pair: KeyPair,
}

impl Pair {
    pub(super) fn new(algorithm: Algorithm) -> Pair {
        let of = |kind| KeyPair::generate_for(kind).unwrap();
        let (pair, private): (_, fn(&[u8]) -> EncodingKey) = match algorithm {
            Algorithm::ES256 => (of(&rcgen::PKCS_ECDSA_P256_SHA256), EncodingKey::from_ec_der),
            Algorithm::ES384 => (of(&rcgen::PKCS_ECDSA_P384_SHA384), EncodingKey::from_ec_der),
            Algorithm::EdDSA => (of(&rcgen::PKCS_ED25519), EncodingKey::from_ed_der),
            _ => return Pair::rsa(rcgen::RsaKeySize::_2048, algorithm),
        };
        Pair::of(pair, private, algorithm)
    }

    pub(super) fn rsa(size: rcgen::RsaKeySize, algorithm: Algorithm) -> Pair {
        let pair = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size).unwrap();
        // PKCS #8 in PEM: in DER only PKCS #1 is read.
        let pem = pair.serialize_pem();
        let mut pair = Pair::of(pair, EncodingKey::from_rsa_der, algorithm);
        pair.private = EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
        pair
    }

    fn of(pair: KeyPair, private: fn(&[u8]) -> EncodingKey, algorithm: Algorithm) -> Pair {
        let (public_pem, raw) = (pair.public_key_pem(), pair.der_bytes().to_vec());
        Pair { algorithm, private: private(&pair.serialize_der()), public_pem, raw, pair }
    }

    pub(super) fn jwk(&self, id: &str) -> Value {
        let part = |from: usize, to: usize| encode(&self.raw[from..to]);
        let mut jwk = match self.algorithm {
            Algorithm::ES256 => {
                json!({"kty": "EC", "crv": "P-256", "x": part(1, 33), "y": part(33, 65)})
            }
            Algorithm::ES384 => {
                json!({"kty": "EC", "crv": "P-384", "x": part(1, 49), "y": part(49, 97)})
            }
            Algorithm::EdDSA => json!({"kty": "OKP", "crv": "Ed25519", "x": part(0, 32)}),
            _ => {
                use x509_parser::prelude::FromDer;
                let (_, key) = x509_parser::public_key::RSAPublicKey::from_der(&self.raw).unwrap();
                json!({"kty": "RSA", "n": encode(key.modulus), "e": encode(key.exponent)})
            }
        };
        jwk["kid"] = id.into();
        jwk
    }

    /// A token with a good signature, whatever its header says.
    pub(super) fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_as(self.algorithm, header, claims)
    }

    pub(super) fn sign_as(&self, algorithm: Algorithm, header: &Value, claims: &Value) -> String {
        signed(&self.private, algorithm, header, claims)
    }
}

pub(super) fn signed(key: &EncodingKey, alg: Algorithm, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| encode(value.to_string().as_bytes());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = crypto::sign(message.as_bytes(), key, alg).unwrap();
    assert!(token::decode(&signature).is_some());
    format!("{message}.{signature}")
}

pub(super) fn secret_key(secret: &str) -> EncodingKey {
    EncodingKey::from_secret(secret.as_bytes())
}

pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap().as_secs()
}

/// The claims of a good token.
pub(super) fn claims() -> Value {
    json!({
        "iss": "https://gitlab.example",
        "aud": "dockgate",
        "sub": "project_path:a/b:ref_type:branch:ref:main",
        "exp": now() + 300,
        "nbf": now() - 5,
        "iat": now() - 5,
        "jti": "x",
        "user_login": "ann",
        "groups_direct": ["a", "b/c"],
        "ref_protected": "true",
    })
}

pub(super) fn config(keys: Keys) -> config::Jwt {
    config::Jwt {
        keys,
        issuer: "https://gitlab.example".to_owned(),
        audience: vec!["other".to_owned(), "dockgate".to_owned()],
        algorithms: Vec::new(),
        user: "user_login".to_owned(),
        groups: Some("groups_direct".to_owned()),
        require: BTreeMap::new(),
        claims: None,
    }
}

pub(super) fn file(folder: &Path, name: &str, text: &str) -> config::File {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    config::File { path, place: Place::new(Path::new("dockgate.toml"), 3, 8) }
}

/// A key set in a file, and who takes what it signs.
pub(super) fn with_set(keys: &[Value]) -> Jwt {
    let folder = tempfile::tempdir().unwrap();
    let set = json!({"keys": keys}).to_string();
    Jwt::new(&config(Keys::Set(file(folder.path(), "set.json", &set)))).unwrap()
}

pub(super) fn ask(jwt: &Jwt, token: &str) -> Outcome {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(jwt.decide(token))
}

/// The user, or what happened instead.
pub(super) fn said(outcome: Outcome) -> String {
    match outcome {
        Outcome::Recognised(who) => who.user.clone(),
        Outcome::Refused(why) => why.into_owned(),
        Outcome::Unavailable(why) => why,
        other => format!("{other:?}"),
    }
}

/// One for all tests of a process: they take long to make.
pub(super) fn rsa() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(|| Pair::new(Algorithm::RS256))
}
