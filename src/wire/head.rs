//! Request and response heads of HTTP/1.1 (RFC 9112), kept as they came.
//!
//! `httparse` finds the parts; a head keeps its bytes and remembers where the parts are, so that a
//! pass-through can send them again unchanged: order, case, duplicates, odd spacing. What must stay
//! true: whatever stands in `lines` was a whole header line, and a head is only parsed once its end
//! was seen, so that a slow sender costs no repeated work.

use std::ops::Range;

/// More header lines than any client sends; dockerd has no such limit, only one of bytes.
const MOST_LINES: usize = 256;

#[derive(Clone, Debug, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    lines: Vec<(Range<u32>, Range<u32>)>,
}

#[derive(Clone, Debug)]
pub struct RequestHead {
    method: Range<u32>,
    target: Range<u32>,
    /// The minor version: 0 or 1.
    pub version: u8,
    pub headers: Lines,
}

#[derive(Clone, Debug)]
pub struct ResponseHead {
    pub version: u8,
    pub status: u16,
    /// The whole status line without its line end: reasons are the engine's own (`101 UPGRADED`).
    status_line: Range<u32>,
    pub headers: Lines,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    #[error("malformed request: {0}")]
    Malformed(&'static str),
    #[error("too many header lines (at most {MOST_LINES})")]
    TooManyLines,
}

/// Where the head ends (behind the empty line), looking again only at what is new since `seen`.
pub fn find_end(bytes: &[u8], seen: usize) -> Option<usize> {
    // Empty lines before a request line are skipped by RFC 9112 §2.2 and by Go.
    let first = bytes.iter().position(|b| !matches!(b, b'\r' | b'\n'))?;
    let from = seen.saturating_sub(3).max(first);
    let tail = bytes.get(from..)?;
    for newline in memchr::memchr_iter(b'\n', tail) {
        match tail.get(newline + 1..)? {
            [b'\n', ..] => return Some(from + newline + 2),
            [b'\r', b'\n', ..] => return Some(from + newline + 3),
            _ => {}
        }
    }
    None
}

impl RequestHead {
    /// Parses a whole head, as delimited by `find_end`.
    pub fn parse(head: &[u8]) -> Result<RequestHead, HeadError> {
        let mut slots = [httparse::EMPTY_HEADER; MOST_LINES];
        let mut request = httparse::Request::new(&mut slots);
        match request.parse(head) {
            Ok(httparse::Status::Complete(n)) if n == head.len() => {}
            Ok(_) => return Err(HeadError::Malformed("the head ends early")),
            Err(error) => return Err(explain(error)),
        }
        let at = |part: &[u8]| range_in(head, part);
        let (Some(method), Some(target), Some(version)) =
            (request.method, request.path, request.version)
        else {
            return Err(HeadError::Malformed("no request line"));
        };
        Ok(RequestHead {
            method: at(method.as_bytes()),
            target: at(target.as_bytes()),
            version,
            headers: Lines::new(head, request.headers),
        })
    }

    pub fn method(&self) -> &str {
        std::str::from_utf8(self.headers.slice(&self.method)).unwrap_or("")
    }

    pub fn target(&self) -> &[u8] {
        self.headers.slice(&self.target)
    }

    /// Whether the client wants its connection closed behind this call (RFC 9112 §9.3): `close` is the last
    /// word, and HTTP/1.0 closes unless it says otherwise.
    pub fn closes(&self) -> bool {
        let headers = &self.headers;
        headers.lists("connection", "close")
            || (self.version == 0 && !headers.lists("connection", "keep-alive"))
    }
}

impl ResponseHead {
    pub fn parse(head: &[u8]) -> Result<ResponseHead, HeadError> {
        let mut slots = [httparse::EMPTY_HEADER; MOST_LINES];
        let mut response = httparse::Response::new(&mut slots);
        match response.parse(head) {
            Ok(httparse::Status::Complete(n)) if n == head.len() => {}
            Ok(_) => return Err(HeadError::Malformed("the head ends early")),
            Err(error) => return Err(explain(error)),
        }
        let (Some(version), Some(status)) = (response.version, response.code) else {
            return Err(HeadError::Malformed("no status line"));
        };
        let start = head.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(0);
        let line = head.get(start..).unwrap_or(&[]);
        let line = line.split(|b| *b == b'\n').next().unwrap_or(&[]);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Ok(ResponseHead {
            version,
            status,
            status_line: range_in(head, line),
            headers: Lines::new(head, response.headers),
        })
    }

    pub fn status_line(&self) -> &[u8] {
        self.headers.slice(&self.status_line)
    }
}

impl Lines {
    fn new(head: &[u8], parsed: &[httparse::Header<'_>]) -> Lines {
        let lines = parsed
            .iter()
            .map(|line| (range_in(head, line.name.as_bytes()), range_in(head, line.value)))
            .collect();
        Lines { bytes: head.to_vec(), lines }
    }

    /// Of these names and values.
    pub fn of(pairs: &[(&str, &str)]) -> Lines {
        let mut lines = Lines::default();
        for (name, value) in pairs {
            lines.push(name.as_bytes(), value.as_bytes());
        }
        lines
    }

    /// Name and value of each line; names are ASCII.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.iter().map(|(name, value)| (self.slice(name), self.slice(value)))
    }

    /// The lines of one name, without what stood around them.
    pub fn only(&self, name: &str) -> Lines {
        let mut only = Lines::default();
        for value in self.all(name) {
            only.push(name.as_bytes(), value);
        }
        only
    }

    fn push(&mut self, name: &[u8], value: &[u8]) {
        let [name, value] = [name, value].map(|part| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(part);
            let end = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
            end(start)..end(self.bytes.len())
        });
        self.lines.push((name, value));
    }

    /// How much memory the head takes that these are of.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Leaves out every line of a name.
    pub fn remove(&mut self, name: &str) {
        let Lines { bytes, lines } = self;
        lines.retain(|(at, _)| {
            let found = bytes.get(at.start as usize..at.end as usize).unwrap_or_default();
            !found.eq_ignore_ascii_case(name.as_bytes())
        });
    }

    /// Every value under a name, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let name = name.as_bytes();
        self.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The first value, which is the one that Go's `Header.Get` gives.
    pub fn get<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Whether a comma-separated list header holds a token (`Connection: keep-alive, Upgrade`).
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.tokens(name).any(|t| t.eq_ignore_ascii_case(token.as_bytes()))
    }

    pub fn tokens<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.all(name).flat_map(|value| value.split(|b| *b == b',')).map(<[u8]>::trim_ascii)
    }

    fn slice(&self, range: &Range<u32>) -> &[u8] {
        self.bytes.get(range.start as usize..range.end as usize).unwrap_or(&[])
    }
}

/// Appends `name: value` and the line end.
pub fn put_line(out: &mut Vec<u8>, name: impl AsRef<[u8]>, value: &[u8]) {
    out.extend_from_slice(name.as_ref());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn range_in(whole: &[u8], part: &[u8]) -> Range<u32> {
    // `part` is a slice of `whole`: the difference of their addresses is its place.
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    let start = u32::try_from(start).unwrap_or(u32::MAX);
    start..start.saturating_add(u32::try_from(part.len()).unwrap_or(0))
}

fn explain(error: httparse::Error) -> HeadError {
    HeadError::Malformed(match error {
        httparse::Error::TooManyHeaders => return HeadError::TooManyLines,
        httparse::Error::HeaderName => "invalid header name",
        httparse::Error::HeaderValue => "invalid header value",
        httparse::Error::NewLine => "invalid line end",
        httparse::Error::Status => "invalid status",
        httparse::Error::Token => "invalid request line",
        httparse::Error::Version => "unknown HTTP version",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_end_of_a_head_is_found_with_crlf_bare_lf_and_empty_lines_before_it() {
        for (head, rest) in [
            ("GET / HTTP/1.1\r\nHost: d\r\n\r\n", "body"),
            ("POST /x HTTP/1.1\nHost: docker.sock\n\n", "\n"),
            ("\r\nGET / HTTP/1.0\r\n\r\n", ""),
        ] {
            let bytes = format!("{head}{rest}");
            assert_eq!(find_end(bytes.as_bytes(), 0), Some(head.len()), "{head:?}");
            for cut in 0..head.len() {
                assert_eq!(find_end(&bytes.as_bytes()[..cut], 0), None, "{head:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_head_is_kept_as_it_came() {
        let head = b"POST /v1.41/exec/x/start?a=b HTTP/1.1\nhOST: docker.sock\nX-A:  1\nx-a: 2\n\n";
        let parsed = RequestHead::parse(head).unwrap();
        assert_eq!(parsed.method(), "POST");
        assert_eq!(parsed.target(), b"/v1.41/exec/x/start?a=b");
        let lines: Vec<_> = parsed.headers.iter().collect();
        assert_eq!(lines, [(&b"hOST"[..], &b"docker.sock"[..]), (b"X-A", b"1"), (b"x-a", b"2")]);
        for (lines, closes) in [
            ("1.1\r\n", false),
            ("1.1\r\nConnection: Close\r\n", true),
            ("1.1\r\nConnection: x, close\r\n", true),
            ("1.0\r\n", true),
            ("1.0\r\nConnection: Keep-Alive\r\n", false),
            ("1.0\r\nConnection: keep-alive\r\nConnection: close\r\n", true),
        ] {
            let head = format!("GET / HTTP/{lines}\r\n");
            assert_eq!(RequestHead::parse(head.as_bytes()).unwrap().closes(), closes, "{lines:?}");
        }
        let answer = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
        let parsed = ResponseHead::parse(answer).unwrap();
        assert_eq!((parsed.status, parsed.status_line()), (101, &b"HTTP/1.1 101 UPGRADED"[..]));
        assert!(parsed.headers.lists("connection", "upgrade"));
    }

    #[test]
    fn lines_of_one_name_stand_by_themselves() {
        let head = b"GET / HTTP/1.1\r\nHost: d\r\naUTH: 1\r\nX-Secret: s\r\nAuth: 2\r\n\r\n";
        let only = RequestHead::parse(head).unwrap().headers.only("auth");
        assert_eq!(only.all("Auth").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!((only.iter().count(), only.bytes.as_slice()), (2, &b"auth1auth2"[..]));
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for bad in [
            "GET / HTTP/1.1\r\n folded: x\r\n\r\n",
            "GET / HTTP/1.1\r\nName : x\r\n\r\n",
            "GET /\r\n\r\n",
            "G\0T / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nX: a\0b\r\n\r\n",
        ] {
            assert!(RequestHead::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), seen in 0usize..400) {
            let _ = RequestHead::parse(&bytes);
            let _ = ResponseHead::parse(&bytes);
            if let Some(end) = find_end(&bytes, seen) {
                prop_assert!(end <= bytes.len());
            }
        }

        #[test]
        fn the_end_is_the_same_however_it_arrives(cut in 0usize..60) {
            let bytes = b"GET /containers/json HTTP/1.1\r\nHost: docker\r\nA: b\r\n\r\nrest of it";
            let whole = find_end(bytes, 0);
            let first = find_end(&bytes[..cut], 0);
            prop_assert_eq!(first.or_else(|| find_end(bytes, cut)), whole);
        }
    }
}
