//! The authority against its own rules: what stands in what it signs, and for how long.

mod chains;
mod verifiers;

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};
use x509_parser::prelude::*;

use super::*;

const HOUR: Duration = Duration::from_secs(60 * 60);
const LIFETIME: Duration = Duration::from_secs(48 * 60 * 60);

/// 2026-11-30, with a part of a second.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_796_000_000_789)
}

fn settings(domains: &[&str]) -> AuthoritySettings {
    AuthoritySettings {
        domains: domains.iter().map(|&domain| domain.to_owned()).collect(),
        crl_base: "http://172.17.0.1".to_owned(),
        lifetime: LIFETIME,
    }
}

fn authority() -> Authority {
    Authority::new(settings(&["packages.example.com", "index.example.net"]))
}

fn parsed(der: &[u8]) -> X509Certificate<'_> {
    let (rest, certificate) = X509Certificate::from_der(der).unwrap();
    assert!(rest.is_empty());
    certificate
}

fn dates(certificate: &X509Certificate) -> (i64, i64) {
    let validity = certificate.validity();
    (validity.not_before.timestamp(), validity.not_after.timestamp())
}

fn seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

/// The one extension of a kind, and whether it is critical.
fn extension<'a, T>(
    certificate: &'a X509Certificate,
    pick: impl Fn(&'a ParsedExtension<'a>) -> Option<T>,
) -> (T, bool) {
    let mut all = certificate
        .extensions()
        .iter()
        .filter_map(|ext| Some((pick(ext.parsed_extension())?, ext.critical)));
    let found = all.next().expect("the extension is there");
    assert!(all.next().is_none());
    found
}

fn crl_url(certificate: &X509Certificate) -> String {
    let (points, critical) = extension(certificate, |ext| match ext {
        ParsedExtension::CRLDistributionPoints(points) => Some(points.points.clone()),
        _ => None,
    });
    assert!(!critical);
    let [point] = points.as_slice() else { panic!("{points:?}") };
    match point.distribution_point.as_ref().unwrap() {
        DistributionPointName::FullName(names) => match names.as_slice() {
            [GeneralName::URI(url)] => (*url).to_owned(),
            names => panic!("{names:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn key_ids(certificate: &X509Certificate) -> (Vec<u8>, Option<Vec<u8>>) {
    let (own, _) = extension(certificate, |ext| match ext {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    });
    let of_issuer = certificate.extensions().iter().find_map(|ext| match ext.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => {
            Some(id.key_identifier.as_ref().unwrap().0.to_vec())
        }
        _ => None,
    });
    (own, of_issuer)
}

#[test]
fn the_intermediate_is_good_for_the_domains_and_for_no_address() {
    let generation = authority().current(now()).unwrap();
    let certificates = [generation.root_der(), generation.intermediate.der()];
    for (der, most_below) in certificates.into_iter().zip([1, 0]) {
        let certificate = parsed(der);
        let basic = certificate.basic_constraints().unwrap().unwrap();
        assert!(basic.critical && basic.value.ca);
        assert_eq!(basic.value.path_len_constraint, Some(most_below));
        let constraints = certificate.name_constraints().unwrap().unwrap();
        assert!(constraints.critical);
        let names = |trees: &Option<Vec<x509_parser::extensions::GeneralSubtree>>| {
            trees
                .as_ref()
                .unwrap()
                .iter()
                .map(|tree| format!("{:?}", tree.base))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            names(&constraints.value.permitted_subtrees),
            ["DNSName(\"index.example.net\")", "DNSName(\"packages.example.com\")"]
        );
        let zeros = |n| format!("{:?}", GeneralName::IPAddress(&[0; 32][..n]));
        assert_eq!(names(&constraints.value.excluded_subtrees), [zeros(8), zeros(32)]);
        let usage = certificate.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
        assert!(!usage.value.digital_signature());
    }
}

#[test]
fn a_leaf_is_for_one_name_and_one_use() {
    let generation = authority().current(now()).unwrap();
    let leaf = generation.leaf("packages.example.com", now()).unwrap();
    leaf.keys_match().unwrap();
    let [der, intermediate] = leaf.cert.as_slice() else { panic!("{}", leaf.cert.len()) };
    assert_eq!(intermediate, generation.intermediate.der());
    let certificate = parsed(der);
    assert_eq!(certificate.subject().iter().count(), 0);
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    assert!(names.critical, "without a subject it must be (RFC 5280 §4.1.2.6)");
    assert_eq!(names.value.general_names, [GeneralName::DNSName("packages.example.com")]);
    let basic = certificate.basic_constraints().unwrap().unwrap();
    assert!(!basic.value.ca);
    let purposes = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(purposes.server_auth && !purposes.any && !purposes.client_auth);
    assert!(purposes.other.is_empty() && !purposes.code_signing && !purposes.email_protection);
    let usage = certificate.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.digital_signature() && !usage.value.key_cert_sign());
    // P-256 (1.2.840.10045.3.1.7)
    let curve = certificate.public_key().algorithm.parameters.as_ref().unwrap();
    assert_eq!(curve.as_oid().unwrap().to_id_string(), "1.2.840.10045.3.1.7");
}

#[test]
fn key_identifiers_lead_from_the_leaf_to_the_root() {
    let generation = authority().current(now()).unwrap();
    let leaf = generation.leaf("index.example.net", now()).unwrap();
    let (_, of_intermediate) = key_ids(&parsed(&leaf.cert[0]));
    let (intermediate, of_root) = key_ids(&parsed(&leaf.cert[1]));
    let (root, _) = key_ids(&parsed(generation.root_der()));
    assert_eq!((of_intermediate, of_root), (Some(intermediate), Some(root)));
}

#[test]
fn serial_numbers_are_positive_and_no_two_are_the_same() {
    let generation = authority().current(now()).unwrap();
    let mut seen = HashSet::new();
    for round in 0..64 {
        // Each a leaf of its own: the last one is over by then.
        let at = now() + HOUR * 13 * (round % 3);
        let leaf = generation.mint_for_test("index.example.net", at);
        let serial = parsed(&leaf.cert[0]).raw_serial().to_vec();
        assert!(serial.len() == 16 && serial[0] & 0x80 == 0 && serial[0] != 0, "{serial:?}");
        assert!(seen.insert(serial));
    }
}

#[test]
fn dates_nest_and_are_back_dated_by_the_same_hour() {
    let generation = authority().current(now()).unwrap();
    let (root_from, root_until) = dates(&parsed(generation.root_der()));
    assert_eq!(root_from, seconds(now() - HOUR));
    assert_eq!(root_until, seconds(generation.ends()));
    assert_eq!(generation.ends(), UNIX_EPOCH + Duration::from_secs(1_796_000_000) + LIFETIME);
    for after in [0, 1, 12, 24, 36, 47].map(|hours| HOUR * hours) {
        let at = now() + after;
        let leaf = generation.leaf("packages.example.com", at).unwrap();
        let (from, until) = dates(&parsed(&leaf.cert[0]));
        let (intermediate_from, intermediate_until) = dates(&parsed(&leaf.cert[1]));
        assert_eq!((root_from, root_until), (intermediate_from, intermediate_until));
        assert!(intermediate_from <= from && until <= intermediate_until);
        assert!(until - from <= 24 * 60 * 60, "{}", until - from);
        assert!(from <= seconds(at) && seconds(at) < until);
        assert!(from >= seconds(now() - HOUR));
    }
}

#[test]
fn a_leaf_is_made_once_and_anew_when_half_of_it_is_over() {
    let generation = authority().current(now()).unwrap();
    let first = generation.leaf("packages.example.com", now()).unwrap();
    let same = |at| Arc::ptr_eq(&first, &generation.leaf("packages.example.com", at).unwrap());
    assert!(same(now()) && same(now() + HOUR * 11));
    assert!(Arc::ptr_eq(&first, &generation.leaf("Packages.EXAMPLE.com", now()).unwrap()));
    assert!(!same(now() + HOUR * 12));
    // The last one is good until the generation's end.
    let late = now() + LIFETIME - HOUR * 10;
    let last = generation.leaf("packages.example.com", late).unwrap();
    let again = generation.leaf("packages.example.com", generation.ends() - Duration::from_secs(1));
    assert!(Arc::ptr_eq(&last, &again.unwrap()));
    // A clock that was set back gets one that is valid by it.
    let back = generation.leaf("packages.example.com", now()).unwrap();
    assert!(dates(&parsed(&back.cert[0])).0 <= seconds(now()));
}

#[test]
fn no_leaf_for_a_name_that_is_not_listed_or_at_another_time() {
    let generation = authority().current(now()).unwrap();
    for name in [
        "example.com",
        "a.packages.example.com",
        "packages.example.com.",
        "packages.example.com\0",
        "*.example.com",
        "172.17.0.1",
        "::1",
        "",
    ] {
        assert!(generation.leaf(name, now()).is_none(), "{name}");
    }
    for at in [generation.ends(), generation.ends() + HOUR, now() - HOUR * 2] {
        assert!(generation.leaf("packages.example.com", at).is_none());
    }
}

#[test]
fn both_lists_are_where_certificates_say_and_revoke_nothing_until_the_end() {
    let authority = authority();
    let generation = authority.current(now()).unwrap();
    let leaf = generation.leaf("packages.example.com", now()).unwrap();
    let (leaf, intermediate) = (parsed(&leaf.cert[0]), parsed(&leaf.cert[1]));
    let root = parsed(generation.root_der());
    assert_ne!(crl_url(&leaf), crl_url(&intermediate));
    for (certificate, issuer) in [(&leaf, &intermediate), (&intermediate, &root)] {
        let url = crl_url(certificate);
        let path = url.strip_prefix("http://172.17.0.1").unwrap();
        assert!(path.starts_with(&format!("/.dockgate/crl/{}/", generation.id())), "{path}");
        let der = authority.crl(path, now()).unwrap();
        let (rest, list) = CertificateRevocationList::from_der(&der).unwrap();
        assert!(rest.is_empty());
        list.verify_signature(issuer.public_key()).unwrap();
        assert_eq!(list.issuer().as_raw(), issuer.subject().as_raw());
        assert_eq!(list.iter_revoked_certificates().count(), 0);
        assert!(list.next_update().unwrap().timestamp() >= seconds(generation.ends()));
        assert_eq!(list.last_update().timestamp(), seconds(now() - HOUR));
        assert!(authority.crl(path, generation.ends()).is_none());
        assert!(authority.crl(&url, now()).is_none());
    }
    let id = generation.id();
    for path in [
        "/.dockgate/crl/".to_owned(),
        format!("/.dockgate/crl/{id}"),
        format!("/.dockgate/crl/{id}/"),
        format!("/.dockgate/crl/{id}/leaf.crl"),
        format!("/.dockgate/crl/{id}/root.crl/"),
        format!("/.dockgate/crl//{id}/root.crl"),
        "/.dockgate/crl/0123456789abcdef/root.crl".to_owned(),
    ] {
        assert!(authority.crl(&path, now()).is_none(), "{path}");
    }
}

#[test]
fn a_generation_begins_at_half_life_and_is_known_until_its_end() {
    let authority = authority();
    let first = authority.current(now()).unwrap();
    let hex = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, first.root_der());
    let hex: String = hex.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(first.id().len() == 16 && hex.starts_with(first.id()));
    let a_moment = Duration::from_millis(1);
    assert!(Arc::ptr_eq(&first, &authority.current(now() + LIFETIME / 2 - a_moment).unwrap()));
    let second = authority.current(now() + LIFETIME / 2).unwrap();
    assert_ne!(first.id(), second.id());
    let found = |id: &str, at| authority.generation(id, at).map(|found| found.id().to_owned());
    assert_eq!(found(first.id(), first.ends() - a_moment).as_deref(), Some(first.id()));
    assert_eq!(found(first.id(), first.ends()), None);
    assert_eq!(found(second.id(), first.ends()).as_deref(), Some(second.id()));
    assert_eq!(found("", now()), None);
    // Long after: nothing is left of either.
    let third = authority.current(now() + LIFETIME * 5).unwrap();
    assert!(authority.known().older.is_empty());
    assert!(third.leaf("index.example.net", now() + LIFETIME * 5).is_some());
}

#[test]
fn a_clock_that_jumps_makes_a_bounded_number_of_generations() {
    let authority = authority();
    for round in 0..100 {
        // None of those before is valid yet.
        let at = now() - HOUR * 2 * round;
        let current = authority.current(at).unwrap();
        assert!(current.leaf("index.example.net", at).is_some());
    }
    assert_eq!(authority.known().older.len(), MOST_GENERATIONS - 1);
}

#[test]
fn other_domains_are_another_generation_and_the_last_one_stays_good() {
    let authority = authority();
    let first = authority.current(now()).unwrap();
    let same = authority.changed(settings(&["INDEX.example.net", "packages.example.com"]));
    assert!(Arc::ptr_eq(&first, &same.current(now()).unwrap()));
    let fewer = same.changed(settings(&["index.example.net"]));
    let second = fewer.current(now()).unwrap();
    assert_ne!(first.id(), second.id());
    assert!(second.leaf("packages.example.com", now()).is_none());
    let kept = fewer.generation(first.id(), now()).unwrap();
    assert!(kept.leaf("packages.example.com", now()).is_some());
}

#[test]
fn a_thousand_domains_are_few_enough_for_javas_handshakes() {
    let domains: Vec<String> = (0..1000).map(|n| format!("h{n}.example.com")).collect();
    let settings = AuthoritySettings { domains, ..settings(&[]) };
    let generation = Authority::new(settings).current(now()).unwrap();
    let leaf = generation.leaf("h999.example.com", now()).unwrap();
    assert!(leaf.cert.iter().map(|der| der.len()).sum::<usize>() < 31 * 1024);
}

#[test]
fn settings_that_no_certificate_can_have_are_refused() {
    let refused = |change: &dyn Fn(&mut AuthoritySettings)| {
        let mut settings = settings(&["a.example.com"]);
        change(&mut settings);
        Authority::new(settings).current(now()).unwrap_err().to_string()
    };
    assert!(refused(&|s| s.domains.clear()).contains("at least one domain"));
    for bad in
        ["", "*.example.com", "a b.example.com", "1.2.3.4", "::1", "a.example.com.", "ü.example"]
    {
        let error = refused(&|s| s.domains.push(bad.to_owned()));
        assert!(error.contains("no DNS name"), "{bad}: {error}");
    }
    for bad in ["com", "CO.uk"] {
        let error = refused(&|s| s.domains.push(bad.to_owned()));
        assert!(error.contains("public suffix"), "{bad}: {error}");
    }
    for bad in [
        "",
        "https://a",
        "http://",
        "http://a b",
        "http://ü",
        &format!("http://{}", "a".repeat(300)),
    ] {
        let error = refused(&|s| bad.clone_into(&mut s.crl_base));
        assert!(error.contains("revocation lists"), "{bad}: {error}");
    }
    for bad in [0, 1, 91 * 24 * 60 * 60, u64::MAX] {
        let error = refused(&|s| s.lifetime = Duration::from_secs(bad));
        assert!(error.contains("lives from"), "{bad}: {error}");
    }
    let many = |s: &mut AuthoritySettings| {
        s.domains.extend((0..4000).map(|n| format!("host-{n}.packages.example.com")));
    };
    assert!(refused(&many).contains("4001 domains"));
    for at in [UNIX_EPOCH, UNIX_EPOCH - HOUR, UNIX_EPOCH + HOUR * 24 * 365 * 300] {
        assert_eq!(authority().current(at).unwrap_err(), AuthorityError::Clock);
    }
}

#[test]
fn nothing_of_a_key_is_in_debug_output() {
    let authority = authority();
    let generation = authority.current(now()).unwrap();
    let leaf = generation.leaf("index.example.net", now()).unwrap();
    for text in [format!("{authority:?}"), format!("{generation:?}"), format!("{:?}", leaf.key)] {
        assert!(!text.contains('[') || text.contains("domains: ["), "{text}");
    }
    assert_eq!(format!("{:?}", leaf.key), "P256Key");
}

#[test]
fn threads_share_an_authority() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&authority());
    shared(&authority().current(now()).unwrap());
}
