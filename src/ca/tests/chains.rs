//! Chains that a verifier must take, and chains that whoever has stolen an intermediate's key could sign.
//!
//! And the control: the same chains below an intermediate that has no constraints, which a verifier takes. It is
//! the constraints then that it refuses the others for.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, Issuer,
    SanType,
};
use rustls::pki_types::CertificateDer;

use super::super::certificates;
use super::super::key::P256Key;
use super::*;

pub(super) struct Chain {
    pub(super) name: &'static str,
    /// What a client connects to.
    pub(super) host: &'static str,
    pub(super) is_good: bool,
    /// The leaf first, without the root.
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) key: P256Key,
}

/// An intermediate, and where its revocation list is.
pub(super) struct Signer<'a> {
    intermediate: &'a CertifiedIssuer<'static, P256Key>,
    list_url: String,
}

pub(super) struct Control {
    pub(super) root: CertifiedIssuer<'static, P256Key>,
    pub(super) root_list: Vec<u8>,
    pub(super) intermediate_list: Vec<u8>,
    intermediate: CertifiedIssuer<'static, P256Key>,
}

const LISTED: &str = "packages.example.com";
/// What is wrong with these is a name, an address or an authority more.
const REFUSED_FOR_CONSTRAINTS: [&str; 9] = [
    "outside",
    "parent",
    "sibling",
    "wildcard",
    "one-of-two",
    "ipv4",
    "ipv6",
    "ip-beside",
    "third-authority",
];

impl Control {
    pub(super) fn new(now: SystemTime) -> Control {
        let validity = certificates::Validity::of_generation(now, LIFETIME).unwrap();
        let params = |name: &str| {
            let mut params = certificates::authority(name, validity, 0, &[]).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.name_constraints = None;
            params
        };
        let key = || P256Key::generate().unwrap();
        let root = CertifiedIssuer::self_signed(params("control root"), key()).unwrap();
        let below = certificates::issued(params("control"), "http://172.17.0.1/root.crl");
        let intermediate = CertifiedIssuer::signed_by(below, key(), &root).unwrap();
        let list = |issuer: &Issuer<'_, P256Key>| {
            certificates::empty_list(validity).unwrap().signed_by(issuer).unwrap().der().to_vec()
        };
        let (root_list, intermediate_list) = (list(&root), list(&intermediate));
        Control { root, root_list, intermediate_list, intermediate }
    }

    pub(super) fn chains(&self, now: SystemTime) -> Vec<Chain> {
        let list_url = "http://172.17.0.1/intermediate.crl".to_owned();
        let mut chains = all(&Signer { intermediate: &self.intermediate, list_url }, now);
        chains.retain(|chain| chain.is_good || REFUSED_FOR_CONSTRAINTS.contains(&chain.name));
        chains.iter_mut().for_each(|chain| chain.is_good = true);
        chains
    }
}

pub(super) fn of(generation: &Generation, now: SystemTime) -> Vec<Chain> {
    all(&signer(generation), now)
}

fn signer(generation: &Generation) -> Signer<'_> {
    let list_url = generation.intermediate_list_url.clone();
    Signer { intermediate: &generation.intermediate, list_url }
}

fn all(signer: &Signer, now: SystemTime) -> Vec<Chain> {
    let one = |name, host, is_good, sans: &[SanType]| {
        signed(signer, name, host, is_good, now, |params| {
            params.subject_alt_names = sans.to_vec();
        })
    };
    let ip = |text: &str| SanType::IpAddress(text.parse().unwrap());
    let outside = "other.example.org";
    let mut chains = vec![
        one("listed", LISTED, true, &[dns(LISTED)]),
        one("listed-2", "index.example.net", true, &[dns("index.example.net")]),
        // X.509 has no constraint to one name only.
        one("below", "a.packages.example.com", true, &[dns("a.packages.example.com")]),
        one("outside", outside, false, &[dns(outside)]),
        one("parent", "example.com", false, &[dns("example.com")]),
        one("sibling", "xpackages.example.com", false, &[dns("xpackages.example.com")]),
        one("wildcard", "b.example.com", false, &[dns("*.example.com")]),
        one("one-of-two", LISTED, false, &[dns(LISTED), dns(outside)]),
        one("ipv4", "192.0.2.1", false, &[ip("192.0.2.1")]),
        one("ipv6", "2001:db8::1", false, &[ip("2001:db8::1")]),
        one("ip-beside", LISTED, false, &[dns(LISTED), ip("192.0.2.1")]),
        signed(signer, "common-name", outside, false, now, |params| {
            params.subject_alt_names = Vec::new();
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, outside);
        }),
        signed(signer, "expired", LISTED, false, now, |params| {
            params.not_before = (now - HOUR).into();
            params.not_after = (now - HOUR / 2).into();
        }),
        signed(signer, "not-for-servers", LISTED, false, now, |params| {
            params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        }),
        below_a_third_authority(signer, now),
    ];
    let stranger = authority().current(now).unwrap();
    chains.push(signed(&self::signer(&stranger), "stranger", LISTED, false, now, |_| {}));
    chains
}

/// The intermediate has `pathlen:0`.
fn below_a_third_authority(signer: &Signer, now: SystemTime) -> Chain {
    let mut params = leaf_params(signer, now);
    params.subject_alt_names = Vec::new();
    params.distinguished_name.push(DnType::CommonName, "a third authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let key = P256Key::generate().unwrap();
    let third = CertifiedIssuer::signed_by(params, key, signer.intermediate).unwrap();
    let mut chain = signed_by(&third, "third-authority", LISTED, false, leaf_params(signer, now));
    chain.certificates.extend([third.der().clone(), signer.intermediate.der().clone()]);
    chain
}

fn signed(
    signer: &Signer,
    name: &'static str,
    host: &'static str,
    is_good: bool,
    now: SystemTime,
    change: impl FnOnce(&mut CertificateParams),
) -> Chain {
    let mut params = leaf_params(signer, now);
    change(&mut params);
    let mut chain = signed_by(signer.intermediate, name, host, is_good, params);
    chain.certificates.push(signer.intermediate.der().clone());
    chain
}

fn signed_by(
    issuer: &Issuer<'_, P256Key>,
    name: &'static str,
    host: &'static str,
    is_good: bool,
    params: CertificateParams,
) -> Chain {
    let key = P256Key::generate().unwrap();
    let leaf = params.signed_by(&key, issuer).unwrap();
    Chain { name, host, is_good, certificates: vec![leaf.into()], key }
}

/// As the product has them.
fn leaf_params(signer: &Signer, now: SystemTime) -> CertificateParams {
    let validity = certificates::Validity::of_generation(now, LIFETIME).unwrap();
    let validity = validity.of_leaf(now).unwrap();
    certificates::issued(certificates::leaf(LISTED, validity).unwrap(), &signer.list_url)
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}
