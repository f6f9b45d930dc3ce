//! Reload: what changes, what stays, and that a bad file changes nothing.

use std::os::unix::fs::PermissionsExt as _;

use crate::hijack::attached;
use crate::support::engine::{hijack_101, plain};
use crate::support::{Conn, Engine, Gate, Setup, text, wait_until};

const INFO: &str = "GET /v1.41/info HTTP/1.1\r\nHost: a\r\n\r\n";
const SWARM: &str = "POST /v1.41/swarm/leave HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";

/// Changes the gate's file and waits until it says what became of it.
pub(crate) fn reload(gate: &Gate, change: impl Fn(&str) -> String) -> String {
    let text = std::fs::read_to_string(gate.config()).unwrap();
    std::fs::write(gate.config(), change(&text)).unwrap();
    let seen = gate.stderr().len();
    gate.signal("HUP");
    let said = || gate.stderr()[seen..].to_owned();
    wait_until("the end of a reload", || said().contains("reloaded"));
    said()
}

#[test]
fn policies_change_for_the_next_call_and_a_stream_goes_on() {
    let engine = Engine::start(Box::new(|wire| {
        let behaviour = plain::behaviour();
        // Kept connections and taken-over ones at once.
        match wire.conn.peek_starts_with(b"POST /v1.41/containers") {
            true => hijack_101::behaviour()(wire),
            false => behaviour(wire),
        }
    }));
    let gate = Gate::pass(&engine);
    let mut stream = attached(gate.client());
    stream.send("before ");
    assert_eq!(text(&stream.exactly(7)), "before ");
    let mut kept = gate.client();
    assert_eq!(kept.ask(SWARM).0, 200);
    let socket = std::fs::metadata(gate.socket()).unwrap().permissions();
    assert_eq!(socket.mode() & 0o777, 0o660);
    reload(&gate, |text| {
        text.replace("policies = []", "policies = [\"conservative\"]\nmode = \"0600\"")
    });
    assert_eq!(kept.ask(SWARM).0, 403, "on the connection from before");
    assert_eq!(gate.client().ask(SWARM).0, 403, "and on a new one");
    stream.send("after");
    assert_eq!(text(&stream.exactly(5)), "after");
    stream.end_writing();
    assert!(stream.is_over());
    let socket = std::fs::metadata(gate.socket()).unwrap().permissions();
    assert_eq!(socket.mode() & 0o777, 0o600, "the file's mode follows");
}

#[test]
fn a_mode_is_as_it_was_when_something_else_cannot_be_opened() {
    let engine = Engine::start(plain::behaviour());
    let gate = Gate::pass(&engine);
    std::fs::write(gate.dir().join("plain"), "").unwrap();
    for other in [
        format!("[admin]\nlisten = [\"unix://{}/plain\"]", gate.dir().display()),
        format!("[[listener]]\nname = \"z\"\nurl = \"unix://{}/plain\"", gate.dir().display()),
    ] {
        let before = std::fs::read_to_string(gate.config()).unwrap();
        let said = reload(&gate, |text| {
            format!(
                "{}\n{other}\n",
                text.replace("policies = []", "policies = []\nmode = \"0600\"")
            )
        });
        assert!(said.contains("not reloaded, nothing has changed"), "{said}");
        let mode = std::fs::metadata(gate.socket()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660, "{other}");
        std::fs::write(gate.config(), before).unwrap();
    }
}

#[test]
fn listeners_come_and_go_and_the_others_keep_their_sockets() {
    use std::os::unix::fs::MetadataExt as _;
    let engine = Engine::start(plain::behaviour());
    let gate = Gate::pass(&engine);
    let inode = || std::fs::metadata(gate.socket()).unwrap().ino();
    let (before, second) = (inode(), gate.dir().join("second.sock"));
    let more = format!("[[listener]]\nname = \"b\"\nurl = \"unix://{}\"\n", second.display());
    let said = reload(&gate, |text| format!("{text}\n{more}"));
    assert!(said.contains(&format!("listening on unix://{} policies=none", second.display())));
    let mut client = Conn::unix(&second);
    assert_eq!(client.ask(INFO).0, 200);
    reload(&gate, |text| text.replace(&more, ""));
    wait_until("the listener is gone", || !second.exists());
    // Whoever is connected may end what they began; the next call there is the last.
    assert_eq!(client.ask(INFO).0, 200);
    assert!(client.is_over());
    assert_eq!(gate.client().ask(INFO).0, 200);
    assert_eq!(inode(), before, "the same socket");
}

#[test]
fn a_bad_file_changes_nothing_and_is_told_with_its_place() {
    let engine = Engine::start(plain::behaviour());
    let gate = Setup::new(&engine).typed().start();
    let good = std::fs::read_to_string(gate.config()).unwrap();
    let taken = gate.dir().join("plain-file");
    std::fs::write(&taken, "").unwrap();
    let blocked = format!(
        "{good}\n[[listener]]\nname = \"c\"\nurl = \"unix://{0}/new.sock\"\n[[listener]]\n\
         name = \"d\"\nurl = \"unix://{1}\"\n",
        gate.dir().display(),
        taken.display()
    );
    for (bad, wanted) in [
        ("nonsense".to_owned(), "dockgate.toml:1:9: "),
        (good.replace("policies", "polices"), "unknown field `polices`"),
        (good.replace("[\"typed\"]", "[\"frob\"]"), "there is no policy `frob`"),
        (blocked, "listener `d` cannot be opened"),
    ] {
        let said = reload(&gate, |_| bad.clone());
        assert!(said.contains("not reloaded, nothing has changed"), "{said}");
        assert!(said.contains(wanted), "{wanted}: {said}");
        assert_eq!(gate.client().ask(SWARM).0, 403);
    }
    wait_until("what was opened is closed", || !gate.dir().join("new.sock").exists());
    let said = reload(&gate, |_| good.clone());
    assert!(said.contains("reloaded: listeners it"), "{said}");
}

#[test]
fn the_access_log_can_be_switched_on_and_off() {
    let engine = Engine::start(plain::behaviour());
    let gate = Setup::new(&engine).tables("[log]\naccess = \"off\"\n").start();
    assert_eq!(gate.client().ask(INFO).0, 200);
    reload(&gate, |text| text.replace("\"off\"", "\"json\""));
    assert_eq!(gate.client().ask(SWARM).0, 200);
    assert_eq!(gate.records(1)[0]["path"], "/v1.41/swarm/leave");
    reload(&gate, |text| text.replace("\"json\"", "\"off\""));
    assert_eq!(gate.client().ask(INFO).0, 200);
    assert_eq!(gate.stop().stdout.lines().count(), 1);
}

#[test]
fn a_refused_file_does_not_touch_modes() {
    let engine = Engine::start(plain::behaviour());
    let gate = Setup::new(&engine).listener("mode = \"0600\"").start();
    let taken = gate.dir().join("plain-file");
    std::fs::write(&taken, "").unwrap();
    let more = format!("[[listener]]\nname = \"z\"\nurl = \"unix://{}\"\n", taken.display());
    let said = reload(&gate, |text| format!("{}\n{more}", text.replace("0600", "0666")));
    assert!(said.contains("nothing has changed"), "{said}");
    let mode = || std::fs::metadata(gate.socket()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    reload(&gate, |text| text.replace(&more, ""));
    assert_eq!(mode(), 0o666);
}

#[test]
fn a_link_in_the_place_of_the_socket_leads_nowhere() {
    let engine = Engine::start(plain::behaviour());
    let gate = Setup::new(&engine).listener("mode = \"0660\"").start();
    let secret = gate.dir().join("secret");
    std::fs::write(&secret, "").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::remove_file(gate.socket()).unwrap();
    std::os::unix::fs::symlink(&secret, gate.socket()).unwrap();
    let said = reload(&gate, |text| text.replace("0660", "0666"));
    assert!(said.contains("a file that is not a socket is in the way"), "{said}");
    assert_eq!(std::fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
    // Without it, the socket that nobody could find any more is opened anew.
    std::fs::remove_file(gate.socket()).unwrap();
    let said = reload(&gate, str::to_owned);
    assert!(said.contains("reloaded: "), "{said}");
    assert_eq!(gate.client().ask(INFO).0, 200);
}

#[test]
fn streams_do_not_hold_what_was_replaced() {
    let engine = Engine::start(Box::new(|wire| {
        match wire.conn.peek_starts_with(b"POST /v1.41/containers") {
            true => hijack_101::behaviour()(wire),
            false => plain::behaviour()(wire),
        }
    }));
    let gate = Gate::pass(&engine);
    let mut streams = Vec::new();
    let mut counts = Vec::new();
    for round in 0..6 {
        streams.push(attached(gate.client()));
        // Idle connections to the engine, which belong to the state.
        for _ in 0..4 {
            assert_eq!(gate.client().ask(INFO).0, 200);
        }
        reload(&gate, |text| {
            let kept = text.lines().filter(|line| !line.starts_with("max_connections"));
            let policies = format!("policies = []\nmax_connections = {}", 1000 + round);
            kept.collect::<Vec<_>>().join("\n").replace("policies = []", &policies)
        });
        wait_until("the pools of the old state are closed", || engine.open() <= streams.len() + 1);
        counts.push(engine.open() - streams.len());
    }
    assert!(counts.iter().all(|count| *count <= 1), "{counts:?}");
}

#[test]
fn a_reload_changes_nothing_of_what_has_not_changed() {
    let engine = Engine::start(plain::behaviour());
    let gate = Gate::typed(&engine);
    let mut kept = gate.client();
    let mut asks = || {
        assert_eq!(kept.ask(INFO).0, 200);
        assert_eq!(gate.client().ask(INFO).0, 200);
        engine.own_questions()
    };
    assert_eq!(asks(), 1, "what it speaks");
    reload(&gate, |text| format!("{text}\n# nothing\n"));
    assert_eq!(asks(), 1, "a listener that stays as it is has the engine that it knows");
    // Another listener is none of its business.
    let other = gate.dir().join("other.sock");
    let listener =
        format!("\n[[listener]]\nname = \"other\"\nurl = \"unix://{}\"\n", other.display());
    reload(&gate, |text| format!("{text}{listener}policies = []\n"));
    assert_eq!(asks(), 1);
    reload(&gate, |text| text.replace("[engine]", "[engine]\npatience = \"77s\""));
    assert_eq!(asks(), 2, "another engine, for all that is known");
}

#[test]
fn a_watched_file_is_reloaded_by_itself() {
    let engine = Engine::start(plain::behaviour());
    let gate = Setup::new(&engine).tables("watch = true\n").start();
    assert_eq!(gate.client().ask(SWARM).0, 200);
    let text = std::fs::read_to_string(gate.config()).unwrap();
    let new = gate.dir().join("new");
    std::fs::write(&new, text.replace("policies = []", "policies = [\"conservative\"]")).unwrap();
    std::fs::rename(&new, gate.config()).unwrap();
    wait_until("a reload", || gate.stderr().contains("reloaded"));
    assert_eq!(gate.client().ask(SWARM).0, 403);
}

#[test]
fn without_a_file_there_is_nothing_to_reload() {
    let engine = Engine::start(plain::behaviour());
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("gate.sock");
    let listen = format!("unix://{}", socket.display());
    let url = format!("unix://{}", engine.path().display());
    let mut command =
        crate::support::gate::dockgate(&["serve", "--listen", &listen, "--engine", &url]);
    let gate = Gate::spawn(&mut command, dir, socket, 1);
    gate.signal("HUP");
    wait_until("a line", || gate.stderr().contains("there is nothing to reload"));
    assert_eq!(gate.client().ask(INFO).0, 200);
}
