//! What is changed in a push: annotations that are set, and the tag that it gets.
//!
//! Pure. What must stay true: what cannot be changed as it is wanted is refused, and nothing else of the manifest is; a
//! manifest that says already what is wanted keeps its bytes, and so its digest.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::facts::Pushed;
use crate::cache::registry::name::{Reference, is_tag};

/// What a rule of the operator's own, or an outside program, may want.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Changes {
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub tag: Option<String>,
}

/// Names that a template of the configuration may have in braces.
const NAMES: [&str; 5] = ["tag", "user", "repository", "registry", "digest"];

impl Changes {
    /// What is wanted later stands in the place of what was wanted before.
    pub(super) fn extend(&mut self, more: Changes) {
        self.annotations.extend(more.annotations);
        self.tag = more.tag.or(self.tag.take());
    }

    /// The tag under which it becomes visible.
    pub(super) fn reference(
        &self,
        pushed: &Pushed,
        asked: &Reference,
    ) -> Result<Reference, String> {
        match (&self.tag, &pushed.tag) {
            (None, _) | (_, None) => Ok(asked.clone()),
            (Some(tag), Some(_)) if is_tag(tag) => Ok(Reference::Tag(tag.clone())),
            (Some(tag), Some(_)) => Err(format!("`{}` is no tag", super::manifest::clipped(tag))),
        }
    }

    /// The manifest with the annotations in it.
    pub(super) fn manifest(&self, pushed: &Pushed, manifest: &Bytes) -> Result<Bytes, String> {
        // What is named by its digest cannot be changed: it is a part of something that will have a tag.
        if self.annotations.is_empty() || pushed.tag.is_none() {
            return Ok(manifest.clone());
        }
        if !pushed.manifest.is_oci() {
            let kind = &pushed.manifest.media_type;
            return Err(format!(
                "annotations are to be set, and `{kind}` has none. hint: push an OCI image"
            ));
        }
        let bad = || "the manifest cannot be changed".to_owned();
        let text = std::str::from_utf8(manifest).map_err(|_| bad())?;
        let mut root: Value = serde_json::from_str(text).map_err(|_| bad())?;
        let all = root.as_object_mut().ok_or_else(bad)?.entry("annotations");
        let all = all.or_insert(Value::Null);
        let mut is_changed = false;
        for (name, value) in &self.annotations {
            let value = Value::from(value.as_str());
            if all.get(name) != Some(&value) {
                if all.is_null() {
                    *all = Value::Object(serde_json::Map::new());
                }
                all.as_object_mut().ok_or_else(bad)?.insert(name.clone(), value);
                is_changed = true;
            }
        }
        match is_changed {
            true => serde_json::to_vec(&root).map(Bytes::from).map_err(|_| bad()),
            false => Ok(manifest.clone()),
        }
    }
}

/// Whether a template of the configuration can be filled: what is wrong with it, if not.
pub(super) fn template_is_wrong(text: &str) -> Option<String> {
    fill(text, |name| NAMES.contains(&name).then(String::new)).err()
}

/// A template with what is known of the push in the place of names in braces.
pub(super) fn filled(text: &str, pushed: &Pushed) -> Result<String, String> {
    fill(text, |name| match name {
        "tag" => pushed.tag.clone(),
        "user" => pushed.user.clone(),
        "repository" => Some(pushed.repository.clone()),
        "registry" => Some(pushed.registry.clone()),
        "digest" => Some(pushed.digest.clone()),
        _ => None,
    })
}

fn fill(text: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once('{') {
        out.push_str(before);
        let (name, after) =
            behind.split_once('}').ok_or_else(|| format!("`{{` without `}}` in `{text}`"))?;
        let value = value(name);
        out.push_str(&value.ok_or_else(|| format!("there is no `{{{name}}}` for `{text}`"))?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::facts::tests::pushed;
    use super::super::manifest::tests::digest;
    use super::*;

    fn manifest() -> Value {
        json!({"schemaVersion": 2, "layers": [], "config": {"size": 1, "digest": digest(0)}, "annotations": {"a": "1"}})
    }

    fn set(name: &str, value: &str) -> Changes {
        Changes { annotations: BTreeMap::from([(name.to_owned(), value.to_owned())]), tag: None }
    }

    #[test]
    fn an_annotation_is_set_and_nothing_else_is_changed() {
        let (text, one) = (manifest().to_string(), pushed(&manifest(), None));
        let changed = set("b", "2").manifest(&one, &text.clone().into()).unwrap();
        assert_eq!(changed, text.replace("\"a\":\"1\"", "\"a\":\"1\",\"b\":\"2\""));
        let replaced = set("a", "2").manifest(&one, &text.clone().into()).unwrap();
        assert_eq!(replaced, text.replace("\"1\"", "\"2\""));
        let null = text.replace("{\"a\":\"1\"}", "null");
        let made = set("a", "1").manifest(&one, &null.into()).unwrap();
        assert_eq!(made, text);
    }

    #[test]
    fn what_says_it_already_keeps_its_bytes() {
        let one = pushed(&manifest(), None);
        let text = Bytes::from(format!("{}\n", manifest()));
        assert_eq!(set("a", "1").manifest(&one, &text), Ok(text.clone()));
        assert_eq!(Changes::default().manifest(&one, &text), Ok(text));
    }

    #[test]
    fn dockers_own_form_and_what_has_a_digest_are_not_changed() {
        let mut one = pushed(&manifest(), None);
        let text = Bytes::from(manifest().to_string());
        one.manifest.media_type = "application/vnd.docker.distribution.manifest.v2+json".to_owned();
        assert!(set("b", "2").manifest(&one, &text).unwrap_err().contains("has none"));
        one.tag = None;
        assert_eq!(set("b", "2").manifest(&one, &text), Ok(text));
        let asked = Reference::parse(&digest(1)).unwrap();
        let changes = Changes { tag: Some("x".to_owned()), ..Changes::default() };
        assert_eq!(changes.reference(&one, &asked), Ok(asked));
    }

    #[test]
    fn a_tag_that_is_none_is_refused() {
        let (one, asked) = (pushed(&manifest(), None), Reference::parse("v1").unwrap());
        let to = |tag: &str| {
            Changes { tag: Some(tag.to_owned()), ..Changes::default() }.reference(&one, &asked)
        };
        assert_eq!(to("v1-ann"), Ok(Reference::Tag("v1-ann".to_owned())));
        for bad in ["", "a b", "a/b", "-x", &digest(1)] {
            assert!(to(bad).is_err(), "{bad}");
        }
        assert_eq!(Changes::default().reference(&one, &asked), Ok(asked));
    }

    #[test]
    fn a_template_is_filled_with_what_is_known() {
        let mut one = pushed(&manifest(), None);
        assert_eq!(filled("{tag}-{user}", &one).as_deref(), Ok("v1-ann"));
        assert_eq!(
            filled("{registry}/{repository}@{digest}", &one),
            Ok(format!("hub/team/app@{}", digest(0xdd)))
        );
        one.user = None;
        assert!(filled("{tag}-{user}", &one).unwrap_err().contains("no `{user}`"));
        assert_eq!(template_is_wrong("{user} } x"), None);
        for bad in ["{x}", "{", "a{tag", "{}"] {
            assert!(template_is_wrong(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn what_is_wanted_later_counts() {
        let mut all = set("a", "1");
        all.extend(Changes { tag: Some("x".to_owned()), ..set("a", "2") });
        all.extend(set("b", "3"));
        assert_eq!((all.annotations["a"].as_str(), all.annotations.len()), ("2", 2));
        assert_eq!(all.tag.as_deref(), Some("x"));
    }

    proptest! {
        #[test]
        fn a_template_that_is_right_can_be_filled(text in "([{}]|tag|user|x|-){0,8}") {
            let one = pushed(&manifest(), None);
            prop_assert_eq!(template_is_wrong(&text).is_none(), filled(&text, &one).is_ok());
        }

        #[test]
        fn any_annotation_comes_back(name in "\\PC{1,20}", value in "\\PC{0,20}") {
            let one = pushed(&manifest(), None);
            let changed = set(&name, &value).manifest(&one, &manifest().to_string().into()).unwrap();
            let changed: Value = serde_json::from_str(std::str::from_utf8(&changed).unwrap()).unwrap();
            prop_assert_eq!(changed["annotations"][&name].as_str(), Some(value.as_str()));
        }
    }
}
