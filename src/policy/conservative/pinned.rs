//! What a user wrote in `VolumesFrom` where the engine got an id, and the same in answers.
//!
//! It names other containers by what the user calls them; the engine gets ids (`judge`) and would show these. (Of
//! `container:NAME` in a mode it shows an id anyway.) What was written is kept with the container itself, in
//! `HostConfig.ContainerIDFile`: every engine keeps that text and does nothing with it, and neither images nor events
//! have it. So it lives as long as the container, through restarts of everything. What must stay true: no client can
//! write there what is taken for ours (`container.id-file` in the rules), and an answer is changed only where it has
//! exactly what was sent.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::api::doc::Value;
use crate::policy::edit::{Edit, keys};

/// How a text begins that is ours.
const MARK: &str = "dockgate:";

/// A text that names a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pinned {
    /// As the engine got it: with an id.
    pub sent: String,
    /// As the user wrote it.
    pub asked: String,
}

#[derive(Serialize, Deserialize)]
struct Kept<'k> {
    /// The client's own `ContainerIDFile`.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    file: Cow<'k, str>,
    pinned: Vec<Pinned>,
}

/// What is to stand in a create body of what was written in it.
pub(super) fn kept(create: &Value, mut pinned: Vec<Pinned>) -> Option<Edit> {
    const PLACE: [&str; 2] = ["HostConfig", "ContainerIDFile"];
    pinned.retain(|one| one.sent != one.asked);
    if pinned.is_empty() {
        return None;
    }
    let file = PLACE.iter().try_fold(create, |value, key| value.get(key)).and_then(Value::as_str);
    let kept = Kept { file: file.unwrap_or_default().into(), pinned };
    let text = serde_json::to_string(&kept).ok()?;
    Some(Edit::Body(keys(&PLACE), Some(Value::String(format!("{MARK}{text}")))))
}

/// Shows an inspect answer as the user wrote it.
pub(super) fn show(inspect: &mut Json) {
    let Some(host_config) = inspect.get_mut("HostConfig") else { return };
    let Some(file) = host_config.get_mut("ContainerIDFile") else { return };
    let text = file.as_str().and_then(|text| text.strip_prefix(MARK));
    let Some(kept) = text.and_then(|text| serde_json::from_str::<Kept<'_>>(text).ok()) else {
        return;
    };
    let asked: HashMap<_, _> = kept.pinned.into_iter().map(|one| (one.sent, one.asked)).collect();
    *file = Json::String(kept.file.into_owned());
    let list = host_config.get_mut("VolumesFrom").and_then(Json::as_array_mut);
    for one in list.into_iter().flatten() {
        if let Some(asked) = one.as_str().and_then(|sent| asked.get(sent)) {
            *one = Json::String(asked.clone());
        }
    }
}

/// Whether an inspect answer may have something to show otherwise: spares reading it as JSON.
pub(super) fn may_concern(body: &[u8]) -> bool {
    memchr::memmem::find(body, MARK.as_bytes()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn kept(host_config: &str, pinned: &[(&str, &str)]) -> String {
        let body = format!(r#"{{"HostConfig":{host_config}}}"#);
        let kind = crate::api::shape::Kind::Object(crate::api::container::CREATE);
        let doc = crate::api::doc::parse(body.as_bytes(), &kind).unwrap();
        let pinned = pinned
            .iter()
            .map(|(sent, asked)| Pinned { sent: (*sent).to_owned(), asked: (*asked).to_owned() });
        match super::kept(&doc.root, pinned.collect()) {
            Some(Edit::Body(_, Some(text))) => text.as_str().unwrap_or_default().to_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_written_is_shown_and_the_clients_own_text_is_back() {
        let file = kept(
            r#"{"ContainerIDFile":"/tmp/cid"}"#,
            &[("ID:ro", "web:ro"), ("OTHER", "db"), ("SAME", "SAME")],
        );
        assert!(file.starts_with(MARK) && may_concern(file.as_bytes()), "{file}");
        let from = json!(["ID:ro", "OTHER", "SAME", "ID"]);
        let mut inspect = json!({ "HostConfig": {
            "ContainerIDFile": file, "PidMode": "container:ID", "VolumesFrom": from } });
        show(&mut inspect);
        let wanted = json!({ "HostConfig": {
            "ContainerIDFile": "/tmp/cid", "PidMode": "container:ID",
            "VolumesFrom": ["web:ro", "db", "SAME", "ID"] } });
        assert_eq!(inspect, wanted);
    }

    #[test]
    fn nothing_is_kept_where_nothing_was_named_and_other_answers_stay() {
        let same = Pinned { sent: "ID".to_owned(), asked: "ID".to_owned() };
        assert_eq!(super::kept(&Value::Null, vec![same]), None);
        for mut answer in [
            json!({}),
            json!(null),
            json!({ "HostConfig": { "ContainerIDFile": "dockgate:nonsense" } }),
            json!({ "HostConfig": { "ContainerIDFile": null, "VolumesFrom": ["a"] } }),
        ] {
            let before = answer.clone();
            show(&mut answer);
            assert_eq!(answer, before);
        }
        assert!(!may_concern(br#"{"HostConfig":{"ContainerIDFile":""}}"#));
    }
}
