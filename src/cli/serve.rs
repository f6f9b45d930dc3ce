//! `dockgate serve`: runs.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config;
use crate::run::ConfigSource;
use crate::telemetry::{access, diagnostics};

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
    /// The access log on stdout; `auto` is text on a terminal and JSON elsewhere.
    #[arg(long, value_name = "FORMAT", conflicts_with = "config")]
    access_log: Option<access::Format>,
}

pub(super) fn run(args: Args) -> ExitCode {
    let loaded = source(args).and_then(|source| Ok((source.load()?, source)));
    let (config, source) = match loaded {
        Ok(loaded) => loaded,
        Err(invalid) => return super::failure(&invalid),
    };
    let format = config.log.format;
    if let Err(why) = diagnostics::init(format) {
        return super::failure(&why);
    }
    match crate::run::run(&source, config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if format == diagnostics::Format::Json => {
            tracing::error!("{error:#}");
            ExitCode::from(1)
        }
        Err(error) => super::failure(&format!("{error:#}")),
    }
}

fn source(args: Args) -> Result<ConfigSource, config::Invalid> {
    Ok(match args.config {
        Some(path) => ConfigSource::File(path),
        None => {
            let mut config = config::without_file(&args.listen, args.engine, &args.policy)?;
            config.log.access = args.access_log.unwrap_or_default();
            ConfigSource::Arguments(Box::new(config))
        }
    })
}
