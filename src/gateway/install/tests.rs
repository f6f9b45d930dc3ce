//! Archives of an install and of its end, without an engine.

use std::sync::LazyLock;
use std::time::SystemTime;

use super::*;
use crate::ca::trust::hashed::subject_hash;
use crate::ca::{Authority, AuthoritySettings};
use crate::policy::TrustAnchor;
use crate::wire::tar::{Archive, EntryKind};

static ROOT: LazyLock<Arc<TrustAnchor>> = LazyLock::new(|| root("first"));

fn root(id: &str) -> Arc<TrustAnchor> {
    let (domains, lifetime) = (vec!["packages.example".to_owned()], Duration::from_secs(600));
    let crl_base = "http://192.0.2.1".to_owned();
    let authority = Authority::new(AuthoritySettings { domains, crl_base, lifetime });
    let generation = authority.current(SystemTime::now()).unwrap();
    Arc::new(TrustAnchor {
        generation: id.to_owned(),
        pem: generation.root_pem().into(),
        der: generation.root_der().into(),
        subject_hash: subject_hash(generation.root_der()),
    })
}
const BUNDLE: &[u8] = b"# theirs\n-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n";
const DEBIAN: &str = "/etc/ssl/certs/ca-certificates.crt";

fn file(path: &str, content: &[u8]) -> TrustFile {
    let content = Arc::from(content);
    TrustFile { path: path.to_owned(), mode: 0o640, uid: 0, gid: 7, mtime: 99, content }
}

fn debian() -> Layout {
    Layout {
        bundles: vec![file(DEBIAN, BUNDLE)],
        anchors: Some("/usr/local/share/ca-certificates".to_owned()),
        hashed: Some("/etc/ssl/certs".to_owned()),
        apt: true,
        bundle_path: Some(DEBIAN.to_owned()),
        ..Layout::default()
    }
}

fn wanted(layout: &Layout, avoid: &[&str]) -> WantedInstall {
    WantedInstall {
        container: "c".to_owned(),
        layout: Arc::new(layout.clone()),
        is_new: true,
        extra: Vec::new(),
        avoid: avoid.iter().map(|path| (*path).to_owned()).collect(),
        roots: vec![Arc::clone(&ROOT)],
        past: Vec::new(),
        files: vec![("/etc/apt/apt.conf.d/99dockgate".to_owned(), Arc::from(&b"conf"[..]))],
    }
}

fn put(wanted: &WantedInstall) -> Option<Vec<u8>> {
    let mut put = Put::new(wanted);
    for file in &wanted.layout.bundles {
        put.bundle(file);
    }
    put.own_files();
    put.end().unwrap()
}

/// `path`, or `path -> link`.
fn told(tar: &[u8]) -> Vec<String> {
    let entries = Archive::default().push(tar).unwrap();
    let told = |entry: crate::wire::tar::TarEntry| {
        assert!(matches!(entry.kind, EntryKind::File | EntryKind::Symlink), "{entry:?}");
        let text = |bytes| String::from_utf8(bytes).unwrap();
        match entry.link.is_empty() {
            true => text(entry.path),
            false => format!("{} -> {}", text(entry.path), text(entry.link)),
        }
    };
    entries.into_iter().map(told).collect()
}

#[test]
fn an_install_is_plain_files_under_their_full_names_and_the_link_of_the_hash() {
    let tar = put(&wanted(&debian(), &[])).unwrap();
    let told = told(&tar);
    assert_eq!(told.len(), 4, "{told:?}");
    assert_eq!(
        told[..2],
        ["etc/ssl/certs/ca-certificates.crt", "usr/local/share/ca-certificates/dockgate.crt"]
    );
    assert!(
        told[2].starts_with("etc/ssl/certs/")
            && told[2].ends_with(".0 -> /usr/local/share/ca-certificates/dockgate.crt")
    );
    assert_eq!(told[3], "etc/apt/apt.conf.d/99dockgate");
    let first = crate::wire::tar::first_file(tar).unwrap().unwrap();
    assert_eq!((first.mode, first.uid, first.gid, first.mtime), (0o640, 0, 7, 99));
    assert!(first.content.starts_with(BUNDLE));
    assert!(memchr::memmem::find(&first.content, ROOT.pem.trim_end().as_bytes()).is_some());
}

#[test]
fn nothing_is_written_where_something_is_mounted() {
    let told_but =
        |avoid: &[&str]| put(&wanted(&debian(), avoid)).map(|tar| told(&tar)).unwrap_or_default();
    assert_eq!(told_but(&["/etc", "/usr"]), [""; 0]);
    assert_eq!(told_but(&["/etc"]), ["usr/local/share/ca-certificates/dockgate.crt"]);
    let without_anchors = told_but(&["/usr/local/share/ca-certificates"]);
    assert!(
        without_anchors.contains(&"etc/ssl/certs/dockgate.pem".to_owned()),
        "{without_anchors:?}"
    );
    assert!(without_anchors.iter().any(|one| one.ends_with(".0 -> /etc/ssl/certs/dockgate.pem")));
}

#[test]
fn another_generation_takes_the_place_of_the_one_before() {
    let mut layout = debian();
    let old = "-----BEGIN CERTIFICATE-----\nCCCC\n-----END CERTIFICATE-----";
    layout.bundles[0].content = Arc::from(crate::ca::trust::bundle::with_root(BUNDLE, old));
    let first = crate::wire::tar::first_file(put(&wanted(&layout, &[])).unwrap()).unwrap().unwrap();
    let once =
        crate::wire::tar::first_file(put(&wanted(&debian(), &[])).unwrap()).unwrap().unwrap();
    assert_eq!(first.content, once.content);
}

#[test]
fn two_roots_are_put_and_both_are_taken_out() {
    let second = wanted(&debian(), &[]).with_newer(root("second"));
    let tar = put(&second).unwrap();
    let links = told(&tar).into_iter().filter(|one| one.contains(".0 -> /usr/local/share")).count();
    assert_eq!(links, 2);
    let both = crate::wire::tar::first_file(tar).unwrap().unwrap().content;
    for root in &second.roots {
        let pem = root.pem.trim_end().as_bytes();
        assert!(memchr::memmem::find(&both, pem).is_some(), "{}", root.generation);
    }
    let mut layout = debian();
    // As `trust extract` writes it.
    layout.bundles[0].content = Arc::from(
        [second.roots[0].pem.as_bytes(), second.roots[1].pem.as_bytes(), BUNDLE].concat(),
    );
    let image = debian();
    let mut undo = Undo::new(&second, &image);
    undo.bundle(&layout.bundles[0]);
    let back = crate::wire::tar::first_file(undo.end().1.unwrap().unwrap()).unwrap().unwrap();
    assert_eq!(back.content, BUNDLE);
    let third = second.with_newer(root("third"));
    layout.bundles[0].content = Arc::from(both);
    let third = WantedInstall { layout: Arc::new(layout), ..third };
    let put = crate::wire::tar::first_file(put(&third).unwrap()).unwrap().unwrap().content;
    assert!(memchr::memmem::find(&put, ROOT.pem.trim_end().as_bytes()).is_none(), "the first went");
}

#[test]
fn an_end_gives_back_what_was_there_and_leaves_alone_what_has_nothing_of_ours() {
    let image = debian();
    let with_root = crate::ca::trust::bundle::with_root(BUNDLE, &ROOT.pem);
    // As `trust extract` writes it: another order, no marks.
    let made_anew = [ROOT.pem.as_bytes(), BUNDLE].concat();
    let by_older =
        [b"-----BEGIN CERTIFICATE-----\nCCCC\n-----END CERTIFICATE-----\n", BUNDLE].concat();
    for now in [&with_root, &made_anew, &by_older] {
        let mut layout = image.clone();
        layout.bundles[0].content = Arc::from(now.as_slice());
        let wanted = wanted(&layout, &[]);
        let mut undo = Undo::new(&wanted, &image);
        undo.also(b"-----BEGIN CERTIFICATE-----\nCCCC\n-----END CERTIFICATE-----\n");
        undo.bundle(&layout.bundles[0]);
        undo.hide("/usr/local/share/ca-certificates/dockgate.crt");
        let (left, tar) = undo.end();
        assert!(left.is_empty());
        let tar = tar.unwrap().unwrap();
        assert_eq!(told(&tar)[1], "usr/local/share/ca-certificates/dockgate.crt -> /dev/null");
        let file = crate::wire::tar::first_file(tar).unwrap().unwrap();
        assert_eq!((file.content.as_slice(), file.mode, file.mtime), (BUNDLE, 0o640, 99));
    }
    let wanted = wanted(&image, &[]);
    let mut undo = Undo::new(&wanted, &image);
    undo.bundle(&image.bundles[0]);
    assert_eq!(undo.end(), (Vec::new(), Ok(None)));
}

#[test]
fn a_key_store_is_put_back_as_the_image_has_it_and_one_of_a_job_is_named() {
    let store = file("/j/cacerts", &[0xfe, 0xed, 0xfe, 0xed, 9]);
    let ours = file("/j/cacerts", &[&[0xfe, 0xed, 0xfe, 0xed, 9], &*ROOT.der].concat());
    let image = Layout { keystores: vec![store.clone()], ..Layout::default() };
    let wanted = wanted(&Layout::default(), &[]);
    let mut undo = Undo::new(&wanted, &image);
    undo.keystore(&ours);
    undo.keystore(&store);
    let (left, tar) = undo.end();
    assert!(left.is_empty());
    let back = crate::wire::tar::first_file(tar.unwrap().unwrap()).unwrap().unwrap();
    assert_eq!(back.content, *store.content);
    let image = debian();
    let mut undo = Undo::new(&wanted, &image);
    undo.keystore(&ours);
    assert_eq!(undo.end(), (vec!["/j/cacerts".to_owned()], Ok(None)));
}
