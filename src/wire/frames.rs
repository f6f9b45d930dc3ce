//! Following dockerd's multiplexed streams, to know where a frame header begins.
//!
//! `relay` asks before it cuts. A frame is eight bytes of header (stream 1 to 3, three zero bytes,
//! big-endian length: `api/pkg/stdcopy`) and its payload. Older engines call framed and raw streams
//! by the same content type, so the first bytes decide. What must stay true: bytes are only ever
//! observed; a wrong guess delays nothing.

const HEADER: usize = 8;

#[derive(Clone, Debug)]
pub enum Frames {
    /// A terminal, a tunnel, or anything else without frames.
    Raw,
    Framed {
        header: [u8; HEADER],
        /// How much of the header has been seen.
        seen: usize,
        /// Payload bytes still to come.
        left: u32,
    },
}

impl Frames {
    pub const fn unknown() -> Frames {
        Frames::Framed { header: [0; HEADER], seen: 0, left: 0 }
    }

    pub const fn is_raw(&self) -> bool {
        matches!(self, Frames::Raw)
    }

    /// Follows the bytes; returns how many at their end are the beginning of a header.
    pub fn advance(&mut self, mut bytes: &[u8]) -> usize {
        let Frames::Framed { header, seen, left } = self else { return 0 };
        let mut tail = 0;
        while !bytes.is_empty() {
            if *left > 0 {
                let n = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= u32::try_from(n).unwrap_or(*left);
                bytes = bytes.get(n..).unwrap_or_default();
                continue;
            }
            tail = 0;
            while *seen < HEADER
                && let Some((&byte, rest)) = bytes.split_first()
            {
                if let Some(slot) = header.get_mut(*seen) {
                    *slot = byte;
                }
                (*seen, tail, bytes) = (*seen + 1, tail + 1, rest);
            }
            let [stream, a, b, c, len @ ..] = *header;
            let wrong = [!(1..=3).contains(&stream), a != 0, b != 0, c != 0];
            if wrong.iter().take(*seen).any(|wrong| *wrong) {
                *self = Frames::Raw;
                return 0;
            }
            if *seen == HEADER {
                (*seen, tail, *left) = (0, 0, u32::from_be_bytes(len));
            }
        }
        if *seen > 0 { tail } else { 0 }
    }

    /// The last `tail` bytes were not sent after all and will be seen again.
    pub fn take_back(&mut self, tail: usize) -> usize {
        let Frames::Framed { seen, .. } = self else { return 0 };
        let back = tail.min(*seen);
        *seen -= back;
        back
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stream(payloads: &[Vec<u8>]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut headers) = (Vec::new(), Vec::new());
        for payload in payloads {
            headers.push(bytes.len());
            bytes.extend([1, 0, 0, 0]);
            bytes.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
            bytes.extend(payload);
        }
        (bytes, headers)
    }

    #[test]
    fn a_terminal_is_not_framed() {
        for text in
            [&b"/ # "[..], b"\x01\x02", b"\x00\x00\x06\x04\0\0\0\0\0", b"\0\0\0\0\0\0\0\0", b"\x04"]
        {
            let mut frames = Frames::unknown();
            assert_eq!(frames.advance(text), 0);
            assert!(frames.is_raw(), "{text:?}");
        }
    }

    proptest! {
        /// However the stream is cut, holding the tail back means that no piece ends in a header.
        #[test]
        fn no_piece_ends_inside_a_header(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..30), 1..10),
            cuts in proptest::collection::vec(8usize..40, 1..50),
        ) {
            let (bytes, headers) = stream(&payloads);
            let mut frames = Frames::unknown();
            let (mut sent, mut cuts) = (0, cuts.into_iter().cycle());
            while sent < bytes.len() {
                let end = bytes.len().min(sent + cuts.next().unwrap());
                let tail = frames.advance(&bytes[sent..end]);
                let cut = end < bytes.len();
                let end = end - if cut { frames.take_back(tail) } else { 0 };
                prop_assert!(!headers.iter().any(|h| *h < end && end < h + HEADER), "cut at {end}");
                sent = end;
            }
            prop_assert!(!frames.is_raw());
        }

        #[test]
        fn noise_never_panics(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..20)) {
            let mut frames = Frames::unknown();
            for piece in pieces {
                let tail = frames.advance(&piece);
                prop_assert!(tail <= piece.len() && tail < HEADER);
            }
        }
    }
}
