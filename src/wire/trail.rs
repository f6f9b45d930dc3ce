//! Through which gateways a call has come: how a gateway notices that its engine is itself.
//!
//! `gateway` reads it off a client's request, `engine` writes it, with this process's own mark, on all that
//! goes to the engine. dockerd reads no such header. What must stay true: a call that comes back is noticed
//! before anything is done for it, also when other gateways stand between, and also by its length alone.

use std::borrow::Cow;
use std::sync::LazyLock;

use super::head::{Lines, put_line};

/// As `CDN-Loop` (RFC 8586), which a proxy that is no CDN should not use.
pub const HEADER: &str = "X-Dockgate-Via";

/// More gateways than anybody puts in front of one engine. Marks change with a restart, this does not.
const MOST: usize = 8;
const MARK: usize = 16;

/// This process.
static OWN: LazyLock<String> = LazyLock::new(|| {
    let mut random = [0; MARK / 2];
    // Without randomness the length alone ends a loop.
    let _ = aws_lc_rs::rand::fill(&mut random);
    format!("{:016x}", u64::from_be_bytes(random))
});

/// The marks of the gateways before this one; empty for a call that comes from a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail(Option<Box<str>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTrail {
    #[error(
        "this request has come through here before: the engine's address leads back to this gateway"
    )]
    Loop,
    #[error("this request has come through {MOST} gateways: do they lead to each other?")]
    TooLong,
    #[error("malformed `{HEADER}`")]
    Malformed,
}

impl Trail {
    pub fn of(headers: &Lines) -> Result<Trail, BadTrail> {
        if !headers.has(HEADER) {
            return Ok(Trail::default());
        }
        let mut marks = Vec::new();
        for mark in headers.tokens(HEADER) {
            if marks.len() == MOST {
                return Err(BadTrail::TooLong);
            }
            if mark.len() != MARK || !mark.iter().all(u8::is_ascii_hexdigit) {
                return Err(BadTrail::Malformed);
            }
            let mark = String::from_utf8_lossy(mark);
            if mark == *OWN {
                return Err(BadTrail::Loop);
            }
            marks.push(mark);
        }
        if marks.len() == MOST {
            return Err(BadTrail::TooLong);
        }
        Ok(Trail(Some(marks.join(",").into())))
    }

    /// Puts the line behind the first one of a head.
    pub fn put(&self, request: &mut Vec<u8>) {
        if let Some(end) = memchr::memchr(b'\n', request) {
            request.splice(end + 1..end + 1, self.line());
        }
    }

    /// With this gateway's own mark, and the line end.
    pub fn line(&self) -> Vec<u8> {
        let marks = match &self.0 {
            None => Cow::Borrowed(OWN.as_str()),
            Some(before) => Cow::Owned(format!("{before},{}", *OWN)),
        };
        let mut line = Vec::with_capacity(HEADER.len() + marks.len() + 4);
        put_line(&mut line, HEADER, marks.as_bytes());
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::head::RequestHead;

    fn read(values: &[&str]) -> Result<Trail, BadTrail> {
        let lines: String =
            values.iter().map(|value| format!("x-dockgate-via: {value}\r\n")).collect();
        let head = format!("GET / HTTP/1.1\r\n{lines}\r\n");
        Trail::of(&RequestHead::parse(head.as_bytes()).unwrap().headers)
    }

    fn value(trail: &Trail) -> String {
        let line = String::from_utf8(trail.line()).unwrap();
        line.strip_prefix("X-Dockgate-Via: ").unwrap().trim_end().to_owned()
    }

    #[test]
    fn a_call_that_comes_back_is_noticed() {
        let first = value(&read(&[]).unwrap());
        assert_eq!(read(&[&first]), Err(BadTrail::Loop));
        let other = "0123456789abcdef";
        let second = value(&read(&[other]).unwrap());
        assert_eq!(second, format!("{other},{first}"));
        assert_eq!(read(&[&second]), Err(BadTrail::Loop));
        assert_eq!(read(&[other, &first]), Err(BadTrail::Loop), "in two lines");
    }

    #[test]
    fn a_trail_has_a_bound_and_a_form() {
        let many = |n: usize| vec!["0123456789abcdef"; n].join(", ");
        assert!(read(&[&many(MOST - 1)]).is_ok());
        assert_eq!(read(&[&many(MOST)]), Err(BadTrail::TooLong));
        assert_eq!(read(&[&many(10_000)]), Err(BadTrail::TooLong));
        for bad in ["", "1", "0123456789abcdeg", "0123456789abcdef,", "0123456789abcdef0"] {
            assert_eq!(read(&[bad]), Err(BadTrail::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn the_line_stands_behind_the_first_one() {
        let mut request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbody\n".to_vec();
        Trail::default().put(&mut request);
        let wanted = format!("GET / HTTP/1.1\r\nX-Dockgate-Via: {}\r\nHost: a\r\n\r\nbody\n", *OWN);
        assert_eq!(String::from_utf8(request).unwrap(), wanted);
    }
}
