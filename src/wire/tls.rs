//! TLS beneath a `Stream`: rustls's connection, fed from a socket and emptied into it.
//!
//! `wire::io` holds one for each stream that is encrypted. What must stay true: the end of one
//! direction (`close_notify`, RFC 8446 §6.1) leaves the other one open; an end of the connection
//! without it is an error, not an end; nothing that was read from the socket is lost; an idle
//! connection holds no block.

use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::BorrowedFd;

use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use rustls::pki_types::CertificateDer;
use rustls::{Connection, ProtocolVersion};

use super::buffer::{BLOCK, give_block, take_block};

/// What one write may leave in rustls before it goes to the socket: a block, encrypted.
const MOST_UNSENT: usize = BLOCK + BLOCK / 64;

/// Of plaintext, in bytes (RFC 5246 section 6.2.1).
const RECORD: u64 = 1 << 14;
/// What one key of AES-GCM may encrypt under TLS 1.2 by rustls's count, less a margin.
const MOST_RECORDS: u64 = (1 << 24) - (1 << 16);

#[derive(Debug)]
pub(super) struct TlsSession {
    conn: Connection,
    /// Read from the socket when rustls had no room for it.
    pending: Vec<u8>,
    /// What rustls has decrypted and nobody has read.
    readable: usize,
    /// The peer broke the protocol: said again to every reader.
    broken: Option<rustls::Error>,
    ended: Option<Ended>,
    /// Sent under TLS 1.2.
    records: u64,
    /// The last read of the socket has emptied it.
    pub(super) drained: bool,
}

/// How the peer's direction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// By `close_notify`.
    Cleanly,
    /// By the end of the TCP connection only.
    Abruptly,
}

impl TlsSession {
    pub(super) fn new(mut conn: Connection) -> TlsSession {
        conn.set_buffer_limit(Some(MOST_UNSENT));
        TlsSession {
            conn,
            pending: Vec::new(),
            readable: 0,
            broken: None,
            ended: None,
            records: 0,
            drained: false,
        }
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.conn.is_handshaking()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// What broke the connection, for who logs it.
    pub(super) fn error(&self) -> Option<&rustls::Error> {
        self.broken.as_ref()
    }

    /// The peer's certificates, verified, the leaf first.
    pub(super) fn certificates(&self) -> Vec<CertificateDer<'static>> {
        let shown = self.conn.peer_certificates().unwrap_or_default();
        shown.iter().map(|one| one.clone().into_owned()).collect()
    }

    /// The protocol that both sides agreed on (ALPN, RFC 7301).
    pub(super) fn protocol(&self) -> Option<Vec<u8>> {
        self.conn.alpn_protocol().map(<[u8]>::to_vec)
    }

    /// The name that a client asked for (SNI, RFC 6066 §3).
    pub(super) fn server_name(&self) -> Option<String> {
        match &self.conn {
            Connection::Server(conn) => conn.server_name().map(str::to_owned),
            Connection::Client(_) => None,
        }
    }

    /// Whether a read would give something at once: bytes, the end or an error.
    pub(super) fn is_ready(&mut self) -> bool {
        if !self.has_news() && !self.pending.is_empty() {
            self.feed_pending(&mut []);
        }
        self.has_news()
    }

    /// Whether there is something to read; false at the end.
    pub(super) fn says(&self) -> io::Result<bool> {
        match (self.readable, &self.broken, self.ended) {
            (1.., ..) => Ok(true),
            (0, Some(error), _) => Err(io::Error::new(ErrorKind::InvalidData, error.clone())),
            (0, None, Some(_)) => Ok(false),
            // The socket itself has failed.
            (0, None, None) => Err(ErrorKind::ConnectionReset.into()),
        }
    }

    fn has_news(&self) -> bool {
        self.readable > 0 || self.broken.is_some() || self.ended.is_some()
    }

    /// Takes what is there without a look at the socket; `WouldBlock` when nothing is.
    pub(super) fn take(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if !self.has_news() && !self.pending.is_empty() {
            let taken = self.feed_pending(into);
            if taken > 0 {
                return Ok(taken);
            }
        }
        if self.readable > 0 {
            let taken = io::Read::read(&mut self.conn.reader(), into)?;
            self.readable = self.readable.saturating_sub(taken);
            return Ok(taken);
        }
        if let Some(error) = &self.broken {
            return Err(io::Error::new(ErrorKind::InvalidData, error.clone()));
        }
        match self.ended {
            Some(Ended::Cleanly) => Ok(0),
            Some(Ended::Abruptly) => Err(ErrorKind::UnexpectedEof.into()),
            None => Err(ErrorKind::WouldBlock.into()),
        }
    }

    /// Reads from the socket until there is something to take, or the socket is empty. What is
    /// decrypted goes to `into` as far as that has room.
    pub(super) fn pull(&mut self, socket: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
        self.drained = false;
        loop {
            match self.take(into) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
            if self.drained {
                return Err(ErrorKind::WouldBlock.into());
            }
            let taken = self.receive(socket, into)?;
            self.flush_if_wanted(socket);
            if taken > 0 {
                return Ok(taken);
            }
        }
    }

    /// One read of the socket; how much of it is now in `into`.
    fn receive(&mut self, socket: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
        let mut block = take_block();
        // No more than fits when decrypted, so that hardly anything is left over.
        let most = block.len().min(into.len().max(4096));
        let room = block.get_mut(..most).unwrap_or_default();
        let received = loop {
            match rustix::net::recv(socket, &mut *room, RecvFlags::DONTWAIT) {
                Err(rustix::io::Errno::INTR) => {}
                received => break received,
            }
        };
        let result = match received {
            Ok((_, 0)) => {
                self.ended = self.ended.or(Some(Ended::Abruptly));
                Ok(0)
            }
            Ok((_, n)) => {
                self.drained = n < most;
                Ok(self.feed(room.get(..n).unwrap_or_default(), into))
            }
            Err(error) => Err(error.into()),
        };
        give_block(block);
        result
    }

    /// rustls takes a record at a time when its own buffer is full; each round makes room.
    fn feed_pending(&mut self, into: &mut [u8]) -> usize {
        let pending = std::mem::take(&mut self.pending);
        let taken = self.feed(&pending, into);
        if self.pending.len() == pending.len() && !self.has_news() {
            self.broken = Some(rustls::Error::General("no room for a record".to_owned()));
        }
        taken
    }

    /// Decrypts; what does not fit into `into` stays with rustls or in `pending`.
    fn feed(&mut self, mut bytes: &[u8], into: &mut [u8]) -> usize {
        let mut taken = 0;
        while !bytes.is_empty() && self.broken.is_none() {
            match self.conn.read_tls(&mut bytes) {
                // Behind `close_notify` nothing counts.
                Ok(0) => break,
                Ok(_) => self.process(),
                // rustls holds as much as it may: the rest waits for a reader.
                Err(_) => {
                    self.pending.extend_from_slice(bytes);
                    break;
                }
            }
            let room = into.get_mut(taken..).unwrap_or_default();
            if self.readable > 0
                && !room.is_empty()
                && let Ok(more) = io::Read::read(&mut self.conn.reader(), room)
            {
                self.readable = self.readable.saturating_sub(more);
                taken += more;
            }
        }
        taken
    }

    fn process(&mut self) {
        match self.conn.process_new_packets() {
            Ok(state) => {
                self.readable = state.plaintext_bytes_to_read();
                if state.peer_has_closed() {
                    self.ended = Some(Ended::Cleanly);
                }
            }
            Err(error) => self.broken = Some(error),
        }
    }

    /// Encrypts; how much of it was taken, which is nothing while too much is unsent.
    pub(super) fn put(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put_two(bytes, &[])
    }

    /// The same, with two pieces in one record where they fit.
    pub(super) fn put_two(&mut self, first: &[u8], second: &[u8]) -> io::Result<usize> {
        let bytes = first.len() + second.len();
        if self.conn.protocol_version() == Some(ProtocolVersion::TLSv1_2) {
            // Its keys cannot be changed, and when they are used up rustls takes bytes and drops them.
            self.records += bytes as u64 / RECORD + 1;
            if self.records > MOST_RECORDS {
                return Err(io::Error::other("a TLS 1.2 connection has used up its keys"));
            }
        }
        let both = [IoSlice::new(first), IoSlice::new(second)];
        io::Write::write_vectored(&mut self.conn.writer(), &both)
    }

    /// Says that nothing more will be sent.
    pub(super) fn end(&mut self) {
        self.conn.send_close_notify();
    }

    pub(super) fn wants_write(&self) -> bool {
        self.conn.wants_write()
    }

    /// Sends what is encrypted, as much as the socket takes at once.
    pub(super) fn flush(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.conn.write_tls(&mut Sink(socket))
    }

    /// An alert or a new key that rustls wants to send; when the socket is full it goes with the
    /// next write.
    fn flush_if_wanted(&mut self, socket: BorrowedFd<'_>) {
        while self.conn.wants_write() && self.flush(socket).is_ok() {}
    }
}

/// A socket that rustls writes its records to.
struct Sink<'a>(BorrowedFd<'a>);

impl io::Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let mut none = SendAncillaryBuffer::default();
        Ok(rustix::net::sendmsg(self.0, bytes, &mut none, flags)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
