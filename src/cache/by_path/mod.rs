//! Mirror mode: registries below paths of the cache itself, for clients that trust no authority of ours.
//!
//! `/pypi/simple/…`, `/npm/…` and `/crates/…` are indexes whose links lead back here, `/files/HOST/…` and
//! `/deb/HOST/…` are files of hosts that the configuration names. `Cache::route` asks it for requests to
//! the cache's own names. What must stay true: nobody is asked whom the configuration does not name; what
//! is changed is where links of an index lead, never a digest, a file or an index that says neither.

mod html;
mod json;
mod links;

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, Method, header};

use super::hosts::HostSet;
use super::key::{Key, Scheme};
use super::mirror::Http;
use super::route::{Mirror, RequestTarget, RewriteHeaders, Route};
use links::{Format, Links};

/// What is served by path, and how clients name us.
#[derive(Debug)]
pub struct ByPath {
    own: OwnNames,
    registries: Arc<Registries>,
    /// Whose rules hold for what is fetched.
    http: Arc<Http>,
}

/// The cache as clients call it.
#[derive(Clone, Debug, Default)]
pub struct OwnNames {
    /// As the configuration says.
    pub named: HostSet,
    /// Of addresses, and of `localhost`.
    pub ports: Vec<u16>,
}

/// Everything that has a path here.
#[derive(Clone, Debug, Default)]
pub struct Registries {
    pub pypi: Option<Site>,
    pub npm: Option<Site>,
    pub crates: Option<Site>,
    /// Below `/deb/HOST/`; the sites' own paths do not count, as below.
    pub deb: Vec<Site>,
    /// Below `/files/HOST/`.
    pub files: Vec<Site>,
}

/// Where something is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    pub scheme: Scheme,
    /// As in `Key`.
    pub host: String,
    /// Without a `/` at its end.
    pub path: String,
}

/// The first segments of our paths.
const ROOTS: [&str; 5] = ["pypi", "npm", "crates", "deb", "files"];

impl ByPath {
    pub fn new(own: OwnNames, registries: Registries, http: Arc<Http>) -> ByPath {
        ByPath { own, registries: Arc::new(registries), http }
    }

    /// Whether a request is for one of these paths: then nobody else answers it.
    pub fn claims(&self, scheme: Scheme, host: &str, path: &str) -> bool {
        let first = path.split('/').nth(1).unwrap_or_default();
        ROOTS.contains(&first) && !self.http.has_origin(host) && self.own.hold(host, scheme)
    }

    /// Whether a redirect may be followed to this host.
    pub fn reaches(&self, scheme: Scheme, host: &str) -> bool {
        self.registries.all().any(|site| site.scheme == scheme && site.host == host)
    }
}

impl Mirror for ByPath {
    fn route(&self, asked: &RequestTarget<'_>) -> Option<Route> {
        let (_, path) = asked.path.split_once('/')?;
        let (root, rest) = path.split_at_checked(path.find('/')?)?;
        if !may_ask(asked.method, root, rest) {
            return None;
        }
        let registries = &self.registries;
        match root {
            "pypi" => {
                let page = rest.strip_prefix("/simple/").filter(|page| is_page(page))?;
                let index = registries.pypi.as_ref()?;
                self.index(asked, index, &format!("/{page}"), Some(Format::Simple))
            }
            "npm" => {
                let format = (!rest.contains("/-/")).then_some(Format::Npm);
                self.index(asked, registries.npm.as_ref()?, rest, format)
            }
            "crates" => {
                let format = (rest == "/config.json").then_some(Format::Cargo);
                self.index(asked, registries.crates.as_ref()?, rest, format)
            }
            _ => {
                let (host, path) = rest.strip_prefix('/')?.split_once('/')?;
                let sites = if root == "deb" { &registries.deb } else { &registries.files };
                let site = sites.iter().find(|site| site.host == host)?;
                self.file(asked, site, &format!("/{path}"))
            }
        }
    }
}

impl ByPath {
    /// What is fetched as it is: under its own URL, as if a proxy had been asked for it.
    fn file(&self, asked: &RequestTarget<'_>, site: &Site, path: &str) -> Option<Route> {
        let there = RequestTarget { scheme: site.scheme, host: &site.host, path, ..*asked };
        let mut route = self.http.route(&there)?;
        route.headers = Some(Arc::new(OfAnotherSite));
        // Our clients may be unable to go there themselves.
        route.follow = true;
        Some(route)
    }

    /// An index is kept as clients that named us so have it.
    fn index(
        &self,
        asked: &RequestTarget<'_>,
        index: &Site,
        rest: &str,
        format: Option<Format>,
    ) -> Option<Route> {
        let target = format!("{}{rest}", index.path);
        let mut route = self.file(asked, index, &target)?;
        let Some(format) = format else { return Some(route) };
        route.key = Key {
            scheme: asked.scheme,
            host: asked.host.into(),
            path: asked.path.into(),
            ..route.key
        };
        route.rewrite = Some(Arc::new(Links {
            format,
            registries: Arc::clone(&self.registries),
            us: format!("{}://{}", asked.scheme.as_str(), asked.host),
            from: Site { path: target, ..index.clone() },
        }));
        Some(route)
    }
}

impl OwnNames {
    fn hold(&self, host: &str, scheme: Scheme) -> bool {
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
            _ => (host, Some(scheme.port())),
        };
        let is_address =
            name == "localhost" || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        let is_ours = port.is_some_and(|port| self.ports.contains(&port));
        (is_address && is_ours) || self.named.cover(host, scheme)
    }
}

impl Registries {
    fn all(&self) -> impl Iterator<Item = &Site> {
        let indexes = [&self.pypi, &self.npm, &self.crates].into_iter().flatten();
        indexes.chain(&self.deb).chain(&self.files)
    }
}

/// Reading, and what npm asks of a registry when it audits. Nothing is published through here.
fn may_ask(method: &Method, root: &str, rest: &str) -> bool {
    match *method {
        Method::GET | Method::HEAD => true,
        Method::POST => root == "npm" && rest.starts_with("/-/npm/v1/security/"),
        _ => false,
    }
}

/// The list of projects, or a project's own page; a file is none.
fn is_page(page: &str) -> bool {
    page.is_empty() || page.strip_suffix('/').is_some_and(|name| !name.contains('/'))
}

/// Of what a registry says of itself as a site, nothing is true of ours.
#[derive(Debug)]
struct OfAnotherSite;

impl RewriteHeaders for OfAnotherSite {
    fn rewrite(&self, headers: &mut HeaderMap) {
        for name in SITE {
            headers.remove(name);
        }
    }
}

const SITE: [HeaderName; 5] = [
    header::ALT_SVC,
    header::PUBLIC_KEY_PINS,
    header::SET_COOKIE,
    header::STRICT_TRANSPORT_SECURITY,
    HeaderName::from_static("nel"),
];

#[cfg(test)]
mod tests;
