//! Removes everything that was made through a job's socket.
//!
//! `reaper` calls it, as often as it takes. What must stay true: only what has the job's own prefix in its name is
//! removed, and of volumes that have no name what its namespace has marked; it may be called again after any failure.

use serde_json::{Value as Json, json};

use super::ledger::JobRecord;
use crate::api::endpoint::{Minor, Resource};
use crate::api::grammar::reference::{is_id, without_slash};
use crate::engine::{Engine, EngineError, Inspected, Subject};
use crate::policy::namespace::OWNER;
use crate::wire::trail::Trail;

/// A container with `restart` may be made again while others are removed; more rounds are for the next time.
const ROUNDS: usize = 8;

/// How many of each kind were removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    pub containers: u64,
    pub networks: u64,
    pub volumes: u64,
    /// Names of them: an image stays as long as it has others.
    pub images: u64,
}

impl Swept {
    pub(super) fn is_nothing(&self) -> bool {
        *self == Swept::default()
    }

    pub(super) fn add(&mut self, more: Swept) {
        self.containers += more.containers;
        self.networks += more.networks;
        self.volumes += more.volumes;
        self.images += more.images;
    }
}

/// Why something is left.
#[derive(Debug, thiserror::Error)]
pub(super) enum Left {
    #[error("{0}")]
    Engine(#[from] EngineError),
    #[error("{what} `{name}` cannot be removed: {why}")]
    Refused { what: &'static str, name: String, why: String },
    #[error("what the engine has cannot be read: {0}")]
    Unread(String),
}

/// What was removed is in `swept`, also when something is left.
pub(super) async fn sweep(
    engine: &Engine,
    version: Minor,
    job: &JobRecord,
    swept: &mut Swept,
) -> Result<(), Left> {
    let on = On { engine, version, trail: Trail::default() };
    let mut left = None;
    // In this order: what uses another goes first. What cannot go holds up nothing else.
    on.all(Resource::Container, job, &mut swept.containers, &mut left).await?;
    on.all(Resource::Network, job, &mut swept.networks, &mut left).await?;
    on.all(Resource::Volume, job, &mut swept.volumes, &mut left).await?;
    on.all(Resource::Image, job, &mut swept.images, &mut left).await?;
    left.map_or(Ok(()), Err)
}

struct On<'e> {
    engine: &'e Engine,
    version: Minor,
    trail: Trail,
}

impl On<'_> {
    async fn all(
        &self,
        resource: Resource,
        job: &JobRecord,
        removed: &mut u64,
        left: &mut Option<Left>,
    ) -> Result<(), Left> {
        for _ in 0..ROUNDS {
            let names = self.names(resource, job).await?;
            let before = *removed;
            for (name, id) in names {
                match self.remove(resource, &name, &id).await {
                    Ok(()) => *removed += 1,
                    Err(Left::Engine(error)) => return Err(error.into()),
                    Err(why) => *left = Some(why),
                }
            }
            if *removed == before {
                return Ok(());
            }
        }
        Err(Left::Unread("there are more and more things".to_owned()))
    }

    /// Its things of one kind: the names that the engine has, and what each is removed by.
    async fn names(
        &self,
        resource: Resource,
        job: &JobRecord,
    ) -> Result<Vec<(String, String)>, Left> {
        let prefix = match resource {
            Resource::Image => &job.images,
            _ => &job.prefix,
        };
        let filter = match resource {
            // Images have no filter for the beginning of a name.
            Resource::Image => json!({}),
            _ => json!({ "name": [format!("^/?{prefix}")] }),
        };
        let filter = filter.to_string();
        let subject = Subject::List(resource, Some(&filter));
        let list = match self.engine.look_up(self.version, subject, &self.trail).await? {
            Inspected::Json(json) => json,
            Inspected::Nothing => return Ok(Vec::new()),
            Inspected::Failed(why) => return Err(Left::Unread(why)),
        };
        // Once more, whatever the engine makes of filters.
        let own = names_in(resource, &list)
            .filter(|(name, _)| !prefix.is_empty() && name.starts_with(prefix.as_str()));
        let mut names: Vec<(String, String)> =
            own.map(|(name, id)| (name.to_owned(), id.to_owned())).collect();
        if resource == Resource::Volume {
            let nameless = self.nameless_volumes(job).await?;
            names.extend(nameless.into_iter().map(|name| (name.clone(), name)));
        }
        Ok(names)
    }

    /// Those that the engine has named by itself say in a label whose they are.
    async fn nameless_volumes(&self, job: &JobRecord) -> Result<Vec<String>, Left> {
        let owner = job.prefix.trim_end_matches('-');
        let filter = json!({ "label": [format!("{OWNER}={owner}")] }).to_string();
        let subject = Subject::List(Resource::Volume, Some(&filter));
        match self.engine.look_up(self.version, subject, &self.trail).await? {
            Inspected::Json(list) => Ok(nameless_in(&list, owner)),
            Inspected::Nothing => Ok(Vec::new()),
            Inspected::Failed(why) => Err(Left::Unread(why)),
        }
    }

    async fn remove(&self, resource: Resource, name: &str, id: &str) -> Result<(), Left> {
        let removed = match resource {
            // Volumes that it has from others are not the job's; its own are found by their names and labels.
            Resource::Container => {
                self.engine.remove_container(self.version, id, &self.trail).await?
            }
            // Of an image that is used by others its name goes, and the image stays (`ImageDelete` of moby).
            _ => self.engine.remove(self.version, resource, id, &self.trail).await?,
        };
        let what = match resource {
            Resource::Container => "container",
            Resource::Network => "network",
            Resource::Volume => "volume",
            _ => "image",
        };
        removed.map_err(|why| Left::Refused { what, name: name.to_owned(), why })
    }
}

/// The names in a list of the engine's, of a container its own, of an image all of them; and what each is removed by.
fn names_in(resource: Resource, list: &Json) -> Box<dyn Iterator<Item = (&str, &str)> + '_> {
    let items = list.get("Volumes").unwrap_or(list).as_array().into_iter().flatten();
    let same = |name| (name, name);
    match resource {
        Resource::Container => Box::new(items.filter_map(move |one| {
            let names = texts(one.get("Names"));
            names.into_iter().map(without_slash).find(|name| !name.contains('/')).map(same)
        })),
        // Before 28 two that are made at once may have one name, and by that none of them can be removed.
        Resource::Network => Box::new(items.filter_map(|one| {
            let text = |key| one.get(key).and_then(Json::as_str);
            Some((text("Name")?, text("Id")?))
        })),
        Resource::Image => Box::new(items.flat_map(move |one| {
            let (tags, digests) = (texts(one.get("RepoTags")), texts(one.get("RepoDigests")));
            // A digest is a name of its own only where there is no tag: it goes with the last of them.
            if tags.is_empty() { digests } else { tags }.into_iter().map(same)
        })),
        _ => Box::new(items.filter_map(move |one| one.get("Name")?.as_str().map(same))),
    }
}

fn nameless_in(list: &Json, owner: &str) -> Vec<String> {
    let volumes = list.get("Volumes").and_then(Json::as_array).into_iter().flatten();
    let own = volumes.filter(|one| {
        let said = one.get("Labels").and_then(|labels| labels.get(OWNER)).and_then(Json::as_str);
        !owner.is_empty() && said == Some(owner)
    });
    let names = own.filter_map(|one| one.get("Name")?.as_str());
    names.filter(|name| is_id(name)).map(str::to_owned).collect()
}

fn texts(value: Option<&Json>) -> Vec<&str> {
    let texts = value.and_then(Json::as_array).into_iter().flatten();
    texts.filter_map(Json::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_without_a_name_are_those_that_are_marked() {
        let id = "a".repeat(64);
        let volume = |name: &str, owner: &str| json!({ "Name": name, "Labels": { OWNER: owner } });
        let list = json!({ "Volumes": [
            volume(&id, "dgown"), volume(&id, "dgother"), volume("named", "dgown"), { "Name": id },
        ] });
        assert_eq!(nameless_in(&list, "dgown"), [id]);
        assert_eq!(nameless_in(&list, ""), [""; 0]);
    }

    #[test]
    fn names_are_those_of_the_things_themselves() {
        let names = |resource, list: &Json| -> Vec<String> {
            names_in(resource, list).map(|(name, _)| name.to_owned()).collect()
        };
        let containers = json!([{ "Names": ["/dga-b/alias", "/dga-web"] }, { "Names": null }]);
        assert_eq!(names(Resource::Container, &containers), ["dga-web"]);
        assert_eq!(names(Resource::Volume, &json!({ "Volumes": [{ "Name": "v" }] })), ["v"]);
        assert_eq!(names(Resource::Volume, &json!({ "Volumes": null })), [""; 0]);
        // Two of one name, where the engine has let them be made.
        let networks = json!([{ "Name": "n", "Id": "i" }, { "Name": "n", "Id": "j" }]);
        let ids: Vec<_> = names_in(Resource::Network, &networks).collect();
        assert_eq!(ids, [("n", "i"), ("n", "j")]);
        let images = json!([
            { "RepoTags": ["r/a:1", "r/b:1"], "RepoDigests": ["r/a@sha256:00"] },
            { "RepoTags": null, "RepoDigests": ["r/c@sha256:01"] },
        ]);
        assert_eq!(names(Resource::Image, &images), ["r/a:1", "r/b:1", "r/c@sha256:01"]);
    }
}
