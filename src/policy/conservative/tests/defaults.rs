//! What it means to leave something out: each rule that could refuse what the engine then takes.

use super::*;
use crate::config::Place;
use crate::policy::conservative::rules::{Node, Requirement};

/// Who answers for what the engine puts where the client says nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Absent {
    /// The engine always takes this, and the rule judges it.
    Means(&'static str),
    /// dockgate puts something that the rule allows.
    Filled,
    /// What the image says. The start of the container is judged by what it was made of then.
    FromTheImage,
    /// The engine's configuration, which is its operator's: what every container there has.
    TheEngines,
    /// Leaving it out asks for nothing that the rule is about.
    Nothing,
    /// The rule demands it.
    Demanded,
}

use Absent::*;

/// Each place with a predicate in `policies/conservative.toml`.
const TABLE: &[(&str, &[&str], Absent)] = &[
    // Nobody builds, fetches, exports or runs anything by what is not there; protobuf has no other absence.
    (
        "Solve",
        &[
            "Cache.ExportAttrsDeprecated",
            "Cache.ExportRefDeprecated",
            "Cache.Exports",
            "Cache.ImportRefsDeprecated",
            "Cache.Imports",
            "Definition.def.*.exec.meta.ulimit",
            "Definition.def.*.exec.network",
            "Definition.def.*.exec.security",
            "Definition.def.*.source",
            "ExporterAttrsDeprecated",
            "ExporterDeprecated",
            "Exporters.*",
            "Exporters.*.Type",
            "Frontend",
            "FrontendAttrs",
            "FrontendAttrs.build-arg:BUILDKIT_SYNTAX",
            "FrontendAttrs.cache-from",
            "FrontendAttrs.cache-imports",
            "FrontendAttrs.context",
            "FrontendAttrs.force-network-mode",
            "FrontendAttrs.source",
            "FrontendAttrs.ulimit",
            "FrontendInputs.*.def.*.exec.meta.ulimit",
            "FrontendInputs.*.def.*.exec.network",
            "FrontendInputs.*.def.*.exec.security",
            "FrontendInputs.*.def.*.source",
        ],
        Nothing,
    ),
    (
        "BridgeSolve",
        &[
            "CacheImports",
            "Definition.def.*.exec.meta.ulimit",
            "Definition.def.*.exec.network",
            "Definition.def.*.exec.security",
            "Definition.def.*.source",
            "Frontend",
            "FrontendInputs.*.def.*.exec.meta.ulimit",
            "FrontendInputs.*.def.*.exec.network",
            "FrontendInputs.*.def.*.exec.security",
            "FrontendInputs.*.def.*.source",
            "FrontendOpt",
            "FrontendOpt.build-arg:BUILDKIT_SYNTAX",
            "FrontendOpt.cache-from",
            "FrontendOpt.cache-imports",
            "FrontendOpt.context",
            "FrontendOpt.force-network-mode",
            "FrontendOpt.source",
            "FrontendOpt.ulimit",
        ],
        Nothing,
    ),
    (
        "BridgeReturn",
        &[
            "result.attestations.*.attestation.*.ref.def.def.*.exec.meta.ulimit",
            "result.attestations.*.attestation.*.ref.def.def.*.exec.network",
            "result.attestations.*.attestation.*.ref.def.def.*.exec.security",
            "result.attestations.*.attestation.*.ref.def.def.*.source",
            "result.ref.def.def.*.exec.meta.ulimit",
            "result.ref.def.def.*.exec.network",
            "result.ref.def.def.*.exec.security",
            "result.ref.def.def.*.source",
            "result.refs.refs.*.def.def.*.exec.meta.ulimit",
            "result.refs.refs.*.def.def.*.exec.network",
            "result.refs.refs.*.def.def.*.exec.security",
            "result.refs.refs.*.def.def.*.source",
        ],
        Nothing,
    ),
    ("ResolveImageConfig", &["Ref"], Nothing),
    ("ResolveSourceMeta", &["Source"], Nothing),
    ("NewContainer", &["Network"], Nothing),
    ("ExecProcess", &["Init.Meta.ulimit", "Init.Security"], Nothing),
    ("SystemAuth", &["serveraddress"], Means("https://index.docker.io/v1/")),
    ("ImageSearch", &["?term"], Means("docker.io/library")),
    ("ContainerCreate", &["HostConfig.NetworkMode"], Means("default")),
    ("ImageBuild", &["?networkmode"], Means("default")),
    ("ImageBuild", &["?version"], Means("1")),
    ("ImageBuild", &["?remote"], Nothing),
    ("NetworkCreate", &["Driver"], Means("bridge")),
    ("VolumeCreate", &["Driver"], Means("local")),
    ("ContainerCreate", &["HostConfig.IpcMode", "HostConfig.CgroupnsMode"], Filled),
    (
        "ContainerCreate",
        &[
            "WorkingDir",
            "Labels",
            "StopTimeout",
            "Healthcheck.Interval",
            "Healthcheck.StartInterval",
        ],
        FromTheImage,
    ),
    // Of the container that is committed, and it is judged.
    (
        "ImageCommit",
        &[
            "WorkingDir",
            "Labels",
            "StopTimeout",
            "Healthcheck.Interval",
            "Healthcheck.StartInterval",
        ],
        FromTheImage,
    ),
    // Of the container that it is made in, and that is judged.
    ("ContainerExec", &["WorkingDir"], FromTheImage),
    (
        "ContainerCreate",
        &[
            "HostConfig.Ulimits",
            "HostConfig.SecurityOpt",
            "HostConfig.LogConfig.Type",
            "HostConfig.LogConfig.Config",
            "HostConfig.LogConfig.Config.max-size",
            "HostConfig.LogConfig.Config.max-file",
            "HostConfig.LogConfig.Config.max-buffer-size",
            "HostConfig.LogConfig.Config.labels-regex",
            "HostConfig.LogConfig.Config.env-regex",
            "HostConfig.LogConfig.Config.tag",
        ],
        TheEngines,
    ),
    ("ImageBuild", &["?ulimits"], TheEngines),
    (
        "ContainerCreate",
        &[
            "HostConfig.MaskedPaths",
            "HostConfig.ReadonlyPaths",
            "HostConfig.Runtime",
            "NetworkingConfig.EndpointsConfig.*.MacAddress",
        ],
        TheEngines,
    ),
    ("NetworkConnect", &["EndpointConfig.MacAddress"], TheEngines),
    ("ContainerPrune", &["?filters"], Demanded),
    ("NetworkPrune", &["?filters"], Demanded),
    ("VolumePrune", &["?filters"], Demanded),
    ("ImagePrune", &["?filters"], Demanded),
    ("SystemEvents", &["?filters"], Nothing),
    ("ContainerList", &["?filters"], Nothing),
    ("NetworkList", &["?filters"], Nothing),
    ("NetworkListSlash", &["?filters"], Nothing),
    ("VolumeList", &["?filters"], Nothing),
    ("ImageList", &["?filters"], Nothing),
    ("ImageSearch", &["?filters"], Nothing),
    // `-ef`
    ("ContainerTop", &["?ps_args"], Nothing),
    ("ContainerResize", &["?h", "?w"], Nothing),
    ("ExecResize", &["?h", "?w"], Nothing),
    // the container's `StopTimeout`, and it is judged
    ("ContainerStop", &["?t"], Nothing),
    ("ContainerRestart", &["?t"], Nothing),
    ("ContainerDelete", &["?link"], Nothing),
    // the engine makes a name up, or refuses
    ("ContainerCreate", &["?name"], Nothing),
    ("ContainerRename", &["?name"], Nothing),
    // no engine reads it
    ("ContainerCreate", &["HostConfig.ContainerIDFile"], Nothing),
    // what is left out of an update stays
    ("ContainerUpdate", &["Ulimits", "RestartPolicy", "RestartPolicy.Name"], Nothing),
    (
        "ContainerCreate",
        &[
            // `no`
            "HostConfig.RestartPolicy",
            "HostConfig.RestartPolicy.Name",
            // no type: no engine takes it
            "HostConfig.Mounts.*.Type",
            // `rprivate`
            "HostConfig.Mounts.*.BindOptions.Propagation",
            "HostConfig.Mounts.*.VolumeOptions.Labels",
            // `local`, as everywhere
            "HostConfig.Mounts.*.VolumeOptions.DriverConfig.Name",
            "HostConfig.Mounts.*.VolumeOptions.DriverConfig.Options",
            "HostConfig.VolumeDriver",
            "HostConfig.Mounts.*.TmpfsOptions.Options.*.*",
            "NetworkingConfig.EndpointsConfig",
            "NetworkingConfig.EndpointsConfig.*.Links",
            "NetworkingConfig.EndpointsConfig.*.NetworkID",
            "HostConfig.CapAdd",
            "HostConfig.GroupAdd",
            "HostConfig.Sysctls",
            // the container's own
            "HostConfig.PidMode",
            "HostConfig.Links",
            "HostConfig.Binds",
            "HostConfig.VolumesFrom",
            "HostConfig.Mounts",
            "HostConfig.Tmpfs",
            "HostConfig.StorageOpt",
            "HostConfig.PortBindings",
            "HostConfig.PublishAllPorts",
            "HostConfig.Isolation",
            "HostConfig.OomScoreAdj",
        ],
        Nothing,
    ),
    // an error of the engine's, or `local`, `default`, no option and no label
    ("NetworkCreate", &["Name", "Scope", "IPAM.Driver", "Options", "Labels"], Nothing),
    ("NetworkConnect", &["Container", "EndpointConfig.Links", "EndpointConfig.NetworkID"], Nothing),
    ("NetworkDisconnect", &["Container"], Nothing),
    ("VolumeCreate", &["DriverOpts", "Labels"], Nothing),
    // without both of the first the engine answers an error
    ("ImageCreate", &["?fromImage", "?fromSrc", "?changes"], Nothing),
    ("ImageCommit", &["?container", "?changes"], Nothing),
    ("ImageBuild", &["?labels", "?securityopt", "?isolation"], Nothing),
];

fn places(node: &Node, at: &str, found: &mut Vec<String>) {
    if node.rule.as_ref().is_some_and(|rule| matches!(rule.must, Requirement::Be(_))) {
        found.push(at.to_owned());
    }
    let below = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
    node.fields.iter().for_each(|(name, node)| places(node, &below(name), found));
    node.each.iter().for_each(|node| places(node, &below("*"), found));
}

#[test]
fn somebody_answers_for_every_place_that_a_client_may_leave_out() {
    let rules = Rules::builtin().unwrap();
    let mut open = Vec::new();
    let mut known = 0;
    for (endpoint, operation) in &rules.operations {
        let mut all = Vec::new();
        let query =
            operation.query.iter().filter(|(_, rule)| matches!(rule.must, Requirement::Be(_)));
        all.extend(query.map(|(name, _)| format!("?{name}")));
        places(&operation.body, "", &mut all);
        for place in all {
            let rows = TABLE
                .iter()
                .filter(|(id, places, _)| *id == endpoint.id() && places.contains(&place.as_str()));
            let found: Vec<Absent> = rows.map(|(.., absent)| *absent).collect();
            let path: Vec<&str> = place.split('.').collect();
            let means = operation.absent_body.iter().find(|one| one.path == path);
            let means = means.map(|one| one.means).or_else(|| {
                let name = place.strip_prefix('?')?;
                operation
                    .absent_query
                    .iter()
                    .find(|(one, ..)| *one == name)
                    .map(|(_, means, _)| *means)
            });
            let is_filled = operation.fills.iter().any(|(filled, _)| *filled == path);
            let is_right = match found.as_slice() {
                [Means(wanted)] => means == Some(*wanted),
                [Filled] => is_filled,
                [FromTheImage | TheEngines | Nothing | Demanded] => means.is_none() && !is_filled,
                _ => false,
            };
            known += 1;
            if !is_right {
                open.push(format!("{} {place}: {found:?}, {means:?}", endpoint.id()));
            }
        }
    }
    assert_eq!(open, Vec::<String>::new());
    let listed: usize = TABLE.iter().map(|(_, places, _)| places.len()).sum();
    assert_eq!(listed, known, "nothing in the table that is not in the rules");
}

/// With rules of the operator's own that refuse what the engine would take.
#[test]
fn what_is_left_out_is_judged_as_what_it_means() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("r.toml");
    let calls: &[(&str, &str, &str, &str)] = &[
        ("SystemAuth", "serveraddress", "POST /auth", r#"{"username":"a"}"#),
        ("SystemAuth", "serveraddress", "POST /auth", r#"{"serveraddress":""}"#),
        ("SystemAuth", "serveraddress", "POST /auth", ""),
        ("ImageSearch", "?term", "GET /images/search?limit=3", ""),
        ("ImageSearch", "?term", "GET /images/search?term=", ""),
        (
            "ContainerCreate",
            "HostConfig.NetworkMode",
            "POST /containers/create",
            r#"{"Image":"x"}"#,
        ),
        ("ImageBuild", "?networkmode", "POST /build?t=x", ""),
        ("ImageBuild", "?version", "POST /build?version=", ""),
        ("NetworkCreate", "Driver", "POST /networks/create", r#"{"Name":"n","Driver":null}"#),
        ("VolumeCreate", "Driver", "POST /volumes/create", r#"{"Name":"v"}"#),
    ];
    let judged = |settings: config::Conservative, line: &str, body: &str| {
        let chain = chain(&settings, &Surroundings::default());
        match judge(&chain, line, body, &|_| Fact::Absent) {
            Verdict::Allowed(_) => None,
            Verdict::Denied(_, reasons) => Some(reasons[0].rule.to_string()),
            Verdict::Malformed(why) => panic!("{why}"),
            other @ (Verdict::Undecided(..) | Verdict::Waits(..) | Verdict::Answered(..)) => {
                panic!("{other:?}")
            }
        }
    };
    for (operation, place, line, body) in calls {
        let (part, name) = match place.strip_prefix('?') {
            Some(name) => ("query", name),
            None => ("body", *place),
        };
        let rules = |must: &str| {
            format!(
                "extends = \"conservative\"\n[operation.{operation}.{part}]\n\"{name}\" = {must}\n"
            )
        };
        let with = |must: &str| {
            std::fs::write(&file, rules(must)).unwrap();
            let rules = Some(config::File { path: file.clone(), place: Place::default() });
            judged(config::Conservative { rules, ..Default::default() }, line, body)
        };
        let wanted = Some("mine".to_owned());
        assert_eq!(with(r#"{ one-of = ["other"], rule = "mine" }"#), wanted, "{line} {body}");
        let Some((.., Means(means))) =
            TABLE.iter().find(|(id, places, _)| id == operation && places.contains(place))
        else {
            panic!("{place}")
        };
        assert_eq!(with(&format!("{{ one-of = [\"{means}\"], rule = \"mine\" }}")), None, "{line}");
        assert_eq!(with(r#"{ zero = true, rule = "mine" }"#), None, "it is what was asked for");
    }
    let registries = Some(vec!["ghcr.io".to_owned()]);
    let listed = config::Conservative { registries, ..Default::default() };
    for (line, body) in [
        ("POST /auth", r#"{"username":"a","password":"b"}"#),
        ("GET /images/search?limit=1", ""),
        ("GET /images/search?term=alpine", ""),
        ("POST /images/create?fromImage=alpine", ""),
        ("POST /images/library/alpine/push", ""),
        ("GET /distribution/alpine/json", ""),
    ] {
        assert_eq!(judged(listed.clone(), line, body).as_deref(), Some("registry.host"), "{line}");
    }
}

#[test]
fn what_comes_from_the_image_is_judged_when_the_container_starts() {
    for (key, value) in [
        ("WorkingDir", serde_json::json!("/proc/self/fd/8")),
        ("Labels", serde_json::json!({ "io.dockgate.job": "x" })),
        ("StopTimeout", serde_json::json!(999_999)),
        ("Healthcheck", serde_json::json!({ "Test": ["CMD", "true"], "Interval": 1_000_000 })),
    ] {
        let made = serde_json::json!({ "Id": "a", "Config": { key: value }, "HostConfig": {} });
        let made = Arc::new(made);
        let knows = |question: &Question| match question {
            Question::Container(_) => Fact::Json(Arc::clone(&made)),
            _ => Fact::Absent,
        };
        let judged = judge(&BUILTIN, "POST /containers/x/start", "", &knows);
        assert!(matches!(judged, Verdict::Denied(..)), "{key}: {judged:?}");
    }
}
