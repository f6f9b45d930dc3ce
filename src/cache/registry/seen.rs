//! What a registry has done: for metrics and the access log.
//!
//! `serve` begins a `Call` for each request and ends it with the answer. What must stay true: only what was there becomes
//! a label, and not more than a bounded number; nothing of a credential or a query is in a record.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use http::{HeaderMap, Method, StatusCode};

use super::request::{Operation, Thing};
use super::routes::Routed;
use crate::auth::{Identity, Peer};
use crate::cache::reply::Reply;
use crate::cache::request::Request;
use crate::telemetry::access::{Log, Record, RegistryCall, Verdict};
use crate::telemetry::registries::RegistryNumbers;

/// Repositories beyond these are counted together.
const MOST: usize = 200;
const OTHER: &str = "other";

/// By upstream, action and result.
type Requests = BTreeMap<(String, &'static str, &'static str), u64>;

#[derive(Debug, Default)]
pub(super) struct RegistrySeen {
    log: ArcSwapOption<Log>,
    requests: Mutex<Requests>,
    pulls: Mutex<BTreeMap<String, u64>>,
    /// By authenticator and result.
    authentications: Mutex<BTreeMap<(String, &'static str), u64>>,
}

/// Of one upstream.
#[derive(Debug, Default)]
pub(super) struct UpstreamCounts {
    pub tokens: AtomicU64,
    pub refused_tokens: AtomicU64,
    /// One more than it said; 0: it has said nothing.
    remaining: AtomicU64,
}

/// One request, until it is answered.
pub(super) struct Call {
    record: Record,
    of: RegistryCall,
    action: &'static str,
    pulls: bool,
}

impl UpstreamCounts {
    /// What an answer says of how often it may still be asked (`ratelimit-remaining: 98;w=21600`).
    pub(super) fn note(&self, headers: &HeaderMap) {
        let said = headers.get("ratelimit-remaining").and_then(|value| value.to_str().ok());
        let left = said.and_then(|text| text.split(';').next()?.trim().parse::<u64>().ok());
        if let Some(left) = left {
            self.remaining.store(left.saturating_add(1), Ordering::Relaxed);
        }
    }

    fn remaining(&self) -> Option<u64> {
        self.remaining.load(Ordering::Relaxed).checked_sub(1)
    }
}

impl Call {
    pub(super) fn begin(registry: &str, request: &Request) -> Call {
        let client = match request.caller.peer {
            Peer::Tcp(address) => address.ip().to_canonical().to_string(),
            Peer::Unix { uid, .. } => format!("uid={uid}"),
            Peer::Unknown => "-".to_owned(),
        };
        let mut record = Record::new(format!("registry {registry}").into(), client.into());
        record.started = Instant::now();
        record.method = request.method.as_str().to_owned();
        record.path = match request.path.split_once("/blobs/uploads/") {
            // The rest is sealed, and says nothing to anybody.
            Some((before, rest)) if !rest.is_empty() => format!("{before}/blobs/uploads/-"),
            _ => request.path.clone(),
        };
        Call { record, of: RegistryCall::default(), action: "other", pulls: false }
    }

    pub(super) fn understood(&mut self, method: &Method, operation: &Operation) {
        self.record.operation = name_of(method, operation);
        let Operation::Repository { name, thing } = operation else { return };
        self.named(name);
        self.action = thing.action(method).as_str();
        match thing {
            Thing::Manifest(reference) => {
                self.of.reference = Some(reference.as_str().to_owned());
                self.pulls = *method == Method::GET;
            }
            Thing::Blob(digest) | Thing::Referrers(digest) => {
                self.of.reference = Some(digest.as_str().to_owned());
            }
            Thing::Upload(_) | Thing::Tags | Thing::Uploads => {}
        }
    }

    /// As rules know it.
    pub(super) fn named(&mut self, name: &str) {
        self.of.repository = Some(name.to_owned());
    }

    pub(super) fn recognised(&mut self, who: &Identity) {
        self.record.identity = who.labels();
    }

    pub(super) fn refused(&mut self, rule: &str) {
        self.record.verdict = Verdict::Deny;
        self.record.rule = Some(rule.to_owned());
    }

    pub(super) fn routed(&mut self, routed: &Routed) {
        self.of.upstream = Some(routed.upstream.host.clone());
    }
}

impl RegistrySeen {
    /// Where records go from now on.
    pub(super) fn log_to(&self, log: Log) {
        self.log.store(Some(Arc::new(log)));
    }

    /// What an authenticator has said; `method`: its name.
    pub(super) fn asked(&self, method: &str, result: &'static str) {
        *locked(&self.authentications).entry((method.to_owned(), result)).or_default() += 1;
    }

    /// The answer is there: it is counted now, and written down when its last byte is sent.
    pub(super) fn answered(&self, call: Call, reply: &mut Reply) {
        let Call { mut record, mut of, action, pulls } = call;
        let result = result_of(reply.status);
        let upstream = of.upstream.clone().unwrap_or_else(|| "-".to_owned());
        *locked(&self.requests).entry((upstream, action, result)).or_default() += 1;
        if let Some(repository) =
            of.repository.as_ref().filter(|_| pulls && reply.status == StatusCode::OK)
        {
            let mut pulls = locked(&self.pulls);
            let is_known = pulls.contains_key(repository) || pulls.len() < MOST;
            let label = if is_known { repository.as_str() } else { OTHER };
            *pulls.entry(label.to_owned()).or_default() += 1;
        }
        let Some(log) = self.log.load_full() else { return };
        let digest = reply.headers.get(super::tags::CONTENT_DIGEST);
        of.digest = digest.and_then(|digest| digest.to_str().ok()).map(str::to_owned);
        record.status = reply.status.as_u16();
        if record.verdict == Verdict::Allow {
            record.verdict = match reply.status.as_u16() {
                401 => Verdict::Reject,
                502..=504 => Verdict::Fail,
                _ => Verdict::Allow,
            };
        }
        record.registry = Some(Box::new(of));
        let record = Mutex::new(Some(record));
        reply.account.when_closed(Arc::new(move |sent| {
            if let Some(mut record) = locked(&record).take() {
                record.bytes_sent = sent;
                log.write(&record);
            }
        }));
    }

    pub(super) fn numbers<'u>(
        &self,
        upstreams: impl Iterator<Item = (&'u str, &'u UpstreamCounts)>,
    ) -> RegistryNumbers {
        let requests = locked(&self.requests);
        let requests = requests.iter().map(|((upstream, action, result), count)| {
            (upstream.clone(), *action, *result, *count)
        });
        let mut numbers = RegistryNumbers {
            requests: requests.collect(),
            pulls: locked(&self.pulls).iter().map(|(name, count)| (name.clone(), *count)).collect(),
            authentications: locked(&self.authentications)
                .iter()
                .map(|((method, result), count)| (method.clone(), *result, *count))
                .collect(),
            ..RegistryNumbers::default()
        };
        for (host, counts) in upstreams {
            for (result, count) in [("ok", &counts.tokens), ("failed", &counts.refused_tokens)] {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    numbers.tokens.push((host.to_owned(), result, count));
                }
            }
            numbers.remaining.extend(counts.remaining().map(|left| (host.to_owned(), left)));
        }
        // Two names may have the same host.
        numbers.tokens.sort();
        numbers.tokens.dedup_by_key(|(host, result, _)| (host.clone(), *result));
        numbers.remaining.sort();
        numbers.remaining.dedup_by_key(|(host, _)| host.clone());
        numbers
    }
}

fn locked<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn result_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200..=399 => "ok",
        401 | 403 => "denied",
        404 => "absent",
        429 | 500.. => "failed",
        _ => "refused",
    }
}

/// As the specification calls what is done.
fn name_of(method: &Method, operation: &Operation) -> &'static str {
    let Operation::Repository { thing, .. } = operation else {
        return match operation {
            Operation::Ping => "RegistryPing",
            Operation::Token => "RegistryToken",
            Operation::Catalog | Operation::Repository { .. } => "RepositoryList",
        };
    };
    match (thing, method) {
        (Thing::Manifest(_), &Method::PUT) => "ManifestPush",
        (Thing::Manifest(_), &Method::DELETE) => "ManifestDelete",
        (Thing::Manifest(_), _) => "ManifestPull",
        (Thing::Blob(_), &Method::DELETE) => "BlobDelete",
        (Thing::Blob(_), _) => "BlobPull",
        (Thing::Uploads | Thing::Upload(_), _) => "BlobUpload",
        (Thing::Tags, _) => "TagList",
        (Thing::Referrers(_), _) => "ReferrerList",
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_an_upstream_says_of_its_limit_is_kept() {
        let counts = UpstreamCounts::default();
        assert_eq!(counts.remaining(), None);
        let of = |text: &'static str| {
            HeaderMap::from_iter([(
                http::HeaderName::from_static("ratelimit-remaining"),
                HeaderValue::from_static(text),
            )])
        };
        counts.note(&of("98;w=21600"));
        assert_eq!(counts.remaining(), Some(98));
        counts.note(&of("x"));
        assert_eq!(counts.remaining(), Some(98));
        counts.note(&of("0"));
        assert_eq!(counts.remaining(), Some(0));
    }
}
