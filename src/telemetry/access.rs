//! The access log: one record a call on stdout, in JSON or LTSV, or as text where people look on.
//!
//! `gateway` fills a `Record` while a call passes and gives it to the `Log` when the call ends. A
//! thread of its own writes, a few milliseconds later and many records at once. What must stay true:
//! writing never waits in a call; what cannot be written is counted and said on stderr.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::fields::{Fields, put_text};
pub use super::record::{CacheCall, Labels, Record, RegistryCall, Stage, Stages, Verdict};

/// Records come in bursts; waiting this long makes one write of them.
const GATHER: Duration = Duration::from_millis(10);
/// What may wait for a reader of stdout that has stopped reading.
const MOST_WAITING: usize = 8 << 20;
/// Records that were never written. Of the process, as stdout is.
static LOST: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    Text,
    Json,
    Ltsv,
    Off,
}

impl Format {
    fn resolved(self) -> Format {
        match self {
            Format::Auto if std::io::stdout().is_terminal() => Format::Text,
            Format::Auto => Format::Json,
            other => other,
        }
    }
}

/// How many records were lost since the start.
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Where records go. Cheap to clone; the last one dropped ends the writer.
#[derive(Clone, Debug)]
pub struct Log {
    format: Format,
    hostname: Arc<str>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    lost: u64,
    closed: bool,
}

impl Log {
    /// Starts the writer, also of a log that is off: a reload may switch it on.
    pub fn start(format: Format) -> std::io::Result<(Log, Writer)> {
        let shared = Arc::new(Shared { waiting: Mutex::default(), news: Condvar::new() });
        let hostname = rustix::system::uname().nodename().to_string_lossy().into();
        let log = Log { format: format.resolved(), hostname, shared: Arc::clone(&shared) };
        let thread = std::thread::Builder::new().name("access-log".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || write_all(&shared)
        })?;
        Ok((log, Writer { shared, thread: Some(thread) }))
    }

    /// The same log in another format.
    pub fn with_format(&self, format: Format) -> Log {
        Log { format: format.resolved(), ..self.clone() }
    }

    /// Whether anything is written down.
    pub fn is_on(&self) -> bool {
        self.format != Format::Off
    }

    pub fn write(&self, record: &Record) {
        if !self.is_on() {
            return;
        }
        let mut line = Vec::with_capacity(384);
        match self.format {
            Format::Text => put_text(record, &mut line),
            Format::Ltsv => Fields::of(record, &self.hostname).put_ltsv(&mut line),
            Format::Json | Format::Auto | Format::Off => {
                Fields::of(record, &self.hostname).put_json(&mut line);
            }
        }
        let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.bytes.len() + line.len() > MOST_WAITING {
            waiting.lost += 1;
            return;
        }
        let was_empty = waiting.bytes.is_empty();
        waiting.bytes.extend_from_slice(&line);
        drop(waiting);
        if was_empty {
            self.shared.news.notify_one();
        }
    }
}

/// Ends the log: what waits is written before `drop` returns.
pub struct Writer {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.shared.news.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write_all(shared: &Shared) {
    let mut ready = Vec::new();
    let mut is_broken = false;
    loop {
        let mut waiting = shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while waiting.bytes.is_empty() && !waiting.closed {
            waiting = shared.news.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        if !waiting.closed {
            drop(waiting);
            std::thread::sleep(GATHER);
            waiting = shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut ready, &mut waiting.bytes);
        let lost = std::mem::take(&mut waiting.lost);
        let closed = waiting.closed;
        drop(waiting);
        if lost > 0 {
            LOST.fetch_add(lost, Ordering::Relaxed);
            tracing::warn!(lost, "access records were lost: nobody reads stdout");
        }
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(&ready).and_then(|()| stdout.flush()) {
            Ok(()) => is_broken = false,
            Err(error) => {
                let unwritten = memchr::memchr_iter(b'\n', &ready).count() as u64;
                LOST.fetch_add(unwritten, Ordering::Relaxed);
                // Once: a reader that has gone does not come back, and each call would say so again.
                if !std::mem::replace(&mut is_broken, true) {
                    tracing::warn!(%error, "the access log cannot be written: its records are lost");
                }
            }
        }
        ready.clear();
        // One burst must not keep its memory for ever.
        ready.shrink_to(64 * 1024);
        if closed {
            return;
        }
    }
}
