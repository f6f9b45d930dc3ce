//! An engine that refuses an upload as soon as it has seen the head, and closes: what the sender
//! writes from then on meets a closed socket.

use super::Behaviour;

pub const ANSWER: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n\
     Content-Length: 22\r\nConnection: close\r\n\r\n{\"message\":\"too soon\"}";

pub fn behaviour() -> Behaviour {
    Box::new(|wire| {
        wire.conn.head();
        wire.conn.send(ANSWER);
    })
}
