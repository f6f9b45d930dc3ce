//! `dockgate explain`: what would become of one request, without an engine.
//!
//! The pure middle run by hand: the same parsing and the same chain as in the gateway. What must stay true:
//! paths are looked up where the engine's host is this one; what only the engine knows leaves it undecided.

use std::net::ToSocketAddrs as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use super::out;
use crate::auth::Identity;
use crate::config::{self, Listener};
use crate::policy::mount_table::MountTable;
use crate::policy::rehearsal::{Request, Verdict, explore};
use crate::policy::{Fact, Finding, Question, Reply};

const DENIED: u8 = 3;
const UNDECIDED: u8 = 4;
/// Where an engine has its data, unless it was told otherwise.
const DATA: &str = "/var/lib/docker";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration file; without it, one listener `default` with the `conservative` policy.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The listener whose policies judge; may be left out where there is only one.
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// The user who asks, as an authenticator would name them.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// `GET`, `POST`, …
    method: String,
    /// Path and query, with or without `/v1.NN`.
    path: String,
    /// File with the JSON body.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let config = match &args.config {
        Some(path) => config::load(path),
        None => config::without_file(&[], None, &[]),
    };
    let config = match config {
        Ok(config) => config,
        Err(invalid) => return super::failure(&invalid),
    };
    let listener = match chosen(&config.listeners, args.listener.as_deref()) {
        Ok(listener) => listener,
        Err(why) => return super::failure(&why),
    };
    let body = match args.body.as_ref().map(|file| (file, std::fs::read(file))) {
        None => Vec::new(),
        Some((_, Ok(body))) => body,
        Some((file, Err(error))) => {
            return super::failure(&format!("`{}`: {error}", file.display()));
        }
    };
    let chain = match crate::run::chain(&config, listener) {
        Ok(chain) => chain,
        Err(invalid) => return super::failure(&invalid),
    };
    let request = Request { method: &args.method, target: &args.path, body: &body };
    let identity = Identity::imagined(args.user.as_deref());
    let is_here = config.engine.url.starts_with("unix://");
    let knows = |question: &Question| known(question, is_here);
    let outcome = explore(&chain, &listener.name, &identity, &request, &knows);
    let mut said = Vec::new();
    for Finding { policy, reason } in &outcome.findings {
        said.push(format!("{policy} (audit): {}", reason.message()));
    }
    if outcome.asked.contains(&Question::Info) {
        let what = "the engine has its data in";
        said.push(format!("assumed: {what} `{DATA}`, and is configured as usual"));
    }
    let code = match outcome.verdict {
        Verdict::Allowed(bytes) => {
            let request = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
            said.push("allowed\n".to_owned());
            let changed = outcome.edits.iter().map(|(by, edit)| format!("changed by {by}: {edit}"));
            said.extend(changed);
            let space = if outcome.edits.is_empty() { "" } else { "\n" };
            said.push(format!("{space}{request}"));
            ExitCode::SUCCESS
        }
        Verdict::Denied(policy, reasons) => {
            said.push(format!("denied by {policy}\n"));
            said.extend(reasons.iter().map(|reason| reason.message()));
            ExitCode::from(DENIED)
        }
        Verdict::Undecided(policy, questions) => {
            said.push(format!("undecided by {policy}: it depends on what only the engine knows\n"));
            said.extend(questions.iter().map(|question| format!("it would be asked: {question}")));
            let nothing = "nothing else that this policy has looked at speaks against the request";
            said.push(format!("\n{nothing}"));
            ExitCode::from(UNDECIDED)
        }
        Verdict::Waits(policy, deeds) => {
            said.push(format!("undecided by {policy}: it depends on what is done first\n"));
            said.extend(deeds.iter().map(|deed| format!("it would begin with {deed}")));
            ExitCode::from(UNDECIDED)
        }
        Verdict::Answered(policy, Reply { status, json }) => {
            let body = json.map(|json| format!("\n\n{json}")).unwrap_or_default();
            said.push(format!("answered by {policy} with {status}{body}"));
            ExitCode::SUCCESS
        }
        Verdict::Malformed(why) => {
            said.push(format!("denied\n\n{why}"));
            ExitCode::from(DENIED)
        }
    };
    out::end(&said.join("\n"), code)
}

/// The listener of this name, or the only one.
fn chosen<'l>(listeners: &'l [Listener], name: Option<&str>) -> Result<&'l Listener, String> {
    let names = || {
        let names: Vec<_> = listeners.iter().map(|one| format!("`{}`", one.name)).collect();
        format!("hint: `--listener` is one of {}", names.join(", "))
    };
    match (name, listeners) {
        (Some(name), _) => listeners
            .iter()
            .find(|one| one.name == name)
            .ok_or_else(|| format!("there is no listener `{name}`\n  {}", names())),
        (None, [only]) => Ok(only),
        (None, []) => Err("the file has no listener".to_owned()),
        (None, _) => Err(format!("there are several listeners\n  {}", names())),
    }
}

/// What can be known without asking an engine, on its host or on another.
fn known(question: &Question, is_here: bool) -> Option<Fact> {
    match question {
        Question::HostPath(path) if is_here => match std::fs::canonicalize(path) {
            Ok(real) => Some(Fact::Path(real)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(Fact::Absent),
            // The gateway may be allowed to look where this user is not.
            Err(_) => None,
        },
        Question::MountsBelow(path) if is_here => {
            let table = MountTable::parse(&std::fs::read("/proc/self/mountinfo").ok()?)?;
            Some(Fact::Paths(table.below(path)))
        }
        // A name that cannot be resolved now says nothing about the moment of the call.
        Question::Addresses(name) if is_here => {
            let found = (&**name, 443).to_socket_addrs().ok()?;
            Some(Fact::Addresses(found.map(|address| address.ip()).collect()))
        }
        Question::Info if is_here => Some(Fact::Json(Arc::new(json!({ "DockerRootDir": DATA })))),
        Question::Info
        | Question::HostPath(_)
        | Question::MountsBelow(_)
        | Question::Addresses(_)
        | Question::Image(_)
        | Question::Container(_)
        | Question::Network(_)
        | Question::Volume(_)
        | Question::Exec(_)
        | Question::List(..)
        | Question::Plugin { .. } => None,
    }
}
