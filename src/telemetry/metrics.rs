//! The metrics of the process: every worker's tallies added up, as Prometheus reads them.
//!
//! `run` makes one `Metrics` for the life of the process and gives each worker a `Tally` for each
//! listener; `admin` renders. What must stay true: no counter ever falls, whatever is reloaded; a
//! scrape holds a worker's lock only while it adds one tally up.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::{Registry, Unit};

pub use super::tally::{Open, Tally};

use super::access;
use super::caches::{self, CacheNumbers};
use super::jobs::{self, JobNumbers};
use super::page::Page;
use super::process::Process;
use super::record::Stage;
use super::sums::Sums;
use super::tally::{OTHER, RuleLabels};

/// What `render` writes.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// What `plain` writes.
pub const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// By worker and listener. One whose listener went away in a reload stays, with its counts.
    tallies: Mutex<BTreeMap<(usize, String), Arc<Tally>>>,
    rules: Arc<RuleLabels>,
    started: f64,
    reloads: AtomicU64,
    failed_reloads: AtomicU64,
    has_last_failed: AtomicBool,
    /// Seconds since 1970, as the bits of an `f64`.
    last_reload: AtomicU64,
}

impl Default for Inner {
    fn default() -> Inner {
        let started = now();
        Inner {
            tallies: Mutex::default(),
            rules: Arc::default(),
            started,
            reloads: AtomicU64::new(0),
            failed_reloads: AtomicU64::new(0),
            has_last_failed: AtomicBool::new(false),
            last_reload: AtomicU64::new(started.to_bits()),
        }
    }
}

impl Metrics {
    pub fn new() -> Metrics {
        Metrics::default()
    }

    /// What a worker counts for a listener: the same one whenever it is asked for.
    pub fn tally(&self, worker: usize, listener: &str) -> Arc<Tally> {
        let mut tallies = self.0.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let tally = tallies
            .entry((worker, listener.to_owned()))
            .or_insert_with(|| Arc::new(Tally::new(listener, Arc::clone(&self.0.rules))));
        Arc::clone(tally)
    }

    /// A reload has ended.
    pub fn reloaded(&self, ok: bool) {
        self.0.has_last_failed.store(!ok, Ordering::Relaxed);
        if ok {
            self.0.reloads.fetch_add(1, Ordering::Relaxed);
            self.0.last_reload.store(now().to_bits(), Ordering::Relaxed);
        } else {
            self.0.failed_reloads.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// OpenMetrics 1.0.
    pub fn render(&self) -> String {
        self.render_with(Vec::new(), JobNumbers::default())
    }

    /// With the numbers of the caches and of jobs, which are counted elsewhere.
    pub fn render_with(&self, caches: Vec<CacheNumbers>, jobs: JobNumbers) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Scrape { inner: Arc::clone(&self.0), caches, jobs }));
        let mut out = String::with_capacity(16 * 1024);
        match text::encode(&mut out, &registry) {
            Ok(()) => out,
            // Only a writer fails, and a string does not. Nothing is better than a part.
            Err(fmt::Error) => "# EOF\n".to_owned(),
        }
    }
}

/// The same in Prometheus' older text format 0.0.4, where a counter's family is called as its
/// samples are, for readers that do not ask for OpenMetrics.
pub fn plain(openmetrics: &str) -> String {
    let types = openmetrics.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let counters: HashSet<&str> = types.filter_map(|of| of.strip_suffix(" counter")).collect();
    let mut out = String::with_capacity(openmetrics.len() + 1024);
    for line in openmetrics.lines() {
        let mut words = line.splitn(4, ' ');
        match [words.next(), words.next(), words.next(), words.next()] {
            [Some("#"), Some("EOF" | "UNIT"), ..] => continue,
            [Some("#"), Some(word), Some(name), Some(rest)] if counters.contains(name) => {
                out.extend(["# ", word, " ", name, "_total ", rest]);
            }
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

#[derive(Debug)]
struct Scrape {
    inner: Arc<Inner>,
    caches: Vec<CacheNumbers>,
    jobs: JobNumbers,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sums = Sums::default();
        let tallies: Vec<_> = {
            let tallies = self.inner.tallies.lock().unwrap_or_else(PoisonError::into_inner);
            tallies.values().cloned().collect()
        };
        tallies.iter().for_each(|tally| sums.add(tally));
        let mut page = Page(encoder);
        put_calls(&mut page, &sums)?;
        put_connections(&mut page, &sums, &self.caches)?;
        caches::put(&mut page, &self.caches)?;
        jobs::put(&mut page, &self.jobs)?;
        self.inner.put_gateway(&mut page)?;
        put_process(&mut page, &Process::look())
    }
}

fn put_calls(page: &mut Page<'_>, sums: &Sums) -> fmt::Result {
    let statuses: Vec<_> = sums.requests.keys().map(|key| status(key.2)).collect();
    let requests = sums.requests.iter().zip(&statuses).map(
        |(((listener, operation, _, verdict), count), status)| {
            let labels = [
                ("listener", &**listener),
                ("operation", *operation),
                ("status", status.as_str()),
                ("verdict", verdict.as_str()),
            ];
            (labels, *count)
        },
    );
    page.counters("dockgate_requests", "Calls that have ended", None, requests)?;
    let stages = sums.stages.iter().filter_map(|((operation, stage), histogram)| {
        let stage = Stage::ALL.get(*stage)?.as_str();
        Some(([("operation", *operation), ("stage", stage)], histogram))
    });
    page.histograms("dockgate_request", "Time that a stage of a call took", stages)?;
    let denied = sums.denied.iter().map(|(rule, count)| ([("rule", rule.as_str())], *count));
    page.counters("dockgate_denied", "Calls that a policy refused, by its rule", None, denied)?;
    let audited = sums.audited.iter().map(|(rule, count)| ([("rule", rule.as_str())], *count));
    let help = "Calls that a policy which only audits would have refused, by its rules";
    page.counters("dockgate_audit", help, None, audited)?;
    let bytes = sums.bytes.iter().map(|((listener, direction), count)| {
        ([("listener", &**listener), ("direction", *direction)], *count)
    });
    let help = "Bytes of bodies and streams of calls that have ended";
    page.counters("dockgate", help, Some(&Unit::Bytes), bytes)
}

fn put_connections(page: &mut Page<'_>, sums: &Sums, caches: &[CacheNumbers]) -> fmt::Result {
    let open = sums.connections.iter().map(|(name, open)| ([("listener", &**name)], *open));
    page.gauges("dockgate_connections_open", "Connections of clients, streams included", open)?;
    let streams = sums.streams.iter().map(|(kind, open)| ([("kind", *kind)], *open));
    page.gauges("dockgate_streams_open", "Connections that the engine took over", streams)?;
    let handshakes = sums.handshakes.iter().map(|((listener, result), count)| {
        ([("listener", &**listener), ("result", *result)], *count)
    });
    page.counters("dockgate_tls_handshakes", "TLS handshakes with clients", None, handshakes)?;
    let asked = sums.authentications.iter().map(|((listener, method, result), count)| {
        ([("listener", &**listener), ("method", method.as_str()), ("result", *result)], *count)
    });
    let of_registries = caches::authentications(caches);
    let of_registries = of_registries.iter().map(|(registry, method, result, count)| {
        ([("listener", registry.as_str()), ("method", *method), ("result", *result)], *count)
    });
    let asked = asked.chain(of_registries);
    page.counters("dockgate_authentications", "What authenticators decided", None, asked)
}

impl Inner {
    fn put_gateway(&self, page: &mut Page<'_>) -> fmt::Result {
        let reloads = [
            ([("result", "ok")], self.reloads.load(Ordering::Relaxed)),
            ([("result", "failed")], self.failed_reloads.load(Ordering::Relaxed)),
        ];
        page.counters("dockgate_reloads", "Reloads of the configuration", None, reloads)?;
        let successful = u64::from(!self.has_last_failed.load(Ordering::Relaxed));
        let help = "1, or 0 when the last reload failed and nothing has changed";
        page.gauge("dockgate_last_reload_successful", help, None, successful)?;
        let last = f64::from_bits(self.last_reload.load(Ordering::Relaxed));
        let help = "When the configuration in use was loaded, since 1970";
        page.gauge("dockgate_last_reload_success_timestamp", help, Some(&Unit::Seconds), last)?;
        let help = "Access records that could not be written";
        page.counter("dockgate_access_records_lost", help, None, access::lost())?;
        let help = "When this process began to count, since 1970";
        page.gauge("dockgate_start_time", help, Some(&Unit::Seconds), self.started)?;
        let version = [([("version", env!("CARGO_PKG_VERSION"))], 1)];
        page.gauges("dockgate_build_info", "Always 1, with the version", version)
    }
}

fn put_process(page: &mut Page<'_>, process: &Process) -> fmt::Result {
    if let Some(seconds) = process.cpu_seconds {
        let help = "Processor time, of the kernel for it included";
        page.counter("process_cpu", help, Some(&Unit::Seconds), seconds)?;
    }
    if let Some(seconds) = process.start_seconds {
        let help = "When the process was started, since 1970";
        page.gauge("process_start_time", help, Some(&Unit::Seconds), seconds)?;
    }
    if let Some(bytes) = process.resident_bytes {
        page.gauge("process_resident_memory", "Resident memory", Some(&Unit::Bytes), bytes)?;
    }
    if let Some(count) = process.open_fds {
        page.gauge("process_open_fds", "Open file descriptors", None, count)?;
    }
    if let Some(count) = process.max_fds {
        page.gauge("process_max_fds", "Most file descriptors that may be open", None, count)?;
    }
    Ok(())
}

fn status(status: u16) -> String {
    if status == 0 { OTHER.to_owned() } else { status.to_string() }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests;
