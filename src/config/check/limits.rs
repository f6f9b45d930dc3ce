//! `kind = "limits"`: values in human units, each in its range, and no two that contradict each other.
//!
//! Called by `check::policy`. What must stay true: a default or forced value above the cap beside it is
//! a complaint, and so is a cap that could not be kept (swap without memory).

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use toml::{Spanned, Value};

use super::super::policy::{
    Caps, LimitRules, LimitSettings, LimitsPolicy, LogSetting, Restart, Size, Template, Ulimit,
    Word,
};
use super::super::raw::limits;
use super::super::units;
use super::Checking;
use super::policy::RawPolicy;

type Sizes<'r> = [(Size, Option<&'r Spanned<Value>>); 7];

const RESTARTS: &str = "`no`, `on-failure`, `on-failure:5`, `unless-stopped` or `always`";
/// The engine takes no less (`linuxMinMemory`).
const LEAST_MEMORY: i64 = 6 << 20;

impl Checking<'_> {
    pub(super) fn limits_policy(&mut self, raw: RawPolicy) -> LimitsPolicy {
        let own = limits::SubjectLimits { force: raw.force, default: raw.default, max: raw.max };
        let general = self.limit_rules(&own, None);
        let mut scopes = |scopes: Option<Spanned<limits::Scopes>>| {
            let mut scopes: Vec<_> =
                scopes.map(Spanned::into_inner).unwrap_or_default().into_iter().collect();
            scopes.sort_by_key(|(name, _)| name.span().start);
            let check = |(name, rules): (Spanned<String>, limits::SubjectLimits)| {
                (name.into_inner(), self.limit_rules(&rules, Some(&general)))
            };
            scopes.into_iter().map(check).collect::<Vec<_>>()
        };
        let users = scopes(raw.users).into_iter().collect();
        let groups = scopes(raw.groups);
        LimitsPolicy { general, users, groups }
    }

    fn limit_rules(
        &mut self,
        raw: &limits::SubjectLimits,
        general: Option<&LimitRules>,
    ) -> LimitRules {
        let max = raw.max.as_ref().map(|max| self.caps(max.get_ref())).unwrap_or_default();
        let mut settings = |raw: Option<&Spanned<limits::LimitSettings>>| match raw {
            Some(raw) => self.settings(raw.get_ref(), &max),
            None => LimitSettings::default(),
        };
        let force = settings(raw.force.as_ref());
        let default = settings(raw.default.as_ref());
        let rules = LimitRules { force, default, max };
        self.swap_needs_memory(raw, &rules, general);
        rules
    }

    fn settings(&mut self, raw: &limits::LimitSettings, max: &Caps) -> LimitSettings {
        let sizes = self.sizes(sizes_of(raw));
        for (size, given) in sizes_of(raw) {
            let above = sizes.get(&size).zip(max.sizes.get(&size)).filter(|(own, max)| own > max);
            if let Some(((_, max), given)) = above.zip(given) {
                let what = format!("above the `max` beside it, {}", size.show(*max));
                self.complaints.add(given.span(), what, "");
            }
        }
        let words = [
            (Word::CgroupParent, &raw.cgroup_parent),
            (Word::User, &raw.user),
            (Word::Network, &raw.network),
            (Word::Runtime, &raw.runtime),
        ];
        let word = |(word, text): (Word, &Option<Spanned<String>>)| {
            text.as_ref().map(|text| (word, self.template(text, false)))
        };
        LimitSettings {
            sizes,
            words: words.into_iter().filter_map(word).collect(),
            labels: self.templates(&raw.labels),
            env: self.templates(&raw.env),
            ulimits: self.ulimits(&raw.ulimits, max),
            log: raw.log.as_ref().map(|log| self.log_setting(log, max)),
            restart: raw.restart.as_ref().and_then(|given| {
                let restart = self.restart(given)?;
                let allowed = max.restart.as_deref();
                if allowed.is_some_and(|allowed| !restart.is_within(allowed)) {
                    self.complaints.add(given.span(), "not among those in `max` beside it", "");
                }
                Some(restart)
            }),
        }
    }

    fn caps(&mut self, raw: &limits::Caps) -> Caps {
        let mut ulimits = BTreeMap::new();
        for (name, value) in &raw.ulimits {
            let name = self.ulimit_name(name);
            if let Some(cap) = self.number(value, -1..=i64::MAX, "a number, or -1 for no limit") {
                ulimits.insert(name, cap);
            }
        }
        let bytes = |cx: &mut Self, value: &Spanned<Value>| cx.bytes(value, 1..=i64::MAX);
        let log_size = raw.log.max_size.as_ref().and_then(|value| bytes(self, value));
        let files = raw.log.max_file.as_ref();
        if let (Some(files), None) = (files, log_size) {
            self.complaints.add(files.span(), "`max-file` without `max-size` limits nothing", "");
        }
        Caps {
            sizes: self.sizes([
                (Size::Memory, raw.memory.as_ref()),
                (Size::Swap, raw.swap.as_ref()),
                (Size::Cpus, raw.cpus.as_ref()),
                (Size::Pids, raw.pids.as_ref()),
                (Size::Shm, raw.shm.as_ref()),
                (Size::BlkioWeight, raw.blkio_weight.as_ref()),
                (Size::Tmpfs, raw.tmpfs.as_ref()),
            ]),
            ulimits,
            log_size,
            log_files: files.and_then(|files| self.number(files, 1..=i64::MAX, "1 or more")),
            ports: raw.ports.as_ref().and_then(|ports| {
                self.number(ports, 0..=i64::MAX, "a number of ports, at least 0")
            }),
            builds: raw.builds.as_ref().and_then(|builds| {
                self.number(builds, 0..=i64::MAX, "a number of builds, at least 0")
            }),
            restart: raw.restart.as_ref().map(|allowed| {
                allowed.iter().filter_map(|restart| self.restart(restart)).collect()
            }),
        }
    }

    fn sizes(&mut self, given: Sizes<'_>) -> BTreeMap<Size, i64> {
        let given = given.into_iter().filter_map(|(size, value)| Some((size, value?)));
        let check = |(size, value)| {
            let checked = match size {
                Size::Memory => self.bytes(value, LEAST_MEMORY..=i64::MAX),
                Size::Swap => self.bytes(value, 0..=i64::MAX),
                Size::Shm | Size::Tmpfs => self.bytes(value, 1..=i64::MAX),
                Size::Cpus => self.cpus(value),
                Size::Pids => self.number(value, 1..=i64::MAX, "a number of processes, at least 1"),
                Size::BlkioWeight => self.number(value, 10..=1000, "10 to 1000"),
            };
            checked.map(|checked| (size, checked))
        };
        given.filter_map(check).collect()
    }

    pub(super) fn bytes(
        &mut self,
        given: &Spanned<Value>,
        range: RangeInclusive<i64>,
    ) -> Option<i64> {
        let read = match given.get_ref() {
            Value::Integer(bytes) => Some(*bytes),
            Value::String(text) => units::bytes(&self.expand(given.span(), text)),
            _ => None,
        };
        let Some(bytes) = read else {
            self.complaints.add(given.span(), "not a size", "such as `\"512m\"` or `\"2g\"`");
            return None;
        };
        if !range.contains(&bytes) {
            let least = units::show_bytes(*range.start());
            self.complaints.add(given.span(), format!("must be at least {least}"), "");
            return None;
        }
        Some(bytes)
    }

    fn cpus(&mut self, given: &Spanned<Value>) -> Option<i64> {
        let text = match given.get_ref() {
            Value::Integer(cpus) => cpus.to_string(),
            Value::Float(cpus) => cpus.to_string(),
            Value::String(text) => self.expand(given.span(), text),
            _ => String::new(),
        };
        // The least that the kernel takes is 1 ms of 100 ms.
        let read = units::cpus(&text).filter(|nano| *nano >= 10_000_000);
        if read.is_none() {
            self.complaints.add(given.span(), "not a number of CPUs", "0.01 or more, such as 1.5");
        }
        read
    }

    pub(super) fn number(
        &mut self,
        given: &Spanned<Value>,
        range: RangeInclusive<i64>,
        hint: &str,
    ) -> Option<i64> {
        let read = given.get_ref().as_integer().filter(|number| range.contains(number));
        if read.is_none() {
            self.complaints.add(given.span(), "not such a number", hint);
        }
        read
    }

    fn ulimits(
        &mut self,
        raw: &BTreeMap<Spanned<String>, Spanned<Value>>,
        max: &Caps,
    ) -> BTreeMap<String, Ulimit> {
        let mut ulimits = BTreeMap::new();
        for (name, value) in raw {
            let name = self.ulimit_name(name);
            let both = |number: i64| Ulimit { soft: number, hard: number };
            let read = match value.get_ref() {
                Value::Integer(number) => Some(both(*number)),
                Value::String(text) => text.split_once(':').and_then(|(soft, hard)| {
                    Some(Ulimit { soft: soft.parse().ok()?, hard: hard.parse().ok()? })
                }),
                _ => None,
            };
            let is_right = |one: &Ulimit| {
                one.soft >= -1 && one.hard >= -1 && unsigned(one.soft) <= unsigned(one.hard)
            };
            let Some(ulimit) = read.filter(is_right) else {
                let hint = "a number, `\"SOFT:HARD\"`, or -1 for no limit";
                self.complaints.add(value.span(), "not a ulimit", hint);
                continue;
            };
            if max.ulimits.get(&name).is_some_and(|cap| unsigned(ulimit.hard) > unsigned(*cap)) {
                self.complaints.add(value.span(), "above the `max` beside it", "");
            }
            ulimits.insert(name, ulimit);
        }
        ulimits
    }

    fn ulimit_name(&mut self, name: &Spanned<String>) -> String {
        if name.get_ref().is_empty() || !name.get_ref().bytes().all(|b| b.is_ascii_lowercase()) {
            self.complaints.add(name.span(), "not the name of a ulimit", "such as `nofile`");
        }
        name.get_ref().clone()
    }

    fn log_setting(&mut self, raw: &limits::LogSetting, max: &Caps) -> LogSetting {
        for (name, value) in &raw.options {
            let (own, cap) = match name.get_ref().as_str() {
                "max-size" => (units::bytes(value.get_ref()), max.log_size),
                "max-file" => (value.get_ref().parse().ok(), max.log_files),
                _ => continue,
            };
            if cap.is_some_and(|cap| own.is_none_or(|own| own > cap)) {
                self.complaints.add(value.span(), "above the `max` beside it", "");
            }
        }
        let text = |cx: &mut Self, text: &Spanned<String>| cx.expand(text.span(), text.get_ref());
        LogSetting {
            driver: text(self, &raw.driver),
            options: raw
                .options
                .iter()
                .map(|(name, value)| (name.get_ref().clone(), text(self, value)))
                .collect(),
        }
    }

    fn restart(&mut self, given: &Spanned<String>) -> Option<Restart> {
        let restart = Restart::parse(given.get_ref());
        if restart.is_none() {
            let what = format!("`{}` is not a restart policy", given.get_ref());
            self.complaints.add(given.span(), what, RESTARTS);
        }
        restart
    }

    fn templates(
        &mut self,
        raw: &BTreeMap<Spanned<String>, Spanned<String>>,
    ) -> BTreeMap<String, Template> {
        let mut templates = BTreeMap::new();
        for (name, text) in raw {
            if name.get_ref().is_empty() || name.get_ref().contains('=') {
                self.complaints.add(name.span(), "a name is not empty and holds no `=`", "");
            }
            templates.insert(name.get_ref().clone(), self.template(text, true));
        }
        templates
    }

    fn template(&mut self, given: &Spanned<String>, may_be_empty: bool) -> Template {
        let text = self.expand(given.span(), given.get_ref());
        match Template::parse(&text) {
            Ok(template) if !template.is_empty() || may_be_empty => template,
            Ok(template) => {
                self.complaints.add(given.span(), "must not be empty", "leave it out");
                template
            }
            Err(what) => {
                let hint = "`{user}`, `{listener}` or `{claims.NAME}`; `{{` for a brace";
                self.complaints.add(given.span(), what, hint);
                Template::default()
            }
        }
    }

    /// Swap is what a container has beyond its memory, so that without a limit of memory there is none
    /// of swap.
    fn swap_needs_memory(
        &mut self,
        raw: &limits::SubjectLimits,
        own: &LimitRules,
        general: Option<&LimitRules>,
    ) {
        let limits_memory = |rules: &LimitRules| {
            [&rules.force.sizes, &rules.default.sizes, &rules.max.sizes]
                .iter()
                .any(|sizes| sizes.contains_key(&Size::Memory))
        };
        if limits_memory(own) || general.is_some_and(limits_memory) {
            return;
        }
        let setting = |raw: &Option<Spanned<limits::LimitSettings>>| {
            raw.as_ref().and_then(|raw| raw.get_ref().swap.as_ref().map(Spanned::span))
        };
        let cap = raw.max.as_ref().and_then(|max| max.get_ref().swap.as_ref().map(Spanned::span));
        for at in [setting(&raw.force), setting(&raw.default), cap].into_iter().flatten() {
            self.complaints.add(at, "`swap` without a limit of `memory`", "set `memory` too");
        }
    }

    fn expand(&mut self, at: Range<usize>, text: &str) -> String {
        self.text(&Spanned::new(at, text.to_owned()))
    }
}

fn sizes_of(raw: &limits::LimitSettings) -> Sizes<'_> {
    [
        (Size::Memory, raw.memory.as_ref()),
        (Size::Swap, raw.swap.as_ref()),
        (Size::Cpus, raw.cpus.as_ref()),
        (Size::Pids, raw.pids.as_ref()),
        (Size::Shm, raw.shm.as_ref()),
        (Size::BlkioWeight, raw.blkio_weight.as_ref()),
        (Size::Tmpfs, raw.tmpfs.as_ref()),
    ]
}

/// As the kernel compares: -1 is the largest.
fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
