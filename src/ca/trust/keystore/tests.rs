//! Key stores: written and read by ourselves, by Java's `keytool`, and broken in every place.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn entry(alias: &str, certificate: &[u8]) -> Trusted {
    Trusted { alias: alias.as_bytes().to_vec(), since: 5000, certificate: certificate.to_vec() }
}

fn store() -> Vec<u8> {
    jks::written(&[entry("first", b"one"), entry("second", b"two")]).unwrap()
}

fn root() -> rcgen::Certificate {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap()
}

/// Version 1 has no types of certificates.
fn version_1() -> Vec<u8> {
    let mut old = Vec::new();
    for part in [
        &jks::MAGIC[..],
        &[0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 1, b'a'],
        &5000_u64.to_be_bytes(),
        &[0, 0, 0, 3],
        b"one",
    ] {
        old.extend_from_slice(part);
    }
    let seal = jks::seal(&old);
    old.extend(seal);
    old
}

/// PKCS #12 as the JDK ships it: a certificate with a name, and one without.
fn open_pkcs12() -> Vec<u8> {
    let v = |tag: u8, parts: &[&[u8]]| super::super::der::written(tag, &parts.concat()).unwrap();
    let data = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
    let x509 = &[6, 10, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 22, 1];
    let bag = &[6, 11, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1, 3];
    let friendly = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 20];
    let certificate = |der: &[u8], attributes: &[u8]| {
        let open = v(0xa0, &[&v(4, &[der])]);
        v(0x30, &[bag, &v(0xa0, &[&v(0x30, &[x509, &open])]), attributes])
    };
    let name = v(0x30, &[friendly, &v(0x31, &[&v(0x1e, &[b"\0N\0\0\x20\xac"])])]);
    let bags = v(0x30, &[&certificate(b"one", &v(0x31, &[&name])), &certificate(b"two", &[])]);
    let info = |content: &[u8]| v(0x30, &[data, &v(0xa0, &[&v(4, &[content])])]);
    v(0x30, &[&[2, 1, 3], &info(&v(0x30, &[&info(&bags)]))])
}

#[test]
fn a_root_is_added_and_replaces_only_its_own() {
    let added = with_root(&store(), "00AA", b"root", at(7)).unwrap();
    let all = jks::read(&added).unwrap();
    assert_eq!(all[..2], [entry("first", b"one"), entry("second", b"two")]);
    let ours = Trusted { since: 7000, ..entry("dockgate-00aa", b"root") };
    assert_eq!(all[2..], [ours]);
    let again = with_root(&added, "00aa", b"root", at(7)).unwrap();
    assert_eq!(again, added);
    let next = with_root(&added, "00bb", b"next", at(7)).unwrap();
    assert_eq!(jks::read(&next).unwrap().len(), 4);
}

#[test]
fn older_and_newer_formats_are_read() {
    assert_eq!(read(&version_1()).unwrap(), [entry("a", b"one")]);
    let all = read(&open_pkcs12()).unwrap();
    // A zero in two bytes, as Java has it.
    let first = Trusted {
        alias: b"n\xc0\x80\xe2\x82\xac".to_vec(),
        since: 0,
        certificate: b"one".to_vec(),
    };
    assert_eq!(all, [first, Trusted { since: 0, ..entry("-2", b"two") }]);
}

#[test]
fn what_would_get_lost_is_refused() {
    let mut key = store();
    key[15] = 1;
    assert_eq!(read(&key), Err(KeystoreError::PrivateKey));
    let mut other_password = store();
    *other_password.last_mut().unwrap() ^= 1;
    assert_eq!(read(&other_password), Err(KeystoreError::Digest));
    let mut sealed = open_pkcs12();
    assert_eq!(sealed[1], 0x81, "its length stands in the byte behind");
    sealed[2] += 2;
    sealed.extend([0x30, 0]);
    assert_eq!(read(&sealed), Err(KeystoreError::Encrypted));
    for (bad, error) in [
        (&b""[..], KeystoreError::Unknown),
        (b"-----BEGIN CERTIFICATE-----", KeystoreError::Unknown),
        // JCEKS
        (&[0xce, 0xce, 0xce, 0xce, 0, 0, 0, 2], KeystoreError::Unknown),
        (&jks::MAGIC, KeystoreError::Malformed),
        (&[0x30, 0x80], KeystoreError::Malformed),
    ] {
        assert_eq!(read(bad), Err(error), "{bad:?}");
    }
    let many = vec![entry("a", b""); MOST_ENTRIES + 1];
    assert_eq!(read(&jks::written(&many).unwrap()), Err(KeystoreError::TooLarge));
    assert_eq!(read(&vec![0x30; LONGEST + 1]), Err(KeystoreError::TooLarge));
}

#[test]
fn a_store_that_is_cut_off_is_an_error_at_every_length() {
    for whole in [store(), version_1(), open_pkcs12()] {
        assert!(read(&whole).is_ok());
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "{length}");
        }
        assert!(read(&[whole.as_slice(), &[0]].concat()).is_err());
    }
}

proptest! {
    #[test]
    fn whatever_comes_is_a_store_or_an_error(
        which in 0..3_usize,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = [store, version_1, open_pkcs12][which]();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        // Also with a seal that holds.
        let sealed = bytes.len().checked_sub(20).map(|at| {
            let seal = jks::seal(&bytes[..at]);
            [&bytes[..at], &seal[..]].concat()
        });
        for bytes in std::iter::once(bytes).chain(sealed) {
            if let Ok(entries) = read(&bytes) {
                let added = with_root(&bytes, "id", b"root", at(1)).unwrap();
                let kept = read(&added).unwrap();
                for entry in entries.iter().filter(|entry| entry.alias != b"dockgate-id") {
                    prop_assert!(kept.contains(entry));
                }
            }
        }
    }

    #[test]
    fn noise_is_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read(&bytes).is_err());
        prop_assert!(read(&[&jks::MAGIC[..], &bytes].concat()).is_err());
        let _ = read(&[&[0x30][..], &bytes].concat());
    }
}

fn keytool(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new("keytool");
    command.current_dir(dir).args(args).env("LC_ALL", "C");
    command.args(["-J-XX:TieredStopAtLevel=1", "-J-Duser.language=en"]);
    command.output().unwrap()
}

fn keytool_must(dir: &Path, args: &[&str]) -> String {
    let out = keytool(dir, args);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{args:?}: {text}{}", String::from_utf8_lossy(&out.stderr));
    text
}

fn java_is_here() -> bool {
    let found = Command::new("keytool").arg("-help").output().is_ok();
    if !found {
        eprintln!("SKIPPED: no `keytool` here");
    }
    found
}

/// What `keytool -list -rfc` prints of one entry.
fn base64_of(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with("-----")).collect()
}

fn assert_java_has(dir: &Path, store: &str, roots: &[&rcgen::Certificate]) {
    let base = ["-list", "-rfc", "-storepass", "changeit", "-keystore", store];
    // Whatever a program declares: JDK 9 and later look at the file.
    for declared in [&[][..], &["-storetype", "PKCS12"]] {
        let listed = keytool_must(dir, &[&base[..], declared].concat());
        let joined: String = listed.lines().collect();
        for root in roots {
            assert!(joined.contains(&base64_of(&root.pem())), "{listed}");
        }
        let contains = format!("contains {} entr", roots.len());
        assert!(listed.contains(&contains), "{listed}");
    }
}

#[test]
fn java_reads_what_is_written_and_writes_what_is_read() {
    if !java_is_here() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (theirs, ours) = (root(), root());
    std::fs::write(dir.join("theirs.pem"), theirs.pem()).unwrap();
    let import = ["-importcert", "-noprompt", "-file", "theirs.pem", "-alias", "Theirs Ünï"];
    let with = |more: &[&str]| keytool_must(dir, &[&import[..], more].concat());
    with(&["-storetype", "JKS", "-storepass", "changeit", "-keystore", "a.jks"]);
    with(&[
        "-J-Dkeystore.pkcs12.certProtectionAlgorithm=NONE",
        "-J-Dkeystore.pkcs12.macAlgorithm=NONE",
        "-storetype",
        "PKCS12",
        "-storepass",
        "changeit",
        "-keystore",
        "open.p12",
    ]);
    for name in ["a.jks", "open.p12"] {
        let before = std::fs::read(dir.join(name)).unwrap();
        assert_eq!(read(&before).unwrap().len(), 1, "{name}");
        let added = with_root(&before, "0123456789abcdef", ours.der(), at(1_796_000_000)).unwrap();
        std::fs::write(dir.join("added"), &added).unwrap();
        assert_java_has(dir, "added", &[&theirs, &ours]);
        // Java finds an entry that it has named itself.
        keytool_must(
            dir,
            &["-list", "-alias", "theirs ünï", "-storepass", "changeit", "-keystore", "added"],
        );
    }

    with(&["-storetype", "PKCS12", "-storepass", "changeit", "-keystore", "closed.p12"]);
    with(&["-storetype", "JKS", "-storepass", "somebody", "-keystore", "other.jks"]);
    let pair = ["-genkeypair", "-alias", "k", "-keyalg", "EC", "-dname", "CN=k", "-storepass"];
    let jks = ["changeit", "-keypass", "changeit", "-storetype", "JKS", "-keystore", "keys.jks"];
    keytool_must(dir, &[&pair[..], &jks].concat());
    for (name, error) in [
        ("closed.p12", KeystoreError::Encrypted),
        ("other.jks", KeystoreError::Digest),
        ("keys.jks", KeystoreError::PrivateKey),
    ] {
        let store = std::fs::read(dir.join(name)).unwrap();
        assert_eq!(read(&store), Err(error), "{name}");
    }
}

#[test]
fn the_store_of_this_machine_keeps_all_it_has() {
    let places = ["/etc/ssl/certs/java/cacerts", "/usr/lib/jvm/default-java/lib/security/cacerts"];
    let Some(store) = places.iter().find_map(|place| std::fs::read(place).ok()) else {
        eprintln!("SKIPPED: no store of Java's here");
        return;
    };
    let before = read(&store).unwrap();
    assert!(!before.is_empty());
    let after = read(&with_root(&store, "id", b"root", at(1)).unwrap()).unwrap();
    assert_eq!(after.len(), before.len() + 1);
    assert_eq!(after[..before.len()], before);
}
