//! Authenticators for people and services: `unix-peer`, `basic` and `dockgate passwd`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use crate::support::engine::plain;
use crate::support::gate::dockgate;
use crate::support::{Engine, Gate, Head, Setup, text, wait_until};

/// By Apache's `htpasswd -nbBC 10 ann 'correct horse'`.
const ANN: &str = "ann:$2y$10$WZUuYZYojHHJ7tNcaNTAluTzv3MQtTdkj0ze0pYV89OWijVvHXEr6";

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// A gate whose listener has this one authenticator `a`.
pub fn gate_with(engine: &Engine, auth: &str) -> Gate {
    Setup::new(engine).listener("auth = [\"a\"]\n").tables(&format!("[auth.a]\n{auth}")).start()
}

/// Head and body of the answer to a ping with this `Authorization`.
pub fn ping(gate: &Gate, authorization: Option<&str>) -> (Head, String) {
    let mut request = "GET /_ping HTTP/1.1\r\nHost: a\r\nUser-Agent: it\r\n".to_owned();
    if let Some(value) = authorization {
        let _ = write!(request, "Authorization: {value}\r\n");
    }
    let mut client = gate.client();
    client.send(request + "\r\n");
    let head = client.head();
    let body = client.body(&head);
    (head, text(&body))
}

fn login(gate: &Gate, user: &str, password: &str) -> (u16, String) {
    let value = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    let (head, body) = ping(gate, Some(&value));
    (head.status(), body)
}

fn htpasswd(lines: &str) -> (TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("htpasswd");
    std::fs::write(&path, lines).unwrap();
    let auth = format!("kind = \"basic\"\nfile = \"{}\"\n", path.display());
    (dir, auth)
}

#[test]
fn a_unix_peer_has_the_name_of_its_os_user_in_the_log() {
    let engine = Engine::start(plain::behaviour());
    let gate = gate_with(&engine, "kind = \"unix-peer\"\n");
    assert_eq!(ping(&gate, None).0.status(), 200);
    let id = Command::new("id").arg("-un").output().unwrap();
    assert_eq!(gate.records(1)[0]["user"], text(&id.stdout).trim());
}

#[test]
fn a_table_gives_a_unix_peer_another_name_and_refuses_the_others() {
    let engine = Engine::start(plain::behaviour());
    let users = format!("kind = \"unix-peer\"\nusers = {{ \"{}\" = \"runner\" }}\n", own_uid());
    let gate = gate_with(&engine, &users);
    assert_eq!(ping(&gate, None).0.status(), 200);
    assert_eq!(gate.records(1)[0]["user"], "runner");

    let groups = rustix::process::getegid().as_raw();
    let groups = format!("kind = \"unix-peer\"\ngroups = {{ \"{groups}\" = \"member\" }}\n");
    let gate = gate_with(&engine, &groups);
    assert_eq!(ping(&gate, None).0.status(), 200);
    assert_eq!(gate.records(1)[0]["user"], "member");

    let seen = engine.seen().len();
    let strangers = format!("kind = \"unix-peer\"\nusers = {{ \"{}\" = \"x\" }}\n", own_uid() + 1);
    let gate = gate_with(&engine, &strangers);
    let (head, body) = ping(&gate, None);
    assert_eq!((head.status(), head.get("www-authenticate")), (401, None));
    assert!(body.contains(r#""message":"dockgate: no valid credentials"#), "{body}");
    let record = &gate.records(1)[0];
    assert_eq!((&record["status"], &record["user"]), (&401.into(), &"-".into()));
    assert_eq!(engine.seen().len(), seen, "the engine hears nothing of it");
}

#[test]
fn a_password_is_right_or_wrong_whoever_it_is_of() {
    let engine = Engine::start(plain::behaviour());
    let (_dir, auth) = htpasswd(&format!("# people\n{ANN}\n"));
    let gate = gate_with(&engine, &auth);
    assert_eq!(login(&gate, "ann", "correct horse").0, 200);
    let seen = engine.seen().concat();
    assert!(!seen.to_ascii_lowercase().contains("authorization"), "{seen}");
    assert_eq!(gate.records(1)[0]["user"], "ann");

    let (wrong, unknown) = (login(&gate, "ann", "wrong horse"), login(&gate, "eve", "wrong horse"));
    assert_eq!(wrong, unknown, "the same words");
    assert_eq!((wrong.0, wrong.1.contains("wrong user or password")), (401, true), "{wrong:?}");
    let (head, _) = ping(&gate, None);
    assert_eq!(head.status(), 401);
    assert_eq!(head.get("www-authenticate"), Some(r#"Basic realm="dockgate", charset="UTF-8""#));
    for other in ["Bearer abc", "Basic !", "Basic"] {
        assert_eq!(ping(&gate, Some(other)).0.status(), 401, "{other}");
    }
    let ended = gate.stop();
    let said = ended.stdout + &ended.stderr;
    assert!(!said.contains("horse") && !said.contains(&STANDARD.encode("eve:wrong")), "{said}");
}

#[test]
fn whoever_fails_often_is_told_to_wait_but_not_whoever_was_right() {
    let engine = Engine::start(plain::behaviour());
    let (_dir, auth) = htpasswd(ANN);
    let gate = gate_with(&engine, &auth);
    assert_eq!(login(&gate, "ann", "correct horse").0, 200);
    // With every failure the wait doubles: a slow machine needs a few more.
    wait_until("the address is backed off", || {
        let (status, body) = login(&gate, "ann", "wrong");
        assert_eq!(status, 401);
        body.contains("too many failed logins from this address: try again in ")
    });
    assert_eq!(login(&gate, "ann", "correct horse").0, 200);
}

#[test]
fn a_weak_line_is_refused_by_check_with_its_place() {
    let (dir, auth) = htpasswd(&format!("{ANN}\nbob:$apr1$mHfs4Awu$6ig4VCmJNBtX4SQNjIDgE/\n"));
    let config = dir.path().join("dockgate.toml");
    let listener = "[[listener]]\nname = \"a\"\nurl = \"unix:///run/x.sock\"\nauth = [\"a\"]\n";
    std::fs::write(&config, format!("{listener}[auth.a]\n{auth}")).unwrap();
    let check = dockgate(&["check", "-c", config.to_str().unwrap()]).output().unwrap();
    let said = text(&check.stderr);
    let place = format!("{}:2:1: MD5 (`$apr1$`) is weak", dir.path().join("htpasswd").display());
    assert_eq!(check.status.code(), Some(1));
    assert!(said.starts_with(&place) && said.contains("dockgate passwd"), "{said}");
    assert!(!said.contains("mHfs4Awu"), "{said}");
}

/// Exit code, stdout, stderr.
fn passwd(user: &str, stdin: &str) -> (Option<i32>, String, String) {
    let mut command = dockgate(&["passwd", user]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that refuses the name does not read.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let ended = child.wait_with_output().unwrap();
    (ended.status.code(), text(&ended.stdout), text(&ended.stderr))
}

#[test]
fn passwd_makes_a_line_that_the_gate_and_apache_take() {
    let (code, line, said) = passwd("bob", "b\u{e4}ttery staple\r\nanother line\n");
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert!(line.starts_with("bob:$2y$12$") && line.ends_with('\n') && line.len() == 65, "{line}");
    let (dir, auth) = htpasswd(&format!("{ANN}\n{line}"));
    let engine = Engine::start(plain::behaviour());
    let gate = gate_with(&engine, &auth);
    assert_eq!(login(&gate, "bob", "b\u{e4}ttery staple").0, 200);

    let apache = |password: &str| {
        let file = dir.path().join("htpasswd");
        let mut command = Command::new("htpasswd");
        command.arg("-vb").arg(file).args(["bob", password]).stderr(Stdio::null()).status()
    };
    match apache("b\u{e4}ttery staple") {
        Ok(status) => assert!(status.success() && !apache("wrong").unwrap().success()),
        Err(_) => eprintln!("SKIPPED: Apache's `htpasswd` (apache2-utils) is not on this machine"),
    }
}

#[test]
fn passwd_refuses_what_could_not_be_a_login() {
    for user in ["", "a:b", "#a", "a\nb", " a"] {
        let (code, line, said) = passwd(user, "x\n");
        assert_eq!((code, line.as_str()), (Some(2), ""), "{user:?}: {said}");
    }
    for password in ["", "\n", "\r\n", &"x".repeat(73), "a\tb\n"] {
        let (code, line, said) = passwd("ann", password);
        assert_eq!((code, line.as_str()), (Some(1), ""), "{password:?}");
        assert!(said.contains("password") && !said.contains("xxx"), "{said}");
    }
}
