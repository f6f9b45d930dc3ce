//! dockerd's answer to an attach of a container that is not there: raw text without a length, and
//! the end of the connection (`postContainersAttach` in moby).

use super::Behaviour;

pub const ANSWER: &str = "HTTP/1.1 404 Not Found\r\nContent-Type: application/vnd.docker.raw-stream\
     \r\n\r\nNo such container: x\r\n";

pub fn behaviour() -> Behaviour {
    Box::new(|wire| {
        wire.conn.head();
        wire.conn.send(ANSWER);
    })
}
