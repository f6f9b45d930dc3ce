//! What a client chose, made safe to be looked at: nothing in a log moves a terminal's cursor, turns its text
//! around, or is invisible.
//!
//! `access` and `diagnostics` write through it, and so does whoever puts a client's words into a message. What
//! must stay true: what is escaped stays one line, and JSON stays the same JSON.

use std::borrow::Cow;
use std::io::{self, Write};

/// A text in which everything that is not printable is escaped as in JSON (`\u009b`).
pub fn printable(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_printable(c) {
            true => out.push(c),
            false => escape(c, &mut out),
        }
    }
    Cow::Owned(out)
}

/// The same of a text with lines: each but the first is indented, so that none looks like one of its own.
pub fn lines(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let lines: Vec<_> = text.lines().map(printable).collect();
    Cow::Owned(lines.join("\n    "))
}

/// Nearly every text: no reason to look at its characters one by one.
pub fn is_plain(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b' '..=b'~'))
}

/// Control, format and private characters are not, nor are lone accents and blanks of other widths.
fn is_printable(c: char) -> bool {
    match c {
        ' '..='~' => true,
        // The standard library's own table.
        _ => !c.is_ascii() && c.escape_debug().len() == 1,
    }
}

fn escape(c: char, out: &mut String) {
    use std::fmt::Write as _;
    for unit in c.encode_utf16(&mut [0; 2]) {
        // Cannot fail: a string takes all.
        let _ = write!(out, "\\u{unit:04x}");
    }
}

/// Lines of JSON or text on their way to a file or terminal; only line ends and tabs are not escaped. Errors
/// are nobody's to hear: whoever writes diagnostics has no better place to say so.
#[derive(Debug)]
pub struct Quiet<W>(pub W);

impl<W: Write> Write for Quiet<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}

/// As `printable`, but for line ends and tabs.
pub fn document(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|b| matches!(b, b' '..=b'~' | b'\n' | b'\t')) {
        return Cow::Borrowed(text);
    }
    let keep = |c: char| matches!(c, '\n' | '\t');
    let mut out = String::with_capacity(text.len() + 16);
    for piece in text.split_inclusive(keep) {
        let end = piece.chars().next_back().filter(|c| keep(*c));
        out.push_str(&printable(piece.trim_end_matches(keep)));
        out.extend(end);
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_moves_or_hides_is_escaped_and_letters_of_any_script_are_not() {
        for (text, wanted) in [
            ("/containers/web?all=1", "/containers/web?all=1"),
            ("größe 漢字 ελ 🐳", "größe 漢字 ελ 🐳"),
            ("a\u{9b}31mb", "a\\u009b31mb"),
            ("\u{1b}[2J\u{7f}\r\n\t\0", "\\u001b[2J\\u007f\\u000d\\u000a\\u0009\\u0000"),
            ("\u{202e}gpj.exe\u{202c}", "\\u202egpj.exe\\u202c"),
            ("\u{2066}x\u{2069}\u{200f}\u{61c}", "\\u2066x\\u2069\\u200f\\u061c"),
            ("\u{200b}\u{feff}\u{ad}\u{2028}\u{a0}", "\\u200b\\ufeff\\u00ad\\u2028\\u00a0"),
            ("\u{e0041}", "\\udb40\\udc41"),
        ] {
            assert_eq!(printable(text), wanted, "{text:?}");
        }
        assert_eq!(lines("a\nb\u{9b}\r\nc"), "a\n    b\\u009b\n    c");
        assert_eq!(document("a\tb\nc\u{9b}\n"), "a\tb\nc\\u009b\n");
        assert_eq!(document("\n\n\u{9b}"), "\n\n\\u009b");
    }

    proptest! {
        #[test]
        fn json_stays_the_same_json_and_nothing_else_is_left(text in any::<String>()) {
            let json = serde_json::json!({ "text": text }).to_string();
            let escaped = printable(&json);
            prop_assert!(escaped.chars().all(is_printable));
            prop_assert_eq!(escaped.parse::<serde_json::Value>().unwrap(), serde_json::json!({ "text": text }));
            prop_assert_eq!(document(&json).into_owned(), escaped.into_owned());
        }
    }
}
