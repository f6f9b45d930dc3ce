//! What the program is asked: all that is known of the caller, and nothing of what the call wants.
//!
//! What must stay true: of headers only names, but for the one credential that the program judges.

use std::borrow::Cow;
use std::net::IpAddr;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use serde::Serialize;

use crate::auth::{Asking, Peer, certificate};

const VERSION: u8 = 1;

#[derive(Serialize)]
pub(super) struct Question<'a> {
    version: u8,
    listener: &'a str,
    peer: PeerOrigin<'a>,
    certificate: Option<Certificate>,
    headers: Vec<Cow<'a, str>>,
    authorization: Option<&'a str>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum PeerOrigin<'a> {
    Unix {
        uid: u32,
        gid: u32,
        pid: Option<i32>,
        container: Option<&'a str>,
    },
    /// Without the port: every connection has another one.
    Tcp {
        address: IpAddr,
    },
    Unknown,
}

#[derive(Serialize)]
struct Certificate {
    /// RFC 4514; null for one that cannot be read.
    subject: Option<String>,
    sha256: String,
}

impl<'a> Question<'a> {
    pub(super) fn of(asking: &Asking<'a>) -> Question<'a> {
        let caller = asking.caller;
        let peer = match caller.peer {
            Peer::Unix { uid, gid, pid } => {
                PeerOrigin::Unix { uid, gid, pid, container: caller.container() }
            }
            Peer::Tcp(at) => PeerOrigin::Tcp { address: at.ip().to_canonical() },
            Peer::Unknown => PeerOrigin::Unknown,
        };
        Question {
            version: VERSION,
            listener: asking.listener,
            peer,
            certificate: caller.certificates.first().map(Certificate::of),
            headers: asking.headers.iter().map(|(name, _)| String::from_utf8_lossy(name)).collect(),
            authorization: asking.authorization.map(|authorization| authorization.value()),
        }
    }

    pub(super) fn render(&self) -> Vec<u8> {
        // Nothing in it can fail to be written; the program would not understand an empty question.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl Certificate {
    fn of(leaf: &CertificateDer<'_>) -> Certificate {
        let hash = digest(&SHA256, leaf);
        let sha256 = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Certificate { subject: certificate::subject(leaf), sha256 }
    }
}
