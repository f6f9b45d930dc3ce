//! Which registries the engine may be sent to.
//!
//! Pulls, pushes, searches and logins make dockerd connect, from where dockerd is. `judge` asks here with the
//! host of an image's name. What must stay true: without a list, no address and no local name; with one,
//! nothing but what it names; a name that leads to such an address is one.

use serde_json::Value as Json;

use super::Conservative;
use super::judge::{Judge, Judgement};
use crate::api::grammar::image::DOCKER_HUB;
use crate::policy::{Context, Fact, Question, Reason, Verdict};
use crate::wire::address::is_public;

/// As the listener's configuration has it.
#[derive(Debug, Default)]
pub(super) struct Registries(Option<Vec<String>>);

impl Registries {
    pub(super) fn new(listed: Option<Vec<String>>) -> Registries {
        let lower =
            |hosts: Vec<String>| hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        Registries(listed.map(lower))
    }

    fn allow(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let host = if is_docker_hub(&host) { DOCKER_HUB } else { &host };
        match &self.0 {
            None => is_public_name(host),
            Some(listed) => listed.iter().any(|pattern| matches(pattern, host)),
        }
    }

    /// Regular expressions of the hosts that may be asked, with their ports, for whoever else has to compare them.
    pub(super) fn patterns(&self) -> Vec<String> {
        const ANY_PORT: &str = "(:[0-9]+)?";
        let Some(listed) = &self.0 else {
            let name = "([A-Za-z0-9-]{1,63}[.])+[A-Za-z-][A-Za-z0-9-]{0,62}";
            return vec![format!("{name}{ANY_PORT}")];
        };
        let mut patterns = Vec::new();
        for host in listed {
            let (name, port) = match host.rsplit_once(':') {
                Some((name, port)) => (name, format!(":{}", regex::escape(port))),
                None => (host.as_str(), ANY_PORT.to_owned()),
            };
            patterns.push(match name.strip_prefix('*') {
                Some(end) => format!("(?i:[A-Za-z0-9.-]+{}){port}", regex::escape(end)),
                None => format!("(?i:{}){port}", regex::escape(name)),
            });
            if host == DOCKER_HUB {
                patterns.push("(index|registry-1)[.]docker[.]io".to_owned());
            }
        }
        patterns
    }

    /// Those that may not, of what the patterns match: without a list, the local names.
    pub(super) fn denied(&self) -> Vec<String> {
        match &self.0 {
            None => vec![format!("(?i:[^/:]*[.]({}))(:[0-9]+)?", LOCAL.join("|"))],
            Some(_) => Vec::new(),
        }
    }
}

/// Whether the engine may be sent to a host. Anybody can have a name of the DNS that leads to an address inside
/// the operator's network: where this is the engine's own machine, and so its resolver, the name is looked up.
pub(super) fn judge(
    judge: &mut Judge<'_>,
    with: &Conservative,
    host: &str,
    cx: &Context<'_>,
) -> Judgement {
    if !with.registries.allow(host) {
        return Judgement::No;
    }
    let lower = host.to_ascii_lowercase();
    let is_named = with.registries.0.is_some();
    if is_named || !with.around.shares_host || is_docker_hub(&lower) {
        return Judgement::Yes;
    }
    let name = lower.rsplit_once(':').map_or(lower.as_str(), |(name, _)| name);
    let question = Question::Addresses(name.to_owned());
    match cx.facts.get(&question) {
        None => {
            judge.ask(question, cx);
            Judgement::Unknown
        }
        Some(Fact::Addresses(found)) => match found.iter().find(|one| !is_public(**one)) {
            _ if found.is_empty() => Judgement::Because(format!("`{name}` has no address")),
            None => Judgement::Yes,
            Some(_) => Judgement::Because(format!(
                "`{name}` leads to an address that is not public, and is not in `registries`"
            )),
        },
        _ => unresolved(judge, name, cx),
    }
}

/// Whether a client may be asked for its credentials for a host: as a pull from there is judged.
pub(super) fn credentials(with: &Conservative, host: &str, cx: &Context<'_>) -> Verdict {
    let mut asked = Judge::default();
    let why = match judge(&mut asked, with, host, cx) {
        Judgement::Yes => return Verdict::pass(),
        Judgement::Unknown => return Verdict::Ask(asked.asks.into_iter().collect()),
        Judgement::Because(why) | Judgement::Absent(why) => why,
        Judgement::No => "must not be asked for: builds may not use that registry".to_owned(),
    };
    let what = format!("credentials for `{host}`");
    let hint = "ask the operator for it (`registries` of the policy)";
    Verdict::deny(Reason::new("registry.host", what, why, hint))
}

/// A name that cannot be looked up is a no, unless the engine asks a proxy to look it up.
fn unresolved(judge: &mut Judge<'_>, name: &str, cx: &Context<'_>) -> Judgement {
    match cx.facts.get(&Question::Info) {
        None => {
            judge.ask(Question::Info, cx);
            Judgement::Unknown
        }
        Some(Fact::Json(info)) if has_proxy(info) => Judgement::Yes,
        _ => Judgement::Because(format!(
            "`{name}` cannot be looked up here, and is not in `registries`"
        )),
    }
}

fn has_proxy(info: &Json) -> bool {
    info.get("HttpsProxy").and_then(Json::as_str).is_some_and(|proxy| !proxy.is_empty())
}

fn is_docker_hub(host: &str) -> bool {
    matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io" | "hub.docker.com")
}

/// `*.example.com` stands for any name below; a host without a port for any port of it.
fn matches(pattern: &str, host: &str) -> bool {
    let without_port = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let host = if pattern.contains(':') { host } else { without_port };
    match pattern.strip_prefix('*') {
        Some(end) => end.starts_with('.') && host.len() > end.len() && host.ends_with(end),
        None => host == pattern,
    }
}

/// Top-level names that stand for this machine or its network (RFC 6761, RFC 6762, RFC 8375).
const LOCAL: &[&str] = &[
    "localhost",
    "local",
    "localdomain",
    "internal",
    "intranet",
    "lan",
    "home",
    "corp",
    "private",
    "arpa",
    "test",
    "invalid",
];

/// A DNS name that is none of this machine's or its network's own (RFC 6761, RFC 6762, RFC 8375).
fn is_public_name(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    let labels: Vec<&str> = name.split('.').collect();
    let is_label = |label: &&str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let Some(last) = labels.last() else { return false };
    // Every way of writing an IPv4 address ends in a number (inet_aton(3): `127.1`, `0x7f.1`).
    let is_number = last.starts_with(|c: char| c.is_ascii_digit());
    labels.len() > 1
        && labels.iter().all(is_label)
        && !is_number
        && !LOCAL.contains(last)
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_list_no_address_and_no_local_name_is_allowed() {
        let any = Registries::default();
        for good in
            ["docker.io", "ghcr.io", "registry.example.com:5000", "index.docker.io", "a.b.co"]
        {
            assert!(any.allow(good), "{good}");
        }
        for bad in [
            "169.254.169.254",
            "127.0.0.1:5000",
            "127.1",
            "2130706433",
            "0x7f.0x1",
            "0x7f.1",
            "[::1]:5000",
            "localhost",
            "localhost:5000",
            "db",
            "db:5000",
            "metadata.google.internal",
            "printer.local",
            "registry.lan",
            "x.localhost",
            "a..b",
            "",
            "evil.com:0",
            "evil.com:x",
            "evil.com:",
            "[fe80::1]",
            "1.2.3.4.",
            "a_b.com",
        ] {
            assert!(!any.allow(bad), "{bad}");
        }
    }

    /// Names that `is_public_name` takes, and where they lead.
    #[test]
    fn a_name_that_leads_inside_is_as_good_as_the_address() {
        use crate::auth::Identity;
        use crate::policy::conservative::{Conservative, Surroundings};
        use crate::policy::rehearsal::{Request, Verdict, rehearse};
        use crate::policy::{Chain, Link};

        let asks =
            |registries: Option<Vec<String>>, shares_host: bool, answer: Fact, proxy: &str| {
                let settings = crate::config::Conservative { registries, ..Default::default() };
                let around = Surroundings { shares_host, ..Default::default() };
                let policy = Conservative::new("c", &settings, &around).unwrap();
                let chain = Chain::new(vec![Link::new(Box::new(policy))]);
                let target = "/images/create?fromImage=Inside.Example.com:5000/x";
                let request = Request { method: "POST", target, body: b"" };
                let knows = |question: &Question| match question {
                    Question::Addresses(name) => {
                        assert_eq!(name, "inside.example.com");
                        answer.clone()
                    }
                    Question::Info => {
                        let info = serde_json::json!({ "HttpsProxy": proxy });
                        Fact::Json(std::sync::Arc::new(info))
                    }
                    other => panic!("{other}"),
                };
                let identity = Identity::imagined(None);
                match rehearse(&chain, "l", &identity, &request, &knows).verdict {
                    Verdict::Allowed(_) => None,
                    Verdict::Denied(_, reasons) => Some(reasons[0].message()),
                    Verdict::Malformed(why) => panic!("{why}"),
                    other @ (Verdict::Undecided(..)
                    | Verdict::Waits(..)
                    | Verdict::Answered(..)) => panic!("{other:?}"),
                }
            };
        let at = |addresses: &[&str]| {
            Fact::Addresses(addresses.iter().map(|one| one.parse().unwrap()).collect())
        };
        assert_eq!(asks(None, true, at(&["1.1.1.1", "2606:4700::1"]), ""), None);
        for inside in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "fd00::1", "::ffff:192.168.0.1"]
        {
            let said = asks(None, true, at(&["1.1.1.1", inside]), "p").unwrap();
            assert!(said.contains("leads to an address that is not public"), "{said}");
            assert_eq!(asks(None, false, at(&[inside]), ""), None, "another machine resolves");
            let listed = Some(vec!["*.example.com".to_owned()]);
            assert_eq!(asks(listed, true, at(&[inside]), ""), None, "the operator wants it");
        }
        assert!(asks(None, true, at(&[]), "").is_some());
        let failed = || Fact::Failed("no resolver".to_owned());
        assert!(asks(None, true, failed(), "").unwrap().contains("cannot be looked up here"));
        assert_eq!(asks(None, true, failed(), "http://proxy:3128"), None, "a proxy resolves");
    }

    #[test]
    fn a_list_is_all_there_is() {
        let listed = ["docker.io", "*.example.com", "127.0.0.1:5000"].map(str::to_owned).to_vec();
        let listed = Registries::new(Some(listed));
        for good in ["registry-1.docker.io", "a.example.com:5000", "127.0.0.1:5000"] {
            assert!(listed.allow(good), "{good}");
        }
        for bad in ["ghcr.io", "example.com", "aexample.com", "127.0.0.1:5001", "127.0.0.1", ""] {
            assert!(!listed.allow(bad), "{bad}");
        }
    }
}
