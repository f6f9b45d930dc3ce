//! What was decided lately, under a keyed hash of the credential: a verified password or token is
//! not verified again with every call, and no credential stays in memory for it.
//!
//! What must stay true: the key is random and of this process only; an entry past its time is not
//! used; the size is bounded.

use std::time::Instant;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use quick_cache::sync::Cache as Store;

/// Far more than callers at one time; an entry is some hundred bytes.
const MOST: usize = 4096;

#[derive(Debug)]
pub(super) struct VerifiedCache<T> {
    /// None when the system gave no randomness: then nothing is kept.
    key: Option<hmac::Key>,
    store: Store<[u8; 32], (T, Instant)>,
}

/// What stands for a credential; nobody can go back from it.
pub(super) type Digest = [u8; 32];

impl<T: Clone> VerifiedCache<T> {
    pub(super) fn new() -> VerifiedCache<T> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok();
        VerifiedCache { key, store: Store::new(MOST) }
    }

    pub(super) fn digest(&self, credential: &[u8]) -> Digest {
        let mut digest = [0; 32];
        if let Some(key) = &self.key {
            let tag = hmac::sign(key, credential);
            digest.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        }
        digest
    }

    pub(super) fn get(&self, digest: &Digest, now: Instant) -> Option<T> {
        self.key.as_ref()?;
        let (value, until) = self.store.get(digest)?;
        (now < until).then_some(value)
    }

    pub(super) fn put(&self, digest: Digest, value: T, until: Instant) {
        self.store.insert(digest, (value, until));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_entry_is_found_until_its_time() {
        let cache = VerifiedCache::new();
        let now = Instant::now();
        let digest = cache.digest(b"secret");
        assert_eq!(cache.get(&digest, now), None);
        cache.put(digest, 7, now + Duration::from_secs(5));
        assert_eq!(cache.get(&digest, now + Duration::from_secs(4)), Some(7));
        assert_eq!(cache.get(&digest, now + Duration::from_secs(5)), None);
        assert_eq!(cache.get(&cache.digest(b"Secret"), now), None);
        assert_ne!(digest, VerifiedCache::<u8>::new().digest(b"secret"), "a key of its own");
    }
}
