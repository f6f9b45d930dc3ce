//! `dockgate certs`: the files, their modes, and that the certificates are good for what they are for.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::support::gate::dockgate;
use crate::support::text;

const FILES: [(&str, u32); 6] = [
    ("ca-key.pem", 0o600),
    ("ca.pem", 0o644),
    ("cert.pem", 0o644),
    ("key.pem", 0o600),
    ("server-cert.pem", 0o644),
    ("server-key.pem", 0o600),
];

fn certs(dir: &Path, more: &[&str]) -> Output {
    dockgate(&["certs", dir.to_str().unwrap()]).args(more).output().expect("the dockgate binary")
}

fn made(more: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let done = certs(dir.path(), more);
    assert!(done.status.success(), "{}", text(&done.stderr));
    dir
}

#[test]
fn six_files_whose_keys_are_for_the_owner_only() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("trial");
    let done = certs(&dir, &[]);
    assert_eq!((done.status.code(), text(&done.stderr).as_ref()), (Some(0), ""));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    let mut names: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), mode(&entry.path())))
        .collect();
    names.sort();
    assert_eq!(names, FILES.map(|(name, mode)| (name.to_owned(), mode)));
    let said = text(&done.stdout);
    assert!(said.contains(&format!("client_ca = \"{}/ca.pem\"", dir.display())), "{said}");
    assert!(said.contains(&format!("DOCKER_CERT_PATH={} ", dir.display())), "{said}");
}

#[test]
fn what_it_prints_is_a_valid_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let certs_dir = dir.path().join("c");
    let done = certs(&certs_dir, &[]);
    let said = text(&done.stdout);
    let (table, _) = said.split_once("\n\n").unwrap();
    let file = dir.path().join("dockgate.toml");
    let head = "[[listener]]\nname = \"a\"\nurl = \"tls://0.0.0.0:2376\"\n";
    std::fs::write(&file, format!("{head}{table}\n")).unwrap();
    let checked = dockgate(&["check", "-c", file.to_str().unwrap()]).output().unwrap();
    assert_eq!((checked.status.code(), text(&checked.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn nothing_is_overwritten_and_nothing_written_beside_what_is_there() {
    for (name, _) in FILES {
        let dir = tempfile::tempdir().unwrap();
        // A link to nowhere exists too: following it would write somewhere else.
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), dir.path().join(name)).unwrap();
        let done = certs(dir.path(), &[]);
        assert_eq!(done.status.code(), Some(1));
        assert!(text(&done.stderr).contains(&format!("already has `{name}`")));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "{name}");
    }
    let dir = made(&[]);
    let before = FILES.map(|(name, _)| std::fs::read(dir.path().join(name)).unwrap());
    assert_eq!(certs(dir.path(), &[]).status.code(), Some(1));
    let after = FILES.map(|(name, _)| std::fs::read(dir.path().join(name)).unwrap());
    assert!(before == after);
}

#[test]
fn a_folder_that_cannot_be_and_a_name_that_is_none() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert_eq!(certs(&file.path().join("under/a/file"), &[]).status.code(), Some(1));
    assert_eq!(certs(file.path(), &[]).status.code(), Some(1));
    let parent = tempfile::tempdir().unwrap();
    for wrong in [["--host", "a b"], ["--host", "tcp://a"], ["--client", ""]] {
        let done = certs(&parent.path().join("none"), &wrong);
        assert_eq!(done.status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
}

#[test]
fn the_certificates_are_for_these_names_and_uses() {
    let dir = made(&["--host", "docker.example.com", "--host", "192.0.2.7", "--client", "ci"]);
    with_certificate(dir.path(), "server-cert.pem", |server| {
        let names = server.subject_alternative_name().unwrap().unwrap().value.general_names.clone();
        for dns in ["localhost", "docker.example.com"] {
            assert!(names.contains(&GeneralName::DNSName(dns)), "{names:?}");
        }
        let v6 = std::net::Ipv6Addr::LOCALHOST.octets();
        for address in [&[127, 0, 0, 1][..], &v6, &[192, 0, 2, 7]] {
            assert!(names.contains(&GeneralName::IPAddress(address)), "{names:?}");
        }
        let usage = server.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.server_auth && !usage.client_auth && !usage.any);
        let days = (server.validity().not_after.timestamp() - now()) / 86_400;
        assert!((28..=30).contains(&days) && server.validity().not_before.timestamp() < now());
    });
    with_certificate(dir.path(), "cert.pem", |client| {
        let usage = client.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth && !client.is_ca());
        assert_eq!(client.subject().to_string(), "CN=ci");
    });
    with_certificate(dir.path(), "ca.pem", |ca| {
        let usage = ca.key_usage().unwrap().unwrap().value;
        assert!(ca.is_ca() && usage.key_cert_sign() && usage.crl_sign());
    });
}

#[test]
fn rustls_accepts_both_ends_and_refuses_those_of_another_set() {
    let (one, other) = (made(&["--host", "gate.example"]), made(&[]));
    for name in ["localhost", "127.0.0.1", "::1", "gate.example"] {
        assert_eq!(shake_hands(one.path(), one.path(), name), Ok("CN=client".to_owned()), "{name}");
    }
    assert!(shake_hands(one.path(), one.path(), "elsewhere.example").is_err());
    // By its name, not by a signature that does not fit the name.
    let stranger = shake_hands(one.path(), other.path(), "localhost").unwrap_err();
    assert!(stranger.contains("UnknownIssuer"), "{stranger}");
}

#[test]
fn openssl_accepts_the_chains() {
    let dir = made(&["--host", "gate.example"]);
    let verify = |purpose: &str, file: &str, more: &[&str]| {
        let mut command = Command::new("openssl");
        command.current_dir(dir.path()).args(["verify", "-x509_strict", "-CAfile", "ca.pem"]);
        command.args(["-purpose", purpose]).args(more).arg(file).output()
    };
    let Ok(server) = verify("sslserver", "server-cert.pem", &["-verify_hostname", "gate.example"])
    else {
        return; // No openssl here: rustls has judged the same files.
    };
    assert!(server.status.success(), "{}", text(&server.stderr));
    let client = verify("sslclient", "cert.pem", &[]).unwrap();
    assert!(client.status.success(), "{}", text(&client.stderr));
    assert!(!verify("sslserver", "cert.pem", &[]).unwrap().status.success());
}

fn now() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    since.as_secs().try_into().unwrap()
}

fn with_certificate(dir: &Path, name: &str, judge: impl FnOnce(&X509Certificate<'_>)) {
    let der = CertificateDer::from_pem_file(dir.join(name)).unwrap();
    judge(&X509Certificate::from_der(&der).unwrap().1);
}

/// A handshake in memory; the subject that the server saw, or the first error.
fn shake_hands(server: &Path, client: &Path, name: &str) -> Result<String, String> {
    let pair = |dir: &Path, cert: &str, key: &str| {
        let cert = CertificateDer::from_pem_file(dir.join(cert)).unwrap();
        (vec![cert], PrivateKeyDer::from_pem_file(dir.join(key)).unwrap())
    };
    let roots = |dir: &Path| {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(dir.join("ca.pem")).unwrap()).unwrap();
        Arc::new(roots)
    };
    let judge = WebPkiClientVerifier::builder(roots(server)).build().unwrap();
    let (cert, key) = pair(server, "server-cert.pem", "server-key.pem");
    let config = ServerConfig::builder().with_client_cert_verifier(judge);
    let mut server =
        ServerConnection::new(Arc::new(config.with_single_cert(cert, key).unwrap())).unwrap();
    let (cert, key) = pair(client, "cert.pem", "key.pem");
    let config = ClientConfig::builder().with_root_certificates(roots(client));
    let config = Arc::new(config.with_client_auth_cert(cert, key).unwrap());
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(config, name).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets().map_err(|error| error.to_string())?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets().map_err(|error| error.to_string())?;
    }
    let seen = server.peer_certificates().unwrap().first().unwrap();
    Ok(X509Certificate::from_der(seen).unwrap().1.subject().to_string())
}
