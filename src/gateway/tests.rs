//! Policies that real listeners cannot have yet, in front of an engine that does as the test says.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, mpsc};

use serde_json::{Value as Json, json};

use super::*;
use crate::api::Row;
use crate::api::endpoint::Resource;
use crate::engine::Address;
use crate::policy::{
    Answer, Context, Deed, Fact, Item, Link, Policy, Question, Reply, Verdict as Says,
};
use crate::telemetry::access::Format;
use crate::telemetry::metrics::Metrics;

const VERSION: &str = r#"{"ApiVersion":"1.43","MinAPIVersion":"1.24"}"#;

/// One request as the engine reads it: its line, and its body.
type Asked = (String, String);

/// An engine that says its version and leaves all else to the test.
struct TestEngine {
    path: PathBuf,
    asked: mpsc::Receiver<Asked>,
    _dir: tempfile::TempDir,
}

impl TestEngine {
    fn start(answer: impl Fn(&Asked, &mut UnixStream) + Send + Sync + 'static) -> TestEngine {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("engine.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let (tell, asked) = mpsc::channel();
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for conn in listener.incoming().map_while(Result::ok) {
                let (tell, answer) = (tell.clone(), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let (mut reader, mut conn) = (BufReader::new(conn.try_clone().unwrap()), conn);
                    while let Some(asked) = read(&mut reader) {
                        if asked.0 == "GET /version" {
                            conn.write_all(&whole(200, VERSION)).unwrap();
                            continue;
                        }
                        let _ = tell.send(asked.clone());
                        answer(&asked, &mut conn);
                    }
                });
            }
        });
        TestEngine { path, asked, _dir: dir }
    }

    fn lines(&self) -> Vec<String> {
        self.asked.try_iter().map(|(line, _)| line).collect()
    }
}

fn read(reader: &mut BufReader<UnixStream>) -> Option<Asked> {
    let (mut first, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.parse().unwrap();
        }
        if first.is_empty() {
            first = line.trim_end_matches(" HTTP/1.1").to_owned();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((first, String::from_utf8_lossy(&body).into_owned()))
}

fn whole(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

const STREAM: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";

fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

/// A policy of two functions.
struct Test<R, I> {
    request: R,
    item: I,
}

impl<R, I> std::fmt::Debug for Test<R, I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Test")
    }
}

impl<R, I> Policy for Test<R, I>
where
    R: Fn(&Typed, &Context<'_>) -> Says + Send + Sync,
    I: Fn(&mut Json) -> Item + Send + Sync,
{
    fn name(&self) -> &'static str {
        "test"
    }

    fn request(&self, call: &Typed, cx: &Context<'_>) -> Says {
        (self.request)(call, cx)
    }

    fn reads_answer(&self, row: &Row, _: &Context<'_>) -> Reads {
        match row.answer {
            crate::api::endpoint::AnswerKind::JsonStream => Reads::Items,
            _ => Reads::Errors,
        }
    }

    fn item(&self, _: &Typed, item: &mut Json, _: &Context<'_>) -> Item {
        (self.item)(item)
    }

    fn answer(&self, answer: &mut Answer<'_>, _: &Context<'_>) -> Says {
        answer.json = Some(json!({ "message": format!("seen: {}", answer.json.take().unwrap()) }));
        Says::pass()
    }
}

fn keep(_: &mut Json) -> Item {
    Item::Keep
}

/// A client of a listener with this one policy; the gateway serves it on a thread of its own.
fn client<R, I>(engine: &TestEngine, request: R, item: I) -> UnixStream
where
    R: Fn(&Typed, &Context<'_>) -> Says + Send + Sync + 'static,
    I: Fn(&mut Json) -> Item + Send + Sync + 'static,
{
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let address = Address::Unix(engine.path.clone());
    std::thread::spawn(move || {
        let policy: Box<dyn Policy> = Box::new(Test { request, item });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let state = state(address, Chain::new(vec![Link::new(policy)]));
            let handle = Arc::new(ListenerHandle::new(state));
            let caller = Caller::new(Peer::Unknown, Vec::new());
            connection(handle, Stream::new(theirs.into()).unwrap(), caller, 0, ()).await;
        });
    });
    ours
}

fn state(address: Address, chain: Chain) -> ListenerState {
    let limits = Limits::default();
    let process = Budgets::of_process(&limits);
    ListenerState {
        listener: "l".into(),
        generation: 0,
        authentication: Arc::default(),
        trust: None,
        hosts: None,
        chain: Arc::new(chain),
        engine: crate::engine::Engine::new(address, Duration::from_secs(600)),
        limits,
        budgets: Arc::new(Budgets::within(&process, &limits)),
        revoke: Revoke::default(),
        replaced: CancellationToken::new(),
        log: Log::start(Format::Off).unwrap().0,
        tally: Metrics::new().tally(0, "l"),
        memory: Arc::default(),
        plugins: Arc::default(),
        drain: CancellationToken::new(),
        tasks: TaskTracker::new(),
    }
}

fn ask(client: &mut UnixStream, line: &str) {
    write!(client, "{line} HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n").unwrap();
}

/// Reads on until what has come ends so.
fn until(client: &mut UnixStream, end: &str) -> String {
    let (mut all, mut byte) = (Vec::new(), [0]);
    while !all.ends_with(end.as_bytes()) {
        let read = client.read(&mut byte).unwrap();
        assert_eq!(read, 1, "ended with {:?}", String::from_utf8_lossy(&all));
        all.push(byte[0]);
    }
    String::from_utf8(all).unwrap()
}

#[test]
fn a_policy_answers_in_the_engines_place_and_the_connection_goes_on() {
    let engine = TestEngine::start(|_, conn| conn.write_all(&whole(200, "[]")).unwrap());
    let answers = |call: &Typed, _: &Context<'_>| match call.row().path {
        "/networks/prune" => {
            Says::Answer(Reply { status: 200, json: Some(json!({ "NetworksDeleted": ["a"] })) })
        }
        _ => Says::pass(),
    };
    let mut client = client(&engine, answers, keep);
    ask(&mut client, "POST /v1.43/networks/prune");
    let head = until(&mut client, "\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    until(&mut client, "{\"NetworksDeleted\":[\"a\"]}\n");
    ask(&mut client, "GET /v1.43/networks");
    until(&mut client, "[]");
    assert_eq!(engine.lines(), ["GET /v1.43/networks"]);
}

#[test]
fn what_a_policy_wants_done_is_done_before_the_call_and_what_fails_is_its_refusal() {
    let engine = TestEngine::start(|(line, _), conn| {
        let answer = match line.as_str() {
            "DELETE /v1.43/containers/old?force=1&v=1" => whole(404, r#"{"message":"no such"}"#),
            "DELETE /v1.43/networks/busy" => whole(403, r#"{"message":"has endpoints"}"#),
            _ => whole(200, ""),
        };
        conn.write_all(&answer).unwrap();
    });
    let wants = |call: &Typed, cx: &Context<'_>| {
        let name = call.names()[0].clone();
        let deeds = match name.as_str() {
            "busy" => vec![Deed::Remove(Resource::Network, name)],
            _ => vec![
                Deed::Remove(Resource::Container, "old".to_owned()),
                Deed::PutArchive {
                    container: name,
                    path: "/etc/x y".to_owned(),
                    tar: Arc::from(&b"tar"[..]),
                },
            ],
        };
        let open = deeds.into_iter().find(|deed| cx.facts.outcome(deed) != Some(&Ok(())));
        open.map_or_else(Says::pass, |deed| cx.once(deed))
    };
    let mut client = client(&engine, wants, keep);
    ask(&mut client, "POST /v1.43/containers/new/start");
    until(&mut client, "\r\n\r\n");
    let asked: Vec<Asked> = engine.asked.try_iter().collect();
    let put = "PUT /v1.43/containers/new/archive?path=%2Fetc%2Fx%20y";
    let lines: Vec<&str> = asked.iter().map(|(line, _)| line.as_str()).collect();
    let remove = "DELETE /v1.43/containers/old?force=1&v=1";
    assert_eq!(lines, [remove, put, "POST /v1.43/containers/new/start"]);
    assert_eq!(asked[1].1, "tar");
    ask(&mut client, "POST /v1.43/containers/busy/start");
    let refused = until(&mut client, "}\n");
    assert!(refused.starts_with("HTTP/1.1 502 "), "{refused}");
    assert!(refused.contains("removing network `busy` could not be done: has endpoints"));
    assert_eq!(engine.lines(), ["DELETE /v1.43/networks/busy"], "and no call");
}

#[test]
fn the_values_of_a_stream_are_shown_kept_changed_or_dropped_while_they_come() {
    let (go, goes) = mpsc::channel::<()>();
    let goes = Mutex::new(goes);
    let engine = TestEngine::start(move |_, conn| {
        let wait = || goes.lock().unwrap().recv().unwrap();
        conn.write_all(STREAM).unwrap();
        wait();
        conn.write_all(&chunk("{\"id\": \"a\"}\r\n")).unwrap();
        wait();
        // One value in two chunks, and two in one.
        conn.write_all(&chunk("{\"id\":\"mine")).unwrap();
        conn.write_all(&chunk("\"}\n{\"id\":\"other\"}\n{\"id\": 1}\n")).unwrap();
        wait();
        conn.write_all(b"0\r\n\r\n").unwrap();
    });
    let item = |item: &mut Json| match item["id"].as_str() {
        Some("other") => Item::Drop,
        Some("mine") => {
            item["id"] = json!("yours");
            Item::Keep
        }
        _ => Item::Keep,
    };
    let mut client = client(&engine, |_, _| Says::pass(), item);
    ask(&mut client, "GET /v1.43/events");
    let head = until(&mut client, "\r\n\r\n");
    assert!(
        head.contains("Transfer-Encoding: chunked\r\n"),
        "before anything has happened: {head}"
    );
    go.send(()).unwrap();
    until(&mut client, "d\r\n{\"id\": \"a\"}\r\n\r\n");
    go.send(()).unwrap();
    let two = until(&mut client, "{\"id\": 1}\n\r\n");
    assert_eq!(two, "f\r\n{\"id\":\"yours\"}\n\r\na\r\n{\"id\": 1}\n\r\n");
    go.send(()).unwrap();
    until(&mut client, "0\r\n\r\n");
    ask(&mut client, "GET /v1.43/events");
    until(&mut client, "\r\n\r\n");
}

#[test]
fn a_stream_that_cannot_be_shown_breaks_off_and_so_does_one_that_ends_within_a_value() {
    for bad in ["{\"id\":1}\nhello {", "{\"id\":1}\n{\"id\""] {
        let engine = TestEngine::start(move |_, conn| {
            conn.write_all(STREAM).unwrap();
            conn.write_all(&chunk(bad)).unwrap();
            conn.write_all(b"0\r\n\r\n").unwrap();
        });
        let mut client = client(&engine, |_, _| Says::pass(), keep);
        ask(&mut client, "GET /v1.43/events");
        until(&mut client, "\r\n\r\n");
        let mut rest = String::new();
        client.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "9\r\n{\"id\":1}\n\r\n", "{bad}: no end, and nothing of what is no value");
    }
}

#[test]
fn an_error_is_shown_whole_whatever_else_is_read_of_an_answer() {
    let engine =
        TestEngine::start(|_, conn| conn.write_all(&whole(404, r#"{"message":"no"}"#)).unwrap());
    for line in ["GET /v1.43/events", "GET /v1.43/containers/x/logs", "GET /v1.43/networks/x"] {
        let mut client = client(&engine, |_, _| Says::pass(), keep);
        ask(&mut client, line);
        let head = until(&mut client, "\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
        until(&mut client, r#"{"message":"seen: {\"message\":\"no\"}"}"#);
    }
}

#[test]
fn questions_are_asked_side_by_side_but_not_all_at_once() {
    #[derive(Default)]
    struct Count {
        now: usize,
        most: usize,
    }
    let count = Arc::new((Mutex::new(Count::default()), Condvar::new()));
    let shared = Arc::clone(&count);
    let engine = TestEngine::start(move |(line, _), conn| {
        if line.starts_with("GET /v1.43/networks/") {
            let (count, changed) = &*shared;
            let mut held = count.lock().unwrap();
            held.now += 1;
            held.most = held.most.max(held.now);
            changed.notify_all();
            // Nobody is answered before eight have asked.
            held = changed.wait_while(held, |count| count.most < 8).unwrap();
            held.now -= 1;
        }
        conn.write_all(&whole(200, "{}")).unwrap();
    });
    let networks: Vec<Question> = (0..20).map(|n| Question::Network(format!("n{n}"))).collect();
    let asks = move |_: &Typed, cx: &Context<'_>| match cx.facts.len() {
        0 => Says::Ask(networks.iter().chain(networks.first()).cloned().collect()),
        _ => {
            let is_known = |question| matches!(cx.facts.get(question), Some(Fact::Json(_)));
            assert!(cx.facts.len() == 20 && networks.iter().all(is_known));
            Says::pass()
        }
    };
    let mut client = client(&engine, asks, keep);
    ask(&mut client, "POST /v1.43/containers/x/start");
    until(&mut client, "{}");
    assert_eq!((engine.lines().len(), count.0.lock().unwrap().most), (21, 8));
}
