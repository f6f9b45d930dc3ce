//! Diagnostics on stderr: text on a terminal, JSON elsewhere, by `DOCKGATE_LOG` (default `info`).
//!
//! What must stay true: nothing that a client chose reaches a terminal as it is, and a stderr that nobody
//! reads ends nothing.

use std::fmt::Debug;
use std::io::{IsTerminal, Stderr, stderr};

use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

use super::printable::{Quiet, document, lines};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Auto,
    Text,
    Json,
}

/// How much is said.
const VARIABLE: &str = "DOCKGATE_LOG";

/// Installs the subscriber; the first call wins, so that tests may run many worlds. An error: what is asked for is
/// nothing that can be had.
pub fn init(format: Format) -> Result<(), String> {
    let asked = match std::env::var(VARIABLE) {
        Ok(asked) if !asked.trim().is_empty() => asked,
        Ok(_) | Err(std::env::VarError::NotPresent) => "info".to_owned(),
        Err(error) => return Err(format!("`{VARIABLE}`: {error}")),
    };
    let filter = filter(&asked)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    let is_text = match format {
        Format::Auto => stderr().is_terminal(),
        Format::Text => true,
        Format::Json => false,
    };
    // A bug in one call is a line like any other; without this it would be text among JSON.
    if !is_text {
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string);
            let payload = panic.payload();
            let why = payload.downcast_ref::<String>().map(String::as_str);
            let why = why.or_else(|| payload.downcast_ref::<&str>().copied());
            tracing::error!(place, why, "dockgate has a bug: a task has ended");
        }));
    }
    let _ = if is_text {
        // Its colours are escapes of our own, so that each value is looked at by itself.
        let builder = builder.with_ansi(stderr().is_terminal());
        let fields = debug_fn(put_field).delimited(" ");
        builder.fmt_fields(fields).with_writer(|| Quiet(stderr())).with_target(false).try_init()
    } else {
        let builder = builder.json().flatten_event(true);
        builder.with_writer(|| Quiet(Escaping(stderr()))).with_target(false).try_init()
    };
    Ok(())
}

/// A level, or levels of parts of the program (`debug,dockgate::cache=trace`). A word that is no level is the name of a part
/// to `EnvFilter`: of one that nobody has.
fn filter(asked: &str) -> Result<EnvFilter, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |word: &str| LEVELS.contains(&word.trim().to_ascii_lowercase().as_str());
    let is_known = |part: &str| match part.split_once('=') {
        Some((_, level)) => is_level(level),
        None => is_level(part),
    };
    let wrong = || format!("`{VARIABLE}` is `{asked}`. hint: {} or `off`", LEVELS[1..].join(", "));
    if !asked.split(',').all(is_known) {
        return Err(wrong());
    }
    EnvFilter::try_new(asked).map_err(|_| wrong())
}

/// A line that scripts wait for, on stderr: as it is, or as an event where all lines are to be JSON.
pub fn announce(format: Format, line: &str) {
    use std::io::Write as _;
    match format {
        Format::Json => tracing::info!("{line}"),
        // Whoever has closed stderr does not want it, and is served all the same.
        Format::Auto | Format::Text => {
            let _ = writeln!(stderr(), "{line}");
        }
    }
}

fn put_field(to: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> std::fmt::Result {
    let value = format!("{value:?}");
    match field.name() {
        "message" => write!(to, "{}", lines(&value)),
        name => write!(to, "{name}={}", lines(&value)),
    }
}

/// Each write is a whole event.
struct Escaping(Stderr);

impl std::io::Write for Escaping {
    fn write(&mut self, event: &[u8]) -> std::io::Result<usize> {
        self.0.write_all(document(&String::from_utf8_lossy(event)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_not_taken_for_a_part_of_the_program() {
        for asked in ["debug", "WARN", "off", "info,dockgate::cache=trace", "dockgate=debug"] {
            filter(asked).unwrap();
        }
        for asked in ["debugg", "1", "info,verbose", "dockgate=loud", "dockgate"] {
            let error = filter(asked).unwrap_err();
            assert!(error.contains("hint: error, warn, info, debug, trace or `off`"), "{error}");
        }
    }
}
