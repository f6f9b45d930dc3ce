//! The files that a client sends in its session for the engine to read a Dockerfile from (fsutil's packets).
//!
//! `gateway` leads both directions of such a transfer through here. The client lists files, the engine asks for what it does
//! not have, the client sends that. What must stay true: no byte of a Dockerfile goes on before all of it has come; one that
//! the engine could have kept from before is asked for again; what could be read in a Dockerfile's place counts as one.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::api::doc::{Value, proto};
use crate::api::dockerfile::MOST_BYTES;
use crate::api::grammar::path::cleaned;
use crate::api::shape::{Kind, Object, n};

/// Of one list. There are the Dockerfile, what it is a link to, and a `.dockerignore`.
const MOST_FILES: usize = 1024;
/// Of all that is held back.
const MOST_HELD: usize = 2 * MOST_BYTES;
/// Of one packet: a file of a list has some attributes, each a value.
const MOST_VALUES: usize = 256;
const IGNORES: &str = ".dockerignore";

/// fsutil's types/wire.proto.
const PACKET: &Object = &[
    n(1, "type", Kind::Enum(&["STAT", "REQ", "DATA", "FIN", "ERR"])),
    n(2, "stat", Kind::Object(STAT)),
    n(3, "ID", Kind::Int32),
    n(4, "data", Kind::Bytes),
];

const STAT: &Object = &[
    n(1, "path", Kind::Str),
    n(2, "mode", Kind::Int32),
    n(3, "uid", Kind::Int32),
    n(4, "gid", Kind::Int32),
    n(5, "size", Kind::Int),
    n(6, "modTime", Kind::Int),
    n(7, "linkname", Kind::Str),
    n(8, "devmajor", Kind::Int),
    n(9, "devminor", Kind::Int),
    n(10, "xattrs", Kind::Map(&Kind::Bytes)),
];

/// Go's `os.FileMode`: what kind of file it is.
const MODE_TYPE: u64 = 1 << 31 | MODE_LINK | 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19;
const MODE_LINK: u64 = 1 << 27;

/// Why a transfer does not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFileSync {
    #[error("comes in packets that cannot be read: {0}")]
    Packet(String),
    #[error("comes in packets that have no place there")]
    Order,
    #[error("has a path in its list that cannot be: `{0}`")]
    Path(String),
    #[error("is in a list of more than {MOST_FILES} files")]
    TooMany,
    #[error("has more than 1 MiB, or is beside too much else")]
    TooBig,
    #[error("is no file, or a link whose goal cannot be told")]
    Link,
    #[error("was changed while it was sent")]
    Changed,
    #[error("did not pass here, so that nobody has looked at it")]
    Unseen,
}

/// What becomes of a packet of the client's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passing {
    Pass(Vec<u8>),
    /// Of a Dockerfile that has not come to its end.
    Hold,
    /// All of a Dockerfile, and the packet that it goes on in.
    Whole {
        file: Vec<u8>,
        packet: Vec<u8>,
    },
}

/// One transfer, from the list to both ends' last word.
#[derive(Debug)]
pub struct FileSync {
    /// Where the engine looks for the Dockerfile, as paths of the list.
    wanted: Vec<String>,
    /// By their place in the list, which is their name from there on.
    files: Vec<Listed>,
    is_listed: bool,
    /// A link in the list may lead to any file in it.
    has_links: bool,
    /// A file in the list was let through that a link might lead to.
    has_others: bool,
    is_over: bool,
    held: usize,
}

#[derive(Debug)]
enum Listed {
    /// No Dockerfile, or no file.
    Other,
    Dockerfile {
        size: usize,
        come: Vec<u8>,
        is_asked: bool,
        is_whole: bool,
        is_ended: bool,
    },
}

impl FileSync {
    /// With the Dockerfile's path, as the builder is told it.
    pub fn new(filename: &str) -> FileSync {
        let mut wanted = vec![clean(filename)];
        // BuildKit takes this one where there is no other (moby#10858).
        if let Some(folder) = wanted.first().and_then(|path| path.strip_suffix("Dockerfile"))
            && (folder.is_empty() || folder.ends_with('/'))
        {
            wanted.push(format!("{folder}dockerfile"));
        }
        FileSync {
            wanted,
            files: Vec::new(),
            is_listed: false,
            has_links: false,
            has_others: false,
            is_over: false,
            held: 0,
        }
    }

    /// How many bytes of Dockerfiles there are to come, and have come.
    pub fn held(&self) -> usize {
        self.held
    }

    /// A packet of the engine's, which goes on as it is.
    pub fn asked(&mut self, packet: &[u8]) -> Result<(), BadFileSync> {
        let packet = read(packet)?;
        match kind(&packet) {
            "REQ" => match self.file(&packet)? {
                Listed::Dockerfile { is_asked: true, .. } => Err(BadFileSync::Order),
                Listed::Dockerfile { is_asked, .. } => {
                    *is_asked = true;
                    Ok(())
                }
                Listed::Other => Ok(()),
            },
            "FIN" | "ERR" => Ok(()),
            _ => Err(BadFileSync::Order),
        }
    }

    /// A packet of the client's. The engine takes a file for one that it has by its size and its time (fsutil's diff.go):
    /// `now` is one that no earlier transfer had.
    pub fn sent(&mut self, packet: &[u8], now: i64) -> Result<Passing, BadFileSync> {
        let (bytes, packet) = (packet, read(packet)?);
        if self.is_over {
            return Err(BadFileSync::Order);
        }
        match kind(&packet) {
            "STAT" => match packet.get("stat") {
                _ if self.is_listed => Err(BadFileSync::Order),
                None => {
                    self.is_listed = true;
                    Ok(Passing::Pass(bytes.to_vec()))
                }
                Some(stat) => {
                    let is_dockerfile = self.list(stat)?;
                    Ok(Passing::Pass(match is_dockerfile {
                        true => stamped(packet, now),
                        false => bytes.to_vec(),
                    }))
                }
            },
            "DATA" => {
                let data = packet.get("data").and_then(Value::as_str).unwrap_or_default();
                let data = BASE64.decode(data).unwrap_or_default();
                self.data(&packet, bytes, &data)
            }
            "FIN" if !self.is_listed => Err(BadFileSync::Order),
            "FIN" => {
                self.is_over = true;
                let is_seen = |file: &Listed| match file {
                    Listed::Other => true,
                    Listed::Dockerfile { is_whole, .. } => *is_whole,
                };
                match self.files.iter().all(is_seen) {
                    true => Ok(Passing::Pass(bytes.to_vec())),
                    false => Err(BadFileSync::Unseen),
                }
            }
            "ERR" => Ok(Passing::Pass(bytes.to_vec())),
            _ => Err(BadFileSync::Order),
        }
    }

    fn file(&mut self, packet: &Value) -> Result<&mut Listed, BadFileSync> {
        let id = packet.get("ID").and_then(Value::as_i64).unwrap_or(0);
        let file = usize::try_from(id).ok().and_then(|id| self.files.get_mut(id));
        file.ok_or(BadFileSync::Order)
    }

    /// One more file; whether it may be read as the Dockerfile.
    fn list(&mut self, stat: &Value) -> Result<bool, BadFileSync> {
        let text = |name| stat.get(name).and_then(Value::as_str).unwrap_or_default();
        let number = |name| stat.get(name).and_then(Value::as_i64).unwrap_or(0);
        let (path, goal) = (text("path"), text("linkname"));
        let kind = number("mode").cast_unsigned() & MODE_TYPE;
        if path != clean(path) {
            return Err(BadFileSync::Path(path.to_owned()));
        }
        if self.files.len() == MOST_FILES {
            return Err(BadFileSync::TooMany);
        }
        let is_wanted = self.wanted.iter().any(|wanted| wanted == path);
        let is_ignores =
            path.ends_with(IGNORES) && !self.wanted.iter().any(|it| it.contains(IGNORES));
        if kind == MODE_LINK || !goal.is_empty() {
            // What is passed unseen by its name must not be read under another.
            if self.has_others || goal.contains(IGNORES) {
                return Err(BadFileSync::Link);
            }
            self.has_links = true;
            self.files.push(Listed::Other);
            return Ok(false);
        }
        let is_file = kind == 0;
        let is_dockerfile = is_file && (is_wanted || self.has_links && !is_ignores);
        if !is_dockerfile {
            let is_folder = kind == 1 << 31;
            if (is_wanted || self.has_links) && !is_file && !is_folder {
                return Err(BadFileSync::Link);
            }
            self.has_others |= !is_folder && !is_ignores;
            self.files.push(Listed::Other);
            return Ok(false);
        }
        let size = usize::try_from(number("size")).unwrap_or(usize::MAX);
        if size > MOST_BYTES || self.held + size > MOST_HELD {
            return Err(BadFileSync::TooBig);
        }
        self.held += size;
        let (come, is_asked) = (Vec::new(), false);
        let listed = Listed::Dockerfile { size, come, is_asked, is_whole: false, is_ended: false };
        self.files.push(listed);
        Ok(true)
    }

    fn data(&mut self, packet: &Value, bytes: &[u8], data: &[u8]) -> Result<Passing, BadFileSync> {
        let id = packet.get("ID").cloned().unwrap_or(Value::Number(0.into()));
        match self.file(packet)? {
            Listed::Other => Ok(Passing::Pass(bytes.to_vec())),
            Listed::Dockerfile { is_asked: false, .. }
            | Listed::Dockerfile { is_ended: true, .. } => Err(BadFileSync::Order),
            Listed::Dockerfile { size, come, is_whole, is_ended, .. } => {
                if data.is_empty() {
                    *is_ended = true;
                }
                match (data.is_empty(), *is_whole) {
                    // It was judged, and this is its end.
                    (true, true) => return Ok(Passing::Pass(bytes.to_vec())),
                    (true, false) if *size > 0 => return Err(BadFileSync::Changed),
                    (false, true) => return Err(BadFileSync::Changed),
                    (true, false) => {
                        *is_whole = true;
                        return Ok(Passing::Whole { file: Vec::new(), packet: bytes.to_vec() });
                    }
                    (false, false) => come.extend_from_slice(data),
                }
                if come.len() > *size {
                    return Err(BadFileSync::Changed);
                }
                if come.len() < *size {
                    return Ok(Passing::Hold);
                }
                *is_whole = true;
                let file = std::mem::take(come);
                let fields = [
                    ("type", Value::String("DATA".to_owned())),
                    ("ID", id),
                    ("data", Value::String(BASE64.encode(&file))),
                ];
                let fields = fields.into_iter().map(|(name, value)| (Cow::Borrowed(name), value));
                let packet = proto::render(&Value::Object(fields.collect()), PACKET);
                Ok(Passing::Whole { file, packet })
            }
        }
    }
}

fn read(packet: &[u8]) -> Result<Value, BadFileSync> {
    let doc = proto::parse(MOST_VALUES, packet, PACKET);
    let doc = doc.map_err(|error| BadFileSync::Packet(error.to_string()))?;
    match doc.unknown.first() {
        Some(field) => Err(BadFileSync::Packet(format!("`{}` is not known", field.path))),
        None => Ok(doc.root),
    }
}

fn kind(packet: &Value) -> &str {
    packet.get("type").and_then(Value::as_str).unwrap_or("STAT")
}

fn stamped(mut packet: Value, now: i64) -> Vec<u8> {
    if let Some(time) = packet.at_mut(&["stat", "modTime"]) {
        *time = Value::Number(now.into());
    }
    proto::render(&packet, PACKET)
}

/// A path below the folder that is sent, as Go's `path.Clean` has it.
fn clean(path: &str) -> String {
    let parts = cleaned(path);
    match parts.is_empty() {
        true => "Dockerfile".to_owned(),
        false => parts.join("/"),
    }
}

#[cfg(test)]
mod tests;
