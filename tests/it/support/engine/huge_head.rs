//! An answer whose head never ends.

use super::Behaviour;

pub fn behaviour() -> Behaviour {
    Box::new(|wire| {
        wire.conn.head();
        let _ = wire.conn.try_send("HTTP/1.1 200 OK\r\n");
        let line = format!("X-Filler: {}\r\n", "x".repeat(4000));
        while wire.conn.try_send(&line).is_ok() {}
        wire.note("given up");
    })
}
