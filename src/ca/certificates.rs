//! What stands in the certificates and revocation lists of a generation. Pure: parameters, no key.
//!
//! `generation` signs them. What must stay true: dates nest, every certificate has key identifiers and a random
//! serial number, and nothing of rcgen's defaults (which are valid since 1975) is left in one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CidrSubnet,
    CrlDistributionPoint, DistinguishedName, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    KeyIdMethod, KeyUsagePurpose, NameConstraints, SanType, SerialNumber,
};

use super::AuthorityError;

/// Clocks of containers' hosts may be behind ours.
pub(super) const BACKDATED: Duration = Duration::from_secs(60 * 60);
const LEAF_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// The year 2200.
const LAST_SECOND: u64 = 7_258_118_400;

/// From and until when, in whole seconds, as certificates have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
}

impl Validity {
    pub(super) fn of_generation(
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<Validity, AuthorityError> {
        let since_1970 = now.duration_since(UNIX_EPOCH).map_err(|_| AuthorityError::Clock)?;
        let second = since_1970.as_secs();
        if !(BACKDATED.as_secs()..LAST_SECOND).contains(&second) {
            return Err(AuthorityError::Clock);
        }
        let at = |second: u64| UNIX_EPOCH.checked_add(Duration::from_secs(second));
        let not_before = at(second.saturating_sub(BACKDATED.as_secs()));
        let not_after = at(second.saturating_add(lifetime.as_secs()));
        let (Some(not_before), Some(not_after)) = (not_before, not_after) else {
            return Err(AuthorityError::Clock);
        };
        Ok(Validity { not_before, not_after })
    }

    /// Of a leaf that is made now: inside of the generation's, whatever the clock has done meanwhile.
    pub(super) fn of_leaf(self, now: SystemTime) -> Option<Validity> {
        let not_before = now.checked_sub(BACKDATED)?.max(self.not_before);
        let not_after = not_before.checked_add(LEAF_LIFETIME)?.min(self.not_after);
        (not_before < not_after).then_some(Validity { not_before, not_after })
    }

    pub(super) fn contains(self, now: SystemTime) -> bool {
        self.not_before <= now && now < self.not_after
    }
}

/// Of an authority: `name` tells one generation's from another's, or a verifier would take the wrong one's key
/// and complain of a bad signature.
pub(super) fn authority(
    name: &str,
    validity: Validity,
    most_below: u8,
    domains: &[String],
) -> Result<CertificateParams, AuthorityError> {
    let mut params = dated(validity)?;
    params.distinguished_name.push(DnType::OrganizationName, "dockgate");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(most_below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(constraints(domains));
    Ok(params)
}

/// The name stands in the alternative name only, as verifiers have wanted it for years.
pub(super) fn leaf(domain: &str, validity: Validity) -> Result<CertificateParams, AuthorityError> {
    let mut params = dated(validity)?;
    let name = domain.try_into().map_err(|_| AuthorityError::Domain(domain.to_owned()))?;
    params.subject_alt_names = vec![SanType::DnsName(name)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

/// Whoever signed this says at `url` what has been revoked. .NET takes no certificate without.
pub(super) fn issued(mut params: CertificateParams, url: &str) -> CertificateParams {
    params.use_authority_key_identifier_extension = true;
    params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![url.to_owned()] }];
    params
}

/// Nothing is revoked: a generation ends soon, and what is wrong with one is ended with it. Never out of date
/// before that.
pub(super) fn empty_list(
    validity: Validity,
) -> Result<CertificateRevocationListParams, AuthorityError> {
    let next_update = validity.not_after.checked_add(BACKDATED).ok_or(AuthorityError::Clock)?;
    Ok(CertificateRevocationListParams {
        this_update: validity.not_before.into(),
        next_update: next_update.into(),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    })
}

fn dated(validity: Validity) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = validity.not_before.into();
    params.not_after = validity.not_after.into();
    params.serial_number = Some(serial_number()?);
    Ok(params)
}

/// Positive, and always as long.
fn serial_number() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| rcgen::Error::RingUnspecified)?;
    let [first, ..] = &mut bytes;
    *first = (*first & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// The domains, and no address: a constraint to DNS names says nothing of others.
fn constraints(domains: &[String]) -> NameConstraints {
    NameConstraints {
        permitted_subtrees: domains.iter().cloned().map(GeneralSubtree::DnsName).collect(),
        excluded_subtrees: vec![
            GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])),
            GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])),
        ],
    }
}
