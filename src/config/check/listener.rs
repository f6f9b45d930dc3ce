//! `[[listener]]` and `[admin]`: where to listen, for whom, and who may come in without a name.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::super::policy::Policy;
use super::super::raw;
use super::super::same::is_same;
use super::super::{Auth, Bind, ClientAuth, Listener, Revoke, Tls};
use super::policy::Policies;
use super::{Checking, MOST_CONNECTIONS};

pub(super) const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// What a `[auth.NAME]` turned out to be; `None` when something is wrong with it.
pub(super) type Auths = Vec<(String, Option<Auth>)>;

impl Checking<'_> {
    pub(super) fn listeners(
        &mut self,
        raw: Vec<raw::Listener>,
        auths: &Auths,
        policies: &Policies,
    ) -> Vec<Listener> {
        let mut listeners: Vec<Listener> = Vec::new();
        for one in raw {
            let at = one.name.span();
            let listener = self.listener(one, auths, policies);
            if listeners.iter().any(|other| other.name == listener.name) {
                self.complaints.add(
                    at.clone(),
                    format!("two listeners are named `{}`", listener.name),
                    "",
                );
            }
            if listeners.iter().any(|other| other.bind.is_same_place(&listener.bind)) {
                self.complaints.add(
                    at,
                    format!("listener `{}` has the address of another", listener.name),
                    "",
                );
            }
            listeners.push(listener);
        }
        listeners
    }

    fn listener(&mut self, raw: raw::Listener, auths: &Auths, policies: &Policies) -> Listener {
        let name = self.text(&raw.name);
        self.plain_name(raw.name.span(), &name);
        let tls = raw.tls.as_ref().map(|tls| self.tls(tls.get_ref()));
        let bind = self.bind(&raw);
        self.refuse_engines(&raw.url, &bind);
        let is_unix = matches!(bind, Bind::Unix { .. });
        let names = raw.auth.as_deref().unwrap_or_default();
        let auth: Vec<Auth> =
            names.iter().filter_map(|name| self.auth(name, auths, &raw, is_unix)).collect();
        let has_auth = !names.is_empty()
            || matches!(tls, Some(Tls { client: ClientAuth::Required { .. }, .. }));
        if let Bind::Tcp { address } = &bind {
            self.refuse_open(&raw, address, has_auth);
        }
        let given = raw.policies.as_deref().unwrap_or_default();
        let chosen: Vec<_> =
            given.iter().filter_map(|policy| self.policy(policy, policies)).collect();
        self.namespace_last(given, &chosen);
        self.temporary_behind(given, &chosen);
        let max_connections = self.size(raw.max_connections, MOST_CONNECTIONS);
        let mut hosts: Vec<String> =
            raw.hosts.iter().flatten().map(|host| self.text(host)).collect();
        if let Bind::Tcp { address } = &bind {
            hosts.extend(address.rsplit_once(':').map(|(host, _)| host.to_owned()));
        }
        let revoke = self.revoke(raw.revoke.as_ref());
        let (policies, insecure) = (chosen, raw.insecure);
        Listener { name, bind, tls, auth, policies, max_connections, revoke, hosts, insecure }
    }

    /// What stands behind a namespace would see names that no user knows, and let pass what it knows by others.
    fn namespace_last(&mut self, given: &[Spanned<String>], chosen: &[Policy]) {
        let Some(first) = chosen.iter().position(Policy::is_view) else { return };
        if first + 1 < chosen.len()
            && let Some(at) = given.get(first)
        {
            let what = format!("`{}` must be the last of the policies", at.get_ref());
            let hint = "those in front of it see names as users write them";
            self.complaints.add(at.span(), what, hint);
        }
    }

    fn revoke(&mut self, given: Option<&Spanned<String>>) -> Revoke {
        let Some(given) = given else { return Revoke::default() };
        match self.text(given).as_str() {
            "keep" => Revoke::Keep,
            "cut" => Revoke::Cut,
            other => {
                let what = format!("`{other}` is nothing that becomes of a stream");
                let hint = "`keep`: it goes on; `cut`: it ends when a reload takes its user away";
                self.complaints.add(given.span(), what, hint);
                Revoke::default()
            }
        }
    }

    /// Whoever came in there would be sent to where they came from, until there are no descriptors left.
    pub(super) fn refuse_engines(&mut self, url: &Spanned<String>, bind: &Bind) {
        if is_same(bind, &self.engine) {
            let what = format!("`{bind}` is the engine's own address");
            let hint = "listen elsewhere, and let `engine.url` be dockerd's address (without it: \
                        `DOCKER_HOST`, or the usual socket)";
            self.complaints.add(url.span(), what, hint);
        }
    }

    fn auth(
        &mut self,
        name: &Spanned<String>,
        auths: &Auths,
        listener: &raw::Listener,
        is_unix: bool,
    ) -> Option<Auth> {
        use super::super::AuthKind;
        let text = self.text(name);
        let Some((_, auth)) = auths.iter().find(|(other, _)| *other == text) else {
            self.complaints.add(
                name.span(),
                format!("there is no `[auth.{text}]`"),
                "`auth` lists names of `[auth.*]` tables",
            );
            return None;
        };
        let auth = auth.clone()?;
        let is_inherited = listener.url.get_ref().starts_with("systemd:");
        let client_ca = listener.tls.as_ref().is_some_and(|tls| tls.get_ref().client_ca.is_some());
        match auth.kind {
            AuthKind::UnixPeer(_) if !is_unix && !is_inherited => self.complaints.add(
                name.span(),
                format!("`{text}` recognises nobody here: only a unix socket tells who connected"),
                "",
            ),
            AuthKind::Certificate(_) if !client_ca => self.complaints.add(
                name.span(),
                format!("`{text}` recognises nobody here: no client shows a certificate"),
                "set `client_ca` and `client_auth` in `[listener.tls]`",
            ),
            _ => {}
        }
        Some(auth)
    }

    fn bind(&mut self, raw: &raw::Listener) -> Bind {
        let url = self.text(&raw.url);
        let unix_keys = [&raw.mode, &raw.owner, &raw.group];
        if !url.starts_with("unix://") {
            for unused in unix_keys.into_iter().flatten() {
                self.complaints.add(
                    unused.span(),
                    "`mode`, `owner` and `group` are for `unix://`",
                    "",
                );
            }
        }
        if let Some(tls) = &raw.tls
            && !(url.starts_with("tls://") || url.starts_with("systemd:"))
        {
            self.complaints.add(tls.span(), "`[listener.tls]` is for `tls://`", "");
        }
        if let Some(name) = url.strip_prefix("systemd:") {
            return Bind::Inherited { name: name.to_owned() };
        }
        match url.split_once("://") {
            Some(("unix", path)) => {
                self.absolute(&raw.url, path);
                Bind::Unix {
                    path: PathBuf::from(path),
                    mode: raw.mode.as_ref().map_or(0o660, |mode| self.mode(mode)),
                    owner: raw.owner.as_ref().and_then(|who| self.account(who, "/etc/passwd")),
                    group: raw.group.as_ref().and_then(|who| self.account(who, "/etc/group")),
                }
            }
            Some(("tcp", address)) => self.tcp(&raw.url, address),
            Some(("tls", address)) => {
                if raw.tls.is_none() {
                    self.complaints.add(
                        raw.url.span(),
                        format!("`{url}` has no certificate"),
                        "add `[listener.tls]` with `cert` and `key`; `dockgate certs DIR` makes a trial set",
                    );
                }
                self.tcp(&raw.url, address)
            }
            _ => {
                self.complaints.add(
                    raw.url.span(),
                    format!("`{url}` is not an address to listen on"),
                    "use `unix:///path`, `tcp://address:port`, `tls://address:port` or `systemd:NAME`",
                );
                Bind::Tcp { address: url }
            }
        }
    }

    pub(super) fn absolute(&mut self, url: &Spanned<String>, path: &str) {
        if !path.starts_with('/') {
            let what = format!("`{}`: the path must be absolute", url.get_ref());
            self.complaints.add(url.span(), what, "");
        }
    }

    fn tcp(&mut self, url: &Spanned<String>, address: &str) -> Bind {
        if host_of(address).is_none() {
            let what = format!("`{}` names no port", url.get_ref());
            self.complaints.add(
                url.span(),
                what,
                "use `tcp://address:port` or `tls://address:port`",
            );
        }
        Bind::Tcp { address: address.to_owned() }
    }

    /// Whoever reaches a port without authentication owns the engine, within the policies.
    fn refuse_open(&mut self, raw: &raw::Listener, address: &str, has_auth: bool) {
        let Some(host) = host_of(address) else { return };
        if !is_loopback(host) && !has_auth && !raw.insecure {
            self.complaints.add(
                raw.url.span(),
                format!("`{}` is beyond loopback and has no authentication", raw.url.get_ref()),
                "add `auth`, listen on 127.0.0.1 or a unix socket, or say `insecure = true`",
            );
        }
    }

    fn tls(&mut self, raw: &raw::Tls) -> Tls {
        let cert = self.file(&raw.cert);
        let key = self.file(&raw.key);
        let ca = raw.client_ca.as_ref().map(|ca| (self.file(ca), ca.span()));
        let crl = raw.crl.as_ref().map(|crl| self.file(crl));
        let wanted = raw.client_auth.as_ref().map(|wanted| (self.text(wanted), wanted.span()));
        if let (Some(crl), None) = (&raw.crl, &raw.client_ca) {
            self.complaints.add(crl.span(), "`crl` without `client_ca` revokes nothing", "");
        }
        let client = match (wanted.as_ref().map(|(text, at)| (text.as_str(), at)), ca) {
            (None | Some(("none", _)), None) => ClientAuth::None,
            // A named authority is there to be asked.
            (None | Some(("required", _)), Some((ca, _))) => ClientAuth::Required { ca, crl },
            (Some(("optional", _)), Some((ca, _))) => ClientAuth::Optional { ca, crl },
            (Some(("none", _)), Some((_, at))) => {
                self.complaints.add(
                    at,
                    "`client_ca` with `client_auth = \"none\"` is never asked",
                    "",
                );
                ClientAuth::None
            }
            (Some(("required" | "optional", at)), None) => {
                self.complaints.add(
                    at.clone(),
                    "clients are to show certificates that nobody can have signed",
                    "set `client_ca`",
                );
                ClientAuth::None
            }
            (Some((other, at)), _) => {
                self.complaints.add(
                    at.clone(),
                    format!("`{other}` is not a way to ask for certificates"),
                    "`none`, `optional` or `required`",
                );
                ClientAuth::None
            }
        };
        let time = raw.handshake_time.as_ref();
        let time = time.map(|time| Spanned::new(time.span(), time.get_ref().clone()));
        Tls { cert, key, client, handshake_time: self.duration(time, HANDSHAKE_TIME) }
    }

    /// Where health and metrics are served: not a way around any listener, but none for strangers.
    pub(super) fn admin(&mut self, raw: raw::Admin) -> Vec<Bind> {
        let mut binds = Vec::new();
        for url in &raw.listen {
            let bind = self.admin_bind(url);
            self.refuse_engines(url, &bind);
            binds.push(bind);
        }
        binds
    }

    fn admin_bind(&mut self, given: &Spanned<String>) -> Bind {
        let url = self.text(given);
        match url.split_once("://") {
            Some(("unix", path)) => {
                self.absolute(given, path);
                Bind::Unix { path: PathBuf::from(path), mode: 0o600, owner: None, group: None }
            }
            Some(("tcp", address)) => {
                if host_of(address).is_some_and(|host| !is_loopback(host)) {
                    self.complaints.add(
                        given.span(),
                        format!("`{url}`: the admin socket is for this machine only"),
                        "listen on 127.0.0.1 or a unix socket",
                    );
                }
                self.tcp(given, address)
            }
            _ => {
                self.complaints.add(
                    given.span(),
                    format!("`{url}` is not an address to listen on"),
                    "use `unix:///path` or `tcp://127.0.0.1:port`",
                );
                Bind::Tcp { address: url }
            }
        }
    }
}

/// The host of `host:port`.
pub(in crate::config) fn host_of(address: &str) -> Option<&str> {
    let (host, port) = address.rsplit_once(':')?;
    port.parse::<u16>().ok().map(|_| host.trim_matches(['[', ']']))
}

pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
