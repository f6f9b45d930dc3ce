//! An engine that is killed while it writes the head of its answer.

use super::Behaviour;

pub fn behaviour() -> Behaviour {
    Box::new(|wire| {
        wire.conn.head();
        wire.conn.send("HTTP/1.1 200 OK\r\nContent-Le");
    })
}
