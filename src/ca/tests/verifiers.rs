//! What real verifiers say of our chains, and of what a stolen intermediate could sign.

use std::path::Path;
use std::process::Command;

use rustls::client::danger::ServerCertVerifier as _;
use rustls::client::{ClientConnection, WebPkiServerVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert, ServerConnection};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::chains::{self, Chain};
use super::*;

fn roots(pem: &str) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    Arc::new(roots)
}

#[test]
fn rustls_takes_what_it_should_and_nothing_else() {
    let authority = authority();
    let generation = authority.current(now()).unwrap();
    let lists = ["root.crl", "intermediate.crl"].map(|name| {
        let path = format!("/.dockgate/crl/{}/{name}", generation.id());
        CertificateRevocationListDer::from(authority.crl(&path, now()).unwrap().to_vec())
    });
    let chains = chains::of(&generation, now());
    assert!(chains.iter().any(|chain| !chain.is_good));
    assert_rustls_agrees(generation.root_pem(), lists, &chains);
    let control = chains::Control::new(now());
    let lists = [control.root_list.clone().into(), control.intermediate_list.clone().into()];
    let mut chains = control.chains(now());
    // It has no list of the third authority.
    chains.retain(|chain| chain.name != "third-authority");
    assert_rustls_agrees(&control.root.pem(), lists, &chains);
}

/// With revocation lists of everyone, which must be in date.
fn assert_rustls_agrees(
    root: &str,
    lists: [CertificateRevocationListDer<'static>; 2],
    chains: &[Chain],
) {
    let provider = default_provider().into();
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(root), provider)
        .with_crls(lists)
        .enforce_revocation_expiration()
        .build()
        .unwrap();
    let time = UnixTime::since_unix_epoch(now().duration_since(UNIX_EPOCH).unwrap());
    for Chain { name, host, is_good, certificates, .. } in chains {
        let host = ServerName::try_from(*host).unwrap();
        let said =
            verifier.verify_server_cert(&certificates[0], &certificates[1..], &host, &[], time);
        assert_eq!(said.is_ok(), *is_good, "{name}: {said:?}");
    }
}

#[derive(Debug)]
struct ByName(Arc<Generation>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.leaf(hello.server_name()?, SystemTime::now())
    }
}

#[test]
fn a_leaf_serves_both_versions_of_tls() {
    let generation = authority().current(SystemTime::now()).unwrap();
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let server = ServerConfig::builder_with_provider(default_provider().into())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ByName(generation.clone())));
        let client = ClientConfig::builder_with_provider(default_provider().into())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots(generation.root_pem()))
            .with_no_client_auth();
        let (server, client) = (Arc::new(server), Arc::new(client));
        let outcome = |name: &'static str| {
            let name = ServerName::try_from(name).unwrap();
            shake_hands(
                ServerConnection::new(server.clone()).unwrap(),
                ClientConnection::new(client.clone(), name).unwrap(),
            )
        };
        outcome("packages.example.com").unwrap();
        outcome("a.packages.example.com").unwrap_err();
    }
}

fn shake_hands(
    mut server: ServerConnection,
    mut client: ClientConnection,
) -> Result<(), rustls::Error> {
    while server.is_handshaking() || client.is_handshaking() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        while !bytes.is_empty() {
            let read = server.read_tls(&mut bytes.as_slice()).unwrap();
            bytes.drain(..read);
        }
        server.process_new_packets()?;
        let mut bytes = Vec::new();
        server.write_tls(&mut bytes).unwrap();
        while !bytes.is_empty() {
            let read = client.read_tls(&mut bytes.as_slice()).unwrap();
            bytes.drain(..read);
        }
        client.process_new_packets()?;
    }
    Ok(())
}

/// `tests/ca/verify.py` asks those that are here, and prints the table:
/// `cargo nextest run -E 'test(programs_agree)' --no-capture`. With `DOCKGATE_CA_CHAINS=DIR` the files stay there.
#[test]
fn programs_agree() {
    let now = SystemTime::now();
    let authority = authority();
    let generation = authority.current(now).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let dir = std::env::var_os("DOCKGATE_CA_CHAINS");
    let dir = dir.as_deref().map_or(temporary.path(), Path::new);
    let list = |name: &str| {
        let path = format!("/.dockgate/crl/{}/{name}", generation.id());
        authority.crl(&path, now).unwrap().to_vec()
    };
    let lists = [list("root.crl"), list("intermediate.crl")];
    let ours = chains::of(&generation, now);
    write_files(dir, generation.root_der(), generation.root_pem(), &lists, &ours);
    let control = chains::Control::new(now);
    let lists = [control.root_list.clone(), control.intermediate_list.clone()];
    let chains = control.chains(now);
    let below = dir.join("control");
    std::fs::create_dir_all(&below).unwrap();
    write_files(&below, control.root.der(), &control.root.pem(), &lists, &chains);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ca/verify.py");
    let Ok(status) = Command::new("python3").arg(script).arg(dir).status() else {
        eprintln!("SKIPPED: no `python3` here");
        return;
    };
    assert!(status.success(), "a program takes what it should not, or not what it should");
}

fn write_files(dir: &Path, root: &[u8], root_pem: &str, lists: &[Vec<u8>; 2], chains: &[Chain]) {
    let write = |name: &str, bytes: &[u8]| std::fs::write(dir.join(name), bytes).unwrap();
    write("root.pem", root_pem.as_bytes());
    let original = b"# a bundle whose last line has no end";
    write("bundle.pem", &trust::bundle::with_root(original, root_pem));
    let empty = trust::keystore::empty();
    write("cacerts", &trust::keystore::with_root(&empty, "id", root, now()).unwrap());
    write("hash", trust::hashed::subject_hash(root).unwrap().as_bytes());
    let [of_root, of_intermediate] = lists;
    write("root.crl", of_root);
    write("intermediate.crl", of_intermediate);
    let mut list = String::new();
    for Chain { name, host, is_good, certificates, key } in chains {
        let says = if *is_good { "accept" } else { "reject" };
        list += &format!("{name} {host} {says}\n");
        let chain: String = certificates.iter().map(|der| pem("CERTIFICATE", der)).collect();
        write(&format!("{name}.chain.pem"), chain.as_bytes());
        write(&format!("{name}.leaf.pem"), pem("CERTIFICATE", &certificates[0]).as_bytes());
        write(&format!("{name}.key.pem"), pem("PRIVATE KEY", &key.exported()).as_bytes());
    }
    write("cases", list.as_bytes());
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
