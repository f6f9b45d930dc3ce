//! What each host can bear: requests at a time, and pauses that it asked for.
//!
//! `Upstream` asks before each request. What must stay true: a host's limit holds over all who ask
//! it; a pause binds only those who ask with the same credentials, so that one tenant's quota does
//! not stop another's, and of the host only the URL that it was said of, unless several say so; and
//! the table does not grow with the number of names that clients make up.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use http::header::{AUTHORIZATION, RETRY_AFTER};
use http::{HeaderMap, Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout};

use super::fault::Fault;

#[derive(Debug)]
pub(super) struct HostPool {
    each: Mutex<HashMap<Box<str>, Arc<HostSlots>>>,
    per_host: usize,
}

#[derive(Debug)]
struct HostSlots {
    slots: Arc<Semaphore>,
    /// Of them, those that uploads may have: clients that send nothing hold up no others.
    uploads: Arc<Semaphore>,
    /// Requests that wait for one.
    waiting: watch::Sender<usize>,
    pauses: Mutex<Vec<Pause>>,
}

#[derive(Debug)]
struct Pause {
    asker: Asker,
    target: Box<str>,
    until: Instant,
}

/// The right to one request; given back when dropped.
#[derive(Debug)]
pub(super) struct HostPermit {
    _permit: OwnedSemaphorePermit,
    _upload: Option<OwnedSemaphorePermit>,
    host: Arc<HostSlots>,
}

impl HostPermit {
    /// Returns when somebody waits for one.
    pub(super) async fn wanted(&self) {
        let mut waiting = self.host.waiting.subscribe();
        // The sender is there as long as the host is.
        let _ = waiting.wait_for(|waiting| *waiting > 0).await;
    }
}

/// Somebody waits as long as it is there.
struct Waiting<'h>(&'h HostSlots);

impl<'h> Waiting<'h> {
    fn at(host: &'h HostSlots) -> Waiting<'h> {
        host.waiting.send_modify(|waiting| *waiting += 1);
        Waiting(host)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.send_modify(|waiting| *waiting = waiting.saturating_sub(1));
    }
}

/// Whose quota a request counts on: a hash of its `Authorization`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asker(Option<u64>);

impl Asker {
    pub(super) fn of(headers: &HeaderMap) -> Asker {
        static KEY: std::sync::LazyLock<RandomState> = std::sync::LazyLock::new(RandomState::new);
        Asker(headers.get(AUTHORIZATION).map(|value| KEY.hash_one(value.as_bytes())))
    }
}

impl HostPool {
    pub(super) fn new(per_host: usize) -> HostPool {
        HostPool { each: Mutex::default(), per_host: per_host.clamp(1, Semaphore::MAX_PERMITS) }
    }

    /// Waits until the host can bear one more request.
    pub(super) async fn slot(
        &self,
        host: &str,
        target: &str,
        asker: Asker,
        patience: Duration,
        is_upload: bool,
    ) -> Result<HostPermit, Fault> {
        let host = self.host(host);
        host.ready_for(target, asker)?;
        let permits = timeout(patience, host.permits(is_upload)).await;
        // None: it is never closed.
        let Ok(Some((slot, upload))) = permits else { return Err(Fault::QueueTimeout(patience)) };
        // It may have asked for a pause meanwhile.
        host.ready_for(target, asker)?;
        Ok(HostPermit { _permit: slot, _upload: upload, host })
    }

    pub(super) fn leave_alone(&self, host: &str, target: &str, asker: Asker, pause: Duration) {
        let (host, now) = (self.host(host), Instant::now());
        let mut pauses = lock(&host.pauses);
        pauses.retain(|other| {
            other.until > now && (other.asker != asker || *other.target != *target)
        });
        if pauses.len() < MOST_PAUSES {
            pauses.push(Pause { asker, target: target.into(), until: now + pause });
        }
    }

    fn host(&self, name: &str) -> Arc<HostSlots> {
        let mut each = lock(&self.each);
        if let Some(host) = each.get(name) {
            return Arc::clone(host);
        }
        if each.len() >= MANY_HOSTS {
            let now = Instant::now();
            each.retain(|_, host| {
                Arc::strong_count(host) > 1
                    || host.slots.available_permits() < self.per_host
                    || lock(&host.pauses).iter().any(|pause| pause.until > now)
            });
        }
        let host = Arc::new(HostSlots {
            slots: Arc::new(Semaphore::new(self.per_host)),
            uploads: Arc::new(Semaphore::new(self.per_host.div_ceil(2))),
            waiting: watch::Sender::new(0),
            pauses: Mutex::default(),
        });
        each.insert(name.into(), Arc::clone(&host));
        host
    }
}

impl HostSlots {
    async fn permits(
        &self,
        is_upload: bool,
    ) -> Option<(OwnedSemaphorePermit, Option<OwnedSemaphorePermit>)> {
        let upload = match is_upload {
            true => Some(Arc::clone(&self.uploads).acquire_owned().await.ok()?),
            false => None,
        };
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Some((slot, upload));
        }
        let _waiting = Waiting::at(self);
        Some((Arc::clone(&self.slots).acquire_owned().await.ok()?, upload))
    }

    fn ready_for(&self, target: &str, asker: Asker) -> Result<(), Fault> {
        let now = Instant::now();
        let pauses = lock(&self.pauses);
        let of_asker: Vec<&Pause> =
            pauses.iter().filter(|pause| pause.asker == asker && pause.until > now).collect();
        let of_target = of_asker.iter().find(|pause| *pause.target == *target);
        // Until so many of its URLs are bound no more.
        let mut ends: Vec<Instant> = of_asker.iter().map(|pause| pause.until).collect();
        ends.sort_unstable_by(|one, other| other.cmp(one));
        let of_host = ends.get(SEVERAL - 1).copied();
        match of_target.map(|pause| pause.until).max(of_host) {
            Some(until) => Err(Fault::Busy { retry_after: until - now }),
            None => Ok(()),
        }
    }
}

/// How long the answer asks to be left alone: seconds or a date, with 429 and 503.
pub(super) fn retry_after<B>(answer: &Response<B>, longest: Duration) -> Option<Duration> {
    match answer.status() {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {}
        _ => return None,
    }
    let text = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().map_or(longest, Duration::from_secs)
    } else {
        let at = httpdate::parse_http_date(text).ok()?;
        at.duration_since(SystemTime::now()).ok()?
    };
    Some(pause.min(longest)).filter(|pause| !pause.is_zero())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From here on, hosts of which nothing needs to be remembered are forgotten.
const MANY_HOSTS: usize = 1024;
/// So many URLs of a host speak for all of it.
const SEVERAL: usize = 3;
/// For one host.
const MOST_PAUSES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: Asker = Asker(None);
    const SHORT: Duration = Duration::from_secs(1);

    fn answer(status: u16, retry_after: &str) -> Response<()> {
        let answer = Response::builder().status(status).header(RETRY_AFTER, retry_after);
        answer.body(()).unwrap()
    }

    #[test]
    fn retry_after_is_read_and_bounded() {
        let longest = Duration::from_secs(300);
        let read = |status, text: &str| retry_after(&answer(status, text), longest);
        assert_eq!(read(429, "7"), Some(Duration::from_secs(7)));
        assert_eq!(read(503, " 100000000000000000000000 "), Some(longest));
        assert_eq!(read(503, "0"), None);
        assert_eq!(read(429, "-5"), None);
        assert_eq!(read(429, "soon"), None);
        assert_eq!(read(200, "7"), None);
        assert_eq!(read(429, "Fri, 31 Dec 1999 23:59:59 GMT"), None);
        let far = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(86_400));
        assert_eq!(read(503, &far), Some(longest));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_binds_the_same_credentials_until_it_is_over() {
        let (hosts, other) = (HostPool::new(4), Asker(Some(1)));
        hosts.leave_alone("a", "/x", NOBODY, Duration::from_secs(10));
        let fault = hosts.slot("a", "/x", NOBODY, SHORT, false).await.unwrap_err();
        assert_eq!(fault, Fault::Busy { retry_after: Duration::from_secs(10) });
        drop(hosts.slot("a", "/x", other, SHORT, false).await.unwrap());
        drop(hosts.slot("b", "/x", NOBODY, SHORT, false).await.unwrap());
        tokio::time::advance(Duration::from_secs(10)).await;
        drop(hosts.slot("a", "/x", NOBODY, SHORT, false).await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_binds_its_url_and_several_bind_the_host() {
        let (hosts, other) = (HostPool::new(4), Asker(Some(1)));
        for (target, seconds) in [("/x", 10), ("/x", 30), ("/y", 20)] {
            hosts.leave_alone("a", target, NOBODY, Duration::from_secs(seconds));
            drop(hosts.slot("a", "/z", NOBODY, SHORT, false).await.unwrap());
        }
        assert_eq!(
            hosts.slot("a", "/y", NOBODY, SHORT, false).await.unwrap_err().name(),
            "origin-busy"
        );
        hosts.leave_alone("a", "/w", NOBODY, Duration::from_secs(10));
        let fault = hosts.slot("a", "/z", NOBODY, SHORT, false).await.unwrap_err();
        assert_eq!(fault, Fault::Busy { retry_after: Duration::from_secs(10) });
        drop(hosts.slot("a", "/z", other, SHORT, false).await.unwrap());
        tokio::time::advance(Duration::from_secs(10)).await;
        drop(hosts.slot("a", "/z", NOBODY, SHORT, false).await.unwrap());
        assert_eq!(
            hosts.slot("a", "/x", NOBODY, SHORT, false).await.unwrap_err().name(),
            "origin-busy"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_heeded_by_those_who_waited_already() {
        let hosts = Arc::new(HostPool::new(1));
        let held = hosts.slot("a", "/x", NOBODY, SHORT, false).await.unwrap();
        let waiter = Arc::clone(&hosts);
        let waiting = tokio::spawn(async move {
            waiter.slot("a", "/x", NOBODY, Duration::from_secs(60), false).await
        });
        tokio::task::yield_now().await;
        hosts.leave_alone("a", "/x", NOBODY, Duration::from_secs(10));
        drop(held);
        assert_eq!(waiting.await.unwrap().unwrap_err().name(), "origin-busy");
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_requests_at_a_time_than_the_limit() {
        let hosts = HostPool::new(2);
        let first = hosts.slot("a", "/x", NOBODY, SHORT, false).await.unwrap();
        let _second = hosts.slot("a", "/x", NOBODY, SHORT, false).await.unwrap();
        let fault = hosts.slot("a", "/x", NOBODY, SHORT, false).await.unwrap_err();
        assert_eq!(fault, Fault::QueueTimeout(SHORT));
        drop(first);
        drop(hosts.slot("a", "/x", NOBODY, SHORT, false).await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn uploads_leave_half_of_the_slots_to_others() {
        let hosts = HostPool::new(4);
        let one = hosts.slot("a", "/x", NOBODY, SHORT, true).await.unwrap();
        let _other = hosts.slot("a", "/x", NOBODY, SHORT, true).await.unwrap();
        let fault = hosts.slot("a", "/x", NOBODY, SHORT, true).await.unwrap_err();
        assert_eq!(fault, Fault::QueueTimeout(SHORT));
        let _reads = hosts.slot("a", "/y", NOBODY, SHORT, false).await.unwrap();
        let _reads_too = hosts.slot("a", "/y", NOBODY, SHORT, false).await.unwrap();
        drop(one);
        drop(hosts.slot("a", "/x", NOBODY, SHORT, true).await.unwrap());
        let only = HostPool::new(1);
        drop(only.slot("a", "/x", NOBODY, SHORT, true).await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn who_holds_a_slot_hears_that_somebody_waits_for_it() {
        let hosts = Arc::new(HostPool::new(1));
        let held = hosts.slot("a", "/x", NOBODY, SHORT, false).await.unwrap();
        assert!(timeout(SHORT, held.wanted()).await.is_err(), "nobody waits");
        let waiter = Arc::clone(&hosts);
        let waiting =
            tokio::spawn(async move { waiter.slot("a", "/y", NOBODY, SHORT, false).await });
        held.wanted().await;
        drop(held);
        let held = waiting.await.unwrap().unwrap();
        assert!(timeout(SHORT, held.wanted()).await.is_err(), "nobody waits any more");
    }

    #[tokio::test(start_paused = true)]
    async fn forgotten_are_only_hosts_of_which_nothing_is_to_be_remembered() {
        let hosts = HostPool::new(1);
        let _held = hosts.slot("held", "/x", NOBODY, SHORT, false).await.unwrap();
        hosts.leave_alone("paused", "/x", NOBODY, Duration::from_secs(60));
        for i in 0..10 * MANY_HOSTS {
            drop(hosts.slot(&i.to_string(), "/x", NOBODY, SHORT, false).await.unwrap());
        }
        assert!(lock(&hosts.each).len() <= MANY_HOSTS);
        assert_eq!(
            hosts.slot("held", "/x", NOBODY, SHORT, false).await.unwrap_err().name(),
            "queue-timeout"
        );
        assert_eq!(
            hosts.slot("paused", "/x", NOBODY, SHORT, false).await.unwrap_err().name(),
            "origin-busy"
        );
    }
}
