//! Which row of the table a method and a decoded path mean.
//!
//! Called once a request, for pass-throughs too. What must stay true: the first match wins, in the
//! table's order, exactly as gorilla/mux routes in dockerd; a `{name:.*}` takes as much as it can.

use std::sync::LazyLock;

use super::endpoint::{Method, Row};
use super::table::TABLE;

#[derive(Clone, Debug)]
pub struct Match {
    pub row: &'static Row,
    /// The captures, decoded, in order.
    pub names: Vec<String>,
}

/// Finds the route of a request; methods and paths are case-sensitive, as in dockerd.
pub fn find(method: &str, path: &str) -> Option<Match> {
    let method = Method::parse(method)?;
    ROUTES
        .iter()
        .filter(|route| route.row.method == method)
        .find_map(|route| route.matches(path).map(|names| Match { row: route.row, names }))
}

/// The path of a row with its captures filled in.
pub fn fill(row: &Row, names: &[String]) -> String {
    let mut path = String::new();
    let mut names = names.iter();
    for piece in pieces(row.path) {
        match piece {
            PathPiece::Literal(text) => path.push_str(text),
            PathPiece::Segment | PathPiece::Greedy => path.extend(names.next().map(String::as_str)),
        }
    }
    path
}

static ROUTES: LazyLock<Vec<Route>> =
    LazyLock::new(|| TABLE.iter().map(|row| Route { row, pieces: pieces(row.path) }).collect());

struct Route {
    row: &'static Row,
    pieces: Vec<PathPiece>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PathPiece {
    Literal(&'static str),
    /// `{id}`: one segment.
    Segment,
    /// `{name:.*}`: anything, slashes too; dockgate wants at least one character of it.
    Greedy,
}

impl Route {
    fn matches(&self, path: &str) -> Option<Vec<String>> {
        let mut names = Vec::new();
        take(&self.pieces, path, &mut names).then_some(names)
    }
}

/// Matches the rest of a template against the rest of a path, longest capture first.
fn take(pieces: &[PathPiece], path: &str, names: &mut Vec<String>) -> bool {
    let Some((piece, rest)) = pieces.split_first() else { return path.is_empty() };
    match piece {
        PathPiece::Literal(text) => {
            path.strip_prefix(text).is_some_and(|path| take(rest, path, names))
        }
        PathPiece::Segment | PathPiece::Greedy => {
            let most = match piece {
                PathPiece::Segment => path.find('/').unwrap_or(path.len()),
                _ => path.len(),
            };
            let Some(PathPiece::Literal(next)) = rest.first() else {
                names.extend(path.get(..most).filter(|n| !n.is_empty()).map(str::to_owned));
                return rest.is_empty() && most == path.len() && most > 0;
            };
            let reach = path.get(..path.len().min(most + next.len())).unwrap_or(path);
            for (at, _) in reach.rmatch_indices(next).filter(|(at, _)| *at > 0 && *at <= most) {
                let (name, tail) = path.split_at(at);
                names.push(name.to_owned());
                if take(rest, tail, names) {
                    return true;
                }
                names.pop();
            }
            false
        }
    }
}

fn pieces(template: &'static str) -> Vec<PathPiece> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some((literal, tail)) = rest.split_once('{') {
        let (capture, tail) = tail.split_once('}').unwrap_or((tail, ""));
        if !literal.is_empty() {
            pieces.push(PathPiece::Literal(literal));
        }
        pieces.push(if capture.contains(':') { PathPiece::Greedy } else { PathPiece::Segment });
        rest = tail;
    }
    if !rest.is_empty() {
        pieces.push(PathPiece::Literal(rest));
    }
    pieces
}

impl Method {
    pub fn parse(method: &str) -> Option<Method> {
        Some(match method {
            "DELETE" => Method::Delete,
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "OPTIONS" => Method::Options,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            _ => return None,
        })
    }

    /// Whether the query of such a call can be shown: one that changes nothing carries no secrets.
    pub const fn is_safe_to_log(self) -> bool {
        matches!(self, Method::Get | Method::Head | Method::Delete)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Method::Delete => "DELETE",
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Options => "OPTIONS",
            Method::Post => "POST",
            Method::Put => "PUT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::Endpoint;
    use super::*;
    use proptest::prelude::*;

    fn route(method: &str, path: &str) -> Option<(Endpoint, Vec<String>)> {
        find(method, path).map(|m| (m.row.endpoint, m.names))
    }

    #[test]
    fn names_may_hold_slashes_and_literals_win() {
        let named = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let push = route("POST", "/images/127.0.0.1:5099/team/app/push").unwrap();
        assert_eq!(push, (Endpoint::ImagePush, named(&["127.0.0.1:5099/team/app"])));
        let inspect = route("GET", "/containers/json/json").unwrap();
        assert_eq!(inspect, (Endpoint::ContainerInspect, named(&["json"])));
        assert_eq!(route("GET", "/containers/json").unwrap().0, Endpoint::ContainerList);
        assert_eq!(route("GET", "/containers/a/json/json").unwrap().1, named(&["a/json"]));
        assert_eq!(route("GET", "/images/json").unwrap().0, Endpoint::ImageList);
        let checkpoint = route("DELETE", "/containers/web/checkpoints/c1").unwrap();
        assert_eq!(checkpoint.1, named(&["web", "c1"]));
        assert_eq!(route("DELETE", "/containers/a/b").unwrap().1, named(&["a/b"]));
        assert_eq!(route("GET", "/services/a/logs").unwrap().1, named(&["a"]));
    }

    #[test]
    fn what_dockerd_does_not_route_is_not_found() {
        for (method, path) in [
            ("GET", "/info/"),
            ("HEAD", "/info"),
            ("get", "/info"),
            ("GET", "/INFO"),
            ("PATCH", "/containers/json"),
            ("GET", "/services/a/b"),
            ("GET", "/libpod/_ping"),
            ("POST", "/containers/"),
            ("GET", "/containers//json"),
            ("CONNECT", "/info"),
        ] {
            assert!(route(method, path).is_none(), "{method} {path}");
        }
    }

    proptest! {
        #[test]
        fn filling_a_row_and_finding_it_gives_the_same_names(
            index in 0..TABLE.len(),
            names in proptest::collection::vec("[a-z0-9][a-zA-Z0-9_.:@-]{0,12}", 2),
        ) {
            let row = &TABLE[index];
            let wanted: Vec<String> = names.into_iter().take(row.path.matches('{').count()).collect();
            let path = fill(row, &wanted);
            let found = find(row.method.as_str(), &path).unwrap();
            // An earlier, more special row may take it (`/containers/json`), as in dockerd.
            if found.row.endpoint == row.endpoint {
                prop_assert_eq!(found.names, wanted);
            }
        }
    }
}
