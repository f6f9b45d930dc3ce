//! The admin socket by raw requests, with a state that says what a test wants.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::telemetry::metrics::Metrics;

#[derive(Default)]
struct Fake {
    metrics: Metrics,
    engine: Option<String>,
    draining: bool,
    complaint: Option<String>,
    reloads: AtomicUsize,
}

impl AdminApi for Fake {
    fn metrics(&self) -> String {
        self.metrics.render()
    }

    fn ready(&self) -> Later<'_, Vec<(String, Result<(), String>)>> {
        let engine = self.engine.clone().map_or(Ok(()), Err);
        Box::pin(async {
            vec![("engine".to_owned(), engine), ("listener runner".to_owned(), Ok(()))]
        })
    }

    fn reload(&self) -> Later<'_, Result<String, String>> {
        self.reloads.fetch_add(1, Ordering::Relaxed);
        let result = self.complaint.clone().map_or(Ok("reloaded".to_owned()), Err);
        Box::pin(async { result })
    }

    fn open_listener(&self, listener: RuntimeListener) -> Later<'_, Result<String, String>> {
        let result = self.complaint.clone().map_or(Ok(listener.key()), Err);
        Box::pin(async { result })
    }

    fn close_listener(&self, name: String) -> Later<'_, Result<String, String>> {
        let result = self.complaint.clone().map_or(Ok(format!("closed {name}")), Err);
        Box::pin(async { result })
    }

    fn jobs(&self) -> Vec<JobReport> {
        let known = |id: &str| JobReport {
            id: id.to_owned(),
            state: "open".to_owned(),
            listener: "ci".to_owned(),
            user: None,
            containers: Vec::new(),
            name: None,
            pid: None,
            socket: format!("/run/{id}/docker.sock"),
            began: 0,
            error: None,
        };
        vec![known("0a")]
    }

    fn open_job(&self, job: OpenJob) -> Later<'_, Result<JobReport, String>> {
        let mut opened = self.jobs().remove(0);
        (opened.name, opened.pid) = (Some(job.name), Some(job.pid));
        opened.user = Some(job.asker.to_string());
        Box::pin(async { self.complaint.clone().map_or(Ok(opened), Err) })
    }

    fn end_job(&self, id: &str) -> Result<(), String> {
        match id {
            "0a" => Ok(()),
            _ => Err(format!("there is no job `{id}`")),
        }
    }

    fn listeners(&self) -> Vec<ListenerReport> {
        let report = |name: &str, like: Option<&str>| ListenerReport {
            name: name.to_owned(),
            url: format!("unix:///{name}"),
            like: like.map(str::to_owned),
        };
        vec![report("ci", None), report("job", Some("ci"))]
    }

    fn is_draining(&self) -> bool {
        self.draining
    }

    fn caches(&self) -> Vec<Arc<Cache>> {
        Vec::new()
    }
}

enum At {
    Unix(tempfile::TempDir),
    Tcp(std::net::SocketAddr),
}

struct Served {
    at: At,
    state: Arc<Fake>,
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<io::Result<()>>>,
}

impl Served {
    fn new(is_unix: bool, state: Fake) -> Served {
        let (socket, at): (OwnedFd, At) = if is_unix {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("a.sock");
            (std::os::unix::net::UnixListener::bind(path).unwrap().into(), At::Unix(dir))
        } else {
            let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = socket.local_addr().unwrap();
            (socket.into(), At::Tcp(address))
        };
        let (state, stop) = (Arc::new(state), CancellationToken::new());
        let (shown, stopped) = (Arc::clone(&state), stop.clone());
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve(socket, is_unix, shown, stopped))
        });
        Served { at, state, stop, thread: Some(thread) }
    }

    fn ask(&self, request: &str) -> String {
        fn both(mut stream: impl io::Read + io::Write, request: &str) -> String {
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            answer
        }
        match &self.at {
            At::Unix(dir) => {
                let path = dir.path().join("a.sock");
                both(std::os::unix::net::UnixStream::connect(path).unwrap(), request)
            }
            At::Tcp(address) => both(std::net::TcpStream::connect(address).unwrap(), request),
        }
    }

    fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }

    fn post(&self, path: &str) -> String {
        self.ask(&format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

#[test]
fn health_is_on_both_kinds_of_socket() {
    for is_unix in [true, false] {
        let served = Served::new(is_unix, Fake::default());
        let answer = served.get("/healthz");
        assert_eq!((status(&answer), body(&answer)), ("200", "ok\n"));
        let head = served.ask("HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!((status(&head), body(&head)), ("200", ""));
    }
}

#[test]
fn readiness_has_a_line_a_check() {
    let served = Served::new(true, Fake::default());
    let answer = served.get("/readyz");
    assert_eq!((status(&answer), body(&answer)), ("200", "engine: ok\nlistener runner: ok\n"));
    let away = Fake { engine: Some("it is\naway".to_owned()), ..Fake::default() };
    let answer = Served::new(true, away).get("/readyz");
    let lines = "engine: it is away\nlistener runner: ok\n";
    assert_eq!((status(&answer), body(&answer)), ("503", lines));
    let draining = Served::new(true, Fake { draining: true, ..Fake::default() });
    let answer = draining.get("/readyz");
    assert_eq!(status(&answer), "503");
    assert!(body(&answer).starts_with("gateway: draining\nengine: ok\n"));
    assert_eq!(status(&draining.get("/healthz")), "200");
    assert_eq!(status(&draining.post("/reload")), "503");
    assert_eq!(draining.state.reloads.load(Ordering::Relaxed), 0);
}

#[test]
fn metrics_are_openmetrics_for_who_asks_for_it() {
    let served = Served::new(false, Fake::default());
    let answer = served.get("/metrics?x=1");
    assert_eq!(status(&answer), "200");
    assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert!(body(&answer).contains("# TYPE dockgate_reloads_total counter\n"));
    let answer = served.ask(
        "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9323\r\n\
         Accept: application/openmetrics-text;version=1.0.0;q=0.6,text/plain;q=0.3\r\n\r\n",
    );
    assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0"));
    assert!(answer.ends_with("# EOF\n"));
}

#[test]
fn a_reload_says_what_it_did_or_what_is_wrong() {
    let served = Served::new(true, Fake::default());
    let answer = served.post("/reload");
    assert_eq!((status(&answer), body(&answer)), ("200", "{\"message\":\"reloaded\"}\n"));
    assert_eq!(status(&served.get("/reload")), "405");
    assert_eq!(served.state.reloads.load(Ordering::Relaxed), 1);
    let wrong = Fake { complaint: Some("line 3".to_owned()), ..Fake::default() };
    let answer = Served::new(true, wrong).post("/reload");
    assert_eq!((status(&answer), body(&answer)), ("422", "{\"message\":\"line 3\"}\n"));
}

#[test]
fn nothing_is_changed_over_tcp_or_for_a_page() {
    let tcp = Served::new(false, Fake::default());
    assert_eq!(status(&tcp.post("/reload")), "403");
    assert_eq!(status(&tcp.get("/reload")), "403");
    let foreign = tcp.ask("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert_eq!(status(&foreign), "403");
    let page = "POST /reload HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n";
    assert_eq!(status(&tcp.ask(page)), "403");
    assert_eq!(tcp.state.reloads.load(Ordering::Relaxed), 0);
    let unix = Served::new(true, Fake::default());
    assert_eq!(status(&unix.ask(page)), "403");
    assert_eq!(unix.state.reloads.load(Ordering::Relaxed), 0);
}

#[test]
fn other_paths_and_methods_are_refused_with_what_there_is() {
    let served = Served::new(true, Fake::default());
    assert_eq!(status(&served.get("/containers/json")), "404");
    assert_eq!(status(&served.get("/metrics/")), "404");
    let answer = served.post("/metrics");
    assert_eq!(status(&answer), "405");
    assert!(answer.contains("allow: GET, HEAD\r\n"), "{answer}");
    assert!(served.get("/reload").contains("allow: POST\r\n"));
}

#[test]
fn what_a_cache_holds_is_told_on_the_unix_socket_only() {
    let tcp = Served::new(false, Fake::default());
    for path in ["/cache/ls", "/cache/verify", "/cache/purge?all"] {
        assert_eq!(status(&tcp.get(path)), "403", "{path}");
        assert_eq!(status(&tcp.post(path)), "403", "{path}");
    }
    let unix = Served::new(true, Fake::default());
    for served in [&tcp, &unix] {
        let answer = served.get("/cache/stats");
        assert_eq!((status(&answer), body(&answer)), ("200", "{\"caches\":[]}\n"));
        assert_eq!(status(&served.post("/cache/stats")), "405");
        assert_eq!(status(&served.get("/cache/stats?x=1")), "400");
        assert_eq!(status(&served.get("/cache")), "404");
    }
    assert!(unix.get("/cache/ls").contains("there is no cache"));
    assert_eq!(status(&unix.post("/cache/purge?all")), "404");
    assert!(unix.get("/cache/purge?all").contains("allow: POST\r\n"));
}

#[test]
fn a_large_body_is_not_read() {
    let served = Served::new(true, Fake::default());
    let small = "POST /reload HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(status(&served.ask(small)), "200");
    let large = "POST /reload HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n";
    assert_eq!(status(&served.ask(large)), "413");
    assert_eq!(served.state.reloads.load(Ordering::Relaxed), 1);
}

#[test]
fn garbage_closes_its_own_connection_only() {
    let served = Served::new(false, Fake::default());
    served.ask("\x16\x03\x01\r\n\r\n\r\n");
    served.ask(&format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(500_000)));
    assert_eq!(status(&served.get("/healthz")), "200");
}

#[test]
fn listeners_are_seen_opened_and_closed_on_the_unix_socket_only() {
    let served = Served::new(true, Fake::default());
    let open = "/listeners?name=job&like=ci&url=unix%3A%2F%2F%2Frun%2Fj%20b.sock&mode=0600";
    let answer = served.post(open);
    assert_eq!(status(&answer), "200");
    assert_eq!(body(&answer), "{\"message\":\"run-time job ci 600 unix:///run/j b.sock\"}\n");
    let delete = |query: &str| {
        served.ask(&format!("DELETE /listeners?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    };
    assert_eq!(body(&delete("name=job")), "{\"message\":\"closed job\"}\n");
    let expected = r#"{"listeners":[{"name":"ci","url":"unix:///ci"},{"name":"job","url":"unix:///job","like":"ci"}]}"#;
    assert_eq!(body(&served.get("/listeners")).trim_end(), expected);
    for bad in ["", "name=a&like=ci", "name=a&like=ci&url=tcp%3A%2F%2Fx", "name=a&name=a"] {
        assert_eq!(status(&served.post(&format!("/listeners?{bad}"))), "400", "{bad}");
    }
    for bad in ["", "name=a&like=ci", "nane=a"] {
        assert_eq!(status(&delete(bad)), "400", "{bad}");
    }
    let put = served.ask("PUT /listeners HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(status(&put), "405");
    let refusing =
        Served::new(true, Fake { complaint: Some("taken".to_owned()), ..Fake::default() });
    assert_eq!(status(&refusing.post(open)), "422");
    let ending = Served::new(true, Fake { draining: true, ..Fake::default() });
    assert_eq!(status(&ending.post(open)), "503");
    let tcp = Served::new(false, Fake::default());
    for answer in [tcp.get("/listeners"), tcp.post(open)] {
        assert_eq!(status(&answer), "403", "{answer}");
    }
}

#[test]
fn jobs_are_seen_and_ended_on_the_unix_socket_only() {
    let unix = Served::new(true, Fake::default());
    let delete = |query: &str| {
        unix.ask(&format!("DELETE /jobs?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    };
    let shown = unix.get("/jobs");
    assert!(shown.starts_with("HTTP/1.1 200") && shown.contains("\"id\":\"0a\""), "{shown}");
    assert!(delete("id=0a").contains("job `0a` ends"));
    assert!(delete("id=0b").starts_with("HTTP/1.1 422"));
    assert!(delete("").starts_with("HTTP/1.1 400"));
    let tcp = Served::new(false, Fake::default());
    assert!(tcp.get("/jobs").starts_with("HTTP/1.1 403"));
    assert!(tcp.post("/jobs?name=a&pid=1").starts_with("HTTP/1.1 403"));
}

#[test]
fn a_job_is_opened_for_a_process_and_the_kernel_says_by_whom() {
    let unix = Served::new(true, Fake::default());
    let opened = unix.post("/jobs?name=tree-1&pid=7&policy=p");
    let own = format!("\"user\":\"{}\"", rustix::process::geteuid().as_raw());
    assert!(opened.starts_with("HTTP/1.1 200") && opened.contains("\"pid\":7"), "{opened}");
    assert!(opened.contains("\"name\":\"tree-1\"") && opened.contains(&own), "{opened}");
    for wrong in
        ["pid=7", "name=a", "name=a&pid=x", "name=a&pid=0", "name=a%20b&pid=7", "name=&pid=7"]
    {
        assert_eq!(status(&unix.post(&format!("/jobs?{wrong}"))), "400", "{wrong}");
    }
    let refusing =
        Served::new(true, Fake { complaint: Some("none".to_owned()), ..Fake::default() });
    assert_eq!(status(&refusing.post("/jobs?name=a&pid=7")), "422");
    let ending = Served::new(true, Fake { draining: true, ..Fake::default() });
    assert_eq!(status(&ending.post("/jobs?name=a&pid=7")), "503");
}
