//! Policies that real listeners cannot have yet, in front of an engine that does as the test says.

mod on_engine;
mod probes;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, mpsc};

use serde_json::{Value as Json, json};

use super::*;
use crate::api::Row;
use crate::api::endpoint::Resource;
use crate::config::RuntimeListener;
use crate::engine::Address;
use crate::policy::facts::Secret;
use crate::policy::namespace::image::{ImageNames, ImageReference};
use crate::policy::{
    Answer, Context, Deed, Edit, Fact, Item, JobDeed, Link, Policy, Question, Reason, Reply,
    Verdict as Says, WantedGrant,
};
use crate::telemetry::access::Format;
use crate::telemetry::metrics::Metrics;
use crate::wire::tar::TarEntry;

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

/// Of no rule that users can meet.
const RULE: &str = "test.entry";

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

    fn reads_entries(&self, _: &Typed, _: &Context<'_>) -> bool {
        true
    }

    fn entry(&self, _: &Typed, entry: &TarEntry, _: &Context<'_>) -> Result<(), Vec<Reason>> {
        match &*entry.path {
            b"secret" => Err(vec![Reason::new(RULE, "secret", "no secrets", "")]),
            _ => Ok(()),
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
    client_with(engine, Arc::default(), request, item)
}

/// The same of a gateway that knows this.
fn client_with<R, I>(engine: &TestEngine, memory: Arc<Memory>, request: R, item: I) -> UnixStream
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
            let state = ListenerState { memory, ..state };
            let tasks = state.tasks.clone();
            let handle = Arc::new(ListenerHandle::new(state));
            let caller = Caller::new(crate::auth::Peer::Unknown, Vec::new());
            connection(handle, Stream::new(theirs.into()).unwrap(), caller, 0, ()).await;
            // A worker lives on.
            tasks.close();
            tasks.wait().await;
        });
    });
    ours
}

/// Opens what is named `a`, and nothing else.
#[derive(Debug)]
struct Opened;

impl Control for Opened {
    fn open(&self, listener: RuntimeListener) -> Told<'_> {
        Box::pin(async move {
            match listener.name.as_str() {
                "a" => Ok(()),
                name => Err(format!("no place for {name}")),
            }
        })
    }

    fn job(&self, _: JobDeed) -> Told<'_, String> {
        Box::pin(std::future::ready(Err("there are no jobs".to_owned())))
    }

    fn opened(&self, _: &str) {}
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
        control: Arc::new(Opened),
        witness: None,
        drain: CancellationToken::new(),
        stopping: CancellationToken::new(),
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
fn a_token_is_good_while_the_call_runs_and_the_policy_has_its_header() {
    let (end, ends) = mpsc::channel::<()>();
    let ends = Mutex::new(ends);
    let engine = TestEngine::start(move |_, conn| {
        conn.write_all(STREAM).unwrap();
        conn.write_all(&chunk("{}\n")).unwrap();
        ends.lock().unwrap().recv().unwrap();
        conn.write_all(b"0\r\n\r\n").unwrap();
    });
    let pulls = |_: &Typed, cx: &Context<'_>| {
        let names = ImageNames::new("127.0.0.1:5454", "dgabcdefghij");
        let wanted = WantedGrant {
            registry: "main".to_owned(),
            address: "127.0.0.1:5454".to_owned(),
            repository: names.repository(&ImageReference::parse("x").unwrap()),
            pull: true,
            push: false,
            header: None,
            logins: None,
        };
        match cx.once(Deed::Grant(wanted.clone())) {
            Says::Pass(_) => match cx.facts.get(&Question::Granted(Box::new(wanted))) {
                Some(Fact::Header(Secret(text))) => Says::Pass(vec![Edit::Header(
                    "x-registry-auth",
                    Some(text.as_bytes().to_vec()),
                )]),
                other => panic!("{other:?}"),
            },
            first => first,
        }
    };
    let memory = Arc::new(Memory::default());
    let mut client = client_with(&engine, Arc::clone(&memory), pulls, keep);
    assert_eq!(memory.grants.running(), 0);
    ask(&mut client, "POST /v1.43/images/create?fromImage=x&tag=1");
    until(&mut client, "{}\n");
    assert_eq!(memory.grants.running(), 1);
    end.send(()).unwrap();
    until(&mut client, "0\r\n\r\n");
    let began = Instant::now();
    while memory.grants.running() > 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "the call has ended");
        std::thread::yield_now();
    }
    assert!(memory.grants.has_any("main"), "for a minute more");
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
    let put = "PUT /v1.43/containers/new/archive?path=%2Fetc%2Fx%20y&noOverwriteDirNonDir=1";
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
fn a_policy_has_a_listener_opened_before_the_call_goes_on() {
    let engine = TestEngine::start(|_, conn| conn.write_all(&whole(200, "")).unwrap());
    let wants = |call: &Typed, cx: &Context<'_>| {
        let url = "unix:///run/a.sock";
        let listener = RuntimeListener::new(&call.names()[0], "l", url, None).unwrap();
        let deed = Deed::OpenListener(listener);
        if cx.facts.outcome(&deed) == Some(&Ok(())) { Says::pass() } else { cx.once(deed) }
    };
    let mut client = client(&engine, wants, keep);
    ask(&mut client, "POST /v1.43/containers/a/start");
    until(&mut client, "\r\n\r\n");
    assert_eq!(engine.lines(), ["POST /v1.43/containers/a/start"]);
    ask(&mut client, "POST /v1.43/containers/b/start");
    let refused = until(&mut client, "}\n");
    assert!(refused.starts_with("HTTP/1.1 502 "), "{refused}");
    let why = "opening listener `b` on `unix:///run/a.sock` could not be done: no place for b";
    assert!(refused.contains(why), "{refused}");
    assert!(engine.lines().is_empty(), "and no call");
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

/// An entry of a tar archive with as many bytes as this.
fn entry(path: &str, size: usize) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..path.len()].copy_from_slice(path.as_bytes());
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[148..156].fill(b' ');
    block[156] = b'0';
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block.resize(512 + size.next_multiple_of(512), b'x');
    block
}

/// An engine that tells how much of a body it has, whenever more of it comes, and answers at its end; None where the
/// connection ends first.
fn eating_engine() -> (TestEngine, mpsc::Receiver<Option<usize>>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("engine.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let ((_, asked), (tell, eaten)) = (mpsc::channel(), mpsc::channel());
    std::thread::spawn(move || {
        for mut conn in listener.incoming().map_while(Result::ok) {
            let tell = tell.clone();
            std::thread::spawn(move || {
                let (mut all, mut piece) = (Vec::new(), vec![0; 1 << 16]);
                while let Ok(n @ 1..) = conn.read(&mut piece) {
                    all.extend_from_slice(&piece[..n]);
                    if all.starts_with(b"GET /version") {
                        all.clear();
                        conn.write_all(&whole(200, VERSION)).unwrap();
                        continue;
                    }
                    let head = all.windows(4).position(|end| end == b"\r\n\r\n");
                    if let Some(end) = head {
                        let _ = tell.send(Some(all.len() - end - 4));
                    }
                    if all.ends_with(b"\r\n0\r\n\r\n") {
                        conn.write_all(&whole(200, "{}")).unwrap();
                    }
                }
                if all.starts_with(b"PUT ") {
                    let _ = tell.send(None);
                }
            });
        }
    });
    (TestEngine { path, asked, _dir: dir }, eaten)
}

const PUT: &[u8] = b"PUT /v1.43/containers/x/archive?path=/ HTTP/1.1\r\nHost: d\r\n\
    Content-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n";

fn send(client: &mut UnixStream, bytes: &[u8]) {
    client.write_all(format!("{:x}\r\n", bytes.len()).as_bytes()).unwrap();
    client.write_all(bytes).unwrap();
    client.write_all(b"\r\n").unwrap();
}

#[test]
fn an_archive_goes_on_while_it_comes_and_each_entry_is_shown() {
    let (engine, eaten) = eating_engine();
    let mut client = client(&engine, |_, _| Says::pass(), keep);
    client.write_all(PUT).unwrap();
    let mut sent = 0;
    for size in [0, 700, 100_000] {
        let part = entry("file", size);
        sent += part.len();
        send(&mut client, &part);
        // all that was sent is with the engine before the next is
        while eaten.recv_timeout(Duration::from_secs(5)).unwrap().unwrap() < sent {}
    }
    send(&mut client, &[0; 1024]);
    client.write_all(b"0\r\n\r\n").unwrap();
    let head = until(&mut client, "\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
}

#[test]
fn an_entry_that_is_refused_never_comes_to_the_engine_and_ends_the_call() {
    let compressed = b"\x1f\x8b\x08\x00".to_vec();
    for (bad, says) in [(entry("secret", 0), "no secrets"), (compressed, "compressed")] {
        let (engine, eaten) = eating_engine();
        let mut client = client(&engine, |_, _| Says::pass(), keep);
        client.write_all(PUT).unwrap();
        let is_first = bad.len() < 512;
        if !is_first {
            send(&mut client, &entry("file", 10));
            while eaten.recv_timeout(Duration::from_secs(5)).unwrap().unwrap() < 1024 {}
        }
        send(&mut client, &bad);
        let head = until(&mut client, "\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
        until(&mut client, says);
        let left: Vec<_> = eaten.iter().take_while(Option::is_some).flatten().collect();
        assert!(left.iter().all(|had| *had < 1024 + 512), "the engine has more: {left:?}");
    }
}

#[test]
fn the_last_bytes_of_a_body_of_known_length_are_looked_at_too() {
    let engine = TestEngine::start(|_, conn| conn.write_all(&whole(200, "{}")).unwrap());
    for (body, status) in
        [(entry("file", 0), "200"), (entry("secret", 0), "403"), (vec![b'x'; 9], "403")]
    {
        let mut client = client(&engine, |_, _| Says::pass(), keep);
        let length = body.len();
        let head = format!(
            "POST /v1.43/images/load HTTP/1.1\r\nHost: d\r\nContent-Type: application/x-tar\r\nContent-Length: {length}\r\n\r\n"
        );
        client.write_all(&[head.as_bytes(), &body].concat()).unwrap();
        let head = until(&mut client, "\r\n\r\n");
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    }
}
