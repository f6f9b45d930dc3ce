//! Listeners that are opened and closed while the program runs: `dockgate listener`.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::hijack::attached;
use crate::metrics_text::{Format, read};
use crate::reload::reload;
use crate::restart::{end, is_running, successor};
use crate::support::engine::{hijack_101, plain};
use crate::support::gate::dockgate;
use crate::support::{Conn, Engine, Gate, Setup, text, wait_until};

const INFO: &str = "GET /v1.41/info HTTP/1.1\r\nHost: a\r\n\r\n";
const SWARM: &str = "POST /v1.41/swarm/leave HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";

/// A gate with an admin socket, and streams.
fn gate(policies: &'static str) -> (Engine, Gate) {
    let engine = Engine::start(Box::new(|wire| {
        match wire.conn.peek_starts_with(b"POST /v1.41/containers") {
            true => hijack_101::behaviour()(wire),
            false => plain::behaviour()(wire),
        }
    }));
    let dir = tempfile::tempdir().unwrap();
    let admin = format!("[admin]\nlisten = [\"unix://{}/admin.sock\"]\n", dir.path().display());
    let gate = Setup::new(&engine).policies(policies).files(dir).tables(&admin).start();
    wait_until("the admin socket is there", || gate.dir().join("admin.sock").exists());
    (engine, gate)
}

/// `dockgate listener`: whether it was done, and what was said.
fn listener(gate: &Gate, arguments: &[&str]) -> (bool, String) {
    let config = gate.config();
    let all = [&["listener"], arguments, &["-c", config.to_str().unwrap()]].concat();
    let output = dockgate(&all).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), text(&said))
}

fn open(gate: &Gate, name: &str) -> PathBuf {
    let path = gate.dir().join(format!("{name}.sock"));
    let url = format!("unix://{}", path.display());
    let (done, said) = listener(gate, &["open", name, "--like", "it", "--url", &url]);
    assert!(done, "{said}");
    assert!(said.starts_with(&format!("listening on {url} policies=")), "{said}");
    path
}

fn names(gate: &Gate) -> Vec<String> {
    let (done, said) = listener(gate, &["ls", "--json"]);
    assert!(done, "{said}");
    let said: Value = said.parse().unwrap();
    let all = said["listeners"].as_array().unwrap().iter();
    all.map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn one_is_as_the_listener_that_it_is_like_until_it_is_closed() {
    let (_engine, gate) = gate("[]");
    let path = open(&gate, "job");
    assert_eq!((mode(&path), mode(gate.socket())), (0o660, 0o660));
    // The first, for the engine tells a stream by how a connection of its begins.
    let mut stream = attached(Conn::unix(&path));
    assert_eq!(Conn::unix(&path).ask(INFO).0, 200);
    assert_eq!(names(&gate), ["it", "job"]);
    assert!(listener(&gate, &["ls"]).1.contains("job.sock  (like it)"));
    let (done, said) = listener(&gate, &["close", "job"]);
    assert!(done && said.contains("closed listener `job`"), "{said}");
    assert_eq!(names(&gate), ["it"]);
    assert!(!path.exists(), "before it is said");
    stream.send("still here");
    assert_eq!(text(&stream.exactly(10)), "still here");
    stream.end_writing();
    assert!(stream.is_over());
    assert_eq!(gate.client().ask(INFO).0, 200, "the others go on");
    let url = format!("unix://{}", path.display());
    let arguments = ["open", "job", "--like", "it", "--url", &url, "--mode", "0600"];
    assert!(listener(&gate, &arguments).0, "the name and the place are free again");
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let (engine, gate) = gate("[]");
    let path = open(&gate, "job");
    let place = |name: &str| format!("unix://{}", gate.dir().join(name).display());
    let (job, free) = (place("job.sock"), place("free.sock"));
    let engines = format!("unix://{}", engine.path().display());
    let own = format!("unix://{}", gate.socket().display());
    for (name, like, url, why) in [
        ("job", "it", &free, "is open already"),
        ("it", "it", &free, "is open already"),
        ("other", "it", &job, "is open already"),
        ("other", "it", &own, "is open already"),
        ("other", "job", &free, "there is no listener `job` in the configuration"),
        ("other", "none", &free, "there is no listener `none`"),
        ("a b", "it", &free, "no name for a listener"),
        ("other", "it", &"tcp://127.0.0.1:0".to_owned(), "not a place for it"),
        ("other", "it", &engines, "the engine's own socket"),
        ("other", "it", &place("admin.sock"), "cannot be opened"),
        ("other", "it", &place("dockgate.toml/x"), "cannot be opened"),
    ] {
        let (done, said) = listener(&gate, &["open", name, "--like", like, "--url", url]);
        assert!(!done && said.contains(why), "{name} {like} {url}: {said}");
    }
    let json = listener(&gate, &["close", "none", "--json"]).1;
    assert!(json.starts_with("{\"done\":false,\"message\":"), "{json}");
    for (name, why) in [("it", "is in the configuration"), ("none", "there is no listener")] {
        let (done, said) = listener(&gate, &["close", name]);
        assert!(!done && said.contains(why), "{name}: {said}");
    }
    assert_eq!(names(&gate), ["it", "job"]);
    assert_eq!(Conn::unix(&path).ask(INFO).0, 200);
}

#[test]
fn what_guards_a_listener_on_tcp_guards_no_file() {
    let engine = Engine::start(plain::behaviour());
    let dir = tempfile::tempdir().unwrap();
    let admin = format!("[admin]\nlisten = [\"unix://{}/admin.sock\"]\n", dir.path().display());
    let gate = Setup::new(&engine).tcp().files(dir).tables(&admin).start();
    wait_until("the admin socket is there", || gate.dir().join("admin.sock").exists());
    let on_tcp = names(&gate).into_iter().find(|name| name != "it").unwrap();
    let url = format!("unix://{}", gate.dir().join("job.sock").display());
    let (done, said) = listener(&gate, &["open", "job", "--like", &on_tcp, "--url", &url]);
    assert!(!done && said.contains("what guards it guards no file"), "{said}");
}

#[test]
fn a_reload_gives_it_the_new_rules_and_closes_it_with_the_listener_that_it_is_like() {
    let (_engine, gate) = gate("[]");
    let path = open(&gate, "job");
    let inode = || std::fs::metadata(&path).unwrap().ino();
    let before = inode();
    let mut kept = Conn::unix(&path);
    assert_eq!(kept.ask(SWARM).0, 200);
    reload(&gate, |text| text.replace("policies = []", "policies = [\"conservative\"]"));
    assert_eq!(kept.ask(SWARM).0, 403, "on the connection from before");
    assert_eq!(inode(), before, "its socket stays");
    let said = reload(&gate, |text| text.replace("name = \"it\"", "name = \"other\""));
    assert!(said.contains("listener `job` is closed: there is no listener `it`"), "{said}");
    wait_until("its file goes", || !path.exists());
    assert_eq!(names(&gate), ["other"]);
}

#[test]
fn who_breaks_its_file_holds_up_no_reload_and_no_restart() {
    let (_engine, mut gate) = gate("[]");
    let (plain, folder) = (open(&gate, "plain"), open(&gate, "folder"));
    let fine = open(&gate, "fine");
    std::fs::remove_file(&plain).unwrap();
    std::fs::write(&plain, "mine").unwrap();
    std::fs::remove_file(&folder).unwrap();
    std::fs::create_dir_all(folder.join("inner")).unwrap();
    let said = reload(&gate, |text| text.replace("policies = []", "policies = [\"conservative\"]"));
    for name in ["plain", "folder"] {
        assert!(
            said.contains(&format!("listener `{name}` is closed: a file that is not")),
            "{said}"
        );
    }
    assert_eq!(names(&gate), ["it", "fine"]);
    assert_eq!(Conn::unix(&fine).ask(SWARM).0, 403, "the new rules stand");
    assert_eq!(std::fs::read_to_string(&plain).unwrap(), "mine");
    std::fs::remove_file(&fine).unwrap();
    std::fs::write(&fine, "mine").unwrap();
    gate.signal("USR2");
    let new = successor(&gate);
    wait_until("the old process ends", || !gate.is_running());
    assert_eq!(names(&gate), ["it"]);
    end(new);
    wait_until("the new process ends", || !is_running(new));
}

#[test]
fn a_connection_stays_with_the_rules_of_its_listener_when_another_takes_the_place() {
    let (_engine, gate) = gate("[\"conservative\"]");
    let path = open(&gate, "job");
    let mut kept = Conn::unix(&path);
    assert_eq!(kept.ask(SWARM).0, 403);
    let said = reload(&gate, |text| {
        let at = path.display();
        format!("{text}\n[[listener]]\nname = \"open\"\nurl = \"unix://{at}\"\nmode = \"0600\"\n")
    });
    assert!(
        said.contains("listener `job` is closed: listener `open` of the configuration"),
        "{said}"
    );
    assert_eq!(Conn::unix(&path).ask(SWARM).0, 200, "the new one's rules");
    assert_eq!(mode(&path), 0o600);
    // It may have ended; what it may say is said under the old rules.
    if kept.try_send(SWARM).is_ok()
        && let Some(head) = kept.try_head()
    {
        assert!(head.first.contains(" 403 "), "{}", head.first);
    }
}

#[test]
fn all_that_are_like_one_have_one_label_in_the_metrics() {
    let (_engine, gate) = gate("[]");
    for name in ["a", "b", "c"] {
        let path = open(&gate, name);
        assert_eq!(Conn::unix(&path).ask(INFO).0, 200);
    }
    let admin = || Conn::unix(&gate.dir().join("admin.sock"));
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let counted = || {
        let page = read(&admin().ask(request).1, Format::Plain).unwrap();
        page.value("dockgate_requests_total", &[("listener", "it/*")])
    };
    wait_until("all are counted", || counted() == 3.0);
    let labels = admin().ask(request).1;
    assert!(!labels.contains("listener=\"a\""), "{labels}");
}

#[test]
fn a_restart_hands_it_over() {
    let (_engine, mut gate) = gate("[\"conservative\"]");
    let path = open(&gate, "job");
    let inode = std::fs::metadata(&path).unwrap().ino();
    gate.signal("USR2");
    let new = successor(&gate);
    wait_until("the old process ends", || !gate.is_running());
    assert_eq!(std::fs::metadata(&path).unwrap().ino(), inode);
    assert_eq!(Conn::unix(&path).ask(SWARM).0, 403, "under the same policies");
    assert_eq!(names(&gate), ["it", "job"]);
    assert!(listener(&gate, &["close", "job"]).0, "the new process knows what it is");
    wait_until("its file goes", || !path.exists());
    end(new);
    wait_until("the new process ends", || !is_running(new));
}
