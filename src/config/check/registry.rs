//! `[registry.*]`: caches that speak the distribution API, with upstreams, callers and rules.
//!
//! What must stay true: beyond loopback nobody is let in without a name unless the operator says so, and what the
//! gateway shows an upstream is not for clients to bring as well.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::Spanned;

use super::super::cache::{Cache, Login};
use super::super::raw::{cache as raw_cache, registry as raw};
use super::super::registry::{
    EcrCredentials, Redirects, Registry, RegistryAction, RegistryCredentials, RegistryRule,
    RegistryUpstream, UpstreamTenant,
};
use super::super::{Auth, Text};
use super::Checking;
use super::cache_listen::Taken;
use super::listener::Auths;

const ACCESS_TTL: Duration = Duration::from_secs(300);
const TAG_TTL: Duration = Duration::from_secs(60);
const STALE: Duration = Duration::from_secs(24 * 3600);
const NEGATIVE_TTL: Duration = Duration::from_secs(10);
const UPLOAD_TTL: Duration = Duration::from_secs(3600);
/// Docker Hub has two names.
const DOCKER_HUB: (&str, &str) = ("docker.io", "https://registry-1.docker.io");

impl Checking<'_> {
    pub(super) fn registries(
        &mut self,
        raw: BTreeMap<Spanned<String>, raw::Registry>,
        auths: &Auths,
        taken: &mut Taken,
        caches: &mut Vec<Cache>,
    ) {
        let mut raw: Vec<_> = raw.into_iter().collect();
        raw.sort_by_key(|(name, _)| name.span().start);
        for (name, raw) in raw {
            if caches.iter().any(|other| other.name == *name.get_ref()) {
                let what = format!("there is a cache `{}`", name.get_ref());
                let hint = "a registry stands beside caches in metrics and in `dockgate cache`";
                self.complaints.add(name.span(), what, hint);
            }
            let registry = self.registry(&name, raw, auths, taken);
            if let Some(other) = caches.iter().find(|other| other.dir == registry.dir) {
                let what = format!("`{}` keeps its objects there too", other.name);
                self.complaints.add(name.span(), what, "set another `dir`");
            }
            caches.push(registry);
        }
    }

    fn registry(
        &mut self,
        name: &Spanned<String>,
        raw: raw::Registry,
        auths: &Auths,
        taken: &mut Taken,
    ) -> Cache {
        let listen = self.registry_listen(&raw);
        let address = self.registry_address(raw.address.as_ref(), listen.as_ref());
        let auth = self.registry_auth(&raw, listen.as_ref(), auths);
        let rules = raw.rule.iter().flatten().map(|rule| rule.get_ref().users.as_deref());
        let push = raw.push_rule.iter().flatten().map(|rule| rule.get_ref().users.as_deref());
        for users in rules.chain(push).flatten() {
            self.are_recognised(users, &auth);
        }
        let upstreams = self.upstreams(name, raw.upstream, &auth);
        let patterns = raw.rule.iter().flatten().map(|rule| &rule.get_ref().repositories);
        let push =
            raw.push_rule.iter().flatten().filter_map(|rule| rule.get_ref().repositories.as_ref());
        let names: Vec<&str> =
            upstreams.iter().map(|upstream| upstream.name.text.as_str()).collect();
        for pattern in patterns.chain(push).flatten() {
            self.without_host(pattern, &names);
        }
        let rules = raw.rule.unwrap_or_default();
        let rules = rules.iter().map(|rule| self.registry_rule(rule.get_ref())).collect();
        let registry = Registry {
            address,
            auth,
            upstreams,
            rules,
            push_rules: self.push_rules(raw.push_rule.unwrap_or_default()),
            upload_ttl: self.duration(raw.upload_ttl, UPLOAD_TTL),
            access_ttl: self.duration(raw.access_ttl, ACCESS_TTL),
            tag_ttl: self.duration(raw.tag_ttl, TAG_TTL),
            stale: self.duration(raw.stale, STALE),
            negative_ttl: self.duration(raw.negative_ttl, NEGATIVE_TTL),
            redirects: self.redirects(raw.redirects.as_ref()),
            catalog: raw.catalog,
        };
        let cache = raw_cache::Cache {
            listen,
            mode: raw.mode,
            owner: raw.owner,
            group: raw.group,
            max_connections: raw.max_connections,
            tls: raw.tls,
            dir: raw.dir,
            size: raw.size,
            free: raw.free,
            fsync: raw.fsync,
            // A redirect may lead to any public host; clients ask for none.
            domains: Some(vec![Spanned::new(name.span(), "*".to_owned())]),
            upstream_ca: raw.upstream_ca,
            allow_private: raw.allow_private,
            connections_per_host: raw.connections_per_host,
            connect_timeout: raw.connect_timeout,
            head_timeout: raw.head_timeout,
            body_timeout: raw.body_timeout,
            queue_timeout: raw.queue_timeout,
            ..raw_cache::Cache::default()
        };
        let cache = self.cache(name, "registry", cache, taken);
        // Its small objects are for those callers only who may have them.
        Cache { memory: 0, registry: Some(registry), ..cache }
    }

    /// A rule for nobody grants nothing, and demands nothing of anybody.
    fn are_recognised(&mut self, users: &[Spanned<String>], auth: &[Auth]) {
        for user in users {
            let text = self.text(user);
            if auth.is_empty() {
                let what = format!("`{text}` is nobody here: the registry has no `auth`");
                let hint = "add `auth`, or leave out `users`: the rule is for everybody then";
                self.complaints.add(user.span(), what, hint);
            } else if text.starts_with('@') && !auth.iter().any(Auth::knows_groups) {
                let what = format!("nobody is in `{text}`: `auth` here knows no groups");
                let hint = "name users: groups come from tokens and outside programs";
                self.complaints.add(user.span(), what, hint);
            }
        }
    }

    fn upstreams(
        &mut self,
        name: &Spanned<String>,
        raw: Option<BTreeMap<Spanned<String>, raw::Upstream>>,
        auth: &[Auth],
    ) -> Vec<RegistryUpstream> {
        let raw = raw.unwrap_or_default();
        if raw.is_empty() {
            let what = format!("`[registry.{}]` has no upstream", name.get_ref());
            let hint = format!("such as `[registry.{}.upstream.\"docker.io\"]`", name.get_ref());
            self.complaints.add(name.span(), what, hint);
        }
        let mut all: Vec<_> = raw.into_iter().collect();
        all.sort_by_key(|(name, _)| name.span().start);
        all.into_iter().map(|(name, raw)| self.upstream(&name, raw, auth)).collect()
    }

    fn upstream(
        &mut self,
        name: &Spanned<String>,
        raw: raw::Upstream,
        auth: &[Auth],
    ) -> RegistryUpstream {
        let mut prefix = self.placed(name);
        prefix.text = prefix.text.trim_matches('/').to_owned();
        let url = match &raw.url {
            Some(url) => self.placed(url),
            None if prefix.text == DOCKER_HUB.0 => {
                Text { text: DOCKER_HUB.1.to_owned(), place: prefix.place.clone() }
            }
            None if prefix.text.contains(['.', ':']) && !prefix.text.contains('/') => {
                Text { text: format!("https://{}", prefix.text), place: prefix.place.clone() }
            }
            None => {
                let what = format!("upstream `{}` needs `url`", name.get_ref());
                self.complaints.add(name.span(), what, "such as `url = \"https://ghcr.io\"`");
                Text::from("")
            }
        };
        let credentials = match &raw.credentials {
            Some(credentials) => self.registry_credentials(credentials.get_ref()),
            None => RegistryCredentials::None,
        };
        if let (Some(mirror), RegistryCredentials::Client) = (&raw.mirror, &credentials) {
            let what = "a mirror cannot say which client may pull what";
            self.complaints.add(mirror.span(), what, "`mirror` is not for `kind = \"client\"`");
        }
        let mirrors = raw.mirror.map_or_else(Vec::new, |given| {
            let span = given.span();
            let urls = given.into_inner().into_vec().into_iter();
            urls.map(|url| self.placed(&Spanned::new(span.clone(), url))).collect()
        });
        let create = raw.create_repository.as_ref().filter(|create| *create.get_ref());
        if let Some(create) = create
            && !matches!(credentials, RegistryCredentials::Ecr(_))
        {
            let what = "`create_repository` is for `credentials = { kind = \"ecr\" }`";
            self.complaints.add(
                create.span(),
                what,
                "other registries make repositories by themselves",
            );
        }
        RegistryUpstream {
            name: prefix,
            url,
            prefix: raw.prefix.as_ref().map(|prefix| self.placed(prefix)),
            realm: raw.realm.as_ref().map(|realm| self.placed(realm)),
            mirrors,
            credentials,
            create_repository: create.is_some(),
            tenants: raw.tenant.iter().filter_map(|raw| self.tenant(raw, auth)).collect(),
        }
    }

    /// Who it is must be known, and not by what is the upstream's to see.
    fn tenant(&mut self, raw: &raw::UpstreamTenant, auth: &[Auth]) -> Option<UpstreamTenant> {
        self.are_recognised(&raw.users, auth);
        let credentials = self.registry_credentials(raw.credentials.get_ref());
        if credentials == RegistryCredentials::Client {
            let what = "a tenant's credentials are the gateway's own";
            self.complaints.add(raw.credentials.span(), what, "`login`, `helper` or `ecr`");
            return None;
        }
        let users = raw.users.iter().map(|user| self.text(user)).collect();
        Some(UpstreamTenant { users, credentials })
    }

    fn registry_credentials(&mut self, raw: &raw::Credentials) -> RegistryCredentials {
        let kind = self.text(&raw.kind);
        let keys: &[&str] = match kind.as_str() {
            "login" => &["username", "password_file"],
            "helper" => &["helper"],
            _ => &[],
        };
        let may: &[&str] = match kind.as_str() {
            "ecr" => &["region", "profile", "endpoint", "sts_endpoint"],
            _ => &[],
        };
        let given = [
            ("username", &raw.username),
            ("password_file", &raw.password_file),
            ("helper", &raw.helper),
            ("region", &raw.region),
            ("profile", &raw.profile),
            ("endpoint", &raw.endpoint),
            ("sts_endpoint", &raw.sts_endpoint),
        ];
        for (key, value) in given {
            match (value, keys.contains(&key)) {
                (Some(_), false) if may.contains(&key) => {}
                (Some(value), false) => {
                    let what = format!("`{key}` is not for `kind = \"{kind}\"`");
                    self.complaints.add(value.span(), what, "");
                }
                (None, true) => {
                    let what = format!("`kind = \"{kind}\"` needs `{key}`");
                    self.complaints.add(raw.kind.span(), what, "");
                }
                (Some(_), true) | (None, false) => {}
            }
        }
        match (kind.as_str(), &raw.username, &raw.password_file, &raw.helper) {
            ("none", ..) => RegistryCredentials::None,
            ("client", ..) => RegistryCredentials::Client,
            ("login", Some(username), Some(password), _) => RegistryCredentials::Login(Login {
                username: self.placed(username),
                password: self.file(password),
            }),
            ("helper", _, _, Some(helper)) => RegistryCredentials::Helper(self.placed(helper)),
            ("ecr", ..) => RegistryCredentials::Ecr(EcrCredentials {
                region: self.unless_empty(raw.region.as_ref()),
                profile: self.unless_empty(raw.profile.as_ref()),
                endpoint: self.unless_empty(raw.endpoint.as_ref()),
                sts_endpoint: self.unless_empty(raw.sts_endpoint.as_ref()),
            }),
            ("login" | "helper", ..) => RegistryCredentials::None,
            (other, ..) => {
                let what = format!("`{other}` is no kind of credentials");
                let hint = "there are `none`, `login`, `client`, `helper` and `ecr`";
                self.complaints.add(raw.kind.span(), what, hint);
                RegistryCredentials::None
            }
        }
    }

    /// What `${NAME:-}` may leave.
    fn unless_empty(&mut self, given: Option<&Spanned<String>>) -> Option<Text> {
        given.map(|given| self.placed(given)).filter(|text| !text.text.is_empty())
    }

    fn registry_rule(&mut self, raw: &raw::RegistryRule) -> RegistryRule {
        let actions = match &raw.actions {
            None => RegistryAction::ALL.to_vec(),
            Some(names) => names.iter().filter_map(|name| self.registry_action(name)).collect(),
        };
        let users = raw.users.as_ref();
        RegistryRule {
            repositories: raw.repositories.iter().map(|pattern| self.placed(pattern)).collect(),
            actions,
            users: users.map(|users| users.iter().map(|user| self.text(user)).collect()),
            allow: raw.allow.unwrap_or(true),
        }
    }

    /// A pattern that begins with what clients call this registry matches nothing: names come without it.
    fn without_host(&mut self, pattern: &Spanned<String>, upstreams: &[&str]) {
        let text = self.text(pattern);
        let Some((first, _)) = text.split_once('/') else { return };
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte);
        let looks_so = first.contains(['.', ':']) && first.bytes().all(is_host);
        let is_of = |name: &&str| name.split('/').next() == Some(first);
        // Names of an upstream that has all names may begin like a host, but for a port.
        let has_root = upstreams.contains(&"") && !first.contains(':');
        if looks_so && !has_root && !upstreams.iter().any(is_of) {
            let what = format!("`{text}` matches nothing: no upstream here is called `{first}`");
            let hint = "patterns are of names without the host that clients ask for";
            self.complaints.add(pattern.span(), what, hint);
        }
    }

    fn registry_action(&mut self, name: &Spanned<String>) -> Option<RegistryAction> {
        let text = self.text(name);
        let action = RegistryAction::ALL.into_iter().find(|action| action.as_str() == text);
        if action.is_none() {
            let what = format!("`{text}` is no action");
            self.complaints.add(name.span(), what, "there are `pull`, `push` and `delete`");
        }
        action
    }

    fn redirects(&mut self, given: Option<&Spanned<String>>) -> Redirects {
        let Some(given) = given else { return Redirects::default() };
        match self.text(given).as_str() {
            "follow" => Redirects::Follow,
            "pass" => Redirects::Pass,
            other => {
                let what = format!("`{other}` says nothing of redirects");
                self.complaints.add(given.span(), what, "`follow` or `pass`");
                Redirects::default()
            }
        }
    }
}
