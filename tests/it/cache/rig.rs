//! A cache in this process, and a client that speaks to it by hand.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use dockgate::cache::by_path::ByPath;
use dockgate::cache::front::CacheListener;
use dockgate::cache::hosts::{HostSet, Pattern};
use dockgate::cache::intercept::{InterceptListener, InterceptSettings};
use dockgate::cache::mirror::{self, CacheRules, Http};
use dockgate::cache::registry::Registry;
use dockgate::cache::route::Mirror;
use dockgate::cache::store::{self, Disk};
use dockgate::cache::upstream::{self, Upstream};
use dockgate::cache::{Cache, CacheSettings, fresh};
use dockgate::config::Bind;
use dockgate::listener::{Listener, Service, Socket};
use dockgate::telemetry::metrics::Metrics;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::origin::Origin;

/// What only a hang reaches.
const PATIENCE: Duration = Duration::from_secs(120);

const ANYWHERE: &str = "127.0.0.1:0";

pub struct Setup {
    pub rules: String,
    pub mirrors: Vec<Arc<dyn Mirror>>,
    pub domains: Vec<&'static str>,
    pub offline: bool,
    pub share_authorized: bool,
    pub allow_private: bool,
    pub size: u64,
    pub dir: Option<std::path::PathBuf>,
    pub upstream: upstream::UpstreamSettings,
    pub patience: Duration,
    pub by_path: Option<Arc<ByPath>>,
    pub registry: Option<Arc<Registry>>,
    pub origins: Vec<(String, mirror::Origin)>,
    pub intercept: Option<InterceptSettings>,
    /// Where clients take it for their origins.
    pub secure: String,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            rules: String::new(),
            mirrors: Vec::new(),
            domains: vec!["*:*"],
            offline: false,
            share_authorized: false,
            allow_private: true,
            size: 1 << 30,
            dir: None,
            upstream: upstream::UpstreamSettings::default(),
            patience: 2 * PATIENCE,
            by_path: None,
            registry: None,
            origins: Vec::new(),
            intercept: None,
            secure: ANYWHERE.to_owned(),
        }
    }
}

pub struct Rig {
    pub cache: Arc<Cache>,
    pub address: SocketAddr,
    /// Where clients take it for their origins.
    pub secure: SocketAddr,
    pub dir: std::path::PathBuf,
    drain: CancellationToken,
    _dir: TempDir,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.drain.cancel();
    }
}

impl Setup {
    pub fn start(self) -> Rig {
        let temporary = tempfile::tempdir().unwrap();
        let dir = self.dir.unwrap_or_else(|| temporary.path().join("cache"));
        let store = Disk::open(store::DiskSettings {
            dir: dir.clone(),
            size: self.size,
            free: 0,
            fsync: false,
        })
        .unwrap();
        let mut upstream = self.upstream;
        if self.allow_private {
            upstream.allow_private = vec!["127.0.0.0/8".parse().unwrap()];
        }
        let general = fresh::FreshnessRules {
            share_authorized: self.share_authorized,
            ..fresh::FreshnessRules::default()
        };
        let rules = CacheRules::parse(&self.rules, "rules.toml".as_ref()).unwrap();
        let mut mirrors = self.mirrors;
        mirrors.push(Arc::new(Http::new(rules, general, self.origins)));
        let settings = CacheSettings {
            domains: self
                .domains
                .iter()
                .map(|text| Pattern::parse(text).unwrap())
                .collect::<HostSet>(),
            forward: true,
            offline: self.offline,
            memory: 1 << 20,
            patience: self.patience,
            tenants: vec![("127.0.0.0/8".parse().unwrap(), "here".into())],
            id: "dockgate".to_owned(),
            by_path: self.by_path,
            intercept: self.intercept,
        };
        let upstream = Upstream::new(upstream).unwrap();
        let cache = Cache::new(
            "test",
            settings,
            mirrors,
            self.registry,
            Arc::new(store),
            b"secret",
            upstream,
            Arc::default(),
            TaskTracker::new(),
        )
        .unwrap();
        let cache = Arc::new(cache);
        let drain = CancellationToken::new();
        let address = listen(&cache, ANYWHERE, &drain, |listener| Arc::new(listener));
        let secure =
            listen(&cache, &self.secure, &drain, |listener| Arc::new(InterceptListener(listener)));
        Rig { cache, address, secure, dir, drain, _dir: temporary }
    }
}

/// A socket of the cache, which a thread of its own serves.
fn listen(
    cache: &Arc<Cache>,
    address: &str,
    drain: &CancellationToken,
    service: impl FnOnce(CacheListener) -> Arc<dyn Service>,
) -> SocketAddr {
    let bind = Bind::Tcp { address: address.to_owned() };
    let socket = Socket::open(&bind, None).unwrap();
    let address = socket.place().strip_prefix("tcp://").unwrap().parse().unwrap();
    let listener = Listener::new(socket, 1024, None);
    let service = service(CacheListener {
        cache: Arc::clone(cache),
        name: "cache test".into(),
        tally: Metrics::new().tally(0, "cache test"),
        drain: drain.clone(),
        tasks: TaskTracker::new(),
    });
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { listener.watch().unwrap().serve(service).await });
    });
    address
}

impl Rig {
    /// In front of this origin, or of any.
    pub fn new() -> Rig {
        Setup::default().start()
    }

    /// A GET of the origin's path, as of a forward proxy.
    pub fn get(&self, origin: &Origin, path: &str) -> Answer {
        self.ask(origin, "GET", path, &[])
    }

    pub fn ask(&self, origin: &Origin, method: &str, path: &str, fields: &[&str]) -> Answer {
        let mut client = self.client();
        client.send(method, &format!("http://{}{path}", origin.host()), &origin.host(), fields);
        client.answer(method == "HEAD")
    }

    pub fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client(BufReader::new(stream))
    }

    /// Returns when so many wait for what is on its way, or read it.
    pub fn wait_for_readers(&self, readers: usize) {
        self.wait(|| self.cache.readers() == readers);
    }

    /// Returns when it is so.
    pub fn wait(&self, is_so: impl Fn() -> bool) {
        let began = std::time::Instant::now();
        while !is_so() {
            assert!(began.elapsed() < PATIENCE, "it never comes to it");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Returns when no request to an origin is on its way and nothing waits to be committed.
    pub fn settle(&self) {
        let began = std::time::Instant::now();
        while self.cache.flights() > 0 {
            assert!(began.elapsed() < PATIENCE, "a flight never ends");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

pub struct Client(BufReader<TcpStream>);

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub reason: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether the body came to its proper end.
    pub whole: bool,
    /// 1xx answers before it.
    pub interim: Vec<u16>,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// `Cache-Status`.
    pub fn how(&self) -> &str {
        self.field("cache-status").unwrap_or("")
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Client {
    pub fn send(&mut self, method: &str, target: &str, host: &str, fields: &[&str]) {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n");
        for field in fields {
            head.push_str(field);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        self.write(head.as_bytes());
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    pub fn answer(&mut self, to_head: bool) -> Answer {
        let mut answer = self.head();
        if !to_head && !matches!(answer.status, 204 | 304) {
            self.body(&mut answer);
        }
        answer
    }

    /// The body of an answer whose head was read.
    pub fn body(&mut self, answer: &mut Answer) {
        if answer.field("transfer-encoding").is_some() {
            answer.whole = self.chunks(&mut answer.body);
        } else if let Some(length) = answer.field("content-length") {
            let length: usize = length.parse().unwrap();
            answer.body = self.some(length);
            answer.whole = answer.body.len() == length;
        } else {
            self.0.read_to_end(&mut answer.body).unwrap();
        }
    }

    /// The head only.
    pub fn head(&mut self) -> Answer {
        let mut interim = Vec::new();
        loop {
            let line = self.line();
            let mut words = line.splitn(3, ' ').skip(1);
            let status = words.next().unwrap_or_else(|| panic!("`{line}`")).parse().unwrap();
            let reason = words.next().unwrap_or_default().to_owned();
            let mut fields = Vec::new();
            loop {
                let line = self.line();
                let Some((name, value)) = line.split_once(':') else { break };
                fields.push((name.to_owned(), value.trim().to_owned()));
            }
            match status {
                100..200 => interim.push(status),
                _ => {
                    let body = Vec::new();
                    return Answer { status, reason, fields, body, whole: true, interim };
                }
            }
        }
    }

    /// All that comes until the connection ends in order.
    pub fn read_on(&mut self) -> std::io::Result<Vec<u8>> {
        let mut all = Vec::new();
        self.0.read_to_end(&mut all).map(|_| all)
    }

    /// So many bytes of a body, or what there is.
    pub fn some(&mut self, length: usize) -> Vec<u8> {
        let mut body = Vec::new();
        let _ = (&mut self.0).take(length as u64).read_to_end(&mut body);
        body
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        // A reset is an end too: what is missing shows in what was read.
        let _ = self.0.read_line(&mut line);
        line.trim_end().to_owned()
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> bool {
        loop {
            let line = self.line();
            let Ok(size) = usize::from_str_radix(&line, 16) else { return false };
            if size == 0 {
                return self.0.read_line(&mut String::new()).is_ok_and(|read| read > 0);
            }
            let piece = self.some(size);
            body.extend_from_slice(&piece);
            if piece.len() < size {
                return false;
            }
            self.line();
        }
    }
}
