//! An answer to a client, and where its body comes from.
//!
//! `serve` makes it, `front` writes it. What must stay true: a body gives as many bytes as `length`
//! says or fails, and it never gives the last one of a body that turned out wrong.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::fill::{BodyPart, Broken, Reader};
use super::key::Key;
use super::range;
use super::stats::Account;
use super::store::ReadRange;

/// What is read at once where bytes must go through memory.
const BLOCK: u64 = 256 * 1024;

#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    /// In the place of the status's own phrase, where the answer is ours: many clients print no more. Made
    /// by `request::phrase`.
    pub reason: Option<String>,
    /// Without framing: that is the connection's.
    pub headers: HeaderMap,
    pub body: Body,
    /// The body's; none where nobody knows yet.
    pub length: Option<u64>,
    /// Who is charged for what is sent.
    pub account: Account,
    /// Where the body is stored, if it is: what cannot be read is not to be found again.
    pub stored: Option<Key>,
}

#[derive(Debug)]
pub enum Body {
    /// Nothing is sent: an answer to HEAD, a 304.
    Empty,
    Parts(VecDeque<ReplyPart>),
    Growing(Growth),
}

/// A piece of a body, from where it lies.
#[derive(Clone, Debug)]
pub enum ReplyPart {
    Bytes(Bytes),
    File { file: Arc<File>, at: u64, length: u64 },
    Remote { object: Arc<dyn ReadRange>, at: u64, length: u64 },
}

#[derive(Debug)]
pub struct Growth {
    pub reader: Reader,
    pub draft: Option<(Arc<File>, u64)>,
    /// What of the body is sent, and what goes between; none: all of it.
    pub plan: Option<VecDeque<range::RangePart>>,
}

/// What can be sent at once.
#[derive(Debug)]
pub enum Chunk {
    Bytes(Bytes),
    File { file: Arc<File>, at: u64, length: u64 },
}

impl Body {
    pub fn bytes(bytes: impl Into<Bytes>) -> Body {
        Body::Parts(VecDeque::from([ReplyPart::Bytes(bytes.into())]))
    }

    /// The next chunk; none behind the last one.
    pub async fn next(&mut self) -> Result<Option<Chunk>, Broken> {
        match self {
            Body::Empty => Ok(None),
            Body::Parts(parts) => next_part(parts).await,
            Body::Growing(growth) => growth.next().await,
        }
    }
}

impl Growth {
    async fn next(&mut self) -> Result<Option<Chunk>, Broken> {
        let Some(plan) = &mut self.plan else {
            let piece = self.reader.next(None).await?;
            return piece.map(|piece| chunk(piece, self.draft.as_ref())).transpose();
        };
        loop {
            match plan.front_mut() {
                None => return Ok(None),
                Some(range::RangePart::Text(text)) => {
                    let text = std::mem::take(text);
                    plan.pop_front();
                    return Ok(Some(Chunk::Bytes(text)));
                }
                Some(range::RangePart::Body(span)) => {
                    self.reader.go_to(span.start);
                    let Some(piece) = self.reader.next(Some(span.end)).await? else {
                        plan.pop_front();
                        continue;
                    };
                    let chunk = chunk(piece, self.draft.as_ref())?;
                    span.start += chunk.length();
                    return Ok(Some(chunk));
                }
            }
        }
    }
}

fn chunk(piece: BodyPart, draft: Option<&(Arc<File>, u64)>) -> Result<Chunk, Broken> {
    match piece {
        BodyPart::Bytes(bytes) => Ok(Chunk::Bytes(bytes)),
        BodyPart::File { at, length } => {
            let (file, start) = draft.ok_or(Broken)?;
            Ok(Chunk::File { file: Arc::clone(file), at: start + at, length })
        }
    }
}

async fn next_part(parts: &mut VecDeque<ReplyPart>) -> Result<Option<Chunk>, Broken> {
    while let Some(part) = parts.pop_front() {
        return Ok(Some(match part {
            ReplyPart::Bytes(bytes) if bytes.is_empty() => continue,
            ReplyPart::File { length: 0, .. } | ReplyPart::Remote { length: 0, .. } => continue,
            ReplyPart::Bytes(bytes) => Chunk::Bytes(bytes),
            ReplyPart::File { file, at, length } => Chunk::File { file, at, length },
            ReplyPart::Remote { object, at, length } => {
                let now = length.min(BLOCK);
                let bytes = object.read(at..at + now).await.map_err(|_| Broken)?;
                if bytes.len() as u64 != now {
                    return Err(Broken);
                }
                parts.push_front(ReplyPart::Remote { object, at: at + now, length: length - now });
                Chunk::Bytes(bytes)
            }
        }));
    }
    Ok(None)
}

impl Chunk {
    /// A block of it, through memory; how much that was.
    pub fn read_block(&self, into: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Chunk::Bytes(bytes) => {
                let taken = bytes.len().min(into.len());
                let (Some(to), Some(from)) = (into.get_mut(..taken), bytes.get(..taken)) else {
                    return Ok(0);
                };
                to.copy_from_slice(from);
                Ok(taken)
            }
            Chunk::File { file, at, length } => {
                let most = into.len().min(usize::try_from(*length).unwrap_or(usize::MAX));
                let room = into.get_mut(..most).unwrap_or_default();
                match file.read_at(room, *at)? {
                    // Somebody has cut the file short.
                    0 if most > 0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
                    read => Ok(read),
                }
            }
        }
    }

    /// Leaves out what was sent; false when nothing is left.
    pub fn advance(&mut self, sent: usize) -> bool {
        match self {
            Chunk::Bytes(bytes) => {
                let _ = bytes.split_to(sent.min(bytes.len()));
                !bytes.is_empty()
            }
            Chunk::File { at, length, .. } => {
                *at += sent as u64;
                *length = length.saturating_sub(sent as u64);
                *length > 0
            }
        }
    }

    pub fn length(&self) -> u64 {
        match self {
            Chunk::Bytes(bytes) => bytes.len() as u64,
            Chunk::File { length, .. } => *length,
        }
    }
}
