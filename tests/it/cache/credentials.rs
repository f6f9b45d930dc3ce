//! Origins that let nobody in but the cache: what it shows them, and where none of it may turn up.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dockgate::cache::key::Scheme;
use dockgate::cache::upstream::credentials::{How, OriginCredentials, basic, bearer};
use dockgate::cache::upstream::{Signer, UpstreamSettings};

use super::origin::{Asked, Origin, whole};
use super::rig::{Answer, Rig, Setup};

/// `robot:secret`.
const LOGIN: &str = "Basic cm9ib3Q6c2VjcmV0";

fn rig(origin: &Origin, how: How, rules: &str) -> Rig {
    let own = OriginCredentials::new(Scheme::Http, origin.host(), how);
    let upstream =
        UpstreamSettings { credentials: vec![Arc::new(own)], ..UpstreamSettings::default() };
    Setup { upstream, rules: rules.to_owned(), ..Setup::default() }.start()
}

fn login() -> How {
    How::Fixed(basic("robot", "secret").unwrap())
}

fn token(realm: Option<(Scheme, String)>) -> How {
    How::Token { login: basic("robot", "secret"), realm }
}

/// Lets those in who show this, and says to whom it spoke.
fn guarded(expected: &'static str) -> Origin {
    Origin::new(move |_, asked, stream| {
        let answer = match asked.field("authorization") {
            Some(shown) if shown == expected => {
                let head = "200 OK\nCache-Control: max-age=60\nSet-Cookie: session=secret\n\
                            Authentication-Info: secret";
                whole(head, b"for the robot")
            }
            Some(shown) => whole("200 OK\nCache-Control: max-age=60", shown.as_bytes()),
            None => whole("401 No\nWWW-Authenticate: Basic realm=\"x\"", b"no"),
        };
        stream.write_all(&answer).is_ok()
    })
}

fn all_of(answer: &Answer) -> String {
    format!("{:?} {}", answer.fields, String::from_utf8_lossy(&answer.body))
}

/// Everything that is on the disk.
fn stored(dir: &Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.push_str(&stored(&path)),
            false => all.push_str(&String::from_utf8_lossy(&std::fs::read(&path).unwrap())),
        }
    }
    all
}

#[test]
fn a_name_and_a_password_go_with_what_only_reads() {
    let origin = guarded(LOGIN);
    let rig = rig(&origin, login(), "");
    for _ in 0..2 {
        let answer = rig.get(&origin, "/x");
        assert_eq!((answer.status, answer.text()), (200, "for the robot"));
        assert!(!all_of(&answer).contains("secret"), "{answer:?}");
        rig.settle();
    }
    assert_eq!(origin.count(), 1, "it is for everybody who may ask the cache");
    assert!(!stored(&rig.dir).contains("secret") && !stored(&rig.dir).contains("cm9ib3Q6"));
    // Nobody publishes in the cache's name, or is somebody else than they say.
    assert_eq!(rig.ask(&origin, "PUT", "/x", &["Content-Length: 0"]).status, 401);
    assert_eq!(rig.ask(&origin, "GET", "/x", &["Content-Length: 1", "", "x"]).status, 401);
    let own = rig.ask(&origin, "GET", "/x", &["Authorization: Basic b3du"]);
    assert_eq!(own.text(), "Basic b3du");
}

#[test]
fn a_token_that_is_always_the_same_is_shown_at_once() {
    let origin = guarded("Bearer t0k3n");
    let rig = rig(&origin, How::Fixed(bearer("t0k3n").unwrap()), "");
    assert_eq!(rig.get(&origin, "/x").text(), "for the robot");
    assert_eq!((rig.ask(&origin, "HEAD", "/y", &[]).status, origin.count()), (200, 2));
}

#[test]
fn other_origins_are_shown_nothing() {
    let (origin, other) = (guarded(LOGIN), guarded(LOGIN));
    let rig = rig(&origin, login(), "");
    assert_eq!(rig.get(&other, "/x").status, 401);
}

#[test]
fn a_redirect_is_followed_without_them() {
    let other = Origin::always("200 OK\nCache-Control: max-age=60", b"blob");
    let to = other.host();
    let origin = Origin::new(move |_, asked, stream| {
        let is_let_in = asked.field("authorization") == Some(LOGIN);
        let head = format!("307 There\nLocation: http://{to}/blob\nSet-Cookie: session=secret");
        let head = if is_let_in { &head } else { "401 No" };
        stream.write_all(&whole(head, b"")).is_ok()
    });
    let rules = "[[rule]]\nname = \"all\"\npaths = [\"/**\"]\nfollow = true";
    let rig = rig(&origin, login(), rules);
    let answer = rig.get(&origin, "/x");
    assert_eq!(answer.text(), "blob");
    assert!(!all_of(&answer).contains("secret"), "{answer:?}");
    let asked = other.asked();
    assert!(asked.len() == 1 && asked[0].field("authorization").is_none(), "{asked:?}");
}

#[test]
fn who_is_refused_in_the_caches_name_is_told_so_and_asked_for_nothing() {
    let origin = Origin::always("401 No\nWWW-Authenticate: Basic realm=\"x\"", b"who are you?");
    let rig = rig(&origin, login(), "");
    let answer = rig.get(&origin, "/x");
    assert_eq!((answer.status, answer.field("www-authenticate")), (502, None));
    assert!(answer.how().contains("credentials-refused"), "{answer:?}");
    assert!(answer.text().contains("hint: see `credentials`"), "{answer:?}");
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_signature_is_of_each_request_and_of_reads_only() {
    let origin = Origin::new(|_, asked, stream| {
        let signed = asked.field("authorization").is_some_and(|shown| {
            shown.starts_with("AWS4-HMAC-SHA256 Credential=AKID/")
                && shown.contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date")
        });
        let dated = asked.field("x-amz-date").is_some_and(|date| date.ends_with('Z'));
        let answer = if signed && dated { whole("200 OK", b"in") } else { whole("403 No", b"") };
        stream.write_all(&answer).is_ok()
    });
    let signer = Signer {
        access_key: "AKID".to_owned(),
        secret: "secret".to_owned(),
        region: "eu-west-1".to_owned(),
        service: "s3".to_owned(),
    };
    let rig = rig(&origin, How::Signed(signer), "");
    for path in ["/x", "/y?z=1"] {
        let answer = rig.get(&origin, path);
        assert_eq!((answer.status, answer.text()), (200, "in"));
    }
    assert_eq!(rig.ask(&origin, "PUT", "/x", &["Content-Length: 0"]).status, 403);
    let shown: Vec<_> = origin
        .asked()
        .iter()
        .map(|asked| asked.field("authorization").map(str::to_owned))
        .collect();
    assert_ne!(shown[0], shown[1], "of another request");
}

/// A registry whose tokens are numbered and hold for a number of requests.
fn registry(holds: usize, realm: impl Fn(&str) -> String + Send + Sync + 'static) -> Origin {
    let (given, used) = (AtomicUsize::new(0), AtomicUsize::new(0));
    Origin::new(move |_, asked: &Asked, stream| {
        let shown = asked.field("authorization");
        if asked.target.starts_with("/token") {
            let answer = match shown {
                Some(LOGIN) => {
                    used.store(0, Ordering::SeqCst);
                    let number = given.fetch_add(1, Ordering::SeqCst) + 1;
                    whole("200 OK", format!("{{\"token\":\"t{number}\"}}").as_bytes())
                }
                _ => whole("401 No", b""),
            };
            return stream.write_all(&answer).is_ok();
        }
        let right = format!("Bearer t{}", given.load(Ordering::SeqCst));
        let is_let_in =
            shown == Some(right.as_str()) && used.fetch_add(1, Ordering::SeqCst) < holds;
        let answer = match is_let_in {
            true => whole("200 OK\nCache-Control: max-age=60", asked.target.as_bytes()),
            false => {
                let realm = realm(asked.field("host").unwrap());
                let field =
                    format!("Bearer realm=\"{realm}\",service=\"r\",scope=\"repository:x:pull\"");
                whole(&format!("401 No\nWWW-Authenticate: {field}"), b"no")
            }
        };
        stream.write_all(&answer).is_ok()
    })
}

fn targets(origin: &Origin) -> Vec<String> {
    origin.asked().iter().map(|asked| asked.target.clone()).collect()
}

#[test]
fn a_challenge_is_answered_with_a_token_that_is_kept() {
    let origin = registry(usize::MAX, |host| format!("http://{host}/token"));
    let rig = rig(&origin, token(None), "");
    for blob in ["/v2/x/blobs/1", "/v2/x/blobs/2"] {
        let answer = rig.get(&origin, blob);
        assert_eq!((answer.status, answer.text()), (200, blob));
        rig.settle();
    }
    let token = "/token?service=r&scope=repository:x:pull";
    let one = "/v2/x/blobs/1";
    assert_eq!(targets(&origin), [one, token, one, "/v2/x/blobs/2"]);
    // Beside another repository's: the challenge is the same, and so is the token.
    assert_eq!(rig.get(&origin, "/v2/y/blobs/1").status, 200);
    assert_eq!(targets(&origin).len(), 6);
    assert!(!stored(&rig.dir).contains("Bearer"));
}

#[test]
fn a_token_that_holds_no_more_is_asked_for_anew() {
    let origin = registry(1, |host| format!("http://{host}/token"));
    let rig = rig(&origin, token(None), "");
    for blob in ["/v2/x/blobs/1", "/v2/x/blobs/2", "/v2/x/blobs/3"] {
        assert_eq!(rig.get(&origin, blob).text(), blob);
        rig.settle();
    }
    let tokens = targets(&origin).iter().filter(|target| target.starts_with("/token")).count();
    assert_eq!((tokens, origin.count()), (3, 9));
}

#[test]
fn a_registry_that_takes_none_of_its_tokens_is_not_asked_for_ever() {
    let origin = registry(0, |host| format!("http://{host}/token"));
    let rig = rig(&origin, token(None), "");
    let answer = rig.get(&origin, "/v2/x/blobs/1");
    assert_eq!((answer.status, origin.count()), (502, 5));
}

#[test]
fn many_who_need_a_token_send_for_it_once() {
    let origin = registry(usize::MAX, |host| format!("http://{host}/token"));
    let rig = rig(&origin, token(None), "");
    std::thread::scope(|scope| {
        for i in 0..8 {
            let (rig, origin) = (&rig, &origin);
            scope.spawn(move || {
                assert_eq!(rig.get(origin, &format!("/v2/x/blobs/{i}")).status, 200);
            });
        }
    });
    let tokens = targets(&origin).iter().filter(|target| target.starts_with("/token")).count();
    assert_eq!(tokens, 1);
}

#[test]
fn a_login_is_sent_to_no_host_that_only_the_origin_names() {
    let thief = Origin::always("200 OK", b"{\"token\":\"t\"}");
    let realm = format!("http://{}/token", thief.host());
    let origin = registry(1, move |_| realm.clone());
    let rig = rig(&origin, token(None), "");
    let answer = rig.get(&origin, "/x");
    assert_eq!((answer.status, thief.count()), (502, 0));
    assert!(answer.text().contains("`realm`"), "{answer:?}");
}

#[test]
fn a_realm_that_the_configuration_names_is_asked() {
    let auth = registry(0, |_| String::new());
    let realm = format!("http://{}/token", auth.host());
    let origin = Origin::new(move |_, asked, stream| {
        let challenge = format!("401 No\nWWW-Authenticate: Bearer realm=\"{realm}\"");
        let answer = match asked.field("authorization") {
            Some("Bearer t1") => whole("200 OK", b"in"),
            _ => whole(&challenge, b""),
        };
        stream.write_all(&answer).is_ok()
    });
    let rig = rig(&origin, token(Some((Scheme::Http, auth.host()))), "");
    assert_eq!(rig.get(&origin, "/x").text(), "in");
    assert_eq!(targets(&auth), ["/token"]);
}

#[test]
fn a_token_endpoint_that_fails_is_named() {
    for (answer, expected) in [
        (whole("403 No", b""), "it answers 403 to the request for a token"),
        (whole("200 OK", b"<html>"), "no token"),
        (whole("200 OK", &vec![b' '; 70_000]), "too long"),
    ] {
        let origin = Origin::new(move |_, asked, stream| {
            let challenge = "401 No\nWWW-Authenticate: Bearer realm=\"/token\"";
            let answer = match asked.target.as_str() {
                "/token" => answer.clone(),
                _ => whole(challenge, b""),
            };
            stream.write_all(&answer).is_ok()
        });
        let rig = rig(&origin, token(None), "");
        let answer = rig.get(&origin, "/x");
        assert_eq!(answer.status, 502);
        assert!(answer.text().contains(expected), "{answer:?}");
    }
}
