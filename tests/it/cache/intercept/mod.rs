//! Clients that take the cache for their origins: curl and others, as they are, and some that lie.

mod greetings;
mod people;
mod refusals;
mod secure;
mod terminated;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use dockgate::cache::intercept::{Clients, InterceptSettings};
use dockgate::cache::key::Scheme;
use dockgate::cache::mirror::Origin;
use dockgate::cache::upstream::UpstreamSettings;
use dockgate::config::Intercept;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use people::{Authority, People};
use secure::SecureOrigin;

use super::rig::{Rig, Setup};

/// What only a hang reaches.
const PATIENCE: Duration = Duration::from_secs(120);

/// Two containers of one image, and one of another.
pub const ONE: &str = "127.0.0.1";
pub const SAME_IMAGE: &str = "127.0.0.2";
pub const OTHER_IMAGE: &str = "127.0.0.3";
pub const STRANGER: &str = "127.0.0.4";

/// A cache in front of an origin behind TLS, and two authorities: the one that containers trust because of us,
/// and the one that has signed the origin's own certificate.
pub struct Scene {
    pub rig: Rig,
    pub origin: SecureOrigin,
    pub ours: Arc<Authority>,
    pub public: Arc<Authority>,
    pub dir: tempfile::TempDir,
}

pub struct Stage {
    pub mode: Intercept,
    pub offline: bool,
    pub handshake_time: Duration,
    pub never: Vec<dockgate::cache::intercept::Fingerprint>,
    /// Whose certificates have changed since they began.
    pub renewed: &'static [&'static str],
    /// Of one that was there before.
    pub before: Option<Scene>,
}

impl Default for Stage {
    fn default() -> Stage {
        Stage {
            mode: Intercept::On,
            offline: false,
            handshake_time: PATIENCE,
            never: Vec::new(),
            renewed: &[],
            before: None,
        }
    }
}

impl Stage {
    pub fn start(self) -> Scene {
        let (dir, ours, public, origin) = match self.before {
            Some(Scene { dir, ours, public, origin, rig }) => {
                rig.wait(|| rig.cache.is_settled());
                drop(rig);
                (dir, ours, public, origin)
            }
            None => {
                let public = Authority::new("the public one");
                let origin = SecureOrigin::new(&public);
                (tempfile::tempdir().unwrap(), Authority::new("ours"), public, origin)
            }
        };
        let place = |host: &str| {
            let at = format!("localhost:{}", origin.address.port());
            (host.to_owned(), Origin { scheme: Scheme::Https, host: at })
        };
        // Of an address that nobody else on this machine takes a port of.
        let secure = TcpListener::bind("127.0.0.9:0").unwrap().local_addr().unwrap().to_string();
        let dead = Origin { scheme: Scheme::Https, host: "localhost:1".to_owned() };
        let rig = Setup {
            domains: vec!["files.test", "unknown.files.test", "dead.test", "loop.test"],
            secure: secure.clone(),
            offline: self.offline,
            dir: Some(dir.path().join("cache")),
            origins: vec![
                place("files.test"),
                place("unknown.files.test"),
                ("dead.test".to_owned(), dead),
                ("loop.test".to_owned(), Origin { scheme: Scheme::Https, host: secure }),
            ],
            upstream: UpstreamSettings {
                extra_roots: vec![public.der()],
                ..UpstreamSettings::default()
            },
            intercept: Some(InterceptSettings {
                mode: self.mode,
                never: self.never,
                file: Some(dir.path().join("refusals")),
                handshake_time: self.handshake_time,
            }),
            ..Setup::default()
        }
        .start();
        let images = [(ONE, "sha256:one"), (SAME_IMAGE, "sha256:one"), (OTHER_IMAGE, "sha256:two")];
        // Who connects to an address of the loop comes from that address, if nothing else is said.
        let images = images.into_iter().chain([("127.0.0.9", "sha256:one")]);
        let images = images.map(|(at, image)| (at.parse().unwrap(), image)).collect();
        let renewed = self.renewed.iter().map(|at| at.parse().unwrap()).collect();
        let people = People { authority: Arc::clone(&ours), images, renewed };
        let people: Arc<dyn Clients> = Arc::new(people);
        rig.cache.takes_clients(&people);
        std::fs::write(dir.path().join("ours.pem"), ours.pem()).unwrap();
        std::fs::write(dir.path().join("public.pem"), public.pem()).unwrap();
        Scene { rig, origin, ours, public, dir }
    }
}

impl Scene {
    pub fn new() -> Scene {
        Stage::default().start()
    }

    /// curl in a container with this address, which trusts `ours` or `public`; what it prints, or how it exits.
    pub fn curl(&self, from: &str, trusts: &str, args: &[&str]) -> Result<String, i32> {
        let ca = self.dir.path().join(format!("{trusts}.pem"));
        let output = Command::new("curl")
            .args(["-sS", "-q", "--max-time", "100", "--noproxy", "*", "--interface", from])
            .arg("--cacert")
            .arg(ca)
            .args(["--connect-to", &format!("::{}", self.rig.secure)])
            .args(args)
            .env_remove("SSL_CERT_FILE")
            .output()
            .unwrap();
        match output.status.code() {
            Some(0) => Ok(String::from_utf8(output.stdout).unwrap()),
            Some(code) => Err(code),
            None => panic!("{output:?}"),
        }
    }

    /// A client of rustls that trusts our authority.
    pub fn trusting(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.ours.der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    pub fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(self.rig.secure).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    pub fn tls(
        &self,
        config: ClientConfig,
        name: &str,
    ) -> StreamOwned<ClientConnection, TcpStream> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let conn = ClientConnection::new(Arc::new(config), name).unwrap();
        StreamOwned::new(conn, self.tcp())
    }

    /// One request, and all that comes back.
    pub fn say(&self, name: &str, head: &str) -> String {
        let mut tls = self.tls(self.trusting(), name);
        tls.write_all(head.as_bytes()).unwrap();
        let mut all = Vec::new();
        tls.read_to_end(&mut all).unwrap();
        String::from_utf8(all).unwrap()
    }

    /// All that comes on a bare connection that begins with these bytes.
    pub fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.tcp();
        stream.write_all(bytes).unwrap();
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        all
    }

    /// The hello of a client that asks for this name.
    pub fn hello(&self, name: &str) -> Vec<u8> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut conn = ClientConnection::new(Arc::new(self.trusting()), name).unwrap();
        let mut hello = Vec::new();
        conn.write_tls(&mut hello).unwrap();
        hello
    }
}

pub const fn alert(description: u8) -> [u8; 7] {
    [21, 3, 1, 0, 2, 2, description]
}
