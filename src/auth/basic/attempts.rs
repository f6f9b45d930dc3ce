//! Who has failed how often: after ten failures in a row an address waits before its next attempt
//! counts at all, 1 s, then 2 s, up to a minute.
//!
//! `Basic` begins an attempt for each password that it does not know yet; `run` keeps them over reloads and
//! hands them over at a restart. What must stay true: both the addresses and the attempts that wait for each
//! are bounded; one address waits for no other; nobody gets new guesses by waiting for a reload.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use crate::auth::PeerKey;

/// A docker CLI makes three requests of one wrong password, and people mistype.
const FREE: u32 = 10;
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// After this, an old failure is somebody's typing error.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// Of addresses that are remembered; those least used leave first.
const MOST: usize = 10_000;
/// Of attempts from one address that wait for each other: more than a client opens connections.
const WAITING: usize = 32;

/// The attempts at each authenticator, by its name in the configuration. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Backoff(Arc<std::sync::Mutex<HashMap<String, Arc<Attempts>>>>);

/// One address that waits, as it goes to the process that takes over.
#[derive(Serialize, Deserialize)]
struct SavedAttempts {
    auth: String,
    source: PeerKey,
    failures: u32,
    /// Since the last one, in seconds.
    ago: u64,
}

#[derive(Debug)]
pub(in crate::auth) struct Attempts {
    places: Cache<PeerKey, Arc<PeerAttempts>>,
}

#[derive(Debug)]
struct PeerAttempts {
    waiting: Arc<Semaphore>,
    failures: Arc<Mutex<Failures>>,
}

/// How often in a row, and when for the last time.
#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    count: u32,
    last: Option<Instant>,
}

/// The one attempt of its address.
#[derive(Debug)]
pub(super) struct Attempt {
    failures: OwnedMutexGuard<Failures>,
    _waiting: OwnedSemaphorePermit,
}

/// Too many wait already.
#[derive(Debug)]
pub(super) struct Busy;

impl Backoff {
    pub(in crate::auth) fn of(&self, auth: &str) -> Arc<Attempts> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(auth.to_owned()).or_default())
    }

    /// Forgets the authenticators that are gone.
    pub fn prune(&self) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, attempts| Arc::strong_count(attempts) > 1);
    }

    /// Every address that waits, one line each; not those that are guessing in this moment.
    pub fn tell(&self) -> Vec<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let of_one = |(auth, attempts): (&String, &Arc<Attempts>)| {
            let told = |(source, place): (PeerKey, Arc<PeerAttempts>)| {
                let failures = place.failures.try_lock().ok()?;
                let ago = now.saturating_duration_since(failures.last?).as_secs();
                let (auth, failures) = (auth.clone(), failures.count);
                serde_json::to_string(&SavedAttempts { auth, source, failures, ago }).ok()
            };
            attempts.places.iter().filter_map(told).collect::<Vec<_>>()
        };
        all.iter().flat_map(of_one).collect()
    }

    /// What another process told, among other things.
    pub fn learn(&self, lines: &[String]) {
        let now = Instant::now();
        for line in lines {
            let told = line.parse::<serde_json::Value>().and_then(SavedAttempts::deserialize);
            let Ok(SavedAttempts { auth, source, failures: count, ago }) = told else { continue };
            let failures = Failures { count, last: now.checked_sub(Duration::from_secs(ago)) };
            let attempts = self.of(&auth);
            attempts.places.insert(source, Arc::new(PeerAttempts::after(failures)));
        }
    }
}

impl PeerAttempts {
    fn after(failures: Failures) -> PeerAttempts {
        let waiting = Arc::new(Semaphore::new(WAITING));
        PeerAttempts { waiting, failures: Arc::new(Mutex::new(failures)) }
    }
}

impl Default for Attempts {
    fn default() -> Attempts {
        Attempts { places: Cache::new(MOST) }
    }
}

impl Attempts {
    /// Waits until no other attempt of this address goes on.
    pub(super) async fn begin(&self, source: PeerKey) -> Result<Attempt, Busy> {
        let made = || Ok::<_, Busy>(Arc::new(PeerAttempts::after(Failures::default())));
        let place = self.places.get_or_insert_with(&source, made)?;
        let waiting = Arc::clone(&place.waiting).try_acquire_owned().map_err(|_| Busy)?;
        let failures = Arc::clone(&place.failures).lock_owned().await;
        Ok(Attempt { failures, _waiting: waiting })
    }
}

impl Attempt {
    /// How long no attempt counts.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        self.failures.wait(now)
    }

    pub(super) fn failed(&mut self, now: Instant) {
        self.failures.failed(now);
    }

    /// The wait begins with the answer, however long that took.
    pub(super) fn ended(&mut self, now: Instant) {
        self.failures.last = Some(now);
    }

    pub(super) fn succeeded(&mut self) {
        *self.failures = Failures::default();
    }
}

impl Failures {
    fn wait(&self, now: Instant) -> Option<Duration> {
        let beyond = self.count.checked_sub(FREE)?;
        let delay = LONGEST.min(FIRST.saturating_mul(1 << beyond.min(16)));
        let over = self.last? + delay;
        over.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    fn failed(&mut self, now: Instant) {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) >= FORGOTTEN) {
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_beyond_the_tenth_doubles_the_wait_up_to_a_minute() {
        let start = Instant::now();
        let mut failures = Failures::default();
        let mut waits = Vec::new();
        let mut now = start;
        for _ in 0..18 {
            assert_eq!(failures.wait(now), None);
            failures.failed(now);
            let wait = failures.wait(now).unwrap_or_default();
            waits.push(wait.as_secs());
            now += wait;
        }
        assert_eq!(waits, [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn a_wait_gets_shorter_with_time_and_old_failures_are_forgotten() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut failures = Failures::default();
        (0..=FREE).for_each(|_| failures.failed(start));
        assert_eq!(failures.wait(at(500)), Some(Duration::from_millis(1500)));
        assert_eq!(failures.wait(at(2000)), None);
        failures.failed(start + FORGOTTEN);
        assert_eq!((failures.count, failures.wait(start + FORGOTTEN)), (1, None));
        failures.count = u32::MAX;
        failures.failed(start);
        assert_eq!(failures.wait(start), Some(LONGEST));
    }

    #[tokio::test]
    async fn addresses_are_counted_apart_and_a_success_clears() {
        let attempts = Attempts::default();
        let now = Instant::now();
        for _ in 0..FREE + 2 {
            attempts.begin(PeerKey::User(7)).await.unwrap().failed(now);
        }
        assert!(attempts.begin(PeerKey::User(7)).await.unwrap().wait(now).is_some());
        assert!(attempts.begin(PeerKey::User(8)).await.unwrap().wait(now).is_none());
        attempts.begin(PeerKey::User(7)).await.unwrap().succeeded();
        assert!(attempts.begin(PeerKey::User(7)).await.unwrap().wait(now).is_none());
    }

    #[tokio::test]
    async fn what_is_known_of_guesses_goes_on_under_the_authenticators_name() {
        let backoff = Backoff::default();
        let now = Instant::now();
        for _ in 0..FREE + 2 {
            backoff.of("pw").begin(PeerKey::User(7)).await.unwrap().failed(now);
        }
        backoff.of("pw").begin(PeerKey::V4([10, 0, 0, 1].into())).await.unwrap().succeeded();
        let attempts = backoff.of("pw");
        assert!(attempts.begin(PeerKey::User(7)).await.unwrap().wait(now).is_some());
        let mut told = backoff.tell();
        assert_eq!(told.len(), 1, "{told:?}");
        told.extend(["{\"exec\":\"x\"}".to_owned(), "nonsense".to_owned()]);
        let next = Backoff::default();
        next.learn(&told);
        let known = next.of("pw").begin(PeerKey::User(7)).await.unwrap();
        assert_eq!(known.failures.count, FREE + 2);
        assert!(known.wait(now).is_some());
        assert!(next.of("other").begin(PeerKey::User(7)).await.unwrap().wait(now).is_none());
        next.prune();
        assert!(next.tell().is_empty(), "nobody has that authenticator");
        drop(attempts);
        backoff.prune();
        assert!(backoff.tell().is_empty());
    }

    #[tokio::test]
    async fn attempts_of_one_address_wait_for_each_other_and_not_without_end() {
        let attempts = Arc::new(Attempts::default());
        let first = attempts.begin(PeerKey::Unknown).await.unwrap();
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 1..WAITING {
            let attempts = Arc::clone(&attempts);
            waiting.spawn(async move { attempts.begin(PeerKey::Unknown).await.is_ok() });
        }
        while attempts.places.get(&PeerKey::Unknown).unwrap().waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(attempts.begin(PeerKey::Unknown).await.is_err());
        assert!(attempts.begin(PeerKey::User(1)).await.is_ok());
        drop(first);
        assert_eq!(waiting.join_all().await, [true; WAITING - 1]);
        assert!(attempts.begin(PeerKey::Unknown).await.is_ok());
    }

    #[tokio::test]
    async fn the_addresses_are_bounded() {
        let attempts = Attempts::default();
        for n in 0..3 * u32::try_from(MOST).unwrap() {
            attempts.begin(PeerKey::User(n)).await.unwrap().failed(Instant::now());
        }
        assert!(attempts.places.len() <= MOST);
    }
}
