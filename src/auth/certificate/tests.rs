//! Certificates as no ordinary authority makes them.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, KeyPair, SanType,
};

use super::*;

const CN: [u64; 4] = [2, 5, 4, 3];
const OU: [u64; 4] = [2, 5, 4, 11];

/// Several attributes of one kind are several kinds to rcgen: only some of their numbers differ.
fn subject_of(values: &[(DnType, DnValue)]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    values.iter().for_each(|(kind, value)| name.push(kind.clone(), value.clone()));
    name
}

fn certificate(subject: &[(DnType, DnValue)], sans: Vec<SanType>) -> CertificateDer<'static> {
    custom(subject, sans, Vec::new())
}

fn custom(
    subject: &[(DnType, DnValue)],
    sans: Vec<SanType>,
    custom_extensions: Vec<CustomExtension>,
) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject_of(subject);
    params.subject_alt_names = sans;
    params.custom_extensions = custom_extensions;
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
}

fn utf8(text: &str) -> DnValue {
    DnValue::Utf8String(text.to_owned())
}

fn cn(text: &str) -> (DnType, DnValue) {
    (DnType::CommonName, utf8(text))
}

fn read(name: CertificateName, leaf: &CertificateDer<'_>) -> Result<(String, Vec<String>), String> {
    let who = Certificate::new(name).read(leaf);
    who.map(|who| (who.user, who.groups)).map_err(Cow::into_owned)
}

fn by_cn(subject: &[(DnType, DnValue)]) -> Result<(String, Vec<String>), String> {
    read(CertificateName::Cn, &certificate(subject, Vec::new()))
}

#[test]
fn the_user_is_the_one_common_name_and_the_groups_are_the_units_in_order() {
    let ou = |kind, text| (kind, utf8(text));
    let subject = [
        ou(DnType::OrganizationalUnitName, "ci"),
        cn("ann"),
        ou(DnType::CustomDnType(OU.to_vec()), "admins"),
        (DnType::OrganizationName, utf8("Example")),
    ];
    assert_eq!(by_cn(&subject), Ok(("ann".into(), vec!["ci".into(), "admins".into()])));
    let printable = (DnType::CommonName, DnValue::PrintableString("ann b".try_into().unwrap()));
    assert_eq!(by_cn(&[printable]), Ok(("ann b".into(), vec![])));
}

#[test]
fn a_common_name_with_two_readings_is_refused() {
    let second = (DnType::CustomDnType(CN.to_vec()), utf8("root"));
    let long = "x".repeat(257);
    let teletex = DnValue::TeletexString("ann".try_into().unwrap());
    let bmp = DnValue::BmpString("ann".try_into().unwrap());
    let universal = DnValue::UniversalString("ann".try_into().unwrap());
    for subject in [
        vec![],
        vec![(DnType::OrganizationName, utf8("ann"))],
        vec![cn("ann"), second.clone()],
        vec![cn("root"), second],
        vec![cn("")],
        vec![cn(" ")],
        vec![cn("ann ")],
        vec![cn("root\0.example.com")],
        vec![cn("ann\n")],
        vec![cn("ann\u{7f}")],
        vec![cn("ann\u{202e}toor")],
        vec![cn("a\u{200b}nn")],
        vec![cn(&long)],
        vec![(DnType::CommonName, teletex)],
        vec![(DnType::CommonName, bmp)],
        vec![(DnType::CommonName, universal)],
        vec![cn("ann"), (DnType::OrganizationalUnitName, utf8(""))],
        vec![cn("ann"), (DnType::OrganizationalUnitName, utf8("a\0b"))],
    ] {
        assert!(by_cn(&subject).is_err(), "{subject:?}");
    }
    assert!(by_cn(&[cn(&"x".repeat(256))]).is_ok());
    assert!(by_cn(&[cn("J\u{f6}rg \u{5c71}")]).is_ok());
}

#[test]
fn an_alternative_name_is_the_only_one_of_its_kind() {
    let email = |text: &str| SanType::Rfc822Name(text.try_into().unwrap());
    let dns = |text: &str| SanType::DnsName(text.try_into().unwrap());
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    let ip = SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let all = vec![email("ann@a.example"), ip.clone(), dns("a.example"), uri("spiffe://a/ann")];
    let leaf = certificate(&[cn("other")], all);
    for (name, user) in [
        (CertificateName::SanEmail, "ann@a.example"),
        (CertificateName::SanDns, "a.example"),
        (CertificateName::SanUri, "spiffe://a/ann"),
        (CertificateName::Cn, "other"),
    ] {
        assert_eq!(read(name, &leaf), Ok((user.into(), vec![])));
    }
    for (name, sans) in [
        (CertificateName::SanEmail, vec![]),
        (CertificateName::SanEmail, vec![dns("a@b.example")]),
        (CertificateName::SanEmail, vec![email("a@b.example"), email("c@b.example")]),
        (CertificateName::SanEmail, vec![email("")]),
        (CertificateName::SanDns, vec![ip]),
        (CertificateName::SanDns, vec![dns("a.example\0.evil.example")]),
        (CertificateName::SanDns, vec![dns("a.example"), uri("x:y"), dns("a.example")]),
        (CertificateName::SanUri, vec![uri(&"u".repeat(257))]),
    ] {
        assert!(read(name, &certificate(&[cn("ann")], sans.clone())).is_err(), "{sans:?}");
    }
}

#[test]
fn alternative_names_that_cannot_be_read_are_refused() {
    let san = [2, 5, 29, 17];
    let extension = |content: &[u8]| {
        let mut der = vec![0x30, u8::try_from(content.len()).unwrap()];
        der.extend(content);
        CustomExtension::from_oid_content(&san, der)
    };
    let dns_a = [0x82, 1, b'a'];
    for (extensions, is_fine) in [
        (vec![extension(&dns_a)], true),
        // The extension twice.
        (vec![extension(&dns_a), extension(&dns_a)], false),
        // Beside a good one, one that is not UTF-8; and one that is not ASCII alone.
        (vec![extension(&[0x82, 1, b'a', 0x82, 1, 0xff])], false),
        (vec![extension(&[0x82, 2, 0xc3, 0xa9])], false),
        (vec![extension(&[0x82, 9, b'a'])], false),
        (vec![CustomExtension::from_oid_content(&san, vec![0x04, 1, b'a'])], false),
    ] {
        let leaf = custom(&[cn("ann")], Vec::new(), extensions);
        assert_eq!(read(CertificateName::SanDns, &leaf).is_ok(), is_fine);
    }
}

#[test]
fn a_subject_is_written_as_rfc_4514_says() {
    let of = |values: &[(DnType, DnValue)]| subject(&certificate(values, Vec::new())).unwrap();
    let o = |text| (DnType::OrganizationName, utf8(text));
    assert_eq!(of(&[o("Example, Inc."), cn("ann")]), r"CN=ann,O=Example\, Inc.");
    assert_eq!(of(&[cn(" #a+b\\\"<>;\0 ")]), r#"CN=\ #a\+b\\\"\<\>\;\00\ "#);
    assert_eq!(of(&[cn("#x")]), r"CN=\#x");
    assert_eq!(of(&[]), "");
    let email = (DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]), utf8("a@b"));
    assert_eq!(of(&[email]), "1.2.840.113549.1.9.1=#0c03614062");
    let bmp = DnValue::BmpString("a".try_into().unwrap());
    assert_eq!(of(&[(DnType::CommonName, bmp)]), "CN=#1e020061");
    assert_eq!(subject(&CertificateDer::from(vec![0x30, 0])), None);
}

#[tokio::test]
async fn a_caller_without_a_certificate_is_left_to_the_next() {
    use crate::auth::{Caller, Peer};
    use crate::wire::head::Lines;
    let decide = async |certificates| {
        let caller = Caller::new(Peer::Unknown, certificates);
        let headers = Lines::default();
        let asking =
            Asking { listener: "l", caller: &caller, headers: &headers, authorization: None };
        Certificate::new(CertificateName::Cn).decide(asking).await
    };
    assert!(matches!(decide(vec![]).await, Outcome::Absent));
    // The leaf counts, whatever was sent with it.
    let (ann, nobody) = (certificate(&[cn("ann")], vec![]), certificate(&[], vec![]));
    let found = decide(vec![ann.clone(), nobody.clone()]).await;
    assert!(matches!(found, Outcome::Recognised(who) if who.user == "ann"));
    assert!(matches!(decide(vec![nobody, ann]).await, Outcome::Refused(_)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_user_is_always_what_was_certified(name in "\\PC{0,40}|.{0,300}") {
        match by_cn(&[cn(&name)]) {
            Ok((user, _)) => prop_assert!(user == name && is_name(&user)),
            Err(_) => prop_assert!(!is_name(&name)),
        }
    }

    #[test]
    fn no_bytes_panic(at in 0_usize..300, byte: u8, cut in 0_usize..1000) {
        let mut bytes = certificate(&[cn("ann")], vec![]).to_vec();
        if let Some(place) = bytes.get_mut(at) { *place = byte; }
        bytes.truncate(cut);
        let der = CertificateDer::from(bytes);
        let _ = (read(CertificateName::Cn, &der), read(CertificateName::SanUri, &der), subject(&der));
    }
}
