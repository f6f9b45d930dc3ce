//! `dockgate check`: whether a configuration is valid and its policies do what their tests expect,
//! without network or engine; what is valid and unwise on this machine is said, too.

use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration file.
    #[arg(short, long, value_name = "FILE", default_value = "/etc/dockgate/dockgate.toml")]
    config: PathBuf,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let loaded = crate::config::load(&args.config);
    let checked = loaded.and_then(|config| {
        crate::run::Plan::of(&config)?;
        crate::run::policy_tests(&config)?;
        Ok(crate::run::warnings(&config))
    });
    match checked {
        Ok(warnings) => {
            warnings.iter().for_each(|warning| super::note(&format!("warning: {warning}")));
            ExitCode::SUCCESS
        }
        Err(invalid) => super::failure(&invalid),
    }
}
