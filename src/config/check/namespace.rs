//! `kind = "namespace"`: whose namespace a caller is in, and what the networks, ports and images of one are.
//!
//! Called by `check::policy`. What must stay true: a namespace without a name, or with the same one for everybody without
//! it being said, is refused.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use toml::{Spanned, Value};

use super::super::File;
use super::super::policy::{
    Namespace, NamespacePorts, NamespaceQuota, NamespaceRegistry, Template,
};
use super::super::raw::limits;
use super::Checking;
use super::policy::RawPolicy;

/// What a network gets: 61 containers.
const SUBNET_BITS: u8 = 26;

impl Checking<'_> {
    pub(super) fn namespace(
        &mut self,
        policy: &Spanned<String>,
        raw: RawPolicy,
    ) -> Option<Namespace> {
        let Some(given) = raw.name else {
            let what = format!("`[policy.{}]` needs `name`", policy.get_ref());
            let hint = "whose namespace a caller is in, such as `name = \"{user}\"`";
            self.complaints.add(policy.span(), what, hint);
            return None;
        };
        let name = self.namespace_name(&given);
        let has_own_key = raw.key.is_some();
        let key = raw.key.map(|key| self.file(&key));
        let place = self.origin.source.place(policy.span().start);
        let folder = self.state_dir.clone().unwrap_or_else(default_folder);
        let key = key.unwrap_or_else(|| File { path: folder.join("namespace.key"), place });
        let registry = raw.registry.and_then(|name| self.registry_by_name(&name));
        let shared = raw.shared.map(Spanned::into_inner).unwrap_or_default();
        Some(Namespace {
            name: name?,
            key,
            has_own_key,
            network_pool: raw.network_pool.and_then(|pool| self.pool(&pool)),
            registry,
            ports: self.namespace_ports(raw.ports.as_ref()),
            shared: shared.iter().map(|pattern| self.text(pattern)).collect(),
            quota: raw.quota.map(|quota| self.quota(quota.get_ref())).unwrap_or_default(),
        })
    }

    fn quota(&mut self, raw: &limits::Quota) -> NamespaceQuota {
        let mut number = |given: &Option<Spanned<Value>>| {
            let given = given.as_ref()?;
            let number = self.number(given, 0..=i64::MAX, "how many there may be, at least 0")?;
            u64::try_from(number).ok()
        };
        NamespaceQuota {
            containers: number(&raw.containers),
            volumes: number(&raw.volumes),
            networks: number(&raw.networks),
            ports: number(&raw.ports),
            builds: number(&raw.builds),
            image_bytes: raw.image_bytes.as_ref().and_then(|given| {
                let bytes = self.bytes(given, 0..=i64::MAX)?;
                u64::try_from(bytes).ok()
            }),
        }
    }

    fn namespace_name(&mut self, given: &Spanned<String>) -> Option<Template> {
        let text = self.text(given);
        match Template::parse(&text) {
            Ok(template) if template.is_empty() => {
                self.complaints.add(given.span(), "a namespace must have a name", "");
                None
            }
            Ok(template) => Some(template),
            Err(what) => {
                let hint = "`{user}`, `{listener}` and `{claims.NAME}` stand for what is known of a caller";
                self.complaints.add(given.span(), what, hint);
                None
            }
        }
    }

    fn pool(&mut self, given: &Spanned<String>) -> Option<Ipv4Net> {
        let text = self.text(given);
        let pool = text.parse::<Ipv4Net>().ok().filter(|pool| pool.trunc() == *pool);
        match pool {
            Some(pool)
                if pool.prefix_len() <= SUBNET_BITS && pool.addr() != Ipv4Addr::UNSPECIFIED =>
            {
                Some(pool)
            }
            _ => {
                let what = format!("`{text}` is no pool of subnets");
                let hint = "an IPv4 network of /26 or larger, such as `10.213.0.0/16`";
                self.complaints.add(given.span(), what, hint);
                None
            }
        }
    }

    fn namespace_ports(&mut self, given: Option<&Spanned<String>>) -> NamespacePorts {
        let Some(given) = given else { return NamespacePorts::default() };
        match self.text(given).as_str() {
            "as asked" | "as-asked" => NamespacePorts::AsAsked,
            "random" => NamespacePorts::Random,
            "namespace" => NamespacePorts::Namespace,
            text => {
                let what = format!("`{text}` says nothing of ports");
                self.complaints.add(given.span(), what, "`as asked`, `random` or `namespace`");
                NamespacePorts::default()
            }
        }
    }

    /// The address that the engine is told of a `[registry.NAME]`.
    fn registry_by_name(&mut self, given: &Spanned<String>) -> Option<NamespaceRegistry> {
        let name = self.text(given);
        let found = self.registries.iter().find(|(known, _)| *known == name);
        let found = found.map(|(name, address)| NamespaceRegistry {
            name: name.clone(),
            address: address.clone(),
        });
        if found.is_none() {
            let what = format!("there is no `[registry.{name}]`");
            self.complaints.add(given.span(), what, "`registry` names a `[registry.NAME]`");
        }
        found
    }
}

/// Where what must outlive a process is kept.
pub(super) fn default_folder() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/dockgate");
    }
    let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = folder("XDG_STATE_HOME");
    let state = state.or_else(|| folder("HOME").map(|home| home.join(".local/state")));
    state.unwrap_or_else(|| Path::new("/var/lib").to_owned()).join("dockgate")
}
