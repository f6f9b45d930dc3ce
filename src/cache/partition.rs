//! Whose an object is: a keyed hash of the credentials that it was asked for with.
//!
//! `serve` asks before every look-up. What must stay true: two callers with different credentials have
//! different partitions, and nobody who reads the directory learns a credential from it.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::hmac;
use http::{HeaderMap, HeaderName, header};

use super::key::Partition;

pub(super) struct Secret {
    key: hmac::Key,
    boundaries: AtomicU64,
}

impl Secret {
    pub(super) fn new(secret: &[u8]) -> Secret {
        Secret { key: hmac::Key::new(hmac::HMAC_SHA256, secret), boundaries: AtomicU64::new(0) }
    }

    pub(super) fn partition(&self, headers: &HeaderMap) -> Partition {
        let mut context = hmac::Context::with_key(&self.key);
        let mut has_credentials = false;
        let mut names: Vec<&HeaderName> =
            headers.keys().filter(|name| is_usual(name) || is_unusual(name)).collect();
        names.sort_by_key(|name| name.as_str());
        for name in names {
            for value in headers.get_all(name) {
                has_credentials = true;
                context.update(&(name.as_str().len() as u64).to_be_bytes());
                context.update(name.as_str().as_bytes());
                context.update(&(value.len() as u64).to_be_bytes());
                context.update(value.as_bytes());
            }
        }
        match has_credentials {
            true => Partition::Own(first(context.sign().as_ref())),
            false => Partition::Shared,
        }
    }

    pub(super) fn boundary(&self, now: u64) -> String {
        let count = self.boundaries.fetch_add(1, Ordering::Relaxed);
        let tag = hmac::sign(&self.key, format!("boundary {now} {count}").as_bytes());
        format!("{:016x}{count:x}", first(tag.as_ref()))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Whether a request has credentials that RFC 9111 knows nothing of: what they were asked for with is
/// never shared.
pub(super) fn has_unusual_credentials(headers: &HeaderMap) -> bool {
    headers.keys().any(is_unusual)
}

fn is_usual(name: &HeaderName) -> bool {
    *name == header::AUTHORIZATION || *name == header::COOKIE
}

/// `PRIVATE-TOKEN`, `X-JFrog-Art-Api`, `X-NuGet-ApiKey`, `X-Amz-Security-Token`…: there are too many to
/// list, and one too many only costs a copy.
fn is_unusual(name: &HeaderName) -> bool {
    const PARTS: [&str; 13] = [
        "token",
        "api-key",
        "apikey",
        "art-api",
        "access-key",
        "authorization",
        "x-auth",
        "secret",
        "session-id",
        "signature",
        "credential",
        "passw",
        "x-amz-",
    ];
    !is_usual(name) && PARTS.iter().any(|part| name.as_str().contains(part))
}

fn first(tag: &[u8]) -> u64 {
    tag.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn of(fields: &[(HeaderName, &str)]) -> Partition {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        Secret::new(b"k").partition(&headers)
    }

    #[test]
    fn each_set_of_credentials_has_a_partition_of_its_own() {
        use header::{ACCEPT, AUTHORIZATION, COOKIE};
        assert_eq!(of(&[(ACCEPT, "x")]), Partition::Shared);
        let all = [
            of(&[(AUTHORIZATION, "a")]),
            of(&[(AUTHORIZATION, "b")]),
            of(&[(COOKIE, "a")]),
            of(&[(AUTHORIZATION, "a"), (COOKIE, "b")]),
            of(&[(AUTHORIZATION, "a"), (AUTHORIZATION, "b")]),
            of(&[(AUTHORIZATION, "ab")]),
            of(&[(HeaderName::from_static("private-token"), "a")]),
            of(&[(HeaderName::from_static("x-jfrog-art-api"), "a")]),
            of(&[(HeaderName::from_static("x-api-key"), "a")]),
        ];
        for (i, one) in all.iter().enumerate() {
            assert_ne!(*one, Partition::Shared);
            assert!(all.iter().skip(i + 1).all(|other| other != one), "{i}");
        }
        assert_eq!(of(&[(AUTHORIZATION, "a"), (ACCEPT, "x")]), of(&[(AUTHORIZATION, "a")]));
    }
}
