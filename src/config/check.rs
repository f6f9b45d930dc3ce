//! From what was written to what may run.
//!
//! Called by `config::parse` and, for a start without a file, `config::without_file`. What must stay
//! true: all complaints are collected, not only the first, and nothing here touches the network.

mod auth;
mod cache;
mod cache_listen;
mod credentials;
mod exchange;
mod intercept;
mod kinds;
mod limits;
mod listener;
mod namespace;
mod policy;
mod push;
mod registry;
mod registry_listen;
mod temporary;
mod transparent;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::raw::{self, Raw};
use super::{Complaints, Config, Engine, File, Invalid, Log, Place, SourceText, Text};

pub(super) use auth::{OneOrMore, RawAuth};
pub(super) use listener::host_of;
pub(super) use policy::RawPolicy;
use transparent::{CacheOutline, cache_outlines};

pub const DEFAULT_POLICY: &str = "conservative";
const DEFAULT_ENGINE: &str = "unix:///var/run/docker.sock";
const MOST_CONNECTIONS: usize = 16_384;

/// Where a text comes from.
pub(super) struct Origin<'o> {
    /// What relative paths are relative to.
    pub folder: &'o Path,
    /// What the places of complaints are in.
    pub source: SourceText<'o>,
    /// The values of `${NAME}`.
    pub env: &'o dyn Fn(&str) -> Option<String>,
}

pub(super) fn check(raw: Raw, origin: &Origin<'_>) -> Result<Config, Invalid> {
    let mut cx = Checking {
        origin,
        engine: String::new(),
        registries: registry_addresses(&raw.registry),
        caches: cache_outlines(&raw.cache),
        state_dir: None,
        known: Vec::new(),
        complaints: Complaints::about(origin.source),
    };
    let engine = cx.engine(raw.engine);
    cx.state_dir = raw.state_dir.map(|folder| cx.file(&folder).path);
    cx.engine.clone_from(&engine.url);
    let policies = cx.policies(raw.policy);
    let auths = cx.auths(raw.auth);
    let listeners = cx.listeners(raw.listener, &auths, &policies);
    let limits = cx.limits(raw.limits);
    let admin = cx.admin(raw.admin);
    let (mut caches, mut taken) = cx.caches(raw.cache, &listeners, &admin);
    cx.registries(raw.registry, &auths, &mut taken, &mut caches);
    let drain_timeout = cx.duration(raw.drain_timeout, default_drain_timeout(is_in_container()));
    if listeners.is_empty() && caches.is_empty() {
        cx.complaints.add(
            0..0,
            "no `[[listener]]`, no `[cache.NAME]` and no `[registry.NAME]`: nothing would run",
            "add a listener with `name` and `url`",
        );
    }
    let log = Log { format: raw.log.format, access: raw.log.access };
    let watch = raw.watch;
    let jobs = cx.jobs(raw.jobs);
    let ca = cx.ca(raw.ca);
    let config =
        Config { engine, listeners, caches, limits, admin, log, drain_timeout, watch, jobs, ca };
    cx.complaints.or(config)
}

/// `docker stop` kills after 10 s whoever has not ended.
fn default_drain_timeout(in_container: bool) -> Duration {
    Duration::from_secs(if in_container { 8 } else { 30 })
}

/// The first process is one, as is who finds the file that dockerd or podman puts there (with `--pid=host`, say).
fn is_in_container() -> bool {
    std::process::id() == 1
        || ["/.dockerenv", "/run/.containerenv"].iter().any(|file| Path::new(file).exists())
}

pub(super) fn without_file(
    listeners: &[String],
    engine: Option<String>,
    policies: &[String],
) -> Result<Config, Invalid> {
    let place = |text: String| Spanned::new(0..0, text);
    let engine = engine.or_else(|| std::env::var("DOCKER_HOST").ok());
    let policies = match policies {
        [] => vec![DEFAULT_POLICY.to_owned()],
        given if given.iter().any(|name| name == "none") => match given {
            [_] => Vec::new(),
            _ => return Err(Invalid::at(&Place::default(), "`--policy none` stands alone", "")),
        },
        given => given.to_vec(),
    };
    let urls = match listeners {
        [] => vec![default_listener()],
        given => given.to_vec(),
    };
    let listener = urls.into_iter().enumerate().map(|(index, url)| raw::Listener {
        name: place(if index == 0 { "default".to_owned() } else { format!("default-{index}") }),
        url: place(url),
        mode: None,
        owner: None,
        group: None,
        auth: None,
        policies: Some(policies.iter().cloned().map(place).collect()),
        max_connections: None,
        tls: None,
        hosts: None,
        revoke: None,
        insecure: false,
    });
    let raw = Raw {
        engine: raw::Engine { url: engine.map(place), ..raw::Engine::default() },
        listener: listener.collect(),
        ..Raw::default()
    };
    let origin = Origin { folder: Path::new(""), source: SourceText::default(), env: &|_| None };
    check(raw, &origin)
}

fn default_listener() -> String {
    let runtime = std::env::var("XDG_RUNTIME_DIR").ok().filter(|dir| dir.starts_with('/'));
    let folder = match (rustix::process::geteuid().is_root(), runtime) {
        (false, Some(dir)) => dir,
        _ => "/run".to_owned(),
    };
    format!("unix://{folder}/dockgate/docker.sock")
}

fn registry_addresses(
    raw: &BTreeMap<Spanned<String>, raw::registry::Registry>,
) -> Vec<(String, String)> {
    let address = |registry: &raw::registry::Registry| {
        if let Some(address) = &registry.address {
            return Some(address.get_ref().clone());
        }
        let listen = registry.listen.as_ref()?.get_ref().first()?;
        let bare = listen.split_once("://").map_or(listen, |(_, bare)| bare);
        Some(bare.to_owned())
    };
    raw.iter().filter_map(|(name, one)| Some((name.get_ref().clone(), address(one)?))).collect()
}

struct Checking<'o> {
    origin: &'o Origin<'o>,
    /// Its address.
    engine: String,
    /// Where what must outlive a process is kept.
    state_dir: Option<PathBuf>,
    /// The policies that were checked, for those that name others.
    known: policy::Policies,
    /// What the engine is told of each `[registry.NAME]`.
    registries: Vec<(String, String)>,
    /// What is known of each `[cache.NAME]`.
    caches: Vec<CacheOutline>,
    complaints: Complaints<'o>,
}

impl Checking<'_> {
    fn engine(&mut self, raw: raw::Engine) -> Engine {
        let patience = self.duration(raw.patience, Duration::from_secs(10));
        let url = raw.url.unwrap_or_else(|| Spanned::new(0..0, DEFAULT_ENGINE.to_owned()));
        let expanded = self.text(&url);
        let scheme = expanded.split_once("://").map(|(scheme, _)| scheme);
        if !matches!(scheme, Some("unix" | "tcp" | "tls")) {
            self.complaints.add(
                url.span(),
                format!("`{expanded}` is not an address of an engine"),
                "use `unix:///path`, `tcp://host:port` or `tls://host:port`",
            );
        }
        for key in [&raw.ca, &raw.cert, &raw.key].into_iter().flatten() {
            if scheme != Some("tls") {
                self.complaints.add(key.span(), "`ca`, `cert` and `key` are for `tls://`", "");
            }
        }
        let ca = raw.ca.map(|ca| self.file(&ca));
        let certificate = match (raw.cert, raw.key) {
            (Some(cert), Some(key)) => Some((self.file(&cert), self.file(&key))),
            (None, None) => None,
            (Some(lonely), None) | (None, Some(lonely)) => {
                self.complaints.add(lonely.span(), "`cert` and `key` go together", "");
                None
            }
        };
        Engine { url: expanded, patience, ca, certificate }
    }

    fn size(&mut self, given: Option<Spanned<i64>>, default: usize) -> usize {
        let Some(given) = given else { return default };
        match usize::try_from(*given.get_ref()) {
            Ok(size) if size > 0 => size,
            _ => {
                self.complaints.add(given.span(), "must be greater than 0", "");
                default
            }
        }
    }

    fn duration(&mut self, given: Option<Spanned<String>>, default: Duration) -> Duration {
        let Some(given) = given else { return default };
        let text = self.text(&given);
        humantime::parse_duration(&text).unwrap_or_else(|_| {
            self.complaints.add(
                given.span(),
                format!("`{text}` is not a duration"),
                "such as `30s` or `5m`",
            );
            default
        })
    }

    fn mode(&mut self, mode: &Spanned<String>) -> u32 {
        let text = self.text(mode);
        match super::runtime::file_mode(&text) {
            Some(bits) => bits,
            None => {
                self.complaints.add(
                    mode.span(),
                    format!("`{text}` is not a file mode"),
                    "such as `0660`",
                );
                0o600
            }
        }
    }

    /// It is a metric's label, and a part of the names of sockets and folders.
    fn plain_name(&mut self, at: Range<usize>, name: &str) {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        let is_path = name.trim_matches('.').is_empty();
        if is_path || name.len() > 64 || !name.bytes().all(is_plain) {
            self.complaints.add(
                at,
                format!("`{name}` is not a name"),
                "1 to 64 of letters, digits, `-`, `_` and `.`",
            );
        }
    }

    /// A user or group by number, or by its name in the local files.
    fn account(&mut self, who: &Spanned<String>, file: &str) -> Option<u32> {
        let text = self.text(who);
        let found = text.parse().ok().or_else(|| look_up(file, &text));
        if found.is_none() {
            let make = if file.ends_with("group") { "groupadd" } else { "useradd" };
            let hint = format!("make it (`{make} --system {text}`), or give the number of one");
            self.complaints.add(who.span(), format!("no `{text}` in `{file}`"), hint);
        }
        found
    }

    /// A text with its place.
    fn placed(&mut self, given: &Spanned<String>) -> Text {
        Text { text: self.text(given), place: self.origin.source.place(given.span().start) }
    }

    /// A file; a relative path is relative to the configuration.
    fn file(&mut self, given: &Spanned<String>) -> File {
        let path = self.origin.folder.join(self.text(given));
        File { path, place: self.origin.source.place(given.span().start) }
    }

    /// A string with `${NAME}` and `${NAME:-default}` replaced.
    fn text(&mut self, given: &Spanned<String>) -> String {
        let mut out = String::new();
        let mut rest = given.get_ref().as_str();
        while let Some((before, tail)) = rest.split_once("${") {
            out.push_str(before);
            let Some((inside, after)) = tail.split_once('}') else {
                self.complaints.add(given.span(), "`${` without `}`", "");
                return out;
            };
            let (name, default) = match inside.split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (inside, None),
            };
            match (self.origin.env)(name).filter(|value| !value.is_empty() || default.is_none()) {
                Some(value) => out.push_str(&value),
                None => match default {
                    Some(default) => out.push_str(default),
                    None => self.complaints.add(
                        given.span(),
                        format!("environment variable `{name}` is not set"),
                        format!("set it, or write `${{{name}:-default}}`"),
                    ),
                },
            }
            rest = after;
        }
        out + rest
    }
}

/// The number behind a name in a file of `name:x:number:…` lines.
fn look_up(file: &str, name: &str) -> Option<u32> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}
