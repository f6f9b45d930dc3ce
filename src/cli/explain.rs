//! `dockgate explain`: what would become of one request, without an engine.
//!
//! The pure middle run by hand: the same parsing and the same chain as in the gateway.

use std::path::PathBuf;
use std::process::ExitCode;

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

#[expect(clippy::print_stdout, reason = "this is the command's answer")]
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
    for Finding { policy, reason } in &outcome.findings {
        println!("{policy} (audit): {}", reason.message());
    }
    for question in &outcome.asked {
        println!("the engine would be asked: {question}; taken for absent here");
    }
    match outcome.verdict {
        Verdict::Allowed(bytes) => {
            println!("allowed\n\n{}", String::from_utf8_lossy(&bytes).replace("\r\n", "\n"));
            ExitCode::SUCCESS
        }
        Verdict::Denied(policy, reasons) => {
            println!("denied by {policy}\n");
            reasons.iter().for_each(|reason| println!("{}", reason.message()));
            ExitCode::from(DENIED)
        }
        Verdict::Malformed(why) => {
            println!("denied\n\n{why}");
            ExitCode::from(DENIED)
        }
    }
}
