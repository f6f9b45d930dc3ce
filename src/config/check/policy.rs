//! `[policy.*]`: each kind with its own keys and no others.
//!
//! Called by `check::check`. What must stay true: what the kinds are and which keys they have stands in `KINDS`, once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Component, Path};
use std::time::Duration;

use toml::Spanned;

use super::super::policy::{AllowedBind, Authz, Conservative, Policy, PolicyKind, Ports, Rego};
use super::super::raw;
use super::kinds::{self, SectionKind, section};
use super::temporary::{RawEnv, RawWhen};
use super::{Checking, DEFAULT_POLICY};
use crate::wire::url::HttpUrl;

/// Of one evaluation in Rego; an honest one takes well below a thousandth of it.
const REGO_TIME: Duration = Duration::from_millis(100);
const REGO_INPUT: usize = 1 << 20;
/// How long a plugin may take for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The kind that shows its callers another engine than there is.
pub(super) const NAMESPACE: &str = "namespace";
/// The kind that names other policies: it is checked after them.
pub(super) const TEMPORARY: &str = "temporary-listener";

/// What a `[policy.NAME]` turned out to be; `None` when something is wrong with it.
pub(super) type Policies = Vec<(String, Option<Policy>)>;

section! {
    RawPolicy { kind: Spanned<String>, mode: Option<Spanned<String>>, }
    rules: Spanned<String>,
    binds: Vec<raw::AllowedBind>,
    ports: Spanned<String>,
    registries: Spanned<Vec<Spanned<String>>>,
    fetch: Spanned<Vec<Spanned<String>>>,
    no_new_privileges: Spanned<bool>,
    force: Spanned<raw::limits::LimitSettings>,
    default: Spanned<raw::limits::LimitSettings>,
    max: Spanned<raw::limits::Caps>,
    users: Spanned<raw::limits::Scopes>,
    groups: Spanned<raw::limits::Scopes>,
    file: Spanned<String>,
    input_bytes: Spanned<i64>,
    url: Spanned<String>,
    timeout: Spanned<String>,
    ca: Spanned<String>,
    name: Spanned<String>,
    key: Spanned<String>,
    network_pool: Spanned<String>,
    registry: Spanned<String>,
    shared: Spanned<Vec<Spanned<String>>>,
    quota: Spanned<raw::limits::Quota>,
    when: Spanned<RawWhen>,
    mount: Spanned<String>,
    policies: Spanned<Vec<Spanned<String>>>,
    namespace: Spanned<String>,
    ends: Spanned<String>,
    grace: Spanned<String>,
    group: Spanned<String>,
    shared_cgroup: Spanned<bool>,
    depth: Spanned<i64>,
    env: Spanned<RawEnv>,
    cache: Spanned<String>,
    domains: Spanned<Vec<Spanned<String>>>,
    address: Spanned<String>,
    buildkit: Spanned<bool>,
}

/// A new policy is a row here.
pub(super) const KINDS: &[SectionKind<RawPolicy, PolicyKind>] = &[
    SectionKind {
        name: DEFAULT_POLICY,
        keys: &["rules", "binds", "ports", "registries", "fetch", "no_new_privileges"],
        check: |cx, _, raw| Some(PolicyKind::Conservative(Box::new(cx.conservative(raw)))),
    },
    SectionKind {
        name: "limits",
        keys: &["force", "default", "max", "users", "groups"],
        check: |cx, _, raw| Some(PolicyKind::Limits(Box::new(cx.limits_policy(raw)))),
    },
    SectionKind {
        name: "rego",
        keys: &["file", "timeout", "input_bytes"],
        check: |cx, _, raw| cx.rego(raw).map(PolicyKind::Rego),
    },
    SectionKind {
        name: "authz",
        keys: &["url", "timeout", "ca"],
        check: |cx, name, raw| cx.authz(name, raw).map(PolicyKind::Authz),
    },
    SectionKind {
        name: NAMESPACE,
        keys: &["name", "key", "network_pool", "registry", "ports", "shared", "quota"],
        check: |cx, name, raw| cx.namespace(name, raw).map(|one| PolicyKind::Namespace(one.into())),
    },
    SectionKind {
        name: TEMPORARY,
        keys: &[
            "when",
            "mount",
            "policies",
            "namespace",
            "ends",
            "grace",
            "group",
            "depth",
            "shared_cgroup",
            "env",
        ],
        check: |cx, name, raw| {
            cx.temporary(name, raw).map(|one| PolicyKind::TemporaryListener(one.into()))
        },
    },
    SectionKind {
        name: "transparent-cache",
        keys: &["cache", "domains", "address", "buildkit"],
        check: |cx, name, raw| {
            cx.transparent(name, raw).map(|one| PolicyKind::TransparentCache(one.into()))
        },
    },
];

impl Checking<'_> {
    pub(super) fn policies(&mut self, raw: BTreeMap<Spanned<String>, RawPolicy>) -> Policies {
        let check = |(name, raw): (Spanned<String>, RawPolicy)| {
            let audits = self.audits(raw.mode.as_ref());
            if let (true, Some(mode)) = (audits, &raw.mode)
                && let Some(why) = never_audits(raw.kind.get_ref())
            {
                self.complaints.add(mode.span(), why, "leave `mode` out");
            }
            let kind = self.policy_kind(&name, raw);
            let name = name.into_inner();
            let policy = (name.clone(), kind.map(|kind| Policy { name, audits, kind }));
            self.known.push(policy);
        };
        let is_last = |(_, raw): &(_, RawPolicy)| raw.kind.get_ref() == TEMPORARY;
        let (last, first): (Vec<_>, Vec<_>) = raw.into_iter().partition(is_last);
        first.into_iter().chain(last).for_each(check);
        std::mem::take(&mut self.known)
    }

    /// What a listener's `policies` names: a `[policy.NAME]`, or a kind that needs no keys.
    pub(super) fn policy(&mut self, name: &Spanned<String>, known: &Policies) -> Option<Policy> {
        let text = self.text(name);
        if let Some((_, policy)) = known.iter().find(|(other, _)| *other == text) {
            return policy.clone();
        }
        match text.as_str() {
            DEFAULT_POLICY => Some(Policy::conservative()),
            kind if is_kind(kind) => {
                let hint = format!("write `[policy.{text}]` with `kind = \"{text}\"`");
                let what = format!("policy `{text}` needs its own section");
                self.complaints.add(name.span(), what, hint);
                None
            }
            _ => {
                self.no_such_kind(name.span(), &text);
                None
            }
        }
    }

    fn policy_kind(&mut self, name: &Spanned<String>, raw: RawPolicy) -> Option<PolicyKind> {
        let kind = self.text(&raw.kind);
        let Some(row) = KINDS.iter().find(|row| row.name == kind) else {
            self.no_such_kind(raw.kind.span(), &kind);
            return None;
        };
        self.refuse_keys(row, raw.given());
        // A listener that names a kind means that kind, and would get another.
        let named = name.get_ref();
        if is_kind(named) && *named != kind {
            let what = format!("`{named}` is a kind, and this policy is of kind `{kind}`");
            self.complaints.add(name.span(), what, "give the policy another name");
        }
        (row.check)(self, name, raw)
    }

    fn authz(&mut self, name: &Spanned<String>, raw: RawPolicy) -> Option<Authz> {
        let timeout = self.duration(raw.timeout, PATIENCE);
        let Some(url) = raw.url else {
            self.complaints.add(
                name.span(),
                format!("`[policy.{}]` needs `url`", name.get_ref()),
                "",
            );
            return None;
        };
        let text = self.text(&url);
        let host = text.strip_prefix("http://").map(|rest| rest.split(['/', ':']).next());
        match host {
            Some(Some("127.0.0.1" | "localhost")) => {}
            // Who can change an answer on its way decides in the plugin's place.
            Some(_) => {
                let what = "a plugin beyond this machine must be asked over `https://`";
                self.complaints.add(url.span(), what, "");
            }
            None if text.starts_with("unix:///") || text.starts_with("https://") => {}
            None => self.complaints.add(
                url.span(),
                format!("`{text}` is not an address of a plugin"),
                "use `unix:///run/docker/plugins/NAME.sock`, `http://127.0.0.1:port` or `https://…`",
            ),
        }
        if let (Some(ca), false) = (&raw.ca, text.starts_with("https://")) {
            self.complaints.add(ca.span(), "`ca` is for `https://`", "");
        }
        let ca = raw.ca.map(|ca| self.file(&ca));
        Some(Authz { url: self.placed(&url), timeout, ca })
    }

    fn no_such_kind(&mut self, at: Range<usize>, kind: &str) {
        self.complaints.add(
            at,
            format!("there is no policy `{kind}`"),
            format!("kinds: {}; `policies = []` is a pass-through", kinds::names(KINDS, "and")),
        );
    }

    fn audits(&mut self, mode: Option<&Spanned<String>>) -> bool {
        match mode.map(|mode| (self.text(mode), mode.span())) {
            None => false,
            Some((text, at)) => match text.as_str() {
                "enforce" => false,
                "audit" => true,
                _ => {
                    let what = format!("`{text}` is not a mode");
                    self.complaints.add(at, what, "`enforce` or `audit`");
                    false
                }
            },
        }
    }

    fn conservative(&mut self, raw: RawPolicy) -> Conservative {
        Conservative {
            rules: raw.rules.map(|rules| self.file(&rules)),
            binds: self.binds(raw.binds.unwrap_or_default()),
            ports: raw.ports.map_or(Ports::default(), |ports| self.ports(&ports)),
            registries: raw
                .registries
                .map(|hosts| hosts.into_inner().iter().map(|host| self.text(host)).collect()),
            fetch: raw.fetch.map(|prefixes| {
                prefixes.into_inner().iter().filter_map(|one| self.fetch_prefix(one)).collect()
            }),
            no_new_privileges: raw.no_new_privileges.is_some_and(Spanned::into_inner),
        }
    }

    /// Without a slash behind the host `https://example.com` would look as if it covered `https://example.com.evil.org`.
    fn fetch_prefix(&mut self, given: &Spanned<String>) -> Option<HttpUrl> {
        let text = self.text(given);
        let prefix = HttpUrl::parse(&text).filter(HttpUrl::is_prefix);
        if prefix.is_none() {
            self.complaints.add(
                given.span(),
                format!("`{text}` is not the beginning of addresses that are fetched"),
                "`https://` or `http://`, a host and a path, such as `https://example.com/`; no user, no query, no `..`",
            );
        }
        prefix
    }

    fn rego(&mut self, raw: RawPolicy) -> Option<Rego> {
        let Some(file) = raw.file else {
            self.complaints.add(
                raw.kind.span(),
                "`kind = \"rego\"` needs `file`",
                "the policy in Rego",
            );
            return None;
        };
        Some(Rego {
            file: self.file(&file),
            timeout: self.duration(raw.timeout, REGO_TIME),
            input_bytes: self.size(raw.input_bytes, REGO_INPUT),
        })
    }

    /// One within a directory that containers can write could be replaced by a link to anywhere.
    fn binds(&mut self, raw: Vec<raw::AllowedBind>) -> Vec<AllowedBind> {
        let spans: Vec<Range<usize>> = raw.iter().map(|bind| bind.host.span()).collect();
        let binds: Vec<AllowedBind> = raw.into_iter().map(|bind| self.bind_of(bind)).collect();
        for (bind, span) in binds.iter().zip(spans) {
            let is_around = |other: &&AllowedBind| {
                other.writable && bind.host != other.host && bind.host.starts_with(&other.host)
            };
            if let Some(open) = binds.iter().find(is_around) {
                let what = format!(
                    "`{}` is within `{}`, where containers can put a link in its place",
                    bind.host.display(),
                    open.host.display()
                );
                self.complaints.add(span, what, "give one of them away, or make them neighbours");
            }
        }
        binds
    }

    fn bind_of(&mut self, raw: raw::AllowedBind) -> AllowedBind {
        let host = self.text(&raw.host);
        let path = Path::new(&host);
        let is_plain = path.is_absolute()
            && path
                .components()
                .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        if !is_plain || path == Path::new("/") {
            self.complaints.add(
                raw.host.span(),
                format!("`{host}` is not a directory that can be given away"),
                "an absolute path without `..`, and not `/`",
            );
        }
        let writable = match raw.mode.as_ref().map(|mode| (self.text(mode), mode.span())) {
            None => false,
            Some((text, at)) => match text.as_str() {
                "ro" => false,
                "rw" => true,
                _ => {
                    self.complaints.add(
                        at,
                        format!("`{text}` is not a mode of a bind"),
                        "`ro` or `rw`",
                    );
                    false
                }
            },
        };
        let place = self.origin.source.place(raw.host.span().start);
        AllowedBind { host: path.components().collect(), writable, place }
    }

    fn ports(&mut self, given: &Spanned<String>) -> Ports {
        let text = self.text(given);
        match text.as_str() {
            "none" => Ports::None,
            "random" => Ports::Random,
            "any" => Ports::Any,
            _ => match text.split_once('-').map(|(low, high)| (low.parse(), high.parse())) {
                Some((Ok(low), Ok(high))) if 0 < low && low <= high => Ports::Between(low, high),
                _ => {
                    self.complaints.add(
                        given.span(),
                        format!("`{text}` says nothing of ports"),
                        "`none`, `random`, `any`, or a range such as `20000-29999`",
                    );
                    Ports::None
                }
            },
        }
    }
}

fn never_audits(kind: &str) -> Option<&'static str> {
    match kind {
        NAMESPACE => {
            Some("a namespace cannot only audit: names are the caller's own, or they are not")
        }
        TEMPORARY => Some("a temporary listener cannot only audit: a container has it, or has not"),
        "transparent-cache" => {
            Some("a transparent cache cannot only audit: containers are sent to it, or are not")
        }
        _ => None,
    }
}

fn is_kind(name: &str) -> bool {
    KINDS.iter().any(|kind| kind.name == name)
}
