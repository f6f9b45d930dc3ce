//! `[cache.NAME.credentials]`: which origins are shown what, and from which files.
//!
//! `check::cache` asks. What must stay true: a kind has the keys that it needs, and none that it does not look at.

use std::collections::BTreeMap;

use toml::Spanned;

use super::super::Text;
use super::super::cache::{AwsKey, Login, OriginCredentials};
use super::super::raw::cache as raw;
use super::Checking;

/// Whose requests are signed if nothing else is said.
const SERVICE: &str = "s3";

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
        let kind = raw.kind.get_ref().as_str();
        match (kind, &raw.token_file) {
            ("aws", _) => {
                self.no_others(raw, kind, &["access_key", "secret_file", "region", "service"]);
                let key = self.aws_key(raw);
                self.needs(raw, &key, "`access_key`, `secret_file` and `region`");
                key.map(OriginCredentials::Aws)
            }
            ("basic", _) => {
                self.no_others(raw, kind, &["username", "password_file"]);
                let login = self.login(raw);
                self.needs(raw, &login, "`username` and `password_file`");
                login.map(OriginCredentials::Basic)
            }
            ("bearer", Some(token)) => {
                self.no_others(raw, kind, &["token_file"]);
                Some(OriginCredentials::Bearer { token: self.file(token) })
            }
            ("bearer", None) => {
                self.no_others(raw, kind, &["username", "password_file", "realm"]);
                let login = self.login(raw);
                let realm = raw.realm.as_ref().map(|realm| self.placed(realm));
                Some(OriginCredentials::Token { login, realm })
            }
            (other, _) => {
                let what = format!("`{other}` is no kind of credentials");
                let hint = "there are `basic`, `bearer` and `aws`";
                self.complaints.add(raw.kind.span(), what, hint);
                None
            }
        }
    }

    fn needs<T>(&mut self, raw: &raw::Credentials, made: &Option<T>, keys: &str) {
        if made.is_none() {
            let what = format!("`{}` needs {keys}", raw.kind.get_ref());
            self.complaints.add(raw.kind.span(), what, "");
        }
    }

    /// A key that nobody looks at is a mistake.
    fn no_others(&mut self, raw: &raw::Credentials, kind: &str, keys: &[&str]) {
        for (key, value) in [
            ("username", &raw.username),
            ("password_file", &raw.password_file),
            ("token_file", &raw.token_file),
            ("realm", &raw.realm),
            ("access_key", &raw.access_key),
            ("secret_file", &raw.secret_file),
            ("region", &raw.region),
            ("service", &raw.service),
        ] {
            if let Some(value) = value.as_ref().filter(|_| !keys.contains(&key)) {
                let beside = if keys == ["token_file"] { " with `token_file`" } else { "" };
                let what = format!("`{key}` does nothing for `kind = \"{kind}\"`{beside}");
                self.complaints.add(value.span(), what, "");
            }
        }
    }

    fn aws_key(&mut self, raw: &raw::Credentials) -> Option<AwsKey> {
        let (access, secret) = (raw.access_key.as_ref()?, raw.secret_file.as_ref()?);
        let region = raw.region.as_ref()?;
        let service = raw.service.as_ref().map(|service| self.placed(service));
        Some(AwsKey {
            access_key: self.placed(access),
            secret: self.file(secret),
            region: self.placed(region),
            service: service.unwrap_or_else(|| Text::from(SERVICE)),
        })
    }

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
