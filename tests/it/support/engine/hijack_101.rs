//! A hijack as dockerd does it for clients that send `Upgrade`: `101 UPGRADED`, then an echo until
//! the client's end, then its own.
//!
//! Notes `early` when any byte came behind the request before the 101 was written.

use std::time::Duration;

use super::{Behaviour, Wire};

pub const HEAD: &str = "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\
     \r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
/// Long enough for bytes that a gateway would send too early.
pub const PAUSE: Duration = Duration::from_millis(150);

pub fn behaviour() -> Behaviour {
    Box::new(|wire| {
        take_over(wire, HEAD);
        echo(wire);
    })
}

/// Reads the request, watches for what must not come, and writes the head.
pub fn take_over(wire: &mut Wire, answer: &str) {
    let head = wire.conn.head();
    wire.conn.request_body(&head);
    if !wire.conn.is_quiet(PAUSE) {
        wire.note("early");
    }
    wire.conn.send(answer);
}

/// Sends back what comes, to the end.
pub fn echo(wire: &mut Wire) {
    loop {
        let block = wire.conn.some();
        if block.is_empty() {
            break;
        }
        if wire.conn.try_send(&block).is_err() {
            wire.note("nobody listens");
            break;
        }
    }
    wire.note("input ended");
    wire.conn.end_writing();
}
