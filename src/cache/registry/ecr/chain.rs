//! Whose keys are used for Amazon's APIs: the places that its SDKs look at, in their order.
//!
//! `ecr` asks anew each time it needs keys. The order is that of Amazon's SDK for Go: a profile that the operator
//! names; the environment; a web identity; the shared files; the container's endpoint; the machine's. What must stay
//! true: a place that is there and does not work ends the search: keys of somebody else are not used instead.

use std::io::{self, ErrorKind, Read as _};
use std::sync::Arc;

use tokio::process::Command;

use super::api::Api;
use super::keys::AwsKeys;
use super::metadata;
use super::profiles::{ProfileSource, Profiles, Role, RoleFrom};
use crate::cache::registry::helper::talk;

/// The environment, or what a test says it is.
pub(super) type Variables = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Roles that are assumed with keys of roles.
const MOST_ROLES: usize = 8;
const LONGEST_FILE: u64 = 1 << 20;

pub(super) struct Chain<'a> {
    pub variables: &'a Variables,
    pub profile: Option<&'a str>,
    pub api: &'a Api<'a>,
}

impl Chain<'_> {
    pub(super) async fn keys(&self) -> Result<AwsKeys, String> {
        if let Some(name) = self.profile {
            return self.named(name).await;
        }
        if let Some(keys) = self.environment()? {
            return Ok(keys);
        }
        if let Some(file) = self.variable("AWS_WEB_IDENTITY_TOKEN_FILE") {
            let arn = self.variable("AWS_ROLE_ARN").ok_or("`AWS_ROLE_ARN` is not set")?;
            let session = self.variable("AWS_ROLE_SESSION_NAME");
            return self.by_identity(&file, &Role { arn, session, ..Role::default() }).await;
        }
        match self.variable("AWS_PROFILE") {
            Some(name) => return self.named(&name).await,
            None => {
                if let Some(keys) = self.profile(&self.profiles().await?, "default").await? {
                    return Ok(keys);
                }
            }
        }
        let now = self.api.now;
        if let Some(keys) = metadata::of_container(self.variables, now).await? {
            return Ok(keys);
        }
        let keys = metadata::of_machine(self.variables, now).await;
        keys.map_err(|why| {
            format!("there are no keys in the environment, in shared files or at a container's endpoint, and {why}")
        })
    }

    fn environment(&self) -> Result<Option<AwsKeys>, String> {
        let access_key = self.variable("AWS_ACCESS_KEY_ID");
        match (access_key, self.variable("AWS_SECRET_ACCESS_KEY")) {
            (None, None) => Ok(None),
            (Some(access_key), Some(secret)) => {
                let session = self.variable("AWS_SESSION_TOKEN");
                let keys = AwsKeys::new(&access_key, &secret, session.as_deref());
                keys.map(Some).ok_or_else(|| "the environment's keys cannot be sent".to_owned())
            }
            _ => {
                Err("one of `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` is not set".to_owned())
            }
        }
    }

    async fn named(&self, name: &str) -> Result<AwsKeys, String> {
        let profiles = self.profiles().await?;
        if !profiles.has(name) {
            return Err(format!("the shared files have no profile `{name}`"));
        }
        let keys = self.profile(&profiles, name).await?;
        keys.ok_or_else(|| format!("profile `{name}` says nothing of keys"))
    }

    async fn profile(&self, profiles: &Profiles, name: &str) -> Result<Option<AwsKeys>, String> {
        let (mut name, mut roles) = (name.to_owned(), Vec::new());
        let none = |name: &str| format!("profile `{name}` has no keys");
        let mut keys = loop {
            if roles.len() > MOST_ROLES {
                return Err("`source_profile` of the profiles goes in a circle".to_owned());
            }
            let (role, from) = match profiles.source(&name)? {
                ProfileSource::Keys(keys) => break keys,
                ProfileSource::WebIdentity(role, file) => {
                    break self.by_identity(&file, &role).await?;
                }
                ProfileSource::Process(line) => break self.said(&name, &line).await?,
                ProfileSource::Nothing if roles.is_empty() => return Ok(None),
                ProfileSource::Nothing => return Err(none(&name)),
                ProfileSource::Role(role, from) => (role, from),
            };
            roles.push(role);
            let now = self.api.now;
            match from {
                // One that names itself has the keys for its role.
                RoleFrom::Profile(next) if next == name => {
                    break profiles.keys(&name)?.ok_or_else(|| none(&name))?;
                }
                RoleFrom::Profile(next) => name = next,
                RoleFrom::Environment => {
                    break self.environment()?.ok_or("there are no keys in the environment")?;
                }
                RoleFrom::Container => {
                    let keys = metadata::of_container(self.variables, now).await?;
                    break keys.ok_or("the container has no endpoint of credentials")?;
                }
                RoleFrom::Machine => break metadata::of_machine(self.variables, now).await?,
            }
        };
        for role in roles.iter().rev() {
            keys = self.api.assume(&keys, role).await?;
        }
        Ok(Some(keys))
    }

    /// By a program, as Amazon's SDK for Go runs it; nothing of what it says is in a complaint.
    async fn said(&self, profile: &str, line: &str) -> Result<AwsKeys, String> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", line]);
        let keys = match talk(command, b"").await {
            Ok(Ok(said)) => AwsKeys::from_process(&said, self.api.now),
            Ok(Err(status)) => Err(format!("it ends with {status}")),
            Err(why) => Err(format!("it {why}")),
        };
        keys.map_err(|why| format!("`credential_process` of profile `{profile}`: {why}"))
    }

    async fn by_identity(&self, file: &str, role: &Role) -> Result<AwsKeys, String> {
        let token = read(file).await?;
        self.api.assume_by(token.trim(), role).await
    }

    async fn profiles(&self) -> Result<Profiles, String> {
        let config = self.shared("AWS_CONFIG_FILE", "config").await?;
        let credentials = self.shared("AWS_SHARED_CREDENTIALS_FILE", "credentials").await?;
        Ok(Profiles::parse(&config, &credentials))
    }

    /// Empty where there is none; a home that is closed to a service has none for it.
    async fn shared(&self, variable: &str, name: &str) -> Result<String, String> {
        let (path, is_named) = match (self.variable(variable), self.variable("HOME")) {
            (Some(path), _) => (path, true),
            (None, Some(home)) => (format!("{home}/.aws/{name}"), false),
            (None, None) => return Ok(String::new()),
        };
        match read_short(&path).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            Err(error) if error.kind() == ErrorKind::PermissionDenied && !is_named => {
                Ok(String::new())
            }
            read => read.map_err(|error| format!("`{path}`: {error}")),
        }
    }

    fn variable(&self, name: &str) -> Option<String> {
        variable(self.variables, name)
    }
}

/// One that is empty is not set.
pub(super) fn variable(variables: &Variables, name: &str) -> Option<String> {
    variables(name).filter(|value| !value.is_empty())
}

/// Nothing of a file is in a complaint.
pub(super) async fn read(path: &str) -> Result<String, String> {
    read_short(path).await.map_err(|error| format!("`{path}`: {error}"))
}

/// No pipe, nothing endless.
async fn read_short(path: &str) -> io::Result<String> {
    let path = path.to_owned();
    let read = move || {
        if !std::fs::metadata(&path)?.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        let mut text = String::new();
        let file = std::fs::File::open(&path)?;
        match file.take(LONGEST_FILE + 1).read_to_string(&mut text)? as u64 {
            length if length > LONGEST_FILE => Err(io::Error::other("it is too long")),
            _ => Ok(text),
        }
    };
    tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
}

#[cfg(test)]
pub(super) mod tests;
