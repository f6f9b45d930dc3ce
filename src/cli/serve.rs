//! `dockgate serve`: runs.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config;
use crate::run::ConfigSource;
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
    let loaded = source(args).and_then(|source| Ok((source.load()?, source)));
    let (config, source) = match loaded {
        Ok(loaded) => loaded,
        Err(invalid) => return super::failure(&invalid),
    };
    diagnostics::init(config.log.format);
    match crate::run::run(&source, config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::failure(&format!("{error:#}")),
    }
}

fn source(args: Args) -> Result<ConfigSource, config::Invalid> {
    Ok(match args.config {
        Some(path) => ConfigSource::File(path),
        None => {
            let config = config::without_file(&args.listen, args.engine, &args.policy)?;
            ConfigSource::Arguments(Box::new(config))
        }
    })
}
