//! Containers and networks of the engine by their ids, as far as its lists and events have told.
//!
//! `watch` fills it, `gateway::facts` asks it. What must stay true: it answers only while it follows the engine; what it
//! says of an id the engine has said, and the engine gives an id to nothing else; that it does not know something says
//! nothing.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound::{Included, Unbounded};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value as Json;

use crate::api::endpoint::Resource;
use crate::api::grammar::reference::{is_hexadecimal, is_id, without_slash};

/// With more than these it knows none.
pub(super) const MOST: usize = 65_536;
/// As many digits of an id as clients show: of fewer the engine is asked.
const DIGITS: usize = 12;

#[derive(Debug, Default)]
pub(super) struct Index {
    containers: IdTable,
    networks: IdTable,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// It does not follow the engine.
    #[default]
    Away,
    Follows,
    /// There is more than it takes.
    Full,
}

/// Those of one kind.
#[derive(Debug, Default)]
struct IdTable {
    names: BTreeMap<Arc<str>, Arc<str>>,
    ids: HashMap<Arc<str>, Arc<str>>,
}

/// What the engine has, by its id and its name there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: Arc<str>,
    pub name: Arc<str>,
}

/// Of one in a list of the engine's: a network has a name, a container those too by which others are linked to it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in super::super) struct ListedName {
    id: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    names: Option<Vec<String>>,
}

impl Index {
    /// By its id, the beginning of its id, or its name in the engine.
    pub(super) fn find(&self, resource: Resource, text: &str) -> Option<Entry> {
        let known = self.of(resource).filter(|_| self.state == State::Follows)?;
        let entry =
            |(id, name): (&Arc<str>, &Arc<str>)| Entry { id: id.clone(), name: name.clone() };
        if is_id(text) {
            return known.names.get_key_value(text).map(entry);
        }
        if is_hexadecimal(text) && text.len() >= DIGITS {
            let from = known.names.range::<str, _>((Included(text), Unbounded));
            let mut begin = from.take_while(|(id, _)| id.starts_with(text));
            return begin.next().filter(|_| begin.next().is_none()).map(entry);
        }
        let id = known.ids.get(text)?;
        known.names.get_key_value(id).map(entry)
    }

    /// All that there is, in the place of what was known. False where that is too much, for the first time.
    pub(super) fn replace(
        &mut self,
        containers: Vec<ListedName>,
        networks: Vec<ListedName>,
    ) -> bool {
        let was_full = self.state == State::Full;
        self.forget();
        if containers.len() + networks.len() > MOST {
            self.state = State::Full;
            return was_full;
        }
        self.state = State::Follows;
        for (known, listed) in [(&mut self.containers, containers), (&mut self.networks, networks)]
        {
            for one in listed {
                if let Some(name) = one.own_name() {
                    known.enter(&one.id, name);
                }
            }
        }
        true
    }

    /// What the engine has just made or renamed. False where that is too much, for the first time.
    pub(super) fn enter(&mut self, resource: Resource, id: &str, name: &str) -> bool {
        if self.state != State::Follows || !is_id(id) || name.is_empty() {
            return true;
        }
        let count = self.containers.names.len() + self.networks.names.len();
        let Some(known) = self.of_mut(resource) else { return true };
        if count >= MOST && !known.names.contains_key(id) {
            self.forget();
            self.state = State::Full;
            return false;
        }
        known.enter(id, name);
        true
    }

    /// What an event of the engine's tells. The name in it is the engine's own, whatever labels there are
    /// (`daemon/events.go` of moby writes it last). False where it was one too many.
    pub(super) fn apply(&mut self, event: &Json) -> bool {
        let text = |path: &str| event.pointer(path).and_then(Json::as_str).unwrap_or_default();
        let resource = match text("/Type") {
            "container" => Resource::Container,
            "network" => Resource::Network,
            _ => return true,
        };
        let id = text("/Actor/ID");
        match text("/Action") {
            "create" | "rename" => {
                self.enter(resource, id, without_slash(text("/Actor/Attributes/name")))
            }
            "destroy" | "remove" => {
                if let Some(known) = self.of_mut(resource) {
                    known.remove(id);
                }
                true
            }
            _ => true,
        }
    }

    /// It does not follow the engine any more.
    pub(super) fn forget(&mut self) {
        *self = Index::default();
    }

    fn of(&self, resource: Resource) -> Option<&IdTable> {
        match resource {
            Resource::Container => Some(&self.containers),
            Resource::Network => Some(&self.networks),
            _ => None,
        }
    }

    fn of_mut(&mut self, resource: Resource) -> Option<&mut IdTable> {
        match resource {
            Resource::Container => Some(&mut self.containers),
            Resource::Network => Some(&mut self.networks),
            _ => None,
        }
    }
}

impl IdTable {
    fn enter(&mut self, id: &str, name: &str) {
        self.remove(id);
        let (id, name): (Arc<str>, Arc<str>) = (id.into(), name.into());
        self.ids.insert(name.clone(), id.clone());
        self.names.insert(id, name);
    }

    fn remove(&mut self, id: &str) {
        let Some(name) = self.names.remove(id) else { return };
        // It may be another's by now.
        if self.ids.get(&name).is_some_and(|of| **of == *id) {
            self.ids.remove(&name);
        }
    }
}

impl ListedName {
    fn own_name(&self) -> Option<&str> {
        let names = self.names.iter().flatten().chain(&self.name);
        let mut own = names.map(|name| without_slash(name)).filter(|name| !name.contains('/'));
        own.next().filter(|name| !name.is_empty() && is_id(&self.id))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::json::read;

    fn id(start: &str) -> String {
        format!("{start:0<64}")
    }

    fn start(of: &str, digits: usize) -> String {
        id(of).chars().take(digits).collect()
    }

    fn listed(all: Json) -> Vec<ListedName> {
        read(all.to_string().as_bytes()).unwrap()
    }

    fn follows() -> Index {
        let mut index = Index::default();
        let containers = listed(json!([
            { "Id": id("aa"), "Names": ["/other/link", "/dg-web"], "Image": "x" },
            { "Id": id("ab"), "Names": ["/dg-db"] },
            { "Id": id("ac"), "Names": null },
        ]));
        assert!(index.replace(containers, listed(json!([{ "Id": id("aa"), "Name": "dg-net" }]))));
        index
    }

    fn event(kind: &str, action: &str, id: &str, name: &str) -> Json {
        json!({ "Type": kind, "Action": action, "Actor": { "ID": id, "Attributes": { "name": name } } })
    }

    fn name_of(index: &Index, text: &str) -> Option<String> {
        index.find(Resource::Container, text).map(|one| one.name.to_string())
    }

    #[test]
    fn what_lists_tell_is_found_by_ids_their_beginnings_and_names() {
        let index = follows();
        let web = Entry { id: id("aa").into(), name: "dg-web".into() };
        for text in [&*id("aa"), &start("aa", 12), &start("aa", 40), "dg-web"] {
            assert_eq!(index.find(Resource::Container, text).as_ref(), Some(&web), "{text}");
        }
        for text in
            ["aa", &start("aa", 11), &id("af"), &start("af", 12), "link", "web", "", &id("ac")]
        {
            assert_eq!(index.find(Resource::Container, text), None, "{text}");
        }
        assert_eq!(&*index.find(Resource::Network, &id("aa")).unwrap().name, "dg-net");
        assert_eq!(index.find(Resource::Volume, "dg-web"), None);
    }

    #[test]
    fn a_beginning_that_two_have_is_nobodys() {
        let mut index = follows();
        let start = "b".repeat(20);
        for one in ["1", "2"] {
            assert!(index.enter(
                Resource::Container,
                &id(&format!("{start}{one}")),
                &format!("dg-{one}")
            ));
        }
        assert_eq!(name_of(&index, &start), None);
        assert_eq!(name_of(&index, &format!("{start}2")).as_deref(), Some("dg-2"));
    }

    #[test]
    fn events_are_followed() {
        let mut index = follows();
        assert!(index.apply(&event("container", "create", &id("1"), "dg-new")));
        assert_eq!(name_of(&index, &id("1")).as_deref(), Some("dg-new"));
        index.apply(&event("container", "rename", &id("1"), "dg-old"));
        assert_eq!(name_of(&index, &id("1")).as_deref(), Some("dg-old"));
        assert_eq!(name_of(&index, "dg-new"), None);
        index.apply(&event("container", "destroy", &id("1"), "dg-old"));
        assert_eq!((name_of(&index, &id("1")), name_of(&index, "dg-old")), (None, None));
        index.apply(&event("network", "create", &id("2"), "dg-n"));
        assert!(index.find(Resource::Network, &id("2")).is_some());
        index.apply(&event("network", "destroy", &id("2"), "dg-n"));
        assert_eq!(index.find(Resource::Network, &id("2")), None);
        for other in
            [event("volume", "create", &id("3"), "v"), event("container", "start", &id("3"), "v")]
        {
            index.apply(&other);
            assert_eq!(name_of(&index, &id("3")), None);
        }
    }

    #[test]
    fn a_name_that_another_has_got_stays_with_it() {
        let mut index = follows();
        index.apply(&event("container", "create", &id("1"), "dg-web"));
        index.apply(&event("container", "destroy", &id("aa"), "dg-web"));
        assert_eq!(index.find(Resource::Container, "dg-web").unwrap().id, id("1").into());
    }

    #[test]
    fn what_does_not_follow_the_engine_knows_nothing() {
        let mut index = Index::default();
        assert!(index.enter(Resource::Container, &id("1"), "dg-x"));
        assert_eq!(name_of(&index, &id("1")), None);
        let mut index = follows();
        index.forget();
        index.apply(&event("container", "create", &id("1"), "dg-x"));
        assert_eq!((name_of(&index, &id("1")), name_of(&index, &id("aa"))), (None, None));
    }

    #[test]
    fn too_much_is_said_once_and_then_nothing_is_known() {
        let all = |count: usize| -> Vec<ListedName> {
            let one = |n: usize| ListedName {
                id: format!("{n:064x}"),
                name: Some(format!("n{n}")),
                names: None,
            };
            (0..count).map(one).collect()
        };
        let mut index = Index::default();
        assert!(index.replace(all(MOST), Vec::new()));
        assert!(name_of(&index, "n1").is_some());
        assert!(index.enter(Resource::Container, &format!("{:064x}", 1), "renamed"));
        assert!(!index.enter(Resource::Container, &id("f"), "more"));
        assert!(index.enter(Resource::Container, &id("f"), "more"), "said once");
        assert_eq!(name_of(&index, "renamed"), None);
        assert!(index.replace(all(MOST + 1), Vec::new()), "said once");
        assert!(index.replace(all(MOST), Vec::new()));
        assert!(name_of(&index, "n1").is_some(), "there is room again");
        assert!(!index.replace(all(MOST + 1), Vec::new()));
    }
}
