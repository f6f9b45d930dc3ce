//! An engine that is killed while it writes the body of its answer; `/events` chunked, others by
//! length.

use super::Behaviour;

pub fn behaviour() -> Behaviour {
    Box::new(|wire| {
        let head = wire.conn.head();
        wire.conn.send(match head.path() {
            "/events" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nfirst",
        });
    })
}
