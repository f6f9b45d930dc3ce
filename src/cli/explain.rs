//! `dockgate explain`: what would become of one request, without an engine.
//!
//! The pure middle run by hand: the same parsing and the same chain as in the gateway.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::api::call::Wanted;
use crate::api::endpoint::KNOWN;
use crate::api::{Call, Draft};
use crate::auth::Identity;
use crate::config;
use crate::policy::Context;
use crate::wire::framing::Framing;
use crate::wire::head::RequestHead;

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
    let chain = crate::run::chain(&listener.policies);
    match decide(args, &chain, &listener.name, &body) {
        Ok(engine_gets) => {
            println!("allowed\n\n{engine_gets}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("denied\n\n{why}");
            ExitCode::from(DENIED)
        }
    }
}

fn decide(
    args: &Args,
    chain: &crate::policy::Chain,
    listener: &str,
    body: &[u8],
) -> Result<String, String> {
    let head = format!(
        "{} {} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n\r\n",
        args.method, args.path
    );
    let head = RequestHead::parse(head.as_bytes()).map_err(|error| error.to_string())?;
    let call = match chain.is_empty() {
        true => Call::verbatim(head),
        false => {
            let draft = Draft::parse(&head).map_err(|error| error.to_string())?;
            match draft.wanted() {
                Wanted::Stream => draft.with_stream(Framing::None),
                Wanted::Json | Wanted::Nothing => {
                    draft.with_json(&head, body).map_err(|error| error.to_string())?
                }
            }
        }
    };
    let identity = Identity::imagined(args.user.as_deref());
    let cx = Context { identity: &identity, listener, engine: KNOWN };
    let permitted = chain.decide(call, &cx).map_err(|reason| reason.message())?;
    Ok(String::from_utf8_lossy(&permitted.render()).replace("\r\n", "\n"))
}
