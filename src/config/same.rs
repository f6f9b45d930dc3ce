//! Whether a listener and the engine have one address, in whatever spelling: a gateway in front of itself.
//!
//! `check` asks for what is written, `run` for what was opened. What must stay true: no network, and what is
//! told apart by spelling only is the same.

use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};

use super::Bind;
use super::check::host_of;

/// `engine` is a URL, as in `engine.url`.
pub fn is_same(bind: &Bind, engine: &str) -> bool {
    match (bind, engine.split_once("://")) {
        (Bind::Unix { path, .. }, Some(("unix", other))) => real(path) == real(Path::new(other)),
        (Bind::Tcp { address }, Some(("tcp" | "tls", other))) => {
            leads_to(other.strip_suffix('/').unwrap_or(other), address)
        }
        _ => false,
    }
}

/// The path as the kernel walks it, as far as it exists, and the rest by its letters.
fn real(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
        // Link by link: `..` behind one is of where it leads to.
        clean = clean.canonicalize().unwrap_or(clean);
    }
    clean
}

/// Whether who connects to the one address finds who listens on the other.
fn leads_to(engine: &str, listener: &str) -> bool {
    let port = |address: &str| address.rsplit_once(':')?.1.parse::<u16>().ok();
    let (Some(to), Some(at)) = (host_of(engine), host_of(listener)) else { return false };
    if port(engine) != port(listener) || port(engine) == Some(0) {
        return false;
    }
    match (Host::of(to), Host::of(at)) {
        (Host::Name(one), Host::Name(other)) => one == other,
        // Another machine's name may stand for one of these addresses, which only a look-up could tell.
        (Host::Name(_), _) | (_, Host::Name(_)) => false,
        (to, Host::Any) => matches!(to, Host::Any | Host::Loopback(_)),
        // Linux connects to the unspecified address on loopback.
        (Host::Any, at) => matches!(at, Host::Loopback(_)),
        (Host::Loopback(one), Host::Loopback(other)) => {
            one == other || one.is_none() || other.is_none()
        }
        (one, other) => one == other,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Host {
    Any,
    /// Of one family, or both (`localhost`).
    Loopback(Option<IpAddr>),
    Address(IpAddr),
    Name(String),
}

impl Host {
    fn of(text: &str) -> Host {
        let text = text.to_ascii_lowercase();
        match text.parse::<IpAddr>().map(|address| address.to_canonical()) {
            Ok(address) if address.is_unspecified() => Host::Any,
            Ok(address) if address.is_loopback() => Host::Loopback(Some(address)),
            Ok(address) => Host::Address(address),
            Err(_) if text.is_empty() => Host::Any,
            Err(_) if text.trim_end_matches('.') == "localhost" => Host::Loopback(None),
            Err(_) => Host::Name(text.trim_end_matches('.').to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(path: &Path) -> Bind {
        Bind::Unix { path: path.to_owned(), mode: 0, owner: None, group: None }
    }

    #[test]
    fn a_path_is_the_same_in_every_spelling() {
        let dir = tempfile::tempdir().unwrap();
        let at = |rest: &str| dir.path().join(rest);
        std::fs::create_dir_all(at("run/deep")).unwrap();
        std::os::unix::fs::symlink(at("run"), at("link")).unwrap();
        std::os::unix::fs::symlink(at("run/deep"), at("into")).unwrap();
        std::os::unix::fs::symlink(at("run/d.sock"), at("d.sock")).unwrap();
        let listener = unix(&at("run/d.sock"));
        // Before there is such a socket, and when there is one.
        for exists in [false, true] {
            if exists {
                drop(std::os::unix::net::UnixListener::bind(at("run/d.sock")).unwrap());
            }
            for same in [
                "run/d.sock",
                "run//./d.sock",
                "run/deep/../d.sock",
                "link/d.sock",
                "into/../d.sock",
            ] {
                let engine = format!("unix://{}", at(same).display());
                assert!(is_same(&listener, &engine), "{same} {exists}");
            }
            for other in ["d", "run/e.sock", "run/deep/d.sock", "into/d.sock", "../d.sock"] {
                let engine = format!("unix://{}", at(other).display());
                assert!(!is_same(&listener, &engine), "{other} {exists}");
            }
        }
        assert!(is_same(&listener, &format!("unix://{}", at("d.sock").display())), "a link to it");
        assert!(is_same(
            &unix(&at("absent/x")),
            &format!("unix://{}", at("absent/y/../x").display())
        ));
        assert!(!is_same(&listener, "tcp://127.0.0.1:1"));
    }

    #[test]
    fn an_address_is_the_same_in_every_spelling() {
        for (listener, engine, wanted) in [
            ("127.0.0.1:2375", "tcp://127.0.0.1:2375", true),
            ("127.0.0.1:2375", "tcp://127.0.0.1:2375/", true),
            ("127.0.0.1:2375", "tls://localhost:2375", true),
            ("127.0.0.1:2375", "tcp://LOCALHOST.:2375", true),
            ("localhost:2375", "tcp://[::1]:2375", true),
            ("0.0.0.0:2375", "tcp://127.0.0.1:2375", true),
            ("[::]:2375", "tcp://127.0.0.1:2375", true),
            (":2375", "tcp://localhost:2375", true),
            ("127.0.0.1:2375", "tcp://0.0.0.0:2375", true),
            ("0.0.0.0:2375", "tcp://[::]:2375", true),
            ("[::ffff:127.0.0.1]:2375", "tcp://127.0.0.1:2375", true),
            ("10.0.0.1:2375", "tcp://10.0.0.1:2375", true),
            ("docker.example:2375", "tcp://Docker.example:2375", true),
            ("127.0.0.1:2375", "tcp://127.0.0.1:2376", false),
            ("127.0.0.1:2375", "tcp://127.0.0.2:2375", false),
            ("127.0.0.1:2375", "tcp://[::1]:2375", false),
            ("127.0.0.1:2375", "tcp://docker:2375", false),
            ("10.0.0.1:2375", "tcp://0.0.0.0:2375", false),
            ("0.0.0.0:2375", "tcp://10.0.0.1:2375", false),
            ("127.0.0.1:0", "tcp://127.0.0.1:0", false),
            ("127.0.0.1:2375", "unix:///127.0.0.1:2375", false),
        ] {
            let bind = Bind::Tcp { address: listener.to_owned() };
            assert_eq!(is_same(&bind, engine), wanted, "{listener} {engine}");
        }
    }
}
