//! Who may not ask: pages in a browser.
//!
//! A page may send a request to loopback from wherever it came. What must stay true: one that a
//! browser sent for a page is refused, also after the page's own name was made to mean loopback
//! (DNS rebinding).

use std::net::IpAddr;

use hyper::http::request::Parts;
use hyper::http::uri::Authority;

/// Why a request is refused, if it is.
pub(super) fn refuses(head: &Parts, is_unix: bool) -> Option<&'static str> {
    // Browsers send it with every `POST` and every cross-origin `GET` that a script can read.
    if head.headers.contains_key("origin") {
        return Some("requests of web pages are refused");
    }
    let mut hosts = head.headers.get_all("host").iter().map(|host| host.to_str().unwrap_or("?"));
    let is_local = hosts.all(is_local) && head.uri.authority().is_none_or(is_local_authority);
    (!is_unix && !is_local).then_some("`Host` is not of this machine")
}

fn is_local(host: &str) -> bool {
    host.is_empty() || host.parse().is_ok_and(|authority| is_local_authority(&authority))
}

fn is_local_authority(authority: &Authority) -> bool {
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_loopback = address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    is_loopback || host.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_loopback_are_local() {
        for host in ["", "localhost", "LocalHost:9323", "127.0.0.1:9323", "127.8.8.8", "[::1]:1"] {
            assert!(is_local(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:9323",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "0.0.0.0",
            "[::]",
            "[::ffff:10.0.0.1]",
            "2130706433",
            "localhost evil",
            "?",
        ] {
            assert!(!is_local(host), "{host}");
        }
    }

    fn head(lines: &[(&str, &str)], uri: &str) -> Parts {
        let mut request = hyper::Request::builder().uri(uri);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_page_is_refused_everywhere_and_a_foreign_host_on_tcp() {
        let page = head(&[("host", "localhost"), ("origin", "null")], "/metrics");
        assert!(refuses(&page, true).is_some() && refuses(&page, false).is_some());
        let foreign = head(&[("host", "evil.example")], "/metrics");
        assert!(refuses(&foreign, false).is_some() && refuses(&foreign, true).is_none());
        let twice = head(&[("host", "localhost"), ("host", "evil.example")], "/metrics");
        assert!(refuses(&twice, false).is_some());
        let absolute = head(&[("host", "localhost")], "http://evil.example/metrics");
        assert!(refuses(&absolute, false).is_some());
        assert!(refuses(&head(&[], "/metrics"), false).is_none());
    }
}
