//! Where objects are kept: the trait `Store`, and what goes through it.
//!
//! `serve` finds, `fill` begins and commits, the admin calls list, verify and purge. `disk` keeps
//! objects in a directory, `remote` (a feature) in an object store. What must stay true: what `find`
//! gives is a whole response to exactly this key; a draft is seen by nobody else before `commit`; an
//! error of the disk is an `io::Error`, never a wrong answer.

use std::fmt::{self, Debug};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderName;

use super::key::{Key, Partition};
use super::meta::{Meta, Stored};

pub use disk::{Disk, DiskSettings};
pub use draft::Draft;
pub use lock::Lock;
#[cfg(feature = "object-store")]
pub use remote::Remote;

mod disk;
mod draft;
mod drafts;
mod ghosts;
pub mod head;
mod index;
mod layout;
mod lock;
#[cfg(test)]
mod measure;
mod packed;
mod pages;
mod quota;
#[cfg(feature = "object-store")]
mod remote;
mod scan;
mod scope;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// From the fields that a stored response's `Vary` names to what this request has in them, as
/// `fresh::variant` makes it.
pub type Variant<'a> = dyn Fn(&[HeaderName]) -> Vec<(String, Option<String>)> + Send + Sync + 'a;

pub trait Store: Debug + Send + Sync {
    /// The response that is stored for this key and, if responses to it vary, for this request; the
    /// newest if several are. Not counted as a use: see `touch`.
    fn find<'a>(
        &'a self,
        key: &'a Key,
        variant: &'a Variant<'a>,
    ) -> BoxFuture<'a, io::Result<Option<StoredResponse>>>;

    /// A place for a body of perhaps this length. Makes room if needed; `ErrorKind::StorageFull` where
    /// there is none.
    fn begin(&self, meta: &Meta, expected: Option<u64>) -> io::Result<Draft>;

    /// Makes a draft the response that is found from now on, in place of the one with the same key
    /// and the same `vary`. `meta` now has the length and the digest of the body.
    fn commit<'a>(&'a self, draft: Draft, meta: Meta) -> BoxFuture<'a, io::Result<StoredResponse>>;

    /// What is known of a stored response has changed (a 304 came), its body has not. The key and
    /// `vary` stay those of `found`. If it is no longer stored it is not stored again.
    fn refresh<'a>(
        &'a self,
        found: &'a StoredResponse,
        meta: Meta,
    ) -> BoxFuture<'a, io::Result<StoredResponse>>;

    /// Removes all responses of a key; how many.
    fn remove<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, io::Result<u64>>;

    /// Removes all responses of a URL in every partition: the key's own counts for nothing.
    fn remove_everywhere<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, io::Result<u64>>;

    /// Removes all in a scope.
    fn purge<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, io::Result<Purged>>;

    /// The object was used: it is worth keeping.
    fn touch(&self, id: u64);

    /// What is stored in a scope, at most so many, in a stable order. `after` is `Page::next` of the
    /// page before.
    fn list<'a>(
        &'a self,
        scope: &'a Scope,
        after: Option<&'a str>,
        most: usize,
    ) -> BoxFuture<'a, io::Result<Page<Listed>>>;

    /// As `list`, reading every body; a page ends early when much was read for it.
    fn verify<'a>(
        &'a self,
        scope: &'a Scope,
        after: Option<&'a str>,
        most: usize,
    ) -> BoxFuture<'a, io::Result<Page<Verified>>>;

    /// Waits until no other process that shares the store holds the lock of this key.
    fn lock<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, io::Result<Lock>>;

    fn usage(&self) -> Usage;
}

/// A stored response.
#[derive(Clone, Debug)]
pub struct StoredResponse {
    pub meta: Arc<Meta>,
    /// The same for every response to this key and variant, in this process.
    pub id: u64,
    pub body: Body,
}

/// `Meta::length` bytes.
#[derive(Clone, Debug)]
pub enum Body {
    File {
        file: Arc<File>,
        /// Where in the file it begins.
        start: u64,
    },
    Remote(Arc<dyn ReadRange>),
}

pub trait ReadRange: Debug + Send + Sync {
    /// These bytes of the body, all of them.
    fn read(&self, range: Range<u64>) -> BoxFuture<'_, io::Result<Bytes>>;
}

/// What `purge`, `list` and `verify` are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    Everything,
    /// As in `Key`; every scheme and partition.
    Host(String),
    /// URLs that begin with this one, such as `https://host/simple/`; every partition.
    Prefix(String),
    Partition(Partition),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    pub objects: u64,
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// None: these were the last.
    pub next: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    pub key: Key,
    pub kind: Stored,
    pub status: u16,
    pub vary: Vec<(String, Option<String>)>,
    pub length: u64,
    /// When the answer's head came, in ms since 1970.
    pub stored_ms: u64,
}

impl From<Meta> for Listed {
    fn from(meta: Meta) -> Listed {
        Listed {
            key: meta.key,
            kind: meta.kind,
            status: meta.status.as_u16(),
            vary: meta.vary,
            length: meta.length,
            stored_ms: meta.response_time,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Its URL, or where its head cannot be read its place in the store.
    pub name: String,
    pub length: u64,
    /// What is wrong with it.
    pub wrong: Option<Damage>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The head is damaged or of another version.
    Head,
    /// It is in another place than its key says.
    Place,
    /// The body is longer or shorter than it was.
    Length { stored: u64 },
    /// The body is not what was stored.
    Digest,
    /// It could not be read.
    Unreadable(String),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Head => f.write_str("its head is damaged or of another version"),
            Damage::Place => f.write_str("it is in another place than its key says"),
            Damage::Length { stored } => write!(f, "{stored} bytes of its body are there"),
            Damage::Digest => f.write_str("its body is not what was stored"),
            Damage::Unreadable(why) => write!(f, "it cannot be read: {why}"),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub objects: u64,
    /// On the disk, drafts included.
    pub bytes: u64,
    pub limit: u64,
    /// Objects, since the start, that had to give way.
    pub evicted: u64,
    /// Not all that is stored is counted yet.
    pub scanning: bool,
}
