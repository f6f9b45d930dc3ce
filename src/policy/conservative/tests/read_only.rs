//! What was given for reading is read-only with all that is mounted below it.

use serde_json::{Value, json};

use super::*;
use crate::config::{AllowedBind, Place};

/// A path for reading, below which something is mounted in `/srv/cc/over`.
fn knows(kernel: &'static str) -> impl Fn(&Question) -> Fact {
    move |question| match question {
        Question::HostPath(path) => Fact::Path(path.clone()),
        Question::MountsBelow(path) if path.starts_with("/srv/cc/over") => {
            Fact::Paths(vec![path.join("disk")])
        }
        Question::MountsBelow(path) if path.starts_with("/srv/cc/fault") => {
            Fact::Failed("it cannot be read".to_owned())
        }
        Question::MountsBelow(_) => Fact::Paths(Vec::new()),
        Question::Info if kernel.is_empty() => Fact::Absent,
        Question::Info => Fact::Json(Arc::new(json!({ "KernelVersion": kernel }))),
        _ => Fact::Absent,
    }
}

fn given(shares_host: bool) -> Chain {
    let bind =
        |host: &str, writable| AllowedBind { host: host.into(), writable, place: Place::default() };
    let binds = vec![bind("/srv/cc", false), bind("/srv/cc/over", false), bind("/srv/rw", true)];
    let settings = config::Conservative { binds, ..Default::default() };
    chain(&settings, &Surroundings { shares_host, ..Default::default() })
}

/// The line and the `HostConfig` that the engine gets, or what the client is told.
fn sent(
    chain: &Chain,
    kernel: &'static str,
    line: &str,
    body: &Value,
) -> Result<(String, Value), String> {
    match judge(chain, line, &body.to_string(), &knows(kernel)) {
        Verdict::Allowed(bytes) => {
            let text = String::from_utf8(bytes).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let body: Value = body.parse().unwrap();
            let line = head.lines().next().unwrap().to_owned();
            Ok((line, body["HostConfig"].clone()))
        }
        Verdict::Denied(_, reasons) => Err(reasons[0].message()),
        Verdict::Malformed(why) => panic!("{why}"),
        other @ (Verdict::Undecided(..) | Verdict::Waits(..) | Verdict::Answered(..)) => {
            panic!("{other:?}")
        }
    }
}

fn forced(source: &str) -> Value {
    json!({ "Type": "bind", "Source": source, "Target": "/c", "ReadOnly": true,
        "BindOptions": { "Propagation": "rprivate", "ReadOnlyForceRecursive": true } })
}

#[test]
fn the_engine_is_asked_to_make_all_of_it_read_only_where_it_can() {
    let local = given(true);
    for chain in [&local, &given(false)] {
        let body = json!({ "HostConfig": { "Binds":
            ["data:/d", "/srv/cc/over:/c:ro,private,z", "/srv/cc:/c:ro", "/srv/rw:/w"] } });
        let (line, host) = sent(chain, "5.12.0", "POST /v1.24/containers/create", &body).unwrap();
        assert!(line.starts_with("POST /v1.44/"), "{line}");
        assert_eq!(host["Binds"], json!(["data:/d", "/srv/rw:/w"]));
        assert_eq!(host["Mounts"], json!([forced("/srv/cc/over"), forced("/srv/cc")]));
    }
    let mount = json!({ "HostConfig": { "Mounts": [{ "Type": "bind", "Source": "/srv/cc/over",
        "Target": "/c", "ReadOnly": true, "Consistency": "cached" }] } });
    let (line, host) =
        sent(&local, "6.1.0-13-amd64", "POST /v1.47/containers/create", &mount).unwrap();
    assert!(line.starts_with("POST /v1.47/"), "it was asked by an API that has it: {line}");
    let mut wanted = forced("/srv/cc/over");
    wanted["Consistency"] = json!("cached");
    assert_eq!(host["Mounts"], json!([wanted]));
}

/// A field that the client's API version does not have is nothing to an engine that is asked by that version.
#[test]
fn a_newer_version_gives_the_clients_words_no_new_meaning() {
    let body = json!({ "Healthcheck": { "Test": ["NONE"], "StartInterval": 5_000_000_000_u64 },
        "HostConfig": { "Binds": ["/srv/cc:/c:ro"], "Mounts": [
            { "Type": "bind", "Source": "/srv/rw", "Target": "/w", "BindOptions": { "NonRecursive": true } }] } });
    let judged = judge(
        &given(true),
        "POST /v1.39/containers/create?platform=linux/386&name=a",
        &body.to_string(),
        &knows("6.1"),
    );
    let Verdict::Allowed(bytes) = judged else { panic!("{judged:?}") };
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.starts_with("POST /v1.44/containers/create?name=a HTTP"), "{text}");
    assert!(!text.contains("StartInterval") && !text.contains("NonRecursive"), "{text}");
    assert!(text.contains("ReadOnlyForceRecursive"), "{text}");
}

#[test]
fn elsewhere_a_path_with_mounts_below_it_is_refused() {
    let create = |chain: &Chain, kernel, bind: &str| {
        let body = json!({ "HostConfig": { "Binds": [bind] } });
        sent(chain, kernel, "POST /v1.41/containers/create", &body)
    };
    let local = given(true);
    for kernel in ["", "5.11.9", "4.18.0-553.el8", "nonsense"] {
        let (line, host) = create(&local, kernel, "/srv/cc/plain:/c:ro").unwrap();
        assert!(line.starts_with("POST /v1.41/"), "{line}");
        assert_eq!(host["Binds"], json!(["/srv/cc/plain:/c:ro"]));
        let said = create(&local, kernel, "/srv/cc/over:/c:ro").unwrap_err();
        assert!(said.contains("`/srv/cc/over/disk` is mounted below it"), "{said}");
        let said = create(&local, kernel, "/srv/cc/fault:/c:ro").unwrap_err();
        assert!(said.contains("what is mounted below it?"), "{said}");
        let said = create(&given(false), kernel, "/srv/cc:/c:ro").unwrap_err();
        assert!(said.contains("cannot be seen from here"), "{said}");
        assert!(create(&local, kernel, "/srv/rw:/c").is_ok(), "given for writing");
    }
}

#[test]
fn a_container_is_judged_again_at_each_use() {
    let made = |host: Value, source: &str, read_only: bool| {
        json!({ "Id": "a".repeat(64), "Name": "/x", "Config": {}, "HostConfig": host,
            "Mounts": [{ "Type": "bind", "Source": source, "Destination": "/c", "RW": !read_only }] })
    };
    let start = |made: Value| {
        let made = Arc::new(made);
        let knows = |question: &Question| match question {
            Question::Container(_) => Fact::Json(Arc::clone(&made)),
            other => knows("6.1")(other),
        };
        match judge(&given(true), "POST /containers/x/start", "", &knows) {
            Verdict::Allowed(_) => Ok(()),
            Verdict::Denied(_, reasons) => Err(reasons[0].message()),
            Verdict::Malformed(why) => panic!("{why}"),
            other @ (Verdict::Undecided(..) | Verdict::Waits(..) | Verdict::Answered(..)) => {
                panic!("{other:?}")
            }
        }
    };
    let plain = |source: &str| json!({ "Binds": [format!("{source}:/c:ro")] });
    assert_eq!(start(made(plain("/srv/cc"), "/srv/cc", true)), Ok(()));
    let said = start(made(plain("/srv/cc/over"), "/srv/cc/over", true)).unwrap_err();
    assert!(said.contains("`/srv/cc/over/disk` is mounted below it"), "{said}");
    let by_force = json!({ "Mounts": [forced("/srv/cc/over")] });
    assert_eq!(start(made(by_force, "/srv/cc/over", true)), Ok(()), "as dockgate makes it");
    // From another container, at a place that its own mounts say nothing of.
    assert!(start(made(json!({}), "/srv/cc/over", true)).is_err());
}

#[test]
fn the_listeners_own_socket_is_mounted_in_the_form_that_makes_no_directory() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("r.toml");
    let rules = "extends = \"conservative\"\n[operation.ContainerCreate.body]\n\
                 \"HostConfig.Binds\" = { named-volume = true, own-socket = true, rule = \"container.bind\" }\n\
                 \"HostConfig.Mounts\" = { zero = true, rule = \"container.mount\" }\n";
    std::fs::write(&file, rules).unwrap();
    let file = config::File { path: file, place: Place::default() };
    let settings = config::Conservative { rules: Some(file), ..Default::default() };
    let own = "/run/g/own.sock";
    let around = Surroundings { own_socket: Some(own.into()), ..Default::default() };
    let chain = chain(&settings, &around);
    let body = json!({ "HostConfig": { "Binds": ["a:/a", "/var/run/docker.sock:/s:ro", "b:/b"] } });
    let (_, host) = sent(&chain, "", "POST /v1.41/containers/create", &body).unwrap();
    assert_eq!(host["Binds"], json!(["a:/a", "b:/b"]));
    let mount = json!({ "Type": "bind", "Source": own, "Target": "/s", "ReadOnly": true });
    assert_eq!(host["Mounts"], json!([mount]));
    // And what was made so is of use, although the file allows no `Mounts` to clients.
    let made = json!({ "Id": "a", "Config": {}, "HostConfig": { "Mounts": [mount] }, "Mounts":
        [{ "Type": "bind", "Source": own, "Destination": "/s", "RW": false }] });
    let made = Arc::new(made);
    let knows = |question: &Question| match question {
        Question::Container(_) => Fact::Json(Arc::clone(&made)),
        _ => Fact::Absent,
    };
    let judged = judge(&chain, "POST /containers/x/start", "", &knows);
    assert!(matches!(judged, Verdict::Allowed(_)), "{judged:?}");
    let judged = judge(
        &chain,
        "POST /containers/create",
        &json!({ "HostConfig": { "Mounts": [mount] } }).to_string(),
        &knows,
    );
    assert!(matches!(judged, Verdict::Denied(..)), "{judged:?}");
}
