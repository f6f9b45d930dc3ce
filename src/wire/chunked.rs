//! The chunked transfer coding (RFC 9112 §7.1), followed byte by byte without changing it.
//!
//! `framing` uses it to know where a body ends while the bytes pass through as they are, chunk
//! borders included: a log line that dockerd flushed as one chunk stays one chunk. Reading a JSON
//! body takes the payload out of it. What must stay true: `Strict` accepts nothing that Go's reader
//! could understand otherwise; `AsGo` accepts all that Go's reader accepts.

/// Go's reader gives up on trailers and chunk lines far below this.
const LONGEST_LINE: u32 = 8 * 1024;
const MOST_TRAILERS: u32 = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// No extensions, no bare line feeds, no trailers: for bodies that a policy let through.
    Strict,
    /// What Go's `net/http/internal` reader accepts: bare line feeds, extensions, trailers.
    AsGo,
}

#[derive(Clone, Debug)]
pub struct Chunked {
    dialect: Dialect,
    state: State,
    /// What is left of the current chunk, or its size while the digits come in.
    left: u64,
    /// How long the current line, or all trailers, have become.
    length: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size {
        digits: u8,
    },
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// In the trailer section; `empty` while the current line has no byte yet.
    Trailer {
        empty: bool,
    },
    TrailerLf {
        empty: bool,
    },
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed chunked body")]
pub struct BadChunk;

impl Chunked {
    pub const fn new(dialect: Dialect) -> Chunked {
        Chunked { dialect, state: State::Size { digits: 0 }, left: 0, length: 0 }
    }

    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Follows the coding through `input`; returns how many of its bytes belong to this body and
    /// hands each piece of payload to `payload`.
    pub fn advance(
        &mut self,
        input: &[u8],
        mut payload: impl FnMut(&[u8]),
    ) -> Result<usize, BadChunk> {
        let mut used = 0;
        while let Some(&byte) = input.get(used) {
            match self.state {
                State::Done => break,
                State::Data => {
                    let rest = input.get(used..).unwrap_or(&[]);
                    let n = rest.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                    payload(rest.get(..n).unwrap_or(&[]));
                    self.left -= n as u64;
                    used += n;
                    if self.left == 0 {
                        self.state = State::DataCr;
                    }
                }
                _ => {
                    self.state = self.step(byte)?;
                    used += 1;
                }
            }
        }
        Ok(used)
    }

    fn step(&mut self, byte: u8) -> Result<State, BadChunk> {
        let lenient = self.dialect == Dialect::AsGo;
        Ok(match (self.state, byte) {
            (State::Size { digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if digits < 16 => {
                let digit = char::from(byte).to_digit(16).ok_or(BadChunk)?;
                self.left = (self.left << 4) | u64::from(digit);
                State::Size { digits: digits + 1 }
            }
            (State::Size { digits: 1.. }, b'\r') => State::SizeLf,
            (State::Size { digits: 1.. }, b'\n') if lenient => self.sized(),
            (State::Size { digits: 1.. }, b';' | b' ' | b'\t') if lenient => State::Extension,
            (State::Extension, b'\n') => self.sized(),
            (State::Extension, _) => {
                self.count(LONGEST_LINE)?;
                State::Extension
            }
            (State::SizeLf, b'\n') => self.sized(),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataCr, b'\n') if lenient => self.next_size(),
            (State::DataLf, b'\n') => self.next_size(),
            (State::Trailer { empty: true }, b'\r') => State::TrailerLf { empty: true },
            (State::TrailerLf { empty: true }, b'\n') => State::Done,
            (State::Trailer { empty }, b'\n') if lenient => after_trailer(empty),
            (State::TrailerLf { empty }, b'\n') if lenient => after_trailer(empty),
            (State::Trailer { .. }, b'\r') if lenient => State::TrailerLf { empty: false },
            (State::Trailer { .. } | State::TrailerLf { .. }, _) if lenient => {
                self.count(MOST_TRAILERS)?;
                State::Trailer { empty: false }
            }
            _ => return Err(BadChunk),
        })
    }

    fn sized(&mut self) -> State {
        self.length = 0;
        if self.left == 0 { State::Trailer { empty: true } } else { State::Data }
    }

    fn next_size(&mut self) -> State {
        (self.left, self.length) = (0, 0);
        State::Size { digits: 0 }
    }

    fn count(&mut self, most: u32) -> Result<(), BadChunk> {
        self.length += 1;
        if self.length > most { Err(BadChunk) } else { Ok(()) }
    }
}

fn after_trailer(was_empty: bool) -> State {
    if was_empty { State::Done } else { State::Trailer { empty: true } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(dialect: Dialect, input: &[u8]) -> Result<(Vec<u8>, usize, bool), BadChunk> {
        let mut chunked = Chunked::new(dialect);
        let mut payload = Vec::new();
        let used = chunked.advance(input, |part| payload.extend_from_slice(part))?;
        Ok((payload, used, chunked.is_done()))
    }

    #[test]
    fn the_two_dialects_differ_where_go_is_lenient() {
        let plain = b"3\r\nabc\r\n0\r\n\r\nnext";
        for dialect in [Dialect::Strict, Dialect::AsGo] {
            assert_eq!(decode(dialect, plain), Ok((b"abc".to_vec(), plain.len() - 4, true)));
        }
        for lenient in [
            &b"3;x=y\r\nabc\r\n0\r\n\r\n"[..],
            b"3\nabc\n0\n\n",
            b"3 \r\nabc\r\n0\r\n\r\n",
            b"3\r\nabc\r\n0\r\nTrailer: x\r\n\r\n",
        ] {
            assert_eq!(decode(Dialect::Strict, lenient), Err(BadChunk));
            assert_eq!(decode(Dialect::AsGo, lenient), Ok((b"abc".to_vec(), lenient.len(), true)));
        }
        for bad in [&b"\r\n"[..], b"-1\r\n", b"0x3\r\n", b"11111111111111111\r\n", b"3\r\nabcd"] {
            assert_eq!(decode(Dialect::AsGo, bad), Err(BadChunk), "{bad:?}");
        }
    }

    #[test]
    fn endless_lines_are_refused() {
        let mut long = b"3;".to_vec();
        long.resize(LONGEST_LINE as usize + 10, b'x');
        assert_eq!(decode(Dialect::AsGo, &long), Err(BadChunk));
        let mut trailers = b"0\r\n".to_vec();
        trailers.extend(b"a: b\r\n".repeat(MOST_TRAILERS as usize / 3));
        assert_eq!(decode(Dialect::AsGo, &trailers), Err(BadChunk));
    }

    proptest! {
        #[test]
        fn any_cutting_gives_the_same_payload(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..8),
            cuts in proptest::collection::vec(1usize..20, 1..60),
        ) {
            let mut coded = Vec::new();
            for chunk in &chunks {
                coded.extend(format!("{:x}\r\n", chunk.len()).bytes());
                coded.extend(chunk);
                coded.extend(b"\r\n");
            }
            coded.extend(b"0\r\n\r\n");
            let body = coded.len();
            coded.extend(b"GET /next");
            let mut chunked = Chunked::new(Dialect::Strict);
            let (mut payload, mut at, mut cuts) = (Vec::new(), 0, cuts.into_iter().cycle());
            while !chunked.is_done() {
                let end = coded.len().min(at + cuts.next().unwrap());
                at += chunked.advance(&coded[at..end], |part| payload.extend_from_slice(part)).unwrap();
            }
            prop_assert_eq!(at, body);
            prop_assert_eq!(payload, chunks.concat());
        }

        #[test]
        fn noise_never_panics_and_never_overruns(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for dialect in [Dialect::Strict, Dialect::AsGo] {
                if let Ok((payload, used, _)) = decode(dialect, &bytes) {
                    prop_assert!(used <= bytes.len() && payload.len() <= used);
                }
            }
        }
    }
}
