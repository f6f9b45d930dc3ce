//! Clients that trust us get what the cache has, and all else of their origin.

use std::io::{Read as _, Write as _};
use std::process::Command;

use super::people::{LIST, LIST_PATH};
use super::{ONE, STRANGER, Scene};
use crate::support::wait_until;

#[test]
fn the_second_time_no_byte_comes_from_the_origin() {
    let scene = Scene::new();
    for version in ["--http2", "--http1.1", "--http2"] {
        let said = scene.curl(ONE, "ours", &[version, "-i", "https://files.test/x"]).unwrap();
        scene.rig.settle();
        assert!(said.contains("it is /x"), "{said}");
        let first = if version == "--http2" { "HTTP/2 200" } else { "HTTP/1.1 200" };
        assert!(said.starts_with(first), "{said}");
        let fields = said.to_ascii_lowercase();
        assert!(fields.contains("strict-transport-security: max-age=9"), "{said}");
        assert!(!fields.contains("alt-svc"), "it leads past us: {said}");
    }
    assert_eq!(scene.origin.asked(), ["GET /x "]);
    let sums = &scene.rig.cache.stats.by_tenant()["team"];
    assert_eq!((sums.answered(), sums.origin_requests), (3, 1), "by the container's own");
}

#[test]
fn what_changes_something_goes_to_the_origin() {
    let scene = Scene::new();
    for version in ["--http2", "--http1.1"] {
        let args = [version, "-d", "some=thing", "https://files.test/git-upload-pack"];
        let said = scene.curl(ONE, "ours", &args).unwrap();
        assert_eq!(said, "it is /git-upload-pack some=thing");
    }
    assert_eq!(scene.origin.asked(), ["POST /git-upload-pack some=thing"; 2]);
}

#[test]
fn a_websocket_is_the_origins() {
    let scene = Scene::new();
    let mut tls = scene.tls(scene.trusting(), "files.test");
    tls.write_all(
        b"GET /live HTTP/1.1\r\nHost: files.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    )
    .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tls.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", head.escape_ascii());
    for word in [&b"one"[..], &b"another"[..]] {
        tls.write_all(word).unwrap();
        let mut echo = vec![0; word.len()];
        tls.read_exact(&mut echo).unwrap();
        assert_eq!(echo, word);
    }
    assert_eq!(scene.origin.asked(), ["GET /live "]);
}

#[test]
fn a_request_for_another_host_than_the_handshakes_is_misdirected() {
    let scene = Scene::new();
    for (target, host) in [
        ("/x", "unknown.files.test"),
        ("/x", "other.test"),
        ("/x", "files.test:8443"),
        ("/x", "files.test:80"),
        ("https://unknown.files.test/x", "unknown.files.test"),
        ("https://other.test/x", "other.test"),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let said = scene.say("files.test", &head);
        assert!(said.starts_with("HTTP/1.1 421 "), "{target} {host}: {said}");
    }
    for head in [
        "CONNECT files.test:443 HTTP/1.1\r\nHost: files.test:443\r\n\r\n",
        "GET http://files.test/ HTTP/1.1\r\nHost: files.test\r\nConnection: close\r\n\r\n",
        "GET /live HTTP/1.1\r\nHost: other.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let said = scene.say("files.test", head);
        assert!(said.starts_with("HTTP/1.1 4"), "{head}: {said}");
    }
    let host = "Host: other.test";
    let args = ["--http2", "-o", "-", "-w", "%{http_code}", "-H", host, "https://files.test/x"];
    let said = scene.curl(ONE, "ours", &args).unwrap();
    assert!(said.ends_with("421"), "{said}");
    assert_eq!(scene.origin.dialled(), 0);
    let said = scene
        .say("files.test", "GET /x HTTP/1.1\r\nHost: Files.Test:443\r\nConnection: close\r\n\r\n");
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
}

#[test]
fn openssl_and_python_trust_it_as_curl_does() {
    let scene = Scene::new();
    let ca = scene.dir.path().join("ours.pem");
    let address = scene.rig.secure.to_string();
    let mut args =
        vec!["s_client", "-connect", &address, "-servername", "files.test", "-verify_return_error"];
    args.extend(["-verify_hostname", "files.test", "-brief", "-ign_eof", "-CAfile"]);
    let mut client = Command::new("openssl")
        .args(args)
        .arg(&ca)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let request = b"GET /openssl HTTP/1.1\r\nHost: files.test\r\nConnection: close\r\n\r\n";
    client.stdin.take().unwrap().write_all(request).unwrap();
    let output = client.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("it is /openssl"), "{output:?}");
    let script = "import socket, ssl, sys\n\
        c = ssl.create_default_context(cafile=sys.argv[1])\n\
        s = socket.create_connection((sys.argv[2], int(sys.argv[3])))\n\
        t = c.wrap_socket(s, server_hostname='files.test')\n\
        t.sendall(b'GET /python HTTP/1.1\\r\\nHost: files.test\\r\\nConnection: close\\r\\n\\r\\n')\n\
        print(b''.join(iter(lambda: t.recv(9999), b'')).decode())\n";
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(&ca)
        .args([scene.rig.secure.ip().to_string(), scene.rig.secure.port().to_string()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("it is /python"), "{output:?}");
}

#[test]
fn lists_of_revoked_certificates_are_at_the_caches_own_address_and_not_counted() {
    let scene = Scene::new();
    let before = scene.rig.cache.stats.by_domain();
    let mut client = scene.rig.client();
    for host in ["127.0.0.1", "127.0.0.1:80", "172.17.0.1", "[::1]"] {
        client.send("GET", LIST_PATH, host, &[]);
        let answer = client.answer(false);
        assert_eq!((answer.status, &*answer.body), (200, LIST), "{host}");
        assert_eq!(answer.field("content-type"), Some("application/pkix-crl"));
    }
    client.send("HEAD", LIST_PATH, "127.0.0.1", &[]);
    let answer = client.answer(true);
    assert_eq!((answer.status, answer.field("content-length")), (200, Some("6")));
    assert_eq!(scene.rig.cache.stats.by_domain(), before);
    client.send("GET", LIST_PATH, "other.test", &[]);
    assert_eq!(client.answer(false).status, 421, "of a host it is that host's");
    let mut client = scene.rig.client();
    client.send("GET", "/.dockgate/crl/other", "127.0.0.1", &[]);
    assert_eq!(client.answer(false).status, 421);
    assert_eq!(scene.origin.dialled(), 0);
}

#[test]
fn a_stranger_speaks_with_the_origin_itself() {
    let scene = Scene::new();
    for asked in 1..3 {
        let said = scene.curl(STRANGER, "public", &["https://files.test/x"]).unwrap();
        assert_eq!((&*said, scene.origin.asked().len()), ("it is /x ", asked));
    }
    let said = scene.curl(ONE, "public", &["https://unknown.files.test/y"]).unwrap();
    assert_eq!(said, "it is /y ", "a name for which there is no certificate");
    assert!(scene.curl(STRANGER, "ours", &["https://files.test/x"]).is_err());
    // The client may be gone before the cache has counted it.
    wait_until("all are counted", || {
        scene.rig.cache.stats.by_domain()["files.test"].requests["passed"] == 3
    });
}
