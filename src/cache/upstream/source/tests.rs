//! Each step by what came before it.

use std::sync::Arc;

use http::HeaderValue;
use http::header::{LOCATION, WWW_AUTHENTICATE};

use super::*;
use crate::cache::key::Scheme;

fn fetch(host: &str, target: &str) -> Fetch {
    Fetch { scheme: Scheme::Https, host: host.to_owned(), target: target.to_owned() }
}

fn own(how: How) -> OriginCredentials {
    OriginCredentials::new(Scheme::Https, "a".to_owned(), how)
}

fn token(realm: Option<(Scheme, String)>) -> OriginCredentials {
    own(How::Token { login: None, realm })
}

fn anywhere() -> Follow {
    Follow { most: 2, allowed: Arc::new(|_, _| true) }
}

fn head(name: http::HeaderName, value: &str) -> HeaderMap {
    HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
}

fn challenge() -> HeaderMap {
    head(WWW_AUTHENTICATE, r#"Bearer realm="https://a/t",scope="x""#)
}

fn why(step: Step) -> String {
    match step {
        Step::Fault(fault) => fault.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_plain_fetch_is_one_call_whatever_comes() {
    let source = Source { follow: None, credentials: None };
    let so_far = SoFar::new(&fetch("a", "/x"));
    for status in [200, 302, 401, 403, 404, 500] {
        let status = StatusCode::from_u16(status).unwrap();
        let mut headers = challenge();
        headers.extend(head(LOCATION, "/y"));
        assert_eq!(source.next(&so_far, status, &headers), Step::Answer);
    }
}

#[test]
fn a_challenge_is_answered_twice_for_the_first_token_may_be_an_old_one() {
    let own = token(None);
    let source = Source { follow: None, credentials: Some(&own) };
    let mut so_far = SoFar::new(&fetch("a", "/x"));
    let after = |so_far: &SoFar| source.next(so_far, StatusCode::UNAUTHORIZED, &challenge());
    let request = fetch("a", "/t?scope=x");
    assert_eq!(after(&so_far), Step::Token(request.clone()));
    so_far.tokens = 1;
    assert_eq!(after(&so_far), Step::Token(request));
    so_far.tokens = 2;
    assert!(why(after(&so_far)).contains("401 to the token"));
    for status in [StatusCode::OK, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND] {
        assert_eq!(source.next(&so_far, status, &challenge()), Step::Answer);
    }
}

#[test]
fn a_login_goes_to_the_realm_of_the_configuration_and_to_no_other() {
    let named = token(Some((Scheme::Https, "auth.a".to_owned())));
    let source = Source { follow: None, credentials: Some(&named) };
    let so_far = SoFar::new(&fetch("a", "/x"));
    let after = |realm: &str| {
        let headers = head(WWW_AUTHENTICATE, &format!("Bearer realm=\"{realm}\""));
        source.next(&so_far, StatusCode::UNAUTHORIZED, &headers)
    };
    let request = fetch("auth.a", "/t");
    assert_eq!(after("https://auth.a/t"), Step::Token(request));
    for realm in ["https://evil/t", "http://auth.a/t", "https://a/t"] {
        assert!(why(after(realm)).contains("`realm`"), "{realm}");
    }
    let basic = head(WWW_AUTHENTICATE, "Basic realm=\"x\"");
    assert!(why(source.next(&so_far, StatusCode::UNAUTHORIZED, &basic)).contains("does not say"));
}

#[test]
fn credentials_that_are_always_the_same_are_refused_once() {
    let own = own(How::Fixed(HeaderValue::from_static("Basic x")));
    let source = Source { follow: None, credentials: Some(&own) };
    let so_far = SoFar::new(&fetch("a", "/x"));
    let fault = why(source.next(&so_far, StatusCode::UNAUTHORIZED, &challenge()));
    assert!(fault.contains("401 to the credentials") && !fault.contains("Basic"), "{fault}");
}

#[test]
fn no_credentials_go_on_to_another_origin_nor_back_from_there() {
    let (own, follow) = (token(None), anywhere());
    let source = Source { follow: Some(&follow), credentials: Some(&own) };
    let mut so_far = SoFar::new(&fetch("a", "/x"));
    let step = source.next(&so_far, StatusCode::FOUND, &head(LOCATION, "/y"));
    assert_eq!(step, Step::Hop(fetch("a", "/y")));
    so_far.sent = Some(HeaderMap::new());
    so_far.hop(fetch("a", "/y"));
    assert!(
        source.credentials(&so_far).is_some() && so_far.sent.is_some(),
        "the same origin may know them"
    );
    so_far.hop(fetch("b", "/y"));
    assert!(source.credentials(&so_far).is_none() && so_far.sent.is_none());
    let step = source.next(&so_far, StatusCode::UNAUTHORIZED, &challenge());
    assert_eq!(step, Step::Answer, "what the other one asks for is not ours to answer");
    so_far.hop(fetch("a", "/z"));
    assert!(source.credentials(&so_far).is_none());
    so_far.hops = follow.most;
    let step = source.next(&so_far, StatusCode::FOUND, &head(LOCATION, "/y"));
    assert_eq!(step, Step::Fault(Fault::TooManyRedirects(2)));
}
