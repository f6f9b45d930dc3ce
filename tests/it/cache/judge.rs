//! Pushes through a registry that judges them, to an upstream that keeps what it is given.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest::{SHA256, digest};
use dockgate::cache::registry::{Registry, RegistrySettings};
use dockgate::config;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::origin::{Asked, Origin, whole};
use super::rig::{Answer, Rig, Setup};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
/// By Apache's `htpasswd -nbBC 10 ann ann` and the same for `ci`.
const PEOPLE: &str = "ann:$2y$10$19D4ZWMtTsAS/viMFEPvAO277xUT2fe./pcZ0YKjLYdQwpI9TelzW\nci:$2y$10$9fz8cvjyv5aaaTIkzpJ52uJiu7BW76JkyL6SQ.bFhjlADW9FPoyv6\n";

fn sha256(bytes: &[u8]) -> String {
    let hex: String =
        digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// By path: the type and the bytes.
type Held = Arc<Mutex<BTreeMap<String, (String, Vec<u8>)>>>;

/// A registry as far as pushes need one.
fn upstream() -> (Origin, Held) {
    let held = Held::default();
    let all = Arc::clone(&held);
    let origin =
        Origin::new(move |_, asked, stream| stream.write_all(&answer(asked, &all)).is_ok());
    (origin, held)
}

fn answer(asked: &Asked, held: &Held) -> Vec<u8> {
    let mut held = held.lock().unwrap();
    let path = asked.target.split('?').next().unwrap();
    match asked.method.as_str() {
        "PUT" if path.contains("/manifests/") => {
            let kind = asked.field("content-type").unwrap_or_default().to_owned();
            let digest = sha256(&asked.body);
            held.insert(path.to_owned(), (kind, asked.body.clone()));
            whole(&format!("201 Created\nLocation: {path}\nDocker-Content-Digest: {digest}"), b"")
        }
        "GET" | "HEAD" => match held.get(path) {
            None => whole("404 Not Found", b""),
            Some((kind, bytes)) => {
                let digest = sha256(bytes);
                let head = format!("200 OK\nContent-Type: {kind}\nDocker-Content-Digest: {digest}");
                let mut answer = whole(&head, bytes);
                if asked.method == "HEAD" {
                    answer.truncate(answer.len() - bytes.len());
                }
                answer
            }
        },
        // Each upload is its own, and each step changes its state.
        "POST" => {
            let id = held.keys().filter(|key| key.starts_with("upload")).count();
            held.insert(format!("upload {id}"), (String::new(), Vec::new()));
            whole(&format!("202 Accepted\nLocation: {path}{id}?_state=new"), b"")
        }
        "PATCH" => whole(&format!("202 Accepted\nLocation: {path}?_state=more"), b""),
        "PUT" => {
            let (_, digest) = asked.target.split_once("digest=").unwrap();
            let blob = format!("/v2/team/app/blobs/{}", digest.replace("%3A", ":"));
            held.insert(blob, ("application/octet-stream".to_owned(), asked.body.clone()));
            whole(&format!("201 Created\nLocation: {path}"), b"")
        }
        "DELETE" => whole("204 No Content", b""),
        _ => whole("405 Method Not Allowed", b""),
    }
}

struct Bench {
    rig: Rig,
    upstream: Origin,
    held: Held,
    _dir: TempDir,
}

/// `rules`: of `[registry.hub]`. `@DIR@` in it is a folder with `files`.
fn bench_with(rules: &str, files: &[(&str, &str)]) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    std::fs::write(dir.path().join("people"), PEOPLE).unwrap();
    let (upstream, held) = upstream();
    let text = format!(
        "[auth.people]\nkind = \"basic\"\nfile = \"people\"\n\
         [registry.hub]\nlisten = \"127.0.0.1:1\"\nallow_private = [\"127.0.0.0/8\"]\n\
         auth = [\"people\"]\n{}\n[registry.hub.upstream.\"/\"]\nurl = \"http://{}\"\n\
         [[registry.hub.rule]]\nrepositories = [\"**\"]\n",
        rules.replace("@DIR@", dir.path().to_str().unwrap()),
        upstream.host(),
    );
    let config = config::parse(&text, "x.toml".as_ref(), dir.path(), &|_| None);
    let config = config.unwrap_or_else(|error| panic!("{error}\n{text}"));
    let cache = &config.caches[0];
    let settings = RegistrySettings::of(cache.registry.as_ref().unwrap(), &cache.allow_private);
    let registry = Arc::new(Registry::new("hub", &settings.unwrap(), b"secret").unwrap());
    let setup =
        Setup { mirrors: vec![registry.mirror()], registry: Some(registry), ..Setup::default() };
    Bench { rig: setup.start(), upstream, held, _dir: dir }
}

fn bench(rules: &str) -> Bench {
    bench_with(rules, &[])
}

impl Bench {
    /// A blob that was uploaded before.
    fn blob(&self, bytes: &[u8]) -> Value {
        let digest = sha256(bytes);
        let path = format!("/v2/team/app/blobs/{digest}");
        let held = ("application/octet-stream".to_owned(), bytes.to_vec());
        self.held.lock().unwrap().insert(path, held);
        json!({"mediaType": "x", "digest": digest, "size": bytes.len()})
    }

    fn image(&self, config: &Value, layer: &[u8]) -> Value {
        let config = self.blob(config.to_string().as_bytes());
        json!({"schemaVersion": 2, "config": config, "layers": [self.blob(layer)]})
    }

    fn put(&self, who: &str, reference: &str, kind: &str, manifest: &str) -> Answer {
        let path = format!("/v2/team/app/manifests/{reference}");
        self.ask(who, "PUT", &path, &format!("Content-Type: {kind}"), manifest)
    }

    fn ask(&self, who: &str, method: &str, path: &str, field: &str, body: &str) -> Answer {
        let mut client = self.rig.client();
        let login = base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            format!("{who}:{who}"),
        );
        let fields = [
            field.to_owned(),
            format!("Content-Length: {}", body.len()),
            format!("Authorization: Basic {login}"),
        ];
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        client.send(method, path, "registry.example", &fields);
        client.write(body.as_bytes());
        client.answer(false)
    }

    fn push(&self, reference: &str, manifest: &Value) -> Answer {
        self.put("ann", reference, OCI, &manifest.to_string())
    }

    fn tag(&self, tag: &str) -> Option<Vec<u8>> {
        let held = self.held.lock().unwrap();
        held.get(&format!("/v2/team/app/manifests/{tag}")).map(|(_, bytes)| bytes.clone())
    }

    /// How often the upstream was asked so.
    fn asked(&self, method: &str, part: &str) -> usize {
        let asked = self.upstream.asked();
        asked.iter().filter(|one| one.method == method && one.target.contains(part)).count()
    }

    /// A refusal in docker's words; nothing became visible.
    fn refused(&self, answer: &Answer) -> String {
        assert_eq!(answer.status, 403, "{}", answer.text());
        let said: Value = answer.text().parse().unwrap();
        assert_eq!(said["errors"][0]["code"], "DENIED");
        assert_eq!(self.asked("PUT", "/manifests/"), self.held_manifests(), "nothing was sent");
        said["errors"][0]["message"].as_str().unwrap().to_owned()
    }

    fn held_manifests(&self) -> usize {
        self.held.lock().unwrap().keys().filter(|path| path.contains("/manifests/")).count()
    }
}

const RULE: &str = "[[registry.hub.push_rule]]\nname = \"r\"\n";

fn rule(keys: &str) -> String {
    format!("{RULE}{keys}\n")
}

#[test]
fn what_is_met_becomes_visible_and_what_is_not_does_not() {
    let bench = bench(&rule("tags = [\"v*\"]\nmax_layers = 1"));
    let image = bench.image(&json!({}), b"layer");
    assert_eq!(bench.push("v1", &image).status, 201);
    assert_eq!(bench.tag("v1").unwrap(), image.to_string().into_bytes());
    let mut many = image.clone();
    many["layers"] = json!([image["layers"][0], image["layers"][0]]);
    let said = bench.refused(&bench.push("latest", &many));
    assert!(said.contains("`team/app:latest` is not let through"), "{said}");
    assert!(said.contains("`latest` is none of `v*` (`tags` of push rule `r`)"), "{said}");
    assert!(said.contains("2 layers, of at most 1 (`max_layers` of push rule `r`)"), "{said}");
    assert_eq!(bench.tag("latest"), None);
    assert_eq!(bench.asked("GET", "/blobs/"), 0, "no rule is about the config");
}

#[test]
fn a_rule_is_for_its_users_and_repositories() {
    let keys = "repositories = [\"team/*\"]\nusers = [\"ci\"]\ntags = [\"never\"]";
    let other = "[[registry.hub.push_rule]]\nrepositories = [\"other/**\"]\ntags = [\"never\"]";
    let bench = bench(&format!("{}{other}", rule(keys)));
    let image = bench.image(&json!({}), b"layer").to_string();
    assert_eq!(bench.put("ann", "v1", OCI, &image).status, 201);
    bench.refused(&bench.put("ci", "v2", OCI, &image));
    assert_eq!(bench.tag("v2"), None);
}

#[test]
fn labels_are_read_from_the_config_as_the_upstream_has_it() {
    let bench = bench(&rule("require_labels = { source = \"https://*\" }"));
    let labelled = |value: &str| json!({"config": {"Labels": {"source": value}}});
    let image = bench.image(&labelled("https://x"), b"layer");
    assert_eq!(bench.push("v1", &image).status, 201);
    let said = bench.refused(&bench.push("v2", &bench.image(&labelled("ftp://x"), b"layer")));
    assert!(said.contains("`source` is `ftp://x`, and not `https://*`"), "{said}");
    let docker = bench.image(&json!({}), b"layer").to_string();
    let said = bench.refused(&bench.put("ann", "v3", DOCKER, &docker));
    assert!(said.contains("neither label nor annotation `source`"), "{said}");
    // An index says it of its parts, which were judged.
    let index = json!({"schemaVersion": 2, "manifests": [bench.blob(b"x")]}).to_string();
    assert_eq!(bench.put("ann", "all", OCI_INDEX, &index).status, 201);
}

#[test]
fn a_config_that_is_missing_or_another_lets_nothing_through() {
    let bench = bench(&rule("forbid_labels = [\"secret*\"]"));
    let image = bench.image(&json!({"config": {"Labels": {"secret": "x"}}}), b"layer");
    let path = format!("/v2/team/app/blobs/{}", image["config"]["digest"].as_str().unwrap());
    bench.refused(&bench.push("v1", &image));
    let set = |bytes: Option<&[u8]>| {
        let mut held = bench.held.lock().unwrap();
        match bytes {
            Some(bytes) => held.insert(path.clone(), (String::new(), bytes.to_vec())),
            None => held.remove(&path),
        };
    };
    set(Some(b"{}"));
    let answer = bench.push("v1", &image);
    assert!(answer.status == 400 && answer.text().contains("gives something else"));
    set(None);
    let answer = bench.push("v1", &image);
    assert!(answer.status == 400 && answer.text().contains("does not have it"));
    let mut long = image.clone();
    long["config"]["size"] = json!(9 << 20);
    let answer = bench.push("v1", &long);
    assert!(answer.status == 400 && answer.text().contains("too long"));
    assert_eq!(bench.held_manifests(), 0);
}

#[test]
fn what_cannot_be_understood_is_refused_where_there_are_rules() {
    let with = bench(&rule("max_layers = 9"));
    let image = with.image(&json!({}), b"layer").to_string();
    for (kind, text) in [
        (SCHEMA_1, image.as_str()),
        ("text/plain", image.as_str()),
        (OCI, "{"),
        (OCI, &image.replace("layers", "Layers")),
        (OCI_INDEX, &image),
        (&format!("{OCI}\r\nContent-Type: {OCI_INDEX}"), image.as_str()),
    ] {
        let answer = with.put("ann", "v1", kind, text);
        assert_eq!(answer.status, 400, "{kind} {text}");
        assert!(answer.text().contains("MANIFEST_INVALID"), "{}", answer.text());
    }
    assert_eq!(with.held_manifests(), 0);
    let without = bench("");
    assert_eq!(without.put("ann", "v1", "text/plain", "{").status, 201);
}

#[test]
fn a_tag_that_is_immutable_stays_what_it_is() {
    let bench = bench(&rule("immutable = [\"v*\"]"));
    let (one, other) = (bench.image(&json!({}), b"1"), bench.image(&json!({}), b"2"));
    assert_eq!(bench.push("v1", &one).status, 201);
    assert_eq!(bench.push("v1", &one).status, 201, "the same once more");
    let answer = bench.push("v1", &other);
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("may not become another (`immutable` of push rule `r`)"));
    assert_eq!(bench.tag("v1").unwrap(), one.to_string().into_bytes());
    for image in [&one, &other] {
        assert_eq!(bench.push("latest", image).status, 201);
    }
    // Asked for in all forms, so that none of them makes the tag look free.
    let asked = bench.upstream.asked();
    let head = asked.iter().find(|asked| asked.method == "HEAD").unwrap();
    for form in [OCI, OCI_INDEX, DOCKER, SCHEMA_1] {
        assert!(head.field("accept").unwrap().contains(form));
    }
    assert_eq!(bench.asked("HEAD", "/manifests/latest"), 0);
}

#[test]
fn of_two_who_set_an_immutable_tag_at_once_one_does() {
    let bench = Arc::new(bench(&rule("immutable = [\"*\"]")));
    let images: Vec<Value> =
        (0..8).map(|at| bench.image(&json!({}), format!("{at}").as_bytes())).collect();
    let pushes: Vec<_> = images
        .into_iter()
        .map(|image| {
            let bench = Arc::clone(&bench);
            std::thread::spawn(move || bench.push("v1", &image).status)
        })
        .collect();
    let said: Vec<u16> = pushes.into_iter().map(|push| push.join().unwrap()).collect();
    assert_eq!(said.iter().filter(|status| **status == 201).count(), 1, "{said:?}");
    assert_eq!(bench.asked("PUT", "/manifests/v1"), 1);
}

#[test]
fn annotations_and_the_tag_are_what_the_rule_sets() {
    let keys =
        "rewrite_tag = \"{tag}-{user}\"\nset_annotations = { by = \"{user} of {registry}\" }";
    let bench = bench(&rule(keys));
    let image = bench.image(&json!({}), b"layer");
    let answer = bench.push("v1", &image);
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(bench.tag("v1"), None);
    let kept = bench.tag("v1-ann").unwrap();
    let mut wanted = image.clone();
    wanted["annotations"] = json!({"by": "ann of hub"});
    assert_eq!(kept, wanted.to_string().into_bytes());
    // The client is told what it has become.
    let digest = sha256(&kept);
    assert_eq!(answer.field("docker-content-digest"), Some(digest.as_str()));
    let location = format!("/v2/team/app/manifests/{digest}");
    assert_eq!(answer.field("location"), Some(location.as_str()));
    // A part of an index has no tag, and its digest is its name.
    let digest = sha256(image.to_string().as_bytes());
    assert_eq!(bench.push(&digest, &image).status, 201);
    assert_eq!(bench.tag(&digest).unwrap(), image.to_string().into_bytes());
    let answer = bench.put("ann", "v2", DOCKER, &image.to_string());
    assert!(answer.status == 403 && answer.text().contains("annotations are to be set"));
}

#[test]
fn an_immutable_tag_is_the_one_that_becomes_visible_with_what_is_set() {
    let keys =
        "immutable = [\"v1-ann\"]\nrewrite_tag = \"{tag}-{user}\"\nset_annotations = { a = \"b\" }";
    let bench = bench(&rule(keys));
    let image = bench.image(&json!({}), b"1");
    assert_eq!(bench.push("v1", &image).status, 201);
    assert_eq!(bench.push("v1", &image).status, 201, "it becomes the same");
    assert_eq!(bench.push("v1", &bench.image(&json!({}), b"2")).status, 403);
}

#[cfg(feature = "rego")]
#[test]
fn the_operators_own_rules_see_all_and_may_change() {
    let text = "package dockgate.push\n\
        default allow := false\n\
        allow if input.user == \"ann\"\n\
        deny contains \"no Mondays\" if input.labels.day == \"monday\"\n\
        deny contains \"no big files\" if input.layers[_].size > 100\n\
        patch := {\"annotations\": {\"checked\": input.raw.config.author}} if input.raw.config.author";
    let bench =
        bench_with(&rule("policy = \"own.rego\"\npolicy_timeout = \"60s\""), &[("own.rego", text)]);
    let image = bench.image(&json!({"author": "me"}), b"layer");
    assert_eq!(bench.push("v1", &image).status, 201);
    let kept: Value = String::from_utf8(bench.tag("v1").unwrap()).unwrap().parse().unwrap();
    assert_eq!(kept["annotations"]["checked"], "me");
    let monday = json!({"config": {"Labels": {"day": "monday"}}});
    let said = bench.refused(&bench.push("v2", &bench.image(&monday, &[b'x'; 101])));
    assert!(said.contains("no Mondays (`policy` of push rule `r`)"), "{said}");
    assert!(said.contains("no big files"), "{said}");
    let said = bench.refused(&bench.put("ci", "v2", OCI, &image.to_string()));
    assert!(said.contains("is not allowed by `data.dockgate.push.allow`"), "{said}");
}

#[cfg(feature = "rego")]
#[test]
fn the_documented_rules_do_what_the_page_says() {
    let page = include_str!("../../../docs/registry-push.md");
    let text = page.split("```rego\n").nth(1).and_then(|rest| rest.split_once("```")).unwrap().0;
    let keys = rule("policy = \"own.rego\"\npolicy_timeout = \"60s\"");
    let bench = bench_with(&keys, &[("own.rego", text)]);
    let image = bench.image(&json!({"config": {"User": "app"}}), b"layer");
    assert_eq!(bench.push("v1", &image).status, 201);
    let kept: Value = String::from_utf8(bench.tag("v1").unwrap()).unwrap().parse().unwrap();
    assert_eq!(kept["annotations"]["com.example.pushed-by"], "ann");
    // What has no tag.
    let answer = bench.push(&sha256(image.to_string().as_bytes()), &image);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let said = bench.refused(&bench.push("latest", &bench.image(&json!({}), b"layer")));
    assert!(said.contains("`latest` is for the release team") && said.contains("runs as root"));
}

#[cfg(feature = "rego")]
#[test]
fn rules_that_want_what_there_is_not_let_nothing_through() {
    let text = "package dockgate.push\nallow := true\npatch := {\"layers\": []}";
    let bench = bench_with(&rule("policy = \"own.rego\""), &[("own.rego", text)]);
    let said = bench.refused(&bench.push("v1", &bench.image(&json!({}), b"layer")));
    assert!(said.contains("neither `annotations` nor `tag`"), "{said}");
}

/// A program that says this of every push.
fn program(answer: &'static [u8]) -> Origin {
    Origin::always("200 OK\nContent-Type: application/json", answer)
}

fn hook(program: &Origin, more: &str) -> String {
    format!("hook = {{ url = \"http://{}/judge\"{more} }}", program.host())
}

#[test]
fn an_outside_program_is_shown_what_is_pushed_and_where_it_is() {
    let says = program(br#"{"allow": true, "annotations": {"scanned": "yes"}, "tag": "v1-ok"}"#);
    let bench = bench(&rule(&hook(&says, ", base = \"https://r.example/\"")));
    let image = bench.image(&json!({"os": "linux", "architecture": "arm64"}), b"layer");
    let answer = bench.push("v1", &image);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let kept: Value = String::from_utf8(bench.tag("v1-ok").unwrap()).unwrap().parse().unwrap();
    assert_eq!(kept["annotations"]["scanned"], "yes");
    let asked = says.asked();
    assert_eq!((asked.len(), asked[0].target.as_str()), (1, "/judge"));
    let shown: Value = String::from_utf8(asked[0].body.clone()).unwrap().parse().unwrap();
    let layer = image["layers"][0]["digest"].as_str().unwrap();
    let url = format!("https://r.example/v2/team/app/blobs/{layer}");
    for (at, wanted) in [
        ("/version", json!(1)),
        ("/user", json!("ann")),
        ("/repository", json!("team/app")),
        ("/platforms/0/architecture", json!("arm64")),
        ("/raw/manifest", image.clone()),
        ("/urls/layers/0", json!(url)),
    ] {
        assert_eq!(shown.pointer(at), Some(&wanted), "{at}");
    }
    assert!(!asked[0].fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")));
}

#[test]
fn an_outside_program_that_does_not_say_yes_lets_nothing_through() {
    for (says, why) in [
        (
            &br#"{"allow": false, "message": "CVE-2026-1 in it"}"#[..],
            "CVE-2026-1 in it (`hook` of push rule `r`)",
        ),
        (b"{}", "there is no answer of the outside program"),
        (b"yes", "there is no answer of the outside program"),
    ] {
        let bench = bench(&rule(&hook(&program(says), "")));
        let said = bench.refused(&bench.push("v1", &bench.image(&json!({}), b"layer")));
        assert!(said.contains(why), "{said}");
    }
    // One that never answers, and one that is not there.
    let (_open, door) = super::origin::Door::new();
    let silent = Origin::new(move |_, _, _| {
        door.wait();
        false
    });
    let late = bench(&rule(&hook(&silent, ", timeout = \"50ms\"")));
    let said = late.refused(&late.push("v1", &late.image(&json!({}), b"layer")));
    assert!(said.contains("within 50ms"), "{said}");
    let away = bench(&rule("hook = { url = \"unix:///nowhere/x.sock\" }"));
    let said = away.refused(&away.push("v1", &away.image(&json!({}), b"layer")));
    assert!(said.contains("there is no answer of the outside program"), "{said}");
}

#[test]
fn an_outside_program_is_not_asked_about_what_is_refused_anyway() {
    let says = program(br#"{"allow": true}"#);
    let bench = bench(&rule(&format!("tags = [\"x\"]\n{}", hook(&says, ""))));
    bench.refused(&bench.push("v1", &bench.image(&json!({}), b"layer")));
    assert_eq!(says.count(), 0);
}

impl Bench {
    /// Begins an upload; where it goes on.
    fn begin(&self) -> String {
        let answer = self.ask("ann", "POST", "/v2/team/app/blobs/uploads/", "X: y", "");
        assert_eq!(answer.status, 202);
        answer.field("location").unwrap().to_owned()
    }

    /// One step; where it goes on.
    fn step(&self, method: &str, at: &str, body: &str) -> String {
        let answer = self.ask("ann", method, at, "X: y", body);
        assert!(answer.status < 300, "{}", answer.text());
        answer.field("location").unwrap_or_default().to_owned()
    }

    fn given_up(&self) -> Vec<String> {
        let asked = self.upstream.asked().into_iter();
        asked.filter(|one| one.method == "DELETE").map(|one| one.target).collect()
    }
}

#[test]
fn an_upload_that_nobody_goes_on_with_is_deleted_upstream() {
    let bench = bench("upload_ttl = \"100ms\"");
    let digest = sha256(b"x");
    // One that is ended, one that is given up, and one that a client leaves lying.
    let ended = bench.step("PATCH", &bench.begin(), "x");
    bench.step("PUT", &format!("{ended}?digest={digest}"), "");
    let given_up = bench.begin();
    bench.step("DELETE", &given_up, "");
    bench.step("PATCH", &bench.begin(), "x");
    bench.rig.wait(|| bench.given_up().len() == 2);
    let uploads = "/v2/team/app/blobs/uploads";
    assert_eq!(
        bench.given_up(),
        [format!("{uploads}/1?_state=new"), format!("{uploads}/2?_state=more")]
    );
    // And one that is begun later, when there was none.
    bench.begin();
    bench.rig.wait(|| bench.given_up().len() == 3);
}

#[test]
fn a_blob_is_found_again_as_soon_as_it_was_uploaded() {
    let bench = bench("");
    let path = format!("/v2/team/app/blobs/{}", sha256(b"x"));
    assert_eq!(bench.ask("ann", "GET", &path, "X: y", "").status, 404);
    bench.step("PUT", &format!("{}?digest={}", bench.begin(), sha256(b"x")), "x");
    assert_eq!(bench.ask("ann", "GET", &path, "X: y", "").text(), "x");
}

#[test]
fn a_client_that_tries_tls_first_is_answered_at_once() {
    let bench = bench("");
    let mut client = bench.rig.client();
    client.write(b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03");
    assert_eq!(client.answer(false).status, 400);
}
