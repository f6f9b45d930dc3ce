//! `dockgate cache env`: what each client has to be told to ask a cache.
//!
//! Reads the configuration and asks nobody. What must stay true: what is printed can be given to a shell
//! as it is, `eval "$(dockgate cache env)"`: variables are set, all else is a comment.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::config::{self, Cache, CacheListen, Text};

#[derive(Debug, clap::Args)]
pub(super) struct EnvArgs {
    /// Configuration file.
    #[arg(short, long, value_name = "FILE", default_value = "/etc/dockgate/dockgate.toml")]
    config: PathBuf,
    /// The cache, where there are several.
    #[arg(long, value_name = "NAME")]
    cache: Option<String>,
    /// What clients call the cache, such as `cache.example.com:3128`, where that is not an address of it.
    #[arg(long, value_name = "HOST")]
    at: Option<String>,
    /// The certificates that clients are to trust, where they ask over `https://`: the system's, and that of
    /// who has signed `tls.cert`.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl EnvArgs {
    pub(super) fn text(&self) -> Result<String, String> {
        let config = config::load(&self.config).map_err(|invalid| invalid.to_string())?;
        let cache = self.chosen(&config.caches)?;
        text(cache, self.at.as_deref(), self.ca.as_deref())
    }

    fn chosen<'c>(&self, caches: &'c [Cache]) -> Result<&'c Cache, String> {
        let names = || caches.iter().map(|one| format!("`{}`", one.name)).collect::<Vec<_>>();
        match (&self.cache, caches) {
            (Some(name), _) => caches.iter().find(|one| one.name == *name).ok_or_else(|| {
                format!("there is no cache `{name}`. hint: there are {}", names().join(", "))
            }),
            (None, [one]) => Ok(one),
            (None, []) => Err("there is no `[cache.NAME]` in this file".to_owned()),
            (None, _) => Err(format!("which cache? hint: `--cache`, of {}", names().join(", "))),
        }
    }
}

fn text(cache: &Cache, at: Option<&str>, ca: Option<&Path>) -> Result<String, String> {
    let mut out = Out(String::new());
    let named = at.or_else(|| cache.mirror.as_ref()?.hosts.first().map(|host| host.text.as_str()));
    // A certificate need not be trusted for what is plain.
    let by_choice = |one: &&CacheListen| (one.address().is_none(), one.has_tls);
    let Some(listen) = cache.listen.iter().min_by_key(by_choice) else { return Ok(out.0) };
    let scheme = if listen.has_tls { "https" } else { "http" };
    let Some(host) = named.map(str::to_owned).or_else(|| reachable(listen)) else {
        return Err(format!(
            "cache `{}` is on `{listen}`, which these clients cannot ask. hint: `--at HOST`, if something leads there",
            cache.name
        ));
    };
    let base = format!("{scheme}://{host}");
    if cache.forward {
        proxy(&mut out, &base);
    }
    if cache.listen.iter().any(|one| one.has_tls) {
        authorities(&mut out, ca);
    }
    registries(&mut out, cache, &base, &host);
    if out.0.is_empty() {
        out.note("clients ask by the names of `domains` and `origins`: lead those here by DNS");
    }
    Ok(out.0)
}

fn proxy(out: &mut Out, base: &str) {
    out.note(
        "every client, as a forward proxy. What goes over https is a tunnel: nothing of it is kept",
    );
    for name in ["http_proxy", "https_proxy"] {
        out.set(name, base);
    }
    out.note("apt: /etc/apt/apt.conf.d/01dockgate");
    out.line(&format!("Acquire::http::Proxy \"{base}\";"));
}

/// As each client calls them: the first ones replace the system's, node adds to them.
fn authorities(out: &mut Out, ca: Option<&Path>) {
    const NAMES: [&str; 9] = [
        "SSL_CERT_FILE",
        "CURL_CA_BUNDLE",
        "REQUESTS_CA_BUNDLE",
        "PIP_CERT",
        "CARGO_HTTP_CAINFO",
        "GIT_SSL_CAINFO",
        "BUNDLE_SSL_CA_CERT",
        "npm_config_cafile",
        "NODE_EXTRA_CA_CERTS",
    ];
    let Some(ca) = ca else {
        out.note("clients over https have to trust who signed `tls.cert`: `--ca FILE` says how");
        return;
    };
    out.note("over https: FILE has the system's authorities, and the one that signed `tls.cert`");
    let ca = ca.to_string_lossy();
    NAMES.iter().for_each(|name| out.set(name, &ca));
    out.note("apt: /etc/apt/apt.conf.d/01dockgate");
    out.line(&format!("Acquire::https::CaInfo \"{ca}\";"));
}

fn registries(out: &mut Out, cache: &Cache, base: &str, host: &str) {
    let Some(mirror) = &cache.mirror else { return };
    if !mirror.pypi.is_empty() {
        out.note("pip");
        out.set("PIP_INDEX_URL", &format!("{base}/pypi/simple/"));
        if base.starts_with("http:") {
            out.set("PIP_TRUSTED_HOST", host);
        }
        out.note("uv");
        out.set("UV_DEFAULT_INDEX", &format!("{base}/pypi/simple/"));
    }
    if !mirror.npm.is_empty() {
        out.note("npm, pnpm; yarn");
        out.set("npm_config_registry", &format!("{base}/npm/"));
        out.set("YARN_NPM_REGISTRY_SERVER", &format!("{base}/npm"));
    }
    if !mirror.crates.is_empty() {
        out.note("cargo: ~/.cargo/config.toml");
        out.line("[source.crates-io]");
        out.line("replace-with = \"dockgate\"");
        out.line("[source.dockgate]");
        out.line(&format!("registry = \"sparse+{base}/crates/\""));
    }
    if !mirror.deb.is_empty() {
        out.note("apt: /etc/apt/sources.list, in the place of `http://HOST/…`");
        for site in hosts(&mirror.deb) {
            out.line(&format!("deb {base}/deb/{site}/… SUITE main"));
        }
    }
    for site in hosts(&mirror.files) {
        let url = format!("{base}/files/{site}");
        match site {
            "proxy.golang.org" => {
                out.note("go");
                out.set("GOPROXY", &url);
            }
            "rubygems.org" => {
                out.note("bundler");
                out.line(&format!("bundle config set mirror.https://rubygems.org {url}"));
            }
            "repo.maven.apache.org" => {
                out.note("maven: ~/.m2/settings.xml");
                out.line("<mirrors><mirror><id>dockgate</id><mirrorOf>central</mirrorOf>");
                out.line(&format!("<url>{url}/maven2</url></mirror></mirrors>"));
            }
            _ => {
                out.note(&format!("in the place of `https://{site}`"));
                out.line(&url);
            }
        }
    }
}

fn hosts(urls: &[Text]) -> impl Iterator<Item = &str> {
    urls.iter().filter_map(|url| url.text.split_once("://")?.1.split('/').next())
}

/// An address that means every one is none to go to.
fn reachable(listen: &CacheListen) -> Option<String> {
    let address = listen.address()?;
    let (name, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let name = if matches!(name, "0.0.0.0" | "[::]") { "localhost" } else { name };
    Some(match (port, listen.has_tls) {
        ("80", false) | ("443", true) => name.to_owned(),
        _ => format!("{name}:{port}"),
    })
}

struct Out(String);

impl Out {
    fn note(&mut self, what: &str) {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        let _ = writeln!(self.0, "{gap}# {what}");
    }

    /// Of a file, or a command of the client's own.
    fn line(&mut self, line: &str) {
        let _ = writeln!(self.0, "#   {line}");
    }

    fn set(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.0, "export {name}='{}'", value.replace('\'', "'\\''"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(keys: &str, at: Option<&str>, ca: Option<&str>) -> String {
        let text = format!("[cache.x]\n{keys}");
        let config = config::parse(&text, Path::new("d.toml"), Path::new("/etc"), &|_| None);
        let config = config.unwrap_or_else(|invalid| panic!("{keys}\n{invalid}"));
        super::text(&config.caches[0], at, ca.map(Path::new)).unwrap()
    }

    const PLAIN: &str = "listen = [\"http://0.0.0.0:3128\"]\n";

    #[test]
    fn a_shell_takes_it_as_it_is() {
        let tls = "tls = { cert = \"c.pem\", key = \"k.pem\" }\n";
        for text in [
            printed(&format!("{PLAIN}mirror = {{}}\nforward = true\n"), None, None),
            printed(
                &format!("listen = [\"https://[::]\"]\n{tls}mirror = {{}}"),
                None,
                Some("/a'b"),
            ),
            printed(&format!("{PLAIN}domains = [\"a.example\"]"), Some("x'y"), None),
        ] {
            assert!(!text.is_empty());
            for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
                let (name, value) = line.strip_prefix("export ").unwrap().split_once('=').unwrap();
                assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{line}");
                let inner = value.strip_prefix('\'').unwrap().strip_suffix('\'').unwrap();
                assert!(!inner.replace("'\\''", "").contains('\''), "{line}");
            }
        }
    }

    #[test]
    fn clients_are_told_of_what_there_is() {
        let mirror = printed(&format!("{PLAIN}mirror = {{ npm = [] }}"), None, None);
        assert!(mirror.contains("export PIP_INDEX_URL='http://localhost:3128/pypi/simple/'"));
        assert!(mirror.contains("export PIP_TRUSTED_HOST='localhost:3128'"));
        assert!(mirror.contains("registry = \"sparse+http://localhost:3128/crates/\""));
        assert!(mirror.contains("deb http://localhost:3128/deb/deb.debian.org/"));
        assert!(mirror.contains("GOPROXY='http://localhost:3128/files/proxy.golang.org'"));
        assert!(!mirror.contains("npm_config_registry") && !mirror.contains("http_proxy"));
        let named = printed(&format!("{PLAIN}mirror = {{ hosts = [\"c.example\"] }}"), None, None);
        assert!(named.contains("npm_config_registry='http://c.example/npm/'"), "{named}");
        let proxy = printed("listen = [\"http://127.0.0.1:80\"]\nforward = true", None, None);
        assert!(proxy.contains("export http_proxy='http://127.0.0.1'") && !proxy.contains("PIP"));
        let at = printed(&format!("{PLAIN}mirror = {{}}"), Some("c.example:1"), None);
        assert!(at.contains("npm_config_registry='http://c.example:1/npm/'"), "{at}");
        let tls =
            "listen = [\"https://127.0.0.1\"]\ntls = { cert = \"c\", key = \"k\" }\nmirror = {}";
        let tls = printed(tls, None, Some("/ca.pem"));
        assert!(tls.contains("export CARGO_HTTP_CAINFO='/ca.pem'") && !tls.contains("TRUSTED"));
        assert!(tls.contains("npm_config_registry='https://127.0.0.1/npm/'"), "{tls}");
    }

    #[test]
    fn of_several_caches_one_is_named() {
        let text = "[cache.a]\nlisten = [\"http://127.0.0.1:1\"]\n[cache.b]\nlisten = [\"http://127.0.0.1:2\"]";
        let config =
            config::parse(text, Path::new("d.toml"), Path::new("/etc"), &|_| None).unwrap();
        let args = |cache: Option<&str>| EnvArgs {
            config: PathBuf::new(),
            cache: cache.map(str::to_owned),
            at: None,
            ca: None,
        };
        assert_eq!(args(Some("b")).chosen(&config.caches).unwrap().name, "b");
        assert!(args(None).chosen(&config.caches).unwrap_err().contains("`a`, `b`"));
        assert!(args(Some("c")).chosen(&config.caches).is_err());
        assert!(args(None).chosen(&[]).is_err());
    }

    #[test]
    fn a_socket_that_clients_cannot_ask_is_no_address() {
        let text = "[cache.local]\nlisten = [\"unix:///run/c.sock\"]\nforward = true\n";
        let config = config::parse(text, Path::new("t"), Path::new(""), &|_| None).unwrap();
        let why = super::text(&config.caches[0], None, None).unwrap_err();
        assert!(why.contains("`unix:///run/c.sock`") && why.contains("hint: `--at HOST`"), "{why}");
        assert!(
            super::text(&config.caches[0], Some("a:80"), None).unwrap().contains("http://a:80")
        );
    }
}
