//! `[policy.*]`: each kind with its own keys and no others.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Component, Path};
use std::time::Duration;

use toml::Spanned;

use super::super::policy::{AllowedBind, Authz, Conservative, Policy, PolicyKind, Ports, Rego};
use super::super::raw;
use super::Checking;

/// Of one evaluation in Rego; an honest one takes well below a thousandth of it.
const REGO_TIME: Duration = Duration::from_millis(100);
const REGO_INPUT: usize = 1 << 20;
/// How long a plugin may take for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a `[policy.NAME]` turned out to be; `None` when something is wrong with it.
pub(super) type Policies = Vec<(String, Option<Policy>)>;

const KINDS: [&str; 4] = ["conservative", "limits", "rego", "authz"];

impl Checking<'_> {
    pub(super) fn policies(&mut self, raw: BTreeMap<Spanned<String>, raw::Policy>) -> Policies {
        let check = |(name, raw): (Spanned<String>, raw::Policy)| {
            let audits = self.audits(raw.mode.as_ref());
            let kind = self.policy_kind(&name, raw);
            let name = name.into_inner();
            (name.clone(), kind.map(|kind| Policy { name, audits, kind }))
        };
        raw.into_iter().map(check).collect()
    }

    /// What a listener's `policies` names: a `[policy.NAME]`, or a kind that needs no keys.
    pub(super) fn policy(&mut self, name: &Spanned<String>, known: &Policies) -> Option<Policy> {
        let text = self.text(name);
        if let Some((_, policy)) = known.iter().find(|(other, _)| *other == text) {
            return policy.clone();
        }
        match text.as_str() {
            "conservative" => Some(Policy::conservative()),
            "limits" | "rego" | "authz" => {
                let hint = format!("write `[policy.{text}]` with `kind = \"{text}\"`");
                self.complaints.add(
                    name.span(),
                    format!("policy `{text}` needs its own section"),
                    hint,
                );
                None
            }
            _ => {
                self.no_such_kind(name.span(), &text);
                None
            }
        }
    }

    fn policy_kind(&mut self, name: &Spanned<String>, raw: raw::Policy) -> Option<PolicyKind> {
        let kind = self.text(&raw.kind);
        let allowed: &[&str] = match kind.as_str() {
            "conservative" => &["rules", "binds", "ports", "registries", "no_new_privileges"],
            "limits" => &["force", "default", "max", "users", "groups"],
            "rego" => &["file", "timeout", "input_bytes"],
            "authz" => &["url", "timeout", "ca"],
            _ => {
                self.no_such_kind(raw.kind.span(), &kind);
                return None;
            }
        };
        for (key, at) in given_keys(&raw) {
            if !allowed.contains(&key) {
                self.complaints.add(at, format!("`{key}` is not a key of `kind = \"{kind}\"`"), "");
            }
        }
        // A listener that names a kind means that kind, and would get another.
        let (named, is_kind) = (name.get_ref(), KINDS.contains(&name.get_ref().as_str()));
        if is_kind && *named != kind {
            let what = format!("`{named}` is a kind, and this policy is of kind `{kind}`");
            self.complaints.add(name.span(), what, "give the policy another name");
        }
        match kind.as_str() {
            "authz" => self.authz(name, raw).map(PolicyKind::Authz),
            "limits" => Some(PolicyKind::Limits(Box::new(self.limits_policy(raw)))),
            "rego" => self.rego(raw).map(PolicyKind::Rego),
            _ => Some(PolicyKind::Conservative(Box::new(self.conservative(raw)))),
        }
    }

    fn authz(&mut self, name: &Spanned<String>, raw: raw::Policy) -> Option<Authz> {
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
        match kind {
            "namespace" | "transparent-cache" | "temporary-listener" => {
                self.complaints.add(at, format!("policy `{kind}` is not built yet"), "");
            }
            _ => self.complaints.add(
                at,
                format!("there is no policy `{kind}`"),
                "kinds: `conservative`, `limits`, `rego` and `authz`; `policies = []` is a pass-through",
            ),
        }
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

    fn conservative(&mut self, raw: raw::Policy) -> Conservative {
        Conservative {
            rules: raw.rules.map(|rules| self.file(&rules)),
            binds: self.binds(raw.binds.unwrap_or_default()),
            ports: raw.ports.map_or(Ports::default(), |ports| self.ports(&ports)),
            registries: raw
                .registries
                .map(|hosts| hosts.into_inner().iter().map(|host| self.text(host)).collect()),
            no_new_privileges: raw.no_new_privileges.is_some_and(Spanned::into_inner),
        }
    }

    fn rego(&mut self, raw: raw::Policy) -> Option<Rego> {
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

/// Which keys stand in a section, besides those that every kind has.
fn given_keys(raw: &raw::Policy) -> Vec<(&'static str, Range<usize>)> {
    fn at<T>(value: Option<&Spanned<T>>) -> Option<Range<usize>> {
        value.map(Spanned::span)
    }
    let binds = raw.binds.as_ref().map(|binds| binds.first().map_or(0..0, |bind| bind.host.span()));
    let keys = [
        ("rules", at(raw.rules.as_ref())),
        ("binds", binds),
        ("ports", at(raw.ports.as_ref())),
        ("registries", at(raw.registries.as_ref())),
        ("no_new_privileges", at(raw.no_new_privileges.as_ref())),
        ("force", at(raw.force.as_ref())),
        ("default", at(raw.default.as_ref())),
        ("max", at(raw.max.as_ref())),
        ("users", at(raw.users.as_ref())),
        ("groups", at(raw.groups.as_ref())),
        ("file", at(raw.file.as_ref())),
        ("input_bytes", at(raw.input_bytes.as_ref())),
        ("url", at(raw.url.as_ref())),
        ("timeout", at(raw.timeout.as_ref())),
        ("ca", at(raw.ca.as_ref())),
    ];
    keys.into_iter().filter_map(|(key, at)| Some((key, at?))).collect()
}
