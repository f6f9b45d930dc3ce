//! What is known of a push when it is judged: who, where to, and what.
//!
//! Pure. Demands, the operator's own rules and outside programs all see it; its fields in JSON are documented in
//! `docs/registry-push.md`. What must stay true: no credential stands in it.

use serde::Serialize;
use serde_json::{Value, json};

use super::manifest::{ImagePlatform, PushedConfig, PushedManifest, Texts};

#[derive(Clone, Debug, Serialize)]
pub(super) struct Pushed {
    /// Of the configuration.
    pub registry: String,
    /// As clients write it.
    pub repository: String,
    /// A tag or a digest.
    pub reference: String,
    /// None of what is pushed by its digest, such as the parts of an index.
    pub tag: Option<String>,
    /// Of the manifest as the client has made it.
    pub digest: String,
    pub user: Option<String>,
    pub groups: Vec<String>,
    #[serde(flatten)]
    pub manifest: PushedManifest,
    /// Where it was read.
    #[serde(skip)]
    pub image: Option<PushedConfig>,
}

impl Pushed {
    /// Of an index, those of its parts that say one; of an image its own.
    pub(super) fn platforms(&self) -> Vec<&ImagePlatform> {
        let parts = self.manifest.manifests.iter().filter_map(|part| part.platform.as_ref());
        parts.chain(self.image.iter().filter_map(|image| image.platform.as_ref())).collect()
    }

    pub(super) fn is_index(&self) -> bool {
        self.manifest.config.is_none()
    }

    /// What annotations and labels say under a name: a reader may look at either.
    pub(super) fn said<'p>(&'p self, name: &str) -> impl Iterator<Item = &'p String> {
        let labels = self.image.as_ref().and_then(|image| image.labels.get(name));
        self.manifest.annotations.get(name).into_iter().chain(labels)
    }

    /// All of it for the operator's own rules and outside programs. `manifest` and `config`: as they came.
    pub(super) fn document(&self, manifest: &str, config: Option<&str>, base: &str) -> Value {
        let plain = |text: &str| serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
        let blob = |digest: &str| format!("{base}/v2/{}/blobs/{digest}", self.repository);
        let layers: Vec<String> =
            self.manifest.layers.iter().map(|layer| blob(&layer.digest)).collect();
        let image = self.image.as_ref();
        let none = Texts::new();
        let more = json!({
            "version": 1,
            "labels": image.map_or(&none, |image| &image.labels),
            "created": image.and_then(|image| image.created.as_ref()),
            "diff_ids": image.map(|image| image.diff_ids.as_slice()).unwrap_or_default(),
            "platforms": self.platforms(),
            "urls": {
                "config": self.manifest.config.as_ref().map(|config| blob(&config.digest)),
                "layers": layers,
            },
        });
        // Nothing in it can fail to be written.
        let mut all = serde_json::to_value(self).unwrap_or_default();
        if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
            all.extend(more);
        }
        leave_out_nulls(&mut all);
        if let Value::Object(all) = &mut all {
            let mut raw = json!({"manifest": plain(manifest)});
            if let (Some(config), Value::Object(raw)) = (config, &mut raw) {
                raw.insert("config".to_owned(), plain(config));
            }
            all.insert("raw".to_owned(), raw);
        }
        all
    }
}

/// To rules in Rego a null is a value, for which `startswith` and its kin are errors; what is absent is undefined.
fn leave_out_nulls(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            entries.retain(|_, value| !value.is_null());
            entries.values_mut().for_each(leave_out_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(leave_out_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::manifest::tests::digest;
    use super::*;

    pub(in crate::cache::registry::judge) fn pushed(
        manifest: &Value,
        config: Option<&Value>,
    ) -> Pushed {
        let kind = match manifest.get("manifests") {
            Some(_) => "application/vnd.oci.image.index.v1+json",
            None => "application/vnd.oci.image.manifest.v1+json",
        };
        Pushed {
            registry: "hub".to_owned(),
            repository: "team/app".to_owned(),
            reference: "v1".to_owned(),
            tag: Some("v1".to_owned()),
            digest: digest(0xdd),
            user: Some("ann".to_owned()),
            groups: vec!["dev".to_owned()],
            manifest: PushedManifest::read(Some(kind), &manifest.to_string()).unwrap(),
            image: config.map(|config| PushedConfig::read(&config.to_string()).unwrap()),
        }
    }

    #[test]
    fn a_document_holds_all_that_is_known_and_where_the_blobs_are() {
        let manifest = json!({"config": {"digest": digest(0), "size": 1},
            "layers": [{"digest": digest(1), "size": 2}], "annotations": {"a": "b"}, "x": 1});
        let config = json!({"os": "linux", "architecture": "arm64", "y": 2,
            "config": {"Labels": {"l": "m"}}});
        let one = pushed(&manifest, Some(&config));
        let (text, config) = (manifest.to_string(), config.to_string());
        let all = one.document(&text, Some(&config), "https://r.example");
        let blob = format!("https://r.example/v2/team/app/blobs/{}", digest(1));
        for (at, wanted) in [
            ("/version", json!(1)),
            ("/registry", json!("hub")),
            ("/repository", json!("team/app")),
            ("/tag", json!("v1")),
            ("/user", json!("ann")),
            ("/groups", json!(["dev"])),
            ("/size", json!(3)),
            ("/labels/l", json!("m")),
            ("/annotations/a", json!("b")),
            ("/platforms/0/architecture", json!("arm64")),
            ("/layers/0/size", json!(2)),
            ("/raw/manifest/x", json!(1)),
            ("/raw/config/y", json!(2)),
            ("/urls/layers/0", json!(blob)),
        ] {
            assert_eq!(all.pointer(at), Some(&wanted), "{at} {all}");
        }
        let bare = pushed(&manifest, None).document(&text, None, "");
        for absent in ["/raw/config", "/created", "/subject", "/layers/0/platform"] {
            assert_eq!(bare.pointer(absent), None, "{absent}");
        }
        assert_eq!(
            bare.pointer("/urls/config"),
            Some(&json!(format!("/v2/team/app/blobs/{}", digest(0))))
        );
    }
}
