//! What ECR is asked, and what comes of its answers.

use super::chain::tests::{Amazon, run, upstream, variables};
use super::*;
use crate::cache::upstream::credentials::basic;

/// 2026-11-21T02:00:00Z.
const NOW: u64 = 1_795_226_400_000;

fn ecr(amazon: &Amazon, host: &str) -> Ecr {
    let api = Some((Scheme::Http, amazon.address.to_string()));
    let site = EcrSite::of(host).unwrap();
    let keys = [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "s3cret")];
    let ecr = Ecr::new(EcrSettings { site, sts: api.clone(), api, profile: None, creates: true });
    Ecr { variables: variables(&keys), ..ecr }
}

#[test]
fn each_registry_is_asked_for_tokens_in_its_own_way() {
    let amazon = Amazon::start();
    for (host, region, service, target) in [
        (
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "eu-west-1",
            "ecr",
            "amazonec2containerregistry_v20150921",
        ),
        ("public.ecr.aws", "us-east-1", "ecr-public", "spencerfrontendservice"),
    ] {
        let token = run(ecr(&amazon, host).token(&upstream(), NOW)).unwrap();
        assert_eq!(token.login, basic("AWS", "token").unwrap());
        assert_eq!((token.from, token.until), (NOW, NOW + 24 * 3_600_000));
        let asked = amazon.asked().pop().unwrap();
        let scope = format!("credential=akid/20261121/{region}/{service}/aws4_request");
        assert!(asked.contains(&scope) && asked.contains(&format!("{target}.get")), "{asked}");
        assert!(asked.contains("content-type: application/x-amz-json-1.1\r\n"), "{asked}");
        assert!(asked.ends_with("\r\n\r\n{}"), "{asked}");
    }
}

#[test]
fn a_repository_is_made_where_it_is_and_one_that_is_there_is_as_good() {
    let amazon = Amazon::start();
    let ecr = ecr(&amazon, "123456789012.dkr.ecr.eu-west-1.amazonaws.com");
    let make = |name| run(ecr.make(&upstream(), name, NOW));
    assert_eq!((make("new"), make("old")), (Ok(()), Ok(())));
    let asked = amazon.asked().pop().unwrap();
    assert!(asked.ends_with(r#"{"repositoryName":"old","registryId":"123456789012"}"#), "{asked}");
    let why = make("other").unwrap_err();
    assert_eq!(why, "`CreateRepository` of ECR is answered 400: `AccessDeniedException`");
}

#[test]
fn an_api_that_is_away_is_said_and_nothing_of_a_key() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let amazon = Amazon::start();
    let mut ecr = ecr(&amazon, "123456789012.dkr.ecr.eu-west-1.amazonaws.com");
    ecr.api.1 = gone.to_string();
    let why = run(ecr.token(&upstream(), NOW)).unwrap_err();
    assert!(why.starts_with(&format!("`{gone}`: ")), "{why}");
    let shown = format!("{ecr:?} {why}");
    assert!(!shown.contains("s3cret") && !shown.contains("AKID"), "{shown}");
}
