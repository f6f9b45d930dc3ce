//! The few rules of HTTP/1.1 framing that the stub and the clients share, without any I/O:
//! where a head ends, what a header says, where a body ends. Bytes in, positions out.

use std::io;

/// The length of the head at the front of `bytes`, its empty line included.
pub(crate) fn head_len(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4)
}

/// The value of header `name` in `head`, without the blanks around it.
pub(crate) fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    head.split(|b| *b == b'\n').skip(1).find_map(|line| {
        let (key, rest) = line.split_at_checked(name.len())?;
        let value = rest.strip_prefix(b":")?;
        key.eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
    })
}

/// The status of a response head.
pub(crate) fn status(head: &[u8]) -> io::Result<u16> {
    let digits = head.get(9..12).and_then(|d| std::str::from_utf8(d).ok());
    digits.and_then(|d| d.parse().ok()).ok_or_else(|| bad("no status line"))
}

/// An error of the peer, in words.
pub(crate) fn bad(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// Finds the end of a body; `payload` counts its bytes without chunk framing.
pub(crate) struct Body {
    state: State,
    pub(crate) payload: u64,
}

enum State {
    Length(u64),
    Size { size: u64, extension: bool },
    Data(u64),
    DataEnd,
    Trailer { length: usize },
    UntilClose,
    Done,
}

impl Body {
    /// The body that follows `head`; `otherwise_close` is the rule for answers without a length.
    pub(crate) fn of(head: &[u8], otherwise_close: bool) -> io::Result<Self> {
        let state = if header(head, "transfer-encoding").is_some() {
            State::Size { size: 0, extension: false }
        } else if let Some(length) = header(head, "content-length") {
            let length = std::str::from_utf8(length).ok().and_then(|l| l.parse().ok());
            State::of_length(length.ok_or_else(|| bad("bad Content-Length"))?)
        } else if otherwise_close {
            State::UntilClose
        } else {
            State::Done
        };
        Ok(Self { state, payload: 0 })
    }

    pub(crate) fn none() -> Self {
        Self { state: State::Done, payload: 0 }
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Takes what belongs to this body from the front of `bytes`; returns how much that was.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut at = 0;
        while at < bytes.len() && !self.is_done() {
            let rest = &bytes[at..];
            at += match &mut self.state {
                State::Length(left) | State::Data(left) => {
                    let n = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= n as u64;
                    self.payload += n as u64;
                    match self.state {
                        State::Length(0) => self.state = State::Done,
                        State::Data(0) => self.state = State::DataEnd,
                        _ => {}
                    }
                    n
                }
                State::UntilClose => {
                    self.payload += rest.len() as u64;
                    rest.len()
                }
                _ => {
                    self.feed_framing(rest[0])?;
                    1
                }
            };
        }
        Ok(at)
    }

    fn feed_framing(&mut self, byte: u8) -> io::Result<()> {
        match &mut self.state {
            State::Size { size, extension } => match byte {
                b'\n' if *size == 0 => self.state = State::Trailer { length: 0 },
                b'\n' => self.state = State::Data(*size),
                b'\r' => {}
                b';' => *extension = true,
                _ if *extension => {}
                _ => {
                    let digit = char::from(byte).to_digit(16).ok_or_else(|| bad("bad chunk"))?;
                    *size = *size * 16 + u64::from(digit);
                }
            },
            State::DataEnd if byte == b'\n' => {
                self.state = State::Size { size: 0, extension: false };
            }
            State::Trailer { length: 0 } if byte == b'\n' => self.state = State::Done,
            State::Trailer { length } if byte == b'\n' => *length = 0,
            State::Trailer { length } if byte != b'\r' => *length += 1,
            _ if byte == b'\r' => {}
            _ => return Err(bad("bad chunk framing")),
        }
        Ok(())
    }
}

impl State {
    fn of_length(length: u64) -> Self {
        if length == 0 { Self::Done } else { Self::Length(length) }
    }
}

/// One answer as a client reads it: fed with what arrives until it is complete.
#[derive(Default)]
pub(crate) struct Answer {
    head: Vec<u8>,
    body: Option<Body>,
    pub(crate) status: u16,
}

impl Answer {
    /// Takes `bytes`; true when the answer is complete. Bytes behind its end are an error.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let mut rest = bytes;
        if self.body.is_none() {
            let before = self.head.len();
            self.head.extend_from_slice(bytes);
            let Some(end) = head_len(&self.head) else { return Ok(false) };
            rest = &bytes[end - before..];
            let head = &self.head[..end];
            self.status = status(head)?;
            self.body = Some(Body::of(head, true)?);
        }
        let body = self.body.get_or_insert_with(Body::none);
        if body.feed(rest)? < rest.len() {
            return Err(bad("bytes behind the answer"));
        }
        Ok(body.is_done())
    }
}
