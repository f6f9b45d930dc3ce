//! One socket and exact reads from it: the client of every test, and each connection of the engine.
//!
//! Every read has a timeout that panics with what had come so far, so that a hang has a message.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::http::{self, Head};
use super::{PATIENCE, text};

#[derive(Debug)]
pub enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<rustls::StreamOwned<rustls::ClientConnection, TcpStream>>),
}

#[derive(Debug)]
pub struct Conn {
    socket: Socket,
    /// Read and not yet asked for.
    pub buffer: Vec<u8>,
    /// Every byte that ever came.
    pub record: Arc<Mutex<Vec<u8>>>,
}

impl Conn {
    pub fn unix(path: &Path) -> Conn {
        Conn::over(Socket::Unix(UnixStream::connect(path).expect("a listener")))
    }

    pub fn tcp(address: &str) -> Conn {
        let stream = TcpStream::connect(address).expect("a listener");
        stream.set_nodelay(true).unwrap();
        Conn::over(Socket::Tcp(stream))
    }

    pub fn over(socket: Socket) -> Conn {
        let conn = Conn { socket, buffer: Vec::new(), record: Arc::default() };
        conn.patience(PATIENCE);
        conn
    }

    /// A second handle to the same socket, for a thread that only writes.
    pub fn writer(&self) -> Conn {
        Conn::over(match &self.socket {
            Socket::Unix(stream) => Socket::Unix(stream.try_clone().unwrap()),
            Socket::Tcp(stream) => Socket::Tcp(stream.try_clone().unwrap()),
            Socket::Tls(_) => panic!("a TLS connection has one writer"),
        })
    }

    /// What was read and not asked for, and the socket, for whoever speaks something else on it from here on.
    pub fn parts(&mut self) -> (Vec<u8>, UnixStream) {
        let socket = match &self.socket {
            Socket::Unix(stream) => stream.try_clone().unwrap(),
            Socket::Tcp(_) | Socket::Tls(_) => panic!("not a unix socket"),
        };
        (std::mem::take(&mut self.buffer), socket)
    }

    pub fn patience(&self, time: Duration) {
        match &self.socket {
            Socket::Unix(stream) => stream.set_read_timeout(Some(time)).unwrap(),
            Socket::Tcp(stream) => stream.set_read_timeout(Some(time)).unwrap(),
            Socket::Tls(stream) => stream.sock.set_read_timeout(Some(time)).unwrap(),
        }
    }

    pub fn write_patience(&self, time: Duration) {
        match &self.socket {
            Socket::Unix(stream) => stream.set_write_timeout(Some(time)).unwrap(),
            Socket::Tcp(stream) => stream.set_write_timeout(Some(time)).unwrap(),
            Socket::Tls(stream) => stream.sock.set_write_timeout(Some(time)).unwrap(),
        }
    }

    /// How many bytes wait to be read.
    pub fn waiting(&self) -> usize {
        let count = match &self.socket {
            Socket::Unix(stream) => rustix::io::ioctl_fionread(stream),
            Socket::Tcp(stream) => rustix::io::ioctl_fionread(stream),
            Socket::Tls(stream) => rustix::io::ioctl_fionread(&stream.sock),
        };
        usize::try_from(count.unwrap()).unwrap()
    }

    /// How much may wait for a peer that does not read.
    pub fn send_buffer(&self, bytes: usize) {
        let set = match &self.socket {
            Socket::Unix(stream) => {
                rustix::net::sockopt::set_socket_send_buffer_size(stream, bytes)
            }
            Socket::Tcp(stream) => rustix::net::sockopt::set_socket_send_buffer_size(stream, bytes),
            Socket::Tls(stream) => {
                rustix::net::sockopt::set_socket_send_buffer_size(&stream.sock, bytes)
            }
        };
        set.unwrap();
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the peer reads");
    }

    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        match &mut self.socket {
            Socket::Unix(stream) => stream.write_all(bytes.as_ref()),
            Socket::Tcp(stream) => stream.write_all(bytes.as_ref()),
            Socket::Tls(stream) => stream.write_all(bytes.as_ref()).and_then(|()| stream.flush()),
        }
    }

    /// One write; how much of it was taken.
    pub fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.socket {
            Socket::Unix(stream) => stream.write(bytes),
            Socket::Tcp(stream) => stream.write(bytes),
            Socket::Tls(stream) => stream.write(bytes),
        }
    }

    pub fn end_writing(&mut self) {
        let _ = match &mut self.socket {
            Socket::Unix(stream) => stream.shutdown(Shutdown::Write),
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Write),
            // `close_notify`, and TCP stays as it is.
            Socket::Tls(stream) => {
                stream.conn.send_close_notify();
                stream.flush()
            }
        };
    }

    /// Takes no more, and lets the sender know.
    pub fn end_reading(&self) {
        let _ = match &self.socket {
            Socket::Unix(stream) => stream.shutdown(Shutdown::Read),
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Read),
            Socket::Tls(stream) => stream.sock.shutdown(Shutdown::Read),
        };
    }

    /// Ends both directions at once, whoever else holds the socket: a child that another test is just
    /// starting has a copy of every descriptor until it runs its own program.
    pub fn end(&self) {
        let _ = match &self.socket {
            Socket::Unix(stream) => stream.shutdown(Shutdown::Both),
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Socket::Tls(stream) => stream.sock.shutdown(Shutdown::Both),
        };
    }

    /// One read of the socket, as large as it comes.
    pub fn recv(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let mut block = vec![0; most];
        let n = match &mut self.socket {
            Socket::Unix(stream) => stream.read(&mut block)?,
            Socket::Tcp(stream) => stream.read(&mut block)?,
            Socket::Tls(stream) => stream.read(&mut block)?,
        };
        block.truncate(n);
        self.record.lock().unwrap().extend_from_slice(&block);
        Ok(block)
    }

    /// What came already behind the head, or else what one read gives.
    pub fn next(&mut self, most: usize) -> io::Result<Vec<u8>> {
        match self.buffer.is_empty() {
            true => self.recv(most),
            false => Ok(std::mem::take(&mut self.buffer)),
        }
    }

    /// Reads once into the buffer; false at the end, which a reset is too.
    pub fn fill(&mut self) -> bool {
        match self.recv(64 * 1024) {
            Ok(block) => {
                self.buffer.extend_from_slice(&block);
                !block.is_empty()
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("nothing more came; so far: {:?}", text(&self.buffer))
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(_) => false,
        }
    }

    /// What is buffered or comes next; empty at the end.
    pub fn some(&mut self) -> Vec<u8> {
        if self.buffer.is_empty() {
            self.fill();
        }
        std::mem::take(&mut self.buffer)
    }

    /// Whether what comes begins like this; it stays to be read.
    pub fn peek_starts_with(&mut self, wanted: &[u8]) -> bool {
        while self.buffer.len() < wanted.len() && self.fill() {}
        self.buffer.starts_with(wanted)
    }

    pub fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            assert!(self.fill(), "ended early, {length} wanted: {:?}", text(&self.buffer));
        }
        self.buffer.drain(..length).collect()
    }

    /// Up to and with this marker.
    pub fn through(&mut self, marker: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.buffer.windows(marker.len()).position(|w| w == marker) {
                return self.buffer.drain(..at + marker.len()).collect();
            }
            assert!(self.fill(), "no {:?} in {:?}", text(marker), text(&self.buffer));
        }
    }

    /// Everything up to the end of the stream.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buffer)
    }

    pub fn try_head(&mut self) -> Option<Head> {
        loop {
            if let Some(end) = http::head_end(&self.buffer) {
                return Some(Head::parse(self.buffer.drain(..end).collect()));
            }
            if !self.fill() {
                return None;
            }
        }
    }

    pub fn head(&mut self) -> Head {
        let head = self.try_head();
        head.unwrap_or_else(|| panic!("ended before a head: {:?}", text(&self.buffer)))
    }

    /// A chunked body as it stands on the wire, trailers and all.
    pub fn chunks(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        loop {
            let line = self.through(b"\n");
            out.extend_from_slice(&line);
            let digits = text(&line);
            let digits = digits.trim_end().split(';').next().unwrap_or_default().trim_end();
            let size = usize::from_str_radix(digits, 16).expect("a chunk's size");
            if size > 0 {
                let data = self.exactly(size);
                out.extend_from_slice(&data);
                out.extend_from_slice(&self.through(b"\n"));
                continue;
            }
            loop {
                let line = self.through(b"\n");
                out.extend_from_slice(&line);
                if matches!(line.as_slice(), b"\r\n" | b"\n") {
                    return out;
                }
            }
        }
    }

    /// A request's body as it stands on the wire.
    pub fn request_body(&mut self, head: &Head) -> Vec<u8> {
        match head.length() {
            _ if head.is_chunked() => self.chunks(),
            Some(length) => self.exactly(length),
            None => Vec::new(),
        }
    }

    /// The payload of an answer to anything but HEAD.
    pub fn body(&mut self, head: &Head) -> Vec<u8> {
        match head.length() {
            _ if head.is_chunked() => http::dechunk(&self.chunks()),
            _ if matches!(head.status(), 204 | 304) => Vec::new(),
            Some(length) => self.exactly(length),
            None => self.rest(),
        }
    }

    /// A whole exchange: status and body.
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> (u16, String) {
        self.send(request);
        let head = self.head();
        let body = self.body(&head);
        (head.status(), text(&body))
    }

    /// True when the peer ends without another byte.
    pub fn is_over(&mut self) -> bool {
        self.some().is_empty()
    }

    /// True when nothing comes for a while; what comes stays for later.
    pub fn is_quiet(&mut self, time: Duration) -> bool {
        if !self.buffer.is_empty() {
            return false;
        }
        self.patience(time);
        let came = self.recv(64 * 1024);
        self.patience(PATIENCE);
        match came {
            Ok(block) => {
                self.buffer.extend_from_slice(&block);
                false
            }
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    fn tls(&self) -> &rustls::ClientConnection {
        match &self.socket {
            Socket::Tls(stream) => &stream.conn,
            Socket::Unix(_) | Socket::Tcp(_) => panic!("a plain connection"),
        }
    }

    /// What was agreed by ALPN.
    pub fn protocol(&self) -> Option<Vec<u8>> {
        self.tls().alpn_protocol().map(<[u8]>::to_vec)
    }

    pub fn servers_certificate(&self) -> Vec<u8> {
        self.tls().peer_certificates().unwrap()[0].to_vec()
    }

    /// Whether the end that was read was a `close_notify`, and not only the end of TCP.
    pub fn ended_cleanly(&mut self) -> bool {
        matches!(self.recv(1), Ok(bytes) if bytes.is_empty())
    }
}
