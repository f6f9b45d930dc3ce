//! `dockgate jobs`: containers and processes that have a Docker socket of their own.
//!
//! Asks over the admin socket. What must stay true: what is printed with `--json` is what the process said.

use std::process::ExitCode;
use std::time::Duration;

use hyper::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};

use super::ask::{self, Process};
use super::out;
use crate::admin::MOST_TIME;
use crate::admin::report::{JobReport, JobsReport};
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
    /// Open a socket for a process: all that is made through it is removed when the process ends.
    Open {
        /// What it is called here.
        #[arg(long)]
        name: String,
        /// The process that it ends with, instead of the one that runs this command.
        #[arg(long = "for", value_name = "PID")]
        process: Option<i32>,
        /// The `temporary-listener` policy that says what holds, where there are several.
        #[arg(long)]
        policy: Option<String>,
    },
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
        Some(JobsCommand::End { id }) => (Method::DELETE, format!("/jobs?id={}", encoded(id))),
        Some(JobsCommand::Open { name, process, policy }) => {
            let pid = match process {
                Some(pid) => *pid,
                None => parent()?,
            };
            let policy = policy.as_deref().map(|name| format!("&policy={}", encoded(name)));
            let policy = policy.unwrap_or_default();
            (Method::POST, format!("/jobs?name={}&pid={pid}{policy}", encoded(name)))
        }
    };
    let answer = ask::ask(&args.process.find()?, method, &target, MOST_TIME).await?;
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    match (answer.status == StatusCode::OK, &args.command) {
        (false, _) => Err(answer.message()),
        (true, _) if args.json => Ok(body),
        (true, None) => table(&body, args.all),
        (true, Some(JobsCommand::End { .. })) => Ok(answer.message()),
        (true, Some(JobsCommand::Open { .. })) => {
            Ok(format!("unix://{}", read::<JobReport>(&body)?.socket))
        }
    }
}

fn encoded(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

fn parent() -> Result<i32, String> {
    let parent = std::os::unix::process::parent_id();
    match i32::try_from(parent) {
        Ok(pid) if pid > 1 => Ok(pid),
        _ => Err("nobody in particular runs this command. hint: `--for PID`".to_owned()),
    }
}

fn read<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, String> {
    json.parse::<serde_json::Value>()
        .and_then(serde_json::from_value)
        .map_err(|error| format!("the process is of another version: {error}"))
}

fn table(json: &str, all: bool) -> Result<String, String> {
    let read: JobsReport = read(json)?;
    let mut lines = vec![format!(
        "{:16}  {:7}  {:10}  {:15}  {:16}  {}",
        "JOB", "STATE", "AGE", "OF", "LISTENER", "ERROR"
    )];
    lines.extend(read.jobs.iter().filter(|one| all || one.state != "gone").map(|one| {
        let age = Duration::from_secs(job::now().saturating_sub(one.began));
        let (of, listener) = match one.pid {
            Some(pid) => (format!("pid {pid}"), one.name.as_deref().unwrap_or("-")),
            None => {
                let first = one.containers.first().map_or("-", String::as_str);
                let first: String = first.chars().take(12).collect();
                let of = match one.containers.len() {
                    0 | 1 => first,
                    several => format!("{first} +{}", several - 1),
                };
                (of, one.listener.as_str())
            }
        };
        let age = humantime::format_duration(age).to_string();
        let age: Vec<&str> = age.split(' ').take(2).collect();
        let error = one.error.as_deref().unwrap_or_default();
        format!(
            "{:16}  {:7}  {:10}  {of:15}  {:16}  {error}",
            one.id,
            one.state,
            age.join(" "),
            listener
        )
    }));
    Ok(lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n"))
}
