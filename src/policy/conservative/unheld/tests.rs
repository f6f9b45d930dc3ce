//! Builds on an engine of API 1.41, through a whole chain, with a memory as the gateway has one.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use serde_json::{Value as Json, json};

use super::*;
use crate::api::call::Wanted;
use crate::api::doc::MOST_VALUES;
use crate::api::endpoint::{KNOWN, Resource, Versions};
use crate::api::{Call, Draft, dockerfile::Builder};
use crate::auth::Identity;
use crate::config;
use crate::policy::builds::tests::call;
use crate::policy::conservative::Surroundings;
use crate::policy::{Chain, Facts, Link, Step};
use crate::wire::framing::Framing;
use crate::wire::head::RequestHead;

const OLD: Versions = Versions { newest: 41, ..KNOWN };

struct World {
    chain: Chain,
    memory: RefCell<HashMap<Question, Fact>>,
    given: Cell<u32>,
    engine: Versions,
}

/// What the engine gets, or the rule and the place of what is against it.
type Decided = Result<String, String>;

impl World {
    fn new(engine: Versions) -> World {
        let settings = config::Conservative::default();
        let policy = Conservative::new("c", &settings, &Surroundings::default()).unwrap();
        let chain = Chain::new(vec![Link::new(Box::new(policy))]);
        World { chain, memory: RefCell::default(), given: Cell::new(0), engine }
    }

    fn decide(&self, user: &str, call: Typed) -> Decided {
        let identity = Identity::imagined(Some(user));
        let mut facts = Facts::default();
        let mut deciding = self.chain.decide(Call::Typed(call));
        for _ in 0..16 {
            match deciding.step(&Context::new(&identity, "l", self.engine, &facts)) {
                Step::Ask(questions) => {
                    for question in questions {
                        let answer = self.answer(&question);
                        facts.insert(question, answer);
                    }
                }
                Step::Do(deeds) => {
                    for deed in deeds {
                        let outcome = match &deed {
                            Deed::Remember(question, fact) => {
                                self.memory.borrow_mut().insert(question.clone(), fact.clone());
                                Ok(())
                            }
                            Deed::Bind(session, build) => session.bind(build),
                            other => panic!("{other}"),
                        };
                        facts.report(deed, outcome);
                    }
                }
                Step::Done(call) => {
                    return Ok(String::from_utf8_lossy(&call.render()).into_owned());
                }
                Step::Denied(reasons) => {
                    return Err(format!("{} {}", reasons[0].rule, reasons[0].field));
                }
                Step::Answered(reply) => panic!("{reply:?}"),
            }
        }
        panic!("no end")
    }

    fn answer(&self, question: &Question) -> Fact {
        match question {
            Question::Begun { what, id, .. } => {
                let known = self.memory.borrow();
                known.get(&Question::begun(*what, id)).cloned().unwrap_or(Fact::Absent)
            }
            Question::Fresh => {
                self.given.set(self.given.get() + 1);
                Fact::Fresh(format!("{:032x}", self.given.get()))
            }
            _ => Fact::Absent,
        }
    }

    /// A request of the REST API.
    fn rest(&self, user: &str, line: &str, headers: &str) -> Decided {
        let head = format!("POST {line} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        let draft = Draft::parse(&RequestHead::parse(head.as_bytes()).unwrap()).unwrap();
        let call = match draft.wanted() {
            Wanted::Stream => draft.with_stream(Framing::None),
            _ => draft
                .with_json(&RequestHead::parse(head.as_bytes()).unwrap(), b"", MOST_VALUES)
                .unwrap(),
        };
        let Call::Typed(call) = call else { panic!() };
        self.decide(user, call)
    }

    /// Opens a session; the id that the engine has it by.
    fn open(&self, user: &str, id: &str) -> Result<String, String> {
        let headers = format!("Upgrade: h2c\r\nX-Docker-Expose-Session-Uuid: {id}\r\n");
        let sent = self.rest(user, "/session", &headers)?;
        let line = sent.lines().find(|line| line.to_ascii_lowercase().contains("uuid: ")).unwrap();
        Ok(line.split_once(": ").unwrap().1.to_owned())
    }

    fn solve(&self, body: Json) -> Decided {
        self.decide("ann", call("Control/Solve", body, ""))
    }

    /// A frontend's options in a new session, as `Control.Solve` and as `LLBBridge.Solve` have them.
    fn options(&self, frontend: &str, options: &Json, inputs: &Json) -> Decided {
        let (one, two) = (self.given.get(), self.given.get() + 1);
        let (one, two) = (format!("s{one}"), format!("s{two}"));
        self.open("ann", &one)?;
        self.open("ann", &two)?;
        let solve = json!({"Ref": one, "Session": one, "Frontend": frontend,
            "FrontendAttrs": options, "FrontendInputs": inputs});
        let solved = self.solve(solve).map(drop);
        self.solve(json!({"Ref": two, "Session": two})).unwrap();
        let bridge =
            json!({"Frontend": frontend, "FrontendOpt": options, "FrontendInputs": inputs});
        let bridged = self.decide("ann", call("LLBBridge/Solve", bridge, &two)).map(drop);
        let bridged = bridged.map_err(|why| why.replace("FrontendOpt", "FrontendAttrs"));
        assert_eq!(solved, bridged, "{options}");
        solved.map(|()| "passes".to_owned())
    }

    fn build_of(&self, id: &str) -> Option<AskedBuild> {
        let memory = self.memory.borrow();
        let Some(Fact::Owner(owner)) = memory.get(&Question::begun(Resource::Session, id)) else {
            panic!("{id} was not opened")
        };
        owner.session.as_ref().unwrap().build().cloned()
    }
}

fn refused(rule: &str, place: &str) -> Decided {
    Err(format!("{rule} {place}"))
}

#[test]
fn a_dockerfile_comes_from_its_session_and_the_engine_reads_it() {
    let world = World::new(OLD);
    let nothing = json!({});
    let with = |options: Json| world.options("dockerfile.v0", &options, &nothing);
    for good in [
        json!({}),
        json!({"filename": "d/F", "target": "t", "build-arg:A": "1", "label:x": "y"}),
        json!({"dockerfilekey": "dockerfile", "no-cache": "", "platform": "linux/amd64"}),
        json!({"context": "", "build-arg:BUILDKIT_SYNTAX": ""}),
    ] {
        assert_eq!(with(good.clone()), Ok("passes".to_owned()), "{good}");
    }
    for (option, value) in [
        ("context", "https://github.com/a/b.tgz"),
        ("context", "https://buildkit-session/x"),
        ("context", "local:x"),
        ("contextkey", "dockerfile"),
        ("dockerfilekey", "context"),
        ("dockerfilekey", "x"),
        ("source", "docker/dockerfile"),
        ("cmdline", "docker/dockerfile"),
        ("build-arg:BUILDKIT_SYNTAX", "docker/dockerfile"),
        ("context:base", "docker-image://busybox"),
        ("context:base", "input:base"),
        ("input:base", "x"),
        ("input-metadata:base", "x"),
    ] {
        let said = with(json!({ option: value }));
        let why = said.clone().unwrap_err();
        let is_it = why == format!("build.source-policy FrontendAttrs.{option}")
            || why.starts_with("build.fetch");
        assert!(is_it, "{option}={value}: {said:?}");
    }
    let graph = json!({"x": {"def": [{"source": {"identifier": "local://x"}},
        {"inputs": [{"digest": "sha256:1"}]}]}});
    let said = world.options("dockerfile.v0", &nothing, &graph);
    assert_eq!(said, refused("build.source-policy", "FrontendInputs"));
    let said = world.options("gateway.v0", &json!({"source": "docker/dockerfile"}), &nothing);
    assert_eq!(said, refused("build.source-policy", "Frontend"));
    for rules in ["SourcePolicy", "SourcePolicySession"] {
        let value = if rules == "SourcePolicy" { json!({"version": 1}) } else { json!("s0") };
        let solve = json!({"Ref": rules, "Session": "s0", rules: value});
        assert_eq!(world.solve(solve), refused("build.source-policy", rules));
    }
    let unknown = json!({"Ref": "r", "Frontend": "dockerfile.v0"});
    assert_eq!(world.solve(unknown), refused("build.session", "Session"));
}

#[test]
fn a_graph_is_judged_by_its_operations_and_binds_no_session() {
    let world = World::new(OLD);
    world.open("ann", "s").unwrap();
    let of = |source: &str| {
        let operations = [
            json!({"source": {"identifier": source}}),
            json!({"inputs": [{"digest": "sha256:1"}]}),
        ];
        world.solve(json!({"Ref": source.len().to_string(), "Session": "s", "Definition": {"def": operations}}))
    };
    assert!(of("local://x").is_ok() && of("docker-image://docker.io/library/busybox").is_ok());
    for bad in ["http://127.0.0.1/x", "git://127.0.0.1/a.git", "docker-image://127.0.0.1:5000/x"] {
        let why = of(bad).unwrap_err();
        assert!(why.starts_with("build.fetch") || why.starts_with("registry.host"), "{bad}: {why}");
    }
    // Nothing can be changed in a graph, so that only the engine's id leads to a session there.
    let engines = world.open("ann", "t").unwrap();
    for (id, is_good) in [("t", false), (engines.as_str(), true), ("u", false)] {
        let source = json!({"source": {"identifier": "local://x", "attrs": {"local.session": id}}});
        let graph = [source, json!({"inputs": [{"digest": "sha256:1"}]})];
        let solve = json!({"Ref": id, "Session": "t", "Definition": {"def": graph}});
        assert_eq!(world.solve(solve).is_ok(), is_good, "{id}");
    }
    assert_eq!(world.build_of("s"), None);
}

#[test]
fn a_session_builds_in_one_way_under_an_id_that_nobody_had() {
    let world = World::new(OLD);
    let engines = world.open("ann", "s").unwrap();
    assert!(engines.starts_with("s.") && engines.len() == 34, "{engines}");
    let build = |build: &str, options: Json, id: &str| {
        world.solve(json!({"Ref": build, "Session": id, "Frontend": "dockerfile.v0", "FrontendAttrs": options}))
    };
    let sent = build("1", json!({"target": "a", "build-arg:A": "1"}), "s").unwrap();
    assert!(sent.contains(&engines), "{sent}");
    let asked = world.build_of("s").unwrap();
    assert_eq!((asked.builder, asked.target.as_str()), (Builder::BuildKit, "a"));
    assert_eq!(asked.args.get("A").map(String::as_str), Some("1"));
    assert!(build("2", json!({"target": "a", "build-arg:A": "1", "label:x": "y"}), "s").is_ok());
    for other in [
        json!({"target": "b", "build-arg:A": "1"}),
        json!({"target": "a"}),
        json!({"target": "a", "build-arg:A": "1", "filename": "F"}),
    ] {
        assert_eq!(build("3", other, "s"), refused("build.session", "Session"));
    }
    // By the engine's id it is found too, as graphs that a frontend has made have it; by another one it is not.
    assert!(build("4", json!({"target": "a", "build-arg:A": "1"}), &engines).is_ok());
    for other in [format!("s.{:032x}", 99), format!("{engines}.x"), "t".to_owned()] {
        assert_eq!(build("5", json!({}), &other), refused("build.session", ""), "{other}");
    }
    // A build is in its session, and in no other one.
    assert_ne!(world.open("ann", "t").unwrap(), engines);
    assert_eq!(world.solve(json!({"Ref": "1", "Session": "t"})), refused("build.not-own", ""));
    // What is opened again is another one, and forgets.
    let again = world.open("ann", "s").unwrap();
    assert!(again.starts_with("s.") && again != engines);
    assert_eq!(world.build_of("s"), None);
    assert_eq!(world.open("bob", "s"), refused("build.session", ""));
    assert_eq!(build("6", json!({}), &engines), refused("build.session", ""));
}

#[test]
fn docker_below_23_asks_by_query() {
    let world = World::new(OLD);
    let engines = world.open("ann", "s").unwrap();
    let build = |query: &str| world.rest("ann", &format!("/build?{query}"), "");
    let sent = build("version=2&remote=client-session&session=s&buildid=b&target=t").unwrap();
    assert!(sent.contains(&format!("session={engines}")), "{sent}");
    assert_eq!(world.build_of("s").unwrap().target, "t");
    let again = "version=2&remote=client-session&session=s";
    assert_eq!(build(again), refused("build.session", "Session"), "in another way");
    world.open("ann", "s").unwrap();
    assert!(build(&format!("{again}&cachefrom=[\"busybox\"]")).is_ok());
    assert!(build(&format!("{again}&outputs=[{{\"Type\":\"local\",\"Attrs\":{{}}}}]")).is_ok());
    for (query, rule) in [
        ("version=2&session=s", "build.buildkit ?remote"),
        ("version=2&session=s&remote=upload-request", "build.remote ?remote"),
        ("version=2&session=s&remote=https://github.com/a/b.git", "build.remote ?remote"),
        ("version=2&buildid=upload-request:b", "build.buildkit ?remote"),
        ("version=2&remote=client-session", "build.session Session"),
        ("version=2&remote=client-session&session=x", "build.session "),
        (
            "version=2&remote=client-session&session=s&cachefrom=[\"127.0.0.1:5000/x\"]",
            "registry.host ?cachefrom",
        ),
        ("version=1&remote=client-session&session=s", "build.buildkit ?session"),
        ("session=s", "build.buildkit ?session"),
        ("outputs=[{\"Type\":\"local\"}]", "build.outputs ?outputs"),
        (
            "version=2&remote=client-session&session=s&outputs=[{\"Type\":\"cacheonly\"}]",
            "build.outputs ?outputs",
        ),
        (
            "version=2&remote=client-session&session=s&outputs=[{\"Type\":\"tar\"},{\"Type\":\"local\",\"X\":1}]",
            "build.outputs ?outputs",
        ),
        (
            "version=2&remote=client-session&session=s&outputs=[{\"Type\":\"image\",\"Attrs\":{\"push\":\"true\",\"name\":\"127.0.0.1:5000/x\"}}]",
            "build.outputs ?outputs",
        ),
        ("version=3", "build.buildkit ?version"),
    ] {
        assert_eq!(build(query), Err(rule.to_owned()), "{query}");
    }
    assert!(build("t=x").is_ok() && build("version=1&cachefrom=[\"127.0.0.1:5000/x\"]").is_ok());
    let new = World::new(KNOWN);
    assert_eq!(new.open("ann", "s").unwrap(), "s");
    let sent = |query: &str| new.rest("ann", &format!("/build?{query}"), "");
    let (first, second) = (sent(again).unwrap(), sent(&format!("{again}&target=t")).unwrap());
    assert!(first.contains("session=s.") && second.contains("session=s."), "{first} {second}");
    assert_ne!(first, second, "each build is one of its own");
    for (args, is_good) in [(r#"{"A":"1"}"#, true), (r#"{"BUILDKIT_ATTEST_SBOM":"1"}"#, false)] {
        assert_eq!(sent(&format!("{again}&buildargs={args}")).is_ok(), is_good, "{args}");
    }
}
