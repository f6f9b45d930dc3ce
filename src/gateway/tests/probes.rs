//! The container that is made to look into an image, in front of an engine that does as the test says.

use super::*;
use crate::policy::Fact;

/// An engine that makes a container, and answers questions about files as the test wants.
fn engine(of_file: impl Fn() -> Vec<u8> + Send + Sync + 'static) -> TestEngine {
    TestEngine::start(move |(line, _), conn| {
        let (verb, rest) = line.split_once(' ').unwrap();
        let answer = match verb {
            "GET" if rest.contains("/images/") => whole(200, r#"{"Config":{"Env":null}}"#),
            "GET" => whole(200, "[]"),
            "POST" => whole(201, r#"{"Id":"made","Warnings":[]}"#),
            "DELETE" => whole(204, ""),
            _ => of_file(),
        };
        conn.write_all(&answer).unwrap();
    })
}

/// Asks for an image's layout, and answers with what it is told.
fn asks(_: &Typed, cx: &Context<'_>) -> Says {
    let question = Question::Layout(format!("sha{}:{}", 256, "a".repeat(64)));
    match cx.facts.get(&question) {
        None => Says::Ask(vec![question]),
        Some(Fact::Layout(layout)) => {
            Says::Answer(Reply { status: 200, json: Some(json!([layout.is_empty()])) })
        }
        Some(other) => {
            Says::Answer(Reply { status: 200, json: Some(json!([format!("{other:?}")])) })
        }
    }
}

fn removed(engine: &TestEngine) {
    let wanted = "DELETE /v1.43/containers/made?force=1&v=1";
    assert!(engine.asked.iter().any(|(line, _)| line == wanted));
}

#[test]
fn a_probe_is_removed_whether_it_could_be_looked_into_or_not() {
    let nothing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec();
    let failing = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".to_vec();
    let odd = b"HTTP/1.1 200 OK\r\nX-Docker-Container-Path-Stat: %%\r\nContent-Length: 0\r\n\r\n"
        .to_vec();
    for (answer, told) in [(nothing, "[true]"), (failing, "500"), (odd, "no file's state")] {
        let engine = engine(move || answer.clone());
        let mut client = client(&engine, asks, keep);
        ask(&mut client, "GET /v1.43/networks");
        until(&mut client, "\r\n\r\n");
        let answer = until(&mut client, "]\n");
        assert!(answer.contains(told), "{answer}");
        removed(&engine);
    }
}

#[test]
fn a_probe_is_removed_though_the_client_has_left() {
    let (go, goes) = mpsc::channel::<()>();
    let goes = Mutex::new(goes);
    let engine = engine(move || {
        // Once the client is gone; all others at once.
        let _ = goes.lock().unwrap().recv();
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec()
    });
    let mut client = client(&engine, asks, keep);
    ask(&mut client, "GET /v1.43/networks");
    assert!(engine.asked.iter().any(|(line, _)| line.starts_with("HEAD ")), "it is looked into");
    drop(client);
    drop(go);
    removed(&engine);
}
