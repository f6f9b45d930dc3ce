//! An answer whose body ends with the connection.

use super::Behaviour;

pub fn behaviour() -> Behaviour {
    Box::new(|wire| {
        wire.conn.head();
        wire.conn.send("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil ");
        wire.conn.send("the end");
    })
}
