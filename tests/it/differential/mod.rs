//! Differential: what dockgate makes of a JSON body, against what Go makes of it.
//!
//! A generator makes bodies that are hard to read; `api::doc` reads them by the shape of their
//! endpoint, and a Go program (`tests/differential`) by the engine's own types, as four generations
//! of engines do. What must hold for every body that dockgate accepts: Go understands what is sent
//! exactly as dockgate did, and understands the client's body as that too.
//!
//! 10,000 bodies; `DOCKGATE_DIFFERENTIAL=N` for another number, `DOCKGATE_DIFFERENTIAL_SEED` for
//! another series of them. A failure prints both and the body.

mod compare;
mod decoder;
mod generator;
mod node;
mod shapes;
mod words;

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::mpsc::sync_channel;
use std::thread;

use compare::{Case, Tally};
use decoder::{Answers, GENERATIONS, Session};
use generator::Generator;
use shapes::Shape;

const CASES: u64 = 10_000;
/// So many cases are written before their answers are read.
const BATCH: u64 = 64;
/// Below this share of accepted bodies the comparison proves little.
const LEAST_ACCEPTED: f64 = 0.3;

#[test]
fn what_dockgate_accepts_is_to_go_what_it_is_to_dockgate() {
    let shapes = shapes::all();
    let seed = number("DOCKGATE_DIFFERENTIAL_SEED").unwrap_or(1);
    let cases = number("DOCKGATE_DIFFERENTIAL").unwrap_or(CASES);
    let tally = compare_many(&shapes, seed, cases);
    println!("{tally}");
    for divergence in &tally.divergences {
        println!("seed {seed}, {divergence}\n");
    }
    assert!(tally.divergences.is_empty(), "{} bodies diverge", tally.diverging);
    assert!(tally.accepted_share() > LEAST_ACCEPTED, "{tally}");
    for shape in &shapes {
        assert!(tally.accepted_of(shape) > 0, "no body of {} was accepted", shape.id);
    }
}

#[test]
fn bodies_of_real_clients_are_accepted_and_are_the_same_to_go() {
    let shapes = shapes::all();
    let recorded: Vec<_> = shapes.iter().flat_map(|shape| &shape.recorded).collect();
    assert!(recorded.len() >= 12, "only {} bodies in the corpus", recorded.len());
    let mut session = Session::start();
    let mut tally = Tally::default();
    for shape in &shapes {
        for body in &shape.recorded {
            let case = Case::read(shape, body.clone());
            assert!(case.is_accepted(), "{}: {}", shape.id, String::from_utf8_lossy(body));
            session.ask(&case);
            tally.take(&case, &session.answers());
        }
    }
    assert!(tally.divergences.is_empty(), "{}", tally.divergences.join("\n"));
}

#[test]
fn dockgate_and_go_know_the_same_fields() {
    let mut wrong = String::new();
    for shape in shapes::all() {
        compare::same_fields(&shape.kind, &shape.go, shape.id, &mut wrong);
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// What engines were seen to do with such bodies: 20.10 and 26.1.5 live, the rest by their sources.
#[test]
fn the_decoder_does_what_engines_do() {
    const YES: [bool; 4] = [true; 4];
    const NO: [bool; 4] = [false; 4];
    const UNTIL_26: [bool; 4] = [true, true, false, false];
    let facts = [
        (r#"{"hostconfig":{"PRIVILEGED":true}}"#, "Privileged", YES),
        ("{\"HoſtConfig\":{\"Privileged\":true}}", "Privileged", YES),
        ("{\"HostConfig\":{\"Networ\u{212a}Mode\":\"host\"}}", "NetworkMode", YES),
        (r#"{"HostConfig":{"Privileged":true,"privileged":null}}"#, "Privileged", YES),
        (r#"{"HostConfig":{"Privileged":true},"HostConfig":{}}"#, "Privileged", YES),
        (r#"{"HostConfig":{"Privileged":true},"HostConfig":null}"#, "Privileged", NO),
        (r#"{"HostConfig":{"Mounts":[{"Source":"/"}],"Mounts":[{}]}}"#, "Source", YES),
        (r#"{"HostConfig":{"Binds":["/:/h"],"Binds":[null]}}"#, "/:/h", YES),
        (r#"{"Image":"x","Privileged":true}"#, "Privileged", UNTIL_26),
        (r#"{"Image":"x","Privileged":true,"HostConfig":{}}"#, "Privileged", NO),
        (r#"{"Memory":5,"HostConfig":{}}"#, "Memory", UNTIL_26),
        (r#"{"Cpuset":"0","HostConfig":{}}"#, "CpusetCpus", UNTIL_26),
        (r#"{"Image":"x"}garbage"#, "Image", [true, false, false, false]),
        (r#"{"Image":"x"}}garbage"#, "Image", YES),
        (r#"{"Cmd":"sh"}"#, "Cmd", [true, true, true, false]),
        (r#"{"HostConfig":{"Memory":1e3}}"#, "Memory", NO),
        (r#"{"HostConfig":{"Memory":1.0}}"#, "Memory", NO),
        (r#"{"HostConfig":{"BlkioWeight":65536}}"#, "BlkioWeight", NO),
        (r#"{"Image":"\ud800"}"#, "\u{fffd}", YES),
        (r#"{"Labels":{"a":"1","A":"2"}}"#, r#""A":"2","a":"1""#, YES),
    ];
    let shapes = shapes::all();
    let create = shapes.iter().find(|shape| shape.id == "ContainerCreate").unwrap();
    let mut session = Session::start();
    let mut wrong = String::new();
    for (body, word, expected) in facts {
        session.ask(&Case::read(create, body.as_bytes().to_vec()));
        let seen = session.answers().client.map(|answer| answer.is_ok_and(|t| t.contains(word)));
        for (engine, (seen, expected)) in GENERATIONS.iter().zip(seen.iter().zip(expected)) {
            if *seen != expected {
                writeln!(wrong, "{engine}: {body} has {word}: {seen}").unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// One thread makes and reads bodies, Go decodes them, and this thread compares.
fn compare_many(shapes: &[Shape], seed: u64, cases: u64) -> Tally {
    let Session { mut child, mut requests, mut replies } = Session::start();
    let mut tally = Tally::default();
    thread::scope(|scope| {
        let (to_compare, batches) = sync_channel::<Vec<Case<'_>>>(4);
        scope.spawn(move || {
            for first in (0..cases).step_by(BATCH as usize) {
                let numbers = first..cases.min(first + BATCH);
                let bodies = numbers.map(|number| Generator::new(shapes, seed, number).body());
                let batch: Vec<_> = bodies.map(|(shape, body)| Case::read(shape, body)).collect();
                let bytes: Vec<u8> = batch
                    .iter()
                    .filter(|case| case.is_accepted())
                    .flat_map(decoder::request)
                    .collect();
                // First the batch, then its bytes: answers are read while bytes are written.
                if to_compare.send(batch).is_err() || requests.write_all(&bytes).is_err() {
                    return;
                }
            }
        });
        for batch in batches {
            for case in batch {
                match case.is_accepted() {
                    true => tally.take(&case, &Answers::read(&mut replies)),
                    false => tally.refuse(&case),
                }
            }
        }
    });
    assert!(child.wait().unwrap().success(), "the decoder failed");
    tally
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("`{variable}` must be a number: {text}")))
}
