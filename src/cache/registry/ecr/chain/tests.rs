//! Each place of keys against a server of its own that says what it was asked; and which of them comes first.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;

use super::*;
use crate::cache::key::Scheme;
use crate::cache::registry::ecr::site::EcrSite;
use crate::cache::upstream::{Upstream, UpstreamSettings};

pub(in crate::cache::registry::ecr) fn variables(pairs: &[(&str, &str)]) -> Variables {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let pairs: HashMap<String, String> = pairs.iter().map(own).collect();
    Arc::new(move |name| pairs.get(name).cloned())
}

/// Amazon: ECR and roles' keys at `/`, a container's at `/container`, a machine's where EC2 has them.
pub(in crate::cache::registry::ecr) struct Amazon {
    pub address: SocketAddr,
    /// Line and head in lower case, and body.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Amazon {
    pub(in crate::cache::registry::ecr) fn start() -> Amazon {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, asked) =
            (listener.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
        let heard = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut reader = BufReader::new(stream.unwrap());
                let mut said = String::new();
                while !said.ends_with("\r\n\r\n") && reader.read_line(&mut said).unwrap() > 0 {}
                let lower = said.to_lowercase();
                let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
                let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
                reader.read_exact(&mut body).unwrap();
                let body = String::from_utf8(body).unwrap();
                let (status, answer) = answer(&lower, &body);
                let answer = format!(
                    "HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{answer}",
                    answer.len()
                );
                heard.lock().unwrap().push(lower + &body);
                reader.into_inner().write_all(answer.as_bytes()).unwrap();
            }
        });
        Amazon { address, asked }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(in crate::cache::registry::ecr) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn keys(&self, profile: Option<&str>, variables: &Variables) -> Result<AwsKeys, String> {
        let upstream = upstream();
        let (site, host) = (EcrSite::elsewhere("eu-west-1").unwrap(), self.address.to_string());
        let sts = (Scheme::Http, host);
        let now = humantime::parse_rfc3339("2026-11-21T02:00:00Z").unwrap();
        let api = Api { upstream: &upstream, site: &site, ecr: &sts, sts: &sts, now };
        run(Chain { variables, profile, api: &api }.keys())
    }
}

pub(in crate::cache::registry::ecr) fn upstream() -> Upstream {
    let allow_private = vec!["127.0.0.0/8".parse().unwrap()];
    Upstream::new(UpstreamSettings { allow_private, ..UpstreamSettings::default() }).unwrap()
}

pub(in crate::cache::registry::ecr) fn run<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(future)
}

/// `AWS:token`, until 2033.
const LOGIN: &str = r#"{"authorizationToken":"QVdTOnRva2Vu","expiresAt":2000000000.5}"#;

fn json(access_key: &str) -> String {
    format!(
        r#"{{"Code":"Success","AccessKeyId":"{access_key}","SecretAccessKey":"s","Token":"t","Expiration":"2026-11-21T08:00:00Z"}}"#
    )
}

fn xml(access_key: &str) -> String {
    format!(
        "<A><Credentials><AccessKeyId>{access_key}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
         <SessionToken>t</SessionToken><Expiration>2026-11-21T03:00:00Z</Expiration></Credentials></A>"
    )
}

fn answer(head: &str, body: &str) -> (u16, String) {
    let has = |line: &str| head.contains(line);
    match head.split_whitespace().nth(1).unwrap() {
        "/container" if has("authorization: of the agent") => (200, json("CONTAINER")),
        "/latest/api/token" if has("put ") && has("ttl-seconds: ") => (200, "imds".to_owned()),
        "/latest/meta-data/iam/security-credentials/" if has("metadata-token: imds") => {
            (200, "role".to_owned())
        }
        "/latest/meta-data/iam/security-credentials/role" if has("metadata-token: imds") => {
            (200, json("MACHINE"))
        }
        "/" if has("x-amz-target: amazonec2containerregistry_v20150921.getauthorizationtoken") => {
            (200, format!(r#"{{"authorizationData":[{LOGIN}]}}"#))
        }
        "/" if has("x-amz-target: spencerfrontendservice.getauthorizationtoken") => {
            (200, format!(r#"{{"authorizationData":{LOGIN}}}"#))
        }
        "/" if has("createrepository") && body.contains("\"new\"") => (200, "{}".to_owned()),
        "/" if has("createrepository") && body.contains("\"old\"") => {
            (400, r#"{"__type":"com.amazonaws#RepositoryAlreadyExistsException"}"#.to_owned())
        }
        "/" if has("createrepository") => {
            (400, r#"{"__type":"AccessDeniedException","message":"s3cret"}"#.to_owned())
        }
        "/" if body.contains("WebIdentityToken=identity") => (200, xml("WEB")),
        "/" if body.contains("RoleArn=arn%3Afirst") => (200, xml("FIRST")),
        "/" if body.contains("RoleArn=arn%3Asecond") => (200, xml("SECOND")),
        "/" => (403, "<E><Code>AccessDenied</Code><Message>s3cret</Message></E>".to_owned()),
        _ => (401, String::new()),
    }
}

struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Files {
        let folder = Files(tempfile::tempdir().unwrap());
        for (name, text) in files {
            std::fs::write(folder.path(name), text).unwrap();
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }
}

/// Everything at once; what comes first is taken away, one by one.
#[test]
fn the_places_are_looked_at_in_the_order_of_the_sdks() {
    let amazon = Amazon::start();
    let files = Files::new(&[
        ("config", "[profile named]\naws_access_key_id = NAMED\naws_secret_access_key = s\n"),
        ("credentials", "[default]\naws_access_key_id = DEFAULT\naws_secret_access_key = s\n"),
        ("identity", "identity\n"),
        ("agent", "of the agent\n"),
    ]);
    let (imds, container) = (amazon.url("/"), amazon.url("/container"));
    let mut all = vec![
        ("AWS_ACCESS_KEY_ID", "ENVIRONMENT".to_owned(), "ENVIRONMENT"),
        ("AWS_SECRET_ACCESS_KEY", "s".to_owned(), "ENVIRONMENT"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", files.text("identity"), "WEB"),
        ("AWS_ROLE_ARN", "arn:web".to_owned(), "WEB"),
        ("AWS_PROFILE", "named".to_owned(), "NAMED"),
        ("AWS_CONFIG_FILE", files.text("config"), "NAMED"),
        ("AWS_SHARED_CREDENTIALS_FILE", files.text("credentials"), "DEFAULT"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", files.text("agent"), "CONTAINER"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", container, "CONTAINER"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds, "MACHINE"),
    ];
    let of = |all: &[(&str, String, &str)], profile| {
        let pairs: Vec<_> = all.iter().map(|(name, value, _)| (*name, value.as_str())).collect();
        amazon.keys(profile, &variables(&pairs))
    };
    assert_eq!(of(&all, Some("named")).unwrap().access_key, "NAMED");
    let mut seen = Vec::new();
    while let Some((_, _, place)) = all.first().cloned() {
        let keys = of(&all, None).unwrap();
        assert_eq!(keys.access_key, place);
        assert_eq!(keys.session.is_some(), ["WEB", "CONTAINER", "MACHINE"].contains(&place));
        all.retain(|(_, _, other)| *other != place);
        seen.push(place);
    }
    assert_eq!(seen, ["ENVIRONMENT", "WEB", "NAMED", "DEFAULT", "CONTAINER", "MACHINE"]);
    let web = amazon.asked().into_iter().find(|asked| asked.contains("WebIdentity")).unwrap();
    assert!(!web.contains("authorization:"), "{web}");
}

#[test]
fn a_program_says_keys_and_nothing_of_them_is_in_a_complaint() {
    let amazon = Amazon::start();
    let said = r#"{"Version":1,"AccessKeyId":"SAID","SecretAccessKey":"s3cret","SessionToken":"t","Expiration":"2026-11-21T08:00:00Z"}"#;
    let files = Files::new(&[
        ("said", said),
        ("second", &said.replace(":1", ":2")),
        ("over", &said.replace("08:00", "01:00")),
        ("odd", "s3cret"),
    ]);
    let config: String = ["said", "second", "over", "odd", "none"]
        .map(|name| format!("[profile {name}]\ncredential_process = cat '{}'\n", files.text(name)))
        .concat();
    let role = "[profile role]\nrole_arn = arn:first\nsource_profile = said\n";
    std::fs::write(files.path("config"), config + role).unwrap();
    let (file, empty) = (files.text("config"), files.text("nothing"));
    let variables =
        variables(&[("AWS_CONFIG_FILE", &file), ("AWS_SHARED_CREDENTIALS_FILE", &empty)]);
    let keys = amazon.keys(Some("said"), &variables).unwrap();
    assert_eq!((keys.access_key.as_str(), keys.session.as_deref()), ("SAID", Some("t")));
    assert_eq!(amazon.keys(Some("role"), &variables).unwrap().access_key, "FIRST");
    for (name, wanted) in [
        ("second", "it says no `Version` 1"),
        ("over", "expired"),
        ("odd", "no JSON of keys"),
        ("none", "it ends with exit status: 1"),
    ] {
        let why = amazon.keys(Some(name), &variables).unwrap_err();
        assert!(why.contains(wanted) && !why.contains("s3cret"), "{name}: {why}");
        assert!(why.contains(&format!("`credential_process` of profile `{name}`")), "{why}");
    }
}

#[test]
fn a_role_is_assumed_with_the_keys_that_its_profile_says() {
    let amazon = Amazon::start();
    let config = "
[profile first]\nrole_arn = arn:first\nsource_profile = keys\nexternal_id = e\n
[profile second]\nrole_arn = arn:second\nsource_profile = first\nrole_session_name = me\n
[profile machine]\nrole_arn = arn:first\ncredential_source = Ec2InstanceMetadata\n
[profile environment]\nrole_arn = arn:first\ncredential_source = Environment\n
[profile container]\nrole_arn = arn:first\ncredential_source = EcsContainer\n
[profile keys]\naws_access_key_id = KEYS\naws_secret_access_key = s\n
[profile own]\nrole_arn = arn:first\nsource_profile = own\naws_access_key_id = OWN\naws_secret_access_key = s\n
[profile circle]\nrole_arn = arn:first\nsource_profile = round\n
[profile round]\nrole_arn = arn:first\nsource_profile = circle\n
[profile nowhere]\nrole_arn = arn:first\nsource_profile = nobody\n
[profile denied]\nrole_arn = arn:denied\nsource_profile = keys\n";
    let files = Files::new(&[("config", config), ("agent", "of the agent")]);
    let (config, agent) = (files.text("config"), files.text("agent"));
    let (imds, container) = (amazon.url("/"), amazon.url("/container"));
    let variables = variables(&[
        ("AWS_CONFIG_FILE", &config),
        ("AWS_ACCESS_KEY_ID", "ENVIRONMENT"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &imds),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &container),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &agent),
    ]);
    let role = |name| amazon.keys(Some(name), &variables);
    for (name, by, with) in [
        ("first", "keys", "externalid=e"),
        ("machine", "machine", ""),
        ("environment", "environment", ""),
        ("container", "container", ""),
        ("own", "own", ""),
    ] {
        assert_eq!(role(name).unwrap().access_key, "FIRST", "{name}");
        let asked = amazon.asked().pop().unwrap().to_lowercase();
        let scope = format!("credential={by}/20261121/eu-west-1/sts/aws4_request");
        assert!(asked.contains(&scope) && asked.contains(with), "{name}: {asked}");
        let has_session = asked.contains("x-amz-security-token: t\r\n");
        assert_eq!(has_session, ["machine", "container"].contains(&name), "{asked}");
    }
    assert_eq!(role("second").unwrap().access_key, "SECOND");
    let asked = amazon.asked().pop().unwrap();
    assert!(asked.contains("credential=first/") && asked.contains("RoleSessionName=me"), "{asked}");
    assert!(role("circle").unwrap_err().contains("circle"));
    assert_eq!(role("nowhere").unwrap_err(), "profile `nobody` has no keys");
    let denied = role("denied").unwrap_err();
    assert_eq!(denied, "the request for a role's keys is answered 403: `AccessDenied`");
}

#[test]
fn a_place_that_is_there_and_does_not_work_ends_the_search() {
    let amazon = Amazon::start();
    let files = Files::new(&[
        ("agent", "of another\n"),
        ("credentials", "[default]\naws_access_key_id = DEFAULT\naws_secret_access_key = s\n"),
    ]);
    let (imds, container) = (amazon.url("/"), amazon.url("/container"));
    let (agent, credentials) = (files.text("agent"), files.text("credentials"));
    let folder = files.0.path().to_str().unwrap();
    for (pairs, why) in [
        (vec![("AWS_ACCESS_KEY_ID", "A")], "`AWS_SECRET_ACCESS_KEY` is not set"),
        (vec![("AWS_ACCESS_KEY_ID", "A"), ("AWS_SECRET_ACCESS_KEY", "s3cret\n")], "cannot be sent"),
        (vec![("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere")], "`AWS_ROLE_ARN` is not set"),
        (vec![("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere"), ("AWS_ROLE_ARN", "a")], "`/nowhere`: "),
        (vec![("AWS_PROFILE", "nobody")], "no profile `nobody`"),
        (vec![("AWS_CONFIG_FILE", folder)], "it is no file"),
        (vec![("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://10.0.0.1/")], "no token may be shown"),
        (
            vec![
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", container.as_str()),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", agent.as_str()),
            ],
            "its answer's status is 401",
        ),
    ] {
        let mut pairs = pairs;
        pairs.push(("AWS_EC2_METADATA_SERVICE_ENDPOINT", &imds));
        let is_early = pairs.iter().any(|(name, _)| !name.starts_with("AWS_CONTAINER"));
        if is_early && why != "it is no file" && !why.contains("token may") && !why.contains("401")
        {
            pairs.push(("AWS_SHARED_CREDENTIALS_FILE", &credentials));
        }
        let said = amazon.keys(None, &variables(&pairs)).unwrap_err();
        assert!(said.contains(why) && !said.contains("s3cret"), "{said}");
    }
}

#[test]
fn a_machine_without_any_is_said_and_is_not_asked_where_that_is_off() {
    let amazon = Amazon::start();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (nobody, imds) = (format!("http://{nobody}"), amazon.url("/"));
    let of = |pairs: &[(&str, &str)]| amazon.keys(None, &variables(pairs)).unwrap_err();
    let said = of(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &nobody)]);
    assert!(said.starts_with("there are no keys in the environment"), "{said}");
    assert!(said.contains("refused") && said.contains("hop limit"), "{said}");
    let off = ("AWS_EC2_METADATA_DISABLED", "True");
    let said = of(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &imds), off]);
    assert!(said.contains("`AWS_EC2_METADATA_DISABLED` is set"), "{said}");
    assert_eq!(amazon.asked(), [""; 0]);
}
