//! The access log: one record a call on stdout, in JSON or LTSV, with the field names of the
//! contract.
//!
//! `gateway` fills a `Record` while a call passes and gives it to the `Log` when the call ends. A
//! thread of its own writes, a few milliseconds later and many records at once. What must stay true:
//! writing never waits in a call; what cannot be written is counted and said on stderr.

use std::io::Write as _;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Records come in bursts; waiting this long makes one write of them.
const GATHER: Duration = Duration::from_millis(10);
/// What may wait for a reader of stdout that has stopped reading.
const MOST_WAITING: usize = 8 << 20;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Json,
    Ltsv,
    Off,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    #[default]
    Allow,
    /// A policy refused it.
    Deny,
    /// It could not be understood, or a limit of the gateway was reached.
    Reject,
    /// The engine did not answer.
    Fail,
}

impl Verdict {
    pub const fn as_str(self) -> &'static str {
        match self {
            Verdict::Allow => "allow",
            Verdict::Deny => "deny",
            Verdict::Reject => "reject",
            Verdict::Fail => "fail",
        }
    }
}

#[derive(Debug)]
pub struct Record {
    pub started: Instant,
    pub listener: Arc<str>,
    pub user: Option<String>,
    pub method: String,
    /// Without the query, which may carry secrets (dockerode repeats a create body in it).
    pub path: String,
    pub status: u16,
    pub bytes_in: u64,
    pub bytes_sent: u64,
    pub operation: &'static str,
    pub verdict: Verdict,
    pub rule: Option<String>,
    pub client: Arc<str>,
}

impl Record {
    pub fn new(listener: Arc<str>, client: Arc<str>) -> Record {
        Record {
            started: Instant::now(),
            listener,
            user: None,
            method: String::new(),
            path: String::new(),
            status: 0,
            bytes_in: 0,
            bytes_sent: 0,
            operation: "-",
            verdict: Verdict::default(),
            rule: None,
            client,
        }
    }
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
    /// Starts the writer; nothing is started when the log is off.
    pub fn start(format: Format) -> std::io::Result<(Log, Option<Writer>)> {
        let shared = Arc::new(Shared { waiting: Mutex::default(), news: Condvar::new() });
        let hostname = rustix::system::uname().nodename().to_string_lossy().into();
        let log = Log { format, hostname, shared: Arc::clone(&shared) };
        if format == Format::Off {
            return Ok((log, None));
        }
        let thread = std::thread::Builder::new().name("access-log".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || write_all(&shared)
        })?;
        Ok((log, Some(Writer { shared, thread: Some(thread) })))
    }

    /// The same log in another format.
    pub fn with_format(&self, format: Format) -> Log {
        Log { format, ..self.clone() }
    }

    pub fn write(&self, record: &Record) {
        if self.format == Format::Off {
            return;
        }
        let mut line = Vec::with_capacity(384);
        let fields = Fields::of(record, &self.hostname);
        match self.format {
            Format::Ltsv => fields.put_ltsv(&mut line),
            Format::Json | Format::Off => fields.put_json(&mut line),
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
            tracing::warn!(lost, "access records were lost: nobody reads stdout");
        }
        let mut stdout = std::io::stdout().lock();
        if let Err(error) = stdout.write_all(&ready).and_then(|()| stdout.flush()) {
            tracing::warn!(%error, "the access log could not be written");
        }
        ready.clear();
        // One burst must not keep its memory for ever.
        ready.shrink_to(64 * 1024);
        if closed {
            return;
        }
    }
}

struct Fields<'r>(Vec<(&'static str, Field<'r>)>);

enum Field<'r> {
    Text(&'r str),
    Own(String),
    Number(u64),
    /// Milliseconds with three decimals.
    Duration(Duration),
}

impl<'r> Fields<'r> {
    fn of(record: &'r Record, hostname: &'r str) -> Fields<'r> {
        let now = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let text = |value: &'r Option<String>| Field::Text(value.as_deref().unwrap_or("-"));
        Fields(vec![
            ("time", Field::Own(now)),
            ("listener", Field::Text(&record.listener)),
            ("user", text(&record.user)),
            ("namespace", Field::Text("-")),
            ("method", Field::Text(&record.method)),
            ("path", Field::Text(&record.path)),
            ("status", Field::Number(record.status.into())),
            ("bytes_in", Field::Number(record.bytes_in)),
            ("bytes_sent", Field::Number(record.bytes_sent)),
            ("duration_ms", Field::Duration(record.started.elapsed())),
            ("operation", Field::Text(record.operation)),
            ("verdict", Field::Text(record.verdict.as_str())),
            ("rule", text(&record.rule)),
            ("client", Field::Text(&record.client)),
            ("hostname", Field::Text(hostname)),
        ])
    }

    fn put_json(&self, out: &mut Vec<u8>) {
        for (index, (name, field)) in self.0.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"{\"" } else { b",\"" });
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            match field {
                Field::Text(text) => put_json_text(out, text),
                Field::Own(text) => put_json_text(out, text),
                Field::Number(number) => put_number(out, *number),
                Field::Duration(duration) => put_duration(out, *duration),
            }
        }
        out.extend_from_slice(b"}\n");
    }

    fn put_ltsv(&self, out: &mut Vec<u8>) {
        for (index, (name, field)) in self.0.iter().enumerate() {
            if index > 0 {
                out.push(b'\t');
            }
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
            match field {
                Field::Text(text) => put_ltsv_text(out, text),
                Field::Own(text) => put_ltsv_text(out, text),
                Field::Number(number) => put_number(out, *number),
                Field::Duration(duration) => put_duration(out, *duration),
            }
        }
        out.push(b'\n');
    }
}

fn put_json_text(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|b| !b.is_ascii_control() && b != b'"' && b != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        // Cannot fail: a string is JSON and a vector takes all.
        let _ = serde_json::to_writer(out, text);
    }
}

fn put_ltsv_text(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().map(|b| if b.is_ascii_control() { b' ' } else { b }));
}

fn put_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn put_duration(out: &mut Vec<u8>, duration: Duration) {
    let micros = duration.as_micros();
    put_number(out, u64::try_from(micros / 1000).unwrap_or(u64::MAX));
    let _ = write!(out, ".{:03}", micros % 1000);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: Format) -> String {
        let mut record = Record::new("runner".into(), "uid=1000 pid=7".into());
        record.method = "GET".to_owned();
        record.path = "/v1.41/\t\"x\"\n".to_owned();
        let mut out = Vec::new();
        let fields = Fields::of(&record, "host");
        match format {
            Format::Ltsv => fields.put_ltsv(&mut out),
            Format::Json | Format::Off => fields.put_json(&mut out),
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_record_is_one_line_with_the_names_of_the_contract() {
        let names = "time listener user namespace method path status bytes_in bytes_sent \
                     duration_ms operation verdict rule client hostname";
        let json = line(Format::Json);
        let parsed: serde_json::Map<String, serde_json::Value> =
            json.parse::<serde_json::Value>().unwrap().as_object().unwrap().clone();
        assert_eq!(parsed.keys().cloned().collect::<Vec<_>>().join(" "), names.replace("  ", ""));
        assert_eq!(parsed["path"], "/v1.41/\t\"x\"\n");
        assert!(parsed["duration_ms"].is_f64());
        let ltsv = line(Format::Ltsv);
        assert_eq!(ltsv.matches('\n').count(), 1);
        assert_eq!(ltsv.matches('\t').count(), 14);
    }
}
