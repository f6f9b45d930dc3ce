//! `credentials = { kind = "ecr" }`: what is read, and what is said about what is wrong.

use super::*;

fn upstream(keys: &str) -> Result<RegistryUpstream, String> {
    let text = format!(
        "[registry.r]\nlisten = \"127.0.0.1:5000\"\n[registry.r.upstream.\"/\"]\nurl = \"https://a.example\"\n{keys}"
    );
    let config = read(&text)?;
    Ok(config.caches[0].registry.as_ref().unwrap().upstreams[0].clone())
}

#[test]
fn its_keys_are_read_and_an_empty_one_is_not_given() {
    let bare = upstream("credentials = { kind = \"ecr\", region = \"${REGION:-}\" }").unwrap();
    assert_eq!(bare.credentials, RegistryCredentials::Ecr(EcrCredentials::default()));
    assert!(!bare.create_repository);
    let all = "create_repository = true\ncredentials = { kind = \"ecr\", region = \"eu-west-1\", \
               profile = \"p\", endpoint = \"https://e.example\", sts_endpoint = \"https://s.example\" }";
    let all = upstream(all).unwrap();
    let RegistryCredentials::Ecr(ecr) = &all.credentials else { panic!("{all:?}") };
    let given = [&ecr.region, &ecr.profile, &ecr.endpoint, &ecr.sts_endpoint];
    let given = given.map(|text| text.as_ref().unwrap().text.as_str());
    assert_eq!(given, ["eu-west-1", "p", "https://e.example", "https://s.example"]);
    assert!(all.create_repository);
}

#[test]
fn what_is_not_for_it_is_said() {
    for (keys, wanted) in [
        (
            "credentials = { kind = \"ecr\", username = \"u\" }",
            "`username` is not for `kind = \"ecr\"`",
        ),
        (
            "credentials = { kind = \"none\", region = \"x\" }",
            "`region` is not for `kind = \"none\"`",
        ),
        (
            "create_repository = true",
            "`create_repository` is for `credentials = { kind = \"ecr\" }`",
        ),
    ] {
        let said = upstream(keys).unwrap_err();
        assert!(said.contains(wanted), "{said}");
    }
}

#[test]
fn the_page_has_every_key_and_its_example_is_right() {
    let page = include_str!("../../../docs/registry-ecr.md");
    let (example, _) = page.split_once("```toml\n").unwrap().1.split_once("```").unwrap();
    read(example).unwrap();
    for key in ["region", "profile", "endpoint", "sts_endpoint"] {
        assert!(page.contains(&format!("| `{key}` |")), "{key}");
    }
}
