//! What is asked of the engine before a call goes to it.

use super::*;

impl SmallEngine {
    /// The questions about the engine that a call of ann's leads to.
    fn asked(&self, method: &str, target: &str, body: &str) -> Vec<Question> {
        let request = rehearsal::Request { method, target, body: body.as_bytes() };
        let identity = Identity::imagined(Some("ann"));
        let outcome = explore(&self.chain, "l", &identity, &request, &|one| self.knows(one));
        let of_engine = |question| match question {
            Question::OfEngine(inner) => Some(*inner),
            _ => None,
        };
        outcome.asked.into_iter().filter_map(of_engine).collect()
    }
}

#[test]
fn what_can_only_be_a_name_is_found_by_the_engine_alone() {
    let engine = SmallEngine::new();
    let connected = r#"{"Container":"web"}"#;
    for (method, target, body) in [
        ("GET", "/v1.41/containers/web/json", ""),
        ("GET", "/v1.41/containers/nosuch/json", ""),
        ("GET", "/v1.41/containers/web/logs?stdout=1", ""),
        ("POST", "/v1.41/containers/web/start", ""),
        ("POST", "/v1.41/containers/web/wait", ""),
        ("POST", "/v1.41/containers/web/rename?name=other", ""),
        ("POST", "/v1.41/containers/web/exec", "{}"),
        ("DELETE", "/v1.41/containers/web", ""),
        ("GET", "/v1.41/networks/net", ""),
        ("DELETE", "/v1.41/networks/net", ""),
        ("POST", "/v1.41/networks/net/connect", connected),
        ("GET", "/v1.41/volumes/data", ""),
        ("POST", "/v1.41/volumes/create", r#"{"Name":"data"}"#),
        ("GET", "/v1.41/images/app/json", ""),
        ("POST", "/v1.41/commit?container=web&repo=x@sha256:bad", ""),
    ] {
        let asked = engine.asked(method, target, body);
        assert!(asked.is_empty(), "{method} {target}: {asked:?}");
    }
}

#[test]
fn what_may_be_the_beginning_of_an_id_is_looked_up() {
    let engine = SmallEngine::new();
    for target in [
        format!("/v1.41/containers/{ANN}/json"),
        "/v1.41/containers/db/json".to_owned(),
        "/v1.41/networks/db".to_owned(),
        "/v1.41/networks/host".to_owned(),
        format!("/v1.41/volumes/{ANN}"),
        "/v1.41/images/db/json".to_owned(),
        // A name by which another container is linked to.
        "/v1.41/containers/web%2Fdb/json".to_owned(),
    ] {
        assert!(!engine.asked("GET", &target, "").is_empty(), "{target}");
    }
}

#[test]
fn ones_own_ids_are_known_without_the_engine_and_those_of_others_are_not() {
    let engine = SmallEngine { has_index: true, ..SmallEngine::new() };
    let asked = |method, target: &str, body: &str| {
        let mut asked = engine.asked(method, target, body);
        asked.retain(|question| !matches!(question, Question::Indexed(..)));
        asked
    };
    let connect = |id: &str| json!({ "Container": id }).to_string();
    for text in [ANN, short(ANN)] {
        for (method, target, body) in [
            ("GET", format!("/v1.41/containers/{text}/json"), String::new()),
            ("POST", format!("/v1.41/containers/{text}/start"), String::new()),
            ("GET", format!("/v1.41/networks/{text}"), String::new()),
            ("DELETE", format!("/v1.41/networks/{text}"), String::new()),
            ("POST", format!("/v1.41/networks/{text}/disconnect"), connect("web")),
        ] {
            assert_eq!(asked(method, &target, &body), [], "{method} {target}");
        }
    }
    let attach = format!("/v1.41/containers/{ANN}/attach");
    assert_eq!(asked("POST", &attach, ""), []);
    let exec = Question::ExecInspect(ANN.to_owned());
    assert_eq!(asked("GET", &format!("/v1.41/exec/{ANN}/json"), ""), [exec]);
    // What is another's takes as long as what is nobody's.
    for path in ["containers/ID/json", "networks/ID", "containers/ID/attach", "exec/ID/json"] {
        let [bobs, nobodys] = [BOB, &"c".repeat(64)].map(|id| {
            let method = if path.ends_with("attach") { "POST" } else { "GET" };
            asked(method, &format!("/v1.41/{}", path.replace("ID", id)), "").len()
        });
        assert!(bobs > 0 && bobs == nobodys, "{path}: {bobs} and {nobodys}");
    }
}

#[test]
fn the_index_does_not_say_what_a_container_shares() {
    // A name that a container keeps is looked up: by then it may be another's.
    let engine = SmallEngine { has_index: true, ..SmallEngine::new() };
    let body = json!({ "Image": "shared", "HostConfig": { "PidMode": "container:web" } });
    let asked = engine.asked("POST", "/v1.41/containers/create?name=new", &body.to_string());
    assert!(asked.contains(&Question::Container(engine.ann.sent("web"))), "{asked:?}");
}

#[test]
fn of_events_the_engine_sends_each_its_own() {
    let engine = SmallEngine::new();
    let sent = |filters: &str| {
        let filters =
            percent_encoding::utf8_percent_encode(filters, percent_encoding::NON_ALPHANUMERIC);
        let sent =
            engine.ask("ann", "GET", &format!("/v1.41/events?filters={filters}"), "").unwrap();
        let line = sent.lines().next().unwrap();
        percent_encoding::percent_decode_str(line).decode_utf8().unwrap().into_owned()
    };
    let own =
        format!(r#""plugin":["{}","{NO_REGISTRY}/{}/"]"#, engine.ann.sent(""), engine.ann.id());
    for filters in ["", r#"{"container":["web"],"type":["container"]}"#] {
        assert!(sent(filters).contains(&own), "{}", sent(filters));
    }
    // Of plugins there is nothing to tell, and none of it becomes more by ours.
    assert!(sent(r#"{"plugin":["x"]}"#).contains(r#""plugin":["x"]"#));
}
