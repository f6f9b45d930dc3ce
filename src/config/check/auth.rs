//! `[auth.*]`: each kind with its own keys and no others.
//!
//! Called by `check::check`. What must stay true: what the kinds are and which keys they have stands in `KINDS`, once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;

use super::super::{Auth, AuthKind, CertificateName, External, Jwt, Keys, UnixPeer};
use super::Checking;
use super::kinds::{self, SectionKind, section};
use super::listener::Auths;

const REFRESH: Duration = Duration::from_secs(3600);
const TIMEOUT: Duration = Duration::from_secs(5);

section! {
    RawAuth { kind: Spanned<String>, }
    users: Spanned<BTreeMap<String, Spanned<String>>>,
    /// `unix-peer`: a table; `jwt`: the name of a claim.
    groups: Spanned<Groups>,
    user: Spanned<String>,
    file: Spanned<String>,
    jwks: Spanned<String>,
    key: Spanned<String>,
    issuer: Spanned<String>,
    audience: Spanned<OneOrMore>,
    algorithms: Spanned<Vec<String>>,
    require: Spanned<BTreeMap<String, OneOrMore>>,
    claims: Spanned<Vec<String>>,
    refresh: Spanned<String>,
    url: Spanned<String>,
    timeout: Spanned<String>,
    schemes: Spanned<Vec<String>>,
    ca: Spanned<String>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(untagged)]
pub(in crate::config) enum Groups {
    Table(BTreeMap<String, String>),
    Claim(String),
}

#[derive(Clone, Debug, serde::Deserialize)]
#[serde(untagged)]
pub(in crate::config) enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    pub(in crate::config) fn first(&self) -> Option<&str> {
        match self {
            OneOrMore::One(one) => Some(one),
            OneOrMore::More(more) => more.first().map(String::as_str),
        }
    }

    pub(in crate::config) fn into_vec(self) -> Vec<String> {
        match self {
            OneOrMore::One(one) => vec![one],
            OneOrMore::More(more) => more,
        }
    }
}

/// A new way of recognising callers is a row here.
pub(super) const KINDS: &[SectionKind<RawAuth, AuthKind>] = &[
    SectionKind {
        name: "unix-peer",
        keys: &["users", "groups"],
        check: |cx, _, raw| cx.unix_peer(raw),
    },
    SectionKind { name: "certificate", keys: &["user"], check: |cx, _, raw| cx.certificate(raw) },
    SectionKind { name: "basic", keys: &["file"], check: |cx, name, raw| cx.basic(name, raw) },
    SectionKind {
        name: "jwt",
        keys: &[
            "jwks",
            "key",
            "issuer",
            "audience",
            "algorithms",
            "user",
            "groups",
            "require",
            "claims",
            "refresh",
            "ca",
        ],
        check: |cx, name, raw| cx.jwt(name, raw),
    },
    SectionKind {
        name: "external",
        keys: &["url", "timeout", "schemes", "ca"],
        check: |cx, name, raw| cx.external(name, raw),
    },
];

impl Checking<'_> {
    pub(super) fn auths(&mut self, raw: BTreeMap<Spanned<String>, RawAuth>) -> Auths {
        let check = |(name, raw): (Spanned<String>, RawAuth)| {
            let kind = self.auth_kind(&name, raw);
            let name = name.into_inner();
            (name.clone(), kind.map(|kind| Auth { name, kind }))
        };
        raw.into_iter().map(check).collect()
    }

    fn auth_kind(&mut self, name: &Spanned<String>, raw: RawAuth) -> Option<AuthKind> {
        let kind = self.text(&raw.kind);
        let Some(row) = KINDS.iter().find(|row| row.name == kind) else {
            let what = format!("there is no authenticator `{kind}`");
            self.complaints.add(raw.kind.span(), what, kinds::names(KINDS, "or"));
            return None;
        };
        self.refuse_keys(row, raw.given());
        (row.check)(self, name, raw)
    }

    /// A key that its kind cannot do without.
    fn needed<T>(&mut self, auth: &Spanned<String>, key: &str, given: Option<T>) -> Option<T> {
        if given.is_none() {
            self.complaints.add(
                auth.span(),
                format!("`[auth.{}]` needs `{key}`", auth.get_ref()),
                "",
            );
        }
        given
    }

    fn unix_peer(&mut self, raw: RawAuth) -> Option<AuthKind> {
        let users = raw.users.map(|users| {
            let users = users.into_inner().into_iter();
            users.map(|(os, user)| (os, self.text(&user))).collect()
        });
        let groups = match raw.groups.map(|groups| (groups.span(), groups.into_inner())) {
            None => None,
            Some((_, Groups::Table(table))) => Some(table),
            Some((at, Groups::Claim(_))) => {
                self.complaints.add(at, "`groups` is a table: OS group to dockgate user", "");
                None
            }
        };
        Some(AuthKind::UnixPeer(UnixPeer { users, groups }))
    }

    fn certificate(&mut self, raw: RawAuth) -> Option<AuthKind> {
        let name = match raw.user.as_ref().map(|user| (self.text(user), user.span())) {
            None => CertificateName::Cn,
            Some((text, at)) => match text.as_str() {
                "cn" => CertificateName::Cn,
                "san-email" => CertificateName::SanEmail,
                "san-dns" => CertificateName::SanDns,
                "san-uri" => CertificateName::SanUri,
                _ => {
                    self.complaints.add(
                        at,
                        format!("`{text}` is not a part of a certificate"),
                        "`cn`, `san-email`, `san-dns` or `san-uri`",
                    );
                    return None;
                }
            },
        };
        Some(AuthKind::Certificate(name))
    }

    fn basic(&mut self, name: &Spanned<String>, raw: RawAuth) -> Option<AuthKind> {
        let file = self.needed(name, "file", raw.file)?;
        Some(AuthKind::Basic(self.file(&file)))
    }

    fn jwt(&mut self, name: &Spanned<String>, raw: RawAuth) -> Option<AuthKind> {
        let keys = self.keys(name, raw.jwks, raw.key, raw.ca, raw.refresh)?;
        let issuer = self.needed(name, "issuer", raw.issuer)?;
        let audience = self.needed(name, "audience", raw.audience)?;
        let groups = match raw.groups.map(|groups| (groups.span(), groups.into_inner())) {
            None => None,
            Some((_, Groups::Claim(claim))) => Some(claim),
            Some((at, Groups::Table(_))) => {
                self.complaints.add(at, "`groups` is the name of a claim", "");
                None
            }
        };
        let algorithms = raw.algorithms;
        if let Some(named) = &algorithms {
            self.algorithms(named, matches!(keys, Keys::Secret(_)));
        }
        let require = raw.require.map(Spanned::into_inner).unwrap_or_default();
        Some(AuthKind::Jwt(Jwt {
            keys,
            issuer: self.text(&issuer),
            audience: audience.into_inner().into_vec(),
            algorithms: algorithms.map(Spanned::into_inner).unwrap_or_default(),
            user: raw.user.map_or_else(|| "sub".to_owned(), |user| self.text(&user)),
            groups,
            require: require.into_iter().map(|(claim, of)| (claim, of.into_vec())).collect(),
            claims: raw.claims.map(Spanned::into_inner),
        }))
    }

    /// By what tokens are verified: a set, or one key.
    fn keys(
        &mut self,
        name: &Spanned<String>,
        jwks: Option<Spanned<String>>,
        key: Option<Spanned<String>>,
        ca: Option<Spanned<String>>,
        refresh: Option<Spanned<String>>,
    ) -> Option<Keys> {
        let ca = ca.map(|ca| (ca.span(), self.file(&ca)));
        let refresh_at = refresh.as_ref().map(Spanned::span);
        let refresh = self.duration(refresh, REFRESH);
        Some(match (jwks, key) {
            (Some(jwks), None) => {
                let text = self.text(&jwks);
                match text.starts_with("https://") || text.starts_with("http://") {
                    true => {
                        self.refuse_plain(&jwks, &text);
                        let url = self.placed(&jwks);
                        Keys::Url { url, ca: ca.map(|(_, file)| file), refresh }
                    }
                    false => {
                        self.unused(ca.map(|(at, _)| at), "ca");
                        self.unused(refresh_at, "refresh");
                        Keys::Set(self.file(&jwks))
                    }
                }
            }
            (None, Some(key)) => {
                self.unused(ca.map(|(at, _)| at), "ca");
                self.unused(refresh_at, "refresh");
                let text = self.text(&key);
                // A file is named by its path; anything else is the secret itself.
                match text.contains('/') || text.ends_with(".pem") {
                    true => Keys::Pem(self.file(&key)),
                    false => {
                        if text.len() < 32 {
                            self.complaints.add(
                                key.span(),
                                "a shared secret of less than 32 bytes can be guessed (RFC 7518 §3.2)",
                                "a PEM file is named with a `/` in it or by `.pem`",
                            );
                        }
                        Keys::Secret(self.placed(&key))
                    }
                }
            }
            (Some(_), Some(key)) => {
                self.complaints.add(key.span(), "`jwks` and `key` exclude each other", "");
                return None;
            }
            (None, None) => {
                self.needed::<()>(name, "jwks` or `key", None);
                return None;
            }
        })
    }

    /// Who can change a key set on its way can sign tokens.
    fn refuse_plain(&mut self, url: &Spanned<String>, text: &str) {
        let host = text.strip_prefix("http://").map(|rest| rest.split(['/', ':']).next());
        if host.is_some_and(|host| !matches!(host, Some("127.0.0.1" | "localhost"))) {
            self.complaints.add(
                url.span(),
                format!("`{text}`: keys must come over `https://`"),
                "",
            );
        }
    }

    fn algorithms(&mut self, named: &Spanned<Vec<String>>, is_secret: bool) {
        for name in named.get_ref() {
            let is_hmac = matches!(name.as_str(), "HS256" | "HS384" | "HS512");
            let is_signature = matches!(
                name.as_str(),
                "RS256"
                    | "RS384"
                    | "RS512"
                    | "PS256"
                    | "PS384"
                    | "PS512"
                    | "ES256"
                    | "ES384"
                    | "EdDSA"
            );
            if !is_hmac && !is_signature {
                self.complaints.add(named.span(), format!("`{name}` is not an algorithm"), "");
            } else if is_hmac != is_secret {
                // Else a public key would be taken for a shared secret (CVE-2015-9235).
                self.complaints.add(
                    named.span(),
                    format!("`{name}` does not fit the configured key"),
                    "",
                );
            }
        }
    }

    fn external(&mut self, name: &Spanned<String>, raw: RawAuth) -> Option<AuthKind> {
        let timeout = self.duration(raw.timeout, TIMEOUT);
        let url = self.needed(name, "url", raw.url)?;
        let text = self.text(&url);
        let is_https = text.starts_with("https://");
        if !is_https && !text.starts_with("unix:///") && !text.starts_with("http://") {
            self.complaints.add(
                url.span(),
                format!("`{text}` is not an address of a program"),
                "use `unix:///path`, `http://127.0.0.1:port/` or `https://…`",
            );
        }
        self.refuse_plain(&url, &text);
        let ca = raw.ca.map(|ca| (ca.span(), self.file(&ca)));
        if !is_https {
            self.unused(ca.as_ref().map(|(at, _)| at.clone()), "ca");
        }
        let default = || vec!["Basic".to_owned(), "Bearer".to_owned()];
        let schemes = raw.schemes.map_or_else(default, Spanned::into_inner);
        Some(AuthKind::External(External {
            url: self.placed(&url),
            timeout,
            ca: ca.map(|(_, file)| file),
            schemes,
        }))
    }

    fn unused(&mut self, at: Option<Range<usize>>, key: &str) {
        if let Some(at) = at {
            self.complaints.add(at, format!("`{key}` is for `https://`"), "");
        }
    }
}
