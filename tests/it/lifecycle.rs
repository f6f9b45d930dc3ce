//! Lifecycle: starting, draining, ending, and the commands that need no engine.

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::process::{Output, Stdio};

use crate::support::engine::{chunk_borders, hijack_101, plain, refusing};
use crate::support::gate::dockgate;
use crate::support::http::dechunk;
use crate::support::{Conn, Engine, Gate, Setup, text, wait_until};

const INFO: &str = "GET /v1.41/info HTTP/1.1\r\nHost: a\r\n\r\n";

fn run(args: &[&str]) -> Output {
    dockgate(args).output().expect("the dockgate binary")
}

#[test]
fn serve_says_where_it_listens_and_with_which_policies() {
    let engine = Engine::start(plain::behaviour());
    let gate = Setup::new(&engine).conservative().tcp().start();
    let wanted = format!("listening on unix://{} policies=conservative\n", gate.socket().display());
    assert!(gate.stderr().contains(&wanted), "{}", gate.stderr());
    let wanted = format!("listening on tcp://{} policies=conservative\n", gate.tcp_address());
    assert!(gate.stderr().contains(&wanted), "{}", gate.stderr());
    let gate = Gate::pass(&engine);
    assert!(gate.stderr().contains(" policies=none\n"), "{}", gate.stderr());
}

#[test]
fn serve_listens_on_ipv6_too() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("SKIPPED: there is no IPv6 here");
        return;
    }
    let engine = Engine::start(plain::behaviour());
    let gate = Setup::new(&engine)
        .tables("[[listener]]\nname = \"six\"\nurl = \"tcp://[::1]:0\"\n")
        .start();
    wait_until("the second listener", || gate.stderr().contains("listening on tcp://[::1]:"));
    let mut client = Conn::tcp(&gate.tcp_address());
    assert_eq!(client.ask(INFO).0, 200);
    assert!(gate.records(1)[0]["client"].as_str().unwrap().starts_with("[::1]:"));
}

#[test]
fn connections_that_are_reset_at_once_stop_nobody() {
    let engine = Engine::start(plain::behaviour());
    let gate = Setup::new(&engine).tcp().start();
    let linger = Some(std::time::Duration::ZERO);
    for _ in 0..100 {
        let tcp = std::net::TcpStream::connect(gate.tcp_address()).unwrap();
        // Its close is a reset.
        rustix::net::sockopt::set_socket_linger(&tcp, linger).unwrap();
    }
    assert_eq!(Conn::tcp(&gate.tcp_address()).ask(INFO).0, 200);
    assert!(!gate.stderr().contains("no connection can be accepted"), "{}", gate.stderr());
}

#[test]
fn connections_too_many_are_bounded_too() {
    let engine = Engine::start(plain::behaviour());
    let gate = Setup::new(&engine).listener("max_connections = 1").start();
    let before = gate.sockets();
    let _first = gate.client();
    let many: Vec<Conn> = (0..300).map(|_| gate.client()).collect();
    wait_until("they are turned away", || gate.sockets() <= before + 1 + 64);
    drop(many);
}

#[test]
fn serve_starts_without_an_engine() {
    let (_dir, url) = refusing::address();
    let gate = Setup::at(&url).typed().start();
    assert_eq!(gate.client().ask(INFO).0, 502);
    assert_eq!(gate.stop().code, Some(0));
}

#[test]
fn the_socket_file_has_its_mode_and_goes_at_the_end() {
    let engine = Engine::start(plain::behaviour());
    for (keys, mode) in [("", 0o660), ("mode = \"0666\"\n", 0o666), ("mode = \"0600\"\n", 0o600)] {
        let gate = Setup::new(&engine).listener(keys).start();
        let file = std::fs::metadata(gate.socket()).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, mode);
        assert_eq!(file.uid(), std::fs::metadata(gate.dir()).unwrap().uid());
        let names: Vec<_> = std::fs::read_dir(gate.dir())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(names.len(), 2, "the socket, the configuration and nothing else: {names:?}");
        let path = gate.socket().to_owned();
        // The folder goes with the gate: keep it to see what is left in it.
        gate.signal("TERM");
        wait_until("the file is removed", || !path.exists());
        assert_eq!(gate.ended().code, Some(0));
    }
}

#[test]
fn a_stale_socket_is_taken_over_and_a_living_one_is_not() {
    let engine = Engine::start(plain::behaviour());
    let gate = Gate::pass(&engine);
    let config = gate.dir().join("dockgate.toml");
    let second = run(&["serve", "-c", config.to_str().unwrap()]);
    assert_eq!(second.status.code(), Some(1), "{}", text(&second.stderr));
    assert!(text(&second.stderr).contains("listener `it` cannot be opened"));
    assert_eq!(gate.client().ask(INFO).0, 200, "the first one is undisturbed");
}

#[test]
fn sigterm_refuses_new_connections_and_lets_running_calls_finish() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::start(chunk_borders::behaviour(dir.path().to_owned(), 2));
    let mut gate = Gate::pass(&engine);
    let mut running = gate.client();
    running
        .send("POST /images/create?fromImage=a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    running.head();
    std::fs::write(dir.path().join("0"), "").unwrap();
    let first = running.through(b"}\n\r\n");
    let mut idle = gate.client();
    let socket = gate.socket().to_owned();
    gate.signal("TERM");
    wait_until("nobody is let in", || UnixStream::connect(&socket).is_err());
    assert!(idle.is_over(), "an idle connection is closed");
    assert!(gate.is_running());
    std::fs::write(dir.path().join("1"), "").unwrap();
    let body = [first, running.chunks()].concat();
    assert_eq!(dechunk(&body), [chunk_borders::event(0), chunk_borders::event(1)].concat());
    let ended = gate.ended();
    assert_eq!((ended.code, ended.signal), (Some(0), None));
    assert_eq!(ended.stdout.matches("ImageCreate").count(), 1, "its record is written");
}

#[test]
fn sigterm_ends_who_only_looks_on_before_work() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::start(chunk_borders::behaviour(dir.path().to_owned(), 3));
    for (policies, setup) in [("none", Setup::new(&engine)), ("one", Setup::new(&engine).typed())] {
        let gate = setup.start();
        let watch = |line: &str| {
            let mut client = gate.client();
            client.send(format!("GET {line} HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert_eq!(client.head().status(), 200);
            client
        };
        let watching =
            ["/events", "/v1.41/containers/a/logs?stdout=1&follow=1", "/containers/a/stats"];
        let watching: Vec<_> = watching.into_iter().map(watch).collect();
        let mut working = watch("/containers/a/logs?stdout=1");
        gate.signal("TERM");
        for mut client in watching {
            let rest = client.rest();
            assert!(
                !text(&rest).ends_with("0\r\n\r\n"),
                "{policies}: it breaks off, as an engine's that stops"
            );
        }
        for n in 0..3 {
            std::fs::write(dir.path().join(n.to_string()), "").unwrap();
        }
        assert!(text(&working.rest()).ends_with(chunk_borders::END), "{policies}");
        assert_eq!(gate.ended().code, Some(0));
        for n in 0..3 {
            std::fs::remove_file(dir.path().join(n.to_string())).unwrap();
        }
    }
}

#[test]
fn sigterm_waits_for_a_hijacked_stream() {
    let engine = Engine::start(hijack_101::behaviour());
    let gate = Gate::typed(&engine);
    let mut client = crate::hijack::attached(gate.client());
    let socket = gate.socket().to_owned();
    gate.signal("INT");
    wait_until("nobody is let in", || UnixStream::connect(&socket).is_err());
    client.send("still");
    assert_eq!(client.exactly(5), b"still");
    client.end_writing();
    assert!(client.is_over());
    let ended = gate.ended();
    assert_eq!(ended.code, Some(0));
    assert!(ended.stdout.contains("ContainerAttach"));
}

#[test]
fn a_second_sigterm_and_the_end_of_the_drain_timeout_end_it_at_once() {
    for by_signal in [true, false] {
        let engine = Engine::start(hijack_101::behaviour());
        let setup = Setup::new(&engine);
        let gate = match by_signal {
            true => setup.start(),
            false => setup.tables("drain_timeout = \"300ms\"\n").start(),
        };
        let mut client = crate::hijack::attached(gate.client());
        let socket = gate.socket().to_owned();
        gate.signal("TERM");
        wait_until("nobody is let in", || UnixStream::connect(&socket).is_err());
        if by_signal {
            gate.signal("TERM");
        }
        let ended = gate.ended();
        assert_eq!(ended.signal, None);
        assert_eq!(ended.code, Some(0));
        assert!(client.is_over());
    }
}

#[test]
fn check_says_nothing_about_a_valid_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.toml");
    std::fs::write(&file, "[[listener]]\nname = \"a\"\nurl = \"unix:///nowhere/a.sock\"\n")
        .unwrap();
    let output = run(&["check", "-c", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!((text(&output.stdout), text(&output.stderr)), (String::new(), String::new()));
}

#[test]
fn check_names_the_place_of_every_complaint_and_gives_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.toml");
    let path = file.to_str().unwrap();
    std::fs::write(
        &file,
        "[engine]\nurl = \"nonsense\"\n[[listener]]\nname = \"a\"\nurl = \"unix:///a\"\nmode = \"9\"\n\
         policies = [\"conservativ\"]\n",
    )
    .unwrap();
    let output = run(&["check", "-c", path]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    let said = text(&output.stderr);
    for place in ["2:7", "6:8", "7:13"] {
        assert!(said.contains(&format!("{path}:{place}: ")), "{place} in {said}");
    }
    assert!(said.matches("hint: ").count() >= 3, "{said}");
    for (content, place) in [
        ("[[listener]]\nname = \"a\"\nurl = \"unix:///a\"\nfrob = 1\n", "4:1"),
        ("[engine\n", "1:8"),
    ] {
        std::fs::write(&file, content).unwrap();
        let output = run(&["check", "-c", path]);
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(said.starts_with(&format!("{path}:{place}: ")), "{place} in {said}");
        let serve = run(&["serve", "-c", path]);
        assert_eq!(serve.status.code(), Some(1));
        assert_eq!(text(&serve.stderr), said);
    }
    assert_eq!(run(&["check", "-c", "/nowhere.toml"]).status.code(), Some(1));
}

#[test]
fn check_reads_the_rules_of_a_cache() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.toml");
    let rules = dir.path().join("rules.toml");
    std::fs::write(
        &file,
        "[cache.a]\nlisten = [\"http://127.0.0.1:3128\"]\nrules = \"rules.toml\"\n",
    )
    .unwrap();
    let check = || run(&["check", "-c", file.to_str().unwrap()]);
    std::fs::write(&rules, "[[rule]]\nname = \"a\"\npaths = [\"/a\"]\nttl = \"soon\"\n").unwrap();
    let output = check();
    assert_eq!(output.status.code(), Some(1));
    let wanted = format!("{}:4:7: `soon` is not a duration", rules.display());
    assert!(text(&output.stderr).starts_with(&wanted), "{}", text(&output.stderr));
    std::fs::write(&rules, "extends = \"builtin\"\n").unwrap();
    let output = check();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

#[test]
fn bad_usage_is_2() {
    for args in [
        &[][..],
        &["frob"],
        &["serve", "--frob"],
        &["check", "extra"],
        &["explain"],
        &["serve", "-c", "x", "--policy", "none"],
    ] {
        assert_eq!(run(args).status.code(), Some(2), "{args:?}");
    }
    assert_eq!(run(&["--version"]).status.code(), Some(0));
}

/// Exit code and output of `explain` for a create body, with paths given away and an engine at `url`.
fn explains(dir: &std::path::Path, url: &str, host_config: &str) -> (Option<i32>, String) {
    let (config, body) = (dir.join("dockgate.toml"), dir.join("body.json"));
    std::fs::write(
        &config,
        format!(
            "[engine]\nurl = \"{url}\"\n[[listener]]\nname = \"default\"\nurl = \"unix:///run/x/x.sock\"\n\
             policies = [\"ours\"]\n[policy.ours]\nkind = \"conservative\"\n\
             binds = [{{ host = \"{0}/given\" }}, {{ host = \"{0}/link\" }}]\n",
            dir.display()
        ),
    )
    .unwrap();
    std::fs::write(&body, format!(r#"{{"Image":"x","HostConfig":{{{host_config}}}}}"#)).unwrap();
    let config = config.to_str().unwrap();
    let body = body.to_str().unwrap();
    let output = run(&["explain", "-c", config, "POST", "/containers/create", "--body", body]);
    (output.status.code(), text(&output.stdout))
}

#[test]
fn explain_looks_where_the_engine_is_here_and_is_undecided_where_it_cannot_know() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    std::fs::create_dir_all(dir.join("given/sub")).unwrap();
    std::fs::create_dir_all(dir.join("else")).unwrap();
    std::fs::create_dir_all(dir.join("other")).unwrap();
    std::os::unix::fs::symlink(dir.join("else"), dir.join("link")).unwrap();
    std::os::unix::fs::symlink(dir.join("other"), dir.join("given/out")).unwrap();
    let at = |path: &str| format!("{}/{path}", dir.display());
    let bind = |path: &str| format!(r#""Binds":["{}:/x:ro"]"#, at(path));
    let here = "unix:///run/nothing/there.sock";
    for given in ["given", "given/sub"] {
        let (code, said) = explains(&dir, here, &bind(given));
        assert_eq!(code, Some(0), "{given}: {said}");
        assert!(said.contains("assumed: the engine has its data in `/var/lib/docker`"), "{said}");
    }
    let (code, said) = explains(&dir, here, &bind("link"));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("{}:/x:ro", at("else"))), "where the link leads: {said}");
    for (bad, why) in [
        ("given/nothing", "there is no such path"),
        ("given/out", "must not name a path of the host"),
        ("other", "must not name a path of the host"),
    ] {
        let (code, said) = explains(&dir, here, &bind(bad));
        assert_eq!(code, Some(3), "{bad}: {said}");
        assert!(said.contains(why), "{bad}: {said}");
    }
    // Whether another machine's engine makes all of a path read-only, only that one can say.
    let (code, said) = explains(&dir, "tcp://127.0.0.1:1", &bind("given"));
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("it would be asked: `/info`"), "{said}");
    for (unknown, question) in [
        (r#""NetworkMode":"prod""#, "network `prod`"),
        (r#""Binds":["data:/x"]"#, "volume `data`"),
        (r#""PidMode":"container:web""#, "container `web`"),
    ] {
        let (code, said) = explains(&dir, here, unknown);
        assert_eq!(code, Some(4), "{unknown}: {said}");
        assert!(said.contains("undecided by ours"), "{said}");
        assert!(said.contains(&format!("it would be asked: {question}\n")), "{said}");
        assert!(!said.contains("absent"), "{said}");
        let (code, said) = explains(&dir, here, &format!(r#"{unknown},"Privileged":true"#));
        assert_eq!(code, Some(3), "refused whatever that is: {said}");
        assert!(said.contains("rule container.privileged"), "{said}");
    }
    let both = format!(r#""Binds":["data:/x","{}:/y:ro"]"#, at("given/nothing"));
    assert_eq!(explains(&dir, here, &both).0, Some(3), "what is known is reason enough");
}

#[test]
fn explain_asks_only_about_what_the_client_has_named() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    std::fs::create_dir_all(dir.join("given")).unwrap();
    let both =
        format!(r#""Binds":["data:/x","{}/given:/y:ro"],"NetworkMode":"prod""#, dir.display());
    let (code, said) = explains(&dir, "tcp://127.0.0.1:1", &both);
    assert_eq!(code, Some(4), "{said}");
    let asked: Vec<_> = said.lines().filter(|line| line.starts_with("it would be asked")).collect();
    let wanted = ["it would be asked: network `prod`", "it would be asked: volume `data`"];
    assert_eq!(asked, wanted, "in this order, and nothing of the engine's own: {said}");
}

#[test]
fn explain_tells_all_reasons_policy_by_policy() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dockgate.toml");
    let config = "[[listener]]\nname = \"only\"\nurl = \"unix:///x\"\npolicies = [\"conservative\", \"sizes\"]\n\
                  [policy.sizes]\nkind = \"limits\"\nmax = { memory = \"1g\" }\n";
    std::fs::write(&file, config).unwrap();
    let body =
        r#"{"Image":"x","HostConfig":{"Memory":8589934592,"Privileged":true,"PidMode":"host"}}"#;
    let file = file.to_str().unwrap();
    let mut command =
        dockgate(&["explain", "-c", file, "POST", "/containers/create", "--body", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{said}");
    let lines: Vec<_> = said.lines().map(|line| line.split(" (rule").next().unwrap()).collect();
    let wanted = [
        "denied by conservative",
        "",
        "dockgate: HostConfig.Privileged: must be false",
        "dockgate: HostConfig.PidMode: must not be `host`",
        "",
        "denied by sizes",
        "",
        "dockgate: HostConfig.Memory: must be at most 1g, asked 8g",
    ];
    assert_eq!(lines, wanted);
    let whole = run(&["explain", "POST", "/swarm/leave"]);
    assert_eq!(text(&whole.stdout).matches("(rule ").count(), 1, "an operation is one reason");
}

#[test]
fn explain_shows_what_the_engine_would_get_or_why_not() {
    let output = run(&["explain", "GET", "/containers/json?all=1"]);
    assert_eq!(output.status.code(), Some(0));
    let said = text(&output.stdout);
    let newest = dockgate::api::endpoint::NEWEST;
    assert!(said.contains(&format!("GET /v1.{newest}/containers/json?all=1 HTTP/1.1")), "{said}");
    let dir = tempfile::tempdir().unwrap();
    let body = dir.path().join("body.json");
    std::fs::write(&body, r#"{"Image":"x","HostConfig":{"privileged":true}}"#).unwrap();
    let body = body.to_str().unwrap();
    let output = run(&["explain", "POST", "/containers/create", "--body", body]);
    assert_eq!(output.status.code(), Some(3));
    let said = text(&output.stdout);
    assert!(said.contains("rule container.privileged"), "{said}");
    let output = run(&["explain", "GET", "/containers/a%5Cb/json"]);
    assert_eq!(output.status.code(), Some(3));
    let none = run(&["explain", "--listener", "none", "GET", "/info"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(text(&none.stderr).contains("`--listener` is one of `default`"), "{none:?}");
    let lost = run(&["explain", "POST", "/containers/create", "--body", "/no/such/body.json"]);
    assert!(text(&lost.stderr).contains("/no/such/body.json"), "{lost:?}");
}
