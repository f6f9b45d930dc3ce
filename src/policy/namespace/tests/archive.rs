//! Archives of images: names in them both ways, and no way round them.

use super::*;
use crate::api::Typed;
use crate::api::{Draft, json};
use crate::policy::namespace::archive;
use crate::policy::{Facts, Verdict};
use crate::wire::framing::Framing;
use crate::wire::head::RequestHead;
use crate::wire::tar::{EntryKind, TarEntry};

const LOAD: &str = "POST /v1.41/images/load";
const SAVE: &str = "GET /v1.41/images/get?names=x";

fn call(line: &str) -> Typed {
    let coding = if line == LOAD { "Transfer-Encoding: chunked\r\n" } else { "" };
    let head = format!("{line} HTTP/1.1\r\nHost: docker\r\n{coding}\r\n");
    let head = RequestHead::parse(head.as_bytes()).unwrap();
    match Draft::parse(&head).unwrap().with_stream(Framing::None) {
        crate::api::Call::Typed(typed) => typed,
        other => panic!("{other:?}"),
    }
}

fn entry(path: &str, kind: EntryKind, link: &str) -> TarEntry {
    TarEntry { path: path.into(), kind, link: link.into(), size: 9, is_size_in_front: false }
}

/// What becomes of a file, where the engine has `old` by the name of ann's `app:1`; and what is done for it.
fn file(line: &str, path: &str, content: &Json) -> (Result<Json, Verdict>, Vec<String>) {
    let policy = namespaces();
    let tenant = ann(&policy);
    let app = policy.images(&tenant).sent("app:1").unwrap();
    let identity = Identity::imagined(Some("ann"));
    let (mut facts, mut done) = (Facts::default(), Vec::new());
    let (call, entry) = (call(line), entry(path, EntryKind::File, ""));
    loop {
        let cx = Context::new(&identity, "l", crate::api::endpoint::KNOWN, &facts);
        let request = Request { with: &policy, tenant: &tenant, call: &call, cx: &cx };
        match archive::file(&request, &entry, content.to_string().as_bytes()) {
            Ok(changed) => {
                let changed = changed.map(|bytes| json::read(&bytes).unwrap());
                return (Ok(changed.unwrap_or(Json::Null)), done);
            }
            Err(Verdict::Ask(questions)) => {
                for question in questions {
                    let fact = match &question {
                        Question::Image(name) if *name == app => {
                            Fact::Json(Arc::new(json!({ "Id": "sha256:01d", "RepoTags": [] })))
                        }
                        Question::Fresh => Fact::Fresh("f".repeat(32)),
                        Question::List(..) => Fact::Json(Arc::new(json!([]))),
                        _ => Fact::Absent,
                    };
                    facts.insert(question, fact);
                }
            }
            Err(Verdict::Do(deeds)) => {
                for deed in deeds {
                    done.push(deed.to_string());
                    facts.report(deed, Ok(()));
                }
            }
            Err(other) => return (Err(other), done),
        }
    }
}

fn ann(policy: &Namespaces) -> Tenant {
    Tenant::new(&policy.key, "ann".to_owned())
}

fn names() -> (String, String, String) {
    let policy = namespaces();
    let images = policy.images(&ann(&policy));
    let anchor = images.anchor(&"f".repeat(32));
    (images.sent("app:1").unwrap(), images.sent("ghcr.io/x/y:2").unwrap(), anchor)
}

#[test]
fn what_is_loaded_gets_names_of_the_namespace() {
    let (app, other, anchor) = names();
    let image = |tags: Json| json!({ "Config": "c", "RepoTags": tags, "Layers": ["l"] });
    let given = json!([image(json!(["app:1", "ghcr.io/x/y:2"])), image(Json::Null)]);
    let (changed, done) = file(LOAD, "./manifest.json", &given);
    let wanted = json!([image(json!([app, other])), image(json!([format!("{anchor}-1")]))]);
    assert_eq!(changed.unwrap(), wanted);
    assert_eq!(done, ["keeping image `sha256:01d`"], "what `app:1` was before");
    let index = |name: &str| json!({ "manifests": [{ "digest": "d", "annotations": { "io.containerd.image.name": name, "x": "y" } }] });
    assert_eq!(file(LOAD, "index.json", &index("docker.io/library/app:1")).0.unwrap(), index(&app));
    let bare = json!({ "manifests": [{ "digest": "d" }, { "annotations": { "vnd.docker.reference.type": "attestation-manifest" } }] });
    let changed = file(LOAD, "index.json", &bare).0.unwrap();
    assert_eq!(
        changed["manifests"][0]["annotations"]["io.containerd.image.name"],
        format!("{anchor}-0")
    );
    assert_eq!(changed["manifests"][1], bare["manifests"][1]);
    let (repo, _) = app.rsplit_once(':').unwrap();
    let (changed, done) = file(LOAD, "repositories", &json!({ "app": { "1": "id" } }));
    assert_eq!(changed.unwrap(), json!({ repo: { "1": "id" } }));
    assert_eq!(done.len(), 1);
}

#[test]
fn what_is_saved_has_the_names_that_its_users_know() {
    let (app, _, anchor) = names();
    let bobs = app.replace(ann(&namespaces()).id(), "dgaaaaaaaaaa");
    let saved = |tags: Json| json!([{ "Config": "c", "RepoTags": tags }]);
    let (changed, done) = file(SAVE, "manifest.json", &saved(json!([app, bobs, anchor])));
    assert_eq!((changed.unwrap(), done), (saved(json!(["app:1"])), Vec::new()));
    assert_eq!(file(SAVE, "manifest.json", &saved(json!([anchor]))).0.unwrap(), saved(Json::Null));
    let index =
        |annotations: Json| json!({ "manifests": [{ "digest": "d", "annotations": annotations }] });
    let annotated = |name: &str| {
        index(json!({ "io.containerd.image.name": name, "org.opencontainers.image.ref.name": "1" }))
    };
    assert_eq!(
        file(SAVE, "index.json", &annotated(&app)).0.unwrap(),
        annotated("docker.io/library/app:1")
    );
    let nobodys = file(SAVE, "index.json", &annotated(&bobs)).0.unwrap();
    assert_eq!(nobodys, json!({ "manifests": [{ "digest": "d" }] }));
    let (repo, bobs) = (app.rsplit_once(':').unwrap().0, bobs.rsplit_once(':').unwrap().0);
    let changed = file(SAVE, "repositories", &json!({ repo: { "1": "id" }, bobs: { "1": "id" } }));
    assert_eq!(changed.0.unwrap(), json!({ "app": { "1": "id" } }));
}

#[test]
fn nothing_leads_the_engine_to_other_names() {
    let id = "a".repeat(64);
    let layer = format!("{id}/layer.tar");
    let (load, save) = (call(LOAD), call(SAVE));
    let of = |path: &str, kind, link: &str| archive::wants(&load, &entry(path, kind, link));
    for path in ["manifest.json", "./manifest.json", "/x/../repositories", "index.json"] {
        assert_eq!(of(path, EntryKind::File, ""), Ok(true), "{path}");
    }
    for (path, kind) in [
        ("blobs/sha256/x", EntryKind::File),
        ("x/manifest.json", EntryKind::File),
        ("blobs", EntryKind::Directory),
    ] {
        assert_eq!(of(path, kind, ""), Ok(false), "{path}");
    }
    assert_eq!(
        of(&layer, EntryKind::Symlink, &format!("../{}/layer.tar", "b".repeat(64))),
        Ok(false)
    );
    for (path, kind, link) in [
        ("manifest.json", EntryKind::Symlink, "x"),
        ("x", EntryKind::Symlink, "."),
        (&*layer, EntryKind::Symlink, "../../manifest.json"),
        (&*layer, EntryKind::HardLink, "x"),
        ("manifest.json", EntryKind::Fifo, ""),
    ] {
        assert_eq!(of(path, kind, link).unwrap_err().rule, "namespace.archive", "{path} -> {link}");
    }
    let large = TarEntry { size: 5 << 20, ..entry("manifest.json", EntryKind::File, "") };
    assert!(archive::wants(&load, &large).is_err());
    assert_eq!(archive::wants(&save, &entry(&layer, EntryKind::Symlink, "anywhere")), Ok(false));
    // Go reads these too.
    for (path, content) in [
        ("manifest.json", json!([{ "repotags": ["evil:1"] }])),
        ("index.json", json!({ "Manifests": [] })),
        ("index.json", json!({ "manifests": [{ "Annotations": {} }] })),
        ("manifest.json", json!([{ "RepoTags": [7] }])),
        ("manifest.json", json!([{ "RepoTags": ["docker.io/library/UPPER:1"] }])),
    ] {
        assert!(
            matches!(file(LOAD, path, &content).0, Err(Verdict::Deny(_) | Verdict::Answer(_))),
            "{content}"
        );
    }
}
