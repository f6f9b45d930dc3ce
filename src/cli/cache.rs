//! `dockgate cache`: what the caches have saved and hold, and what is to be dropped or checked.
//!
//! Asks the running process over its admin socket; `ls` and `verify` can also look into a directory
//! themselves, and `env` reads the configuration. What must stay true: nothing is removed but by the running process, which knows what it
//! has in memory; `verify` ends with 1 if anything is wrong.

mod env;
mod savings;
mod source;

use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use self::env::EnvArgs;
use self::savings::{objects, size, write_savings};
use self::source::Source;
use super::ask::{self, Process};
use super::out::{Stop, say};
use crate::admin::report::{Checked, Fault, Object, Objects, Purged, Savings};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Tell what the caches have saved since the process began.
    Stats(Stats),
    /// List stored objects.
    Ls(Look),
    /// Drop stored objects.
    Purge(Purge),
    /// Read every stored object and compare it with its checksum; ends with 1 if one is wrong.
    Verify(Look),
    /// Print what clients have to be told to ask a cache.
    Env(EnvArgs),
}

#[derive(Debug, clap::Args)]
struct Stats {
    #[command(flatten)]
    asked: AdminArgs,
}

#[derive(Debug, clap::Args)]
struct AdminArgs {
    #[command(flatten)]
    process: Process,
    /// The cache, where there are several.
    #[arg(long, value_name = "NAME")]
    cache: Option<String>,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Look {
    #[command(flatten)]
    asked: AdminArgs,
    #[command(flatten)]
    scope: ScopeArgs,
    /// Look into this directory of a cache, without a running process.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "socket", "cache"])]
    dir: Option<std::path::PathBuf>,
}

#[derive(Debug, clap::Args)]
#[group(id = "part", multiple = false)]
struct ScopeArgs {
    /// Those of a host.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Those whose URL begins like this, such as `https://host/path/`.
    #[arg(long, value_name = "URL")]
    prefix: Option<String>,
    /// Those that everybody is given, `shared`, or those of some credentials, as listed.
    #[arg(long, value_name = "NAME")]
    partition: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["all", "url", "host", "prefix", "partition"]))]
struct Purge {
    #[command(flatten)]
    asked: AdminArgs,
    #[command(flatten)]
    scope: ScopeArgs,
    /// Everything.
    #[arg(long, conflicts_with = "part")]
    all: bool,
    /// One URL.
    #[arg(value_name = "URL", conflicts_with_all = ["part", "all"])]
    url: Option<String>,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let done = match &args.command {
        Command::Stats(args) => ask::wait(stats(args)),
        Command::Ls(args) => ask::wait(ls(args)),
        Command::Purge(args) => ask::wait(purge(args)),
        Command::Verify(args) => ask::wait(verify(args)),
        Command::Env(args) => args.text().map_err(Stop::from).and_then(|text| {
            say(text.trim_end())?;
            Ok(ExitCode::SUCCESS)
        }),
    };
    done.unwrap_or_else(Stop::code)
}

async fn stats(args: &Stats) -> Result<ExitCode, Stop> {
    let AdminArgs { process, cache, json } = &args.asked;
    let source = Source::process(process, cache.as_deref())?;
    let savings: Savings = source.get("/cache/stats", &[]).await?;
    match json {
        true => say(&to_json(&savings)?)?,
        false => say(write_savings(&savings).trim_end())?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn ls(args: &Look) -> Result<ExitCode, Stop> {
    let source = args.source()?;
    let mut after = None;
    loop {
        let page: Objects = source.objects(&args.scope, after.as_deref()).await?;
        if after.is_none() && !args.asked.json {
            say(&row("SIZE", "STATUS", "KIND", "STORED", "PARTITION", "URL"))?;
        }
        for object in &page.objects {
            match args.asked.json {
                true => say(&to_json(object)?)?,
                false => say(&line(object))?,
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(ExitCode::SUCCESS),
        }
    }
}

async fn verify(args: &Look) -> Result<ExitCode, Stop> {
    let source = args.source()?;
    let mut all = Checked::default();
    loop {
        let page: Checked = source.checked(&args.scope, all.next.as_deref()).await?;
        all.objects += page.objects;
        all.bytes += page.bytes;
        if !args.asked.json {
            for Fault { object, fault } in &page.wrong {
                say(&format!("{object}: {fault}"))?;
            }
        }
        all.wrong.extend(page.wrong);
        all.next = page.next;
        if all.next.is_none() {
            break;
        }
    }
    let wrong = all.wrong.len();
    match args.asked.json {
        true => say(&to_json(&all)?)?,
        false => say(&format!("{}, {}: {wrong} wrong", objects(all.objects), size(all.bytes)))?,
    }
    Ok(ExitCode::from(u8::from(wrong > 0)))
}

async fn purge(args: &Purge) -> Result<ExitCode, Stop> {
    let AdminArgs { process, cache, json } = &args.asked;
    let source = Source::process(process, cache.as_deref())?;
    let mut query = args.scope.query();
    query.extend(args.all.then_some(("all", "")));
    query.extend(args.url.as_deref().map(|url| ("url", url)));
    let purged: Purged = source.post("/cache/purge", &query).await?;
    if *json {
        say(&to_json(&purged)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let bytes = purged.bytes.map(|bytes| format!(", {}", size(bytes))).unwrap_or_default();
    say(&format!("purged {}{bytes}", objects(purged.objects)))?;
    Ok(ExitCode::SUCCESS)
}

impl Look {
    fn source(&self) -> Result<Source, String> {
        match &self.dir {
            Some(dir) => Source::directory(dir),
            None => Source::process(&self.asked.process, self.asked.cache.as_deref()),
        }
    }
}

impl ScopeArgs {
    fn query(&self) -> Vec<(&'static str, &str)> {
        let ScopeArgs { host, prefix, partition } = self;
        let all = [("host", host), ("prefix", prefix), ("partition", partition)];
        all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect()
    }
}

fn line(object: &Object) -> String {
    let stored = UNIX_EPOCH.checked_add(Duration::from_millis(object.stored)).unwrap_or(UNIX_EPOCH);
    let stored = humantime::format_rfc3339_seconds(stored).to_string();
    let status = object.status.to_string();
    let vary = object.vary.iter().map(|(name, value)| match value {
        Some(value) => format!(" {name}={value:?}"),
        None => format!(" {name}"),
    });
    let name = object.name.iter().map(|name| format!("  ({name})"));
    let url = format!("{}{}{}", object.url, vary.collect::<String>(), name.collect::<String>());
    row(&size(object.bytes), &status, &object.kind, &stored, &object.partition, &url)
}

fn row(size: &str, status: &str, kind: &str, stored: &str, partition: &str, url: &str) -> String {
    format!("{size:>8}  {status:<6}  {kind:<8}  {stored:<20}  {partition:<20}  {url}")
}

fn to_json(value: &impl serde::Serialize) -> Result<String, String> {
    serde_json::to_string(value).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: Command,
    }

    fn accepts(line: &str) -> bool {
        Line::try_parse_from(std::iter::once("cache").chain(line.split(' '))).is_ok()
    }

    #[test]
    fn a_purge_says_what_in_one_way() {
        for good in [
            "purge --all",
            "purge --host a.example",
            "purge --prefix https://a.example/x",
            "purge --partition shared",
            "purge https://a.example/x --cache main --json",
        ] {
            assert!(accepts(good), "{good}");
        }
        for bad in [
            "purge",
            "purge --json",
            "purge --all --host a.example",
            "purge --host a.example --prefix https://a.example/",
            "purge --all https://a.example/x",
            "purge --host a.example https://a.example/x",
            "purge --all --dir /x",
        ] {
            assert!(!accepts(bad), "{bad}");
        }
    }

    #[test]
    fn the_commands_of_the_documentation_are_understood() {
        let docs = include_str!("../../docs/cache-admin.md");
        let commands: Vec<_> =
            docs.lines().filter_map(|line| line.strip_prefix("$ dockgate cache ")).collect();
        assert!(commands.len() >= 5, "{commands:?}");
        for command in commands {
            assert!(accepts(command), "{command}");
        }
    }

    #[test]
    fn a_directory_is_looked_into_without_a_process() {
        assert!(accepts("ls --dir /x --host a.example") && accepts("verify --dir /x"));
        for bad in ["ls --dir /x -c /y", "verify --dir /x --socket unix:///y", "stats --dir /x"] {
            assert!(!accepts(bad), "{bad}");
        }
    }
}
