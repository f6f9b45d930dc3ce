//! What is refused, in the words of whoever wrote it.
//!
//! `Judge` asks when it makes a reason. Of a graph (LLB) users have written a Dockerfile: an operation is its source or its
//! command, and the line that the graph itself says it comes from (BuildKit's source map). What must stay true: it only
//! explains; nothing is decided by what stands here, for the client has written it.

use aws_lc_rs::digest::{SHA256, digest};

use super::{Judge, PathStep};
use crate::api::buildkit::operation_bytes;
use crate::api::doc::{self, Value};

/// Of the reasons against one call.
const MOST_LOOKED_UP: usize = 16;

impl Judge<'_> {
    /// What a message begins with: the place in the call, but of an operation.
    pub(super) fn subject(&self, value: &Value) -> String {
        let named = |source: &Value| {
            let text = source.get("identifier").and_then(Value::as_str)?;
            (!text.is_empty()).then(|| quoted(text))
        };
        // Each is looked up by its digest; nobody reads more of them.
        let few = self.reasons.len() < MOST_LOOKED_UP;
        let Some((definition, operation)) = self.operation().filter(|_| few) else {
            return named(value).unwrap_or_else(|| self.here());
        };
        let what = match (operation.get("source").and_then(named), operation.get("exec")) {
            (Some(source), _) => source,
            (None, Some(exec)) => command(exec).unwrap_or_else(|| self.here()),
            (None, None) => self.here(),
        };
        match line(definition, operation) {
            Some(line) => format!("{line}: {what}"),
            None => what,
        }
    }

    /// The graph and the operation in it that is judged.
    fn operation(&self) -> Option<(&Value, &Value)> {
        let mut values = vec![self.whole_body()?];
        for (at, step) in self.path.iter().enumerate() {
            let here = *values.last()?;
            let next = match step {
                PathStep::Key(key) | PathStep::Each(key) => here.get(key)?,
                PathStep::Index(index) => here.items().get(*index)?,
                PathStep::Query(_) | PathStep::Header(_) | PathStep::Name(_) => return None,
            };
            let is_in_a_list = matches!(step, PathStep::Index(_)) && at > 0;
            if is_in_a_list && self.path.get(at - 1).is_some_and(|step| step.is("def")) {
                return Some((values.get(at - 1)?, next));
            }
            values.push(next);
        }
        None
    }
}

fn quoted(text: &str) -> String {
    format!("`{}`", doc::clipped(text))
}

/// `/bin/sh -c COMMAND` is `RUN COMMAND`.
fn command(exec: &Value) -> Option<String> {
    let args = exec.get("meta")?.get("args")?.items().iter().filter_map(Value::as_str);
    let args: Vec<&str> = args.collect();
    let words = match args.as_slice() {
        ["/bin/sh", "-c", command] => (*command).to_owned(),
        words => words.join(" "),
    };
    (!words.is_empty()).then(|| quoted(&format!("RUN {words}")))
}

/// `Dockerfile:3`
fn line(definition: &Value, operation: &Value) -> Option<String> {
    let map = definition.get("Source")?;
    let hash = digest(&SHA256, &operation_bytes(operation));
    let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let places = map.get("locations")?.get(&format!("sha256:{hex}"))?.get("locations")?;
    let place = places.items().first()?;
    let range = place.get("ranges")?.items().first()?;
    let line = range.get("start")?.get("line")?.as_i64()?;
    let index = place.get("sourceIndex").and_then(Value::as_i64).unwrap_or(0);
    let info = map.get("infos")?.items().get(usize::try_from(index).ok()?)?;
    let name = info.get("filename").and_then(Value::as_str).filter(|name| !name.is_empty());
    Some(format!("{}:{line}", doc::clipped(name.unwrap_or("Dockerfile"))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::endpoint::KNOWN;
    use crate::auth::Identity;
    use crate::policy::builds::tests::call;
    use crate::policy::conservative::{Conservative, Surroundings};
    use crate::policy::{Context, Facts, Policy, Verdict};

    fn said(method: &str, body: serde_json::Value) -> String {
        let settings = crate::config::Conservative::default();
        let policy = Conservative::new("c", &settings, &Surroundings::default()).unwrap();
        let (identity, facts) = (Identity::imagined(None), Facts::default());
        let call = call(method, body, "b");
        match policy.request(&call, &Context::new(&identity, "l", KNOWN, &facts)) {
            Verdict::Deny(reasons) => reasons[0].message(),
            other => panic!("{other:?}"),
        }
    }

    fn digest_of(operation: &serde_json::Value) -> String {
        let body = json!({"Definition": {"def": [operation]}});
        let call = call("LLBBridge/Solve", body, "b");
        let operation = &call.doc().unwrap().at(&["Definition", "def"]).unwrap().items()[0];
        let hash = digest(&SHA256, &operation_bytes(operation));
        let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    }

    #[test]
    fn an_operation_is_what_its_dockerfile_says_and_where() {
        let added = json!({"source": {"identifier": "http://127.0.0.1/x"}});
        let shell = json!(["/bin/sh", "-c", "wget x"]);
        let run = json!({"exec": {"meta": {"args": shell}, "network": "HOST"}});
        for (op, wanted, rule) in [
            (&added, "`http://127.0.0.1/x`: must be sent by the client", "build.fetch"),
            (&run, "`RUN wget x`: must not be the host's", "build.network"),
        ] {
            let graph = json!({"def": [op]});
            let bare = said("Control/Solve", json!({"Ref": "b", "Definition": graph}));
            assert!(bare.starts_with(&format!("dockgate: {wanted}")), "{bare}");
            assert!(bare.contains(&format!("(rule {rule})")), "{bare}");
            let place = json!({"sourceIndex": 0, "ranges": [{"start": {"line": 3}}]});
            let map = json!({
                "locations": {digest_of(op): {"locations": [place]}},
                "infos": [{"filename": "prod.Dockerfile"}],
            });
            let graph = json!({"def": [op], "Source": map});
            let mapped = json!({"result": {"ref": {"id": "r", "def": graph}}});
            let mapped = said("LLBBridge/Return", mapped);
            assert!(
                mapped.starts_with(&format!("dockgate: prod.Dockerfile:3: {wanted}")),
                "{mapped}"
            );
        }
        let asked =
            said("ResolveSourceMeta", json!({"Source": {"identifier": "http://10.0.0.1/"}}));
        assert!(asked.starts_with("dockgate: `http://10.0.0.1/`: must be"), "{asked}");
        let process = said("NewContainer", json!({"Network": "HOST"}));
        assert!(process.starts_with("dockgate: Network: must not be"), "{process}");
    }
}
