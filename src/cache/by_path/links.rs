//! The links of an index, made to lead back to us.
//!
//! `ByPath` puts it into routes of indexes, `fill` runs it over the whole document before it is stored.
//! What must stay true: a link to a host that the configuration does not name stays as it is; whatever else
//! is in the document stays byte for byte.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, header};

use super::{Registries, Site, html, json};
use crate::cache::route::{Fetch, Rewrite};
use crate::cache::upstream;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Python's simple repository API: HTML (PEP 503) or JSON (PEP 691).
    Simple,
    /// A package's document, or one version's: `dist.tarball`.
    Npm,
    /// `config.json` of a sparse index: `dl`.
    Cargo,
}

#[derive(Debug)]
pub(super) struct Links {
    pub format: Format,
    pub registries: Arc<Registries>,
    /// Scheme and host by which the client called us.
    pub us: String,
    /// Where the document comes from.
    pub from: Site,
}

impl Rewrite for Links {
    fn rewrite(&self, headers: &mut HeaderMap, body: Bytes) -> Result<Bytes, String> {
        let is_coded = headers.get(header::CONTENT_ENCODING).is_some_and(|it| it != "identity");
        if is_coded {
            return Err("the index came in a coding that was not asked for".to_owned());
        }
        let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
        let is_json = kind.windows(4).any(|part| part.eq_ignore_ascii_case(b"json"));
        let made = match self.format {
            Format::Simple if is_json => self.values(&body, "url"),
            Format::Simple => self.page(&body),
            Format::Npm => self.values(&body, "tarball"),
            Format::Cargo => self.values(&body, "dl"),
        };
        for name in DIGESTS {
            headers.remove(name);
        }
        Ok(made.into())
    }
}

/// They are about the document as it was.
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("repr-digest"),
];

impl Links {
    fn values(&self, body: &[u8], key: &str) -> Vec<u8> {
        let from = self.document();
        json::values(body, key, &|link| self.here(&from, link))
    }

    fn page(&self, body: &[u8]) -> Vec<u8> {
        let from = RefCell::new(self.document());
        html::links(body, &|tag, link| match tag {
            html::Tag::Link => self.here(&from.borrow(), link),
            html::Tag::Base => {
                let base = upstream::resolve(&from.borrow(), link.as_bytes())?;
                from.replace(base);
                None
            }
        })
    }

    fn document(&self) -> Fetch {
        let Site { scheme, host, path } = &self.from;
        Fetch { scheme: *scheme, host: host.clone(), target: path.clone() }
    }

    /// Where a link leads here; none where it leads to nobody whom we ask.
    fn here(&self, from: &Fetch, link: &str) -> Option<String> {
        let (link, fragment) = match link.split_once('#') {
            Some((link, fragment)) => (link, format!("#{fragment}")),
            None => (link, String::new()),
        };
        let there = upstream::resolve(from, link.as_bytes())?;
        let path = match self.in_index(&there) {
            Some(path) => path,
            None if self.registries.files.iter().any(|site| site.host == there.host) => {
                format!("/files/{}{}", there.host, there.target)
            }
            None => return None,
        };
        // cargo fills these in itself.
        let path = match self.format {
            Format::Cargo => path.replace("%7B", "{").replace("%7D", "}"),
            Format::Simple | Format::Npm => path,
        };
        Some(format!("{}{path}{fragment}", self.us))
    }

    /// A page of the index, or a package below it.
    fn in_index(&self, there: &Fetch) -> Option<String> {
        let (index, prefix) = match self.format {
            Format::Simple => (self.registries.pypi.as_ref()?, "/pypi/simple"),
            Format::Npm => (self.registries.npm.as_ref()?, "/npm"),
            Format::Cargo => return None,
        };
        let is_there = index.scheme == there.scheme && index.host == there.host;
        let rest = there.target.strip_prefix(&index.path).filter(|rest| rest.starts_with('/'))?;
        let is_ours = match self.format {
            Format::Simple => super::is_page(rest.get(1..)?),
            Format::Npm | Format::Cargo => true,
        };
        (is_there && is_ours).then(|| format!("{prefix}{rest}"))
    }
}
