//! An archive of one file, as the engine answers when it is asked for a file of a container.
//!
//! `engine::files` reads with it. What must stay true: as for `Archive`, what can be read in two ways is an error; an
//! owner that the header does not say is one, too.

use super::{Archive, BLOCK, EntryKind, TarError, TarHeader, first_record};

/// A file with whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TarFile {
    /// With the bits for setuid, setgid and sticky.
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    /// Seconds since 1970.
    pub mtime: u64,
    pub content: Vec<u8>,
}

/// The file that an archive begins with; none where that is something else, or not all of it is there.
pub fn first_file(mut archive: Vec<u8>) -> Result<Option<TarFile>, TarError> {
    let (behind, entry) = Archive::default().take(&archive)?;
    let Some(entry) = entry.filter(|entry| entry.kind == EntryKind::File) else { return Ok(None) };
    let start = behind.saturating_sub(BLOCK);
    let head = archive.get(start..behind).unwrap_or_default();
    // In front of it there may be attributes: these overrule it.
    let before = archive.get(BLOCK..start).unwrap_or_default();
    if says_owner(before) {
        return Err(TarError::Number);
    }
    let header = TarHeader(head);
    let mode = u32::try_from(header.number(100..108)? & 0o7777).unwrap_or_default();
    let (uid, gid) = (header.number(108..116)?, header.number(116..124)?);
    let mtime = header.number(136..148)?;
    let size = usize::try_from(entry.size).map_err(|_| TarError::Number)?;
    let end = behind.checked_add(size).filter(|end| *end <= archive.len());
    let Some(end) = end else { return Ok(None) };
    archive.truncate(end);
    let content = archive.split_off(behind);
    Ok(Some(TarFile { mode, uid, gid, mtime, content }))
}

/// Whether a record of attributes names a user or group by number, or a time that the header may not hold.
fn says_owner(mut records: &[u8]) -> bool {
    while let Some((record, rest)) = first_record(records) {
        if [&b"uid="[..], b"gid=", b"mtime="].iter().any(|key| record.starts_with(key)) {
            return true;
        }
        records = rest;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::TarWriter;
    use super::*;

    #[test]
    fn a_file_that_was_written_is_read_with_its_owner() {
        let file = TarFile { mode: 0o640, uid: 5, gid: 70_000, mtime: 9, content: vec![7; 1025] };
        let mut tar = TarWriter::default();
        assert!(tar.file("/etc/a", &file));
        let bytes = tar.end().unwrap();
        assert_eq!(first_file(bytes.clone()).unwrap(), Some(file));
        let cut = bytes.get(..1024).unwrap().to_vec();
        assert_eq!(first_file(cut).unwrap(), None);
        let mut tar = TarWriter::default();
        tar.link("/a", "/b");
        assert_eq!(first_file(tar.end().unwrap()).unwrap(), None);
        assert_eq!(first_file(Vec::new()).unwrap(), None);
    }

    #[test]
    fn an_owner_that_the_header_cannot_hold_is_not_taken_from_it() {
        assert!(says_owner(b"12 path=abc\n15 uid=1234567\n"));
        assert!(!says_owner(b"12 path=abc\n"));
        let file = TarFile { mode: 0o644, uid: 1 << 22, gid: 0, mtime: 0, content: Vec::new() };
        assert!(!TarWriter::default().file("/a", &file));
    }
}
