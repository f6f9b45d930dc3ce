//! Restarts: no connection attempt is lost, and what has begun ends where it began.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use crate::hijack::attached;
use crate::support::engine::{hijack_101, plain};
use crate::support::{Conn, Engine, Gate, Setup, text, wait_until};

const INFO: &str = "GET /v1.41/info HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// The process that the old one says to have started.
pub fn successor(gate: &Gate) -> u32 {
    wait_until("a new process", || gate.stderr().contains("the new process serves"));
    let said = gate.stderr();
    let line = said.lines().rfind(|line| line.contains("the new process serves")).unwrap();
    let line: serde_json::Value = line.parse().unwrap();
    u32::try_from(line["pid"].as_u64().unwrap()).unwrap()
}

pub fn end(pid: u32) {
    let killed = std::process::Command::new("kill").arg(pid.to_string()).status().unwrap();
    assert!(killed.success());
}

pub fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_stream_ends_in_the_old_process_and_new_calls_are_served_by_the_new_one() {
    let engine = Engine::start(Box::new(|wire| {
        match wire.conn.peek_starts_with(b"POST /v1.41/containers") {
            true => hijack_101::behaviour()(wire),
            false => plain::behaviour()(wire),
        }
    }));
    let mut gate = Gate::pass(&engine);
    let mut stream = attached(gate.client());
    gate.signal("USR2");
    let new = successor(&gate);
    assert_eq!(gate.client().ask(INFO).0, 200);
    stream.send("still here");
    assert_eq!(text(&stream.exactly(10)), "still here");
    assert!(gate.is_running(), "as long as the stream");
    stream.end_writing();
    assert!(stream.is_over());
    let socket = gate.socket().to_owned();
    wait_until("the old process ends", || !gate.is_running());
    assert_eq!(Conn::unix(&socket).ask(INFO).0, 200, "its socket file stays");
    end(new);
    wait_until("the new process ends", || !is_running(new));
    assert!(!socket.exists(), "and removes it");
}

#[test]
fn nobody_is_refused_during_restarts() {
    let engine = Engine::start(plain::behaviour());
    let gate = Setup::new(&engine).tcp().start();
    let (socket, tcp) = (gate.socket().to_owned(), gate.tcp_address());
    let (over, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..4)
        .map(|n| {
            let (over, calls) = (Arc::clone(&over), Arc::clone(&calls));
            let (socket, tcp) = (socket.clone(), tcp.clone());
            std::thread::spawn(move || {
                while !over.load(Relaxed) {
                    let mut conn = if n % 2 == 0 { Conn::unix(&socket) } else { Conn::tcp(&tcp) };
                    assert_eq!(conn.ask(INFO).0, 200);
                    calls.fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    let mut pid = gate.pid();
    for _ in 0..8 {
        let before = calls.load(Relaxed);
        std::process::Command::new("kill").args(["-s", "USR2", &pid.to_string()]).status().unwrap();
        let old = pid;
        // Each new process says so on the first one's stderr, which it has inherited.
        wait_until("another process", || {
            pid = successor(&gate);
            pid != old && !is_running(old)
        });
        wait_until("calls go on", || calls.load(Relaxed) > before + 20);
    }
    over.store(true, Relaxed);
    callers.into_iter().for_each(|caller| caller.join().unwrap());
    end(pid);
    wait_until("the last process ends", || !is_running(pid));
}

#[test]
fn a_new_process_that_cannot_start_leaves_the_old_one_at_work() {
    let engine = Engine::start(plain::behaviour());
    let mut gate = Gate::pass(&engine);
    let good = std::fs::read_to_string(gate.config()).unwrap();
    std::fs::write(gate.config(), "nonsense").unwrap();
    gate.signal("USR2");
    wait_until("a line", || gate.stderr().contains("not restarted, nothing has changed"));
    assert!(gate.stderr().contains("dockgate.toml:1:9"), "and the reason: {}", gate.stderr());
    assert_eq!(gate.client().ask(INFO).0, 200);
    std::fs::write(gate.config(), good).unwrap();
    gate.signal("USR2");
    let new = successor(&gate);
    wait_until("the old process ends", || !gate.is_running());
    let socket = gate.socket().to_owned();
    assert_eq!(Conn::over(unix(&socket)).ask(INFO).0, 200);
    end(new);
    wait_until("the new process ends", || !is_running(new));
}

fn unix(path: &std::path::Path) -> crate::support::conn::Socket {
    crate::support::conn::Socket::Unix(UnixStream::connect(path).unwrap())
}

#[test]
fn a_new_process_that_fails_late_leaves_the_socket_files() {
    let engine = Engine::start(plain::behaviour());
    let gate = Gate::pass(&engine);
    let taken = gate.dir().join("plain-file");
    std::fs::write(&taken, "").unwrap();
    let good = std::fs::read_to_string(gate.config()).unwrap();
    let more = format!("[[listener]]\nname = \"z\"\nurl = \"unix://{}\"\n", taken.display());
    std::fs::write(gate.config(), format!("{good}\n{more}")).unwrap();
    gate.signal("USR2");
    wait_until("a line", || gate.stderr().contains("not restarted, nothing has changed"));
    assert!(gate.stderr().contains("listener `z` cannot be opened"), "{}", gate.stderr());
    assert_eq!(gate.client().ask(INFO).0, 200);
}

#[test]
fn a_client_between_two_calls_gets_one_more() {
    let engine = Engine::start(plain::behaviour());
    let gate = Gate::pass(&engine);
    let mut kept = gate.client();
    let info = INFO.replace("Connection: close\r\n", "");
    assert_eq!(kept.ask(&info).0, 200);
    gate.signal("TERM");
    wait_until("the listener is closed", || UnixStream::connect(gate.socket()).is_err());
    kept.send(&info);
    let head = kept.head();
    assert_eq!(head.status(), 200);
    assert_eq!(head.get("connection"), Some("close"), "and is told that it is the last");
    kept.body(&head);
    assert!(kept.is_over());
    assert_eq!(gate.ended().code, Some(0));
}
