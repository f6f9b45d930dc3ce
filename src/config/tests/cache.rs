//! `[cache.NAME]`: what is read, and what is said about what is wrong.

use super::*;

const LISTEN: &str = "listen = [\"http://127.0.0.1:3128\"]\n";

fn cache(keys: &str) -> Result<Cache, String> {
    read(&format!("[cache.packages]\n{keys}")).map(|config| config.caches[0].clone())
}

fn texts(all: &[Text]) -> Vec<&str> {
    all.iter().map(|one| one.text.as_str()).collect()
}

#[test]
fn an_address_is_enough_and_no_engine_is_needed() {
    let config = read(&format!("[cache.packages]\n{LISTEN}")).unwrap();
    assert!(config.listeners.is_empty());
    let cache = &config.caches[0];
    assert_eq!(cache.name, "packages");
    assert!(cache.dir.ends_with("dockgate/packages"));
    assert_eq!((cache.size, cache.free, cache.memory), (50 << 30, 1 << 30, 24 << 20));
    assert_eq!(texts(&cache.domains), ["*"]);
    assert_eq!(cache.authorization, Authorization::Private);
    assert_eq!((cache.fsync, cache.offline, cache.forward), (true, false, false));
    assert_eq!(cache.connections_per_host, 32);
    let times = &cache.times;
    let seconds = [times.connect, times.head, times.body, times.queue].map(|time| time.as_secs());
    assert_eq!((seconds, times.stale.as_millis()), ([10, 60, 60, 60], 800));
    assert_eq!(cache.targeted, ["cdn-cache-control"]);
    assert!(cache.tls.is_none() && cache.rules.is_none() && cache.next_hop.is_none());
}

#[test]
fn every_key_is_read() {
    let config = read(
        r#"
        [cache.packages]
        listen = ["http://0.0.0.0", "https://[::1]", "https://cache.example:8443/"]
        tls = { cert = "c.pem", key = "/k.pem" }
        dir = "store"
        size = "1.5GB"
        connect_timeout = "1s"
        head_timeout = "2s"
        body_timeout = "3s"
        queue_timeout = "4s"
        stale_after = "50ms"
        free = "0"
        memory = "1MB"
        fsync = false
        domains = ["*.example.com", "${HOST:-a.example}"]
        origins = { "localhost:8080" = "http://127.0.0.1:9000" }
        credentials = { "https://a.example" = { kind = "basic", username = "u", password_file = "word.txt" }, "https://b.example" = { kind = "bearer", token_file = "t0k3n" }, "https://c.example" = { kind = "bearer", username = "u", password_file = "p2", realm = "https://auth.c.example" } }
        forward = true
        next_hop = "http://user:word@proxy:3128/"
        upstream_ca = "ca.pem"
        allow_private = ["10.0.0.0/8", "192.168.1.7", "fd00::/8"]
        connections_per_host = 4
        rules = "rules.toml"
        ecosystems = ["deb", "npm"]
        authorization = "rfc9111"
        targeted = ["Dockgate-Cache-Control", "cdn-cache-control"]
        offline = true
        mirror = { hosts = ["cache.example"], pypi = ["https://pypi.example/simple"], npm = [] }
        tenants = { "10.0.0.0/8" = "all", "10.1.0.0/16" = "team-a", "10.1.2.3" = "one" }
        "#,
    )
    .unwrap();
    let cache = &config.caches[0];
    let listen: Vec<String> = cache.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["http://0.0.0.0:80", "https://[::1]:443", "https://cache.example:8443"]);
    let tls = cache.tls.as_ref().unwrap();
    assert_eq!(tls.cert.path, PathBuf::from("/etc/dockgate/c.pem"), "relative to the file");
    assert_eq!(cache.dir, PathBuf::from("/etc/dockgate/store"));
    assert_eq!((cache.size, cache.free, cache.memory), (3 << 29, 0, 1 << 20));
    assert_eq!(texts(&cache.domains), ["*.example.com", "a.example"]);
    let times = &cache.times;
    let seconds = [times.connect, times.head, times.body, times.queue].map(|time| time.as_secs());
    assert_eq!((seconds, times.stale.as_millis()), ([1, 2, 3, 4], 50));
    let (host, url) = &cache.origins[0];
    assert_eq!(
        (host.text.as_str(), url.text.as_str()),
        ("localhost:8080", "http://127.0.0.1:9000")
    );
    assert_eq!(cache.next_hop.as_ref().unwrap().text, "http://user:word@proxy:3128/");
    assert!(!format!("{cache:?}").contains("user:word"), "a password is not shown");
    let OriginCredentials::Token { login: Some(_), realm: Some(realm) } = &cache.credentials[2].1
    else {
        panic!("{:?}", cache.credentials);
    };
    assert_eq!(realm.text, "https://auth.c.example");
    assert_eq!(cache.allow_private.len(), 3);
    assert_eq!(cache.authorization, Authorization::Rfc9111);
    assert_eq!(texts(&cache.ecosystems), ["deb", "npm"]);
    assert_eq!(cache.targeted, ["dockgate-cache-control", "cdn-cache-control"]);
    assert_eq!((cache.fsync, cache.offline, cache.forward), (false, true, true));
    let mirror = cache.mirror.as_ref().unwrap();
    assert_eq!(texts(&mirror.hosts), ["cache.example"]);
    assert_eq!(texts(&mirror.pypi), ["https://pypi.example/simple"]);
    assert!(mirror.npm.is_empty(), "switched off");
    assert_eq!(mirror.crates[0].text, "https://index.crates.io", "where the public has it");
    let tenants: Vec<&str> = cache.tenants.iter().map(|(_, tenant)| tenant.as_str()).collect();
    assert_eq!(tenants, ["one", "team-a", "all"], "the narrowest first");
    let files: Vec<&Path> = config.files();
    for file in ["c.pem", "ca.pem", "rules.toml", "word.txt", "t0k3n", "p2"] {
        assert!(files.contains(&Path::new("/etc/dockgate").join(file).as_path()), "{file}");
    }
}

#[test]
fn hosts_with_origins_are_all_there_is_unless_domains_says_more() {
    let origins = "origins = { \"a\" = \"http://b\" }";
    assert!(cache(&format!("{LISTEN}{origins}")).unwrap().domains.is_empty());
    let both = cache(&format!("{LISTEN}{origins}\ndomains = [\"*\"]")).unwrap();
    assert_eq!(texts(&both.domains), ["*"]);
}

#[test]
fn a_mirror_is_all_there_is_unless_domains_says_more() {
    let open = "listen = [\"http://0.0.0.0:3128\"]\n";
    let only = cache(&format!("{open}mirror = {{}}")).unwrap();
    assert!(only.domains.is_empty());
    let mirror = only.mirror.unwrap();
    let public = [&mirror.pypi, &mirror.npm, &mirror.crates, &mirror.deb, &mirror.files];
    assert!(public.iter().all(|urls| !urls.is_empty()));
    let both = cache(&format!("{LISTEN}mirror = {{}}\ndomains = [\"*\"]")).unwrap();
    assert_eq!(texts(&both.domains), ["*"]);
    assert!(cache(&format!("{LISTEN}mirror = {{ rpm = [] }}")).is_err());
}

#[test]
fn a_next_hop_may_come_empty_out_of_the_environment() {
    let cache = cache(&format!("{LISTEN}next_hop = \"${{PROXY:-}}\"")).unwrap();
    assert_eq!(cache.next_hop, None);
}

#[test]
fn every_complaint_about_a_cache_says_where_and_what_to_do() {
    for (keys, wanted) in [
        ("", "dockgate.toml:1:8: `[cache.packages]` needs `listen`"),
        ("listen = []", "dockgate.toml:1:8: `[cache.packages]` needs `listen`"),
        (
            "credentials = { \"https://a\" = { kind = \"digest\" } }",
            "dockgate.toml:2:40: `digest` is no kind of credentials\n  hint: there are `basic`, `bearer` and `aws`",
        ),
        (
            "credentials = { \"https://a\" = { kind = \"basic\" } }",
            "dockgate.toml:2:40: `basic` needs `username` and `password_file`",
        ),
        (
            "credentials = { \"https://a\" = { kind = \"bearer\", username = \"u\" } }",
            "dockgate.toml:2:61: `username` without `password_file`",
        ),
        (
            "credentials = { \"https://a\" = { kind = \"bearer\", token_file = \"t\", realm = \"r\" } }",
            "dockgate.toml:2:76: `realm` does nothing for `kind = \"bearer\"` with `token_file`",
        ),
        (
            "credentials = { \"https://a\" = { kind = \"aws\", access_key = \"k\" } }",
            "`aws` needs `access_key`, `secret_file` and `region`",
        ),
        (
            "credentials = { \"https://a\" = { kind = \"bearer\", service = \"s3\" } }",
            "`service` does nothing for `kind = \"bearer\"`",
        ),
        (
            "credentials = { \"https://a\" = { kind = \"bearer\", password = \"p\" } }",
            "unknown field `password`",
        ),
        (
            "listen = [\"tcp://127.0.0.1:1\"]",
            "dockgate.toml:2:11: `tcp://127.0.0.1:1` is not an address to listen on",
        ),
        ("listen = [\"http://127.0.0.1:x\"]", "is not an address to listen on"),
        ("listen = [\"http://:80\"]", "is not an address to listen on"),
        ("listen = [\"http://127.0.0.1/x\"]", "is not an address to listen on"),
        ("listen = [\"https://127.0.0.1\"]", "dockgate.toml:2:10: `https://` has no certificate"),
        (
            "listen = [\"http://127.0.0.1:1\", \"http://127.0.0.1:1\"]",
            "dockgate.toml:2:33: `127.0.0.1:1` is the address of cache `packages` already",
        ),
        (
            "listen = [\"http://127.0.0.1:1\"]\n[[listener]]\nname = \"a\"\nurl = \"tcp://127.0.0.1:1\"",
            "dockgate.toml:2:11: `127.0.0.1:1` is the address of listener `a` already",
        ),
        (
            "listen = [\"http://[::1]:1\"]\n[admin]\nlisten = [\"tcp://[0::1]:1\"]",
            "`[::1]:1` is the address of `[admin]` already",
        ),
        (
            "listen = [\"http://0.0.0.0:3128\"]",
            "dockgate.toml:2:11: `http://0.0.0.0:3128` is beyond loopback, and `domains` names no hosts",
        ),
        ("listen = [\"http://[::]\"]\nforward = true", "is beyond loopback"),
        ("listen = [\"http://172.17.0.1\"]", "is beyond loopback"),
        (
            &format!("{LISTEN}tls = {{ cert = \"c\", key = \"k\" }}"),
            "dockgate.toml:3:7: `tls` is for `https://` in `listen`",
        ),
        (&format!("{LISTEN}tls = {{ cert = \"c\" }}"), "missing field `key`"),
        (
            &format!("{LISTEN}size = \"50\""),
            "dockgate.toml:3:8: a cache of less than `1MB` keeps nothing",
        ),
        (&format!("{LISTEN}size = \"much\""), "dockgate.toml:3:8: `much` is not a size"),
        (&format!("{LISTEN}memory = \"-1\""), "dockgate.toml:3:10: `-1` is not a size"),
        (
            &format!("{LISTEN}domains = []"),
            "dockgate.toml:1:8: `domains = []` without `origins` serves nothing",
        ),
        (
            &format!("{LISTEN}next_hop = \"proxy:3128\""),
            "dockgate.toml:3:12: this is not an address of a proxy",
        ),
        (&format!("{LISTEN}next_hop = \"http://proxy\""), "this is not an address of a proxy"),
        (
            &format!("{LISTEN}allow_private = [\"10.0.0.0/40\"]"),
            "dockgate.toml:3:18: `10.0.0.0/40` is not a network",
        ),
        (
            &format!("{LISTEN}tenants = {{ \"team\" = \"a\" }}"),
            "dockgate.toml:3:13: `team` is not a network",
        ),
        (
            &format!("{LISTEN}tenants = {{ \"10.0.0.1\" = \"a b\" }}"),
            "dockgate.toml:3:26: `a b` is not a name",
        ),
        (
            &format!("{LISTEN}connections_per_host = 0"),
            "dockgate.toml:3:24: must be greater than 0",
        ),
        (
            &format!("{LISTEN}head_timeout = \"0s\""),
            "dockgate.toml:3:16: this is no time to wait for an origin",
        ),
        (
            &format!("{LISTEN}stale_after = \"2h\""),
            "dockgate.toml:3:15: this is no time to wait for an origin",
        ),
        (&format!("{LISTEN}body_timeout = \"soon\""), "`soon` is not a duration"),
        (
            &format!("{LISTEN}authorization = \"shared\""),
            "dockgate.toml:3:17: `shared` says nothing of authorization",
        ),
        (
            &format!("{LISTEN}targeted = [\"cache-control\"]"),
            "dockgate.toml:3:13: `cache-control` is not a targeted field",
        ),
        (
            &format!("{LISTEN}object_store = \"gs://x\""),
            "dockgate.toml:3:16: `gs://x` is not an object store",
        ),
        (&format!("{LISTEN}frob = 1"), "dockgate.toml:3:1: unknown field `frob`"),
        (
            &format!(
                "{LISTEN}[cache.other]\nlisten = [\"http://127.0.0.1:2\"]\ndir = \"/x\"\n[cache.third]\nlisten = [\"http://127.0.0.1:3\"]\ndir = \"/x\""
            ),
            "dockgate.toml:8:7: cache `other` keeps its objects there too",
        ),
        (
            &format!("{LISTEN}[cache.\"..\"]\nlisten = [\"http://127.0.0.1:2\"]"),
            "dockgate.toml:3:8: `..` is not a name",
        ),
    ] {
        let error = cache(keys).expect_err(keys);
        assert!(error.contains(wanted), "{keys}\n{error}");
        assert!(error.starts_with("dockgate.toml:"), "{error}");
    }
    #[cfg(not(feature = "object-store"))]
    {
        let error = cache(&format!("{LISTEN}object_store = \"s3://x/y\"")).unwrap_err();
        assert!(error.contains("built without `object-store`"), "{error}");
    }
}

#[test]
fn the_examples_of_the_documentation_are_right() {
    let page = include_str!("../../../docs/cache.md");
    let blocks = page.split("```toml\n").skip(1);
    let examples: Vec<&str> = blocks
        .filter_map(|rest| rest.split_once("```").map(|(example, _)| example))
        .filter(|example| example.starts_with("[cache."))
        .collect();
    assert_eq!(examples.len(), 9);
    for example in examples {
        let config = read(example).unwrap_or_else(|wrong| panic!("{example}\n{wrong}"));
        assert_eq!(config.caches.len(), 1);
    }
    let table = page.split("## `[cache.NAME]`").nth(1).unwrap().split("\n## ").next().unwrap();
    let keys: Vec<&str> =
        table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let unknown = read("[cache.x]\nfrob = 1").unwrap_err();
    let known: Vec<&str> = unknown.split('`').skip(3).step_by(2).collect();
    assert!(known.len() > 15, "{unknown}");
    assert!(known.iter().all(|key| keys.contains(key)), "{known:?}\n{keys:?}");
    assert!(keys.iter().all(|key| known.contains(key)), "{known:?}\n{keys:?}");
}

#[test]
fn a_cache_that_intercepts_names_its_hosts_and_has_no_certificate() {
    let keys = "listen = [\"http://172.17.0.1\", \"https://172.17.0.1\"]\n\
                domains = [\"deb.debian.org\", \"*.example.com\"]\n";
    for (value, expected) in [("on", Intercept::On), ("observe", Intercept::Observe)] {
        let all = format!("{keys}intercept = \"{value}\"\nnever_intercept = [\"00\"]");
        let read = cache(&all).unwrap();
        assert_eq!((read.intercept, &read.tls), (Some(expected), &None));
        let on: Vec<bool> = read.listen.iter().map(|one| read.intercepts_on(one)).collect();
        assert_eq!((on, texts(&read.never_intercept)), (vec![false, true], vec!["00"]));
    }
    let secure = "listen = [\"https://127.0.0.1:1\"]\nintercept = \"on\"\n";
    for (keys, why) in [
        (format!("{keys}intercept = \"off\""), "`off` says nothing of interception"),
        (keys.to_owned(), "`https://` has no certificate"),
        (format!("{LISTEN}domains = [\"a\"]\nintercept = \"on\""), "is for `https://` in `listen`"),
        (secure.to_owned(), "`intercept` needs `domains`"),
        (format!("{secure}domains = [\"*\"]"), "is for named hosts only"),
        (format!("{secure}domains = [\"a\", \"*:*\"]"), "is for named hosts only"),
        (
            format!("{secure}domains = [\"a\"]\ntls = {{ cert = \"c\", key = \"k\" }}"),
            "leave out `tls`",
        ),
        (
            "listen = [\"https+unix:///a\"]\nintercept = \"on\"\ndomains = [\"a\"]".to_owned(),
            "they have no address",
        ),
        (format!("{LISTEN}never_intercept = [\"00\"]"), "says nothing without `intercept`"),
    ] {
        let refused = cache(&keys).unwrap_err();
        assert!(refused.contains(why), "{keys}: {refused}");
    }
}

#[test]
fn a_cache_listens_as_a_listener_does() {
    let keys = "listen = [\"unix:///run/c.sock\", \"systemd:web\", \"https+systemd:tls\"]\n\
                mode = \"0600\"\nmax_connections = 7\n\
                tls = { cert = \"c.pem\", key = \"k.pem\", handshake_time = \"3s\" }\n";
    let read = cache(keys).unwrap();
    let shown: Vec<String> = read.listen.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["unix:///run/c.sock", "systemd:web", "https+systemd:tls"]);
    let path = "/run/c.sock".into();
    let unix = Bind::Unix { path, mode: 0o600, owner: None, group: None };
    assert_eq!(read.listen[0], CacheListen { bind: unix, has_tls: false });
    assert!(!read.listen[1].has_tls && read.listen[2].has_tls && read.is_open);
    assert_eq!(read.max_connections, 7);
    assert_eq!(read.tls.unwrap().handshake_time.as_secs(), 3);
    let default = cache(LISTEN).unwrap();
    assert_eq!(default.max_connections, 16384);
    for (keys, why) in [
        ("listen = [\"unix://run/c.sock\"]", "the path must be absolute"),
        (
            "listen = [\"unix:///a\", \"unix:///a\"]",
            "`unix:///a` is the address of cache `packages`",
        ),
        ("listen = [\"systemd:a\", \"https+systemd:a\"]", "`systemd:a` is the address of cache"),
        ("listen = [\"unix:///var/run/docker.sock\"]", "the engine's own address"),
        ("listen = [\"http://127.0.0.1:1\"]\nmode = \"0600\"", "are for `unix://`"),
        ("listen = [\"unix:///a\"]\nmode = \"rw\"", "`rw` is not a file mode"),
        ("listen = [\"unix:///a\"]\nmax_connections = 0", "must be greater than 0"),
        ("listen = [\"https+unix:///a\"]", "`https://` has no certificate"),
        ("listen = [\"ftp://a\"]", "is not an address to listen on"),
    ] {
        let refused = cache(keys).unwrap_err();
        assert!(refused.contains(why), "{keys}: {refused}");
    }
}
