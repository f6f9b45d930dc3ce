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

/// Installs the subscriber; the first call wins, so that tests may run many worlds.
pub fn init(format: Format) {
    let filter = EnvFilter::try_from_env("DOCKGATE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    let is_text = match format {
        Format::Auto => stderr().is_terminal(),
        Format::Text => true,
        Format::Json => false,
    };
    let _ = if is_text {
        // Its colours are escapes of our own, so that each value is looked at by itself.
        let builder = builder.with_ansi(stderr().is_terminal());
        let fields = debug_fn(put_field).delimited(" ");
        builder.fmt_fields(fields).with_writer(|| Quiet(stderr())).with_target(false).try_init()
    } else {
        let builder = builder.json().flatten_event(true);
        builder.with_writer(|| Quiet(Escaping(stderr()))).with_target(false).try_init()
    };
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
