//! `dockgate passwd`: one line of an htpasswd file.
//!
//! The password never stands on the command line, where every user of the machine could read it.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};
use std::process::ExitCode;

use crate::auth::{htpasswd_line, is_htpasswd_user};

/// Of the first line of stdin: more than any password.
const MOST: u64 = 4096;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The user's name, without `:`.
    #[arg(value_name = "USER", value_parser = user)]
    user: String,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let password = if io::stdin().is_terminal() { ask() } else { first_line() };
    match password.and_then(|password| Ok(htpasswd_line(&args.user, &password)?)) {
        Ok(line) => super::out::end(&line, ExitCode::SUCCESS),
        Err(error) => super::failure(&error),
    }
}

fn user(text: &str) -> Result<String, String> {
    match is_htpasswd_user(text) {
        true => Ok(text.to_owned()),
        false => Err("1 to 256 bytes, no `:`, no `#` at its start, nothing invisible".to_owned()),
    }
}

fn ask() -> anyhow::Result<String> {
    let password = rpassword::prompt_password("Password: ")?;
    let again = rpassword::prompt_password("Again: ")?;
    anyhow::ensure!(password == again, "the passwords differ");
    Ok(password)
}

/// Without its line end.
fn first_line() -> anyhow::Result<String> {
    let mut line = String::new();
    io::stdin().lock().take(MOST).read_line(&mut line)?;
    let line = line.strip_suffix('\n').unwrap_or(&line);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}
