//! The frontend that a Dockerfile wants to be read by: `# syntax=IMAGE`.
//!
//! `fetches` asks here. What must stay true: whatever BuildKit's `DetectSyntax` finds in any version is found here, and for
//! the classic builder nothing is: to it such a line is a comment.

use super::lines::directive;
use super::{BuildSettings, Builder, Expanded, Fetch, FetchKind};

/// The build argument that goes before any line of the file.
const ARGUMENT: &str = "BUILDKIT_SYNTAX";

pub(super) fn of(text: &str, with: &BuildSettings<'_>) -> Vec<Fetch> {
    if with.builder == Builder::Classic {
        return Vec::new();
    }
    let mut found = Vec::new();
    if let Some(image) = with.args.get(ARGUMENT) {
        found.push(fetch(1, image));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let has_shebang = text.starts_with("#!");
    let (skipped, body) = match text.split_once('\n') {
        Some((_, rest)) if has_shebang => (1, rest),
        _ if has_shebang => (1, ""),
        _ => (0, text),
    };
    for comment in ["#", "//"] {
        // Older versions go on behind directives that newer ones do not know.
        for (index, line) in body.lines().enumerate() {
            let Some(rest) = line.trim_start().strip_prefix(comment) else { break };
            let Some((name, value)) = directive(rest.trim_start()) else { break };
            if name == "syntax" {
                found.push(fetch(index + 1 + skipped, value));
            }
        }
    }
    if let Ok(serde_json::Value::Object(keys)) = serde_json::from_str(body)
        && let Some(value) = keys.get("syntax").and_then(serde_json::Value::as_str)
    {
        found.push(fetch(1 + skipped, value));
    }
    found
}

/// What follows a blank is the frontend's own.
fn fetch(line: usize, value: &str) -> Fetch {
    let image = value.split(' ').next().unwrap_or_default();
    let name = Expanded { known: image.to_owned(), is_whole: true };
    Fetch { line, kind: FetchKind::Frontend, name, written: value.to_owned() }
}
