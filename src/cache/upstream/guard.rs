//! Which addresses an origin may have (against server-side request forgery).
//!
//! `dial` asks for each address after its name was resolved, and connects to that very address.
//! Pure. What must stay true: only what is known to be public passes, and an IPv4 address inside an
//! IPv6 one is judged as itself. The networks are those of the IANA registries of special-purpose
//! addresses (RFC 6890 and its updates).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

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

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127, ..]                  // this network, private, loopback
            | [100, 64..=127, ..]           // shared by carriers
            | [169, 254, ..]                // link-local, with metadata services of clouds
            | [172, 16..=31, ..]            // private
            | [192, 0, 0 | 2, _]            // protocols, documentation
            | [192, 88, 99, _]              // relays of 6to4
            | [192, 168, ..]                // private
            | [198, 18 | 19, ..]            // benchmarks
            | [198, 51, 100, _]             // documentation
            | [203, 0, 113, _]              // documentation
            | [224..=255, ..] // multicast, reserved, broadcast
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let embedded = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        // NAT64 (RFC 6052): the IPv4 address that is meant.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => is_public_v4(embedded(high, low)),
        // 6to4 (RFC 3056): the IPv4 address of the router that it goes to.
        [0x2002, high, low, ..] => is_public_v4(embedded(high, low)),
        // ISATAP (RFC 5214), under any prefix.
        [.., 0 | 0x200, 0x5efe, high, low] if !is_public_v4(embedded(high, low)) => false,
        // Teredo, ORCHID and others of the IETF; documentation.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] => false,
        [0x3fff, 0..=0xfff, ..] => false,
        // What is given out for use in public. Loopback, link-local, local, multicast and the rest are
        // outside.
        [0x2000..=0x3fff, ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
