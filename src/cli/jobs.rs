//! `dockgate jobs`: containers that have a Docker socket of their own.
//!
//! Asks over the admin socket. What must stay true: what is printed with `--json` is what the process said.

use std::process::ExitCode;
use std::time::Duration;

use hyper::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::ask::{self, Process};
use super::out;
use crate::admin::MOST_TIME;
use crate::admin::report::JobsReport;
use crate::job;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<JobsCommand>,
    #[command(flatten)]
    process: Process,
    /// Answer in JSON.
    #[arg(long, global = true)]
    json: bool,
    /// Also those of which nothing is left, for an hour.
    #[arg(long)]
    all: bool,
}

#[derive(Debug, clap::Subcommand)]
enum JobsCommand {
    /// End one: its socket closes, and all that was made through it is removed.
    End { id: String },
}

pub(super) fn run(args: &Args) -> ExitCode {
    match ask::wait(tell(args)) {
        Ok(said) => out::end(said.trim_end(), ExitCode::SUCCESS),
        Err(why) => super::failure(&why),
    }
}

async fn tell(args: &Args) -> Result<String, String> {
    let (method, target) = match &args.command {
        None => (Method::GET, "/jobs".to_owned()),
        Some(JobsCommand::End { id }) => {
            (Method::DELETE, format!("/jobs?id={}", utf8_percent_encode(id, NON_ALPHANUMERIC)))
        }
    };
    let answer = ask::ask(&args.process.find()?, method, &target, MOST_TIME).await?;
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    match (answer.status == StatusCode::OK, &args.command) {
        (false, _) => Err(answer.message()),
        (true, _) if args.json => Ok(body),
        (true, None) => table(&body, args.all),
        (true, Some(_)) => Ok(answer.message()),
    }
}

fn table(json: &str, all: bool) -> Result<String, String> {
    let read: JobsReport = json
        .parse::<serde_json::Value>()
        .and_then(serde_json::from_value)
        .map_err(|error| format!("the process is of another version: {error}"))?;
    let mut lines = vec![format!(
        "{:16}  {:7}  {:10}  {:12}  {:16}  {}",
        "JOB", "STATE", "AGE", "CONTAINER", "LISTENER", "ERROR"
    )];
    lines.extend(read.jobs.iter().filter(|one| all || one.state != "gone").map(|one| {
        let age = Duration::from_secs(job::now().saturating_sub(one.began));
        let container: String = one.container.as_deref().unwrap_or("-").chars().take(12).collect();
        let age = humantime::format_duration(age).to_string();
        let age: Vec<&str> = age.split(' ').take(2).collect();
        let error = one.error.as_deref().unwrap_or_default();
        format!(
            "{:16}  {:7}  {:10}  {container:12}  {:16}  {error}",
            one.id,
            one.state,
            age.join(" "),
            one.listener
        )
    }));
    Ok(lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n"))
}
