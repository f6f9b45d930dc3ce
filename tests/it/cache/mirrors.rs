//! Mirrors: what a protocol adds is some lines, and all of it is a plan.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dockgate::cache::fresh;
use dockgate::cache::key::{Key, Scheme};
use dockgate::cache::route::{
    Check, Compose, Fetch, Kind, Mirror, Produce, Render, RequestTarget, Rewrite, Route,
    RouteSource, Verify,
};
use http::{HeaderMap, HeaderValue};

use super::origin::{Origin, whole};
use super::rig::{Rig, Setup};

/// A protocol of a few lines: `/list` is made of two documents, `/upper/…` is rewritten, `/hello/…` is
/// rendered for who asks, `/numbers` is produced, `/checked/…` must begin with `ok`.
#[derive(Debug)]
struct Toy(String);

impl Mirror for Toy {
    fn name(&self) -> &str {
        "toy"
    }

    fn route(&self, asked: &RequestTarget<'_>) -> Option<Route> {
        let path = asked.path.strip_prefix("/toy")?;
        let fetch = |target: &str| Fetch {
            scheme: Scheme::Http,
            host: self.0.clone(),
            target: target.into(),
        };
        let source = match path {
            "/list" => RouteSource::Compose(vec![fetch("/a"), fetch("/b")], Arc::new(Joined)),
            "/numbers" => RouteSource::Produce(Arc::new(Numbers)),
            other => RouteSource::Fetch(fetch(other)),
        };
        let (host, path_) = (asked.host.into(), asked.path.into());
        Some(Route {
            key: Key {
                partition: asked.partition,
                scheme: asked.scheme,
                host,
                path: path_,
                query: None,
            },
            kind: Kind::Metadata { ttl: Some(Duration::from_secs(60)), stale: Duration::ZERO },
            source,
            verify: path.starts_with("/checked").then(|| Verify::Document(Arc::new(BeginsOk))),
            rewrite: path.starts_with("/upper").then(|| Arc::new(Upper) as Arc<dyn Rewrite>),
            headers: None,
            render: path.starts_with("/hello").then(|| Arc::new(Hello) as Arc<dyn Render>),
            rules: fresh::FreshnessRules::default(),
            negative: None,
            follow: false,
        })
    }
}

#[derive(Debug)]
struct Joined;
impl Compose for Joined {
    fn compose(&self, parts: Vec<(HeaderMap, Bytes)>) -> Result<(HeaderMap, Bytes), String> {
        let all: Vec<&[u8]> = parts.iter().map(|(_, body)| &body[..]).collect();
        Ok((HeaderMap::new(), all.join(&b'+').into()))
    }
}

#[derive(Debug)]
struct Numbers;
impl Produce for Numbers {
    fn produce(&self) -> (HeaderMap, Box<dyn Iterator<Item = Result<Bytes, String>> + Send>) {
        (HeaderMap::new(), Box::new((0..3).map(|i| Ok(format!("{i};").into()))))
    }
}

#[derive(Debug)]
struct Upper;
impl Rewrite for Upper {
    fn rewrite(&self, headers: &mut HeaderMap, body: Bytes) -> Result<Bytes, String> {
        headers.insert("x-rewritten", HeaderValue::from_static("yes"));
        Ok(body.to_ascii_uppercase().into())
    }
}

#[derive(Debug)]
struct Hello;
impl Render for Hello {
    fn render(&self, request: &HeaderMap, _: &mut HeaderMap, body: Bytes) -> Result<Bytes, String> {
        let who = request.get("user-agent").and_then(|who| who.to_str().ok()).unwrap_or("you");
        Ok(format!("{} {who}", String::from_utf8_lossy(&body)).into())
    }
}

#[derive(Debug)]
struct BeginsOk;
impl Check for BeginsOk {
    fn check(&self, body: &[u8]) -> Result<(), String> {
        body.starts_with(b"ok").then_some(()).ok_or_else(|| "it does not begin with ok".to_owned())
    }
}

fn rig() -> (Origin, Rig) {
    let origin = Origin::new(|_, asked, stream| {
        stream.write_all(&whole("200 OK", asked.target.as_bytes())).is_ok()
    });
    let toy = Toy(origin.host());
    let rig = Setup { mirrors: vec![Arc::new(toy)], ..Setup::default() }.start();
    (origin, rig)
}

#[test]
fn documents_are_composed_once() {
    let (origin, rig) = rig();
    for _ in 0..3 {
        assert_eq!(rig.get(&origin, "/toy/list").text(), "/a+/b");
        rig.settle();
    }
    assert_eq!(origin.count(), 2);
}

#[test]
fn artifacts_are_produced_and_stored() {
    let (origin, rig) = rig();
    assert_eq!(rig.get(&origin, "/toy/numbers").text(), "0;1;2;");
    rig.settle();
    let again = rig.get(&origin, "/toy/numbers");
    assert!(again.how().contains("hit") && again.text() == "0;1;2;");
    assert_eq!(origin.count(), 0);
}

#[test]
fn documents_are_rewritten_before_and_rendered_after_they_are_stored() {
    let (origin, rig) = rig();
    for _ in 0..2 {
        let upper = rig.get(&origin, "/toy/upper/x");
        assert_eq!((upper.text(), upper.field("x-rewritten")), ("/UPPER/X", Some("yes")));
        for who in ["ann", "bob"] {
            let agent = format!("User-Agent: {who}");
            let hello = rig.ask(&origin, "GET", "/toy/hello/x", &[&agent]);
            assert_eq!(hello.text(), format!("/hello/x {who}"));
            rig.settle();
        }
    }
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_document_that_fails_its_check_reaches_nobody() {
    let (origin, rig) = rig();
    let answer = rig.get(&origin, "/toy/checked/x");
    assert!(answer.status == 502 || !answer.whole, "{answer:?}");
    rig.settle();
    rig.get(&origin, "/toy/checked/x");
    assert_eq!(origin.count(), 2, "nor the store");
}

#[test]
fn what_no_mirror_claims_is_for_the_next_one() {
    let (origin, rig) = rig();
    assert_eq!(rig.get(&origin, "/other").text(), "/other");
}
