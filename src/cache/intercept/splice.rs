//! A client's TLS, passed on to the origin that it names, byte for byte.
//!
//! `InterceptListener::connection` comes here with a host that the cache is for. What must stay true: the way is
//! the one that the cache would go (`origins`, proxies, the guard of addresses); each end of a direction is
//! passed on; when one direction has ended the other one is not kept for ever.

use std::sync::Arc;

use http::StatusCode;

use super::Interception;
use crate::cache::Cache;
use crate::cache::front::tunnel;
use crate::cache::key::Scheme;
use crate::cache::served::{Asking, ServedRequest};
use crate::cache::stats::Outcome;
use crate::cache::upstream::Fault;
use crate::wire::buffer::Buffer;
use crate::wire::io::Stream;

pub(super) async fn run(
    cache: &Arc<Cache>,
    interception: &Interception,
    mut stream: Stream,
    host: &str,
    tenant: &str,
    asking: &Asking,
) {
    let served = ServedRequest::begin(cache, asking);
    let served = served.map(|served| served.tunnels("CacheSplice", &format!("{host}:443")));
    let source = cache.source(Scheme::Https, host);
    let way = match (cache.settings.offline, source.scheme) {
        (true, _) => Err(None),
        // What is said is for TLS.
        (false, Scheme::Http) => Err(Some(Fault::Tls {
            host: source.host.clone(),
            why: "`origins` leads to an `http://` origin".to_owned(),
        })),
        (false, Scheme::Https) => cache.upstream.tunnel_to(&source).await.map_err(Some),
    };
    let (from, through) = match way {
        Ok(through) => through,
        Err(fault) => {
            cache.stats.account(host, tenant, Outcome::Failed).close(0);
            if let Some(served) = served {
                served.ended(StatusCode::BAD_GATEWAY, Outcome::Failed, 0);
            }
            if let Some(fault) = fault {
                cache.origin_failed(host, &fault);
            }
            return super::say_and_close(stream, &super::alert(super::INTERNAL_ERROR)).await;
        }
    };
    let _own = interception.way(from);
    let account = cache.stats.account(host, tenant, Outcome::Passed);
    account.asked();
    let (mut reader, mut writer) = stream.split();
    writer.be_patient(tunnel::TAKES_NOTHING);
    let mut buffer = Buffer::new();
    let sent = tunnel::copy(&mut reader, &mut writer, &mut buffer, through, &account).await;
    account.close(sent);
    if let Some(served) = served {
        served.ended(StatusCode::OK, Outcome::Passed, sent);
    }
}
