//! One question to an origin answers everybody who asks meanwhile.

use std::io::Write as _;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use super::origin::{Origin, lines, whole};
use super::rig::Rig;

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
        assert_eq!(client.answer(false).text(), ["en", "fr"][*which]);
    }
    assert_eq!(origin.count(), 2);
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

#[test]
fn an_error_is_for_all_who_have_waited_for_it() {
    let (go, wait): (Sender<()>, Receiver<()>) = channel();
    let wait = Arc::new(Mutex::new(wait));
    let origin = Origin::new(move |_, _, stream| {
        let mut head = lines("503 Service Unavailable");
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
