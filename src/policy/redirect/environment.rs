//! The environment by which programs find certificates that look into no file of the system's.
//!
//! `redirect` asks for it. What must stay true: what the image or the user sets stays as it is; what is added names a file
//! that the image has anyway, so that a later image made of the container loses nothing by it.

use crate::api::doc::Value;
use crate::policy::layout::Layout;

/// With the files, these three reach every client of `docs/policies/transparent-cache.md`: the first Go, Python and OpenSSL,
/// the second what comes with certificates of its own (certifi), the third Node.
const ADDED: [&str; 3] = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"];
/// Those, and others that name a file of certificates where somebody has set them.
const NAMES: [&str; 13] = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "NIX_SSL_CERT_FILE",
    "DENO_CERT",
    "HTTPLIB2_CA_CERTS",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
];

/// The files that the container's environment names: the root is added to those that are there.
pub(super) fn files(root: &Value, of_image: &[&str]) -> Vec<String> {
    let value = |name: &&str| {
        let own = own(root).find_map(|entry| setting(entry, name));
        own.unwrap_or_else(|| of_image.iter().find_map(|entry| setting(entry, name)).flatten())
    };
    let mut files: Vec<String> = Vec::new();
    for path in NAMES.iter().filter_map(value).filter(|path| path.starts_with('/')) {
        if !files.iter().any(|known| known == path) {
            files.push(path.to_owned());
        }
    }
    files
}

/// Names the image's own bundle where nobody says anything.
pub(super) fn add(root: &mut Value, of_image: &[&str], layout: &Layout) {
    let Some(bundle) = &layout.bundle_path else { return };
    let is_set = |name: &&str| {
        own(root).chain(of_image.iter().copied()).any(|entry| setting(entry, name).is_some())
    };
    let free: Vec<&str> = ADDED.into_iter().filter(|name| !is_set(name)).collect();
    let Some(place) = root.at_mut(&["Env"]).filter(|_| !free.is_empty()) else { return };
    let mut list = place.items().to_vec();
    list.extend(free.into_iter().map(|name| Value::String(format!("{name}={bundle}"))));
    *place = Value::List(list);
}

fn own(root: &Value) -> impl Iterator<Item = &str> {
    let list = root.get("Env").map(Value::items).unwrap_or_default();
    list.iter().filter_map(Value::as_str)
}

/// What an entry says of this name; the name alone takes it away from the image's.
fn setting<'e>(entry: &'e str, name: &str) -> Option<Option<&'e str>> {
    let rest = entry.strip_prefix(name)?;
    match rest.strip_prefix('=') {
        Some(value) => Some(Some(value)),
        None => rest.is_empty().then_some(None),
    }
}
