//! What a write makes worthless (RFC 9111 §4.4), and the one kind of write whose answer may be kept.
//!
//! Asked by `serve` once a request that is not GET or HEAD was answered. What must stay true: an answer
//! reaches only objects of its own host.

use http::header::{CONTENT_LOCATION, HeaderMap, HeaderName, LOCATION};
use http::{Method, StatusCode, Uri};

use super::FreshnessRules;
use super::directives::Directives;
use super::lifetime::is_explicit;
use crate::cache::key::{Key, Scheme};

/// Whether what is stored of the URL is no longer to be used. A method that is not known may write.
pub fn invalidates(method: &Method, status: StatusCode) -> bool {
    !SAFE.contains(&method.as_str()) && (status.is_success() || status.is_redirection())
}

const SAFE: [&str; 8] =
    ["GET", "HEAD", "OPTIONS", "PROPFIND", "QUERY", "REPORT", "SEARCH", "TRACE"];

/// The other URLs that the answer names: on the same host only.
pub fn invalidated_targets(key: &Key, response: &HeaderMap) -> Vec<String> {
    let mut targets: Vec<String> = [LOCATION, CONTENT_LOCATION]
        .iter()
        .filter_map(|name| target(key, response, name))
        .collect();
    let own = key.to_string();
    targets.dedup();
    targets.retain(|target| *target != own);
    targets
}

/// Whether the answer to a POST is what a GET of the same URL would give (RFC 9110 §9.3.3). `may_store`
/// is to be asked too, as for a GET.
pub fn post_as_get(
    key: &Key,
    method: &Method,
    status: StatusCode,
    response: &HeaderMap,
    rules: &FreshnessRules,
) -> bool {
    let directives = Directives::of_response(response, rules);
    *method == Method::POST
        && status == StatusCode::OK
        && is_explicit(response, &directives)
        && target(key, response, &CONTENT_LOCATION).is_some_and(|target| target == key.to_string())
}

/// The URL that a field names, if it is on the key's host.
fn target(key: &Key, response: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut lines = response.get_all(name).iter();
    let (reference, None) = (lines.next()?.to_str().ok()?.trim(), lines.next()) else {
        return None;
    };
    let reference = reference.split('#').next()?;
    let found = resolve(key, reference)?;
    (found.host == key.host && found.scheme == key.scheme).then(|| found.to_string())
}

/// A reference as RFC 3986 §5.2 understands it.
fn resolve(key: &Key, reference: &str) -> Option<Key> {
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    };
    let absolute = match reference.strip_prefix("//") {
        Some(_) => Some(format!("{}:{reference}", key.scheme.as_str())),
        None => has_scheme(path).then(|| reference.to_owned()),
    };
    if let Some(absolute) = absolute {
        return resolve_absolute(key, &absolute);
    }
    let (path, query) = match path {
        "" => (key.path.to_string(), query.or(key.query.as_deref())),
        _ if path.starts_with('/') => (without_dots(path), query),
        _ => {
            let folder = key.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            (without_dots(&format!("{folder}/{path}")), query)
        }
    };
    Some(Key { path: path.into(), query: query.map(Into::into), ..key.clone() })
}

fn has_scheme(path: &str) -> bool {
    path.split('/').next().is_some_and(|first| first.contains(':'))
}

fn resolve_absolute(key: &Key, reference: &str) -> Option<Key> {
    let uri: Uri = reference.parse().ok()?;
    let scheme = match uri.scheme_str()? {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return None,
    };
    let host = uri.host()?.to_ascii_lowercase();
    let host = match uri.port_u16() {
        Some(port) if port != scheme.port() => format!("{host}:{port}"),
        _ => host,
    };
    Some(Key {
        partition: key.partition,
        scheme,
        host: host.into(),
        path: without_dots(uri.path()).into(),
        query: uri.query().map(Into::into),
    })
}

/// RFC 3986 §5.2.4.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::cache::key::Partition;

    fn key() -> Key {
        Key {
            partition: Partition::Shared,
            scheme: Scheme::Http,
            host: "a.example:8080".into(),
            path: "/x/y".into(),
            query: Some("q=1".into()),
        }
    }

    fn named(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn methods_that_may_write_invalidate_if_they_did() {
        let ok = StatusCode::OK;
        for method in ["POST", "PUT", "DELETE", "PATCH", "MKCOL", "whatever"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert!(invalidates(&method, ok), "{method}");
            assert!(invalidates(&method, StatusCode::SEE_OTHER), "{method}");
            assert!(!invalidates(&method, StatusCode::BAD_REQUEST), "{method}");
            assert!(!invalidates(&method, StatusCode::BAD_GATEWAY), "{method}");
        }
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE] {
            assert!(!invalidates(&method, ok), "{method}");
        }
    }

    #[test]
    fn references_are_resolved_as_browsers_do() {
        for (reference, url) in [
            ("z", "http://a.example:8080/x/z"),
            ("./z?r", "http://a.example:8080/x/z?r"),
            ("../../../z", "http://a.example:8080/z"),
            ("..", "http://a.example:8080/"),
            ("/z/./w/../", "http://a.example:8080/z/"),
            ("?r=2", "http://a.example:8080/x/y?r=2"),
            ("z#part", "http://a.example:8080/x/z"),
            ("//A.Example:8080/z", "http://a.example:8080/z"),
            ("http://a.EXAMPLE:8080", "http://a.example:8080/"),
            ("a/b:c", "http://a.example:8080/x/a/b:c"),
        ] {
            let targets = invalidated_targets(&key(), &named(LOCATION, reference));
            assert_eq!(targets, [url], "{reference}");
        }
    }

    #[test]
    fn other_hosts_schemes_and_the_url_itself_are_no_targets() {
        for reference in [
            "http://b.example:8080/z",
            "http://a.example/z",
            "https://a.example:8080/z",
            "//b.example/z",
            "ftp://a.example:8080/z",
            "mailto:a@a.example",
            "http://",
            "",
            "#part",
            "/x/y?q=1",
        ] {
            let targets = invalidated_targets(&key(), &named(LOCATION, reference));
            assert!(targets.is_empty(), "{reference}: {targets:?}");
        }
        let mut twice = named(LOCATION, "/z");
        twice.append(LOCATION, HeaderValue::from_static("/w"));
        assert!(invalidated_targets(&key(), &twice).is_empty());
    }

    #[test]
    fn the_scheme_s_own_port_is_not_named() {
        let key = Key { scheme: Scheme::Https, host: "a.example".into(), ..key() };
        let response = named(CONTENT_LOCATION, "https://a.example:443/z");
        assert_eq!(invalidated_targets(&key, &response), ["https://a.example/z"]);
    }

    #[test]
    fn the_answer_to_a_post_is_kept_if_it_says_that_it_is_the_url_s_own() {
        let rules = FreshnessRules::default();
        let post = |response: &HeaderMap| {
            post_as_get(&key(), &Method::POST, StatusCode::OK, response, &rules)
        };
        let mut response = named(CONTENT_LOCATION, "/x/y?q=1");
        assert!(!post(&response), "no freshness");
        response.insert("cache-control", HeaderValue::from_static("max-age=60"));
        assert!(post(&response));
        assert!(!post_as_get(&key(), &Method::PUT, StatusCode::OK, &response, &rules));
        assert!(!post_as_get(&key(), &Method::POST, StatusCode::CREATED, &response, &rules));
        response.insert(CONTENT_LOCATION, HeaderValue::from_static("/x/y"));
        assert!(!post(&response), "another URL");
    }
}
