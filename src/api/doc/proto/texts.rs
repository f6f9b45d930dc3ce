//! A message passed on with some of its texts changed, and all else as it came.
//!
//! `gateway` shows answers of BuildKit's by it. What must stay true: a field that the shape does not have goes on byte by
//! byte; a message in which nothing is changed is not written anew; what is called by its digest is called by its new one.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};

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
    let mut texts = Texts { change, renamed: BTreeMap::new() };
    texts.message(bytes, shape).map_err(|error| match error {
        BadMessage::At(why) => BadDoc::Proto(why.to_owned()),
        BadMessage::TooManyValues => BadDoc::Proto("is too large".to_owned()),
    })
}

const ENTRY: &Object = &[n(2, "value", Kind::Str)];

struct Texts<'c, 'f> {
    change: &'c mut Change<'f>,
    /// New digests of what was changed so far, and is called by the old ones in what follows.
    renamed: BTreeMap<String, String>,
}

impl Texts<'_, '_> {
    fn message(&mut self, bytes: &[u8], shape: &Object) -> Result<Option<Vec<u8>>, BadMessage> {
        let (mut out, mut is_changed) = (Vec::with_capacity(bytes.len()), false);
        let mut rest = bytes;
        while !rest.is_empty() {
            let before = rest;
            let (number, payload) = next(&mut rest)?;
            let field = shape.iter().find(|field| field.number == number);
            let kind = match field.map(|field| field.kind) {
                Some(Kind::List(of)) => Some(*of),
                other => other,
            };
            let changed = match (kind, payload) {
                (Some(Kind::Str), Payload::Bytes(text)) => self.text(text),
                (Some(Kind::Object(shape)), Payload::Bytes(bytes)) => self.message(bytes, shape)?,
                (Some(Kind::Map(Kind::Str)), Payload::Bytes(bytes)) => {
                    self.message(bytes, ENTRY)?
                }
                (Some(Kind::Encoded(shape)), Payload::Bytes(bytes)) => {
                    let changed = self.message(bytes, shape)?;
                    if let Some(changed) = &changed {
                        self.renamed.insert(sha256(bytes), sha256(changed));
                    }
                    changed
                }
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

    fn text(&mut self, text: &[u8]) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(text).ok()?;
        let changed = self.renamed.get(text).cloned().or_else(|| (self.change)(text));
        changed.map(String::into_bytes)
    }
}

fn sha256(bytes: &[u8]) -> String {
    let digits = digest(&SHA256, bytes);
    digits.as_ref().iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
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
    fn what_is_called_by_its_digest_is_called_by_its_new_one() {
        const OP: &Object = &[n(1, "input", Kind::Str), n(3, "name", Kind::Str)];
        const GRAPH: &Object = &[
            n(1, "def", Kind::List(&Kind::Encoded(OP))),
            n(2, "about", Kind::Object(&[n(1, "key", Kind::Str)])),
        ];
        let op = |input: &str, name: &str| {
            let mut out = Vec::new();
            put_bytes(1, input.as_bytes(), &mut out);
            put_bytes(3, name.as_bytes(), &mut out);
            out
        };
        let graph = |name: &str| {
            let (other, first) = (op("", "other"), op("", name));
            let second = op(&sha256(&first), "b");
            let about = [&first, &second, &other].map(|op| op_key(&sha256(op)));
            let mut out = Vec::new();
            for op in [&other, &first, &second] {
                put_bytes(1, op, &mut out);
            }
            about.iter().for_each(|key| put_bytes(2, key, &mut out));
            out
        };
        let mut change = |text: &str| text.contains("long").then(|| text.replace("long", "s"));
        let changed = with_texts(&graph("long"), GRAPH, &mut change).unwrap();
        assert_eq!(changed, Some(graph("s")));
        assert_eq!(with_texts(&graph("s"), GRAPH, &mut change).unwrap(), None);
    }

    /// An entry of a map, with something behind its key.
    fn op_key(digest: &str) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(1, digest.as_bytes(), &mut out);
        put_bytes(2, b"value", &mut out);
        out
    }

    #[test]
    fn what_is_no_message_is_not_passed_on() {
        assert!(with_texts(b"\x0a\x05ab", SEEN, &mut |_| None).is_err());
    }
}
