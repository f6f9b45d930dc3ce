//! What an object is stored under.
//!
//! Made by mirrors from a request, used by the store as the object's path. What must stay true: a
//! key holds everything that tells two objects apart but for `Vary`: whose it is, scheme, host,
//! path and query.

use std::fmt;
use std::str::FromStr;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub partition: Partition,
    pub scheme: Scheme,
    /// Lower case; with the port if it is not the scheme's own.
    pub host: Box<str>,
    /// Begins with `/`; percent-encoded, without `.` and `..` segments.
    pub path: Box<str>,
    pub query: Option<Box<str>>,
}

/// Who may be given an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Partition {
    Shared,
    /// A keyed hash of the credentials that the object was fetched with.
    Own(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    pub fn port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Partition::Shared => f.write_str("shared"),
            Partition::Own(hash) => write!(f, "own-{hash:016x}"),
        }
    }
}

/// Of what it is displayed as, and nothing else.
impl FromStr for Partition {
    type Err = ();

    fn from_str(name: &str) -> Result<Partition, ()> {
        if name == "shared" {
            return Ok(Partition::Shared);
        }
        let hash = name.strip_prefix("own-").ok_or(())?;
        let own = u64::from_str_radix(hash, 16).map(Partition::Own).map_err(|_| ())?;
        if own.to_string() == name { Ok(own) } else { Err(()) }
    }
}

impl Key {
    /// The URL without its query, in which tokens may be: for logs.
    pub fn without_query(&self) -> String {
        format!("{}://{}{}", self.scheme.as_str(), self.host, self.path)
    }
}

impl fmt::Display for Key {
    /// The URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.as_str(), self.host, self.path)?;
        match &self.query {
            Some(query) => write!(f, "?{query}"),
            None => Ok(()),
        }
    }
}
