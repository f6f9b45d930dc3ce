//! The walk over an answer, and each form of a name within its text.

use serde_json::{Value, json};

use super::super::endpoint::{AnswerKind, Class, Method, row};
use super::super::table::{Endpoint, TABLE};
use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn renamed(form: Form, text: &str) -> Option<String> {
    let part = form.part(text)?;
    let mut changed = text.to_owned();
    let mut named =
        FoundName { place: &[], resource: Resource::Container, form, text: &mut changed, part };
    named.rename("NEW");
    assert_eq!(named.name(), "NEW", "{form:?} {text}");
    Some(changed)
}

#[test]
fn a_name_is_found_and_replaced_and_what_is_around_it_stays() {
    const PHRASE: Form = Form::Phrase(&[("built ", ""), ("to [", "]")], &Form::Image);
    let image_id = format!("sha256:{ID}");
    let cases: &[(Form, &str, Option<&str>)] = &[
        (Form::Name, "web", Some("NEW")),
        (Form::Name, "", None),
        (Form::Id, ID, Some("NEW")),
        (Form::NameOrId, "web", Some("NEW")),
        (Form::Alias, "0123456789ab", Some("NEW")),
        (Form::FullId, ID, Some("NEW")),
        (Form::FullId, &image_id, Some("NEW")),
        (Form::FullId, "Downloading", None),
        (Form::ShortId, "0123456789ab", Some("NEW")),
        (Form::ShortId, "Using cache", None),
        (Form::Slash, "/web", Some("/NEW")),
        (Form::Slash, "web", Some("NEW")),
        (Form::Slash, "/web/alias", Some("/NEW/alias")),
        (Form::Slash, "/", None),
        (Form::Slash, "", None),
        (Form::Image, "alpine", Some("NEW")),
        (Form::Image, "alpine:3", Some("NEW:3")),
        (Form::Image, "r.example:5000/a/b", Some("NEW")),
        (Form::Image, "r.example:5000/a/b:3", Some("NEW:3")),
        (Form::Image, "a/b:3@sha256:ab", Some("NEW:3@sha256:ab")),
        (Form::Image, "a/b@sha256:ab", Some("NEW@sha256:ab")),
        (Form::Image, &image_id, Some("NEW")),
        (Form::Image, ID, Some("NEW")),
        (Form::Image, "<none>:<none>", None),
        (Form::Image, "<missing>", None),
        (Form::Image, ":3", None),
        (Form::ContainerMode, "container:web", Some("container:NEW")),
        (Form::ContainerMode, "container:/web", Some("container:/NEW")),
        (Form::ContainerMode, "container:", None),
        (Form::ContainerMode, "host", None),
        (Form::NetworkMode, "front", Some("NEW")),
        (Form::NetworkMode, "host", Some("NEW")),
        (Form::NetworkMode, "default", None),
        (Form::NetworkMode, "ns:/proc/1/ns/net", None),
        (Form::NetworkMode, "container:web", None),
        (Form::Bind, "data:/d:ro", Some("NEW:/d:ro")),
        (Form::Bind, "/srv:/d", None),
        (Form::Bind, "/anonymous", None),
        (Form::Bind, ":/d", None),
        (Form::BeforeColon, "web:ro", Some("NEW:ro")),
        (Form::BeforeColon, "web", Some("NEW")),
        (Form::BeforeColon, "/web:ro", Some("/NEW:ro")),
        (Form::LinkTarget, "/db:/web/alias", Some("/NEW:/web/alias")),
        (Form::LinkOwner, "/db:/web/alias", Some("/db:/NEW/alias")),
        (Form::LinkOwner, "/db", None),
        (Form::LinkOwner, "/db:", None),
        (
            Form::DataPath,
            "/var/lib/docker/volumes/data/_data",
            Some("/var/lib/docker/volumes/NEW/_data"),
        ),
        (Form::DataPath, "/mnt/volumes/x/y/_data", None),
        (Form::DataPath, "/volumes//_data", None),
        (Form::DataPath, "/_data", None),
        (PHRASE, "built web:latest\n", Some("built NEW:latest\n")),
        (PHRASE, "to [r.example/web]", Some("to [NEW]")),
        (PHRASE, "built \n", None),
        (PHRASE, "built", None),
    ];
    for (form, text, wanted) in cases {
        assert_eq!(renamed(*form, text).as_deref(), *wanted, "{form:?} {text}");
    }
}

#[test]
fn no_text_makes_a_form_panic_or_find_what_is_not_there() {
    const FORMS: &[Form] = &[
        Form::Name,
        Form::NameOrId,
        Form::Id,
        Form::FullId,
        Form::ShortId,
        Form::Slash,
        Form::Image,
        Form::ContainerMode,
        Form::NetworkMode,
        Form::Bind,
        Form::BeforeColon,
        Form::LinkTarget,
        Form::LinkOwner,
        Form::Alias,
        Form::DataPath,
        Form::Phrase(&[("", ""), ("ü", "ü"), ("a", "")], &Form::LinkOwner),
    ];
    const PIECES: &[&str] =
        &["", ":", "/", "@", "ü", "a", "container:", "/volumes/", "/_data", "\\", "\n", "sha256:"];
    for first in PIECES {
        for second in PIECES {
            for third in PIECES {
                for fourth in PIECES {
                    let text = [*first, second, third, fourth].concat();
                    for form in FORMS {
                        let Some(part) = form.part(&text) else { continue };
                        let name = text.get(part.clone());
                        assert!(name.is_some_and(|n| !n.is_empty()), "{form:?} {text:?} {part:?}");
                    }
                }
            }
        }
    }
}

/// What is found in an answer of an endpoint, in the notation of `FoundName`.
fn found(endpoint: Endpoint, answer: &Value) -> Vec<String> {
    let row = TABLE.iter().find(|row| row.endpoint == endpoint).unwrap();
    let mut names = Vec::new();
    row.names_in(&mut answer.clone(), &mut |named| names.push(named.to_string()));
    names
}

#[test]
fn an_event_names_what_its_type_says() {
    let event = json!({ "Type": "network", "Action": "connect",
        "Actor": { "ID": "n1", "Attributes": { "container": "c1", "name": "front", "type": "bridge" } } });
    assert_eq!(
        found(Endpoint::SystemEvents, &event),
        [
            "Actor.ID network n1",
            "Actor.Attributes.name network front",
            "Actor.Attributes.container container c1",
        ]
    );
    for kind in [json!("builder"), json!(null), json!({}), json!(["network"])] {
        let event = json!({ "Type": kind, "Actor": { "ID": "n1" } });
        assert!(found(Endpoint::SystemEvents, &event).is_empty(), "{event}");
    }
    assert!(found(Endpoint::SystemEvents, &json!("network")).is_empty());
}

#[test]
fn the_mounts_of_a_container_are_volumes_where_they_say_so() {
    let answer = json!({ "Mounts": [
        { "Type": "volume", "Name": "data", "Source": "/var/lib/docker/volumes/data/_data" },
        { "Type": "bind", "Name": "x", "Source": "/srv/volumes/x/_data" },
        { "Type": "image", "Name": "tools:1", "Source": "/var/lib/docker/overlay2/1/merged" },
        { "Name": "untold" },
        null,
    ] });
    assert_eq!(
        found(Endpoint::ContainerInspect, &answer),
        ["Mounts[].Name volume data", "Mounts[].Source volume data", "Mounts[].Name image tools",]
    );
}

#[test]
fn keys_are_renamed_and_the_later_of_two_that_become_the_same_is_kept() {
    const MARKS: Marks = Marks::All(&[
        Marks::Keys(Resource::Network, Form::Name),
        Marks::Values(&Marks::Fields(&[("ID", id(Resource::Network))])),
    ]);
    let row = row(Method::Get, "/x", Endpoint::NetworkInspect, Class::Network, AnswerKind::Json)
        .answers(MARKS);
    let mut answer = json!({ "alice-web": { "ID": "1" }, "bob-web": { "ID": "2" }, "other": 3 });
    row.names_in(&mut answer, &mut |mut named| {
        let name = named.name().to_owned();
        if let Some((_, rest)) = name.split_once('-') {
            named.rename(rest);
        }
    });
    assert_eq!(answer, json!({ "web": { "ID": "2" }, "other": 3 }));
}

#[test]
fn an_answer_of_another_kind_names_nothing_and_is_not_changed() {
    let odd = [
        json!(null),
        json!([]),
        json!([[[]]]),
        json!({ "Id": null, "Name": 1, "Names": "x", "Mounts": {}, "HostConfig": [], "Actor": 1 }),
        json!([{ "Id": [], "NetworkSettings": { "Networks": [ "a" ] }, "Names": { "a": "b" } }, 1]),
    ];
    for row in TABLE {
        for answer in &odd {
            let mut walked = answer.clone();
            row.names_in(&mut walked, &mut |_| {});
            assert_eq!(walked, *answer, "{}", row.endpoint.id());
        }
    }
}

#[test]
fn all_of_a_text_can_be_replaced_and_only_an_id_is_one() {
    let mut text = "/db:/web/alias".to_owned();
    let form = Form::LinkTarget;
    let part = form.part(&text).unwrap();
    let mut named =
        FoundName { place: &[], resource: Resource::Container, form, text: &mut text, part };
    assert!(!named.is_id() && named.text() == "/db:/web/alias");
    named.replace(format!("/{ID}:/x/y"));
    assert_eq!(named.name(), ID);
    assert!(named.is_id());
    named.replace(String::new());
    assert_eq!(named.name(), "");
}
