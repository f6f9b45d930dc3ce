//! A stream of events, each flushed as one chunk; the next one only when the client says so, through
//! `go` files that the test makes. Ends with a trailer.

use std::path::PathBuf;

use super::Behaviour;
use crate::support::http::chunk;
use crate::support::wait_until;

pub const HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
pub const END: &str = "0\r\nX-Stream-Error: none\r\n\r\n";

/// Event `n` is written once the file `n` is in this folder; the last one ends the stream.
pub fn behaviour(go: PathBuf, events: usize) -> Behaviour {
    Box::new(move |wire| {
        wire.conn.head();
        wire.conn.send(HEAD);
        for n in 0..events {
            wait_until("the test's word", || go.join(n.to_string()).exists());
            let _ = wire.conn.try_send(chunk(&event(n)));
        }
        let _ = wire.conn.try_send(END);
        wire.conn.rest();
        wire.note("left");
    })
}

pub fn event(n: usize) -> Vec<u8> {
    format!("{{\"event\":{n}}}\n").into_bytes()
}
