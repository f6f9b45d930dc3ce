//! A message passed on with some of its texts changed, and all else as it came.
//!
//! `gateway` shows answers of BuildKit's by it. What must stay true: a field that the shape does not have goes on byte by
//! byte, and one that it ignores not at all; a message in which nothing is changed is not written anew.

use super::super::BadDoc;
use super::{BadMessage, Payload, next, put_bytes};
use crate::api::shape::{Kind, Object, n};

/// What becomes of a text; none: it stays.
type Change<'c> = dyn FnMut(&str) -> Option<String> + 'c;

/// The message with its texts changed; none where none is.
pub fn with_texts(
    bytes: &[u8],
    shape: &Object,
    change: &mut Change<'_>,
) -> Result<Option<Vec<u8>>, BadDoc> {
    message(bytes, shape, change).map_err(|error| match error {
        BadMessage::At(why) => BadDoc::Proto(why.to_owned()),
        BadMessage::TooManyValues => BadDoc::Proto("is too large".to_owned()),
    })
}

const ENTRY: &Object = &[n(2, "value", Kind::Str)];

fn message(
    bytes: &[u8],
    shape: &Object,
    change: &mut Change<'_>,
) -> Result<Option<Vec<u8>>, BadMessage> {
    let (mut out, mut is_changed) = (Vec::with_capacity(bytes.len()), false);
    let mut rest = bytes;
    while !rest.is_empty() {
        let before = rest;
        let (number, payload) = next(&mut rest)?;
        let field = shape.iter().find(|field| field.number == number);
        if field.is_some_and(|field| field.ignored) {
            is_changed = true;
            continue;
        }
        let kind = match field.map(|field| field.kind) {
            Some(Kind::List(of)) => Some(*of),
            other => other,
        };
        let changed = match (kind, payload) {
            (Some(Kind::Str), Payload::Bytes(text)) => {
                let text = std::str::from_utf8(text).ok();
                text.and_then(&mut *change).map(String::into_bytes)
            }
            (Some(Kind::Object(shape)), Payload::Bytes(bytes)) => message(bytes, shape, change)?,
            (Some(Kind::Map(Kind::Str)), Payload::Bytes(bytes)) => message(bytes, ENTRY, change)?,
            _ => None,
        };
        match changed {
            Some(changed) => {
                is_changed = true;
                put_bytes(number, &changed, &mut out);
            }
            None => {
                let length = before.len() - rest.len();
                out.extend_from_slice(before.get(..length).unwrap_or_default());
            }
        }
    }
    Ok(is_changed.then_some(out))
}

#[cfg(test)]
mod tests {
    use super::super::{parse, render};
    use super::*;
    use crate::api::shape::{LABELS, STRINGS};

    const INNER: &Object = &[n(1, "name", Kind::Str)];
    const WHOLE: &Object = &[
        n(1, "name", Kind::Str),
        n(2, "inner", Kind::List(&Kind::Object(INNER))),
        n(3, "labels", LABELS),
        n(4, "texts", STRINGS),
        n(5, "other", Kind::Str),
        n(6, "number", Kind::Int),
    ];
    const SEEN: &Object = &[
        n(1, "name", Kind::Str),
        n(2, "inner", Kind::List(&Kind::Object(INNER))),
        n(3, "labels", LABELS),
        n(4, "texts", STRINGS),
    ];

    const IGNORES: &Object = &[n(5, "other", Kind::Str).ignored()];

    fn changed(json: serde_json::Value) -> Option<serde_json::Value> {
        let json = json.to_string();
        let doc = crate::api::doc::parse(json.as_bytes(), &Kind::Object(WHOLE)).unwrap();
        let bytes = render(&doc.root, WHOLE);
        let mut change = |text: &str| text.contains("long").then(|| text.replace("long", "s"));
        let changed = with_texts(&bytes, SEEN, &mut change).unwrap()?;
        Some(serde_json::to_value(parse(999, &changed, WHOLE).unwrap().root).unwrap())
    }

    #[test]
    fn texts_are_changed_where_the_shape_has_them_and_all_else_stays() {
        let given = serde_json::json!({
            "name": "a long name", "inner": [{ "name": "x" }, { "name": "long" }],
            "labels": { "long": "long", "b": "" }, "texts": ["y", "longlong"], "other": "long", "number": -3,
        });
        let wanted = serde_json::json!({
            "name": "a s name", "inner": [{ "name": "x" }, { "name": "s" }],
            "labels": { "long": "s", "b": "" }, "texts": ["y", "ss"], "other": "long", "number": -3,
        });
        assert_eq!(changed(given), Some(wanted));
        assert_eq!(changed(serde_json::json!({ "name": "x", "other": "long" })), None);
    }

    #[test]
    fn what_is_ignored_is_left_out() {
        let bytes = b"\x0a\x01x\x2a\x01y\x30\x03";
        let left = with_texts(bytes, IGNORES, &mut |_| None).unwrap();
        assert_eq!(left.as_deref(), Some(&b"\x0a\x01x\x30\x03"[..]));
        assert_eq!(with_texts(b"\x0a\x01x", IGNORES, &mut |_| None).unwrap(), None);
    }

    #[test]
    fn what_is_no_message_is_not_passed_on() {
        assert!(with_texts(b"\x0a\x05ab", SEEN, &mut |_| None).is_err());
    }
}
