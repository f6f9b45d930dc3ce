//! `docker login` within a namespace: answered by us, since it is our registry that what is pulled comes by.
//!
//! `request` calls it. What must stay true: a name and a password go to the registry that the client names, and the engine has
//! none of them.

use serde_json::json;

use super::look::{self, Looked};
use super::request::{Request, says};
use crate::api::doc::Value;
use crate::api::grammar::image::{DOCKER_HUB, host_of_address};
use crate::policy::facts::Secret;
use crate::policy::{Edit, Question, Reply, Verdict, WantedLogin};

pub(super) fn judge(request: &Request<'_>) -> Looked<Vec<Edit>> {
    // Without one nothing is pulled, and the engine is asked as ever.
    let Some(registry) = &request.with.settings.registry else { return Ok(Vec::new()) };
    let root = request.call.doc().map_or(&Value::Null, |doc| &doc.root);
    let said = |name| root.get(name).and_then(Value::as_str).unwrap_or_default();
    if !said("identitytoken").is_empty() || !said("registrytoken").is_empty() {
        let why = "an identity token cannot be used here: log in with a name and a password";
        return Err(says(401, why.to_owned()));
    }
    let address = said("serveraddress");
    let host = match host_of_address(address) {
        "" if address.is_empty() => DOCKER_HUB,
        "" => return Err(says(400, format!("`{address}` is no address of a registry"))),
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB,
        host => host,
    };
    let wanted = WantedLogin {
        registry: registry.name.clone(),
        host: host.to_owned(),
        username: said("username").to_owned(),
        password: Secret(said("password").into()),
    };
    let found = look::known(Question::Login(Box::new(wanted)), request.cx)?;
    let status = found.and_then(|found| found.get("status")?.as_u64());
    let json = match status.and_then(|status| u16::try_from(status).ok()) {
        Some(200) => json!({ "IdentityToken": "", "Status": "Login Succeeded" }),
        status => {
            let why = found.map(|found| look::str_of(found, "message")).unwrap_or_default();
            return Err(says(status.unwrap_or(500), why.to_owned()));
        }
    };
    Err(Verdict::Answer(Reply { status: 200, json: Some(json) }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::build::tests::Case;
    use super::*;
    use crate::policy::{Fact, rehearsal};

    #[test]
    fn a_login_is_asked_of_the_registry_that_it_names() {
        let case = Case::with_registry();
        let ask = |body: serde_json::Value, status: u16| {
            let asked = std::cell::RefCell::new(None);
            let verdict = case.outcome(("POST", "/v1.41/auth"), &body, &|question| {
                let Question::Login(wanted) = question else { panic!("{question:?}") };
                asked.replace(Some((**wanted).clone()));
                Fact::Json(Arc::new(json!({ "status": status, "message": "no" })))
            });
            let rehearsal::Verdict::Answered(_, reply) = verdict else { panic!("{verdict:?}") };
            (asked.into_inner(), reply.status, reply.json.unwrap())
        };
        let login =
            |host: &str| json!({ "username": "ann", "password": "s3cret", "serveraddress": host });
        for (address, host) in [
            ("https://index.docker.io/v1/", "docker.io"),
            ("registry-1.docker.io", "docker.io"),
            ("", "docker.io"),
            ("ghcr.io", "ghcr.io"),
            ("https://db:5000/v2/", "db:5000"),
        ] {
            let (asked, status, json) = ask(login(address), 200);
            let asked = asked.unwrap();
            assert_eq!((&*asked.registry, &*asked.host, &*asked.username), ("main", host, "ann"));
            assert!(!format!("{asked:?}").contains("s3cret"));
            assert_eq!(json, json!({ "IdentityToken": "", "Status": "Login Succeeded" }));
            assert_eq!(status, 200);
        }
        let (_, status, json) = ask(login("ghcr.io"), 401);
        assert_eq!((status, json), (401, json!({ "message": "no" })));
        for (odd, wanted) in [
            (login("ftp://x"), 400),
            (json!({ "identitytoken": "t", "serveraddress": "ghcr.io" }), 401),
        ] {
            let (asked, status, _) = ask(odd, 200);
            assert_eq!((asked, status), (None, wanted));
        }
    }

    #[test]
    fn what_a_registry_has_is_asked_with_a_token() {
        let case = Case::with_registry();
        let call = ("GET", "/v1.41/distribution/ghcr.io/a/b:1/json");
        let verdict =
            case.outcome(call, &serde_json::Value::Null, &|question| panic!("{question:?}"));
        let rehearsal::Verdict::Allowed(sent) = verdict else { panic!("{verdict:?}") };
        let sent = String::from_utf8(sent).unwrap();
        let line = sent.lines().next().unwrap();
        assert!(line.starts_with("GET /v1.41/distribution/127.0.0.1:5454/dg"), "{line}");
        assert!(line.contains("/ghcr.io/a/b:1/json"), "{line}");
        assert!(sent.to_lowercase().contains("x-registry-auth: "), "{sent}");
    }
}
