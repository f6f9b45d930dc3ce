//! A tar archive on its way past: the names of its entries, and no more is kept of it.
//!
//! `gateway::entries` feeds it the body of a request. What must stay true: it sees the entries that Go's
//! `archive/tar` sees in dockerd, or none at all. Readers of tar differ in what they make of odd archives
//! (CVE-2025-62518: a size in two places), so whatever two of them may read in two ways is an error here:
//! this is stricter than any library, and the reason why it is none. Nothing is held beyond one header and
//! `MOST_EXTENSION` bytes of a long name.

mod single;
mod write;

use std::ops::Range;

pub use single::{TarFile, first_file};
pub use write::TarWriter;

const BLOCK: usize = 512;
/// Of a long name or of attributes, before their entry; Go takes 1 MiB.
const MOST_EXTENSION: u64 = 64 * 1024;

/// One entry, as Go names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TarEntry {
    /// Not cleaned, and not always UTF-8.
    pub path: Vec<u8>,
    pub kind: EntryKind,
    /// What a link leads to.
    pub link: Vec<u8>,
    pub size: u64,
    /// In front of its header, too, which then is not where the size can be changed.
    pub is_size_in_front: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    File,
    HardLink,
    Symlink,
    Directory,
    CharDevice,
    BlockDevice,
    Fifo,
}

/// Why the rest of an archive cannot be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TarError {
    #[error("it is compressed")]
    Compressed,
    #[error("the checksum of a header is wrong: it is no tar")]
    Checksum,
    #[error("a number in a header can be read in two ways")]
    Number,
    #[error("an entry is of a kind that is not known")]
    Kind,
    #[error("a header can be read in two ways")]
    Ambiguous,
    #[error("what is said of an entry in front of it cannot be read, or can be in two ways")]
    Extension,
}

/// A reader that is fed.
#[derive(Debug)]
pub struct Archive {
    state: TarState,
    /// Of a header or an extension, what has come.
    held: Vec<u8>,
    /// What was said of the next entry.
    next: Said,
    /// Whether nothing was read yet.
    is_new: bool,
}

#[derive(Debug)]
enum TarState {
    Header,
    /// The content of an entry, or what fills its last block.
    Skip(u64),
    /// The content of an extension: how long it is, and what fills its last block.
    Extension(Extension, usize, u64),
    /// One block of zeros came.
    Zeros,
    /// What follows is nothing to Go.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    Pax,
    PaxGlobal,
    LongName,
    LongLink,
}

/// In extensions, of the entry behind them.
#[derive(Debug, Default)]
struct Said {
    pax: Option<Pax>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Pax {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Default for Archive {
    fn default() -> Archive {
        let (state, held, next) = (TarState::Header, Vec::new(), Said::default());
        Archive { state, held, next, is_new: true }
    }
}

impl Archive {
    /// The entries whose headers these bytes complete. After an error there are no more.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<TarEntry>, TarError> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let (n, entry) = self.take(bytes)?;
            bytes = bytes.get(n..).unwrap_or_default();
            found.extend(entry);
        }
        Ok(found)
    }

    /// Reads up to the end of the next header that is complete; gives how many bytes that were. What follows a header is the
    /// content of its entry.
    pub fn take(&mut self, all: &[u8]) -> Result<(usize, Option<TarEntry>), TarError> {
        let mut bytes = all;
        while !bytes.is_empty() {
            let wanted = match &mut self.state {
                TarState::Ended => return Ok((all.len(), None)),
                TarState::Skip(left) => {
                    let n = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = bytes.get(n..).unwrap_or_default();
                    *left -= n as u64;
                    if *left == 0 {
                        self.state = TarState::Header;
                    }
                    continue;
                }
                TarState::Header | TarState::Zeros => BLOCK,
                TarState::Extension(_, length, _) => *length,
            };
            let n = wanted.saturating_sub(self.held.len()).min(bytes.len());
            let (part, rest) = bytes.split_at_checked(n).unwrap_or((bytes, &[]));
            self.held.extend_from_slice(part);
            bytes = rest;
            // As soon as it can be seen: a whole compressed archive may be shorter than a header.
            if self.is_new && is_compressed(&self.held) {
                return Err(TarError::Compressed);
            }
            if self.held.len() >= wanted {
                let held = std::mem::take(&mut self.held);
                if let Some(entry) = self.complete(&held)? {
                    return Ok((all.len() - bytes.len(), Some(entry)));
                }
            }
        }
        Ok((all.len(), None))
    }

    /// How many of the bytes that were read last belong to a header, or what is said in front of one, that is not complete.
    pub fn unfinished(&self) -> usize {
        self.held.len()
    }

    /// The body is over. Content that is missing is for the engine to miss; half a header is no tar.
    pub fn finish(&self) -> Result<(), TarError> {
        match self.state {
            TarState::Header | TarState::Zeros if self.held.is_empty() => self.next.must_be_empty(),
            TarState::Header | TarState::Zeros | TarState::Extension(..) => Err(TarError::Checksum),
            TarState::Skip(_) | TarState::Ended => Ok(()),
        }
    }

    fn complete(&mut self, held: &[u8]) -> Result<Option<TarEntry>, TarError> {
        self.is_new = false;
        let is_zero = held.iter().all(|byte| *byte == 0);
        match self.state {
            TarState::Zeros if is_zero => self.state = TarState::Ended,
            // Go does not take one block of zeros between two entries, others do.
            TarState::Zeros => return Err(TarError::Ambiguous),
            TarState::Header if is_zero => {
                self.next.must_be_empty()?;
                self.state = TarState::Zeros;
            }
            TarState::Header => {
                return self.header(&TarHeader(held));
            }
            TarState::Extension(kind, _, padding) => {
                self.next.read(kind, held)?;
                self.state = skip(padding);
            }
            TarState::Skip(_) | TarState::Ended => {}
        }
        Ok(None)
    }

    fn header(&mut self, header: &TarHeader<'_>) -> Result<Option<TarEntry>, TarError> {
        header.check()?;
        let size = header.number(124..136)?;
        let kind = match header.byte(156) {
            b'0' | 0 => EntryKind::File,
            b'1' => EntryKind::HardLink,
            b'2' => EntryKind::Symlink,
            b'3' => EntryKind::CharDevice,
            b'4' => EntryKind::BlockDevice,
            b'5' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            b'x' => return self.extension(Extension::Pax, size),
            b'g' => return self.extension(Extension::PaxGlobal, size),
            b'L' => return self.extension(Extension::LongName, size),
            b'K' => return self.extension(Extension::LongLink, size),
            // Sparse files among them, which say in several ways how long they are.
            _ => return Err(TarError::Kind),
        };
        let said = std::mem::take(&mut self.next);
        let pax = said.pax.unwrap_or_default();
        let path = said.name.or(pax.path).map_or_else(|| header.path(), Ok)?;
        let link = said.link.or(pax.link).unwrap_or_else(|| header.text(157..257).to_vec());
        let is_size_in_front = pax.size.is_some();
        let size = pax.size.unwrap_or(size);
        // Go reads no content where others do, and a folder where others read a file.
        let is_folder = path.ends_with(b"/");
        if size > 0 && (kind != EntryKind::File || is_folder) {
            return Err(TarError::Ambiguous);
        }
        let kind = if kind == EntryKind::File && is_folder { EntryKind::Directory } else { kind };
        self.state = skip(size.checked_next_multiple_of(BLOCK as u64).ok_or(TarError::Number)?);
        Ok(Some(TarEntry { path, kind, link, size, is_size_in_front }))
    }

    fn extension(&mut self, kind: Extension, size: u64) -> Result<Option<TarEntry>, TarError> {
        if size > MOST_EXTENSION {
            return Err(TarError::Extension);
        }
        let length = usize::try_from(size).map_err(|_| TarError::Extension)?;
        let padding = size.next_multiple_of(BLOCK as u64).saturating_sub(size);
        if length == 0 {
            self.next.read(kind, &[])?;
            self.state = TarState::Header;
        } else {
            self.state = TarState::Extension(kind, length, padding);
        }
        Ok(None)
    }
}

/// The header of an entry with another length in it, as Go writes it. None where its length is not there, or not only there.
pub fn with_length(entry: &TarEntry, header: &[u8], to: u64) -> Option<Vec<u8>> {
    let said = TarHeader(header).number(124..136).ok();
    if entry.is_size_in_front || said != Some(entry.size) || header.len() != BLOCK {
        return None;
    }
    let mut header = header.to_vec();
    let length = format!("{to:011o}\0");
    header.get_mut(124..136)?.copy_from_slice(length.as_bytes().get(..12)?);
    header.get_mut(148..156)?.fill(b' ');
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    let sum = format!("{sum:06o}\0 ");
    header.get_mut(148..156)?.copy_from_slice(sum.as_bytes());
    Some(header)
}

/// What fills the last block of so many bytes.
pub fn padding(length: usize) -> usize {
    (BLOCK - length % BLOCK) % BLOCK
}

fn skip(length: u64) -> TarState {
    if length == 0 { TarState::Header } else { TarState::Skip(length) }
}

impl Said {
    /// Which of two says it, readers do not agree on.
    fn must_be_empty(&self) -> Result<(), TarError> {
        match self {
            Said { pax: None, name: None, link: None } => Ok(()),
            _ => Err(TarError::Extension),
        }
    }

    fn read(&mut self, kind: Extension, content: &[u8]) -> Result<(), TarError> {
        match kind {
            Extension::Pax => {
                self.must_be_empty()?;
                self.pax = Some(Pax::read(content)?);
            }
            // Go forgets it, others apply it to all that follows.
            Extension::PaxGlobal => {
                self.must_be_empty()?;
                if Pax::read(content)? != Pax::default() {
                    return Err(TarError::Extension);
                }
            }
            Extension::LongName | Extension::LongLink => {
                let text = up_to_nul(content).to_vec();
                let place = match kind {
                    Extension::LongName => &mut self.name,
                    _ => &mut self.link,
                };
                if self.pax.is_some() || text.is_empty() || place.replace(text).is_some() {
                    return Err(TarError::Extension);
                }
            }
        }
        Ok(())
    }
}

impl Pax {
    /// `12 path=name\n`, one record after another: the length counts all of it.
    fn read(mut content: &[u8]) -> Result<Pax, TarError> {
        let mut pax = Pax::default();
        while !content.is_empty() {
            let (record, rest) = first_record(content).ok_or(TarError::Extension)?;
            content = rest;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or(TarError::Extension)?;
            let (key, value) = record.split_at_checked(equals).ok_or(TarError::Extension)?;
            let value = value.get(1..).unwrap_or_default();
            let is_new = match key {
                b"path" => pax.path.replace(text_of(value)?).is_none(),
                b"linkpath" => pax.link.replace(text_of(value)?).is_none(),
                b"size" => pax.size.replace(decimal(value).ok_or(TarError::Number)?).is_none(),
                // Another name and another length.
                _ if key.starts_with(b"GNU.sparse.") => return Err(TarError::Kind),
                _ => true,
            };
            if !is_new {
                return Err(TarError::Extension);
            }
        }
        Ok(pax)
    }
}

fn first_record(content: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = content.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(content.get(..space)?)?).ok()?;
    let (record, rest) = content.split_at_checked(length)?;
    Some((record.get(space.checked_add(1)?..)?.strip_suffix(b"\n")?, rest))
}

/// An empty one takes the header's back, or none at all.
fn text_of(value: &[u8]) -> Result<Vec<u8>, TarError> {
    if value.is_empty() || value.contains(&0) {
        return Err(TarError::Extension);
    }
    Ok(value.to_vec())
}

/// Digits and nothing else, no sign among them.
fn decimal(text: &[u8]) -> Option<u64> {
    let digits = text.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(text).ok().filter(|text| digits && text.len() <= 18)?;
    text.parse().ok()
}

struct TarHeader<'b>(&'b [u8]);

impl<'b> TarHeader<'b> {
    fn field(&self, range: Range<usize>) -> &'b [u8] {
        self.0.get(range).unwrap_or_default()
    }

    fn byte(&self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or_default()
    }

    fn text(&self, range: Range<usize>) -> &'b [u8] {
        up_to_nul(self.field(range))
    }

    /// The sum of all bytes, its own field as spaces.
    fn check(&self) -> Result<(), TarError> {
        let own = 148..156;
        let byte = |(at, byte): (usize, &u8)| if own.contains(&at) { b' ' } else { *byte };
        let sum: u64 = self.0.iter().enumerate().map(byte).map(u64::from).sum();
        match octal(self.field(own.clone())) {
            Some(said) if said == sum => Ok(()),
            _ => Err(TarError::Checksum),
        }
    }

    /// Octal digits, or binary behind a set bit.
    fn number(&self, range: Range<usize>) -> Result<u64, TarError> {
        let field = self.field(range);
        let Some((first, rest)) = field.split_first().filter(|(first, _)| **first & 0x80 != 0)
        else {
            return octal(field).ok_or(TarError::Number);
        };
        // Go takes no more than 63 bits, others look at the last 64.
        let (high, low) = rest.split_at_checked(rest.len().saturating_sub(7)).unwrap_or_default();
        if *first != 0x80 || high.iter().any(|byte| *byte != 0) {
            return Err(TarError::Number);
        }
        Ok(low.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// The name, and behind a prefix where the format has one.
    fn path(&self) -> Result<Vec<u8>, TarError> {
        let name = self.text(0..100);
        let is_time = |byte: &u8| matches!(byte, 0 | b' ' | b'0'..=b'7');
        match self.field(257..265) {
            // Of GNU's: times, which Go takes for a prefix where they are none.
            b"ustar  \0" if self.field(345..500).iter().all(is_time) => Ok(name.to_vec()),
            b"ustar  \0" => Err(TarError::Ambiguous),
            // star's own format has a shorter prefix.
            _ if self.field(257..263) == b"ustar\0" && self.field(508..512) == b"tar\0" => {
                Err(TarError::Ambiguous)
            }
            _ if self.field(257..263) == b"ustar\0" => match self.text(345..500) {
                b"" => Ok(name.to_vec()),
                prefix => Ok([prefix, name].join(&b'/')),
            },
            // Older than formats: what is there is not looked at by Go, and may be by others.
            magic if magic.iter().chain(self.field(345..500)).all(|byte| *byte == 0) => {
                Ok(name.to_vec())
            }
            _ => Err(TarError::Ambiguous),
        }
    }
}

/// Digits, with spaces before and spaces or zero bytes behind them; nothing is 0.
fn octal(field: &[u8]) -> Option<u64> {
    let start = field.iter().position(|byte| *byte != b' ').unwrap_or(field.len());
    let end = field.iter().rposition(|byte| !matches!(byte, b' ' | 0)).map_or(start, |end| end + 1);
    let digits = field.get(start..end.max(start))?;
    if digits.len() > 21 || !digits.iter().all(|byte| matches!(byte, b'0'..=b'7')) {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        number.checked_mul(8)?.checked_add(u64::from(digit.saturating_sub(b'0')))
    })
}

fn up_to_nul(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// What dockerd would unpack first (moby's `pkg/archive`, `DetectCompression`): also a tar whose first
/// name begins so.
fn is_compressed(start: &[u8]) -> bool {
    const MAGIC: &[&[u8]] = &[b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"];
    let is_skippable = matches!(start, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]);
    is_skippable || MAGIC.iter().any(|magic| start.starts_with(magic))
}

#[cfg(test)]
mod tests;
