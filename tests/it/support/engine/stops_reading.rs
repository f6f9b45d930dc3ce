//! An engine that takes the head of an upload and reads no further, until the test makes a file.

use std::path::PathBuf;

use super::Behaviour;
use crate::support::http::{answer, dechunk};
use crate::support::wait_until;

pub fn behaviour(go: PathBuf) -> Behaviour {
    Box::new(move |wire| {
        let head = wire.conn.head();
        wire.note("stopped");
        wait_until("the test's word", || go.exists());
        let body = wire.conn.request_body(&head);
        let length = if head.is_chunked() { dechunk(&body).len() } else { body.len() };
        wire.conn.send(answer("200 OK", &format!("{length}")));
        wire.conn.rest();
    })
}
