//! Mirrors: what a protocol adds is some lines, and all of it is a plan.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dockgate::cache::fresh;
use dockgate::cache::key::{Key, Scheme};
use dockgate::cache::route::{Fetch, Kind, Mirror, RequestTarget, Rewrite, Route};
use http::{HeaderMap, HeaderValue};

use super::origin::{Origin, whole};
use super::rig::{Rig, Setup};

/// A protocol of a few lines: `/toy/…` is elsewhere, and `/toy/upper/…` is rewritten.
#[derive(Debug)]
struct Toy(String);

impl Mirror for Toy {
    fn route(&self, asked: &RequestTarget<'_>) -> Option<Route> {
        let path = asked.path.strip_prefix("/toy")?;
        Some(Route {
            key: Key {
                partition: asked.partition,
                scheme: asked.scheme,
                host: asked.host.into(),
                path: asked.path.into(),
                query: None,
            },
            kind: Kind::Metadata { ttl: Some(Duration::from_secs(60)), stale: Duration::ZERO },
            failed: None,
            source: Fetch { scheme: Scheme::Http, host: self.0.clone(), target: path.into() },
            verify: None,
            rewrite: path.starts_with("/upper").then(|| Arc::new(Upper) as Arc<dyn Rewrite>),
            headers: None,
            rules: fresh::FreshnessRules::default(),
            negative: None,
            follow: false,
        })
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

fn rig() -> (Origin, Rig) {
    let origin = Origin::new(|_, asked, stream| {
        stream.write_all(&whole("200 OK", asked.target.as_bytes())).is_ok()
    });
    let toy = Toy(origin.host());
    let rig = Setup { mirrors: vec![Arc::new(toy)], ..Setup::default() }.start();
    (origin, rig)
}

#[test]
fn documents_are_rewritten_before_they_are_stored() {
    let (origin, rig) = rig();
    for _ in 0..2 {
        let upper = rig.get(&origin, "/toy/upper/x");
        assert_eq!((upper.text(), upper.field("x-rewritten")), ("/UPPER/X", Some("yes")));
        assert_eq!(rig.get(&origin, "/toy/x").text(), "/x");
        rig.settle();
    }
    assert_eq!(origin.count(), 2);
}

#[test]
fn what_no_mirror_claims_is_for_the_next_one() {
    let (origin, rig) = rig();
    assert_eq!(rig.get(&origin, "/other").text(), "/other");
}
