//! Keys that the machine or the container is given: by ECS and EKS at an endpoint of the container's, by EC2 at one of
//! the machine's.
//!
//! `chain` asks, on the fetch thread. These endpoints have addresses that no origin may have, and no proxy leads there:
//! a client of its own asks them. What must stay true: nothing is asked in clear but what is of this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use super::chain::{Variables, read, variable};
use super::keys::AwsKeys;
use crate::config::Text;
use crate::http_client::HttpClient;

/// They are near; where they are not, nothing answers at all.
const TIME: Duration = Duration::from_secs(5);
const LONGEST: usize = 64 * 1024;
const OF_CONTAINERS: &str = "http://169.254.170.2";
const OF_MACHINES: [(&str, &str); 2] =
    [("IPv4", "http://169.254.169.254"), ("IPv6", "http://[fd00:ec2::254]")];
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
const TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
const TOKEN_LIFE: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");

/// None where the container has no such endpoint.
pub(super) async fn of_container(
    variables: &Variables,
    now: SystemTime,
) -> Result<Option<AwsKeys>, String> {
    let Some(url) = container_url(variables)? else { return Ok(None) };
    let token = match variable(variables, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        Some(file) => Some(read(&file).await?),
        None => variable(variables, "AWS_CONTAINER_AUTHORIZATION_TOKEN"),
    };
    let mut headers = HeaderMap::new();
    if let Some(token) = token {
        headers.insert(AUTHORIZATION, secret(token.trim_end_matches(['\r', '\n']))?);
    }
    let keys = match ask(&url, None, Method::GET, headers).await {
        Ok((200, said)) => AwsKeys::from_json(&said, now),
        Ok((status, _)) => Err(format!("its answer's status is {status}")),
        Err(why) => Err(why),
    };
    keys.map(Some).map_err(|why| format!("the container's endpoint of credentials: {why}"))
}

/// By the second version of the service only, whose token no request that is made to us can bring.
pub(super) async fn of_machine(variables: &Variables, now: SystemTime) -> Result<AwsKeys, String> {
    if variable(variables, "AWS_EC2_METADATA_DISABLED")
        .is_some_and(|text| text.eq_ignore_ascii_case("true"))
    {
        return Err("`AWS_EC2_METADATA_DISABLED` is set".to_owned());
    }
    let url = machine_url(variables);
    let keys = ask_machine(&url, now).await;
    keys.map_err(|why| format!("the metadata service of EC2 at `{url}`: {why}"))
}

async fn ask_machine(url: &str, now: SystemTime) -> Result<AwsKeys, String> {
    let mut headers = HeaderMap::from_iter([(TOKEN_LIFE, HeaderValue::from_static("300"))]);
    let token = ask(url, Some("/latest/api/token"), Method::PUT, headers.clone()).await;
    // An answer that may make one hop does not come into a container.
    let token = match token {
        Ok((200, token)) => token,
        Ok((status, _)) => {
            return Err(format!("its answer to the request for a token is {status}"));
        }
        Err(why) => return Err(format!("{why}. hint: a container needs a hop limit of 2")),
    };
    headers.clear();
    headers.insert(TOKEN, secret(std::str::from_utf8(&token).unwrap_or_default())?);
    let role = match ask(url, Some(ROLES), Method::GET, headers.clone()).await? {
        (200, roles) => first_line(&roles).ok_or("the machine's role has no name")?,
        (404, _) => return Err("the machine has no role".to_owned()),
        (status, _) => return Err(format!("its answer to the question for a role is {status}")),
    };
    match ask(url, Some(&format!("{ROLES}{role}")), Method::GET, headers).await? {
        (200, said) => AwsKeys::from_json(&said, now),
        (status, _) => Err(format!("its answer to the question for keys is {status}")),
    }
}

async fn ask(
    url: &str,
    path: Option<&str>,
    method: Method,
    headers: HeaderMap,
) -> Result<(u16, Vec<u8>), String> {
    let client = HttpClient::new(&Text::from(url), None, TIME).map_err(|why| why.to_string())?;
    client.call(method, path, headers, LONGEST).await.map_err(|why| why.to_string())
}

/// Amazon's own names of roles.
fn first_line(text: &[u8]) -> Option<String> {
    let line = std::str::from_utf8(text).ok()?.lines().next()?.trim();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte);
    (!line.is_empty() && line.bytes().all(is_plain)).then(|| line.to_owned())
}

fn secret(text: &str) -> Result<HeaderValue, String> {
    let value = HeaderValue::from_str(text).ok().filter(|value| !value.is_empty());
    let mut value = value.ok_or("the token for it cannot be sent")?;
    value.set_sensitive(true);
    Ok(value)
}

fn container_url(variables: &Variables) -> Result<Option<String>, String> {
    const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
    const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
    if let Some(path) = variable(variables, RELATIVE) {
        return match path.starts_with('/') {
            true => Ok(Some(format!("{OF_CONTAINERS}{path}"))),
            false => Err(format!("`{RELATIVE}` is no path")),
        };
    }
    let Some(url) = variable(variables, FULL) else { return Ok(None) };
    match url.parse::<Uri>().is_ok_and(|uri| is_allowed(&uri)) {
        true => Ok(Some(url)),
        false => {
            let hint = "hint: `https://`, or an address of this machine or of Amazon's agents";
            Err(format!("`{FULL}` leads where no token may be shown. {hint}"))
        }
    }
}

/// As the SDKs have it: over TLS anything; in clear the machine itself, and where ECS's and EKS's agents are.
fn is_allowed(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let agents = [
        IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
        IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    ];
    let address = host.parse::<IpAddr>().ok();
    let is_near = host == "localhost"
        || address.is_some_and(|address| address.is_loopback() || agents.contains(&address));
    match uri.scheme_str() {
        Some("https") => !host.is_empty(),
        Some("http") => is_near,
        _ => false,
    }
}

fn machine_url(variables: &Variables) -> String {
    if let Some(url) = variable(variables, "AWS_EC2_METADATA_SERVICE_ENDPOINT") {
        return url.trim_end_matches('/').to_owned();
    }
    let mode = variable(variables, "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE").unwrap_or_default();
    let [(_, v4), (name, v6)] = OF_MACHINES;
    if mode.eq_ignore_ascii_case(name) { v6.to_owned() } else { v4.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::registry::ecr::chain::tests::variables;

    #[test]
    fn where_containers_ask() {
        let relative =
            variables(&[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/x")]);
        let url = "http://169.254.170.2/v2/credentials/x";
        assert_eq!(container_url(&relative).unwrap().as_deref(), Some(url));
        for odd in ["x", "@evil.example/", ":80@evil.example/"] {
            let odd = variables(&[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", odd)]);
            assert!(container_url(&odd).is_err());
        }
        assert_eq!(container_url(&variables(&[])), Ok(None));
        for (url, may) in [
            ("http://127.0.0.1:9/x", true),
            ("http://localhost/x", true),
            ("http://[::1]/x", true),
            ("http://169.254.170.2/x", true),
            ("http://169.254.170.23/v1/credentials", true),
            ("http://[fd00:ec2::23]/v1/credentials", true),
            ("https://a.example/x", true),
            ("http://a.example/x", false),
            ("http://10.0.0.1/x", false),
            ("http://169.254.169.254/x", false),
            ("http://127.0.0.1.evil.example/x", false),
            ("ftp://127.0.0.1/x", false),
            ("x", false),
        ] {
            let full = variables(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)]);
            assert_eq!(container_url(&full).is_ok(), may, "{url}");
        }
    }

    #[test]
    fn where_machines_ask() {
        assert_eq!(machine_url(&variables(&[])), "http://169.254.169.254");
        let v6 = variables(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "ipv6")]);
        assert_eq!(machine_url(&v6), "http://[fd00:ec2::254]");
        let other = variables(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9/")]);
        assert_eq!(machine_url(&other), "http://127.0.0.1:9");
        assert_eq!(first_line(b"role-1\nrole-2").as_deref(), Some("role-1"));
        assert_eq!(first_line(b"../x"), None);
        assert_eq!(first_line(b""), None);
    }
}
