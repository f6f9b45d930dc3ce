//! Labels, variables, names, logs, restarts; and how they are taken off again.

use super::*;

#[test]
fn labels_are_put_on_whatever_is_made() {
    let rules = "force = { labels = { \"io.dockgate.listener\" = \"{listener}\", by = \"{user}\" } }\n\
                 default = { labels = { team = \"none\" } }";
    let forged = json!({"Labels": {"io.dockgate.listener": "other", "mine": "x", "team": "a"}});
    let wanted = json!({"mine": "x", "team": "a", "by": "bob", "io.dockgate.listener": "ci"});
    let fresh = json!({"by": "bob", "io.dockgate.listener": "ci", "team": "none"});
    for line in ["POST /containers/create", "POST /volumes/create", "POST /networks/create"] {
        let got = |asked: &Json| request(rules, line, &asked.to_string()).map(|got| body(&got));
        assert_eq!(got(&forged).unwrap()["Labels"], wanted, "{line}");
        assert_eq!(got(&json!({"Labels": null})).unwrap()["Labels"], fresh, "{line}");
    }
    let labels = |query: &str| {
        let query = build(rules, query).unwrap();
        let labels = query.iter().find_map(|pair| pair.strip_prefix("labels=")).unwrap();
        serde_json::from_str::<Json>(labels).unwrap()
    };
    assert_eq!(labels(r#"labels={"by":"eve","mine":"x","team":"a"}"#), wanted);
    assert_eq!(labels("t=x"), fresh);
}

#[test]
fn a_value_that_is_not_known_is_a_refusal() {
    let rules = "force = { labels = { p = \"{claims.project}\" } }";
    let told = create(rules, &json!({})).unwrap_err();
    assert_eq!(
        told,
        "dockgate: request: needs `{claims.project}` of the caller, which is not known (rule limits.labels)"
    );
}

#[test]
fn forced_variables_win_and_defaults_fill_in() {
    let rules = "force = { env = { HTTP_PROXY = \"http://p\", WHO = \"{user}\" } }\n\
                 default = { env = { CI = \"1\", LANG = \"C\" } }";
    let env = |line: &str, env: Json| {
        let asked = json!({ "Env": env }).to_string();
        body(&request(rules, line, &asked).unwrap())["Env"].clone()
    };
    assert_eq!(
        env("POST /containers/create", json!(["WHO=root", "A=b=c", "CI", null, "HTTP_PROXY"])),
        json!(["A=b=c", "CI", null, "LANG=C", "HTTP_PROXY=http://p", "WHO=bob"])
    );
    assert_eq!(
        env("POST /containers/x/exec", json!(["WHO=root", "A=1"])),
        json!(["A=1", "HTTP_PROXY=http://p", "WHO=bob"]),
        "the container has the others"
    );
}

#[test]
fn names_are_forced_or_filled_in() {
    let force = "force = { cgroup_parent = \"/ci/{user}\", runtime = \"runsc\", user = \"1000\" }";
    let default = "default = { cgroup_parent = \"/ci\", runtime = \"runsc\", user = \"1000\" }";
    let asked = json!({"User": "0", "HostConfig": {"CgroupParent": "/", "Runtime": "runc"}});
    let forced =
        json!({"User": "1000", "HostConfig": {"CgroupParent": "/ci/bob", "Runtime": "runsc"}});
    assert_eq!(create(force, &asked), Ok(forced));
    assert_eq!(create(default, &asked), Ok(asked));
    let filled = json!({"HostConfig": {"CgroupParent": "/ci", "Runtime": "runsc"}, "User": "1000"});
    assert_eq!(create(default, &json!({})), Ok(filled));
    assert_eq!(build(force, "cgroupparent=/").unwrap(), ["cgroupparent=/ci/bob"]);
    let exec = |rules: &str| {
        let got = request(rules, "POST /containers/x/exec", r#"{"User":"0"}"#).unwrap();
        body(&got)["User"].clone()
    };
    assert_eq!((exec(force), exec(default)), (json!("1000"), json!("0")));
    let told = update(force, json!({"CgroupParent": "/"})).unwrap_err();
    assert!(told.contains("CgroupParent: must stay `/ci/bob`"), "{told}");
    assert!(update(force, json!({"CgroupParent": "/ci/bob", "CpuShares": 1})).is_ok());
}

#[test]
fn a_forced_network_is_the_only_one() {
    let force = "force = { network = \"ci\" }";
    let default = "default = { network = \"ci\" }";
    let asked = |mode: &str, endpoints: Json| json!({"HostConfig": {"NetworkMode": mode}, "NetworkingConfig": {"EndpointsConfig": endpoints}});
    let web = json!({"Aliases": ["web"], "IPAMConfig": {"IPv4Address": "10.0.0.1"}});
    let own = json!({"Aliases": ["web"], "NetworkID": "other"});
    let aliases = json!({"Aliases": ["web"]});
    for (rules, mode, endpoints, wanted_mode, wanted) in [
        (force, "host", json!({}), "ci", json!({})),
        (
            force,
            "shop",
            json!({"shop": web.clone(), "x": {}}),
            "ci",
            json!({"ci": aliases.clone()}),
        ),
        (force, "shop", json!({"ci": own, "shop": {}}), "ci", json!({"ci": aliases})),
        ("force = { network = \"none\" }", "shop", json!({"shop": web.clone()}), "none", json!({})),
        (default, "default", json!({"default": {}}), "ci", json!({"ci": {}})),
        (default, "shop", json!({"shop": web.clone()}), "shop", json!({"shop": web.clone()})),
        (default, "", json!({"shop": web.clone()}), "", json!({"shop": web})),
    ] {
        let got = create(rules, &asked(mode, endpoints)).unwrap();
        assert_eq!(got, asked(wanted_mode, wanted), "{rules} {mode}");
    }
    assert_eq!(create(force, &json!({})), Ok(json!({"HostConfig": {"NetworkMode": "ci"}})));
    assert_eq!(build(force, "networkmode=host").unwrap(), ["networkmode=ci"]);
    assert_eq!(build(default, "networkmode=default").unwrap(), ["networkmode=ci"]);
    assert_eq!(build(default, "networkmode=none").unwrap(), ["networkmode=none"]);
    let connect =
        |network: &str| request(force, &format!("POST /networks/{network}/connect"), "{}");
    assert!(connect("ci").unwrap_err().contains("(rule named.network)"), "the operator's");
    assert!(connect("shop").unwrap_err().contains("must be `ci`, where every container is"));
}

#[test]
fn logs_have_a_size() {
    let max = "max = { log = { max-size = \"10m\", max-file = 3 } }";
    let force = "force = { log = { driver = \"local\", options = { max-size = \"5m\" } } }";
    let default =
        "default = { log = { driver = \"journald\" } }\nmax = { log = { max-size = \"1m\" } }";
    let log =
        |driver: &str, options: Json| json!({"LogConfig": {"Type": driver, "Config": options}});
    all(
        &[
            (
                max,
                json!({}),
                Ok(json!({"LogConfig": {"Config": {"max-size": "10m", "max-file": "3"}}})),
            ),
            (
                max,
                log("json-file", json!({"max-size": "1m", "max-file": "1", "tag": "x"})),
                Ok(log("json-file", json!({"max-size": "1m", "max-file": "1", "tag": "x"}))),
            ),
            (
                max,
                log("local", json!({"max-size": "11m"})),
                Err(
                    "HostConfig.LogConfig.Config.max-size: must be at most 10m, asked 11m (rule limits.log)",
                ),
            ),
            (max, log("", json!({"max-size": "-1"})), Err("asked -1")),
            (max, log("", json!({"max-size": "1e9"})), Err("asked 1e9")),
            (max, log("", json!({"max-file": "4"})), Err("must be at most 3, asked 4")),
            (max, log("", json!({"max-file": "0"})), Err("rule limits.log")),
            (max, log("none", json!({})), Ok(log("none", json!({})))),
            (
                force,
                log("local", json!({"max-size": "9g", "compress": "true"})),
                Ok(log("local", json!({"compress": "true", "max-size": "5m"}))),
            ),
            (
                force,
                log("syslog", json!({"syslog-address": "tcp://x"})),
                Ok(log("local", json!({"max-size": "5m"}))),
            ),
            (default, log("", json!({})), Ok(log("journald", json!({})))),
            (default, log("local", json!({})), Ok(log("local", json!({"max-size": "1m"})))),
        ],
        host,
    );
}

#[test]
fn restarts_are_those_that_are_allowed_and_no_is_always() {
    let some = "max = { restart = [\"on-failure:5\"] }";
    let none = "max = { restart = [] }";
    let default = "default = { restart = \"on-failure:3\" }";
    let policy = |name: &str, count: i64| json!({"RestartPolicy": {"Name": name, "MaximumRetryCount": count}});
    let removed = json!({"AutoRemove": true, "RestartPolicy": {"Name": "no"}});
    let ok = Ok::<Json, &str>;
    all(
        &[
            (some, policy("no", 0), ok(policy("no", 0))),
            (none, policy("", 0), ok(policy("", 0))),
            (some, policy("on-failure", 5), ok(policy("on-failure", 5))),
            (some, policy("on-failure", 0), ok(policy("on-failure", 5))),
            (
                some,
                policy("on-failure", 6),
                Err("must be within `on-failure:5`, asked `on-failure:6`"),
            ),
            (some, policy("on-failure", -1), Err("rule limits.restart")),
            (some, policy("always", 0), Err("asked `always` (rule limits.restart)")),
            (none, policy("unless-stopped", 0), Err("must be `no`, asked `unless-stopped`")),
            ("force = { restart = \"no\" }", policy("always", 0), ok(policy("no", 0))),
            (default, policy("no", 0), ok(policy("on-failure", 3))),
            (default, removed.clone(), ok(removed)),
            (default, policy("always", 0), ok(policy("always", 0))),
        ],
        host,
    );
    let told = update(some, policy("always", 0)).unwrap_err();
    assert!(told.contains("RestartPolicy: must be within"), "{told}");
    assert_eq!(update(some, policy("on-failure", 0)), Ok(policy("on-failure", 5)));
}

#[test]
fn services_are_refused_because_no_limit_would_hold_there() {
    let told = request("max = { pids = 1 }", "POST /services/create", "{}").unwrap_err();
    assert!(told.ends_with("(rule limits.service)"), "{told}");
}

#[test]
fn the_policys_own_marks_are_taken_off_and_nothing_else() {
    let rules = "force = { cgroup_parent = \"/ci/{user}\", runtime = \"runsc\", network = \"ci\", \
                 labels = { by = \"{user}\" }, env = { CI = \"1\" }, \
                 log = { driver = \"journald\", options = { tag = \"t\" } } }\n\
                 [policy.p.groups.slow]\ndefault = { restart = \"always\", ulimits = { nofile = 9 } }\n\
                 max = { ulimits = { nproc = 7 } }";
    let strip = |made: Json| {
        let text = made.to_string();
        let kind = crate::api::shape::Kind::Object(crate::api::container::CREATE);
        let mut doc = crate::api::doc::parse(text.as_bytes(), &kind).unwrap();
        let identity = Identity::imagined(None);
        let facts = crate::policy::Facts::default();
        let known = crate::api::endpoint::KNOWN;
        limits(rules).strip(&mut doc.root, &Context::new(&identity, "l", known, &facts));
        serde_json::from_str::<Json>(std::str::from_utf8(&doc.render()).unwrap()).unwrap()
    };
    let ours = json!({
        "Labels": {"by": "alice", "mine": "x"}, "Env": ["CI=1", "CI=2", "A=1"],
        "HostConfig": {
            "CgroupParent": "/ci/alice", "Runtime": "runsc", "NetworkMode": "ci",
            "LogConfig": {"Type": "journald", "Config": {"tag": "t"}},
            "RestartPolicy": {"Name": "always", "MaximumRetryCount": 0},
            "Ulimits": [{"Name": "nofile", "Soft": 9, "Hard": 9}, {"Name": "nproc", "Soft": 7, "Hard": 7}, {"Name": "core", "Soft": 9, "Hard": 9}],
        },
    });
    let left = json!({
        "Labels": {"mine": "x"}, "Env": ["CI=2", "A=1"],
        "HostConfig": {
            "CgroupParent": null, "Runtime": null, "NetworkMode": null, "LogConfig": null,
            "RestartPolicy": null, "Ulimits": [{"Name": "core", "Soft": 9, "Hard": 9}],
        },
    });
    assert_eq!(strip(ours), left);
    let theirs = json!({
        "HostConfig": {
            "CgroupParent": "/ci/../..", "Runtime": "other", "NetworkMode": "host",
            "LogConfig": {"Type": "journald", "Config": {"tag": "other"}},
            "RestartPolicy": {"Name": "always", "MaximumRetryCount": 1},
        },
    });
    assert_eq!(strip(theirs.clone()), theirs);
}

/// The fake answers every question with this: an image that exposes ports, and a container that publishes them.
#[test]
fn ports_are_counted_where_they_are_published_and_again_at_the_start() {
    let rules = "max = { ports = 2 }";
    let made = json!({ "Config": { "ExposedPorts": { "1-3/tcp": {} } },
        "HostConfig": { "PublishAllPorts": true, "PortBindings": null } });
    let few = json!({ "Config": { "ExposedPorts": { "1-2/tcp": {} } }, "HostConfig": { "PublishAllPorts": true } });
    let ask = |line: &str, body: &Json, found: Fact| {
        let chain = Chain::new(vec![Link::new(Box::new(limits(rules)))]);
        let (method, target) = line.split_once(' ').unwrap();
        let body = body.to_string();
        let request = Request { method, target, body: body.as_bytes() };
        let identity = Identity::imagined(None);
        match rehearse(&chain, "ci", &identity, &request, &|_| found.clone()).verdict {
            Heard::Allowed(_) => None,
            Heard::Denied(_, reasons) => Some(reasons[0].message()),
            Heard::Malformed(why) => panic!("{why}"),
            other @ (Heard::Undecided(..) | Heard::Waits(..) | Heard::Answered(..)) => {
                panic!("{other:?}")
            }
        }
    };
    let known = |json: &Json| Fact::Json(json.clone().into());
    let create = "POST /containers/create";
    let all = json!({ "Image": "x", "HostConfig": { "PublishAllPorts": true } });
    let said = ask(create, &all, known(&made)).unwrap();
    assert!(said.contains("at most 2 ports, would publish 3 (rule limits.ports)"), "{said}");
    assert_eq!(ask(create, &all, known(&few)), None);
    assert_eq!(ask(create, &all, Fact::Absent), None, "the engine makes nothing of it");
    assert!(ask(create, &all, Fact::Failed("x".to_owned())).is_some());
    let bound = |count: usize| {
        let bindings = json!({ "80/tcp": vec![json!({}); count] });
        json!({ "Image": "x", "HostConfig": { "PortBindings": bindings } })
    };
    assert_eq!(ask(create, &bound(2), Fact::Failed("not asked".to_owned())), None);
    assert!(ask(create, &bound(3), Fact::Absent).is_some());
    for line in ["POST /containers/c/start", "POST /containers/c/restart"] {
        assert!(ask(line, &json!({}), known(&made)).is_some(), "{line}");
        assert_eq!(ask(line, &json!({}), known(&few)), None, "{line}");
        assert!(ask(line, &json!({}), Fact::Failed("x".to_owned())).is_some(), "{line}");
    }
}
