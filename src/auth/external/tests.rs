//! What the program is asked. What becomes of its answers is in `tests/it/auth_external.rs`.

use serde_json::json;

use super::*;
use crate::auth::{Authorization, Caller, Peer};
use crate::wire::head::{Lines, RequestHead};

fn headers(lines: &str) -> Lines {
    RequestHead::parse(format!("GET /x HTTP/1.1\r\n{lines}\r\n").as_bytes()).unwrap().headers
}

/// The question, and what a kept answer is found by.
fn question(caller: &Caller, lines: &str) -> (serde_json::Value, Vec<u8>) {
    let headers = headers(lines);
    let authorization = Authorization::of(&headers).unwrap();
    let authorization = authorization.as_ref();
    let question =
        Question::of(&Asking { listener: "l", caller, headers: &headers, authorization });
    let text = String::from_utf8(question.render()).unwrap();
    (text.parse().unwrap(), question.render())
}

fn tcp(address: &str) -> Caller {
    Caller::new(Peer::Tcp(address.parse().unwrap()), Vec::new())
}

#[test]
fn the_question_is_as_documented() {
    let (asked, _) = question(
        &tcp("192.0.2.7:4711"),
        "Host: a\r\nX-Registry-Auth: secret\r\nAuthorization: Bearer abc\r\nhOST: b\r\n",
    );
    let wanted = json!({
        "version": 1,
        "listener": "l",
        "peer": {"kind": "tcp", "address": "192.0.2.7"},
        "certificate": null,
        "headers": ["Host", "X-Registry-Auth", "Authorization", "hOST"],
        "authorization": "Bearer abc",
    });
    assert_eq!(asked, wanted);

    let unix = Caller::new(Peer::Unix { uid: 1, gid: 2, pid: None }, Vec::new());
    let (asked, _) = question(&unix, "");
    let wanted = json!({"kind": "unix", "uid": 1, "gid": 2, "pid": null, "container": null});
    assert_eq!((&asked["peer"], &asked["authorization"]), (&wanted, &json!(null)));
    let (asked, _) = question(&Caller::new(Peer::Unknown, Vec::new()), "");
    assert_eq!(asked["peer"], json!({"kind": "unknown"}));
}

#[test]
fn a_certificate_is_its_subject_and_its_hash() {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "ann");
    let made = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
    let caller = Caller::new(Peer::Unknown, vec![made.der().clone()]);
    let (asked, _) = question(&caller, "");
    assert_eq!(asked["certificate"]["subject"], "CN=ann");
    let hash = asked["certificate"]["sha256"].as_str().unwrap();
    assert!(hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()), "{hash}");
}

#[test]
fn a_kept_answer_is_for_the_same_question_but_for_the_port() {
    let of = |address, lines| question(&tcp(address), lines).1;
    let one = of("192.0.2.7:1", "Host: a\r\nAuthorization: Bearer abc\r\n");
    assert_eq!(one, of("192.0.2.7:2", "Host: b\r\nAuthorization: Bearer abc\r\n"));
    assert_ne!(one, of("192.0.2.8:1", "Host: a\r\nAuthorization: Bearer abc\r\n"));
    assert_ne!(one, of("192.0.2.7:1", "Host: a\r\nAuthorization: Bearer abd\r\n"));
    assert_ne!(one, of("192.0.2.7:1", "Host: a\r\n"));
    assert_ne!(one, of("192.0.2.7:1", "Host: a\r\nX: b\r\nAuthorization: Bearer abc\r\n"));
}

#[test]
fn challenges_are_the_configured_schemes() {
    let config = |schemes: &[&str]| config::External {
        url: "unix:///run/x.sock".into(),
        timeout: Duration::from_secs(5),
        ca: None,
        schemes: schemes.iter().map(|scheme| (*scheme).to_owned()).collect(),
    };
    let external = External::new(&config(&["basic", "Bearer", "Negotiate"])).unwrap();
    let wanted = [
        r#"Basic realm="dockgate", charset="UTF-8""#,
        r#"Bearer realm="dockgate""#,
        r#"Negotiate realm="dockgate""#,
    ];
    assert_eq!(external.challenges(), wanted);
    assert!(External::new(&config(&["a\r\nX: b"])).is_err());
}
