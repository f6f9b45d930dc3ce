//! `dockgate explain -- COMMAND`: a command's calls are judged by all policies, and no engine hears of them.
//!
//! The command is this binary, or the docker CLI where this machine has one.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::engine::plain;
use crate::support::gate::dockgate;
use crate::support::{Conn, Engine, text};

const REQUESTS: &str = "DOCKGATE_IT_REQUESTS";
const STATUS: &str = "DOCKGATE_IT_STATUS";

/// No test: what `command` runs. It sends its requests one by one and says what is answered.
#[test]
#[ignore = "the command of other tests"]
fn client() {
    let Ok(requests) = std::env::var(REQUESTS) else { return };
    let host = std::env::var("DOCKER_HOST").unwrap();
    let socket = Path::new(host.strip_prefix("unix://").unwrap());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(socket), mode(socket.parent().unwrap())), (0o600, 0o700));
    println!("socket {}", socket.display());
    for request in requests.split('\u{1}').filter(|request| !request.is_empty()) {
        let (line, body) = request.split_once('\n').unwrap_or((request, ""));
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let (status, said) = Conn::unix(socket).ask(format!(
            "{line} HTTP/1.1\r\nHost: a\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        println!("{status} {said}");
    }
    while std::env::var(STATUS).is_ok_and(|status| status == "never") {
        std::thread::park();
    }
    let status = std::env::var(STATUS).map_or(0, |status| status.parse().unwrap());
    std::process::exit(status);
}

struct Explained {
    code: Option<i32>,
    said: String,
    stderr: String,
}

fn explained(mut command: Command) -> Explained {
    let output = command.stdin(Stdio::null()).output().unwrap();
    Explained {
        code: output.status.code(),
        said: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// What is said of a client that sends these: lines, with a body behind a line end.
fn sends(options: &[&str], requests: &[&str]) -> Explained {
    let this = std::env::current_exe().unwrap();
    let this = this.to_str().unwrap();
    let client = ["--", this, "--exact", "explain_command::client", "--ignored", "--nocapture"];
    let mut command = dockgate(&["explain"]);
    command.args(options).args(client).env(REQUESTS, requests.join("\u{1}"));
    explained(command)
}

const PRIVILEGED: &str =
    r#"{"Image":"x","HostConfig":{"Privileged":true,"Memory":17179869184,"PidMode":"host"}}"#;

fn create(name: &str, body: &str) -> String {
    format!("POST /v1.51/containers/create?name={name}\n{body}")
}

#[test]
fn all_reasons_of_all_policies_are_told_and_the_engine_hears_nothing() {
    let engine = Engine::start(plain::behaviour());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dockgate.toml");
    let config = format!(
        "[engine]\nurl = \"unix://{}\"\n[[listener]]\nname = \"it\"\nurl = \"unix:///x\"\n\
         policies = [\"watch\", \"conservative\", \"sizes\"]\n\
         [policy.watch]\nkind = \"conservative\"\nmode = \"audit\"\n\
         [policy.sizes]\nkind = \"limits\"\nmax = {{ memory = \"8g\" }}\n\
         [policy.sizes.users.ann]\nmax = {{ memory = \"4g\" }}\n",
        engine.path().display()
    );
    std::fs::write(&file, config).unwrap();
    let file = file.to_str().unwrap();
    let requests = [
        &*create("c", PRIVILEGED),
        "POST /v1.51/containers/c/start",
        "GET /v1.51/containers/json",
        "GET /v1.51/containers/json",
        r#"POST /v1.51/volumes/create
{"Name":"v","Driver":"local"}"#,
        "POST /v1.51/nosuch",
    ];
    let Explained { code, said, stderr } = sends(&["-c", file], &requests);
    assert_eq!(code, Some(3), "{said}{stderr}");
    let rule = |line: &str| Some(line.split_once("(rule ")?.1.split_once(')')?.0.to_owned());
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "denied   POST /containers/create?name=c");
    let rules: Vec<_> = lines[1..4].iter().filter_map(|line| rule(line)).collect();
    assert_eq!(rules, ["container.privileged", "container.pid-host", "limits.memory"], "{said}");
    assert!(lines[1].starts_with("         conservative: HostConfig.Privileged: must be false"));
    assert_eq!(
        lines[3],
        "         sizes: HostConfig.Memory: must be at most 8g, asked 16g (rule limits.memory)"
    );
    assert!(
        said.contains("         watch (audit): HostConfig.Privileged: must be false"),
        "{said}"
    );
    assert!(
        said.contains("denied   POST /containers/c/start\n         for what stands above\n"),
        "{said}"
    );
    assert!(said.contains("allowed  POST /volumes/create\n"), "{said}");
    assert!(said.contains("allowed  besides: ContainerList (2 times)\n"), "{said}");
    assert!(said.contains("denied   POST /nosuch\n         page not found (no"), "{said}");
    assert!(said.ends_with("\ndenied: 3 of 5 different calls\n"), "{said}");
    // Its client was told what an engine says that does as it is told.
    assert!(stderr.contains("201 {\"Id\":\"") && stderr.contains("204 \n"), "{stderr}");
    let (_, socket) = stderr.split_once("socket ").unwrap();
    assert!(!Path::new(socket.lines().next().unwrap()).parent().unwrap().exists(), "it is gone");
    assert!(engine.seen().is_empty() && engine.own_questions() == 0);
    assert_eq!(sends(&["-c", file], &requests).said, said, "the same again");

    let Explained { said, .. } = sends(&["-c", file, "--user", "ann"], &requests);
    assert!(said.contains("must be at most 4g, asked 16g"), "{said}");
}

#[test]
fn what_is_allowed_is_0_and_what_nobody_knows_is_not() {
    let plain = create("c", r#"{"Image":"x","Env":["A=b"]}"#);
    let asks =
        ["GET /_ping", &plain, "POST /v1.51/containers/c/start", "DELETE /v1.51/containers/c"];
    let Explained { code, said, stderr } = sends(&[], &asks);
    assert_eq!(code, Some(0), "{said}{stderr}");
    assert!(said.contains("allowed  POST /containers/create?name=c\n"), "{said}");
    assert!(said.contains("allowed  DELETE /containers/c\n"), "{said}");
    assert!(said.ends_with("\nallowed\n") && !said.contains("denied"), "{said}");

    let Explained { code, said, .. } = sends(&[], &[]);
    assert_eq!((code, said.as_str()), (Some(4), "\nundecided: the command has asked no engine\n"));

    let this = std::env::current_exe().unwrap();
    let mut failing = dockgate(&["explain", "--", this.to_str().unwrap()]);
    failing.args(["--exact", "explain_command::client", "--ignored"]);
    let Explained { code, said, .. } = explained({
        failing.env(REQUESTS, "GET /_ping").env(STATUS, "7");
        failing
    });
    assert_eq!(code, Some(4), "{said}");
    assert!(
        said.contains("undecided: all of it is allowed, but the command ended with exit status: 7")
    );
}

#[test]
fn a_command_that_is_interrupted_has_not_said_all() {
    let this = std::env::current_exe().unwrap();
    let mut command = dockgate(&["explain", "--", this.to_str().unwrap()]);
    command.args(["--exact", "explain_command::client", "--ignored", "--nocapture"]);
    command.env(REQUESTS, "GET /_ping").env(STATUS, "never");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut explain = command.spawn().unwrap();
    let mut lines = BufReader::new(explain.stderr.take().unwrap()).lines().map(Result::unwrap);
    let socket = lines.find_map(|line| Some(line.strip_prefix("socket ")?.to_owned())).unwrap();
    assert_eq!(lines.find(|line| line.starts_with("200")).as_deref(), Some("200 OK"));
    let pid = explain.id().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
    let output = explain.wait_with_output().unwrap();
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(4), "{said}");
    let wanted = "undecided: all of it is allowed, but the command was interrupted\n";
    assert!(said.ends_with(wanted), "{said}");
    assert!(!Path::new(&socket).parent().unwrap().exists());
}

#[test]
fn a_command_that_would_ask_another_engine_is_bad_usage() {
    for args in [
        &["docker", "-H", "tcp://10.0.0.1", "ps"][..],
        &["/usr/bin/docker", "--context=prod", "ps"],
        &["docker-compose", "--host", "unix:///x", "up"],
    ] {
        let mut command = dockgate(&["explain", "--"]);
        command.args(args);
        let Explained { code, stderr, .. } = explained(command);
        assert_eq!(code, Some(2), "{args:?} {stderr}");
        assert!(stderr.contains("leads the command to another engine"), "{stderr}");
    }
    let mut command = dockgate(&["explain", "GET", "/info", "--", "docker", "ps"]);
    assert_eq!(command.output().unwrap().status.code(), Some(2));
    let Explained { code, stderr, .. } =
        explained(dockgate(&["explain", "--", "/nowhere/no-such-command"]));
    assert_eq!(code, Some(1));
    assert!(stderr.contains("`/nowhere/no-such-command` cannot be started: "), "{stderr}");
}

/// A build by the classic builder: its context is read away, and its Dockerfile looked at.
#[test]
fn a_dockerfile_in_a_context_is_judged() {
    let dir = tempfile::tempdir().unwrap();
    let Some(cli) = Cli::find() else { return };
    std::fs::write(dir.path().join("Dockerfile"), "FROM scratch\nADD http://127.0.0.1/x /\n")
        .unwrap();
    let build = ["build", dir.path().to_str().unwrap()];
    let Explained { code, said, stderr } = cli.explains(&build, &[("DOCKER_BUILDKIT", "0")]);
    assert_eq!(code, Some(3), "{said}{stderr}");
    assert!(said.contains("denied   POST /build\n"), "{said}");
    assert!(said.contains("Dockerfile:2") && said.contains("(rule build.fetch)"), "{said}");
}

/// The docker CLI, with the plugins that the end-to-end tests have, if there are any.
struct Cli {
    program: PathBuf,
    config: tempfile::TempDir,
    has_buildx: bool,
    has_compose: bool,
}

impl Cli {
    /// Says so where there is none.
    fn find() -> Option<Cli> {
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        let suite = home.join(".cache/dockgate-e2e/suite-forky/usr");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let in_path = std::env::split_paths(&path).map(|folder| folder.join("docker"));
        let program =
            [suite.join("bin/docker")].into_iter().chain(in_path).find(|one| one.exists());
        let Some(program) = program else {
            eprintln!("SKIPPED: this machine has no docker CLI");
            return None;
        };
        let config = tempfile::tempdir().unwrap();
        let plugins = config.path().join("cli-plugins");
        std::fs::create_dir(&plugins).unwrap();
        let folders = [
            suite.join("libexec/docker/cli-plugins"),
            "/usr/libexec/docker/cli-plugins".into(),
            "/usr/lib/docker/cli-plugins".into(),
        ];
        let link = |name: &str| {
            let found = folders.iter().map(|folder| folder.join(name)).find(|one| one.exists());
            let linked = found.map(|one| std::os::unix::fs::symlink(one, plugins.join(name)));
            linked.is_some_and(|linked| linked.is_ok())
        };
        let (has_buildx, has_compose) = (link("docker-buildx"), link("docker-compose"));
        Some(Cli { program, config, has_buildx, has_compose })
    }

    fn explains(&self, args: &[&str], env: &[(&str, &str)]) -> Explained {
        let mut command = dockgate(&["explain", "--", self.program.to_str().unwrap()]);
        command.args(args).envs(env.iter().copied());
        command.env("HOME", self.config.path()).env("DOCKER_CONFIG", self.config.path());
        explained(command)
    }
}

#[test]
fn docker_run_is_judged_to_its_end() {
    let Some(cli) = Cli::find() else { return };
    for (args, rules) in [
        (&["run", "--rm", "alpine", "true"][..], &[][..]),
        (&["run", "--privileged", "alpine"], &["container.privileged"]),
        (&["run", "-v", "/:/host", "alpine"], &["container.bind"]),
        (
            &["run", "--name", "n", "--privileged", "-v", "/:/host", "alpine"],
            &["container.privileged", "container.bind"],
        ),
    ] {
        let Explained { code, said, stderr } = cli.explains(args, &[]);
        assert_eq!(code, Some(if rules.is_empty() { 0 } else { 3 }), "{args:?}\n{said}{stderr}");
        for rule in rules {
            assert!(said.contains(&format!("(rule {rule})")), "{args:?}\n{said}");
        }
        let verdict = if rules.is_empty() { "allowed" } else { "denied " };
        assert!(said.contains(&format!("{verdict}  POST /containers/create")), "{said}");
        assert!(said.contains("/start\n"), "as far as its start: {args:?}\n{said}");
    }
}

#[test]
fn docker_build_by_buildkit_is_judged_to_its_end() {
    let Some(cli) = Cli::find() else { return };
    if !cli.has_buildx {
        eprintln!("SKIPPED: this machine has no buildx");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("Dockerfile"), "FROM alpine\nRUN true\n").unwrap();
    let context = dir.path().to_str().unwrap();
    let Explained { code, said, stderr } =
        cli.explains(&["build", "--network", "host", context], &[]);
    assert_eq!(code, Some(3), "{said}{stderr}");
    assert!(said.contains("denied   POST /moby.buildkit.v1.Control/Solve"), "{said}");
    assert!(
        said.contains("(rule build.entitlement)") && said.contains("(rule build.network)"),
        "{said}"
    );
    assert!(said.contains("denied   POST /moby.buildkit.v1.frontend.LLBBridge/Solve\n"), "{said}");
    let Explained { code, said, stderr } = cli.explains(&["build", "-t", "x", context], &[]);
    assert_eq!(code, Some(0), "{said}{stderr}");
    assert!(said.contains("allowed  POST /moby.buildkit.v1.frontend.LLBBridge/Solve\n"), "{said}");
}

#[test]
fn docker_compose_up_is_judged_to_its_end() {
    let Some(cli) = Cli::find() else { return };
    if !cli.has_compose {
        eprintln!("SKIPPED: this machine has no compose");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("compose.yaml");
    let text = "name: p\nservices:\n  bad: {image: alpine, privileged: true}\n  good:\n    image: alpine\n    \
                volumes: [\"data:/data\"]\nvolumes: {data: {}}\n";
    std::fs::write(&file, text).unwrap();
    let up = ["compose", "-f", file.to_str().unwrap(), "up", "-d"];
    let Explained { code, said, stderr } = cli.explains(&up, &[]);
    assert_eq!(code, Some(3), "{said}{stderr}");
    assert!(said.contains("denied   POST /containers/create?name=p-bad-1\n"), "{said}");
    assert!(said.contains("(rule container.privileged)"), "{said}");
    for allowed in [
        "/networks/create",
        "/volumes/create",
        "/containers/create?name=p-good-1",
        "/containers/p-good-1/start",
    ] {
        assert!(said.contains(&format!("allowed  POST {allowed}\n")), "{allowed}: {said}");
    }
    assert!(
        said.contains("denied   POST /containers/p-bad-1/start\n         for what stands above\n"),
        "{said}"
    );
    assert_eq!(cli.explains(&up, &[]).said, said, "the same again");
}
