//! Moving gigabytes over blocking sockets: what the stub and the clients both do.

use std::io::{self, Read, Write};

use crate::http::{Body, bad};

/// Bytes of one write or read of a raw stream.
pub(crate) const CHUNK: usize = 64 * 1024;
/// Bytes of payload in one frame or one HTTP chunk: `io.Copy` of dockerd and of the CLI.
pub(crate) const PIECE: usize = 32 * 1024;

/// Writes `total` bytes of text as they are.
pub(crate) fn pour(to: &mut (impl Write + ?Sized), total: u64) -> io::Result<()> {
    let text = text(CHUNK);
    let mut left = total;
    while left > 0 {
        let n = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        to.write_all(&text[..n])?;
        left -= n as u64;
    }
    Ok(())
}

/// Writes `total` bytes in dockerd's frames: stream 1, three zeros, the length, the payload.
pub(crate) fn pour_frames(to: &mut (impl Write + ?Sized), total: u64) -> io::Result<()> {
    pour_pieces(to, total, |n| {
        let mut frame = vec![1, 0, 0, 0];
        frame.extend_from_slice(&u32::try_from(n).unwrap_or(0).to_be_bytes());
        frame.extend_from_slice(&text(n));
        frame
    })
}

/// Writes `total` bytes as a chunked body with its end.
pub(crate) fn pour_chunks(to: &mut (impl Write + ?Sized), total: u64) -> io::Result<()> {
    pour_pieces(to, total, |n| {
        let mut chunk = format!("{n:x}\r\n").into_bytes();
        chunk.extend_from_slice(&text(n));
        chunk.extend_from_slice(b"\r\n");
        chunk
    })?;
    to.write_all(b"0\r\n\r\n")
}

/// Writes `total` in pieces of `PIECE`, each wrapped by `wrap`, one write each.
fn pour_pieces(
    to: &mut (impl Write + ?Sized),
    total: u64,
    wrap: impl Fn(usize) -> Vec<u8>,
) -> io::Result<()> {
    let piece = PIECE as u64;
    let whole = wrap(PIECE);
    for _ in 0..total / piece {
        to.write_all(&whole)?;
    }
    match usize::try_from(total % piece) {
        Ok(rest) if rest > 0 => to.write_all(&wrap(rest)),
        _ => Ok(()),
    }
}

/// Lines of a log. Not zeros: eight of them are an empty frame, and a relay that looks for frames
/// would find nothing else.
fn text(n: usize) -> Vec<u8> {
    let line = b"2026-11-21T04:24:00.000000000Z step 7/12: compiling, linking, testing\n";
    line.iter().copied().cycle().take(n).collect()
}

/// Bytes that `total` become in frames.
pub(crate) fn framed(total: u64) -> u64 {
    total + 8 * total.div_ceil(PIECE as u64)
}

/// Reads to the end; returns how many bytes came.
pub(crate) fn drain(from: &mut (impl Read + ?Sized)) -> io::Result<u64> {
    let mut buffer = vec![0; CHUNK];
    let mut count = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(count),
            Ok(n) => count += n as u64,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Reads the rest of `body`, of which `early` has come already; what follows stays in `early`.
pub(crate) fn finish(
    from: &mut (impl Read + ?Sized),
    body: &mut Body,
    early: &mut Vec<u8>,
) -> io::Result<()> {
    let taken = body.feed(early)?;
    early.drain(..taken);
    let mut buffer = vec![0; CHUNK];
    while !body.is_done() {
        let n = from.read(&mut buffer)?;
        if n == 0 {
            return Err(bad("end inside a body"));
        }
        let taken = body.feed(&buffer[..n])?;
        early.extend_from_slice(&buffer[taken..n]);
    }
    Ok(())
}
