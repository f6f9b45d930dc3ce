//! Key sets from a server that changes, fails and lies.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use jsonwebtoken::Algorithm;

use super::super::keys::Allowed;
use super::super::source::{Fetched, KeySource, Pace};
use super::*;
use crate::http_client::HttpClient;

const NEVER: Duration = Duration::from_secs(1_000_000);
const ALWAYS: Duration = Duration::ZERO;

/// What it answers, and how often it was asked.
struct Issuer {
    url: String,
    state: Arc<Mutex<(String, usize)>>,
}

impl Issuer {
    fn new() -> Issuer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new((String::new(), 0)));
        let shared = state.clone();
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                lines.map_while(Result::ok).take_while(|line| !line.is_empty()).count();
                let mut state = shared.lock().unwrap();
                state.1 += 1;
                let _ = stream.write_all(state.0.as_bytes());
            }
        });
        Issuer { url, state }
    }

    fn says(&self, keys: &[&Pair]) {
        let keys: Vec<_> = keys.iter().map(|pair| pair.jwk(&id(pair))).collect();
        self.answers(200, &json!({"keys": keys}).to_string());
    }

    fn answers(&self, status: u16, body: &str) {
        let length = body.len();
        let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n\r\n{body}");
        self.state.lock().unwrap().0 = answer;
    }

    /// Whoever asks finds the connection closed.
    fn is_down(&self) {
        self.state.lock().unwrap().0.clear();
    }

    fn count(&self) -> usize {
        self.state.lock().unwrap().1
    }

    fn asked_by(&self, pace: Pace) -> Jwt {
        let client =
            HttpClient::new(&self.url.as_str().into(), None, Duration::from_secs(20)).unwrap();
        let allowed = Allowed::new(&[]).unwrap();
        let config = config(Keys::Secret("".into()));
        let fetched = Fetched::new(client, allowed, &config.issuer, pace);
        let mut jwt = Jwt::new(&with_url(&self.url)).unwrap();
        jwt.source = KeySource::Fetched(Arc::new(fetched));
        jwt
    }
}

fn with_url(url: &str) -> config::Jwt {
    let url = url.to_owned();
    config(Keys::Url { url: url.as_str().into(), ca: None, refresh: Duration::from_secs(3600) })
}

fn pace() -> Pace {
    Pace { refresh: NEVER, retry: NEVER, first: NEVER, unknown: NEVER }
}

fn id(pair: &Pair) -> String {
    pair.jwk("")["x"].as_str().unwrap().to_owned()
}

fn pairs() -> [Pair; 3] {
    [0; 3].map(|_| Pair::new(Algorithm::ES256))
}

fn token(pair: &Pair) -> String {
    pair.sign(&json!({"alg": "ES256", "kid": id(pair)}), &claims())
}

const UNKNOWN: &str = "the token names a key that is not known";

#[test]
fn nothing_is_fetched_before_a_token_needs_it() {
    let (issuer, [one, ..]) = (Issuer::new(), pairs());
    issuer.says(&[&one]);
    let jwt = Jwt::new(&with_url(&issuer.url)).unwrap();
    assert_eq!(said(ask(&jwt, "opaque")), "the bearer token is not a signed JWT");
    let mut foreign = claims();
    foreign["iss"] = "https://other".into();
    let foreign = one.sign(&json!({"alg": "ES256"}), &foreign);
    assert!(matches!(ask(&jwt, &foreign), Outcome::Foreign));
    assert_eq!(issuer.count(), 0);
    for _ in 0..3 {
        assert_eq!(said(ask(&jwt, &token(&one))), "ann");
    }
    assert_eq!(issuer.count(), 1);
}

#[test]
fn an_unknown_key_is_asked_for_once_in_a_while() {
    let (issuer, [one, two, three]) = (Issuer::new(), pairs());
    issuer.says(&[&one]);
    let jwt = issuer.asked_by(pace());
    assert_eq!(said(ask(&jwt, &token(&two))), UNKNOWN);
    assert_eq!(issuer.count(), 1, "a set that was fetched for this very token is new enough");
    assert_eq!(said(ask(&jwt, &token(&one))), "ann");
    issuer.says(&[&two]);
    assert_eq!(said(ask(&jwt, &token(&two))), "ann");
    assert_eq!(issuer.count(), 2);
    // What the old set verified is no longer remembered.
    assert_eq!(said(ask(&jwt, &token(&one))), UNKNOWN);
    issuer.says(&[&three]);
    for _ in 0..20 {
        assert_eq!(said(ask(&jwt, &token(&three))), UNKNOWN);
    }
    assert_eq!(issuer.count(), 2, "a storm");
    let jwt = issuer.asked_by(Pace { unknown: ALWAYS, ..pace() });
    assert_eq!(said(ask(&jwt, &token(&one))), UNKNOWN);
    issuer.says(&[&one]);
    assert_eq!(said(ask(&jwt, &token(&one))), "ann", "after a minute");
}

#[test]
fn a_storm_from_many_threads_is_one_fetch() {
    let (issuer, [one, two, _]) = (Issuer::new(), pairs());
    issuer.says(&[&one]);
    let jwt = issuer.asked_by(pace());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(said(ask(&jwt, &token(&one))), "ann"));
        }
    });
    assert_eq!(issuer.count(), 1);
    issuer.says(&[&one, &two]);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(said(ask(&jwt, &token(&two))), "ann"));
        }
    });
    assert_eq!(issuer.count(), 2);
}

#[test]
fn without_a_set_it_cannot_be_decided_and_is_not_asked_with_every_token() {
    let (issuer, [one, ..]) = (Issuer::new(), pairs());
    let jwt = issuer.asked_by(pace());
    for _ in 0..5 {
        let Outcome::Unavailable(why) = ask(&jwt, &token(&one)) else { panic!() };
        assert!(why.starts_with("the key set could not be fetched: "), "{why}");
    }
    assert_eq!(issuer.count(), 1);
    let jwt = issuer.asked_by(Pace { first: ALWAYS, ..pace() });
    assert!(matches!(ask(&jwt, &token(&one)), Outcome::Unavailable(_)));
    issuer.says(&[&one]);
    assert_eq!(said(ask(&jwt, &token(&one))), "ann");
}

#[test]
fn a_good_set_is_kept_when_the_source_is_down_or_answers_nonsense() {
    let (issuer, [one, two, _]) = (Issuer::new(), pairs());
    issuer.says(&[&one]);
    let jwt = issuer.asked_by(Pace { unknown: ALWAYS, ..pace() });
    assert_eq!(said(ask(&jwt, &token(&one))), "ann");
    issuer.is_down();
    assert_eq!(said(ask(&jwt, &token(&two))), UNKNOWN);
    for (status, body) in [
        (200, "<html>"),
        (200, "{\"keys\":[]}"),
        (200, ""),
        (503, "{}"),
        (301, ""),
        (204, ""),
        (200, &"x".repeat(600 * 1024)),
    ] {
        issuer.answers(status, body);
        let before = issuer.count();
        assert_eq!(said(ask(&jwt, &token(&two))), UNKNOWN);
        assert_eq!(issuer.count(), before + 1);
        assert_eq!(said(ask(&jwt, &token(&one))), "ann", "{status} {body}");
    }
    issuer.says(&[&two]);
    assert_eq!(said(ask(&jwt, &token(&two))), "ann");
    assert_eq!(said(ask(&jwt, &token(&one))), UNKNOWN);
}

#[test]
fn an_old_set_is_fetched_again_before_it_is_used() {
    let (issuer, [one, two, _]) = (Issuer::new(), pairs());
    issuer.says(&[&one]);
    // Always older than twice this.
    let jwt = issuer.asked_by(Pace { refresh: ALWAYS, ..pace() });
    assert_eq!(said(ask(&jwt, &token(&one))), "ann");
    issuer.says(&[&two]);
    assert_eq!(said(ask(&jwt, &token(&one))), UNKNOWN);
    assert_eq!(said(ask(&jwt, &token(&two))), "ann");
    issuer.is_down();
    assert_eq!(said(ask(&jwt, &token(&two))), "ann");
    let count = issuer.count();
    for _ in 0..5 {
        assert_eq!(said(ask(&jwt, &token(&two))), "ann", "and used when there is no other");
    }
    assert_eq!(issuer.count(), count, "without being asked for again at once");
}

#[test]
fn the_same_set_again_is_no_change() {
    let (issuer, [one, ..]) = (Issuer::new(), pairs());
    issuer.says(&[&one]);
    let jwt = issuer.asked_by(Pace { refresh: ALWAYS, ..pace() });
    let generation = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        runtime.block_on(jwt.source.keys()).unwrap().generation
    };
    assert_eq!([generation(), generation()], [0, 0]);
    issuer.says(&[&one, &one]);
    assert_eq!([generation(), generation()], [1, 1]);
    assert_eq!(issuer.count(), 4);
}

#[test]
fn a_caller_who_leaves_does_not_end_the_fetch() {
    let (issuer, [one, ..]) = (Issuer::new(), pairs());
    issuer.says(&[&one]);
    let jwt = issuer.asked_by(pace());
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    let token = token(&one);
    runtime.block_on(async {
        // Asked once, and left at the first wait.
        let mut leaving = Box::pin(jwt.decide(&token));
        std::future::poll_fn(|context| {
            assert!(leaving.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        drop(leaving);
        assert_eq!(said(jwt.decide(&token).await), "ann");
    });
    assert_eq!(issuer.count(), 1);
}

#[test]
fn a_source_that_failed_is_asked_again_beside_the_calls() {
    let (issuer, [one, two, _]) = (Issuer::new(), pairs());
    issuer.says(&[&one]);
    let jwt = issuer.asked_by(Pace { refresh: ALWAYS, retry: ALWAYS, ..pace() });
    assert_eq!(said(ask(&jwt, &token(&one))), "ann");
    issuer.is_down();
    assert_eq!(said(ask(&jwt, &token(&one))), "ann");
    issuer.says(&[&two]);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(async {
        assert_eq!(said(jwt.decide(&token(&one)).await), "ann", "by the old set, without a wait");
        let fetched = async {
            while jwt.source.at_hand().is_some_and(|held| held.generation == 0) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), fetched).await.unwrap();
        assert_eq!(said(jwt.decide(&token(&two)).await), "ann");
    });
}
