//! Images without a name: they have one of ours before anybody could lose them, and nobody sees it.

use super::*;

fn anchor(tenant: &Tenant, tag: &str) -> String {
    namespaces().images(tenant).anchor(tag)
}

/// Of ann's: `app:1`, one without a name, and one that two builds have made; of bob's: one without a name.
fn knows(engine: &SmallEngine, question: &Question) -> Option<Json> {
    let app = namespaces().images(&engine.ann).sent("app:1").unwrap();
    let id = |digit: &str| format!("sha256:{}", digit.repeat(64));
    let own = |tag| anchor(&engine.ann, tag);
    Some(match question {
        Question::Image(name) if *name == app || *name == app.replace(":1", "") => {
            json!({ "Id": id("1"), "RepoTags": [app] })
        }
        Question::Image(name) if *name == id("2") => {
            json!({ "Id": id("2"), "RepoTags": [own("two")] })
        }
        Question::List(Resource::Image, _) => json!([
            { "Id": id("1"), "RepoTags": [app] },
            { "Id": id("2"), "RepoTags": [own("two")] },
            { "Id": id("4"), "RepoTags": [anchor(&engine.bob, "four")] },
        ]),
        _ => return None,
    })
}

fn ask(engine: &SmallEngine, method: &str, target: &str, body: &Json) -> Result<String, String> {
    let body = body.to_string();
    engine.ask_knowing("ann", (method, target, &body), &|question| knows(engine, question))
}

#[test]
fn what_is_given_no_name_gets_one_of_ours() {
    let engine = SmallEngine::new();
    let fresh = "0123456789abcdef".repeat(2);
    let own = anchor(&engine.ann, &fresh);
    let (repo, _) = own.rsplit_once(':').unwrap();
    for target in ["/v1.41/commit?container=web", "/v1.41/images/create?fromSrc=-"] {
        let sent = ask(&engine, "POST", target, &json!({})).unwrap().to_lowercase();
        let sent = sent.replace("%3a", ":").replace("%2f", "/");
        assert!(sent.contains(&format!("repo={repo}")), "{sent}");
        assert!(sent.contains(&format!("tag={fresh}")), "{sent}");
    }
    for target in ["/v1.41/build", "/v1.41/build?t="] {
        let sent = ask(&engine, "POST", target, &json!(null)).unwrap();
        let decoded = sent.replace("%3A", ":").replace("%2F", "/");
        assert!(decoded.contains(&format!("t={own}")), "{sent}");
    }
}

#[test]
fn the_image_whose_name_goes_to_another_is_kept_first() {
    let engine = SmallEngine::new();
    for (target, body) in [
        ("/v1.41/commit?container=web&repo=app&tag=1", json!({})),
        ("/v1.41/images/create?fromSrc=-&repo=app:1", json!(null)),
        ("/v1.41/build?t=app:1", json!(null)),
        (&format!("/v1.41/images/{}/tag?repo=app&tag=1", "2".repeat(64)), json!(null)),
    ] {
        let said = ask(&engine, "POST", target, &body).unwrap_err();
        assert!(
            said.contains(&format!("keeping image `sha256:{}`", "1".repeat(64))),
            "{target}: {said}"
        );
        let new = target.replace("app", "new");
        let sent = ask(&engine, "POST", &new, &body);
        assert!(sent.is_ok(), "{new}: {sent:?}");
    }
}

#[test]
fn it_is_used_and_removed_by_its_id() {
    let engine = SmallEngine::new();
    let id = |digit: &str| digit.repeat(64);
    let inspect =
        |text: &str| ask(&engine, "GET", &format!("/v1.41/images/{text}/json"), &json!(null));
    for text in [id("2"), "2222".to_owned(), format!("sha256:{}", id("2"))] {
        assert!(inspect(&text).unwrap().contains(&id("2")), "{text}");
    }
    assert!(inspect(&id("4")).unwrap_err().contains("No such image"));
    let sent = ask(&engine, "DELETE", "/v1.41/images/2222", &json!(null)).unwrap();
    let name = anchor(&engine.ann, "two");
    assert!(sent.starts_with(&format!("DELETE /v1.41/images/{name} ")), "{sent}");
    // What is pruned is removed by the name that nobody sees.
    let said = ask(&engine, "POST", "/v1.41/images/prune", &json!(null)).unwrap_err();
    assert!(said.contains(&name) && !said.contains("app"), "{said}");
}

#[test]
fn nobody_sees_its_name() {
    let engine = SmallEngine::new();
    let policy = namespaces();
    let (own, images) = (anchor(&engine.ann, "x1"), policy.images(&engine.ann));
    assert!(images.is_anchor(&own) && !policy.images(&engine.bob).is_anchor(&own));
    assert_eq!(images.shown(&own), None);
    let row = TABLE.iter().find(|row| row.endpoint == Endpoint::ImageList).unwrap();
    let mut list = json!([{ "Id": format!("sha256:{ANN}"), "RepoTags": [own], "RepoDigests": [] }]);
    show::object(&policy, &engine.ann, row, &mut list);
    assert_eq!(list[0]["RepoTags"], json!([]));
    let said = show::message(&policy, &engine.ann, &format!("naming to {own} done"));
    assert_eq!(said, "naming to <none> done");
    let row = TABLE.iter().find(|row| row.endpoint == Endpoint::ImageBuild).unwrap();
    let mut line = json!({ "stream": format!("Successfully tagged {own}\n") });
    assert_eq!(events::judge(&policy, &engine.ann, row, &mut line), Item::Drop);
}
