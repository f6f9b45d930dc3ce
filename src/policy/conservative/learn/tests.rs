//! What is learned of single findings, and that a log cannot write more into the file than it should.

use std::fmt::Write as _;
use std::path::Path;

use super::*;
use crate::policy::conservative::rules::{Node, quote};

fn record(verdict: &str, operation: &str, findings: &str) -> String {
    format!(
        r#"{{"operation":"{operation}","verdict":"{verdict}","listener":"ci","user":"ann","findings":[{findings}]}}"#
    )
}

fn lesson(lines: &[String]) -> LearnedRules {
    let mut lesson = LearnedRules::new(None).unwrap();
    for line in lines {
        assert!(lesson.read(line), "{line}");
    }
    lesson
}

fn learned(lines: &[String]) -> String {
    let text = lesson(lines).to_string();
    Rules::parse(&text, Path::new("learned.toml")).unwrap_or_else(|why| panic!("{why}\n{text}"));
    text
}

fn in_create(rule: &str, place: &str, found: &str) -> String {
    let finding = format!(
        r#"{{"policy":"c","rule":"{rule}","operation":"ContainerCreate","part":"body","place":"{place}","found":{found}}}"#
    );
    record("audit", "ContainerCreate", &finding)
}

#[test]
fn a_finding_becomes_the_narrowest_rule_beside_what_was_allowed() {
    for (rule, place, found, wanted) in [
        ("container.privileged", "HostConfig.Privileged", "true", r#""any""#),
        (
            "container.ipc-host",
            "HostConfig.IpcMode",
            r#""host""#,
            r#"{ one-of = ["none", "private", "shareable", "host"], own-container = "container:", fill = "private", rule = "container.ipc-host" }"#,
        ),
        (
            "container.uts-host",
            "HostConfig.UTSMode",
            r#""host""#,
            r#"{ one-of = ["host"], rule = "container.uts-host" }"#,
        ),
        (
            "container.stop-timeout",
            "StopTimeout",
            "100000",
            r#"{ at-least = -1, at-most = 100000, rule = "container.stop-timeout" }"#,
        ),
        (
            "container.annotations",
            "HostConfig.Annotations",
            r#"{"keys":["a.b"]}"#,
            r#"{ keys-match = "a\\.b", rule = "container.annotations" }"#,
        ),
        ("container.devices", "HostConfig.Devices", r#"[{"PathOnHost":"/dev/x"}]"#, r#""any""#),
        (
            "container.masked-paths",
            "HostConfig.MaskedPaths",
            "[]",
            r#"{ engine-default = true, one-of = [], rule = "container.masked-paths" }"#,
        ),
        ("container.group-add", "HostConfig.GroupAdd", r#"["1"]"#, r#""any""#),
    ] {
        let text = learned(&[in_create(rule, place, found)]);
        assert!(text.contains(&format!("\"{place}\" = {wanted}\n")), "{text}");
    }
}

#[test]
fn a_build_by_buildkit_is_learned_of_like_any_other_call() {
    for (operation, rule, place, found, wanted) in [
        (
            "Solve",
            "build.entitlement",
            "Entitlements",
            r#"["network.host"]"#,
            r#"{ one-of = ["network.host"], rule = "build.entitlement" }"#,
        ),
        (
            "BridgeSolve",
            "build.network",
            "FrontendOpt.force-network-mode",
            r#""host""#,
            r#"{ one-of = ["default", "sandbox", "none", "host"], rule = "build.network" }"#,
        ),
        (
            "Solve",
            "build.exporter",
            "ExporterDeprecated",
            r#""local2""#,
            r#"{ one-of = ["moby", "image", "docker", "local", "tar", "oci", "local2"], rule = "build.exporter" }"#,
        ),
    ] {
        let finding = format!(
            r#"{{"policy":"c","rule":"{rule}","operation":"{operation}","part":"body","place":"{place}","found":{found}}}"#
        );
        let text = learned(&[record("audit", operation, &finding)]);
        assert!(text.contains(&format!("\"{place}\" = {wanted}\n")), "{text}");
        let is_danger = text.contains(&format!("# DANGER: {rule}, once"));
        assert_eq!(is_danger, rule != "build.exporter", "{text}");
    }
}

#[test]
fn what_gives_away_the_host_says_so_and_from_where_it_came() {
    let twice = in_create("container.pid-host", "HostConfig.PidMode", r#""host""#);
    let text = learned(&[
        twice.clone(),
        twice,
        in_create("container.stop-timeout", "StopTimeout", "100000"),
    ]);
    assert!(
        text.contains("# DANGER: container.pid-host, 2 times, by ci/ann\n\"HostConfig.PidMode\""),
        "{text}"
    );
    assert!(text.contains("\n# container.stop-timeout, once, by ci/ann\n"), "{text}");
}

#[test]
fn a_container_that_can_be_made_by_the_learned_rules_can_be_used_by_them() {
    let start = |place: &str, found: &str| {
        let cause = format!(
            r#"{{"operation":"ContainerCreate","part":"body","place":"{place}","found":{found}}}"#
        );
        let finding = format!(
            r#"{{"policy":"c","rule":"container.not-own","operation":"ContainerStart","part":"path","causes":[{cause}]}}"#
        );
        record("audit", "ContainerStart", &finding)
    };
    let made = in_create("container.cap-add", "HostConfig.CapAdd", r#"["SYS_PTRACE"]"#);
    let text = learned(&[made.clone(), start("HostConfig.CapAdd", r#"["CAP_SYS_PTRACE"]"#)]);
    assert!(!text.contains("path = \"any\""), "{text}");
    for other in
        [start("HostConfig.CapAdd", r#"["SYS_ADMIN"]"#), start("HostConfig.Privileged", "true")]
    {
        let text = learned(&[made.clone(), other]);
        assert!(text.contains("[operation.ContainerStart]\n# DANGER: container.not-own"), "{text}");
        assert!(text.contains("path = \"any\"\n"), "{text}");
    }
}

#[test]
fn directories_are_proposed_for_the_configuration_and_sockets_are_exchanged() {
    let found = r#"["/srv/cache:/c:ro", "/srv/work:/w", "/run/docker.sock:/s", "/etc/docker:/d:ro", "/srv/z:/z:shared"]"#;
    let text = learned(&[in_create("container.bind", "HostConfig.Binds", found)]);
    assert!(text.contains("#     { host = \"/srv/cache\" },\n#     { host = \"/srv/work\", mode = \"rw\" },\n# ]\n"), "{text}");
    let wanted = r#"= { named-volume = true, allowed-bind = true, own-socket = true, one-of = ["/etc/docker:/d:ro", "/srv/z:/z:shared"], rule = "container.bind" }"#;
    assert!(text.contains(wanted), "{text}");
    for found in [
        r#"[{"Type":"bind","Source":"/","ReadOnly":true}]"#,
        r#"[{"Type":"bind","Source":"/srv","Propagation":"shared"}]"#,
        r#"[{"Type":"volume","Source":"made-elsewhere"}]"#,
    ] {
        let text = learned(&[in_create("container.mount", "HostConfig.Mounts", found)]);
        let wanted =
            "# DANGER: container.mount, once, by ci/ann\n\"HostConfig.Mounts\" = \"any\"\n";
        assert!(text.contains(wanted), "{text}");
    }
}

#[test]
fn what_was_refused_and_what_no_rule_can_allow_is_told() {
    let unknown = r#"{"policy":"closed-world","rule":"closed-world.field","field":"X","why":"x"}"#;
    let text = learned(&[
        record("deny", "SwarmInit", ""),
        record("reject", "-", ""),
        record("audit", "SystemPing", &format!("{unknown},{{\"left_out\":7}}")),
    ]);
    assert!(text.contains("# 1 more calls were refused"), "{text}");
    assert!(text.contains("# 7 findings are not in here"), "{text}");
    assert!(text.contains("# - closed-world.field of closed-world, 1 times"), "{text}");
    assert!(
        text.contains("only = [\n    \"SystemPing\",\n]\n") && !text.contains("Swarm"),
        "{text}"
    );
}

#[test]
fn a_line_of_ltsv_is_a_record_too() {
    let finding = r#"[{"policy":"c","rule":"container.pid-host","operation":"ContainerCreate","part":"body","place":"HostConfig.PidMode","found":"host"}]"#;
    let line = format!(
        "time:x\tlistener:ci\tuser:-\toperation:ContainerCreate\tverdict:audit\tfindings:{finding}"
    );
    let text = learned(&[line]);
    assert!(text.contains("# DANGER: container.pid-host, once, by ci\n"), "{text}");
}

#[test]
fn a_log_can_write_nothing_but_comments_and_quoted_texts() {
    let evil = r#"x\n[operation.SwarmInit]\n\"\"\""#;
    let line = record(
        "audit",
        "ContainerCreate",
        &format!(
            r#"{{"policy":"{evil}","rule":"{evil}"}},{{"policy":"c","rule":"{evil}","operation":"ContainerCreate","part":"body","place":"HostConfig.UTSMode","found":"{evil}"}}"#
        ),
    );
    let line = line.replace(r#""user":"ann""#, &format!(r#""user":"{evil}""#));
    let rules = Rules::parse(&learned(&[line]), Path::new("l")).unwrap();
    assert_eq!(rules.operations.len(), 1, "ContainerCreate alone");
}

#[test]
fn rules_that_are_written_are_read_as_the_same_rules() {
    fn each(node: &Node, path: &str, operation: &Operation, out: &mut String) {
        if let Some(rule) = &node.rule {
            let fill = operation.fills.iter().find(|(at, _)| at.join(".") == path);
            let line = rule.to_toml(fill.map(|(_, value)| value));
            writeln!(out, "{} = {line}", quote(path)).unwrap();
        }
        let below =
            |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        node.fields.iter().for_each(|(name, node)| each(node, &below(name), operation, out));
        node.each.iter().for_each(|node| each(node, &below("*"), operation, out));
    }
    let builtin = Rules::builtin().unwrap();
    let mut text = String::new();
    for (endpoint, operation) in &builtin.operations {
        writeln!(text, "[operation.{}.query]", endpoint.id()).unwrap();
        for (name, rule) in &operation.query {
            writeln!(text, "{} = {}", quote(name), rule.to_toml(None)).unwrap();
        }
        writeln!(text, "[operation.{}.body]", endpoint.id()).unwrap();
        each(&operation.body, "", operation, &mut text);
    }
    let read = Rules::parse(&text, Path::new("written.toml")).unwrap();
    for (endpoint, operation) in &builtin.operations {
        let again = &read.operations[endpoint];
        assert_eq!(format!("{:?}", again.body), format!("{:?}", operation.body));
        assert_eq!(format!("{:?}", again.query), format!("{:?}", operation.query));
        assert_eq!(again.fills.len(), operation.fills.len());
    }
}
