//! Which tokens are taken, and what is said of the others.

use std::time::{Duration, Instant};

use jsonwebtoken::Algorithm;

use super::super::BELIEVED;
use super::*;
use crate::auth::{Asking, Authenticator, Authorization, Caller, Peer};
use crate::wire::head::Lines;

fn set_of(pairs: &[&Pair]) -> Jwt {
    let keys: Vec<_> =
        pairs.iter().enumerate().map(|(at, pair)| pair.jwk(&at.to_string())).collect();
    with_set(&keys)
}

fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = claims();
    change(&mut claims);
    claims
}

#[test]
fn a_token_of_each_algorithm_is_taken() {
    for algorithm in [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA, Algorithm::RS256] {
        let pair = Pair::new(algorithm);
        let token = pair.sign(&json!({"alg": algorithm, "kid": "k"}), &claims());
        let Outcome::Recognised(who) = ask(&with_set(&[pair.jwk("k")]), &token) else {
            panic!("{algorithm:?}")
        };
        assert_eq!((who.user.as_str(), who.groups.join(" ")), ("ann", "a b/c".to_owned()));
        assert_eq!(who.claims["ref_protected"], "true");
        assert!(!who.claims.contains_key("exp"));
        // Each also as PEM, bare and in a certificate.
        let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap();
        let certificate = certificate.self_signed(&pair.pair).unwrap().pem();
        for pem in [&pair.public_pem, &certificate] {
            let folder = tempfile::tempdir().unwrap();
            let jwt = Jwt::new(&config(Keys::Pem(file(folder.path(), "k.pem", pem)))).unwrap();
            assert_eq!(said(ask(&jwt, &token)), "ann", "{pem}");
        }
    }
    for algorithm in ["RS384", "RS512", "PS256", "PS384", "PS512"] {
        let named = token::algorithm(algorithm).unwrap();
        let token = rsa().sign_as(named, &json!({"alg": algorithm}), &claims());
        assert_eq!(said(ask(&set_of(&[rsa()]), &token)), "ann", "{algorithm}");
    }
}

#[test]
fn a_shared_secret_is_only_for_its_algorithms() {
    let secret = "0123456789abcdef0123456789abcdef0123456789abcdef";
    let jwt = Jwt::new(&config(Keys::Secret(secret.into()))).unwrap();
    let token = |name: &str| {
        let algorithm = token::algorithm(name).unwrap();
        signed(&secret_key(secret), algorithm, &json!({"alg": name, "kid": "any"}), &claims())
    };
    assert_eq!(said(ask(&jwt, &token("HS256"))), "ann");
    assert_eq!(said(ask(&jwt, &token("HS384"))), "ann");
    // RFC 7518 §3.2: the secret is shorter than the hash.
    assert_eq!(said(ask(&jwt, &token("HS512"))), "the token's algorithm is not accepted");
    let es = Pair::new(Algorithm::ES256);
    let other = es.sign(&json!({"alg": "ES256"}), &claims());
    assert_eq!(said(ask(&jwt, &other)), "the token's algorithm is not accepted");
    let forged = signed(&secret_key("x"), Algorithm::HS256, &json!({"alg": "HS256"}), &claims());
    assert_eq!(said(ask(&jwt, &forged)), "the token's signature is wrong");
}

#[test]
fn a_token_does_not_choose_what_its_key_is_for() {
    let es = Pair::new(Algorithm::ES256);
    let jwt = set_of(&[rsa(), &es]);
    let refused = "the token's algorithm is not accepted";
    let header = |name: &str, id: &str| json!({"alg": name, "kid": id});
    // The public key as a shared secret (CVE-2015-9235), in each form that it is known in.
    let der = rsa().pair.subject_public_key_info();
    let modulus = rsa().jwk("0")["n"].as_str().unwrap().to_owned();
    for secret in [rsa().public_pem.as_bytes(), &der, modulus.as_bytes(), b""] {
        let key = EncodingKey::from_secret(secret);
        let forged = signed(&key, Algorithm::HS256, &header("HS256", "0"), &claims());
        assert_eq!(said(ask(&jwt, &forged)), refused);
    }
    // A good signature under another name.
    assert_eq!(said(ask(&jwt, &es.sign(&header("RS256", "1"), &claims()))), refused);
    assert_eq!(said(ask(&jwt, &es.sign(&header("ES384", "1"), &claims()))), refused);
    assert_eq!(said(ask(&jwt, &es.sign(&header("ES256", "0"), &claims()))), refused);
    for none in ["none", "None", "NONE", "", "es256", "HS1", "ES256K", "ES512"] {
        assert_eq!(said(ask(&jwt, &es.sign(&header(none, "1"), &claims()))), refused, "{none}");
    }
    let unsigned = unsigned(r#"{"alg":"none"}"#, &claims().to_string());
    let cut = unsigned.rsplit_once('.').unwrap().0;
    assert_eq!(said(ask(&jwt, &format!("{cut}."))), refused);
    // PKCS #1 for PSS and the other way round.
    let wrong = "the token's signature is wrong";
    assert_eq!(said(ask(&jwt, &rsa().sign(&header("PS256", "0"), &claims()))), wrong);
    // Keys that the token itself brings along.
    let own = Pair::new(Algorithm::ES256);
    let brought = json!({"alg": "ES256", "kid": "1", "jwk": own.jwk("1"), "jku": "http://127.0.0.1:1/", "x5u": "x", "x5c": ["x"]});
    assert_eq!(said(ask(&jwt, &own.sign(&brought, &claims()))), wrong);
    assert_eq!(said(ask(&jwt, &es.sign(&brought, &claims()))), "ann", "they are only ignored");
    let critical = json!({"alg": "ES256", "kid": "1", "crit": ["b64"], "b64": true});
    let demand = "the token demands an extension that is not known";
    assert_eq!(said(ask(&jwt, &es.sign(&critical, &claims()))), demand);
}

#[test]
fn the_configuration_narrows_the_algorithms() {
    let folder = tempfile::tempdir().unwrap();
    let set = json!({"keys": [rsa().jwk("r"), Pair::new(Algorithm::ES256).jwk("e")]}).to_string();
    let mut narrow = config(Keys::Set(file(folder.path(), "set.json", &set)));
    narrow.algorithms = vec!["PS256".to_owned()];
    let jwt = Jwt::new(&narrow).unwrap();
    let token = |name: &str| {
        rsa().sign_as(token::algorithm(name).unwrap(), &json!({"alg": name, "kid": "r"}), &claims())
    };
    assert_eq!(said(ask(&jwt, &token("PS256"))), "ann");
    assert_eq!(said(ask(&jwt, &token("RS256"))), "the token's algorithm is not accepted");
}

#[test]
fn a_changed_token_is_refused() {
    let es = Pair::new(Algorithm::ES256);
    let jwt = set_of(&[&es]);
    let good = es.sign(&json!({"alg": "ES256", "kid": "0"}), &claims());
    assert_eq!(said(ask(&jwt, &good)), "ann");
    let [header, _, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!() };
    let root = encode(with(|claims| claims["user_login"] = "root".into()).to_string().as_bytes());
    let changed = format!("{header}.{root}.{signature}");
    assert_eq!(said(ask(&jwt, &changed)), "the token's signature is wrong");
    let short = encode(&token::decode(signature).unwrap()[..60]);
    let short = good.replace(signature, &short);
    assert_eq!(said(ask(&jwt, &short)), "the token's signature is wrong");
    assert_eq!(said(ask(&jwt, "opaque")), "the bearer token is not a signed JWT");
    assert_eq!(said(ask(&jwt, "")), "the bearer token is not a signed JWT");
    assert!(said(ask(&jwt, &"a".repeat(20_000))).contains("longer than"));
}

#[test]
fn a_token_without_a_key_id_may_be_of_any_key_and_one_with_of_its_own() {
    let pairs: Vec<_> = (0..4).map(|_| Pair::new(Algorithm::ES256)).collect();
    let jwt = set_of(&pairs.iter().collect::<Vec<_>>());
    assert_eq!(said(ask(&jwt, &pairs[3].sign(&json!({"alg": "ES256"}), &claims()))), "ann");
    let header = json!({"alg": "ES256", "kid": "2"});
    assert_eq!(
        said(ask(&jwt, &pairs[3].sign(&header, &claims()))),
        "the token's signature is wrong"
    );
    let header = json!({"alg": "ES256", "kid": "9"});
    let unknown = "the token names a key that is not known";
    assert_eq!(said(ask(&jwt, &pairs[3].sign(&header, &claims()))), unknown);
}

#[test]
fn a_token_of_another_issuer_is_foreign_and_one_of_none_is_wrong() {
    let es = Pair::new(Algorithm::ES256);
    let jwt = set_of(&[&es]);
    let header = json!({"alg": "ES256"});
    let foreign = with(|claims| claims["iss"] = "https://other".into());
    assert!(matches!(ask(&jwt, &es.sign(&header, &foreign)), Outcome::Foreign));
    for issuer in [Value::Null, 5.into(), json!(["https://gitlab.example"])] {
        let claims = with(|claims| claims["iss"] = issuer);
        assert_eq!(said(ask(&jwt, &es.sign(&header, &claims))), "the token is of another issuer");
    }
}

#[test]
fn a_token_is_remembered_until_it_expires() {
    let es = Pair::new(Algorithm::ES256);
    let jwt = set_of(&[&es]);
    let token =
        |exp: u64| es.sign(&json!({"alg": "ES256"}), &with(|claims| claims["exp"] = exp.into()));
    let good = token(now() + 100);
    let digest = jwt.verified.digest(good.as_bytes());
    assert!(jwt.remembered(&digest, Instant::now()).is_none());
    assert_eq!(said(ask(&jwt, &good)), "ann");
    assert!(jwt.remembered(&digest, Instant::now()).is_some());
    assert!(jwt.remembered(&digest, Instant::now() + Duration::from_secs(161)).is_none());
    let long = token(now() + 100_000);
    assert_eq!(said(ask(&jwt, &long)), "ann");
    let digest = jwt.verified.digest(long.as_bytes());
    assert!(jwt.remembered(&digest, Instant::now() + BELIEVED).is_none());
    let old = token(now() - 100);
    assert_eq!(said(ask(&jwt, &old)), "the token has expired");
    assert!(jwt.remembered(&jwt.verified.digest(old.as_bytes()), Instant::now()).is_none());
}

#[test]
fn only_a_bearer_token_is_asked_about() {
    let es = Pair::new(Algorithm::ES256);
    let jwt = set_of(&[&es]);
    assert_eq!(jwt.challenges(), ["Bearer realm=\"dockgate\""]);
    let caller = Caller::new(Peer::Unknown, Vec::new());
    let headers = Lines::default();
    let outcome = |value: Option<&str>| {
        let authorization = value.map(|value| Authorization::parse(value.as_bytes()).unwrap());
        let authorization = authorization.as_ref();
        let asking = Asking { listener: "l", caller: &caller, headers: &headers, authorization };
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.build().unwrap().block_on(Authenticator::decide(&jwt, asking))
    };
    assert!(matches!(outcome(None), Outcome::Absent));
    assert!(matches!(outcome(Some("Basic YTpi")), Outcome::Foreign));
    assert!(matches!(outcome(Some("Bearer")), Outcome::Refused(_)));
    let good = es.sign(&json!({"alg": "ES256"}), &claims());
    assert_eq!(said(outcome(Some(&format!("bearer  {good} ")))), "ann");
}
