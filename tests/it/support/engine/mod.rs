//! The fake engine: a unix socket, a thread a connection, and a record of every byte that came.
//!
//! What it does is a behaviour: one file each, named after what is wrong or special with it. The
//! gate's own questions (`/version`, `/_ping` with `Connection: close`) are answered here and are not
//! part of the record, unless the engine is `deaf`. The gate's mark on all that it sends is not part of what
//! the tests compare, for it is another one each time.

pub mod answers_before_body;
pub mod builds;
pub mod chunk_borders;
pub mod dies_in_body;
pub mod dies_in_head;
pub mod early_4xx;
pub mod garbage_head;
pub mod grpc;
pub mod half_closes;
pub mod hijack_101;
pub mod hijack_200;
pub mod hijack_discards;
pub mod huge_head;
pub mod interim_100;
pub mod late;
pub mod no_length;
pub mod plain;
pub mod raw_404;
pub mod refusing;
pub mod silent;
pub mod slow_frames;
pub mod stops_reading;
pub mod stubborn;
pub mod wrong_length;

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::conn::Socket;
use super::http::answer;
use super::{Conn, text, wait_until};

pub type Behaviour = Box<dyn Fn(&mut Wire) + Send + Sync>;

/// One connection, seen from the engine; whatever came is still to be read.
pub struct Wire {
    pub conn: Conn,
    shared: Arc<Shared>,
}

impl Wire {
    /// Leaves a word for the test.
    pub fn note(&self, word: &str) {
        self.shared.notes.lock().unwrap().push(word.to_owned());
    }
}

struct Shared {
    behaviour: Behaviour,
    /// `None` for an engine that does not answer even the gate itself.
    version: Option<String>,
    records: Mutex<Vec<Arc<Mutex<Vec<u8>>>>>,
    notes: Mutex<Vec<String>>,
    open: AtomicUsize,
    own: AtomicUsize,
    ended: AtomicBool,
}

pub struct Engine {
    shared: Arc<Shared>,
    path: PathBuf,
    _dir: TempDir,
}

impl Engine {
    pub fn start(behaviour: Behaviour) -> Engine {
        Engine::speaking("1.41", behaviour)
    }

    /// An engine that says of itself that it speaks up to this version.
    pub fn speaking(version: &str, behaviour: Behaviour) -> Engine {
        let body =
            format!(r#"{{"Version":"20.10.24","ApiVersion":"{version}","MinAPIVersion":"1.12"}}"#);
        Engine::new(Some(body), behaviour)
    }

    /// An engine that hears the gate's own questions like any others.
    pub fn deaf(behaviour: Behaviour) -> Engine {
        Engine::new(None, behaviour)
    }

    fn new(version: Option<String>, behaviour: Behaviour) -> Engine {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("engine.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let shared = Arc::new(Shared {
            behaviour,
            version,
            records: Mutex::default(),
            notes: Mutex::default(),
            open: AtomicUsize::new(0),
            own: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        });
        std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for stream in listener.incoming() {
                    if shared.ended.load(SeqCst) {
                        return;
                    }
                    let conn = Conn::over(Socket::Unix(stream.unwrap()));
                    let shared = Arc::clone(&shared);
                    std::thread::spawn(move || serve(conn, &shared));
                }
            }
        });
        Engine { shared, path, _dir: dir }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What each connection of clients has brought, in the order of their first bytes.
    pub fn seen(&self) -> Vec<String> {
        self.seen_with_marks().iter().map(|seen| without_marks(seen)).collect()
    }

    pub fn seen_with_marks(&self) -> Vec<String> {
        let records = self.shared.records.lock().unwrap();
        records.iter().map(|record| text(&record.lock().unwrap())).collect()
    }

    /// The only connection has brought exactly this; to be asked when the answer has come, so that
    /// there is nothing to wait for.
    #[track_caller]
    pub fn assert_saw(&self, wanted: &str) {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "connections: {seen:#?}");
        assert_eq!(seen[0], wanted);
    }

    /// Connections that are open now.
    pub fn open(&self) -> usize {
        self.shared.open.load(SeqCst)
    }

    /// Questions of the gate itself.
    pub fn own_questions(&self) -> usize {
        self.shared.own.load(SeqCst)
    }

    pub fn notes(&self) -> Vec<String> {
        self.shared.notes.lock().unwrap().clone()
    }

    #[track_caller]
    pub fn wait_note(&self, word: &str) {
        wait_until(&format!("the engine's note `{word}`"), || {
            let notes = self.notes();
            let panicked = notes.iter().any(|note| note == "the engine panicked");
            assert!(!panicked, "the engine panicked while it was to say `{word}`: {notes:?}");
            notes.iter().any(|note| note == word)
        });
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shared.ended.store(true, SeqCst);
        let _ = std::os::unix::net::UnixStream::connect(&self.path);
    }
}

fn serve(mut conn: Conn, shared: &Arc<Shared>) {
    shared.open.fetch_add(1, SeqCst);
    if !is_own_question(&mut conn, shared) {
        let mut wire = Wire { conn, shared: Arc::clone(shared) };
        let serving = std::panic::AssertUnwindSafe(|| (shared.behaviour)(&mut wire));
        if std::panic::catch_unwind(serving).is_err() {
            shared.notes.lock().unwrap().push("the engine panicked".to_owned());
        }
        wire.conn.end();
    }
    shared.open.fetch_sub(1, SeqCst);
}

/// Without the lines that say through which gateways a request has come.
fn without_marks(seen: &str) -> String {
    let mut out = String::new();
    let mut rest = seen;
    while let Some((before, behind)) = rest.split_once("\r\nX-Dockgate-Via: ") {
        out.push_str(before);
        rest = &behind[behind.find("\r\n").unwrap_or(behind.len())..];
    }
    out + rest
}

/// Waits for the first bytes; answers when they are the gate's own.
fn is_own_question(conn: &mut Conn, shared: &Shared) -> bool {
    if !conn.fill() {
        return true;
    }
    let own = |path: &str| {
        let question = format!("GET {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n");
        without_marks(&text(&conn.buffer)) == question
    };
    let (is_version, is_ping) = (own("/version"), own("/_ping"));
    if is_version || is_ping {
        shared.own.fetch_add(1, SeqCst);
        if let Some(version) = &shared.version {
            let _ = conn.try_send(answer("200 OK", if is_version { version } else { "OK" }));
            return true;
        }
        return false;
    }
    shared.records.lock().unwrap().push(Arc::clone(&conn.record));
    false
}
