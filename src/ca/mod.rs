//! The authority of the transparent cache: short-lived roots that containers are made to trust, and the
//! certificates that the cache shows in the name of the domains it stands for.
//!
//! A *generation* is one root, one intermediate and its leaves. The root's key signs once and is gone. The
//! intermediate may sign for the listed domains only, and a verifier checks that: a root that leaks out of a
//! container is good for nothing else. X.509 knows no constraint to one exact name: a permitted `example.com`
//! lets `a.example.com` pass too. No leaf is made for it (`Generation::leaf`), but whoever stole the
//! intermediate's key out of this process's memory could make one, until the generation ends.
//!
//! The caches make an `Authority`, whoever puts a root into a container asks for the current generation, and
//! interception for leaves of the generation that the container was made under. What must stay true: no private
//! key is written, logged or given away; the time is what callers say it is; no file and no socket is touched.
//! `trust` is how a root is put into the files of a container.

mod certificates;
mod generation;
mod key;
pub mod trust;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

pub use generation::Generation;

/// Of those that containers may still trust. With a new one at each half life there are three; a clock that is
/// set back and forth makes more.
const MOST_GENERATIONS: usize = 16;
/// At the end of a long generation no certificate of it is shown any more: whoever reads it late would find it over.
const LAST_MOMENT: Duration = Duration::from_secs(60);

/// What one intercepting cache makes certificates with. A reload that changes it begins a new generation
/// (`Authority::changed`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthoritySettings {
    /// Exact DNS names.
    pub domains: Vec<String>,
    /// Where containers reach port 80 of the cache, such as `http://172.17.0.1`.
    pub crl_base: String,
    /// Of a generation. A new one begins when half of it is over.
    pub lifetime: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    #[error("an authority needs at least one domain")]
    NoDomains,
    #[error("`{0}` is no DNS name that a certificate can have")]
    Domain(String),
    #[error("`{0}` is a public suffix: the authority would be good for everything below it")]
    Suffix(String),
    #[error("the constraints to {0} domains make too long a certificate for TLS clients")]
    TooManyDomains(usize),
    #[error("`{0}` is no `http://` address of revocation lists")]
    RevocationAddress(String),
    #[error("an authority lives from 2 s to 90 days, not {0:?}")]
    Lifetime(Duration),
    #[error("the clock shows no time that a certificate can have")]
    Clock,
    #[error("a certificate cannot be made: {0}")]
    Signing(#[from] rcgen::Error),
}

/// One for each intercepting cache, shared by its threads.
pub struct Authority {
    settings: AuthoritySettings,
    known: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    newest: Option<Arc<Generation>>,
    /// The oldest first; containers that were made under them may still run.
    older: Vec<Arc<Generation>>,
}

impl Authority {
    pub fn new(settings: AuthoritySettings) -> Authority {
        Authority { settings: normalised(settings), known: Mutex::default() }
    }

    /// After a reload: what was begun before stays good for the containers that have it, and stays the newest
    /// where the settings are the same.
    pub fn changed(&self, settings: AuthoritySettings) -> Authority {
        let settings = normalised(settings);
        let known = self.known();
        let (mut newest, mut older) = (known.newest.clone(), known.older.clone());
        drop(known);
        if settings != self.settings {
            older.extend(newest.take());
        }
        Authority { settings, known: Mutex::new(Generations { newest, older }) }
    }

    /// The one for new containers: begun now, if there is none, or half of the last one's life is over.
    pub fn current(&self, now: SystemTime) -> Result<Arc<Generation>, AuthorityError> {
        let mut known = self.known();
        if let Some(newest) = known.newest.as_ref().filter(|newest| newest.is_in_first_half(now)) {
            return Ok(newest.clone());
        }
        let begun = Arc::new(Generation::begin(&self.settings, now)?);
        let last = known.newest.replace(begun.clone());
        known.older.extend(last);
        known.older.retain(|generation| now < generation.ends());
        let excess = known.older.len().saturating_sub(MOST_GENERATIONS - 1);
        known.older.drain(..excess);
        Ok(begun)
    }

    /// The one with this id, unless it has ended.
    pub fn generation(&self, id: &str, now: SystemTime) -> Option<Arc<Generation>> {
        let known = self.known();
        let mut all = known.newest.iter().chain(&known.older);
        all.find(|generation| generation.id() == id && now < generation.ends()).cloned()
    }

    /// The same, unless it is about to end: what is shown now is to hold for a while.
    pub fn lasting(&self, id: &str, now: SystemTime) -> Option<Arc<Generation>> {
        let soon = now.checked_add((self.settings.lifetime / 60).min(LAST_MOMENT))?;
        self.generation(id, soon)
    }

    /// The revocation list (DER) that certificates say is at this path of a URL.
    pub fn crl(&self, path: &str, now: SystemTime) -> Option<Arc<[u8]>> {
        let (id, name) = path.strip_prefix(generation::CRL_FOLDER)?.split_once('/')?;
        self.generation(id, now)?.crl(name)
    }

    fn known(&self) -> MutexGuard<'_, Generations> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// So that two configurations that mean the same are the same.
fn normalised(mut settings: AuthoritySettings) -> AuthoritySettings {
    settings.domains.iter_mut().for_each(|domain| domain.make_ascii_lowercase());
    settings.domains.sort();
    settings.domains.dedup();
    settings.crl_base.truncate(settings.crl_base.trim_end_matches('/').len());
    settings
}

#[cfg(test)]
mod tests;
