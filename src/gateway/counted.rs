//! A file of an archive, counted up while it passes.
//!
//! `files` feeds it. What must stay true: the digests are of all its bytes, and of all that they unpack to.

use aws_lc_rs::digest::{Context, SHA256};

use super::unpack::Unpacker;
use crate::policy::{FileContent, Reason};
use crate::wire::tar::padding;

/// Of a document: what lists and describes images.
const MOST_DOCUMENT: usize = 4 << 20;

pub(super) struct CountedFile {
    pub path: Vec<u8>,
    size: usize,
    /// With what fills its last block.
    left: usize,
    whole: Context,
    /// None: as the whole.
    unpacked: Option<(Unpacker, Context)>,
    document: Option<Vec<u8>>,
}

impl CountedFile {
    pub(super) fn new(path: Vec<u8>, size: u64) -> CountedFile {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let unpacked = Some((Unpacker::new(true), Context::new(&SHA256)));
        let left = size.saturating_add(padding(size));
        let document = (size <= MOST_DOCUMENT).then(Vec::new);
        CountedFile { path, size, left, whole: Context::new(&SHA256), unpacked, document }
    }

    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Whether all of it has come, be it without what fills its last block.
    pub(super) fn is_whole(&self) -> bool {
        self.left <= padding(self.size)
    }

    /// How much of it is kept.
    pub(super) fn kept(&self) -> usize {
        self.document.as_ref().map_or(0, Vec::len)
    }

    /// At most what is left.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), Vec<Reason>> {
        let content = self.left.saturating_sub(padding(self.size)).min(bytes.len());
        self.left = self.left.saturating_sub(bytes.len());
        let content = bytes.get(..content).unwrap_or_default();
        if content.is_empty() {
            return Ok(());
        }
        self.whole.update(content);
        if let Some(document) = &mut self.document {
            document.extend_from_slice(content);
            if document.first() != Some(&b'{') {
                self.document = None;
            }
        }
        let Some((unpacker, hash)) = &mut self.unpacked else { return Ok(()) };
        for piece in unpacker.pieces(content) {
            hash.update(&unpacker.take(piece)?);
        }
        if unpacker.is_plain() {
            self.unpacked = None;
        }
        Ok(())
    }

    pub(super) fn end(self) -> Result<FileContent, Vec<Reason>> {
        let digest = hex(self.whole.finish().as_ref());
        let unpacked = match self.unpacked {
            None => digest.clone(),
            Some((mut unpacker, mut hash)) => {
                hash.update(&unpacker.finish()?);
                hex(hash.finish().as_ref())
            }
        };
        Ok(FileContent { digest, unpacked, document: self.document.filter(|all| !all.is_empty()) })
    }
}

/// What was held whole, and goes on so.
pub(super) fn document(bytes: &[u8]) -> FileContent {
    let digest = hex(aws_lc_rs::digest::digest(&SHA256, bytes).as_ref());
    FileContent { unpacked: digest.clone(), digest, document: Some(bytes.to_vec()) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn counted(bytes: &[u8], length: usize) -> FileContent {
        let mut file = CountedFile::new(b"x".to_vec(), bytes.len() as u64);
        let mut padded = bytes.to_vec();
        padded.resize(bytes.len() + padding(bytes.len()), 0);
        for part in padded.chunks(length) {
            assert!(file.left() > 0);
            file.take(part).unwrap();
        }
        assert!(file.left() == 0 && file.is_whole());
        file.end().unwrap()
    }

    #[test]
    fn the_digests_are_of_all_of_it_and_of_what_it_unpacks_to() {
        let plain = b"a layer ".repeat(900);
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(&plain).unwrap();
        let packed = packer.finish().unwrap();
        let of = |bytes: &[u8]| document(bytes).digest;
        assert_eq!(of(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        for length in [1, 7, 512, 1 << 20] {
            for (bytes, unpacked) in
                [(&plain[..], &plain[..]), (&packed, &plain), (b"{}", b"{}"), (b"\x1f", b"\x1f")]
            {
                let file = counted(bytes, length);
                assert_eq!((file.digest, file.unpacked), (of(bytes), of(unpacked)));
                assert_eq!(file.document.is_some(), bytes == b"{}");
            }
        }
        let empty = CountedFile::new(b"x".to_vec(), 0);
        assert_eq!(empty.end().unwrap().unpacked, of(b""));
    }

    #[test]
    fn what_is_cut_is_not_whole() {
        let mut file = CountedFile::new(b"x".to_vec(), 5);
        file.take(b"abcd").unwrap();
        assert!(!file.is_whole());
        file.take(b"e").unwrap();
        assert!(file.is_whole() && file.left() > 0);
    }
}
