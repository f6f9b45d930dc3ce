//! Caches of the real binary, as an operator sees them: `dockgate cache`, metrics, readiness, reloads
//! and restarts.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::cache::origin::{Origin, whole};
use crate::metrics_text::{Format, Page, read};
use crate::restart::{end, is_running, successor};
use crate::support::gate::dockgate;
use crate::support::{Conn, Gate, text, wait_until};

const BODY: &[u8] = b"0123456789";
const HOST: &str = "files.example";

/// A gate with one cache in front of an origin, and no engine.
struct Cached {
    gate: Gate,
    origin: Origin,
    address: String,
}

impl Cached {
    fn new() -> Cached {
        Cached::with("")
    }

    /// With further keys and tables.
    fn with(more: &str) -> Cached {
        Cached::before(Origin::always("200 OK\nCache-Control: max-age=3600", BODY), more)
    }

    fn before(origin: Origin, more: &str) -> Cached {
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "[admin]\nlisten = [\"unix://{at}/admin.sock\"]\n\
             [cache.main]\nlisten = [\"http://127.0.0.1:0\"]\ndir = \"{at}/objects\"\n\
             size = \"100MB\"\nfree = \"1MB\"\nallow_private = [\"127.0.0.0/8\"]\n\
             tenants = {{ \"127.0.0.0/8\" = \"here\" }}\n\
             origins = {{ \"{HOST}\" = \"http://{origin}\", \"other.example\" = \"http://{origin}\" }}\n\
             {more}",
            at = dir.path().display(),
            origin = origin.host(),
        );
        let listeners = 1 + more.matches("[cache.").count();
        let gate = Gate::of(dir, &config, listeners);
        let address = address(&gate, "main");
        wait_until("the admin socket is there", || gate.dir().join("admin.sock").exists());
        Cached { gate, origin, address }
    }

    /// Asks, and waits until what came is stored: a client has it all before the disk does.
    fn get(&self, host: &str, path: &str) {
        get(&self.address, host, path);
        wait_until("it is stored", || {
            let stats: Value = self.admin("/cache/stats").1.parse().unwrap();
            stats["caches"].as_array().unwrap().iter().all(|cache| cache["in_flight"] == 0)
        });
    }

    fn socket(&self) -> PathBuf {
        self.gate.dir().join("admin.sock")
    }

    fn objects(&self) -> PathBuf {
        self.gate.dir().join("objects")
    }

    /// `dockgate cache …`, asking this process.
    fn run(&self, args: &[&str]) -> Output {
        let config = self.gate.config();
        let config = config.to_str().unwrap();
        dockgate(&[&["cache"], args, &["-c", config]].concat()).output().unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout).parse().unwrap()
    }

    /// What `main` says of itself, once that many requests are counted: they are when they have ended.
    fn stats_of(&self, requests: u64) -> Value {
        let mut main = Value::Null;
        wait_until("the requests are counted", || {
            main = self.json(&["stats", "--cache", "main"])["caches"][0].take();
            let counted = main["total"]["requests"].as_object().unwrap().values();
            counted.map(|count| count.as_u64().unwrap()).sum::<u64>() == requests
        });
        main
    }

    fn admin(&self, path: &str) -> (u16, String) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        Conn::unix(&self.socket()).ask(request)
    }

    fn metrics(&self) -> Page {
        let (status, body) = self.admin("/metrics");
        assert_eq!(status, 200);
        read(&body, Format::Plain).unwrap_or_else(|why| panic!("{why}\n{body}"))
    }

    fn reload(&self) {
        let config = self.gate.config();
        let output = dockgate(&["reload", "-c", config.to_str().unwrap()]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }

    fn edit(&self, from: &str, to: &str) {
        let before = std::fs::read_to_string(self.gate.config()).unwrap();
        assert!(before.contains(from), "{before}");
        std::fs::write(self.gate.config(), before.replace(from, to)).unwrap();
    }
}

fn address(gate: &Gate, cache: &str) -> String {
    let said = gate.stderr();
    let end = format!(" cache={cache}");
    let line = said.lines().rfind(|line| line.ends_with(&end)).expect("a cache listens");
    line.split("http://").nth(1).unwrap().split(' ').next().unwrap().to_owned()
}

fn get(address: &str, host: &str, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let answer = Conn::tcp(address).ask(request);
    assert_eq!(answer, (200, text(BODY)), "{host}{path}");
}

fn lines(output: &Output) -> Vec<String> {
    text(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn savings_are_told_by_domain_and_tenant() {
    let cached = Cached::new();
    for (host, path) in [(HOST, "/a"), (HOST, "/a"), (HOST, "/a"), ("other.example", "/b")] {
        cached.get(host, path);
    }
    let main = cached.stats_of(4);
    for (sums, hits, misses) in [
        (&main["domains"][HOST], 2, 1),
        (&main["domains"]["other.example"], 0, 1),
        (&main["tenants"]["here"], 2, 2),
        (&main["total"], 2, 2),
    ] {
        assert_eq!(sums["requests"]["hit"], hits, "{main}");
        assert_eq!(sums["requests"]["miss"], misses, "{main}");
        assert_eq!(sums["bytes_saved"], hits * BODY.len(), "{main}");
        assert_eq!(sums["bytes_fetched"], misses * BODY.len(), "{main}");
    }
    assert_eq!((&main["objects"], &main["limit"]), (&2.into(), &(100 << 20).into()), "{main}");
    let output = cached.run(&["stats"]);
    let said = text(&output.stdout);
    assert!(said.starts_with("cache main: 2 objects, "), "{said}");
    let line = said.lines().find(|line| line.trim_start().starts_with(HOST)).unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words[1..5], ["3", "66.7%", "30B", "20B"], "{said}");
    assert!(said.contains("results: hit 2, miss 2"), "{said}");
}

#[test]
fn a_cache_is_in_the_metrics() {
    let cached = Cached::new();
    (0..3).for_each(|_| cached.get(HOST, "/a"));
    cached.stats_of(3);
    let page = cached.metrics();
    let here = ("cache", "main");
    let of = |name: &str| page.value(name, &[here]);
    for (result, count) in [("hit", 2.0), ("miss", 1.0)] {
        let labels = [here, ("domain", HOST), ("result", result)];
        assert_eq!(page.value("dockgate_cache_requests_total", &labels), count, "{result}");
    }
    for (direction, bytes) in [("sent", 30.0), ("saved", 20.0), ("fetched", 10.0), ("stored", 10.0)]
    {
        let labels = [here, ("direction", direction)];
        assert_eq!(page.value("dockgate_cache_bytes_total", &labels), bytes, "{direction}");
    }
    assert_eq!(of("dockgate_cache_origin_requests_total"), 1.0);
    assert_eq!(of("dockgate_cache_objects"), 1.0);
    assert!(of("dockgate_cache_stored_bytes") >= 10.0);
    assert_eq!(of("dockgate_cache_limit_bytes"), f64::from(100 << 20));
    assert_eq!(of("dockgate_cache_in_flight"), 0.0);
    assert_eq!(of("dockgate_cache_disk_errors_total"), 0.0);
    assert_eq!(of("dockgate_cache_evictions_total"), 0.0);
}

#[test]
fn what_is_purged_is_asked_for_again() {
    let cached = Cached::new();
    let fill = || {
        // The second time it comes to memory.
        for _ in 0..3 {
            cached.get(HOST, "/dir/a");
            cached.get(HOST, "/dir/b");
            cached.get("other.example", "/dir/a");
        }
    };
    let left = || {
        let all = cached.run(&["ls", "--json"]);
        let objects: Vec<Value> = lines(&all).iter().map(|line| line.parse().unwrap()).collect();
        objects.iter().map(|object| object["url"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (a, b) = (format!("http://{HOST}/dir/a"), format!("http://{HOST}/dir/b"));
    let other = "http://other.example/dir/a";
    for (purge, objects, stays) in [
        (vec![a.as_str()], 1, vec![b.as_str(), other]),
        (vec!["--prefix", &b], 1, vec![&a, other]),
        (vec!["--host", HOST], 2, vec![other]),
        (vec!["--partition", "shared"], 3, vec![]),
        (vec!["--all"], 3, vec![]),
        (vec!["--host", "nowhere.example"], 0, vec![&a, &b, other]),
    ] {
        fill();
        let before = cached.origin.count();
        let purged = cached.json(&[&["purge"], purge.as_slice()].concat());
        assert_eq!(purged["objects"], objects, "{purge:?}");
        assert_eq!(left(), stays, "{purge:?}");
        fill();
        assert_eq!(cached.origin.count() - before, objects, "{purge:?}");
    }
    let output = cached.run(&["purge", "--prefix", "files"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("hint: such as `https://"), "{}", text(&output.stderr));
    assert_eq!(cached.run(&["purge"]).status.code(), Some(2), "what?");
}

#[test]
fn objects_are_listed_with_and_without_the_process() {
    let cached = Cached::new();
    cached.get(HOST, "/dir/a");
    cached.get("other.example", "/b");
    let shown = cached.run(&["ls", "--host", HOST]);
    let shown = lines(&shown);
    assert_eq!(shown.len(), 2, "{shown:?}");
    let words: Vec<_> = shown[1].split_whitespace().collect();
    assert_eq!((words[0], words[1], words[4]), ("10B", "200", "shared"), "{shown:?}");
    assert_eq!(words[5], format!("http://{HOST}/dir/a"));
    let dir = cached.objects();
    let alone = dockgate(&["cache", "ls", "--host", HOST, "--dir", dir.to_str().unwrap()]);
    assert_eq!(lines(&{ alone }.output().unwrap()), shown);
    let nowhere = cached.gate.dir().join("nowhere");
    let failed = dockgate(&["cache", "ls", "--dir", nowhere.to_str().unwrap()]).output().unwrap();
    assert_eq!(failed.status.code(), Some(1));
    let strange = cached.run(&["ls", "--cache", "strange"]);
    assert_eq!((strange.status.code(), strange.stdout.is_empty()), (Some(1), true), "no header");
    assert!(!nowhere.exists(), "it is only looked at");
}

#[test]
fn pages_follow_each_other() {
    let cached = Cached::new();
    let wanted: Vec<String> = (0..7).map(|n| format!("http://{HOST}/{n}")).collect();
    (0..7).for_each(|n| cached.get(HOST, &format!("/{n}")));
    for what in ["ls", "verify"] {
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let (status, body) = cached.admin(&format!("/cache/{what}?most=3{after}"));
            assert_eq!(status, 200, "{body}");
            let page: Value = body.parse().unwrap();
            match what {
                "ls" => seen.extend(page["objects"].as_array().unwrap().clone()),
                _ => seen.push(page["objects"].clone()),
            }
            match page["next"].as_str() {
                Some(next) => after = format!("&after={}", next.replace(',', "%2C")),
                None => break,
            }
        }
        match what {
            "ls" => {
                assert_eq!(seen.iter().map(|one| one["url"].clone()).collect::<Vec<_>>(), wanted)
            }
            _ => assert_eq!(seen, [3, 3, 1]),
        }
    }
}

#[test]
fn a_changed_body_is_found_by_verify() {
    let cached = Cached::new();
    cached.get(HOST, "/good");
    cached.get(HOST, "/bad");
    let dir = cached.objects();
    let dir = dir.to_str().unwrap();
    let checked = cached.json(&["verify"]);
    assert_eq!((&checked["objects"], &checked["bytes"]), (&2.into(), &20.into()), "{checked}");
    let file = find(Path::new(dir), "bad,o").expect("the object's file");
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let alone = dockgate(&["cache", "verify", "--dir", dir]).output().unwrap();
    for output in [cached.run(&["verify"]), alone] {
        assert_eq!(output.status.code(), Some(1));
        let said = lines(&output);
        let bad = format!("http://{HOST}/bad: its body is not what was stored");
        assert_eq!(said, [bad.as_str(), "2 objects, 20B: 1 wrong"]);
    }
    let output = cached.run(&["verify", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let checked: Value = text(&output.stdout).parse().unwrap();
    assert_eq!(checked["wrong"].as_array().unwrap().len(), 1, "{checked}");
}

fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.into_iter().find_map(|path| match path.is_dir() {
        true => find(&path, name),
        false => path.file_name().is_some_and(|it| it == name).then_some(path),
    })
}

#[test]
fn caches_alone_are_ready_without_an_engine() {
    let cached = Cached::new();
    let ready = format!("cache main http://{}: ok\n", cached.address);
    assert_eq!(cached.admin("/readyz"), (200, ready));
}

#[test]
fn a_reload_keeps_sockets_objects_and_statistics() {
    let cached = Cached::new();
    cached.get(HOST, "/a");
    cached.get(HOST, "/a");
    let before = cached.stats_of(2);
    // One that is as it was, and one that is opened anew.
    cached.reload();
    cached.edit("size = \"100MB\"", "size = \"90MB\"");
    cached.reload();
    assert_eq!(cached.stats_of(2)["total"], before["total"]);
    cached.get(HOST, "/a");
    let after = cached.stats_of(3);
    assert_eq!(after["limit"], 90 << 20);
    assert_eq!(after["total"]["requests"]["hit"], 2, "{after}");
    assert_eq!(cached.origin.count(), 1, "the objects stay");
    assert_eq!(cached.gate.stderr().matches("listening on ").count(), 2, "of the second");
    assert!(address(&cached.gate, "main") == cached.address, "the socket stays");
    let hits = [("cache", "main"), ("result", "hit")];
    assert_eq!(cached.metrics().value("dockgate_cache_requests_total", &hits), 2.0);
}

#[test]
fn a_cache_that_comes_back_goes_on_counting() {
    let more = "[cache.second]\nlisten = [\"http://127.0.0.2:0\"]\ndir = \"second\"\n";
    let cached = Cached::with(more);
    cached.get(HOST, "/a");
    cached.stats_of(1);
    let config = std::fs::read_to_string(cached.gate.config()).unwrap();
    let (start, rest) = config.split_once("[cache.main]").unwrap();
    let second = rest.split_once("[cache.second]").unwrap().1;
    std::fs::write(cached.gate.config(), format!("{start}[cache.second]{second}")).unwrap();
    cached.reload();
    let of = |page: &Page| page.value("dockgate_cache_requests_total", &[("cache", "main")]);
    assert_eq!(of(&cached.metrics()), 0.0, "it is gone");
    std::fs::write(cached.gate.config(), config).unwrap();
    cached.reload();
    assert_eq!(of(&cached.metrics()), 1.0);
    let said = || cached.gate.stderr().matches(" cache=main").count();
    wait_until("the new address is told", || said() == 2);
    get(&address(&cached.gate, "main"), HOST, "/a");
    cached.stats_of(2);
    assert_eq!(cached.origin.count(), 1);
}

#[test]
fn with_several_caches_one_is_named() {
    let cached =
        Cached::with("[cache.second]\nlisten = [\"http://127.0.0.2:0\"]\ndir = \"second\"\n");
    cached.get(HOST, "/a");
    let output = cached.run(&["purge", "--all"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("which cache? hint: one of `main`, `second`"), "{said}");
    assert_eq!(cached.json(&["purge", "--all", "--cache", "second"])["objects"], 0);
    assert_eq!(cached.json(&["purge", "--all", "--cache", "main"])["objects"], 1);
    let all = cached.json(&["stats"]);
    assert_eq!(all["caches"].as_array().unwrap().len(), 2, "{all}");
}

#[test]
fn a_restart_hands_the_sockets_of_a_cache_over() {
    let mut cached = Cached::new();
    cached.get(HOST, "/a");
    let mut kept = Conn::tcp(&cached.address);
    let request = format!("GET /a HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    assert_eq!(kept.ask(&request).0, 200);
    cached.gate.signal("USR2");
    let new = successor(&cached.gate);
    wait_until("the old process ends", || !cached.gate.is_running());
    cached.get(HOST, "/a");
    assert_eq!(cached.origin.count(), 1, "the objects stay");
    assert_eq!(cached.stats_of(1)["total"]["requests"]["hit"], 1, "it counts from 0");
    end(new);
    wait_until("the new process ends", || !is_running(new));
}

#[test]
fn a_password_for_an_origin_is_read_from_its_file_at_the_start_and_at_a_reload() {
    let origin = Origin::new(|_, asked, stream| {
        let shown = asked.field("authorization").unwrap_or("nothing");
        stream.write_all(&whole("200 OK", shown.as_bytes())).is_ok()
    });
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("robot.password");
    std::fs::write(&file, "first\n").unwrap();
    let credentials = format!(
        "credentials = {{ \"http://{}\" = {{ kind = \"basic\", username = \"robot\", password_file = \"{}\" }} }}\n",
        origin.host(),
        file.display()
    );
    let cached = Cached::before(origin, &credentials);
    let shown = || {
        let request = format!("GET /x HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
        Conn::tcp(&cached.address).ask(request)
    };
    assert_eq!(shown(), (200, "Basic cm9ib3Q6Zmlyc3Q=".to_owned()));
    std::fs::write(&file, "second\n").unwrap();
    assert_eq!(shown().1, "Basic cm9ib3Q6Zmlyc3Q=", "nobody looks by themselves");
    cached.reload();
    assert_eq!(shown(), (200, "Basic cm9ib3Q6c2Vjb25k".to_owned()));
    let said = cached.gate.stderr();
    assert!(!said.contains("second") && !said.contains("cm9ib3Q6"), "{said}");
}
