//! `[cache.*]`: addresses, sizes and networks; and no cache that asks anything for anybody.
//!
//! What must stay true: a cache beyond loopback names the hosts that it is for.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;

use super::super::cache::{Authorization, Cache, CacheListen, CacheTimes, PathMirror};
use super::super::raw::cache as raw;
use super::super::{Bind, ClientAuth, Listener, Text, Tls, units};
use super::Checking;
use super::cache_listen::{Taken, plain};
use super::listener::{HANDSHAKE_TIME, host_of, is_loopback};

const SIZE: u64 = 50 << 30;
const FREE: u64 = 1 << 30;
const MEMORY: u64 = 24 << 20;
/// Below it a unit was forgotten.
const LEAST_SIZE: u64 = 1 << 20;
const CONNECTIONS: usize = 32;
/// Clients of a cache hold connections that do nothing for most of the time.
const MOST_CONNECTIONS: usize = 16 * 1024;
const TIMES: CacheTimes = CacheTimes {
    connect: Duration::from_secs(10),
    head: Duration::from_secs(60),
    body: Duration::from_secs(60),
    queue: Duration::from_secs(60),
    stale: Duration::from_millis(800),
};
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// packaging.python.org/specifications/simple-repository-api
const PYPI: [&str; 2] = ["https://pypi.org/simple", "https://files.pythonhosted.org"];
const NPM: [&str; 1] = ["https://registry.npmjs.org"];
/// doc.rust-lang.org/cargo/reference/registry-index.html: `dl` of its `config.json` is the second.
const CRATES: [&str; 3] =
    ["https://index.crates.io", "https://static.crates.io", "https://crates.io"];
const DEB: [&str; 5] = [
    "http://deb.debian.org",
    "http://security.debian.org",
    "http://archive.ubuntu.com",
    "http://security.ubuntu.com",
    "http://ports.ubuntu.com",
];
/// Whose clients take any URL for their repository, and whose documents name no host.
const FILES: [&str; 7] = [
    "https://repo.maven.apache.org",
    "https://plugins.gradle.org",
    "https://services.gradle.org",
    "https://proxy.golang.org",
    "https://rubygems.org",
    "https://dl-cdn.alpinelinux.org",
    "https://conda.anaconda.org",
];
const TARGETED: &str = "cdn-cache-control";

impl Checking<'_> {
    pub(super) fn caches(
        &mut self,
        raw: BTreeMap<Spanned<String>, raw::Cache>,
        listeners: &[Listener],
        admin: &[Bind],
    ) -> (Vec<Cache>, Taken) {
        let of_listeners =
            listeners.iter().map(|one| (&one.bind, format!("listener `{}`", one.name)));
        let of_admin = admin.iter().map(|bind| (bind, "`[admin]`".to_owned()));
        let mut taken: Taken =
            of_listeners.chain(of_admin).map(|(bind, who)| (plain(bind), who)).collect();
        let mut all: Vec<Cache> = Vec::new();
        let mut raw: Vec<_> = raw.into_iter().collect();
        raw.sort_by_key(|(name, _)| name.span().start);
        for (name, raw) in raw {
            let place = raw.dir.as_ref().map_or(name.span(), Spanned::span);
            let cache = self.cache(&name, "cache", raw, &mut taken);
            if let Some(other) = all.iter().find(|other| other.dir == cache.dir) {
                let what = format!("cache `{}` keeps its objects there too", other.name);
                self.complaints.add(
                    place,
                    what,
                    "two caches of one process share nothing: set `dir`",
                );
            }
            all.push(cache);
        }
        (all, taken)
    }

    /// `table`: what it is called in the configuration.
    pub(super) fn cache(
        &mut self,
        name: &Spanned<String>,
        table: &str,
        raw: raw::Cache,
        taken: &mut Taken,
    ) -> Cache {
        self.plain_name(name.span(), name.get_ref());
        let listen = self.cache_listen(name, table, &raw, taken);
        let intercept = self.intercept(&raw, &listen);
        let tls = match intercept {
            Some(_) => None,
            None => self.cache_tls(raw.tls.as_ref(), raw.listen.as_ref(), &listen),
        };
        let size = self.byte_count(raw.size.as_ref(), SIZE);
        if let Some(given) = raw.size.as_ref().filter(|_| size < LEAST_SIZE) {
            self.complaints.add(
                given.span(),
                "a cache of less than `1MB` keeps nothing",
                "such as `50GB`",
            );
        }
        let origins: Vec<(Text, Text)> = raw
            .origins
            .iter()
            .flatten()
            .map(|(host, url)| (self.placed(host), self.placed(url)))
            .collect();
        let credentials = self.credentials(raw.credentials.unwrap_or_default());
        let mirror = raw.mirror.map(|mirror| self.path_mirror(mirror.into_inner()));
        let is_bounded = !origins.is_empty() || mirror.is_some();
        let is_open = raw.domains.is_none() && !is_bounded && raw.intercept.is_none();
        if let Some(first) = raw.listen.as_ref().filter(|_| is_open) {
            self.refuse_open_cache(first);
        }
        let anything = || vec![Text::from("*")];
        let domains = match raw.domains {
            Some(domains) => domains.iter().map(|domain| self.placed(domain)).collect(),
            None if !is_bounded => anything(),
            None => Vec::new(),
        };
        if domains.is_empty() && !is_bounded {
            let hint = "name hosts, or `\"*\"` for all";
            self.complaints.add(
                name.span(),
                "`domains = []` without `origins` serves nothing",
                hint,
            );
        }
        let networks = raw.allow_private.unwrap_or_default();
        Cache {
            name: name.get_ref().clone(),
            listen,
            tls,
            max_connections: self.size(raw.max_connections, MOST_CONNECTIONS),
            dir: match &raw.dir {
                Some(dir) => self.file(dir).path,
                None => self.default_dir(name.get_ref()),
            },
            size,
            free: self.byte_count(raw.free.as_ref(), FREE),
            memory: self.byte_count(raw.memory.as_ref(), MEMORY),
            fsync: raw.fsync.unwrap_or(true),
            object_store: raw.object_store.map(|url| self.object_store(&url)),
            domains,
            is_open,
            origins,
            credentials,
            mirror,
            forward: raw.forward,
            intercept,
            never_intercept: raw.never_intercept.iter().map(|one| self.placed(one)).collect(),
            next_hop: raw.next_hop.and_then(|url| self.next_hop(&url)),
            upstream_ca: raw.upstream_ca.map(|ca| self.file(&ca)),
            allow_private: networks.iter().filter_map(|network| self.network(network)).collect(),
            connections_per_host: self.size(raw.connections_per_host, CONNECTIONS),
            times: CacheTimes {
                connect: self.wait(raw.connect_timeout, TIMES.connect),
                head: self.wait(raw.head_timeout, TIMES.head),
                body: self.wait(raw.body_timeout, TIMES.body),
                queue: self.wait(raw.queue_timeout, TIMES.queue),
                stale: self.wait(raw.stale_after, TIMES.stale),
            },
            rules: raw.rules.map(|rules| self.file(&rules)),
            ecosystems: raw.ecosystems.iter().map(|name| self.placed(name)).collect(),
            authorization: self.authorization(raw.authorization.as_ref()),
            targeted: match raw.targeted {
                Some(fields) => fields.iter().map(|field| self.targeted(field)).collect(),
                None => vec![TARGETED.to_owned()],
            },
            registry: None,
            offline: raw.offline,
            tenants: self.tenants(raw.tenants.unwrap_or_default()),
        }
    }

    /// What is not said is where the public has it.
    fn path_mirror(&mut self, raw: raw::PathMirror) -> PathMirror {
        let mut urls = |given: Option<Vec<Spanned<String>>>, public: &[&str]| match given {
            Some(given) => given.iter().map(|url| self.placed(url)).collect(),
            None => public.iter().map(|url| Text::from(*url)).collect(),
        };
        PathMirror {
            pypi: urls(raw.pypi, &PYPI),
            npm: urls(raw.npm, &NPM),
            crates: urls(raw.crates, &CRATES),
            deb: urls(raw.deb, &DEB),
            files: urls(raw.files, &FILES),
            hosts: raw.hosts.iter().map(|host| self.placed(host)).collect(),
        }
    }

    fn cache_tls(
        &mut self,
        raw: Option<&Spanned<raw::Tls>>,
        urls: Option<&Spanned<Vec<Spanned<String>>>>,
        listen: &[CacheListen],
    ) -> Option<Tls> {
        let needs_it = listen.iter().any(|one| one.has_tls);
        match (raw, urls) {
            (Some(raw), _) if !needs_it => {
                self.complaints.add(raw.span(), "`tls` is for `https://` in `listen`", "");
            }
            (None, Some(urls)) if needs_it => self.complaints.add(
                urls.span(),
                "`https://` has no certificate",
                "add `tls = { cert = \"…\", key = \"…\" }` (`dockgate certs DIR` makes a trial set), or for containers that take it for their origins `intercept = \"on\"`",
            ),
            _ => {}
        }
        let raw = raw?.get_ref();
        Some(Tls {
            cert: self.file(&raw.cert),
            key: self.file(&raw.key),
            client: ClientAuth::None,
            handshake_time: self.duration(raw.handshake_time.clone(), HANDSHAKE_TIME),
        })
    }

    /// Whoever reaches it could have it ask any host, in its own name.
    fn refuse_open_cache(&mut self, listen: &Spanned<Vec<Spanned<String>>>) {
        for url in listen.get_ref() {
            let text = self.text(url);
            let is_http = text.starts_with("http://") || text.starts_with("https://");
            // Of one that is inherited, `run` sees where it is.
            let Some((_, address)) = text.split_once("://").filter(|_| is_http) else { continue };
            let address = address.trim_end_matches('/');
            let host = host_of(address).unwrap_or(address).trim_matches(['[', ']']);
            if !is_loopback(host) {
                self.complaints.add(
                    url.span(),
                    format!(
                        "`{text}` is beyond loopback, and `domains` names no hosts: an open proxy"
                    ),
                    "name them, `domains = [\"*.example.com\"]`, or say `domains = [\"*\"]`",
                );
            }
        }
    }

    fn default_dir(&self, name: &str) -> PathBuf {
        let env = |name| (self.origin.env)(name).filter(|dir| dir.starts_with('/'));
        let own = || env("XDG_CACHE_HOME").or_else(|| Some(env("HOME")? + "/.cache"));
        let root = match rustix::process::geteuid().is_root() {
            true => None,
            false => own(),
        };
        PathBuf::from(root.unwrap_or_else(|| "/var/cache".to_owned())).join("dockgate").join(name)
    }

    fn byte_count(&mut self, given: Option<&Spanned<String>>, default: u64) -> u64 {
        let Some(given) = given else { return default };
        let text = self.text(given);
        let bytes = units::bytes(&text).and_then(|bytes| u64::try_from(bytes).ok());
        bytes.unwrap_or_else(|| {
            self.complaints.add(
                given.span(),
                format!("`{text}` is not a size"),
                "such as `24MB` or `50GB`",
            );
            default
        })
    }

    /// Nobody waits for nothing, or for days.
    fn wait(&mut self, given: Option<Spanned<String>>, default: Duration) -> Duration {
        let place = given.as_ref().map(Spanned::span);
        let wait = self.duration(given, default);
        if let Some(place) = place.filter(|_| wait.is_zero() || wait > LONGEST_WAIT) {
            self.complaints.add(place, "this is no time to wait for an origin", "at most `1h`");
        }
        wait
    }

    fn object_store(&mut self, url: &Spanned<String>) -> Text {
        let text = self.placed(url);
        let bucket = text.text.strip_prefix("s3://").map(|rest| rest.split('/').next());
        if bucket.flatten().is_none_or(str::is_empty) {
            let what = format!("`{}` is not an object store", text.text);
            self.complaints.add(url.span(), what, "use `s3://bucket/prefix`");
        } else if !cfg!(feature = "object-store") {
            let hint = "build with `--features object-store`";
            self.complaints.add(url.span(), "this dockgate was built without `object-store`", hint);
        }
        text
    }

    /// Empty is none: it may come from the environment.
    fn next_hop(&mut self, url: &Spanned<String>) -> Option<Text> {
        let text = Some(self.placed(url)).filter(|text| !text.text.is_empty())?;
        let (scheme, rest) = text.text.split_once("://").unwrap_or_default();
        // It may hold a password.
        let address = rest.rsplit_once('@').map_or(rest, |(_, address)| address);
        let is_known = matches!(scheme, "http" | "https" | "socks5" | "socks5h");
        if !is_known || host_of(address.trim_end_matches('/')).is_none_or(str::is_empty) {
            let hint = "use `http://host:port`, `https://host:port` or `socks5h://host:port`";
            self.complaints.add(url.span(), "this is not an address of a proxy", hint);
        }
        Some(text)
    }

    fn network(&mut self, given: &Spanned<String>) -> Option<IpNet> {
        let text = self.text(given);
        let network = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        if network.is_none() {
            let what = format!("`{text}` is not a network");
            self.complaints.add(given.span(), what, "such as `10.0.0.0/8`, or an address");
        }
        network
    }

    fn tenants(
        &mut self,
        given: BTreeMap<Spanned<String>, Spanned<String>>,
    ) -> Vec<(IpNet, String)> {
        let mut all = Vec::new();
        for (network, tenant) in &given {
            let name = self.text(tenant);
            self.plain_name(tenant.span(), &name);
            all.extend(self.network(network).map(|network| (network.trunc(), name)));
        }
        all.sort_by_key(|(network, _)| std::cmp::Reverse(network.prefix_len()));
        all
    }

    fn authorization(&mut self, given: Option<&Spanned<String>>) -> Authorization {
        let Some(given) = given else { return Authorization::default() };
        match self.text(given).as_str() {
            "private" => Authorization::Private,
            "rfc9111" => Authorization::Rfc9111,
            other => {
                let what = format!("`{other}` says nothing of authorization");
                self.complaints.add(given.span(), what, "`private` or `rfc9111`");
                Authorization::default()
            }
        }
    }

    fn targeted(&mut self, field: &Spanned<String>) -> String {
        let name = self.text(field).to_ascii_lowercase();
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        let of = name.strip_suffix("-cache-control").unwrap_or_default();
        if of.is_empty() || !name.bytes().all(is_token) {
            let what = format!("`{name}` is not a targeted field");
            self.complaints.add(field.span(), what, "such as `cdn-cache-control`");
        }
        name
    }
}
