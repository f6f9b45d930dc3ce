//! Requests with which BuildKit ends, and with it the whole engine and everybody's builds.
//!
//! `builds` asks before anything else. BuildKit's methods and operations reach into what a message may leave out, or count
//! from where it says, and nothing recovers in a goroutine of dockerd's. What must stay true: whatever is refused here is
//! nothing that a client means.
#![allow(clippy::wildcard_enum_match_arm, reason = "of most operations nothing is known")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::api::buildkit::DEFINITION;
use crate::api::doc::{Value, proto};
use crate::api::{Endpoint, Typed};
use crate::policy::Reason;

pub(super) const MALFORMED: &str = "build.malformed";

/// Of a graph in a source map of a graph.
const DEEPEST: usize = 4;
/// As of the message that it is in.
const MOST_VALUES: usize = 262_144;

pub(super) fn fault(call: &Typed) -> Option<Reason> {
    let root = &call.doc()?.root;
    let (place, why) = match call.endpoint() {
        // Takes the result for there when there is no error (frontend/gateway, Return).
        Endpoint::BridgeReturn if is_absent(root, "result") && is_absent(root, "error") => {
            ("result", "must be there, or `error`")
        }
        // Takes the process for there (frontend/gateway, ExecProcess).
        Endpoint::ExecProcess if root.get("Init").is_some_and(|init| is_absent(init, "Meta")) => {
            ("Init.Meta", "must be there")
        }
        _ => given(root).or_else(|| graphs(root))?,
    };
    Some(Reason { status: 400, ..Reason::new(MALFORMED, place, why, "") })
}

fn is_absent(value: &Value, key: &str) -> bool {
    matches!(value.get(key), None | Some(Value::Null))
}

/// A frontend's inputs.
fn given(root: &Value) -> Option<Fault> {
    let all = root.get("FrontendInputs").map(Value::entries).unwrap_or_default();
    all.iter().find_map(|(_, graph)| ends(graph, DEEPEST))
}

type Fault = (&'static str, &'static str);

/// Every graph in a request, and whatever else counts inputs.
fn graphs(value: &Value) -> Option<Fault> {
    if let Some(Value::List(ops)) = value.get("def")
        && let Some(fault) = ops.iter().find_map(operation)
    {
        return Some(fault);
    }
    for (key, value) in value.entries() {
        let place = ["input", "secondaryInput", "output", "outputs"];
        let place = place.into_iter().find(|place| key == place);
        let is_below = |one: &Value| one.as_i64().is_some_and(|at| at < -1);
        if let Some(place) = place
            && (is_below(value) || value.items().iter().any(is_below))
        {
            return Some((place, "must not be below -1, which is no input at all"));
        }
        if let Some(fault) = graphs(value) {
            return Some(fault);
        }
    }
    value.items().iter().find_map(graphs)
}

/// Of a graph that a frontend is given, the last operation names what it results in: its first input is taken unseen, and
/// so are those of graphs in its source maps (client/llb, NewDefinitionOp).
fn ends(graph: &Value, depth: usize) -> Option<Fault> {
    let last = graph.get("def").map(Value::items).and_then(<[Value]>::last);
    if last.is_some_and(|last| inputs(last).is_empty()) {
        let why = "must end in an operation that names the result";
        return Some(("FrontendInputs.def", why));
    }
    let infos = graph.get("Source").and_then(|source| source.get("infos"));
    let infos = infos.map(Value::items).unwrap_or_default();
    let nested = infos.iter().filter_map(|info| info.get("definition")?.as_str());
    nested.into_iter().find_map(|graph| {
        let why = "must be a graph, with few others in it";
        let bytes = STANDARD.decode(graph).ok().filter(|_| depth > 0);
        let doc = bytes.and_then(|bytes| proto::parse(MOST_VALUES, &bytes, DEFINITION).ok());
        match doc {
            Some(doc) => ends(&doc.root, depth - 1),
            None => Some(("FrontendInputs.Source.infos.definition", why)),
        }
    })
}

/// BuildKit compares an index with how many inputs there are, or with -1, and not always with both (solver/edge.go,
/// solver/llbsolver/vertex.go and ops/file.go, ops/diff.go).
fn operation(op: &Value) -> Option<Fault> {
    let count = i64::try_from(inputs(op).len()).unwrap_or(i64::MAX);
    let at = |value: &Value, key: &str| value.get(key).and_then(Value::as_i64).unwrap_or(0);
    if inputs(op).iter().any(|input| at(input, "index") < 0) {
        return Some(("def.inputs.index", "must not be negative"));
    }
    let is_input = |one: &Value| (0..count).contains(&at(one, "input"));
    if let Some(merge) = op.get("merge") {
        let merged = merge.get("inputs").map(Value::items).unwrap_or_default();
        if merged.is_empty() || !merged.iter().all(is_input) {
            return Some(("def.merge.inputs", "must be inputs of the operation, and at least one"));
        }
    }
    if let Some(diff) = op.get("diff") {
        let sides = [diff.get("lower"), diff.get("upper")];
        let is_empty = |side: &Value| at(side, "input") == -1;
        let are_good =
            sides.iter().all(|side| side.is_some_and(|one| is_empty(one) || is_input(one)));
        let named = sides.iter().flatten().filter(|side| !is_empty(side)).count();
        // Each side is an input of its own, whatever its index says.
        if !are_good || named > inputs(op).len() {
            return Some(("def.diff", "must have both sides, each an input of its own, or -1"));
        }
    }
    op.get("file").and_then(|file| owners(file, count))
}

fn inputs(op: &Value) -> &[Value] {
    op.get("inputs").map(Value::items).unwrap_or_default()
}

/// An owner's name is looked up in an input.
fn owners(value: &Value, count: i64) -> Option<Fault> {
    let name = value.get("byName").and_then(|name| name.get("input")).and_then(Value::as_i64);
    if name.is_some_and(|at| at >= count) {
        return Some(("def.file.actions", "must look owners up in inputs of the operation"));
    }
    let inner = value.entries().iter().map(|(_, value)| value).chain(value.items());
    inner.into_iter().find_map(|value| owners(value, count))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::call;
    use super::*;

    fn said(method: &str, body: serde_json::Value) -> Option<String> {
        fault(&call(method, body, "r")).map(|reason| format!("{} {}", reason.status, reason.field))
    }

    #[test]
    fn a_build_returns_something() {
        let returns = |body| said("LLBBridge/Return", body);
        assert_eq!(returns(json!({})).as_deref(), Some("400 result"));
        assert_eq!(returns(json!({"result": {}})), None);
        assert_eq!(returns(json!({"error": {"code": 2}})), None);
        let exec = |body| said("LLBBridge/ExecProcess", body);
        assert_eq!(exec(json!({"Init": {"ContainerID": "c"}})).as_deref(), Some("400 Init.Meta"));
        assert_eq!(exec(json!({"Init": {"ContainerID": "c", "Meta": {}}})), None);
        assert_eq!(exec(json!({"Done": {}})), None);
    }

    /// What comes of a graph with this operation behind an image.
    fn graph_with(op: serde_json::Value) -> Option<String> {
        let mut op = op;
        if op.get("inputs").is_none() {
            op["inputs"] = json!([{"digest": "sha256:1"}]);
        }
        let last = json!({"inputs": [{"digest": "sha256:2"}]});
        let definition = json!({"def": [{"source": {"identifier": "local://x"}}, op, last]});
        let solve = json!({"Ref": "r", "Definition": definition});
        let found = said("Control/Solve", solve);
        let inputs = json!({"FrontendInputs": {"x": definition}});
        assert_eq!(said("LLBBridge/Solve", inputs), found, "{definition}");
        found
    }

    #[test]
    fn nothing_is_counted_from_below_the_first() {
        let ops = |at: i64| {
            [
                ("input", json!({"exec": {"mounts": [{"input": at}]}})),
                ("output", json!({"exec": {"mounts": [{"output": at}]}})),
                ("input", json!({"file": {"actions": [{"input": at}]}})),
                ("secondaryInput", json!({"file": {"actions": [{"secondaryInput": at}]}})),
                ("output", json!({"file": {"actions": [{"output": at}]}})),
            ]
        };
        for (place, op) in ops(-2) {
            assert_eq!(graph_with(op), Some(format!("400 {place}")));
        }
        for (_, op) in ops(-1).into_iter().chain(ops(7)) {
            assert_eq!(graph_with(op.clone()), None, "{op}");
        }
        let mounts = json!({"Mounts": [{"input": -5}]});
        assert_eq!(said("LLBBridge/NewContainer", mounts).as_deref(), Some("400 input"));
        let index = json!({"inputs": [{"digest": "sha256:1", "index": -1}]});
        assert_eq!(graph_with(index).as_deref(), Some("400 def.inputs.index"));
    }

    #[test]
    fn an_operation_names_inputs_that_it_has() {
        let two = json!([{"digest": "sha256:1"}, {"digest": "sha256:3"}]);
        let (lower, upper) = (json!({"input": 0}), json!({"input": 1}));
        for good in [
            json!({"merge": {"inputs": [{"input": 0}]}}),
            json!({"merge": {"inputs": [{"input": 0}, {"input": 1}]}, "inputs": two}),
            json!({"diff": {"lower": lower, "upper": upper}, "inputs": two}),
            json!({"diff": {"lower": {"input": -1}, "upper": {"input": 0}}}),
            json!({"file": {"actions": [{"mkdir": {"owner": {"user": {"byName": {"name": "u", "input": 0}}}}}]}}),
        ] {
            assert_eq!(graph_with(good.clone()), None, "{good}");
        }
        for bad in [
            json!({"merge": {}}),
            json!({"merge": {"inputs": [{"input": 1}]}}),
            json!({"merge": {"inputs": [{"input": -1}]}}),
            json!({"diff": {}}),
            json!({"diff": {"lower": {}}}),
            json!({"diff": {"lower": {}, "upper": {}}}),
            json!({"diff": {"lower": {"input": -1}, "upper": {"input": 9}}}),
            json!({"file": {"actions": [{"mkdir": {"owner": {"user": {"byName": {"input": 9}}}}}]}}),
            json!({"file": {"actions": [{"copy": {"owner": {"group": {"byName": {"input": 1}}}}}]}}),
        ] {
            assert!(graph_with(bad.clone()).is_some(), "{bad}");
        }
        for input in [json!({"def": [{}]}), json!({"def": [{"source": {}}]})] {
            let wanted = Some("400 FrontendInputs.def".to_owned());
            let solve = json!({"Ref": "r", "FrontendInputs": {"x": input}});
            assert_eq!(said("Control/Solve", solve), wanted);
            assert_eq!(said("LLBBridge/Solve", json!({"FrontendInputs": {"x": input}})), wanted);
        }
        // pb.Definition{def: [{}]}, pb.Definition{def: [{inputs: [{}]}]}, and what is none
        for (nested, is_good) in [("CgA=", false), ("CgIKAA==", true), ("/w==", false)] {
            let source = json!({"infos": [{"filename": "f", "definition": nested}]});
            let input = json!({"def": [{"inputs": [{"digest": "x"}]}], "Source": source});
            let solve = json!({"Ref": "r", "FrontendInputs": {"x": input}});
            assert_eq!(said("Control/Solve", solve).is_none(), is_good, "{nested}");
        }
        let empty = json!({"Ref": "r", "FrontendInputs": {"x": {"def": []}}});
        assert_eq!(said("Control/Solve", empty), None);
    }
}
