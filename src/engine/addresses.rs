//! Which container has an address of the engine's networks.
//!
//! `run` asks it for whoever connects to an intercepting cache. What must stay true: an address is a container's only while
//! nothing has been heard of its end; what two containers have, also by sharing a network, is nobody's; what is not known for
//! sure is not told.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value as Json;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Engine, EngineError, Inspected, Subject};
use crate::api::endpoint::{NEWEST, Resource};
use crate::wire::trail::Trail;

const FILTERS: &str = r#"{"type":["container","network"],"event":["create","start","die","destroy","connect","disconnect"]}"#;
/// Those that are made count too: who shares a network is known before it starts.
const LIVE: &str = r#"{"status":["created","running","paused","restarting"]}"#;
/// As the list tells of one that runs.
const CREATED: &str = "created";
/// Of those that start at the same time, each of which is asked for.
const MOST_STARTING: usize = 64;
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Of one engine; it is followed from the first question on, as long as somebody has this.
#[derive(Debug)]
pub struct ContainerAddresses {
    shared: Arc<Followed>,
    stop: CancellationToken,
    _ends: DropGuard,
}

#[derive(Debug)]
struct Followed {
    engine: Engine,
    table: Mutex<Table>,
    /// Held while the engine is asked for its list: one answer is for all who wait.
    listing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Table {
    /// None: several have it.
    containers: HashMap<IpAddr, Option<Arc<str>>>,
    follows: bool,
    has_begun: bool,
    /// Counts what was heard.
    heard: u64,
    /// What was heard when the last list was asked for.
    listed: Option<u64>,
    /// Containers that have lost an address since the list was asked for that is on its way.
    gone: HashSet<Arc<str>>,
    /// Those that have joined a network and are not said to have started. The engine lists a container as one that runs after
    /// its first process has begun (`daemon/start.go` of moby), which may be quick.
    starting: BTreeSet<Arc<str>>,
}

impl ContainerAddresses {
    pub fn new(engine: Engine) -> ContainerAddresses {
        let stop = CancellationToken::new();
        let _ends = stop.clone().drop_guard();
        let (table, listing) = Default::default();
        ContainerAddresses { shared: Arc::new(Followed { engine, table, listing }), stop, _ends }
    }

    /// Whether it is about what this engine has.
    pub fn is_of(&self, engine: &Engine) -> bool {
        Arc::ptr_eq(&self.shared.engine.shared, &engine.shared)
    }

    /// The id of the container that has it.
    pub async fn find(&self, address: IpAddr) -> Option<Arc<str>> {
        self.follow();
        if let Some(known) = self.shared.table().find(address) {
            return known;
        }
        let _one = self.shared.listing.lock().await;
        if let Some(known) = self.shared.table().find(address) {
            return known;
        }
        self.shared.list().await.ok()?;
        self.shared.table().containers.get(&address).cloned().flatten()
    }

    /// Before somebody asks, so that what starts then is known.
    pub fn follow(&self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let has_begun = std::mem::replace(&mut self.shared.table().has_begun, true);
        if !has_begun {
            let (shared, stop) = (Arc::clone(&self.shared), self.stop.clone());
            runtime.spawn(async move { stop.run_until_cancelled(shared.follow()).await });
        }
    }
}

impl Followed {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn follow(&self) {
        let mut pause = PAUSE;
        loop {
            match self.follow_once().await {
                Ok(()) => pause = PAUSE,
                Err(error) => tracing::debug!(%error, "the engine's networks cannot be watched"),
            }
            self.table().lose();
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn follow_once(&self) -> Result<(), EngineError> {
        let engine = self.engine.for_another_worker();
        let version = engine.versions(&Trail::default()).await?.newest.min(NEWEST);
        let mut events = engine.events(version, FILTERS).await?;
        self.table().begin();
        while let Some(event) = events.next().await {
            self.table().hear(&event);
        }
        Ok(())
    }

    async fn list(&self) -> Result<(), EngineError> {
        let engine = self.engine.for_another_worker();
        let version = engine.versions(&Trail::default()).await?.newest.min(NEWEST);
        let (asked, starting) = self.table().ask();
        let mut listed: Vec<ListedAddresses> =
            engine.list(version, Resource::Container, Some(LIVE)).await?;
        self.table().run(&listed);
        for id in starting {
            let found = engine.look_up(version, Subject::Container(&id), &Trail::default()).await;
            if let Ok(Inspected::Json(json)) = found {
                listed.extend(ListedAddresses::deserialize(json).ok());
            }
        }
        self.table().replace(asked, &listed);
        Ok(())
    }
}

/// Of a container in the engine's list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedAddresses {
    id: String,
    /// Of the list only: an inspect answer has more there.
    #[serde(default)]
    state: Json,
    #[serde(default)]
    host_config: Option<ListedHostConfig>,
    #[serde(default)]
    network_settings: Option<ListedNetworks>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedHostConfig {
    #[serde(default)]
    network_mode: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedNetworks {
    #[serde(default)]
    networks: Option<BTreeMap<String, Option<Endpoint>>>,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    #[serde(default, rename = "IPAddress")]
    v4: String,
    #[serde(default, rename = "GlobalIPv6Address")]
    v6: String,
}

impl ListedAddresses {
    /// The container whose network it is in, which the engine keeps by its id.
    fn sharer(&self) -> Option<&str> {
        self.host_config.as_ref()?.network_mode.strip_prefix("container:")
    }

    fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let networks = self.network_settings.iter().filter_map(|all| all.networks.as_ref());
        let endpoints = networks.flat_map(BTreeMap::values).flatten();
        endpoints.flat_map(|one| [&one.v4, &one.v6]).filter_map(|text| text.parse().ok())
    }
}

impl Table {
    /// None where the engine must be asked.
    fn find(&self, address: IpAddr) -> Option<Option<Arc<str>>> {
        match self.containers.get(&address) {
            // Nobody gets it before its end was heard of.
            Some(known) if self.follows => Some(known.clone()),
            _ => {
                let is_whole = self.starting.is_empty() && self.listed == Some(self.heard);
                (self.follows && is_whole).then_some(None)
            }
        }
    }

    fn begin(&mut self) {
        self.lose();
        self.follows = true;
    }

    fn lose(&mut self) {
        self.follows = false;
        self.containers.clear();
        self.starting.clear();
        self.listed = None;
        self.heard += 1;
    }

    fn hear(&mut self, event: &Json) {
        let text = |path: &str| event.pointer(path).and_then(Json::as_str).unwrap_or_default();
        let container = match text("/Type") {
            "container" => text("/Actor/ID"),
            "network" => text("/Actor/Attributes/container"),
            _ => return,
        };
        self.heard += 1;
        // One that is made, or starts without joining a network, may share another's.
        let may_share = match text("/Action") {
            "create" => text("/Type") == "container",
            "start" => !self.starting.contains(container),
            _ => false,
        };
        if may_share {
            self.containers.clear();
        }
        let is_known = match (text("/Type"), text("/Action")) {
            ("network", "connect") if self.starting.len() < MOST_STARTING => {
                self.starting.insert(container.into());
                false
            }
            ("container", "start") => true,
            (_, action) => matches!(action, "die" | "destroy" | "disconnect"),
        };
        if is_known {
            self.starting.remove(container);
        }
        if matches!(text("/Action"), "die" | "destroy" | "disconnect") {
            self.containers.retain(|_, of| of.as_deref().is_some_and(|of| of != container));
            self.gone.insert(container.into());
        }
    }

    fn ask(&mut self) -> (u64, BTreeSet<Arc<str>>) {
        self.gone.clear();
        (self.heard, self.starting.clone())
    }

    /// Those that are listed as running are not asked for any more.
    fn run(&mut self, listed: &[ListedAddresses]) {
        for one in listed.iter().filter(|one| one.state.as_str() != Some(CREATED)) {
            self.starting.remove(one.id.as_str());
        }
    }

    fn replace(&mut self, asked: u64, listed: &[ListedAddresses]) {
        self.containers.clear();
        let shared: HashSet<&str> = listed.iter().filter_map(ListedAddresses::sharer).collect();
        for one in listed.iter().filter(|one| !self.gone.contains(one.id.as_str())) {
            let id: Arc<str> = one.id.as_str().into();
            for address in one.addresses() {
                let of = self.containers.entry(address).or_insert_with(|| Some(id.clone()));
                if of.as_deref() != Some(&*id) || shared.contains(&*id) {
                    *of = None;
                }
            }
        }
        self.listed = Some(asked);
        // While nobody tells of ends, the list is for those who have waited for it.
        if !self.follows {
            self.listed = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::json::read;

    fn listed(all: &[(&str, &[&str])]) -> Vec<ListedAddresses> {
        let endpoints = |addresses: &[&str]| {
            let each = addresses.iter().enumerate();
            let each = each.map(|(n, address)| (format!("n{n}"), json!({ "IPAddress": address })));
            each.collect::<serde_json::Map<_, _>>()
        };
        let one = |(id, addresses): &(&str, &[&str])| json!({ "Id": id, "NetworkSettings": { "Networks": endpoints(addresses) } });
        let all: Vec<Json> = all.iter().map(one).collect();
        read(json!(all).to_string().as_bytes()).unwrap()
    }

    fn address(last: u8) -> IpAddr {
        [172, 17, 0, last].into()
    }

    fn heard(action: &str, container: &str) -> Json {
        json!({ "Type": "container", "Action": action, "Actor": { "ID": container } })
    }

    fn connect(container: &str) -> Json {
        json!({
            "Type": "network", "Action": "connect",
            "Actor": { "ID": "n", "Attributes": { "container": container } },
        })
    }

    fn follows(all: &[(&str, &[&str])]) -> Table {
        let mut table = Table::default();
        table.begin();
        let (asked, _) = table.ask();
        table.replace(asked, &listed(all));
        table
    }

    fn told(table: &Table, last: u8) -> Option<Option<String>> {
        table.find(address(last)).map(|found| found.map(|id| id.to_string()))
    }

    #[test]
    fn an_address_is_its_containers_until_its_end_is_heard_of() {
        let mut table =
            follows(&[("a", &["172.17.0.2", "172.17.0.9"]), ("b", &["172.17.0.3", ""])]);
        assert_eq!(told(&table, 2), Some(Some("a".to_owned())));
        assert_eq!(told(&table, 4), Some(None), "nobody has it");
        table.hear(&connect("c"));
        table.hear(&heard("start", "c"));
        assert_eq!(told(&table, 3), Some(Some("b".to_owned())));
        assert_eq!(told(&table, 4), None, "somebody may have got it");
        table.hear(&heard("die", "a"));
        assert_eq!((told(&table, 2), told(&table, 9)), (None, None));
        assert_eq!(told(&table, 3), Some(Some("b".to_owned())));
        let disconnect = json!({
            "Type": "network", "Action": "disconnect",
            "Actor": { "ID": "n", "Attributes": { "container": "b" } },
        });
        table.hear(&disconnect);
        assert_eq!(told(&table, 3), None);
    }

    #[test]
    fn one_that_starts_is_asked_for_until_it_is_said_to_run() {
        let mut table = follows(&[]);
        table.hear(&connect("a"));
        let (asked, starting) = table.ask();
        assert_eq!(starting.into_iter().collect::<Vec<_>>(), [Arc::from("a")]);
        table.replace(asked, &[]);
        assert_eq!(told(&table, 2), None, "it may be its address");
        let (asked, _) = table.ask();
        table.replace(asked, &listed(&[("a", &["172.17.0.2"])]));
        assert_eq!(told(&table, 2), Some(Some("a".to_owned())));
        table.hear(&heard("start", "a"));
        let (asked, starting) = table.ask();
        assert!(starting.is_empty());
        table.replace(asked, &listed(&[("a", &["172.17.0.2"])]));
        assert_eq!(told(&table, 3), Some(None));
        table.hear(&connect("a"));
        table.hear(&heard("die", "a"));
        assert!(table.starting.is_empty());
        table.hear(&connect("a"));
        table.run(&listed(&[("a", &["172.17.0.2"])]));
        assert!(table.starting.is_empty(), "it runs, and has joined one more");
    }

    #[test]
    fn what_another_shares_is_nobodys_from_when_that_one_is_made() {
        let mut table = follows(&[("a", &["172.17.0.2"]), ("b", &["172.17.0.3"])]);
        table.hear(&heard("create", "c"));
        assert_eq!(told(&table, 2), None, "the new one may be in its network");
        let mut all = listed(&[("a", &["172.17.0.2"]), ("b", &["172.17.0.3"])]);
        let sharing = json!([{
            "Id": "c", "State": "created", "HostConfig": { "NetworkMode": "container:a" },
            "NetworkSettings": { "Networks": {} },
        }]);
        all.extend(read::<Vec<ListedAddresses>>(sharing.to_string().as_bytes()).unwrap());
        let (asked, _) = table.ask();
        table.replace(asked, &all);
        assert_eq!(told(&table, 2), Some(None));
        assert_eq!(told(&table, 3), Some(Some("b".to_owned())));
        table.hear(&heard("start", "d"));
        assert_eq!(told(&table, 3), None, "it has joined no network of its own");
    }

    #[test]
    fn what_two_have_is_nobodys() {
        let table = follows(&[("a", &["172.17.0.2"]), ("b", &["172.17.0.2"])]);
        assert_eq!(told(&table, 2), Some(None));
    }

    #[test]
    fn who_ends_while_the_list_is_on_its_way_is_not_in_it() {
        let mut table = follows(&[]);
        let (asked, _) = table.ask();
        table.hear(&heard("die", "a"));
        table.replace(asked, &listed(&[("a", &["172.17.0.2"]), ("b", &["172.17.0.3"])]));
        assert_eq!(told(&table, 2), None);
        assert_eq!(told(&table, 3), Some(Some("b".to_owned())));
    }

    #[test]
    fn without_events_nothing_is_known_for_long() {
        let mut table = follows(&[("a", &["172.17.0.2"])]);
        table.lose();
        assert_eq!(told(&table, 2), None);
        let (asked, _) = table.ask();
        table.replace(asked, &listed(&[("a", &["172.17.0.2"])]));
        assert_eq!(told(&table, 2), None);
        assert!(table.containers.contains_key(&address(2)), "for those who have waited");
    }
}
