//! `[registry.NAME]`, checked: whose images it gives, to whom, and what it shows registries.
//!
//! It stands in the `config::Cache` that the registry is, whose sockets, directory and times it uses;
//! `cache::registry` reads it in terms of its own. What must stay true: nothing here has read another file yet.

use std::time::Duration;

use super::push::PushRule;
use super::{Auth, File, Login, Text};

#[derive(Clone, Debug, PartialEq)]
pub struct Registry {
    /// `host:port` that an engine is told to ask it by, where what it listens on does not do; for namespaces.
    pub address: Option<Text>,
    /// In the order in which they are asked; none lets everybody in.
    pub auth: Vec<Auth>,
    pub upstreams: Vec<RegistryUpstream>,
    /// The first that matches decides.
    pub rules: Vec<RegistryRule>,
    /// Before a push becomes visible.
    pub push_rules: Vec<PushRule>,
    /// For how long it is believed that a caller may read a repository.
    pub access_ttl: Duration,
    /// For how long a tag is what it was.
    pub tag_ttl: Duration,
    /// For how much longer, where the upstream cannot be asked.
    pub stale: Duration,
    /// For how long what is not there is not asked for again.
    pub negative_ttl: Duration,
    /// After which an upload that nobody goes on with is deleted upstream.
    pub upload_ttl: Duration,
    pub redirects: Redirects,
    /// Whether all repositories may be listed.
    pub catalog: bool,
}

/// What is done where an upstream sends a reader of a blob elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redirects {
    /// The gateway goes there, and keeps what comes.
    #[default]
    Follow,
    /// The client goes there.
    Pass,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RegistryUpstream {
    /// The first components of the names by which clients ask for its repositories; empty for all names.
    pub name: Text,
    pub url: Text,
    /// What stands before each repository there.
    pub prefix: Option<Text>,
    /// Where tokens are had, if it is a site of another domain.
    pub realm: Option<Text>,
    /// Who is asked first for what is pulled: URLs, perhaps with what stands before repositories there.
    pub mirrors: Vec<Text>,
    pub credentials: RegistryCredentials,
    /// Whether a repository that is pushed to is made where it is not there.
    pub create_repository: bool,
    /// Whom it is asked for with other credentials: the first that names a user has them.
    pub tenants: Vec<UpstreamTenant>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamTenant {
    /// Names; `@group`; `*`.
    pub users: Vec<String>,
    pub credentials: RegistryCredentials,
}

/// By what an upstream recognises who asks.
#[derive(Clone, Debug, PartialEq)]
pub enum RegistryCredentials {
    /// Anybody.
    None,
    Login(Login),
    /// The client's own name and password.
    Client,
    /// A program that says them: `docker-credential-NAME`.
    Helper(Text),
    Ecr(EcrCredentials),
}

/// How tokens of Amazon's registries are had; what is not said, the upstream's host says, and the environment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EcrCredentials {
    pub region: Option<Text>,
    /// Of the shared files.
    pub profile: Option<Text>,
    /// Where ECR's API is, and that of roles.
    pub endpoint: Option<Text>,
    pub sts_endpoint: Option<Text>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RegistryRule {
    /// Patterns of names as clients write them.
    pub repositories: Vec<Text>,
    pub actions: Vec<RegistryAction>,
    /// Whoever it is for, by name or as `@group`; none: everybody, also those without a name.
    pub users: Option<Vec<String>>,
    pub allow: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistryAction {
    Pull,
    Push,
    Delete,
}

impl RegistryAction {
    pub const ALL: [RegistryAction; 3] =
        [RegistryAction::Pull, RegistryAction::Push, RegistryAction::Delete];

    pub fn as_str(self) -> &'static str {
        match self {
            RegistryAction::Pull => "pull",
            RegistryAction::Push => "push",
            RegistryAction::Delete => "delete",
        }
    }
}

impl Registry {
    pub(super) fn files(&self) -> impl Iterator<Item = &File> {
        let all = self.upstreams.iter().flat_map(|upstream| {
            let tenants = upstream.tenants.iter().map(|tenant| &tenant.credentials);
            std::iter::once(&upstream.credentials).chain(tenants)
        });
        let logins = all.filter_map(|credentials| match credentials {
            RegistryCredentials::Login(login) => Some(&login.password),
            RegistryCredentials::None
            | RegistryCredentials::Client
            | RegistryCredentials::Helper(_)
            | RegistryCredentials::Ecr(_) => None,
        });
        let push_rules = self.push_rules.iter().flat_map(PushRule::files);
        self.auth.iter().flat_map(Auth::files).chain(logins).chain(push_rules)
    }
}
