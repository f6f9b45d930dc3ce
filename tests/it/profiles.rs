//! The profiles in `policies/`: each loads, allows what its first lines say, and refuses the rest.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::engine::plain;
use crate::support::gate::dockgate;
use crate::support::http::answer;
use crate::support::{Engine, Gate, Setup, text};

const CREATE: &str = "POST /v1.41/containers/create";

fn profiles() -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")).unwrap();
    let files = entries.map(|entry| entry.unwrap().path());
    // Of another language: what caches know of package repositories.
    let files = files.filter(|path| !path.ends_with("cache-rules.toml"));
    files.filter(|path| path.extension().is_some_and(|kind| kind == "toml")).collect()
}

/// The engine has the containers `plain` and `mighty`; it tells what it got.
fn engine() -> Engine {
    Engine::start(plain::with(|head, body| {
        let is_own = text(&head.raw).contains("User-Agent: dockgate/");
        let container = |id: &str, host_config: Value| {
            let made = json!({ "Id": id.repeat(64), "Config": {}, "HostConfig": host_config });
            answer("200 OK", &made.to_string())
        };
        match (is_own, head.path()) {
            (_, "/containers/plain/json") => container("a", json!({})),
            (_, "/containers/mighty/json") => container("b", json!({ "Privileged": true })),
            (true, "/networks/n") => {
                let made = json!({ "Name": "n", "Id": "c".repeat(64), "Driver": "bridge" });
                answer("200 OK", &made.to_string())
            }
            (true, "/info") => answer("200 OK", "{}"),
            (true, _) => answer("404 Not Found", r#"{"message":"no such thing"}"#),
            (false, _) => answer("200 OK", &json!({ "body": text(body) }).to_string()),
        }
    }))
}

fn gate(profile: &str, engine: &Engine) -> Gate {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(profile);
    let table = format!("[policy.ours]\nkind = \"conservative\"\nrules = \"{}\"\n", file.display());
    Setup::new(engine).policies(r#"["ours"]"#).tables(&table).start()
}

fn ask(gate: &Gate, line: &str, body: &str) -> (u16, String) {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let length = body.len();
    let head = format!("{line} HTTP/1.1\r\nHost: a\r\n{kind}Content-Length: {length}\r\n\r\n");
    gate.client().ask(head + body)
}

/// The rule that refuses, or `None` when the engine got the call.
fn judged(gate: &Gate, line: &str, body: &str) -> Option<String> {
    let (status, said) = ask(gate, line, body);
    match status {
        200 => None,
        403 => {
            let (_, rule) = said.split_once("(rule ").unwrap_or_else(|| panic!("no rule: {said}"));
            Some(rule.split(')').next().unwrap_or_default().to_owned())
        }
        _ => panic!("{line} {body}: {status} {said}"),
    }
}

/// The body that the engine got.
fn got(said: &str) -> Value {
    let said: Value = said.parse().unwrap();
    said["body"].as_str().unwrap().parse().unwrap()
}

/// Lines of `METHOD PATH [BODY]`.
fn judges(profile: &str, allowed: &[&str], refused: &[(&str, &str)]) {
    let engine = engine();
    let gate = gate(profile, &engine);
    let parts = |line: &str| match line.split_once(" {") {
        Some((line, body)) => (line.to_owned(), format!("{{{body}")),
        None => (line.to_owned(), String::new()),
    };
    for line in allowed {
        let (line, body) = parts(line);
        assert_eq!(judged(&gate, &line, &body), None, "{profile}: {line} {body}");
    }
    for (line, rule) in refused {
        let (line, body) = parts(line);
        let judged = judged(&gate, &line, &body);
        assert_eq!(judged.as_deref(), Some(*rule), "{profile}: {line} {body}");
    }
}

#[test]
fn every_shipped_profile_is_right_and_says_for_whom_it_is() {
    let files = profiles();
    assert!(files.len() >= 6, "{files:?}");
    for file in files {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("dockgate.toml");
        let said = format!(
            "[[listener]]\nname = \"a\"\nurl = \"unix:///nowhere/a.sock\"\npolicies = [\"p\"]\n\
             [policy.p]\nkind = \"conservative\"\nrules = \"{}\"\n",
            file.display()
        );
        fs::write(&config, said).unwrap();
        let checked = dockgate(&["check", "-c", config.to_str().unwrap()]).output().unwrap();
        assert!(checked.status.success(), "{}: {}", file.display(), text(&checked.stderr));
        let words = fs::read_to_string(&file).unwrap();
        assert!(words.starts_with("# "), "{} does not say for whom it is", file.display());
    }
}

#[test]
fn read_only_looks_and_does_not_touch() {
    judges(
        "read-only.toml",
        &[
            "GET /_ping",
            "GET /v1.41/info",
            "GET /v1.41/events?since=1",
            "GET /v1.41/containers/json?all=1",
            "GET /v1.41/containers/plain/json",
            "GET /v1.41/containers/mighty/logs?stdout=1",
            "GET /v1.41/containers/mighty/top?ps_args=-ef",
            "GET /v1.41/containers/mighty/top?ps_args=-eo%20pid,comm",
            "GET /v1.41/containers/mighty/changes",
            "GET /v1.41/containers/plain/stats?stream=0",
            "GET /v1.41/exec/x/json",
            "GET /v1.41/images/json",
            "GET /v1.41/networks",
            "GET /v1.41/volumes/v",
        ],
        &[
            ("GET /v1.41/containers/plain/logs?stdout=1&details=1", "container.log-details"),
            ("GET /v1.41/containers/plain/top?ps_args=e", "container.ps-args"),
            ("GET /v1.41/containers/plain/top?ps_args=auxe", "container.ps-args"),
            ("GET /v1.41/containers/plain/top?ps_args=-eo%20pid,environ", "container.ps-args"),
            ("GET /v1.41/containers/plain/top?ps_args=-eo%20pid%20e", "container.ps-args"),
            ("GET /v1.41/containers/plain/archive?path=/", "rules.operation"),
            ("GET /v1.41/containers/plain/export", "rules.operation"),
            ("POST /v1.41/containers/plain/attach?logs=1", "rules.operation"),
            (r#"POST /v1.41/containers/plain/exec {"Cmd":["env"]}"#, "rules.operation"),
            ("POST /v1.41/containers/plain/start", "rules.operation"),
            ("POST /v1.41/containers/plain/kill", "rules.operation"),
            (r#"POST /v1.41/containers/create {"Image":"x"}"#, "rules.operation"),
            ("POST /v1.41/images/create?fromImage=x", "rules.operation"),
            ("GET /v1.41/images/x/get", "rules.operation"),
            ("GET /v1.41/distribution/x/json", "rules.operation"),
            ("POST /v1.41/build", "rules.operation"),
            ("POST /v1.41/containers/prune", "rules.operation"),
            ("DELETE /v1.41/volumes/v", "rules.operation"),
            (r#"POST /v1.41/auth {"username":"a"}"#, "rules.operation"),
            ("GET /v1.41/swarm", "class.swarm"),
        ],
    );
}

#[test]
fn read_only_shows_no_environment() {
    let config = json!({ "Env": ["PASSWORD=geheim"], "OnBuild": ["ENV T=geheim"], "Image": "x",
        "Healthcheck": { "Test": ["CMD-SHELL", "curl -u a:geheim"], "Interval": 5 } });
    let volume = json!({ "Name": "v", "Options": { "o": "password=geheim" } });
    let network = json!({ "Name": "n", "Options": { "key": "geheim" }, "IPAM": { "Options": { "k": "geheim" } } });
    let engine = Engine::start(plain::with(move |head, _| {
        let said = match head.path() {
            "/images/x/history" => {
                json!([{ "Id": "i", "CreatedBy": "ENV T=geheim", "Comment": "geheim" }])
            }
            "/images/x/json" => {
                json!({ "Id": "i", "Config": config, "ContainerConfig": config })
            }
            "/containers/x/json" => json!({ "Id": "c", "Config": config,
                "State": { "Health": { "Log": [{ "ExitCode": 0, "Output": "geheim" }] } },
                "HostConfig": {
                    "LogConfig": { "Type": "splunk", "Config": { "splunk-token": "geheim" } },
                    "Mounts": [{ "Type": "volume", "VolumeOptions": { "DriverConfig": {
                        "Name": "local", "Options": { "o": "password=geheim" } } } }] } }),
            "/system/df" => {
                json!({ "BuildCache": [{ "Description": "RUN T=geheim" }], "Volumes": [volume],
                "BuildCacheUsage": { "Items": [{ "Description": "geheim" }] },
                "VolumeUsage": { "Items": [volume] } })
            }
            "/volumes" => json!({ "Volumes": [volume] }),
            "/volumes/v" => volume.clone(),
            "/networks" | "/networks/" => json!([network]),
            "/networks/n" => network.clone(),
            _ => json!({ "HttpProxy": "http://u:geheim@p", "NCPU": 2 }),
        };
        answer("200 OK", &said.to_string())
    }));
    let gate = gate("read-only.toml", &engine);
    for (path, kept) in [
        ("/v1.41/containers/x/json", r#""Image":"x""#),
        ("/v1.41/images/x/json", r#""Image":"x""#),
        ("/v1.41/images/x/history", r#""Id":"i""#),
        ("/v1.41/system/df", "BuildCache"),
        ("/v1.41/containers/x/json", r#""Type":"splunk""#),
        ("/v1.41/volumes", r#""Name":"v""#),
        ("/v1.41/volumes/v", r#""Name":"v""#),
        ("/v1.41/networks", r#""Name":"n""#),
        ("/v1.41/networks/", r#""Name":"n""#),
        ("/v1.41/networks/n", r#""Name":"n""#),
        ("/v1.41/info", r#""NCPU":2"#),
    ] {
        let (status, said) = ask(&gate, &format!("GET {path}"), "");
        assert_eq!(status, 200, "{path}");
        assert!(said.contains(kept), "{path}: {said}");
        assert!(!said.contains("geheim"), "{path}: {said}");
    }
}

#[test]
fn testcontainers_gives_the_listeners_own_socket_in_place_of_the_engines() {
    let engine = engine();
    let gate = gate("testcontainers.toml", &engine);
    let own = gate.socket().display().to_string();
    let binds = |source: &str, mode: &str| {
        json!({ "Image": "ryuk", "HostConfig": {
            "Binds": [format!("{source}:/var/run/docker.sock{mode}")], "AutoRemove": true,
            "NetworkMode": "bridge", "PortBindings": { "8080/tcp": [{ "HostPort": "" }] } } })
    };
    for source in ["/var/run/docker.sock", "/run/docker.sock", "//var/run/docker.sock", &own] {
        for mode in ["", ":rw", ":ro"] {
            let (status, said) = ask(&gate, CREATE, &binds(source, mode).to_string());
            assert_eq!(status, 200, "{source}{mode}: {said}");
            let wanted = json!([{ "Type": "bind", "Source": own, "Target": "/var/run/docker.sock",
                "ReadOnly": mode == ":ro" }]);
            assert_eq!(got(&said)["HostConfig"]["Mounts"], wanted, "{source}{mode}");
            assert_eq!(got(&said)["HostConfig"]["Binds"], json!([]), "{source}{mode}");
        }
    }
    let mounts = json!({ "Image": "ryuk", "HostConfig": { "Mounts":
        [{ "Type": "bind", "Source": "/var/run/docker.sock", "Target": "/s" }] } });
    let (status, said) = ask(&gate, CREATE, &mounts.to_string());
    assert_eq!(status, 200, "{said}");
    assert_eq!(got(&said)["HostConfig"]["Mounts"][0]["Source"], json!(own));
}

#[test]
fn testcontainers_is_conservative_otherwise() {
    judges(
        "testcontainers.toml",
        &[
            r#"POST /v1.41/containers/create {"HostConfig":{"PublishAllPorts":true,"ExtraHosts":["h:host-gateway"]}}"#,
            r#"POST /v1.41/containers/create {"HostConfig":{"Mounts":[{"Type":"volume","Source":"v","Target":"/v"},{"Type":"tmpfs","Target":"/t"}]}}"#,
            "PUT /v1.41/containers/plain/archive?path=/",
            r#"POST /v1.41/containers/plain/exec {"Cmd":["sh"]}"#,
            "GET /v1.41/networks/bridge",
            r#"POST /v1.41/networks/create {"Name":"new"}"#,
            "POST /v1.41/build?t=x",
            "DELETE /v1.41/images/x?force=1",
        ],
        &[
            (
                r#"POST /v1.41/containers/create {"HostConfig":{"Binds":["/:/h"]}}"#,
                "container.bind",
            ),
            (
                r#"POST /v1.41/containers/create {"HostConfig":{"Binds":["/run:/h"]}}"#,
                "container.bind",
            ),
            (
                r#"POST /v1.41/containers/create {"HostConfig":{"Binds":["/run/containerd/containerd.sock:/h"]}}"#,
                "container.bind",
            ),
            (
                r#"POST /v1.41/containers/create {"HostConfig":{"Binds":["/var/run/../run/docker.sock:/h"]}}"#,
                "container.bind",
            ),
            (
                r#"POST /v1.41/containers/create {"HostConfig":{"Binds":["/run/docker.sock:/h:shared"]}}"#,
                "container.bind",
            ),
            (
                r#"POST /v1.41/containers/create {"HostConfig":{"Mounts":[{"Type":"bind","Source":"/etc","Target":"/e"}]}}"#,
                "container.mount",
            ),
            (
                r#"POST /v1.41/containers/create {"HostConfig":{"Mounts":[{"Type":"bind","Source":"/run/docker.sock","Target":"/e","BindOptions":{"Propagation":"shared"}}]}}"#,
                "container.mount",
            ),
            (
                r#"POST /v1.41/containers/create {"HostConfig":{"Privileged":true}}"#,
                "container.privileged",
            ),
            (
                r#"POST /v1.41/containers/create {"HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":"80"}]}}}"#,
                "container.ports",
            ),
            (r#"POST /v1.41/containers/mighty/exec {"Cmd":["sh"]}"#, "container.not-own"),
        ],
    );
}

#[test]
fn gitlab_runner_allows_what_the_runner_asks_for() {
    judges(
        "gitlab-runner.toml",
        &[
            "GET /v1.41/info",
            "GET /v1.41/version",
            r#"POST /v1.41/networks/create {"Name":"runner-1-2-0-3","Labels":{"com.gitlab.gitlab-runner.job.id":"3"},"EnableIPv6":false,"Options":{"com.docker.network.driver.mtu":"1450"}}"#,
            "GET /v1.41/networks",
            "GET /v1.41/networks/n",
            r#"POST /v1.41/networks/n/disconnect {"Container":"plain","Force":true}"#,
            "DELETE /v1.41/networks/n",
            r#"POST /v1.41/volumes/create {"Name":"runner-0-cache-1"}"#,
            r#"POST /v1.41/containers/create?name=v-set-permission-1 {"Image":"sha256:00","HostConfig":{"Binds":["runner-0-cache-1:/gitlab-runner-cache-init"],"LogConfig":{"Type":"json-file"},"RestartPolicy":{"Name":"no"}}}"#,
            r#"POST /v1.41/containers/create?name=build {"Image":"x@sha256:00","Hostname":"runner-1-project-2-concurrent-0","AttachStdin":true,"OpenStdin":true,"StdinOnce":true,"Volumes":{"/cache":{}},"HostConfig":{"ExtraHosts":["db:172.17.0.2"],"Memory":1073741824,"ShmSize":67108864,"Init":true,"OomKillDisable":false,"SecurityOpt":[],"Devices":[],"Links":["plain:db"],"VolumesFrom":["plain"]},"NetworkingConfig":{"EndpointsConfig":{"n":{"Aliases":["build"]}}}}"#,
            "POST /v1.41/containers/plain/start",
            "POST /v1.41/containers/plain/stop?t=0",
            "POST /v1.41/containers/plain/wait?condition=not-running",
            r#"POST /v1.41/containers/plain/exec {"Cmd":["sh","-c","kill"]}"#,
            "DELETE /v1.41/containers/plain?v=1&force=1",
            "POST /v1.41/images/create?fromImage=alpine&tag=latest",
            "POST /v1.41/images/create?fromSrc=-&repo=gitlab-runner-helper&tag=1&changes=ENTRYPOINT%20%5B%22%2Fusr%2Fbin%2Fdumb-init%22%5D",
            "POST /v1.41/images/load?quiet=1",
            "POST /v1.41/images/x/tag?repo=y",
            "POST /v1.41/containers/prune?filters=%7B%22label%22%3A%5B%22com.gitlab.gitlab-runner.managed%3Dtrue%22%5D%7D",
        ],
        &[
            (
                r#"POST /v1.41/containers/create {"HostConfig":{"Privileged":true}}"#,
                "container.privileged",
            ),
            (
                r#"POST /v1.41/containers/create {"HostConfig":{"Binds":["/var/run/docker.sock:/var/run/docker.sock"]}}"#,
                "container.bind",
            ),
            (
                r#"POST /v1.41/containers/create {"HostConfig":{"NetworkMode":"host"}}"#,
                "container.network-host",
            ),
            (
                r#"POST /v1.41/containers/create {"HostConfig":{"RestartPolicy":{"Name":"always"}}}"#,
                "container.restart-policy",
            ),
            (
                r#"POST /v1.41/containers/create {"HostConfig":{"RestartPolicy":{"Name":"on-failure"}}}"#,
                "container.restart-policy",
            ),
            (
                r#"POST /v1.41/containers/create {"HostConfig":{"RestartPolicy":{"Name":"no","MaximumRetryCount":1}}}"#,
                "container.restart-policy",
            ),
            (
                r#"POST /v1.41/containers/create {"HostConfig":{"VolumesFrom":["mighty"]}}"#,
                "container.volumes-from",
            ),
            ("POST /v1.41/containers/prune", "prune.unfiltered"),
            ("POST /v1.41/build", "rules.operation"),
            ("POST /v1.41/images/x/push", "rules.operation"),
            ("POST /v1.41/commit?container=plain", "rules.operation"),
            ("GET /v1.41/containers/plain/export", "rules.operation"),
            (r#"POST /v1.41/containers/plain/update {"Memory":1}"#, "rules.operation"),
            ("POST /v1.41/containers/mighty/start", "container.not-own"),
        ],
    );
}

#[test]
fn jenkins_agent_allows_what_both_plugins_ask_for() {
    judges(
        "jenkins-agent.toml",
        &[
            "GET /v1.41/containers/json?filters=%7B%22label%22%3A%5B%22JenkinsId%3Da%22%5D%7D",
            r#"POST /v1.41/containers/create {"Image":"jenkins/agent","Cmd":["/bin/sh"],"Tty":true,"User":"1000:1000","HostConfig":{"PublishAllPorts":true,"VolumesFrom":["plain"],"Mounts":[{"Type":"volume","Source":"v","Target":"/v"}]}}"#,
            "PUT /v1.41/containers/plain/archive?path=/home",
            r#"POST /v1.41/containers/plain/exec {"Cmd":["java"],"AttachStdin":true}"#,
            "GET /v1.41/containers/plain/top?ps_args=-eo%20pid,comm",
            "POST /v1.41/containers/plain/stop?t=1",
            "DELETE /v1.41/containers/plain?v=1&force=1",
            "POST /v1.41/build?t=x&rm=1",
            "POST /v1.41/images/x/tag?repo=y",
            "POST /v1.41/images/x/push",
            r#"POST /v1.41/auth {"username":"a","password":"b"}"#,
        ],
        &[
            (
                r#"POST /v1.41/containers/create {"HostConfig":{"Privileged":true}}"#,
                "container.privileged",
            ),
            (
                r#"POST /v1.41/containers/create {"HostConfig":{"Binds":["/ws:/ws:rw,z"]}}"#,
                "container.bind",
            ),
            (
                r#"POST /v1.41/containers/create {"HostConfig":{"VolumesFrom":["mighty"]}}"#,
                "container.volumes-from",
            ),
            (r#"POST /v1.41/volumes/create {"Name":"v"}"#, "rules.operation"),
            (r#"POST /v1.41/networks/create {"Name":"new"}"#, "rules.operation"),
            (r#"POST /v1.41/containers/plain/update {"Memory":1}"#, "rules.operation"),
            ("POST /v1.41/commit?container=plain", "rules.operation"),
        ],
    );
}

#[test]
fn build_only_makes_images_and_runs_nothing() {
    judges(
        "build-only.toml",
        &[
            "POST /v1.41/build?t=x&networkmode=none&buildargs=%7B%22A%22%3A%22b%22%7D",
            "POST /v1.41/images/create?fromImage=alpine&tag=3",
            "POST /v1.41/images/x/tag?repo=y",
            "POST /v1.41/images/x/push",
            "GET /v1.41/images/json",
            "GET /v1.41/images/x/json",
            "GET /v1.41/version",
        ],
        &[
            ("POST /v1.41/build?networkmode=host", "build.network"),
            ("POST /v1.41/build?networkmode=container:plain", "build.network"),
            ("POST /v1.41/build?remote=http://a/b", "build.remote"),
            ("POST /v1.41/images/create?fromImage=169.254.169.254/x", "registry.host"),
            (r#"POST /v1.41/containers/create {"Image":"x"}"#, "rules.operation"),
            ("GET /v1.41/containers/json", "rules.operation"),
            (r#"POST /v1.41/containers/plain/exec {"Cmd":["sh"]}"#, "rules.operation"),
            ("GET /v1.41/volumes", "rules.operation"),
            ("POST /v1.41/commit?container=plain", "rules.operation"),
            ("DELETE /v1.41/images/x", "rules.operation"),
        ],
    );
}

/// What `dockgate explain` says of a build by BuildKit, of which `solve` is recorded.
fn explained(profile: &str, method: &str, solve: &Value) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(profile);
    let config = format!(
        "[[listener]]\nname = \"a\"\nurl = \"unix:///nowhere/a.sock\"\npolicies = [\"p\"]\n\
         [policy.p]\nkind = \"conservative\"\nrules = \"{}\"\n",
        file.display()
    );
    fs::write(dir.path().join("dockgate.toml"), config).unwrap();
    fs::write(dir.path().join("solve.json"), solve.to_string()).unwrap();
    let mut explain = dockgate(&["explain", "-c", "dockgate.toml", "POST", method, "--body"]);
    let explained = explain.arg("solve.json").current_dir(dir.path()).output().unwrap();
    (explained.status.code(), text(&explained.stdout))
}

#[test]
fn who_may_build_may_build_with_buildkit() {
    const SOLVE: &str = "/moby.buildkit.v1.Control/Solve";
    let solve = json!({ "Ref": "r", "Session": "s", "Frontend": "dockerfile.v0",
        "FrontendAttrs": { "filename": "Dockerfile" } });
    let host = json!({ "Ref": "r", "Session": "s", "Frontend": "dockerfile.v0",
        "Entitlements": ["network.host"] });
    for profile in ["build-only.toml", "jenkins-agent.toml", "testcontainers.toml"] {
        let (code, said) = explained(profile, SOLVE, &solve);
        assert_eq!(code, Some(0), "{profile}: {said}");
        assert!(said.contains("changed by p: body /SourcePolicy"), "{profile}: {said}");
        let (code, said) = explained(profile, SOLVE, &host);
        assert!(code == Some(3) && said.contains("(rule build.entitlement)"), "{profile}: {said}");
    }
    for profile in ["read-only.toml", "gitlab-runner.toml"] {
        let (code, said) = explained(profile, SOLVE, &solve);
        assert!(code == Some(3) && said.contains("(rule rules.operation)"), "{profile}: {said}");
    }
    let container = "/moby.buildkit.v1.frontend.LLBBridge/NewContainer";
    let (code, said) = explained("build-only.toml", container, &json!({ "ContainerID": "c" }));
    assert!(code == Some(3) && said.contains("(rule rules.operation)"), "{said}");
}

/// The blocks of a page that begin like this, without their fences.
fn blocks(page: &str, fence: &str) -> Vec<String> {
    let parts = page.split(fence).skip(1);
    parts.map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_examples_of_the_page_about_conservative_are_right() {
    let page = fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/policies/conservative.md"),
    );
    let page = page.unwrap();
    let examples = blocks(&page, "```toml\n");
    let check = |dir: &Path, name: &str| {
        let checked = dockgate(&["check", "-c", name]).current_dir(dir).output().unwrap();
        (checked.status.success(), text(&checked.stderr))
    };
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, said: &str| fs::write(dir.path().join(name), said).unwrap();
    let whole: Vec<_> = examples.iter().filter(|one| one.starts_with("[[listener]]")).collect();
    assert_eq!(whole.len(), 2);
    for example in whole {
        write("dockgate.toml", example);
        assert_eq!(check(dir.path(), "dockgate.toml"), (true, String::new()), "{example}");
    }
    let team = examples.iter().find(|one| one.starts_with("# team.toml")).unwrap();
    let config = "[[listener]]\nname = \"default\"\nurl = \"unix:///nowhere/a.sock\"\n\
                  policies = [\"p\"]\n[policy.p]\nkind = \"conservative\"\nrules = \"team.toml\"\n";
    write("dockgate.toml", config);
    write("team.toml", team);
    assert_eq!(check(dir.path(), "dockgate.toml"), (true, String::new()));
    write("team.toml", &team.replace("CapAdd", "CapAd"));
    let (is_right, said) = check(dir.path(), "dockgate.toml");
    assert!(!is_right && page.contains(&said), "{said}");
    // The rows of the table of predicates, each as the rule of a field that it suits.
    let example = |row: &str| row.rsplit('|').nth(1).map(|one| one.trim().replace('`', ""));
    let (_, table) = page.split_once("| predicate |").unwrap();
    let rows: Vec<_> = table.lines().filter(|line| line.starts_with("| `")).collect();
    assert!(rows.len() > 20);
    for row in rows {
        let rule = example(row).unwrap();
        if !rule.starts_with('{') {
            continue;
        }
        // Whether it suits a field is another matter: the language has to know it.
        write("team.toml", &format!("[operation.ContainerCreate.body]\nImage = {rule}\n"));
        let (_, said) = check(dir.path(), "dockgate.toml");
        for complaint in ["no predicate", "must be", "error", "needs an id"] {
            assert!(!said.contains(complaint), "{rule}: {said}");
        }
    }
}
