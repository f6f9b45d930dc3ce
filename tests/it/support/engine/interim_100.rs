//! Go's server: `100 Continue` when the handler first reads the body, and the answer behind it.

use super::Behaviour;
use crate::support::http::answer;
use crate::support::text;

pub fn behaviour() -> Behaviour {
    Box::new(|wire| {
        let head = wire.conn.head();
        if head.get("expect").is_some() {
            wire.conn.send("HTTP/1.1 100 Continue\r\n\r\n");
        }
        let body = wire.conn.request_body(&head);
        wire.conn.send(answer("200 OK", &format!("{{\"got\":\"{}\"}}", text(&body).len())));
        wire.conn.rest();
    })
}
