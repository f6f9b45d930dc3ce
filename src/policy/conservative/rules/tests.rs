//! The built-in rules are whole, and files that are wrong are told so with their place.

use super::*;
use crate::api::endpoint::BodyKind;
use crate::api::shape::Kind;
use crate::api::table;

fn complaint(text: &str) -> String {
    Rules::parse(text, Path::new("r.toml")).expect_err(text).to_string()
}

#[test]
fn every_operation_has_an_opinion() {
    let rules = Rules::builtin().unwrap();
    for endpoint in Endpoint::ALL {
        let is_allowed = rules.operations.contains_key(endpoint);
        let is_refused = rules.refused.contains_key(endpoint);
        assert!(is_allowed != is_refused, "{} needs one opinion", endpoint.id());
    }
}

/// Closed world by construction: `api::table` is compared with the fields of moby's OpenAPI files of every
/// version (`api/table/tests/fields.rs`), and here each field of the tables has a rating of its own.
#[test]
fn every_field_of_every_allowed_body_has_a_rating() {
    let rules = Rules::builtin().unwrap();
    let mut unrated = Vec::new();
    for row in table::all() {
        let Some(operation) = rules.operations.get(&row.endpoint) else { continue };
        if let BodyKind::Json(object) | BodyKind::Message(object) = row.body
            && !object.is_empty()
        {
            rated(&operation.body, Kind::Object(object), row.endpoint.id(), &mut unrated);
        }
        for param in row.query.iter().filter(|param| !param.ignored) {
            if !operation.query.iter().any(|(name, _)| *name == param.name) {
                unrated.push(format!("{} ?{}", row.endpoint.id(), param.name));
            }
        }
        for header in row.headers.iter().filter(|header| !header.name.ends_with('*')) {
            if !operation.headers.iter().any(|(name, _)| *name == header.name) {
                unrated.push(format!("{} {}", row.endpoint.id(), header.name));
            }
        }
    }
    assert_eq!(unrated, Vec::<String>::new());
}

fn rated(node: &Node, kind: Kind, path: &str, unrated: &mut Vec<String>) {
    match kind {
        Kind::Object(fields) | Kind::Encoded(fields)
            if node.looks_inside() && !fields.is_empty() =>
        {
            for field in fields.iter().filter(|field| !field.ignored) {
                let path = format!("{path}.{}", field.name);
                match node.field(field.name) {
                    Some(node) => rated(node, field.kind, &path, unrated),
                    None => unrated.push(path),
                }
            }
        }
        Kind::List(kind) | Kind::Map(kind) if node.each.is_some() => {
            let each = node.each.as_deref().unwrap();
            rated(each, *kind, &format!("{path}.*"), unrated);
        }
        _ if node.rule.is_none() => unrated.push(path.to_owned()),
        _ => {}
    }
}

#[test]
fn a_wrong_file_is_told_with_its_place() {
    for (text, wanted) in [
        ("[operation.ContainerCrate]", "r.toml:1:12: there is no operation `ContainerCrate`"),
        (
            "[operation.ContainerCreate.body]\n\"HostConfig.Privilegd\" = \"any\"",
            "r.toml:2:1: `Privilegd` of `HostConfig.Privilegd` is not a field that any engine reads",
        ),
        (
            "[operation.ContainerCreate]\nquery = { nam = \"any\" }",
            "r.toml:2:11: `nam` is not a query parameter of `ContainerCreate`",
        ),
        (
            "[operation.ImagePush]\nheaders = { X-Registry-Auth = \"any\" }",
            "r.toml:2:13: `X-Registry-Auth` is not a header of `ImagePush`",
        ),
        (
            "[operation.ContainerCreate.body]\nImage = { one-of = [\"a\"] }",
            "r.toml:2:9: a rule that can refuse needs an id",
        ),
        (
            "[operation.ContainerCreate.body]\nImage = { matches = \"(\", rule = \"x\" }",
            "r.toml:2:21: regex parse error",
        ),
        (
            "[operation.ContainerCreate.body]\nTty = { matches = \"a\", rule = \"x\" }",
            "r.toml:2:1: `Tty` can never be like `a`",
        ),
        (
            "[operation.ContainerCreate.body]\nImage = { mathces = \"a\", rule = \"x\" }",
            "r.toml:2:11: there is no predicate `mathces`",
        ),
        ("[operation.SystemPing.body]\nx = \"any\"", "r.toml:2:1: `SystemPing` has no JSON body"),
        (
            "[operation.SystemPing]\npath = \"own\"",
            "r.toml:1:12: the path of `SystemPing` names nothing",
        ),
        (
            "[operation.SystemPing]\npaths = \"own\"",
            "r.toml:2:1: `paths` says nothing of an operation",
        ),
        ("extends = \"liberal\"", "r.toml:1:11: must be `conservative`"),
        (
            "extends = \"conservative\"\nonly = [\"SystemPing\", \"SystemPong\"]",
            "r.toml:2:23: `SystemPong` is not an operation of what the file extends",
        ),
        ("operations = 1", "r.toml:1:1: `operations` is not a part of a file of rules"),
        ("[refuse.x]\noperations = [\"SystemPing\"]", "r.toml:1:9: a refusal needs `why`"),
        (
            "[operation.ContainerCreate.body]\n\"HostConfig\" = { group = \"none\" }",
            "r.toml:2:1: there is no group `none`",
        ),
        (
            "[operation.ContainerCreate.body]\n\"\" = { group = \"a\" }\n[group.a]\n\"\" = { group = \"a\" }",
            "r.toml:4:1: group `a` holds itself",
        ),
        (
            "[operation.ContainerCreate.body]\n\"HostConfig.Mounts.0.Type\" = \"any\"",
            "r.toml:2:1: `0` of `HostConfig.Mounts.0.Type` stands where `*` must",
        ),
        ("x = [", "r.toml:1:"),
    ] {
        let said = complaint(text);
        assert!(said.starts_with(wanted), "{text}\n{said}");
    }
    let both = "[operation.A]\n[operation.B]";
    assert_eq!(
        complaint(both).lines().filter(|line| line.starts_with("r.toml")).count(),
        2,
        "all at once"
    );
}

#[test]
fn what_a_file_says_replaces_what_it_extends() {
    let text = r#"
        extends = "conservative"
        only = ["ContainerCreate", "SystemPing"]
        [operation.ContainerCreate.body]
        "HostConfig.Mounts" = "any"
        "HostConfig.IpcMode" = "any"
        [operation.SwarmInspect]
        [refuse."no.ping"]
        operations = ["SystemPing"]
        why = "nobody asks"
    "#;
    let rules = Rules::parse(text, Path::new("r.toml")).unwrap();
    assert_eq!(rules.operations.len(), 2, "ContainerCreate and SwarmInspect");
    assert!(!rules.refused.contains_key(&Endpoint::SwarmInspect));
    assert_eq!(rules.refused[&Endpoint::SystemPing].id, "no.ping");
    assert!(rules.refused.contains_key(&Endpoint::SwarmInit), "as in what it extends");
    let create = &rules.operations[&Endpoint::ContainerCreate];
    let mounts = create.body.field("HostConfig").unwrap().field("Mounts").unwrap();
    assert!(!mounts.looks_inside(), "nothing below is judged any more");
    assert_eq!(create.fills.len(), 1, "only CgroupnsMode is filled in");
}

#[test]
fn a_predicate_for_a_whole_leaves_the_rules_of_its_parts_standing() {
    let text = r#"
        extends = "conservative"
        [operation.ContainerCreate.body]
        "HostConfig.Mounts" = { named-volume = true, own-socket = true, rule = "container.mount" }
    "#;
    let rules = Rules::parse(text, Path::new("r.toml")).unwrap();
    let create = &rules.operations[&Endpoint::ContainerCreate];
    let mounts = create.body.field("HostConfig").unwrap().field("Mounts").unwrap();
    let options = mounts.each.as_ref().unwrap().field("VolumeOptions").unwrap();
    assert!(options.field("DriverConfig").unwrap().field("Options").unwrap().rule.is_some());
}

#[test]
fn a_predicate_leaves_the_rules_of_its_parts_and_anything_else_takes_them_away() {
    let below = |rule: &str| {
        let text = format!(
            "extends = \"conservative\"\n[operation.ContainerCreate.body]\n\
             \"HostConfig.Mounts\" = {rule}\n\"HostConfig.RestartPolicy\" = {rule}"
        );
        let text = text.replacen("RULE", "named-volume = true", 1).replace("RULE", "retries = 5");
        let rules = Rules::parse(&text, Path::new("r.toml")).unwrap();
        let create = &rules.operations[&Endpoint::ContainerCreate];
        let host_config = create.body.field("HostConfig").unwrap();
        ["Mounts", "RestartPolicy"].map(|name| host_config.field(name).unwrap().looks_inside())
    };
    assert_eq!(below(r#"{ RULE, rule = "x" }"#), [true, true]);
    assert_eq!(below("\"any\""), [false, false]);
}
