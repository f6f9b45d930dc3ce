//! A hijack for clients that send no `Upgrade` (dockerode, docker-java): `200 OK`, a raw stream
//! without a length, and an echo.

use super::{Behaviour, hijack_101};

pub const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n";

pub fn behaviour() -> Behaviour {
    Box::new(|wire| {
        hijack_101::take_over(wire, HEAD);
        hijack_101::echo(wire);
    })
}
