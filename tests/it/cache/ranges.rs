//! Parts of bodies: out of the store, out of what is coming, and far ahead of it.

use std::io::Write as _;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use super::origin::{Origin, lines, whole};
use super::rig::{Rig, Setup};

const FRESH: &str = "200 OK\nCache-Control: max-age=60\nETag: \"1\"\nContent-Type: text/plain";

#[test]
fn parts_come_out_of_the_whole() {
    let origin = Origin::always(FRESH, b"0123456789");
    let rig = Rig::new();
    // The first request is for a part too: the whole is fetched for it.
    for (range, status, body, content_range) in [
        ("bytes=2-4", 206, "234", "bytes 2-4/10"),
        ("bytes=2-4", 206, "234", "bytes 2-4/10"),
        ("bytes=-3", 206, "789", "bytes 7-9/10"),
        ("bytes=8-", 206, "89", "bytes 8-9/10"),
        ("bytes=10-", 416, "", "bytes */10"),
        ("lines=1-2", 200, "0123456789", ""),
    ] {
        let answer = rig.ask(&origin, "GET", "/x", &[&format!("Range: {range}")]);
        assert_eq!((answer.status, answer.text()), (status, body), "{range}");
        assert_eq!(answer.field("content-range").unwrap_or(""), content_range);
        rig.settle();
    }
    assert_eq!(origin.count(), 1);
    let several = rig.ask(&origin, "GET", "/x", &["Range: bytes=0-1,-1"]);
    assert!(several.field("content-type").unwrap().starts_with("multipart/byteranges"));
    let text = several.text();
    assert!(
        text.contains("bytes 0-1/10\r\n\r\n01\r\n") && text.contains("bytes 9-9/10\r\n\r\n9\r\n")
    );
}

#[test]
fn a_part_is_given_only_of_the_body_that_the_client_has_a_part_of() {
    let origin = Origin::always(FRESH, b"0123456789");
    let rig = Rig::new();
    for (condition, status) in [("\"1\"", 206), ("\"2\"", 200), ("W/\"1\"", 200)] {
        let fields = ["Range: bytes=2-4", &format!("If-Range: {condition}")];
        assert_eq!(rig.ask(&origin, "GET", "/x", &fields).status, status, "{condition}");
        rig.settle();
    }
}

#[test]
fn a_part_far_ahead_is_asked_for_on_its_own_while_the_whole_comes() {
    let (go, wait): (Sender<()>, Receiver<()>) = channel();
    let wait = Arc::new(Mutex::new(wait));
    let size = 4 << 20;
    let origin = Origin::new(move |_, asked, stream| match asked.field("range") {
        Some(range) => {
            assert_eq!(range, "bytes=4000000-4000003");
            let head = format!("206 Partial Content\nContent-Range: bytes 4000000-4000003/{size}");
            stream.write_all(&whole(&head, b"part")).is_ok()
        }
        None => {
            let mut head = lines(FRESH);
            head.extend_from_slice(format!("Content-Length: {size}\r\n\r\n").as_bytes());
            stream.write_all(&head).unwrap();
            wait.lock().unwrap().recv().unwrap();
            stream.write_all(&vec![b'x'; size]).is_ok()
        }
    });
    let rig = Rig::new();
    for asked in 2..=3 {
        let answer = rig.ask(&origin, "GET", "/x", &["Range: bytes=4000000-4000003"]);
        assert_eq!((answer.status, answer.text()), (206, "part"));
        assert!(answer.how().contains("fwd=partial"), "{}", answer.how());
        // The whole is being fetched once, whoever asks for parts meanwhile.
        while origin.count() < asked {
            std::thread::yield_now();
        }
    }
    assert_eq!(origin.asked().iter().filter(|asked| asked.field("range").is_none()).count(), 1);
    go.send(()).unwrap();
    rig.settle();
    let answer = rig.ask(&origin, "GET", "/x", &["Range: bytes=4000000-4000003"]);
    assert!(answer.how().contains("hit") && answer.text() == "xxxx");
    assert_eq!(origin.count(), 3);
}

#[test]
fn a_part_of_what_is_coming_comes_from_there() {
    let (go, wait): (Sender<()>, Receiver<()>) = channel();
    let wait = Arc::new(Mutex::new(wait));
    let origin = Origin::new(move |_, _, stream| {
        let mut head = lines(FRESH);
        head.extend_from_slice(b"Content-Length: 20\r\n\r\n0123456789");
        stream.write_all(&head).unwrap();
        wait.lock().unwrap().recv().unwrap();
        stream.write_all(b"abcdefghij").is_ok()
    });
    let rig = Rig::new();
    let answer = rig.ask(&origin, "GET", "/x", &["Range: bytes=2-4"]);
    assert_eq!((answer.status, answer.text()), (206, "234"), "before the rest was sent");
    let mut other = rig.client();
    let url = format!("http://{}/x", origin.host());
    other.send("GET", &url, &origin.host(), &["Range: bytes=15-,0-1"]);
    go.send(()).unwrap();
    let both = other.answer(false);
    assert!(both.whole && both.text().contains("\r\n\r\nfghij\r\n"), "{}", both.text());
    assert_eq!(origin.count(), 1);
}

#[test]
fn head_is_answered_from_what_is_stored() {
    let origin = Origin::always(FRESH, b"0123456789");
    let rig = Rig::new();
    rig.get(&origin, "/x");
    rig.settle();
    let answer = rig.ask(&origin, "HEAD", "/x", &[]);
    assert_eq!((answer.status, answer.field("content-length")), (200, Some("10")));
    assert!(answer.how().contains("hit"));
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_part_of_what_is_verified_waits_for_the_whole() {
    let rules = r#"
        [[rule]]
        name = "by hash"
        paths = ["/by-hash/SHA256/<sha256>"]
        kind = "artifact"
        verify = "sha256"
    "#;
    let body = vec![b'x'; 4 << 20];
    let right: String = {
        use aws_lc_rs::digest::{SHA256, digest};
        digest(&SHA256, &body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let wrong = "0".repeat(64);
    for (digest, status) in [(&right, 206), (&wrong, 502)] {
        // In the middle, and far behind what has come.
        for range in ["bytes=2-4", "bytes=4000000-4000002"] {
            for condition in ["Accept: */*", "If-Match: *"] {
                let sent = whole("200 OK\nETag: \"1\"", &body);
                let origin = Origin::new(move |_, asked, stream| match asked.field("range") {
                    Some(_) => {
                        let head = "206 Partial Content\nContent-Range: bytes 2-4/4194304";
                        stream.write_all(&whole(head, b"bad")).is_ok()
                    }
                    None => stream.write_all(&sent).is_ok(),
                });
                let rig = Setup { rules: rules.to_owned(), ..Setup::default() }.start();
                let path = format!("/by-hash/SHA256/{digest}");
                let fields = [&format!("Range: {range}"), condition];
                let answer = rig.ask(&origin, "GET", &path, &fields);
                let (how, fields) = (answer.how().to_owned(), origin.asked());
                assert!(fields.iter().all(|asked| asked.field("range").is_none()), "{fields:?}");
                match (condition, status) {
                    // Only the origin can judge, and it gives the whole.
                    ("If-Match: *", 206) => assert!(answer.whole && answer.body == body, "{how}"),
                    ("If-Match: *", _) => assert!(!answer.whole, "{how}"),
                    (_, 206) => assert_eq!((answer.status, answer.text()), (206, "xxx"), "{how}"),
                    _ => assert_eq!(answer.status, 502, "{how}"),
                }
            }
        }
    }
}
