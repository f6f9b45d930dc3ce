//! Where a registry is asked, and by whom: `listen`, `address` and `auth` of `[registry.*]`.
//!
//! `check::registry` asks for them. What must stay true: beyond loopback nobody is let in without a name, and no password
//! comes in clear, unless the operator says so.

use std::net::Ipv4Addr;

use toml::Spanned;

use super::super::raw::registry as raw;
use super::super::{Auth, Text};
use super::Checking;
use super::listener::{Auths, host_of, is_loopback};

impl Checking<'_> {
    /// An address alone is one of plain HTTP.
    pub(super) fn registry_listen(
        &mut self,
        raw: &raw::Registry,
    ) -> Option<Spanned<Vec<Spanned<String>>>> {
        let given = raw.listen.as_ref()?;
        let urls = given.get_ref().clone().into_vec().into_iter().map(|text| {
            let text = self.text(&Spanned::new(given.span(), text));
            let is_url = text.contains("://") || text.contains("systemd:");
            if !is_url && host_of(&text).is_none_or(str::is_empty) {
                let what = format!("`{text}` is not an address to listen on");
                let hint = "such as `127.0.0.1:5000`, or `https://127.0.0.1:5000`";
                self.complaints.add(given.span(), what, hint);
            }
            let url = if is_url { text } else { format!("http://{text}") };
            Spanned::new(given.span(), url)
        });
        Some(Spanned::new(given.span(), urls.collect()))
    }

    /// Engines ask 127.0.0.0/8 without TLS, and nothing else.
    pub(super) fn registry_address(
        &mut self,
        given: Option<&Spanned<String>>,
        listen: Option<&Spanned<Vec<Spanned<String>>>>,
    ) -> Option<Text> {
        let given = given?;
        let address = self.placed(given);
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte);
        let host = host_of(&address.text).filter(|host| !host.is_empty());
        let Some(host) = host.filter(|_| address.text.bytes().all(is_name)) else {
            let what = format!("`{}` is no address that an engine can ask", address.text);
            self.complaints.add(given.span(), what, "`host:port`, such as `127.0.0.1:5000`");
            return None;
        };
        let is_trusted = host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback());
        let urls = listen.map(|urls| urls.get_ref().as_slice()).unwrap_or_default();
        let has_tls = urls.iter().any(|url| url.get_ref().starts_with("https"));
        if !is_trusted && !has_tls {
            let what = format!("an engine asks `{}` over TLS only", address.text);
            let hint = "`listen` on `https://`, or let it be an address of 127.0.0.0/8";
            self.complaints.add(given.span(), what, hint);
        }
        Some(address)
    }

    pub(super) fn registry_auth(
        &mut self,
        raw: &raw::Registry,
        listen: Option<&Spanned<Vec<Spanned<String>>>>,
        auths: &Auths,
    ) -> Vec<Auth> {
        let names = raw.auth.as_deref().unwrap_or_default();
        let urls = listen.map(|urls| urls.get_ref().as_slice()).unwrap_or_default();
        for url in urls.iter().filter(|_| !raw.insecure) {
            let Some((_, address)) = url.get_ref().split_once("://") else { continue };
            let is_tcp =
                url.get_ref().starts_with("http://") || url.get_ref().starts_with("https://");
            let address = address.trim_end_matches('/');
            let host = host_of(address).unwrap_or(address).trim_matches(['[', ']']);
            if !is_tcp || is_loopback(host) {
                continue;
            }
            if names.is_empty() {
                let what =
                    format!("`{}` is beyond loopback and has no authentication", url.get_ref());
                let hint = "add `auth`, listen on 127.0.0.1, or say `insecure = true`";
                self.complaints.add(url.span(), what, hint);
            } else if url.get_ref().starts_with("http://") {
                let what = format!("passwords come to `{}` in clear", url.get_ref());
                let hint = "listen on `https://` or on 127.0.0.1, or say `insecure = true`";
                self.complaints.add(url.span(), what, hint);
            }
        }
        let mut all = Vec::new();
        for name in names {
            let text = self.text(name);
            let Some((_, auth)) = auths.iter().find(|(other, _)| *other == text) else {
                let what = format!("there is no `[auth.{text}]`");
                let hint = "`auth` lists names of `[auth.*]` tables";
                self.complaints.add(name.span(), what, hint);
                continue;
            };
            let Some(auth) = auth.clone() else { continue };
            if !auth.reads_requests() {
                let what = format!("`{text}` recognises nobody here");
                let hint =
                    "clients of registries are recognised by what they show: a password or a token";
                self.complaints.add(name.span(), what, hint);
            }
            all.push(auth);
        }
        all
    }
}
