//! What is stored once and is for those of whom the origin says so, each time anew.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::{Arc, Mutex};

use super::origin::{Door, Origin, whole};
use super::rig::{Answer, Rig, Setup};

const RULES: &str = "[[rule]]\nname = \"blobs\"\npaths = [\"/blobs/*\"]\nkind = \"restricted\"";
const HEAD: &str = "200 OK\nETag: \"1\"\nVary: Authorization\nCache-Control: max-age=60";
const DENIED: &[u8] = b"{\"errors\":[{\"code\":\"DENIED\"}]}";

/// Who may have the blobs.
type Callers = Arc<Mutex<BTreeSet<String>>>;

/// Gives its blobs to those callers, and hides them from others.
fn registry(callers: &Callers) -> Origin {
    let callers = Arc::clone(callers);
    Origin::new(move |_, asked, stream| {
        let who = asked.field("authorization").unwrap_or("nobody");
        let is_let_in = callers.lock().unwrap().contains(who);
        let mut answer = match is_let_in {
            true => whole(HEAD, b"blob"),
            false => whole("403 Forbidden\nContent-Type: application/json", DENIED),
        };
        if asked.method == "HEAD" {
            let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
            answer.truncate(end + 4);
        }
        stream.write_all(&answer).is_ok()
    })
}

fn callers(names: &[&str]) -> Callers {
    Arc::new(Mutex::new(names.iter().map(|name| (*name).to_owned()).collect()))
}

fn rig() -> Rig {
    Setup { rules: RULES.to_owned(), ..Setup::default() }.start()
}

fn get(rig: &Rig, origin: &Origin, who: &str) -> Answer {
    let answer = rig.ask(origin, "GET", "/blobs/1", &[&format!("Authorization: {who}")]);
    rig.settle();
    answer
}

fn methods(origin: &Origin) -> Vec<String> {
    origin.asked().iter().map(|asked| asked.method.clone()).collect()
}

#[test]
fn a_body_is_fetched_once_and_each_caller_is_asked_about() {
    let who = callers(&["ann", "bob"]);
    let (origin, rig) = (registry(&who), rig());
    for name in ["ann", "bob", "ann"] {
        let answer = get(&rig, &origin, name);
        assert_eq!((answer.status, answer.text()), (200, "blob"), "{name}");
    }
    assert_eq!(methods(&origin), ["GET", "HEAD", "HEAD"]);
    for asked in origin.asked() {
        assert!(["ann", "bob"].contains(&asked.field("authorization").unwrap()));
    }
    // Who may not gets the origin's own words, whole.
    let refused = get(&rig, &origin, "eve");
    assert_eq!((refused.status, &refused.body[..]), (403, DENIED));
    assert_eq!(refused.field("content-type"), Some("application/json"));
    assert_eq!(methods(&origin)[3..], ["HEAD", "GET"]);
    assert_eq!(rig.get(&origin, "/blobs/1").status, 403, "nobody is nobody");
    // What held once holds no more.
    who.lock().unwrap().remove("ann");
    assert_eq!(get(&rig, &origin, "ann").status, 403);
    assert_eq!(get(&rig, &origin, "bob").text(), "blob");
}

#[test]
fn a_refusal_is_kept_for_nobody() {
    let who = callers(&["ann"]);
    let (origin, rig) = (registry(&who), rig());
    assert_eq!(get(&rig, &origin, "eve").status, 403);
    assert_eq!(get(&rig, &origin, "ann").text(), "blob");
    assert_eq!(get(&rig, &origin, "eve").status, 403);
}

#[test]
fn who_comes_while_it_is_on_its_way_is_asked_about_too() {
    let (open, door) = Door::new();
    let origin = Origin::new(move |_, asked, stream| {
        let who = asked.field("authorization").unwrap();
        let answer = match (asked.method.as_str(), who) {
            ("GET", "ann") => {
                door.wait();
                whole(HEAD, b"blob")
            }
            ("HEAD", "bob") => b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n".to_vec(),
            ("HEAD", _) => b"HTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\n".to_vec(),
            (_, _) => whole("404 No", b"none"),
        };
        stream.write_all(&answer).is_ok()
    });
    let rig = rig();
    let ask = |who: &str| {
        let mut client = rig.client();
        let url = format!("http://{}/blobs/1", origin.host());
        client.send("GET", &url, &origin.host(), &[&format!("Authorization: {who}")]);
        client
    };
    let mut ann = ask("ann");
    rig.wait_for_readers(1);
    let (mut bob, mut eve) = (ask("bob"), ask("eve"));
    rig.wait_for_readers(3);
    open.send(()).unwrap();
    let (bob, eve) = (bob.answer(false), eve.answer(false));
    assert_eq!((bob.status, bob.text()), (200, "blob"));
    assert_eq!((eve.status, eve.text()), (404, "none"));
    assert_eq!(ann.answer(false).text(), "blob");
    let mut methods = methods(&origin);
    methods.sort();
    assert_eq!(methods, ["GET", "GET", "HEAD", "HEAD"], "one is eve's own");
}

#[test]
fn conditions_and_ranges_are_the_callers_own_and_no_part_of_the_permission() {
    let who = callers(&["ann"]);
    let (origin, rig) = (registry(&who), rig());
    get(&rig, &origin, "ann");
    let fields = ["Authorization: ann", "Range: bytes=1-2"];
    let part = rig.ask(&origin, "GET", "/blobs/1", &fields);
    assert_eq!((part.status, part.text()), (206, "lo"));
    let fields = ["Authorization: ann", "If-None-Match: \"1\""];
    assert_eq!(rig.ask(&origin, "GET", "/blobs/1", &fields).status, 304);
    for asked in origin.asked() {
        assert!(asked.field("range").is_none() && asked.field("if-none-match").is_none());
    }
    let fields = ["Authorization: eve", "If-None-Match: \"1\""];
    assert_eq!(rig.ask(&origin, "GET", "/blobs/1", &fields).status, 403);
}

#[test]
fn where_the_origin_cannot_say_nobody_has_it() {
    let answered = Mutex::new(0);
    let origin = Origin::new(move |_, _, stream| {
        let mut answered = answered.lock().unwrap();
        *answered += 1;
        *answered == 1 && stream.write_all(&whole(HEAD, b"blob")).is_ok()
    });
    let rig = rig();
    assert_eq!(get(&rig, &origin, "ann").text(), "blob");
    assert_eq!(get(&rig, &origin, "ann").status, 502);
    let cached = ["Authorization: ann", "Cache-Control: only-if-cached"];
    assert_eq!(rig.ask(&origin, "GET", "/blobs/1", &cached).status, 504);
    let offline = Setup {
        rules: RULES.to_owned(),
        dir: Some(rig.dir.clone()),
        offline: true,
        ..Setup::default()
    };
    assert_eq!(get(&offline.start(), &origin, "ann").status, 504);
}

#[test]
fn it_is_no_plain_resource_when_the_rule_has_gone() {
    let who = callers(&["ann"]);
    let (origin, rig) = (registry(&who), rig());
    assert_eq!(get(&rig, &origin, "ann").text(), "blob");
    let plain = Setup {
        rules: RULES.replace("restricted", "artifact"),
        dir: Some(rig.dir.clone()),
        share_authorized: true,
        ..Setup::default()
    };
    let plain = plain.start();
    assert_eq!(plain.get(&origin, "/blobs/1").status, 403);
    assert_eq!(get(&plain, &origin, "eve").status, 403);
}

#[test]
fn a_head_is_the_origins_to_answer() {
    let who = callers(&["ann"]);
    let (origin, rig) = (registry(&who), rig());
    get(&rig, &origin, "ann");
    for (name, status) in [("ann", 200), ("eve", 403)] {
        let field = format!("Authorization: {name}");
        assert_eq!(rig.ask(&origin, "HEAD", "/blobs/1", &[&field]).status, status);
    }
    assert_eq!(methods(&origin), ["GET", "HEAD", "HEAD"]);
}
