//! Where objects are asked for: the running process, or the directory itself.
//!
//! Used by `cache`. What must stay true: a directory is only looked at.

use std::path::{Path, PathBuf};

use hyper::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;

use super::ScopeArgs;
use crate::admin::MOST_UNIX_TIME;
use crate::admin::report::{Checked, Objects};
use crate::api::json;
use crate::cache::store::{Disk, Scope, Store as _};
use crate::cli::ask::{Process, ask};

/// Objects at a time.
const PAGE: usize = 1000;

pub(super) enum Source {
    Process { socket: PathBuf, cache: Option<String> },
    Directory(Disk),
}

impl Source {
    pub(super) fn process(process: &Process, cache: Option<&str>) -> Result<Source, String> {
        Ok(Source::Process { socket: process.find()?, cache: cache.map(str::to_owned) })
    }

    pub(super) fn directory(dir: &Path) -> Result<Source, String> {
        let disk = Disk::look(dir);
        disk.map(Source::Directory).map_err(|error| {
            format!("`{}` cannot be read: {error}. hint: `dir` of `[cache.NAME]`", dir.display())
        })
    }

    pub(super) async fn objects(
        &self,
        part: &ScopeArgs,
        after: Option<&str>,
    ) -> Result<Objects, String> {
        match self {
            Source::Directory(disk) => {
                let page = disk.list(&scope(part)?, after, PAGE).await;
                page.map(Objects::from).map_err(|error| error.to_string())
            }
            Source::Process { .. } => self.get("/cache/ls", &paged(part, after)).await,
        }
    }

    pub(super) async fn checked(
        &self,
        part: &ScopeArgs,
        after: Option<&str>,
    ) -> Result<Checked, String> {
        match self {
            Source::Directory(disk) => {
                let page = disk.verify(&scope(part)?, after, PAGE).await;
                page.map(Checked::from).map_err(|error| error.to_string())
            }
            Source::Process { .. } => self.get("/cache/verify", &paged(part, after)).await,
        }
    }

    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, String> {
        self.ask(Method::GET, path, query).await
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, String> {
        self.ask(Method::POST, path, query).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, String> {
        let Source::Process { socket, cache } = self else {
            return Err("a directory answers no requests".to_owned());
        };
        let cache = cache.as_deref().map(|cache| ("cache", cache));
        let pairs = cache.iter().chain(query).map(|(name, value)| {
            format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))
        });
        let target = format!("{path}?{}", pairs.collect::<Vec<_>>().join("&"));
        let answer = ask(socket, method, &target, MOST_UNIX_TIME).await?;
        if answer.status != StatusCode::OK {
            return Err(answer.message());
        }
        json::read(&answer.body)
            .map_err(|error| format!("the answer of the admin socket is not understood: {error}"))
    }
}

fn paged<'a>(part: &'a ScopeArgs, after: Option<&'a str>) -> Vec<(&'static str, &'a str)> {
    let mut query = part.query();
    query.extend(after.map(|after| ("after", after)));
    query
}

fn scope(part: &ScopeArgs) -> Result<Scope, String> {
    match (&part.host, &part.prefix, &part.partition) {
        (Some(host), ..) => Scope::of_host(host),
        (None, Some(prefix), _) => Scope::of_prefix(prefix),
        (None, None, Some(partition)) => Scope::of_partition(partition),
        (None, None, None) => Ok(Scope::Everything),
    }
}
