//! Whether the head of a request is one that has a single reading.
//!
//! `call` asks before anybody judges it. h2 has refused what RFC 9113 §8.2 and §8.3 call malformed: names in
//! upper case, connection-specific fields, pseudo fields that are missing, twice there or behind others. What
//! must stay true: what dockerd could read in another way than we do is refused.

use http::request::Parts;
use http::{HeaderValue, Method, header};

use super::reply::H2Reply;

/// What a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A call of a gRPC method, `POST /service/method`.
    Grpc,
    Rest,
}

/// `UNIMPLEMENTED` in gRPC, which is what its servers say of a method that they do not have.
const UNIMPLEMENTED: u8 = 12;

/// Whether a request is a call of a gRPC method.
pub fn is_grpc(asked: &Parts) -> bool {
    let kind = asked.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    matches!(rest, Some([] | [b';', ..] | b"+proto"))
        || rest.is_some_and(|rest| rest.starts_with(b"+proto;"))
}

pub(super) fn shape(asked: &Parts) -> Result<Shape, H2Reply> {
    if asked.method == Method::CONNECT {
        return Err(json(501, "`CONNECT` leads nowhere here"));
    }
    let authority = asked.uri.authority().map(|authority| authority.as_str());
    if authority.is_some_and(|authority| authority.contains('@')) {
        return Err(json(400, "`:authority` holds a user"));
    }
    for host in asked.headers.get_all(header::HOST) {
        if authority.is_some_and(|authority| authority.as_bytes() != host.as_bytes()) {
            return Err(json(400, "`host` and `:authority` differ"));
        }
    }
    if asked.headers.get_all(header::CONTENT_TYPE).iter().count() > 1 {
        return Err(json(400, "more than one `content-type`"));
    }
    let path = asked.uri.path();
    if is_grpc(asked) {
        let is_call = asked.method == Method::POST && asked.uri.query().is_none();
        return match is_call && is_method(path) {
            true => Ok(Shape::Grpc),
            false => Err(H2Reply::grpc(UNIMPLEMENTED, "dockgate: not a path of a gRPC method")),
        };
    }
    // dockerd takes for gRPC whatever begins like it (`daemon/server`, since 29.2).
    let kind = asked.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let kind = kind.unwrap_or_default().to_ascii_lowercase();
    if kind.starts_with(b"application/grpc") {
        return Err(json(415, "a `content-type` of gRPC that is not known"));
    }
    match path.starts_with('/') {
        true => Ok(Shape::Rest),
        false => Err(json(400, "`:path` is no path")),
    }
}

fn is_method(path: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_'))
    };
    let parts = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    parts.is_some_and(|(service, method)| is_name(service) && is_name(method))
}

fn json(status: u16, message: &str) -> H2Reply {
    H2Reply::Json { status, message: format!("dockgate: {message}"), challenges: Vec::new() }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn asked(method: &str, uri: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_grpc_call_is_known_by_its_content_type() {
        let is = |kind: &str| is_grpc(&asked("POST", "/", &[("content-type", kind)]));
        assert!(is("application/grpc") && is("application/grpc+proto"));
        assert!(is("application/grpc;x=y") && is("application/grpc+proto;x=y"));
        assert!(!is("application/grpc-web") && !is("application/grpc+json") && !is("text/plain"));
        assert!(!is_grpc(&asked("POST", "/", &[])));
    }

    #[test]
    fn a_head_has_one_reading_or_is_refused() {
        let grpc = ("content-type", "application/grpc");
        let call = |method, uri| shape(&asked(method, uri, &[grpc]));
        assert_eq!(call("POST", "http://localhost/a.b.C/D_e1"), Ok(Shape::Grpc));
        for path in ["/", "/a", "/a/", "//b", "/a/b/c", "/a/b?c", "/a%2fb/c", "/a/../b", "*"] {
            assert!(call("POST", path).is_err(), "{path}");
        }
        assert!(call("GET", "/a/b").is_err());
        assert_eq!(shape(&asked("GET", "/_ping", &[])), Ok(Shape::Rest));
        assert_eq!(
            shape(&asked("GET", "http://x/_ping", &[("host", "x")])),
            Ok(Shape::Rest),
            "curl"
        );
        let refuses = |method, uri, fields: &[(&str, &str)]| {
            assert!(shape(&asked(method, uri, fields)).is_err(), "{method} {uri} {fields:?}");
        };
        refuses("CONNECT", "example.org:1", &[]);
        refuses("OPTIONS", "*", &[]);
        refuses("GET", "http://a@b/", &[]);
        refuses("GET", "http://a/", &[("host", "b")]);
        refuses("POST", "/a/b", &[grpc, grpc]);
        refuses("POST", "/a/b", &[("content-type", "text/plain"), grpc]);
        refuses("POST", "/a/b", &[("content-type", "application/grpc-web")]);
        refuses("POST", "/a/b", &[("content-type", "Application/gRPC")]);
    }
}
