//! `dockgate explain`: what would become of one request, or of all that a command sends, without an engine.
//!
//! The pure middle run by hand: the same parsing and the same chain as in the gateway. What must stay true:
//! paths are looked up where the engine's host is this one; what only the engine knows leaves it undecided.

mod command;
mod recorder;
mod report;

use std::io::Read as _;
use std::net::ToSocketAddrs as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use super::out;
use crate::auth::Identity;
use crate::config::{self, Listener};
use crate::gateway::aliases_in;
use crate::policy::mount_table::MountTable;
use crate::policy::rehearsal::{Outcome, Request, Verdict, explain, explore, own};
use crate::policy::{Fact, Finding, Question, Reason, Reply};

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
    #[arg(required_unless_present = "command")]
    method: Option<String>,
    /// Path and query, with or without `/v1.NN`; or a method of BuildKit's, such as
    /// `/moby.buildkit.v1.Control/Solve`.
    #[arg(required_unless_present = "command")]
    path: Option<String>,
    /// File with the JSON body, or `-` for stdin; of a method of BuildKit's, with its message as JSON.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// A command, such as `docker run …`: all that it sends is judged, and nothing of it is done.
    #[arg(last = true, value_name = "COMMAND", conflicts_with_all = ["method", "path", "body"])]
    command: Vec<String>,
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
    if !args.command.is_empty() {
        return command::run(&config, listener, args.user.as_deref(), &args.command);
    }
    let body = match args.body.as_ref().map(|file| (file, read(file))) {
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
    let (method, target) = (args.method.as_deref(), args.path.as_deref());
    let (method, target) = (method.unwrap_or_default(), target.unwrap_or_default());
    let request = Request { method, target, body: &body };
    let identity = Identity::imagined(args.user.as_deref());
    let is_here = config.engine.url.starts_with("unix://");
    let knows = |question: &Question| match question {
        Question::Begun { .. } => Some(own(&listener.name, &identity)),
        question => known(question, is_here),
    };
    let mut outcome = explore(&chain, &listener.name, &identity, &request, &knows);
    if let Verdict::Denied(..) = outcome.verdict {
        // The first refusal has ended it: what else speaks against it?
        let all = explain(&chain, &listener.name, &identity, &request, &knows);
        if all.findings.iter().any(|finding| !finding.audits) {
            outcome.findings = report::worth_telling(all.findings);
        }
    }
    let (said, code) = told(outcome, &request);
    out::end(&said, code)
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut read = Vec::new();
    match file.to_str() {
        Some("-") => std::io::stdin().lock().read_to_end(&mut read).map(|_| read),
        _ => std::fs::read(file),
    }
}

/// What came of it, for a person to read.
fn told(outcome: Outcome, request: &Request<'_>) -> (String, ExitCode) {
    let mut said = Vec::new();
    for Finding { policy, reason, .. } in outcome.findings.iter().filter(|one| one.audits) {
        said.push(format!("{policy} (audit): {}", reason.message()));
    }
    if outcome.asked.contains(&Question::Info) {
        let what = "the engine has its data in";
        said.push(format!("assumed: {what} `{DATA}`, and is configured as usual"));
    }
    if outcome.asked.iter().any(|question| matches!(question, Question::Begun { .. })) {
        said.push("assumed: the sessions and the build that it names are the caller's".to_owned());
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
            said.push(denied(&policy, &reasons, &outcome.findings));
            ExitCode::from(DENIED)
        }
        Verdict::Undecided(policy, questions) => {
            said.push(format!("undecided by {policy}: it depends on what only the engine knows\n"));
            let questions = named(&questions, request);
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
    (said.join("\n"), code)
}

/// By whom and why, policy by policy; where no more is known than the first one's, that.
fn denied(policy: &str, reasons: &[Reason], findings: &[Finding]) -> String {
    let refused: Vec<&Finding> = findings.iter().filter(|one| !one.audits).collect();
    if refused.is_empty() {
        let reasons: Vec<_> = reasons.iter().map(Reason::message).collect();
        return format!("denied by {policy}\n\n{}", reasons.join("\n"));
    }
    let each = refused.chunk_by(|one, other| one.policy == other.policy).map(|of_one| {
        let by = of_one.first().map_or("", |finding| finding.policy.as_str());
        let reasons: Vec<_> = of_one.iter().map(|finding| finding.reason.message()).collect();
        format!("denied by {by}\n\n{}", reasons.join("\n"))
    });
    each.collect::<Vec<_>>().join("\n\n")
}

/// What it depends on that the client has named; where that is nothing, all of it.
fn named<'q>(questions: &'q [Question], request: &Request<'_>) -> Vec<&'q Question> {
    let target = percent_encoding::percent_decode_str(request.target).decode_utf8_lossy();
    let said = [&*target, &*String::from_utf8_lossy(request.body)].concat();
    let is_named = |question: &&Question| match plain(question) {
        Question::Container(name)
        | Question::Network(name)
        | Question::Volume(name)
        | Question::Image(name)
        | Question::Addresses(name)
        | Question::Exec(name)
        | Question::ExecInspect(name)
        | Question::Begun { id: name, .. } => said.contains(name.as_str()),
        Question::HostPath(path) | Question::MountsBelow(path) => {
            path.to_str().is_some_and(|path| said.contains(path))
        }
        Question::Indexed(..)
        | Question::Info
        | Question::WhichEngine
        | Question::Aliases(_)
        | Question::List(..)
        | Question::Fresh
        | Question::Job(_) => false,
        Question::Plugin { .. } | Question::Granted(_) | Question::Login(_) => true,
        // What is put into a container is no part of the judgement.
        Question::OfEngine(_) | Question::Layout(_) | Question::Trust(_) => false,
    };
    let named: Vec<_> = questions.iter().filter(is_named).collect();
    if named.is_empty() { questions.iter().collect() } else { named }
}

/// What is asked, of whomever.
fn plain(mut question: &Question) -> &Question {
    while let Question::OfEngine(inner) = question {
        question = inner;
    }
    question
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
    match plain(question) {
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
        Question::Aliases(paths) if is_here => {
            let table = MountTable::parse(&std::fs::read("/proc/self/mountinfo").ok()?)?;
            Some(Fact::Paths(aliases_in(&table, paths)))
        }
        // A name that cannot be resolved now says nothing about the moment of the call.
        Question::Addresses(name) if is_here => {
            let found = (&**name, 443).to_socket_addrs().ok()?;
            Some(Fact::Addresses(found.map(|address| address.ip()).collect()))
        }
        // Nothing is known of an engine that is not asked.
        Question::Indexed(..) => Some(Fact::Absent),
        // Nothing is decided by which it is.
        Question::WhichEngine => {
            Some(Fact::Json(Arc::new(json!({ "ID": "-", "CgroupDriver": "systemd" }))))
        }
        Question::Info if is_here => Some(Fact::Json(Arc::new(json!({ "DockerRootDir": DATA })))),
        Question::Info
        | Question::HostPath(_)
        | Question::MountsBelow(_)
        | Question::Aliases(_)
        | Question::Addresses(_)
        | Question::Image(_)
        | Question::Container(_)
        | Question::Network(_)
        | Question::Volume(_)
        | Question::Exec(_)
        | Question::ExecInspect(_)
        | Question::OfEngine(_)
        | Question::List(..)
        | Question::Begun { .. }
        | Question::Fresh
        | Question::Job(_)
        | Question::Granted(_)
        | Question::Login(_)
        | Question::Trust(_)
        | Question::Layout(_)
        | Question::Plugin { .. } => None,
    }
}
