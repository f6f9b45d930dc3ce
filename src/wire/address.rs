//! Which IP addresses are public (the IANA registries of special-purpose addresses, RFC 6890 and its updates).
//!
//! The caching proxy asks for each address that it connects to, the gateway for those of registries. Pure. What
//! must stay true: only what is known to be public passes, and an IPv4 address inside an IPv6 one is judged as
//! itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
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
