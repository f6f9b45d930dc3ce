//! A `ClientHello`, read before anybody answers it: whom it asks for, and what kind of client says so.
//!
//! `intercept::greet` peeks at a connection and reads here. Pure. What must stay true: what is read is
//! bounded, however it is cut into records; nothing is guessed of what is malformed.

use super::fingerprint::Fingerprint;

/// Of a hello: those with post-quantum keys have two kilobytes.
pub(super) const LONGEST: usize = 16 * 1024;
/// With the heads of its records: one that comes in crumbs is not read.
pub(super) const LONGEST_RAW: usize = LONGEST + 512;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// RFC 8446 §5.1.
const LONGEST_RECORD: usize = 1 << 14;
pub(super) const TLS12: u16 = 0x0303;

/// What of a hello decides what becomes of its connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hello {
    /// In lower case; none that is no name of the DNS (RFC 6066 §3).
    pub server_name: Option<String>,
    /// The newest that it offers.
    pub version: u16,
    pub ciphers: Vec<u16>,
    /// Their types.
    pub extensions: Vec<u16>,
    pub groups: Vec<u16>,
    pub signatures: Vec<u16>,
    /// None where it says nothing of protocols.
    pub protocols: Option<Vec<Vec<u8>>>,
}

/// What the bytes so far are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A hello that is not whole.
    Part,
    Hello(Box<Hello>),
    Not(NoHello),
}

/// Why it is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoHello {
    #[error("the client speaks plain HTTP to a TLS port")]
    PlainHttp,
    #[error("the client speaks SSL 2")]
    Old,
    #[error("the client does not begin with a handshake")]
    Foreign,
    #[error("the client's hello is longer than 16 KiB")]
    TooLong,
    #[error("the client's hello is malformed")]
    Malformed,
}

impl NoHello {
    /// RFC 8446 §6.
    pub(super) fn alert(self) -> u8 {
        match self {
            NoHello::PlainHttp | NoHello::Foreign => super::UNEXPECTED_MESSAGE,
            NoHello::Old => super::PROTOCOL_VERSION,
            NoHello::TooLong | NoHello::Malformed => super::DECODE_ERROR,
        }
    }
}

impl Hello {
    pub(super) fn read(raw: &[u8]) -> Heard {
        match message(raw) {
            Ok(Some(message)) => match Hello::parse(&message) {
                Some(hello) => Heard::Hello(Box::new(hello)),
                None => Heard::Not(NoHello::Malformed),
            },
            Ok(None) if raw.len() >= LONGEST_RAW => Heard::Not(NoHello::TooLong),
            Ok(None) => Heard::Part,
            Err(why) => Heard::Not(why),
        }
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self)
    }

    /// Whether what we speak is among what it speaks: TLS 1.2 or newer, and HTTP.
    pub(super) fn speaks_http(&self) -> bool {
        let is_http = |name: &Vec<u8>| name == b"h2" || name == b"http/1.1";
        let protocols = self.protocols.as_ref();
        self.version >= TLS12 && protocols.is_none_or(|all| all.iter().any(is_http))
    }

    /// RFC 8446 §4.1.2, behind the head of the message.
    fn parse(message: &[u8]) -> Option<Hello> {
        let mut body = Bytes(message);
        let mut hello = Hello { version: body.number()?, ..Hello::default() };
        body.take(32)?;
        body.short()?;
        hello.ciphers = body.long()?.numbers()?;
        body.short()?;
        if !body.0.is_empty() {
            let mut extensions = body.long()?;
            while !extensions.0.is_empty() {
                let (kind, value) = (extensions.number()?, extensions.long()?);
                if hello.extensions.contains(&kind) {
                    return None;
                }
                hello.extensions.push(kind);
                hello.extension(kind, value)?;
            }
        }
        body.0.is_empty().then_some(hello)
    }

    fn extension(&mut self, kind: u16, mut value: Bytes<'_>) -> Option<()> {
        match kind {
            0 => {
                let mut names = value.long()?;
                // Other types than 0 were never defined, and of that there is one.
                if names.byte()? == 0 {
                    let name = names.long()?;
                    self.server_name = dns_name(name.0);
                }
                names.0.is_empty().then_some(())?;
            }
            10 => self.groups = value.long()?.numbers()?,
            13 => self.signatures = value.long()?.numbers()?,
            16 => {
                let (mut list, mut all) = (value.long()?, Vec::new());
                while !list.0.is_empty() {
                    all.push(list.short()?.0.to_vec());
                }
                self.protocols = Some(all);
            }
            43 => {
                let offered = value.short()?.numbers()?;
                let known = offered.into_iter().filter(|version| !is_grease(*version));
                self.version = known.max()?;
            }
            _ => return Some(()),
        }
        value.0.is_empty().then_some(())
    }
}

/// RFC 8701: said so that nobody relies on knowing all there is.
pub(super) fn is_grease(number: u16) -> bool {
    number & 0x0f0f == 0x0a0a && number >> 8 == number & 0xff
}

/// The message of a hello, taken out of its records, without its head; none while it is not whole.
fn message(raw: &[u8]) -> Result<Option<Vec<u8>>, NoHello> {
    let mut rest = Bytes(raw);
    let mut message = Vec::new();
    let mut length = None;
    while let Some(kind) = rest.byte() {
        if kind != HANDSHAKE {
            return Err(foreign(raw).unwrap_or(NoHello::Malformed));
        }
        let Some(version) = rest.number() else { return Ok(None) };
        if version >> 8 != 3 {
            return Err(NoHello::Foreign);
        }
        let Some(size) = rest.number().map(usize::from) else { return Ok(None) };
        if size == 0 || size > LONGEST_RECORD {
            return Err(NoHello::Malformed);
        }
        let Some(piece) = rest.take(size.min(rest.0.len())) else { return Ok(None) };
        message.extend_from_slice(piece.0);
        if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Err(NoHello::Malformed);
        }
        if let Some([_, a, b, c]) = message.first_chunk().filter(|_| length.is_none()) {
            let size = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            if size > LONGEST {
                return Err(NoHello::TooLong);
            }
            length = Some(size);
        }
        if let Some(whole) = length.and_then(|length| message.get(4..4 + length)) {
            return Ok(Some(whole.to_vec()));
        }
    }
    Ok(None)
}

/// What it is that does not begin as a record.
fn foreign(raw: &[u8]) -> Option<NoHello> {
    match raw {
        [HANDSHAKE, ..] => None,
        // `GET `, `CONNECT `
        [first, ..] if first.is_ascii_uppercase() => Some(NoHello::PlainHttp),
        // SSL 2, with or without padding: length, then its hello.
        [first, _, CLIENT_HELLO, ..] if first & 0x80 != 0 => Some(NoHello::Old),
        _ => Some(NoHello::Foreign),
    }
}

/// RFC 6066 §3: no address, and no dot at the end.
fn dns_name(name: &[u8]) -> Option<String> {
    let is_allowed = |b: &u8| b.is_ascii_alphanumeric() || b"-_.".contains(b);
    let name =
        std::str::from_utf8(name).ok().filter(|name| name.bytes().all(|b| is_allowed(&b)))?;
    let is_name = (1..=253).contains(&name.len())
        && name.split('.').all(|label| (1..=63).contains(&label.len()))
        && name.parse::<std::net::IpAddr>().is_err();
    is_name.then(|| name.to_ascii_lowercase())
}

/// What is not read yet.
struct Bytes<'b>(&'b [u8]);

impl<'b> Bytes<'b> {
    fn take(&mut self, length: usize) -> Option<Bytes<'b>> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(Bytes(taken))
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.0.first().copied()
    }

    fn number(&mut self) -> Option<u16> {
        let two = self.take(2)?.0.first_chunk()?;
        Some(u16::from_be_bytes(*two))
    }

    /// Behind a length of one byte.
    fn short(&mut self) -> Option<Bytes<'b>> {
        let length = self.byte()?;
        self.take(length.into())
    }

    /// Behind one of two.
    fn long(&mut self) -> Option<Bytes<'b>> {
        let length = self.number()?;
        self.take(length.into())
    }

    fn numbers(mut self) -> Option<Vec<u16>> {
        let mut all = Vec::with_capacity(self.0.len() / 2);
        while !self.0.is_empty() {
            all.push(self.number()?);
        }
        Some(all)
    }
}

#[cfg(test)]
mod tests;
