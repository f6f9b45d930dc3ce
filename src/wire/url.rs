//! The address of something that is fetched over http or https, read so strictly that it has one reading.
//!
//! The configuration reads prefixes by it (`fetch`), `policy::conservative` what a build would have the engine fetch. Pure.
//! What must stay true: whose machine an address leads to is here what it is to Go's `net/url` and to curl, or it is no
//! address at all; a prefix covers no more than it says, whatever a server makes of dots and escapes.

/// An absolute http(s) URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl {
    pub is_secure: bool,
    /// In lower case; of IPv6 with brackets.
    pub host: String,
    pub port: u16,
    /// From its first slash, as it is written, with the query; empty where nothing follows the host.
    pub path: String,
    /// Behind `#`, which no server sees.
    pub fragment: Option<String>,
}

impl HttpUrl {
    /// None for what is no such URL, has a user in it, or can be read in two ways.
    pub fn parse(text: &str) -> Option<HttpUrl> {
        let (is_secure, rest) = match (strip(text, "https://"), strip(text, "http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return None,
        };
        // A backslash is a slash to some, a user's name hides a host from others.
        let is_plain = |b: u8| b.is_ascii_graphic() && !b"\\\"<>^`{|}@".contains(&b);
        if !rest.bytes().all(|b| is_plain(b) || b == b'@') {
            return None;
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at_checked(end)?;
        let (host, port) = host_and_port(authority)?;
        let port = port.unwrap_or(if is_secure { 443 } else { 80 });
        let (path, fragment) = match rest.split_once('#') {
            Some((path, fragment)) => (path, Some(fragment.to_owned())),
            None => (rest, None),
        };
        let (host, path) = (host.to_ascii_lowercase(), path.to_owned());
        Some(HttpUrl { is_secure, host, port, path, fragment })
    }

    /// Whether it can stand for all that is below it.
    pub fn is_prefix(&self) -> bool {
        self.path.starts_with('/')
            && self.fragment.is_none()
            && !self.path.contains('?')
            && !has_detours(&self.path)
    }

    /// Whether a prefix covers an address. One that does not end in a slash is a file, or a folder.
    pub fn covers(&self, other: &HttpUrl) -> bool {
        let is_there =
            (self.is_secure, &self.host, self.port) == (other.is_secure, &other.host, other.port);
        if !is_there || self.path == "/" {
            return is_there;
        }
        let bare = other.path.split('?').next().unwrap_or_default();
        let rest = bare.strip_prefix(self.path.as_str());
        let is_below = rest.is_some_and(|rest| {
            self.path.ends_with('/') || rest.is_empty() || rest.starts_with('/')
        });
        is_below && !has_detours(bare)
    }
}

/// Cuts a scheme off, in any case.
fn strip<'t>(text: &'t str, scheme: &str) -> Option<&'t str> {
    let (start, rest) = text.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(inside) => {
            let (address, rest) = inside.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            (authority.get(..address.len() + 2)?, rest)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            let (host, rest) = authority.split_at_checked(end)?;
            let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
            if host.is_empty() || !host.bytes().all(is_name) {
                return None;
            }
            (host, rest)
        }
    };
    let digits = match port.strip_prefix(':') {
        None => return port.is_empty().then_some((host, None)),
        Some(digits) => digits,
    };
    let is_port = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let port = digits.parse::<u16>().ok().filter(|port| is_port && *port > 0)?;
    Some((host, Some(port)))
}

/// Parts that lead up again, or that may once a server has decoded them.
fn has_detours(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    ["%2e", "%2f", "%5c"].iter().any(|escape| lower.contains(escape))
        || path.split('/').any(|part| matches!(part, "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> HttpUrl {
        HttpUrl::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn an_address_has_one_reading_or_none() {
        let read = url("HTTPS://Example.com:8443/A/b?c#d");
        assert_eq!((read.is_secure, &*read.host, read.port), (true, "example.com", 8443));
        assert_eq!((&*read.path, read.fragment.as_deref()), ("/A/b?c", Some("d")));
        assert_eq!((url("http://a").port, url("https://a?b").port), (80, 443));
        assert_eq!(url("http://[::1]:5/").host, "[::1]");
        for bad in [
            "",
            "ftp://a/",
            "git://a/",
            "http:/a",
            "http:///a",
            "//a/",
            "http://a@b/",
            "http://a:b@c/",
            "http://a\\@b/",
            "http://a b/",
            "http://a/\u{e4}",
            "http://a/b c",
            "http://a:/",
            "http://a:0/",
            "http://a:65536/",
            "http://a:+1/",
            "http://a:1:2/",
            "http://%61/",
            "http://[::1/",
            "http://[::1]x/",
            "http://[fe80::1%25eth0]/",
            "http://a,b/",
        ] {
            assert_eq!(HttpUrl::parse(bad), None, "{bad}");
        }
        assert!(url("https://a/@b").is_prefix(), "a user stands in front of the host only");
    }

    #[test]
    fn a_prefix_covers_what_is_below_and_nothing_beside() {
        let covers = |prefix: &str, other: &str| url(prefix).covers(&url(other));
        for (prefix, other) in [
            ("https://a/", "https://A:443/x/../y"),
            ("https://a/", "https://a/p%2Fq"),
            ("https://a/", "https://a"),
            ("https://a/b/", "https://a/b/c?d=/../e"),
            ("https://a/b", "https://a/b"),
            ("https://a/b", "https://a/b/c"),
            ("http://a:81/", "http://a:81/x"),
        ] {
            assert!(covers(prefix, other), "{prefix} {other}");
        }
        for (prefix, other) in [
            ("https://a/", "http://a/"),
            ("https://a/", "https://a.b/"),
            ("https://a/", "https://a:444/"),
            ("https://a/b/", "https://a/b"),
            ("https://a/b", "https://a/bc"),
            ("https://a/b/", "https://a/b/../c"),
            ("https://a/b/", "https://a/b/%2e%2e/c"),
            ("https://a/b/", "https://a/b/..%2fc"),
            ("https://a/b/", "https://a/c?/b/"),
        ] {
            assert!(!covers(prefix, other), "{prefix} {other}");
        }
        for bad in ["https://a", "https://a/?b", "https://a/#b", "https://a/../b", "https://a?b"] {
            assert!(!url(bad).is_prefix(), "{bad}");
        }
    }
}
