//! What is stored is used when it may be, and confirmed when it must.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::origin::{Door, Origin, whole};
use super::rig::{Rig, Setup};
use dockgate::cache::upstream;

#[test]
fn what_is_fresh_is_not_asked_for_again_and_tells_its_age() {
    let origin = Origin::always("200 OK\nCache-Control: max-age=60\nAge: 7", b"x");
    let rig = Rig::new();
    let first = rig.get(&origin, "/x");
    assert!(first.how().contains("fwd=uri-miss") && first.how().contains("stored"));
    assert_eq!(first.field("via"), Some("1.1 dockgate"));
    rig.settle();
    for _ in 0..3 {
        let again = rig.get(&origin, "/x");
        assert!(again.how().contains("hit; ttl=5"), "{}", again.how());
        assert!(again.field("age").unwrap().parse::<u64>().unwrap() >= 7);
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn what_is_asked_for_again_and_again_is_answered_as_the_first_time() {
    let origin = Origin::always(
        "200 OK\nCache-Control: max-age=60\nETag: \"1\"\nA: b\nCache-Status: far; fwd=miss",
        b"x",
    );
    let rig = Rig::new();
    rig.get(&origin, "/x");
    rig.settle();
    let mut answers = Vec::new();
    // The first one is from the disk, the others from memory, as requests in origin form are.
    for _ in 0..3 {
        let mut client = rig.client();
        client.send("GET", "/x", &origin.host(), &[]);
        let mut answer = client.answer(false);
        assert!(answer.how().contains("far") || answer.how().contains("hit"));
        answer.fields.retain(|(name, _)| name != "age" && name != "cache-status");
        answer.fields.sort();
        answers.push((answer.status, answer.fields, answer.body));
    }
    assert!(rig.cache.hot.bytes() > 0);
    assert_eq!(answers[0].1.iter().filter(|(name, _)| name == "content-length").count(), 1);
    assert_eq!(answers[1], answers[0]);
    assert_eq!(answers[2], answers[0]);
    assert_eq!(origin.count(), 1);
    // What changes is forgotten there too.
    let mut client = rig.client();
    client.send("PUT", "/x", &origin.host(), &["Content-Length: 0"]);
    client.answer(false);
    client.send("GET", "/x", &origin.host(), &[]);
    assert!(!client.answer(false).how().contains("hit"));
}

#[test]
fn what_is_stale_is_confirmed_and_then_updated() {
    let origin = Origin::new(|before, asked, stream| match before {
        0 => stream
            .write_all(&whole("200 OK\nCache-Control: max-age=0\nETag: \"1\"\nA: old", b"x"))
            .is_ok(),
        _ => {
            assert_eq!(asked.field("if-none-match"), Some("\"1\""));
            let head = b"HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nCache-Control: max-age=60\r\nA: new\r\n\r\n";
            stream.write_all(head).is_ok()
        }
    });
    let rig = Rig::new();
    rig.get(&origin, "/x");
    rig.settle();
    let confirmed = rig.get(&origin, "/x");
    assert_eq!((confirmed.status, confirmed.text(), confirmed.field("a")), (200, "x", Some("new")));
    assert!(confirmed.how().contains("fwd=stale; fwd-status=304"), "{}", confirmed.how());
    rig.settle();
    let after = rig.get(&origin, "/x");
    assert!(after.how().contains("hit") && after.field("a") == Some("new"));
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_304_that_forbids_storing_ends_it_and_its_cookie_is_for_one_client() {
    for (fields, count) in
        [("Cache-Control: no-store", 3), ("Cache-Control: max-age=60\r\nSet-Cookie: a=b", 2)]
    {
        let origin = Origin::new(move |before, _, stream| match before {
            0 => stream
                .write_all(&whole("200 OK\nCache-Control: max-age=0\nETag: \"1\"", b"x"))
                .is_ok(),
            1 => {
                let head = format!("HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n{fields}\r\n\r\n");
                stream.write_all(head.as_bytes()).is_ok()
            }
            _ => stream.write_all(&whole("200 OK", b"y")).is_ok(),
        });
        let rig = Rig::new();
        for asked in 0..3 {
            let answer = rig.get(&origin, "/x");
            let own = (asked == 1 && fields.contains("Set-Cookie")).then_some("a=b");
            assert_eq!(answer.field("set-cookie"), own, "{answer:?}");
            rig.settle();
        }
        assert_eq!(origin.count(), count, "{fields}");
    }
}

#[test]
fn an_error_is_answered_by_what_is_stale_where_that_may_be() {
    for (fields, expected) in [("stale-if-error=60", 200), ("must-revalidate", 503)] {
        let origin = Origin::new(move |before, _, stream| {
            let answer = match before {
                0 => {
                    whole(&format!("200 OK\nCache-Control: max-age=0, {fields}\nETag: \"1\""), b"x")
                }
                _ => whole("503 Service Unavailable", b"down"),
            };
            stream.write_all(&answer).is_ok()
        });
        let rig = Rig::new();
        rig.get(&origin, "/x");
        rig.settle();
        assert_eq!(rig.get(&origin, "/x").status, expected, "{fields}");
    }
}

#[test]
fn a_dead_origin_is_answered_for_and_said_so() {
    let origin = Origin::new(|before, _, stream| {
        let head = "200 OK\nCache-Control: max-age=0\nETag: \"1\"";
        before == 0 && stream.write_all(&whole(head, b"x")).is_ok()
    });
    let rig = Rig::new();
    rig.get(&origin, "/x");
    rig.settle();
    let stale = rig.get(&origin, "/x");
    assert_eq!((stale.status, stale.text()), (200, "x"));
    assert!(stale.how().contains("connection-closed"), "{}", stale.how());
    let dead = rig.get(&origin, "/y");
    assert_eq!(dead.status, 502);
    assert_eq!(rig.ask(&origin, "HEAD", "/x", &[]).status, 200, "as GET");
    assert_eq!(rig.ask(&origin, "HEAD", "/y", &[]).status, 502);
}

#[test]
fn a_client_that_has_it_gets_a_304() {
    let origin = Origin::always("200 OK\nCache-Control: max-age=60\nETag: \"1\"", b"x");
    let rig = Rig::new();
    let first = rig.ask(&origin, "GET", "/x", &["If-None-Match: \"1\""]);
    assert_eq!(first.status, 304, "the fill goes on without it");
    rig.settle();
    assert_eq!(rig.ask(&origin, "GET", "/x", &["If-None-Match: \"1\""]).status, 304);
    assert_eq!(rig.ask(&origin, "GET", "/x", &["If-None-Match: \"2\""]).text(), "x");
    assert_eq!(origin.asked()[0].field("if-none-match"), None);
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_write_makes_what_is_stored_worthless_for_everybody() {
    let origin = Origin::new(|before, _, stream| {
        let head = "200 OK\nCache-Control: max-age=60";
        stream.write_all(&whole(head, format!("{before}").as_bytes())).is_ok()
    });
    let rig = Rig::new();
    assert_eq!(rig.get(&origin, "/x").text(), "0");
    rig.settle();
    rig.get(&origin, "/x");
    assert_eq!(rig.get(&origin, "/x").text(), "0");
    let mut client = rig.client();
    let url = format!("http://{}/x", origin.host());
    client.send("PUT", &url, &origin.host(), &["Content-Length: 3"]);
    client.write(b"new");
    assert_eq!(client.answer(false).text(), "1");
    let write = &origin.asked()[1];
    assert_eq!((write.method.as_str(), &write.body[..]), ("PUT", &b"new"[..]));
    assert_eq!(rig.get(&origin, "/x").text(), "2");
}

#[test]
fn offline_what_is_stored_is_served_whatever_its_age_and_nobody_is_asked() {
    let origin = Origin::always("200 OK\nCache-Control: max-age=0\nETag: \"1\"", b"x");
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("shared");
    let online = Setup { dir: Some(at.clone()), ..Setup::default() }.start();
    online.get(&origin, "/x");
    online.settle();
    drop(online);
    let offline = Setup { dir: Some(at), offline: true, ..Setup::default() }.start();
    assert_eq!(offline.get(&origin, "/x").text(), "x");
    assert_eq!(offline.get(&origin, "/y").status, 504);
    assert_eq!(offline.ask(&origin, "DELETE", "/x", &[]).status, 504);
    assert_eq!(origin.count(), 1);
}

#[test]
fn offline_nothing_is_renewed_behind_the_scenes_either() {
    let origin =
        Origin::always("200 OK\nCache-Control: max-age=0, stale-while-revalidate=60", b"x");
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("shared");
    let online = Setup { dir: Some(at.clone()), ..Setup::default() }.start();
    online.get(&origin, "/x");
    online.settle();
    let offline = Setup { dir: Some(at), offline: true, ..Setup::default() }.start();
    assert_eq!(offline.get(&origin, "/x").text(), "x");
    let mut tunnel = offline.client();
    tunnel.send("CONNECT", "localhost:443", "localhost:443", &[]);
    assert_eq!(tunnel.head().status, 504);
    offline.settle();
    assert_eq!(origin.count(), 1);
}

#[test]
fn only_if_cached_asks_nobody() {
    let origin = Origin::always("200 OK", b"x");
    let rig = Rig::new();
    assert_eq!(rig.ask(&origin, "GET", "/x", &["Cache-Control: only-if-cached"]).status, 504);
    assert_eq!(origin.count(), 0);
}

#[test]
fn an_interim_answer_goes_to_the_client_that_waits() {
    let origin = Origin::new(|_, _, stream| {
        let early = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 5\r\nConnection: close\r\n\r\n";
        stream.write_all(early.as_bytes()).unwrap();
        stream.write_all(&whole("200 OK\nCache-Control: max-age=60", b"x")).is_ok()
    });
    let rig = Rig::new();
    assert_eq!(rig.get(&origin, "/x").interim, [103]);
    rig.settle();
    assert_eq!(rig.get(&origin, "/x").interim, [0u16; 0]);
}

#[test]
fn a_miss_that_is_not_stored_says_why() {
    for (head, why) in [
        ("200 OK\nCache-Control: no-store", "detail=no-store"),
        ("200 OK\nCache-Control: private", "detail=private"),
        ("200 OK\nCache-Control: max-age=9\nVary: *", "detail=vary-star"),
        ("200 OK", "detail=no-freshness"),
    ] {
        let origin = Origin::always(head, b"x");
        let rig = Rig::new();
        let answer = rig.get(&origin, "/x");
        assert!(answer.how().contains(why) && !answer.how().contains("stored"), "{}", answer.how());
        assert_eq!(rig.cache.stats.reasons().len(), 1);
    }
}

#[test]
fn an_origin_that_lets_wait_for_itself_is_answered_for_meanwhile() {
    let (go, door) = Door::new();
    let origin = Origin::new(move |before, _, stream| {
        if before > 0 {
            door.wait();
        }
        let head = "200 OK\nCache-Control: max-age=0\nETag: \"1\"";
        stream.write_all(&whole(head, format!("{before}").as_bytes())).is_ok()
    });
    let rig = Setup { patience: std::time::Duration::ZERO, ..Setup::default() }.start();
    assert_eq!(rig.get(&origin, "/x").text(), "0");
    rig.settle();
    for method in ["GET", "GET", "HEAD"] {
        let stale = rig.ask(&origin, method, "/x", &["Accept: */*"]);
        assert_eq!(stale.status, 200, "{stale:?}");
        assert!(stale.how().contains("detail=origin-slow"), "{stale:?}");
    }
    for _ in 0..4 {
        go.send(()).unwrap();
    }
    rig.settle();
    assert_ne!(rig.get(&origin, "/x").text(), "0", "it was asked meanwhile");
    go.send(()).unwrap();
}

#[test]
fn who_wants_the_origins_word_waits_for_it_and_has_the_old_one_only_if_there_is_none() {
    for (field, is_old_good_enough) in [
        ("Cache-Control: max-age=0", true),
        ("Cache-Control: max-age=0, no-transform", true),
        ("Cache-Control: min-fresh=5", true),
        ("Cache-Control: no-cache", false),
        ("Pragma: no-cache", false),
    ] {
        let (go, door) = Door::new();
        let origin = Origin::new(move |before, _, stream| {
            if before > 0 {
                door.wait();
            }
            let head = "200 OK\nCache-Control: max-age=0\nETag: \"1\"";
            before < 2 && stream.write_all(&whole(head, format!("{before}").as_bytes())).is_ok()
        });
        // Whatever lets wait for itself at all is slow.
        let rig = Setup { patience: std::time::Duration::ZERO, ..Setup::default() }.start();
        assert_eq!(rig.get(&origin, "/x").text(), "0");
        rig.settle();
        let mut patient = rig.client();
        let url = format!("http://{}/x", origin.host());
        patient.send("GET", &url, &origin.host(), &[field]);
        rig.wait(|| origin.count() == 2);
        go.send(()).unwrap();
        let answer = patient.answer(false);
        assert_eq!(answer.text(), "1", "{field}: {answer:?}");
        rig.settle();
        // From here on the origin hangs up.
        patient.send("GET", &url, &origin.host(), &[field]);
        for _ in 0..4 {
            go.send(()).unwrap();
        }
        let answer = patient.answer(false);
        assert_eq!(answer.status == 200 && answer.text() == "1", is_old_good_enough, "{answer:?}");
    }
}

#[test]
fn a_silent_host_costs_one_time_out_and_is_asked_again_when_it_answers() {
    let is_silent = Arc::new(AtomicBool::new(true));
    let silent = Arc::clone(&is_silent);
    let origin = Origin::new(move |_, _, stream| {
        while silent.load(Ordering::Acquire) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        stream.write_all(&whole("200 OK\nCache-Control: no-store", b"x")).is_ok()
    });
    let settings = upstream::UpstreamSettings {
        // What is asked for at the end is asked for until it is answered in time.
        head_timeout: std::time::Duration::from_secs(1),
        ..upstream::UpstreamSettings::default()
    };
    let rig = Setup { upstream: settings, ..Setup::default() }.start();
    let first = rig.get(&origin, "/0");
    assert!(first.how().contains("head-timeout"), "{first:?}");
    for i in 1..=30 {
        let answer = rig.get(&origin, &format!("/{i}"));
        assert_eq!(answer.status, 504, "{answer:?}");
        assert!(answer.how().contains("origin-down"), "{answer:?}");
    }
    let urls: Vec<_> = origin.asked().into_iter().filter(|asked| asked.method == "GET").collect();
    assert_eq!(urls.len(), 1, "{urls:?}");
    is_silent.store(false, Ordering::Release);
    rig.wait(|| rig.get(&origin, "/again").status == 200);
}

#[test]
fn a_refusal_is_said_where_clients_look() {
    let origin = Origin::always("200 Good\nCache-Control: no-store", b"x");
    let rig = Setup { domains: vec!["127.0.0.1:1", "nowhere.invalid"], ..Setup::default() }.start();
    let ask = |host: &str, path: &str| {
        let mut client = rig.client();
        client.send("GET", &format!("http://{host}{path}"), host, &[]);
        client.answer(false)
    };
    for (host, path, status, reason) in [
        ("127.0.0.1:1", "/x", 502, "origin cannot be reached: "),
        ("nowhere.invalid", "/x", 502, "origin cannot be reached: its name cannot be resolved"),
        ("strange.example", "/x", 421, "`strange.example` is not a host of this cache"),
        ("127.0.0.1:1", "/a/../b", 400, "the path holds "),
    ] {
        let answer = ask(host, path);
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.reason.starts_with(reason), "{answer:?}");
        assert!(!answer.reason.contains("hint"), "the rest is in the body: {answer:?}");
        assert!(answer.text().starts_with("dockgate: "), "{answer:?}");
    }
    let rig = Rig::new();
    assert_eq!(rig.get(&origin, "/x").reason, "OK", "an origin's answer has the usual phrase");
}

#[test]
fn what_a_redirect_says_of_storing_counts() {
    let rules = r#"
        [[rule]]
        name = "followed"
        paths = ["/**"]
        follow = true
    "#;
    for (fields, is_stored) in
        [("Cache-Control: no-store", false), ("Cache-Control: private", false), ("A: b", true)]
    {
        let origin = Origin::new(move |_, asked, stream| {
            let answer = match asked.target.as_str() {
                "/x" => whole(&format!("302 Found\nLocation: /y\n{fields}"), b""),
                _ => whole("200 OK\nCache-Control: max-age=60", b"y"),
            };
            stream.write_all(&answer).is_ok()
        });
        let rig = Setup { rules: rules.to_owned(), ..Setup::default() }.start();
        assert_eq!(rig.get(&origin, "/x").text(), "y");
        rig.settle();
        let again = rig.get(&origin, "/x");
        assert_eq!(again.how().contains("hit"), is_stored, "{fields}: {again:?}");
    }
}
