//! The revocation lists of certificates that the cache shows in origins' places.
//!
//! `h1` asks of each request on a plain connection. They are for clients that look for them where the certificates
//! say that they are, and are nothing that is counted. What must stay true: no origin's URL is answered from here.

use std::net::IpAddr;
use std::sync::Arc;

use super::Caller;
use super::write::AfterReply;
use crate::cache::Cache;
use crate::cache::key::Scheme;
use crate::cache::target::host_key;
use crate::wire::buffer::Buffer;
use crate::wire::chunked::Dialect;
use crate::wire::framing::Framing;
use crate::wire::head::RequestHead;
use crate::wire::io::Writer;

pub(super) struct WantedList {
    list: Arc<[u8]>,
    to_head: bool,
    closes: bool,
}

/// The list that a head asks for, which is then taken from the buffer.
pub(super) fn asked_for(
    cache: &Cache,
    caller: &Caller,
    buffer: &mut Buffer,
    end: usize,
) -> Option<WantedList> {
    let interception = cache.interception.as_ref().filter(|_| caller.scheme == Scheme::Http)?;
    let raw = buffer.unread().get(..end)?;
    let path = raw.split(|byte| *byte == b' ').nth(1)?;
    let list = interception.crl(std::str::from_utf8(path).ok()?)?;
    let head = RequestHead::parse(raw).ok()?;
    let to_head = head.method() == "HEAD";
    let is_plain = (to_head || head.method() == "GET")
        && Framing::of_request(&head, Dialect::Strict).is_ok_and(|framing| framing.is_done());
    let mut hosts = head.headers.all("host");
    let is_ours = hosts.next().is_some_and(is_address) && hosts.next().is_none();
    if !is_plain || !is_ours {
        return None;
    }
    let closes = head.version == 0 || head.headers.lists("connection", "close");
    buffer.consume(end);
    Some(WantedList { list, to_head, closes })
}

pub(super) async fn answer(writer: &mut Writer<'_>, wanted: WantedList) -> AfterReply {
    let WantedList { list, to_head, closes } = wanted;
    let connection = if closes { "connection: close\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/pkix-crl\r\ncontent-length: {}\r\n{connection}\r\n",
        list.len()
    );
    let body = if to_head { &[] } else { &*list };
    match writer.write_two(head.as_bytes(), body).await {
        Ok(()) if !closes => AfterReply::Again,
        _ => AfterReply::Close,
    }
}

/// Ours, that is: where it is redirected to a port of another address, the connection does not say what it was.
fn is_address(host: &[u8]) -> bool {
    let key = std::str::from_utf8(host).ok().and_then(|host| host_key(host, Scheme::Http).ok());
    key.is_some_and(|key| {
        let name = key.rsplit_once(':').map_or(key.as_str(), |(name, port)| {
            if port.ends_with(']') { key.as_str() } else { name }
        });
        name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
    })
}
