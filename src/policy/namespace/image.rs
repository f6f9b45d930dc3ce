//! What a namespace's images are called in the engine: below a registry of ours, and so pulled and pushed through it.
//!
//! `alpine:3` is `127.0.0.1:5454/dg…/docker.io/library/alpine:3` there. The policy writes and reads references with
//! `ImageNames`; `cache::registry` reads what the engine then asks it for with `Repository`. Pure. What must stay true:
//! two references of users never have one name in the engine, and no two names in the engine are one to a user; what is
//! not below the namespace is shown to nobody.

use std::fmt::Write as _;

use crate::api::grammar::glob;
use crate::api::grammar::image::DOCKER_HUB;
pub use crate::api::grammar::image_reference::{AskedImage, BadReference, ImageReference};
use crate::api::grammar::image_reference::{LONGEST_NAME, is_component, is_host};

/// Where Docker Hub's registry is.
const HUB_REGISTRY: &str = "registry-1.docker.io";
/// Before the port of a host.
const PORT: &str = "__";
/// Before an IPv6 address, whose colons are `x`.
const IPV6: &str = "v6";
/// Before what stands in a host's place and is none.
const NO_HOST: &str = "n";
/// Before the positions of a host's upper-case letters.
const UPPERCASE: char = 'u';
/// In a host's place, before the tags of what has no name; no host is called so.
const NAMELESS: &str = "none";
/// Behind the `dg` of a namespace.
const NAMESPACE_DIGITS: usize = 10;

/// The names of one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageNames {
    /// `127.0.0.1:5454/dg…/`
    prefix: String,
    namespace: String,
}

/// What stands behind the registry's address in the engine's names, and behind `/v2/` in its requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Repository {
    pub namespace: String,
    /// With its port; empty where a user has named none that could be one.
    pub host: String,
    pub path: String,
}

impl ImageNames {
    /// `address`: the registry's as the engine is told. `namespace`: without the hyphen that other names have behind it.
    pub fn new(address: &str, namespace: &str) -> ImageNames {
        ImageNames { prefix: format!("{address}/{namespace}/"), namespace: namespace.to_owned() }
    }

    /// A name for an image that its users have none for.
    pub fn anchor(&self, tag: &str) -> String {
        format!("{}{NAMELESS}:{tag}", self.prefix)
    }

    /// Whether it is one of those, with its tag or with a digest.
    pub fn is_anchor(&self, text: &str) -> bool {
        let behind = text.strip_prefix(&self.prefix).and_then(|rest| rest.strip_prefix(NAMELESS));
        behind.is_some_and(|rest| rest.starts_with([':', '@']))
    }

    /// What all of them begin with, and nothing else does.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What a user's text asks for: an id is no name.
    pub fn asked(text: &str) -> Result<AskedImage, BadReference> {
        AskedImage::parse(text)
    }

    /// The engine's name for a reference as a user writes it, with its tag and its digest if it has them.
    pub fn sent(&self, text: &str) -> Result<String, BadReference> {
        self.sent_reference(&ImageReference::parse(text)?)
    }

    pub fn sent_reference(&self, reference: &ImageReference) -> Result<String, BadReference> {
        let name = format!("{}{}", self.prefix, below(reference));
        if name.len() > LONGEST_NAME {
            let visible = reference.familiar_name();
            let more = name.len() - visible.len();
            return Err(BadReference::TooLong(LONGEST_NAME.saturating_sub(more)));
        }
        Ok(name + &reference.suffix())
    }

    /// The same of a query's two parameters (`fromImage` and `tag`, `repo` and `tag`): the first alone is written anew,
    /// and both together must be a reference. A colon at the end of `fromImage` is nothing (`PullImage` of moby).
    pub fn sent_pair(&self, name: &str, tag: &str) -> Result<String, BadReference> {
        let reference = pair(name, tag)?;
        self.sent_reference(&reference)?;
        self.sent(name.strip_suffix(':').unwrap_or(name))
    }

    /// The repository that a pull or push of a reference asks the registry for.
    pub fn repository(&self, reference: &ImageReference) -> Repository {
        Repository { namespace: self.namespace.clone(), ..Repository::of(reference) }
    }

    /// As docker prints the engine's name. None where it is not this namespace's: somebody else's, or nobody's
    /// (`<none>:<none>`).
    pub fn shown(&self, text: &str) -> Option<String> {
        self.visible(text).map(|reference| reference.familiar())
    }

    /// The same, as what it names.
    pub fn visible(&self, text: &str) -> Option<ImageReference> {
        let found = ImageReference::parse(text).ok()?;
        // Not what only means the same: the engine has written it.
        let rest = text.strip_prefix(&self.prefix)?;
        let name = rest.strip_suffix(&*found.suffix())?;
        let Repository { host, path, .. } = Repository::below(&self.namespace, name)?;
        Some(ImageReference { host, repository: path, ..found })
    }

    /// A text in which the engine speaks of this namespace's images, as it would speak of them to somebody who has it
    /// for themselves: progress, errors, and the requests to registries that they tell of.
    pub fn in_text(&self, text: &str) -> String {
        let (mut shown, mut rest) = (String::with_capacity(text.len()), text);
        let bare = format!("{}/", self.namespace);
        let address = self.prefix.strip_suffix(&*bare).unwrap_or_default();
        while let Some(at) = rest.find(&bare) {
            let (before, found) = rest.split_at(at);
            let end = found.find(|c: char| !is_of_reference(c)).unwrap_or(found.len());
            let (found, behind) = found.split_at(end);
            let url = before.strip_suffix("v2/").and_then(|before| before.strip_suffix(address));
            let (before, said) = match (before.strip_suffix(address), url) {
                // A source of a build, which is read again.
                (Some(before), _) => (before, self.longest(&bare, found, before.ends_with("://"))),
                (None, Some(before)) => (before, self.url(found)),
                (None, None) => (before, self.path(found)),
            };
            let Some(said) = said else {
                // No name of ours: it stays, but for its first part.
                shown.push_str(before);
                rest = rest.get(at + bare.len()..).unwrap_or_default();
                continue;
            };
            // The engine asks us in clear, and we the registry by TLS.
            let scheme = ["https://", "http://"].iter().find_map(|one| before.strip_suffix(one));
            shown.push_str(scheme.filter(|_| url.is_some()).unwrap_or(before));
            shown.push_str(&said);
            rest = behind;
        }
        shown.push_str(rest);
        shown
    }

    /// `dg…/host/path:tag` with what a sentence may have behind it.
    fn longest(&self, bare: &str, found: &str, is_whole: bool) -> Option<String> {
        let address = self.prefix.strip_suffix(bare)?;
        let end = found.trim_end_matches(['.', ':', ',']);
        if self.is_anchor(&format!("{address}{end}")) {
            return Some(format!("<none>{}", found.strip_prefix(end)?));
        }
        let visible = self.visible(&format!("{address}{end}"))?;
        let shown = match is_whole {
            true => visible.name() + &visible.suffix(),
            false => visible.familiar(),
        };
        Some(shown + found.strip_prefix(end)?)
    }

    /// `dg…/host/path/manifests/tag` of a request.
    fn url(&self, found: &str) -> Option<String> {
        let (name, thing) = ["/manifests/", "/blobs/", "/tags/", "/referrers/"]
            .iter()
            .find_map(|word| Some(found.split_at(found.rfind(word)?)))?;
        let Repository { host, path, .. } = Repository::parse(name)?;
        let host = if host == DOCKER_HUB { HUB_REGISTRY } else { &host };
        Some(format!("https://{host}/v2/{path}{thing}"))
    }

    /// `dg…/host/path` without the registry, as a pull begins to tell of itself.
    fn path(&self, found: &str) -> Option<String> {
        let end = found.trim_end_matches(['.', ':', ',']);
        let Repository { path, .. } = Repository::parse(end)?;
        Some(path + found.strip_prefix(end)?)
    }
}

/// The name of what a user writes, with all that stands in front; of what is no reference nothing.
pub fn name_of(text: &str) -> String {
    ImageReference::parse(text).map(|reference| reference.name()).unwrap_or_default()
}

/// What a name and a tag of a query are together.
pub fn pair(name: &str, tag: &str) -> Result<ImageReference, BadReference> {
    ImageReference::parse(name.strip_suffix(':').unwrap_or(name))?.with_tag(tag)
}

/// Whether a visible reference is one of those that the patterns of a `reference` filter mean; one of them must. Engines
/// list of an image only the references that match, and leave out images of which none does (`FamiliarMatch`).
pub fn is_meant<'p>(
    mut patterns: impl Iterator<Item = &'p str>,
    reference: &ImageReference,
) -> Result<bool, glob::BadPattern> {
    let (whole, name) = (reference.familiar(), reference.familiar_name());
    patterns.try_fold(false, |found, pattern| {
        // What stands behind the first that matches is not looked at.
        Ok(found || glob::matches(pattern, &whole)? || glob::matches(pattern, &name)?)
    })
}

impl Repository {
    /// Of a reference as a user writes it; of no namespace yet.
    fn of(reference: &ImageReference) -> Repository {
        let (host, path) = (reference.host.clone(), reference.repository.clone());
        Repository { namespace: String::new(), host, path }
    }

    /// `dg…/host/path` of a request; None where it does not begin with a namespace, or is not what `Display` writes.
    pub fn parse(text: &str) -> Option<Repository> {
        let (namespace, name) = text.split_once('/')?;
        is_namespace(namespace).then(|| Repository::below(namespace, name))?
    }

    fn below(namespace: &str, name: &str) -> Option<Repository> {
        let (first, rest) = name.split_once('/')?;
        let namespace = namespace.to_owned();
        let found = match without_host(first) {
            Some(first) => {
                Repository { namespace, host: String::new(), path: format!("{first}/{rest}") }
            }
            None => Repository { namespace, host: host_of(first)?, path: rest.to_owned() },
        };
        // One spelling each, and nothing that no user could write.
        let written = ImageReference::parse(&found.visible()).ok()?;
        let is_same = written.host == found.host && written.repository == found.path;
        (is_same && written.suffix().is_empty() && found.name() == name).then_some(found)
    }

    /// As users and rules know it: `docker.io/library/alpine`.
    pub fn visible(&self) -> String {
        match &*self.host {
            "" => self.path.clone(),
            host => format!("{host}/{}", self.path),
        }
    }

    /// Without the namespace.
    fn name(&self) -> String {
        let reference = ImageReference {
            host: self.host.clone(),
            repository: self.path.clone(),
            tag: None,
            digest: None,
        };
        below(&reference)
    }
}

/// As the engine asks the registry for it.
impl std::fmt::Display for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name())
    }
}

/// `dg` and ten characters of base32. Repositories whose name begins with such a component are namespaces' alone.
pub fn is_namespace(text: &str) -> bool {
    text.strip_prefix("dg").is_some_and(|digits| {
        let is_digit = |byte: u8| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte);
        digits.len() == NAMESPACE_DIGITS && digits.bytes().all(is_digit)
    })
}

/// What stands behind the namespace: the host as a component of a path, and the repository.
fn below(reference: &ImageReference) -> String {
    match &*reference.host {
        // It has a `_` in its first component, or it would be a host.
        "" => format!("{NO_HOST}_{}", reference.repository),
        host => format!("{}/{}", component_of(host), reference.repository),
    }
}

/// `host`, `host__port`, `v6_xx1__port`; with `u…_` in front where there are upper-case letters.
fn component_of(host: &str) -> String {
    let (name, port) = match host.rfind(']') {
        Some(end) => host.split_at(end + 1),
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let inside = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let (kind, name) = inside.map_or(("", name), |inside| (IPV6, inside));
    let case = match uppercase(name) {
        mask if mask.is_empty() => String::new(),
        mask => format!("{UPPERCASE}{mask}"),
    };
    let marks = format!("{kind}{case}");
    let joint = if marks.is_empty() { "" } else { "_" };
    let name = name.to_ascii_lowercase().replace(':', "x");
    format!("{marks}{joint}{name}{}", port.replace(':', PORT))
}

/// What `component_of` has made a component of. Whether it would be made of it, the caller sees.
fn host_of(component: &str) -> Option<String> {
    let (name, port) = match component.rsplit_once(PORT) {
        Some((name, port)) => (name, format!(":{port}")),
        None => (component, String::new()),
    };
    let (marks, name) = name.split_once('_').unwrap_or(("", name));
    let (kind, mask) = match marks.strip_prefix(IPV6) {
        Some(case) => (IPV6, case),
        None => ("", marks),
    };
    let name = match kind {
        IPV6 => name.replace('x', ":"),
        _ => name.to_owned(),
    };
    let name = match mask.strip_prefix(UPPERCASE) {
        Some(mask) => with_uppercase(&name, mask)?,
        None if mask.is_empty() => name,
        None => return None,
    };
    let host = match kind {
        IPV6 => format!("[{name}]{port}"),
        _ => format!("{name}{port}"),
    };
    is_host(&host).then_some(host)
}

/// `n_a.b_c` is `a.b_c`; the host `n` with a port is `n__5000`.
fn without_host(component: &str) -> Option<&str> {
    let rest = component.strip_prefix(NO_HOST)?.strip_prefix('_')?;
    // What is in a host's place and could be a host is one.
    (is_component(rest) && !is_host(rest) && rest.contains('.')).then_some(rest)
}

/// Which letters are upper case: a hexadecimal digit for each four, without zeros behind the last that counts.
fn uppercase(name: &str) -> String {
    let mut mask = String::new();
    for four in name.as_bytes().chunks(4) {
        let bits =
            four.iter().enumerate().map(|(at, byte)| usize::from(byte.is_ascii_uppercase()) << at);
        let _ = write!(mask, "{:x}", bits.sum::<usize>());
    }
    mask.trim_end_matches('0').to_owned()
}

fn with_uppercase(name: &str, mask: &str) -> Option<String> {
    let mut digits = mask.chars().map(|digit| digit.to_digit(16)).collect::<Option<Vec<_>>>()?;
    digits.resize(digits.len().max(name.len()), 0);
    let is_upper = |at: usize| digits.get(at / 4).is_some_and(|bits| bits >> (at % 4) & 1 == 1);
    let letters = name.char_indices();
    Some(letters.map(|(at, c)| if is_upper(at) { c.to_ascii_uppercase() } else { c }).collect())
}

fn is_of_reference(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._-/:@".contains(c)
}

#[cfg(test)]
mod tests;
