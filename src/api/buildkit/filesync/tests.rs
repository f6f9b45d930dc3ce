//! What becomes of the packets of a transfer, one by one.

use serde_json::json;

use super::*;
use crate::api::doc;

const FILE: u32 = 0o644;
const FOLDER: u32 = 1 << 31 | 0o755;
const LINK: u32 = 1 << 27 | 0o777;
const NOW: i64 = 1_700_000_000_000_000_001;

fn packet(json: serde_json::Value) -> Vec<u8> {
    let doc = doc::parse(json.to_string().as_bytes(), &Kind::Object(PACKET)).unwrap();
    proto::render(&doc.root, PACKET)
}

fn stat(path: &str, mode: u32, size: usize, goal: &str) -> Vec<u8> {
    let stat = json!({"path": path, "mode": mode, "size": size, "modTime": 7, "linkname": goal});
    packet(json!({"stat": stat}))
}

fn data(id: u32, bytes: &[u8]) -> Vec<u8> {
    packet(json!({"type": "DATA", "ID": id, "data": BASE64.encode(bytes)}))
}

fn wants(id: u32) -> Vec<u8> {
    packet(json!({"type": "REQ", "ID": id}))
}

fn end() -> Vec<u8> {
    packet(json!({}))
}

fn fin() -> Vec<u8> {
    packet(json!({"type": "FIN"}))
}

/// A transfer whose list has come.
fn listed(filename: &str, files: &[(&str, u32, usize, &str)]) -> Result<FileSync, BadFileSync> {
    let mut sync = FileSync::new(filename);
    for (path, mode, size, goal) in files {
        sync.sent(&stat(path, *mode, *size, goal), NOW)?;
    }
    assert_eq!(sync.sent(&end(), NOW), Ok(Passing::Pass(end())));
    Ok(sync)
}

/// What is shown of a file when all of it is sent.
fn shown(sync: &mut FileSync, id: u32, content: &[u8]) -> Option<Vec<u8>> {
    sync.asked(&wants(id)).unwrap();
    let mut whole = None;
    for piece in [content, b""] {
        match sync.sent(&data(id, piece), NOW).unwrap() {
            Passing::Whole { file, packet } => {
                assert_eq!(packet, data(id, content));
                whole = Some(file);
            }
            Passing::Pass(_) => {}
            Passing::Hold => panic!("all of it has come"),
        }
    }
    whole
}

#[test]
fn a_dockerfile_goes_on_whole_or_not_at_all_however_it_is_cut() {
    let content: Vec<u8> = (0..100_u8).collect();
    for cut in [1, 3, 99, 100] {
        let files = [(".dockerignore", FILE, 3, ""), ("Dockerfile", FILE, 100, "")];
        let mut sync = listed("", &files).unwrap();
        assert_eq!(sync.held(), 100);
        sync.asked(&wants(0)).unwrap();
        sync.asked(&wants(1)).unwrap();
        // The other file goes on as it comes, between the pieces too.
        let ignores = data(0, b"x");
        let mut whole = None;
        for piece in content.chunks(cut) {
            assert_eq!(sync.sent(&ignores, NOW), Ok(Passing::Pass(ignores.clone())));
            assert_eq!(whole, None);
            match sync.sent(&data(1, piece), NOW).unwrap() {
                Passing::Hold => {}
                Passing::Whole { file, packet } => whole = Some((file, packet)),
                Passing::Pass(_) => panic!("a part of it"),
            }
        }
        assert_eq!(whole, Some((content.clone(), data(1, &content))), "{cut}");
        assert_eq!(sync.sent(&data(1, b""), NOW), Ok(Passing::Pass(data(1, b""))));
        sync.asked(&fin()).unwrap();
        assert_eq!(sync.sent(&fin(), NOW), Ok(Passing::Pass(fin())));
        assert_eq!(sync.sent(&fin(), NOW), Err(BadFileSync::Order), "it is over");
    }
}

#[test]
fn what_the_engine_could_have_kept_has_another_time_and_must_pass_here() {
    let mut sync = FileSync::new("Dockerfile");
    let other = stat("a", FILE, 1, "");
    assert_eq!(sync.sent(&other, NOW), Ok(Passing::Pass(other)));
    let Ok(Passing::Pass(passed)) = sync.sent(&stat("Dockerfile", FILE, 1, ""), NOW) else {
        panic!()
    };
    let passed = read(&passed).unwrap();
    assert_eq!(passed.get("stat").unwrap().get("modTime").unwrap().as_i64(), Some(NOW));
    assert_eq!(sync.sent(&fin(), NOW), Err(BadFileSync::Order), "within the list");
    sync.sent(&end(), NOW).unwrap();
    assert_eq!(sync.sent(&fin(), NOW), Err(BadFileSync::Unseen), "nobody has asked for it");
    let mut sync = listed("", &[("Dockerfile", FILE, 2, "")]).unwrap();
    sync.asked(&wants(0)).unwrap();
    assert_eq!(sync.sent(&data(0, b"F"), NOW), Ok(Passing::Hold));
    assert_eq!(sync.sent(&fin(), NOW), Err(BadFileSync::Unseen), "half of it");
    // A file that nobody takes for one may have been kept.
    let mut sync = listed("d/F", &[("Dockerfile", FILE, 1, "")]).unwrap();
    assert!(sync.sent(&fin(), NOW).is_ok());
}

#[test]
fn an_empty_dockerfile_is_one() {
    let mut sync = listed(".", &[("Dockerfile", FILE, 0, "")]).unwrap();
    sync.asked(&wants(0)).unwrap();
    let whole = Passing::Whole { file: Vec::new(), packet: data(0, b"") };
    assert_eq!(sync.sent(&data(0, b""), NOW), Ok(whole));
    assert!(sync.sent(&fin(), NOW).is_ok());
}

#[test]
fn every_name_under_which_the_engine_looks_for_it_counts() {
    for (filename, path) in [
        ("", "Dockerfile"),
        ("", "dockerfile"),
        ("./Dockerfile", "Dockerfile"),
        ("/Dockerfile", "Dockerfile"),
        ("a/../Dockerfile", "dockerfile"),
        ("../../Dockerfile", "Dockerfile"),
        ("a//b/./Dockerfile", "a/b/dockerfile"),
        ("x.dockerignore", "x.dockerignore"),
        ("a/prod", "a/prod"),
    ] {
        let mut sync = listed(filename, &[(path, FILE, 4, "")]).unwrap();
        assert_eq!(shown(&mut sync, 0, b"FROM").as_deref(), Some(&b"FROM"[..]), "{filename}");
    }
    for (filename, path) in [("", "x"), ("prod", "Dockerfile"), ("a/prod", "prod")] {
        let mut sync = listed(filename, &[(path, FILE, 4, "")]).unwrap();
        assert_eq!(shown(&mut sync, 0, b"FROM"), None, "{filename}");
    }
}

#[test]
fn whatever_a_link_could_lead_to_counts_as_one() {
    let files = [("Dockerfile", LINK, 0, "d/prod"), ("d", FOLDER, 0, ""), ("d/prod", FILE, 4, "")];
    let mut sync = listed("", &files).unwrap();
    assert_eq!(shown(&mut sync, 2, b"FROM").as_deref(), Some(&b"FROM"[..]));
    let files = [("Dockerfile", FILE, 4, ""), ("Dockerfile.dockerignore", FILE, 1, "")];
    let links: [(&[_], &str); 4] = [
        (&files, "a link behind it"),
        (&files[..1], "and none to ignore"),
        (&[], "one alone"),
        (&[(".dockerignore", FILE, 1, "")], "a file that is passed"),
    ];
    for (before, why) in links {
        for (mode, goal, is_good) in [
            (LINK, "Dockerfile", true),
            (FILE, "Dockerfile", true),
            (LINK, ".dockerignore", false),
            (FILE, "Dockerfile.dockerignore", false),
            (LINK, "x/../Dockerfile.dockerignore/.", false),
        ] {
            let files = [before, &[("z", mode, 0, goal)]].concat();
            assert_eq!(listed("", &files).is_ok(), is_good, "{why}: {goal}");
        }
    }
    // What was passed already, and what is no file.
    for bad in [
        &[("a", FILE, 1, ""), ("b", LINK, 0, "a")][..],
        &[("Dockerfile", 1 << 25, 0, "")],
        &[("Dockerfile", 1 << 26, 0, "")],
        &[("Dockerfile", LINK, 0, "b"), ("b", 1 << 24, 0, "")],
    ] {
        assert_eq!(listed("", bad).unwrap_err(), BadFileSync::Link, "{bad:?}");
    }
}

#[test]
fn what_is_too_much_is_refused() {
    let too_big = |files: &[_]| listed("", files).unwrap_err() == BadFileSync::TooBig;
    assert!(too_big(&[("Dockerfile", FILE, MOST_BYTES + 1, "")]));
    assert!(listed("", &[("Dockerfile", FILE, MOST_BYTES, "")]).is_ok());
    let one = |path| (path, FILE, MOST_BYTES, "");
    assert!(too_big(&[("Dockerfile", LINK, 0, "a"), one("a"), one("b"), ("c", FILE, 1, "")]));
    let names: Vec<String> = (0..=MOST_FILES).map(|index| format!("{index:05}")).collect();
    let all: Vec<_> = names.iter().map(|name| (name.as_str(), FILE, 0, "")).collect();
    assert_eq!(listed("", &all).unwrap_err(), BadFileSync::TooMany);
    assert!(listed("", &all[1..]).is_ok());
    // More comes than was said, or less.
    for pieces in [&[&b"FROMs"[..]][..], &[b"FROM", b"s"], &[b"FRO", b"Ms"], &[b"FRO", b""], &[b""]]
    {
        let mut sync = listed("", &[("Dockerfile", FILE, 4, "")]).unwrap();
        sync.asked(&wants(0)).unwrap();
        let last = pieces.iter().map(|piece| sync.sent(&data(0, piece), NOW)).last();
        assert_eq!(last, Some(Err(BadFileSync::Changed)), "{pieces:?}");
    }
}

#[test]
fn what_has_no_place_is_refused() {
    let sync = || listed("", &[("Dockerfile", FILE, 4, "")]).unwrap();
    let order = Err(BadFileSync::Order);
    assert_eq!(sync().sent(&data(0, b"FROM"), NOW), order, "nobody has asked");
    assert_eq!(sync().sent(&data(1, b"FROM"), NOW), order, "no such file");
    assert_eq!(sync().sent(&wants(0), NOW), order, "the engine's word");
    assert_eq!(sync().sent(&stat("x", FILE, 0, ""), NOW), order, "behind the list");
    assert_eq!(sync().sent(&end(), NOW), order, "twice");
    assert_eq!(sync().asked(&wants(1)), Err(BadFileSync::Order));
    assert_eq!(sync().asked(&wants(u32::MAX)), Err(BadFileSync::Order));
    assert_eq!(sync().asked(&data(0, b"x")), Err(BadFileSync::Order));
    assert_eq!(sync().asked(&stat("x", FILE, 0, "")), Err(BadFileSync::Order));
    let mut twice = sync();
    twice.asked(&wants(0)).unwrap();
    assert_eq!(twice.asked(&wants(0)), Err(BadFileSync::Order));
    twice.sent(&data(0, b"FROM"), NOW).unwrap();
    twice.sent(&data(0, b""), NOW).unwrap();
    assert_eq!(twice.sent(&data(0, b""), NOW), order, "it has ended");
    for path in ["", "/Dockerfile", "a/../Dockerfile", "./Dockerfile", "Dockerfile/", "..", "a//b"]
    {
        let found = listed("", &[(path, FILE, 1, "")]).unwrap_err();
        assert_eq!(found, BadFileSync::Path(path.to_owned()));
    }
    for malformed in [&b"\x08\x05"[..], b"\x08", b"\x2a\x00", b"\x12\x02\x0a", b"\x08\x00\x08\x00"]
    {
        assert!(matches!(sync().sent(malformed, NOW), Err(BadFileSync::Packet(_))));
        assert!(matches!(sync().asked(malformed), Err(BadFileSync::Packet(_))));
    }
    let error = packet(json!({"type": "ERR", "data": BASE64.encode("no")}));
    assert_eq!(sync().sent(&error, NOW), Ok(Passing::Pass(error.clone())));
    assert_eq!(sync().asked(&error), Ok(()));
}
