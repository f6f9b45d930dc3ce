//! One question to an origin answers everybody who asks meanwhile.

use std::io::Write as _;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use super::origin::{Door, Origin, lines, whole};
use super::rig::{Answer, Rig};

const HALF: usize = 300_000;

/// Sends half of a body, and the other half when told.
fn in_two_halves(fields: &str) -> (Origin, Sender<()>, Vec<u8>) {
    let (go, wait): (Sender<()>, Receiver<()>) = channel();
    let wait = Arc::new(Mutex::new(wait));
    let body: Vec<u8> = (0..HALF * 2).map(|i| (i % 251) as u8).collect();
    let (sent, fields) = (body.clone(), fields.to_owned());
    let origin = Origin::new(move |_, _, stream| {
        let mut head = lines(&format!("200 OK\n{fields}"));
        head.extend_from_slice(format!("Content-Length: {}\r\n\r\n", sent.len()).as_bytes());
        stream.write_all(&head).unwrap();
        stream.write_all(&sent[..HALF]).unwrap();
        let _ = wait.lock().unwrap().recv();
        stream.write_all(&sent[HALF..]).is_ok()
    });
    (origin, go, body)
}

#[test]
fn followers_read_what_is_there_while_it_comes_and_the_origin_is_asked_once() {
    let (origin, go, body) = in_two_halves("Cache-Control: max-age=60");
    let rig = Rig::new();
    let url = format!("http://{}/x", origin.host());
    let mut clients: Vec<_> = (0..50).map(|_| rig.client()).collect();
    for client in &mut clients {
        client.send("GET", &url, &origin.host(), &[]);
    }
    // Everybody has the head and the first half before the origin has sent the second one.
    let mut collapsed = 0;
    for client in &mut clients {
        let head = client.head();
        assert_eq!((head.status, head.field("content-length")), (200, Some("600000")));
        collapsed += usize::from(head.how().contains("collapsed"));
        assert_eq!(client.some(HALF), &body[..HALF]);
    }
    assert_eq!((origin.count(), collapsed), (1, 49));
    go.send(()).unwrap();
    for client in &mut clients {
        assert_eq!(client.some(HALF), &body[HALF..]);
    }
    rig.settle();
    let again = rig.get(&origin, "/x");
    assert!(again.how().contains("hit") && again.body == body, "{}", again.how());
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_fill_survives_the_client_that_began_it() {
    let (origin, go, body) = in_two_halves("Cache-Control: max-age=60");
    let rig = Rig::new();
    let mut first = rig.client();
    first.send("GET", &format!("http://{}/x", origin.host()), &origin.host(), &[]);
    assert_eq!(first.head().status, 200);
    drop(first);
    go.send(()).unwrap();
    rig.settle();
    let second = rig.get(&origin, "/x");
    assert!(second.how().contains("hit"), "{}", second.how());
    assert_eq!((origin.count(), second.body), (1, body));
}

#[test]
fn a_client_that_reads_nothing_holds_up_neither_the_fill_nor_others() {
    let (origin, go, body) = in_two_halves("Cache-Control: max-age=60");
    go.send(()).unwrap();
    let rig = Rig::new();
    let mut slow = rig.client();
    slow.send("GET", &format!("http://{}/x", origin.host()), &origin.host(), &[]);
    let other = rig.get(&origin, "/x");
    assert_eq!((other.body == body, other.whole), (true, true));
    assert_eq!(slow.answer(false).body, body);
    assert_eq!(origin.count(), 1);
}

#[test]
fn an_answer_that_is_not_stored_is_asked_for_by_each_and_nobody_waits_for_another() {
    let (go, wait): (Sender<()>, Receiver<()>) = channel();
    let wait = Arc::new(Mutex::new(wait));
    let origin = Origin::new(move |before, _, stream| {
        if before == 0 {
            wait.lock().unwrap().recv().unwrap();
        }
        let answer = whole("200 OK\nCache-Control: no-store", format!("{before}").as_bytes());
        stream.write_all(&answer).is_ok()
    });
    let rig = Rig::new();
    let mut clients: Vec<_> = (0..4).map(|_| rig.client()).collect();
    for client in &mut clients {
        client.send("GET", &format!("http://{}/x", origin.host()), &origin.host(), &[]);
    }
    go.send(()).unwrap();
    let mut bodies: Vec<_> =
        clients.iter_mut().map(|client| client.answer(false).text().to_owned()).collect();
    bodies.sort();
    assert_eq!(bodies, ["0", "1", "2", "3"], "each has an answer of its own");
}

#[test]
fn variants_that_are_asked_for_at_once_are_not_mixed_up() {
    let origin = Origin::new(|_, asked, stream| {
        let language = asked.field("accept-language").unwrap_or("-").to_owned();
        let head = "200 OK\nCache-Control: max-age=60\nVary: Accept-Language";
        stream.write_all(&whole(head, language.as_bytes())).is_ok()
    });
    let rig = Rig::new();
    let mut clients: Vec<_> = (0..20).map(|i| (i % 2, rig.client())).collect();
    for (which, client) in &mut clients {
        let field = ["Accept-Language: en", "Accept-Language: fr"][*which];
        client.send("GET", &format!("http://{}/x", origin.host()), &origin.host(), &[field]);
    }
    for (which, client) in &mut clients {
        let answer = client.answer(false);
        assert_eq!(answer.text(), ["en", "fr"][*which], "{answer:?}");
    }
    assert_eq!(origin.count(), 2, "{:?}", origin.asked());
}

#[test]
fn what_is_stale_is_renewed_by_one_request_behind_the_scenes() {
    let (go, wait): (Sender<()>, Receiver<()>) = channel();
    let wait = Arc::new(Mutex::new(wait));
    let origin = Origin::new(move |before, _, stream| {
        if before > 0 {
            wait.lock().unwrap().recv().unwrap();
        }
        let head = "200 OK\nCache-Control: max-age=0, stale-while-revalidate=60\nETag: \"1\"";
        stream.write_all(&whole(head, format!("{before}").as_bytes())).is_ok()
    });
    let rig = Rig::new();
    assert_eq!(rig.get(&origin, "/x").text(), "0");
    rig.settle();
    for _ in 0..5 {
        assert_eq!(rig.get(&origin, "/x").text(), "0");
    }
    go.send(()).unwrap();
    rig.settle();
    assert_eq!(origin.count(), 2);
    assert_eq!(rig.get(&origin, "/x").text(), "1");
    go.send(()).unwrap();
}

#[test]
fn a_client_that_wants_nothing_stored_spoils_it_for_nobody() {
    let (origin, go, body) = in_two_halves("Cache-Control: max-age=60");
    go.send(()).unwrap();
    let rig = Rig::new();
    let first = rig.ask(&origin, "GET", "/x", &["Cache-Control: no-store"]);
    assert!(first.how().contains("request-no-store"), "{}", first.how());
    let mut clients: Vec<_> = (0..10).map(|_| rig.client()).collect();
    for client in &mut clients {
        client.send("GET", &format!("http://{}/x", origin.host()), &origin.host(), &[]);
        assert_eq!(client.head().status, 200);
    }
    go.send(()).unwrap();
    for client in &mut clients {
        assert_eq!(client.some(body.len()), body);
    }
    assert_eq!(origin.count(), 2);
}

#[test]
fn what_began_before_a_write_is_not_stored_after_it() {
    let (go, wait): (Sender<()>, Receiver<()>) = channel();
    let wait = Arc::new(Mutex::new(wait));
    let origin = Origin::new(move |before, asked, stream| {
        let mut head = lines("200 OK\nCache-Control: max-age=60");
        head.extend_from_slice(b"Content-Length: 3\r\n\r\n");
        stream.write_all(&head).unwrap();
        if before == 0 {
            wait.lock().unwrap().recv().unwrap();
        }
        let body: &[u8] = if asked.method == "PUT" || before > 1 { b"new" } else { b"old" };
        stream.write_all(body).is_ok()
    });
    let rig = Rig::new();
    let mut first = rig.client();
    first.send("GET", &format!("http://{}/x", origin.host()), &origin.host(), &[]);
    assert_eq!(first.head().status, 200);
    assert_eq!(rig.ask(&origin, "PUT", "/x", &["Content-Length: 0"]).text(), "new");
    assert_eq!(rig.get(&origin, "/x").text(), "new", "what began before is joined by nobody");
    go.send(()).unwrap();
    assert_eq!(first.some(3), b"old");
    rig.settle();
    assert_eq!(rig.get(&origin, "/x").text(), "new");
}

#[test]
fn variants_do_not_wait_for_each_other() {
    let (go, wait): (Sender<()>, Receiver<()>) = channel();
    let wait = Arc::new(Mutex::new(wait));
    let origin = Origin::new(move |before, _, stream| {
        let mut head = lines("200 OK\nCache-Control: max-age=60\nVary: Accept-Language");
        head.extend_from_slice(b"Content-Length: 2\r\n\r\na");
        stream.write_all(&head).unwrap();
        if before == 0 {
            wait.lock().unwrap().recv().unwrap();
        }
        stream.write_all(b"b").is_ok()
    });
    let rig = Rig::new();
    let mut first = rig.client();
    let url = format!("http://{}/x", origin.host());
    first.send("GET", &url, &origin.host(), &["Accept-Language: en"]);
    assert_eq!(first.head().status, 200);
    let other = rig.ask(&origin, "GET", "/x", &["Accept-Language: fr"]);
    assert_eq!(other.text(), "ab", "while the first one is still coming");
    go.send(()).unwrap();
    assert_eq!(first.some(2), b"ab");
}

/// Six clients that ask for the same while the origin lets the first one wait; what each got.
fn herd(
    rig: &Rig,
    origin: &Origin,
    go: &Sender<()>,
    field: impl Fn(usize) -> String,
) -> Vec<Answer> {
    let mut clients: Vec<_> = (0..6).map(|_| rig.client()).collect();
    let url = format!("http://{}/x", origin.host());
    for (i, client) in clients.iter_mut().enumerate() {
        client.send("GET", &url, &origin.host(), &[&field(i)]);
        rig.wait_for_readers(i + 1);
    }
    go.send(()).unwrap();
    clients.iter_mut().map(|client| client.answer(false)).collect()
}

/// Each answer with a session of its own; the first one waits for the door.
fn sessions(head: &'static str) -> (Origin, Sender<()>) {
    let (go, door) = Door::new();
    let origin = Origin::new(move |before, _, stream| {
        if before == 0 {
            door.wait();
        }
        let head = format!("{head}\nSet-Cookie: session={before}");
        stream.write_all(&whole(&head, format!("{before}").as_bytes())).is_ok()
    });
    (origin, go)
}

#[test]
fn an_answer_that_is_not_storable_is_for_the_client_alone_that_asked() {
    for head in [
        "302 Found\nLocation: /y",
        "303 See Other\nLocation: /y",
        "307 Temporary Redirect\nLocation: /y",
        "401 Unauthorized\nWWW-Authenticate: Basic",
        "403 Forbidden",
        "404 Not Found",
        "429 Too Many Requests",
        "500 Internal Server Error",
        "503 Service Unavailable",
        "200 OK",
        "200 OK\nCache-Control: no-store",
        "200 OK\nCache-Control: private, max-age=60",
        "200 OK\nCache-Control: max-age=60\nVary: *",
    ] {
        let (origin, go) = sessions(head);
        let rig = Rig::new();
        let answers = herd(&rig, &origin, &go, |_| "Accept: */*".to_owned());
        for answer in &answers {
            let own = format!("session={}", answer.text());
            assert_eq!(answer.field("set-cookie"), Some(own.as_str()), "{head}: {answer:?}");
        }
        let mut bodies: Vec<_> = answers.iter().map(Answer::text).collect();
        bodies.sort_unstable();
        assert_eq!(bodies, ["0", "1", "2", "3", "4", "5"], "{head}: {answers:?}");
        assert_eq!(origin.count(), 6, "{head}");
    }
}

#[test]
fn a_cookie_that_is_not_kept_reaches_the_client_alone_that_asked() {
    for head in ["200 OK\nETag: \"1\"", "200 OK\nCache-Control: max-age=60, private=\"set-cookie\""]
    {
        let (origin, go) = sessions(head);
        let rig = Rig::new();
        let answers = herd(&rig, &origin, &go, |_| "Accept: */*".to_owned());
        let cookies: Vec<_> = answers.iter().filter_map(|it| it.field("set-cookie")).collect();
        assert_eq!(cookies, ["session=0"], "{head}: {answers:?}");
        assert_eq!(answers[0].field("set-cookie"), Some("session=0"), "{head}: {answers:?}");
        assert!(answers.iter().all(|answer| answer.text() == "0"), "{head}: {answers:?}");
        assert_eq!(origin.count(), 1, "{head}");
    }
}

#[test]
fn what_the_origin_holds_against_one_request_is_not_told_to_others() {
    let (go, door) = Door::new();
    let origin = Origin::new(move |before, asked, stream| {
        if before == 0 {
            door.wait();
        }
        let answer = match asked.field("accept") {
            Some("bad") => whole("400 Bad Request", b"bad"),
            _ => whole("200 OK\nCache-Control: no-store", b"good"),
        };
        stream.write_all(&answer).is_ok()
    });
    let rig = Rig::new();
    let field = |i| format!("Accept: {}", if i == 0 { "bad" } else { "good" });
    let answers = herd(&rig, &origin, &go, field);
    let texts: Vec<_> = answers.iter().map(Answer::text).collect();
    assert_eq!(texts, ["bad", "good", "good", "good", "good", "good"], "{answers:?}");
}

#[test]
fn a_variant_is_asked_for_once_whenever_it_is_asked_for() {
    let ((go_english, english), (go_french, french)) = (Door::new(), Door::new());
    let origin = Origin::new(move |_, asked, stream| {
        let language = asked.field("accept-language").unwrap().to_owned();
        if language == "en" {
            english.wait()
        } else {
            french.wait()
        }
        let head = "200 OK\nCache-Control: max-age=60\nVary: Accept-Language";
        stream.write_all(&whole(head, language.as_bytes())).is_ok()
    });
    let rig = Rig::new();
    let url = format!("http://{}/x", origin.host());
    let ask = |language: &str| {
        let mut client = rig.client();
        let field = format!("Accept-Language: {language}");
        client.send("GET", &url, &origin.host(), &[&field]);
        client
    };
    // The first one shows that there are variants, to one who waits for another of them.
    let mut leader = ask("en");
    rig.wait_for_readers(1);
    let mut second = ask("fr");
    rig.wait_for_readers(2);
    go_english.send(()).unwrap();
    assert_eq!(leader.answer(false).text(), "en");
    rig.wait(|| origin.count() == 2 && rig.cache.flights() == 1);
    // And now it is on its way, for those who come later, too.
    let mut third = ask("fr");
    rig.wait_for_readers(2);
    for _ in 0..2 {
        go_french.send(()).unwrap();
    }
    assert_eq!((second.answer(false).text(), third.answer(false).text()), ("fr", "fr"));
    assert_eq!(origin.count(), 2, "{:?}", origin.asked());
}

#[test]
fn an_error_that_is_storable_is_for_all_who_have_waited_for_it() {
    let (go, wait): (Sender<()>, Receiver<()>) = channel();
    let wait = Arc::new(Mutex::new(wait));
    let origin = Origin::new(move |_, _, stream| {
        let mut head = lines("503 Service Unavailable\nCache-Control: max-age=60");
        head.extend_from_slice(b"Content-Length: 8\r\n\r\ndown");
        stream.write_all(&head).unwrap();
        wait.lock().unwrap().recv().unwrap();
        stream.write_all(b"down").is_ok()
    });
    let rig = Rig::new();
    let mut clients: Vec<_> = (0..10).map(|_| rig.client()).collect();
    for client in &mut clients {
        client.send("GET", &format!("http://{}/x", origin.host()), &origin.host(), &[]);
        assert_eq!(client.head().status, 503);
    }
    go.send(()).unwrap();
    for client in &mut clients {
        assert_eq!(client.some(8), b"downdown");
    }
    assert_eq!(origin.count(), 1);
}
