//! Which addresses an origin may have (against server-side request forgery).
//!
//! `dial` asks for each address after its name was resolved, and connects to that very address.
//! Pure. What must stay true: only what is known to be public passes, or is named.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::wire::address::is_public;

/// Judges addresses.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    allowed: Vec<IpNet>,
}

impl Guard {
    /// `allowed`: networks that pass although they are not public.
    pub(super) fn new(allowed: Vec<IpNet>) -> Guard {
        Guard { allowed }
    }

    pub(super) fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allowed.iter().any(|network| network.contains(&address)) || is_public(address)
    }

    /// Whether a name may be given to a proxy, which resolves it where we cannot see it. Names that
    /// mean the machine itself or are numbers in disguise (`127.1`, `0x7f.1`) do not pass.
    pub(super) fn permits_name(&self, host: &str) -> bool {
        if let Ok(address) = bare(host).parse::<IpAddr>() {
            return self.permits(address);
        }
        let name = host.trim_end_matches('.');
        let last = name.rsplit('.').next().unwrap_or_default();
        let local = last.eq_ignore_ascii_case("localhost");
        let digits = last.bytes().all(|byte| byte.is_ascii_digit());
        let hexadecimal = last.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("0x"));
        match local {
            true => self.permits(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            false => !digits && !hexadecimal,
        }
    }
}

/// `::1` of `[::1]`.
pub(super) fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests;
