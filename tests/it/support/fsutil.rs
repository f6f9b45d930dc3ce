//! The packets in which a client sends a folder to BuildKit, and gRPC's frames around them.

use bytes::{Buf as _, BytesMut};
use h2::{RecvStream, SendStream};

pub const STAT: u64 = 0;
pub const REQ: u64 = 1;
pub const DATA: u64 = 2;
pub const FIN: u64 = 3;

/// `fsutil.types.Packet`, as far as it is needed here.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Packet {
    pub kind: u64,
    /// Path and size of a file; none: there are no more.
    pub stat: Option<(String, u64)>,
    pub id: u64,
    pub data: Vec<u8>,
}

impl Packet {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        number(1, self.kind, &mut out);
        if let Some((path, size)) = &self.stat {
            let mut stat = Vec::new();
            bytes(1, path.as_bytes(), &mut stat);
            number(2, 0o644, &mut stat);
            number(5, *size, &mut stat);
            number(6, 1_700_000_000, &mut stat);
            bytes(2, &stat, &mut out);
        }
        number(3, self.id, &mut out);
        if !self.data.is_empty() {
            bytes(4, &self.data, &mut out);
        }
        out
    }

    pub fn decode(mut message: &[u8]) -> Packet {
        let mut packet = Packet::default();
        while !message.is_empty() {
            match varint(&mut message) {
                8 => packet.kind = varint(&mut message),
                18 => packet.stat = Some(stat(taken(&mut message))),
                24 => packet.id = varint(&mut message),
                34 => packet.data = taken(&mut message).to_vec(),
                other => panic!("{other}"),
            }
        }
        packet
    }
}

fn stat(mut message: &[u8]) -> (String, u64) {
    let mut stat = (String::new(), 0);
    while !message.is_empty() {
        match varint(&mut message) {
            10 => stat.0 = String::from_utf8(taken(&mut message).to_vec()).unwrap(),
            40 => stat.1 = varint(&mut message),
            tag if tag & 7 == 0 => drop(varint(&mut message)),
            other => panic!("{other}"),
        }
    }
    stat
}

fn taken<'m>(message: &mut &'m [u8]) -> &'m [u8] {
    let length = usize::try_from(varint(message)).unwrap();
    let (taken, rest) = message.split_at(length);
    *message = rest;
    taken
}

fn varint(message: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = message.get_u8();
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return value;
        }
    }
}

fn put(mut value: u64, out: &mut Vec<u8>) {
    while value > 0x7f {
        out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap());
}

/// Zero is left out.
fn number(field: u64, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        put(field << 3, out);
        put(value, out);
    }
}

pub fn bytes(field: u64, value: &[u8], out: &mut Vec<u8>) {
    put(field << 3 | 2, out);
    put(value.len() as u64, out);
    out.extend(value);
}

/// The packets of one direction.
pub struct Packets {
    body: RecvStream,
    come: BytesMut,
}

impl Packets {
    pub fn new(body: RecvStream) -> Packets {
        Packets { body, come: BytesMut::new() }
    }

    /// The next one; none at the end, and where the stream is cut off.
    pub async fn next(&mut self) -> Option<Packet> {
        loop {
            if let Some(mut head) = self.come.get(1..5)
                && let length = head.get_u32() as usize
                && self.come.len() >= 5 + length
            {
                let message = self.come.split_to(5 + length);
                return Some(Packet::decode(&message[5..]));
            }
            let data = self.body.data().await?.ok()?;
            let _ = self.body.flow_control().release_capacity(data.len());
            self.come.extend_from_slice(&data);
        }
    }

    pub fn into_body(self) -> RecvStream {
        self.body
    }
}

/// Whether the other side takes it.
pub fn send(to: &mut SendStream<bytes::Bytes>, packet: &Packet) -> bool {
    let message = packet.encode();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    to.send_data([&[0][..], &length, &message].concat().into(), false).is_ok()
}
