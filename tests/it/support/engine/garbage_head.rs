//! Something that is not an engine: it speaks, but not HTTP.

use super::Behaviour;

pub fn behaviour() -> Behaviour {
    Box::new(|wire| {
        wire.conn.head();
        wire.conn.send("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\r\n");
        wire.conn.rest();
    })
}
