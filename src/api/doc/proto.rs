//! A protobuf message, read into the same values as a JSON body, or refused; and written again.
//!
//! `api::call` reads BuildKit's requests here by the shapes of `api::buildkit`. Decoders merge a message that is given
//! twice, let the last scalar win, skip what they do not know and cut integers to their field's width: each is a way to
//! show a policy one request and BuildKit another. What must stay true: one reading only; what leaves is written by
//! `render` from what was read; bytes that others refer to by their digest are exactly what `render` makes of them.
//! Not `prost`: its decoder does all of the above without a word.

mod texts;

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Number;

pub use texts::with_texts;

use super::{BadDoc, Doc, DocStep, Reading, Value};
use crate::api::shape::{Kind, Object};

/// Reads a message of this shape, with so many values at most.
pub fn parse(most: usize, bytes: &[u8], shape: &'static Object) -> Result<Doc, BadDoc> {
    let mut reading = Reading { path: Vec::new(), unknown: Vec::new(), left: most };
    match message(bytes, shape, &mut reading) {
        Ok(root) => Ok(Doc { root, unknown: reading.unknown }),
        Err(BadMessage::TooManyValues) => Err(BadDoc::TooManyValues(most)),
        Err(BadMessage::At(why)) => Err(BadDoc::Proto(format!("`{}` {why}", reading.here()))),
    }
}

/// Writes a message: its fields in the order in which they stand, zero values too.
pub fn render(value: &Value, shape: &Object) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in value.entries() {
        if let Some(field) = shape.iter().find(|field| field.name == name) {
            put_field(field.number, value, &field.kind, &mut out);
        }
    }
    out
}

enum BadMessage {
    At(&'static str),
    TooManyValues,
}

use BadMessage::At;

const CUT: BadMessage = At("is cut short");
const WIRE_TYPE: BadMessage = At("has another wire type than this field's");

/// What follows a field's tag.
enum Payload<'m> {
    Varint(u64),
    Bytes(&'m [u8]),
    /// 32 or 64 bits, which no message in the tables has.
    Fixed,
}

fn message(
    mut bytes: &[u8],
    shape: &'static Object,
    reading: &mut Reading,
) -> Result<Value, BadMessage> {
    count(reading)?;
    let mut entries: Vec<(Cow<'static, str>, Value)> = Vec::new();
    let mut has_one_of = false;
    while !bytes.is_empty() {
        let (number, payload) = next(&mut bytes)?;
        let Some(field) = shape.iter().find(|field| field.number == number) else {
            reading.path.push(DocStep::Key(format!("field {number}")));
            reading.note(Value::Bool(true));
            reading.path.pop();
            continue;
        };
        reading.path.push(DocStep::Field(field.name));
        let here = entries.iter().position(|(name, _)| name == field.name);
        if field.one_of && std::mem::replace(&mut has_one_of, true) {
            return Err(At("stands beside another of which there can be one only"));
        }
        match here.and_then(|index| entries.get_mut(index)) {
            Some((_, value)) => more(value, payload, &field.kind, reading)?,
            None => {
                let value = first(payload, &field.kind, reading)?;
                entries.push((Cow::Borrowed(field.name), value));
            }
        }
        reading.path.pop();
    }
    Ok(Value::Object(entries))
}

/// A field that was not there yet.
fn first(payload: Payload<'_>, kind: &Kind, reading: &mut Reading) -> Result<Value, BadMessage> {
    match kind {
        Kind::List(_) => {
            let mut list = Value::List(Vec::new());
            more(&mut list, payload, kind, reading)?;
            Ok(list)
        }
        Kind::Map(_) => {
            let mut map = Value::Object(Vec::new());
            more(&mut map, payload, kind, reading)?;
            Ok(map)
        }
        _ => single(payload, kind, reading),
    }
}

/// A field that may be repeated.
fn more(
    value: &mut Value,
    payload: Payload<'_>,
    kind: &Kind,
    reading: &mut Reading,
) -> Result<(), BadMessage> {
    match (value, kind) {
        (Value::List(items), Kind::List(kind @ (Kind::Int | Kind::Int32))) => {
            let Payload::Bytes(mut packed) = payload else { return Err(WIRE_TYPE) };
            while !packed.is_empty() {
                let varint = varint(&mut packed)?;
                items.push(single(Payload::Varint(varint), kind, reading)?);
            }
        }
        (Value::List(items), Kind::List(kind)) => {
            reading.path.push(DocStep::Index(items.len()));
            items.push(single(payload, kind, reading)?);
            reading.path.pop();
        }
        (Value::Object(entries), Kind::Map(kind)) => {
            let (key, value) = entry(payload, kind, reading)?;
            if entries.iter().any(|(other, _)| *other == key) {
                reading.path.push(DocStep::Key(key));
                return Err(At("is given twice"));
            }
            entries.push((Cow::Owned(key), value));
        }
        _ => return Err(At("is given twice")),
    }
    Ok(())
}

/// An entry of a map: a message of a key and a value.
fn entry(
    payload: Payload<'_>,
    kind: &Kind,
    reading: &mut Reading,
) -> Result<(String, Value), BadMessage> {
    let Payload::Bytes(mut bytes) = payload else { return Err(WIRE_TYPE) };
    let (mut key, mut value) = (None, None);
    while !bytes.is_empty() {
        let (number, payload) = next(&mut bytes)?;
        match number {
            1 if key.is_none() && value.is_none() => key = Some(text(payload)?),
            2 if value.is_none() => {
                reading.path.push(DocStep::Key(key.clone().unwrap_or_default()));
                value = Some(single(payload, kind, reading)?);
                reading.path.pop();
            }
            _ => return Err(At("has an entry that is no key and value")),
        }
    }
    match (key, value) {
        (Some(key), Some(value)) => Ok((key, value)),
        // What is zero may be left out.
        (key, None) if matches!(kind, Kind::Str) => {
            Ok((key.unwrap_or_default(), Value::String(String::new())))
        }
        (None, Some(value)) => Ok((String::new(), value)),
        (_, None) => Err(At("has an entry without a value")),
    }
}

fn single(payload: Payload<'_>, kind: &Kind, reading: &mut Reading) -> Result<Value, BadMessage> {
    if !matches!(kind, Kind::Object(_) | Kind::Encoded(_)) {
        count(reading)?;
    }
    match (kind, payload) {
        (Kind::Bool, Payload::Varint(bit @ (0 | 1))) => Ok(Value::Bool(bit == 1)),
        (Kind::Bool, Payload::Varint(_)) => Err(At("is neither 0 nor 1")),
        (Kind::Int, Payload::Varint(bits)) => Ok(Value::Number(bits.cast_signed().into())),
        (Kind::Int32, Payload::Varint(bits)) => {
            let fits = u32::try_from(bits).is_ok() || i32::try_from(bits.cast_signed()).is_ok();
            let number = Value::Number(bits.cast_signed().into());
            if fits { Ok(number) } else { Err(At("does not fit into 32 bits")) }
        }
        (Kind::Enum(names), Payload::Varint(bits)) => {
            let name = usize::try_from(bits).ok().and_then(|index| names.get(index));
            let name = name.ok_or(At("has a value that dockgate does not know"))?;
            Ok(Value::String((*name).to_owned()))
        }
        (Kind::Str, payload @ Payload::Bytes(_)) => text(payload).map(Value::String),
        (Kind::Bytes, Payload::Bytes(bytes)) => Ok(Value::String(BASE64.encode(bytes))),
        (Kind::Object(shape), Payload::Bytes(bytes)) => message(bytes, shape, reading),
        (Kind::Encoded(shape), Payload::Bytes(bytes)) => {
            let unknown = reading.unknown.len();
            let value = message(bytes, shape, reading)?;
            let is_refused = reading.unknown.len() > unknown;
            if !is_refused && render(&value, shape) != bytes {
                return Err(At("is not written as BuildKit's own clients write it"));
            }
            Ok(value)
        }
        _ => Err(WIRE_TYPE),
    }
}

fn text(payload: Payload<'_>) -> Result<String, BadMessage> {
    let Payload::Bytes(bytes) = payload else { return Err(WIRE_TYPE) };
    let text = std::str::from_utf8(bytes).map_err(|_| At("is not UTF-8"))?;
    Ok(text.to_owned())
}

fn count(reading: &mut Reading) -> Result<(), BadMessage> {
    reading.left = reading.left.checked_sub(1).ok_or(BadMessage::TooManyValues)?;
    Ok(())
}

fn next<'m>(bytes: &mut &'m [u8]) -> Result<(u32, Payload<'m>), BadMessage> {
    let tag = varint(bytes)?;
    let number = u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number));
    let number = number.ok_or(At("has a field number that protobuf does not have"))?;
    let payload = match tag & 7 {
        0 => Payload::Varint(varint(bytes)?),
        1 => take(bytes, 8).map(|_| Payload::Fixed)?,
        2 => {
            let length = usize::try_from(varint(bytes)?).map_err(|_| CUT)?;
            Payload::Bytes(take(bytes, length)?)
        }
        5 => take(bytes, 4).map(|_| Payload::Fixed)?,
        _ => return Err(At("has a wire type that proto3 does not have")),
    };
    Ok((number, payload))
}

fn take<'m>(bytes: &mut &'m [u8], length: usize) -> Result<&'m [u8], BadMessage> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(CUT)?;
    *bytes = rest;
    Ok(taken)
}

/// In the shortest form only: others have the same value in a second spelling.
fn varint(bytes: &mut &[u8]) -> Result<u64, BadMessage> {
    let mut value = 0u64;
    for index in 0..10 {
        let byte = *take(bytes, 1)?.first().ok_or(CUT)?;
        let bits = u64::from(byte & 0x7f);
        if index == 9 && bits > 1 {
            return Err(At("has a number of more than 64 bits"));
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            let is_longer = byte == 0 && index > 0;
            return if is_longer { Err(At("has a number in a longer form")) } else { Ok(value) };
        }
    }
    Err(At("has a number of more than 64 bits"))
}

fn put_field(number: u32, value: &Value, kind: &Kind, out: &mut Vec<u8>) {
    match (value, kind) {
        (Value::Null, _) => {}
        (Value::List(items), Kind::List(Kind::Int | Kind::Int32)) => {
            let mut packed = Vec::new();
            items.iter().filter_map(bits).for_each(|bits| put_varint(bits, &mut packed));
            put_bytes(number, &packed, out);
        }
        (Value::List(items), Kind::List(kind)) => {
            items.iter().for_each(|item| put_field(number, item, kind, out));
        }
        (Value::Object(entries), Kind::Map(kind)) => {
            for (key, value) in entries {
                let mut entry = Vec::new();
                put_bytes(1, key.as_bytes(), &mut entry);
                put_field(2, value, kind, &mut entry);
                put_bytes(number, &entry, out);
            }
        }
        (value, Kind::Object(shape) | Kind::Encoded(shape)) => {
            put_bytes(number, &render(value, shape), out);
        }
        (Value::String(text), Kind::Str) => put_bytes(number, text.as_bytes(), out),
        (Value::String(text), Kind::Bytes) => {
            put_bytes(number, &BASE64.decode(text).unwrap_or_default(), out);
        }
        (Value::String(name), Kind::Enum(names)) => {
            let index = names.iter().position(|other| other == name).unwrap_or_default();
            put_number(number, index as u64, out);
        }
        (value, _) => {
            if let Some(bits) = bits(value) {
                put_number(number, bits, out);
            }
        }
    }
}

fn bits(value: &Value) -> Option<u64> {
    match value {
        Value::Bool(value) => Some(u64::from(*value)),
        Value::Number(number) => as_bits(number),
        _ => None,
    }
}

fn as_bits(number: &Number) -> Option<u64> {
    number.as_i64().map(i64::cast_unsigned).or_else(|| number.as_u64())
}

fn put_number(number: u32, bits: u64, out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3, out);
    put_varint(bits, out);
}

fn put_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | 2, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests;
