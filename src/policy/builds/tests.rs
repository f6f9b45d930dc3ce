//! Who may name which session and which build.

use serde_json::json;

use super::*;
use crate::api::endpoint::{BodyKind, KNOWN};
use crate::api::shape::Kind;
use crate::api::{Call, buildkit, doc};
use crate::auth::Identity;
use crate::policy::Facts;

/// A call of a method with this message, as JSON, and this build's id in its metadata.
pub(crate) fn call(method: &str, body: serde_json::Value, build: &str) -> Typed {
    let row = buildkit::METHODS.iter().find(|row| row.path.ends_with(method)).unwrap();
    let mut metadata = http::HeaderMap::new();
    if !build.is_empty() {
        metadata.insert(BUILD_ID, build.parse().unwrap());
    }
    let message = match row.body {
        BodyKind::Message(shape) => {
            let doc = doc::parse(body.to_string().as_bytes(), &Kind::Object(shape)).unwrap();
            doc::proto::render(&doc.root, shape)
        }
        _ => Vec::new(),
    };
    match crate::api::call::grpc(row, &metadata, &message, 1024).unwrap() {
        Call::Typed(typed) => typed,
        other => panic!("{other:?}"),
    }
}

fn owner(listener: &str, user: Option<&str>) -> Fact {
    Fact::Owner(Arc::new(Owner::new(listener, user)))
}

/// What comes of a call, when everything that is asked for has this owner.
fn decide(call: &Typed, user: Option<&str>, owners: &dyn Fn(&Question) -> Fact) -> Verdict {
    let identity = Identity::imagined(user);
    let mut facts = Facts::default();
    for _ in 0..4 {
        match Builds.request(call, &Context::new(&identity, "l", KNOWN, &facts)) {
            Verdict::Ask(questions) => {
                questions.into_iter().for_each(|asked| {
                    let answer = owners(&asked);
                    facts.insert(asked, answer);
                });
            }
            Verdict::Do(deeds) => deeds.into_iter().for_each(|deed| facts.report(deed, Ok(()))),
            verdict => return verdict,
        }
    }
    panic!("no end");
}

fn said(verdict: Verdict) -> String {
    match verdict {
        Verdict::Deny(reasons) => format!("{} {}", reasons[0].status, reasons[0].why),
        verdict => panic!("{verdict:?}"),
    }
}

/// Each place of a request that names a session.
fn solves() -> Vec<(&'static str, serde_json::Value)> {
    // pb.Op{source: {identifier: local://context, attrs: {KEY: s}}}
    let op = |key: &str| json!({"def": [{"source": {"identifier": "local://x", "attrs": {key: "s"}}}, {"inputs": [{"digest": "x"}]}]});
    vec![
        ("Control/Solve", json!({"Ref": "r", "Session": "s"})),
        ("Control/Solve", json!({"Ref": "r", "SourcePolicySession": "s"})),
        ("Control/Solve", json!({"Ref": "r", "FrontendAttrs": {"local-sessionid:context": "s"}})),
        ("Control/Solve", json!({"Ref": "r", "Definition": op("local.session")})),
        ("Control/Solve", json!({"Ref": "r", "Definition": op("local.sessionid")})),
        (
            "Control/Solve",
            json!({"Ref": "r", "SourcePolicy": {"rules": [{"updates": {"attrs": {"local.session": "s"}}}]}}),
        ),
        ("Control/Solve", json!({"Ref": "r", "FrontendInputs": {"x": op("oci.session")}})),
        ("LLBBridge/Solve", json!({"FrontendOpt": {"local-sessionid:dockerfile": "s"}})),
        ("LLBBridge/Solve", json!({"Definition": op("local.session")})),
        ("LLBBridge/ResolveImageConfig", json!({"Ref": "busybox", "SessionID": "s"})),
        (
            "LLBBridge/ResolveSourceMeta",
            json!({"Source": {"identifier": "oci-layout://x", "attrs": {"oci.session": "s"}}}),
        ),
    ]
}

#[test]
fn a_session_is_asked_for_its_own_caller_only_wherever_it_is_named() {
    for (method, body) in solves() {
        let call = call(method, body.clone(), "r");
        let with = |session: Fact| {
            decide(&call, Some("ann"), &|asked| match asked {
                Question::Begun { what: Resource::Session, id, waits } => {
                    assert_eq!((id.as_str(), *waits), ("s", true), "{body}");
                    session.clone()
                }
                Question::Begun { what: Resource::BuildId, .. } if method.starts_with("LLB") => {
                    owner("l", Some("ann"))
                }
                _ => Fact::Absent,
            })
        };
        assert_eq!(with(owner("l", Some("ann"))), Verdict::pass(), "{body}");
        for other in [
            owner("l", Some("bob")),
            owner("l", None),
            owner("m", Some("ann")),
            Fact::Absent,
            Fact::Failed("x".into()),
        ] {
            assert_eq!(said(with(other)), "404 no active session for s", "{body}");
        }
    }
}

#[test]
fn a_build_is_its_callers_own_in_every_method_that_names_one() {
    let ours: Vec<&Row> = buildkit::METHODS
        .iter()
        .filter(|row| row.headers.iter().any(|header| header.name == BUILD_ID))
        .collect();
    assert_eq!(ours.len(), 14, "all of the LLBBridge");
    let mut calls: Vec<Typed> = ours
        .iter()
        .map(|row| match row.endpoint == Endpoint::BridgeReturn {
            true => call(row.path, json!({"result": {}}), "r"),
            false => call(row.path, json!({}), "r"),
        })
        .collect();
    calls.push(call("Control/Status", json!({"Ref": "r"}), ""));
    calls.push(call("Control/UpdateBuildHistory", json!({"Ref": "r", "Delete": true}), ""));
    for call in calls {
        let with = |build: Fact| decide(&call, None, &|_| build.clone());
        assert_eq!(with(owner("l", None)), Verdict::pass());
        for other in [owner("l", Some("bob")), owner("m", None), Fact::Absent] {
            assert_eq!(said(with(other)), "404 no such job r", "{:?}", call.endpoint());
        }
    }
    for method in ["LLBBridge/Ping", "Control/Status", "Control/UpdateBuildHistory"] {
        let nameless = call(method, json!({}), "");
        assert_eq!(said(decide(&nameless, None, &|_| Fact::Absent)), "404 no such job ");
    }
}

#[test]
fn what_begins_is_remembered_and_what_is_anothers_is_taken() {
    let begins = call("Control/Solve", json!({"Ref": "r"}), "");
    assert_eq!(decide(&begins, None, &|_| Fact::Absent), Verdict::pass());
    assert_eq!(
        decide(&begins, None, &|_| owner("l", None)),
        Verdict::pass(),
        "BuildKit says that it exists"
    );
    let taken = said(decide(&begins, None, &|_| owner("l", Some("bob"))));
    assert_eq!(taken, "409 build r already exists");
    for bad in ["", &"x".repeat(129), "ä", "x:r", ":r", "r ", "r/x"] {
        let call = call("Control/Solve", json!({"Ref": bad}), "");
        assert!(
            said(decide(&call, None, &|_| Fact::Absent)).starts_with("400 must name the build")
        );
    }
    // Between the look and the word another has begun it.
    let identity = Identity::imagined(None);
    let mut facts = Facts::default();
    facts.insert(Question::begun(Resource::BuildId, "r"), Fact::Absent);
    let Verdict::Do(deeds) = Builds.request(&begins, &Context::new(&identity, "l", KNOWN, &facts))
    else {
        panic!("it is to be remembered")
    };
    facts.report(deeds[0].clone(), Err("it is another's".into()));
    let verdict = Builds.request(&begins, &Context::new(&identity, "l", KNOWN, &facts));
    assert_eq!(said(verdict), "409 build r already exists");
}

/// BuildKit's session manager looks `x:s` up as `s`.
#[test]
fn a_session_does_not_begin_under_an_id_that_is_another_ones() {
    let begins = |id: &str| {
        let (identity, facts) = (Identity::imagined(None), Facts::default());
        begin(
            Resource::Session,
            Some(id),
            Owner::new("l", None),
            &Context::new(&identity, "l", KNOWN, &facts),
        )
    };
    for good in ["s", "0vhu4vcmqh6ze8e5uk1bfnsqp", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "a_b.c"]
    {
        assert!(matches!(begins(good), Verdict::Ask(_)), "{good}");
    }
    for bad in ["x:s", ":s", "a:b:s", "s:"] {
        assert!(said(begins(bad)).starts_with("400 must name the session"), "{bad}");
    }
}

#[test]
fn of_the_history_each_sees_its_own() {
    let identity = Identity::imagined(Some("ann"));
    let list = call("Control/ListenBuildHistory", json!({"Ref": "other"}), "");
    assert_eq!(decide(&list, Some("ann"), &|_| Fact::Absent), Verdict::pass());
    let mut facts = Facts::default();
    facts.insert(Question::begun(Resource::BuildId, "mine"), owner("l", Some("ann")));
    facts.insert(Question::begun(Resource::BuildId, "bobs"), owner("l", Some("bob")));
    let cx = Context::new(&identity, "l", KNOWN, &facts);
    let sees = |record: serde_json::Value| Builds.item(&list, &mut json!({"record": record}), &cx);
    assert_eq!(sees(json!({"Ref": "mine"})), Item::Keep);
    for others in [json!({"Ref": "bobs"}), json!({"Ref": "unknown"}), json!({}), json!(null)] {
        assert_eq!(sees(others), Item::Drop);
    }
}

#[test]
fn of_the_history_everything_is_asked_for() {
    let limited = call("/ListenBuildHistory", json!({"Limit": 50, "EarlyExit": true}), "");
    let nobodys = |_: &Question| Fact::Absent;
    let edits = vec![Edit::Body(keys(&["Limit"]), None)];
    assert_eq!(decide(&limited, None, &nobodys), Verdict::Pass(edits));
    let unlimited = call("/ListenBuildHistory", json!({"EarlyExit": true}), "");
    assert_eq!(decide(&unlimited, None, &nobodys), Verdict::pass());
}

#[test]
fn of_the_content_store_a_caller_has_what_the_own_history_names() {
    let item = json!({"type": 1, "record": {
        "Ref": "b",
        "logs": {"digest": "sha256:01"},
        "Result": {"ResultDeprecated": {"digest": "sha256:02"}, "Attestations": [{"digest": "sha256:03"}]},
        "Results": {"linux/amd64": {"Attestations": [{"digest": "sha256:04"}, {"size": 1}]}},
        "externalError": {"digest": "sha256:05"},
    }});
    let ann = Owner::new("l", Some("ann"));
    let questions = shown(&item, &ann);
    let owners = |asked: &Question| match questions.contains(asked) {
        true => owner("l", Some("ann")),
        false => Fact::Absent,
    };
    let read = |method, digest: &str, user| {
        decide(&call(method, json!({ "digest": digest }), ""), user, &owners)
    };
    for digest in ["sha256:01", "sha256:03", "sha256:04", "sha256:05"] {
        for method in ["Content/Info", "Content/Read"] {
            assert_eq!(read(method, digest, Some("ann")), Verdict::pass(), "{digest}");
            let refused = said(read(method, digest, Some("bob")));
            assert_eq!(refused, format!("404 content {digest}: not found"));
            assert!(said(read(method, digest, None)).starts_with("404"));
        }
    }
    for digest in ["sha256:02", "sha256:06", "", "sha256:01 l ann"] {
        assert!(said(read("Content/Read", digest, Some("ann"))).starts_with("404"), "{digest}");
    }
    assert!(shown(&json!({"record": {"Results": []}}), &ann).is_empty());
    assert!(shown(&json!({}), &ann).is_empty());
}

#[test]
fn a_key_of_kept_contexts_is_its_callers_own() {
    use crate::api::Draft;
    use crate::wire::framing::Framing;
    use crate::wire::head::RequestHead;

    let opens = |user: Option<&str>, key: &str| {
        let head = format!(
            "POST /session HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nX-Docker-Expose-Session-Uuid: s\r\n\
             X-Docker-Expose-Session-Sharedkey: {key}\r\n\r\n"
        );
        let draft = Draft::parse(&RequestHead::parse(head.as_bytes()).unwrap()).unwrap();
        let Call::Typed(call) = draft.with_stream(Framing::None) else { panic!() };
        match decide(&call, user, &|_| Fact::Absent) {
            Verdict::Pass(edits) => edits,
            verdict => panic!("{verdict:?}"),
        }
    };
    let sent = |user, key| match opens(user, key).as_slice() {
        [Edit::Header(SHARED_KEY, Some(value))] => String::from_utf8(value.clone()).unwrap(),
        edits => panic!("{edits:?}"),
    };
    assert_eq!(sent(Some("ann"), "k"), "l/ann/k");
    assert_eq!(sent(Some("an/n"), "k"), "l/an%2Fn/k", "nobody is two");
    assert_eq!(sent(None, "ann/k"), "l//ann/k");
    assert_eq!(opens(Some("ann"), ""), []);
}
