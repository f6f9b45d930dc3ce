//! `dockgate learn`: from an access log with findings to a file of rules, for a person to read.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use super::out;
use crate::policy::conservative::LearnedRules;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only what came in by this listener.
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// Access logs of a listener whose policy `conservative` has `mode = "audit"`; without any, stdin.
    #[arg(value_name = "LOG")]
    logs: Vec<PathBuf>,
}

pub(super) fn run(args: Args) -> ExitCode {
    let mut lesson = match LearnedRules::new(args.listener) {
        Ok(lesson) => lesson,
        Err(invalid) => return super::failure(&invalid),
    };
    let mut strangers = 0;
    let mut read = |log: Box<dyn Read>| -> std::io::Result<()> {
        for line in BufReader::new(log).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            let is_record = line.trim().is_empty() || lesson.read(line.trim());
            strangers += u64::from(!is_record);
        }
        Ok(())
    };
    if args.logs.is_empty()
        && let Err(error) = read(Box::new(std::io::stdin()))
    {
        return super::failure(&format!("stdin: {error}"));
    }
    for path in &args.logs {
        let log = File::open(path);
        if let Err(error) = log.and_then(|log| read(Box::new(log))) {
            return super::failure(&format!("`{}`: {error}", path.display()));
        }
    }
    if strangers > 0 {
        out::complain(&format!("{strangers} lines are no access records and were left out"));
    }
    if lesson.calls() == 0 {
        return super::failure(&"there is nothing to learn from: no call was let pass");
    }
    out::put(&lesson.to_string()).err().unwrap_or(ExitCode::SUCCESS)
}
