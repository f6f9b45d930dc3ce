//! The index of an engine's containers: which calls it saves, and that nothing is served wrongly where it is behind.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::engine::Wire;
use crate::support::http::{answer, chunk};
use crate::support::{Conn, Engine, Gate, Head, Setup, wait_until};

const POLICY: &str = "[policy.t]\nkind = \"namespace\"\nname = \"{listener}\"\nkey = \"key\"\n";

/// An engine that has containers, tells of events when it is told to, and counts.
#[derive(Default)]
struct Containers {
    all: Mutex<Vec<(String, String)>>,
    calls: Mutex<Vec<String>>,
    listeners: Mutex<Vec<Conn>>,
    tells_nobody: AtomicBool,
}

impl Containers {
    fn engine(self: &Arc<Self>) -> Engine {
        let all = Arc::clone(self);
        Engine::start(Box::new(move |wire| while all.serve(wire) {}))
    }

    fn serve(&self, wire: &mut Wire) -> bool {
        let Some(head) = wire.conn.try_head() else { return false };
        wire.conn.request_body(&head);
        if head.path() != "/events" {
            let said = self.reply(&head);
            return wire.conn.try_send(said).is_ok();
        }
        if self.tells_nobody.load(SeqCst) {
            return wire.conn.try_send(answer("503 Service Unavailable", "{}")).is_ok();
        }
        let lines = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        let _ = wire.conn.try_send(format!("HTTP/1.1 200 OK\r\n{lines}"));
        self.listeners.lock().unwrap().push(wire.conn.writer());
        while wire.conn.fill() {}
        false
    }

    fn reply(&self, head: &Head) -> Vec<u8> {
        let mut all = self.all.lock().unwrap();
        // The lists of the watch are nobody's call.
        if !head.first.contains("filters=%7B%7D") {
            self.calls.lock().unwrap().push(format!("{} {}", head.method(), head.path()));
        }
        let named = || {
            let (_, query) = head.first.split_once("name=").unwrap();
            query.split([' ', '&']).next().unwrap().to_owned()
        };
        let parts: Vec<&str> = head.path().split('/').skip(1).collect();
        let at = parts.get(1).and_then(|text| {
            let text = text.replace("%2D", "-");
            all.iter().position(|(id, name)| *id == text || *name == text)
        });
        let at = at.ok_or_else(|| {
            let message = format!("No such container: {}", parts.get(1).unwrap_or(&""));
            answer("404 Not Found", &json!({ "message": message }).to_string())
        });
        let inspected =
            |(id, name): &(String, String)| json!({ "Id": id, "Name": format!("/{name}") });
        match (head.method(), &parts[..]) {
            ("GET", ["containers", "json"]) => {
                let list =
                    all.iter().map(|(id, name)| json!({ "Id": id, "Names": [format!("/{name}")] }));
                answer("200 OK", &list.collect::<Value>().to_string())
            }
            ("GET", ["networks"]) => answer("200 OK", "[]"),
            ("POST", ["containers", "create"]) => {
                let number = 0xabc_0000 + self.calls.lock().unwrap().len();
                let id = format!("{number:x}{}", "0".repeat(57));
                all.push((id.clone(), named()));
                answer("201 Created", &json!({ "Id": id, "Warnings": [] }).to_string())
            }
            (method, ["containers", _, rest @ ..]) => match (at, method, rest) {
                (Err(said), ..) => said,
                (Ok(at), "DELETE", []) => {
                    all.remove(at);
                    answer("200 OK", "")
                }
                (Ok(at), "POST", ["rename"]) => {
                    all[at].1 = named();
                    answer("200 OK", "")
                }
                (Ok(at), "GET", ["json"]) => answer("200 OK", &inspected(&all[at]).to_string()),
                _ => answer("200 OK", ""),
            },
            _ => answer("404 Not Found", r#"{"message":"page not found"}"#),
        }
    }

    /// How many calls a request of a client leads to, and what it is answered.
    fn counted(&self, client: &mut Conn, request: &str) -> (usize, u16, String) {
        let before = self.calls.lock().unwrap().len();
        let (status, body) = client.ask(request);
        (self.calls.lock().unwrap().len() - before, status, body)
    }

    /// Until the index knows this id, or knows nothing any more.
    fn wait(&self, client: &mut Conn, id: &str, calls: usize) {
        wait_until("the index", || {
            let (counted, status, body) =
                self.counted(client, &get(&format!("/containers/{id}/json")));
            assert_eq!(status, 200, "{body}");
            counted == calls
        });
    }

    fn tell(&self, action: &str, id: &str, name: &str) {
        let actor = json!({ "ID": id, "Attributes": { "name": name } });
        let event = json!({ "Type": "container", "Action": action, "Actor": actor }).to_string();
        for listener in self.listeners.lock().unwrap().iter_mut() {
            let _ = listener.try_send(chunk(event.as_bytes()));
        }
    }

    /// The engine is gone, for whoever follows it.
    fn lose(&self) {
        self.tells_nobody.store(true, SeqCst);
        self.listeners.lock().unwrap().drain(..).for_each(|listener| listener.end());
    }
}

fn gate(engine: &Engine) -> Gate {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("key"), [7; 32]).unwrap();
    Setup::new(engine).policies(r#"["t"]"#).files(dir).tables(POLICY).start()
}

fn get(path: &str) -> String {
    format!("GET /v1.41{path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn post(path: &str) -> String {
    format!("POST /v1.41{path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
}

/// The id of a new container.
fn make(client: &mut Conn, name: &str) -> String {
    let body = r#"{"HostConfig":{"NetworkMode":"none"}}"#;
    let (status, said) = client.ask(format!(
        "POST /v1.41/containers/create?name={name} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_eq!(status, 201, "{said}");
    let said: Value = serde_json::from_str(&said).unwrap();
    said["Id"].as_str().unwrap().to_owned()
}

#[test]
fn names_and_known_ids_lead_to_one_call() {
    let containers = Arc::<Containers>::default();
    let others = "f".repeat(64);
    containers.all.lock().unwrap().push((others.clone(), "operators".to_owned()));
    let engine = containers.engine();
    let gate = gate(&engine);
    let client = &mut gate.client();
    let web = make(client, "web");
    for request in [
        get("/containers/web/json"),
        post("/containers/web/start"),
        get("/containers/web/logs?stdout=1"),
        get("/containers/nosuch/json"),
    ] {
        let (calls, _, said) = containers.counted(client, &request);
        assert_eq!(calls, 1, "{request}: {said}");
    }
    containers.wait(client, &web, 1);
    // One that is made later is known before its event has come.
    let db = make(client, "db");
    for (id, name) in [(&web, "web"), (&db, "db")] {
        for text in [id, &id[..12], name] {
            for (request, wanted) in [
                (
                    get(&format!("/containers/{text}/json")),
                    &*json!({ "Id": id, "Name": format!("/{name}") }).to_string(),
                ),
                (post(&format!("/containers/{text}/start")), ""),
                (get(&format!("/containers/{text}/logs?stdout=1")), ""),
            ] {
                let (calls, status, said) = containers.counted(client, &request);
                assert_eq!((calls, status, &*said), (1, 200, wanted), "{request}");
            }
        }
    }
    let (_, status, said) = containers.counted(client, &get(&format!("/containers/{others}/json")));
    assert_eq!(
        (status, said),
        (404, json!({ "message": format!("No such container: {others}") }).to_string())
    );
}

#[test]
fn an_engine_that_cannot_be_followed_is_asked() {
    let containers = Arc::<Containers>::default();
    let engine = containers.engine();
    let gate = gate(&engine);
    let client = &mut gate.client();
    let web = make(client, "web");
    containers.wait(client, &web, 1);
    containers.lose();
    containers.wait(client, &web, 2);
    containers.tells_nobody.store(false, SeqCst);
    containers.wait(client, &web, 1);
}

#[test]
fn what_another_gateway_does_is_not_served_as_it_was() {
    let containers = Arc::<Containers>::default();
    let engine = containers.engine();
    let (one, two) = (gate(&engine), gate(&engine));
    let (one, two) = (&mut one.client(), &mut two.client());
    let old = make(one, "db");
    containers.wait(two, &old, 1);
    let found = |client: &mut Conn, text: &str| {
        let (status, said) = client.ask(get(&format!("/containers/{text}/json")));
        let said: Value = serde_json::from_str(&said).unwrap();
        (status, said["Id"].as_str().or(said["message"].as_str()).unwrap().to_owned())
    };
    let absent = |text: &str| (404, format!("No such container: {text}"));
    assert_eq!(found(two, "db"), (200, old.clone()));
    // Renamed: by the id it is the same, by its name it is gone; no event has told so.
    assert_eq!(one.ask(post("/containers/db/rename?name=dc")).0, 200);
    assert_eq!((found(two, "db"), found(two, "dc")), (absent("db"), (200, old.clone())));
    assert_eq!(found(two, &old), (200, old.clone()));
    // Removed, and its name is another's.
    let remove = "DELETE /v1.41/containers/dc HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(one.ask(remove).0, 200);
    assert_eq!((found(two, "dc"), found(two, &old)), (absent("dc"), absent(&old)));
    let new = make(one, "db");
    assert_ne!(new, old);
    assert_eq!((found(two, "db"), found(two, &old)), ((200, new.clone()), absent(&old)));
    // By its event the other gateway knows it too.
    let name = containers.all.lock().unwrap()[0].1.clone();
    containers.tell("destroy", &old, &name);
    containers.tell("create", &new, &name);
    containers.wait(two, &new, 1);
}
