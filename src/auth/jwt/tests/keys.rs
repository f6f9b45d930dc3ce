//! Which keys of a set or a file are used.

use jsonwebtoken::Algorithm;

use super::super::keys::{Allowed, Keys as Set};
use super::super::pem;
use super::super::token::Token;
use super::*;

fn any() -> Allowed {
    Allowed::new(&[]).unwrap()
}

/// Whether a set of this one key verifies what it signed.
fn is_used(pair: &Pair, change: impl FnOnce(&mut Value)) -> bool {
    let mut jwk = pair.jwk("k");
    change(&mut jwk);
    let text = pair.sign(&json!({"alg": pair.algorithm, "kid": "k"}), &claims());
    let set = json!({"keys": [jwk]}).to_string();
    let token = Token::parse(&text).unwrap();
    Set::of_set(set.as_bytes(), &any()).is_ok_and(|set| set.verify(&token).is_ok())
}

#[test]
fn a_key_of_a_set_is_used_for_what_it_is_for() {
    let es = Pair::new(Algorithm::ES256);
    let ed = Pair::new(Algorithm::EdDSA);
    assert!(is_used(&es, |_| ()) && is_used(&ed, |_| ()) && is_used(rsa(), |_| ()));
    assert!(is_used(&es, |jwk| jwk["use"] = "sig".into()));
    assert!(is_used(&es, |jwk| jwk["key_ops"] = json!(["verify", "x"])));
    assert!(is_used(&es, |jwk| jwk["alg"] = "ES256".into()));
    assert!(is_used(&ed, |jwk| jwk["alg"] = "Ed25519".into()));
    assert!(is_used(&es, |jwk| drop(jwk.as_object_mut().unwrap().remove("kid"))));
    assert!(!is_used(&es, |jwk| jwk["use"] = "enc".into()));
    assert!(!is_used(&es, |jwk| jwk["key_ops"] = json!(["sign"])));
    assert!(!is_used(&es, |jwk| jwk["alg"] = "ES384".into()));
    assert!(!is_used(&es, |jwk| jwk["alg"] = "HS256".into()));
    assert!(!is_used(rsa(), |jwk| jwk["alg"] = "RSA-OAEP".into()));
    assert!(!is_used(rsa(), |jwk| jwk["alg"] = "PS256".into()));
    assert!(!is_used(&es, |jwk| jwk["d"] = "AAAA".into()), "its private half is published");
    assert!(!is_used(&es, |jwk| jwk["crv"] = "P-384".into()));
    assert!(!is_used(&es, |jwk| jwk["crv"] = "secp256k1".into()));
    assert!(!is_used(&es, |jwk| jwk["kty"] = "OKP".into()));
    assert!(!is_used(&ed, |jwk| jwk["x"] = "AAAA".into()));
    assert!(!is_used(&es, |jwk| jwk["x"] = "AAAA".into()));
    assert!(!is_used(&es, |jwk| jwk["kid"] = 7.into()));
}

#[test]
fn a_weak_key_is_left_out() {
    let with = |name: &str, number: &[u8]| is_used(rsa(), |jwk| jwk[name] = encode(number).into());
    assert!(with("e", &[0, 1, 0, 1]), "leading zeroes mean nothing");
    for exponent in [&[][..], &[0], &[1], &[4], &[255; 5]] {
        assert!(!with("e", exponent), "{exponent:?}");
    }
    let set = |bits: usize| {
        let mut modulus = vec![0xff; bits.div_ceil(8)];
        modulus[0] >>= modulus.len() * 8 - bits;
        let jwk = json!({"kty": "RSA", "n": encode(&modulus), "e": "AQAB"});
        Set::of_set(json!({"keys": [jwk]}).to_string().as_bytes(), &any()).is_ok()
    };
    assert!(set(2048) && set(8192) && !set(2047) && !set(1024) && !set(8193));
}

#[test]
fn a_shared_secret_in_a_set_is_no_key() {
    let secret = json!({"kty": "oct", "kid": "k", "alg": "HS256", "k": encode(&[7; 32])});
    let set = json!({"keys": [secret, rsa().jwk("r")]}).to_string();
    let set = Set::of_set(set.as_bytes(), &any()).unwrap();
    let key = EncodingKey::from_secret(&[7; 32]);
    for id in ["k", "r"] {
        let text = signed(&key, Algorithm::HS256, &json!({"alg": "HS256", "kid": id}), &claims());
        assert!(set.verify(&Token::parse(&text).unwrap()).is_err());
    }
}

#[test]
fn a_set_without_a_usable_key_is_none() {
    let error = |text: &str| Set::of_set(text.as_bytes(), &any()).unwrap_err();
    for text in ["", "[]", "{}", "null", "{\"keys\":{}}", "<html>", "{\"keys\":[]} x"] {
        assert_eq!(error(text), "it is not a key set", "{text}");
    }
    for text in [
        "{\"keys\":[]}",
        "{\"keys\":[5,null,{\"kty\":\"RSA\"},{\"kty\":\"EC\",\"crv\":\"P-256\"}]}",
    ] {
        assert_eq!(error(text), "there is no usable key in the set");
    }
    assert!(Set::of_set(b"\xff", &any()).is_err());
    let only = Allowed::new(&["PS256".to_owned()]).unwrap();
    let set = json!({"keys": [Pair::new(Algorithm::ES256).jwk("k")]}).to_string();
    assert!(Set::of_set(set.as_bytes(), &only).is_err());
    assert!(Allowed::new(&["none".to_owned()]).is_none());
    assert!(Set::of_secret(&[1; 31], &any()).is_none());
}

#[test]
fn a_pem_file_has_one_public_key() {
    let folder = tempfile::tempdir().unwrap();
    let es = Pair::new(Algorithm::ES256);
    let complaint = |text: &str| {
        let file = file(folder.path(), "k.pem", text);
        pem::read(&file, &any()).unwrap_err().to_string()
    };
    assert!(complaint("").starts_with("dockgate.toml:3:8: "), "{}", complaint(""));
    assert!(complaint("nothing").contains("no public key"));
    assert!(complaint(&es.pair.serialize_pem()).contains("private key"));
    assert!(complaint(&es.public_pem.repeat(2)).contains("more than one"));
    let p521 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
    assert!(complaint(&p521.public_key_pem()).contains("cannot be used"));
    let cut = es.public_pem.replace('M', "A");
    assert!(!complaint(&cut).is_empty());
    let only = Allowed::new(&["RS256".to_owned()]).unwrap();
    assert!(pem::read(&file(folder.path(), "k.pem", &es.public_pem), &only).is_err());
}
