//! An answer shorter than it says, on a connection that ends.

use super::Behaviour;

pub fn behaviour() -> Behaviour {
    Box::new(|wire| {
        wire.conn.head();
        wire.conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort");
    })
}
