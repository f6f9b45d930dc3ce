//! What a build makes the engine connect to: sources, exporters, caches.
//!
//! `judge` asks here with values of BuildKit's requests. What must stay true: a scheme, a kind or an option that is not
//! named here is refused; where one value is said in two places (a repository's address in an operation and in its
//! attributes) both are judged.

use std::borrow::Cow;

use super::judge::{Judge, Judgement, yes};
use super::{Conservative, registry};
use crate::api::buildkit::session::UPLOADS;
use crate::api::doc::Value;
use crate::api::grammar::image;
use crate::policy::Context;
use crate::wire::url::HttpUrl;

/// A context, or the source of an operation with its attributes.
pub(super) fn source(
    judge: &mut Judge<'_>,
    with: &Conservative,
    value: &Value,
    cx: &Context<'_>,
) -> Judgement {
    let (text, attributes) = match value {
        Value::String(text) => (text.as_str(), None),
        source => {
            (source.get("identifier").and_then(Value::as_str).unwrap_or(""), source.get("attrs"))
        }
    };
    let Some((scheme, rest)) = text.split_once(':') else { return Judgement::No };
    match (scheme, rest.strip_prefix("//")) {
        ("docker-image", Some(name)) => {
            registry::judge(judge, with, image::host_of_name(name), cx).of(name)
        }
        // What the client itself sends, or has said in the same request.
        ("local" | "oci-layout", _) | ("input" | "target", None) => Judgement::Yes,
        _ if text.starts_with(UPLOADS) => Judgement::Yes,
        (_, rest) => {
            let remote = |key| attributes.and_then(|all| all.get(key)).and_then(Value::as_str);
            // Where the address stands among the attributes, it is what BuildKit uses (source/git/identifier.go).
            match (scheme, rest, remote("git.fullurl")) {
                ("git", Some(named), Some(url)) => {
                    yes(are_fetched(with.fetches.repositories(), named, url))
                }
                (scheme, _, url) => {
                    let is_repository = scheme == "git" || url.is_some();
                    let mut places = [Some(text), url].into_iter().flatten();
                    yes(places.all(|place| may_fetch(with, place, is_repository)))
                }
            }
        }
    }
}

/// One exporter; with its `Type` and `Attrs`, or only its attributes.
pub(super) fn exporter(
    judge: &mut Judge<'_>,
    with: &Conservative,
    value: &Value,
    cx: &Context<'_>,
) -> Judgement {
    const OPTIONS: &[&str] = &[
        "annotation",
        "attestation-inline",
        "attestation-prefix",
        "attest",
        "buildinfo",
        "buildinfo-attrs",
        "compression",
        "compression-level",
        "context",
        "danging-name-empty-only",
        "dangling-name-empty-only",
        "dangling-name-prefix",
        "force-compression",
        "mode",
        "name",
        "name-canonical",
        "oci-artifact",
        "oci-mediatypes",
        "platform-split",
        "prefer-nondist-layers",
        "push",
        "push-by-digest",
        "registry.insecure",
        "rewrite-timestamp",
        "source-date-epoch",
        "store",
        "tar",
        "unpack",
    ];
    let attributes = match value.get("Type") {
        Some(_) => value.get("Attrs").unwrap_or(&Value::Null),
        None if value.get("Attrs").is_some() => return Judgement::No,
        None => value,
    };
    let is_known = |key: &str| {
        let family = key.split(['.', '[', ':']).next().unwrap_or_default();
        OPTIONS.contains(&key)
            || matches!(family, "annotation" | "annotation-index" | "annotation-manifest")
            || matches!(family, "annotation-manifest-descriptor" | "annotation-index-descriptor")
            || key.starts_with("containerimage.")
            || key.starts_with("attest:")
    };
    if !attributes.entries().iter().all(|(key, _)| is_known(key)) {
        return Judgement::No;
    }
    if is_set(attributes, "registry.insecure") {
        return Judgement::No;
    }
    if !is_set(attributes, "push") {
        return Judgement::Yes;
    }
    let names = attributes.get("name").and_then(Value::as_str).unwrap_or_default();
    all_registries(judge, with, names.split(','), cx)
}

/// Caches to read from or to write to: as the request lists them, or as the frontend is told in JSON.
pub(super) fn cache(
    judge: &mut Judge<'_>,
    with: &Conservative,
    value: &Value,
    cx: &Context<'_>,
) -> Judgement {
    let entries = match value {
        Value::String(json) => match serde_json::from_str::<Vec<JsonEntry>>(json) {
            Ok(entries) => entries.into_iter().map(JsonEntry::into_value).collect(),
            Err(_) => return Judgement::No,
        },
        list => list.items().to_vec(),
    };
    let mut all = Judgement::Yes;
    for entry in &entries {
        all = match (cache_entry(judge, with, entry, cx), all) {
            (Judgement::Yes, all) => all,
            (Judgement::Unknown, Judgement::Yes) => Judgement::Unknown,
            (Judgement::Unknown, all) => all,
            (no, _) => return no,
        };
    }
    all
}

fn cache_entry(
    judge: &mut Judge<'_>,
    with: &Conservative,
    entry: &Value,
    cx: &Context<'_>,
) -> Judgement {
    const OPTIONS: &[&str] = &[
        "compression",
        "compression-level",
        "dest",
        "digest",
        "force-compression",
        "ignore-error",
        "image-manifest",
        "mode",
        "oci-mediatypes",
        "ref",
        "registry.insecure",
        "src",
        "store",
        "tag",
    ];
    let empty = Value::Object(Vec::new());
    let attributes = entry.get("Attrs").unwrap_or(&empty);
    let is_known = attributes.entries().iter().all(|(key, _)| OPTIONS.contains(&key.as_ref()));
    if !is_known || is_set(attributes, "registry.insecure") {
        return Judgement::No;
    }
    let reference = attributes.get("ref").and_then(Value::as_str);
    match (entry.get("Type").and_then(Value::as_str), reference) {
        (Some("inline" | "local"), None) => Judgement::Yes,
        (Some("registry"), Some(name)) => all_registries(judge, with, [name], cx),
        _ => Judgement::No,
    }
}

pub(super) fn all_registries<'n>(
    judge: &mut Judge<'_>,
    with: &Conservative,
    names: impl IntoIterator<Item = &'n str>,
    cx: &Context<'_>,
) -> Judgement {
    let mut all = Judgement::Yes;
    for name in names {
        match registry::judge(judge, with, image::host_of_name(name.trim()), cx).of(name) {
            Judgement::Yes => {}
            Judgement::Unknown => all = Judgement::Unknown,
            no => return no,
        }
    }
    all
}

/// BuildKit takes an option without a value for true, and Go knows six words for false.
fn is_set(attributes: &Value, key: &str) -> bool {
    let said = attributes.get(key).and_then(Value::as_str);
    said.is_some_and(|said| !matches!(said, "0" | "f" | "F" | "false" | "FALSE" | "False"))
}

/// `[{"Type": "registry", "Attrs": {…}}]`; another key may mean something to a newer frontend.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonEntry {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(rename = "Attrs", default)]
    attributes: Option<std::collections::BTreeMap<String, String>>,
}

impl JsonEntry {
    fn into_value(self) -> Value {
        let attributes = self.attributes.unwrap_or_default().into_iter();
        let attributes = attributes.map(|(key, value)| (Cow::Owned(key), Value::String(value)));
        Value::Object(vec![
            (Cow::Borrowed("Type"), Value::String(self.kind)),
            (Cow::Borrowed("Attrs"), Value::Object(attributes.collect())),
        ])
    }
}

/// Where a repository is, as an address over https: `git://`, `ssh://` and `user@host:path` name the same machine, and
/// whether it may be asked depends on whose it is.
fn repository(text: &str) -> Option<HttpUrl> {
    if let Some(url) = HttpUrl::parse(text) {
        return Some(url);
    }
    let bare = match text.strip_prefix("git://").or_else(|| text.strip_prefix("ssh://")) {
        Some(bare) => bare.split_once('@').map_or(bare, |(_, host)| host).to_owned(),
        None => {
            let (user, rest) = text.split_once('@')?;
            let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
            if !user.bytes().all(is_name) {
                return None;
            }
            let (host, path) = rest.split_once(':')?;
            format!("{host}/{}", path.trim_start_matches('/'))
        }
    };
    HttpUrl::parse(&format!("https://{bare}"))
}

/// Whether a build may have the engine fetch this. What is a file and what a repository is for BuildKit to say: over
/// http it is a repository where the client says so, or the path ends like one (util/gitutil).
fn may_fetch(with: &Conservative, text: &str, is_repository: bool) -> bool {
    let Some(url) = repository(text) else { return false };
    let bare = url.path.split('?').next().unwrap_or_default();
    let is_file = !is_repository && HttpUrl::parse(text).is_some() && !bare.ends_with(".git");
    let prefixes = if is_file { with.fetches.files() } else { with.fetches.repositories() };
    prefixes.iter().any(|prefix| prefix.covers(&url))
}

/// The same of a repository whose address stands beside its name. The name has no scheme of its own: `llb.Git` writes
/// `git://` before the host and the path of any address.
fn are_fetched(prefixes: &[HttpUrl], named: &str, url: &str) -> bool {
    let Some(url) = repository(url) else { return false };
    prefixes.iter().any(|prefix| {
        let scheme = if prefix.is_secure { "https" } else { "http" };
        let named = HttpUrl::parse(&format!("{scheme}://{named}"));
        prefix.covers(&url) && named.is_some_and(|named| prefix.covers(&named))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_where_its_host_is_however_it_is_written() {
        let at = |text: &str| repository(text).map(|url| (url.is_secure, url.host, url.path));
        let wanted = Some((true, "github.com".to_owned(), "/a/b.git".to_owned()));
        for same in [
            "https://github.com/a/b.git#main:dir",
            "git://github.com/a/b.git",
            "git@github.com:a/b.git",
            "ssh://git@github.com/a/b.git",
            "https://GitHub.com/a/b.git",
        ] {
            assert_eq!(at(same), wanted, "{same}");
        }
        for none in
            ["file:///etc", "ext::sh -c id", "git@", "/etc", "", "x@y@github.com:a", "a b@c:d"]
        {
            assert_eq!(at(none), None, "{none}");
        }
        assert_eq!(at("git://127.0.0.1/x").unwrap().1, "127.0.0.1");
    }
    #[test]
    fn a_repository_with_a_name_is_fetched_where_one_prefix_covers_both() {
        let prefixes = ["http://127.0.0.1:5080/", "https://github.com/"];
        let prefixes: Vec<_> = prefixes.iter().filter_map(|url| HttpUrl::parse(url)).collect();
        let fetched = |named: &str, url: &str| are_fetched(&prefixes, named, url);
        assert!(fetched("127.0.0.1:5080/a.git#main", "http://127.0.0.1:5080/a.git"));
        assert!(fetched("github.com/a/b.git", "git@github.com:a/b.git"));
        for (named, url) in [
            ("127.0.0.1:5081/a.git", "http://127.0.0.1:5080/a.git"),
            ("127.0.0.1:5080/a.git", "http://127.0.0.1:5081/a.git"),
            ("127.0.0.1:5080/a.git", "https://127.0.0.1:5080/a.git"),
            ("127.0.0.1:5080/a.git", "https://github.com/a.git"),
            ("github.com/a.git", "file:///etc"),
            ("github.com/a.git", ""),
            ("x@github.com/a.git", "https://github.com/a.git"),
        ] {
            assert!(!fetched(named, url), "{named} {url}");
        }
    }
}
