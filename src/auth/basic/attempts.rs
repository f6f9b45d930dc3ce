//! Who has failed how often: after three failures in a row an address waits before its next attempt
//! counts at all, 1 s, then 2 s, up to a minute.
//!
//! `Basic` begins an attempt for each password that it does not know yet. What must stay true: both
//! the addresses and the attempts that wait for each are bounded; one address waits for no other.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

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

/// Whose failures are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Address {
    User(u32),
    V4(Ipv4Addr),
    /// A /64.
    V6([u16; 4]),
    Unknown,
}

#[derive(Debug)]
pub(super) struct Attempts {
    places: Cache<Address, Arc<Place>>,
}

#[derive(Debug)]
struct Place {
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

impl Default for Attempts {
    fn default() -> Attempts {
        Attempts { places: Cache::new(MOST) }
    }
}

impl Attempts {
    /// Waits until no other attempt of this address goes on.
    pub(super) async fn begin(&self, address: Address) -> Result<Attempt, Busy> {
        let made = || {
            let waiting = Arc::new(Semaphore::new(WAITING));
            Ok::<_, Busy>(Arc::new(Place { waiting, failures: Arc::default() }))
        };
        let place = self.places.get_or_insert_with(&address, made)?;
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
            attempts.begin(Address::User(7)).await.unwrap().failed(now);
        }
        assert!(attempts.begin(Address::User(7)).await.unwrap().wait(now).is_some());
        assert!(attempts.begin(Address::User(8)).await.unwrap().wait(now).is_none());
        attempts.begin(Address::User(7)).await.unwrap().succeeded();
        assert!(attempts.begin(Address::User(7)).await.unwrap().wait(now).is_none());
    }

    #[tokio::test]
    async fn attempts_of_one_address_wait_for_each_other_and_not_without_end() {
        let attempts = Arc::new(Attempts::default());
        let first = attempts.begin(Address::Unknown).await.unwrap();
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 1..WAITING {
            let attempts = Arc::clone(&attempts);
            waiting.spawn(async move { attempts.begin(Address::Unknown).await.is_ok() });
        }
        while attempts.places.get(&Address::Unknown).unwrap().waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(attempts.begin(Address::Unknown).await.is_err());
        assert!(attempts.begin(Address::User(1)).await.is_ok());
        drop(first);
        assert_eq!(waiting.join_all().await, [true; WAITING - 1]);
        assert!(attempts.begin(Address::Unknown).await.is_ok());
    }

    #[tokio::test]
    async fn the_addresses_are_bounded() {
        let attempts = Attempts::default();
        for n in 0..3 * u32::try_from(MOST).unwrap() {
            attempts.begin(Address::User(n)).await.unwrap().failed(Instant::now());
        }
        assert!(attempts.places.len() <= MOST);
    }
}
