//! A root at the end of a PEM bundle, between two comment lines by which it is found again.
//!
//! What must stay true: the original stands in the result byte for byte, and `without_roots` gives it back byte
//! for byte. Text between certificates is a comment to every reader of such files; a tool that makes the bundle
//! anew may drop the lines, and then the root is no longer known as ours.
//!
//! A file of its own in a directory of anchors is `with_root(b"", pem)`: tools that put anchors into a bundle by
//! copying them (`update-ca-certificates`) take the lines along.

const BEGIN: &[u8] = b"# dockgate: begin of a root for this run, not part of the image";
/// The last line of the original had no end, and got one.
const BEGIN_AFTER_OPEN_LINE: &[u8] =
    b"# dockgate: begin of a root for this run, not part of the image, nor is the line feed before";
const END: &[u8] = b"# dockgate: end of a root for this run";

/// `original` and then `pem`, which is one certificate. Where we have put it in already, nothing changes.
pub fn with_root(original: &[u8], pem: &str) -> Vec<u8> {
    let pem = pem.trim_ascii();
    let is_there = |block: &Block| block.pem(original).trim_ascii() == pem.as_bytes();
    if blocks(original).iter().any(is_there) {
        return original.to_vec();
    }
    let mut bundle = Vec::with_capacity(original.len() + pem.len() + 256);
    bundle.extend_from_slice(original);
    let begin = match original.last() {
        None | Some(b'\n') => BEGIN,
        Some(_) => {
            bundle.push(b'\n');
            BEGIN_AFTER_OPEN_LINE
        }
    };
    for line in [begin, pem.as_bytes(), END] {
        bundle.extend_from_slice(line);
        bundle.push(b'\n');
    }
    bundle
}

/// `content` without the roots that `with_root` has put in, of whatever generation.
pub fn without_roots(content: &[u8]) -> Vec<u8> {
    let mut rest = Vec::with_capacity(content.len());
    let mut from = 0;
    for block in blocks(content) {
        rest.extend_from_slice(content.get(from..block.start).unwrap_or_default());
        from = block.end;
    }
    rest.extend_from_slice(content.get(from..).unwrap_or_default());
    rest
}

/// From the begin line's first byte (or the line feed before) to behind the end line.
struct Block {
    start: usize,
    pem: std::ops::Range<usize>,
    end: usize,
}

impl Block {
    fn pem<'a>(&self, content: &'a [u8]) -> &'a [u8] {
        content.get(self.pem.clone()).unwrap_or_default()
    }
}

/// Complete ones only: lines that look like ours and do not belong together are somebody else's.
fn blocks(content: &[u8]) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut open: Option<(usize, usize)> = None;
    let mut at = 0;
    for line in content.split_inclusive(|&byte| byte == b'\n') {
        let (first, end) = (at, at + line.len());
        at = end;
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if line == BEGIN {
            open = Some((first, end));
        } else if line == BEGIN_AFTER_OPEN_LINE {
            // Unless the line feed is of another root.
            let last = found.last().map_or(0, |block| block.end);
            open = Some((first.saturating_sub(1).max(last), end));
        } else if line == END {
            if let Some((start, pem)) = open.take() {
                found.push(Block { start, pem: pem..first, end });
            }
        } else if line.starts_with(b"#") {
            open = None;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    const OTHER: &str = "-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n";

    #[test]
    fn the_original_stands_in_front_and_comes_back() {
        for original in ["", "a", "a\n", "a\r\n", "\n", "a\n\n\n", "\u{fe0f}"] {
            let bundle = with_root(original.as_bytes(), PEM);
            assert!(bundle.starts_with(original.as_bytes()));
            assert!(String::from_utf8_lossy(&bundle).contains(&format!("\n{PEM}")), "{original:?}");
            assert_eq!(without_roots(&bundle), original.as_bytes());
        }
    }

    #[test]
    fn a_root_is_put_in_once_and_of_several_generations_all_come_out() {
        let once = with_root(b"a", PEM);
        assert_eq!(with_root(&once, PEM), once);
        let both = with_root(&once, OTHER);
        assert!(both.len() > once.len());
        assert_eq!(without_roots(&both), b"a");
        // Copied into another bundle, as `update-ca-certificates` does.
        let anchor = with_root(b"", PEM);
        let copied = [b"x\n".as_slice(), &anchor, b"y\n"].concat();
        assert_eq!(without_roots(&copied), b"x\ny\n");
    }

    #[test]
    fn lines_that_belong_to_no_root_of_ours_stay() {
        let (begin, end) = (String::from_utf8_lossy(BEGIN), String::from_utf8_lossy(END));
        for original in [
            format!("{begin}\n"),
            format!("{begin}\n{OTHER}"),
            format!("{end}\n{OTHER}{begin}\n"),
            format!("{begin}\n# a comment\n{OTHER}{end}\n"),
            format!("{begin} \n{OTHER}{end}\n"),
        ] {
            assert_eq!(without_roots(original.as_bytes()), original.as_bytes(), "{original}");
            let bundle = with_root(original.as_bytes(), PEM);
            assert_eq!(without_roots(&bundle), original.as_bytes(), "{original}");
        }
    }

    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(BEGIN.to_vec()),
            Just(BEGIN_AFTER_OPEN_LINE.to_vec()),
            Just(END.to_vec()),
            Just(b"\n".to_vec()),
            Just(b"\n".to_vec()),
            Just(b"#".to_vec()),
            Just(PEM.as_bytes().to_vec()),
            proptest::collection::vec(any::<u8>(), 0..20),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn whatever_was_there_comes_back(original in pieces()) {
            let bundle = with_root(&original, OTHER);
            prop_assert!(bundle.starts_with(&original));
            prop_assert_eq!(without_roots(&bundle), without_roots(&original));
            if blocks(&original).is_empty() {
                prop_assert_eq!(without_roots(&bundle), original);
            }
        }
    }
}
