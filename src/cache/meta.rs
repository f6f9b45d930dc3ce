//! What is known of a stored response.
//!
//! `serve` makes it of an answer's head, `fresh` judges it, the store writes it into the head of the
//! object's file. What must stay true: times are this machine's own, never the origin's.

use http::{HeaderMap, StatusCode};

use super::key::Key;

#[derive(Clone, Debug, PartialEq)]
pub struct Meta {
    pub key: Key,
    pub kind: Stored,
    pub status: StatusCode,
    /// As they came, without hop-by-hop fields.
    pub headers: HeaderMap,
    /// When the request was sent and the answer's head came, in ms since 1970.
    pub request_time: u64,
    pub response_time: u64,
    /// The request's fields that `Vary` names, normalised; empty without `Vary`.
    pub vary: Vec<(String, Option<String>)>,
    /// The body's length in bytes and its SHA-256; known when it is whole.
    pub length: u64,
    pub sha256: [u8; 32],
}

/// How freshness is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// By what the origin says, and the route's rule.
    Metadata,
    /// Never changes under its key.
    Artifact,
}
