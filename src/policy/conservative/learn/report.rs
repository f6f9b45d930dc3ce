//! What was learned, as a file of rules with the reasons in comments.
//!
//! `dockgate learn` prints it. What must stay true: it is a file that `dockgate check` accepts.

use std::fmt::{self, Write as _};

use serde_json::Value as Json;

use super::super::rules::{Allowed, Requirement, quote};
use super::{LearnedRules, Seen, Used, mounts, widen};
use crate::policy::RequestPart;

/// Rules whose opening gives away the host, or another's container; the beginnings of their ids.
const DANGERS: &[&str] = &[
    "build.cache-list",
    "build.cgroup-parent",
    "build.content",
    "build.device",
    "build.entitlement",
    "build.network",
    "build.operation",
    "build.outputs",
    "build.prune",
    "build.security",
    "class.",
    "container.annotations",
    "container.bind",
    "container.blkio-device",
    "container.cap",
    "container.cgroup",
    "container.checkpoint",
    "container.copy",
    "container.device",
    "container.group-add",
    "container.ipc-host",
    "container.log-driver",
    "container.masked-paths",
    "container.mount",
    "container.network-host",
    "container.not-own",
    "container.pid-host",
    "container.privileged",
    "container.propagation",
    "container.readonly-paths",
    "container.runtime",
    "container.security-opt",
    "container.sysctls",
    "container.userns-host",
    "container.uts-host",
    "container.volume",
    "container.working-dir",
    "exec.",
    "network.driver",
    "network.not-own",
    "network.options",
    "volume.driver",
    "volume.not-own",
];
/// Of the names in a comment.
const MOST_NAMES: usize = 5;

/// What is a matter of the configuration, not of rules.
#[derive(Default)]
struct Settings {
    binds: mounts::Binds,
    /// The lowest and the highest.
    ports: Option<(u16, u16)>,
}

impl fmt::Display for LearnedRules {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut settings = Settings::default();
        let mut body = String::new();
        for used in self.operations.values() {
            self.operation(used, &mut settings, &mut body)?;
        }
        self.preface(out)?;
        settings.write(out)?;
        writeln!(out, "\nextends = \"conservative\"\nonly = [")?;
        let listed = |used: &&Used| self.builtin.operations.contains_key(&used.row.endpoint);
        for used in self.operations.values().filter(listed) {
            writeln!(out, "    {},", quote(used.row.endpoint.id()))?;
        }
        writeln!(out, "]")?;
        out.write_str(&body)
    }
}

impl LearnedRules {
    fn preface(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (calls, audited) = (self.calls, self.audited);
        writeln!(
            out,
            "# Learned from {calls} calls, {audited} of them with findings. A proposal, to be read:"
        )?;
        writeln!(
            out,
            "# it allows what was asked, not what should be. Whoever may do what stands behind a"
        )?;
        writeln!(out, "# `DANGER` has the host, or what belongs to others on it.")?;
        if self.denied > 0 {
            writeln!(out, "#\n# {} more calls were refused, and are not in here.", self.denied)?;
        }
        if self.left_out > 0 {
            let left_out = self.left_out;
            writeln!(
                out,
                "#\n# {left_out} findings are not in here: their records had no room for them."
            )?;
        }
        if !self.others.is_empty() {
            writeln!(out, "#\n# No rules can allow these:")?;
        }
        for ((policy, rule), times) in &self.others {
            writeln!(out, "# - {} of {}, {times} times", comment(rule), comment(policy))?;
        }
        Ok(())
    }

    fn operation(&self, used: &Used, settings: &mut Settings, out: &mut String) -> fmt::Result {
        let id = used.row.endpoint.id();
        let is_builtin = self.builtin.operations.contains_key(&used.row.endpoint);
        let mut path = String::new();
        let mut tables: [(RequestPart, &str, String); 3] = [
            (RequestPart::Query, "query", String::new()),
            (RequestPart::Header, "headers", String::new()),
            (RequestPart::Body, "body", String::new()),
        ];
        for ((part, place), seen) in &used.places {
            let line = match part {
                RequestPart::Path => self.path(used, seen),
                _ => self.entry(used, *part, place, seen, settings),
            };
            match tables.iter_mut().find(|(of, ..)| of == part) {
                Some((.., table)) => table.push_str(&line),
                None => path.push_str(&line),
            }
        }
        if !is_builtin || !path.is_empty() {
            out.push('\n');
            if let Some(seen) = &used.refused {
                out.push_str(&reasons(seen));
            }
            write!(out, "[operation.{id}]\n{path}")?;
        }
        for (_, name, table) in tables.iter().filter(|(.., table)| !table.is_empty()) {
            // A table of nothing but comments would be fine, but is no rule.
            write!(out, "\n[operation.{id}.{name}]\n{table}")?;
        }
        Ok(())
    }

    fn path(&self, used: &Used, seen: &Seen) -> String {
        if let Some(rule) = self.builtin_rule(used.row, RequestPart::Path, "") {
            let wider = widen::widen(rule, &seen.found);
            let rule = wider.map_or("\"any\"".to_owned(), |rule| rule.to_toml(None));
            return format!("{}path = {rule}\n", reasons(seen));
        }
        let comment = reasons(seen);
        if seen.causes.iter().all(|causes| self.may_be_made(causes)) {
            let with = "can be made by the rules in here, and so be used: `path` stays `own`";
            return format!("{}# {with}\n", comment.replace("# DANGER", "#"));
        }
        let mut why: Vec<String> = seen
            .causes
            .iter()
            .flatten()
            .map(|cause| {
                format!("`{}` of {}", self::comment(&cause.place), self::comment(&cause.operation))
            })
            .collect();
        why.sort();
        why.dedup();
        why.truncate(MOST_NAMES);
        let why = match why.is_empty() {
            true => String::new(),
            false => format!("# not made by the rules in here, for: {}\n", why.join(", ")),
        };
        format!("{comment}{why}path = \"any\"\n")
    }

    fn entry(
        &self,
        used: &Used,
        part: RequestPart,
        place: &str,
        seen: &Seen,
        settings: &mut Settings,
    ) -> String {
        let any = || format!("{}{} = \"any\"\n", reasons(seen), quote(place));
        let Some(rule) = self.builtin_rule(used.row, part, place) else { return any() };
        let has = |wanted: fn(&Allowed) -> bool| match &rule.must {
            Requirement::Be(allowed) => allowed.iter().any(wanted),
            _ => false,
        };
        let wider = if has(|one| matches!(one, Allowed::Bind)) {
            mounts::widen(rule, &seen.found, &mut settings.binds)
        } else if has(|one| matches!(one, Allowed::Ports(_))) {
            let ports = seen.found.iter().map(|found| settings.take_ports(found.as_ref()));
            match ports.collect::<Option<Vec<()>>>() {
                Some(_) => return format!("# {place}: see `ports` above\n"),
                None => None,
            }
        } else {
            widen::widen(rule, &seen.found)
        };
        let Some(mut wider) = wider else { return any() };
        if let (Requirement::Be(before), Requirement::Be(after)) = (&rule.must, &wider.must)
            && before.len() == after.len()
            && has(|one| matches!(one, Allowed::Bind))
        {
            return format!("# {place}: see `binds` above\n");
        }
        if has(|one| matches!(one, Allowed::RegistryOfName | Allowed::RegistryAddress)) {
            wider.hint = "or name the registry in `registries` of the policy".to_owned();
        }
        let fill = self.fill(used.row, place);
        let socket = match &wider.must {
            Requirement::Be(allowed)
                if allowed.iter().any(|one| matches!(one, Allowed::OwnSocket)) =>
            {
                "# `own-socket`: the container gets the listener's own socket, not the engine's\n"
            }
            _ => "",
        };
        format!("{}{socket}{} = {}\n", reasons(seen), quote(place), wider.to_toml(fill))
    }
}

impl Settings {
    /// None where it is no port, or none was asked for.
    fn take_ports(&mut self, found: Option<&Json>) -> Option<()> {
        for port in found?.as_array()? {
            for port in port.as_str()?.split('-').filter(|port| !matches!(*port, "" | "0")) {
                let port: u16 = port.parse().ok()?;
                let (low, high) = self.ports.unwrap_or((port, port));
                self.ports = Some((low.min(port), high.max(port)));
            }
        }
        Some(())
    }

    fn write(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.binds.is_empty() && self.ports.is_none() {
            return Ok(());
        }
        writeln!(out, "#\n# And in the configuration:\n#")?;
        writeln!(out, "# [policy.NAME]\n# kind = \"conservative\"\n# rules = \"THIS FILE\"")?;
        if let Some((low, high)) = self.ports {
            writeln!(out, "# ports = \"{low}-{high}\"")?;
        }
        if !self.binds.is_empty() {
            writeln!(out, "# binds = [")?;
        }
        for (path, is_writable) in &self.binds {
            let mode = if *is_writable { ", mode = \"rw\"" } else { "" };
            writeln!(out, "#     {{ host = {}{mode} }},", quote(&path.to_string_lossy()))?;
        }
        if self.binds.is_empty() { Ok(()) } else { writeln!(out, "# ]") }
    }
}

/// Why a line is there.
fn reasons(seen: &Seen) -> String {
    let rule = comment(&seen.rule);
    let danger = match DANGERS.iter().any(|danger| seen.rule.starts_with(danger)) {
        true => "DANGER: ",
        false => "",
    };
    let mut names: Vec<String> =
        seen.by.iter().take(MOST_NAMES).map(|name| comment(name)).collect();
    if seen.by.len() > MOST_NAMES {
        names.push(format!("{} more", seen.by.len() - MOST_NAMES));
    }
    let times = if seen.times == 1 { "once".to_owned() } else { format!("{} times", seen.times) };
    format!("# {danger}{rule}, {times}, by {}\n", names.join(", "))
}

/// A text that ends no comment.
fn comment(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
