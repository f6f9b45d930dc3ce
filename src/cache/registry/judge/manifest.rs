//! A manifest and its config, read as Go's clients read them, or refused.
//!
//! Pure; the judge's facts are made of it. What must stay true: a manifest has one reading, whatever the client says of its
//! type (CVE-2021-41190), and whatever the spelling of its keys; what is of no known form is none.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::api::doc::{Value, folds_to, parse_within};
use crate::api::shape::{Kind, LABELS, Object, STRINGS, f};
use crate::cache::registry::name::Digest;

/// Of a manifest of 4 MiB or a config of 8: more than a description of an image has.
const MOST_VALUES: usize = 262_144;

/// `application/vnd.`…
const IMAGES: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
];
const INDEXES: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
];

const PLATFORM: &Object = &[
    f("architecture", Kind::Str),
    f("os", Kind::Str),
    f("os.version", Kind::Str),
    f("os.features", STRINGS),
    f("variant", Kind::Str),
    f("features", STRINGS),
];
const DESCRIPTOR: &Object = &[
    f("mediaType", Kind::Str),
    f("digest", Kind::Str),
    f("size", Kind::Int),
    f("urls", STRINGS),
    f("annotations", LABELS),
    f("data", Kind::Str),
    f("artifactType", Kind::Str),
    f("platform", Kind::Object(PLATFORM)),
];
const MANIFEST: &Object = &[
    f("schemaVersion", Kind::Int),
    f("mediaType", Kind::Str),
    f("artifactType", Kind::Str),
    f("config", Kind::Object(DESCRIPTOR)),
    f("layers", Kind::List(&Kind::Object(DESCRIPTOR))),
    f("manifests", Kind::List(&Kind::Object(DESCRIPTOR))),
    f("subject", Kind::Object(DESCRIPTOR)),
    f("annotations", LABELS),
];
const CONFIG: &Object = &[
    f("architecture", Kind::Str),
    f("os", Kind::Str),
    f("variant", Kind::Str),
    f("created", Kind::Str),
    f("config", Kind::Object(&[f("Labels", LABELS)])),
    f("rootfs", Kind::Object(&[f("type", Kind::Str), f("diff_ids", STRINGS)])),
];

pub(super) type Texts = BTreeMap<String, String>;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct PushedManifest {
    pub media_type: String,
    pub artifact_type: Option<String>,
    pub annotations: Texts,
    /// Of an image, as are the layers.
    pub config: Option<Described>,
    pub layers: Vec<Described>,
    /// Of an index.
    pub manifests: Vec<Described>,
    /// What it refers to.
    pub subject: Option<String>,
    /// Of all that it names but for the subject.
    pub size: u64,
}

/// A descriptor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Described {
    pub digest: String,
    pub media_type: String,
    pub size: u64,
    pub platform: Option<ImagePlatform>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ImagePlatform {
    pub os: String,
    pub architecture: String,
    pub variant: Option<String>,
}

/// What the blob of an image's config says.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct PushedConfig {
    pub labels: Texts,
    pub platform: Option<ImagePlatform>,
    pub created: Option<String>,
    /// Digests of the layers as they are unpacked, which compressing them anew does not change.
    pub diff_ids: Vec<String>,
}

impl PushedManifest {
    /// `told`: the request's `Content-Type`.
    pub(super) fn read(told: Option<&str>, text: &str) -> Result<PushedManifest, String> {
        let told = told.map(|told| told.split(';').next().unwrap_or_default().trim());
        if let Some(told) = told.filter(|told| !is_known(told)) {
            return Err(format!(
                "`{}` is no form of a manifest that is judged here",
                clipped(told)
            ));
        }
        let root = read(text, MANIFEST)?;
        let own = text_of(&root, "mediaType").filter(|own| !own.is_empty());
        let media_type = match (told, own) {
            (Some(told), Some(own)) if told != own => {
                return Err("the manifest says another `mediaType` than the request".to_owned());
            }
            (Some(kind), _) | (None, Some(kind)) => kind.to_owned(),
            (None, None) => return Err("nothing says what form the manifest has".to_owned()),
        };
        if !is_known(&media_type) {
            let kind = clipped(&media_type);
            return Err(format!("`{kind}` is no form of a manifest that is judged here"));
        }
        let is_index = INDEXES.contains(&media_type.as_str());
        let wrong: &[&str] = if is_index { &["config", "layers"] } else { &["manifests"] };
        if let Some(wrong) = wrong.iter().find(|name| at(&root, name).is_some()) {
            return Err(format!("`{wrong}` is not for `{media_type}`"));
        }
        let list = |name: &str| {
            let items = at(&root, name).map(Value::items).unwrap_or_default();
            items.iter().map(Described::of).collect::<Result<Vec<_>, String>>()
        };
        let config = at(&root, "config").map(Described::of).transpose()?;
        if config.is_none() && !is_index {
            return Err("the manifest has no `config`".to_owned());
        }
        let (layers, manifests) = (list("layers")?, list("manifests")?);
        let named = config.iter().chain(&layers).chain(&manifests);
        let size = named.fold(0_u64, |size, one| size.saturating_add(one.size));
        let subject = at(&root, "subject").map(Described::of).transpose()?;
        Ok(PushedManifest {
            media_type,
            artifact_type: text_of(&root, "artifactType").map(str::to_owned),
            annotations: texts(at(&root, "annotations")),
            config,
            layers,
            manifests,
            subject: subject.map(|subject| subject.digest),
            size,
        })
    }

    /// Whether it is one of the OCI's, which have annotations.
    pub(super) fn is_oci(&self) -> bool {
        self.media_type.starts_with("application/vnd.oci.")
    }
}

impl Described {
    fn of(value: &Value) -> Result<Described, String> {
        let digest = text_of(value, "digest").unwrap_or_default();
        if Digest::parse(digest).is_none() {
            return Err("something in the manifest has no `digest`".to_owned());
        }
        let size = at(value, "size").and_then(Value::as_i64);
        let Some(size) = size.and_then(|size| u64::try_from(size).ok()) else {
            return Err(format!("`{digest}` has no `size`"));
        };
        Ok(Described {
            digest: digest.to_owned(),
            media_type: text_of(value, "mediaType").unwrap_or_default().to_owned(),
            size,
            platform: at(value, "platform").and_then(ImagePlatform::of),
        })
    }
}

impl ImagePlatform {
    fn of(value: &Value) -> Option<ImagePlatform> {
        let text = |name| text_of(value, name).filter(|text| !text.is_empty()).map(str::to_owned);
        Some(ImagePlatform {
            os: text("os")?,
            architecture: text("architecture")?,
            variant: text("variant"),
        })
    }
}

impl PushedConfig {
    pub(super) fn read(text: &str) -> Result<PushedConfig, String> {
        let root = read(text, CONFIG).map_err(|why| format!("the config: {why}"))?;
        let diff_ids = at(&root, "rootfs").and_then(|rootfs| at(rootfs, "diff_ids"));
        let diff_ids = diff_ids.map(Value::items).unwrap_or_default().iter();
        Ok(PushedConfig {
            labels: texts(at(&root, "config").and_then(|config| at(config, "Labels"))),
            platform: ImagePlatform::of(&root),
            created: text_of(&root, "created").map(str::to_owned),
            diff_ids: diff_ids.filter_map(Value::as_str).map(str::to_owned).collect(),
        })
    }
}

fn is_known(kind: &str) -> bool {
    IMAGES.contains(&kind) || INDEXES.contains(&kind)
}

/// Keys that only some read as one that is known are refused, and so is what stands there twice.
fn read(text: &str, shape: &'static Object) -> Result<Value, String> {
    let kind = Kind::Object(shape);
    let doc =
        parse_within(MOST_VALUES, text.as_bytes(), &kind).map_err(|error| error.to_string())?;
    if !matches!(doc.root, Value::Object(_)) {
        return Err("it is no JSON object".to_owned());
    }
    let root: Option<serde_json::Map<String, serde_json::Value>> = serde_json::from_str(text).ok();
    let keys = root.iter().flat_map(serde_json::Map::keys);
    for key in keys {
        if let Some(field) = shape.iter().find(|field| folds_to(key, field.name))
            && key != field.name
        {
            return Err(format!("`{}` is written otherwise", field.name));
        }
    }
    Ok(doc.root)
}

fn at<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    value.get(name).filter(|value| **value != Value::Null)
}

fn text_of<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    at(value, name)?.as_str()
}

fn texts(value: Option<&Value>) -> Texts {
    let entries = value.map(Value::entries).unwrap_or_default().iter();
    // Go takes a null for an empty text.
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    entries.map(|(key, value)| (key.to_string(), text(value))).collect()
}

/// A client's text, as far as a message repeats it.
pub(super) fn clipped(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(128).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    pub(in crate::cache::registry::judge) fn digest(of: u8) -> String {
        format!("sha256:{}", format!("{of:02x}").repeat(32))
    }

    const IMAGE: &str = IMAGES[1];
    const INDEX: &str = INDEXES[1];

    fn image() -> serde_json::Value {
        json!({"schemaVersion": 2, "mediaType": IMAGE,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(0), "size": 10},
            "layers": [{"mediaType": "x", "digest": digest(1), "size": 100}, {"digest": digest(2), "size": 200}],
            "subject": {"digest": digest(9), "size": 5},
            "annotations": {"a": "1", "A": "2"}})
    }

    #[test]
    fn an_image_is_its_config_and_layers() {
        let image = PushedManifest::read(Some(IMAGE), &image().to_string()).unwrap();
        assert_eq!((image.size, image.layers.len()), (310, 2));
        assert_eq!(image.layers[1].digest, digest(2));
        assert_eq!(image.subject, Some(digest(9)));
        assert_eq!(image.annotations["A"], "2");
        assert!(image.is_oci());
        let docker = json!({"config": {"digest": digest(0), "size": 1}, "layers": null});
        let docker = PushedManifest::read(Some(IMAGES[0]), &docker.to_string()).unwrap();
        assert!(!docker.is_oci() && docker.layers.is_empty());
    }

    #[test]
    fn an_index_names_manifests_and_their_platforms() {
        let index = json!({"manifests": [
            {"digest": digest(1), "size": 1, "platform": {"os": "linux", "architecture": "arm", "variant": "v7"}},
            {"digest": digest(2), "size": 2},
            {"digest": digest(3), "size": 2, "platform": {"os": "", "architecture": "x"}}]});
        let told = format!("{INDEX}; charset=utf-8");
        let index = PushedManifest::read(Some(&told), &index.to_string()).unwrap();
        let platform = index.manifests[0].platform.clone().unwrap();
        assert_eq!(platform.variant.as_deref(), Some("v7"));
        assert!(index.manifests[1].platform.is_none() && index.manifests[2].platform.is_none());
        assert_eq!((index.config, index.layers), (None, vec![]));
    }

    #[test]
    fn what_has_two_readings_or_none_is_refused() {
        let with = |change: fn(&mut serde_json::Value)| {
            let mut image = image();
            change(&mut image);
            image.to_string()
        };
        for (told, text, why) in [
            (Some(INDEX), with(|_| {}), "another `mediaType`"),
            (Some(IMAGE), with(|image| image["manifests"] = json!([])), "`manifests` is not for"),
            (
                Some("application/vnd.docker.distribution.manifest.v1+prettyjws"),
                with(|_| {}),
                "no form",
            ),
            (Some("text/html"), with(|_| {}), "no form"),
            (None, with(|image| image["mediaType"] = json!("x")), "no form"),
            (None, with(|image| image["mediaType"] = json!(null)), "nothing says"),
            (Some(IMAGE), with(|image| image["config"] = json!(null)), "no `config`"),
            (
                Some(IMAGE),
                with(|image| image["layers"][0]["digest"] = json!("../x")),
                "no `digest`",
            ),
            (Some(IMAGE), with(|image| image["layers"][0]["size"] = json!(-1)), "no `size`"),
            (Some(IMAGE), with(|image| image["layers"][0]["size"] = json!(1.5)), "an integer"),
            (Some(IMAGE), with(|image| image["subject"]["digest"] = json!(7)), "a string"),
            (Some(IMAGE), with(|image| image["LAYERS"] = json!([])), "twice"),
            (Some(IMAGE), with(|image| image["layer\u{17f}"] = json!([])), "twice"),
            (
                Some(IMAGE),
                with(|_| {}).replace("\"annotations\"", "\"Annotations\""),
                "written otherwise",
            ),
            (Some(IMAGE), with(|_| {}).replace("\"A\"", "\"a\""), "twice"),
            (Some(IMAGE), "[]".to_owned(), "an object"),
            (Some(IMAGE), "null".to_owned(), "no JSON object"),
            (Some(IMAGE), String::new(), "JSON"),
        ] {
            let said = PushedManifest::read(told, &text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
        let index = json!({"manifests": [], "layers": []}).to_string();
        assert!(
            PushedManifest::read(Some(INDEX), &index).unwrap_err().contains("`layers` is not for")
        );
    }

    #[test]
    fn a_config_says_what_the_image_is() {
        let text = json!({"architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
            "config": {"Labels": {"a": "b", "n": null}, "Env": ["x"]}, "history": [{}],
            "rootfs": {"type": "layers", "diff_ids": [digest(7)]}});
        let config = PushedConfig::read(&text.to_string()).unwrap();
        assert_eq!(config.labels["a"], "b");
        assert_eq!(config.labels["n"], "");
        assert_eq!(config.diff_ids, [digest(7)]);
        assert_eq!(config.platform.unwrap().architecture, "amd64");
        assert_eq!(PushedConfig::read("{}"), Ok(PushedConfig::default()));
        for bad in
            ["", "[]", "x", r#"{"config":{"labels":{"a":"1"},"Labels":{}}}"#, r#"{"OS":"x"}"#]
        {
            assert!(PushedConfig::read(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC{0,60}", kind in "\\PC{0,20}") {
            let _ = PushedManifest::read(Some(IMAGE), &text);
            let _ = PushedManifest::read(Some(&kind), &text);
            let _ = PushedConfig::read(&text);
        }

        #[test]
        fn sizes_add_up_without_an_end(sizes in proptest::collection::vec(0..=i64::MAX, 0..4)) {
            let layers: Vec<_> = sizes.iter().map(|size| json!({"digest": digest(1), "size": size})).collect();
            let text = json!({"config": {"digest": digest(0), "size": 0}, "layers": layers}).to_string();
            let size = PushedManifest::read(Some(IMAGE), &text).unwrap().size;
            let all: u128 = sizes.iter().map(|size| *size as u128).sum();
            prop_assert_eq!(u128::from(size), all.min(u128::from(u64::MAX)));
        }
    }
}
