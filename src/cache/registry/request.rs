//! What a request of the distribution API asks for: `Operation`.
//!
//! Pure; `serve` reads every request with it. What must stay true: a path has one reading; what is none of the
//! specification's endpoints (1.1, "Endpoints") is refused, and no name reaches an upstream that `name` did not pass.

use http::Method;
use percent_encoding::percent_decode_str;

use super::name::{Digest, Reference, is_repository};
use crate::config::RegistryAction;

/// An endpoint, and what it names; names as clients write them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// `/v2/`
    Ping,
    /// `/token`, of our own
    Token,
    /// `/v2/_catalog`
    Catalog,
    Repository {
        name: String,
        thing: Thing,
    },
}

/// What of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Thing {
    Tags,
    Manifest(Reference),
    Blob(Digest),
    Referrers(Digest),
    /// An upload is begun, or done in one.
    Uploads,
    /// One that was begun, by what its `Location` named it.
    Upload(String),
}

/// Why a request is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotOne {
    Path,
    Name,
    Reference,
    Digest,
    Method,
}

impl Operation {
    pub(super) fn parse(method: &Method, path: &str) -> Result<Operation, NotOne> {
        let operation = Operation::of_path(path)?;
        if operation.methods().contains(method) { Ok(operation) } else { Err(NotOne::Method) }
    }

    fn of_path(path: &str) -> Result<Operation, NotOne> {
        match path {
            "/v2" | "/v2/" => return Ok(Operation::Ping),
            "/token" => return Ok(Operation::Token),
            "/v2/_catalog" => return Ok(Operation::Catalog),
            _ => {}
        }
        let rest = path.strip_prefix("/v2/").ok_or(NotOne::Path)?;
        // A segment may be written with escapes; what they hide is no `/` (`target` and `name` see to that).
        let decoded: Option<Vec<String>> = rest.split('/').map(decode).collect();
        let segments = decoded.ok_or(NotOne::Path)?;
        let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (name, thing) = match parts.as_slice() {
            [name @ .., "tags", "list"] => (name, Thing::Tags),
            [name @ .., "manifests", reference] => {
                let reference = Reference::parse(reference).ok_or(NotOne::Reference)?;
                (name, Thing::Manifest(reference))
            }
            [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""] => {
                (name, Thing::Uploads)
            }
            [name @ .., "blobs", "uploads", id] => (name, Thing::Upload((*id).to_owned())),
            [name @ .., "blobs", digest] => {
                (name, Thing::Blob(Digest::parse(digest).ok_or(NotOne::Digest)?))
            }
            [name @ .., "referrers", digest] => {
                (name, Thing::Referrers(Digest::parse(digest).ok_or(NotOne::Digest)?))
            }
            _ => return Err(NotOne::Path),
        };
        let name = name.join("/");
        match is_repository(&name) {
            true => Ok(Operation::Repository { name, thing }),
            false => Err(NotOne::Name),
        }
    }

    fn methods(&self) -> &'static [Method] {
        const READ: &[Method] = &[Method::GET, Method::HEAD];
        match self {
            Operation::Ping => READ,
            Operation::Token => &[Method::GET, Method::POST],
            Operation::Catalog => &[Method::GET],
            Operation::Repository { thing, .. } => match thing {
                Thing::Tags | Thing::Referrers(_) => READ,
                Thing::Manifest(_) => &[Method::GET, Method::HEAD, Method::PUT, Method::DELETE],
                Thing::Blob(_) => &[Method::GET, Method::HEAD, Method::DELETE],
                Thing::Uploads => &[Method::POST],
                Thing::Upload(_) => &[Method::GET, Method::PATCH, Method::PUT, Method::DELETE],
            },
        }
    }
}

impl Thing {
    pub(super) fn action(&self, method: &Method) -> RegistryAction {
        match self {
            Thing::Uploads | Thing::Upload(_) => RegistryAction::Push,
            Thing::Tags | Thing::Referrers(_) => RegistryAction::Pull,
            Thing::Manifest(_) | Thing::Blob(_) => match *method {
                Method::PUT => RegistryAction::Push,
                Method::DELETE => RegistryAction::Delete,
                _ => RegistryAction::Pull,
            },
        }
    }
}

fn decode(segment: &str) -> Option<String> {
    let text = percent_decode_str(segment).decode_utf8().ok()?;
    (!text.contains('/')).then(|| text.into_owned())
}

/// One value of a query.
pub(super) fn query_value(query: Option<&str>, name: &str) -> Option<String> {
    query_pairs(query).find(|(key, _)| key == name).map(|(_, value)| value)
}

/// The pairs of a query (application/x-www-form-urlencoded), decoded.
pub(super) fn query_pairs(query: Option<&str>) -> impl Iterator<Item = (String, String)> {
    let text = |part: &str| {
        let spaced = part.replace('+', " ");
        percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
    };
    query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (text(key), text(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: Method, path: &str) -> Result<Operation, NotOne> {
        Operation::parse(&method, path)
    }

    #[test]
    fn each_endpoint_of_the_specification_is_known() {
        let hex = "ab".repeat(32);
        let digest = Digest::parse(&format!("sha256:{hex}")).unwrap();
        let of = |thing| Ok(Operation::Repository { name: "a/b".to_owned(), thing });
        assert_eq!(parse(Method::GET, "/v2/"), Ok(Operation::Ping));
        let blob = format!("/v2/a/b/blobs/sha256:{hex}");
        assert_eq!(parse(Method::HEAD, &blob), of(Thing::Blob(digest.clone())));
        let escaped = format!("/v2/a/b/blobs/sha256%3A{hex}");
        assert_eq!(parse(Method::GET, &escaped), of(Thing::Blob(digest.clone())));
        let tag = Thing::Manifest(Reference::Tag("latest".to_owned()));
        assert_eq!(parse(Method::PUT, "/v2/a/b/manifests/latest"), of(tag));
        assert_eq!(parse(Method::POST, "/v2/a/b/blobs/uploads/"), of(Thing::Uploads));
        assert_eq!(parse(Method::PATCH, "/v2/a/b/blobs/uploads/x"), of(Thing::Upload("x".into())));
        assert_eq!(parse(Method::GET, "/v2/a/b/tags/list"), of(Thing::Tags));
        let referrers = format!("/v2/a/b/referrers/sha256:{hex}");
        assert_eq!(parse(Method::GET, &referrers), of(Thing::Referrers(digest)));
    }

    #[test]
    fn what_is_no_endpoint_is_refused_with_what_is_wrong() {
        for (path, why) in [
            ("/", NotOne::Path),
            ("/v1/", NotOne::Path),
            ("/v2/a/b", NotOne::Path),
            ("/v2/manifests/x", NotOne::Name),
            ("/v2/A/manifests/x", NotOne::Name),
            ("/v2/a%2Fb/manifests/x", NotOne::Path),
            ("/v2/a/manifests/..", NotOne::Reference),
            ("/v2/a/blobs/sha256:1", NotOne::Digest),
            ("/v2/a/manifests/%ff", NotOne::Path),
        ] {
            assert_eq!(parse(Method::GET, path), Err(why), "{path}");
        }
        assert_eq!(parse(Method::POST, "/v2/a/manifests/x"), Err(NotOne::Method));
    }

    #[test]
    fn a_name_may_hold_the_words_of_paths() {
        let got = parse(Method::GET, "/v2/a/manifests/b/tags/list");
        let name = "a/manifests/b".to_owned();
        assert_eq!(got, Ok(Operation::Repository { name, thing: Thing::Tags }));
    }

    #[test]
    fn a_query_is_decoded() {
        let query = Some("mount=sha256%3Aab&from=team%2Fapp2&x");
        assert_eq!(query_value(query, "from").as_deref(), Some("team/app2"));
        assert_eq!(query_value(query, "x").as_deref(), Some(""));
        assert_eq!(query_value(query, "y"), None);
    }
}
