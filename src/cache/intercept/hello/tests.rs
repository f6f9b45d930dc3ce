//! Hellos of a real client, hellos by hand, and what is none.

use std::sync::Arc;

use proptest::prelude::*;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;

/// What a client of rustls begins with.
fn hello(name: &str, change: impl FnOnce(&mut ClientConfig)) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    change(&mut config);
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut conn = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut raw = Vec::new();
    conn.write_tls(&mut raw).unwrap();
    raw
}

fn read(raw: &[u8]) -> Hello {
    match Hello::read(raw) {
        Heard::Hello(hello) => *hello,
        other => panic!("{other:?}"),
    }
}

/// A hello by hand, of these extensions.
fn made(version: u16, extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let long = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
    let all: Vec<u8> = extensions
        .iter()
        .flat_map(|(kind, value)| [&kind.to_be_bytes()[..], &long(value)].concat())
        .collect();
    let mut body = version.to_be_bytes().to_vec();
    body.extend([7; 32]);
    body.extend([0, 0, 4, 0x13, 1, 0x1a, 0x1a, 1, 0]);
    body.extend(long(&all));
    let message = [&[1, 0][..], &long(&body)].concat();
    [&[22, 3, 1][..], &long(&message)].concat()
}

fn named(name: &[u8]) -> Vec<u8> {
    let entry = [&[0][..], &(name.len() as u16).to_be_bytes(), name].concat();
    [&(entry.len() as u16).to_be_bytes()[..], &entry].concat()
}

#[test]
fn a_real_hello_is_understood_and_no_part_of_it() {
    let raw = hello("Files.Example", |config| {
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    });
    let read = read(&raw);
    assert_eq!(read.server_name.as_deref(), Some("files.example"));
    assert_eq!(read.version, 0x0304);
    assert!(read.ciphers.contains(&0x1301) && !read.groups.is_empty());
    assert!(!read.signatures.is_empty() && read.speaks_http());
    for end in 0..raw.len() {
        assert_eq!(Hello::read(&raw[..end]), Heard::Part, "{end}");
    }
    let more = [&raw[..], b"what follows"].concat();
    assert_eq!(Hello::read(&more), Heard::Hello(Box::new(read)));
}

#[test]
fn what_changes_from_connection_to_connection_is_not_in_the_fingerprint() {
    let first = read(&hello("a.example", |_| {})).fingerprint();
    // rustls puts its extensions into another order each time.
    for name in ["a.example", "b.a.example", "c.example"] {
        assert_eq!(read(&hello(name, |_| {})).fingerprint(), first, "{name}");
    }
    let versions = (43, vec![4, 3, 4, 3, 3]);
    let one = read(&made(TLS12, &[(10, vec![0, 2, 0, 29]), versions.clone()]));
    let passing = [0, 21, 35, 41, 42, 44, 0x1a1a].map(|kind| match kind {
        0 => (0, named(b"x.example")),
        kind => (kind, Vec::new()),
    });
    let mut all = passing.to_vec();
    all.extend([(43, vec![6, 0x2a, 0x2a, 3, 4, 3, 3]), (10, vec![0, 4, 0x3a, 0x3a, 0, 29])]);
    let other = read(&made(TLS12, &all));
    assert_eq!((other.fingerprint(), other.version), (one.fingerprint(), one.version));
    assert_eq!(one.fingerprint().to_string().parse(), Ok(one.fingerprint()));
}

#[test]
fn another_kind_of_client_has_another_fingerprint() {
    let groups = (10, vec![0, 2, 0, 29]);
    let one = read(&made(TLS12, std::slice::from_ref(&groups))).fingerprint();
    for (what, other) in [
        ("its version", made(0x0302, std::slice::from_ref(&groups))),
        ("its groups", made(TLS12, &[(10, vec![0, 2, 0, 23])])),
        ("an extension", made(TLS12, &[groups.clone(), (23, Vec::new())])),
        ("its protocols", made(TLS12, &[groups.clone(), (16, vec![0, 3, 2, b'h', b'2'])])),
        ("its signatures", made(TLS12, &[groups.clone(), (13, vec![0, 2, 4, 3])])),
    ] {
        assert_ne!(read(&other).fingerprint(), one, "{what}");
    }
    for bad in ["", "0", "+0123456789abcdef0123456789abcde", "0123456789ABCDEF0123456789ABCDEF"] {
        assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
    }
}

#[test]
fn only_names_of_the_dns_are_names() {
    for good in ["a", "a.example", "A_b-c.example", "1.example"] {
        let read = read(&made(TLS12, &[(0, named(good.as_bytes()))]));
        assert_eq!(read.server_name, Some(good.to_ascii_lowercase()));
    }
    let long = "a.".repeat(150);
    for bad in
        ["", ".", "a.", ".a", "a..b", "127.0.0.1", "a b", "a:443", "a/b", "\u{e9}", "a\0", &long]
    {
        let read = read(&made(TLS12, &[(0, named(bad.as_bytes()))]));
        assert_eq!(read.server_name, None, "{bad}");
    }
}

#[test]
fn what_has_two_readings_has_none() {
    let name = (0, named(b"a.example"));
    let two_names = [named(b"a.example"), named(b"b.example")].concat();
    let (one, rest) = (named(b"a"), b"\0\0\x01b");
    let both = [&[0, (one.len() - 2 + rest.len()) as u8], &one[2..], rest].concat();
    for (what, extensions) in [
        ("two extensions", vec![name.clone(), name.clone()]),
        ("two lists", vec![(0, two_names)]),
        ("two names in a list", vec![(0, both)]),
        ("an odd list of groups", vec![(10, vec![0, 3, 0, 29, 0])]),
        ("no version", vec![(43, vec![0])]),
        ("a list that is cut", vec![(16, vec![0, 3, 9, b'h', b'2'])]),
    ] {
        assert_eq!(
            Hello::read(&made(TLS12, &extensions)),
            Heard::Not(NoHello::Malformed),
            "{what}"
        );
    }
}

#[test]
fn some_speak_what_we_do_not() {
    let list = |name: &[u8]| {
        let entry = [&[name.len() as u8][..], name].concat();
        (16, [&[0, entry.len() as u8][..], &entry].concat())
    };
    let speaks = |raw: &[u8]| read(raw).speaks_http();
    assert!(speaks(&made(TLS12, &[])), "it says nothing of it");
    assert!(speaks(&made(TLS12, &[list(b"h2")])) && speaks(&made(TLS12, &[list(b"http/1.1")])));
    assert!(!speaks(&made(TLS12, &[list(b"imap")])) && !speaks(&made(0x0302, &[])));
}

proptest! {
    #[test]
    fn any_bytes_come_to_something(raw in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Hello::read(&raw);
        let _ = Hello::read(&[&[22, 3, 1, 0x7f, 0xff, 1, 0, 1, 0], &raw[..]].concat());
    }

    #[test]
    fn a_changed_hello_comes_to_something(at in 0usize..1000, value in any::<u8>()) {
        let mut raw = made(TLS12, &[(0, named(b"a.example")), (10, vec![0, 2, 0, 29]), (16, vec![0, 3, 2, b'h', b'2'])]);
        let at = at % raw.len();
        raw[at] = value;
        let _ = Hello::read(&raw);
    }
}
