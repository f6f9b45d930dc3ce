//! An engine that takes a connection and says nothing on it, ever.

use super::Behaviour;

pub fn behaviour() -> Behaviour {
    Box::new(|wire| {
        wire.note("asked");
        wire.conn.rest();
        wire.note("left");
    })
}
