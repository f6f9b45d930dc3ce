//! What must hold for any bytes: the properties that the fuzz targets hunt for exceptions to, and that
//! `tests/it/fuzz_corpus.rs` checks on stable with every file of `fuzz/corpus`.
//!
//! Each takes arbitrary bytes and panics when a property is broken. Where a parser has a renderer, the
//! property is that both agree: what was rendered parses to the same again.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::LazyLock;
use std::time::Duration;

use dockgate::api::buildkit::SOLVE;
use dockgate::api::call::Wanted;
use dockgate::api::doc::proto;
use dockgate::api::doc::{MOST_VALUES, Value};
use dockgate::api::dockerfile::{self, BuildSettings, Builder};
use dockgate::api::query::Query;
use dockgate::api::shape::Kind;
use dockgate::api::{Call, Draft, container, doc as json, path};
use dockgate::auth::{Authorization, Token};
use dockgate::buildkit::messages::Messages;
use dockgate::cache::fresh::{self, FreshnessRules, Reuse};
use dockgate::cache::key::{Key, Partition, Scheme};
use dockgate::cache::meta::{Meta, Stored};
use dockgate::cache::range::{self, RangePart};
use dockgate::cache::store::head as stored;
use dockgate::cache::target::{self, Arrival, Named, RawRequest};
use dockgate::config::{ClientAuth, File, Place, Tls};
use dockgate::listener::tls::Server;
use dockgate::wire::chunked::{Chunked, Dialect};
use dockgate::wire::frames::Frames;
use dockgate::wire::framing::Framing;
use dockgate::wire::head::{RequestHead, ResponseHead, find_end};
use dockgate::wire::io::Stream;

/// A body of create: what is rendered is read as the same, and has nothing that was not known.
pub fn doc(data: &[u8]) {
    let kind = Kind::Object(container::CREATE);
    let Ok(parsed) = json::parse(data, &kind) else { return };
    let rendered = parsed.render();
    let again = json::parse(&rendered, &kind).expect("what was rendered parses");
    assert_eq!(again.root, parsed.root, "and means the same");
    assert!(again.unknown.is_empty(), "{:?} was unknown and left", again.unknown);
    assert_eq!(again.render(), rendered);
    assert!(has_no_key_twice(&parsed.root));
    let _ = parsed.root.is_zero();
}

/// Go takes the last of two: there must not be two.
fn has_no_key_twice(value: &Value) -> bool {
    match value {
        Value::Object(entries) => {
            let mut keys: Vec<_> = entries.iter().map(|(key, _)| key.as_ref()).collect();
            keys.sort_unstable();
            let count = keys.len();
            keys.dedup();
            count == keys.len() && entries.iter().all(|(_, value)| has_no_key_twice(value))
        }
        Value::List(items) => items.iter().all(has_no_key_twice),
        _ => true,
    }
}

/// A request target: decoded once, encoded again, decoded to the same.
pub fn target_path(data: &[u8]) {
    let _ = path::recognise(data);
    let Ok(target) = path::parse(data) else { return };
    assert!(target.path.starts_with('/'), "{:?}", target.path);
    assert!(!target.path.contains("//") && !target.path.chars().any(char::is_control));
    assert!(!target.path.split('/').any(|segment| matches!(segment, "." | "..")));
    let mut rendered = String::new();
    if let Some(minor) = target.version {
        rendered.push_str(&format!("/v1.{minor}"));
    }
    path::encode(&target.path, &mut rendered);
    let again = path::parse(rendered.as_bytes()).expect("what was encoded parses");
    assert_eq!((again.version, &again.path), (target.version, &target.path), "{rendered}");
    assert_eq!(again.query, "", "no path makes a query");
}

/// A Dockerfile: never a panic; and an address that all can see is found, or nothing is said at all.
pub fn dockerfile(data: &[u8]) {
    let args = BTreeMap::from([("A".to_owned(), "b".to_owned())]);
    for builder in [Builder::Classic, Builder::BuildKit] {
        let with = BuildSettings { builder, args: &args, target: "" };
        let _ = dockerfile::fetches(data, &with);
        let plain = [b"FROM scratch\nADD http://10.0.0.1/ /x\n", data].concat();
        if let Ok(found) = dockerfile::fetches(&plain, &with)
            && !found.is_empty()
        {
            assert!(found.iter().any(|one| one.name.known == "http://10.0.0.1/"), "{found:?}");
        }
    }
}

/// A protobuf message: never a panic, and what is read leaves as something that is read the same.
pub fn protobuf(data: &[u8]) {
    let Ok(doc) = proto::parse(4096, data, SOLVE) else { return };
    let rendered = proto::render(&doc.root, SOLVE);
    let again = proto::parse(4096, &rendered, SOLVE).expect("what was written is read");
    assert_eq!(again.root, doc.root);
    assert_eq!(again.unknown, [], "what is unknown does not leave");
}

/// An operation of LLB: what is taken of it leaves exactly as it came, because its digest is its name.
pub fn llb(data: &[u8]) {
    let length = |bytes: &[u8]| {
        let mut out = Vec::new();
        let mut left = bytes.len();
        while left >= 0x80 {
            out.push((left & 0x7f) as u8 | 0x80);
            left >>= 7;
        }
        out.push(left as u8);
        out
    };
    // SolveRequest.Definition (2), Definition.def (1)
    let definition = [&[0x0a][..], &length(data), data].concat();
    let request = [&[0x12][..], &length(&definition), &definition].concat();
    let Ok(doc) = proto::parse(4096, &request, SOLVE) else { return };
    if doc.unknown.is_empty() {
        assert_eq!(proto::render(&doc.root, SOLVE), request);
    }
}

/// gRPC's framing: the messages are the same however they are cut, and none is longer than allowed.
pub fn grpc_framing(data: &[u8]) {
    let read = |cut: usize| {
        let (mut messages, mut seen) = (Messages::new(64), Vec::new());
        for piece in data.chunks(cut) {
            messages.push(piece);
            loop {
                match messages.next() {
                    Ok(Some(message)) => seen.push(message),
                    Ok(None) => break,
                    Err(reply) => return (seen, Some(reply)),
                }
            }
        }
        (seen, None)
    };
    let whole = read(data.len().max(1));
    assert!(whole.0.iter().all(|message| message.len() <= 64));
    for cut in [1, 3, 7] {
        assert_eq!(read(cut), whole, "{cut}");
    }
}

/// A query: parsed, rendered, parsed to the same.
pub fn query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(parsed) = Query::parse(text) else { return };
    let mut rendered = String::new();
    parsed.render(&mut rendered);
    assert!(rendered.bytes().all(|byte| byte.is_ascii_graphic()), "{rendered}");
    let again = Query::parse(rendered.strip_prefix('?').unwrap_or("")).expect("it parses");
    assert_eq!(again, parsed);
}

/// A whole request: what a typed call renders is a request that means the same, and hides none.
pub fn call(data: &[u8]) {
    let Some((head, body)) = cut(data) else { return };
    let Some(rendered) = typed(&head, body) else { return };
    let (head, body) = cut(&rendered).expect("what was rendered has a whole head");
    let framing = Framing::of_request(&head, Dialect::Strict).expect("and one length");
    match framing {
        Framing::None => assert!(body.is_empty(), "a second request is hidden in the first"),
        Framing::Length { left } if !body.is_empty() => assert_eq!(left, body.len() as u64),
        Framing::Length { .. } | Framing::Chunked(_) | Framing::UntilClose { .. } => {}
    }
    let again = typed(&head, body).expect("what was rendered parses");
    assert_eq!(String::from_utf8_lossy(&again), String::from_utf8_lossy(&rendered));
}

/// The bytes that the engine would get; `None` for what is refused.
fn typed(head: &RequestHead, body: &[u8]) -> Option<Vec<u8>> {
    let framing = Framing::of_request(head, Dialect::Strict).ok()?;
    let draft = Draft::parse(head).ok()?;
    let call = match draft.wanted() {
        Wanted::Stream => draft.with_stream(framing),
        Wanted::Json => draft.with_json(head, body, MOST_VALUES).ok()?,
        Wanted::Nothing => draft.with_json(head, &[], MOST_VALUES).ok()?,
    };
    Some(call.render())
}

fn cut(data: &[u8]) -> Option<(RequestHead, &[u8])> {
    let end = find_end(data, 0)?;
    let (head, body) = data.split_at(end);
    Some((RequestHead::parse(head).ok()?, body))
}

/// A chunked body: cut anywhere, it has the same payload and ends at the same byte; what the strict
/// dialect takes, the other takes for the same.
pub fn chunked(data: &[u8]) {
    let strict = follow(Dialect::Strict, data, data.len());
    let as_go = follow(Dialect::AsGo, data, data.len());
    for (dialect, whole) in [(Dialect::Strict, &strict), (Dialect::AsGo, &as_go)] {
        for step in [1, 2, 7] {
            assert_eq!(&follow(dialect, data, step), whole, "{dialect:?} by {step}");
        }
        if let Some((payload, used, _)) = whole {
            assert!(payload.len() <= *used && *used <= data.len());
        }
    }
    if strict.as_ref().is_some_and(|(_, _, is_done)| *is_done) {
        assert_eq!(strict, as_go);
    }
}

/// Payload, bytes used and whether it ended; `None` for what is malformed.
fn follow(dialect: Dialect, data: &[u8], step: usize) -> Option<(Vec<u8>, usize, bool)> {
    let mut chunked = Chunked::new(dialect);
    let (mut payload, mut used) = (Vec::new(), 0);
    for part in data.chunks(step.max(1)) {
        let taken = chunked.advance(part, |piece| payload.extend_from_slice(piece)).ok()?;
        used += taken;
        if taken < part.len() {
            assert!(chunked.is_done(), "bytes were left over inside a body");
            break;
        }
    }
    Some((payload, used, chunked.is_done()))
}

/// A multiplexed stream: cut anywhere and held back at each cut, it is followed to the same place.
pub fn frames(data: &[u8]) {
    let mut whole = Frames::unknown();
    let tail = whole.advance(data);
    assert!(tail <= data.len() && tail < 8);
    for step in [1, 3, 8, 64] {
        let mut cut = Frames::unknown();
        let mut last = 0;
        for part in data.chunks(step) {
            last = cut.advance(part);
            assert!(last <= part.len());
        }
        assert_eq!(whole.is_raw(), cut.is_raw());
        assert!(last <= tail, "a cut stream knows of no longer beginning of a header");
        // As the relay does it: what is held back comes again at the front of the next block.
        let (mut held, mut start, mut end) = (Frames::unknown(), 0, 0);
        while end < data.len() {
            end = data.len().min(end + step.max(8));
            let tail = held.advance(&data[start..end]);
            start = end - held.take_back(tail);
        }
        held.advance(&data[start..]);
        assert_eq!(held.is_raw(), whole.is_raw());
        assert_eq!(held.advance(&[]), 0);
    }
}

/// A head: its end is found in pieces as in one, what was parsed can be written and parsed again, and
/// a pass-through of a pass-through changes nothing more.
pub fn head(data: &[u8]) {
    let end = find_end(data, 0);
    let mut found = None;
    for length in 0..=data.len().min(2048) {
        found = find_end(&data[..length], length.saturating_sub(1));
        if found.is_some() {
            break;
        }
    }
    let Some(end) = end else { return };
    if end <= 2048 {
        assert_eq!(found, Some(end), "looked for a byte at a time");
    }
    if let Ok(head) = ResponseHead::parse(&data[..end]) {
        let mut written = head.status_line().to_vec();
        written.extend_from_slice(b"\r\n");
        rewritten(head.headers.iter(), &mut written);
        let again = ResponseHead::parse(&written).expect("what was written parses");
        assert_eq!((again.status, again.version), (head.status, head.version));
        assert_eq!(again.status_line(), head.status_line());
        assert!(again.headers.iter().eq(head.headers.iter()));
    }
    let Ok(head) = RequestHead::parse(&data[..end]) else { return };
    let once = Call::verbatim(head).render();
    assert_eq!(find_end(&once, 0), Some(once.len()), "one head, and nothing behind it");
    let head = RequestHead::parse(&once).expect("what was written parses");
    let twice = Call::verbatim(head).render();
    assert_eq!(String::from_utf8_lossy(&twice), String::from_utf8_lossy(&once));
}

fn rewritten<'a, N: AsRef<[u8]>>(lines: impl Iterator<Item = (N, &'a [u8])>, out: &mut Vec<u8>) {
    for (name, value) in lines {
        let name = name.as_ref();
        for part in [name, b": ", value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// The value of an `Authorization` header, as far as a stranger's bytes get before a signature is
/// verified: read as one thing, with nothing of it in what a log would show.
pub fn authorization(data: &[u8]) {
    let Ok(read) = Authorization::parse(data) else { return };
    let again = Authorization::parse(read.value().as_bytes()).expect("what was read can be read");
    assert!(again == read);
    let Some(text) = read.scheme("Bearer") else { return };
    assert_eq!(read.scheme("bEARER"), Some(text));
    assert_eq!(read.scheme("Basic"), None);
    let shown = format!("{read:?}");
    assert!(shown.len() < 32, "more than the scheme is shown");
    let Ok(token) = Token::parse(text) else { return };
    // Anything else would be a second text for the same token.
    let is_base64url = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    assert!(text.bytes().all(is_base64url) && text.matches('.').count() == 2);
    assert!(token.issuer().is_none_or(|issuer| issuer.len() < text.len()));
    let shown = format!("{token:?}");
    assert!(shown.len() < 32, "more than the algorithm is shown");
}

/// What a stranger sends to a port with TLS before anybody knows who it is: the handshake ends, with an
/// error, since no bytes from a file can answer the server's key.
pub fn client_hello(data: &[u8]) {
    static SERVER: LazyLock<Server> = LazyLock::new(tls_server);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
    // What does not fit is not sent: nobody reads before the handshake begins.
    theirs.set_nonblocking(true).expect("a socket");
    let _ = theirs.write_all(data);
    theirs.shutdown(std::net::Shutdown::Write).expect("a socket");
    ours.set_nonblocking(true).expect("a socket");
    runtime.expect("a runtime").block_on(async {
        let mut stream = Stream::new(ours.into()).expect("a stream");
        let shaken = tokio::time::timeout(Duration::from_secs(10), SERVER.accept(&mut stream));
        let why = shaken.await.expect("it ends").expect_err("a handshake with a recording");
        assert_ne!(why.kind(), "too_slow", "all has been sent");
        assert!(!why.to_string().is_empty());
    });
}

/// A request's and a response's head, one field a line and an empty line between them, as a cache judges
/// them: each judgement ends, and the quick one agrees with the thorough one. The first line is the
/// status and how many milliseconds have passed.
pub fn freshness(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let first = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let mut numbers = first.split(' ').map(|text| text.parse::<u64>().unwrap_or(200));
    let status = numbers.next().and_then(|it| u16::try_from(it).ok()).unwrap_or(200);
    let status = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::OK);
    let after = numbers.next().unwrap_or(0);
    let lines: Vec<&[u8]> = lines.collect();
    let mut heads = lines.split(|line| line.is_empty()).map(fields);
    let request = heads.next().unwrap_or_default();
    let mut response = heads.next().unwrap_or_default();
    let rules =
        FreshnessRules { heuristic: true, share_authorized: true, ..FreshnessRules::default() };

    let stored = fresh::may_store(&http::Method::GET, &request, status, &response, &rules);
    let _ = (fresh::shareable(&request, &response, &rules), fresh::only_if_cached(&request));
    fresh::strip_stored(&mut response);
    fresh::repair_date(&mut response, FETCHED);
    let key = Key {
        partition: Partition::Shared,
        scheme: Scheme::Https,
        host: "a.example".into(),
        path: "/x/y".into(),
        query: None,
    };
    for target in fresh::invalidated_targets(&key, &response) {
        assert!(target.starts_with("https://a.example/"), "{target} is not of its host");
    }
    let names = fresh::vary_names(&response);
    let vary = fresh::variant(&names, &request, &|_, _| None);
    assert_eq!(vary.len(), names.len());
    let meta = Meta {
        key,
        kind: Stored::Metadata,
        status,
        headers: response,
        request_time: FETCHED,
        response_time: FETCHED,
        vary,
        length: 0,
        sha256: [0; 32],
    };
    let now = FETCHED.saturating_add(after);
    let plain = fresh::reuse(&meta, &http::HeaderMap::new(), now, &rules);
    let until = fresh::fresh_until_ms(&meta, &rules);
    assert_eq!(matches!(plain, Reuse::Fresh { .. }), now < until, "the quick judgement");
    assert!(fresh::age(&meta, now) >= (now - FETCHED) / 1000);
    if stored == Err(fresh::NotStored::NoFreshness) {
        assert!(until <= FETCHED, "without freshness, and fresh");
    }
    let _ = fresh::reuse(&meta, &request, now, &rules);
    let _ = fresh::precondition(&http::Method::GET, &request, status, &meta.headers);
    let mut ours = request.clone();
    fresh::strip_forwarded(&mut ours);
    fresh::add_validators(&meta, &mut ours);
    assert!(!ours.contains_key("if-match") && !ours.contains_key("range"));
    let once = fresh::updated(&meta, &request, now, now);
    assert_eq!(fresh::updated(&once, &request, now, now), once, "an update again");
}

/// A target, a `Host` and a name asked for by TLS, one a line: what is let through is asked for by the URL
/// that it makes too, and climbs nowhere however it is decoded.
pub fn asked(data: &[u8]) {
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let line = |index: usize| lines.get(index).copied().unwrap_or_default();
    let sni = std::str::from_utf8(line(2)).ok().filter(|sni| !sni.is_empty());
    for (method, forward) in
        [(http::Method::GET, false), (http::Method::GET, true), (http::Method::CONNECT, true)]
    {
        let arrival = Arrival { scheme: Scheme::Https, sni, forward };
        let hosts = [line(1)];
        let said = RawRequest { method: &method, target: line(0), authority: None, hosts: &hosts };
        let Ok(named) = target::validate(&said, &arrival) else { continue };
        let Named::Resource(resource) = &named else { continue };
        let query = resource.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        let (scheme, host) = (resource.scheme.as_str(), resource.host.as_str());
        let url = format!("{scheme}://{host}{}{query}", resource.path);
        let said =
            RawRequest { method: &method, target: url.as_bytes(), authority: None, hosts: &[] };
        let forward = Arrival { forward: true, sni: None, ..arrival };
        if url.len() > 16 << 10 {
            continue;
        }
        assert_eq!(target::validate(&said, &forward), Ok(named.clone()), "{url}");
        let path = resource.path.to_ascii_lowercase();
        for path in [path.replace("%2e", "."), path.replace("%2e", ".").replace("%2f", "/")] {
            assert!(!path.split('/').any(|one| one == "." || one == ".."), "{url}");
        }
    }
}

/// Fields of a request, an empty line, and those of a 200, whose length the first byte gives: the parts
/// that are sent lie within the body, are together no longer, and are as long as is said.
pub fn ranges(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    let length = if *first == 255 { u64::MAX } else { u64::from(*first) };
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let mut parts = lines.split(|line| line.is_empty());
    let request = fields(parts.next().unwrap_or_default());
    let mut response = fields(parts.next().unwrap_or_default());
    let _ = range::content_range_of(&response);
    let wanted = range::wanted(&http::Method::GET, &request, &response, length);
    let layout = range::layout(&wanted, length, &mut response, "boundary");
    let (mut body, mut text) = (0, 0);
    for piece in &layout.pieces {
        match piece {
            RangePart::Text(piece) => text += piece.len() as u64,
            RangePart::Body(span) => {
                assert!(span.start < span.end && span.end <= length, "{span:?} of {length}");
                body += span.length();
            }
        }
    }
    assert!(body <= length, "{body} bytes of {length}");
    assert_eq!(layout.length, body.saturating_add(text), "the length");
    assert_eq!(layout.status == 200, wanted == range::Wanted::Whole, "the status");
}

/// Sun, 01 Jan 2034 00:00:00 GMT, in ms.
const FETCHED: u64 = 2_019_686_400_000;

fn fields(lines: &[&[u8]]) -> http::HeaderMap {
    let mut headers = http::HeaderMap::new();
    for line in lines {
        let Some(at) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = http::HeaderName::from_bytes(&line[..at]);
        let value = http::HeaderValue::from_bytes(line[at + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

fn tls_server() -> Server {
    let dir = std::env::temp_dir().join(format!("dockgate-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a folder");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let file = |name: &str, text: String| {
        let path = dir.join(name);
        std::fs::write(&path, text).expect("a file");
        File { path, place: Place::default() }
    };
    let cert = file("cert.pem", made.cert.pem());
    let tls = Tls {
        key: file("key.pem", made.signing_key.serialize_pem()),
        client: ClientAuth::Required { ca: cert.clone(), crl: None },
        cert,
        handshake_time: Duration::from_secs(5),
    };
    let server = Server::new(&tls, dockgate::gateway::TLS).expect("a server");
    let _ = std::fs::remove_dir_all(&dir);
    server
}

/// The head of a stored object, as a file or as the text in it: what is read of it can be written, and
/// is read as the same.
pub fn stored_head(data: &[u8]) {
    for file in [Some(data.to_vec()), sealed(data)].into_iter().flatten() {
        let Some(read) = stored::read(&file) else { continue };
        let text = stored::text(&read.meta).expect("what was read can be written");
        let again = sealed(&text).and_then(|file| stored::read(&file)).expect("and read");
        assert_eq!(again.meta, read.meta);
    }
}

/// A head with this text, as if it had been written.
fn sealed(text: &[u8]) -> Option<Vec<u8>> {
    let length = stored::length_for(text).ok()?;
    let mut file = stored::first(length, text).ok()?.expect("there is space for it");
    file.resize(length, 0);
    Some(file)
}
