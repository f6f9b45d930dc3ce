//! What dockgate changes on the engine by itself, for a policy that wants it done.
//!
//! `gateway::deeds` calls it. What must stay true: as for `own`, requests are constants but for names, which are encoded
//! whole; none is sent twice; nobody waits longer than the engine answers others.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::own::{AGENT, LOOP, MOST_SMALL, exchange, is_a_name};
use super::{Engine, EngineError};
use crate::api::endpoint::{Minor, Resource};
use crate::api::json;
use crate::wire::tar::TarWriter;
use crate::wire::trail::Trail;

/// Done, or why not, in the engine's words.
pub(super) type Changed = Result<(), String>;

impl Engine {
    /// Removes something by its id or name; what is gone already is removed.
    pub async fn remove(
        &self,
        version: Minor,
        resource: Resource,
        name: &str,
        trail: &Trail,
    ) -> Result<Changed, EngineError> {
        let end = match resource {
            Resource::Container => "?force=1&v=1",
            Resource::Image => "?force=1",
            _ => "",
        };
        self.delete(version, resource, name, end, trail).await
    }

    /// The same for a container whose volumes stay, also those without a name.
    pub async fn remove_container(
        &self,
        version: Minor,
        id: &str,
        trail: &Trail,
    ) -> Result<Changed, EngineError> {
        self.delete(version, Resource::Container, id, "?force=1", trail).await
    }

    /// The same for what nobody uses; what is used is not removed, and says so.
    pub async fn remove_unused(
        &self,
        version: Minor,
        resource: Resource,
        name: &str,
        trail: &Trail,
    ) -> Result<Changed, EngineError> {
        self.delete(version, resource, name, "", trail).await
    }

    async fn delete(
        &self,
        version: Minor,
        resource: Resource,
        name: &str,
        end: &str,
        trail: &Trail,
    ) -> Result<Changed, EngineError> {
        let folder = match resource {
            Resource::Container => "containers",
            Resource::Image => "images",
            Resource::Network => "networks",
            Resource::Volume => "volumes",
            other => return Ok(Err(format!("of kind {other} nothing is removed"))),
        };
        if !is_a_name(name) {
            return Ok(Err("that is no name".to_owned()));
        }
        let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
        let line = format!("DELETE /v1.{version}/{folder}/{name}{end}");
        Ok(match self.change(&line, None, trail).await? {
            (200 | 204 | 404, _) => Ok(()),
            (status, body) => Err(words(status, &body)),
        })
    }

    /// Gives an image one more name, with its tag; none to one that is not there any more.
    pub async fn tag(
        &self,
        version: Minor,
        image: &str,
        name: &str,
        trail: &Trail,
    ) -> Result<Changed, EngineError> {
        let (repository, tag) = name.rsplit_once(':').unwrap_or((name, ""));
        if !is_a_name(image) {
            return Ok(Err("that is no name".to_owned()));
        }
        let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let line = format!(
            "POST /v1.{version}/images/{}/tag?repo={}&tag={}",
            encoded(image),
            encoded(repository),
            encoded(tag)
        );
        Ok(match self.change(&line, None, trail).await? {
            (201 | 404, _) => Ok(()),
            (status, body) => Err(words(status, &body)),
        })
    }

    /// Makes a network of a create body in JSON, one after the other.
    pub async fn create_network(
        &self,
        version: Minor,
        body: &str,
        trail: &Trail,
    ) -> Result<Changed, EngineError> {
        let turn = tokio::time::timeout(self.patience(), self.shared.networks.lock()).await;
        let _turn = turn.map_err(|_| self.silent())?;
        let line = format!("POST /v1.{version}/networks/create");
        let body = Some(("application/json", body.as_bytes()));
        Ok(match self.change(&line, body, trail).await? {
            (201, _) => Ok(()),
            (status, body) => Err(words(status, &body)),
        })
    }

    /// Unpacks a tar archive in a container below this path. A folder is never replaced by what is none.
    pub async fn put_archive(
        &self,
        version: Minor,
        container: &str,
        path: &str,
        tar: &[u8],
        trail: &Trail,
    ) -> Result<Changed, EngineError> {
        if !is_a_name(container) {
            return Ok(Err("that is no name".to_owned()));
        }
        let container = utf8_percent_encode(container, NON_ALPHANUMERIC);
        let path = utf8_percent_encode(path, NON_ALPHANUMERIC);
        let line = format!(
            "PUT /v1.{version}/containers/{container}/archive?path={path}&noOverwriteDirNonDir=1"
        );
        Ok(match self.change(&line, Some(("application/x-tar", tar)), trail).await? {
            (200, _) => Ok(()),
            (status, body) => Err(words(status, &body)),
        })
    }

    /// Puts symbolic links into a container's files, and the folders that they need.
    pub async fn put_links(
        &self,
        version: Minor,
        container: &str,
        links: &[String],
        to: &str,
        trail: &Trail,
    ) -> Result<Changed, EngineError> {
        let mut tar = TarWriter::default();
        for link in links {
            for folder in folders_of(link) {
                // One that is there stays what it is: it may be a link itself.
                match self.has_file(version, container, folder, trail).await? {
                    Ok(true) => {}
                    Ok(false) => tar.folder(folder),
                    Err(why) => return Ok(Err(why)),
                }
            }
            tar.link(link, to);
        }
        match tar.end() {
            Some(tar) => self.put_archive(version, container, "/", &tar, trail).await,
            None => Ok(Err("a path is too long".to_owned())),
        }
    }

    /// Whether there is something by this path in a container's files.
    async fn has_file(
        &self,
        version: Minor,
        container: &str,
        path: &str,
        trail: &Trail,
    ) -> Result<Result<bool, String>, EngineError> {
        if !is_a_name(container) {
            return Ok(Err("that is no name".to_owned()));
        }
        let container = utf8_percent_encode(container, NON_ALPHANUMERIC);
        let path = utf8_percent_encode(path, NON_ALPHANUMERIC);
        let line = format!("HEAD /v1.{version}/containers/{container}/archive?path={path}");
        Ok(match self.change(&line, None, trail).await? {
            (200, _) => Ok(true),
            (404, _) => Ok(false),
            (status, _) => Err(format!("the engine answered {status}")),
        })
    }

    /// On a connection of its own: one of the pool could close in this moment, and nobody could tell whether the
    /// request was read.
    pub(super) async fn change(
        &self,
        line: &str,
        body: Option<(&str, &[u8])>,
        trail: &Trail,
    ) -> Result<(u16, Vec<u8>), EngineError> {
        let mut request = format!(
            "{line} HTTP/1.1\r\nHost: docker\r\nUser-Agent: {AGENT}\r\nConnection: close\r\n"
        );
        if let Some((kind, body)) = body {
            request += &format!("Content-Type: {kind}\r\n");
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        request += "\r\n";
        let mut request = request.into_bytes();
        trail.put(&mut request);
        request.extend_from_slice(body.map(|(_, body)| body).unwrap_or_default());
        let mut conn = self.connect().await?;
        let exchanging = exchange(&mut conn, &request, MOST_SMALL);
        match self.while_alive(exchanging).await? {
            (LOOP, ..) => Err(EngineError::Loop { address: self.place() }),
            (status, body, _) => Ok((status, body)),
        }
    }

    /// Some of it takes its time: only an engine that answers nobody is given up.
    pub(super) async fn while_alive<T>(
        &self,
        doing: impl Future<Output = std::io::Result<T>>,
    ) -> Result<T, EngineError> {
        let mut doing = std::pin::pin!(doing);
        loop {
            match tokio::time::timeout(self.patience(), doing.as_mut()).await {
                Ok(done) => return done.map_err(|error| self.refused(&error)),
                Err(_) if self.is_alive().await => {}
                Err(_) => return Err(self.silent()),
            }
        }
    }
}

/// The folders above a path, the outermost first, without the root.
fn folders_of(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').skip(1).filter_map(|(at, _)| path.get(..at))
}

/// The engine's message, or the status where it has none.
pub(super) fn words(status: u16, body: &[u8]) -> String {
    let answer: Option<serde_json::Value> = json::read(body).ok();
    let message = answer.as_ref().and_then(|answer| answer.get("message")?.as_str());
    message.map_or_else(|| format!("the engine answered {status}"), str::to_owned)
}
