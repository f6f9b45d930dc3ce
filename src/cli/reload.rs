//! `dockgate reload`: tells the running process to read its configuration again.
//!
//! Asks over the admin socket, so that the answer says what became of it; a signal could not.

use std::process::ExitCode;

use hyper::{Method, StatusCode};

use super::ask::{self, Process};
use super::out;
use crate::admin::MOST_TIME;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    process: Process,
    /// Answer in JSON: `reloaded` and `message`.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let result = ask::wait(reload(&args.process));
    if args.json {
        let (reloaded, message) = match &result {
            Ok(message) => (true, message),
            Err(why) => (false, why),
        };
        let said = serde_json::json!({ "reloaded": reloaded, "message": message }).to_string();
        return out::end(&said, ExitCode::from(u8::from(!reloaded)));
    }
    match result {
        Ok(message) => out::end(&message, ExitCode::SUCCESS),
        Err(why) => super::failure(&why),
    }
}

async fn reload(process: &Process) -> Result<String, String> {
    let answer = ask::ask(&process.find()?, Method::POST, "/reload", MOST_TIME).await?;
    let message = answer.message();
    if answer.status == StatusCode::OK { Ok(message) } else { Err(message) }
}
