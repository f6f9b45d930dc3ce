//! A build: the answer begins before the context has come, and ends with how much of it came.

use super::Behaviour;
use crate::support::http::{chunk, dechunk};

pub fn behaviour() -> Behaviour {
    Box::new(|wire| {
        let head = wire.conn.head();
        wire.conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        wire.conn.send(chunk(b"{\"stream\":\"begun\"}\r\n"));
        let body = wire.conn.request_body(&head);
        let length = if head.is_chunked() { dechunk(&body).len() } else { body.len() };
        wire.conn.send(chunk(format!("{{\"aux\":{length}}}\r\n").as_bytes()));
        wire.conn.send("0\r\n\r\n");
        wire.conn.rest();
    })
}
