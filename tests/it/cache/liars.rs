//! Origins that are slow, break off, or lie: no client is given a wrong body for a whole one.

use std::io::Write as _;
use std::time::Duration;

use super::origin::{Door, Origin, lines, whole};
use super::rig::{Answer, Rig, Setup};
use dockgate::cache::upstream;

const BODY: &[u8] = b"0123456789abcdefghij";

/// Sends a part of a longer body and breaks off.
fn breaks_off(stream: &mut std::net::TcpStream, fields: &str, sent: usize) -> bool {
    let mut answer = lines(&format!("200 OK\n{fields}"));
    answer.extend_from_slice(format!("Content-Length: {}\r\n\r\n", BODY.len()).as_bytes());
    answer.extend_from_slice(&BODY[..sent]);
    stream.write_all(&answer).unwrap();
    false
}

#[test]
fn a_body_that_breaks_off_is_completed_to_nobody_and_not_stored() {
    let origin = Origin::new(|_, _, stream| breaks_off(stream, "Cache-Control: max-age=60", 12));
    let rig = Rig::new();
    for asked in 1..=2 {
        let answer = rig.get(&origin, "/x");
        assert!(failed(&answer), "{answer:?}");
        rig.settle();
        assert_eq!(origin.count(), asked, "no hidden retry, and nothing stored");
    }
}

#[test]
fn a_chunked_body_that_breaks_off_has_no_end() {
    let origin = Origin::new(|_, _, stream| {
        let mut answer = lines("200 OK\nCache-Control: max-age=60\nTransfer-Encoding: chunked");
        answer.extend_from_slice(b"\r\n5\r\nhello\r\n");
        stream.write_all(&answer).unwrap();
        false
    });
    let rig = Rig::new();
    assert!(failed(&rig.get(&origin, "/x")));
    rig.settle();
    assert!(!rig.get(&origin, "/x").how().contains("hit"));
}

#[test]
fn the_last_byte_waits_for_the_verdict() {
    let wrong = "/by-hash/SHA256/0000000000000000000000000000000000000000000000000000000000000000";
    let rules = r#"
        [[rule]]
        name = "by hash"
        paths = ["/by-hash/SHA256/<sha256>"]
        kind = "artifact"
        verify = "sha256"
    "#;
    let rig = Setup { rules: rules.to_owned(), ..Setup::default() }.start();
    let origin = Origin::always("200 OK", BODY);
    let answer = rig.get(&origin, wrong);
    assert!(failed(&answer), "{answer:?}");
    rig.settle();
    rig.get(&origin, wrong);
    assert_eq!(origin.count(), 2, "it was not stored");
    let empty = Origin::always("200 OK", b"");
    assert!(failed(&rig.get(&empty, wrong)), "an empty one has no last byte to hold back");
    let right = "/by-hash/SHA256/".to_owned() + &hex(BODY);
    assert_eq!(rig.get(&origin, &right).body, BODY);
    rig.settle();
    assert!(rig.get(&origin, &right).how().contains("hit"));
    let compressed = Origin::always("200 OK\nContent-Encoding: gzip", BODY);
    assert!(!failed(&rig.get(&compressed, wrong)), "the digest is of what is in it");
    rig.settle();
    assert!(rig.get(&compressed, wrong).how().contains("unchecked"), "so it is not stored");
    let sly = Origin::always("200 OK\nContent-Encoding: identity", BODY);
    assert!(failed(&rig.get(&sly, wrong)));
}

#[test]
fn a_body_that_broke_off_is_resumed_where_it_did() {
    let origin = Origin::new(|before, asked, stream| match before {
        0 => breaks_off(stream, "ETag: \"1\"\nCache-Control: max-age=60", 7),
        _ => {
            assert_eq!(asked.field("range"), Some("bytes=7-"));
            assert_eq!(asked.field("if-range"), Some("\"1\""));
            let head = "206 Partial Content\nETag: \"1\"\nContent-Range: bytes 7-19/20";
            stream.write_all(&whole(head, &BODY[7..])).is_ok()
        }
    });
    let rig = Rig::new();
    let answer = rig.get(&origin, "/x");
    assert!(answer.whole && answer.body == BODY, "{answer:?}");
    rig.settle();
    let again = rig.get(&origin, "/x");
    assert!(again.how().contains("hit") && again.body == BODY);
    assert_eq!(origin.count(), 2);
}

#[test]
fn the_rest_of_another_body_is_not_taken_for_the_rest() {
    for (head, rest) in [
        ("206 Partial Content\nETag: \"2\"\nContent-Range: bytes 7-19/20", &BODY[7..]),
        ("206 Partial Content\nETag: \"1\"\nContent-Range: bytes 8-19/20", &BODY[8..]),
        ("206 Partial Content\nETag: \"1\"\nContent-Range: bytes 7-19/21", &BODY[7..]),
        ("200 OK\nETag: \"2\"", BODY),
    ] {
        let origin = Origin::new(move |before, _, stream| match before {
            0 => breaks_off(stream, "ETag: \"1\"\nCache-Control: max-age=60", 7),
            _ => stream.write_all(&whole(head, rest)).is_ok(),
        });
        let rig = Rig::new();
        let answer = rig.get(&origin, "/x");
        assert!(failed(&answer), "{head}: {answer:?}");
    }
    let weak = Origin::new(|_, _, stream| breaks_off(stream, "ETag: W/\"1\"", 7));
    assert!(failed(&Rig::new().get(&weak, "/x")));
    assert_eq!(weak.count(), 1, "a weak validator says nothing of bytes");
}

/// A chunked body that breaks off when it is told to, and whose rest has no known end.
fn endless_rest(breaks: Door) -> Origin {
    Origin::new(move |before, _, stream| match before {
        0 => {
            let mut answer =
                lines("200 OK\nETag: \"1\"\nCache-Control: max-age=60\nTransfer-Encoding: chunked");
            answer.extend_from_slice(b"\r\n5\r\n01234\r\n");
            stream.write_all(&answer).unwrap();
            breaks.wait();
            false
        }
        _ => {
            let head = "206 Partial Content\nETag: \"1\"\nContent-Range: bytes 5-9/*";
            stream.write_all(&whole(head, b"56789")).is_ok()
        }
    })
}

#[test]
fn a_resumed_body_without_a_known_end_is_not_whole() {
    // Broken off when the client has a part of it, or before anybody has sent it anything: then it is told.
    for has_a_part in [true, false] {
        let (go, door) = Door::new();
        let origin = endless_rest(door);
        let rig = Rig::new();
        let mut client = rig.client();
        if !has_a_part {
            go.send(()).unwrap();
        }
        client.send("GET", &format!("http://{}/x", origin.host()), &origin.host(), &[]);
        let mut answer = client.head();
        if has_a_part {
            assert_eq!(answer.status, 200, "{answer:?}");
            go.send(()).unwrap();
        }
        client.body(&mut answer);
        match answer.status {
            200 => assert!(!answer.whole && b"0123456789".starts_with(&answer.body), "{answer:?}"),
            _ => assert!(!has_a_part && failed(&answer), "{answer:?}"),
        }
        rig.settle();
        assert_eq!(origin.count(), 2, "{:?}", origin.asked());
        go.send(()).unwrap();
        let again = rig.get(&origin, "/x");
        assert!(!again.how().contains("hit"), "{again:?}");
    }
}

#[test]
fn a_part_that_contradicts_the_whole_is_not_its_rest() {
    let whole_head = "ETag: \"1\"\nCache-Control: max-age=60\nLast-Modified: \
                      Sun, 06 Nov 1994 08:49:37 GMT\nContent-Type: text/plain";
    for (fields, is_rest) in [
        ("", true),
        ("Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\nContent-Type: text/plain", true),
        ("Last-Modified: Sun, 06 Nov 1994 08:49:38 GMT", false),
        ("Content-Type: text/html", false),
        ("Content-Encoding: gzip", false),
    ] {
        let origin = Origin::new(move |before, _, stream| match before {
            0 => breaks_off(stream, whole_head, 7),
            _ => {
                let head = format!(
                    "206 Partial Content\nETag: \"1\"\nContent-Range: bytes 7-19/20\n{fields}"
                );
                stream.write_all(&whole(&head, &BODY[7..])).is_ok()
            }
        });
        let answer = Rig::new().get(&origin, "/x");
        match is_rest {
            true => assert!(answer.whole && answer.body == BODY, "{fields}: {answer:?}"),
            false => assert!(failed(&answer), "{fields}: {answer:?}"),
        }
        assert_eq!(origin.count(), 2, "{fields}: it was asked for");
    }
}

#[test]
fn an_answer_to_what_was_not_asked_reaches_nobody() {
    for head in [
        "206 Partial Content\nContent-Range: bytes 0-0/1\nCache-Control: max-age=60",
        "304 Not Modified",
        "101 Switching Protocols\nUpgrade: x\nConnection: upgrade",
    ] {
        for (method, field) in
            [("GET", "Accept: */*"), ("GET", "If-Match: \"1\""), ("POST", "Accept: */*")]
        {
            let origin = Origin::new(move |_, _, stream| {
                let mut answer = lines(head);
                match head.starts_with("206") {
                    true => answer.extend_from_slice(b"Content-Length: 1\r\n\r\nx"),
                    false => answer.extend_from_slice(b"\r\n"),
                }
                stream.write_all(&answer).is_ok()
            });
            let answer = Rig::new().ask(&origin, method, "/x", &[field]);
            assert_eq!(answer.status, 502, "{head}: {answer:?}");
            assert!(answer.how().contains("head-invalid"), "{head}: {answer:?}");
        }
    }
}

#[test]
fn a_kept_connection_that_is_being_closed_costs_one_more_request_where_that_may_be() {
    for (method, field, asked, status) in [
        ("GET", "Accept: */*", 3, 200),
        ("HEAD", "Accept: */*", 3, 200),
        ("DELETE", "Accept: */*", 3, 200),
        ("POST", "Content-Length: 0", 2, 502),
        ("PUT", "Content-Length: 1", 2, 502),
        ("GET", "Content-Length: 1", 2, 502),
    ] {
        let first = std::sync::Mutex::new(None);
        let origin = Origin::new(move |_, asked, stream| {
            let peer = stream.peer_addr().unwrap();
            let is_first = *first.lock().unwrap().get_or_insert(peer) == peer;
            // The second one over the first connection finds it closed.
            if is_first && asked.target != "/first" {
                return false;
            }
            let mut answer = lines("200 OK");
            answer.extend_from_slice(b"Content-Length: 0\r\n\r\n");
            stream.write_all(&answer).is_ok()
        });
        let rig = Rig::new();
        assert_eq!(rig.get(&origin, "/first").status, 200);
        rig.settle();
        let mut client = rig.client();
        client.send(method, &format!("http://{}/x", origin.host()), &origin.host(), &[field]);
        if field.ends_with(": 1") {
            client.write(b"x");
        }
        let answer = client.answer(method == "HEAD");
        assert_eq!(answer.status, status, "{method} {field}: {answer:?}");
        assert_eq!(origin.count(), asked, "{method} {field}: {:?}", origin.asked());
    }
}

#[test]
fn a_fresh_connection_that_is_closed_is_no_reason_to_ask_again() {
    let origin = Origin::new(|_, _, _| false);
    let answer = Rig::new().get(&origin, "/x");
    assert!(answer.how().contains("connection-closed"), "{answer:?}");
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_304_for_something_else_confirms_nothing() {
    let origin = Origin::new(|before, _, stream| match before {
        0 => stream
            .write_all(&whole(
                "200 OK\nETag: \"1\"\nCache-Control: max-age=0, must-revalidate",
                b"x",
            ))
            .is_ok(),
        _ => stream
            .write_all(
                b"HTTP/1.1 304 Not Modified\r\nETag: \"2\"\r\nCache-Control: max-age=60\r\n\r\n",
            )
            .is_ok(),
    });
    let rig = Rig::new();
    rig.get(&origin, "/x");
    rig.settle();
    assert_eq!(rig.get(&origin, "/x").status, 502);
    assert_eq!(
        origin.asked()[2].field("if-none-match"),
        None,
        "the second time without conditions"
    );
}

#[test]
fn an_upload_that_breaks_off_does_not_reach_the_origin_as_a_whole_one() {
    use std::io::Read as _;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let rig = Rig::new();
    let mut client = rig.client();
    client.send("POST", &format!("http://{host}/x"), &host, &["Transfer-Encoding: chunked"]);
    client.write(b"5\r\nhello\r\n");
    let (mut stream, _) = listener.accept().unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"hello\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    drop(client);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{:?}", String::from_utf8_lossy(&rest));
}

#[test]
fn a_client_of_http_1_0_can_tell_that_a_body_broke_off() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::new(move |_, _, stream| {
        let mut answer = lines("200 OK\nCache-Control: max-age=60\nTransfer-Encoding: chunked");
        answer.extend_from_slice(b"\r\n5\r\nhello\r\n");
        stream.write_all(&answer).unwrap();
        let _ = wait.lock().unwrap().recv();
        false
    });
    let rig = Rig::new();
    let mut client = rig.client();
    let host = origin.host();
    client.write(format!("GET http://{host}/x HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes());
    assert_eq!(client.head().status, 200);
    assert_eq!(client.some(5), b"hello");
    go.send(()).unwrap();
    assert!(client.read_on().is_err(), "a reset, not an end");
}

#[test]
fn a_length_that_is_only_said_drives_nothing_out() {
    let origin = Origin::new(|_, asked, stream| match asked.target.as_str() {
        "/liar" => {
            let mut answer = lines("200 OK\nCache-Control: max-age=60\nContent-Length: 9000000");
            answer.extend_from_slice(b"\r\nabc");
            stream.write_all(&answer).unwrap();
            false
        }
        _ => {
            let head = "200 OK\nCache-Control: max-age=60";
            stream.write_all(&whole(head, &vec![b'x'; 1 << 20])).is_ok()
        }
    });
    let rig = Setup { size: 20 << 20, ..Setup::default() }.start();
    for i in 0..15 {
        rig.get(&origin, &format!("/{i}"));
    }
    rig.settle();
    let before = rig.cache.store.usage().objects;
    rig.get(&origin, "/liar");
    rig.settle();
    assert_eq!(rig.cache.store.usage().objects, before);
}

#[test]
fn what_comes_behind_the_length_is_nobodys_answer() {
    let origin = Origin::new(|_, _, stream| {
        let mut answer = whole("200 OK\nCache-Control: max-age=60", b"right");
        answer.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
        stream.write_all(&answer).is_ok()
    });
    let rig = Rig::new();
    assert_eq!(rig.get(&origin, "/x").text(), "right");
    rig.settle();
    assert_eq!(rig.get(&origin, "/y").text(), "right");
    assert_eq!(rig.get(&origin, "/x").text(), "right");
}

#[test]
fn an_endless_body_fills_no_disk_and_ends_with_its_client() {
    let origin = Origin::new(|_, _, stream| {
        let head = lines("200 OK\nCache-Control: max-age=60\nTransfer-Encoding: chunked");
        stream.write_all(&head).unwrap();
        let _ = stream.write_all(b"\r\n");
        let mut chunk = b"10000\r\n".to_vec();
        chunk.extend_from_slice(&[b'x'; 0x10000]);
        chunk.extend_from_slice(b"\r\n");
        while stream.write_all(&chunk).is_ok() {}
        false
    });
    let rig = Setup { size: 8 << 20, ..Setup::default() }.start();
    let mut client = rig.client();
    client.send("GET", &format!("http://{}/x", origin.host()), &origin.host(), &[]);
    assert_eq!(client.head().status, 200);
    let much = client.some(32 << 20);
    assert_eq!(much.len(), 32 << 20, "more than the store holds passes by it");
    drop(client);
    rig.settle();
    assert!(rig.cache.store.usage().bytes <= 8 << 20);
    assert_eq!(rig.cache.store.usage().objects, 0);
}

#[test]
fn a_head_that_is_no_head_is_a_502_that_says_so() {
    for head in [
        "HTTP/1.1 200 OK\r\nX: ".to_owned() + &"x".repeat(1 << 20) + "\r\n\r\n",
        "HTTP/1.1 200 OK\r\n".to_owned() + &"A: b\r\n".repeat(50_000) + "\r\n",
        "this is no HTTP\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello".to_owned(),
    ] {
        let origin = Origin::new(move |_, _, stream| {
            let _ = stream.write_all(head.as_bytes());
            false
        });
        let answer = Rig::new().get(&origin, "/x");
        assert_eq!(answer.status, 502, "{answer:?}");
        assert!(answer.text().starts_with("dockgate: "), "{answer:?}");
    }
}

#[test]
fn an_origin_that_says_nothing_is_a_504() {
    let settings = upstream::UpstreamSettings { head_timeout: BRIEF, ..never() };
    let rig = Setup { upstream: settings, ..Setup::default() }.start();
    let silent = Origin::new(|_, _, _| {
        loop {
            std::thread::park();
        }
    });
    let answer = rig.get(&silent, "/x");
    assert_eq!(answer.status, 504);
    assert!(answer.how().contains("head-timeout"), "{}", answer.how());
}

#[test]
fn an_origin_that_stops_is_no_whole_body() {
    let settings = upstream::UpstreamSettings { idle_body_timeout: BRIEF, ..never() };
    let rig = Setup { upstream: settings, ..Setup::default() }.start();
    let drips = Origin::new(|_, _, stream| {
        breaks_off(stream, "Cache-Control: max-age=60", 12);
        loop {
            std::thread::park();
        }
    });
    let answer = rig.get(&drips, "/x");
    assert!(failed(&answer), "{answer:?}");
    rig.settle();
}

/// Comes to its end in any case: it is what a test waits for.
const BRIEF: Duration = Duration::from_millis(300);

/// Settings with which nothing else takes too long, however busy the machine is.
fn never() -> upstream::UpstreamSettings {
    let never = Duration::from_secs(3600);
    upstream::UpstreamSettings {
        connect_timeout: never,
        head_timeout: never,
        idle_body_timeout: never,
        queue_timeout: never,
        ..upstream::UpstreamSettings::default()
    }
}

#[test]
fn a_url_that_asks_to_be_left_alone_is_left_alone_and_the_host_if_several_do() {
    let origin = Origin::always("429 Too Many Requests\nRetry-After: 100", b"later");
    let rig = Rig::new();
    for (path, status, asked) in
        [("/x", 429, 1), ("/x", 503, 1), ("/y", 429, 2), ("/z", 429, 3), ("/other", 503, 3)]
    {
        let answer = rig.get(&origin, path);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(answer.field("retry-after").is_some(), "{path}: {answer:?}");
        assert_eq!(origin.count(), asked, "{path}");
    }
}

#[test]
fn clients_that_read_nothing_keep_nobody_from_the_host() {
    let body = vec![b'x'; 16 << 20];
    let origin = Origin::new(move |_, asked, stream| {
        let large = whole("200 OK\nCache-Control: no-store", &body);
        let answer = if asked.target == "/x" { large } else { whole("200 OK", b"y") };
        stream.write_all(&answer).is_ok()
    });
    let settings = upstream::UpstreamSettings { per_host: 1, ..never() };
    let rig = Setup { upstream: settings, ..Setup::default() }.start();
    let mut idle: Vec<_> = (0..20).map(|_| rig.client()).collect();
    for client in &mut idle {
        client.send("GET", &format!("http://{}/x", origin.host()), &origin.host(), &[]);
    }
    // Each of them has a head: none of them waits for a slot that the ones before it hold.
    for client in &mut idle {
        let head = client.head();
        assert_eq!(head.status, 200, "{head:?}");
    }
    let answer = rig.get(&origin, "/y");
    assert_eq!((answer.status, answer.text()), (200, "y"), "{answer:?}");
}

/// It broke off, or nothing of it was sent and the client was told.
fn failed(answer: &Answer) -> bool {
    let broke_off = answer.status == 200 && !answer.whole && BODY.starts_with(&answer.body);
    let said_so = answer.status == 502 && answer.text().starts_with("dockgate: ");
    answer.body != BODY && (broke_off || said_so || answer.text() == "hello")
}

fn hex(body: &[u8]) -> String {
    use aws_lc_rs::digest::{SHA256, digest};
    digest(&SHA256, body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
