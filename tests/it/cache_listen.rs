//! The sockets of caches: what they share with those of listeners.

use std::io::Read as _;
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConnection;

use crate::cache::origin::Origin;
use crate::metrics_text::{Format, Page, read};
use crate::reload::reload;
use crate::support::tls::{Authority, BOTH};
use crate::support::{Conn, Gate, wait_until};

const GET: &str = "GET /x HTTP/1.1\r\nHost: files.example\r\n\r\n";

/// A cache in front of an origin, with these keys; `DIR` is its folder.
fn gate(keys: &str, listeners: usize) -> (Origin, Gate) {
    let origin = Origin::always("200 OK\nCache-Control: max-age=3600", b"x");
    let dir = tempfile::tempdir().unwrap();
    Authority::new().furnish(dir.path());
    let config = format!(
        "[admin]\nlisten = [\"unix://DIR/admin.sock\"]\n\
         [cache.main]\n{keys}\ndir = \"DIR/objects\"\nfree = \"1MB\"\nfsync = false\n\
         allow_private = [\"127.0.0.0/8\"]\norigins = {{ \"files.example\" = \"http://{}\" }}\n",
        origin.host(),
    );
    let config = config.replace("DIR", dir.path().to_str().unwrap());
    let gate = Gate::of(dir, &config, listeners);
    wait_until("the admin socket is there", || gate.dir().join("admin.sock").exists());
    (origin, gate)
}

fn file(gate: &Gate) -> PathBuf {
    gate.dir().join("cache.sock")
}

fn admin(gate: &Gate, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    Conn::unix(&gate.dir().join("admin.sock")).ask(request).1
}

fn metrics(gate: &Gate) -> Page {
    read(&admin(gate, "/metrics"), Format::Plain).unwrap()
}

const UNIX: &str = "listen = [\"unix://DIR/cache.sock\"]\nmode = \"0640\"\nmax_connections = 2";

#[test]
fn a_file_has_a_mode_and_goes_with_the_process() {
    let (_origin, gate) = gate(UNIX, 1);
    assert!(gate.stderr().contains("cache.sock cache=main"), "{}", gate.stderr());
    let path = file(&gate);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(Conn::unix(&path).ask(GET), (200, "x".to_owned()));
    let ready = admin(&gate, "/readyz");
    assert!(ready.contains(&format!("cache main unix://{}: ok", path.display())), "{ready}");
    std::fs::remove_file(&path).unwrap();
    assert!(admin(&gate, "/readyz").contains("its socket file is gone or replaced"));
    reload(&gate, str::to_owned);
    assert_eq!(Conn::unix(&path).ask(GET), (200, "x".to_owned()), "it is there again");
    gate.stop();
    assert!(!path.exists());
}

#[test]
fn a_connection_too_many_is_told_so_and_all_are_counted() {
    let (_origin, gate) = gate(UNIX, 1);
    let mut open: Vec<Conn> = (0..2).map(|_| Conn::unix(&file(&gate))).collect();
    for conn in &mut open {
        assert_eq!(conn.ask(GET).0, 200);
    }
    let label = [("listener", "cache main")];
    wait_until("both are counted", || {
        metrics(&gate).value("dockgate_connections_open", &label) == 2.0
    });
    let (status, why) = Conn::unix(&file(&gate)).ask(GET);
    assert_eq!((status, &*why), (503, "dockgate: too many connections to cache main\n"));
    drop(open);
    wait_until("there is a place again", || Conn::unix(&file(&gate)).ask(GET).0 == 200);
    wait_until("none is counted", || {
        metrics(&gate).value("dockgate_connections_open", &label) == 0.0
    });
}

#[test]
fn handshakes_are_counted_and_plain_http_is_told() {
    let keys = "listen = [\"https://127.0.0.1:0\"]\n\
                tls = { cert = \"cert.pem\", key = \"key.pem\", handshake_time = \"5s\" }";
    let (_origin, gate) = gate(keys, 1);
    let said = gate.stderr();
    let address = said.split("https://").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let (status, why) = Conn::tcp(&address).ask(GET);
    assert_eq!((status, &*why), (400, "dockgate: this port speaks TLS. hint: use https://\n"));
    let label = [("listener", "cache main"), ("result", "plain_http")];
    let count = || metrics(&gate).value("dockgate_tls_handshakes_total", &label);
    wait_until("it is counted", || count() == 1.0);
}

#[test]
fn a_cache_that_intercepts_shakes_hands_with_nobody_of_itself() {
    let (_origin, gate) = gate("listen = [\"https://127.0.0.1:0\"]\nintercept = \"on\"", 1);
    let said = gate.stderr();
    assert!(said.contains(" cache=main intercepts"), "{said}");
    let address = said.split("https://").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let (status, why) = Conn::tcp(&address).ask(GET);
    assert_eq!((status, &*why), (400, "dockgate: this port speaks TLS. hint: use https://\n"));
    let config = Arc::new(Authority::new().client(None, BOTH));
    let mut conn = ClientConnection::new(config, "other.example".try_into().unwrap()).unwrap();
    let mut tcp = TcpStream::connect(&address).unwrap();
    conn.write_tls(&mut tcp).unwrap();
    let mut alert = Vec::new();
    tcp.read_to_end(&mut alert).unwrap();
    assert_eq!(alert, [21, 3, 1, 0, 2, 2, 112], "unrecognized_name");
    let count = |result: &str| {
        let label = [("listener", "cache main"), ("result", result)];
        metrics(&gate).value("dockgate_tls_handshakes_total", &label)
    };
    wait_until("both are counted", || count("plain_http") + count("foreign_name") == 2.0);
    // The same after a reload that changes something of the cache.
    reload(&gate, |text| text.replace("\"on\"", "\"observe\""));
    assert_eq!(Conn::tcp(&address).ask(GET).0, 400);
}

#[test]
fn another_cache_has_the_same_socket_and_a_reload_without_a_change_keeps_connections() {
    let (_origin, gate) = gate(UNIX, 1);
    let inode = || std::fs::metadata(file(&gate)).unwrap().ino();
    let before = inode();
    let mut kept = Conn::unix(&file(&gate));
    assert_eq!(kept.ask(GET).0, 200);
    reload(&gate, str::to_owned);
    assert_eq!(kept.ask(GET).0, 200, "on the connection from before");
    reload(&gate, |text| text.replace("0640", "0600").replace("files.example", "other.example"));
    assert_eq!(Conn::unix(&file(&gate)).ask(GET).0, 421, "no host of it any more");
    let other = GET.replace("files.example", "other.example");
    assert_eq!(Conn::unix(&file(&gate)).ask(other).0, 200);
    assert_eq!(inode(), before);
    assert_eq!(std::fs::metadata(file(&gate)).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_socket_goes_from_a_cache_to_a_listener() {
    let (_origin, gate) = gate(UNIX, 1);
    let inode = || std::fs::metadata(file(&gate)).unwrap().ino();
    let before = inode();
    let said = reload(&gate, |text| {
        let (admin, _) = text.split_once("[cache.main]").unwrap();
        let at = file(&gate);
        format!("{admin}[[listener]]\nname = \"l\"\nurl = \"unix://{}\"\n", at.display())
    });
    assert!(said.contains("reloaded: listeners l"), "{said}");
    let (status, why) = Conn::unix(&file(&gate)).ask("GET /_ping HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(why.contains("dockgate"), "no engine is there: {status} {why}");
    assert_eq!(inode(), before);
}

#[test]
fn each_request_has_a_record_without_its_query() {
    let (_origin, gate) = gate("listen = [\"unix://DIR/cache.sock\"]\nforward = true", 1);
    let mut conn = Conn::unix(&file(&gate));
    let with_query = GET.replace("/x", "/x?token=secret");
    assert_eq!(conn.ask(&with_query).0, 200, "from the origin");
    wait_until("it is a hit", || {
        conn.ask(&with_query);
        gate.stdout().contains("\"result\":\"hit\"")
    });
    assert_eq!(conn.ask(GET.replace("files.example", "other.example")).0, 421);
    assert_eq!(Conn::unix(&file(&gate)).ask("GET /a b c\r\n\r\n").0, 400);
    let tunnel = "CONNECT other.example:443 HTTP/1.1\r\nHost: other.example:443\r\n\r\n";
    assert_eq!(Conn::unix(&file(&gate)).ask(tunnel).0, 403);
    wait_until("all are written", || gate.stdout().contains("CONNECT"));
    let records: Vec<serde_json::Value> =
        gate.stdout().lines().map(|line| line.parse().unwrap()).collect();
    assert!(!gate.stdout().contains("secret"));
    let find = |key: &str, value: &str| {
        let found = records.iter().find(|record| record[key] == value);
        found.unwrap_or_else(|| panic!("no {key} {value}: {records:?}"))
    };
    let miss = find("result", "miss");
    let said = |record: &serde_json::Value, keys: &[&str]| -> Vec<String> {
        keys.iter().map(|key| record[*key].to_string()).collect()
    };
    assert_eq!(
        said(miss, &["listener", "method", "path", "host", "status", "bytes_sent", "verdict"]),
        [
            "\"cache main\"",
            "\"GET\"",
            "\"/x\"",
            "\"http://files.example\"",
            "200",
            "1",
            "\"allow\""
        ]
    );
    assert_eq!(miss["operation"], "CacheRequest");
    assert_eq!(miss["container"], "-", "no transparent cache leads here");
    assert_eq!(said(find("result", "hit"), &["path", "status"]), ["\"/x\"", "200"]);
    for (status, method, path) in
        [(421, "GET", "/x"), (400, "GET", "/a"), (403, "CONNECT", "other.example:443")]
    {
        let record = records.iter().find(|record| record["status"] == status).unwrap();
        assert_eq!((&record["method"], &record["path"]), (&method.into(), &path.into()));
        assert_eq!((&record["verdict"], &record["result"]), (&"reject".into(), &"refused".into()));
    }
}
