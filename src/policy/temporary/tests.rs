//! What becomes of creates on a listener with `temporary-listener`, and on the socket of a job.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::auth::Identity;
use crate::config::PolicyKind;
use crate::policy::rehearsal::{self, explore};
use crate::policy::{Chain, Facts, Link};

mod mounts;

const TEXT: &str = r#"
state_dir = "/nowhere"
[jobs]
dir = "/run/jobs"
[[listener]]
name = "ci"
url = "unix:///run/ci.sock"
policies = ["conservative", "sockets"]
[policy.sockets]
kind = "temporary-listener"
when = { label = "type=build" }
policies = ["conservative"]
env = { DOCKER_BUILDKIT = "0", CI = "yes" }
"#;

/// With whether deeds come true.
struct Rig {
    chain: Chain,
}

impl Rig {
    fn of(policies: &str) -> Rig {
        Rig::of_text(TEXT, policies)
    }

    fn of_text(text: &str, policies: &str) -> Rig {
        let text = text.replace(r#"["conservative", "sockets"]"#, policies);
        let config = crate::config::parse(&text, Path::new("t"), Path::new(""), &|_| None).unwrap();
        let listener = &config.listeners[0];
        let around = Surroundings::of(&config, listener);
        let build = |policy| Link::new(crate::policy::build(policy, &around).unwrap());
        Rig { chain: Chain::new(listener.policies.iter().map(build).collect()) }
    }

    /// The create body as the engine gets it, or why it does not.
    fn create(&self, body: &Json) -> Result<Json, String> {
        let body = body.to_string();
        let call = rehearsal::Request {
            method: "POST",
            target: "/v1.43/containers/create?name=x",
            body: body.as_bytes(),
        };
        let identity = Identity::imagined(Some("ann"));
        let mut facts = Facts::default();
        let call = rehearsal::parsed(&self.chain, &call).unwrap();
        let mut deciding = self.chain.decide(call);
        loop {
            let cx = Context::new(&identity, "ci", crate::api::endpoint::KNOWN, &facts);
            match deciding.step(&cx) {
                crate::policy::Step::Ask(questions) => {
                    for question in questions {
                        let fact = match &question {
                            Question::Fresh => Fact::Fresh("0123456789abcdef".repeat(2)),
                            Question::WhichEngine => which("cgroupfs"),
                            _ => of_host(&question),
                        };
                        facts.insert(question, fact);
                    }
                }
                crate::policy::Step::Do(deeds) => {
                    for deed in deeds {
                        let Deed::Job(JobDeed::Open(wanted)) = &deed else { panic!("{deed:?}") };
                        assert_eq!((&*wanted.engine, &*wanted.policy), ("ENGINE", "sockets"));
                        assert_eq!(wanted.user.as_deref(), Some("ann"));
                        if let Some(group) = &wanted.group {
                            let joined = Fact::Json(Arc::new(json!(group)));
                            facts.insert(Question::Job(wanted.id.clone()), joined);
                        }
                        facts.report(deed, Ok(()));
                    }
                }
                crate::policy::Step::Done(call) => {
                    let bytes = call.render();
                    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
                    let body = std::str::from_utf8(&bytes[at + 4..]).unwrap();
                    return Ok(body.parse().unwrap());
                }
                crate::policy::Step::Denied(reasons) => return Err(reasons[0].message()),
                other => panic!("{other:?}"),
            }
        }
    }
}

fn which(driver: &str) -> Fact {
    Fact::Json(Arc::new(json!({ "ID": "ENGINE", "CgroupDriver": driver })))
}

/// A host with a link, and what is mounted twice; and a container that shares a volume.
fn of_host(question: &Question) -> Fact {
    match question {
        Question::HostPath(path) => match path.to_str().unwrap() {
            "/srv/link" => Fact::Path("/run/jobs/0a".into()),
            "/srv/none" | "/srv/link/none" => Fact::Absent,
            "/srv/closed" => Fact::Failed("permission denied".to_owned()),
            _ => Fact::Path(path.clone()),
        },
        Question::Aliases(paths) => {
            assert!(paths.contains(&"/run/jobs".into()) && paths.contains(&"/run/ci.sock".into()));
            Fact::Paths(vec!["/mnt/twice/jobs".into(), "/mnt/0a".into()])
        }
        Question::Container(name) if name == "db" => Fact::Json(Arc::new(json!({
            "Id": "d".repeat(64), "Name": "/db", "Config": { "Image": "x" },
            "HostConfig": { "Binds": ["data:/data"], "NetworkMode": "default" },
            "Mounts": [{ "Type": "volume", "Name": "data", "Destination": "/data", "RW": true }],
        }))),
        _ => Fact::Absent,
    }
}

const FOLDER: &str = "/run/jobs/0123456789abcdef:/run/dockgate:ro";

#[test]
fn a_container_that_matches_has_a_folder_a_label_and_what_it_does_not_set() {
    let rig = Rig::of(r#"["conservative", "sockets"]"#);
    let made = rig
        .create(&json!({ "Image": "x", "Labels": { "type": "build" }, "Env": ["CI", "A=b"] }))
        .unwrap();
    assert_eq!(made["HostConfig"]["Binds"], json!([FOLDER]));
    assert_eq!(made["Labels"]["io.dockgate.job"], "0123456789abcdef");
    assert_eq!(made["Env"], json!(["CI", "A=b", "DOCKER_BUILDKIT=0"]));
}

#[test]
fn one_that_joins_a_job_has_that_jobs_folder() {
    let text = TEXT.replace("env =", "group = \"label:ci\"\nenv =");
    let rig = Rig::of_text(&text, r#"["conservative", "sockets"]"#);
    let made = |ci: Json| {
        let labels = json!({ "type": "build", "ci": ci });
        rig.create(&json!({ "Image": "x", "Labels": labels })).unwrap()
    };
    let joined = made(json!("feed"));
    assert_eq!(joined["HostConfig"]["Binds"], json!(["/run/jobs/feed:/run/dockgate:ro"]));
    assert_eq!(joined["Labels"]["io.dockgate.job"], "feed");
    // Without a value it is a job by itself.
    assert_eq!(made(json!(""))["HostConfig"]["Binds"], json!([FOLDER]));
}

#[test]
fn the_engines_socket_is_never_what_it_gets() {
    let rig = Rig::of(r#"["conservative", "sockets"]"#);
    let asked = json!({
        "Image": "x",
        "Labels": { "type": "build" },
        "HostConfig": {
            "Binds": ["/var/run/docker.sock:/var/run/docker.sock", "cache:/cache"],
            "Mounts": [{ "Type": "bind", "Source": "/run/docker.sock", "Target": "/tmp/d" }],
        },
    });
    let made = rig.create(&asked).unwrap();
    assert_eq!(made["HostConfig"]["Binds"], json!(["cache:/cache", FOLDER]));
    assert!(made["HostConfig"]["Mounts"].as_array().is_none_or(Vec::is_empty), "{made}");
}

#[test]
fn another_container_gets_none_and_may_not_have_the_engines() {
    let rig = Rig::of(r#"["conservative", "sockets"]"#);
    let made = rig.create(&json!({ "Image": "x", "Labels": { "type": "service" } })).unwrap();
    assert_eq!(made.pointer("/HostConfig/Binds/0"), None);
    for source in ["/var/run/docker.sock", "/run/docker.sock", "/run/ci.sock"] {
        let bind = format!("{source}:/var/run/docker.sock");
        let asked = json!({ "Image": "x", "HostConfig": { "Binds": [bind] } });
        let refused = rig.create(&asked).unwrap_err();
        assert!(
            refused.contains("temporary.socket") && refused.contains("type=build"),
            "{refused}"
        );
    }
    // No folder of a job is anybody's to name.
    let asked = json!({ "Image": "x", "HostConfig": { "Binds": ["/run/jobs/0a:/x"] } });
    assert!(rig.create(&asked).is_err());
}

#[test]
fn where_no_link_can_be_put_the_environment_says_where_it_is() {
    let rig = Rig::of(r#"["conservative", "sockets"]"#);
    let host = "DOCKER_HOST=unix:///run/dockgate/docker.sock";
    for (config, is_told) in [
        (json!({ "ReadonlyRootfs": true }), true),
        (json!({ "Tmpfs": { "/run": "" } }), true),
        (json!({ "Mounts": [{ "Type": "tmpfs", "Target": "/var/run/" }] }), true),
        (json!({ "Tmpfs": { "/tmp": "" } }), false),
        (json!({}), false),
    ] {
        let asked = json!({ "Image": "x", "Labels": { "type": "build" }, "HostConfig": config });
        let made = rig.create(&asked).unwrap();
        let env = made["Env"].as_array().unwrap();
        assert_eq!(env.contains(&json!(host)), is_told, "{config}");
    }
}

#[test]
fn what_stands_behind_it_is_refused_by_check() {
    let text = TEXT.replace(r#"["conservative", "sockets"]"#, r#"["sockets", "conservative"]"#);
    let refused = crate::config::parse(&text, Path::new("t"), Path::new(""), &|_| None);
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("must stand behind the other policies"), "{refused}");
}

/// A caller in a container, on the socket of a job.
fn in_job(peer: Option<&str>, knows: Option<&str>) -> bool {
    in_job_of(&Members::of(&["own".to_owned()]), peer, knows)
}

fn in_job_of(own: &Members, peer: Option<&str>, knows: Option<&str>) -> bool {
    let chain = Chain::new(vec![Link::new(Box::new(PeerInJob::new("j", own, None)))]);
    let identity = Identity::imagined_as(
        Some("ann"),
        Vec::new(),
        crate::auth::Claims::new(),
        peer.map(str::to_owned),
    );
    let request = rehearsal::Request { method: "GET", target: "/v1.43/containers/json", body: b"" };
    let outcome = explore(&chain, "job-j", &identity, &request, &|question| match question {
        Question::Container(name) if Some(name.as_str()) == knows => {
            Some(Fact::Json(Arc::new(json!({ "Id": name }))))
        }
        _ => Some(Fact::Absent),
    });
    matches!(outcome.verdict, rehearsal::Verdict::Allowed(_))
}

#[test]
fn only_who_is_in_the_job_is_served() {
    assert!(in_job(Some("own"), None));
    assert!(in_job(Some("made"), Some("made")));
    assert!(!in_job(Some("other"), Some("made")));
    assert!(!in_job(None, None), "of the host, or not known");
    // Its end may take its time, and its socket be open meanwhile.
    let members = Members::of(&["own".to_owned()]);
    assert!(in_job_of(&members, Some("own"), None));
    members.end();
    assert!(!in_job_of(&members, Some("own"), None) && !in_job_of(&members, Some("m"), Some("m")));
}

#[test]
fn a_kind_that_audits_or_lacks_what_holds_inside_is_refused() {
    let refused = |from: &str, to: &str| {
        let text = TEXT.replace(from, to);
        let parsed = crate::config::parse(&text, Path::new("t"), Path::new(""), &|_| None);
        parsed.err().map(|error| error.to_string()).unwrap_or_default()
    };
    let audit = refused("kind = \"temporary", "mode = \"audit\"\nkind = \"temporary");
    assert!(audit.contains("cannot only audit"), "{audit}");
    let none = refused("policies = [\"conservative\"]\nenv", "env");
    assert!(none.contains("needs `policies`"), "{none}");
    let itself = refused("policies = [\"conservative\"]\nenv", "policies = [\"sockets\"]\nenv");
    assert!(!itself.is_empty());
    let grace = refused("when =", "grace = \"3s\"\nwhen =");
    assert!(grace.contains("`grace` is for"), "{grace}");
    for group in ["ci", "label:"] {
        let group = refused("env =", &format!("group = {group:?}\nenv ="));
        assert!(group.contains("have in common"), "{group}");
    }
    let depth = refused("env =", "depth = 2\nenv =");
    assert!(depth.contains("can only be 1"), "{depth}");
    assert!(refused("env =", "depth = 1\nenv =").is_empty());
    let away = refused("[jobs]", "[engine]\nurl = \"tcp://127.0.0.1:1\"\n[jobs]");
    assert!(away.contains("needs the engine on this machine"), "{away}");
    assert!(matches!(
        crate::config::parse(TEXT, Path::new("t"), Path::new(""), &|_| None).unwrap().listeners[0]
            .policies[1]
            .kind,
        PolicyKind::TemporaryListener(_)
    ));
}

#[test]
fn what_has_the_engines_own_socket_already_is_not_the_listeners() {
    let rig = Rig::of(r#"["conservative", "sockets"]"#);
    let started = |source: &str| {
        let made = json!({
            "Id": "c".repeat(64), "Name": "/x", "Config": { "Image": "x" },
            "HostConfig": { "Binds": [format!("{source}:/x")], "NetworkMode": "default" },
            "Mounts": [{ "Type": "bind", "Source": source, "Destination": "/x", "RW": false }],
        });
        let request =
            rehearsal::Request { method: "POST", target: "/v1.43/containers/x/start", body: b"" };
        let identity = Identity::imagined(Some("ann"));
        let outcome = explore(&rig.chain, "ci", &identity, &request, &|question| match question {
            Question::Container(_) => Some(Fact::Json(Arc::new(made.clone()))),
            Question::Info => Some(Fact::Json(Arc::new(json!({ "ID": "ENGINE" })))),
            _ => Some(Fact::Absent),
        });
        matches!(outcome.verdict, rehearsal::Verdict::Allowed(_))
    };
    assert!(started("/run/jobs/0123456789abcdef"));
    for source in ["/var/run/docker.sock", "/run/ci.sock", "/run/jobs", "/run/jobs/a/b", "/srv"] {
        assert!(!started(source), "{source}");
    }
}

#[test]
fn a_container_has_a_few_sockets_at_most() {
    let rig = Rig::of(r#"["conservative", "sockets"]"#);
    let binds = |count: usize| -> Vec<String> {
        (0..count).map(|at| format!("/var/run/docker.sock:/d{at}")).collect()
    };
    let asked = |count| {
        let host = json!({ "Binds": binds(count) });
        rig.create(&json!({ "Image": "x", "Labels": { "type": "build" }, "HostConfig": host }))
    };
    assert!(asked(8).is_ok());
    assert!(asked(9).is_err_and(|why| why.contains("temporary.socket")));
}

#[test]
fn no_socket_is_where_something_else_is() {
    let rig = Rig::of(r#"["conservative", "sockets"]"#);
    let create = |host: Json| {
        rig.create(&json!({ "Image": "x", "Labels": { "type": "build" }, "HostConfig": host }))
    };
    let socket = "/var/run/docker.sock:/data/./x/";
    for other in [
        json!({ "Binds": [socket, "v:/data/x"] }),
        json!({ "Binds": [socket], "Mounts": [{ "Type": "volume", "Target": "/data/y/../x" }] }),
        json!({ "Binds": [socket], "Tmpfs": { "/data/x": "" } }),
        json!({ "Binds": [socket, "v:/data/x/y"] }),
        json!({ "Binds": ["v:/run/docker.sock"] }),
    ] {
        let refused = create(other.clone());
        assert!(refused.is_err_and(|why| why.contains("temporary.socket")), "{other}");
    }
    // Below a mount nothing is put: a volume would keep it.
    let host = "DOCKER_HOST=unix:///run/dockgate/docker.sock";
    for (other, is_told) in [
        (json!({ "Binds": [socket, "v:/data"] }), true),
        (json!({ "Binds": ["v:/run"] }), true),
        (json!({ "Binds": [socket, "v:/data/xy"] }), false),
    ] {
        let made = create(other.clone()).unwrap();
        let is_set = made["Env"].as_array().is_some_and(|env| env.contains(&json!(host)));
        assert_eq!(is_set, is_told, "{other}");
    }
}

/// Ways to the sockets by whatever path, in a create body.
fn ways_to_sockets() -> Vec<Json> {
    let mut ways = Vec::new();
    for path in [
        "/run/jobs/0a",
        "/run//jobs/./0a/",
        "/run/jobs",
        "/run/jobs-open",
        "/run",
        "/",
        "/nowhere/jobs",
        "/srv/link",
        "/srv/link/none",
        "/mnt/twice",
        "/mnt/twice/jobs/0a",
        "/mnt/0a/docker.sock",
        "/var/run",
        "/srv/closed",
        "/srv/../run/jobs",
    ] {
        ways.push(json!({ "Binds": [format!("{path}:/x")] }));
        ways.push(json!({ "Mounts": [{ "Type": "bind", "Source": path, "Target": "/x" }] }));
        let options = json!({ "type": "none", "o": "bind", "device": path });
        let driver = json!({ "DriverConfig": { "Name": "local", "Options": options } });
        ways.push(json!({
            "Mounts": [{ "Type": "volume", "Source": "v", "Target": "/x", "VolumeOptions": driver }],
        }));
    }
    ways
}

#[test]
fn without_conservative_too_nobody_gets_the_folders_of_sockets_by_whatever_path() {
    let rig = Rig::of(r#"["sockets"]"#);
    for label in ["build", "service"] {
        let create = |host: &Json| {
            rig.create(&json!({ "Image": "x", "Labels": { "type": label }, "HostConfig": host }))
        };
        for host in ways_to_sockets() {
            let refused = create(&host);
            assert!(refused.is_err_and(|why| why.contains("temporary.path")), "{label}: {host}");
        }
        for path in ["/srv", "/srv/none", "/srv/none/x", "/mnt/tw", "/run/jobs-of-others"] {
            let made = create(&json!({ "Binds": [format!("{path}:/x")] }));
            assert!(made.is_ok(), "{label}: {path}: {made:?}");
        }
    }
    let made = rig.create(&json!({
        "Image": "x", "Labels": { "type": "build" },
        "HostConfig": { "Binds": ["/var/run/docker.sock:/var/run/docker.sock"] },
    }));
    assert_eq!(made.unwrap()["HostConfig"]["Binds"], json!([FOLDER]));
}

#[test]
fn nor_by_a_volume_that_is_made_of_them() {
    let rig = Rig::of(r#"["sockets"]"#);
    let made = |options: Json| {
        let body = json!({ "Name": "v", "DriverOpts": options }).to_string();
        let target = "/v1.43/volumes/create";
        let request = rehearsal::Request { method: "POST", target, body: body.as_bytes() };
        let identity = Identity::imagined(Some("ann"));
        let outcome =
            explore(&rig.chain, "ci", &identity, &request, &|question| Some(of_host(question)));
        matches!(outcome.verdict, rehearsal::Verdict::Allowed(_))
    };
    let bind = |device: &str| json!({ "type": "none", "o": "bind", "device": device });
    assert!(
        made(json!({})) && made(bind("/srv")) && made(json!({ "type": "tmpfs", "device": "t" }))
    );
    assert!(made(json!({ "type": "nfs", "o": "addr=10.0.0.1", "device": ":/export" })));
    assert!(!made(bind("/srv/link")) && !made(bind("/run")));
    let overlay =
        json!({ "type": "overlay", "device": "overlay", "o": "lowerdir=/srv:/run/jobs/0a" });
    assert!(!made(overlay));
}

#[test]
fn no_socket_is_where_a_volume_of_another_container_comes() {
    let rig = Rig::of(r#"["sockets"]"#);
    let host = "DOCKER_HOST=unix:///run/dockgate/docker.sock";
    let create = |target: &str| {
        let bind = format!("/var/run/docker.sock:{target}");
        rig.create(&json!({
            "Image": "x", "Labels": { "type": "build" },
            "HostConfig": { "Binds": [bind], "VolumesFrom": ["db:ro"] },
        }))
    };
    assert!(create("/data").is_err_and(|why| why.contains("temporary.socket")));
    for (target, is_told) in [("/data/file", true), ("/database", false)] {
        let made = create(target).unwrap();
        let env = made["Env"].as_array();
        assert_eq!(env.is_some_and(|env| env.contains(&json!(host))), is_told, "{target}");
    }
}

#[test]
fn all_containers_of_a_job_are_in_its_cgroup_and_nobody_says_in_which() {
    let text = TEXT.replace("env =", "shared_cgroup = true\nenv =");
    let rig = Rig::of_text(&text, r#"["conservative", "sockets"]"#);
    let create = |label: &str| {
        rig.create(&json!({ "Image": "x", "Labels": { "type": label } })).unwrap()["HostConfig"]["CgroupParent"].clone()
    };
    assert_eq!(create("build"), "/dockgate/0123456789abcdef");
    assert_eq!(create("service"), Json::Null, "it is of no job");
    let rig = Rig::of_text(&text, r#"["sockets"]"#);
    let asked = json!({ "Image": "x", "Labels": { "type": "build" }, "HostConfig": { "CgroupParent": "/ci" } });
    assert!(rig.create(&asked).is_err_and(|why| why.contains("temporary.cgroup")));

    let facts = |driver| {
        let mut facts = Facts::default();
        facts.insert(Question::WhichEngine, which(driver));
        facts
    };
    let identity = Identity::imagined(Some("ann"));
    let parent = |facts: &Facts| {
        let cx = Context::new(&identity, "ci", crate::api::endpoint::KNOWN, facts);
        cgroup::parent("0a", &cx)
    };
    assert_eq!(parent(&facts("systemd")), Ok("dockgate-0a.slice".to_owned()));
    assert!(matches!(parent(&facts("none")), Err(Verdict::Deny(_))));
    assert!(matches!(parent(&Facts::default()), Err(Verdict::Ask(_))));
    for (text, is_left) in [
        ("/dockgate/0a", ""),
        ("dockgate-0a.slice", ""),
        ("/dockgate/x", "/dockgate/x"),
        ("/ci", "/ci"),
    ] {
        let of = format!(r#"{{"Image":"x","HostConfig":{{"CgroupParent":"{text}"}}}}"#);
        let kind = crate::api::shape::Kind::Object(crate::api::container::CREATE);
        let mut made = crate::api::doc::parse(of.as_bytes(), &kind).unwrap().root;
        cgroup::strip(&mut made);
        let left = made.get("HostConfig").and_then(|host| host.get("CgroupParent"));
        assert_eq!(left.and_then(Value::as_str), Some(is_left));
    }
}
