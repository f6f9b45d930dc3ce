//! One request in the access log, from its head to the last byte of its answer.
//!
//! `front` and `intercept` begin one for each request, tunnel and connection that is passed on. What must stay true: nothing of a
//! query, a header or a body is in a record; a request that a registry writes down has no second record; where the log is
//! off nothing is made.

use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;

use super::Cache;
use super::key::Scheme;
use super::reply::Reply;
use super::request::Request;
use super::stats::Outcome;
use crate::auth::Peer;
use crate::telemetry::access::{CacheCall, Labels, Log, Record, Verdict};

/// As long as a request target may be here.
const LONGEST: usize = 2048;

/// Who asks on a connection, as records say it.
#[derive(Debug, Default)]
pub(super) struct Asking {
    listener: Arc<str>,
    client: Arc<str>,
    user: Option<Arc<Labels>>,
    container: Option<Arc<str>>,
}

impl Asking {
    pub(super) fn new(cache: &Cache, peer: &Peer, tenant: &str) -> Asking {
        let user = (tenant != super::NOBODY)
            .then(|| Arc::new(Labels::new(Some(tenant), None, &[], &serde_json::Map::new())));
        let listener = format!("{} {}", cache.table(), cache.name).into();
        Asking { listener, client: peer.to_string().into(), user, container: None }
    }

    /// A container, by its id.
    pub(super) fn of_container(self, id: &str) -> Asking {
        Asking { container: Some(id.into()), ..self }
    }
}

/// A request that is not answered yet.
pub(super) struct ServedRequest {
    log: Arc<Log>,
    record: Record,
    of: CacheCall,
}

impl ServedRequest {
    /// None where nobody writes it down.
    pub(super) fn begin(cache: &Cache, asking: &Asking) -> Option<ServedRequest> {
        let log = cache.log.load_full().filter(|log| log.is_on())?;
        let mut record = Record::new(Arc::clone(&asking.listener), Arc::clone(&asking.client));
        record.identity.clone_from(&asking.user);
        record.operation = "CacheRequest";
        let of = CacheCall { container: asking.container.clone(), ..CacheCall::default() };
        Some(ServedRequest { log, record, of })
    }

    /// What a head of HTTP/1 begins with, whether it is understood or not.
    pub(super) fn said(self, head: &[u8]) -> ServedRequest {
        let line = head.split(|byte| *byte == b'\r' || *byte == b'\n').next().unwrap_or_default();
        let mut words = line.split(|byte| *byte == b' ');
        let mut word = || {
            let word = words.next().unwrap_or_default();
            String::from_utf8_lossy(word.get(..LONGEST).unwrap_or(word)).into_owned()
        };
        let (method, target) = (word(), word());
        self.of(&method, target.split('?').next().unwrap_or_default())
    }

    pub(super) fn of(mut self, method: &str, path: &str) -> ServedRequest {
        method.clone_into(&mut self.record.method);
        path.clone_into(&mut self.record.path);
        self
    }

    pub(super) fn at(mut self, (scheme, host): (Scheme, &str)) -> ServedRequest {
        self.of.host = Some(format!("{}://{host}", scheme.as_str()));
        self
    }

    pub(super) fn asks(self, request: &Request) -> ServedRequest {
        let Request { method, scheme, host, path, .. } = request;
        self.of(method.as_str(), path).at((*scheme, host))
    }

    /// A way to a host whose bytes nobody here reads.
    pub(super) fn tunnels(mut self, operation: &'static str, host: &str) -> ServedRequest {
        self.record.operation = operation;
        "-".clone_into(&mut self.record.path);
        self.of.host = Some(host.to_owned());
        self
    }

    /// The answer is there: it is written down when its last byte is sent.
    pub(super) fn answered(self, reply: &mut Reply) {
        let Reply { status, account, .. } = reply;
        if account.is_told() {
            return;
        }
        let (status, outcome) = (*status, account.outcome());
        let this = Mutex::new(Some(self));
        account.when_closed(Arc::new(move |sent| {
            if let Some(this) = this.lock().unwrap_or_else(PoisonError::into_inner).take() {
                this.ended(status, outcome, sent);
            }
        }));
    }

    pub(super) fn ended(mut self, status: StatusCode, outcome: Outcome, sent: u64) {
        self.record.status = status.as_u16();
        self.record.bytes_sent = sent;
        self.record.verdict = match outcome {
            Outcome::Refused => Verdict::Reject,
            Outcome::Failed => Verdict::Fail,
            _ => Verdict::Allow,
        };
        self.of.result = outcome.as_str();
        self.record.cache = Some(Box::new(self.of));
        self.log.write(&self.record);
    }
}
