//! The caching proxy: one origin request, the first byte at once, never a wrong byte.
//!
//! `run` opens one `Cache` for each `[cache.NAME]`. The story of a request is `serve::answer`: route,
//! look up, judge, fetch, answer. `target`, `asker`, `route`, `mirror`, `fresh` and `range` are pure; `store`
//! keeps objects, `upstream` asks origins, `fill` brings an object in while others read it, `front`
//! speaks to clients. What must stay true: nothing but `by_path` knows a package format's name (that is
//! data in `policies/cache-rules.toml`), and no body that failed a check is ever completed to a client.

mod asker;
pub mod by_path;
pub mod fill;
pub mod fresh;
pub mod front;
pub mod hosts;
pub mod hot;
pub mod intercept;
pub mod key;
pub mod meta;
pub mod mirror;
mod open;
mod operate;
mod partition;
mod passes;
pub mod range;
pub mod registry;
pub mod reply;
pub mod request;
pub mod route;
mod serve;
mod served;
pub mod settings;
pub mod stats;
pub mod store;
pub mod target;
pub mod upstream;

use std::borrow::Cow;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use ipnet::IpNet;
use tokio_util::task::TaskTracker;

use asker::Field;
use by_path::ByPath;
use fill::{Checks, Flights, Thread};
use front::address_of;
use hosts::HostSet;
use hot::Hot;
use intercept::{Clients, InterceptSettings, InterceptedClient, Interception};
use key::{Key, Partition, Scheme};
use partition::{Partitions, Secret};
use passes::Passes;
use registry::Registry;
use request::Request;
use route::{Fetch, Kind, Mirror, Route};
use served::Asking;
use stats::Stats;
use store::Store;
use target::{Arrival, Named, RawRequest};
use upstream::{Fault, Upstream};

use crate::auth::{ChecksLogins, Grants, Peer};
use crate::telemetry::access::Log;
use crate::telemetry::registries::RegistryNumbers;

/// Who asks where no network of `tenants` has the address.
const NOBODY: &str = "-";

/// A running cache.
#[derive(Debug)]
pub struct Cache {
    pub name: String,
    pub settings: Arc<CacheSettings>,
    mirrors: Vec<Arc<dyn Mirror>>,
    pub store: Arc<dyn Store>,
    upstream: Upstream,
    pub hot: Hot,
    flights: Flights,
    /// Of what is stored, what was found right lately.
    checks: Checks,
    passes: Passes,
    pub stats: Arc<Stats>,
    secret: Secret,
    thread: Thread,
    /// What speaks to its clients in its place.
    registry: Option<Arc<Registry>>,
    /// Of clients that take it for their origins.
    interception: Option<Interception>,
    /// Where its requests are written down.
    log: ArcSwapOption<Log>,
    via: HeaderValue,
    /// When an error of the disk was last written down, in ms since 1970.
    disk_told: AtomicU64,
    /// The same of origins that could not be asked.
    origin_told: AtomicU64,
}

/// What the configuration says of a cache, beside its store and its upstream.
#[derive(Debug)]
pub struct CacheSettings {
    /// Hosts that it serves, and that redirects may lead to.
    pub domains: HostSet,
    /// Also requests with a whole URL, and CONNECT.
    pub forward: bool,
    /// No origin is asked.
    pub offline: bool,
    /// How long an origin is waited for where something stale may be used instead.
    pub patience: Duration,
    /// For small objects, in bytes.
    pub memory: u64,
    /// Whose a client's address is.
    pub tenants: Vec<(IpNet, Arc<str>)>,
    /// What `Via` names this gateway by.
    pub id: String,
    /// Registries below paths of this cache's own names.
    pub by_path: Option<Arc<ByPath>>,
    /// Of TLS that is meant for origins.
    pub intercept: Option<InterceptSettings>,
}

impl CacheSettings {
    fn serves(&self, host: &str, scheme: Scheme) -> bool {
        self.domains.cover(host, scheme)
    }

    /// Whether a redirect is followed to this host.
    fn follows(&self, host: &str, scheme: Scheme) -> bool {
        let by_path = self.by_path.as_ref();
        self.serves(host, scheme) || by_path.is_some_and(|paths| paths.reaches(scheme, host))
    }
}

impl Cache {
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        name: &str,
        settings: CacheSettings,
        mirrors: Vec<Arc<dyn Mirror>>,
        registry: Option<Arc<Registry>>,
        store: Arc<dyn Store>,
        secret: &[u8],
        upstream: Upstream,
        stats: Arc<Stats>,
        tasks: TaskTracker,
    ) -> io::Result<Cache> {
        let via =
            HeaderValue::try_from(format!("1.1 {}", settings.id)).map_err(io::Error::other)?;
        Ok(Cache {
            name: name.to_owned(),
            hot: Hot::new(settings.memory.max(1)),
            interception: settings.intercept.clone().map(Interception::new),
            settings: Arc::new(settings),
            mirrors,
            store,
            upstream,
            flights: Flights::default(),
            checks: Checks::default(),
            passes: Passes::default(),
            stats,
            secret: Secret::new(secret),
            thread: Thread::spawn(name, tasks)?,
            registry,
            log: ArcSwapOption::empty(),
            via,
            disk_told: AtomicU64::new(0),
            origin_told: AtomicU64::new(0),
        })
    }

    /// Where records of requests go.
    pub fn log_to(&self, log: Log) {
        if let Some(registry) = &self.registry {
            registry.log_to(log.clone());
        }
        self.log.store(Some(Arc::new(log)));
    }

    /// By which tokens engines come to a registry for what namespaces have.
    pub fn takes_grants(&self, grants: &Arc<Grants>) {
        if let Some(registry) = &self.registry {
            registry.takes_grants(grants);
        }
    }

    /// Who its clients are, where it intercepts their connections.
    pub fn takes_clients(&self, clients: &Arc<dyn Clients>) {
        if let Some(interception) = &self.interception {
            interception.takes_clients(Arc::clone(clients));
        }
    }

    /// Whether clients take it for their origins.
    pub fn intercepts(&self) -> bool {
        self.interception.is_some()
    }

    /// Whether what it has learned of clients is on the disk.
    pub fn is_settled(&self) -> bool {
        self.interception.as_ref().is_none_or(Interception::is_settled)
    }

    /// Who says whether a client's login is good at a registry behind this one.
    pub fn checks_logins(self: &Arc<Cache>) -> Option<Arc<dyn ChecksLogins>> {
        let registry = Arc::clone(self.registry.as_ref()?);
        Some(Arc::new(registry::LoginChecks { cache: Arc::clone(self), registry }))
    }

    /// Of what it has done as a registry.
    pub fn registry_numbers(&self) -> Option<RegistryNumbers> {
        self.registry.as_ref().map(|registry| registry.numbers())
    }

    /// As clients of a registry call what is stored under this key.
    pub fn called(&self, key: &Key) -> Option<String> {
        self.registry.as_ref()?.called(key)
    }

    /// What it is called in the configuration.
    pub fn table(&self) -> &'static str {
        if self.registry.is_some() { "registry" } else { "cache" }
    }

    /// In ms since 1970.
    pub fn now(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
    }

    /// Requests to origins that are on their way.
    pub fn flights(&self) -> usize {
        self.flights.count()
    }

    fn tenant(&self, address: Option<IpAddr>) -> Arc<str> {
        let known = address.and_then(|address| {
            self.settings.tenants.iter().find(|(network, _)| network.contains(&address))
        });
        known.map_or_else(|| NOBODY.into(), |(_, tenant)| Arc::clone(tenant))
    }

    /// The same, by what is known of containers where it has some for clients.
    async fn asking(&self, peer: &Peer) -> (Arc<str>, Asking) {
        let address = address_of(peer);
        let client = match &self.interception {
            Some(interception) => interception.client(address).await,
            None => None,
        };
        self.known(peer, client.as_ref())
    }

    /// Who is charged for what a client asks for, and how records call it.
    fn known(&self, peer: &Peer, client: Option<&InterceptedClient>) -> (Arc<str>, Asking) {
        let tenant = client.and_then(|client| client.tenant.clone());
        let tenant = tenant.unwrap_or_else(|| self.tenant(address_of(peer)));
        let asking = Asking::new(self, peer, &tenant);
        match client {
            Some(client) => (tenant, asking.of_container(&client.container)),
            None => (tenant, asking),
        }
    }

    /// Where the resources of a host are.
    fn source(&self, scheme: Scheme, host: &str) -> Fetch {
        let (method, headers) = (Method::GET, HeaderMap::new());
        let asked = route::RequestTarget {
            method: &method,
            scheme,
            host,
            path: "/",
            query: None,
            headers: &headers,
            partition: Partition::Shared,
        };
        let found = self.mirrors.iter().find_map(|mirror| mirror.route(&asked));
        let itself = || Fetch { scheme, host: host.to_owned(), target: "/".to_owned() };
        found.map_or_else(itself, |route| route.source)
    }

    /// Those who wait for what is on its way from origins, or read it.
    pub fn readers(&self) -> usize {
        self.flights.readers()
    }

    fn whose(&self, headers: &HeaderMap) -> Partitions {
        self.secret.whose(headers)
    }

    /// These fields of a request, as they are stored.
    fn variant(
        &self,
        route: &Route,
        names: &[HeaderName],
        request: &HeaderMap,
    ) -> Vec<(String, Option<String>)> {
        let request = match route.kind {
            // Who asks decides whether there is an answer, not which.
            Kind::Restricted | Kind::Permitted => Cow::Owned(asker::without_credentials(request)),
            _ => Cow::Borrowed(request),
        };
        fresh::variant(names, &request, &|name, value| {
            let is_readable = asker::is_public(name) || Field::of(name) == Field::Credential;
            (!is_readable).then(|| self.secret.seal(value))
        })
    }

    fn route(&self, request: &Request, partition: Partition) -> Option<Route> {
        let asked = route::RequestTarget {
            method: &request.method,
            scheme: request.scheme,
            host: &request.host,
            path: &request.path,
            query: request.query.as_deref(),
            headers: &request.headers,
            partition,
        };
        let mut route = match (request.is_ours, &self.settings.by_path) {
            (true, by_path) => by_path.as_ref()?.route(&asked)?,
            (false, _) => self.mirrors.iter().find_map(|mirror| mirror.route(&asked))?,
        };
        route.rules.negative = route.negative;
        if let Some(other) = request.kept_for.as_ref().and_then(|kept| kept.source.as_ref()) {
            route.source = other.fetch.clone();
            route.failed = Some(Arc::clone(&other.failed));
        }
        match &route.kind {
            Kind::Artifact => route.rules.artifact = true,
            Kind::Restricted => {
                route.rules.artifact = true;
                route.key.partition = self.secret.restricted();
            }
            Kind::Permitted => {
                route.rules.artifact = true;
                let kept_for = request.kept_for.as_ref();
                let whose = kept_for.map_or("", |kept_for| &kept_for.whose);
                route.key.partition = self.secret.permitted(whose);
                if !kept_for.is_some_and(|kept_for| kept_for.is_proven) {
                    route.kind = Kind::Restricted;
                }
            }
            Kind::Metadata { ttl, stale } => {
                route.rules.ttl = *ttl;
                route.rules.stale_while_revalidate = route.rules.stale_while_revalidate.max(*stale);
            }
            Kind::PassThrough => {}
        }
        Some(route)
    }

    /// The key of a URL that an origin or an operator names.
    pub fn key_of(&self, url: &str) -> Option<Key> {
        let method = Method::GET;
        let said =
            RawRequest { method: &method, target: url.as_bytes(), authority: None, hosts: &[] };
        let arrival = Arrival { scheme: Scheme::Http, sni: None, forward: true };
        let Named::Resource(resource) = target::validate(&said, &arrival).ok()? else {
            return None;
        };
        Some(Key {
            partition: Partition::Shared,
            scheme: resource.scheme,
            host: resource.host.into(),
            path: resource.path.into(),
            query: resource.query.map(Into::into),
        })
    }

    /// What is stored under a URL is not to be used again, by nobody.
    async fn forget(&self, key: &Key) {
        if let Err(error) = self.forget_url(key).await {
            self.disk_failed(&error);
        }
    }

    /// The responses to a key of one partition.
    async fn remove(&self, key: &Key) {
        self.hot.forget(key);
        if let Err(error) = self.store.remove(key).await {
            self.disk_failed(&error);
        }
    }

    /// What is stored could not be read: the next request fetches it anew.
    async fn damaged(&self, key: &Key) {
        self.disk_failed(&io::Error::other(format!("`{}` cannot be read", key.without_query())));
        self.remove(key).await;
    }

    /// Clients get their answers past the disk; the operator hears of it, not more than once a minute.
    fn disk_failed(&self, error: &io::Error) {
        const PAUSE: u64 = 60_000;
        self.stats.disk_failed();
        if is_due(&self.disk_told, self.now(), PAUSE) {
            tracing::error!(
                cache = %self.name, %error,
                "the disk does not take or give objects: answers pass by it"
            );
        }
    }

    /// Clients of package managers often print no more than the status.
    fn origin_failed(&self, host: &str, fault: &Fault) {
        const PAUSE: u64 = 10_000;
        if is_due(&self.origin_told, self.now(), PAUSE) {
            let hint = fault.hint().map(|hint| format!(". hint: {hint}")).unwrap_or_default();
            let name = fault.name();
            tracing::warn!(cache = %self.name, host, name, "an origin could not be asked: {fault}{hint}");
        }
    }

    fn via(&self, headers: &mut HeaderMap) {
        headers.append(header::VIA, self.via.clone());
    }

    /// Clients that are led here are not told of other ways to their origins (RFC 7838).
    fn lead_nowhere(&self, headers: &mut HeaderMap) {
        if self.interception.is_some() {
            headers.remove(header::ALT_SVC);
        }
    }

    /// Between the parts of one answer: no stored body can hold it on purpose.
    fn boundary(&self) -> String {
        self.secret.boundary(self.now())
    }
}

/// Whether something that is said once in a while is to be said now; by one of those who ask.
fn is_due(told: &AtomicU64, now: u64, pause: u64) -> bool {
    let last = told.load(Ordering::Relaxed);
    // `now < last`: the clock was set back.
    (now < last || now - last >= pause)
        && told.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}
