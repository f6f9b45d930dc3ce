//! How a call of gRPC has failed, with its texts as policies show them.
//!
//! `grpc` calls it with the fields that end an answer. What must stay true: what cannot be looked into does not go on.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::{HeaderMap, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};

use crate::api::buildkit::STATUS_TEXTS;
use crate::api::doc::proto;

/// The message alone (`PROTOCOL-HTTP2.md` of grpc), and as a `google.rpc.Status` with more about it.
const MESSAGE: &str = "grpc-message";
const DETAILS: &str = "grpc-status-details-bin";
/// All but printable ASCII, and the sign that says so.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

pub(super) fn show(fields: &mut HeaderMap, shown: &mut dyn FnMut(&str) -> Option<String>) {
    if let Some(said) = fields.get(MESSAGE) {
        let text = percent_decode(said.as_bytes()).decode_utf8_lossy();
        if let Some(text) = shown(&text) {
            let text = utf8_percent_encode(&text, ESCAPED).to_string();
            put(fields, MESSAGE, HeaderValue::try_from(text).ok());
        }
    }
    if let Some(said) = fields.get(DETAILS) {
        match details(said.as_bytes(), shown) {
            Ok(None) => {}
            Ok(Some(changed)) => put(fields, DETAILS, HeaderValue::try_from(changed).ok()),
            Err(Unclear) => put(fields, DETAILS, None),
        }
    }
}

struct Unclear;

/// Changed, where it is. Details of other types are lost where they say something that is not to be shown.
fn details(
    said: &[u8],
    shown: &mut dyn FnMut(&str) -> Option<String>,
) -> Result<Option<String>, Unclear> {
    let bytes = STANDARD_NO_PAD.decode(said).or_else(|_| STANDARD.decode(said));
    let bytes = bytes.map_err(|_| Unclear)?;
    let changed = proto::with_texts(&bytes, STATUS_TEXTS, shown).map_err(|_| Unclear)?;
    let rest = changed.as_deref().unwrap_or(&bytes);
    if shown(&String::from_utf8_lossy(rest)).is_some() {
        return Err(Unclear);
    }
    Ok(changed.map(|changed| STANDARD_NO_PAD.encode(changed)))
}

fn put(fields: &mut HeaderMap, name: &'static str, value: Option<HeaderValue>) {
    match value {
        Some(value) => {
            fields.insert(name, value);
        }
        None => {
            fields.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        text.contains("secret-").then(|| text.replace("secret-", ""))
    }

    fn status(message: &[u8], detail: &[u8]) -> String {
        let (length, detail_length) = (message.len() as u8, detail.len() as u8);
        let parts: [&[u8]; 4] = [
            &[0x08, 5, 0x12, length],
            message,
            &[0x1a, detail_length + 2, 0x12, detail_length],
            detail,
        ];
        STANDARD_NO_PAD.encode(parts.concat())
    }

    fn seen(message: &str, details: &str) -> (String, Option<String>) {
        let mut fields = HeaderMap::new();
        fields.insert(MESSAGE, HeaderValue::from_str(message).unwrap());
        fields.insert(DETAILS, HeaderValue::from_str(details).unwrap());
        show(&mut fields, &mut shown);
        let text = |name| fields.get(name).map(|value| value.to_str().unwrap().to_owned());
        (text(MESSAGE).unwrap(), text(DETAILS))
    }

    #[test]
    fn an_error_is_shown_in_both_of_its_forms() {
        let plain = status(b"no x", b"snippet");
        let message = "no secret-x%0A100%25";
        let wanted = ("no x%0A100%25".to_owned(), Some(plain.clone()));
        assert_eq!(seen(message, &status(b"no secret-x", b"snippet")), wanted);
        assert_eq!(seen("same%", &plain), ("same%".to_owned(), Some(plain)));
    }

    #[test]
    fn details_that_cannot_be_shown_do_not_go_on() {
        assert_eq!(seen("x", &status(b"x", b"a secret-x")), ("x".to_owned(), None));
        assert_eq!(seen("x", "%%%"), ("x".to_owned(), None));
    }
}
