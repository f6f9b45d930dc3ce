//! `dockgate listener`: what the running process listens on, and listeners that are opened and closed meanwhile.
//!
//! Asks over the admin socket. What must stay true: what is printed with `--json` is what the process said.

use std::process::ExitCode;

use hyper::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::ask::{self, AdminReply, Process};
use super::out;
use crate::admin::MOST_TIME;
use crate::admin::report::Listeners;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: ListenerCommand,
    #[command(flatten)]
    process: Process,
    /// Answer in JSON: what is open, or `done` and `message`.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum ListenerCommand {
    /// Show every listening socket.
    Ls,
    /// Open a listener that is as one of the configuration, at another path.
    Open {
        /// No other listener has it.
        name: String,
        /// The listener of the configuration, on `unix://`, whose authentication, policies and limits it has.
        #[arg(long, value_name = "LISTENER")]
        like: String,
        /// Where: `unix:///path`.
        #[arg(long)]
        url: String,
        /// Of the socket's file, such as `0660`; as the other's where it is left out.
        #[arg(long)]
        mode: Option<String>,
    },
    /// Close one that was opened so; what goes on through it goes on to its end.
    Close { name: String },
}

pub(super) fn run(args: &Args) -> ExitCode {
    let result = ask::wait(tell(args));
    if args.json && !matches!(args.command, ListenerCommand::Ls) {
        let (done, message) = match &result {
            Ok(message) => (true, message),
            Err(why) => (false, why),
        };
        let said = serde_json::json!({ "done": done, "message": message }).to_string();
        return out::end(&said, ExitCode::from(u8::from(!done)));
    }
    match result {
        Ok(said) => out::end(said.trim_end(), ExitCode::SUCCESS),
        Err(why) => super::failure(&why),
    }
}

async fn tell(args: &Args) -> Result<String, String> {
    let answer = match &args.command {
        ListenerCommand::Ls => ask(args, Method::GET, &[]).await?,
        ListenerCommand::Open { name, like, url, mode } => {
            let mode = mode.as_deref().map(|mode| ("mode", mode));
            let query = [("name", name.as_str()), ("like", like), ("url", url)];
            let query: Vec<_> = query.into_iter().chain(mode).collect();
            ask(args, Method::POST, &query).await?
        }
        ListenerCommand::Close { name } => ask(args, Method::DELETE, &[("name", name)]).await?,
    };
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    match (answer.status == StatusCode::OK, &args.command) {
        (false, _) => Err(answer.message()),
        (true, ListenerCommand::Ls) if args.json => Ok(body),
        (true, ListenerCommand::Ls) => table(&body),
        (true, _) => Ok(answer.message()),
    }
}

async fn ask(args: &Args, method: Method, query: &[(&str, &str)]) -> Result<AdminReply, String> {
    let value = |value| utf8_percent_encode(value, NON_ALPHANUMERIC);
    let pairs: Vec<_> = query.iter().map(|(name, one)| format!("{name}={}", value(one))).collect();
    let target = format!("/listeners?{}", pairs.join("&"));
    ask::ask(&args.process.find()?, method, &target, MOST_TIME).await
}

fn table(json: &str) -> Result<String, String> {
    let read: Listeners = json
        .parse::<serde_json::Value>()
        .and_then(serde_json::from_value)
        .map_err(|error| format!("the process is of another version: {error}"))?;
    let wide = read.listeners.iter().map(|one| one.name.len()).max().unwrap_or(0).max(4);
    let mut lines = vec![format!("{:wide$}  URL", "NAME")];
    lines.extend(read.listeners.iter().map(|one| {
        let like = one.like.as_ref().map_or_else(String::new, |like| format!("  (like {like})"));
        format!("{:wide$}  {}{like}", one.name, one.url)
    }));
    Ok(lines.join("\n"))
}
