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
