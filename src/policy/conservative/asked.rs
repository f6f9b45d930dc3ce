//! What a user wrote where the engine got an id, and the same in answers.
//!
//! `VolumesFrom` and `Links` name other containers by what the user calls them; the engine gets ids (`judge`) and would
//! show these. (Of `container:NAME` in a mode it shows an id anyway.) What was written is kept with the container itself, in `HostConfig.ContainerIDFile`: every engine
//! keeps that text and does nothing with it, and neither images nor events have it. So it lives as long as the
//! container, through restarts of everything. What must stay true: no client can write there what is taken for ours
//! (`container.id-file` in the rules), and an answer is changed only where it has exactly what was sent.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::reference::{Reference, is_id};
use crate::api::doc::Value;

/// How a text begins that is ours.
const MARK: &str = "dockgate:";
const LINKS: &str = "Links";
const VOLUMES_FROM: &str = "VolumesFrom";

/// A text that names a container, in a field of this name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pinned {
    pub field: Cow<'static, str>,
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

/// Puts into a create body what was written in it.
pub(super) fn keep(create: &mut Value, pinned: Vec<Pinned>) {
    if pinned.is_empty() {
        return;
    }
    let Some(place) = create.at_mut(&["HostConfig", "ContainerIDFile"]) else { return };
    let kept = Kept { file: place.as_str().unwrap_or_default().into(), pinned };
    if let Ok(text) = serde_json::to_string(&kept) {
        *place = Value::String(format!("{MARK}{text}"));
    }
}

/// Shows an inspect answer as the user wrote it, or says of which ids the names are needed for that: nobody keeps what
/// was written in the links of a `connect`.
pub(super) fn show(
    inspect: &mut Json,
    name_of: &dyn Fn(&str) -> Option<Option<String>>,
) -> Vec<String> {
    let kept = kept_in(inspect);
    let (mut shown, mut unknown) = (Vec::new(), Vec::new());
    for (field, text) in texts(inspect) {
        let known = |one: &&Pinned| one.field == field && one.sent == *text;
        if let Some(one) = kept.as_ref().and_then(|kept| kept.pinned.iter().find(known)) {
            shown.push((text, one.asked.clone()));
        } else if let Some(link) =
            Reference::parse(text, "").filter(|link| field == LINKS && is_id(link.name))
        {
            match name_of(link.name) {
                Some(Some(name)) => {
                    let with_name = link.with_id(name.trim_start_matches('/'));
                    shown.push((text, with_name));
                }
                Some(None) => {}
                None => unknown.push(link.name.to_owned()),
            }
        }
    }
    if !unknown.is_empty() {
        return unknown;
    }
    shown.into_iter().for_each(|(text, asked)| *text = asked);
    if let Some((kept, place)) = kept.zip(inspect.pointer_mut("/HostConfig/ContainerIDFile")) {
        *place = Json::String(kept.file.into_owned());
    }
    unknown
}

/// Whether an inspect answer may have something to show otherwise: spares reading it as JSON.
pub(super) fn may_concern(body: &[u8]) -> bool {
    [MARK, r#""Links":["#]
        .iter()
        .any(|needle| memchr::memmem::find(body, needle.as_bytes()).is_some())
}

fn kept_in(inspect: &Json) -> Option<Kept<'static>> {
    let file = inspect.pointer("/HostConfig/ContainerIDFile")?.as_str()?;
    let Kept { file, pinned } = serde_json::from_str(file.strip_prefix(MARK)?).ok()?;
    Some(Kept { file: Cow::Owned(Cow::into_owned(file)), pinned })
}

/// Every text that may name a container, with its field. (The links of the default bridge are the engine's own words.)
fn texts(inspect: &mut Json) -> Vec<(&'static str, &mut String)> {
    let mut texts = Vec::new();
    for (part, value) in inspect.as_object_mut().into_iter().flatten() {
        match part.as_str() {
            "HostConfig" => {
                let list = value.get_mut(VOLUMES_FROM).and_then(Json::as_array_mut);
                let named = list.into_iter().flatten().filter_map(text);
                texts.extend(named.map(|text| (VOLUMES_FROM, text)));
            }
            "NetworkSettings" => {
                let networks = value.get_mut("Networks").and_then(Json::as_object_mut);
                let networks = networks.into_iter().flat_map(serde_json::Map::values_mut);
                let lists = networks.filter_map(|one| one.get_mut(LINKS)?.as_array_mut());
                texts.extend(lists.flatten().filter_map(text).map(|text| (LINKS, text)));
            }
            _ => {}
        }
    }
    texts
}

fn text(value: &mut Json) -> Option<&mut String> {
    match value {
        Json::String(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn id() -> String {
        "1d".repeat(32)
    }

    fn kept(host_config: &str, pinned: &[(&str, &str, &str)]) -> String {
        let body = format!(r#"{{"HostConfig":{host_config}}}"#);
        let kind = crate::api::shape::Kind::Object(crate::api::container::CREATE);
        let mut doc = crate::api::doc::parse(body.as_bytes(), &kind).unwrap();
        let all = pinned.iter().map(|(field, sent, asked)| Pinned {
            field: (*field).to_owned().into(),
            sent: sent.replace('@', &id()),
            asked: asked.replace('@', &id()),
        });
        keep(&mut doc.root, all.collect());
        let place = doc.root.at_mut(&["HostConfig", "ContainerIDFile"]).unwrap();
        place.as_str().unwrap_or_default().to_owned()
    }

    fn with_id(json: &str) -> Json {
        json.replace('@', &id()).parse().unwrap()
    }

    #[test]
    fn what_was_written_is_shown_and_the_clients_own_text_is_back() {
        let file = kept(
            r#"{"ContainerIDFile":"/tmp/cid"}"#,
            &[("VolumesFrom", "@:ro", "web:ro"), ("Links", "@:db", "db"), ("Links", "@:x", "@:x")],
        );
        let mut inspect = with_id(
            r#"{"HostConfig":{"ContainerIDFile":"","PidMode":"container:@","VolumesFrom":["@:ro","OTHER"],"Links":null},
                "NetworkSettings":{"Networks":{"n":{"Links":["@:db","@:x","OTHER:x"]},"m":{"Links":null}}}}"#,
        );
        inspect["HostConfig"]["ContainerIDFile"] = file.into();
        assert!(show(&mut inspect, &|_| panic!("nothing is to be asked")).is_empty());
        let wanted = with_id(
            r#"{"HostConfig":{"ContainerIDFile":"/tmp/cid","PidMode":"container:@","VolumesFrom":["web:ro","OTHER"],"Links":null},
                "NetworkSettings":{"Networks":{"n":{"Links":["db","@:x","OTHER:x"]},"m":{"Links":null}}}}"#,
        );
        assert_eq!(inspect, wanted);
    }

    #[test]
    fn links_of_a_connect_have_the_names_of_today() {
        let of =
            |text: &str| json!({ "NetworkSettings": { "Networks": { "n": { "Links": [text] } } } });
        let sent = of(&format!("{}:x", id()));
        let mut inspect = sent.clone();
        assert_eq!(show(&mut inspect, &|_| None), [id()]);
        assert_eq!(inspect, sent);
        assert!(show(&mut inspect, &|_| Some(None)).is_empty(), "it is gone");
        assert_eq!(inspect, sent);
        assert!(show(&mut inspect, &|_| Some(Some("/web".into()))).is_empty());
        assert_eq!(inspect, of("web:x"));
    }

    #[test]
    fn nothing_is_kept_where_nothing_was_named_and_other_answers_stay() {
        assert_eq!(kept(r#"{"ContainerIDFile":"/c"}"#, &[]), "/c");
        for mut answer in [
            json!({}),
            json!(null),
            json!({ "HostConfig": { "ContainerIDFile": "dockgate:nonsense" } }),
        ] {
            let before = answer.clone();
            assert!(show(&mut answer, &|_| None).is_empty());
            assert_eq!(answer, before);
        }
    }

    #[test]
    fn most_answers_need_not_be_read() {
        for body in [r#"{"ContainerIDFile":"dockgate:{}"}"#, r#"{"Links":["x"]}"#] {
            assert!(may_concern(body.as_bytes()), "{body}");
        }
        assert!(!may_concern(br#"[{"HostConfig":{"NetworkMode":"bridge"},"Links":null}]"#));
    }
}
