//! `transparent-cache`: containers find chosen hosts at a cache, and trust it.
//!
//! In a listener's chain behind those that judge what its clients send. A create gets the hosts (`ExtraHosts`) and, before
//! its answer goes out, the files by which programs in the container trust the cache's authority (`Deed::Install`); a commit
//! and an export see the container without them. What must stay true: nothing of this ever fails a create: what cannot be
//! done leaves a container whose connections the cache passes on as they are.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "nothing is judged here: what is not of interest passes as it is"
)]

mod environment;
mod hosts;
mod shown;

use std::sync::Arc;

use serde_json::Value as Json;

use super::layout::{Layout, WantedInstall, is_at_or_below, paths_put};
use super::{
    Answer, Context, Deed, Edit, Fact, Installed, Policy, Question, Reads, Reason, TrustFact,
    TrustQuestion, Verdict, edit,
};
use crate::api::doc::Value;
use crate::api::grammar::mode::NetworkMode;
use crate::api::grammar::{mounts, path};
use crate::api::{Endpoint, Row, Typed};
use crate::config::TransparentCache;

/// Of a create: what its answer is to know (`Noted`).
const NOTE: &str = "transparent-cache";
/// apt asks the DNS where a host's packages are before it looks into the hosts file.
const APT: (&str, &str) = (
    "/etc/apt/apt.conf.d/80dockgate",
    "// dockgate: hosts are where the hosts file says.\nAcquire::EnableSrvRecords \"false\";\n",
);

#[derive(Debug)]
pub struct TransparentCaches {
    name: String,
    settings: TransparentCache,
}

/// What is not known yet; or there is nothing to do.
enum Open {
    Ask(Question),
    Nothing,
}

type Knowing<T> = Result<T, Open>;

impl TransparentCaches {
    pub fn new(name: &str, settings: &TransparentCache) -> TransparentCaches {
        TransparentCaches { name: name.to_owned(), settings: settings.clone() }
    }

    fn create(&self, call: &Typed, cx: &Context<'_>) -> Knowing<Vec<Edit>> {
        let root = &call.doc().ok_or(Open::Nothing)?.root;
        self.is_reached(root, cx)?;
        let wanted = hosts::wanted(&self.settings, hosts::of(root));
        if wanted.is_empty() {
            return Err(Open::Nothing);
        }
        let mut changed = root.clone();
        hosts::add(&mut changed, wanted);
        let mut edits = Vec::new();
        if let Some(image) = self.image(root, cx)?.filter(|_| takes_files(root))
            && let Some(layout) = layout_of(image.id, cx)?
        {
            let noted = Noted {
                policy: self.name.clone(),
                image: image.id.to_owned(),
                files: environment::files(root, &image.env),
            };
            // Of what is behind a mount nobody knows whether it is there.
            if !is_covered(&layout, root, &image.volumes) {
                environment::add(&mut changed, &image.env, &layout);
            }
            edits.extend(noted.edit());
        }
        edits.extend(edit::between(root, changed));
        Ok(edits)
    }

    /// Whether a container of this network can come to the host by its network, and has a hosts file of its own.
    fn is_reached(&self, root: &Value, cx: &Context<'_>) -> Knowing<()> {
        let mode = root.get("HostConfig").and_then(|host| host.get("NetworkMode"));
        let mode = mode.and_then(Value::as_str).unwrap_or_default();
        match NetworkMode::of(mode) {
            NetworkMode::Default | NetworkMode::Bridge => Ok(()),
            NetworkMode::Host
            | NetworkMode::None
            | NetworkMode::Container(_)
            | NetworkMode::Namespace(_) => Err(Open::Nothing),
            NetworkMode::Named(name) => match fact(Question::Network(name.to_owned()), cx)? {
                Fact::Json(network) if network.get("Internal") != Some(&Json::Bool(true)) => Ok(()),
                _ => Err(Open::Nothing),
            },
        }
    }

    /// None: the engine does not have it, and says so itself.
    fn image<'c>(&self, root: &Value, cx: &Context<'c>) -> Knowing<Option<ImageFacts<'c>>> {
        let name = root.get("Image").and_then(Value::as_str).unwrap_or_default();
        let found = fact(Question::Image(name.to_owned()), cx)?;
        let Fact::Json(image) = found else { return Ok(None) };
        let Some(id) = image.get("Id").and_then(Json::as_str) else { return Ok(None) };
        let env = image.pointer("/Config/Env").and_then(Json::as_array);
        let volumes = image.pointer("/Config/Volumes").and_then(Json::as_object);
        Ok(Some(ImageFacts {
            id,
            env: env.into_iter().flatten().filter_map(Json::as_str).collect(),
            volumes: volumes.into_iter().flatten().map(|(path, _)| path.as_str()).collect(),
        }))
    }

    /// What is put into the container that was made.
    fn install(&self, answer: &Answer<'_>, cx: &Context<'_>) -> Knowing<Installed> {
        let notes = answer.call.notes(NOTE).filter_map(Noted::read);
        let noted = notes.into_iter().find(|noted| noted.policy == self.name);
        let noted = noted.ok_or(Open::Nothing)?;
        let made = answer.json.as_ref().filter(|_| answer.status == 201).ok_or(Open::Nothing)?;
        let container = made.get("Id").and_then(Json::as_str).ok_or(Open::Nothing)?;
        let layout = layout_of(&noted.image, cx)?.ok_or(Open::Nothing)?;
        let trust = fact(TrustQuestion::Anchor(self.settings.cache.clone()).into(), cx)?;
        let Fact::Trust(TrustFact::Anchor(anchor)) = trust else { return Err(Open::Nothing) };
        let (path, text) = APT;
        let files = layout.apt.then(|| (path.to_owned(), Arc::from(text.as_bytes())));
        // As the engine has them: of other containers too, and with targets as it cleans them.
        let inspected = Question::Container(container.to_owned());
        let inspected = fact(Question::OfEngine(Box::new(inspected)), cx)?;
        let Fact::Json(made) = inspected else { return Err(Open::Nothing) };
        Ok(Installed {
            install: WantedInstall {
                container: container.to_owned(),
                layout,
                is_new: true,
                extra: noted.files,
                avoid: mounted(made),
                roots: vec![anchor.clone()],
                past: Vec::new(),
                files: files.into_iter().collect(),
            },
            cache: self.settings.cache.clone(),
            image: noted.image,
            owner: cx.identity.user().map(str::to_owned),
            is_renewed: false,
        })
    }

    /// A container shows itself without what was put into it until the call ends.
    fn take_out(&self, call: &Typed, cx: &Context<'_>) -> Result<(), Verdict> {
        let Some(held) = self.held(call, cx).map_err(Open::verdict)? else { return Ok(()) };
        // What is in it now counts, not what its image has.
        let out = Deed::Uninstall(WantedInstall { is_new: false, ..held.install.clone() });
        match cx.facts.outcome(&out) {
            None => Err(Verdict::Do(vec![out])),
            Some(Ok(())) => Ok(()),
            Some(Err(why)) => {
                let why = format!("{out} could not be done: {why}");
                Err(Verdict::deny(Reason {
                    status: 502,
                    ..Reason::new("transparent-cache.files", "container", why, "try it again")
                }))
            }
        }
    }

    /// What was put into the container that a call names.
    fn held(&self, call: &Typed, cx: &Context<'_>) -> Knowing<Option<Arc<Installed>>> {
        let name = match call.endpoint() {
            Endpoint::ImageCommit => call.query().get("container"),
            _ => call.names().first().map(String::as_str),
        };
        let name = name.filter(|name| !name.is_empty()).ok_or(Open::Nothing)?;
        let found = fact(Question::Container(name.to_owned()), cx)?;
        let Fact::Json(found) = found else { return Ok(None) };
        let Some(id) = found.get("Id").and_then(Json::as_str) else { return Ok(None) };
        match fact(TrustQuestion::Installed(id.to_owned()).into(), cx)? {
            Fact::Trust(TrustFact::Installed(held)) if held.cache == self.settings.cache => {
                Ok(Some(held.clone()))
            }
            _ => Ok(None),
        }
    }
}

impl Policy for TransparentCaches {
    fn name(&self) -> &str {
        &self.name
    }

    fn request(&self, call: &Typed, cx: &Context<'_>) -> Verdict {
        match call.endpoint() {
            Endpoint::ContainerCreate => {
                self.create(call, cx).map_or_else(Open::verdict, Verdict::Pass)
            }
            Endpoint::ImageBuild | Endpoint::Solve | Endpoint::BridgeSolve => {
                Verdict::Pass(hosts::of_build(&self.settings, call))
            }
            Endpoint::ImageCommit | Endpoint::ContainerExport => {
                self.take_out(call, cx).map_or_else(|verdict| verdict, |()| Verdict::pass())
            }
            _ => Verdict::pass(),
        }
    }

    fn judges(&self) -> bool {
        false
    }

    fn strip(&self, made: &mut Value, _: &Context<'_>) {
        hosts::strip(&self.settings, made);
    }

    fn reads_answer(&self, row: &Row, _: &Context<'_>) -> Reads {
        match row.endpoint {
            Endpoint::ContainerCreate | Endpoint::ContainerInspect | Endpoint::ContainerChanges => {
                Reads::Whole
            }
            _ => Reads::Nothing,
        }
    }

    fn answer(&self, answer: &mut Answer<'_>, cx: &Context<'_>) -> Verdict {
        let done = match answer.call.endpoint() {
            Endpoint::ContainerCreate => match self.install(answer, cx) {
                // Else it trusts nobody, and is passed on.
                Ok(wanted) if wanted.install.has_place() => given(Arc::new(wanted), cx),
                Ok(_) => Ok(()),
                Err(open) => Err(open.verdict()),
            },
            Endpoint::ContainerInspect => {
                shown::inspect(&self.settings, answer.json.as_mut());
                Ok(())
            }
            Endpoint::ContainerChanges if answer.status == 200 => {
                match self.held(answer.call, cx) {
                    Ok(held) => {
                        if let Some(held) = held {
                            let paths = paths_put(&held.install);
                            shown::changes(answer.json.as_mut(), &paths);
                        }
                        Ok(())
                    }
                    Err(open) => Err(open.verdict()),
                }
            }
            _ => Ok(()),
        };
        done.map_or_else(|verdict| verdict, |()| Verdict::pass())
    }
}

/// It is put into the container, and known to be there; what comes of it does not matter to the call.
fn given(wanted: Arc<Installed>, cx: &Context<'_>) -> Result<(), Verdict> {
    let install = Deed::Install(wanted.install.clone());
    let question = TrustQuestion::Installed(wanted.install.container.clone()).into();
    let known = Deed::Remember(question, Fact::Trust(TrustFact::Installed(wanted)));
    match (cx.facts.outcome(&install), cx.facts.outcome(&known)) {
        (None, _) => Err(Verdict::Do(vec![install])),
        (Some(Ok(())), None) => Err(Verdict::Do(vec![known])),
        _ => Ok(()),
    }
}

fn fact<'c>(question: Question, cx: &Context<'c>) -> Knowing<&'c Fact> {
    cx.facts.get(&question).ok_or(Open::Ask(question))
}

/// None: it cannot be known, and nothing is put there.
fn layout_of(image: &str, cx: &Context<'_>) -> Knowing<Option<Arc<Layout>>> {
    match fact(Question::Layout(image.to_owned()), cx)? {
        Fact::Layout(layout) => Ok(Some(layout.clone())),
        _ => Ok(None),
    }
}

/// Whether anything can be put into a container's own files.
fn takes_files(root: &Value) -> bool {
    let host = root.get("HostConfig");
    host.and_then(|host| host.get("ReadonlyRootfs")) != Some(&Value::Bool(true))
}

/// Where other files than the container's own are, in the engine's answer about it.
fn mounted(made: &Json) -> Vec<String> {
    let mounts = made.get("Mounts").and_then(Json::as_array).into_iter().flatten();
    let mounts = mounts.filter_map(|mount| mount.get("Destination")?.as_str());
    let keys = |place| made.pointer(place).and_then(Json::as_object).into_iter().flatten();
    let further = keys("/HostConfig/Tmpfs").chain(keys("/Config/Volumes"));
    mounts.chain(further.map(|(path, _)| path.as_str())).map(clean).collect()
}

/// Whether some of an image's certificates may be behind a mount that is asked for.
fn is_covered(layout: &Layout, root: &Value, of_image: &[&str]) -> bool {
    let host = root.get("HostConfig");
    let tmpfs = host.and_then(|host| host.get("Tmpfs")).map(Value::entries).unwrap_or_default();
    let volumes = root.get("Volumes").map(Value::entries).unwrap_or_default();
    let keys = tmpfs.iter().chain(volumes).map(|(target, _)| clean(target));
    let mounts = mounts::of(root).into_iter().map(|mount| clean(mount.target));
    let targets: Vec<String> =
        mounts.chain(keys).chain(of_image.iter().map(|target| clean(target))).collect();
    let others = host.and_then(|host| host.get("VolumesFrom")).map(Value::items);
    let bundles = layout.bundles.iter().map(|file| &file.path).chain(&layout.bundle_path);
    !others.unwrap_or_default().is_empty()
        || bundles.into_iter().any(|path| targets.iter().any(|one| is_at_or_below(path, one)))
}

/// As moby cleans targets (`volume/mounts/linux_parser.go`): by their words alone.
fn clean(target: &str) -> String {
    format!("/{}", path::cleaned(target).join("/"))
}

impl Open {
    fn verdict(self) -> Verdict {
        match self {
            Open::Ask(question) => Verdict::Ask(vec![question]),
            Open::Nothing => Verdict::pass(),
        }
    }
}

struct ImageFacts<'a> {
    id: &'a str,
    env: Vec<&'a str>,
    /// Where it wants volumes.
    volumes: Vec<&'a str>,
}

/// What the answer to a create is to know of the request.
#[derive(serde::Serialize, serde::Deserialize)]
struct Noted {
    policy: String,
    image: String,
    /// Of certificates, that the container's environment names.
    files: Vec<String>,
}

impl Noted {
    fn edit(&self) -> Option<Edit> {
        Some(Edit::Note(NOTE, serde_json::to_string(self).ok()?))
    }

    fn read(text: &str) -> Option<Noted> {
        serde_json::from_str(text).ok()
    }
}

#[cfg(test)]
mod tests;
