//! Small objects that are asked for again and again, ready to be sent.
//!
//! `front::h1` looks here before anything else, and `serve` puts here what it has just found fresh in
//! the store. What must stay true: an answer from here is the one that `serve` would have given; what
//! is changed or dropped in the store is forgotten here first; its size is bounded.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache as Map;

use super::Cache;
use super::front::Caller;
use super::key::{Key, Partition, Scheme};
use super::stats::{Account, Counts, Outcome};

/// Larger ones are sent from their files.
pub const LARGEST: u64 = 128 * 1024;
/// How long an entry is used without a look at the store, in ms: another process that shares it may have
/// removed the object.
const TRUSTED: u64 = 2_000;
/// In seconds; what `fresh` says of what never changes.
const LONGEST: u64 = 1 << 40;
/// How often a use is told to the store: more makes no difference to it.
const MOST_TOUCHES: u8 = 3;

#[derive(Debug)]
pub struct Hot {
    entries: Map<u64, Arc<Entry>, BySize>,
    hasher: RandomState,
    /// Counts what was forgotten, so that nothing older is put back.
    epoch: AtomicU64,
}

#[derive(Debug)]
pub struct Entry {
    scheme: Scheme,
    host: Box<str>,
    /// Path and query.
    target: Box<str>,
    /// Status line and fields, without those that change.
    head: Bytes,
    body: Bytes,
    /// When its age was 0, and until when it is fresh, in ms since 1970.
    born: u64,
    fresh_until: u64,
    /// When it was found in the store.
    found: u64,
    /// In the store.
    id: u64,
    touches: AtomicU8,
    domain: Arc<Counts>,
}

/// What `Hot::put` is given.
#[derive(Debug)]
pub struct Ready {
    pub head: Bytes,
    pub body: Bytes,
    pub born: u64,
    pub fresh_until: u64,
    pub found: u64,
    pub id: u64,
    pub domain: Arc<Counts>,
}

/// An answer from memory.
#[derive(Debug)]
pub struct Hit {
    entry: Arc<Entry>,
    now: u64,
    to_head: bool,
    closes: bool,
}

#[derive(Clone, Debug)]
struct BySize;

impl Weighter<u64, Arc<Entry>> for BySize {
    fn weight(&self, _: &u64, entry: &Arc<Entry>) -> u64 {
        (entry.head.len() + entry.body.len() + entry.target.len() + 256) as u64
    }
}

impl Hot {
    /// `bytes`: what all entries together may take.
    pub fn new(bytes: u64) -> Hot {
        let guess = usize::try_from(bytes / 16_384).unwrap_or(usize::MAX).max(16);
        Hot {
            entries: Map::with_weighter(guess, bytes, BySize),
            hasher: RandomState::new(),
            epoch: AtomicU64::new(0),
        }
    }

    /// To be asked for before what is to be `put` is looked up.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    pub fn put(&self, epoch: u64, key: &Key, ready: Ready) {
        if key.partition != Partition::Shared {
            return;
        }
        let target = match &key.query {
            Some(query) => format!("{}?{query}", key.path),
            None => key.path.to_string(),
        };
        let hash = self.hash(key.scheme, key.host.as_bytes(), target.as_bytes());
        let entry = Entry {
            scheme: key.scheme,
            host: key.host.clone(),
            target: target.into(),
            head: ready.head,
            body: ready.body,
            born: ready.born,
            fresh_until: ready.fresh_until,
            found: ready.found,
            id: ready.id,
            touches: AtomicU8::new(0),
            domain: ready.domain,
        };
        self.entries.insert(hash, Arc::new(entry));
        // Forgotten between the look-up and now: the store may have something newer.
        if self.epoch() != epoch {
            self.entries.remove(&hash);
        }
    }

    pub fn forget(&self, key: &Key) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        let hash = match &key.query {
            Some(query) => {
                let target = format!("{}?{query}", key.path);
                self.hash(key.scheme, key.host.as_bytes(), target.as_bytes())
            }
            None => self.hash(key.scheme, key.host.as_bytes(), key.path.as_bytes()),
        };
        self.entries.remove(&hash);
    }

    pub fn clear(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.entries.clear();
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.entries.weight()
    }

    /// The answer to a whole HTTP/1.1 head, if it is here and the request has nothing that could make
    /// another answer right.
    pub(super) fn find(&self, caller: &Caller, head: &[u8], now: u64) -> Option<Hit> {
        let (asked, scheme) = (HotRequest::parse(head)?, caller.scheme);
        // TLS names no port.
        let name = asked.host.split(|byte| *byte == b':').next().unwrap_or_default();
        if caller.server_name.as_ref().is_some_and(|asked| asked.as_bytes() != name) {
            return None;
        }
        let entry = self.entries.get(&self.hash(scheme, asked.host, asked.target))?;
        let is_it = entry.scheme == scheme
            && entry.host.as_bytes() == asked.host
            && entry.target.as_bytes() == asked.target
            && now < entry.fresh_until
            && now < entry.found.saturating_add(TRUSTED)
            // Else the clock was set back.
            && entry.found < now.saturating_add(TRUSTED);
        is_it.then_some(Hit { entry, now, to_head: asked.to_head, closes: asked.closes })
    }

    fn hash(&self, scheme: Scheme, host: &[u8], target: &[u8]) -> u64 {
        self.hasher.hash_one((scheme, host, target))
    }
}

impl Hit {
    /// The head as it is now.
    pub fn head(&self) -> Vec<u8> {
        let entry = &self.entry;
        let age = self.now.saturating_sub(entry.born) / 1000;
        let left = (entry.fresh_until.saturating_sub(self.now) / 1000).min(LONGEST);
        let mut head = Vec::with_capacity(entry.head.len() + 128);
        head.extend_from_slice(&entry.head);
        head.extend_from_slice(b"age: ");
        head.extend_from_slice(itoa::Buffer::new().format(age).as_bytes());
        head.extend_from_slice(b"\r\ncache-status: dockgate; hit; ttl=");
        head.extend_from_slice(itoa::Buffer::new().format(left).as_bytes());
        head.extend_from_slice(if self.closes {
            b"\r\nconnection: close\r\n\r\n"
        } else {
            b"\r\n\r\n"
        });
        head
    }

    pub fn body(&self) -> &[u8] {
        if self.to_head { &[] } else { &self.entry.body }
    }

    pub fn closes(&self) -> bool {
        self.closes
    }

    pub(super) fn host(&self) -> (Scheme, &str) {
        (self.entry.scheme, &self.entry.host)
    }

    /// It was sent.
    pub fn close(&self, cache: &Cache, tenant: &Arc<Counts>) -> u64 {
        let touches = &self.entry.touches;
        if touches.load(Ordering::Relaxed) < MOST_TOUCHES {
            touches.fetch_add(1, Ordering::Relaxed);
            cache.store.touch(self.entry.id);
        }
        let domain = Arc::clone(&self.entry.domain);
        let account = Account::of(domain, Arc::clone(tenant), Outcome::Hit);
        let sent = self.body().len() as u64;
        account.close(sent);
        sent
    }
}

/// What of a head is looked at here.
struct HotRequest<'h> {
    host: &'h [u8],
    target: &'h [u8],
    to_head: bool,
    closes: bool,
}

impl<'h> HotRequest<'h> {
    /// None for all that is out of the ordinary: `serve` deals with it.
    fn parse(head: &'h [u8]) -> Option<HotRequest<'h>> {
        let mut lines = [httparse::EMPTY_HEADER; 24];
        let mut request = httparse::Request::new(&mut lines);
        match request.parse(head) {
            Ok(httparse::Status::Complete(n)) if n == head.len() => {}
            _ => return None,
        }
        let to_head = match request.method? {
            "GET" => false,
            "HEAD" => true,
            _ => return None,
        };
        let (target, version) = (request.path?.as_bytes(), request.version?);
        if version != 1 || !target.starts_with(b"/") {
            return None;
        }
        let (mut host, mut closes) = (None, false);
        for line in request.headers.iter() {
            if line.name.eq_ignore_ascii_case("host") {
                if host.replace(line.value).is_some() {
                    return None;
                }
            } else if line.name.eq_ignore_ascii_case("connection") {
                match line.value {
                    value if value.eq_ignore_ascii_case(b"keep-alive") => {}
                    value if value.eq_ignore_ascii_case(b"close") => closes = true,
                    _ => return None,
                }
            } else if !PLAIN.iter().any(|plain| line.name.eq_ignore_ascii_case(plain)) {
                return None;
            }
        }
        Some(HotRequest { host: host?, target, to_head, closes })
    }
}

/// Fields that change no answer which does not vary.
const PLAIN: [&str; 5] =
    ["user-agent", "accept", "accept-encoding", "accept-language", "accept-charset"];

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(scheme: Scheme, server_name: Option<&str>) -> Caller {
        {
            let who = Arc::new(crate::auth::Caller::new(crate::auth::Peer::Unknown, Vec::new()));
            let server_name = server_name.map(Arc::from);
            let (tenant, asking) = ("-".into(), Arc::default());
            Caller { scheme, server_name, is_intercepted: false, tenant, who, asking }
        }
    }

    fn key(path: &str) -> Key {
        Key {
            partition: Partition::Shared,
            scheme: Scheme::Http,
            host: "a.example".into(),
            path: path.into(),
            query: None,
        }
    }

    fn ready() -> Ready {
        Ready {
            head: Bytes::from_static(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n"),
            body: Bytes::from_static(b"ok"),
            born: 1_000,
            fresh_until: 11_000,
            found: 2_000,
            id: 1,
            domain: Arc::default(),
        }
    }

    const GET: &[u8] = b"GET /x HTTP/1.1\r\nHost: a.example\r\nUser-Agent: t\r\n\r\n";

    #[test]
    fn what_is_here_is_found_while_it_is_fresh() {
        let hot = Hot::new(1 << 20);
        hot.put(hot.epoch(), &key("/x"), ready());
        let hit = hot.find(&caller(Scheme::Http, None), GET, 3_500).unwrap();
        let head = String::from_utf8(hit.head()).unwrap();
        assert!(head.ends_with("age: 2\r\ncache-status: dockgate; hit; ttl=7\r\n\r\n"), "{head}");
        assert_eq!(hit.body(), b"ok");
        assert!(hot.find(&caller(Scheme::Http, None), GET, 4_000).is_none(), "to be looked up");
        assert!(hot.find(&caller(Scheme::Http, None), GET, 0).is_none(), "the clock was set back");
        let stale = Ready { fresh_until: 3_000, ..ready() };
        hot.put(hot.epoch(), &key("/x"), stale);
        assert!(hot.find(&caller(Scheme::Http, None), GET, 3_500).is_none(), "stale");
        hot.put(hot.epoch(), &key("/x"), ready());
        assert!(hot.find(&caller(Scheme::Https, None), GET, 3_500).is_none(), "another scheme");
        let same = caller(Scheme::Http, Some("a.example"));
        assert!(hot.find(&same, GET, 3_500).is_some());
        let other = caller(Scheme::Http, Some("b.example"));
        assert!(hot.find(&other, GET, 3_500).is_none(), "TLS asked for another host");
        hot.forget(&key("/x"));
        assert!(hot.find(&caller(Scheme::Http, None), GET, 3_500).is_none());
    }

    #[test]
    fn a_request_that_says_more_is_not_answered_here() {
        let hot = Hot::new(1 << 20);
        hot.put(hot.epoch(), &key("/x"), ready());
        for line in [
            "Range: bytes=0-0",
            "Cache-Control: no-cache",
            "Authorization: x",
            "Cookie: a=b",
            "If-None-Match: *",
            "Content-Length: 0",
            "Transfer-Encoding: chunked",
            "Host: a.example",
            "Connection: x-y",
            "CDN-Loop: dockgate",
        ] {
            let head = format!("GET /x HTTP/1.1\r\nHost: a.example\r\n{line}\r\n\r\n");
            assert!(
                hot.find(&caller(Scheme::Http, None), head.as_bytes(), 3_500).is_none(),
                "{line}"
            );
        }
        for head in [
            "GET /x HTTP/1.0\r\nHost: a.example\r\n\r\n",
            "PUT /x HTTP/1.1\r\nHost: a.example\r\n\r\n",
        ] {
            assert!(
                hot.find(&caller(Scheme::Http, None), head.as_bytes(), 3_500).is_none(),
                "{head}"
            );
        }
    }

    #[test]
    fn what_was_looked_up_before_something_was_forgotten_is_not_put_back() {
        let hot = Hot::new(1 << 20);
        let epoch = hot.epoch();
        hot.forget(&key("/x"));
        hot.put(epoch, &key("/x"), ready());
        assert!(hot.find(&caller(Scheme::Http, None), GET, 3_500).is_none());
    }
}
