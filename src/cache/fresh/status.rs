//! `Cache-Status` (RFC 9211): what the cache did with a request, in the answer to it.
//!
//! Made by `serve`. What must stay true: what is written is a structured field whatever its parts hold.

use std::fmt::{self, Write as _};

use http::StatusCode;

/// This cache's member of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheStatus {
    /// It was answered from what is stored, without the origin.
    pub hit: bool,
    /// Why it was not.
    pub forwarded: Option<Forwarded>,
    /// What the origin answered, if that is not what the client gets.
    pub forwarded_status: Option<StatusCode>,
    /// The freshness left, in seconds.
    pub ttl: Option<i64>,
    /// The answer is now stored.
    pub stored: bool,
    /// It shared another request's fetch.
    pub collapsed: bool,
    pub key: Option<String>,
    /// More about it: a reason for not storing, a mirror's name.
    pub detail: Option<String>,
}

/// Why a request went to the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forwarded {
    /// The cache was told not to look.
    Bypass,
    Method,
    /// Some of it is stored.
    Partial,
    /// Fresh, but the client wanted the origin's word.
    Request,
    Stale,
    UriMiss,
    VaryMiss,
}

impl Forwarded {
    pub fn as_str(self) -> &'static str {
        match self {
            Forwarded::Bypass => "bypass",
            Forwarded::Method => "method",
            Forwarded::Partial => "partial",
            Forwarded::Request => "request",
            Forwarded::Stale => "stale",
            Forwarded::UriMiss => "uri-miss",
            Forwarded::VaryMiss => "vary-miss",
        }
    }
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("dockgate")?;
        if self.hit {
            f.write_str("; hit")?;
        }
        if let Some(forwarded) = self.forwarded {
            write!(f, "; fwd={}", forwarded.as_str())?;
        }
        if let Some(status) = self.forwarded_status {
            write!(f, "; fwd-status={}", status.as_u16())?;
        }
        if let Some(ttl) = self.ttl {
            write!(f, "; ttl={}", ttl.clamp(-MOST, MOST))?;
        }
        if self.stored {
            f.write_str("; stored")?;
        }
        if self.collapsed {
            f.write_str("; collapsed")?;
        }
        if let Some(key) = &self.key {
            f.write_str("; key=")?;
            write_string(f, key)?;
        }
        if let Some(detail) = &self.detail {
            f.write_str("; detail=")?;
            if is_token(detail) { f.write_str(detail)? } else { write_string(f, detail)? }
        }
        Ok(())
    }
}

/// The largest integer of a structured field.
const MOST: i64 = 999_999_999_999_999;

fn is_token(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:/".contains(char))
}

/// Without what such a string cannot hold.
fn write_string(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for char in text.chars().filter(|char| matches!(char, ' '..='~')) {
        if matches!(char, '"' | '\\') {
            f.write_char('\\')?;
        }
        f.write_char(char)?;
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sfv::{BareItem, List, ListEntry, Parser};

    use super::*;

    #[test]
    fn a_hit_and_a_miss_look_as_the_rfc_has_them() {
        let hit = CacheStatus { hit: true, ttl: Some(12), ..CacheStatus::default() };
        assert_eq!(hit.to_string(), "dockgate; hit; ttl=12");
        let miss = CacheStatus {
            forwarded: Some(Forwarded::VaryMiss),
            forwarded_status: Some(StatusCode::NOT_MODIFIED),
            ttl: Some(-3),
            stored: true,
            collapsed: true,
            key: Some("http://a.example/\"x\"".to_owned()),
            detail: Some("no-store".to_owned()),
            ..CacheStatus::default()
        };
        assert_eq!(
            miss.to_string(),
            "dockgate; fwd=vary-miss; fwd-status=304; ttl=-3; stored; collapsed; \
             key=\"http://a.example/\\\"x\\\"\"; detail=no-store"
        );
    }

    proptest! {
        #[test]
        fn it_is_a_structured_field_whatever_its_parts_hold(
            hit: bool, ttl: Option<i64>, key: Option<String>, detail: Option<String>,
        ) {
            let status = CacheStatus { hit, ttl, key, detail, ..CacheStatus::default() };
            let text = status.to_string();
            let list: List = Parser::new(&text).parse().unwrap();
            let [ListEntry::Item(item)] = list.as_slice() else { panic!("{text}") };
            prop_assert_eq!(item.params.contains_key("hit"), hit);
            prop_assert_eq!(item.params.contains_key("ttl"), ttl.is_some());
            let detail = item.params.get("detail");
            prop_assert_eq!(detail.is_some(), status.detail.is_some());
            if let Some(BareItem::Token(token)) = detail {
                prop_assert_eq!(Some(token.as_str()), status.detail.as_deref());
            }
        }
    }
}
