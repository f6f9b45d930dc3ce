//! `basic`: user and password of the `Authorization` header (RFC 7617), against an htpasswd file.
//!
//! What must stay true: passwords are hashed off the event loop, few at a time; a failure costs the
//! same whether the user exists or not; whoever guesses waits longer and longer, and whoever was
//! right lately does not wait.

mod attempts;
mod hash;
mod htpasswd;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::Semaphore;

use super::cache::VerifiedCache;
use super::{Asking, Authenticator, Deciding, Outcome, PeerKey, Validity, Who, is_name};
use crate::config::{self, Invalid};
pub use htpasswd::{is_user as is_htpasswd_user, line as htpasswd_line};

use attempts::Attempts;
pub use attempts::Backoff;
use hash::{Hash, LONGEST};

/// How long a right password is not verified again. A changed file counts at once: with the reload
/// comes another cache.
const REMEMBERED: Duration = Duration::from_secs(300);

/// Addresses that wait for their turn to be hashed.
const WAITING: usize = 64;

/// Passwords that are hashed at one time, in the whole process: the other half of the processors is
/// for those who are already in.
static HASHING: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Arc::new(Semaphore::new((processors / 2).clamp(1, 8)))
});

#[derive(Debug)]
pub(super) struct Basic {
    users: Arc<Users>,
    recognised: VerifiedCache<Arc<Who>>,
    attempts: Arc<Attempts>,
    waiting: Semaphore,
}

#[derive(Debug)]
struct Users {
    hashes: HashMap<String, Hash>,
    /// One of each kind that costs differently.
    kinds: Vec<Hash>,
}

struct Credential {
    user: String,
    password: String,
}

impl Basic {
    pub(super) fn new(config: &config::File, attempts: Arc<Attempts>) -> Result<Basic, Invalid> {
        let hashes = htpasswd::parse(&config.path, &config.read()?)?;
        Ok(Basic {
            users: Arc::new(Users::new(hashes)),
            recognised: VerifiedCache::new(),
            attempts,
            waiting: Semaphore::new(WAITING),
        })
    }

    async fn verify(&self, credential: Credential, source: PeerKey) -> Outcome {
        let digest = self.recognised.digest(&credential.bytes());
        if let Some(who) = self.recognised.get(&digest, Instant::now()) {
            return Outcome::Recognised(who);
        }
        // One at a time for each address: many at once would all count as the first failure, and a
        // client that opens many connections hashes only once.
        let busy = || Outcome::Unavailable("too many passwords wait to be verified".to_owned());
        let Ok(mut attempt) = self.attempts.begin(source).await else { return busy() };
        let now = Instant::now();
        if let Some(who) = self.recognised.get(&digest, now) {
            return Outcome::Recognised(who);
        }
        if let Some(left) = attempt.wait(now) {
            let seconds = left.as_secs() + 1;
            return Outcome::Refused(
                format!("too many failed logins from this address: try again in {seconds} s")
                    .into(),
            );
        }
        let Ok(_waiting) = self.waiting.try_acquire() else { return busy() };
        // Before it is known: a client that leaves in between has had its guess.
        attempt.failed(now);
        let proof = self.users.proof(&credential.user);
        let who = Arc::new(Who { user: credential.user.clone(), proof, ..Who::default() });
        match self.users.verify(credential).await {
            None => Outcome::Unavailable("a password could not be hashed".to_owned()),
            Some(false) => {
                attempt.ended(Instant::now());
                Outcome::Refused("wrong user or password".into())
            }
            Some(true) => {
                attempt.succeeded();
                self.recognised.put(digest, Arc::clone(&who), Instant::now() + REMEMBERED);
                Outcome::Recognised(who)
            }
        }
    }
}

impl Authenticator for Basic {
    fn challenges(&self) -> Vec<String> {
        vec![r#"Basic realm="dockgate", charset="UTF-8""#.to_owned()]
    }

    fn holds(&self) -> Validity {
        Validity::Moment
    }

    fn decide<'a>(&'a self, asking: Asking<'a>) -> Deciding<'a> {
        Box::pin(async move {
            let Some(authorization) = asking.authorization else { return Outcome::Absent };
            let Some(parameters) = authorization.scheme("basic") else { return Outcome::Foreign };
            match Credential::read(parameters) {
                Ok(credential) => self.verify(credential, asking.caller.peer.source()).await,
                Err(why) => Outcome::Refused(why.into()),
            }
        })
    }

    /// By the same line of the file: no password is hashed again, and nobody has guessed.
    fn decide_again<'a>(&'a self, _: Asking<'a>, known: &'a Who) -> Deciding<'a> {
        let is_same = known.proof.is_some() && known.proof == self.users.proof(&known.user);
        Box::pin(async move {
            match is_same {
                true => Outcome::Recognised(Arc::new(known.clone())),
                false => Outcome::Refused("the user is gone, or has another password".into()),
            }
        })
    }
}

impl Users {
    fn new(hashes: HashMap<String, Hash>) -> Users {
        let mut kinds: Vec<Hash> = Vec::new();
        for hash in hashes.values() {
            if kinds.iter().all(|kind| kind.cost() != hash.cost()) {
                kinds.push(hash.clone());
            }
        }
        Users { hashes, kinds }
    }

    /// What tells a user's present line from another.
    fn proof(&self, user: &str) -> Option<[u8; 32]> {
        self.hashes.get(user).map(Hash::digest)
    }

    /// `None` when it cannot be told.
    async fn verify(self: &Arc<Users>, credential: Credential) -> Option<bool> {
        let permit = Arc::clone(&HASHING).acquire_owned().await.ok()?;
        let users = Arc::clone(self);
        let hashing = tokio::task::spawn_blocking(move || {
            // Until it is done, even if nobody waits any more.
            let _permit = permit;
            users.is_right(&credential)
        });
        hashing.await.ok()
    }

    fn is_right(&self, credential: &Credential) -> bool {
        let own = self.hashes.get(&credential.user);
        self.to_verify(own).any(|hash| {
            let is_right = std::hint::black_box(hash.verify(&credential.password));
            is_right && own.is_some_and(|own| std::ptr::eq(own, hash))
        })
    }

    /// The user's own hash and one of each other kind in the file: every failure costs the same, and
    /// the time does not tell who exists.
    fn to_verify<'u>(&'u self, own: Option<&'u Hash>) -> impl Iterator<Item = &'u Hash> {
        let is_other = move |kind: &&Hash| own.is_none_or(|own| own.cost() != kind.cost());
        own.into_iter().chain(self.kinds.iter().filter(is_other))
    }
}

impl Credential {
    /// `base64(user ":" password)`. Nothing here depends on who exists.
    fn read(parameters: &str) -> Result<Credential, &'static str> {
        let malformed = "the `Basic` credentials are malformed";
        let bytes = STANDARD.decode(parameters).map_err(|_| malformed)?;
        let text = String::from_utf8(bytes).map_err(|_| malformed)?;
        let (user, password) = text.split_once(':').ok_or(malformed)?;
        if !is_name(user) {
            return Err("the user of the `Basic` credentials is no user name");
        }
        // bcrypt ends at a NUL: what stands behind one would not count.
        if password.is_empty() || password.len() > LONGEST || password.contains('\0') {
            return Err("wrong user or password");
        }
        Ok(Credential { user: user.to_owned(), password: password.to_owned() })
    }

    fn bytes(&self) -> Vec<u8> {
        [self.user.as_bytes(), b"\0", self.password.as_bytes()].concat()
    }
}

#[cfg(test)]
mod tests;
