//! Tokens by which the engine pulls and pushes for a call, at a registry of ours: issued here where a policy wants it.
//!
//! `deeds` calls it, and `tokens`. What must stay true: the engine gets nothing of a client's credentials; what is in the client's header
//! goes to the registry of the image that it asks for and to no other.

use std::sync::Arc;

use crate::auth::{Actions, ClientCredentials, Grant, Grants, HeldGrant, Identity, registry_auth};
use crate::policy::facts::Secret;
use crate::policy::{Fact, WantedGrant};

/// What keeps the token good, and the header that the engine gets.
pub(super) fn issue(
    grants: &Arc<Grants>,
    wanted: &WantedGrant,
    who: &Identity,
) -> Result<(HeldGrant, Fact), String> {
    let (held, token) = issue_token(grants, wanted, who)?;
    let text = registry_auth(&token, &wanted.address);
    Ok((held, Fact::Header(Secret(text.into()))))
}

/// The same with the token as it is.
pub(super) fn issue_token(
    grants: &Arc<Grants>,
    wanted: &WantedGrant,
    who: &Identity,
) -> Result<(HeldGrant, String), String> {
    let WantedGrant { registry, repository, pull, push, header, logins, .. } = wanted;
    let of_all = |logins: &Vec<u8>| ClientCredentials::header_of_logins(logins, &repository.host);
    let header = match (header, logins.as_ref().map(of_all)) {
        (Some(header), _) => header.clone(),
        (None, Some(header)) => header.map_err(|bad| bad.to_string())?.unwrap_or_default(),
        (None, None) => Vec::new(),
    };
    let credentials = ClientCredentials::of_header(&header, &repository.host);
    let credentials = credentials.map_err(|bad| bad.to_string())?;
    let grant = Grant {
        registry: registry.clone(),
        repository: repository.to_string(),
        actions: Actions { pull: *pull, push: *push },
    };
    let issued = grants.issue(grant, who, credentials.as_ref());
    issued.ok_or_else(|| "no token can be made".to_owned())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE;

    use super::*;
    use crate::policy::namespace::image::{ImageNames, ImageReference};

    fn wanted(image: &str, header: &str) -> WantedGrant {
        let names = ImageNames::new("127.0.0.1:5454", "dgabcdefghij");
        WantedGrant {
            registry: "main".to_owned(),
            address: "127.0.0.1:5454".to_owned(),
            repository: names.repository(&ImageReference::parse(image).unwrap()),
            pull: true,
            push: false,
            header: Some(URL_SAFE.encode(header).into_bytes()),
            logins: None,
        }
    }

    fn token_of(header: &Fact) -> String {
        let Fact::Header(Secret(text)) = header else { panic!("{header:?}") };
        let text = String::from_utf8(URL_SAFE.decode(text.as_bytes()).unwrap()).unwrap();
        let said: serde_json::Value = text.parse().unwrap();
        assert_eq!(said["serveraddress"], "127.0.0.1:5454");
        said["registrytoken"].as_str().unwrap().to_owned()
    }

    #[test]
    fn the_engine_gets_a_token_and_the_registry_the_credentials_behind_it() {
        let grants = Arc::new(Grants::default());
        let ann = Identity::imagined(Some("ann"));
        let json = r#"{"username":"ann","password":"secret","serveraddress":"ghcr.io"}"#;
        let (_held, header) = issue(&grants, &wanted("ghcr.io/a/b:1", json), &ann).unwrap();
        let found = grants.look_up("main", &token_of(&header)).unwrap();
        assert_eq!(found.grant.repository, "dgabcdefghij/ghcr.io/a/b");
        assert_eq!(found.grant.actions, Actions::PULL);
        assert_eq!(found.credentials, ClientCredentials::login("ann", "secret"));
        // for another registry they are none
        let (_held, header) = issue(&grants, &wanted("quay.io/a/b", json), &ann).unwrap();
        assert_eq!(grants.look_up("main", &token_of(&header)).unwrap().credentials, None);
    }

    #[test]
    fn a_header_that_cannot_be_used_is_said_to_be_so() {
        let grants = Arc::new(Grants::default());
        let ann = Identity::imagined(Some("ann"));
        let said = |json| issue(&grants, &wanted("x", json), &ann).unwrap_err();
        assert!(said(r#"{"identitytoken":"secret"}"#).starts_with("an identity token cannot"));
        assert_eq!(said("nonsense"), "`X-Registry-Auth` cannot be read");
        let (_held, header) =
            issue(&grants, &WantedGrant { header: None, ..wanted("x", "") }, &ann).unwrap();
        assert!(grants.look_up("main", &token_of(&header)).unwrap().credentials.is_none());
        assert!(!format!("{header:?} {:?}", wanted("x", "c2VjcmV0")).contains("c2Vj"));
    }
}
