//! Under a service manager, which `service_manager.py` plays: restarts with its descriptor store, socket
//! activation, and what it is told.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::engine::plain;
use crate::support::{Conn, Engine, wait_until};

const INFO: &str = "GET /v1.41/info HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

struct Manager {
    child: Child,
    answers: BufReader<ChildStdout>,
    dir: TempDir,
    engine: Engine,
}

impl Manager {
    /// `settings` are those of `Manager` in the script; `listeners` the rest of the configuration.
    fn new(settings: &Value, listeners: &str) -> Manager {
        let engine = Engine::start(plain::behaviour());
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("dockgate.toml");
        let mut all = json!({
            "program": [env!("CARGO_BIN_EXE_dockgate"), "serve", "-c", config],
            "dir": dir.path(),
            "env": { "FDSTORE": "16" },
        });
        for (key, value) in settings.as_object().unwrap() {
            all[key] = serde_json::from_str(&at(&dir, &value.to_string())).unwrap();
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/service_manager.py");
        let child = Command::new("python3")
            .arg(script)
            .arg(all.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(dir.path().join("stderr")).unwrap())
            .spawn();
        let mut child = child.expect("`python3`, which plays the service manager, can be started");
        let answers = BufReader::new(child.stdout.take().unwrap());
        let manager = Manager { child, answers, dir, engine };
        manager.configure(listeners);
        manager
    }

    /// Writes the configuration; `DIR` is the test's folder.
    fn configure(&self, listeners: &str) {
        let engine = self.engine.path().display();
        let text = format!("[engine]\nurl = \"unix://{engine}\"\n{}", at(&self.dir, listeners));
        fs::write(self.dir.path().join("dockgate.toml"), text).unwrap();
    }

    fn tell(&mut self, command: &Value) -> Value {
        writeln!(self.child.stdin.as_mut().unwrap(), "{command}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer.parse().unwrap_or_else(|_| panic!("{command} failed: {}", self.stderr()))
    }

    fn start(&mut self) -> Value {
        let answer = self.tell(&json!(["start"]));
        assert_eq!(answer["state"], "running", "{}", self.stderr());
        answer["passed"].clone()
    }

    fn restart(&mut self) -> Value {
        let answer = self.tell(&json!(["restart"]));
        assert_eq!(answer["state"], "running", "{}", self.stderr());
        answer["passed"].clone()
    }

    /// The names of what it keeps, sorted.
    fn stored(&mut self) -> Value {
        self.tell(&json!(["look"]))["stored"].clone()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn stderr(&self) -> String {
        fs::read_to_string(self.path("stderr")).unwrap()
    }

    /// Where the last listener on TCP is.
    fn tcp(&self) -> String {
        let said = self.stderr();
        let (_, rest) = said.rsplit_once("listening on tcp://").expect("a TCP listener");
        rest.split(' ').next().unwrap_or_default().to_owned()
    }

    /// The name under which the socket of that file is kept.
    fn name_of(&self, file: &str) -> String {
        format!("unix%3A//{}", self.path(file).display())
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // It ends dockgate when nobody gives it commands any more.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- stderr\n{}", self.stderr());
        }
    }
}

fn at(dir: &TempDir, text: &str) -> String {
    text.replace("DIR", dir.path().to_str().unwrap())
}

const UNIX: &str = "[[listener]]\nname = \"u\"\nurl = \"unix://DIR/a.sock\"\npolicies = []\n";
const TCP: &str = "[[listener]]\nname = \"t\"\nurl = \"tcp://127.0.0.1:0\"\npolicies = []\n";

fn inherited(name: &str) -> String {
    format!("[[listener]]\nname = \"{name}\"\nurl = \"systemd:{name}\"\npolicies = []\n")
}

/// Callers that never stop while `meanwhile` runs; each call must be answered.
fn called_all_the_time(unix: &Path, tcp: &str, mut meanwhile: impl FnMut(&dyn Fn())) {
    let (over, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..4)
        .map(|n| {
            let (over, calls) = (Arc::clone(&over), Arc::clone(&calls));
            let (unix, tcp) = (unix.to_owned(), tcp.to_owned());
            std::thread::spawn(move || {
                while !over.load(Relaxed) {
                    let mut conn = if n % 2 == 0 { Conn::unix(&unix) } else { Conn::tcp(&tcp) };
                    assert_eq!(conn.ask(INFO).0, 200);
                    calls.fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    let go_on = || {
        let before = calls.load(Relaxed);
        let lives = || assert!(!callers.iter().any(|caller| caller.is_finished()), "refused");
        wait_until("calls go on", || {
            lives();
            calls.load(Relaxed) > before + 20
        });
    };
    go_on();
    meanwhile(&go_on);
    over.store(true, Relaxed);
    callers.into_iter().for_each(|caller| caller.join().unwrap());
}

#[test]
fn nobody_is_refused_while_the_service_manager_restarts_dockgate() {
    let mut manager = Manager::new(&json!({}), &format!("{UNIX}{TCP}"));
    assert_eq!(manager.start(), json!([]));
    let both = json!(["tcp%3A//127.0.0.1%3A0".to_owned(), manager.name_of("a.sock")]);
    assert_eq!(manager.stored(), both);
    let (unix, tcp) = (manager.path("a.sock"), manager.tcp());
    called_all_the_time(&unix, &tcp, |go_on| {
        for _ in 0..6 {
            assert_eq!(manager.restart().as_array().unwrap().len(), 2);
            go_on();
            assert_eq!(manager.stored(), both, "neither lost nor kept twice");
            assert_eq!(manager.tcp(), tcp);
        }
    });
}

#[test]
fn a_process_that_takes_over_is_the_service_from_then_on() {
    for access in ["all", "main"] {
        let mut manager = Manager::new(&json!({ "access": access }), &format!("{UNIX}{TCP}"));
        manager.start();
        let first = manager.tell(&json!(["look"]))["main"].clone();
        let (unix, tcp) = (manager.path("a.sock"), manager.tcp());
        called_all_the_time(&unix, &tcp, |go_on| {
            for _ in 0..3 {
                manager.tell(&json!(["signal", "USR2", "MAINPID"]));
                go_on();
                let now = manager.tell(&json!(["settle", 1]));
                assert_eq!(now["state"], "running", "{access}: the old one does not say it stops");
                assert_ne!(now["main"], first);
                assert_eq!(now["stored"].as_array().unwrap().len(), 2);
            }
            manager.restart();
            go_on();
        });
        let heard = manager.tell(&json!(["stop"]))["heard"].to_string();
        assert!(heard.contains("STOPPING"), "{heard}");
    }
}

#[test]
fn a_listener_that_is_removed_is_not_kept() {
    let second = UNIX.replace("\"u\"", "\"v\"").replace("a.sock", "b.sock");
    let mut manager = Manager::new(&json!({}), &format!("{UNIX}{second}"));
    manager.start();
    assert_eq!(manager.stored().as_array().unwrap().len(), 2);
    // By a reload.
    manager.configure(UNIX);
    let heard = manager.tell(&json!(["signal", "HUP", "READY"]))["heard"].to_string();
    assert!(heard.contains("RELOADING") && heard.contains("MONOTONIC_USEC"), "{heard}");
    assert_eq!(manager.stored(), json!([manager.name_of("a.sock")]));
    // By a restart.
    manager.configure(&second);
    assert_eq!(manager.restart(), json!([manager.name_of("a.sock")]));
    assert_eq!(manager.stored(), json!([manager.name_of("b.sock")]));
    assert!(manager.stderr().contains("that no listener wants is closed"));
    assert_eq!(Conn::unix(&manager.path("b.sock")).ask(INFO).0, 200);
}

#[test]
fn a_kept_socket_is_not_in_the_way_of_a_new_address() {
    let mut manager = Manager::new(&json!({}), TCP);
    manager.start();
    let (_, port) =
        manager.tcp().rsplit_once(':').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let everywhere = TCP.replace("127.0.0.1:0", &format!("0.0.0.0:{port}"));
    manager.configure(&format!("{everywhere}insecure = true\n"));
    manager.restart();
    assert_eq!(manager.stored(), json!([format!("tcp%3A//0.0.0.0%3A{port}")]));
    assert_eq!(Conn::tcp(&format!("127.0.0.1:{port}")).ask(INFO).0, 200);
}

#[test]
fn a_socket_whose_file_is_gone_is_replaced_in_the_store() {
    // `systemctl restart` without `RuntimeDirectoryPreserve=restart`; and before systemd 254, which
    // does not tell that there is a store, dockgate removes the file itself.
    for env in [json!({ "FDSTORE": "16" }), json!({})] {
        let mut manager = Manager::new(&json!({ "env": env }), UNIX);
        manager.start();
        let (file, name) = (manager.path("a.sock"), manager.name_of("a.sock"));
        for _ in 0..4 {
            manager.tell(&json!(["stop"]));
            assert_eq!(file.exists(), env["FDSTORE"] == "16");
            let _ = fs::remove_file(&file);
            assert_eq!(manager.start(), json!([name]), "one");
            assert_eq!(manager.stored(), json!([name]));
            assert_eq!(Conn::unix(&file).ask(INFO).0, 200);
        }
    }
}

#[test]
fn another_file_in_the_place_of_the_socket_is_left_alone() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let mut manager = Manager::new(&json!({}), UNIX);
    manager.start();
    manager.tell(&json!(["stop"]));
    let (file, other) = (manager.path("a.sock"), manager.path("secret"));
    fs::write(&other, "").unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(&file).unwrap();
    symlink(&other, &file).unwrap();
    assert_eq!(manager.tell(&json!(["start"]))["state"], "dead");
    assert!(manager.stderr().contains("not a socket"), "{}", manager.stderr());
    assert_eq!(fs::metadata(&other).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn sockets_of_socket_units_are_served_by_their_names() {
    let units = json!([
        { "name": "api", "listen": "unix:DIR/unit.sock" },
        { "name": "net", "listen": "tcp:127.0.0.1:0" },
        { "name": "more", "listen": "unix:DIR/more.sock" },
    ]);
    let listeners = format!("{}{}", inherited("net"), inherited("api"));
    let mut manager = Manager::new(&json!({ "sockets": units }), &listeners);
    manager.start();
    let unix = manager.path("unit.sock");
    assert!(manager.stderr().contains(&format!("listening on unix://{}", unix.display())));
    assert!(manager.stderr().contains("\"more\""), "what is not wanted is told");
    assert_eq!(manager.stored(), json!([]), "the service manager has them anyway");
    let tcp = manager.tcp();
    called_all_the_time(&unix, &tcp, |go_on| {
        manager.restart();
        go_on();
        manager.tell(&json!(["signal", "USR2", "MAINPID"]));
        go_on();
        manager.tell(&json!(["settle", 1]));
        manager.restart();
        go_on();
    });
    manager.tell(&json!(["stop"]));
    assert!(unix.exists(), "the file is the service manager's");
}

#[test]
fn what_cannot_be_served_is_refused_in_words() {
    let unit = |name: &str, listen: &str| json!([{ "name": name, "listen": listen }]);
    for (sockets, wanted) in [
        (unit("other", "unix:DIR/x.sock"), "no inherited socket is named `api`"),
        (unit("api", "udp:127.0.0.1:0"), "`api`, which is neither a unix nor a TCP socket"),
        (unit("api", "silent:127.0.0.1:0"), "is not a listening socket"),
        (unit("api", "tcp:0.0.0.0:0"), "beyond loopback, and has no authentication"),
        (json!([]), "with `FileDescriptorName=api`"),
    ] {
        let mut manager = Manager::new(&json!({ "sockets": sockets }), &inherited("api"));
        assert_eq!(manager.tell(&json!(["start"]))["state"], "dead", "{wanted}");
        let said = manager.stderr();
        assert!(said.contains(wanted) && !said.contains("panicked"), "{wanted}: {said}");
    }
}

#[test]
fn a_cache_is_served_on_a_socket_of_a_socket_unit() {
    let unit = |listen: &str| json!([{ "name": "web", "listen": listen }]);
    let cache = "[cache.main]\nlisten = [\"systemd:web\"]\ndir = \"DIR/objects\"\nfree = \"1MB\"\n";
    let mut manager = Manager::new(&json!({ "sockets": unit("unix:DIR/web.sock") }), cache);
    manager.start();
    let refused = "GET http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    for _ in 0..2 {
        let (status, why) = Conn::unix(&manager.path("web.sock")).ask(refused);
        assert!(status >= 400 && why.starts_with("dockgate: "), "{status} {why}");
        manager.restart();
    }
    let mut open = Manager::new(&json!({ "sockets": unit("tcp:0.0.0.0:0") }), cache);
    assert_eq!(open.tell(&json!(["start"]))["state"], "dead");
    let wanted = "beyond loopback, and `domains` names no hosts: an open proxy";
    assert!(open.stderr().contains(wanted), "{}", open.stderr());
    open.configure(&format!("{cache}domains = [\"*.example.com\"]\n"));
    open.start();
}

#[test]
fn a_listener_that_was_opened_at_run_time_is_kept_over_a_restart() {
    let admin = format!("[admin]\nlisten = [\"unix://DIR/admin.sock\"]\n{UNIX}");
    let mut manager = Manager::new(&json!({}), &admin);
    manager.start();
    let ask = |manager: &Manager, method: &str, query: &str| {
        let request = format!("{method} /listeners{query} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        Conn::unix(&manager.path("admin.sock")).ask(request)
    };
    let job = manager.path("job 1.sock");
    let url = format!("unix%3A%2F%2F{}", job.display()).replace('/', "%2F").replace(' ', "%20");
    let (status, said) = ask(&manager, "POST", &format!("?name=job&like=u&url={url}&mode=0600"));
    assert_eq!(status, 200, "{said}");
    let admin_and = |names: &[String]| {
        let mut all = names.to_vec();
        all.sort();
        json!(all)
    };
    let kept = format!("run-time job u 600 {}", manager.name_of("job 1.sock"));
    let both = admin_and(&[manager.name_of("a.sock"), kept]);
    assert_eq!(manager.stored(), both);
    for _ in 0..3 {
        manager.restart();
        assert_eq!(Conn::unix(&job).ask(INFO).0, 200);
        assert_eq!(manager.stored(), both, "neither lost nor kept twice");
    }
    let (status, said) = ask(&manager, "DELETE", "?name=job");
    assert_eq!(status, 200, "{said}");
    assert_eq!(manager.stored(), json!([manager.name_of("a.sock")]));
}

#[test]
fn only_one_socket_of_a_name_is_served_and_the_other_is_told() {
    let same = json!([
        { "name": "api", "listen": "unix:DIR/1.sock" },
        { "name": "api", "listen": "unix:DIR/2.sock" },
    ]);
    let mut manager = Manager::new(&json!({ "sockets": same }), &inherited("api"));
    manager.start();
    assert_eq!(Conn::unix(&manager.path("1.sock")).ask(INFO).0, 200, "the first");
    assert!(manager.stderr().contains("that no listener wants is closed"));
}

#[test]
fn the_units_are_those_of_the_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/install.md")).unwrap();
    let shown: Vec<&str> =
        page.split("```ini\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let units = ["dockgate.service", "dockgate.socket"];
    let units = units.map(|name| fs::read_to_string(root.join("packaging/systemd").join(name)));
    assert_eq!(shown, units.map(Result::unwrap));
}
