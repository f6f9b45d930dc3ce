//! The head of an object's file: a line that says what it is, and two slots for what is known of it.
//!
//! Written by `disk`, read with every hit; pure. What must stay true: whatever bytes are in a file, what
//! is read was once written for it, or nothing is read; a slot that was half written leaves the other
//! one; the body's place never changes.
//!
//! `head -c 2048 FILE` shows it. The first line has the version and the length of the head; each slot
//! has half of the rest. A slot begins with its number (the higher one holds), the length of its text
//! and a checksum over all of these; then come lines of text.

use std::io::{self, Write};

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::layout;
use crate::cache::key::{Key, Scheme};
use crate::cache::meta::{Meta, Stored};

/// What is read at first: most heads are no longer.
pub(super) const COMMON: usize = 4096;

const MAGIC: &[u8] = b"dockgate object 1 head ";
const LINE: usize = 64;
/// `slot 0000000001 text 00000812 sha256 <64 hex digits>\n`
const SLOT_LINE: usize = 5 + 10 + 6 + 8 + 8 + 64 + 1;
/// Far more than `upstream` takes of an origin.
const LONGEST: usize = 1 << 20;

/// The length of a head for this text, with space for a later one that is somewhat longer. The body
/// begins there: a page of memory is then a page of the body.
pub fn length_for(text: &[u8]) -> io::Result<usize> {
    let slot = SLOT_LINE + text.len() + text.len() / 4 + 64;
    let length = (LINE + 2 * slot).next_multiple_of(COMMON);
    if length > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the response's head is too long"));
    }
    Ok(length)
}

/// The first line and the first slot. None: it does not fit.
pub fn first(length: usize, text: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let slot = slot(length, 1, text)?;
    Ok((slot.len() <= slot_size(length)).then(|| [line(length), slot].concat()))
}

/// What replaces what is known: these bytes at this place of the file. None: it does not fit.
pub(super) fn next(read: &Read, text: &[u8]) -> io::Result<Option<(u64, Vec<u8>)>> {
    let number = read.number.checked_add(1).ok_or(io::ErrorKind::InvalidData)?;
    let slot = slot(read.length, number, text)?;
    let size = slot_size(read.length);
    let at = LINE + if read.in_first { size } else { 0 };
    Ok((slot.len() <= size).then_some((at as u64, slot)))
}

/// A head as it was read.
#[derive(Debug)]
pub struct Read {
    pub meta: Meta,
    /// Of the head: where the body begins.
    pub length: usize,
    number: u64,
    in_first: bool,
}

/// The length that a file's first bytes say its head has. None: it is no object.
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    let digits = bytes.get(..LINE)?.strip_prefix(MAGIC)?.get(..8)?;
    let length = usize::try_from(number(digits)?).ok()?;
    let valid = (COMMON..=LONGEST).contains(&length) && line(length) == *bytes.get(..LINE)?;
    valid.then_some(length)
}

/// Reads a head of which all bytes are there.
pub fn read(bytes: &[u8]) -> Option<Read> {
    let length = length(bytes)?;
    let size = slot_size(length);
    let one = HeadSlot::at(bytes, length, LINE);
    let other = HeadSlot::at(bytes, length, LINE + size);
    let (newer, older) = match (one, other) {
        (Some(one), Some(other)) if other.number > one.number => (Some(other), Some(one)),
        (Some(one), other) => (Some(one), other),
        (None, other) => (other, None),
    };
    let found = [newer, older].into_iter().flatten().find(|slot| slot.holds(length))?;
    Some(Read {
        meta: meta(&Bytes::copy_from_slice(found.text))?,
        length,
        number: found.number,
        in_first: found.at == LINE,
    })
}

/// What is known, as lines of text.
pub fn text(meta: &Meta) -> io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(1024);
    let key = &meta.key;
    put(&mut text, "partition", layout::partition_name(key.partition).as_bytes())?;
    put(&mut text, "scheme", key.scheme.as_str().as_bytes())?;
    put(&mut text, "host", key.host.as_bytes())?;
    put(&mut text, "path", key.path.as_bytes())?;
    if let Some(query) = &key.query {
        put(&mut text, "query", query.as_bytes())?;
    }
    put(&mut text, "kind", if meta.kind == Stored::Artifact { b"artifact" } else { b"metadata" })?;
    writeln!(text, "status {}", meta.status.as_u16())?;
    writeln!(text, "asked {}", meta.request_time)?;
    writeln!(text, "answered {}", meta.response_time)?;
    writeln!(text, "length {}", meta.length)?;
    text.extend_from_slice(b"sha256 ");
    layout::push_hex(&meta.sha256, &mut text);
    text.push(b'\n');
    for (name, value) in &meta.vary {
        match value {
            Some(value) => put_pair(&mut text, "vary", name.as_bytes(), value.as_bytes())?,
            None => put(&mut text, "vary-absent", name.as_bytes())?,
        }
    }
    for (name, value) in &meta.headers {
        put_pair(&mut text, "header", name.as_str().as_bytes(), value.as_bytes())?;
    }
    Ok(text)
}

fn put(text: &mut Vec<u8>, what: &str, value: &[u8]) -> io::Result<()> {
    if !is_line(value) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a line break in `{what}`"),
        ));
    }
    text.extend_from_slice(what.as_bytes());
    text.push(b' ');
    text.extend_from_slice(value);
    text.push(b'\n');
    Ok(())
}

/// Whether this is one line, also for who reads it with other tools.
fn is_line(value: &[u8]) -> bool {
    !value.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0))
}

fn put_pair(text: &mut Vec<u8>, what: &str, name: &[u8], value: &[u8]) -> io::Result<()> {
    if name.contains(&b':') {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a colon in `{what}`")));
    }
    put(text, what, &[name, b": ", value].concat())
}

/// The other way round; the headers' values share the bytes.
fn meta(text: &Bytes) -> Option<Meta> {
    let mut lines = Lines { text, at: 0 };
    let partition = layout::partition_of(lines.string("partition")?)?;
    let scheme = match lines.string("scheme")? {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return None,
    };
    let host = lines.string("host")?.into();
    let path = lines.string("path")?.into();
    let query = lines.string("query").map(Into::into);
    let key = Key { partition, scheme, host, path, query };
    let kind = match lines.string("kind")? {
        "artifact" => Stored::Artifact,
        "metadata" => Stored::Metadata,
        _ => return None,
    };
    let status = StatusCode::from_bytes(lines.value("status")?).ok()?;
    let request_time = number(lines.value("asked")?)?;
    let response_time = number(lines.value("answered")?)?;
    let length = number(lines.value("length")?)?;
    let sha256 = unhex(lines.value("sha256")?)?;
    let mut vary = Vec::new();
    loop {
        if let Some(pair) = lines.string("vary") {
            let (name, value) = pair.split_once(": ").filter(|(name, _)| !name.contains(':'))?;
            vary.push((name.to_owned(), Some(value.to_owned())));
        } else if let Some(name) = lines.string("vary-absent") {
            vary.push((name.to_owned(), None));
        } else {
            break;
        }
    }
    let mut headers = HeaderMap::with_capacity(16);
    while let Some(pair) = lines.value("header") {
        let colon = memchr::memchr(b':', pair)?;
        let name = HeaderName::from_bytes(pair.get(..colon)?).ok()?;
        let value = text.slice_ref(pair.get(colon + 2..)?);
        headers.append(name, HeaderValue::from_maybe_shared(value).ok()?);
    }
    let meta =
        Meta { key, kind, status, headers, request_time, response_time, vary, length, sha256 };
    (lines.at == text.len()).then_some(meta)
}

struct Lines<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    /// The next line's, if it is of this.
    fn value(&mut self, what: &str) -> Option<&'a [u8]> {
        let rest = self.text.get(self.at..)?;
        let line = rest.get(..memchr::memchr(b'\n', rest)?)?;
        let value = line.strip_prefix(what.as_bytes())?.strip_prefix(b" ")?;
        if !is_line(value) {
            return None;
        }
        self.at += line.len() + 1;
        Some(value)
    }

    fn string(&mut self, what: &str) -> Option<&'a str> {
        std::str::from_utf8(self.value(what)?).ok()
    }
}

struct HeadSlot<'a> {
    at: usize,
    number: u64,
    sum: [u8; 32],
    text: &'a [u8],
}

impl<'a> HeadSlot<'a> {
    fn at(bytes: &'a [u8], length: usize, at: usize) -> Option<HeadSlot<'a>> {
        let slot = bytes.get(at..at + slot_size(length))?;
        let line = slot.get(..SLOT_LINE)?.strip_prefix(b"slot ")?.strip_suffix(b"\n")?;
        let (digits, rest) = line.split_at_checked(10)?;
        let (text, rest) = rest.strip_prefix(b" text ")?.split_at_checked(8)?;
        let sum = unhex(rest.strip_prefix(b" sha256 ")?)?;
        let end = SLOT_LINE.checked_add(usize::try_from(number(text)?).ok()?)?;
        let text = slot.get(SLOT_LINE..end)?;
        Some(HeadSlot { at, number: number(digits)?, sum, text })
    }

    fn holds(&self, length: usize) -> bool {
        self.sum == sum(length, self.number, self.text)
    }
}

fn slot(length: usize, number: u64, text: &[u8]) -> io::Result<Vec<u8>> {
    let mut slot = Vec::with_capacity(SLOT_LINE + text.len());
    write!(slot, "slot {number:010} text {:08} sha256 ", text.len())?;
    layout::push_hex(&sum(length, number, text), &mut slot);
    slot.push(b'\n');
    slot.extend_from_slice(text);
    Ok(slot)
}

/// Over the first line too: a head of another length would have its slots and body elsewhere.
fn sum(length: usize, number: u64, text: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(&(length as u64).to_be_bytes());
    context.update(&number.to_be_bytes());
    context.update(text);
    context.finish().as_ref().try_into().unwrap_or_default()
}

fn line(length: usize) -> Vec<u8> {
    let mut line = MAGIC.to_vec();
    line.extend_from_slice(format!("{length:08}").as_bytes());
    line.resize(LINE - 1, b' ');
    line.push(b'\n');
    line
}

fn slot_size(length: usize) -> usize {
    length.saturating_sub(LINE) / 2
}

/// Of digits only.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn unhex(digits: &[u8]) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
    }
    Some(bytes)
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
