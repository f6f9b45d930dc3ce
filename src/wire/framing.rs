//! Where a message's body ends: nowhere, after so many bytes, after the last chunk, or at the end
//! of the connection (RFC 9112 §6).
//!
//! The gateway makes one for each request and each response and feeds it the bytes that pass. What
//! must stay true: dockgate and dockerd never disagree on where a request ends (that is request
//! smuggling), so whatever has two readings is refused.

use super::chunked::{BadChunk, Chunked, Dialect};
use super::head::{Lines, RequestHead, ResponseHead};

#[derive(Clone, Debug)]
pub enum Framing {
    None,
    Length { left: u64 },
    Chunked(Chunked),
    UntilClose { closed: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFraming {
    #[error("invalid or conflicting `Content-Length`")]
    Length,
    #[error("both `Content-Length` and `Transfer-Encoding`")]
    Both,
    #[error("unsupported `Transfer-Encoding`")]
    Coding,
}

impl Framing {
    /// A request's body. `Strict` refuses what dockerd would read, but only by luck the same way.
    pub fn of_request(head: &RequestHead, dialect: Dialect) -> Result<Framing, BadFraming> {
        let headers = &head.headers;
        let length = content_length(headers)?;
        if !headers.has("transfer-encoding") {
            return Ok(match length {
                None | Some(0) => Framing::None,
                Some(left) => Framing::Length { left },
            });
        }
        if dialect == Dialect::Strict && headers.has("content-length") {
            return Err(BadFraming::Both);
        }
        let mut codings = headers.all("transfer-encoding");
        match (codings.next(), codings.next(), head.version) {
            // Go refuses any other coding with 501 and ignores the header on HTTP/1.0.
            (Some(coding), None, 1) if coding.eq_ignore_ascii_case(b"chunked") => {
                Ok(Framing::Chunked(Chunked::new(dialect)))
            }
            _ => Err(BadFraming::Coding),
        }
    }

    /// An answer's body. The engine is trusted to frame its own answers as Go does.
    pub fn of_response(head: &ResponseHead, to_head: bool) -> Result<Framing, BadFraming> {
        if to_head || head.status < 200 || head.status == 204 || head.status == 304 {
            return Ok(Framing::None);
        }
        if head.headers.lists("transfer-encoding", "chunked") {
            return Ok(Framing::Chunked(Chunked::new(Dialect::AsGo)));
        }
        Ok(match content_length(&head.headers)? {
            Some(0) => Framing::None,
            Some(left) => Framing::Length { left },
            None => Framing::UntilClose { closed: false },
        })
    }

    pub fn is_done(&self) -> bool {
        match self {
            Framing::None => true,
            Framing::Length { left } => *left == 0,
            Framing::Chunked(chunked) => chunked.is_done(),
            Framing::UntilClose { closed } => *closed,
        }
    }

    /// How many of these bytes belong to the body; they count as passed.
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, BadChunk> {
        self.take_payload(bytes, |_| {})
    }

    /// The same, handing the payload (the bytes without the coding) to `payload`.
    pub fn take_payload(
        &mut self,
        bytes: &[u8],
        mut payload: impl FnMut(&[u8]),
    ) -> Result<usize, BadChunk> {
        match self {
            Framing::None => Ok(0),
            Framing::Length { left } => {
                let n = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                payload(bytes.get(..n).unwrap_or(&[]));
                *left -= n as u64;
                Ok(n)
            }
            Framing::Chunked(chunked) => chunked.advance(bytes, payload),
            Framing::UntilClose { .. } => {
                payload(bytes);
                Ok(bytes.len())
            }
        }
    }

    /// The sender closed; true when that is where the body was allowed to end.
    pub fn close(&mut self) -> bool {
        if let Framing::UntilClose { closed } = self {
            *closed = true;
        }
        self.is_done()
    }
}

/// One length, however often it is said; Go reads it the same way.
fn content_length(headers: &Lines) -> Result<Option<u64>, BadFraming> {
    let mut found = None;
    for value in headers.all("content-length") {
        let digits = std::str::from_utf8(value).map_err(|_| BadFraming::Length)?;
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(BadFraming::Length);
        }
        let length: u64 = digits.parse().map_err(|_| BadFraming::Length)?;
        if i64::try_from(length).is_err() || found.is_some_and(|other| other != length) {
            return Err(BadFraming::Length);
        }
        found = Some(length);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(lines: &str, dialect: Dialect) -> Result<Framing, BadFraming> {
        let head = format!("POST / HTTP/1.1\r\n{lines}\r\n");
        Framing::of_request(&RequestHead::parse(head.as_bytes()).unwrap(), dialect)
    }

    fn response(status: &str, lines: &str) -> Framing {
        let head = format!("HTTP/1.1 {status}\r\n{lines}\r\n");
        Framing::of_response(&ResponseHead::parse(head.as_bytes()).unwrap(), false).unwrap()
    }

    #[test]
    fn a_request_has_one_reading_or_none() {
        for dialect in [Dialect::Strict, Dialect::AsGo] {
            assert!(matches!(request("", dialect), Ok(Framing::None)));
            assert!(matches!(
                request("Content-Length: 5\r\nContent-Length: 5\r\n", dialect),
                Ok(Framing::Length { left: 5 })
            ));
            for bad in ["5\r\nContent-Length: 6", "+5", "5,5", "", "99999999999999999999", "0x5"] {
                let lines = format!("Content-Length: {bad}\r\n");
                assert!(matches!(request(&lines, dialect), Err(BadFraming::Length)), "{bad}");
            }
            for bad in ["gzip, chunked", "identity", "chunked\r\nTransfer-Encoding: chunked"] {
                let lines = format!("Transfer-Encoding: {bad}\r\n");
                assert!(matches!(request(&lines, dialect), Err(BadFraming::Coding)), "{bad}");
            }
        }
        let both = "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n";
        assert!(matches!(request(both, Dialect::Strict), Err(BadFraming::Both)));
        assert!(matches!(request(both, Dialect::AsGo), Ok(Framing::Chunked(_))));
    }

    #[test]
    fn an_answer_without_a_length_lasts_until_the_connection_ends() {
        let mut body = response("404 Not Found", "Content-Type: text/plain\r\n");
        assert_eq!(body.take(b"No such container").unwrap(), 17);
        assert!(!body.is_done() && body.close());
        assert!(response("204 No Content", "").is_done());
        assert!(response("304 Not Modified", "Content-Length: 9\r\n").is_done());
        let mut short = response("200 OK", "Content-Length: 9\r\n");
        short.take(b"four").unwrap();
        assert!(!short.close(), "an end inside a counted body is a failure");
    }
}
