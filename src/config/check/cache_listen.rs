//! `listen` of `[cache.*]`: sockets as those of `[[listener]]`, of which one cache may have several.
//!
//! `check::cache` asks for them. What must stay true: no address is listened on twice, by whomever.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use toml::Spanned;

use super::super::Bind;
use super::super::cache::CacheListen;
use super::super::raw::cache as raw;
use super::Checking;
use super::listener::host_of;

/// The addresses that are taken, by whom.
pub(super) type Taken = Vec<(String, String)>;

impl Checking<'_> {
    pub(super) fn cache_listen(
        &mut self,
        name: &Spanned<String>,
        table: &str,
        raw: &raw::Cache,
        taken: &mut Taken,
    ) -> Vec<CacheListen> {
        let Some(urls) = raw.listen.as_ref().filter(|urls| !urls.get_ref().is_empty()) else {
            let what = format!("`[{table}.{}]` needs `listen`", name.get_ref());
            let hint = match table {
                "registry" => "such as `listen = \"127.0.0.1:5000\"`",
                _ => "such as `listen = [\"http://127.0.0.1:3128\"]`",
            };
            self.complaints.add(name.span(), what, hint);
            return Vec::new();
        };
        let mut all = Vec::new();
        for url in urls.get_ref() {
            let Some(listen) = self.one_cache_listen(url, raw) else { continue };
            let address = plain(&listen.bind);
            if let Some((_, who)) = taken.iter().find(|(other, _)| *other == address) {
                let what = format!("`{}` is the address of {who} already", shown(&address));
                self.complaints.add(url.span(), what, "");
            }
            taken.push((address, format!("{table} `{}`", name.get_ref())));
            all.push(listen);
        }
        let has_file = all.iter().any(|one| matches!(one.bind, Bind::Unix { .. }));
        let of_files = [&raw.mode, &raw.owner, &raw.group].into_iter().flatten();
        for unused in of_files.filter(|_| !has_file) {
            let what = "`mode`, `owner` and `group` are for `unix://`";
            self.complaints.add(unused.span(), what, "");
        }
        all
    }

    fn one_cache_listen(&mut self, url: &Spanned<String>, raw: &raw::Cache) -> Option<CacheListen> {
        let text = self.text(url);
        let (has_tls, inner) = match text.strip_prefix("https+") {
            Some(inner) => (true, inner),
            None => (false, text.as_str()),
        };
        if let Some(name) = inner.strip_prefix("systemd:") {
            return Some(CacheListen { bind: Bind::Inherited { name: name.to_owned() }, has_tls });
        }
        if let Some(path) = inner.strip_prefix("unix://") {
            self.absolute(url, path);
            let bind = Bind::Unix {
                path: PathBuf::from(path),
                mode: raw.mode.as_ref().map_or(0o660, |mode| self.mode(mode)),
                owner: raw.owner.as_ref().and_then(|who| self.account(who, "/etc/passwd")),
                group: raw.group.as_ref().and_then(|who| self.account(who, "/etc/group")),
            };
            self.refuse_engines(url, &bind);
            return Some(CacheListen { bind, has_tls });
        }
        let (has_tls, port, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, 80, rest),
            Some(("https", rest)) => (true, 443, rest),
            _ => (false, 0, ""),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let is_bare = !rest.contains(':') || rest.ends_with(']');
        let address = if is_bare { format!("{rest}:{port}") } else { rest.to_owned() };
        if host_of(&address).is_some_and(is_host) {
            return Some(CacheListen { bind: Bind::Tcp { address }, has_tls });
        }
        let what = format!("`{text}` is not an address to listen on");
        let hint =
            "use `http://address:port`, `https://address:port`, `unix:///path` or `systemd:NAME`";
        self.complaints.add(url.span(), what, hint);
        None
    }
}

fn is_host(host: &str) -> bool {
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    host.parse::<IpAddr>().is_ok() || (!host.is_empty() && host.bytes().all(is_name))
}

/// One spelling for an address.
pub(super) fn plain(bind: &Bind) -> String {
    match bind {
        Bind::Tcp { address } => match address.parse::<SocketAddr>() {
            Ok(address) => format!("tcp://{address}"),
            Err(_) => format!("tcp://{}", address.to_ascii_lowercase()),
        },
        Bind::Unix { .. } | Bind::Inherited { .. } => bind.to_string(),
    }
}

fn shown(plain: &str) -> &str {
    plain.strip_prefix("tcp://").unwrap_or(plain)
}
