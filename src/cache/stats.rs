//! What the cache has saved: requests and bytes, by domain and by tenant.
//!
//! `serve` opens an `Account` for each request and `front` closes it with the bytes that were really
//! sent; metrics and `dockgate cache stats` read the sums. What must stay true: domains and tenants
//! are bounded in number, and counting costs no lock while both are known.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

/// Domains, and tenants, beyond these are counted together.
const MOST: usize = 500;
const OTHER: &str = "other";

/// What a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// From the store, without a word to the origin.
    Hit,
    /// From the store, though stale.
    Stale,
    /// From the store, after the origin has confirmed it.
    Revalidated,
    /// From an answer that another request has asked for.
    Collapsed,
    /// From the origin, on its way into the store.
    Miss,
    /// From the origin, and not stored.
    Passed,
    /// Nothing could be had.
    Failed,
    /// Not asked of anybody.
    Refused,
    /// By the gateway itself, of nothing that is stored: a registry's ping, a token.
    Own,
}

impl Outcome {
    pub const ALL: [Outcome; 9] = [
        Outcome::Hit,
        Outcome::Stale,
        Outcome::Revalidated,
        Outcome::Collapsed,
        Outcome::Miss,
        Outcome::Passed,
        Outcome::Failed,
        Outcome::Refused,
        Outcome::Own,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Hit => "hit",
            Outcome::Stale => "stale",
            Outcome::Revalidated => "revalidated",
            Outcome::Collapsed => "collapsed",
            Outcome::Miss => "miss",
            Outcome::Passed => "passed",
            Outcome::Failed => "failed",
            Outcome::Refused => "refused",
            Outcome::Own => "own",
        }
    }

    /// Whether the origin sent no body for it.
    fn saves(self) -> bool {
        matches!(self, Outcome::Hit | Outcome::Stale | Outcome::Revalidated | Outcome::Collapsed)
    }
}

#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counts {
    requests: [AtomicU64; Outcome::ALL.len()],
    /// Body bytes to clients: all of them, and those that no origin sent for it.
    sent: AtomicU64,
    saved: AtomicU64,
    /// Body bytes from origins, and those of them that were stored.
    fetched: AtomicU64,
    stored: AtomicU64,
    /// Requests to origins.
    asked: AtomicU64,
}

/// The sums of one domain or tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// By `Outcome::as_str`.
    pub requests: BTreeMap<Cow<'static, str>, u64>,
    pub bytes_sent: u64,
    pub bytes_saved: u64,
    pub bytes_fetched: u64,
    pub bytes_stored: u64,
    pub origin_requests: u64,
}

#[derive(Debug, Default)]
pub struct Stats {
    domains: RwLock<BTreeMap<Arc<str>, Arc<Counts>>>,
    tenants: RwLock<BTreeMap<Arc<str>, Arc<Counts>>>,
    /// Why answers were not stored.
    not_stored: Mutex<BTreeMap<String, u64>>,
    /// Errors of the disk.
    disk_errors: AtomicU64,
    /// Objects that gave way in stores that were closed by a reload.
    evicted_before: AtomicU64,
}

/// Who is charged for a request.
#[derive(Clone, Debug)]
pub struct Account {
    domain: Arc<Counts>,
    tenant: Arc<Counts>,
    outcome: Outcome,
    told: Option<WhenClosed>,
}

/// Hears how many bytes of the body were sent.
#[derive(Clone)]
struct WhenClosed(Arc<dyn Fn(u64) + Send + Sync>);

impl Stats {
    pub fn account(&self, domain: &str, tenant: &str, outcome: Outcome) -> Account {
        let domain = counts(&self.domains, domain);
        Account { domain, tenant: counts(&self.tenants, tenant), outcome, told: None }
    }

    pub fn tenant(&self, tenant: &str) -> Arc<Counts> {
        counts(&self.tenants, tenant)
    }

    pub fn domain(&self, domain: &str) -> Arc<Counts> {
        counts(&self.domains, domain)
    }

    pub fn not_stored(&self, reason: &str) {
        let mut reasons = self.not_stored.lock().unwrap_or_else(PoisonError::into_inner);
        *reasons.entry(reason.to_owned()).or_default() += 1;
    }

    pub fn by_domain(&self) -> BTreeMap<String, Sums> {
        sums(&self.domains)
    }

    pub fn by_tenant(&self) -> BTreeMap<String, Sums> {
        sums(&self.tenants)
    }

    pub fn reasons(&self) -> BTreeMap<String, u64> {
        self.not_stored.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn disk_failed(&self) {
        self.disk_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub fn disk_errors(&self) -> u64 {
        self.disk_errors.load(Ordering::Relaxed)
    }

    /// A store is closed in which so many objects gave way: the next one counts from 0.
    pub fn store_closed(&self, evicted: u64) {
        self.evicted_before.fetch_add(evicted, Ordering::Relaxed);
    }

    pub fn evicted_before(&self) -> u64 {
        self.evicted_before.load(Ordering::Relaxed)
    }
}

impl Sums {
    /// Of all domains, or all tenants.
    pub fn total<'s>(all: impl IntoIterator<Item = &'s Sums>) -> Sums {
        let mut total = Sums::default();
        for sums in all {
            for (outcome, count) in &sums.requests {
                *total.requests.entry(outcome.clone()).or_default() += count;
            }
            total.bytes_sent += sums.bytes_sent;
            total.bytes_saved += sums.bytes_saved;
            total.bytes_fetched += sums.bytes_fetched;
            total.bytes_stored += sums.bytes_stored;
            total.origin_requests += sums.origin_requests;
        }
        total
    }

    /// Requests for what somebody could have been asked for, and that were answered.
    pub fn answered(&self) -> u64 {
        self.count(|outcome| !matches!(outcome, Outcome::Refused | Outcome::Own))
    }

    /// Requests for which no origin sent a body.
    pub fn saved(&self) -> u64 {
        self.count(Outcome::saves)
    }

    fn count(&self, wanted: impl Fn(Outcome) -> bool) -> u64 {
        let counted = Outcome::ALL.into_iter().filter(|outcome| wanted(*outcome));
        counted.filter_map(|outcome| self.requests.get(outcome.as_str())).sum()
    }
}

impl Account {
    pub fn of(domain: Arc<Counts>, tenant: Arc<Counts>, outcome: Outcome) -> Account {
        Account { domain, tenant, outcome, told: None }
    }

    /// Has this called with the bytes that were sent, when the answer has ended.
    pub fn when_closed(&mut self, tell: Arc<dyn Fn(u64) + Send + Sync>) {
        self.told = Some(WhenClosed(tell));
    }

    pub fn is_told(&self) -> bool {
        self.told.is_some()
    }

    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The answer has ended, for better or worse, with so many bytes of its body sent.
    pub fn close(&self, sent: u64) {
        for counts in [&self.domain, &self.tenant] {
            if let Some(count) = counts.requests.get(self.outcome as usize) {
                count.fetch_add(1, Ordering::Relaxed);
            }
            counts.sent.fetch_add(sent, Ordering::Relaxed);
            if self.outcome.saves() {
                counts.saved.fetch_add(sent, Ordering::Relaxed);
            }
        }
        if let Some(WhenClosed(tell)) = &self.told {
            tell(sent);
        }
    }

    /// The origin was asked.
    pub fn asked(&self) {
        for counts in [&self.domain, &self.tenant] {
            counts.asked.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn fetched(&self, bytes: u64) {
        for counts in [&self.domain, &self.tenant] {
            counts.fetched.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    pub fn stored(&self, bytes: u64) {
        for counts in [&self.domain, &self.tenant] {
            counts.stored.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

impl std::fmt::Debug for WhenClosed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WhenClosed(…)")
    }
}

impl Counts {
    pub fn sums(&self) -> Sums {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let requests = Outcome::ALL
            .iter()
            .zip(&self.requests)
            .map(|(outcome, count)| (outcome.as_str().into(), read(count)))
            .collect();
        Sums {
            requests,
            bytes_sent: read(&self.sent),
            bytes_saved: read(&self.saved),
            bytes_fetched: read(&self.fetched),
            bytes_stored: read(&self.stored),
            origin_requests: read(&self.asked),
        }
    }
}

fn counts(all: &RwLock<BTreeMap<Arc<str>, Arc<Counts>>>, name: &str) -> Arc<Counts> {
    if let Some(known) = all.read().unwrap_or_else(PoisonError::into_inner).get(name) {
        return Arc::clone(known);
    }
    let mut all = all.write().unwrap_or_else(PoisonError::into_inner);
    let name = if all.len() < MOST || all.contains_key(name) { name } else { OTHER };
    Arc::clone(all.entry(name.into()).or_default())
}

fn sums(all: &RwLock<BTreeMap<Arc<str>, Arc<Counts>>>) -> BTreeMap<String, Sums> {
    let all = all.read().unwrap_or_else(PoisonError::into_inner);
    all.iter().map(|(name, counts)| (name.to_string(), counts.sums())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hit_counts_the_bytes_that_were_sent_and_a_miss_saves_none() {
        let stats = Stats::default();
        stats.account("a.example", "team", Outcome::Hit).close(10);
        stats.account("a.example", "-", Outcome::Miss).close(7);
        let sums = stats.by_domain();
        assert_eq!((sums["a.example"].bytes_sent, sums["a.example"].bytes_saved), (17, 10));
        assert_eq!(sums["a.example"].requests["hit"], 1);
        assert_eq!(stats.by_tenant()["team"].bytes_saved, 10);
    }

    #[test]
    fn a_total_has_what_all_have_and_a_refusal_is_no_answer() {
        let stats = Stats::default();
        for (domain, outcome) in [
            ("a.example", Outcome::Hit),
            ("b.example", Outcome::Stale),
            ("b.example", Outcome::Miss),
            ("c.example", Outcome::Refused),
            ("c.example", Outcome::Own),
        ] {
            stats.account(domain, "-", outcome).close(5);
        }
        let total = Sums::total(stats.by_domain().values());
        assert_eq!(total, stats.by_tenant()["-"]);
        assert_eq!((total.answered(), total.saved(), total.bytes_saved), (3, 2, 10));
    }

    #[test]
    fn names_beyond_the_bound_are_counted_together() {
        let stats = Stats::default();
        for i in 0..MOST + 50 {
            stats.account(&format!("h{i}"), "-", Outcome::Miss).close(1);
        }
        let sums = stats.by_domain();
        assert_eq!(sums.len(), MOST + 1);
        assert_eq!(sums[OTHER].requests["miss"], 50);
    }
}
