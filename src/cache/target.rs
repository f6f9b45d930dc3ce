//! Whose resource a request names, or why it is refused: the target, `Authority`, and the connection agree.
//!
//! `front` validates every request here before anything else looks at it. What must stay true: two
//! requests that an origin could take for different ones are never one key; a name reaches the cache in
//! one spelling only; a path that another program would shorten (`..`, also behind escapes) goes nowhere.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, Method, StatusCode};

use super::key::{Partition, Scheme};
use super::route::RequestTarget;

/// Beyond this no origin answers either.
const LONGEST_TARGET: usize = 16 << 10;
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

/// A request as it came.
#[derive(Clone, Copy, Debug)]
pub struct RawRequest<'s> {
    pub method: &'s Method,
    /// The request line's; for HTTP/2 `:path`, or for CONNECT `:authority`.
    pub target: &'s [u8],
    /// HTTP/2's `:authority`.
    pub authority: Option<&'s [u8]>,
    /// Every `Authority`.
    pub hosts: &'s [&'s [u8]],
}

/// The connection on which it came.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    pub scheme: Scheme,
    /// The name that TLS asked for.
    pub sni: Option<&'a str>,
    /// Whether this is a forward proxy: for URLs of either scheme, and `CONNECT`.
    pub forward: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    Resource(Resource),
    /// `CONNECT`.
    Tunnel {
        host: String,
        port: u16,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    pub scheme: Scheme,
    /// As in `Key`.
    pub host: String,
    /// As it came.
    pub path: String,
    /// Without the `?`.
    pub query: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the request target is neither a path nor a URL")]
    Form,
    #[error("the request target is too long")]
    Long,
    #[error("the request names no host")]
    NoHost,
    #[error("the request names its host twice")]
    TwoHosts,
    #[error("`Host` is not the host of the URL")]
    HostsDiffer,
    #[error("`{0}` in the name of the host")]
    Host(&'static str),
    #[error("the scheme is not that of the connection")]
    Scheme,
    #[error("`Host` is not the name that TLS asked for")]
    Misdirected,
    #[error("the path holds {0}")]
    Path(&'static str),
    #[error("this is no forward proxy")]
    NoProxy,
}

impl Refused {
    pub fn status(self) -> StatusCode {
        match self {
            Refused::Long => StatusCode::URI_TOO_LONG,
            Refused::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Refused::NoProxy => StatusCode::METHOD_NOT_ALLOWED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// For logs and statistics.
    pub fn name(self) -> &'static str {
        match self {
            Refused::Form => "bad-target",
            Refused::Long => "long-target",
            Refused::NoHost => "no-host",
            Refused::TwoHosts => "two-hosts",
            Refused::HostsDiffer => "hosts-differ",
            Refused::Host(_) => "bad-host",
            Refused::Scheme => "wrong-scheme",
            Refused::Misdirected => "misdirected",
            Refused::Path(_) => "bad-path",
            Refused::NoProxy => "no-forward-proxy",
        }
    }
}

impl Resource {
    pub fn asked<'a>(
        &'a self,
        method: &'a Method,
        headers: &'a HeaderMap,
        partition: Partition,
    ) -> RequestTarget<'a> {
        let query = self.query.as_deref();
        let (scheme, host, path) = (self.scheme, self.host.as_str(), self.path.as_str());
        RequestTarget { method, scheme, host, path, query, headers, partition }
    }
}

pub fn validate(said: &RawRequest<'_>, arrival: &Arrival<'_>) -> Result<Named, Refused> {
    if said.target.len() > LONGEST_TARGET {
        return Err(Refused::Long);
    }
    let target = std::str::from_utf8(said.target).map_err(|_| Refused::Form)?;
    if *said.method == Method::CONNECT {
        return tunnel(said, target, arrival);
    }
    let named = authority(said)?;
    let is_origin_form = target.starts_with('/');
    let (scheme, host, target) = match is_origin_form {
        true => (arrival.scheme, named.ok_or(Refused::NoHost)?, target),
        false => absolute(target, named, arrival)?,
    };
    let host = Authority::parse(host, scheme.port())?;
    // A forward proxy is asked for others' URLs under its own name.
    if (is_origin_form || !arrival.forward)
        && arrival.sni.is_some_and(|sni| !host.name.eq_ignore_ascii_case(sni.trim_end_matches('.')))
    {
        return Err(Refused::Misdirected);
    }
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    check_path(path)?;
    if query.is_some_and(|query| !query.bytes().all(is_printable)) {
        return Err(Refused::Form);
    }
    Ok(Named::Resource(Resource {
        scheme,
        host: host.key(scheme.port()),
        path: path.to_owned(),
        query: query.map(str::to_owned),
    }))
}

/// A host, with a port if it is not the scheme's own: as a key has it.
pub fn host_key(authority: &str, scheme: Scheme) -> Result<String, Refused> {
    Ok(Authority::parse(authority, scheme.port())?.key(scheme.port()))
}

fn tunnel(said: &RawRequest<'_>, target: &str, arrival: &Arrival<'_>) -> Result<Named, Refused> {
    if !arrival.forward {
        return Err(Refused::NoProxy);
    }
    // There is no port of a tunnel's own (RFC 9110 §9.3.6).
    let host = Authority::parse(target, 0)?;
    if host.port == 0 {
        return Err(Refused::Form);
    }
    if let Some(named) = authority(said)? {
        // Some clients leave the port out here.
        let other = Authority::parse(named, host.port)?;
        if other != host {
            return Err(Refused::HostsDiffer);
        }
    }
    Ok(Named::Tunnel { host: host.name, port: host.port })
}

/// What the fields beside the target name.
fn authority<'s>(said: &RawRequest<'s>) -> Result<Option<&'s str>, Refused> {
    let field =
        |bytes: &'s [u8]| std::str::from_utf8(bytes).map_err(|_| Refused::Host("not ASCII"));
    match (said.authority, said.hosts) {
        (None, []) => Ok(None),
        (Some(one), []) => Ok(Some(field(one)?)),
        (None, [one]) => Ok(Some(field(one)?)),
        (Some(one), [other]) if one.eq_ignore_ascii_case(other) => Ok(Some(field(one)?)),
        (Some(_), [_]) => Err(Refused::HostsDiffer),
        (_, [_, _, ..]) => Err(Refused::TwoHosts),
    }
}

/// A URL names scheme and host itself; `Authority` must say the same, as what is behind might look there
/// (RFC 9112 §3.2.2).
fn absolute<'t>(
    target: &'t str,
    named: Option<&str>,
    arrival: &Arrival<'_>,
) -> Result<(Scheme, &'t str, &'t str), Refused> {
    let (scheme, rest) = target.split_once("://").ok_or(Refused::Form)?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return Err(Refused::Form),
    };
    if scheme != arrival.scheme && !arrival.forward {
        return Err(Refused::Scheme);
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at_checked(end).ok_or(Refused::Form)?;
    if let Some(named) = named {
        let port = scheme.port();
        if Authority::parse(named, port)? != Authority::parse(host, port)? {
            return Err(Refused::HostsDiffer);
        }
    }
    Ok((scheme, host, if path.is_empty() { "/" } else { path }))
}

#[derive(Debug, PartialEq, Eq)]
struct Authority {
    /// Lower case; an IPv6 address in brackets.
    name: String,
    port: u16,
}

impl Authority {
    fn parse(authority: &str, default_port: u16) -> Result<Authority, Refused> {
        // Before a colon could be taken for that of a port.
        if authority.contains('@') {
            return Err(Refused::Host("@"));
        }
        let (name, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (inside, after) = rest.split_once(']').ok_or(Refused::Host("["))?;
                let address: Ipv6Addr =
                    inside.parse().map_err(|_| Refused::Host("not an IPv6 address"))?;
                let port = match after {
                    "" => None,
                    after => Some(after.strip_prefix(':').ok_or(Refused::Host("]"))?),
                };
                (format!("[{address}]"), port)
            }
            None => match authority.split_once(':') {
                Some((name, port)) => (dns_name(name)?, Some(port)),
                None => (dns_name(authority)?, None),
            },
        };
        let port = match port {
            None | Some("") => default_port,
            Some(digits) if digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit()) => {
                let port = digits.parse().map_err(|_| Refused::Host("port"))?;
                if port == 0 { Err(Refused::Host("port 0")) } else { Ok(port) }?
            }
            Some(_) => return Err(Refused::Host("port")),
        };
        Ok(Authority { name, port })
    }

    fn key(self, default_port: u16) -> String {
        if self.port == default_port { self.name } else { format!("{}:{}", self.name, self.port) }
    }
}

/// A name of the DNS or an IPv4 address, in lower case and without the root's dot.
fn dns_name(name: &str) -> Result<String, Refused> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || name.len() > LONGEST_NAME {
        return Err(Refused::Host(if name.is_empty() { "nothing" } else { "too many letters" }));
    }
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || b == b'.';
    if !name.bytes().all(is_allowed) {
        return Err(Refused::Host("a character of no host"));
    }
    if name.split('.').any(|label| label.is_empty() || label.len() > LONGEST_LABEL) {
        return Err(Refused::Host(".."));
    }
    // Resolvers take `127.1`, `0x7f.1` and `2130706433` for addresses.
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|b| b.is_ascii_digit())
        || last
            .strip_prefix("0x")
            .or(last.strip_prefix("0X"))
            .is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
    if is_number && name.parse::<Ipv4Addr>().is_err() {
        return Err(Refused::Host("a number that is no address"));
    }
    Ok(name.to_ascii_lowercase())
}

/// An encoded `/` is data within a segment, as in the names of packages of a scope; wherever it might be
/// decoded the path must still be what it is here.
fn check_path(path: &str) -> Result<(), Refused> {
    if !path.starts_with('/') {
        return Err(Refused::Path("no `/` at its beginning"));
    }
    let mut segment = Vec::new();
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        let (byte, is_escaped) = match byte {
            b'%' => (
                unescape(bytes.next(), bytes.next()).ok_or(Refused::Path("an invalid escape"))?,
                true,
            ),
            byte => (byte, false),
        };
        match byte {
            b'/' => check_segment(&segment)?,
            b'\\' => return Err(Refused::Path("a backslash")),
            0..0x20 | 0x7f => return Err(Refused::Path("a control character")),
            _ if !is_escaped && !is_printable(byte) => {
                return Err(Refused::Path("a character that must be escaped"));
            }
            _ => {}
        }
        match byte {
            b'/' => segment.clear(),
            byte => segment.push(byte),
        }
    }
    check_segment(&segment)
}

fn check_segment(segment: &[u8]) -> Result<(), Refused> {
    match segment {
        b"." | b".." => Err(Refused::Path("a dot segment")),
        _ => Ok(()),
    }
}

fn unescape(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// What may stand in a target unescaped; some of it only because clients send it.
fn is_printable(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"#<>`".contains(&byte)
}

#[cfg(test)]
mod tests;
