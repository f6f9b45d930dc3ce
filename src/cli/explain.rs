//! `dockgate explain`: what would become of one request, without an engine.
//!
//! The pure middle run by hand: the same parsing and the same chain as in the gateway.

use std::path::PathBuf;
use std::process::ExitCode;

use super::out;
use crate::auth::Identity;
use crate::config;
use crate::policy::rehearsal::{Request, Verdict, rehearse};
use crate::policy::{Answer, Finding};

const DENIED: u8 = 3;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration file; without it, one listener `default` with the `conservative` policy.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The listener whose policies judge.
    #[arg(long, value_name = "NAME", default_value = "default")]
    listener: String,
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
    let Some(listener) = config.listeners.iter().find(|one| one.name == args.listener) else {
        return super::failure(&format!("there is no listener `{}`", args.listener));
    };
    let body = match args.body.as_ref().map(std::fs::read).transpose() {
        Ok(body) => body.unwrap_or_default(),
        Err(error) => return super::failure(&error),
    };
    let chain = match crate::run::chain(&config, listener) {
        Ok(chain) => chain,
        Err(invalid) => return super::failure(&invalid),
    };
    let request = Request { method: &args.method, target: &args.path, body: &body };
    let identity = Identity::imagined(args.user.as_deref());
    // There is no engine to ask: nothing exists.
    let outcome = rehearse(&chain, &listener.name, &identity, &request, &|_| Answer::Absent);
    let mut said = Vec::new();
    for Finding { policy, reason } in &outcome.findings {
        said.push(format!("{policy} (audit): {}", reason.message()));
    }
    for question in &outcome.asked {
        said.push(format!("the engine would be asked: {question}; taken for absent here"));
    }
    let code = match outcome.verdict {
        Verdict::Allowed(bytes) => {
            let request = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
            said.push(format!("allowed\n\n{request}"));
            ExitCode::SUCCESS
        }
        Verdict::Denied(policy, reasons) => {
            said.push(format!("denied by {policy}\n"));
            said.extend(reasons.iter().map(|reason| reason.message()));
            ExitCode::from(DENIED)
        }
        Verdict::Malformed(why) => {
            said.push(format!("denied\n\n{why}"));
            ExitCode::from(DENIED)
        }
    };
    out::end(&said.join("\n"), code)
}
