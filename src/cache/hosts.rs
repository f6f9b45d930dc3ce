//! Which hosts something is about: `*`, `example.com`, `*.example.com`, each perhaps with a port (`*:*`: any).
//!
//! `mirror` matches rules with it, `serve` and `upstream` the domains that a cache is for. What must stay
//! true: a name covers itself only, and `*.` never the name behind it.

use super::key::Scheme;
use super::target::host_key;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostSet(Vec<Pattern>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    name: Name,
    /// Without one: those of `http://` and `https://`; of `*`: all.
    port: Option<u16>,
    /// Whether any port is named: `*:*`.
    any_port: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Any,
    Is(Box<str>),
    /// With the dot before it.
    Below(Box<str>),
}

impl Pattern {
    /// `None` if it is none.
    pub fn parse(text: &str) -> Option<Pattern> {
        if text == "*" || text == "*:*" {
            return Some(Pattern { name: Name::Any, port: None, any_port: text == "*:*" });
        }
        let (is_below, host) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        // Neither scheme's own port is dropped from a key of the other.
        let key = [Scheme::Http, Scheme::Https]
            .into_iter()
            .find_map(|scheme| host_key(host, scheme).ok().filter(|key| split(key).1.is_some()))
            .or_else(|| host_key(host, Scheme::Http).ok())?;
        let (name, port) = split(&key);
        let name = match is_below {
            true if name.starts_with('[') => return None,
            true => Name::Below(format!(".{name}").into()),
            false => Name::Is(name.into()),
        };
        Some(Pattern { name, port, any_port: false })
    }

    fn covers(&self, name: &str, port: Option<u16>) -> bool {
        let is_port = match (self.port, &self.name) {
            (None, Name::Any) => true,
            (None, _) => matches!(port, None | Some(80 | 443)),
            (Some(wanted), _) => port == Some(wanted),
        };
        is_port && self.names(name)
    }

    fn names(&self, name: &str) -> bool {
        match &self.name {
            Name::Any => true,
            Name::Is(wanted) => **wanted == *name,
            Name::Below(suffix) => name.len() > suffix.len() && name.ends_with(&**suffix),
        }
    }
}

impl HostSet {
    pub fn any() -> HostSet {
        HostSet(vec![Pattern { name: Name::Any, port: None, any_port: false }])
    }

    /// Whether the resources of a host (as in `Key`) may be target for.
    pub fn cover(&self, host: &str, scheme: Scheme) -> bool {
        let (name, port) = split(host);
        let port = Some(port.unwrap_or(scheme.port()));
        self.0.iter().any(|one| one.covers(name, port))
    }

    /// Whether a forward proxy may be asked for it: like `cover`, but for ports that only `*` covers.
    pub fn cover_forward(&self, host: &str, scheme: Scheme) -> bool {
        let (name, port) = split(host);
        let port = port.unwrap_or(scheme.port());
        let is_usual = matches!(port, 80 | 443);
        self.0.iter().any(|one| {
            let is_port = one.port.is_some() || one.any_port || is_usual;
            is_port && one.covers(name, Some(port))
        })
    }

    /// Whether one may speak with a port that says nothing of what is spoken there: only where TLS is
    /// spoken, unless the port is named.
    pub fn cover_tunnel(&self, name: &str, port: u16) -> bool {
        self.0.iter().any(|one| match one.port {
            None => (port == 443 || one.any_port) && one.names(name),
            Some(_) => one.covers(name, Some(port)),
        })
    }

    /// Whether a host is named, whatever its port.
    pub fn name(&self, host: &str) -> bool {
        let (name, _) = split(host);
        self.0.iter().any(|one| one.names(name))
    }
}

impl FromIterator<Pattern> for HostSet {
    fn from_iter<I: IntoIterator<Item = Pattern>>(all: I) -> HostSet {
        HostSet(all.into_iter().collect())
    }
}

/// The name and the port of a key's host.
fn split(host: &str) -> (&str, Option<u16>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
        _ => (host, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(patterns: &[&str]) -> HostSet {
        patterns.iter().map(|one| Pattern::parse(one).unwrap()).collect()
    }

    #[test]
    fn a_name_covers_itself_and_a_star_what_is_below() {
        for (pattern, covered, not) in [
            (
                "x.org",
                &["x.org", "x.org:80", "x.org:443"][..],
                &["a.x.org", "ax.org", "x.org:8080"][..],
            ),
            ("X.org.", &["x.org"], &["x.or"]),
            ("*.x.org", &["a.x.org", "a.b.x.org"], &["x.org", "ax.org", ".x.org", "a.x.org:81"]),
            ("x.org:8080", &["x.org:8080"], &["x.org", "x.org:81"]),
            ("x.org:443", &["x.org:443"], &["x.org"]),
            ("x.org:80", &["x.org"], &["x.org:443"]),
            ("[::1]", &["[::1]"], &["[::1]:81", "[::2]"]),
            ("[::1]:81", &["[::1]:81"], &["[::1]"]),
            ("*", &["x.org", "[::1]:81", "x:1"], &[]),
        ] {
            for host in covered {
                assert!(hosts(&[pattern]).cover(host, Scheme::Http), "{pattern} {host}");
            }
            for host in not {
                assert!(!hosts(&[pattern]).cover(host, Scheme::Http), "{pattern} {host}");
            }
        }
        assert!(hosts(&["x.org:443"]).cover("x.org", Scheme::Https));
        assert!(!hosts(&[]).cover("x.org", Scheme::Http));
        assert!(hosts(&["x.org"]).name("x.org:8080") && !hosts(&["x.org"]).name("y.org"));
    }

    #[test]
    fn a_tunnel_leads_to_tls_or_to_a_named_port() {
        for (pattern, port, is) in [
            ("*", 443, true),
            ("*", 25, false),
            ("x.org", 443, true),
            ("x.org", 80, false),
            ("x.org:25", 25, true),
            ("x.org:25", 443, false),
        ] {
            assert_eq!(hosts(&[pattern]).cover_tunnel("x.org", port), is, "{pattern} {port}");
        }
    }

    #[test]
    fn a_forward_proxy_goes_to_the_usual_ports_and_to_those_that_are_named() {
        for (pattern, host, is) in [
            ("*", "x.org", true),
            ("*", "x.org:443", true),
            ("*", "x.org:8080", false),
            ("*", "[::1]:22", false),
            ("*:*", "x.org:8080", true),
            ("x.org:8080", "x.org:8080", true),
            ("x.org:8080", "x.org", false),
            ("x.org", "x.org:8080", false),
            ("x.org", "x.org", true),
        ] {
            assert_eq!(hosts(&[pattern]).cover_forward(host, Scheme::Http), is, "{pattern} {host}");
        }
        assert!(hosts(&["*:*"]).cover_tunnel("x.org", 25));
    }

    #[test]
    fn what_is_no_host_is_no_pattern() {
        for bad in
            ["", "**", "*x.org", "x.*", "*.*.x", "*.", "http://x", "x/y", "a b", "*.[::1]", "*:80"]
        {
            assert_eq!(Pattern::parse(bad), None, "{bad}");
        }
    }
}
