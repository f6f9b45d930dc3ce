//! A generation: a root whose key is gone, the intermediate that signs for it, and the leaves.
//!
//! `Authority` begins one and keeps it until its end; interception asks it for leaves. What must stay true: the
//! root's key lives within `begin`; the intermediate's is in memory only, and signs leaves for listed names.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use quick_cache::sync::Cache;
use rcgen::{CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose};
use rustls::pki_types::DnsName;
use rustls::sign::CertifiedKey;

use super::certificates::{self, Validity};
use super::key::P256Key;
use super::{AuthorityError, AuthoritySettings};

/// The path of every revocation list's URL begins with it.
pub(super) const CRL_FOLDER: &str = "/.dockgate/crl/";
const ROOT_LIST: &str = "root.crl";
const INTERMEDIATE_LIST: &str = "intermediate.crl";

const LIFETIMES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(2)..=Duration::from_secs(90 * 24 * 60 * 60);
/// Each handshake sends it, and Java takes no message of more than 32 KiB (`jdk.tls.maxHandshakeMessageSize`); Go and
/// rustls 64 KiB, OpenSSL 100 KiB.
const LONGEST_INTERMEDIATE: usize = 28 * 1024;
const LONGEST_ADDRESS: usize = 256;
/// Each holds a copy of the intermediate, whose length grows with the domains.
const MOST_LEAVES: usize = 512;

/// One root and what is signed below it.
pub struct Generation {
    id: String,
    domains: HashSet<String>,
    validity: Validity,
    /// Until when new containers get this one.
    half_life: SystemTime,
    root_der: Vec<u8>,
    root_pem: String,
    root_list: Arc<[u8]>,
    pub(super) intermediate: CertifiedIssuer<'static, P256Key>,
    intermediate_list: Arc<[u8]>,
    pub(super) intermediate_list_url: String,
    leaves: Cache<String, Leaf>,
}

#[derive(Clone)]
struct Leaf {
    key: Arc<CertifiedKey>,
    /// In which it is given out.
    fresh: Validity,
}

impl Generation {
    pub(super) fn begin(
        settings: &AuthoritySettings,
        now: SystemTime,
    ) -> Result<Generation, AuthorityError> {
        check(settings)?;
        let domains = &settings.domains;
        let validity = Validity::of_generation(now, settings.lifetime)?;
        let half_life = now.checked_add(settings.lifetime / 2).ok_or(AuthorityError::Clock)?;

        let root_key = P256Key::generate()?;
        let name = short_id(&CertificateParams::default().key_identifier(&root_key));
        let params =
            certificates::authority(&format!("dockgate cache root {name}"), validity, 1, domains)?;
        let root = CertifiedIssuer::self_signed(params, root_key)?;
        let id = short_id(digest(&SHA256, root.der()).as_ref());
        let folder = format!("{}{CRL_FOLDER}{id}/", settings.crl_base);
        let name = format!("dockgate cache intermediate {name}");
        let mut params = certificates::authority(&name, validity, 0, domains)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let params = certificates::issued(params, &format!("{folder}{ROOT_LIST}"));
        let intermediate = CertifiedIssuer::signed_by(params, P256Key::generate()?, &root)?;
        if intermediate.der().len() > LONGEST_INTERMEDIATE {
            return Err(AuthorityError::TooManyDomains(domains.len()));
        }
        let root_list = certificates::empty_list(validity)?.signed_by(&root)?;
        let intermediate_list = certificates::empty_list(validity)?.signed_by(&intermediate)?;
        let (root_der, root_pem) = (root.der().to_vec(), root.pem());
        // Its key has signed all that it ever will, and nobody else has it.
        drop(root);

        Ok(Generation {
            id,
            domains: domains.iter().cloned().collect(),
            validity,
            half_life,
            root_der,
            root_pem,
            root_list: root_list.der().to_vec().into(),
            intermediate_list: intermediate_list.der().to_vec().into(),
            intermediate_list_url: format!("{folder}{INTERMEDIATE_LIST}"),
            intermediate,
            leaves: Cache::new(domains.len().clamp(16, MOST_LEAVES)),
        })
    }

    /// 16 hexadecimal digits of the root's SHA-256.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    pub fn root_der(&self) -> &[u8] {
        &self.root_der
    }

    /// From then on no certificate of it is valid.
    pub fn ends(&self) -> SystemTime {
        self.validity.not_after
    }

    /// A certificate for the name with its key, and the intermediate's. `None` for a name that is not listed,
    /// and at a time when no certificate of this generation is valid. The first one of a name costs
    /// two signatures' time (some 100 µs).
    pub fn leaf(&self, server_name: &str, now: SystemTime) -> Option<Arc<CertifiedKey>> {
        let name = server_name.to_ascii_lowercase();
        if !self.domains.contains(&name) || !self.validity.contains(now) {
            return None;
        }
        if let Some(leaf) = self.leaves.get(&name).filter(|leaf| leaf.fresh.contains(now)) {
            return Some(leaf.key);
        }
        let leaf = self.mint(&name, now)?;
        self.leaves.insert(name, leaf.clone());
        Some(leaf.key)
    }

    pub(super) fn is_in_first_half(&self, now: SystemTime) -> bool {
        self.validity.not_before <= now && now < self.half_life
    }

    pub(super) fn crl(&self, name: &str) -> Option<Arc<[u8]>> {
        match name {
            ROOT_LIST => Some(self.root_list.clone()),
            INTERMEDIATE_LIST => Some(self.intermediate_list.clone()),
            _ => None,
        }
    }

    fn mint(&self, name: &str, now: SystemTime) -> Option<Leaf> {
        let validity = self.validity.of_leaf(now)?;
        let params = certificates::leaf(name, validity).ok()?;
        let params = certificates::issued(params, &self.intermediate_list_url);
        let key = P256Key::generate().ok()?;
        let certificate = params.signed_by(&key, &self.intermediate).ok()?;
        let chain = vec![certificate.into(), self.intermediate.der().clone()];
        let mut fresh = validity;
        // The last ones of a generation end with it, and no other would be good for longer.
        if validity.not_after < self.validity.not_after {
            fresh.not_after = now.checked_add(validity.not_after.duration_since(now).ok()? / 2)?;
        }
        Some(Leaf { key: Arc::new(CertifiedKey::new(chain, Arc::new(key))), fresh })
    }

    #[cfg(test)]
    pub(super) fn mint_for_test(&self, name: &str, now: SystemTime) -> Arc<CertifiedKey> {
        self.mint(name, now).unwrap().key
    }
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generation")
            .field("id", &self.id)
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

fn check(settings: &AuthoritySettings) -> Result<(), AuthorityError> {
    if settings.domains.is_empty() {
        return Err(AuthorityError::NoDomains);
    }
    settings.domains.iter().try_for_each(|domain| check_domain(domain))?;
    if !LIFETIMES.contains(&settings.lifetime) {
        return Err(AuthorityError::Lifetime(settings.lifetime));
    }
    let base = &settings.crl_base;
    let host = base.strip_prefix("http://").filter(|host| !host.is_empty());
    match host {
        Some(host)
            if base.len() <= LONGEST_ADDRESS && host.bytes().all(|b| b.is_ascii_graphic()) =>
        {
            Ok(())
        }
        _ => Err(AuthorityError::RevocationAddress(base.clone())),
    }
}

fn check_domain(domain: &str) -> Result<(), AuthorityError> {
    let wrong = || AuthorityError::Domain(domain.to_owned());
    let is_address = domain.parse::<std::net::IpAddr>().is_ok();
    if is_address || domain.ends_with('.') || DnsName::try_from(domain).is_err() {
        return Err(wrong());
    }
    let suffix = psl::suffix(domain.as_bytes()).ok_or_else(wrong)?;
    match suffix.typ() == Some(psl::Type::Icann) && suffix.as_bytes() == domain.as_bytes() {
        true => Err(AuthorityError::Suffix(domain.to_owned())),
        false => Ok(()),
    }
}

fn short_id(bytes: &[u8]) -> String {
    bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
