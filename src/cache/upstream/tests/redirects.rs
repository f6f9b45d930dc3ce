//! Redirects that are followed here.

use super::origin::Act;
use super::*;

fn follow() -> Follow {
    Follow { most: 3, allowed: Arc::new(|_, host| host.starts_with("127.")) }
}

async fn get(fetch: &Fetch, fields: &[(&str, &str)]) -> Result<OriginResponse, Fault> {
    let follow = follow();
    let (headers, empty) = (head(fields), RequestBody::Empty);
    upstream().send(fetch, Method::GET, headers, empty, Some(&follow), None).await
}

fn lead_to(location: &str) -> Vec<u8> {
    answer("302 Found", &[&format!("location: {location}")], "elsewhere")
}

#[tokio::test]
async fn the_answer_is_that_of_the_last_url() {
    let origin = Origin::new(|head| {
        vec![Act::Send(match head.split(' ').nth(1).unwrap() {
            "/a/one" => lead_to("two"),
            "/a/two" => lead_to("/three?x"),
            _ => answer("200 OK", &[], "here"),
        })]
    })
    .await;
    let fields = [("authorization", "Basic eDp5")];
    let mut answer = get(&fetch(Scheme::Http, &origin.host(), "/a/one"), &fields).await.unwrap();
    assert_eq!(answer.body.text().await.unwrap(), "here");
    assert_eq!((answer.hops.len(), origin.heads().len()), (2, 3));
    assert!(origin.heads()[2].starts_with("GET /three?x "));
    for head in origin.heads() {
        assert!(head.contains("authorization: Basic eDp5"), "the same origin may know it: {head}");
    }
}

#[tokio::test]
async fn credentials_do_not_cross_to_another_port() {
    let other = Origin::saying(answer("200 OK", &[], "here")).await;
    let to = format!("http://{}/x", other.host());
    let origin = Origin::new(move |_| vec![Act::Send(lead_to(&to))]).await;
    let secrets = [("authorization", "Basic eDp5"), ("cookie", "a=b"), ("x-token", "t")];
    let fields = [&secrets[..], &[("accept", "x/y"), ("range", "bytes=1-")]].concat();
    let answer = get(&fetch(Scheme::Http, &origin.host(), "/"), &fields).await.unwrap();
    assert_eq!(answer.hops.len(), 1);
    let seen = other.heads().concat();
    for (name, _) in secrets {
        assert!(!seen.contains(name), "{seen}");
    }
    assert!(seen.contains("accept: x/y") && seen.contains("range: bytes=1-"), "{seen}");
    assert!(seen.contains("via: 1.1 us") && seen.contains("cdn-loop: us"), "{seen}");
}

#[tokio::test]
async fn a_loop_of_redirects_ends() {
    let origin = Origin::saying(lead_to("/again")).await;
    let fault = get(&fetch(Scheme::Http, &origin.host(), "/"), &[]).await.unwrap_err();
    assert_eq!((fault.name(), fault.status().as_u16()), ("too-many-redirects", 502));
    assert_eq!(origin.heads().len(), 4);
}

#[tokio::test]
async fn a_host_that_is_not_allowed_is_the_clients_business() {
    let origin = Origin::saying(lead_to("http://localhost:1/")).await;
    let answer = get(&fetch(Scheme::Http, &origin.host(), "/"), &[]).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.hops.len()), (302, 0));
    assert_eq!(answer.headers["location"], "http://localhost:1/");
}

#[tokio::test]
async fn the_guard_judges_each_hop() {
    let origin = Origin::saying(lead_to("http://127.0.0.2:9/")).await;
    let fault = get(&fetch(Scheme::Http, &origin.host(), "/"), &[]).await.unwrap_err();
    assert_eq!(fault.name(), "address-refused");
}

#[tokio::test]
async fn requests_with_a_body_are_not_repeated_elsewhere() {
    let origin = Origin::new(|_| vec![Act::Read(1), Act::Send(lead_to("/again"))]).await;
    let (fetch, follow) = (fetch(Scheme::Http, &origin.host(), "/"), follow());
    let body = RequestBody::Whole("x".into());
    let answer = upstream()
        .send(&fetch, Method::POST, HeaderMap::new(), body, Some(&follow), None)
        .await
        .unwrap();
    assert_eq!((answer.status.as_u16(), origin.heads().len()), (302, 1));
}
