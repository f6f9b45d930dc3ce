//! Addresses that pass and that do not, each form of them.

use proptest::prelude::*;

use std::net::Ipv6Addr;

use super::*;

fn nobody() -> Guard {
    Guard::new(Vec::new())
}

fn permits(address: &str) -> bool {
    nobody().permits(address.parse().unwrap())
}

#[test]
fn public_addresses_pass() {
    for address in
        ["1.1.1.1", "100.63.255.255", "172.32.0.1", "192.0.1.1", "223.255.255.255", "2606:4700::1"]
    {
        assert!(permits(address), "{address}");
    }
}

#[test]
fn addresses_of_special_purpose_do_not() {
    for address in [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.9",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::2",
        "fe80::1",
        "fec0::1",
        "fc00::1",
        "fdff::1",
        "ff02::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "3fff::1",
        "5f00::1",
        "64:ff9b:1::a00:1",
        "4000::1",
    ] {
        assert!(!permits(address), "{address}");
    }
}

#[test]
fn an_inner_ipv4_address_is_judged() {
    for (outer, public) in [
        ("::ffff:10.0.0.1", false),
        ("::ffff:1.1.1.1", true),
        ("::10.0.0.1", false),
        ("64:ff9b::7f00:1", false),
        ("64:ff9b::101:101", true),
        ("2002:a00:1::1", false),
        ("2002:101:101::1", true),
        ("2606:4700::5efe:a9fe:a9fe", false),
        ("2606:4700::200:5efe:a9fe:a9fe", false),
    ] {
        assert_eq!(permits(outer), public, "{outer}");
    }
}

#[test]
fn a_network_that_is_allowed_passes_and_no_other() {
    let guard = Guard::new(vec!["10.1.0.0/16".parse().unwrap(), "fd00::/64".parse().unwrap()]);
    let permits = |address: &str| guard.permits(address.parse().unwrap());
    assert!(permits("10.1.2.3") && permits("::ffff:10.1.2.3") && permits("fd00::7"));
    assert!(!permits("10.2.0.1") && !permits("127.0.0.1") && !permits("fd00:1::7"));
    assert!(!permits("64:ff9b::a01:203"), "the way through NAT64 is not the network");
}

#[test]
fn names_for_a_proxy_are_no_numbers_in_disguise() {
    for (host, permitted) in [
        ("example.com", true),
        ("example.com.", true),
        ("1.1.1.1", true),
        ("[2606:4700::1]", true),
        ("10.0.0.1", false),
        ("[::1]", false),
        ("localhost", false),
        ("LOCALHOST.", false),
        ("a.localhost", false),
        ("127.1", false),
        ("2130706433", false),
        ("0x7f.1", false),
        ("0x7f000001", false),
        ("a.0X1", false),
        ("1.1.1.1.", false),
        ("x0.example.com", true),
    ] {
        assert_eq!(nobody().permits_name(host), permitted, "{host}");
    }
    let loopback = Guard::new(vec!["127.0.0.0/8".parse().unwrap()]);
    assert!(loopback.permits_name("localhost") && loopback.permits_name("127.0.0.1"));
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

proptest! {
    /// Against the list of networks.
    #[test]
    fn ipv4_as_by_the_registry(bits: u32) {
        let special = [
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
            "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
            "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        ];
        let address = IpAddr::V4(Ipv4Addr::from(bits));
        let public = !special.iter().any(|special| net(special).contains(&address));
        prop_assert_eq!(nobody().permits(address), public);
    }

    /// No IPv6 way around the judgement of an IPv4 address.
    #[test]
    fn every_form_of_a_private_address_is_refused(a in prop_oneof![Just(10u8), Just(127)], b: u8, c: u8, d: u8) {
        let v4 = Ipv4Addr::new(a, b, c, d);
        let [high, low] = [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
        let forms = [
            IpAddr::V4(v4),
            IpAddr::V6(v4.to_ipv6_mapped()),
            IpAddr::V6(v4.to_ipv6_compatible()),
            IpAddr::V6(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low)),
            IpAddr::V6(Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1)),
            IpAddr::V6(Ipv6Addr::new(0x2606, 1, 2, 3, 0, 0x5efe, high, low)),
        ];
        for form in forms {
            prop_assert!(!nobody().permits(form), "{}", form);
        }
    }

    #[test]
    fn only_global_unicast_passes(bits: u128) {
        let address = Ipv6Addr::from(bits);
        let mapped = address.to_ipv4_mapped().is_some();
        let nat64 = net("64:ff9b::/96").contains(&IpAddr::V6(address));
        if nobody().permits(IpAddr::V6(address)) {
            prop_assert!(net("2000::/3").contains(&IpAddr::V6(address)) || mapped || nat64);
        }
    }

    #[test]
    fn what_is_allowed_passes(bits: u32, length in 0u8..=32) {
        let address = IpAddr::V4(Ipv4Addr::from(bits));
        let guard = Guard::new(vec![IpNet::new(address, length).unwrap()]);
        prop_assert!(guard.permits(address));
    }
}
