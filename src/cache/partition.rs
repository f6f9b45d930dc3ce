//! Whose an object is: a keyed hash of what the request for it said of who asks.
//!
//! `serve` asks before every look-up. What must stay true: two callers with different credentials have
//! different partitions, and nobody who reads the directory learns a credential from it.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::hmac;
use http::{HeaderMap, HeaderName};

use super::asker::Field;
use super::key::Partition;

pub(super) struct Secret {
    key: hmac::Key,
    boundaries: AtomicU64,
}

/// Whose an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Partitions {
    /// Who sends all the same.
    pub own: Partition,
    /// Where RFC 9111 §3.5 lets others have what was asked for with `Authorization`: whoever sends the
    /// same but for that.
    pub common: Partition,
}

impl Secret {
    pub(super) fn new(secret: &[u8]) -> Secret {
        Secret { key: hmac::Key::new(hmac::HMAC_SHA256, secret), boundaries: AtomicU64::new(0) }
    }

    pub(super) fn whose(&self, headers: &HeaderMap) -> Partitions {
        let mut common: Vec<(&HeaderName, Field)> = headers
            .keys()
            .map(|name| (name, Field::of(name)))
            .filter(|(_, field)| !matches!(field, Field::Plain | Field::Hop))
            .collect();
        common.sort_by_key(|(name, _)| name.as_str());
        let own = self.partition(headers, &common);
        let has_credential = common.iter().any(|(_, field)| *field == Field::Credential);
        if !has_credential {
            return Partitions { own, common: own };
        }
        common.retain(|(_, field)| *field != Field::Credential);
        Partitions { own, common: self.partition(headers, &common) }
    }

    /// Of what is stored for all and is nobody's until the origin says so: nobody's own, nor everybody's, should
    /// it be a plain resource tomorrow.
    pub(super) fn restricted(&self) -> Partition {
        Partition::Own(first(hmac::sign(&self.key, b"restricted").as_ref()))
    }

    /// Of what is kept once for those who have shown that they may have it of one upstream.
    pub(super) fn permitted(&self, whose: &str) -> Partition {
        let tag = hmac::sign(&self.key, format!("permitted {whose}").as_bytes());
        Partition::Own(first(tag.as_ref()))
    }

    fn partition(&self, headers: &HeaderMap, fields: &[(&HeaderName, Field)]) -> Partition {
        if fields.is_empty() {
            return Partition::Shared;
        }
        let mut context = hmac::Context::with_key(&self.key);
        let mut put = |bytes: &[u8]| {
            context.update(&(bytes.len() as u64).to_be_bytes());
            context.update(bytes);
        };
        for (name, field) in fields {
            put(name.as_str().as_bytes());
            let values: Vec<_> = match field {
                Field::Unknown => Vec::new(),
                _ => headers.get_all(*name).iter().collect(),
            };
            put(&(values.len() as u64).to_be_bytes());
            values.iter().for_each(|value| put(value.as_bytes()));
        }
        Partition::Own(first(context.sign().as_ref()))
    }

    /// What stands for a value that must not be read from an object.
    pub(super) fn seal(&self, value: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(b"value ");
        context.update(value);
        let tag = context.sign();
        let half = tag.as_ref().iter().take(16);
        half.map(|byte| format!("{byte:02x}")).collect()
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

fn first(tag: &[u8]) -> u64 {
    tag.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn whose(fields: &[(&'static str, &str)]) -> Partitions {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_static(name);
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        Secret::new(b"k").whose(&headers)
    }

    fn of(fields: &[(&'static str, &str)]) -> Partition {
        whose(fields).own
    }

    #[test]
    fn each_set_of_credentials_has_a_partition_of_its_own() {
        assert_eq!(of(&[("accept", "x"), ("x-forwarded-for", "1.2.3.4")]), Partition::Shared);
        let all = [
            of(&[("authorization", "a")]),
            of(&[("authorization", "b")]),
            of(&[("cookie", "a")]),
            of(&[("authorization", "a"), ("cookie", "b")]),
            of(&[("authorization", "a"), ("authorization", "b")]),
            of(&[("authorization", "ab")]),
            of(&[("private-token", "a")]),
            of(&[("x-jfrog-art-api", "a")]),
            of(&[("x-api-key", "a")]),
            of(&[("x-remote-user", "a")]),
            of(&[("x-whatever", "a")]),
            of(&[("x-whatever", "b")]),
            of(&[("whatever", "a")]),
        ];
        for (i, one) in all.iter().enumerate() {
            assert_ne!(*one, Partition::Shared);
            assert!(all.iter().skip(i + 1).all(|other| other != one), "{i}");
        }
        assert_eq!(of(&[("authorization", "a"), ("accept", "x")]), of(&[("authorization", "a")]));
    }

    #[test]
    fn of_a_field_that_nobody_knows_the_name_counts() {
        assert_eq!(of(&[("whatever", "a")]), of(&[("whatever", "b"), ("accept", "x")]));
        assert_ne!(of(&[("whatever", "a")]), of(&[("other", "a")]));
    }

    #[test]
    fn what_may_be_common_is_told_apart_by_all_but_authorization_and_cookie() {
        assert_eq!(whose(&[("authorization", "a")]).common, Partition::Shared);
        let token = whose(&[("authorization", "a"), ("private-token", "b")]);
        assert_eq!(token.common, of(&[("private-token", "b")]));
        let plain = whose(&[("private-token", "b")]);
        assert_eq!(plain.common, plain.own);
    }

    #[test]
    fn a_sealed_value_is_the_same_for_the_same_key_only() {
        let one = Secret::new(b"k");
        assert_eq!(one.seal(b"x"), Secret::new(b"k").seal(b"x"));
        assert_ne!(one.seal(b"x"), one.seal(b"y"));
        assert_ne!(one.seal(b"x"), Secret::new(b"l").seal(b"x"));
    }
}
