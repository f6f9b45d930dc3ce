//! A job's binds of its own files, through all policies on its socket.

use super::*;
use crate::api::endpoint::{KNOWN, Versions};

const OWN: &str = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";

/// The chain behind a job's socket, but for its namespace.
fn chain(policies: &str, members: &Members) -> Chain {
    chain_of(TEXT, policies, members)
}

fn chain_of(text: &str, policies: &str, members: &Members) -> Chain {
    let text = text.replace(r#"policies = ["conservative"]"#, &format!("policies = [{policies}]"));
    let config = crate::config::parse(&text, Path::new("t"), Path::new(""), &|_| None).unwrap();
    let PolicyKind::TemporaryListener(settings) = &config.listeners[0].policies[1].kind else {
        panic!()
    };
    let listener = crate::config::Listener {
        policies: settings.policies.clone(),
        ..config.listeners[0].clone()
    };
    let around = Surroundings {
        gives_sockets: true,
        members: members.clone(),
        ..Surroundings::of(&config, &listener)
    };
    let build = |policy| Link::new(crate::policy::build(policy, &around).unwrap());
    let mut links: Vec<Link> = listener.policies.iter().map(build).collect();
    let sockets = Sockets { dir: around.jobs.clone(), own: around.own_socket.clone() };
    links.push(Link::new(Box::new(InJob::new("0a", sockets.clone(), settings.shares_cgroup))));
    links.push(Link::new(Box::new(OwnMounts::new(
        "0a",
        members,
        &sockets,
        Guard::new(&around.sockets),
    ))));
    Chain::new(links)
}

fn own() -> Json {
    let point = |kind: &str, source: &str, destination: &str, rw: bool| {
        let name = if kind == "volume" { "work" } else { "" };
        json!({ "Type": kind, "Name": name, "Source": source, "Destination": destination, "RW": rw })
    };
    json!({
        "Id": OWN, "Name": "/runner-build",
        "Config": { "Image": "x" },
        "HostConfig": { "Privileged": true, "NetworkMode": "default", "Binds": ["/srv/cc:/cc:ro"] },
        "Mounts": [
            point("volume", "/var/lib/docker/volumes/work/_data", "/builds", true),
            point("bind", "/srv/cc", "/cc", false),
            point("bind", "/srv/out", "/out", true),
            point("bind", "/run/jobs/0a", "/run/dockgate", false),
        ],
    })
}

/// What the engine gets of a create body with these binds and mounts.
fn sent(
    chain: &Chain,
    engine: Versions,
    host: &Json,
    is_there: &dyn Fn() -> bool,
) -> Result<Json, String> {
    let body = json!({ "Image": "x", "HostConfig": host }).to_string();
    let call = rehearsal::Request {
        method: "POST",
        target: &format!("/v1.{}/containers/create", engine.newest.min(43)),
        body: body.as_bytes(),
    };
    let identity = Identity::imagined(Some("ann"));
    let mut facts = Facts::default();
    let mut deciding = chain.decide(rehearsal::parsed(chain, &call).unwrap());
    loop {
        match deciding.step(&Context::new(&identity, "job-0a", engine, &facts)) {
            crate::policy::Step::Ask(questions) => {
                for question in questions {
                    let of_engine = matches!(question, Question::OfEngine(_));
                    let plain = match &question {
                        Question::OfEngine(inner) => inner,
                        other => other,
                    };
                    let fact = match plain {
                        Question::Container(id) if id == OWN && (!of_engine || is_there()) => {
                            Fact::Json(Arc::new(own()))
                        }
                        Question::WhichEngine => which("cgroupfs"),
                        other => of_host(other),
                    };
                    facts.insert(question, fact);
                }
            }
            crate::policy::Step::Done(call) => {
                let bytes = call.render();
                let text = String::from_utf8(bytes).unwrap();
                let (head, body) = text.split_once("\r\n\r\n").unwrap();
                let mut json: Json = body.parse().unwrap();
                json["Line"] = json!(head.lines().next().unwrap());
                return Ok(json);
            }
            crate::policy::Step::Denied(reasons) => return Err(reasons[0].message()),
            other => panic!("{other:?}"),
        }
    }
}

fn binds(policies: &str, host: &Json) -> Result<Json, String> {
    let members = Members::of(&[OWN.to_owned()]);
    sent(&chain(policies, &members), KNOWN, host, &|| true)
}

#[test]
fn a_path_of_its_own_is_what_is_mounted_there() {
    for policies in [r#""conservative""#, ""] {
        let asked = json!({
            "Binds": ["/builds/group/app:/src", "data:/data", "/cc:/cc:rw", "/out:/out"],
            "Mounts": [{ "Type": "bind", "Source": "/builds", "Target": "/all", "ReadOnly": true }],
        });
        let made = binds(policies, &asked).unwrap();
        assert_eq!(made["HostConfig"]["Binds"], json!(["data:/data"]), "{policies}");
        let volume = |target: &str, read_only: bool, options: Json| {
            json!({
                "Type": "volume", "Source": "work", "Target": target, "ReadOnly": read_only, "VolumeOptions": options,
            })
        };
        let bind = |path: &str, read_only: bool| {
            let target = path.replace("/srv", "");
            json!({ "Type": "bind", "Source": path, "Target": target, "ReadOnly": read_only })
        };
        let wanted = json!([
            volume("/src", false, json!({ "NoCopy": true, "Subpath": "group/app" })),
            bind("/srv/cc", true),
            bind("/srv/out", false),
            volume("/all", true, json!({ "NoCopy": true })),
        ]);
        assert_eq!(made["HostConfig"]["Mounts"], wanted, "{policies}");
        assert!(made["Line"].as_str().unwrap().contains("/v1.45/"), "{made}");
    }
}

#[test]
fn nothing_else_of_the_host_is_let_through() {
    for path in [
        "/",
        "/etc",
        "/build",
        "/buildsx",
        "/builds/../etc",
        "/srv/cc",
        "/run/jobs/0a",
        "/run/jobs",
        "/run/dockgate",
        "/var/lib/docker/volumes/work/_data",
    ] {
        let why = binds(r#""conservative""#, &json!({ "Binds": [format!("{path}:/x")] }));
        assert!(why.as_ref().is_err_and(|why| why.contains("container.bind")), "{path}: {why:?}");
    }
    let shared = binds(r#""conservative""#, &json!({ "Binds": ["/builds:/x:rshared"] }));
    assert!(shared.is_err());
    let shared = binds("", &json!({ "Binds": ["/builds:/x:rshared"] })).unwrap_err();
    assert!(shared.contains("job.bind"), "{shared}");
}

#[test]
fn a_part_is_only_what_the_engine_finds_within_a_volume() {
    let part = binds(r#""conservative""#, &json!({ "Binds": ["/out/x:/x"] })).unwrap_err();
    assert!(part.contains("job.bind") && part.contains("all of `/out`"), "{part}");
    let members = Members::of(&[OWN.to_owned()]);
    let old = Versions { newest: 41, ..KNOWN };
    let chain = chain(r#""conservative""#, &members);
    let part = sent(&chain, old, &json!({ "Binds": ["/builds/x:/x"] }), &|| true).unwrap_err();
    assert!(part.contains("job.bind") && part.contains("all of `/builds`"), "{part}");
    let all = sent(&chain, old, &json!({ "Binds": ["/builds:/x"] }), &|| true).unwrap();
    assert_eq!(all["HostConfig"]["Mounts"][0]["Source"], "work");
}

#[test]
fn a_path_is_none_of_the_hosts_when_its_container_goes_meanwhile() {
    let members = Members::of(&[OWN.to_owned()]);
    let chain = chain(r#""conservative""#, &members);
    let asked = json!({ "Binds": ["/out:/x"] });
    let gone = sent(&chain, KNOWN, &asked, &|| false).unwrap_err();
    assert!(gone.contains("job.bind") && gone.contains("gone"), "{gone}");
}

#[test]
fn what_was_made_with_it_may_be_started_and_nothing_else() {
    let members = Members::of(&[OWN.to_owned()]);
    let chain = chain(r#""conservative""#, &members);
    let starts = |host: Json, mounts: Json| {
        let made = json!({
            "Id": "d".repeat(64), "Name": "/x", "Config": { "Image": "x" }, "HostConfig": host, "Mounts": mounts,
        });
        let request =
            rehearsal::Request { method: "POST", target: "/v1.43/containers/x/start", body: b"" };
        let identity = Identity::imagined(Some("ann"));
        let outcome = explore(&chain, "job-0a", &identity, &request, &|question| match question {
            Question::Container(id) if id == OWN => Some(Fact::Json(Arc::new(own()))),
            Question::Container(_) => Some(Fact::Json(Arc::new(made.clone()))),
            _ => Some(Fact::Absent),
        });
        matches!(outcome.verdict, rehearsal::Verdict::Allowed(_))
    };
    let from = json!({ "VolumesFrom": [OWN], "NetworkMode": format!("container:{OWN}") });
    assert!(starts(from, own()["Mounts"].clone()));
    let mount = |source: &str, read_only: bool| {
        let kind = if source.starts_with('/') { "bind" } else { "volume" };
        let host = json!({ "Mounts": [{ "Type": kind, "Source": source, "Target": "/x", "ReadOnly": read_only }] });
        let point = json!([{ "Type": kind, "Name": source, "Source": source, "Destination": "/x", "RW": !read_only }]);
        starts(host, point)
    };
    assert!(mount("work", false) && mount("/srv/out", false) && mount("/srv/cc", true));
    assert!(!mount("/srv/cc", false) && !mount("/srv/out/x", false) && !mount("/srv", true));
    assert!(!mount("other", false) && !mount("/builds", false));
}

#[test]
fn the_hosts_namespaces_are_no_neighbours_to_have() {
    let members = Members::of(&[OWN.to_owned()]);
    let chain = chain(r#""conservative""#, &members);
    let joins = |key: &str, mode: &str| {
        let mut own = own();
        own["HostConfig"][key] = json!(mode);
        let host = json!({ "NetworkMode": format!("container:{OWN}") });
        let body = json!({ "Image": "x", "HostConfig": host }).to_string();
        let request = rehearsal::Request {
            method: "POST",
            target: "/v1.43/containers/create",
            body: body.as_bytes(),
        };
        let identity = Identity::imagined(Some("ann"));
        let outcome = explore(&chain, "job-0a", &identity, &request, &|question| match question {
            Question::Container(_) => Some(Fact::Json(Arc::new(own.clone()))),
            _ => Some(Fact::Absent),
        });
        matches!(outcome.verdict, rehearsal::Verdict::Allowed(_))
    };
    assert!(joins("NetworkMode", "front") && joins("IpcMode", "private"));
    for (key, mode) in [
        ("NetworkMode", "host"),
        ("NetworkMode", "container:x"),
        ("PidMode", "host"),
        ("IpcMode", "host"),
    ] {
        assert!(!joins(key, mode), "{key} {mode}");
    }
}

#[test]
fn without_conservative_inside_the_folders_of_sockets_are_nobodys_either() {
    for host in ways_to_sockets() {
        let refused = binds("", &host);
        assert!(refused.is_err_and(|why| why.contains("temporary.path")), "{host}");
    }
    for bind in ["/run/jobs/0a:/run/dockgate", "/run/jobs/0a:/x:ro"] {
        let refused = binds("", &json!({ "Binds": [bind] }));
        assert!(refused.is_err_and(|why| why.contains("temporary.path")), "{bind}");
    }
    let made = binds("", &json!({ "Binds": ["/var/run/docker.sock:/s", "/srv/none:/x"] })).unwrap();
    let wanted = json!(["/srv/none:/x", "/run/jobs/0a:/run/dockgate:ro"]);
    assert_eq!(made["HostConfig"]["Binds"], wanted);
}

#[test]
fn what_a_job_makes_is_in_its_cgroup() {
    let text = TEXT.replace("env =", "shared_cgroup = true\nenv =");
    for policies in [r#""conservative""#, ""] {
        let chain = chain_of(&text, policies, &Members::of(&[OWN.to_owned()]));
        let made = sent(&chain, KNOWN, &json!({}), &|| true).unwrap();
        assert_eq!(made["HostConfig"]["CgroupParent"], "/dockgate/0a", "{policies}");
        let asked = json!({ "CgroupParent": "/" });
        assert!(sent(&chain, KNOWN, &asked, &|| true).is_err(), "{policies}");
    }
}
