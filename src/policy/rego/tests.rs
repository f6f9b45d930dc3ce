//! What a policy in Rego sees, what its words do, and what is refused before it ever runs.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::auth::Identity;
use crate::policy::conservative::Conservative;
use crate::policy::rehearsal::{Outcome, Request, Verdict as Decision, own, rehearse};
use crate::policy::{Chain, Fact, Link, Question};

fn built_with(text: &str, timeout: Duration, input_bytes: usize) -> Result<Rego, Invalid> {
    let mut file = tempfile::Builder::new().suffix(".rego").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_owned();
    let file = config::File { path, place: config::Place::default() };
    let settings = config::Rego { file, timeout, input_bytes };
    Rego::new("ours", &settings, &Surroundings { shares_host: true, ..Surroundings::default() })
}

fn built(text: &str) -> Result<Rego, Invalid> {
    // Debug builds are slow, and machines that run tests are busy.
    built_with(text, Duration::from_secs(60), 1 << 20)
}

fn chain(text: &str) -> Chain {
    Chain::new(vec![Link::new(Box::new(built(text).unwrap()))])
}

fn bob() -> Identity {
    let claims = json!({"project": "a/b", "jobs": [1, 2]}).as_object().unwrap().clone();
    Identity::imagined_as(Some("bob"), vec!["dev".to_owned()], claims, Some("c0ffee".to_owned()))
}

fn ask(chain: &Chain, line: &str, body: &str) -> Decision {
    let (method, target) = line.split_once(' ').unwrap();
    let request = Request { method, target, body: body.as_bytes() };
    let knows = |question: &Question| match question {
        Question::Begun { .. } => own("ci", &bob()),
        Question::HostPath(path) => match path.to_str().unwrap() {
            "/link" => Fact::Path(PathBuf::from("/etc")),
            "/link/new" => Fact::Absent,
            "/closed" => Fact::Failed("permission denied".to_owned()),
            _ => Fact::Path(path.clone()),
        },
        Question::Container(_)
        | Question::Network(_)
        | Question::Volume(_)
        | Question::Image(_)
        | Question::MountsBelow(_)
        | Question::Aliases(_)
        | Question::Addresses(_)
        | Question::Info
        | Question::WhichEngine
        | Question::Exec(_)
        | Question::List(..)
        | Question::ExecInspect(_)
        | Question::OfEngine(_)
        | Question::Indexed(..)
        | Question::Fresh
        | Question::Job(_)
        | Question::Granted(_)
        | Question::Login(_)
        | Question::Trust(_)
        | Question::Layout(_)
        | Question::Plugin { .. } => Fact::Absent,
    };
    let Outcome { verdict, .. } = rehearse(chain, "ci", &bob(), &request, &knows);
    verdict
}

fn allowed(said: Decision) -> String {
    match said {
        Decision::Allowed(bytes) => String::from_utf8(bytes).unwrap(),
        other @ (Decision::Denied(..)
        | Decision::Undecided(..)
        | Decision::Waits(..)
        | Decision::Answered(..)
        | Decision::Malformed(_)) => {
            panic!("{other:?}")
        }
    }
}

fn denied(said: Decision) -> Vec<String> {
    match said {
        Decision::Denied(_, reasons) => reasons.iter().map(Reason::message).collect(),
        other @ (Decision::Allowed(_)
        | Decision::Undecided(..)
        | Decision::Waits(..)
        | Decision::Answered(..)
        | Decision::Malformed(_)) => {
            panic!("{other:?}")
        }
    }
}

const CREATE: &str = "POST /v1.45/containers/create";

/// A part of the input, as text: the policy denies with it.
fn seen(part: &str, line: &str, body: &str) -> String {
    let deny = format!("deny contains msg if {{ msg := sprintf(\"%v\", [{part}]) }}");
    let text = format!("package dockgate\nallow := true\n{deny}");
    let [message] = &denied(ask(&chain(&text), line, body))[..] else { panic!("one message") };
    let (_, rest) = message.split_once(": ").unwrap();
    let (_, rest) = rest.split_once(": ").unwrap();
    rest.strip_suffix(" (rule rego.ours)").unwrap().to_owned()
}

#[test]
fn the_input_is_that_of_opa_docker_authz_and_more() {
    let line = "POST /v1.45/images/a.example/b%3A1/push?tag=x";
    for (part, wanted) in [
        ("input.Method", "POST"),
        ("input.Path", "/v1.45/images/a.example/b:1/push?tag=x"),
        ("input.PathPlain", "/v1.45/images/a.example/b:1/push"),
        ("input.PathArr", r#"["", "v1.45", "images", "a.example", "b:1", "push"]"#),
        ("input.Query", r#"{"tag": ["x"]}"#),
        ("input.Body", "null"),
        ("input.User", "bob"),
        ("input.user", "bob"),
        ("input.groups", r#"["dev"]"#),
        ("input.claims.project", "a/b"),
        ("input.claims.jobs[1]", "2"),
        ("input.container", "c0ffee"),
        ("input.listener", "ci"),
        ("input.operation", "ImagePush"),
        ("input.BindMounts", "[]"),
        (r#"input.Headers["Authz-User"]"#, "bob"),
    ] {
        assert_eq!(seen(part, line, ""), wanted, "{part}");
    }
    let body = r#"{"image":"x","Labels":{"a":null},"HostConfig":{"CapAdd":null,"Memory":7}}"#;
    let wanted = r#"{"HostConfig": {"Memory": 7}, "Image": "x", "Labels": {"a": null}}"#;
    assert_eq!(seen("input.Body", CREATE, body), wanted, "the engine's spelling; null is absent");
    assert_eq!(seen(r#"input.Headers["Content-Type"]"#, CREATE, body), "application/json");
}

#[test]
fn bind_mounts_are_seen_however_they_are_written_and_where_they_lead() {
    let body = r#"{"HostConfig":{
        "Binds":["/srv/../link/new:/a","vol:/b","/anonymous","/x:/y:z,ro"],
        "Mounts":[{"Type":"bind","Source":"/link","Target":"/c","ReadOnly":true},
                  {"Type":"volume","Source":"v","Target":"/d"}]}}"#;
    let part = "[[b.Source, b.ReadOnly, b.Resolved] | b := input.BindMounts[_]]";
    let wanted =
        r#"[["/srv/../link/new", false, "/etc/new"], ["/x", true, "/x"], ["/link", true, "/etc"]]"#;
    assert_eq!(seen(part, CREATE, body), wanted);
    let chain = chain("package dockgate\nallow := true");
    let said = denied(ask(&chain, CREATE, r#"{"HostConfig":{"Binds":["/closed:/a"]}}"#));
    assert_eq!(
        said,
        ["dockgate: /containers/create: where `/closed` leads is not known: permission denied \
          (rule rego.ours)"]
    );
}

#[test]
fn a_call_passes_only_if_allow_is_true_and_deny_is_empty() {
    let said = |text: &str| match ask(&chain(text), "GET /v1.45/info", "") {
        Decision::Allowed(_) => Vec::new(),
        other @ (Decision::Denied(..)
        | Decision::Undecided(..)
        | Decision::Waits(..)
        | Decision::Answered(..)
        | Decision::Malformed(_)) => denied(other),
    };
    for text in [
        "package dockgate\nallow := true",
        "package docker.authz\nallow if input.User == \"bob\"",
        "package dockgate\nallow { input.Method == \"GET\" }",
        "package dockgate\ndefault allow := true\ndeny contains \"x\" if input.Method == \"PUT\"",
        "package dockgate\nallow := true\ndeny := false",
        "package dockgate\nallow := true\ndeny := []",
    ] {
        assert_eq!(said(text), [""; 0], "{text}");
    }
    let is = |what: &str| format!("dockgate: /info: {what} (rule rego.ours)");
    for (text, wanted) in [
        ("allow if input.Method == \"PUT\"", "is not allowed by `data.dockgate.allow`"),
        ("allow := false", "is not allowed by `data.dockgate.allow`"),
        ("allow := \"yes\"", "could not be judged: `allow` is no boolean"),
        ("allow := 1", "could not be judged: `allow` is no boolean"),
        ("allow := true\ndeny contains \"no\\nsuch\"", "no such"),
        ("allow := true\ndeny[msg] if msg := \"no\"", "no"),
        ("allow := true\ndeny := [{\"msg\": \"because\"}]", "because"),
        ("allow := true\ndeny if true", "is not allowed"),
        (
            "allow := true\ndeny := \"x\"",
            "could not be judged: `deny` holds neither text nor `msg`",
        ),
        ("allow := true\ndeny := {1}", "could not be judged: `deny` holds neither text nor `msg`"),
    ] {
        let text = format!("package dockgate\n{text}");
        assert_eq!(said(&text), [is(wanted)], "{text}");
    }
    let two = "package dockgate\nallow := true\ndeny contains x if some x in [\"b\", \"a\"]";
    assert_eq!(said(two), [is("a"), is("b")]);
    let other = "package docker.authz\nallow := false";
    assert_eq!(said(other), [is("is not allowed by `data.docker.authz.allow`")]);
}

#[test]
fn an_error_denies_and_shows_no_value() {
    let text = "package dockgate\nallow := true\ndeny contains \"x\" if {\n startswith(input.Body.Labels, \"p\")\n}";
    let said = denied(ask(&chain(text), CREATE, r#"{"Labels":{"password":"hunter2"}}"#));
    assert_eq!(
        said,
        ["dockgate: /containers/create: could not be judged: line 4 of the policy: `startswith` \
          expects string argument (rule rego.ours)"]
    );
    let two = "package dockgate\nallow := true if input.Method == \"GET\"\nallow := false if input.User == \"bob\"";
    let said = denied(ask(&chain(two), "GET /v1.45/info", ""));
    assert!(said[0].contains("could not be judged: line "), "{said:?}");
}

#[test]
fn an_evaluation_ends_at_its_time_and_a_request_at_its_size() {
    let text = "package dockgate\nallow if count([1 | some a in input.Body.Cmd; some b in input.Body.Cmd; \
                some c in input.Body.Cmd; some d in input.Body.Cmd; a == d; b == c]) > 0";
    let cmd = (0..300).map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(",");
    let policy = built_with(text, Duration::from_millis(5), 1 << 20).unwrap();
    let chain = Chain::new(vec![Link::new(Box::new(policy))]);
    let wanted = "dockgate: /containers/create: could not be judged within 5ms (rule rego.ours)";
    for _ in 0..3 {
        let body = format!("{{\"Cmd\":[{cmd}]}}");
        assert_eq!(denied(ask(&chain, CREATE, &body)), [wanted]);
    }
    let policy = built_with("package dockgate\nallow := true", Duration::MAX, 4096).unwrap();
    let chain = Chain::new(vec![Link::new(Box::new(policy))]);
    allowed(ask(&chain, CREATE, r#"{"Image":"x"}"#));
    let wanted =
        "dockgate: /containers/create: is larger than `input_bytes` (4096) (rule rego.ours)";
    assert_eq!(denied(ask(&chain, CREATE, &format!("{{\"Cmd\":[{cmd}]}}"))), [wanted]);
}

#[test]
fn what_is_wrong_with_a_policy_is_said_with_its_place() {
    for (text, wanted) in [
        ("package dockgate\nallow if {\n\tinput.x ==\n}", ":4:1: expecting expression"),
        ("package other\nallow := true", ":1:1: the package is `other`"),
        ("package dockgate\ndeny contains \"x\"", ": there is no rule `allow`"),
        (
            "package dockgate\nallow if {\n y > 3\n}",
            ":3:2: use of undefined variable `y` is unsafe",
        ),
        ("package dockgate\nallow if http.send({})", ":2:10: there is no function `http.send`"),
        ("package dockgate\nallow if { x := opa.env() }", ":2:17: there is no function `opa.env`"),
        (
            "package dockgate\nallow if count(numbers.range(1, 2)) > 1",
            ":2:16: `numbers.range` is not",
        ),
        (
            "package dockgate\nallow if rand.intn(\"x\", 2) > 1",
            ":2:10: `rand.intn` is not available",
        ),
        (
            "package dockgate\nrange(a, b) := 1\nallow if numbers.range(1, 2)",
            ":3:10: `numbers.range` is not available",
        ),
        (
            "package dockgate\nf(x) := 1\nallow if f(1) == 1 with f as numbers.range",
            ":3:20: `with` can only replace parts of `input`",
        ),
        ("package dockgate\nf(x) := f(x + 1)\nallow if f(1)", ":2:9: function `f` calls itself"),
        (
            "package dockgate\nf(x) := data.dockgate.g(x)\ng(x) := [y | y := f(x)]\nallow if f(1)",
            "function `f` calls itself",
        ),
        (
            "package dockgate\nimport data.dockgate.f as g\nf(x) := g(x)\nallow if f(1)",
            ":2:1: `import data.dockgate.f` is not possible",
        ),
    ] {
        let said = built(text).unwrap_err().to_string();
        assert!(
            said.contains(&format!(".rego{wanted}")) || said.contains(wanted),
            "{text}: {said}"
        );
    }
}

/// Debug builds have the largest frames: what passes the check must not overflow here.
#[test]
fn the_deepest_policy_that_is_accepted_does_not_overflow_the_stack() {
    let deep = |rules: usize| {
        let mut text = String::from("package dockgate\nallow if f0(1) > 0\n");
        for n in 0..rules {
            let next = n + 1;
            text += &format!(
                "f{n}(a) := x if {{ some y in [1]; x := [z | z := [f{next}(a) + y][_]][0] }}\n"
            );
        }
        text + &format!("f{rules}(a) := a\n")
    };
    let deepest = (1..200).take_while(|rules| built(&deep(*rules)).is_ok()).last().unwrap();
    assert!((8..150).contains(&deepest), "{deepest}");
    allowed(ask(&chain(&deep(deepest)), "GET /v1.45/info", ""));
    let said = built(&deep(deepest + 1)).unwrap_err().to_string();
    assert!(said.contains("leads through too many others"), "{said}");
}

const LABEL: &str = r#"package dockgate
allow := true
patch := [{"op": "add", "path": "/Labels", "value": object.union(
    object.get(input.Body, "Labels", {}), {"office": input.claims.project},
)}] if input.operation == "ContainerCreate"
"#;

#[test]
fn a_patch_changes_the_body_that_the_engine_gets() {
    let sent = allowed(ask(&chain(LABEL), CREATE, r#"{"Image":"x","Labels":{"a":"b"}}"#));
    let (_, body) = sent.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = body.parse().unwrap();
    assert_eq!(body, json!({"Image": "x", "Labels": {"a": "b", "office": "a/b"}}));
    allowed(ask(&chain(LABEL), "GET /v1.45/info", ""));
}

#[test]
fn a_patch_that_cannot_be_applied_denies() {
    for (operation, line, wanted) in [
        (r#"{"op":"add","path":"/Frobnicate","value":1}"#, CREATE, "`Frobnicate` is no field"),
        (r#"{"op":"add","path":"/image","value":"y"}"#, CREATE, "`Image` is given twice"),
        (r#"{"op":"add","path":"/Image","value":1}"#, CREATE, "`Image` must be a string"),
        (r#"{"op":"remove","path":"/Nothing"}"#, CREATE, "could not be changed by `patch`"),
        (r#"{"op":"frob","path":"/Image"}"#, CREATE, "unknown variant"),
        (r#"{"op":"add","path":"/x","value":1}"#, "GET /v1.45/info", "the call has no JSON body"),
    ] {
        let text = format!("package dockgate\nallow := true\npatch := [{operation}]");
        let said = denied(ask(&chain(&text), line, r#"{"Image":"x"}"#));
        assert!(said[0].contains(wanted), "{operation}: {said:?}");
    }
    let copy = |n| format!("{{\"op\":\"copy\",\"from\":\"/Labels\",\"path\":\"/Labels/{n}\"}},\n");
    let copies: String = (0..60).map(copy).collect();
    let text = format!("package dockgate\nallow := true\npatch := [{copies}]");
    let body = format!(r#"{{"Labels":{{"b":"{}"}}}}"#, "x".repeat(1000));
    assert!(denied(ask(&chain(&text), CREATE, &body))[0].contains("grows beyond"));
}

#[test]
fn what_a_patch_makes_is_judged_by_the_policies_behind_it() {
    let text = r#"package dockgate
allow := true
patch := [{"op": "add", "path": "/HostConfig", "value": {"Privileged": true}}]"#;
    let first = Link::new(Box::new(built(text).unwrap()));
    let settings = config::Conservative::default();
    let next = Conservative::new("conservative", &settings, &Surroundings::default()).unwrap();
    let chain = Chain::new(vec![first, Link::new(Box::new(next))]);
    let said = denied(ask(&chain, CREATE, r#"{"Image":"x"}"#));
    assert!(said[0].contains("HostConfig.Privileged"), "{said:?}");
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<f64>().prop_map(|n| json!(n)),
        ".{0,12}".prop_map(Into::into),
    ];
    let key = prop_oneof![
        Just("Image".to_owned()),
        Just("HostConfig".to_owned()),
        Just("Binds".to_owned()),
        Just("Mounts".to_owned()),
        Just("Source".to_owned()),
        Just("Labels".to_owned()),
        ".{0,6}",
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            proptest::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|entries| entries.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

proptest! {
    #[test]
    fn no_body_makes_a_policy_panic(body in any_json(), bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        static CHAIN: std::sync::LazyLock<Chain> = std::sync::LazyLock::new(|| {
            chain(include_str!("../../../policies/examples/registry.rego"))
        });
        let said = ask(&CHAIN, CREATE, &body.to_string());
        let said_of = format!("{said:?}");
        prop_assert!(!said_of.contains("broke the interpreter"), "{}", said_of);
        let _ = ask(&CHAIN, CREATE, &String::from_utf8_lossy(&bytes));
    }
}

const SOLVE: &str = "POST /moby.buildkit.v1.Control/Solve";

#[test]
fn a_build_by_buildkit_is_one_request() {
    let solve = r#"{"Ref":"r","Frontend":"dockerfile.v0","FrontendAttrs":{"build-arg:HTTP_PROXY":"x"},
        "Definition":{"def":[{"source":{"identifier":"git://example.com/x"}}]}}"#;
    for (part, wanted) in [
        ("input.operation", "Solve"),
        ("input.Method", "POST"),
        ("input.Path", "/moby.buildkit.v1.Control/Solve"),
        ("input.Body.Frontend", "dockerfile.v0"),
        (r#"input.Body.FrontendAttrs["build-arg:HTTP_PROXY"]"#, "x"),
        ("input.Body.Definition.def[0].source.identifier", "git://example.com/x"),
    ] {
        assert_eq!(seen(part, SOLVE, solve), wanted, "{part}");
    }
}

#[test]
fn a_patch_of_a_build_leaves_its_graph_as_it_was() {
    let text = r#"package dockgate
        allow := true
        patch := [{"op": "add", "path": "/FrontendAttrs/label:by", "value": "ours"}]"#;
    let graph = r#"{"def":[{"inputs":[{"digest":"sha256:0","index":1}],"exec":{"meta":{"env":["A=b"],"args":["x"]},"network":"NONE"}}]}"#;
    let solve = format!(
        r#"{{"Ref":"r","Frontend":"dockerfile.v0","FrontendAttrs":{{"a":"b"}},"Definition":{graph}}}"#
    );
    let sent = allowed(ask(&chain(text), SOLVE, &solve));
    assert!(sent.contains(graph), "the digest of an operation is of its bytes: {sent}");
    assert!(sent.contains(r#""label:by":"ours""#), "{sent}");
}
