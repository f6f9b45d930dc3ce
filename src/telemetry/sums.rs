//! All tallies together, as a scrape wants them: by label, in order.
//!
//! Used by `metrics` only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::record::Verdict;
use super::tally::{Histogram, Tally};

#[derive(Debug, Default)]
pub(super) struct Sums {
    pub requests: BTreeMap<(Arc<str>, &'static str, u16, Verdict), u64>,
    pub stages: BTreeMap<(&'static str, usize), Histogram>,
    pub denied: BTreeMap<String, u64>,
    pub audited: BTreeMap<String, u64>,
    pub streams: BTreeMap<&'static str, i64>,
    pub connections: BTreeMap<Arc<str>, i64>,
    pub handshakes: BTreeMap<(Arc<str>, &'static str), u64>,
    pub authentications: BTreeMap<(Arc<str>, String, &'static str), u64>,
    pub bytes: BTreeMap<(Arc<str>, &'static str), u64>,
}

impl Sums {
    pub(super) fn add(&mut self, tally: &Tally) {
        let listener = || Arc::clone(&tally.listener);
        let connections = tally.connections.load(Ordering::Relaxed);
        *self.connections.entry(listener()).or_default() += connections;
        let counted = tally.counted();
        for (operation, of_it) in &counted.operations {
            for ((status, verdict), count) in &of_it.outcomes {
                let key = (listener(), *operation, *status, *verdict);
                *self.requests.entry(key).or_default() += count;
            }
            for (stage, histogram) in of_it.stages.iter().enumerate() {
                if histogram.count() > 0 {
                    self.stages.entry((operation, stage)).or_default().add(histogram);
                }
            }
        }
        for (rule, count) in &counted.denied {
            *self.denied.entry(rule.clone()).or_default() += count;
        }
        for (rule, count) in &counted.audited {
            *self.audited.entry(rule.clone()).or_default() += count;
        }
        for (kind, open) in &counted.streams {
            *self.streams.entry(kind).or_default() += open;
        }
        for (result, count) in &counted.handshakes {
            *self.handshakes.entry((listener(), result)).or_default() += count;
        }
        for (method, result, count) in &counted.authentications {
            let key = (listener(), method.clone(), *result);
            *self.authentications.entry(key).or_default() += count;
        }
        *self.bytes.entry((listener(), "in")).or_default() += counted.bytes_in;
        *self.bytes.entry((listener(), "out")).or_default() += counted.bytes_sent;
    }
}
