//! What a command says, on stdout and stderr.
//!
//! All commands and the help write here. What must stay true: a reader that goes away (`| head -1`) ends the
//! command quietly, with the code that a shell shows for SIGPIPE; what cannot be written otherwise (a full
//! disk) is said, with code 1; nothing of it is a panic.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use crate::telemetry::printable::document;

/// 128 and SIGPIPE's number.
const READER_LEFT: u8 = 141;

/// Why a command that says many things ends before its last one.
#[derive(Debug)]
pub(super) enum Stop {
    Failed(String),
    /// Nobody reads on, or it was said already.
    Said(ExitCode),
}

impl Stop {
    pub(super) fn code(self) -> ExitCode {
        match self {
            Stop::Failed(why) => super::failure(&why),
            Stop::Said(code) => code,
        }
    }
}

impl From<String> for Stop {
    fn from(why: String) -> Stop {
        Stop::Failed(why)
    }
}

impl From<ExitCode> for Stop {
    fn from(code: ExitCode) -> Stop {
        Stop::Said(code)
    }
}

/// Writes a text and a line end, and all of it at once: what was written is written.
pub(super) fn say(text: &str) -> Result<(), ExitCode> {
    put(&format!("{text}\n"))
}

/// The same without the line end.
pub(super) fn put(text: &str) -> Result<(), ExitCode> {
    // Clients chose names that are shown here.
    wrote(io::stdout().lock().write_all(document(text).as_bytes()))
}

/// Says a text and ends: with `code` when it was written.
pub(super) fn end(text: &str, code: ExitCode) -> ExitCode {
    say(text).err().unwrap_or(code)
}

/// What became of something that was written to stdout.
pub(super) fn wrote(result: io::Result<()>) -> Result<(), ExitCode> {
    result.and_then(|()| io::stdout().lock().flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => ExitCode::from(READER_LEFT),
        _ => {
            complain(&format!("cannot write to stdout: {error}"));
            ExitCode::from(1)
        }
    })
}

/// On stderr; the exit code says it too.
pub(super) fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", document(text));
}
