//! `[registry.NAME]`: what is read, and what is said about what is wrong.

use super::*;

const UPSTREAM: &str = "[registry.main.upstream.\"ghcr.io\"]\n";

fn registry(keys: &str) -> Result<(Cache, Registry), String> {
    let text = format!("[registry.main]\n{keys}");
    read(&text).map(|config| {
        let cache = config.caches[0].clone();
        (cache.clone(), cache.registry.unwrap())
    })
}

#[test]
fn an_address_and_an_upstream_are_enough() {
    let (cache, registry) = registry(&format!("listen = \"127.0.0.1:5000\"\n{UPSTREAM}")).unwrap();
    assert_eq!(
        (cache.name.as_str(), cache.memory),
        ("main", 0),
        "nothing is kept ready for everybody"
    );
    assert_eq!(cache.listen[0].to_string(), "http://127.0.0.1:5000");
    let upstream = &registry.upstreams[0];
    assert_eq!(
        (upstream.name.text.as_str(), upstream.url.text.as_str()),
        ("ghcr.io", "https://ghcr.io")
    );
    assert_eq!(upstream.credentials, RegistryCredentials::None);
    let seconds = [registry.access_ttl, registry.tag_ttl, registry.stale, registry.negative_ttl];
    assert_eq!(seconds.map(|time| time.as_secs()), [300, 60, 86400, 10]);
    assert!(registry.rules.is_empty() && registry.auth.is_empty() && !registry.catalog);
    assert_eq!(registry.redirects, Redirects::Follow);
}

#[test]
fn docker_hub_has_two_names_and_a_path_needs_a_url() {
    let (_, one) =
        registry("listen = \"127.0.0.1:1\"\n[registry.main.upstream.\"docker.io\"]").unwrap();
    assert_eq!(one.upstreams[0].url.text, "https://registry-1.docker.io");
    let (_, all) = registry(
        "listen = \"127.0.0.1:1\"\n[registry.main.upstream.\"/\"]\nurl = \"https://a.example\"",
    )
    .unwrap();
    assert_eq!(all.upstreams[0].name.text, "");
    let error = registry("listen = \"127.0.0.1:1\"\n[registry.main.upstream.team]").unwrap_err();
    assert!(error.contains("needs `url`"), "{error}");
}

#[test]
fn every_complaint_about_a_registry_says_where_and_what_to_do() {
    let listen = "listen = \"127.0.0.1:5000\"\n";
    for (keys, wanted) in [
        (UPSTREAM.to_owned(), "`[registry.main]` needs `listen`"),
        (listen.to_owned(), "`[registry.main]` has no upstream"),
        (
            format!("listen = \"0.0.0.0:5000\"\n{UPSTREAM}"),
            "is beyond loopback and has no authentication",
        ),
        (format!("{listen}auth = [\"x\"]\n{UPSTREAM}"), "there is no `[auth.x]`"),
        (
            format!(
                "{listen}auth = [\"x\"]\n{UPSTREAM}tenant = [{{ users = [\"a\"], credentials = {{ kind = \"client\" }} }}]\n\
                 [auth.x]\nkind = \"basic\"\nfile = \"f\""
            ),
            "a tenant's credentials are the gateway's own",
        ),
        (
            format!(
                "{listen}{UPSTREAM}tenant = [{{ users = [\"a\"], credentials = {{ kind = \"none\" }} }}]"
            ),
            "`a` is nobody here",
        ),
        (format!("listen = \"5000\"\n{UPSTREAM}"), "`5000` is not an address to listen on"),
        (
            format!(
                "{listen}{UPSTREAM}[[registry.main.push_rule]]\nusers = [\"a\"]\nmax_layers = 1"
            ),
            "`a` is nobody here: the registry has no `auth`",
        ),
        (
            format!(
                "{listen}{UPSTREAM}[[registry.main.rule]]\nrepositories = [\"a\"]\nusers = [\"*\"]"
            ),
            "`*` is nobody here: the registry has no `auth`",
        ),
        (
            format!(
                "{listen}auth = [\"x\"]\n{UPSTREAM}[[registry.main.rule]]\nrepositories = [\"a\"]\n\
                 users = [\"@dev\"]\n[auth.x]\nkind = \"basic\"\nfile = \"f\""
            ),
            "nobody is in `@dev`: `auth` here knows no groups",
        ),
        (
            format!("{listen}auth = [\"x\"]\n{UPSTREAM}[auth.x]\nkind = \"unix-peer\""),
            "`x` recognises nobody here",
        ),
        (format!("{listen}redirects = \"x\"\n{UPSTREAM}"), "`x` says nothing of redirects"),
        (
            format!("{listen}address = \"registry.internal:5000\"\n{UPSTREAM}"),
            "an engine asks `registry.internal:5000` over TLS only",
        ),
        (
            format!(
                "listen = \"0.0.0.0:5000\"\nauth = [\"x\"]\n{UPSTREAM}[auth.x]\nkind = \"basic\"\nfile = \"f\""
            ),
            "passwords come to `http://0.0.0.0:5000` in clear",
        ),
        (
            format!(
                "{listen}{UPSTREAM}[[registry.main.rule]]\nrepositories = [\"registry.internal/a/*\"]"
            ),
            "`registry.internal/a/*` matches nothing",
        ),
        (
            format!(
                "{listen}{UPSTREAM}[[registry.main.push_rule]]\ntags = [\"x\"]\nrepositories = [\"a:5000/*\"]"
            ),
            "`a:5000/*` matches nothing",
        ),
        (
            format!(
                "{listen}{UPSTREAM}mirror = \"https://m\"\ncredentials = {{ kind = \"client\" }}"
            ),
            "a mirror cannot say which client may pull what",
        ),
        (format!("{listen}address = \"localhost:5000\"\n{UPSTREAM}"), "over TLS only"),
        (
            format!("{listen}address = \"http://127.0.0.1:5000\"\n{UPSTREAM}"),
            "is no address that an engine can ask",
        ),
        (
            format!("{listen}address = \"127.0.0.1\"\n{UPSTREAM}"),
            "is no address that an engine can ask",
        ),
        (format!("{listen}tag_ttl = \"x\"\n{UPSTREAM}"), "`x` is not a duration"),
        (format!("{listen}frob = 1\n{UPSTREAM}"), "frob"),
        (
            format!("{listen}{UPSTREAM}credentials = {{ kind = \"x\" }}"),
            "`x` is no kind of credentials",
        ),
        (
            format!("{listen}{UPSTREAM}credentials = {{ kind = \"login\", username = \"u\" }}"),
            "needs `password_file`",
        ),
        (
            format!("{listen}{UPSTREAM}credentials = {{ kind = \"client\", helper = \"u\" }}"),
            "`helper` is not for `kind = \"client\"`",
        ),
        (
            format!(
                "{listen}{UPSTREAM}[[registry.main.rule]]\nrepositories = [\"a\"]\nactions = [\"x\"]"
            ),
            "`x` is no action",
        ),
        (
            format!("{listen}{UPSTREAM}[cache.main]\nlisten = [\"http://127.0.0.1:1\"]"),
            "there is a cache `main`",
        ),
        (
            format!("{listen}{UPSTREAM}[cache.x]\nlisten = [\"http://127.0.0.1:5000\"]"),
            "is the address of cache `x` already",
        ),
    ] {
        let error = registry(&keys).expect_err(&keys);
        assert!(error.contains(wanted), "{keys}\n{error}");
        assert!(error.starts_with("dockgate.toml:"), "{error}");
    }
    let rule = "[[registry.main.rule]]\nrepositories = [\"ghcr.io/a/*\", \"*/x\", \"**\"]";
    assert!(registry(&format!("{listen}{UPSTREAM}{rule}")).is_ok());
    let root = "[registry.main.upstream.\"/\"]\nurl = \"https://a.example\"\n";
    let dotted = "[[registry.main.rule]]\nrepositories = [\"my.project/*\"]";
    assert!(registry(&format!("{listen}{root}{dotted}")).is_ok(), "it may be called so there");
    let mirrors = format!("{listen}{UPSTREAM}mirror = [\"https://a\", \"https://b/x\"]");
    assert_eq!(registry(&mirrors).unwrap().1.upstreams[0].mirrors.len(), 2);
    let clear = "listen = \"0.0.0.0:5000\"\ninsecure = true\nauth = [\"x\"]\n";
    let basic = "[auth.x]\nkind = \"basic\"\nfile = \"f\"";
    assert!(registry(&format!("{clear}{UPSTREAM}{basic}")).is_ok());
    let address = |keys: &str| registry(&format!("{keys}\n{UPSTREAM}")).unwrap().1.address;
    let local = address("listen = \"127.0.0.1:5000\"\naddress = \"127.0.0.2:5454\"");
    assert_eq!(local.unwrap().text, "127.0.0.2:5454");
    let secure = "listen = \"https://127.0.0.1:443\"\ntls = { cert = \"c\", key = \"k\" }\n";
    let named = address(&format!("{secure}address = \"registry.internal:443\""));
    assert_eq!(named.unwrap().text, "registry.internal:443");
    let open = format!("listen = [\"http://0.0.0.0:5000\"]\ninsecure = true\n{UPSTREAM}");
    assert!(registry(&open).is_ok());
}

#[test]
fn the_page_has_every_key_and_its_examples_are_right() {
    let page = include_str!("../../../docs/registry.md");
    let blocks = page.split("```toml\n").skip(1).filter_map(|rest| rest.split_once("```"));
    let mut count = 0;
    for (example, _) in blocks.filter(|(example, _)| example.contains("[registry.")) {
        count += 1;
        read(example).unwrap_or_else(|wrong| panic!("{example}\n{wrong}"));
    }
    assert!(count >= 2);
    let keys: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .chain(
            page.split("as they are there:")
                .nth(1)
                .unwrap()
                .split("\n\n")
                .next()
                .unwrap()
                .split('`'),
        )
        .collect();
    for table in [
        "[registry.x]\nfrob = 1",
        "[registry.x.upstream.y]\nfrob = 1",
        "[[registry.x.rule]]\nrepositories = []\nfrob = 1",
    ] {
        let unknown = read(table).unwrap_err();
        let known: Vec<&str> = unknown.split('`').skip(3).step_by(2).collect();
        assert!(known.len() > 2, "{unknown}");
        let missing: Vec<_> = known
            .iter()
            .filter(|key| !keys.contains(key) && !["upstream", "rule", "push_rule"].contains(key))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}

#[test]
fn what_is_wrong_with_a_push_rule_is_said_with_its_place() {
    for (keys, wanted) in [
        ("", "demands and changes nothing"),
        ("users = [\"ann\"]\nrepositories = [\"x\"]", "demands and changes nothing"),
        ("max_size = \"big\"", "`big` is no size"),
        ("max_layers = 0", "must be greater than 0"),
        ("max_age = \"old\"", "`old` is not a duration"),
        ("platforms = [\"linux\"]", "`linux` is no platform"),
        ("tags = [\"x\"]\npolicy_timeout = \"1s\"", "`policy_timeout` is for `policy`"),
        (
            "hook = { url = \"http://scanner.example/\" }",
            "an outside program is asked over `https://`",
        ),
        ("hook = { url = \"unix:///x\", ca = \"y\" }", "`ca` is for `https://`"),
        ("hook = { url = \"unix:///x\", base = \"/v2\" }", "`base` is what stands before"),
        ("hook = { timeout = \"1s\" }", "missing field `url`"),
        ("tag = \"x\"", "unknown field `tag`"),
        (
            "name = \"a\"\ntags = []\n[[registry.main.push_rule]]\nname = \"a\"\ntags = []",
            "another push rule `a`",
        ),
    ] {
        let keys =
            format!("listen = \"127.0.0.1:5000\"\n{UPSTREAM}[[registry.main.push_rule]]\n{keys}");
        let error = registry(&keys).expect_err(&keys);
        assert!(error.contains(wanted), "{keys}\n{error}");
        assert!(error.starts_with("dockgate.toml:"), "{error}");
    }
}

#[test]
fn the_page_of_push_rules_has_every_key_and_its_example_is_right() {
    let page = include_str!("../../../docs/registry-push.md");
    let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split_once("```")).unwrap().0;
    read(example).unwrap_or_else(|wrong| panic!("{example}\n{wrong}"));
    let keys: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    for table in ["frob = 1", "hook = { url = \"x\", frob = 1 }"] {
        let unknown = read(&format!("[[registry.x.push_rule]]\n{table}")).unwrap_err();
        let known: Vec<&str> = unknown.split('`').skip(3).step_by(2).collect();
        assert!(known.len() > 2, "{unknown}");
        let missing: Vec<_> = known.iter().filter(|key| !keys.contains(key)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
