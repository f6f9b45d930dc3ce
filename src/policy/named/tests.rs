//! What a policy names is nobody's to make, remove, rename, connect or take away; all else is.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::auth::Identity;
use crate::config::{self, PolicyKind};
use crate::policy::conservative::{Conservative, Surroundings};
use crate::policy::limits::Limits;
use crate::policy::rehearsal::{self, rehearse};
use crate::policy::{Chain, Link};

fn chain(policies: &str, mode: &str) -> Chain {
    let text = format!(
        "[[listener]]\nname = \"l\"\nurl = \"unix:///x\"\npolicies = [\"p\"]\n[policy.p]\n{mode}{policies}"
    );
    let config = config::parse(&text, Path::new("t"), Path::new(""), &|_| None);
    let listener = config.unwrap_or_else(|wrong| panic!("{text}\n{wrong}")).listeners.remove(0);
    let link = |policy: &config::Policy| {
        let built: Box<dyn Policy> = match &policy.kind {
            PolicyKind::Conservative(settings) => {
                Box::new(Conservative::new("p", settings, &Surroundings::default()).unwrap())
            }
            PolicyKind::Limits(settings) => Box::new(Limits::new("p", settings)),
            other @ (PolicyKind::Rego(_)
            | PolicyKind::Authz(_)
            | PolicyKind::Namespace(_)
            | PolicyKind::TemporaryListener(_)
            | PolicyKind::TransparentCache(_)) => panic!("{other:?}"),
        };
        if policy.audits { Link::auditing(built) } else { Link::new(built) }
    };
    Chain::new(listener.policies.iter().map(link).collect())
}

/// The operator's `ci`, by its name, its id and the beginning of that, with a label; and a container likewise.
fn knows(question: &Question) -> Fact {
    let is = |names: &[&str], name: &str| names.contains(&name);
    let found = if let Question::Network(name) = question
        && is(&["ci", "abc", "abcdef"], name)
    {
        json!({ "Name": "ci", "Id": "abcdef", "Driver": "bridge", "Labels": { "team": "ops" } })
    } else if let Question::Container(name) = question
        && is(&["vpn", "f00"], name)
    {
        json!({ "Name": "/vpn", "Id": "f00", "Config": { "Labels": null }, "HostConfig": {} })
    } else if *question == Question::Network("fault".to_owned()) {
        return Fact::Failed("x".to_owned());
    } else {
        return Fact::Absent;
    };
    Fact::Json(Arc::new(found))
}

/// The rule that refuses, or none.
fn refused(chain: &Chain, line: &str, body: &str) -> Option<String> {
    let (method, target) = line.split_once(' ').unwrap();
    let request = rehearsal::Request { method, target, body: body.as_bytes() };
    match rehearse(chain, "l", &Identity::imagined(None), &request, &knows).verdict {
        rehearsal::Verdict::Allowed(_) => None,
        rehearsal::Verdict::Denied(_, reasons) => Some(reasons[0].rule.to_string()),
        rehearsal::Verdict::Malformed(why) => panic!("{line}: {why}"),
        other @ (rehearsal::Verdict::Undecided(..)
        | rehearsal::Verdict::Waits(..)
        | rehearsal::Verdict::Answered(..)) => panic!("{other:?}"),
    }
}

const FORCE: &str = "kind = \"limits\"\nforce = { network = \"ci\" }\n";

#[test]
fn a_forced_network_stays_the_operators() {
    let chain = chain(FORCE, "");
    for (line, body) in [
        ("POST /networks/create", r#"{"Name":"ci"}"#),
        ("DELETE /networks/ci", ""),
        ("DELETE /networks/abcdef", ""),
        ("DELETE /networks/abc", ""),
        ("POST /networks/ci/connect", r#"{"Container":"x"}"#),
        ("POST /networks/abc/connect", r#"{"Container":"x"}"#),
        ("POST /networks/ci/disconnect", r#"{"Container":"x"}"#),
        ("POST /networks/prune", ""),
        ("POST /networks/prune?filters={\"label\":{\"team\":true}}", ""),
        ("POST /networks/prune?filters={\"label\":[\"team=ops\"],\"label!\":[\"x\"]}", ""),
    ] {
        assert_eq!(refused(&chain, line, body).as_deref(), Some("named.network"), "{line} {body}");
    }
    assert_eq!(refused(&chain, "DELETE /networks/fault", "").as_deref(), Some("named.unknown"));
    for (line, body) in [
        ("POST /networks/create", r#"{"Name":"mine"}"#),
        ("DELETE /networks/mine", ""),
        ("GET /networks/ci", ""),
        ("POST /networks/prune?filters={\"label\":{\"team=mine\":true}}", ""),
        ("POST /networks/prune?filters={\"label!\":[\"team\"]}", ""),
        ("POST /containers/create", r#"{"Image":"x"}"#),
        ("POST /volumes/create", r#"{"Name":"ci"}"#),
        ("POST /containers/create?name=ci", r#"{"Image":"x"}"#),
    ] {
        assert_eq!(refused(&chain, line, body), None, "{line} {body}");
    }
}

#[test]
fn of_a_template_every_name_is_the_operators() {
    let chain = chain("kind = \"limits\"\ndefault = { network = \"ci-{user}\" }\n", "");
    for line in ["DELETE /networks/ci-bob", "DELETE /networks/ci-ann", "POST /networks/prune"] {
        assert_eq!(refused(&chain, line, "").as_deref(), Some("named.network"), "{line}");
    }
    assert_eq!(refused(&chain, "DELETE /networks/ci", ""), None);
}

#[test]
fn a_container_whose_network_is_forced_is_neither_renamed_nor_replaced() {
    let chain = chain("kind = \"limits\"\nforce = { network = \"container:vpn\" }\n", "");
    for (line, body) in [
        ("DELETE /containers/vpn?force=1", ""),
        ("DELETE /containers/f00", ""),
        ("POST /containers/vpn/rename?name=x", ""),
        ("POST /containers/mine/rename?name=vpn", ""),
        ("POST /containers/mine/rename?name=/vpn", ""),
        ("POST /containers/create?name=vpn", r#"{"Image":"x"}"#),
        ("POST /networks/n/connect", r#"{"Container":"vpn"}"#),
        ("POST /networks/n/disconnect", r#"{"Container":"f00"}"#),
        ("POST /containers/prune", ""),
    ] {
        // `connect` to another network than the forced one is refused by `limits` besides.
        assert_eq!(refused(&chain, line, body).as_deref(), Some("named.container"), "{line}");
    }
    assert_eq!(refused(&chain, "POST /containers/vpn/start", ""), None);
    assert_eq!(refused(&chain, "DELETE /containers/mine", ""), None);
}

#[test]
fn what_a_file_of_rules_names_is_the_operators_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rules.toml");
    let rules = r#"extends = "conservative"
        [operation.ContainerCreate.body]
        "HostConfig.Binds" = { one-of = ["cache:/cache", "/srv/x:/x:ro"], rule = "team.bind" }
        "HostConfig.NetworkMode" = { one-of = ["default", "none", "shop", "container:vpn"], rule = "team.network" }
        "HostConfig.VolumesFrom" = { one-of = ["data:ro"], rule = "team.data" }
    "#;
    std::fs::write(&file, rules).unwrap();
    let settings = format!("kind = \"conservative\"\nrules = \"{}\"\n", file.display());
    let made = chain(&settings, "");
    for (line, body, wanted) in [
        ("POST /volumes/create", r#"{"Name":"cache"}"#, "named.volume"),
        ("DELETE /volumes/cache", "", "named.volume"),
        ("POST /containers/create", r#"{"HostConfig":{"Binds":["cache:/cache"]}}"#, "named.volume"),
        ("POST /networks/create", r#"{"Name":"shop"}"#, "named.network"),
        ("DELETE /containers/vpn", "", "named.container"),
        ("POST /containers/create?name=data", r#"{"Image":"x"}"#, "named.container"),
    ] {
        assert_eq!(refused(&made, line, body).as_deref(), Some(wanted), "{line} {body}");
    }
    assert_eq!(refused(&made, "POST /volumes/create", r#"{"Name":"mine"}"#), None);
    let audited = chain(&settings, "mode = \"audit\"\n");
    assert_eq!(refused(&audited, "DELETE /volumes/cache", ""), None, "nothing is enforced");
}

/// What makes, removes, renames, connects or takes away one of the three has its place.
#[test]
fn every_operation_that_could_replace_a_named_thing_is_looked_at() {
    let verbs = ["Create", "Delete", "Prune", "Rename", "Connect", "Disconnect"];
    let things = ["Container", "Network", "Volume"];
    for endpoint in Endpoint::ALL {
        let id = endpoint.id();
        let replaces = things
            .iter()
            .filter_map(|thing| id.strip_prefix(thing))
            .any(|verb| verbs.contains(&verb));
        let is_looked_at = PLACES.iter().any(|(other, ..)| other == endpoint);
        // Cluster volumes are no others.
        assert_eq!(replaces || id == "VolumeUpdate", is_looked_at, "{id}");
    }
}
