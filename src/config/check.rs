//! From what was written to what may run.
//!
//! Called by `config::parse` and, for a start without a file, `config::without_file`. What must stay
//! true: all complaints are collected, not only the first, and nothing here touches the network.

use std::net::IpAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::raw::{self, Raw};
use super::{Bind, Config, Engine, Limits, Listener, Log, Policy};

pub const DEFAULT_POLICY: &str = "conservative";
const DEFAULT_ENGINE: &str = "unix:///var/run/docker.sock";
const DEFAULT_LIMITS: Limits = Limits {
    // As dockerd: dockerode repeats whole create bodies in the request line.
    header_bytes: 1 << 20,
    header_time: Duration::from_secs(30),
    json_body: 4 << 20,
};
const MOST_CONNECTIONS: usize = 16_384;

/// Something wrong, at a byte of the file.
#[derive(Debug)]
pub(super) struct Complaint {
    pub at: usize,
    pub what: String,
    pub hint: String,
}

impl Complaint {
    pub(super) fn new(at: usize, what: impl Into<String>, hint: impl Into<String>) -> Complaint {
        Complaint { at, what: what.into(), hint: hint.into() }
    }

    /// For a command line, which has no places.
    pub(super) fn in_words(self) -> String {
        if self.hint.is_empty() {
            self.what
        } else {
            format!("{}\n  hint: {}", self.what, self.hint)
        }
    }
}

pub(super) fn check(
    raw: Raw,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Vec<Complaint>> {
    let mut cx = Checking { env, complaints: Vec::new() };
    let engine = cx.engine(raw.engine);
    let policies: Vec<(String, Option<Policy>)> = raw
        .policy
        .into_iter()
        .map(|(name, policy)| (name, cx.policy_kind(&policy.into_inner().kind)))
        .collect();
    let listeners = cx.listeners(raw.listener, &policies);
    let limits = cx.limits(raw.limits);
    let drain_timeout = cx.duration(raw.drain_timeout, Duration::from_secs(30));
    if listeners.is_empty() {
        cx.complain(0..0, "no `[[listener]]`: nothing would run", "add one with `name` and `url`");
    }
    let log = Log { format: raw.log.format, access: raw.log.access };
    let config = Config { engine, listeners, limits, log, drain_timeout };
    if cx.complaints.is_empty() { Ok(config) } else { Err(cx.complaints) }
}

pub(super) fn without_file(
    listeners: &[String],
    engine: Option<String>,
    policies: &[String],
) -> Result<Config, Vec<Complaint>> {
    let place = |text: String| Spanned::new(0..0, text);
    let engine = engine.or_else(|| std::env::var("DOCKER_HOST").ok());
    let policies = match policies {
        [] => vec![DEFAULT_POLICY.to_owned()],
        given if given.iter().any(|name| name == "none") => match given {
            [_] => Vec::new(),
            _ => return Err(vec![Complaint::new(0, "`--policy none` stands alone", "")]),
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
        policies: Some(policies.iter().cloned().map(place).collect()),
        max_connections: None,
        insecure: false,
    });
    let raw = Raw {
        engine: raw::Engine { url: engine.map(place), patience: None },
        listener: listener.collect(),
        ..Raw::default()
    };
    check(raw, &|_| None)
}

fn default_listener() -> String {
    let runtime = std::env::var("XDG_RUNTIME_DIR").ok().filter(|dir| dir.starts_with('/'));
    let folder = match (rustix::process::geteuid().is_root(), runtime) {
        (false, Some(dir)) => dir,
        _ => "/run".to_owned(),
    };
    format!("unix://{folder}/dockgate/docker.sock")
}

struct Checking<'e> {
    env: &'e dyn Fn(&str) -> Option<String>,
    complaints: Vec<Complaint>,
}

impl Checking<'_> {
    fn complain(&mut self, at: Range<usize>, what: impl Into<String>, hint: impl Into<String>) {
        self.complaints.push(Complaint::new(at.start, what, hint));
    }

    fn engine(&mut self, raw: raw::Engine) -> Engine {
        let patience = self.duration(raw.patience, Duration::from_secs(10));
        let url = raw.url.unwrap_or_else(|| Spanned::new(0..0, DEFAULT_ENGINE.to_owned()));
        let expanded = self.text(&url);
        let scheme = expanded.split_once("://").map(|(scheme, _)| scheme);
        match scheme {
            Some("unix" | "tcp") => {}
            Some("tls" | "https") => {
                self.complain(
                    url.span(),
                    format!("`{expanded}`: TLS to the engine is not built yet"),
                    "",
                );
            }
            _ => self.complain(
                url.span(),
                format!("`{expanded}` is not an address of an engine"),
                "use `unix:///path` or `tcp://host:port`",
            ),
        }
        Engine { url: expanded, patience }
    }

    fn listeners(
        &mut self,
        raw: Vec<raw::Listener>,
        policies: &[(String, Option<Policy>)],
    ) -> Vec<Listener> {
        let mut listeners: Vec<Listener> = Vec::new();
        for one in raw {
            let at = one.name.span();
            let listener = self.listener(one, policies);
            if listeners.iter().any(|other| other.name == listener.name) {
                self.complain(
                    at.clone(),
                    format!("two listeners are named `{}`", listener.name),
                    "",
                );
            }
            if listeners.iter().any(|other| other.bind == listener.bind) {
                self.complain(
                    at,
                    format!("listener `{}` has the address of another", listener.name),
                    "",
                );
            }
            listeners.push(listener);
        }
        listeners
    }

    fn listener(&mut self, raw: raw::Listener, policies: &[(String, Option<Policy>)]) -> Listener {
        let name = self.text(&raw.name);
        if name.is_empty() {
            self.complain(raw.name.span(), "`name` is empty", "");
        }
        let bind = self.bind(&raw);
        let given = raw.policies.unwrap_or_default();
        let chosen = given.iter().filter_map(|policy| self.policy(policy, policies)).collect();
        let max_connections = self.size(raw.max_connections, MOST_CONNECTIONS);
        Listener { name, bind, policies: chosen, max_connections }
    }

    fn bind(&mut self, raw: &raw::Listener) -> Bind {
        let url = self.text(&raw.url);
        match url.split_once("://") {
            Some(("unix", path)) => {
                if !path.starts_with('/') {
                    self.complain(
                        raw.url.span(),
                        format!("`{url}`: the path must be absolute"),
                        "",
                    );
                }
                Bind::Unix {
                    path: PathBuf::from(path),
                    mode: raw.mode.as_ref().map_or(0o660, |mode| self.mode(mode)),
                    owner: raw.owner.as_ref().and_then(|who| self.account(who, "/etc/passwd")),
                    group: raw.group.as_ref().and_then(|who| self.account(who, "/etc/group")),
                }
            }
            Some(("tcp", address)) => {
                for unused in [&raw.mode, &raw.owner, &raw.group].into_iter().flatten() {
                    self.complain(
                        unused.span(),
                        "`mode`, `owner` and `group` are for `unix://`",
                        "",
                    );
                }
                self.tcp(raw, address)
            }
            scheme => {
                let what = match scheme {
                    Some(("tls" | "systemd", _)) => format!("`{url}` is not built yet"),
                    _ => format!("`{url}` is not an address to listen on"),
                };
                self.complain(raw.url.span(), what, "use `unix:///path` or `tcp://address:port`");
                Bind::Tcp { address: url }
            }
        }
    }

    /// Whoever reaches a port without authentication owns the engine, within the policies.
    fn tcp(&mut self, raw: &raw::Listener, address: &str) -> Bind {
        let host = address.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
        match host.map(|(host, _)| host.trim_matches(['[', ']'])) {
            None => self.complain(
                raw.url.span(),
                format!("`tcp://{address}` names no port"),
                "use `tcp://address:port`",
            ),
            Some(host) => {
                let is_loopback = host == "localhost"
                    || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
                if !is_loopback && !raw.insecure {
                    self.complain(
                        raw.url.span(),
                        format!("`tcp://{address}` is beyond loopback and has no authentication"),
                        "listen on 127.0.0.1 or a unix socket, or say `insecure = true`",
                    );
                }
            }
        }
        Bind::Tcp { address: address.to_owned() }
    }

    fn policy(
        &mut self,
        name: &Spanned<String>,
        policies: &[(String, Option<Policy>)],
    ) -> Option<Policy> {
        let text = self.text(name);
        match policies.iter().find(|(other, _)| *other == text) {
            Some((_, policy)) => *policy,
            None => self.policy_kind(&Spanned::new(name.span(), text)),
        }
    }

    fn policy_kind(&mut self, kind: &Spanned<String>) -> Option<Policy> {
        match self.text(kind).as_str() {
            "conservative" => return Some(Policy::Conservative),
            planned @ ("namespace" | "limits" | "transparent-cache" | "temporary-listener"
            | "rego" | "authz") => {
                self.complain(kind.span(), format!("policy `{planned}` is not built yet"), "");
            }
            other => self.complain(
                kind.span(),
                format!("there is no policy `{other}`"),
                "built-in kinds: `conservative`; `policies = []` is a pass-through",
            ),
        }
        None
    }

    fn limits(&mut self, raw: raw::Limits) -> Limits {
        Limits {
            header_bytes: self.size(raw.header_bytes, DEFAULT_LIMITS.header_bytes),
            header_time: self.duration(raw.header_time, DEFAULT_LIMITS.header_time),
            json_body: self.size(raw.json_body, DEFAULT_LIMITS.json_body),
        }
    }

    fn size(&mut self, given: Option<Spanned<i64>>, default: usize) -> usize {
        let Some(given) = given else { return default };
        match usize::try_from(*given.get_ref()) {
            Ok(size) if size > 0 => size,
            _ => {
                self.complain(given.span(), "must be greater than 0", "");
                default
            }
        }
    }

    fn duration(&mut self, given: Option<Spanned<String>>, default: Duration) -> Duration {
        let Some(given) = given else { return default };
        let text = self.text(&given);
        humantime::parse_duration(&text).unwrap_or_else(|_| {
            self.complain(
                given.span(),
                format!("`{text}` is not a duration"),
                "such as `30s` or `5m`",
            );
            default
        })
    }

    fn mode(&mut self, mode: &Spanned<String>) -> u32 {
        let text = self.text(mode);
        match u32::from_str_radix(&text, 8) {
            Ok(bits) if bits <= 0o777 => bits,
            _ => {
                self.complain(
                    mode.span(),
                    format!("`{text}` is not a file mode"),
                    "such as `0660`",
                );
                0o600
            }
        }
    }

    /// A user or group by number, or by its name in the local files.
    fn account(&mut self, who: &Spanned<String>, file: &str) -> Option<u32> {
        let text = self.text(who);
        let found = text.parse().ok().or_else(|| look_up(file, &text));
        if found.is_none() {
            self.complain(who.span(), format!("no `{text}` in `{file}`"), "give its number");
        }
        found
    }

    /// A string with `${NAME}` and `${NAME:-default}` replaced.
    fn text(&mut self, given: &Spanned<String>) -> String {
        let mut out = String::new();
        let mut rest = given.get_ref().as_str();
        while let Some((before, tail)) = rest.split_once("${") {
            out.push_str(before);
            let Some((inside, after)) = tail.split_once('}') else {
                self.complain(given.span(), "`${` without `}`", "");
                return out;
            };
            let (name, default) = match inside.split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (inside, None),
            };
            match (self.env)(name).filter(|value| !value.is_empty() || default.is_none()) {
                Some(value) => out.push_str(&value),
                None => match default {
                    Some(default) => out.push_str(default),
                    None => self.complain(
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
