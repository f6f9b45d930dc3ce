//! RFC 9111 rule by rule.

mod conditions;
mod freshness;
mod model;
mod reuse;
mod storing;
mod update;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::FreshnessRules;
use crate::cache::key::{Key, Partition, Scheme};
use crate::cache::meta::{Meta, Stored};

/// Wed, 09 Feb 2033 04:05:06 GMT
const NOW: u64 = 1_991_534_706_000;

/// One field a line.
fn head(text: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in text.split('\n').map(str::trim).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap();
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value.trim()).unwrap(),
        );
    }
    headers
}

/// A response that came at `NOW`, at once.
fn stored(status: u16, text: &str) -> Meta {
    Meta {
        key: Key {
            partition: Partition::Shared,
            scheme: Scheme::Https,
            host: "a.example".into(),
            path: "/x".into(),
            query: None,
        },
        kind: Stored::Metadata,
        status: StatusCode::from_u16(status).unwrap(),
        headers: head(text),
        request_time: NOW,
        response_time: NOW,
        vary: Vec::new(),
        length: 5,
        sha256: [0; 32],
    }
}

fn heuristic() -> FreshnessRules {
    FreshnessRules { heuristic: true, ..FreshnessRules::default() }
}
