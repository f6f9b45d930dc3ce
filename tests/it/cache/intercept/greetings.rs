//! What does not begin as a client of ours would: other names, none, no TLS, and crumbs.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use rustls::AlertDescription;

use super::{Scene, Stage, alert};

const DECODE_ERROR: u8 = 50;
const UNEXPECTED_MESSAGE: u8 = 10;
const PROTOCOL_VERSION: u8 = 70;
const UNRECOGNIZED_NAME: u8 = 112;

#[test]
fn a_name_that_the_cache_is_not_for_leads_nowhere() {
    let scene = Scene::new();
    let before = scene.rig.cache.stats.by_domain();
    for name in ["other.test", "localhost", "a.files.test", "xfiles.test", "files.test.org"] {
        assert_eq!(scene.raw(&scene.hello(name)), alert(UNRECOGNIZED_NAME), "{name}");
    }
    for number in 0..200 {
        let hello = scene.hello(&format!("n{number}.files.test"));
        assert_eq!(scene.raw(&hello), alert(UNRECOGNIZED_NAME));
    }
    assert_eq!(scene.origin.dialled(), 0);
    assert_eq!(scene.ours.made.lock().unwrap().len(), 0, "nothing is made for it");
    let after = scene.rig.cache.stats.by_domain();
    let refused = |sums: Option<&dockgate::cache::stats::Sums>| {
        sums.and_then(|sums| sums.requests.get("refused").copied()).unwrap_or(0)
    };
    assert_eq!(refused(after.get("-")) - refused(before.get("-")), 205);
}

#[test]
fn whoever_names_nobody_is_told() {
    let scene = Scene::new();
    let mut config = scene.trusting();
    config.enable_sni = false;
    let mut tls = scene.tls(config, "files.test");
    let error = tls.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap_err();
    let why = error.get_ref().and_then(|why| why.downcast_ref::<rustls::Error>());
    let missing = rustls::Error::AlertReceived(AlertDescription::MissingExtension);
    assert_eq!(why, Some(&missing), "{error}");
    assert_eq!(scene.origin.dialled(), 0);
}

#[test]
fn what_is_no_tls_is_told() {
    let scene = Scene::new();
    let said = scene.raw(b"GET / HTTP/1.1\r\nHost: files.test\r\n\r\n");
    let said = String::from_utf8(said).unwrap();
    assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("speaks TLS"), "{said}");
    let hello = scene.hello("files.test");
    let with = |at: usize, value: u8| {
        let mut hello = hello.clone();
        hello[at] = value;
        hello
    };
    let sslv2 = [&[0x80, 0x2e, 1, 0, 2][..], &[0; 43]].concat();
    let empty = [&[22, 3, 1, 0, 0][..], &hello].concat();
    for (what, bytes, expected) in [
        ("SSL 2", sslv2, PROTOCOL_VERSION),
        ("no record", b"\x01\x02\x03\x04\x05\x06".to_vec(), UNEXPECTED_MESSAGE),
        ("another version", with(1, 9), UNEXPECTED_MESSAGE),
        ("an empty record", empty, DECODE_ERROR),
        ("a record that is too long", vec![22, 3, 1, 0xff, 0xff, 1, 0, 0, 4], DECODE_ERROR),
        ("another message", with(5, 2), DECODE_ERROR),
        ("a hello that is too long", with(6, 1), DECODE_ERROR),
        ("a session that is too long", with(43, 0xff), DECODE_ERROR),
    ] {
        assert_eq!(scene.raw(&bytes), alert(expected), "{what}");
    }
    assert_eq!(scene.origin.dialled(), 0);
}

#[test]
fn a_hello_may_come_in_crumbs_and_in_many_records() {
    let scene = Scene::new();
    let ask = b"GET /x HTTP/1.1\r\nHost: files.test\r\nConnection: close\r\n\r\n";
    let mut config = scene.trusting();
    config.max_fragment_size = Some(64);
    let mut tls = scene.tls(config, "files.test");
    let mut hello = Vec::new();
    tls.conn.write_tls(&mut hello).unwrap();
    assert!(hello.len() > 200 && hello[3..5] == [0, 59], "{:?}", &hello[..5]);
    for crumb in hello.chunks(1) {
        tls.sock.write_all(crumb).unwrap();
    }
    tls.write_all(ask).unwrap();
    let mut said = String::new();
    tls.read_to_string(&mut said).unwrap();
    assert!(said.contains("it is /x"), "{said}");
}

#[test]
fn crumbs_that_come_to_nothing_end() {
    let scene = Scene::new();
    // Each byte in a record of its own.
    let crumbs: Vec<u8> = [1, 0, 0x3f, 0]
        .into_iter()
        .chain(std::iter::repeat_n(0, 4000))
        .flat_map(|byte| [22, 3, 1, 0, 1, byte])
        .collect();
    assert_eq!(scene.raw(&crumbs), alert(DECODE_ERROR));
}

#[test]
fn who_says_half_of_it_is_not_waited_for() {
    let stage = Stage { handshake_time: Duration::from_millis(200), ..Stage::default() };
    let scene = stage.start();
    let hello = scene.hello("files.test");
    for part in [0, 1, 5, 100, hello.len() - 1] {
        assert_eq!(scene.raw(&hello[..part]), b"", "{part}");
    }
    // And who ends there.
    let scene = Scene::new();
    for part in [0, 1, 5, 100, hello.len() - 1] {
        let mut stream = scene.tcp();
        stream.write_all(&hello[..part]).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        assert_eq!(all, b"", "{part}");
    }
    assert_eq!(scene.origin.dialled(), 0);
}
