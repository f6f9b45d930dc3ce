//! `dockgate serve`: runs.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::{self, Config};
use crate::telemetry::diagnostics;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration file.
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["listen", "engine", "policy"])]
    config: Option<PathBuf>,
    /// Where to listen: `unix:///path` or `tcp://address:port`; may repeat.
    #[arg(long, value_name = "URL")]
    listen: Vec<String>,
    /// The engine; by default `DOCKER_HOST`, then `unix:///var/run/docker.sock`.
    #[arg(long, value_name = "URL")]
    engine: Option<String>,
    /// A built-in policy, `conservative` by default; `none` passes everything through.
    #[arg(long, value_name = "NAME")]
    policy: Vec<String>,
}

pub(super) fn run(args: Args) -> ExitCode {
    let config = match load(args) {
        Ok(config) => config,
        Err(invalid) => return super::failure(&invalid),
    };
    diagnostics::init(config.log.format);
    match crate::run::run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::failure(&format!("{error:#}")),
    }
}

fn load(args: Args) -> Result<Config, config::Invalid> {
    match args.config {
        Some(path) => config::load(&path),
        None => config::without_file(&args.listen, args.engine, &args.policy),
    }
}
