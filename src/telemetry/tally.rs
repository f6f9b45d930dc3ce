//! What one worker counts for one listener.
//!
//! `Metrics` hands tallies out and adds them up when it is asked. What must stay true: a tally is
//! written by its own worker only, so that its lock is free and its cache lines are at home whenever
//! a call ends; everything that becomes a label is bounded in number.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::record::{Record, Verdict};

/// The histogram's upper bounds. Below 10 ms is what dockgate itself and a local engine take
/// (docs/benchmarks.md); 10 s is what `docker stop` grants a container; after 60 s docker-py and
/// Compose v1 give a call up.
pub(super) const BOUNDS: [Duration; 14] = [
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(60),
];

/// Rules are named by operators too; what comes after so many is `other`.
pub(super) const MOST_RULES: usize = 500;
/// Of an operation: an engine that answers in more ways than this answers nonsense.
const MOST_OUTCOMES: usize = 64;
/// Authenticators and results together.
const MOST_AUTHENTICATIONS: usize = 300;
pub(super) const OTHER: &str = "other";

/// The alignment keeps two workers' tallies out of one pair of cache lines.
#[derive(Debug)]
#[repr(align(128))]
pub struct Tally {
    pub(super) listener: Arc<str>,
    rules: Arc<RuleLabels>,
    pub(super) connections: AtomicI64,
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
pub(super) struct Counted {
    pub operations: HashMap<&'static str, Operation>,
    pub denied: HashMap<String, u64>,
    pub audited: HashMap<String, u64>,
    pub streams: Vec<(&'static str, i64)>,
    pub handshakes: Vec<(&'static str, u64)>,
    pub authentications: Vec<(String, &'static str, u64)>,
    pub bytes_in: u64,
    pub bytes_sent: u64,
}

#[derive(Debug, Default)]
pub(super) struct Operation {
    pub outcomes: Vec<((u16, Verdict), u64)>,
    pub stages: [Histogram; 6],
}

#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    /// One for each bound, not added up, and one for what is above them all.
    pub buckets: [u64; BOUNDS.len() + 1],
    pub sum: Duration,
}

/// The rules that are labels, the same ones in all tallies.
#[derive(Debug, Default)]
pub(super) struct RuleLabels(Mutex<HashSet<String>>);

/// Something that is open until this is dropped.
#[derive(Debug)]
pub struct Open {
    tally: Arc<Tally>,
    /// None for a connection.
    stream: Option<&'static str>,
}

impl Tally {
    pub(super) fn new(listener: &str, rules: Arc<RuleLabels>) -> Tally {
        Tally {
            listener: listener.into(),
            rules,
            connections: AtomicI64::new(0),
            counted: Mutex::default(),
        }
    }

    /// Counts a call that has ended.
    pub fn call(&self, record: &Record) {
        let mut counted = self.counted();
        counted.bytes_in += record.bytes_in;
        counted.bytes_sent += record.bytes_sent;
        let operation = counted.operations.entry(record.operation).or_default();
        operation.count(record.status, record.verdict);
        for (stage, took) in record.stages.each() {
            if let Some(histogram) = operation.stages.get_mut(stage as usize) {
                histogram.observe(took);
            }
        }
        let Counted { denied, audited, .. } = &mut *counted;
        if let (Verdict::Deny, Some(rule)) = (record.verdict, &record.rule) {
            self.rule(denied, rule);
        }
        record.findings.rules.iter().for_each(|rule| self.rule(audited, rule));
    }

    /// A connection, open until the guard is dropped.
    pub fn connection(self: &Arc<Tally>) -> Open {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Open { tally: Arc::clone(self), stream: None }
    }

    /// A connection that the engine took over; `kind` is the operation that it began as.
    pub fn stream(self: &Arc<Tally>, kind: &'static str) -> Open {
        add(&mut self.counted().streams, kind, 1);
        Open { tally: Arc::clone(self), stream: Some(kind) }
    }

    /// A TLS handshake that has ended; `result` is a word of the program's.
    pub fn handshake(&self, result: &'static str) {
        add(&mut self.counted().handshakes, result, 1);
    }

    /// What an authenticator said. `method` is its name in the configuration.
    pub fn authentication(&self, method: &str, result: &'static str) {
        let all = &mut self.counted().authentications;
        let is_same = |(name, said, _): &&mut (String, &'static str, u64), method: &str| {
            name == method && *said == result
        };
        if let Some((.., count)) = all.iter_mut().find(|one| is_same(one, method)) {
            *count += 1;
        } else if all.len() < MOST_AUTHENTICATIONS {
            all.push((method.to_owned(), result, 1));
        } else if let Some((.., count)) = all.iter_mut().find(|one| is_same(one, OTHER)) {
            *count += 1;
        } else {
            all.push((OTHER.to_owned(), result, 1));
        }
    }

    pub(super) fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rule(&self, counts: &mut HashMap<String, u64>, rule: &str) {
        if let Some(count) = counts.get_mut(rule) {
            *count += 1;
            return;
        }
        let label = if self.rules.admit(rule) { rule } else { OTHER };
        *counts.entry(label.to_owned()).or_default() += 1;
    }
}

impl Operation {
    fn count(&mut self, status: u16, verdict: Verdict) {
        let has_room = self.outcomes.len() < MOST_OUTCOMES;
        let is_known = self.outcomes.iter().any(|(outcome, _)| *outcome == (status, verdict));
        // 0 is no status: the label says `other`.
        let status = if is_known || has_room { status } else { 0 };
        add(&mut self.outcomes, (status, verdict), 1);
    }
}

impl Histogram {
    fn observe(&mut self, took: Duration) {
        let index = BOUNDS.iter().position(|bound| took <= *bound).unwrap_or(BOUNDS.len());
        if let Some(bucket) = self.buckets.get_mut(index) {
            *bucket += 1;
        }
        self.sum += took;
    }

    pub(super) fn add(&mut self, other: &Histogram) {
        for (bucket, more) in self.buckets.iter_mut().zip(other.buckets) {
            *bucket += more;
        }
        self.sum += other.sum;
    }

    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

impl RuleLabels {
    /// Whether a rule may be a label of its own.
    fn admit(&self, rule: &str) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.contains(rule) || known.len() < MOST_RULES && known.insert(rule.to_owned())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        match self.stream {
            Some(kind) => add(&mut self.tally.counted().streams, kind, -1),
            None => {
                self.tally.connections.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

/// Adds to the count of a key in a list that is too short for a map.
fn add<K: PartialEq, N: std::ops::AddAssign>(list: &mut Vec<(K, N)>, key: K, more: N) {
    match list.iter_mut().find(|(known, _)| *known == key) {
        Some((_, count)) => *count += more,
        None => list.push((key, more)),
    }
}

#[cfg(test)]
mod tests;
