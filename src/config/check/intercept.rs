//! `intercept` of `[cache.*]`: a cache that clients take for their origins.
//!
//! `check::cache` asks for it. What must stay true: such a cache names the hosts that it is for, or whoever
//! reaches it could have it go anywhere; its clients are known by their addresses.

use toml::Spanned;

use super::super::Bind;
use super::super::cache::{CacheListen, Intercept};
use super::super::raw::cache as raw;
use super::Checking;

impl Checking<'_> {
    pub(super) fn intercept(
        &mut self,
        raw: &raw::Cache,
        listen: &[CacheListen],
    ) -> Option<Intercept> {
        let Some(given) = &raw.intercept else {
            if let Some(first) = raw.never_intercept.first() {
                let what = "`never_intercept` says nothing without `intercept`";
                self.complaints.add(first.span(), what, "add `intercept = \"on\"`");
            }
            return None;
        };
        let intercept = match self.text(given).as_str() {
            "on" => Intercept::On,
            "observe" => Intercept::Observe,
            other => {
                let what = format!("`{other}` says nothing of interception");
                let hint = "`on` or `observe`; without the key there is none";
                self.complaints.add(given.span(), what, hint);
                Intercept::Observe
            }
        };
        if let Some(tls) = &raw.tls {
            let what = "a cache that intercepts shows each client a certificate that it trusts";
            self.complaints.add(tls.span(), what, "leave out `tls`, or `intercept`");
        }
        let mut secure = listen.iter().filter(|one| one.has_tls).peekable();
        if secure.peek().is_none() {
            let what = "`intercept` is for `https://` in `listen`";
            self.complaints.add(given.span(), what, "such as `https://172.17.0.1:443`");
        }
        if secure.any(|one| matches!(one.bind, Bind::Unix { .. })) {
            let what = "clients of `https+unix://` cannot be intercepted: they have no address";
            self.complaints.add(given.span(), what, "use `https://address:port`");
        }
        self.refuse_any_host(raw, given);
        Some(intercept)
    }

    /// A hello names its host, and may name any.
    fn refuse_any_host(&mut self, raw: &raw::Cache, given: &Spanned<String>) {
        let hint = "name the hosts: `domains = [\"deb.debian.org\", \"*.example.com\"]`";
        let mut any = raw
            .domains
            .iter()
            .flatten()
            .filter(|one| one.get_ref().starts_with("*:") || one.get_ref() == "*");
        if let Some(any) = any.next() {
            let what = "a cache that intercepts is for named hosts only: not for `*`";
            self.complaints.add(any.span(), what, hint);
        }
        if raw.domains.is_none() && raw.origins.is_none() {
            let what = "`intercept` needs `domains`: what it is for";
            self.complaints.add(given.span(), what, hint);
        }
    }
}
