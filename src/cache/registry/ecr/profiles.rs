//! Amazon's shared files: what `~/.aws/config` and `~/.aws/credentials` say of a profile.
//!
//! `chain` reads the files and asks. Pure. What must stay true: what a profile wants and we cannot do is said, and not
//! passed over: somebody else's keys would be used.

use std::collections::BTreeMap;

use super::keys::AwsKeys;

/// Names, and what each says.
#[derive(Default)]
pub(super) struct Profiles(BTreeMap<String, BTreeMap<String, String>>);

/// How a profile comes to its keys.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ProfileSource {
    Keys(AwsKeys),
    Role(Role, RoleFrom),
    WebIdentity(Role, String),
    /// A command line that says them.
    Process(String),
    /// It says nothing of keys, or there is none of this name.
    Nothing,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Role {
    pub arn: String,
    pub session: Option<String>,
    pub external_id: Option<String>,
    pub seconds: Option<String>,
}

/// Whose keys a role is assumed with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RoleFrom {
    Profile(String),
    Environment,
    Container,
    Machine,
}

/// What profiles of the command line have, and nobody here can answer.
const NOT_HERE: [&str; 4] = ["login_session", "mfa_serial", "sso_session", "sso_start_url"];

impl Profiles {
    /// What the second file says of a profile counts more.
    pub(super) fn parse(config: &str, credentials: &str) -> Profiles {
        let mut profiles = Profiles::default();
        profiles.read(config, |header| match header.split_once([' ', '\t']) {
            Some(("profile", name)) => Some(name.trim()),
            None if header == "default" => Some(header),
            _ => None,
        });
        profiles.read(credentials, Some);
        profiles
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn source(&self, name: &str) -> Result<ProfileSource, String> {
        let Some(keys) = self.0.get(name) else { return Ok(ProfileSource::Nothing) };
        let get = |key: &str| keys.get(key).filter(|value| !value.is_empty()).cloned();
        if let Some(key) = NOT_HERE.into_iter().find(|key| get(key).is_some()) {
            let hint = "hint: a profile with `credential_process = aws configure export-credentials --profile NAME`";
            return Err(format!("profile `{name}` has `{key}`, which is not supported. {hint}"));
        }
        let Some(arn) = get("role_arn") else {
            let said = get("credential_process").map(ProfileSource::Process);
            let keys = self.keys(name)?.map(ProfileSource::Keys);
            return Ok(keys.or(said).unwrap_or(ProfileSource::Nothing));
        };
        let role = Role {
            arn,
            session: get("role_session_name"),
            external_id: get("external_id"),
            seconds: get("duration_seconds"),
        };
        let from =
            match (get("source_profile"), get("credential_source"), get("web_identity_token_file"))
            {
                (None, None, Some(file)) => return Ok(ProfileSource::WebIdentity(role, file)),
                (Some(source), None, _) => RoleFrom::Profile(source),
                (None, Some(source), _) => match source.as_str() {
                    "Environment" => RoleFrom::Environment,
                    "EcsContainer" => RoleFrom::Container,
                    "Ec2InstanceMetadata" => RoleFrom::Machine,
                    _ => {
                        return Err(format!(
                            "`credential_source` of profile `{name}` is none that is known"
                        ));
                    }
                },
                _ => {
                    let what =
                        "either `source_profile`, `credential_source` or `web_identity_token_file`";
                    return Err(format!("profile `{name}` has a `role_arn` and needs {what}"));
                }
            };
        Ok(ProfileSource::Role(role, from))
    }

    /// The keys that stand in a profile, whatever else does.
    pub(super) fn keys(&self, name: &str) -> Result<Option<AwsKeys>, String> {
        let get = |key: &str| self.0.get(name)?.get(key).filter(|value| !value.is_empty());
        match (get("aws_access_key_id"), get("aws_secret_access_key")) {
            (None, None) => Ok(None),
            (Some(access), Some(secret)) => {
                let session = get("aws_session_token").map(String::as_str);
                let keys = AwsKeys::new(access, secret, session);
                keys.map(Some)
                    .ok_or_else(|| format!("profile `{name}` has keys that cannot be sent"))
            }
            _ => Err(format!(
                "profile `{name}` has one of `aws_access_key_id` and `aws_secret_access_key`"
            )),
        }
    }

    fn read<'t>(&mut self, text: &'t str, named: impl Fn(&'t str) -> Option<&'t str>) {
        let mut name = None;
        for line in text.lines() {
            let trimmed = line.trim();
            if let Some(header) = trimmed.strip_prefix('[') {
                name = header.split_once(']').and_then(|(header, _)| named(header.trim()));
                name.map(|name| self.0.entry(name.to_owned()).or_default());
                continue;
            }
            // What is indented belongs to the line before (`s3 =`), and none of that is asked for here.
            let is_plain = !line.starts_with([' ', '\t', '#', ';']);
            let (Some(name), Some((key, value))) = (name, trimmed.split_once('=')) else {
                continue;
            };
            if is_plain && let Some(profile) = self.0.get_mut(name) {
                profile.insert(key.trim().to_lowercase(), value.trim().to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "
        [default]\nregion = eu-west-1\ns3 =\n  aws_access_key_id = nested\n
[profile  base]\naws_access_key_id=CONFIG\naws_secret_access_key = cs ; no comment\n
[profile role]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = base\nexternal_id = e\n
[profile own]\nROLE_ARN = arn:own\nsource_profile = own\naws_access_key_id = O\naws_secret_access_key = o\n
[profile ec2]\nrole_arn = arn:ec2\ncredential_source = Ec2InstanceMetadata\n
[profile web]\nrole_arn = arn:web\nweb_identity_token_file = /t\nrole_session_name = s\n
[profile sso]\nsso_session = x\n[profile process]\ncredential_process = /x 'a b'\n
[profile mfa]\nrole_arn = a\nsource_profile = base\nmfa_serial = x\n
[profile bare]\nrole_arn = a\n[profile both]\nrole_arn = a\nsource_profile = base\ncredential_source = Environment\n
[profile half]\naws_access_key_id = H\n
[other]\naws_access_key_id = no\naws_secret_access_key = no\n[broken\naws_access_key_id = no\n";
    const CREDENTIALS: &str = "[base]\naws_access_key_id = AKID\naws_secret_access_key = a=b\naws_session_token = t\n# x = y\n";

    fn profiles() -> Profiles {
        Profiles::parse(&CONFIG.replace("        ", ""), CREDENTIALS)
    }

    #[test]
    fn what_profiles_say() {
        let profiles = profiles();
        let base = AwsKeys::new("AKID", "a=b", Some("t")).unwrap();
        assert_eq!(profiles.source("base"), Ok(ProfileSource::Keys(base)));
        assert_eq!(profiles.source("default"), Ok(ProfileSource::Nothing));
        assert!(profiles.has("default") && !profiles.has("other") && !profiles.has("nobody"));
        assert_eq!(profiles.source("other"), Ok(ProfileSource::Nothing));
        let role = |arn: &str| Role { arn: arn.to_owned(), ..Role::default() };
        let assumed = Role { external_id: Some("e".to_owned()), ..role("arn:aws:iam::1:role/x") };
        let from = RoleFrom::Profile("base".to_owned());
        assert_eq!(profiles.source("role"), Ok(ProfileSource::Role(assumed, from)));
        let from = RoleFrom::Profile("own".to_owned());
        assert_eq!(profiles.source("own"), Ok(ProfileSource::Role(role("arn:own"), from)));
        assert!(profiles.keys("own").unwrap().is_some());
        let process = ProfileSource::Process("/x 'a b'".to_owned());
        assert_eq!(profiles.source("process"), Ok(process));
        let machine = ProfileSource::Role(role("arn:ec2"), RoleFrom::Machine);
        assert_eq!(profiles.source("ec2"), Ok(machine));
        let web = Role { session: Some("s".to_owned()), ..role("arn:web") };
        assert_eq!(profiles.source("web"), Ok(ProfileSource::WebIdentity(web, "/t".to_owned())));
    }

    #[test]
    fn what_they_want_in_vain_is_said() {
        for name in ["sso", "mfa", "bare", "both", "half"] {
            let why = profiles().source(name).unwrap_err();
            assert!(why.contains(&format!("`{name}`")), "{why}");
        }
    }
}
