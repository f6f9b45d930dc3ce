//! `dockgate certs`: a trial authority, with a certificate for the server and one for a client.
//!
//! The names are docker's own, so that `DOCKER_CERT_PATH=DIR` works without renaming anything. What
//! must stay true: nothing that exists is overwritten, a key is for its owner only from its first
//! byte on, and a run that fails leaves nothing behind.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose as Purpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    SanType,
};
use rustls::pki_types::DnsName;

const LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The clocks of client and server may differ.
const BACKDATED: Duration = Duration::from_secs(5 * 60);
/// RFC 5280, upper bound of a common name.
const LONGEST_NAME: usize = 64;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder for the files, made if it is absent.
    dir: PathBuf,
    /// A name or IP address under which clients reach the server, beside `localhost` and this
    /// machine's name; may repeat.
    #[arg(long, value_name = "NAME", value_parser = host)]
    host: Vec<SanType>,
    /// The user that the client certificate names.
    #[arg(long, value_name = "NAME", default_value = "client", value_parser = common_name)]
    client: String,
}

pub(super) fn run(args: &Args) -> ExitCode {
    match make(args) {
        Ok(dir) => super::out::end(&next_steps(&dir), ExitCode::SUCCESS),
        Err(error) => super::failure(&format!("{error:#}")),
    }
}

fn make(args: &Args) -> anyhow::Result<PathBuf> {
    let dir = std::path::absolute(&args.dir).context("DIR")?;
    let files = trial_set(&args.host, &args.client).context("cannot make certificates")?;
    refuse_existing(&dir, &files)?;
    let is_new = !dir.exists();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .with_context(|| format!("`{}` cannot be made", dir.display()))?;
    write_all(&dir, &files).inspect_err(|_| {
        if is_new {
            let _ = std::fs::remove_dir(&dir);
        }
    })?;
    Ok(dir)
}

struct File {
    name: &'static str,
    mode: u32,
    pem: String,
}

impl File {
    fn certificate(name: &'static str, pem: String) -> File {
        File { name, mode: 0o644, pem }
    }

    fn key(name: &'static str, key: &KeyPair) -> File {
        File { name, mode: 0o600, pem: key.serialize_pem() }
    }
}

fn trial_set(hosts: &[SanType], client_name: &str) -> Result<Vec<File>, rcgen::Error> {
    let new_key = || KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256);
    let ca_key = new_key()?;
    let ca = CertifiedIssuer::self_signed(authority(&ca_key), ca_key)?;
    let (server_key, client_key) = (new_key()?, new_key()?);
    let mut server = leaf("dockgate server", Purpose::ServerAuth);
    server.subject_alt_names = server_names(hosts);
    let server = server.signed_by(&server_key, &ca)?;
    let client = leaf(client_name, Purpose::ClientAuth).signed_by(&client_key, &ca)?;
    Ok(vec![
        File::certificate("ca.pem", ca.pem()),
        File::key("ca-key.pem", ca.key()),
        File::certificate("server-cert.pem", server.pem()),
        File::key("server-key.pem", &server_key),
        File::certificate("cert.pem", client.pem()),
        File::key("key.pem", &client_key),
    ])
}

/// Its name tells one trial set from another: of two authorities with one name, a verifier would take
/// the wrong one's key and complain of a bad signature.
fn authority(key: &KeyPair) -> CertificateParams {
    let id = CertificateParams::default().key_identifier(key);
    let id: String = id.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let mut params = named(&format!("dockgate trial CA {id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf(name: &str, purpose: Purpose) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    let now = SystemTime::now();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + LIFETIME).into();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// Go has not read a common name as a host since 1.15: all names are alternative names.
fn server_names(hosts: &[SanType]) -> Vec<SanType> {
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut names: Vec<SanType> = host("localhost").into_iter().collect();
    names.push(SanType::IpAddress(Ipv4Addr::LOCALHOST.into()));
    names.push(SanType::IpAddress(Ipv6Addr::LOCALHOST.into()));
    for name in host(&machine).iter().chain(hosts) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

fn host(given: &str) -> Result<SanType, String> {
    if let Ok(address) = given.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let wrong = || format!("`{given}` is neither a DNS name nor an IP address");
    DnsName::try_from(given.strip_prefix("*.").unwrap_or(given)).map_err(|_| wrong())?;
    given.to_owned().try_into().map(SanType::DnsName).map_err(|_| wrong())
}

fn common_name(given: &str) -> Result<String, String> {
    match given.chars().count() {
        1..=LONGEST_NAME if !given.chars().any(char::is_control) => Ok(given.to_owned()),
        _ => Err(format!("a name has 1 to {LONGEST_NAME} characters, without control characters")),
    }
}

fn refuse_existing(dir: &Path, files: &[File]) -> anyhow::Result<()> {
    let exists = |file: &&File| dir.join(file.name).symlink_metadata().is_ok();
    let existing: Vec<_> = files.iter().filter(exists).map(|f| format!("`{}`", f.name)).collect();
    if !existing.is_empty() {
        let (dir, existing) = (dir.display(), existing.join(", "));
        bail!("`{dir}` already has {existing}: nothing was written\nhint: name another folder");
    }
    Ok(())
}

fn write_all(dir: &Path, files: &[File]) -> anyhow::Result<()> {
    let mut written = Vec::new();
    for file in files {
        let path = dir.join(file.name);
        // Refuses what appeared since `refuse_existing`, and never follows a link.
        let outcome =
            OpenOptions::new().write(true).create_new(true).mode(file.mode).open(&path).and_then(
                |mut open| {
                    written.push(path.clone());
                    open.write_all(file.pem.as_bytes())
                },
            );
        if let Err(error) = outcome {
            for path in &written {
                let _ = std::fs::remove_file(path);
            }
            return Err(error).with_context(|| format!("`{}` cannot be written", path.display()));
        }
    }
    Ok(())
}

/// What to put into the configuration, and what to type on a client.
fn next_steps(dir: &Path) -> String {
    let path =
        |name: &str| toml::Value::from(dir.join(name).to_string_lossy().as_ref()).to_string();
    format!(
        "[listener.tls]\ncert = {}\nkey = {}\nclient_ca = {}\nclient_auth = \"required\"\n\n\
         DOCKER_HOST=tcp://localhost:2376 DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH={} docker version",
        path("server-cert.pem"),
        path("server-key.pem"),
        path("ca.pem"),
        shell_word(&dir.to_string_lossy()),
    )
}

fn shell_word(text: &str) -> String {
    match text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+".contains(&b)) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses() {
        assert_eq!(host("::1"), Ok(SanType::IpAddress(Ipv6Addr::LOCALHOST.into())));
        for good in ["a", "docker.example.com", "*.example.com", "xn--bcher-kva.example"] {
            assert!(matches!(host(good), Ok(SanType::DnsName(_))), "{good}");
        }
        for bad in ["", "a b", "bücher.example", "*", "a.*", "tcp://a", "a:2376", "[::1]", "-a"] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_short_and_printable() {
        assert!(common_name(&"ü".repeat(LONGEST_NAME)).is_ok());
        for bad in ["", "a\nb", &"a".repeat(LONGEST_NAME + 1)] {
            assert!(common_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_stands_once() {
        let twice = [host("localhost").unwrap(), host("a").unwrap(), host("a").unwrap()];
        let names = server_names(&twice);
        for name in &names {
            assert_eq!(names.iter().filter(|other| *other == name).count(), 1, "{name:?}");
        }
    }

    #[test]
    fn what_fails_in_the_middle_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let files = ["a", "no/such/folder"].map(|name| File::certificate(name, "x".to_owned()));
        assert!(write_all(dir.path(), &files).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn odd_folders_are_quoted() {
        let steps = next_steps(Path::new("/a b/\"c\"/d'e"));
        assert!(steps.contains(r#"DOCKER_CERT_PATH='/a b/"c"/d'\''e'"#), "{steps}");
        let config = steps.split("\n\n").next().unwrap();
        let value: toml::Table = config.parse().unwrap();
        assert_eq!(value["listener"]["tls"]["key"].as_str(), Some("/a b/\"c\"/d'e/server-key.pem"));
    }
}
