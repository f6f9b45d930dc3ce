//! `namespace`: every tenant has the engine to itself.
//!
//! Each name that a user chooses gets a prefix that is the namespace's own in the engine, and loses it in every answer. The
//! last policy of its listener: those in front of it see what its users see (`view`). What must stay true: whose a thing is
//! is read from its name in the engine, which no user can choose; what is not this namespace's is not there.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "`request` has a word for each endpoint; answers of others are left as they are"
)]

mod answer;
mod archive;
mod build;
mod create;
mod events;
mod guests;
pub mod image;
mod images;
mod lists;
mod login;
mod look;
mod nameless;
mod names;
mod network;
mod ports;
mod prune;
mod quota;
mod request;
mod show;
mod token;
mod view;
mod volumes;

use std::collections::BTreeSet;

use aws_lc_rs::hmac;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::temporary::Members;
use super::{
    Answer, Contents, Context, Item, Look, Policy, Question, Reads, Reason, Slot, Verdict, View,
    WantedGrant,
};
use crate::api::answer::Marks;
use crate::api::dockerfile::AskedBuild;
use crate::api::endpoint::AnswerKind;
use crate::api::{Endpoint, Row, Typed};
use crate::config::{self, Invalid, Template, TemplatePart};
use crate::wire::tar::TarEntry;
use image::ImageNames;
use names::Tenant;
use request::Request;
pub use volumes::OWNER;

#[derive(Debug)]
pub struct Namespaces {
    name: String,
    settings: config::Namespace,
    key: hmac::Key,
    shared: GlobSet,
    /// The containers of the job that it is for, which are shown in it.
    members: Members,
}

impl Namespaces {
    pub fn new(name: &str, settings: &config::Namespace) -> Result<Namespaces, Invalid> {
        let bytes = settings.key_bytes()?;
        let mut shared = GlobSetBuilder::new();
        for pattern in &settings.shared {
            let glob = GlobBuilder::new(pattern).literal_separator(true).build();
            let glob = glob.map_err(|error| {
                let what = format!("`{pattern}` is no pattern of images: {error}");
                settings.key.invalid(&what, "such as `docker.io/library/*`")
            })?;
            shared.add(glob);
        }
        let shared = shared.build().unwrap_or_default();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        let (name, settings) = (name.to_owned(), settings.clone());
        Ok(Namespaces { name, settings, key, shared, members: Members::default() })
    }

    /// One that everybody is in, by this name.
    pub fn fixed(
        name: &str,
        settings: &config::Namespace,
        namespace: &str,
    ) -> Result<Namespaces, Invalid> {
        let settings = config::Namespace { name: Template::fixed(namespace), ..settings.clone() };
        Namespaces::new(name, &settings)
    }

    /// The same, with a job's own containers shown in it.
    pub fn with_members(self, members: &Members) -> Namespaces {
        Namespaces { members: members.clone(), ..self }
    }

    /// Whether somebody is seen in it who is not of it.
    fn has_guests(&self) -> bool {
        !self.members.ids().is_empty()
    }

    /// What the engine's names of the things of such a one begin with, and those of its images.
    pub fn prefixes(&self, namespace: &str) -> (String, String) {
        let tenant = Tenant::new(&self.key, namespace.to_owned());
        (tenant.sent(""), self.prefix(&tenant))
    }

    /// Whose namespace a caller is in.
    fn tenant(&self, cx: &Context<'_>) -> Result<Tenant, Reason> {
        Ok(Tenant::new(&self.key, fill(&self.settings.name, cx)?))
    }

    fn images(&self, tenant: &Tenant) -> ImageNames {
        ImageNames::new(
            self.settings.registry.as_ref().map_or(NO_REGISTRY, |one| one.address.as_str()),
            tenant.id(),
        )
    }

    /// What the engine's names of this namespace's images begin with.
    fn prefix(&self, tenant: &Tenant) -> String {
        self.images(tenant).prefix().to_owned()
    }

    /// Whether an image is one that the operator lets everybody read.
    fn is_shared(&self, reference: &str) -> bool {
        !self.shared.is_empty() && self.shared.is_match(image::name_of(reference))
    }
}

const NO_REGISTRY_HINT: &str =
    "the operator names one with `registry`, or shares images with `shared`";

/// Nobody serves there (`discard`, RFC 863): without a registry nothing is pulled.
const NO_REGISTRY: &str = "127.0.0.1:9";

impl Policy for Namespaces {
    fn name(&self) -> &str {
        &self.name
    }

    fn request(&self, call: &Typed, cx: &Context<'_>) -> Verdict {
        match self.tenant(cx) {
            Ok(tenant) => Request { with: self, tenant: &tenant, call, cx }.judge(),
            Err(reason) => Verdict::deny(reason),
        }
    }

    fn slot(&self, call: &Typed, cx: &Context<'_>) -> Option<Slot> {
        let tenant = self.tenant(cx).ok()?;
        quota::build(&Request { with: self, tenant: &tenant, call, cx })
    }

    fn view(&self) -> Option<&dyn View> {
        Some(self)
    }

    fn reads_answer(&self, row: &Row, _: &Context<'_>) -> Reads {
        match (row.answer, row.answers) {
            _ if matches!(
                row.endpoint,
                Endpoint::SystemInfo | Endpoint::ContainerCreate | Endpoint::NetworkCreate
            ) =>
            {
                Reads::Whole
            }
            (AnswerKind::JsonStream, _) => Reads::Items,
            (AnswerKind::Json, Marks::Nothing) => Reads::Errors,
            (AnswerKind::Json, _) => Reads::Whole,
            _ => Reads::Errors,
        }
    }

    fn item(&self, call: &Typed, item: &mut serde_json::Value, cx: &Context<'_>) -> Item {
        match self.tenant(cx) {
            Ok(tenant) => events::judge(self, &tenant, call.row(), item),
            Err(_) => Item::Drop,
        }
    }

    fn reads_files(&self, row: &Row) -> bool {
        archive::is_read(row)
    }

    fn wants_file(&self, call: &Typed, entry: &TarEntry) -> Result<bool, Reason> {
        archive::wants(call, entry)
    }

    fn file(
        &self,
        call: &Typed,
        entry: &TarEntry,
        content: &[u8],
        cx: &Context<'_>,
    ) -> Result<Option<Vec<u8>>, Verdict> {
        let tenant = self.tenant(cx).map_err(Verdict::deny)?;
        archive::file(&Request { with: self, tenant: &tenant, call, cx }, entry, content)
    }

    fn contents(&self, call: &Typed, contents: &Contents) -> Result<(), Reason> {
        archive::judge(call, contents)
    }

    fn reads_dockerfile(&self) -> bool {
        true
    }

    fn dockerfile(&self, build: &AskedBuild, file: &[u8], cx: &Context<'_>) -> Verdict {
        match self.tenant(cx) {
            Ok(tenant) => build::classic::judge(self, &tenant, (build, file), cx),
            Err(reason) => Verdict::deny(reason),
        }
    }

    fn dockerfile_sent(
        &self,
        build: &AskedBuild,
        file: &[u8],
        cx: &Context<'_>,
    ) -> Result<Option<Vec<u8>>, Reason> {
        build::classic::sent(self, &self.tenant(cx)?, build, file)
    }

    fn shows_texts(&self) -> bool {
        true
    }

    fn text(&self, text: &str, cx: &Context<'_>) -> Option<String> {
        let tenant = self.tenant(cx).ok()?;
        let shown = show::message(self, &tenant, text);
        (shown != text).then_some(shown)
    }

    fn answer(&self, answer: &mut Answer<'_>, cx: &Context<'_>) -> Verdict {
        match self.tenant(cx) {
            Ok(tenant) => answer::judge(self, &tenant, answer, cx),
            Err(reason) => Verdict::deny(reason),
        }
    }
}

impl View for Namespaces {
    fn owner(&self, cx: &Context<'_>) -> Option<String> {
        self.tenant(cx).ok().map(|tenant| tenant.name)
    }

    fn look(&self, question: &Question, cx: &Context<'_>) -> Look {
        match self.tenant(cx) {
            Ok(tenant) => view::look(self, &tenant, question, cx),
            // The call is refused for it in its turn.
            Err(reason) => Look::Known(super::Fact::Failed(reason.message())),
        }
    }

    fn is_own_registry(&self, host: &str) -> bool {
        let own = self.settings.registry.as_ref();
        own.is_some_and(|own| own.address.eq_ignore_ascii_case(host))
    }

    fn token(
        &self,
        scopes: &[&str],
        pushed: &BTreeSet<String>,
        cx: &Context<'_>,
    ) -> Result<WantedGrant, Reason> {
        token::wanted(self, &self.tenant(cx)?, scopes, pushed)
    }
}

fn fill(template: &Template, cx: &Context<'_>) -> Result<String, Reason> {
    let mut out = String::new();
    for piece in template.pieces() {
        let (name, value) = match piece {
            TemplatePart::Text(text) => ("", Some(text.clone())),
            TemplatePart::User => ("user", cx.identity.user().map(str::to_owned)),
            TemplatePart::Listener => ("listener", Some(cx.listener.to_owned())),
            TemplatePart::Claim(name) => {
                let claim = cx.identity.claims().and_then(|claims| claims.get(name));
                (name.as_str(), claim.and_then(|claim| claim.as_str().map(str::to_owned)))
            }
        };
        match value.filter(|value| !value.is_empty()) {
            Some(value) => out.push_str(&value),
            None => {
                let why = format!("needs `{{{name}}}` of the caller, which is not known");
                return Err(Reason::new("namespace.name", "request", why, ""));
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
