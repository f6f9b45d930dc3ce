//! The stages of a Dockerfile, followed from `FROM` to `FROM`: what each of their instructions fetches.
//!
//! `fetches` calls it once for each dialect. What must stay true: a variable has the value that both builders give it, or none
//! is said to be known; what an image brings along in its environment is never known.

use std::cell::Cell;
use std::collections::HashMap;

use percent_encoding::percent_decode_str;

use super::expand::{Expander, Variable};
use super::lines::{self, Dialect, Failure};
use super::words::{self, Instruction};
use super::{BuildSettings, Builder, Expanded, Fetch, FetchKind, Unreadable};

/// What the classic builder takes without an `ARG` (`builtinAllowedBuildArgs`).
const PROXIES: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// All texts that come of variables, of one file.
const MOST_EXPANDED: usize = 8 << 20;

pub(super) fn read<'w>(
    text: &str,
    dialect: Dialect,
    begin: impl FnOnce(char) -> Stages<'w>,
) -> Result<Vec<Fetch>, Unreadable> {
    let reading = lines::read(text, dialect).and_then(|lines| {
        let mut stages = begin(lines.escape);
        lines.instructions.iter().try_for_each(|one| stages.follow(one))?;
        Ok(stages.into_fetches())
    });
    match reading {
        Ok(found) => Ok(found),
        Err(Failure::ByTheEngine) => Ok(Vec::new()),
        Err(Failure::Unreadable(why)) => Err(why),
    }
}

pub(super) struct Stages<'w> {
    with: &'w BuildSettings<'w>,
    dialect: Dialect,
    escape: char,
    /// `ARG` in front of the first `FROM`.
    globals: HashMap<String, Option<Expanded>>,
    /// An argument's name is not known, so none is.
    are_globals_lost: bool,
    done: Vec<Stage>,
    stage: Option<Stage>,
    /// With the number of its stage.
    found: Vec<(usize, Fetch)>,
    /// How many characters may still come of variables.
    budget: Cell<usize>,
}

/// A stage as far as it has been followed.
#[derive(Clone, Default)]
struct Stage {
    name: Option<String>,
    env: HashMap<String, Expanded>,
    /// Nothing else is in its environment.
    is_env_known: bool,
    args: HashMap<String, Option<Expanded>>,
}

impl<'w> Stages<'w> {
    /// Of an instruction that belongs to another build, of which nothing is known.
    pub(super) fn of_trigger(
        with: &'w BuildSettings<'w>,
        dialect: Dialect,
        escape: char,
    ) -> Stages<'w> {
        Stages { stage: Some(Stage::default()), ..Stages::of_file(with, dialect, escape) }
    }

    pub(super) fn of_file(
        with: &'w BuildSettings<'w>,
        dialect: Dialect,
        escape: char,
    ) -> Stages<'w> {
        Stages {
            with,
            dialect,
            escape,
            globals: HashMap::new(),
            are_globals_lost: false,
            done: Vec::new(),
            stage: None,
            found: Vec::new(),
            budget: Cell::new(MOST_EXPANDED),
        }
    }

    fn into_fetches(mut self) -> Vec<Fetch> {
        self.done.extend(self.stage.take());
        // What stands behind the last stage that is wanted is not built; of two with that name, nobody knows.
        let is_target = |stage: &Stage| {
            stage.name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(self.with.target))
        };
        let mut targets = self.done.iter().enumerate().filter(|(_, stage)| is_target(stage));
        let last = match (targets.next(), targets.next()) {
            (Some((index, _)), None) => index,
            _ => usize::MAX,
        };
        self.found.into_iter().filter(|(stage, _)| *stage <= last).map(|(_, one)| one).collect()
    }

    fn follow(&mut self, one: &Instruction) -> Result<(), Failure> {
        match (one.name.as_str(), self.stage.is_some()) {
            ("from", _) => self.from(one),
            ("arg", _) => self.arg(one),
            ("add" | "copy" | "run" | "env" | "onbuild", false) => Err(Failure::ByTheEngine),
            ("add", true) => self.add(one, self.escape, true),
            ("copy", true) => self.copy(one, true),
            ("run", true) => self.run(one, true),
            ("env", true) => self.env(one),
            ("onbuild", true) => self.onbuild(one),
            (
                "cmd" | "entrypoint" | "expose" | "healthcheck" | "label" | "maintainer" | "shell"
                | "stopsignal" | "user" | "volume" | "workdir",
                _,
            ) => Ok(()),
            // Engines read the whole file before they fetch anything.
            _ if !self.dialect.is_newest => Err(Failure::ByTheEngine),
            _ => {
                let why = "has an instruction that dockgate does not know";
                Err(Unreadable { line: one.line, why }.into())
            }
        }
    }

    fn from(&mut self, one: &Instruction) -> Result<(), Failure> {
        let words: Vec<&str> = one.words().collect();
        let (image, name) = match words.as_slice() {
            [image] => (*image, None),
            [image, word, name] if word.eq_ignore_ascii_case("as") => {
                (*image, Some(name.to_lowercase()))
            }
            _ => return Err(Failure::ByTheEngine),
        };
        self.done.extend(self.stage.take());
        let base = self.expand(image, self.escape, one, &|name| self.global(name))?;
        let earlier = base.is_whole.then(|| self.earlier(&base.known)).flatten();
        let inherited = earlier.map(|stage| (stage.env.clone(), stage.is_env_known));
        self.pay(
            inherited
                .iter()
                .flat_map(|(env, _)| env)
                .map(|(k, v)| k.len() + v.known.len() + 64)
                .sum(),
            one,
        )?;
        let is_scratch = base.is_whole && base.known == "scratch";
        let is_image = inherited.is_none() && !is_scratch;
        let (env, is_env_known) = inherited.unwrap_or((HashMap::new(), is_scratch));
        self.stage = Some(Stage { name, env, is_env_known, args: HashMap::new() });
        if is_image {
            self.push(FetchKind::Base, base, image, one);
        }
        Ok(())
    }

    /// A stage that is done, by its name.
    fn earlier(&self, name: &str) -> Option<&Stage> {
        let name = name.to_lowercase();
        self.done.iter().rev().find(|stage| stage.name.as_deref() == Some(&*name))
    }

    fn arg(&mut self, one: &Instruction) -> Result<(), Failure> {
        let words = words::quoted_words(&one.args, self.escape);
        // Whether a second one sees the first, builders do not agree on.
        let is_alone = words.len() == 1;
        let mut found = Vec::with_capacity(words.len());
        for word in &words {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word.as_str(), None),
            };
            let unknown = || Expanded::default();
            let mut expand = |text: &str| match !is_alone && text.contains('$') {
                true => Ok(unknown()),
                false if self.stage.is_some() => {
                    self.expand(text, self.escape, one, &|name| self.variable(name))
                }
                false => self.expand(text, self.escape, one, &|name| self.global(name)),
            };
            let name = expand(name)?;
            let value = value.map(&mut expand).transpose()?;
            found.push((name, value));
        }
        for (name, value) in found {
            match (&mut self.stage, name.is_whole) {
                (Some(stage), true) => {
                    stage.args.insert(name.known, value);
                }
                (None, true) => {
                    self.globals.insert(name.known, value);
                }
                (Some(stage), false) => stage.is_env_known = false,
                (None, false) => self.are_globals_lost = true,
            }
        }
        Ok(())
    }

    fn env(&mut self, one: &Instruction) -> Result<(), Failure> {
        let words = words::quoted_words(&one.args, self.escape);
        let mut pairs: Vec<(&str, &str)> = Vec::with_capacity(words.len());
        match words.first() {
            None => return Err(Failure::ByTheEngine),
            // `ENV NAME all of the rest`
            Some(first) if !first.contains('=') => {
                let (name, value) =
                    one.args.split_once(words::BLANK).ok_or(Failure::ByTheEngine)?;
                pairs.push((name, value.trim_start_matches(words::BLANK)));
            }
            Some(_) => {
                for word in &words {
                    pairs.push(word.split_once('=').ok_or(Failure::ByTheEngine)?);
                }
            }
        }
        let mut found = Vec::with_capacity(pairs.len());
        for (name, value) in pairs {
            let name = self.expand(name, self.escape, one, &|name| self.variable(name))?;
            let value = self.expand(value, self.escape, one, &|name| self.variable(name))?;
            found.push((name, value));
        }
        let Some(stage) = &mut self.stage else { return Ok(()) };
        for (name, value) in found {
            if name.is_whole {
                stage.env.insert(name.known, value);
            } else {
                // Any of them may have it.
                stage.env.clear();
                stage.is_env_known = false;
            }
        }
        Ok(())
    }

    /// `knows` is false where another build's variables count.
    fn add(&mut self, one: &Instruction, escape: char, knows: bool) -> Result<(), Failure> {
        let words = one.list_or_words(self.dialect)?;
        let Some((_, sources)) = words.split_last() else { return Ok(()) };
        for source in sources {
            let unknown = |_: &str| Variable::Unknown;
            let name = match knows {
                true => self.expand(source, escape, one, &|name| self.variable(name))?,
                false => self.expand(source, escape, one, &unknown)?,
            };
            if let Some(kind) = self.kind_of_source(&name) {
                self.push(kind, name, source, one);
            }
        }
        self.copy(one, knows)
    }

    /// What a source of `ADD` is, or may be; None for a path of the context.
    fn kind_of_source(&self, source: &Expanded) -> Option<FetchKind> {
        let is_buildkit = self.with.builder == Builder::BuildKit;
        let lower = source.known.to_ascii_lowercase();
        let schemes = ["https://", "http://"];
        if schemes.iter().any(|scheme| lower.starts_with(scheme)) {
            let path = lower.split(['?', '#']).next().unwrap_or_default();
            // From BuildKit 0.12 on it looks at the path as Go reads it.
            let path = percent_decode_str(path).decode_utf8_lossy();
            let is_git = is_buildkit && (path.ends_with(".git") || !source.is_whole);
            return Some(if is_git { FetchKind::Git } else { FetchKind::Url });
        }
        if !source.is_whole && schemes.iter().any(|scheme| scheme.starts_with(&lower)) {
            return Some(FetchKind::Url);
        }
        // `git://…`, `ssh://…`, `user@host:path`
        let may_be_git = lower.contains("://")
            || lower.contains('@') && lower.contains(':')
            || !source.is_whole && !lower.contains('/');
        (is_buildkit && may_be_git).then_some(FetchKind::Git)
    }

    fn copy(&mut self, one: &Instruction, knows: bool) -> Result<(), Failure> {
        let images: Vec<String> = one.flags("from").map(str::to_owned).collect();
        images.iter().for_each(|image| self.image_or_stage(image, one, knows));
        Ok(())
    }

    fn run(&mut self, one: &Instruction, knows: bool) -> Result<(), Failure> {
        let mounts: Vec<String> = one.flags("mount").map(str::to_owned).collect();
        for mount in &mounts {
            // Quoted fields may hold commas.
            if mount.contains('"') {
                self.push(FetchKind::Image, Expanded::default(), mount, one);
                continue;
            }
            for field in mount.split(',') {
                match field.split_once('=') {
                    Some((key, image)) if key.eq_ignore_ascii_case("from") => {
                        self.image_or_stage(image, one, knows);
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn image_or_stage(&mut self, image: &str, one: &Instruction, knows: bool) {
        let is_number = !image.is_empty() && image.bytes().all(|b| b.is_ascii_digit());
        let is_stage = match knows {
            true => {
                self.earlier(image).is_some()
                    || is_number && image.parse::<usize>().is_ok_and(|at| at < self.done.len())
            }
            // Another build has stages of its own.
            false => is_number,
        };
        if image.is_empty() || is_stage {
            return;
        }
        let (known, is_whole) = match image.split_once('$') {
            Some((known, _)) => (known, false),
            None => (image, true),
        };
        let name = Expanded { known: known.to_owned(), is_whole };
        self.push(FetchKind::Image, name, image, one);
    }

    /// What it triggers is read again by the build that it is for, by the escape character of everybody.
    fn onbuild(&mut self, one: &Instruction) -> Result<(), Failure> {
        for escape in [self.escape, '\\'] {
            let child = words::split(&one.args, one.line, escape, self.dialect)?;
            match child.name.as_str() {
                "add" => self.add(&child, escape, false)?,
                "copy" => self.copy(&child, false)?,
                "run" => self.run(&child, false)?,
                "from" | "onbuild" => return Err(Failure::ByTheEngine),
                _ => {}
            }
        }
        Ok(())
    }

    /// In front of the first `FROM`, and in each `FROM`.
    fn global(&self, name: &str) -> Variable {
        let given = self.with.args.get(name);
        let is_buildkit = self.with.builder == Builder::BuildKit;
        match self.globals.get(name) {
            _ if self.are_globals_lost => Variable::Unknown,
            None if PROXIES.contains(&name) && is_buildkit && given.is_some() => Variable::Unknown,
            Some(_) if given.is_some() => is(given),
            None if PROXIES.contains(&name) => is(given),
            _ if is_buildkit && is_of_platform(name) => Variable::Unknown,
            Some(Some(value)) => Variable::Is(value.clone()),
            Some(None) | None => Variable::Unset,
        }
    }

    /// In a stage: its environment goes before arguments.
    fn variable(&self, name: &str) -> Variable {
        let Some(stage) = &self.stage else { return Variable::Unknown };
        if let Some(value) = stage.env.get(name) {
            return Variable::Is(value.clone());
        }
        // Every image has a path.
        if !stage.is_env_known || name == "PATH" {
            return Variable::Unknown;
        }
        let given = self.with.args.get(name);
        let is_buildkit = self.with.builder == Builder::BuildKit;
        match stage.args.get(name) {
            None if PROXIES.contains(&name) && given.is_some() && is_buildkit => Variable::Unknown,
            Some(_) if given.is_some() => is(given),
            None if PROXIES.contains(&name) => is(given),
            _ if is_buildkit && is_of_platform(name) => Variable::Unknown,
            Some(Some(value)) => Variable::Is(value.clone()),
            Some(None) => self.global(name),
            None => Variable::Unset,
        }
    }

    /// A word that engines fail at, or may, is not known at all.
    fn expand(
        &self,
        word: &str,
        escape: char,
        one: &Instruction,
        lookup: &dyn Fn(&str) -> Variable,
    ) -> Result<Expanded, Failure> {
        let budget = &self.budget;
        let expanded = Expander { escape, lookup, budget }.expand(word);
        self.pay(1, one)?;
        Ok(expanded.unwrap_or_default())
    }

    fn pay(&self, size: usize, one: &Instruction) -> Result<(), Failure> {
        let left = self.budget.get().checked_sub(size);
        self.budget.set(left.unwrap_or_default());
        let why = "is where its variables have grown too large";
        left.map(|_| ()).ok_or(Unreadable { line: one.line, why }.into())
    }

    fn push(&mut self, kind: FetchKind, name: Expanded, written: &str, one: &Instruction) {
        // Each is a refusal, or a question: more are counted by who gathers them.
        let written = written.chars().take(200).collect();
        let fetch = Fetch { line: one.line, kind, name, written };
        self.found.push((self.done.len(), fetch));
    }
}

fn is(given: Option<&String>) -> Variable {
    given.map_or(Variable::Unset, |value| {
        Variable::Is(Expanded { known: value.clone(), is_whole: true })
    })
}

/// BuildKit's own (`TARGETARCH`, `BUILDPLATFORM`, …).
fn is_of_platform(name: &str) -> bool {
    let rest = name.strip_prefix("TARGET").or_else(|| name.strip_prefix("BUILD"));
    rest.is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_uppercase()))
}
