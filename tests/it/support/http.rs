//! Just enough HTTP/1.1 to cut a byte stream into messages, without judging or changing a byte.

/// A head as it came.
#[derive(Clone, Debug)]
pub struct Head {
    pub raw: Vec<u8>,
    /// The request line or status line.
    pub first: String,
    pub lines: Vec<(String, String)>,
}

impl Head {
    pub fn parse(raw: Vec<u8>) -> Head {
        let text = String::from_utf8_lossy(&raw).into_owned();
        let mut lines = text.trim_start_matches(['\r', '\n']).lines();
        let first = lines.next().unwrap_or_default().to_owned();
        let lines = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        Head { raw, first, lines }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.lines.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    /// Of a response.
    pub fn status(&self) -> u16 {
        let word = self.first.split(' ').nth(1).unwrap_or_default();
        word.parse().unwrap_or_else(|_| panic!("no status line: {:?}", self.first))
    }

    pub fn method(&self) -> &str {
        self.first.split(' ').next().unwrap_or_default()
    }

    /// The request's path without version and query.
    pub fn path(&self) -> &str {
        let target = self.first.split(' ').nth(1).unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default();
        match path.strip_prefix("/v1.").and_then(|rest| rest.find('/').map(|at| &rest[at..])) {
            Some(rest) => rest,
            None => path,
        }
    }

    pub fn is_chunked(&self) -> bool {
        self.get("transfer-encoding").is_some_and(|coding| coding.contains("chunked"))
    }

    pub fn length(&self) -> Option<usize> {
        self.get("content-length").map(|length| length.parse().unwrap())
    }
}

/// Where the head ends, behind its empty line; empty lines before it belong to it.
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    let start = bytes.iter().position(|b| !matches!(b, b'\r' | b'\n'))?;
    (start..bytes.len()).find_map(|at| match bytes.get(at..)? {
        [b'\n', b'\n', ..] => Some(at + 2),
        [b'\n', b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// The payload of a chunked body.
pub fn dechunk(mut coded: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let line = coded.iter().position(|b| *b == b'\n').expect("a chunk's size line");
        let digits = std::str::from_utf8(&coded[..line]).unwrap();
        let digits = digits.trim_end().split(';').next().unwrap_or_default().trim_end();
        let size = usize::from_str_radix(digits, 16).expect("a chunk's size");
        coded = &coded[line + 1..];
        if size == 0 {
            return out;
        }
        out.extend_from_slice(&coded[..size]);
        coded = &coded[size..];
        coded = coded.strip_prefix(b"\r\n").or(coded.strip_prefix(b"\n")).expect("a chunk's end");
    }
}

/// A payload as one chunk.
pub fn chunk(payload: &[u8]) -> Vec<u8> {
    let mut out = format!("{:x}\r\n", payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
    out
}

/// An answer as dockerd writes it, with a length.
pub fn answer(status: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\n\
         Ostype: linux\r\nServer: Docker/20.10.24+dfsg1 (linux)\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
