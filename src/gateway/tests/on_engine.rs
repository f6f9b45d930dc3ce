//! A root certificate put into containers of a real engine, and taken out: `tests/transparent/install.sh` has the engines.
//!
//! Images are file trees as the distributions have them; what is in a container is read by the Docker CLI.

use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::SystemTime;

use aws_lc_rs::digest::{Context as Digest, SHA1_FOR_LEGACY_USE_ONLY};

use super::*;
use crate::ca::trust::bundle::with_root;
use crate::ca::trust::hashed::subject_hash;
use crate::ca::{Authority, AuthoritySettings};
use crate::policy::layout::{Layout, WantedInstall};
use crate::wire::tar::{Archive, EntryKind, TarFile, TarWriter, first_file};

static OLD: LazyLock<Root> = LazyLock::new(Root::new);
static NEW: LazyLock<Root> = LazyLock::new(Root::new);
const BUNDLE: &[u8] = b"# theirs\n-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----";
const DEBIAN: &str = "/etc/ssl/certs/ca-certificates.crt";
const ANCHORS: &str = "/usr/local/share/ca-certificates";
const NONE: &[&str] = &[];

#[derive(Debug)]
struct Root {
    pem: String,
    der: Vec<u8>,
    hash: String,
}

impl Root {
    fn new() -> Root {
        let (domains, lifetime) = (vec!["packages.example".to_owned()], Duration::from_secs(600));
        let crl_base = "http://192.0.2.1".to_owned();
        let authority = Authority::new(AuthoritySettings { domains, crl_base, lifetime });
        let generation = authority.current(SystemTime::now()).unwrap();
        let der = generation.root_der().to_vec();
        let hash = subject_hash(&der).unwrap();
        Root { pem: generation.root_pem().to_owned(), der, hash }
    }

    fn anchor(&self) -> Arc<crate::policy::TrustAnchor> {
        Arc::new(crate::policy::TrustAnchor {
            generation: "g".to_owned(),
            pem: self.pem.as_str().into(),
            der: Arc::from(self.der.as_slice()),
            subject_hash: Some(self.hash.clone()),
        })
    }
}

/// `/path`, `/path/` or `/path -> link`.
type Tree = &'static [&'static str];

struct TreeCase {
    name: &'static str,
    tree: Tree,
    bundles: &'static [&'static str],
    anchors: Option<&'static str>,
    hashed: Option<&'static str>,
    names: Option<&'static str>,
}

const CASES: &[TreeCase] = &[
    TreeCase {
        name: "debian",
        tree: &[
            DEBIAN,
            "/usr/local/share/ca-certificates/",
            "/usr/lib/ssl/cert.pem -> /etc/ssl/certs/ca-certificates.crt",
            "/etc/apt/apt.conf.d/",
        ],
        bundles: &[DEBIAN],
        anchors: Some(ANCHORS),
        hashed: Some("/etc/ssl/certs"),
        names: Some(DEBIAN),
    },
    TreeCase {
        name: "slim",
        tree: &["/etc/apt/apt.conf.d/", "/etc/ssl/openssl.cnf"],
        bundles: NONE,
        anchors: Some(ANCHORS),
        hashed: None,
        names: None,
    },
    TreeCase {
        name: "alpine",
        tree: &[DEBIAN, "/etc/ssl/cert.pem -> certs/ca-certificates.crt", "/etc/apk/"],
        bundles: &[DEBIAN],
        anchors: Some(ANCHORS),
        hashed: Some("/etc/ssl/certs"),
        names: Some(DEBIAN),
    },
    TreeCase {
        name: "fedora-old",
        tree: &[
            "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
            "/etc/pki/ca-trust/source/anchors/",
            "/etc/pki/tls/certs/ca-bundle.crt -> /etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
            "/etc/pki/tls/cert.pem -> /etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
            "/etc/ssl/certs -> ../pki/tls/certs",
        ],
        bundles: &["/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"],
        anchors: Some("/etc/pki/ca-trust/source/anchors"),
        hashed: Some("/etc/pki/tls/certs"),
        names: Some("/etc/pki/tls/certs/ca-bundle.crt"),
    },
    TreeCase {
        name: "fedora-new",
        tree: &[
            "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
            "/etc/pki/ca-trust/source/anchors/",
            "/etc/pki/ca-trust/extracted/pem/directory-hash/",
            "/etc/ssl/certs -> /etc/pki/ca-trust/extracted/pem/directory-hash",
        ],
        bundles: &["/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"],
        anchors: Some("/etc/pki/ca-trust/source/anchors"),
        hashed: Some("/etc/pki/ca-trust/extracted/pem/directory-hash"),
        names: Some("/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"),
    },
    TreeCase {
        name: "opensuse",
        tree: &[
            "/var/lib/ca-certificates/ca-bundle.pem",
            "/var/lib/ca-certificates/pem/",
            "/etc/pki/trust/anchors/",
            "/etc/ssl/ca-bundle.pem -> ../../var/lib/ca-certificates/ca-bundle.pem",
            "/etc/ssl/certs -> ../../var/lib/ca-certificates/pem",
        ],
        bundles: &["/var/lib/ca-certificates/ca-bundle.pem"],
        anchors: Some("/etc/pki/trust/anchors"),
        hashed: Some("/var/lib/ca-certificates/pem"),
        names: Some("/etc/ssl/ca-bundle.pem"),
    },
    TreeCase {
        name: "arch",
        tree: &[
            "/etc/ca-certificates/extracted/tls-ca-bundle.pem",
            "/etc/ca-certificates/trust-source/anchors/",
            "/etc/ssl/certs/ca-certificates.crt -> ../../ca-certificates/extracted/tls-ca-bundle.pem",
            "/etc/ssl/cert.pem -> ../ca-certificates/extracted/tls-ca-bundle.pem",
        ],
        bundles: &["/etc/ca-certificates/extracted/tls-ca-bundle.pem"],
        anchors: Some("/etc/ca-certificates/trust-source/anchors"),
        hashed: Some("/etc/ssl/certs"),
        names: Some(DEBIAN),
    },
    TreeCase {
        name: "distroless",
        tree: &[DEBIAN, "/var/lib/dpkg/status.d/base"],
        bundles: &[DEBIAN],
        anchors: None,
        hashed: Some("/etc/ssl/certs"),
        names: Some(DEBIAN),
    },
    TreeCase {
        name: "scratch",
        tree: &["/program"],
        bundles: NONE,
        anchors: None,
        hashed: None,
        names: None,
    },
    TreeCase {
        name: "dangling",
        tree: &[
            "/etc/ssl/cert.pem -> /nowhere/x",
            "/etc/ssl/certs/ca-certificates.crt -> ../../gone",
        ],
        bundles: NONE,
        anchors: None,
        hashed: None,
        names: None,
    },
    TreeCase {
        name: "outside",
        tree: &[
            "/etc/ssl/cert.pem -> ../../../../../../inside",
            "/inside",
            "/etc/pki/tls/cert.pem/",
            "/etc/ssl/ca-bundle.pem -> /etc/ssl/../../../../inside",
        ],
        bundles: &["/inside"],
        anchors: None,
        hashed: None,
        names: Some("/etc/ssl/ca-bundle.pem"),
    },
];

#[derive(Clone, Default)]
struct AskedOnEngine {
    image: String,
    avoid: Vec<String>,
    extra: Vec<String>,
    root: Option<&'static Root>,
}

/// A gateway in front of a real engine that installs on `start` and `restart`, and undoes on `stop`.
struct Rig {
    engine: TestEngine,
    memory: Arc<Memory>,
    asked: Arc<Mutex<AskedOnEngine>>,
    found: Arc<Mutex<Option<Arc<Layout>>>>,
}

impl Rig {
    fn new() -> Rig {
        let engine = TestEngine {
            path: std::env::var_os("DOCKGATE_REAL_ENGINE").expect("its socket").into(),
            asked: mpsc::channel().1,
            _dir: tempfile::tempdir().unwrap(),
        };
        Rig { engine, memory: Arc::default(), asked: Arc::default(), found: Arc::default() }
    }

    fn client(&self) -> UnixStream {
        let (asked, found) = (Arc::clone(&self.asked), Arc::clone(&self.found));
        let wants = move |call: &Typed, cx: &Context<'_>| {
            let AskedOnEngine { image, avoid, extra, root } = asked.lock().unwrap().clone();
            let question = Question::Layout(image);
            let layout = match cx.facts.get(&question) {
                None => return Says::Ask(vec![question]),
                Some(Fact::Layout(layout)) => Arc::clone(layout),
                Some(other) => return told(&format!("{other:?}")),
            };
            *found.lock().unwrap() = Some(Arc::clone(&layout));
            let verb = call.row().path.rsplit('/').next().unwrap_or_default();
            let conf = ("/etc/apt/apt.conf.d/99dockgate".to_owned(), Arc::from(&b"x\n"[..]));
            let files = if layout.apt { vec![conf] } else { Vec::new() };
            let wanted = WantedInstall {
                container: call.names()[0].clone(),
                layout,
                is_new: verb == "start",
                extra,
                avoid,
                roots: vec![root.unwrap().anchor()],
                past: Vec::new(),
                files,
            };
            let deed = match verb {
                "stop" => Deed::Uninstall(wanted),
                _ => Deed::Install(wanted),
            };
            match cx.facts.outcome(&deed) {
                None => Says::Do(vec![deed]),
                Some(Ok(())) => told("done"),
                Some(Err(why)) => told(why),
            }
        };
        client_with(&self.engine, Arc::clone(&self.memory), wants, keep)
    }

    fn tell(&self, verb: &str, container: &str) -> String {
        outcome(self.told(verb, container))
    }

    /// A client that waits for the outcome.
    fn told(&self, verb: &str, container: &str) -> UnixStream {
        let mut client = self.client();
        ask(&mut client, &format!("POST /v1.40/containers/{container}/{verb}"));
        client
    }

    fn docker(&self, args: &[&str]) -> Vec<u8> {
        let (output, err, ok) = self.try_docker(args, &[]);
        assert!(ok, "docker {args:?}: {err}");
        output
    }

    fn line(&self, args: &[&str]) -> String {
        String::from_utf8(self.docker(args)).unwrap().trim().to_owned()
    }

    fn try_docker(&self, args: &[&str], input: &[u8]) -> (Vec<u8>, String, bool) {
        let docker = std::env::var("DOCKER").unwrap_or_else(|_| "docker".to_owned());
        let mut child = Command::new(docker)
            .args(args)
            .env("DOCKER_HOST", format!("unix://{}", self.engine.path.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().unwrap();
        let _ = writer.join().unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.stdout, err, output.status.success())
    }

    /// An image of a file tree: its id.
    fn image(&self, tree: &[&str], change: &str) -> String {
        let mut tar = TarWriter::default();
        for one in tree {
            match (one.split_once(" -> "), one.strip_suffix('/')) {
                (Some((path, to)), _) => tar.link(path, to),
                (None, Some(folder)) => tar.folder(folder),
                (None, None) => {
                    let content = BUNDLE.to_vec();
                    let file =
                        TarFile { mode: 0o664, uid: 5, gid: 7, mtime: 1_000_000_000, content };
                    assert!(tar.file(one, &file));
                }
            }
        }
        let tar = tar.end().unwrap();
        let (id, err, ok) = self.try_docker(&["import", "-c", change, "-"], &tar);
        assert!(ok, "{err}");
        String::from_utf8(id).unwrap().trim().to_owned()
    }

    fn container(&self, image: &str, options: &[&str]) -> String {
        self.line(&[&["create"], options, &[image, "/x"]].concat())
    }

    /// A file as the CLI copies it out.
    fn file(&self, container: &str, path: &str) -> Option<TarFile> {
        let (tar, _, ok) = self.try_docker(&["cp", &format!("{container}:{path}"), "-"], &[]);
        ok.then(|| first_file(tar).unwrap()).flatten()
    }

    fn entry(&self, container: &str, path: &str) -> Option<(EntryKind, String)> {
        let (tar, _, ok) = self.try_docker(&["cp", &format!("{container}:{path}"), "-"], &[]);
        let entry = ok.then(|| Archive::default().push(&tar).unwrap().remove(0))?;
        Some((entry.kind, String::from_utf8(entry.link).unwrap()))
    }

    fn want(&self, image: &str, root: &'static Root) {
        let image = image.to_owned();
        *self.asked.lock().unwrap() =
            AskedOnEngine { image, root: Some(root), ..AskedOnEngine::default() };
    }

    fn nothing_is_left(&self) {
        assert_eq!(self.line(&["ps", "-aq", "--filter", "label=io.dockgate.probe"]), "");
    }
}

/// What came of it.
fn outcome(mut client: UnixStream) -> String {
    until(&mut client, "\r\n\r\n");
    let body = until(&mut client, "]\n");
    body.trim().trim_start_matches("[\"").trim_end_matches("\"]").to_owned()
}

/// An answer in the engine's place.
fn told(what: &str) -> Says {
    Says::Answer(Reply { status: 200, json: Some(json!([what])) })
}

fn original() -> TarFile {
    TarFile { mode: 0o664, uid: 5, gid: 7, mtime: 1_000_000_000, content: BUNDLE.to_vec() }
}

#[test]
#[ignore = "needs an engine: tests/transparent/install.sh"]
fn every_layout_is_found_trusts_the_root_and_is_put_back() {
    let rig = Rig::new();
    for TreeCase { name, tree, bundles, anchors, hashed, names } in CASES {
        let image = rig.image(tree, "ENV CASE=1");
        let container = rig.container(&image, &[]);
        rig.want(&image, &OLD);
        assert_eq!(rig.tell("start", &container), "done", "{name}");
        let layout = rig.found.lock().unwrap().clone().unwrap();
        let found: Vec<&str> = layout.bundles.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(found, *bundles, "{name}");
        let place = (layout.anchors.as_deref(), layout.hashed.as_deref());
        assert_eq!(place, (*anchors, *hashed), "{name}");
        assert_eq!(layout.bundle_path.as_deref(), *names, "{name}");
        assert_eq!(layout.apt, tree.iter().any(|one| one.contains("apt.conf.d")), "{name}");
        let trusts = |root: &Root| {
            for path in *bundles {
                let file = rig.file(&container, path).unwrap();
                let content = with_root(BUNDLE, &root.pem);
                assert_eq!(file, TarFile { content, ..original() }, "{name} {path}");
            }
            if let Some(folder) = anchors {
                let anchor = rig.file(&container, &format!("{folder}/dockgate.crt")).unwrap();
                assert_eq!((anchor.mode, anchor.uid), (0o644, 0), "{name}");
                assert_eq!(anchor.content, with_root(b"", &root.pem), "{name}");
            }
            if let Some(folder) = hashed {
                let link = rig.entry(&container, &format!("{folder}/{}.0", root.hash));
                let to = match anchors {
                    Some(anchors) => format!("{anchors}/dockgate.crt"),
                    None => format!("{folder}/dockgate.pem"),
                };
                assert_eq!(link, Some((EntryKind::Symlink, to)), "{name}");
            }
        };
        trusts(&OLD);
        rig.want(&image, &NEW);
        assert_eq!(rig.tell("restart", &container), "done", "{name}");
        trusts(&NEW);
        assert_eq!(rig.tell("stop", &container), "done", "{name}");
        for path in *bundles {
            assert_eq!(rig.file(&container, path), Some(original()), "{name} {path}");
        }
        for folder in [anchors, hashed].into_iter().flatten() {
            for file in ["dockgate.crt", "dockgate.pem", &format!("{}.0", NEW.hash)] {
                let left = rig.entry(&container, &format!("{folder}/{file}"));
                let is_gone = left.as_ref().is_none_or(|(_, link)| link == "/dev/null");
                assert!(is_gone, "{name} {folder}: {left:?}");
            }
        }
        // And once more: what is in the place of what was ours is no obstacle.
        assert_eq!(rig.tell("restart", &container), "done", "{name}");
        trusts(&NEW);
        rig.docker(&["rm", "-f", &container]);
    }
    rig.nothing_is_left();
}

#[test]
#[ignore = "needs an engine: tests/transparent/install.sh"]
fn folders_that_an_install_makes_are_as_a_package_makes_them() {
    let rig = Rig::new();
    let image = rig.image(&["/etc/apt/"], "ENV A=1");
    let container = rig.container(&image, &[]);
    rig.want(&image, &OLD);
    assert_eq!(rig.tell("start", &container), "done");
    for folder in ["/usr", "/usr/local/share", ANCHORS] {
        let tar = rig.docker(&["cp", &format!("{container}:{folder}"), "-"]);
        assert_eq!(&tar[103..107], b"0755", "{folder}");
        assert_eq!(&tar[108..115], b"0000000", "{folder}");
    }
    let layout = rig.found.lock().unwrap().clone().unwrap();
    assert_eq!(layout.made, ["/usr", "/usr/local", "/usr/local/share", ANCHORS]);
}

#[test]
#[ignore = "needs an engine: tests/transparent/install.sh"]
fn what_is_mounted_is_not_touched_whatever_its_path_is_called() {
    let rig = Rig::new();
    let tree = ["/real/certs/ca-certificates.crt", "/etc/ssl -> ../real", "/etc/apt/"];
    let image = rig.image(&tree, "ENV A=2");
    let volumes = || rig.line(&["volume", "ls", "-q"]);
    for mount in ["/etc/ssl", "/real/certs"] {
        let container = rig.container(&image, &["-v", &format!("own:{mount}")]);
        rig.want(&image, &OLD);
        rig.asked.lock().unwrap().avoid = vec![mount.to_owned()];
        assert_eq!(rig.tell("start", &container), "done");
        let bundle = rig.file(&container, "/real/certs/ca-certificates.crt");
        assert_eq!(bundle, Some(original()), "{mount}");
        assert!(rig.entry(&container, "/real/certs/dockgate.pem").is_none(), "{mount}");
        assert!(rig.file(&container, &format!("{ANCHORS}/dockgate.crt")).is_some(), "{mount}");
        rig.docker(&["rm", "-fv", &container]);
        rig.docker(&["volume", "rm", "own"]);
    }
    // An image's own volume comes and goes with the probe.
    let before = volumes();
    let image = rig.image(&[DEBIAN], "VOLUME /etc/ssl");
    let container = rig.container(&rig.image(&["/x"], "ENV A=3"), &[]);
    rig.want(&image, &OLD);
    assert_eq!(rig.tell("start", &container), "done");
    assert_eq!(rig.found.lock().unwrap().clone().unwrap().bundles.len(), 1);
    assert_eq!(volumes(), before);
    rig.nothing_is_left();
}

#[test]
#[ignore = "needs an engine: tests/transparent/install.sh"]
fn what_a_job_has_changed_meanwhile_stays_and_nothing_of_ours_does() {
    let rig = Rig::new();
    let image = rig.image(&[DEBIAN, "/usr/local/share/ca-certificates/"], "ENV A=4");
    let container = rig.container(&image, &[]);
    rig.want(&image, &OLD);
    rig.asked.lock().unwrap().extra = vec!["/own.pem".to_owned(), "/missing".to_owned()];
    let cp = |content: &[u8], folder: &str, name: &str| {
        let mut tar = TarWriter::default();
        assert!(tar.file(name, &TarFile { content: content.to_vec(), ..original() }));
        let to = format!("{container}:{folder}");
        let (_, err, ok) = rig.try_docker(&["cp", "-", &to], &tar.end().unwrap());
        assert!(ok, "{err}");
    };
    cp(b"-----BEGIN CERTIFICATE-----\nDDDD\n-----END CERTIFICATE-----", "/", "own.pem");
    assert_eq!(rig.tell("start", &container), "done");
    let own = rig.file(&container, "/own.pem").unwrap();
    assert!(
        own.content.len() > OLD.pem.len()
            && own.content.starts_with(b"-----BEGIN CERTIFICATE-----\nDDDD")
    );
    // A tool has made the bundle anew, with one certificate more and no marks.
    let more = b"-----BEGIN CERTIFICATE-----\nCCCC\n-----END CERTIFICATE-----\n";
    cp(&[more, OLD.pem.as_bytes()].concat(), "/etc/ssl/certs", "ca-certificates.crt");
    assert_eq!(rig.tell("stop", &container), "done");
    assert_eq!(rig.file(&container, DEBIAN).unwrap().content, more);
    let own = rig.file(&container, "/own.pem").unwrap();
    assert_eq!(own.content, b"-----BEGIN CERTIFICATE-----\nDDDD\n-----END CERTIFICATE-----");
}

#[test]
#[ignore = "needs an engine: tests/transparent/install.sh"]
fn what_cannot_be_done_is_said() {
    let rig = Rig::new();
    let image = rig.image(&[DEBIAN], "ENV A=5");
    rig.want(&image, &OLD);
    let container = rig.container(&image, &["--read-only"]);
    let why = rig.tell("start", &container);
    assert!(why.contains("read-only"), "{why}");
    rig.docker(&["rm", &container]);
    assert_ne!(rig.tell("start", &container), "done", "it is gone");
    assert_eq!(rig.tell("stop", &container), "done", "nothing of ours is in it");
    rig.want(&format!("sha256:{}", "0".repeat(64)), &OLD);
    assert!(rig.tell("start", &container).contains("no such image"));
    rig.want("debian:bookworm", &OLD);
    assert!(rig.tell("start", &container).contains("no image's id"));
}

#[test]
#[ignore = "needs an engine: tests/transparent/install.sh"]
fn an_image_is_looked_at_once_however_many_ask() {
    let rig = Rig::new();
    let image = rig.image(&[DEBIAN, "/etc/apt/"], "ENV A=6");
    rig.want(&image, &OLD);
    let container = rig.container(&image, &[]);
    let since = rig.line(&["info", "--format", "{{.SystemTime}}"]);
    let began = Instant::now();
    let clients: Vec<_> = (0..8).map(|_| rig.told("restart", &container)).collect();
    for client in clients {
        assert_eq!(outcome(client), "done");
    }
    eprintln!("8 at once: {:?}", began.elapsed());
    for verb in ["start", "restart", "stop"] {
        let began = Instant::now();
        rig.tell(verb, &container);
        eprintln!("{verb}: {:?}", began.elapsed());
    }
    let until = rig.line(&["info", "--format", "{{.SystemTime}}"]);
    let args = [
        "events",
        "--since",
        &since,
        "--until",
        &until,
        "--filter",
        "event=create",
        "--format",
        "{{.Actor.Attributes.name}}",
    ];
    let made = rig.line(&args);
    assert_eq!(
        made.lines().filter(|name| name.starts_with("dockgate-probe-")).count(),
        1,
        "{made}"
    );
    rig.nothing_is_left();
}

/// A key store of Java's with nothing in it.
fn keystore() -> Vec<u8> {
    let mut store = vec![0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2, 0, 0, 0, 0];
    let mut digest = Digest::new(&SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(&"changeit".bytes().flat_map(|byte| [0, byte]).collect::<Vec<u8>>());
    digest.update(b"Mighty Aphrodite");
    digest.update(&store);
    store.extend_from_slice(digest.finish().as_ref());
    store
}

#[test]
#[ignore = "needs an engine: tests/transparent/install.sh"]
fn a_key_store_is_found_by_java_home_and_put_back() {
    let rig = Rig::new();
    let mut tar = TarWriter::default();
    let file = TarFile { content: keystore(), ..original() };
    assert!(tar.file("/odd/java/lib/security/cacerts", &file));
    tar.link("/odd/home", "java");
    let input = tar.end().unwrap();
    let (image, err, ok) =
        rig.try_docker(&["import", "-c", "ENV JAVA_HOME=/odd/home", "-"], &input);
    assert!(ok, "{err}");
    let image = String::from_utf8(image).unwrap().trim().to_owned();
    let container = rig.container(&image, &[]);
    let path = "/odd/java/lib/security/cacerts";
    let has = |root: &Root| {
        let now = rig.file(&container, path).unwrap();
        assert_eq!((now.mode, now.uid, now.gid), (0o664, 5, 7));
        memchr::memmem::find(&now.content, &root.der).is_some()
    };
    rig.want(&image, &OLD);
    assert_eq!(rig.tell("start", &container), "done");
    assert!(has(&OLD));
    rig.want(&image, &NEW);
    assert_eq!(rig.tell("restart", &container), "done");
    assert!(has(&NEW) && !has(&OLD));
    assert_eq!(rig.tell("stop", &container), "done");
    assert_eq!(rig.file(&container, path), Some(file));
}
