//! Where the keys come from, and when they are asked for again.
//!
//! `jwt` asks for the current set with every token that is not in its cache. What must stay true:
//! nothing is fetched before a token needs it; one fetch at a time, however many ask, and it goes on
//! when they leave; nobody can make us fetch more often than the pace; a good set is kept when the
//! source is down or answers nonsense.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::keys::{Allowed, Keys};
use super::pem;
use crate::config::{self, Invalid, Place};
use crate::http_client::HttpClient;

const TIMEOUT: Duration = Duration::from_secs(5);
const MOST_BYTES: usize = 512 * 1024;

#[derive(Debug)]
pub(super) enum KeySource {
    Fixed(Arc<Held>),
    Fetched(Arc<Fetched>),
}

/// A key set at a time.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) keys: Keys,
    /// Another set has another number: what was verified with one must be verified with the next.
    pub(super) generation: u64,
    /// As it was received: the same again is no change.
    body: Vec<u8>,
    /// When it was asked for.
    since: Instant,
}

/// How long to wait at least between two fetches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// After a good one.
    pub(super) refresh: Duration,
    /// After a failed one, with an old set to go on with.
    pub(super) retry: Duration,
    /// After a failed one, without.
    pub(super) first: Duration,
    /// Because tokens name keys that are not in the set.
    pub(super) unknown: Duration,
}

#[derive(Debug)]
pub(super) struct Fetched {
    client: HttpClient,
    allowed: Allowed,
    issuer: String,
    pace: Pace,
    held: ArcSwapOption<Held>,
    /// Since when the last fetch is known to have failed, and why; `None` after a good one.
    failed: ArcSwapOption<(Instant, String)>,
    turn: Arc<Mutex<Turn>>,
}

/// Whose turn it is to fetch.
#[derive(Debug, Default)]
struct Turn {
    for_unknown: Option<Instant>,
}

impl KeySource {
    /// Reads files, and nothing from the network.
    pub(super) fn new(config: &config::Jwt) -> Result<KeySource, Invalid> {
        // `config` has seen to it.
        let unknown = || Invalid::at(&Place::default(), "an unknown algorithm", "");
        let allowed = Allowed::new(&config.algorithms).ok_or_else(unknown)?;
        let keys = match &config.keys {
            config::Keys::Url { url, ca, refresh } => {
                let client = HttpClient::new(url, ca.as_ref(), TIMEOUT)?;
                let fetched = Fetched::new(client, allowed, &config.issuer, Pace::new(*refresh));
                return Ok(KeySource::Fetched(Arc::new(fetched)));
            }
            config::Keys::Set(file) => Keys::of_set(&file.read()?, &allowed)
                .map_err(|what| file.invalid(format!("`{}`: {what}", file.path.display()), ""))?,
            config::Keys::Pem(file) => pem::read(file, &allowed)?,
            config::Keys::Secret(secret) => Keys::of_secret(secret.text.as_bytes(), &allowed)
                .ok_or_else(|| {
                    secret.invalid("the shared secret is too short for its algorithms", "")
                })?,
        };
        let held = Held { keys, generation: 0, body: Vec::new(), since: Instant::now() };
        Ok(KeySource::Fixed(Arc::new(held)))
    }

    /// The set, if there is one that is good enough not to wait for another.
    pub(super) fn at_hand(&self) -> Option<Arc<Held>> {
        match self {
            KeySource::Fixed(held) => Some(held.clone()),
            KeySource::Fetched(fetched) => fetched.at_hand(),
        }
    }

    /// The set, or why there is none.
    pub(super) async fn keys(&self) -> Result<Arc<Held>, String> {
        match self {
            KeySource::Fixed(held) => Ok(held.clone()),
            KeySource::Fetched(fetched) => fetched.keys().await,
        }
    }

    /// For a token that came at this time and names none of these keys: maybe others are there now.
    pub(super) async fn newer(&self, than: Arc<Held>, asked: Instant) -> Arc<Held> {
        match self {
            KeySource::Fixed(_) => than,
            KeySource::Fetched(fetched) => fetched.newer(than, asked).await,
        }
    }
}

impl Pace {
    pub(super) fn new(refresh: Duration) -> Pace {
        let (minute, first) = (Duration::from_secs(60), Duration::from_secs(10));
        let refresh = refresh.max(first);
        Pace { refresh, retry: minute.min(refresh), first, unknown: minute }
    }
}

impl Fetched {
    pub(super) fn new(client: HttpClient, allowed: Allowed, issuer: &str, pace: Pace) -> Fetched {
        let (held, failed) = (ArcSwapOption::empty(), ArcSwapOption::empty());
        let (issuer, turn) = (issuer.to_owned(), Arc::default());
        Fetched { client, allowed, issuer, pace, held, failed, turn }
    }

    /// An old set is used while another is on its way. After a long silence it may have keys that
    /// were withdrawn long ago: then the first who asks waits, unless the source is known to fail.
    fn at_hand(self: &Arc<Self>) -> Option<Arc<Held>> {
        let held = self.held.load_full()?;
        let age = held.since.elapsed();
        if age >= self.pace.refresh.saturating_mul(2) && self.failed.load().is_none() {
            return None;
        }
        if age >= self.pace.refresh
            && let Ok(turn) = self.turn.clone().try_lock_owned()
            && self.is_due()
        {
            drop(tokio::spawn(self.clone().fetch(turn)));
        }
        Some(held)
    }

    async fn keys(self: &Arc<Self>) -> Result<Arc<Held>, String> {
        if let Some(held) = self.at_hand() {
            return Ok(held);
        }
        let turn = self.turn.clone().lock_owned().await;
        // Somebody else may have fetched while we waited.
        if self.is_due() {
            self.fetch_to_the_end(turn).await;
        }
        let why =
            || self.failed.load().as_ref().map_or_else(String::new, |failed| failed.1.clone());
        self.held.load_full().ok_or_else(|| format!("the key set could not be fetched: {}", why()))
    }

    async fn newer(self: &Arc<Self>, than: Arc<Held>, asked: Instant) -> Arc<Held> {
        let mut turn = self.turn.clone().lock_owned().await;
        let held = self.held.load_full().unwrap_or(than);
        let is_too_soon = turn.for_unknown.is_some_and(|at| at.elapsed() < self.pace.unknown);
        if held.since >= asked || is_too_soon {
            return held;
        }
        turn.for_unknown = Some(Instant::now());
        self.fetch_to_the_end(turn).await;
        self.held.load_full().unwrap_or(held)
    }

    fn is_due(&self) -> bool {
        let held = self.held.load();
        let is_old = held.as_ref().is_none_or(|held| held.since.elapsed() >= self.pace.refresh);
        let pause = if held.is_some() { self.pace.retry } else { self.pace.first };
        let failed = self.failed.load();
        is_old && failed.as_ref().is_none_or(|failed| failed.0.elapsed() >= pause)
    }

    /// In a task of its own: a caller who leaves does not end what others wait for.
    async fn fetch_to_the_end(self: &Arc<Self>, turn: OwnedMutexGuard<Turn>) {
        // The task's outcome is in `held` and `failed`.
        drop(tokio::spawn(self.clone().fetch(turn)).await);
    }

    async fn fetch(self: Arc<Self>, turn: OwnedMutexGuard<Turn>) {
        let since = Instant::now();
        let answer = self.client.get(MOST_BYTES).await.map_err(|error| error.to_string());
        match answer.and_then(|body| self.read(body, since)) {
            Ok(held) => {
                self.held.store(Some(Arc::new(held)));
                self.failed.store(None);
            }
            Err(why) => {
                tracing::warn!(issuer = %self.issuer, "the key set could not be fetched: {why}");
                self.failed.store(Some(Arc::new((Instant::now(), why))));
            }
        }
        drop(turn);
    }

    fn read(&self, body: Vec<u8>, since: Instant) -> Result<Held, String> {
        let keys = Keys::of_set(&body, &self.allowed)?;
        let generation = match self.held.load().as_ref() {
            Some(old) if old.body == body => old.generation,
            Some(old) => old.generation + 1,
            None => 0,
        };
        Ok(Held { keys, generation, body, since })
    }
}
