//! What each limit does to create bodies, updates and builds; and that nothing gets past a cap.

use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::auth::Identity;
use crate::config::{self, PolicyKind};
use crate::policy::rehearsal::{Request, Verdict as Heard, own, rehearse};
use crate::policy::{Chain, Fact, Link, Question};

mod bounds;
mod builds;
mod marks;
mod resources;

fn limits(rules: &str) -> Limits {
    let text = format!(
        "[[listener]]\nname = \"l\"\nurl = \"unix:///x\"\npolicies = [\"p\"]\n\
         [policy.p]\nkind = \"limits\"\n{rules}"
    );
    let config = config::parse(&text, Path::new("t"), Path::new(""), &|_| None);
    let policies = config.unwrap_or_else(|wrong| panic!("{text}\n{wrong}")).listeners.remove(0);
    let PolicyKind::Limits(settings) = &policies.policies[0].kind else { panic!("another policy") };
    Limits::new("p", settings)
}

/// The request as the engine gets it, or the message of the refusal.
fn request(rules: &str, line: &str, body: &str) -> Result<String, String> {
    let chain = Chain::new(vec![Link::new(Box::new(limits(rules)))]);
    let (method, target) = line.split_once(' ').unwrap();
    let request = Request { method, target, body: body.as_bytes() };
    let made = json!({"HostConfig": {"CpuQuota": 100_000, "CpuPeriod": 100_000}});
    let identity = Identity::imagined(Some("bob"));
    let knows = |question: &Question| match matches!(question, Question::Begun { .. }) {
        true => own("ci", &identity),
        false => Fact::Json(made.clone().into()),
    };
    match rehearse(&chain, "ci", &identity, &request, &knows).verdict {
        Heard::Allowed(bytes) => Ok(String::from_utf8(bytes).unwrap()),
        Heard::Denied(_, reasons) => Err(reasons[0].message()),
        Heard::Malformed(why) => Err(why),
        other @ (Heard::Undecided(..) | Heard::Waits(..) | Heard::Answered(..)) => {
            panic!("{other:?}")
        }
    }
}

fn body(request: &str) -> Json {
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}

fn create(rules: &str, made: &Json) -> Result<Json, String> {
    request(rules, "POST /containers/create", &made.to_string()).map(|request| body(&request))
}

/// `HostConfig` as the engine gets it.
fn host(rules: &str, host: Json) -> Result<Json, String> {
    create(rules, &json!({"HostConfig": host})).map(|body| body["HostConfig"].clone())
}

fn update(rules: &str, body_: Json) -> Result<Json, String> {
    request(rules, "POST /containers/c/update", &body_.to_string()).map(|request| body(&request))
}

/// A build's query as the engine gets it: `name=value`, decoded, in its order.
fn build(rules: &str, query: &str) -> Result<Vec<String>, String> {
    let request = request(rules, &format!("POST /build?{query}"), "")?;
    let target = request.split(' ').nth(1).unwrap();
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let query = crate::api::query::Query::parse(query).unwrap();
    Ok(query.iter().map(|(name, value)| format!("{name}={value}")).collect())
}

/// Each case: rules, what is asked, and what the engine gets or the client is told.
#[track_caller]
fn all(
    cases: &[(&str, Json, Result<Json, &str>)],
    ask: impl Fn(&str, Json) -> Result<Json, String>,
) {
    for (rules, asked, wanted) in cases {
        let got = ask(rules, asked.clone());
        match (got, wanted) {
            (Ok(got), Ok(wanted)) => assert_eq!(got, *wanted, "{rules} {asked}"),
            (Err(got), Err(wanted)) => assert!(got.contains(wanted), "{rules} {asked}: {got}"),
            (got, wanted) => panic!("{rules} {asked}: got {got:?}, wanted {wanted:?}"),
        }
    }
}
