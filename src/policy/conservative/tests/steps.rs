//! Judging costs as many steps as the call has elements, times a small number, whatever the elements are.

use std::cell::Cell;
use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::config::{AllowedBind, Place};

thread_local! {
    static STEPS: Cell<usize> = const { Cell::new(0) };
}

/// One step: a predicate asked, two paths compared, a thing read, a place looked at.
pub(in super::super) fn count() {
    STEPS.set(STEPS.get() + 1);
}

const FEW: usize = 500;
const MANY: usize = 4 * FEW;
/// Of one element more, in all the rounds of questions together.
const MOST_OF_ONE: usize = 12;

/// Chains of one policy that may bind `/srv/cc`, and its twin that audits.
fn chains() -> [Chain; 2] {
    let bind = AllowedBind { host: "/srv/cc".into(), writable: false, place: Place::default() };
    let settings = config::Conservative { binds: vec![bind], ..config::Conservative::default() };
    let listener = config::without_file(&["unix:///x.sock".to_owned()], None, &[]).unwrap();
    let around = Surroundings::of(&listener, &listener.listeners[0]);
    [Link::new as fn(_) -> _, Link::auditing].map(|link| {
        let policy = Conservative::new("c", &settings, &around).unwrap();
        Chain::new(vec![link(Box::new(policy))])
    })
}

/// Everything there is, is harmless.
fn knows(question: &Question) -> Fact {
    match question {
        Question::HostPath(path) => Fact::Path(path.clone()),
        Question::Container(_) => {
            Fact::Json(Arc::new(json!({ "Id": "c".repeat(64), "Config": {}, "HostConfig": {} })))
        }
        Question::Network(name) => Fact::Json(Arc::new(
            json!({ "Id": "e".repeat(64), "Name": name, "Driver": "bridge", "Scope": "local" }),
        )),
        Question::Volume(name) => Fact::Json(Arc::new(json!({ "Name": name, "Driver": "local" }))),
        Question::Info => Fact::Json(Arc::new(json!({ "DockerRootDir": "/var/lib/docker" }))),
        Question::MountsBelow(_) | Question::Aliases(_) => Fact::Paths(Vec::new()),
        Question::Addresses(_) => Fact::Addresses(vec![[192, 0, 2, 1].into()]),
        Question::Image(_)
        | Question::WhichEngine
        | Question::Exec(_)
        | Question::Begun { .. }
        | Question::Fresh
        | Question::List(..)
        | Question::Job(_)
        | Question::Granted(_)
        | Question::Login(_)
        | Question::Trust(_)
        | Question::Layout(_)
        | Question::ExecInspect(_)
        | Question::OfEngine(_)
        | Question::Indexed(..)
        | Question::Plugin { .. } => Fact::Absent,
    }
}

fn steps(chain: &Chain, line: &str, body: &str) -> usize {
    STEPS.set(0);
    judge(chain, line, body, &knows);
    STEPS.get()
}

#[test]
fn ten_times_the_elements_cost_ten_times_the_steps() {
    type Element = fn(usize) -> String;
    let elements: [(&str, &str, &str, Element); 18] = [
        ("one path", r#"{"HostConfig":{"Binds":["#, "]}}", |i| format!(r#""/srv/cc:/m{i}:ro""#)),
        ("one path, relabelled", r#"{"HostConfig":{"Binds":["#, "]}}", |i| {
            format!(r#""/srv/cc:/m{i}:ro,z""#)
        }),
        ("paths below it", r#"{"HostConfig":{"Binds":["#, "]}}", |i| {
            format!(r#""/srv/cc/{i}:/m:ro""#)
        }),
        ("paths elsewhere", r#"{"HostConfig":{"Binds":["#, "]}}", |i| format!(r#""/etc/{i}:/m""#)),
        ("one volume", r#"{"HostConfig":{"Binds":["#, "]}}", |i| format!(r#""v:/m{i}""#)),
        ("volumes", r#"{"HostConfig":{"Binds":["#, "]}}", |i| format!(r#""v{i}:/m""#)),
        ("mounts", r#"{"HostConfig":{"Mounts":["#, "]}}", |i| {
            format!(r#"{{"Type":"volume","Source":"v","Target":"/m{i}"}}"#)
        }),
        ("mounts of a path", r#"{"HostConfig":{"Mounts":["#, "]}}", |i| {
            format!(r#"{{"Type":"bind","Source":"//srv/cc","Target":"/m{i}","ReadOnly":true}}"#)
        }),
        ("links", r#"{"HostConfig":{"Links":["#, "]}}", |i| format!(r#""web:a{i}""#)),
        ("volumes from", r#"{"HostConfig":{"VolumesFrom":["#, "]}}", |i| {
            format!(r#""web{}""#, i % 7)
        }),
        ("groups", r#"{"HostConfig":{"Binds":["/srv/cc:/m:ro"],"GroupAdd":["#, "]}}", |i| {
            format!(r#""{i}""#)
        }),
        ("capabilities", r#"{"HostConfig":{"CapAdd":["#, "]}}", |_| r#""CHOWN""#.to_owned()),
        ("networks", r#"{"NetworkingConfig":{"EndpointsConfig":{"#, "}}}", |i| {
            format!(r#""n{i}":{{"IPAddress":"1","Gateway":"2","DNSNames":["x"]}}"#)
        }),
        (
            "links of an endpoint",
            r#"{"NetworkingConfig":{"EndpointsConfig":{"n":{"Links":["#,
            "]}}}}",
            |i| format!(r#""web:a{i}""#),
        ),
        ("ulimits", r#"{"HostConfig":{"Ulimits":["#, "]}}", |_| {
            r#"{"Name":"nofile","Soft":1,"Hard":1}"#.to_owned()
        }),
        ("labels", r#"{"Labels":{"#, "}}", |i| format!(r#""l{i}":"x""#)),
        ("ports", r#"{"HostConfig":{"PortBindings":{"#, "}}}", |i| {
            format!(r#""{i}/tcp":[{{"HostPort":"0"}}]"#)
        }),
        ("unknown fields", r#"{"HostConfig":{"#, "}}", |i| format!(r#""frob{i}":1"#)),
    ];
    let chains = chains();
    for (what, before, behind, element) in elements {
        let body = |count| {
            let all: Vec<String> = (0..count).map(element).collect();
            format!("{before}{}{behind}", all.join(","))
        };
        for chain in &chains {
            let [few, many] =
                [FEW, MANY].map(|count| steps(chain, "POST /containers/create", &body(count)));
            let more = many.saturating_sub(few);
            let each = more as f64 / (MANY - FEW) as f64;
            assert!(more <= (MANY - FEW) * MOST_OF_ONE, "{what}: {each:.1} steps for each more");
        }
    }
}

#[test]
fn parameters_cost_steps_by_their_number_too() {
    for (path, parameter) in [("/images/get", "names=x"), ("/build", "t=x"), ("/build", "memory=1")]
    {
        let method = if path == "/build" { "POST" } else { "GET" };
        let line = |count: usize| format!("{method} {path}?{}", vec![parameter; count].join("&"));
        for chain in &chains() {
            let [few, many] = [FEW, MANY].map(|count| steps(chain, &line(count), ""));
            let more = many.saturating_sub(few);
            assert!(
                more <= (MANY - FEW) * MOST_OF_ONE,
                "{path}: {few} for {FEW}, {many} for {MANY}"
            );
        }
    }
}
