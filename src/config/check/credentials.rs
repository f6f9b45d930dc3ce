//! `[cache.NAME.credentials]`: which origins are shown what, and from which files.
//!
//! `check::cache` asks. What must stay true: a kind has the keys that it needs, and none that it does not look at.

use std::collections::BTreeMap;

use toml::Spanned;

use super::super::Text;
use super::super::cache::{Login, OriginCredentials};
use super::super::raw::cache as raw;
use super::Checking;

impl Checking<'_> {
    pub(super) fn credentials(
        &mut self,
        raw: BTreeMap<Spanned<String>, Spanned<raw::Credentials>>,
    ) -> Vec<(Text, OriginCredentials)> {
        let mut all = Vec::new();
        for (origin, raw) in &raw {
            let read = self.one_credentials(raw.get_ref());
            all.extend(read.map(|credentials| (self.placed(origin), credentials)));
        }
        all
    }

    fn one_credentials(&mut self, raw: &raw::Credentials) -> Option<OriginCredentials> {
        let place = raw.kind.span();
        let mut needless = |key: &Option<Spanned<String>>, name: &str, why: &str| {
            if let Some(key) = key {
                self.complaints.add(key.span(), format!("`{name}` is not for this: {why}"), "");
            }
        };
        match (raw.kind.get_ref().as_str(), &raw.token_file) {
            ("basic", token) => {
                needless(token, "token_file", "`basic` is a name and a password");
                needless(&raw.realm, "realm", "`basic` asks nobody for a token");
                let login = self.login(raw);
                if login.is_none() {
                    let hint = "add `username` and `password_file`";
                    self.complaints.add(place, "`basic` is a name and a password", hint);
                }
                login.map(OriginCredentials::Basic)
            }
            ("bearer", Some(token)) => {
                let why = "the token is in `token_file`";
                needless(&raw.username, "username", why);
                needless(&raw.password_file, "password_file", why);
                needless(&raw.realm, "realm", why);
                Some(OriginCredentials::Bearer { token: self.file(token) })
            }
            ("bearer", None) => {
                let login = self.login(raw);
                let realm = raw.realm.as_ref().map(|realm| self.placed(realm));
                Some(OriginCredentials::Token { login, realm })
            }
            (other, _) => {
                let what = format!("`{other}` is no kind of credentials");
                self.complaints.add(place, what, "there are `basic` and `bearer`");
                None
            }
        }
    }

    /// Both or neither.
    fn login(&mut self, raw: &raw::Credentials) -> Option<Login> {
        let (name, other) = match (&raw.username, &raw.password_file) {
            (Some(username), Some(password)) => {
                let (username, password) = (self.placed(username), self.file(password));
                return Some(Login { username, password });
            }
            (None, None) => return None,
            (Some(username), None) => (username, "`username` without `password_file`"),
            (None, Some(password)) => (password, "`password_file` without `username`"),
        };
        self.complaints.add(name.span(), other, "a login is both");
        None
    }
}
