//! A client's credentials for a registry, as it gives them to an engine (`X-Registry-Auth`).
//!
//! `gateway::deeds` reads the header of a call, `grants` keeps what is in it, `cache::registry` shows it to the registry.
//! What must stay true: they go to the registry only that the client has named, and nothing of them into a message.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use crate::api::grammar::image::{DOCKER_HUB, host_of_address};

/// The `Authorization` that they come to.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCredentials(String);

/// Of a header: a password has its bounds.
const LONGEST: usize = 64 * 1024;

/// Why a header cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCredentials {
    #[error("`X-Registry-Auth` cannot be read")]
    Unreadable,
    #[error("`X-Registry-Config` cannot be read")]
    UnreadableLogins,
    /// What a login by a browser or a helper may leave: it is exchanged for tokens.
    #[error("an identity token cannot be used here. hint: log in with a name and a password")]
    IdentityToken,
}

impl ClientCredentials {
    /// What a header has for this host; none where it has nothing, or for another.
    pub fn of_header(
        header: &[u8],
        host: &str,
    ) -> Result<Option<ClientCredentials>, BadCredentials> {
        if header.is_empty() {
            return Ok(None);
        }
        let said = decoded(header).ok_or(BadCredentials::Unreadable)?;
        // `null` is what a client says that has none.
        if said.is_null() {
            return Ok(None);
        }
        let fields = said.as_object().ok_or(BadCredentials::Unreadable)?;
        let field = |name: &str| {
            let found = fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.and_then(|(_, value)| value.as_str()).unwrap_or_default()
        };
        let named = field("serveraddress");
        if !named.is_empty() && !is_same(named, host) {
            return Ok(None);
        }
        match (field("registrytoken"), field("identitytoken"), field("username")) {
            ("", "", "") => Ok(None),
            ("", "", name) => Ok(ClientCredentials::login(name, field("password"))),
            ("", _, _) => Err(BadCredentials::IdentityToken),
            (token, _, _) => Ok(Some(ClientCredentials(format!("Bearer {token}")))),
        }
    }

    /// What a client says of this host where it says all that it has (`X-Registry-Config`), as `X-Registry-Auth` of it.
    pub fn header_of_logins(logins: &[u8], host: &str) -> Result<Option<Vec<u8>>, BadCredentials> {
        if logins.is_empty() {
            return Ok(None);
        }
        let said = decoded(logins).ok_or(BadCredentials::UnreadableLogins)?;
        if said.is_null() {
            return Ok(None);
        }
        let all = said.as_object().ok_or(BadCredentials::UnreadableLogins)?;
        let own = all.iter().find(|(address, _)| is_same(address, host));
        Ok(own.map(|(_, login)| URL_SAFE.encode(login.to_string()).into_bytes()))
    }

    /// None for what cannot stand in a field.
    pub fn login(name: &str, password: &str) -> Option<ClientCredentials> {
        let is_one = !name.contains(':');
        is_one.then(|| {
            ClientCredentials(format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))))
        })
    }

    pub(super) fn of_authorization(text: String) -> ClientCredentials {
        ClientCredentials(text)
    }

    /// As it stands in a request.
    pub fn authorization(&self) -> &str {
        &self.0
    }

    /// Whether it is a token of the registry's own, which goes with requests as it is.
    pub fn is_token(&self) -> bool {
        self.0.starts_with("Bearer ")
    }
}

/// Never what it holds.
impl std::fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientCredentials(…)")
    }
}

/// Engines take the alphabet of URLs with padding; clients of other engines have either, with or without.
fn decoded(header: &[u8]) -> Option<Value> {
    if header.len() > LONGEST {
        return None;
    }
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = GeneralPurpose::new(&alphabet::URL_SAFE, config);
    let url_safe = |byte: &u8| match byte {
        b'+' => b'-',
        b'/' => b'_',
        byte => *byte,
    };
    let text = engine.decode(header.iter().map(url_safe).collect::<Vec<u8>>()).ok()?;
    std::str::from_utf8(&text).ok()?.parse().ok()
}

/// Whether an address of a login is this host's. Docker Hub has several.
fn is_same(address: &str, host: &str) -> bool {
    const HUB: [&str; 3] = [DOCKER_HUB, "index.docker.io", "registry-1.docker.io"];
    let named = host_of_address(address);
    named.eq_ignore_ascii_case(host) || (HUB.contains(&named) && HUB.contains(&host))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD_NO_PAD;

    use super::*;

    fn of(json: &str, host: &str) -> Result<Option<String>, BadCredentials> {
        let found = ClientCredentials::of_header(URL_SAFE.encode(json).as_bytes(), host)?;
        Ok(found.map(|found| found.authorization().to_owned()))
    }

    #[test]
    fn a_name_and_a_password_are_for_the_registry_that_they_name() {
        let basic = Ok(Some("Basic YW5uOnM6ZWNyZXQ=".to_owned()));
        for (address, host, is_for) in [
            ("", "ghcr.io", true),
            ("ghcr.io", "ghcr.io", true),
            ("GHCR.io", "ghcr.io", true),
            ("https://ghcr.io/v2/", "ghcr.io", true),
            ("https://index.docker.io/v1/", "docker.io", true),
            ("docker.io", "docker.io", true),
            ("127.0.0.1:5000", "127.0.0.1:5000", true),
            ("127.0.0.1:5001", "127.0.0.1:5000", false),
            ("https://index.docker.io/v1/", "ghcr.io", false),
            ("http://ghcr.io@evil.example", "ghcr.io", false),
            ("ghcr.io.evil.example", "ghcr.io", false),
        ] {
            let json = serde_json::json!({ "username": "ann", "password": "s:ecret", "serveraddress": address });
            let wanted = if is_for { basic.clone() } else { Ok(None) };
            assert_eq!(of(&json.to_string(), host), wanted, "{address} {host}");
        }
    }

    #[test]
    fn other_forms_are_what_they_are() {
        let none = Ok(None);
        assert_eq!(of("{}", "h"), none);
        assert_eq!(of("null", "h"), none);
        assert_eq!(of(r#"{"auth":"","email":"a@b"}"#, "h"), none);
        assert_eq!(ClientCredentials::of_header(b"", "h"), Ok(None));
        let bearer = of(r#"{"RegistryToken":"abc"}"#, "h");
        assert_eq!(bearer, Ok(Some("Bearer abc".to_owned())));
        assert!(ClientCredentials("Bearer abc".to_owned()).is_token());
        let identity = of(r#"{"identitytoken":"abc","username":"<token>"}"#, "h");
        assert_eq!(identity, Err(BadCredentials::IdentityToken));
        for bad in ["[]", "x", "7", "{"] {
            assert_eq!(of(bad, "h"), Err(BadCredentials::Unreadable), "{bad}");
        }
        assert!(ClientCredentials::of_header(b"\xff", "h").is_err());
        assert!(ClientCredentials::of_header(&vec![b'e'; LONGEST + 4], "h").is_err());
        assert_eq!(of(r#"{"username":"a:b","password":"c"}"#, "h"), none);
    }

    #[test]
    fn either_alphabet_and_no_padding_are_read() {
        let json = r#"{"username":"ünn?>","password":"~~~"}"#;
        let read = |text: String| ClientCredentials::of_header(text.as_bytes(), "h");
        let wanted = read(URL_SAFE.encode(json));
        assert!(matches!(wanted, Ok(Some(_))));
        assert_eq!(read(STANDARD.encode(json)), wanted);
        assert_eq!(read(STANDARD_NO_PAD.encode(json)), wanted);
    }

    #[test]
    fn nothing_of_them_is_shown() {
        let own = ClientCredentials::login("ann", "secret").unwrap();
        assert_eq!(format!("{own:?}"), "ClientCredentials(…)");
    }

    #[test]
    fn of_all_logins_one_is_for_a_host() {
        let logins = r#"{
            "https://index.docker.io/v1/": {"username": "ann", "password": "hub", "serveraddress": "https://index.docker.io/v1/"},
            "ghcr.io": {"username": "ann", "password": "ghcr"},
            "https://db:5000": {"identitytoken": "x"}
        }"#;
        let logins = URL_SAFE.encode(logins);
        let of = |host: &str| {
            let header = ClientCredentials::header_of_logins(logins.as_bytes(), host).unwrap();
            ClientCredentials::of_header(&header.unwrap_or_default(), host)
        };
        let is = |password: &str| Ok(ClientCredentials::login("ann", password));
        assert_eq!(of("docker.io"), is("hub"));
        assert_eq!(of("ghcr.io"), is("ghcr"));
        assert_eq!(of("quay.io"), Ok(None));
        assert_eq!(of("db:5000"), Err(BadCredentials::IdentityToken));
        for none in ["", "bnVsbA==", "e30="] {
            assert_eq!(ClientCredentials::header_of_logins(none.as_bytes(), "x"), Ok(None));
        }
        for bad in ["!", "W10="] {
            let why = ClientCredentials::header_of_logins(bad.as_bytes(), "x");
            assert_eq!(why, Err(BadCredentials::UnreadableLogins));
        }
    }
}
