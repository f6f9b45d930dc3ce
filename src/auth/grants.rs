//! What one call of a namespace's may do at a registry of ours, as a token that the engine gets in the place of the
//! client's credentials.
//!
//! `gateway::deeds` has one issued for a call and holds it while the call runs; `cache::registry` looks up what the engine
//! comes with. What must stay true: a token is good for one repository of one registry and for what the call does with
//! it, while the call runs and a minute more; nothing that is kept of it tells the token or the credentials behind it
//! without the token itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{digest, hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};

use super::credentials::ClientCredentials;
use super::identity::Identity;

/// An engine asks again when something breaks off, and its last question may be on its way when the call ends.
pub const LINGER: Duration = Duration::from_secs(60);
/// There are no more calls at one time.
const MOST: usize = 65_536;

/// Of all registries of the process.
#[derive(Debug, Default)]
pub struct Grants(Mutex<HashMap<TokenHash, Issued>>);

/// A hash of a token.
type TokenHash = [u8; 32];

/// What a token is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// By its name in the configuration.
    pub registry: String,
    /// As the registry is asked for it: `dg…/host/path`.
    pub repository: String,
    pub actions: Actions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Actions {
    pub pull: bool,
    pub push: bool,
}

impl Actions {
    pub const PULL: Actions = Actions { pull: true, push: false };
    pub const PUSH: Actions = Actions { pull: false, push: true };
}

#[derive(Debug)]
struct Issued {
    grant: Grant,
    /// Who has made the call.
    who: Identity,
    /// With a key that is made of the token.
    sealed: Option<Vec<u8>>,
    /// None while the call runs.
    until: Option<Instant>,
}

/// While it is held, the call runs.
#[derive(Debug)]
pub struct HeldGrant {
    grants: Arc<Grants>,
    key: TokenHash,
}

/// What a token stands for.
#[derive(Debug)]
pub struct FoundGrant {
    pub grant: Grant,
    pub who: Identity,
    /// The client's own, for the registry that it has named.
    pub credentials: Option<ClientCredentials>,
}

impl Grants {
    /// A token, and what keeps it good. None where the kernel gives no random bytes, or there are too many.
    pub fn issue(
        self: &Arc<Grants>,
        grant: Grant,
        who: &Identity,
        credentials: Option<&ClientCredentials>,
    ) -> Option<(HeldGrant, String)> {
        let mut random = [0; 32];
        rand::fill(&mut random).ok()?;
        let token = URL_SAFE_NO_PAD.encode(random);
        let sealed = match credentials {
            Some(credentials) => Some(seal(&token, credentials)?),
            None => None,
        };
        let (key, who) = (key_of(&token), who.clone());
        let mut issued = self.issued();
        let now = Instant::now();
        issued.retain(|_, one| !one.is_over(now));
        if issued.len() >= MOST {
            return None;
        }
        issued.insert(key, Issued { grant, who, sealed, until: None });
        Some((HeldGrant { grants: Arc::clone(self), key }, token))
    }

    /// What a token is good for at this registry, now.
    pub fn look_up(&self, registry: &str, token: &str) -> Option<FoundGrant> {
        self.look_up_at(Instant::now(), registry, token)
    }

    fn look_up_at(&self, now: Instant, registry: &str, token: &str) -> Option<FoundGrant> {
        let issued = self.issued();
        let found = issued.get(&key_of(token))?;
        if found.is_over(now) || found.grant.registry != registry {
            return None;
        }
        let credentials = match &found.sealed {
            Some(sealed) => Some(open(token, sealed)?),
            None => None,
        };
        Some(FoundGrant { grant: found.grant.clone(), who: found.who.clone(), credentials })
    }

    /// Whether an engine may come to this registry with one: it is to be told that a token is wanted.
    pub fn has_any(&self, registry: &str) -> bool {
        let now = Instant::now();
        self.issued().values().any(|one| one.grant.registry == registry && !one.is_over(now))
    }

    /// How many calls have one.
    #[cfg(test)]
    pub fn running(&self) -> usize {
        self.issued().values().filter(|one| one.until.is_none()).count()
    }

    fn issued(&self) -> MutexGuard<'_, HashMap<TokenHash, Issued>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Issued {
    fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl Drop for HeldGrant {
    fn drop(&mut self) {
        if let Some(issued) = self.grants.issued().get_mut(&self.key) {
            issued.until = Some(Instant::now() + LINGER);
        }
    }
}

/// The `X-Registry-Auth` by which an engine shows a token to the registry at this address: engines send a
/// `registrytoken` as it is, with every request, and ask for no other. Those with the containerd image store want
/// `serveraddress` to be the registry's.
pub fn registry_auth(token: &str, address: &str) -> String {
    let said = serde_json::json!({ "registrytoken": token, "serveraddress": address });
    URL_SAFE.encode(said.to_string())
}

fn key_of(token: &str) -> TokenHash {
    let hash = digest::digest(&digest::SHA256, token.as_bytes());
    hash.as_ref().first_chunk().copied().unwrap_or_default()
}

/// Each key seals one text.
const NONCE: [u8; NONCE_LEN] = [0; NONCE_LEN];

fn sealing_key(token: &str) -> Option<LessSafeKey> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes());
    let key = hmac::sign(&key, b"a client's own credentials");
    Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).ok()?))
}

fn seal(token: &str, credentials: &ClientCredentials) -> Option<Vec<u8>> {
    let mut text = credentials.authorization().as_bytes().to_vec();
    let nonce = Nonce::assume_unique_for_key(NONCE);
    sealing_key(token)?.seal_in_place_append_tag(nonce, Aad::empty(), &mut text).ok()?;
    Some(text)
}

fn open(token: &str, sealed: &[u8]) -> Option<ClientCredentials> {
    let mut text = sealed.to_vec();
    let nonce = Nonce::assume_unique_for_key(NONCE);
    let opened = sealing_key(token)?.open_in_place(nonce, Aad::empty(), &mut text).ok()?;
    Some(ClientCredentials::of_authorization(String::from_utf8(opened.to_vec()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(repository: &str) -> Grant {
        Grant {
            registry: "main".to_owned(),
            repository: repository.to_owned(),
            actions: Actions::PULL,
        }
    }

    fn ann() -> Identity {
        Identity::imagined(Some("ann"))
    }

    #[test]
    fn a_token_says_for_what_and_for_whom_it_is() {
        let grants = Arc::new(Grants::default());
        assert!(!grants.has_any("main"));
        let own = ClientCredentials::login("ann", "secret").unwrap();
        let (_held, token) = grants.issue(grant("dg/a"), &ann(), Some(&own)).unwrap();
        let found = grants.look_up("main", &token).unwrap();
        assert_eq!((found.grant, found.who.user()), (grant("dg/a"), Some("ann")));
        assert_eq!(found.credentials, Some(own));
        assert!(grants.has_any("main") && !grants.has_any("other"));
        let (_none, other) = grants.issue(grant("dg/b"), &ann(), None).unwrap();
        assert_eq!(grants.look_up("main", &other).unwrap().credentials, None);
        assert_ne!(token, other);
    }

    #[test]
    fn no_other_token_is_one_and_none_is_good_elsewhere() {
        let grants = Arc::new(Grants::default());
        let (_held, token) = grants.issue(grant("dg/a"), &ann(), None).unwrap();
        for other in ["", "x", token.get(1..).unwrap(), &format!("{token}x"), &token.to_lowercase()]
        {
            assert!(grants.look_up("main", other).is_none(), "{other}");
        }
        assert!(grants.look_up("other", &token).is_none());
    }

    #[test]
    fn it_ends_a_minute_after_its_call_however_that_ends() {
        let grants = Arc::new(Grants::default());
        let (held, token) = grants.issue(grant("dg/a"), &ann(), None).unwrap();
        let is_good = |now| grants.look_up_at(now, "main", &token).is_some();
        let hours = Instant::now() + Duration::from_secs(36_000);
        assert!(is_good(hours), "a push takes hours");
        let before = Instant::now();
        let ended = std::thread::spawn(move || {
            let _held = held;
            panic!("on purpose");
        });
        assert!(ended.join().is_err());
        let after = Instant::now();
        assert!(is_good(before + LINGER - Duration::from_nanos(1)));
        assert!(!is_good(after + LINGER) && !is_good(hours));
        grants.issued().values_mut().for_each(|one| one.until = Some(before));
        assert!(!grants.has_any("main"));
        let (_next, _) = grants.issue(grant("dg/b"), &ann(), None).unwrap();
        assert_eq!(grants.issued().len(), 1, "what is over is forgotten");
    }

    #[test]
    fn what_is_kept_tells_nothing() {
        let grants = Arc::new(Grants::default());
        let own = ClientCredentials::login("ann", "s3cret-word").unwrap();
        let (held, token) = grants.issue(grant("dg/a"), &ann(), Some(&own)).unwrap();
        let shown = format!("{grants:?} {held:?} {:?}", grants.look_up("main", &token));
        let basic = own.authorization().to_owned();
        for secret in ["s3cret-word", &token, basic.strip_prefix("Basic ").unwrap()] {
            assert!(!shown.contains(secret), "{shown}");
        }
        let issued = grants.issued();
        let sealed = issued.values().next().unwrap().sealed.clone().unwrap();
        assert!(open(&token, &sealed).is_some() && open("other", &sealed).is_none());
    }

    #[test]
    fn the_header_is_what_engines_read() {
        let header = registry_auth("T", "127.0.0.1:5454");
        let text = String::from_utf8(URL_SAFE.decode(header).unwrap()).unwrap();
        assert_eq!(text, r#"{"registrytoken":"T","serveraddress":"127.0.0.1:5454"}"#);
    }
}
