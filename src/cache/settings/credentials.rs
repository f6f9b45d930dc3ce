//! `[cache.NAME.credentials]` read: the secrets out of their files, for the origins that they are for.
//!
//! `Understood::of` calls it. What must stay true: no complaint shows anything of what a file holds; what is
//! secret is not sent over TLS in one place and in clear in another.

use std::sync::Arc;

use http::HeaderValue;

use crate::cache::key::Scheme;
use crate::cache::mirror::Origin;
use crate::cache::upstream::Signer;
use crate::cache::upstream::credentials::{How, OriginCredentials, basic, bearer};
use crate::config::{self, AwsKey, Cache, Complaints, File, Invalid, Login, Text};

/// Longer ones are no secrets but a wrong file.
const LONGEST: usize = 16 * 1024;

pub(super) fn read(config: &Cache) -> Result<Vec<Arc<OriginCredentials>>, Invalid> {
    let mut complaints = Complaints::default();
    let mut all: Vec<(Origin, Arc<OriginCredentials>)> = Vec::new();
    for (url, credentials) in &config.credentials {
        let origin = complaints.note(super::origin(url, &config.allow_private));
        let how = complaints.note(how(credentials, config, origin.as_ref()));
        let (Some(origin), Some(how)) = (origin, how) else { continue };
        if all.iter().any(|(other, _)| *other == origin) {
            let what = format!("`{}` is the same origin as another one here", url.text);
            complaints.note::<()>(Err(url.invalid(what, "")));
        }
        let made = OriginCredentials::new(origin.scheme, origin.host.clone(), how);
        all.push((origin, Arc::new(made)));
    }
    complaints.or(all.into_iter().map(|(_, made)| made).collect())
}

fn how(
    credentials: &config::OriginCredentials,
    config: &Cache,
    origin: Option<&Origin>,
) -> Result<How, Invalid> {
    Ok(match credentials {
        config::OriginCredentials::Aws(key) => How::Signed(signer(key)?),
        config::OriginCredentials::Basic(login) => How::Fixed(login_of(login)?),
        config::OriginCredentials::Bearer { token } => {
            let made = bearer(&secret(token)?);
            How::Fixed(made.ok_or_else(|| unusable(token, "token"))?)
        }
        config::OriginCredentials::Token { login, realm } => {
            let login = login.as_ref().map(login_of).transpose()?;
            let realm = realm.as_ref().map(|realm| site(realm, config, origin)).transpose()?;
            How::Token { login, realm }
        }
    })
}

fn signer(key: &AwsKey) -> Result<Signer, Invalid> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    for text in [&key.access_key, &key.region, &key.service] {
        if text.text.is_empty() || !text.text.bytes().all(is_plain) {
            return Err(text.invalid("this cannot stand in a signature", "letters, digits and `-`"));
        }
    }
    Ok(Signer {
        access_key: key.access_key.text.clone(),
        secret: secret(&key.secret)?,
        region: key.region.text.clone(),
        service: key.service.text.clone(),
    })
}

/// `Authorization` of a name and a password.
pub(in crate::cache) fn login_of(login: &Login) -> Result<HeaderValue, Invalid> {
    let name = &login.username;
    if name.text.contains(':') || name.text.chars().any(char::is_control) {
        return Err(name.invalid("`username` has a character that cannot be in one", ""));
    }
    let made = basic(&name.text, &secret(&login.password)?);
    made.ok_or_else(|| unusable(&login.password, "password"))
}

/// What is secret towards the origin is not told to another one in clear.
fn site(
    realm: &Text,
    config: &Cache,
    origin: Option<&Origin>,
) -> Result<(Scheme, String), Invalid> {
    let Origin { scheme, host } = super::origin(realm, &config.allow_private)?;
    if scheme == Scheme::Http && origin.is_some_and(|origin| origin.scheme == Scheme::Https) {
        let what = format!("`{}` would hear in clear what is for `https`", realm.text);
        return Err(realm.invalid(what, "use `https://host`"));
    }
    Ok((scheme, host))
}

/// The text of a file, without the line's end.
fn secret(file: &File) -> Result<String, Invalid> {
    let text = String::from_utf8(file.read()?).map_err(|_| unusable(file, "secret"))?;
    let text = text.trim_end_matches(['\r', '\n']);
    let is_sound = !text.is_empty() && text.len() <= LONGEST && !text.chars().any(char::is_control);
    if is_sound { Ok(text.to_owned()) } else { Err(unusable(file, "secret")) }
}

fn unusable(file: &File, what: &str) -> Invalid {
    let complaint = format!("`{}` holds no {what}", file.path.display());
    file.invalid(complaint, "it is one line, and nothing else")
}
