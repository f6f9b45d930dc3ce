//! The command line: one thin file a command.
//!
//! `main` calls `main` here. What must stay true: exit codes are those of the contract: 0 fine, 1 bad
//! configuration or failure to start, 2 bad usage, 3 denied, 4 undecided, 141 nobody reads what it says.

mod ask;
mod cache;
mod certs;
mod check;
mod explain;
mod jobs;
mod learn;
mod listener;
mod out;
mod passwd;
mod reload;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A policy gateway for the Docker Engine API: makes the Docker socket safe to share.
#[derive(Debug, Parser)]
#[command(name = "dockgate", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Stand in front of an engine.
    Serve(serve::Args),
    /// Check a configuration; says nothing when it is valid.
    Check(check::Args),
    /// Make the running process read its configuration again.
    Reload(reload::Args),
    /// See what is listened on; open and close listeners while it runs.
    Listener(listener::Args),
    /// See which containers have a Docker socket of their own; end one with all that it made.
    Jobs(jobs::Args),
    /// See what the caches have saved and hold; drop or check it.
    Cache(cache::Args),
    /// Show what would become of one request, or of all that a command sends.
    Explain(explain::Args),
    /// Make rules that would have let pass what an access log tells of.
    Learn(learn::Args),
    /// Make a line of an htpasswd file for `kind = "basic"`.
    Passwd(passwd::Args),
    /// Make a trial authority with certificates for a server and a client.
    Certs(certs::Args),
}

pub fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(Cli { command }) => command,
        Err(error) => return usage(&error),
    };
    match command {
        Command::Serve(args) => serve::run(args),
        Command::Check(args) => check::run(&args),
        Command::Reload(args) => reload::run(&args),
        Command::Listener(args) => listener::run(&args),
        Command::Jobs(args) => jobs::run(&args),
        Command::Cache(args) => cache::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Learn(args) => learn::run(args),
        Command::Passwd(args) => passwd::run(&args),
        Command::Certs(args) => certs::run(&args),
    }
}

/// What clap says: help and version on stdout, and what is wrong on stderr, with code 2.
fn usage(error: &clap::Error) -> ExitCode {
    let printed = error.print();
    match error.use_stderr() {
        true => ExitCode::from(2),
        false => out::wrote(printed).err().unwrap_or(ExitCode::SUCCESS),
    }
}

/// Says on stderr what is no failure.
#[expect(clippy::print_stderr, reason = "this is the command's answer, not a log line")]
fn note(what: &str) {
    eprintln!("{what}");
}

/// Says what went wrong on stderr; exit code 1.
fn failure(error: &dyn std::fmt::Display) -> ExitCode {
    out::complain(&error.to_string());
    ExitCode::from(1)
}
