//! Builds through `conservative`: the context passes, and its Dockerfile is looked at on the way.

use std::io::Write as _;

use crate::support::engine::plain;
use crate::support::http::{answer, chunk, dechunk};
use crate::support::{Engine, Gate, text};

/// One entry of a tar archive.
fn entry(kind: u8, path: &str, link: &str, content: &[u8]) -> Vec<u8> {
    let mut block = header(kind, path, link, content.len());
    block.extend_from_slice(content);
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

/// The header of an entry of so many bytes.
pub(crate) fn header(kind: u8, path: &str, link: &str, size: usize) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..path.len()].copy_from_slice(path.as_bytes());
    block[100..108].copy_from_slice(b"0000644\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[148..156].fill(b' ');
    block[156] = kind;
    block[157..157 + link.len()].copy_from_slice(link.as_bytes());
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn file(path: &str, content: &str) -> Vec<u8> {
    entry(b'0', path, "", content.as_bytes())
}

/// An archive of these entries.
fn tar(entries: &[Vec<u8>]) -> Vec<u8> {
    [entries.concat(), vec![0; 1024]].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packing = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packing.write_all(bytes).unwrap();
    packing.finish().unwrap()
}

/// What the engine had of the body, by the lengths of its pieces and their sum; or the refusal.
fn build(gate: &Gate, query: &str, body: &[u8], pieces: Option<usize>) -> Result<String, String> {
    let head = format!(
        "POST /v1.41/build{query} HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-tar\r\n"
    );
    let request = match pieces {
        None => [format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat(),
        Some(size) => {
            let chunks: Vec<Vec<u8>> = body.chunks(size).map(chunk).collect();
            let head = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
            [head.into_bytes(), chunks.concat(), b"0\r\n\r\n".to_vec()].concat()
        }
    };
    let mut client = gate.client();
    // The gate may end the connection before it has read all.
    let _ = client.try_send(request);
    let head = client.head();
    let said = text(&client.body(&head));
    match head.status() {
        200 => Ok(said),
        _ => Err(said),
    }
}

/// An engine that says how long a context was, and what its bytes add up to.
fn summing() -> Engine {
    Engine::start(plain::with(|head, body| {
        match head.path() {
            path if path.ends_with("/images/triggers/json") => {
                let triggers = r#"{"Config":{"OnBuild":["RUN true","ADD http://10.0.0.1/ /x"]}}"#;
                return answer("200 OK", triggers);
            }
            path if path.contains("/images/") => {
                return answer("404 Not Found", r#"{"message":"No such image"}"#);
            }
            _ => {}
        }
        let coding = head.get("transfer-encoding").unwrap_or("none");
        let plain = if head.is_chunked() { dechunk(body) } else { body.to_vec() };
        answer("200 OK", &format!("{coding} {}", sum(&plain)))
    }))
}

fn sum(body: &[u8]) -> String {
    let sum =
        body.iter().fold(7u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    format!("{} {sum}", body.len())
}

const PLAIN: &str = "FROM alpine\nCOPY . /\n";

#[test]
fn a_context_reaches_the_engine_as_it_is_and_unpacked() {
    let engine = summing();
    let gate = Gate::conservative(&engine);
    let large = entry(b'0', "large", "", &vec![b'x'; 300_000]);
    let context = tar(&[
        entry(b'5', "sub/", "", b""),
        large.clone(),
        file("./Dockerfile", PLAIN),
        entry(b'2', "link", "large", b""),
        file("sub/Dockerfile", "FROM 10.0.0.1/other"),
        large,
    ]);
    let whole = format!("chunked {}", sum(&context));
    for pieces in [None, Some(1 << 16), Some(511), Some(100)] {
        assert_eq!(build(&gate, "", &context, pieces).as_deref(), Ok(&*whole), "{pieces:?}");
        let packed = gzip(&context);
        assert_eq!(build(&gate, "", &packed, pieces).as_deref(), Ok(&*whole), "{pieces:?}");
    }
    let twice = [gzip(&context[..700]), gzip(&context[700..])].concat();
    assert_eq!(build(&gate, "", &twice, Some(50)).as_deref(), Ok(&*whole), "two members");
    // Without a Dockerfile the engine says so itself.
    for context in [tar(&[file("x", "FROM 10.0.0.1/x")]), Vec::new()] {
        assert!(build(&gate, "", &context, Some(64)).unwrap().ends_with(&sum(&context)));
        let coding = if context.is_empty() { "none" } else { "chunked" };
        assert!(build(&gate, "", &context, None).unwrap().starts_with(coding));
    }
}

#[test]
fn a_dockerfile_that_fetches_from_inside_never_reaches_the_engine() {
    let engine = summing();
    let gate = Gate::conservative(&engine);
    for (dockerfile, rule) in [
        ("FROM scratch\nADD http://127.0.0.1:9/SECRET /", "build.fetch"),
        ("FROM scratch\nADD https://gitlab.com/SECRET /", "build.fetch"),
        ("FROM 10.0.0.1:5000/SECRET", "registry.host"),
        ("FROM scratch\nCOPY --from=localhost/SECRET / /", "registry.host"),
        ("ARG X=10.0.0.1/SECRET\nFROM $X", "registry.host"),
        ("FROM alpine:$FINE", ""),
        ("FROM scratch\nONBUILD ADD http://SECRET/ /", "build.fetch"),
        ("FROM alpine\nADD $SECRET /x", "build.fetch"),
        ("FROM scratch\nADD https://github.com/FINE /", ""),
        ("FROM scratch\nSECRET", "build.dockerfile"),
        ("# SECRET\nFROM triggers", "build.fetch"),
    ] {
        for name in ["Dockerfile", "dockerfile"] {
            let context = tar(&[file("a", "b"), file(name, dockerfile), file("c", "d")]);
            for body in [context.clone(), gzip(&context)] {
                let answer = build(&gate, "", &body, Some(700));
                match rule {
                    "" => assert!(answer.is_ok(), "{dockerfile} {answer:?}"),
                    rule => {
                        let refusal = answer.unwrap_err();
                        let wanted = format!("(rule {rule})");
                        assert!(refusal.contains(&wanted), "{dockerfile} {refusal}");
                        assert!(refusal.contains("Dockerfile:"), "{refusal}");
                    }
                }
            }
        }
    }
    let had = engine.seen().concat();
    assert!(
        had.contains("FINE") && !had.contains("SECRET"),
        "of what is refused the engine has nothing"
    );
}

#[test]
fn the_file_that_is_judged_is_the_file_that_is_built() {
    let engine = summing();
    let gate = Gate::conservative(&engine);
    let (good, bad) = (file("Dockerfile", PLAIN), "FROM 10.0.0.1/x");
    let link = |path: &str, to: &str| entry(b'2', path, to, b"");
    for (query, entries, says) in [
        ("", vec![good.clone(), file("Dockerfile", bad)], "twice"),
        ("", vec![good.clone(), file("./x/../Dockerfile", bad)], "twice"),
        ("", vec![file("evil", bad), link("Dockerfile", "evil")], "plain file"),
        ("", vec![file("evil", bad), entry(b'1', "Dockerfile", "evil", b"")], "plain file"),
        ("", vec![good.clone(), link("d", "."), file("d/Dockerfile", bad)], "symbolic link"),
        ("?dockerfile=a/b", vec![file("a/b", PLAIN), link("a", "c")], "plain file"),
        ("?dockerfile=../b", vec![file("b", PLAIN)], "leads out"),
        ("?dockerfile=x%2F..%2F%2Fevil", vec![good.clone(), file("evil", bad)], "registry.host"),
        (
            "?buildargs=%7B%22X%22%3A%2210.0.0.1%2Fx%22%7D",
            vec![file("Dockerfile", "ARG X=a\nFROM $X")],
            "registry.host",
        ),
        ("?buildargs=%7B", vec![good.clone()], "invalid JSON"),
        ("", vec![entry(b'0', "Dockerfile", "", &vec![b'#'; 1 << 21])], "1 MiB"),
    ] {
        let refusal = build(&gate, query, &tar(&entries), Some(999)).unwrap_err();
        assert!(refusal.contains(says), "{query} {says}: {refusal}");
    }
    let elsewhere = tar(&[file("Dockerfile", bad), file("sub/df", PLAIN)]);
    assert!(build(&gate, "?dockerfile=sub%2Fdf", &elsewhere, None).is_ok());
    let target = tar(&[file("Dockerfile", "FROM scratch AS a\nFROM 10.0.0.1/x")]);
    assert!(build(&gate, "?target=a", &target, None).is_ok());
}

#[test]
fn what_cannot_be_unpacked_is_refused() {
    let engine = summing();
    let gate = Gate::conservative(&engine);
    let packed = gzip(&tar(&[file("Dockerfile", PLAIN), file("x", &"y".repeat(5000))]));
    let cut = &packed[..packed.len() - 12];
    let more = [&packed[..], b"more"].concat();
    let nested = gzip(&packed);
    let cut_file = &tar(&[file("Dockerfile", PLAIN)])[..520];
    for body in
        [cut, &more, &nested, cut_file, b"FROM scratch\n", b"BZh91AY", b"\x28\xb5\x2f\xfd\0"]
    {
        let refusal = build(&gate, "", body, Some(64)).unwrap_err();
        assert!(refusal.contains("(rule archive.unreadable)"), "{refusal}");
    }
}

#[test]
fn clients_of_http_1_0_send_plain_contexts() {
    let engine = summing();
    let gate = Gate::conservative(&engine);
    let context = tar(&[file("Dockerfile", PLAIN)]);
    for (body, status) in [(context.clone(), 200), (gzip(&context), 403)] {
        let head = format!("POST /v1.41/build HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len());
        let mut client = gate.client();
        client.send([head.as_bytes(), &body].concat());
        let head = client.head();
        assert_eq!(head.status(), status);
        if status == 200 {
            assert_eq!(text(&client.rest()), format!("none {}", sum(&context)));
        }
    }
}
