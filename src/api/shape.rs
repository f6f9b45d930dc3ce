//! The vocabulary of JSON bodies: which keys an engine knows, and what each holds.
//!
//! Every resource file (`api/container.rs`, `api/network.rs`, …) describes its bodies in these
//! words; `api::doc` reads a client's bytes by them. What must stay true: `Object` is for Go
//! structs, whose keys Go matches by folding (`hostconfig` is `HostConfig`); `Map` is for Go maps,
//! whose keys are exact. Mixing them up is a bypass.

use super::endpoint::{Minor, OLDEST, Resource};

/// A Go struct: its fields.
pub type Object = [Field];

#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The engine's own spelling.
    pub name: &'static str,
    pub kind: Kind,
    pub since: Minor,
    pub until: Minor,
    pub names: Option<Resource>,
    /// What the engine takes, under any configuration of its own, where it is left out.
    pub means: Option<&'static str>,
    /// Sent by real clients and read by no engine that dockgate knows: dropped.
    pub ignored: bool,
    /// In a protobuf message; 0 elsewhere.
    pub number: u32,
    /// Of its message's `oneof`, of which there is one at most.
    pub one_of: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Bool,
    /// Go refuses `1.0` and `1e3` here, and so does dockgate.
    Int,
    /// protobuf's `int32` and `uint32`, of which Go takes the lower half without a word.
    Int32,
    Float,
    Str,
    /// protobuf's `bytes`: a string in base64.
    Bytes,
    /// A name; its number in protobuf is its place in this list.
    Enum(&'static [&'static str]),
    /// A string, or a list of them (`Cmd`, `Entrypoint`: moby's `strslice`).
    StrOrList,
    /// Any JSON, kept as it is (what only plugins read).
    Any,
    List(&'static Kind),
    /// A Go map: keys are the user's own.
    Map(&'static Kind),
    Object(&'static Object),
    /// `bytes` that hold a message of this shape, whose digest others refer to.
    Encoded(&'static Object),
}

pub const fn f(name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        kind,
        since: OLDEST,
        until: Minor::MAX,
        names: None,
        means: None,
        ignored: false,
        number: 0,
        one_of: false,
    }
}

/// A field of a protobuf message, by its number.
pub const fn n(number: u32, name: &'static str, kind: Kind) -> Field {
    Field { number, ..f(name, kind) }
}

impl Field {
    pub const fn since(mut self, minor: Minor) -> Self {
        self.since = minor;
        self
    }
    pub const fn until(mut self, minor: Minor) -> Self {
        self.until = minor;
        self
    }
    pub const fn names(mut self, resource: Resource) -> Self {
        self.names = Some(resource);
        self
    }
    /// What it means to leave it out.
    pub const fn means(mut self, default: &'static str) -> Self {
        self.means = Some(default);
        self
    }
    pub const fn one_of(mut self) -> Self {
        self.one_of = true;
        self
    }
    pub const fn ignored(mut self) -> Self {
        self.ignored = true;
        self
    }
}

pub const STRINGS: Kind = Kind::List(&Kind::Str);
pub const LABELS: Kind = Kind::Map(&Kind::Str);
/// Go's `map[string]struct{}`: a set, written `{"80/tcp": {}}`.
pub const SET: Kind = Kind::Map(&Kind::Object(&[]));
/// Filters: `{"label": {"a=b": true}}`, and from older clients `{"label": ["a=b"]}`.
pub const FILTERS: Kind = Kind::Map(&Kind::Any);
