//! Another protocol than HTTP on an intercepted connection, as of a websocket: its client gets the origin itself.
//!
//! `front::h1` asks of each request on such a connection. What must stay true: the origin is the one that the
//! handshake was for, verified as for any other question; what the client said goes there as it came.

use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;

use crate::cache::front::{Caller, tunnel};
use crate::cache::key::Scheme;
use crate::cache::stats::Outcome;
use crate::cache::upstream::Fault;
use crate::cache::{Cache, request};
use crate::wire::buffer::Buffer;
use crate::wire::head::RequestHead;
use crate::wire::io::{Reader, Writer};

/// Whether a request asks for another protocol. Not HTTP/2: clients offer that to whoever may know it.
pub(in crate::cache) fn is_wanted(head: &RequestHead) -> bool {
    let wants = |name: &[u8]| !name.is_empty() && !name.to_ascii_lowercase().starts_with(b"h2");
    head.headers.lists("connection", "upgrade") && head.headers.tokens("upgrade").any(wants)
}

/// The connection is the origin's from here on, to its end; an error where it cannot be asked. How many bytes of the origin the
/// client was sent.
pub(in crate::cache) async fn run(
    cache: &Arc<Cache>,
    caller: &Caller,
    host: &str,
    head: &[u8],
    (reader, writer, buffer): (&mut Reader<'_>, &mut Writer<'_>, &mut Buffer),
) -> Result<u64, request::Refusal> {
    let failed = |fault: &Fault| request::Refusal::new(fault.status(), &fault.to_string());
    if cache.settings.offline {
        let why = "offline: no origin is asked";
        return Err(request::Refusal::new(http::StatusCode::GATEWAY_TIMEOUT, why));
    }
    let source = cache.source(Scheme::Https, host);
    let mut through = cache.upstream.speak(&source).await.map_err(|fault| {
        cache.origin_failed(host, &fault);
        failed(&fault)
    })?;
    let account = cache.stats.account(host, &caller.tenant, Outcome::Passed);
    account.asked();
    let mut sent = 0;
    if through.write_all(head).await.is_ok() {
        sent = tunnel::copy(reader, writer, buffer, through, &account).await;
    }
    account.close(sent);
    Ok(sent)
}
