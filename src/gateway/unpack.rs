//! An archive that may come packed with gzip, unpacked while it comes.
//!
//! `context`, `files` and `counted` feed it. What must stay true: one piece becomes a megabyte at most.

use std::borrow::Cow;
use std::io::Write as _;
use std::slice::Chunks;

use flate2::write::MultiGzDecoder;

use super::entries::unreadable;
use crate::policy::Reason;
use crate::wire::tar::TarError;

/// What dockerd takes for gzip (`compression.Detect`); docker-java and docker-py send it.
const GZIP: &[u8] = b"\x1f\x8b\x08";
/// One byte of it can be a thousand.
const PIECE: usize = 1024;

pub(super) struct Unpacker {
    packing: Packing,
    /// What is unpacked has another length than was said.
    may_grow: bool,
}

enum Packing {
    /// These first bytes do not tell yet.
    Unknown(Vec<u8>),
    Plain,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
}

impl Unpacker {
    pub(super) fn new(may_grow: bool) -> Unpacker {
        Unpacker { packing: Packing::Unknown(Vec::new()), may_grow }
    }

    /// Whether what has come is not packed.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.packing, Packing::Plain)
    }

    /// In which `take` takes what has come.
    pub(super) fn pieces<'p>(&self, part: &'p [u8]) -> Chunks<'p, u8> {
        part.chunks(match self.packing {
            Packing::Plain => part.len().max(1),
            Packing::Unknown(_) | Packing::Gzip(_) => PIECE,
        })
    }

    pub(super) fn take<'p>(&mut self, piece: &'p [u8]) -> Result<Cow<'p, [u8]>, Vec<Reason>> {
        match &mut self.packing {
            Packing::Plain => Ok(Cow::Borrowed(piece)),
            Packing::Gzip(decoder) => {
                decoder.write_all(piece).map_err(|_| broken())?;
                Ok(Cow::Owned(std::mem::take(decoder.get_mut())))
            }
            Packing::Unknown(start) => {
                start.extend_from_slice(piece);
                if start.len() < GZIP.len() {
                    return Ok(Cow::Borrowed(&[]));
                }
                let start = std::mem::take(start);
                self.packing = match start.starts_with(GZIP) {
                    true if self.may_grow => {
                        Packing::Gzip(Box::new(MultiGzDecoder::new(Vec::new())))
                    }
                    true => return Err(unreadable(&TarError::Compressed)),
                    false => Packing::Plain,
                };
                Ok(Cow::Owned(self.take(&start)?.into_owned()))
            }
        }
    }

    /// What was left.
    pub(super) fn finish(&mut self) -> Result<Vec<u8>, Vec<Reason>> {
        match &mut self.packing {
            Packing::Unknown(start) => Ok(std::mem::take(start)),
            Packing::Plain => Ok(Vec::new()),
            Packing::Gzip(decoder) => {
                decoder.try_finish().map_err(|_| broken())?;
                Ok(std::mem::take(decoder.get_mut()))
            }
        }
    }
}

fn broken() -> Vec<Reason> {
    let why = "cannot be looked into: what begins as gzip does not go on so";
    vec![Reason::new("archive.unreadable", "the archive", why, "")]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In parts of this length.
    fn unpacked(bytes: &[u8], length: usize, may_grow: bool) -> Result<Vec<u8>, Vec<Reason>> {
        let mut unpacker = Unpacker::new(may_grow);
        let mut out = Vec::new();
        for part in bytes.chunks(length) {
            for piece in unpacker.pieces(part) {
                out.extend_from_slice(&unpacker.take(piece)?);
            }
        }
        out.extend(unpacker.finish()?);
        Ok(out)
    }

    #[test]
    fn what_is_packed_is_unpacked_and_the_rest_stays() {
        let plain = b"an archive ".repeat(400);
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(&plain).unwrap();
        let packed = packer.finish().unwrap();
        for length in [1, 2, 3, 7, 1 << 20] {
            assert_eq!(unpacked(&packed, length, true).unwrap(), plain);
            assert_eq!(unpacked(&plain, length, true).unwrap(), plain);
            assert_eq!(unpacked(&plain, length, false).unwrap(), plain);
            assert!(unpacked(&packed, length, false).is_err(), "its length was said");
        }
        assert_eq!(unpacked(b"\x1f\x8b", 1, true).unwrap(), b"\x1f\x8b");
        let mut broken = packed;
        broken[12] ^= 0xff;
        assert!(unpacked(&broken, 9, true).is_err());
    }
}
