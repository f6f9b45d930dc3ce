//! Archives that hold what they name, and those that name what is somebody else's.

use serde_json::{Value as Json, json};

use super::*;

/// A digest for a name; what is packed has another.
fn digest(name: &str) -> String {
    let digits: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{digits:0<64}")
}

fn sha(name: &str) -> String {
    format!("sha256:{}", digest(name))
}

#[derive(Default)]
struct Made(Contents);

impl Made {
    fn layer(mut self, path: &str, packed: &str, plain: &str) -> Made {
        let (digest, unpacked) = (digest(packed), digest(plain));
        self.0.add(path.as_bytes(), FileContent { digest, unpacked, document: None }).unwrap();
        self
    }

    fn text(mut self, path: &str, name: &str, text: &str) -> Made {
        let document = Some(text.as_bytes().to_vec());
        let file = FileContent { digest: digest(name), unpacked: digest(name), document };
        self.0.add(path.as_bytes(), file).unwrap();
        self
    }

    fn document(self, path: &str, name: &str, content: &Json) -> Made {
        self.text(path, name, &content.to_string())
    }

    fn judged(&self) -> Result<(), String> {
        judge(&self.0).map_err(|reason| reason.field.into_owned())
    }
}

/// `save` of Docker, of one image with two layers.
fn docker(config: &str) -> Made {
    let list =
        json!([{ "Config": "c.json", "RepoTags": ["x:1"], "Layers": ["a/layer.tar", "./b"] }]);
    Made::default()
        .document("manifest.json", "list", &list)
        .text("c.json", "c", config)
        .layer("a/layer.tar", "a", "a")
        .layer("b", "b.gz", "b")
}

fn config(layers: &[&str]) -> String {
    let layers: Vec<String> = layers.iter().map(|name| sha(name)).collect();
    json!({ "os": "linux", "config": { "Env": [] }, "rootfs": { "type": "layers", "diff_ids": layers } })
        .to_string()
}

#[test]
fn each_layer_is_what_its_config_says() {
    assert_eq!(docker(&config(&["a", "b"])).judged(), Ok(()));
    assert_eq!(docker(&config(&["a"])).judged(), Err("./b".to_owned()), "one more");
    // What is packed, another's, and one that is not there.
    assert_eq!(docker(&config(&["a", "b.gz"])).judged(), Err("./b".to_owned()));
    assert_eq!(docker(&config(&["theirs", "b"])).judged(), Err("a/layer.tar".to_owned()));
    assert_eq!(docker(&config(&["a", "b", "theirs"])).judged(), Err(sha("theirs")));
    // As Go reads it: a key in another case, the same key twice, no digest at all.
    let folded = config(&["theirs"]).replace("diff_ids", "Diff_IDs").replace("rootfs", "ROOTFS");
    assert_eq!(docker(&folded).judged(), Err("a/layer.tar".to_owned()));
    for spoilt in [
        format!(r#"{{"rootfs":{{"diff_ids":["{}"]}},"rootfs":{{}}}}"#, sha("theirs")),
        format!(r#"{{"rootfs":{{"diff_ids":["{}"]}},"RootFS":{{}}}}"#, sha("theirs")),
        format!(r#"{{"rootfs":{{"diff_ids":["{}"],"DIFF_IDS":[]}}}}"#, sha("theirs")),
        r#"{"rootfs":{"diff_ids":[7]}}"#.to_owned(),
        r#"{"rootfs":{}} {"rootfs":{}}"#.to_owned(),
        "[]".to_owned(),
    ] {
        assert_eq!(docker(&spoilt).judged(), Err("c.json".to_owned()), "{spoilt}");
    }
    let bare = digest("a");
    let bare = config(&["a"]).replace(&sha("a"), &bare);
    assert_eq!(docker(&bare).judged(), Err("a/layer.tar".to_owned()));
}

#[test]
fn what_docker_names_is_there() {
    let of = |image: &Json| {
        let made = Made::default().document("manifest.json", "list", &json!([image]));
        made.text("c", "c", &config(&["a"])).layer("a", "a", "a").judged()
    };
    assert_eq!(of(&json!({ "Config": "c", "Layers": ["x/../a"] })), Ok(()));
    assert_eq!(of(&json!({ "Config": "c", "Layers": ["nowhere"] })), Err("nowhere".to_owned()));
    assert_eq!(of(&json!({ "Config": "c", "Layers": null })), Err(sha("a")));
    assert_eq!(of(&json!({ "Config": "nowhere", "Layers": ["a"] })), Err("nowhere".to_owned()));
    assert_eq!(of(&json!({ "Config": "a", "Layers": [] })), Err("a".to_owned()), "no document");
    assert_eq!(of(&json!({})), Err(String::new()));
}

#[test]
fn an_archive_has_a_list_that_is_known() {
    assert_eq!(Made::default().judged(), Err("manifest.json".to_owned()));
    let old = || Made::default().document("repositories", "r", &json!({}));
    assert_eq!(old().judged(), Err("manifest.json".to_owned()));
    let empty = json!({ "manifests": [] });
    assert_eq!(old().document("index.json", "i", &empty).judged(), Err("repositories".to_owned()));
    let legacy = Made::default().document("index.json", "i", &empty).text("abc/json", "j", "{}");
    assert_eq!(legacy.judged(), Err("abc/json".to_owned()));
    assert_eq!(Made::default().document("index.json", "i", &empty).judged(), Ok(()));
}

fn named(kind: &str, name: &str) -> Json {
    json!({ "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": sha(name), "size": 1 })
}

/// An index of an index of a manifest.
fn oci(manifest: &Json, config: &str) -> Made {
    Made::default()
        .document("index.json", "i", &json!({ "manifests": [named("index.v1+json", "inner")] }))
        .document("blobs/1", "inner", &json!({ "manifests": [named("manifest.v1+json", "m")] }))
        .document("blobs/2", "m", manifest)
        .text("blobs/3", "c", config)
        .layer("blobs/4", "a.gz", "a")
}

fn manifest() -> Json {
    json!({ "config": named("config.v1+json", "c"), "layers": [named("layer.v1.tar+gzip", "a.gz")] })
}

#[test]
fn every_digest_of_an_index_is_there() {
    assert_eq!(oci(&manifest(), &config(&["a"])).judged(), Ok(()));
    assert_eq!(oci(&manifest(), &config(&["theirs"])).judged(), Err(sha("a.gz")));
    assert_eq!(oci(&manifest(), &config(&["a", "theirs"])).judged(), Err(sha("theirs")));
    for (place, value, field) in [
        ("/layers/0/digest", json!(sha("theirs")), sha("theirs")),
        ("/config/digest", json!(sha("theirs")), sha("theirs")),
        ("/config/digest", json!(sha("a.gz")), sha("a.gz")),
        ("/layers/0/digest", json!("sha512:00"), "sha512:00".to_owned()),
        ("/layers/0", json!({}), String::new()),
        // BuildKit and containerd follow what is called a list, wherever it stands.
        ("/layers/0/mediaType", json!("application/vnd.oci.image.index.v1+json"), sha("m")),
        (
            "/config/mediaType",
            json!("application/vnd.docker.distribution.manifest.v2+json"),
            sha("m"),
        ),
    ] {
        let mut changed = manifest();
        *changed.pointer_mut(place).unwrap() = value;
        assert_eq!(oci(&changed, &config(&["a"])).judged(), Err(field), "{place}");
    }
    let mut subject = manifest();
    subject["subject"] = named("manifest.v1+json", "theirs");
    assert_eq!(oci(&subject, &config(&["a"])).judged(), Err(sha("theirs")));
    let mut folded = manifest();
    folded["Layers"] = json!([]);
    assert_eq!(oci(&folded, &config(&["a"])).judged(), Err(sha("m")));
}

#[test]
fn lists_that_lead_in_a_circle_come_to_an_end() {
    let itself = json!({ "manifests": [named("index.v1+json", "i"), named("index.v1+json", "j")] });
    let made = Made::default().document("index.json", "i", &itself).document("j", "j", &itself);
    assert_eq!(made.judged(), Ok(()));
}
