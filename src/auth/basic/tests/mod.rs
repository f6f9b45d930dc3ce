//! Credentials and guesses.

mod files;

use std::net::SocketAddr;
use std::path::Path;

use super::*;
use crate::auth::{Authorization, Caller, Peer};
use crate::config::Place;
use crate::wire::head::Lines;

/// By Apache's `htpasswd -nbBC 10 ann 'correct horse'`.
const ANN: &str = "$2y$10$WZUuYZYojHHJ7tNcaNTAluTzv3MQtTdkj0ze0pYV89OWijVvHXEr6";
/// By libxcrypt: `päss`, and 72 times `x`.
const UMLAUT: &str = "$2b$10$abcdefghijklmnopqrstuuM/47t0uEEgRLoaKcxWTlO9rLAjteVoa";
const X72: &str = "$2a$10$abcdefghijklmnopqrstuuhBb/0dYbuuS1CS8hp30IXhlFBW2VAWG";
/// Of the tests of the reference implementation: `password`.
const ARGON2: &str =
    "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

fn file(content: &str) -> (tempfile::TempDir, Result<Basic, Invalid>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("htpasswd");
    std::fs::write(&path, content).unwrap();
    let basic = Basic::new(&config::File { path, place: Place::default() }, Arc::default());
    (dir, basic)
}

async fn decide(basic: &Basic, peer: Peer, authorization: Option<&str>) -> Outcome {
    let caller = Caller::new(peer, Vec::new());
    let headers = Lines::default();
    let authorization = authorization.map(|value| Authorization::parse(value.as_bytes()).unwrap());
    let authorization = authorization.as_ref();
    basic.decide(Asking { listener: "l", caller: &caller, headers: &headers, authorization }).await
}

async fn login(basic: &Basic, uid: u32, user: &str, password: &str) -> String {
    let value = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    match decide(basic, Peer::Unix { uid, gid: 0, pid: None }, Some(&value)).await {
        Outcome::Recognised(who) => format!("is {}", who.user),
        Outcome::Refused(why) => why.into_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_failure_costs_the_same_for_everybody() {
    let weaker = ARGON2.replace("m=65536", "m=32768");
    let (_dir, basic) = file(&format!("ann:{ANN}\nbob:{UMLAUT}\neve:{ARGON2}\nian:{weaker}\n"));
    let users = &basic.unwrap().users;
    let costs = |user: &str| {
        let of = users.to_verify(users.hashes.get(user)).map(|hash| format!("{:?}", hash.cost()));
        let mut all: Vec<_> = of.collect();
        all.sort();
        all
    };
    assert_eq!(costs("nobody").len(), 3);
    for user in ["ann", "bob", "eve", "ian"] {
        assert_eq!(costs(user), costs("nobody"), "{user}");
    }
}

#[test]
fn the_password_of_another_user_is_wrong() {
    let (_dir, basic) = file(&format!("ann:{ANN}\nbob:{UMLAUT}\n"));
    let users = &basic.unwrap().users;
    for (user, password, is_right) in [
        ("ann", "correct horse", true),
        ("bob", "correct horse", false),
        ("eve", "correct horse", false),
        ("bob", "p\u{e4}ss", true),
    ] {
        let credential = Credential { user: user.to_owned(), password: password.to_owned() };
        assert_eq!(users.is_right(&credential), is_right, "{user}");
    }
}

/// So often and so long ago that one more failure means a minute, longer than any test takes.
async fn has_failed_before(basic: &Basic, uid: u32) {
    let mut attempt = basic.attempts.begin(PeerKey::User(uid)).await.unwrap();
    let then = Instant::now() - Duration::from_secs(100);
    (0..9).for_each(|_| attempt.failed(then));
}

fn is_backed_off(said: &str) -> bool {
    said.starts_with("too many failed logins from this address: try again in ")
}

#[tokio::test]
async fn whoever_fails_waits_and_whoever_was_right_does_not() {
    let (_dir, basic) = file(&format!("ann:{ANN}\nbob:{UMLAUT}\n"));
    let basic = basic.unwrap();
    assert_eq!(login(&basic, 1, "ann", "correct horse").await, "is ann");
    has_failed_before(&basic, 1).await;
    assert_eq!(login(&basic, 1, "eve", "wrong").await, "wrong user or password");
    assert!(is_backed_off(&login(&basic, 1, "eve", "wrong").await));
    assert!(is_backed_off(&login(&basic, 1, "bob", "p\u{e4}ss").await), "nothing is learnt");
    assert_eq!(login(&basic, 1, "ann", "correct horse").await, "is ann", "known since before");
    assert_eq!(login(&basic, 2, "eve", "wrong").await, "wrong user or password");
}

#[tokio::test]
async fn guesses_at_the_same_time_count_one_by_one() {
    let (_dir, basic) = file(&format!("ann:{ANN}\n"));
    let basic = Arc::new(basic.unwrap());
    has_failed_before(&basic, 1).await;
    let mut guesses = tokio::task::JoinSet::new();
    for guess in 0..8 {
        let basic = Arc::clone(&basic);
        guesses.spawn(async move { login(&basic, 1, "ann", &format!("guess {guess}")).await });
    }
    let said = guesses.join_all().await;
    assert_eq!(said.iter().filter(|said| is_backed_off(said)).count(), 7, "{said:?}");
}

#[tokio::test]
async fn whoever_leaves_before_the_answer_has_had_a_guess() {
    let (_dir, basic) = file(&format!("ann:{ANN}\n"));
    let basic = basic.unwrap();
    has_failed_before(&basic, 1).await;
    // Polled once, dropped.
    let given_up = login(&basic, 1, "ann", "gone");
    assert!(tokio::time::timeout(Duration::ZERO, given_up).await.is_err());
    assert!(is_backed_off(&login(&basic, 1, "ann", "guess").await));
}

#[tokio::test]
async fn when_too_many_wait_nobody_is_judged() {
    let (_dir, basic) = file(&format!("ann:{ANN}\n"));
    let basic = basic.unwrap();
    let all = basic.waiting.try_acquire_many(u32::try_from(WAITING).unwrap()).unwrap();
    let value = format!("Basic {}", STANDARD.encode("ann:correct horse"));
    for _ in 0..5 {
        let found = decide(&basic, Peer::Unknown, Some(&value)).await;
        assert!(matches!(found, Outcome::Unavailable(_)), "{found:?}");
    }
    drop(all);
    let found = decide(&basic, Peer::Unknown, Some(&value)).await;
    assert!(matches!(found, Outcome::Recognised(_)), "{found:?}: none of them was a failure");
}

#[tokio::test]
async fn many_connections_of_one_client_do_not_disturb_each_other() {
    let (_dir, basic) = file(&format!("ann:{ANN}\n"));
    let basic = Arc::new(basic.unwrap());
    has_failed_before(&basic, 1).await;
    let mut logins = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let basic = Arc::clone(&basic);
        logins.spawn(async move { login(&basic, 1, "ann", "correct horse").await });
    }
    // An attempt counts as a failure until it is done: none may look while another goes on.
    assert_eq!(logins.join_all().await, ["is ann"; 8]);
}

#[tokio::test]
async fn a_header_is_ours_another_s_or_wrong() {
    let (_dir, basic) = file(&format!("ann:{ANN}\n"));
    let basic = basic.unwrap();
    assert!(matches!(decide(&basic, Peer::Unknown, None).await, Outcome::Absent));
    for other in ["Bearer abc", "Negotiate"] {
        assert!(matches!(decide(&basic, Peer::Unknown, Some(other)).await, Outcome::Foreign));
    }
    let long = STANDARD.encode(format!("ann:{}", "x".repeat(LONGEST + 1)));
    let bad =
        ["", "!", "YW5uOng", "YW5uOng=x", "YW5uOnh=", "YW5u", "/zp4", "OngK", "YQBiOng=", &long];
    for _ in 0..3 {
        for parameters in bad {
            let value = format!("Basic {parameters}");
            let found = decide(&basic, Peer::Unknown, Some(&value)).await;
            assert!(matches!(found, Outcome::Refused(_)), "{parameters}: {found:?}");
        }
    }
    // None of them was a guess.
    let value = format!("bASIC {}", STANDARD.encode("ann:correct horse"));
    let found = decide(&basic, Peer::Unknown, Some(&value)).await;
    assert!(matches!(found, Outcome::Recognised(_)));
}

#[test]
fn who_shares_an_address() {
    let of = |text: &str| Peer::Tcp(text.parse::<SocketAddr>().unwrap()).source();
    assert_eq!(of("192.0.2.1:1"), of("192.0.2.1:2"));
    assert_ne!(of("192.0.2.1:1"), of("192.0.2.2:1"));
    assert_eq!(of("192.0.2.1:1"), of("[::ffff:192.0.2.1]:1"));
    assert_eq!(of("[2001:db8::1]:1"), of("[2001:db8::ffff:0:0:2]:1"));
    assert_ne!(of("[2001:db8::1]:1"), of("[2001:db8:0:1::1]:1"));
}

proptest::proptest! {
    #[test]
    fn no_file_and_no_header_panics(bytes: Vec<u8>, text in "\\PC{0,80}") {
        let _ = htpasswd::parse(Path::new("h"), &bytes);
        let _ = htpasswd::parse(Path::new("h"), format!("a:$2y${text}").as_bytes());
        let _ = htpasswd::parse(Path::new("h"), format!("a:$argon2id${text}").as_bytes());
        let _ = Credential::read(&text);
        let _ = Credential::read(&STANDARD.encode(&bytes));
    }

    #[test]
    fn a_credential_comes_back_as_it_was_sent(user in "[a-z \u{e9}]{1,9}", password in "[^\u{0}]{1,50}") {
        let sent = STANDARD.encode(format!("{user}:{password}"));
        if let Ok(credential) = Credential::read(&sent) {
            proptest::prop_assert_eq!((credential.user, credential.password), (user, password));
        } else {
            proptest::prop_assert!(user.trim() != user || password.len() > LONGEST);
        }
    }
}
