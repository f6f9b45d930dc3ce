//! Accept and parse: from a client's bytes to a `Call`.
//!
//! Called by `gateway::call`. What must stay true: every read is bounded in size and time, nothing
//! behind the request is lost, and a body that nobody wants never reaches the engine.

use std::io::ErrorKind;
use std::time::Duration;

use super::body::{BodyError, BodyQuota, Pace};
use super::budget::{FREE, Lease};
use super::refusal::Refusal;
use super::{ClientConnection, ListenerHandle, ListenerState};
use crate::api::call::Wanted;
use crate::api::{Call, Draft};
use crate::auth::Peer;
use crate::telemetry::access::Record;
use crate::wire::chunked::Dialect;
use crate::wire::framing::Framing;
use crate::wire::head::{Lines, RequestHead, find_end};
use crate::wire::pump::{Inbox, PumpError};
use crate::wire::trail::Trail;

/// How HTTP/2 with prior knowledge begins (RFC 9113 §3.4), up to where it looks like a whole head.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// A request's body as long as it has not been read.
#[derive(Debug)]
pub(super) struct Upload {
    pub framing: Framing,
    /// The client waits for `100 Continue` before it sends its body, and the engine does not know.
    pub waits: bool,
    /// The client asks to go on in HTTP/2.
    pub asks_h2c: bool,
    /// The client has begun in HTTP/2.
    pub is_http2: bool,
    /// What the client reads the answer as.
    pub wants: Wants,
}

impl Default for Upload {
    fn default() -> Upload {
        let (framing, wants) = (Framing::None, Wants::default());
        Upload { framing, waits: false, asks_h2c: false, is_http2: false, wants }
    }
}

/// What a client said of its connection (RFC 9112 §9.3).
#[derive(Clone, Copy, Debug)]
pub(super) struct Wants {
    /// The minor version that it speaks: 0 or 1.
    pub http: u8,
    /// It reads to the end of the connection.
    pub close: bool,
}

impl Default for Wants {
    /// Nobody knows where the next request of one begins that was not understood.
    fn default() -> Wants {
        Wants { http: 1, close: true }
    }
}

/// What a request holds of the listener's memory until it is sent on.
#[derive(Debug, Default)]
pub(super) struct Leases {
    pub head: Option<Lease>,
    pub body: Option<Lease>,
}

/// How long a client between two calls may take for the next one when the gateway is to stop: it
/// would be hit by the end of its connection in the middle of writing, and Go repeats no POST.
const LAST_CALL: Duration = Duration::from_secs(1);

/// Names of keys in one record: a client has a few, and a line of the log is no place for more.
const MOST_DROPPED: usize = 16;

/// Waits for the first byte of a request; false when the client left or the listener drains.
pub(super) async fn idle(handle: &ListenerHandle, client: &mut ClientConnection) -> bool {
    if !client.buffer.is_empty() {
        return !handle.drain.is_cancelled();
    }
    let (reader, _) = client.stream.split();
    tokio::select! {
        biased;
        ready = reader.readable() => return ready.is_ok(),
        () = handle.drain.cancelled() => {}
    }
    matches!(tokio::time::timeout(LAST_CALL, reader.readable()).await, Ok(Ok(())))
}

/// What a client has begun with.
#[derive(Debug)]
pub(super) enum Accepted {
    Head(RequestHead),
    /// The preface (RFC 9113 §3.4), still in the buffer. Nobody looks into what follows, so that there is no header that
    /// could say who asks.
    Http2(Lines),
}

impl Accepted {
    pub(super) fn headers(&self) -> &Lines {
        match self {
            Accepted::Head(head) => &head.headers,
            Accepted::Http2(none) => none,
        }
    }

    pub(super) fn headers_mut(&mut self) -> &mut Lines {
        match self {
            Accepted::Head(head) => &mut head.headers,
            Accepted::Http2(none) => none,
        }
    }

    /// Without the query, for the log.
    pub(super) fn path(&self) -> String {
        match self {
            Accepted::Head(head) => path_of(head.target(), false),
            Accepted::Http2(_) => "*".to_owned(),
        }
    }
}

/// Reads one request head, or the preface of a connection in HTTP/2.
pub(super) async fn accept(
    state: &ListenerState,
    client: &mut ClientConnection,
    leases: &mut Leases,
    upload: &mut Upload,
    record: &mut Record,
) -> Result<Accepted, Refusal> {
    let end = match read_head(state, client, &mut leases.head).await? {
        Some(end) => end,
        None => return Err(Refusal::Left),
    };
    record.started = std::time::Instant::now();
    let bytes = client.buffer.unread().get(..end).unwrap_or_default();
    if bytes == HTTP2_PREFACE {
        if !state.chain.passes_http2() {
            return Err(Refusal::Http2);
        }
        upload.is_http2 = true;
        (record.operation, record.method) = ("Http2", "PRI".to_owned());
        return Ok(Accepted::Http2(Lines::default()));
    }
    if end > FREE {
        let source = client.caller.peer.source();
        state.budgets.heads.cover(&mut leases.head, source, end)?;
    }
    let head = RequestHead::parse(bytes);
    client.buffer.consume(end);
    let head = head?;
    record.method = head.method().to_owned();
    if matches!(client.caller.peer, Peer::Tcp(_)) && is_browsers(state, &head.headers) {
        record.path = path_of(head.target(), false);
        return Err(Refusal::Browser);
    }
    upload.wants = Wants { http: head.version, close: head.closes() };
    Ok(Accepted::Head(head))
}

/// Through which gateways a call has come; none that has come through here.
pub(super) fn trail(accepted: &Accepted, record: &mut Record) -> Result<Trail, Refusal> {
    Trail::of(accepted.headers()).map_err(|bad| {
        record.path = accepted.path();
        bad.into()
    })
}

/// Whether a page in somebody's browser may have sent this. A page says where it is from (`Origin`, RFC 6454
/// §7), but not with a GET to its own name, and that may have been made to lead here (DNS rebinding). Whoever
/// needs no credential must call this listener by an address, by a name of this network, or by its own.
fn is_browsers(state: &ListenerState, headers: &Lines) -> bool {
    let is_foreign = |host: &[u8]| {
        let host = String::from_utf8_lossy(host).to_ascii_lowercase();
        let name = host.rsplit_once(':').map_or(&*host, |(name, _)| name);
        is_public(name) && !state.hosts.iter().any(|hosts| hosts.iter().any(|known| known == name))
    };
    headers.has("origin") || (state.hosts.is_some() && headers.get("host").is_some_and(is_foreign))
}

/// A name that anybody can have in the DNS: no address, no single label, none of RFC 6761's and RFC 6762's.
fn is_public(name: &str) -> bool {
    const LOCAL: &[&str] = &[".localhost", ".local", ".internal", ".lan", ".home.arpa", ".test"];
    name.contains('.')
        && name.parse::<std::net::Ipv4Addr>().is_err()
        && !name.starts_with('[')
        && !LOCAL.iter().any(|end| name.ends_with(end))
}

/// What a client may hold that takes its time with who it is, beside its head: what it sent behind it.
pub(super) fn hold(
    state: &ListenerState,
    client: &mut ClientConnection,
    leases: &mut Leases,
    head: usize,
) -> Result<(), Refusal> {
    client.buffer.tighten();
    let (held, source) = (client.buffer.held(0) + head, client.caller.peer.source());
    Ok(state.budgets.heads.cover(&mut leases.head, source, held)?)
}

async fn read_head(
    state: &ListenerState,
    client: &mut ClientConnection,
    lease: &mut Option<Lease>,
) -> Result<Option<usize>, Refusal> {
    let limits = &state.limits;
    let source = client.caller.peer.source();
    let (reader, _) = client.stream.split();
    let mut inbox = Inbox { reader, buffer: &mut client.buffer };
    // Nearly every head is there with its first bytes: no timer for those.
    if inbox.buffer.is_empty() && !matches!(inbox.more().await, Ok(true)) {
        return Ok(None);
    }
    if let Some(end) = find_end(inbox.buffer.unread(), 0) {
        return within(end, limits.header_bytes).map(Some);
    }
    let most = limits.header_bytes;
    // Whoever takes their time holds no more memory than they filled, and what they hold is counted.
    inbox.buffer.tighten();
    let cover = |held| state.budgets.heads.cover(lease, source, held).map_err(Refusal::from);
    match tokio::time::timeout(limits.header_time, rest_of_head(inbox, most, cover)).await {
        Ok(read) => read,
        Err(_) => Err(Refusal::HeadTooSlow),
    }
}

async fn rest_of_head(
    inbox: Inbox<'_>,
    most: usize,
    mut cover: impl FnMut(usize) -> Result<(), Refusal>,
) -> Result<Option<usize>, Refusal> {
    let Inbox { mut reader, buffer } = inbox;
    loop {
        let seen = within(buffer.len(), most)?;
        cover(buffer.held(most))?;
        match buffer.fill(&mut reader, most).await {
            Ok(1..) => {}
            Err(error) if error.kind() == ErrorKind::FileTooLarge => {
                return Err(Refusal::HeadTooLarge);
            }
            Ok(0) | Err(_) => return Ok(None),
        }
        if let Some(end) = find_end(buffer.unread(), seen) {
            return within(end, most).map(Some);
        }
    }
}

fn within(bytes: usize, most: usize) -> Result<usize, Refusal> {
    if bytes > most { Err(Refusal::HeadTooLarge) } else { Ok(bytes) }
}

/// Makes a call of a head, and of the body where dockgate must read that.
pub(super) async fn parse(
    state: &ListenerState,
    client: &mut ClientConnection,
    accepted: Accepted,
    upload: &mut Upload,
    lease: &mut Option<Lease>,
    record: &mut Record,
) -> Result<Call, Refusal> {
    let head = match accepted {
        Accepted::Head(head) => head,
        Accepted::Http2(_) => {
            record.path = accepted.path();
            return Ok(Call::Http2);
        }
    };
    if state.chain.is_empty() {
        upload.framing = Framing::of_request(&head, Dialect::AsGo)?;
        let call = Call::verbatim(head);
        note(record, &call);
        if call.drops_body() {
            upload.waits = call.expects_continue();
            read_body(state, client, upload, lease, record).await?;
        }
        return Ok(call);
    }
    record.path = path_of(head.target(), false);
    upload.framing = Framing::of_request(&head, Dialect::Strict)?;
    upload.waits = head.version == 1 && head.headers.lists("expect", "100-continue");
    upload.asks_h2c = head.version == 1 && head.headers.lists("upgrade", "h2c");
    let draft = Draft::parse(&head)?;
    record.operation = draft.row().endpoint.id();
    record.path = path_of(head.target(), draft.row().method.is_safe_to_log());
    if draft.wanted() == Wanted::Stream {
        return Ok(draft.with_stream(upload.framing.clone()));
    }
    let body = read_body(state, client, upload, lease, record).await?;
    let call = draft.with_json(&head, &body, state.limits.json_elements)?;
    if let Call::Typed(call) = &call {
        record.dropped = call.dropped_fields().take(MOST_DROPPED).map(str::to_owned).collect();
    }
    Ok(call)
}

fn note(record: &mut Record, call: &Call) {
    let row = call.row();
    record.operation = row.map_or("-", |row| row.endpoint.id());
    let shows_query = row.is_some_and(|row| row.method.is_safe_to_log());
    record.path = path_of(call.target(), shows_query);
}

/// The path for the log. Queries of calls that change something can carry secrets (dockerode repeats
/// a create body in it, `docker build --build-arg`), so they stay out.
pub(super) fn path_of(target: &[u8], shows_query: bool) -> String {
    let end = match shows_query {
        true => target.len(),
        false => memchr::memchr(b'?', target).unwrap_or(target.len()),
    };
    String::from_utf8_lossy(target.get(..end).unwrap_or_default()).into_owned()
}

/// Reads a request's whole body, within the limit for JSON.
async fn read_body(
    state: &ListenerState,
    client: &mut ClientConnection,
    upload: &mut Upload,
    lease: &mut Option<Lease>,
    record: &mut Record,
) -> Result<Vec<u8>, Refusal> {
    let most = state.limits.json_body;
    let quota = BodyQuota::of(state, client, lease, most);
    let (reader, mut writer) = client.stream.split();
    let mut inbox = Inbox { reader, buffer: &mut client.buffer };
    if let Framing::Length { left } = upload.framing
        && left > most as u64
    {
        return Err(Refusal::BodyTooLarge(most));
    }
    if std::mem::take(&mut upload.waits) && !upload.framing.is_done() {
        writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.map_err(|_| Refusal::Left)?;
    }
    let pace = Some(Pace::of(state));
    let collected = quota.collect(&mut inbox, &mut upload.framing, pace, &mut record.bytes_in);
    collected.await.map_err(|why| match why {
        BodyError::TooLarge => Refusal::BodyTooLarge(most),
        BodyError::TooSlow(slow) => slow.into(),
        BodyError::Full(full) => full.into(),
        BodyError::Pump(PumpError::Malformed(error)) => error.into(),
        BodyError::Pump(PumpError::Cut) => Refusal::BodyCut,
        BodyError::Pump(PumpError::Read(_) | PumpError::Write(_)) => Refusal::Left,
    })
}

/// The client may still be sending, after its call was answered.
pub(super) async fn linger(client: &mut ClientConnection) {
    let (mut reader, mut writer) = client.stream.split();
    crate::wire::linger::linger(&mut reader, &mut writer, &mut client.buffer).await;
}
