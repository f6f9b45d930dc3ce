//! What a plugin is asked for a call, and what becomes of each thing that it may say.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};

use super::*;
use crate::api::endpoint::KNOWN;
use crate::api::{Call, Draft};
use crate::auth::{Authentication, Authenticators, Caller, Identity, Peer};
use crate::policy::rehearsal::{Request, Verdict as Outcome, own, rehearse};
use crate::policy::{Chain, Facts, Link};
use crate::wire::head::{RequestHead, ResponseHead};

fn chain() -> Chain {
    Chain::new(vec![Link::new(Box::new(Authz::new("opa")))])
}

/// What the plugin is asked, and what becomes of a request when it says this.
fn judged(line: &str, body: &str, says: &Fact) -> (Value, Result<Vec<u8>, Reason>) {
    let (method, target) = line.split_once(' ').unwrap();
    let request = Request { method, target, body: body.as_bytes() };
    let identity = Identity::imagined(Some("ann"));
    let knows = |question: &Question| {
        if is_begun(question) { own("test", &identity) } else { says.clone() }
    };
    let mut outcome = rehearse(&chain(), "test", &identity, &request, &knows);
    outcome.asked.retain(|question| !is_begun(question));
    assert_eq!(outcome.asked.len(), 1, "{:?}", outcome.asked);
    let Question::Plugin { name, method, body } = &outcome.asked[0] else { panic!() };
    assert_eq!((&**name, *method), ("opa", "AuthZPlugin.AuthZReq"));
    let asked = serde_json::from_str(body).unwrap();
    match outcome.verdict {
        Outcome::Allowed(bytes) => (asked, Ok(bytes)),
        Outcome::Denied(_, mut reasons) => (asked, Err(reasons.remove(0))),
        Outcome::Malformed(why) => panic!("{why}"),
        other @ (Outcome::Undecided(..) | Outcome::Waits(..) | Outcome::Answered(..)) => {
            panic!("{other:?}")
        }
    }
}

fn is_begun(question: &Question) -> bool {
    matches!(question, Question::Begun { .. })
}

fn says(json: Value) -> Fact {
    Fact::Json(Arc::new(json))
}

fn yes() -> Fact {
    says(json!({"Allow": true}))
}

fn decoded(asked: &Value, key: &str) -> String {
    let bytes = STANDARD.decode(asked[key].as_str().unwrap()).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// The reply of an engine to a call, before the policies of `chain` see it.
fn answered(says: &Fact, line: &str, head: &str, json: Option<Value>) -> (Value, Verdict) {
    let (method, target) = line.split_once(' ').unwrap();
    let head_of = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    let parsed = RequestHead::parse(head_of.as_bytes()).unwrap();
    let draft = Draft::parse(&parsed).unwrap();
    let Call::Typed(call) = draft.with_json(&parsed, b"", 1).unwrap() else { panic!() };
    let head = ResponseHead::parse(head.as_bytes()).unwrap();
    let identity = Identity::imagined(None);
    let policy = Authz::new("opa");
    let mut reply = Answer {
        call: &call,
        status: head.status,
        headers: &head.headers,
        api_version: None,
        json,
        text: Vec::new(),
    };
    let mut facts = Facts::default();
    let cx = Context::new(&identity, "test", KNOWN, &facts);
    let Verdict::Ask(questions) = policy.answer(&mut reply, &cx) else { panic!() };
    let Question::Plugin { method, body, .. } = &questions[0] else { panic!() };
    assert_eq!(*method, "AuthZPlugin.AuthZRes");
    let asked = serde_json::from_str(body).unwrap();
    facts.insert(questions[0].clone(), says.clone());
    (asked, policy.answer(&mut reply, &Context::new(&identity, "test", KNOWN, &facts)))
}

#[test]
fn the_plugin_sees_what_the_engine_gets() {
    let (asked, sent) = judged(
        "POST /v1.41/containers/create?name=x",
        r#"{"image":"busybox","HOSTCONFIG":{"Memory":1}}"#,
        &yes(),
    );
    let sent = String::from_utf8(sent.unwrap()).unwrap();
    let (_, body) = sent.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, r#"{"Image":"busybox","HostConfig":{"Memory":1}}"#);
    assert_eq!(
        asked,
        json!({
            "User": "ann", "UserAuthNMethod": "explain",
            "RequestMethod": "POST", "RequestUri": "/v1.41/containers/create?name=x",
            "RequestBody": STANDARD.encode(body),
            "RequestHeaders": {"Content-Type": "application/json", "Content-Length": "45"},
        })
    );
    // Asked by the version that the engine is asked by.
    let (asked, _) = judged("GET /_ping", "", &yes());
    assert_eq!(asked["RequestUri"], "/v1.55/_ping");
    assert!(asked.get("RequestBody").is_none(), "{asked}");
}

#[test]
fn a_body_is_shown_whole_however_long() {
    let long = "x".repeat(3 << 20);
    let body = format!(r#"{{"Image":"busybox","Labels":{{"a":"{long}"}},"Cmd":["end"]}}"#);
    let (asked, _) = judged("POST /v1.41/containers/create", &body, &yes());
    assert_eq!(decoded(&asked, "RequestBody"), body);
}

#[test]
fn no_credential_of_a_registry_reaches_the_plugin() {
    let secret = r#"{"username":"ann","password":"S3cr3t","serveraddress":"r.example"}"#;
    let (asked, sent) = judged("POST /v1.41/auth", secret, &yes());
    assert!(String::from_utf8(sent.unwrap()).unwrap().contains("S3cr3t"));
    assert!(asked.get("RequestBody").is_none(), "{asked}");
    let lines = "HTTP/1.1 200 OK\r\nX-Registry-Auth: S3cr3t\r\nx-registry-config: S3cr3t\r\n\
                 AUTHORIZATION: S3cr3t\r\nX-Other: y\r\n\r\n";
    let token = json!({"Status": "Login Succeeded", "IdentityToken": "S3cr3t"});
    let (asked, _) = answered(&yes(), "POST /v1.41/auth", lines, Some(token));
    assert_eq!(asked["ResponseHeaders"], json!({"X-Other": "y"}));
    assert!(asked.get("ResponseBody").is_none(), "{asked}");
}

#[test]
fn an_answer_is_shown_with_its_call() {
    let head = "HTTP/1.1 404 Not Found\r\napi-version: 1.41\r\nContent-Type: application/json\r\n\
                Date: today\r\nContent-Length: 15\r\nWarning: a\r\nwarning: b\r\n\r\n";
    let body = json!({"message": "no"});
    let (asked, verdict) = answered(&yes(), "GET /v1.41/info", head, Some(body));
    assert_eq!(verdict, Verdict::pass());
    assert_eq!(decoded(&asked, "ResponseBody"), r#"{"message":"no"}"#);
    assert_eq!(
        (&asked["RequestUri"], &asked["ResponseStatusCode"]),
        (&json!("/v1.41/info"), &json!(404))
    );
    assert_eq!(
        asked["ResponseHeaders"],
        json!({"Api-Version": "1.41", "Content-Type": "application/json", "Warning": "a, b"})
    );
}

#[test]
fn only_a_clear_yes_is_a_yes() {
    let denied = "authorization denied by plugin opa: ";
    let failed = "plugin opa failed with error: ";
    for (said, status, message) in [
        (
            says(json!({"Allow": false, "Msg": "not on Sundays"})),
            403,
            format!("{denied}not on Sundays"),
        ),
        (says(json!({"allow": false, "MSG": "so"})), 403, format!("{denied}so")),
        (says(json!({"Msg": null})), 403, denied.to_owned()),
        (says(json!({"Allow": true, "Err": "e"})), 500, format!("{failed}e")),
        (says(json!({"Allow": false, "Err": "e"})), 500, format!("{failed}e")),
        (
            says(json!({"Allow": "true"})),
            500,
            format!("{failed}`Allow` of its answer must be `true` or `false`"),
        ),
        (
            says(json!({"Allow": true, "Err": 1})),
            500,
            format!("{failed}`Msg` and `Err` of its answer must be texts"),
        ),
        (
            says(json!({"Allow": true, "allow": false})),
            500,
            format!("{failed}its answer has a key twice"),
        ),
        (says(json!([true])), 500, format!("{failed}its answer is no JSON object")),
        (Fact::Failed("gone".to_owned()), 500, format!("{failed}gone")),
        (Fact::Absent, 500, format!("{failed}it was not asked")),
    ] {
        let (_, verdict) = judged("GET /v1.41/info", "", &said);
        let reason = verdict.unwrap_err();
        assert_eq!((reason.status, reason.message()), (status, message), "{said:?}");
        let head = "HTTP/1.1 200 OK\r\n\r\n";
        let (_, verdict) = answered(&said, "GET /v1.41/info", head, None);
        assert!(matches!(verdict, Verdict::Deny(_)), "{said:?}");
    }
    for said in [yes(), says(json!({"ALLOW": true, "Msg": "fine", "Err": "", "More": 1}))] {
        assert!(judged("GET /v1.41/info", "", &said).1.is_ok(), "{said:?}");
    }
}

#[test]
fn certificates_are_shown_in_pem() {
    let der = CertificateDer::from((0..100).collect::<Vec<u8>>());
    let caller = Caller::new(Peer::Unknown, vec![der]);
    let authentication = Authentication::new(&[], &mut Authenticators::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let lines = crate::wire::head::Lines::default();
    let identity = runtime.block_on(authentication.recognise("test", &caller, &lines)).unwrap();
    let request = Request { method: "GET", target: "/v1.41/info", body: b"" };
    let outcome = rehearse(&chain(), "test", &identity, &request, &|_| yes());
    let Question::Plugin { body, .. } = &outcome.asked[0] else { panic!() };
    let asked: Value = serde_json::from_str(body).unwrap();
    let pem = STANDARD.decode(asked["RequestPeerCertificates"][0].as_str().unwrap()).unwrap();
    let text = String::from_utf8(pem).unwrap();
    let (_, parsed) = x509_parser::pem::parse_x509_pem(text.as_bytes()).unwrap();
    assert_eq!(parsed.contents, (0..100).collect::<Vec<u8>>());
    assert!(text.lines().all(|line| line.len() <= 64) && text.ends_with("-----\n"), "{text}");
    assert!(asked.get("User").is_none(), "{asked}");
}

#[test]
fn what_streams_is_asked_about_before_it_streams() {
    let identity = Identity::imagined(None);
    let facts = Facts::default();
    let cx = Context::new(&identity, "test", KNOWN, &facts);
    let reads = |line: &str| {
        let (method, target) = line.split_once(' ').unwrap();
        let head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = RequestHead::parse(head.as_bytes()).unwrap();
        Authz::new("opa").reads_answer(Draft::parse(&head).unwrap().row(), &cx)
    };
    for line in ["GET /info", "POST /containers/x/start", "HEAD /containers/x/archive?path=/"] {
        assert_eq!(reads(line), Reads::Whole, "{line}");
    }
    for line in [
        "GET /events",
        "GET /containers/x/logs?stdout=1",
        "POST /containers/x/attach",
        "GET /containers/x/export",
        "POST /build",
        "POST /containers/x/wait",
    ] {
        assert_eq!(reads(line), Reads::Status, "{line}");
    }
}

#[test]
fn a_build_by_buildkit_is_one_request_with_its_message_as_json() {
    let line = "POST /moby.buildkit.v1.Control/Solve";
    let solve = json!({
        "Ref": "r", "Session": "s", "Frontend": "dockerfile.v0",
        "FrontendAttrs": {"filename": "Dockerfile", "build-arg:A": "b"},
        "Definition": {"def": [{"source": {"identifier": "docker-image://docker.io/library/busybox"}}]},
    });
    let (asked, sent) = judged(line, &solve.to_string(), &yes());
    assert_eq!(asked["RequestMethod"], "POST");
    assert_eq!(asked["RequestUri"], "/moby.buildkit.v1.Control/Solve");
    assert_eq!(serde_json::from_str::<Value>(&decoded(&asked, "RequestBody")).unwrap(), solve);
    assert!(sent.is_ok());
    let no = says(json!({"Allow": false, "Msg": "no builds today"}));
    let reason = judged(line, &solve.to_string(), &no).1.unwrap_err();
    assert_eq!(reason.message(), "authorization denied by plugin opa: no builds today");
}
