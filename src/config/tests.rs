//! Files that are right, and what is said about those that are not.

use std::collections::BTreeMap;

use super::*;

mod cache;
mod ecr;
mod limits;
mod registry;

fn read(text: &str) -> Result<Config, String> {
    let env = |name: &str| (name == "SOCK").then(|| "/run/x.sock".to_owned());
    parse(text, Path::new("dockgate.toml"), Path::new("/etc/dockgate"), &env)
        .map_err(|invalid| invalid.to_string())
}

#[test]
fn a_whole_file_is_read() {
    let config = read(
        r#"
        drain_timeout = "5s"
        [engine]
        url = "unix://${SOCK}"
        [[listener]]
        name = "runner"
        url = "unix://${DIR:-/run/dockgate}/runner.sock"
        mode = "0600"
        owner = "root"
        group = "0"
        policies = ["mine", "conservative"]
        auth = ["local"]
        max_connections = 10
        [[listener]]
        name = "open"
        url = "tcp://127.0.0.1:2375"
        [[listener]]
        name = "tls"
        url = "tls://0.0.0.0:2376"
        auth = ["ci", "cert", "site"]
        [listener.tls]
        cert = "server-cert.pem"
        key = "/etc/key.pem"
        client_ca = "ca.pem"
        client_auth = "optional"
        handshake_time = "3s"
        [auth.local]
        kind = "unix-peer"
        users = { "1001" = "bob" }
        [auth.cert]
        kind = "certificate"
        user = "san-uri"
        [auth.ci]
        kind = "jwt"
        jwks = "https://gitlab.example.com/oauth/discovery/keys"
        issuer = "https://gitlab.example.com"
        audience = "dockgate"
        user = "project_path"
        require = { ref_protected = "true" }
        [auth.site]
        kind = "external"
        url = "unix:///run/site.sock"
        [admin]
        listen = ["unix:///run/dockgate/admin.sock", "tcp://127.0.0.1:9323"]
        [policy.mine]
        kind = "conservative"
        fetch = ["https://Example.com:443/a/", "http://10.0.0.1:8080/b"]
        [limits]
        json_body = 1024
        json_elements = 512
        header_time = "2s"
        [log]
        format = "json"
        access = "ltsv"
        "#,
    )
    .unwrap();
    assert_eq!(config.engine.url, "unix:///run/x.sock");
    assert_eq!(config.drain_timeout, Duration::from_secs(5));
    let [runner, open, tls] = &config.listeners[..] else { panic!("three listeners") };
    let path = PathBuf::from("/run/dockgate/runner.sock");
    assert_eq!(runner.bind, Bind::Unix { path, mode: 0o600, owner: Some(0), group: Some(0) });
    assert_eq!(names(runner), ["mine", "conservative"]);
    assert_eq!(runner.max_connections, 10);
    let PolicyKind::Conservative(mine) = &runner.policies[0].kind else { panic!("another kind") };
    let fetch: Vec<_> = mine.fetch.iter().flatten().map(|url| (&*url.host, &*url.path)).collect();
    assert_eq!(fetch, [("example.com", "/a/"), ("10.0.0.1", "/b")]);
    assert!(open.policies.is_empty(), "no policies is a pass-through");
    let Some(Tls { cert, key, client, handshake_time }) = &tls.tls else { panic!("no TLS") };
    assert_eq!(cert.path, PathBuf::from("/etc/dockgate/server-cert.pem"), "relative to the file");
    assert_eq!(key.path, PathBuf::from("/etc/key.pem"));
    assert!(matches!(client, ClientAuth::Optional { crl: None, .. }));
    assert_eq!(*handshake_time, Duration::from_secs(3));
    let names: Vec<&str> = tls.auth.iter().map(|auth| auth.name.as_str()).collect();
    assert_eq!(names, ["ci", "cert", "site"], "in their order");
    let users = BTreeMap::from([("1001".to_owned(), "bob".to_owned())]);
    let peer = UnixPeer { users: Some(users), groups: None };
    assert_eq!(runner.auth[0].kind, AuthKind::UnixPeer(peer));
    assert_eq!(config.admin.len(), 2);
    assert_eq!((config.limits.json_body, config.limits.header_bytes), (1024, 1 << 20));
    assert_eq!(config.limits.json_elements, 512);
    assert_eq!(config.log, Log { format: diagnostics::Format::Json, access: access::Format::Ltsv });
}

#[test]
fn every_complaint_says_where_and_what_to_do() {
    let listener = "[[listener]]\nname = \"a\"\n";
    for (text, wanted) in [
        ("listen = 1", "dockgate.toml:1:1: unknown field `listen`"),
        (
            "[policy.conservative]\nkind = \"limits\"",
            "dockgate.toml:1:9: `conservative` is a kind, and this policy is of kind `limits`",
        ),
        ("[engine]\nurl = \"tls:x\"", "dockgate.toml:2:7: `tls:x` is not an address of an engine"),
        ("[engine]\nca = \"x\"", "dockgate.toml:2:6: `ca`, `cert` and `key` are for `tls://`"),
        (
            "[engine]\nurl = \"tls://x:1\"\nkey = \"x\"",
            "dockgate.toml:3:7: `cert` and `key` go together",
        ),
        (&format!("{listener}url = \"tls://127.0.0.1:1\""), "has no certificate"),
        (
            &format!("{listener}url = \"unix:///x\"\n[listener.tls]\ncert = \"c\"\nkey = \"k\""),
            "dockgate.toml:4:1: `[listener.tls]` is for `tls://`",
        ),
        (
            &format!(
                "{listener}url = \"tls://0.0.0.0:1\"\n[listener.tls]\ncert = \"c\"\nkey = \"k\""
            ),
            "dockgate.toml:3:7: `tls://0.0.0.0:1` is beyond loopback",
        ),
        (
            &format!("{listener}url = \"unix:///x\"\nauth = [\"b\"]"),
            "dockgate.toml:4:9: there is no `[auth.b]`",
        ),
        (
            &format!(
                "{listener}url = \"unix:///x\"\nauth = [\"c\"]\n[auth.c]\nkind = \"certificate\""
            ),
            "dockgate.toml:4:9: `c` recognises nobody here",
        ),
        (
            &format!(
                "{listener}url = \"tcp://127.0.0.1:1\"\nauth = [\"p\"]\n[auth.p]\nkind = \"unix-peer\""
            ),
            "dockgate.toml:4:9: `p` recognises nobody here",
        ),
        (
            "[auth.x]\nkind = \"kerberos\"",
            "dockgate.toml:2:8: there is no authenticator `kerberos`",
        ),
        ("[auth.x]\nkind = \"basic\"", "dockgate.toml:1:7: `[auth.x]` needs `file`"),
        (
            "[auth.x]\nkind = \"basic\"\nfile = \"f\"\nissuer = \"i\"",
            "dockgate.toml:4:10: `issuer` is not a key of `kind = \"basic\"`",
        ),
        (
            "[auth.x]\nkind = \"jwt\"\nkey = \"short\"\nissuer = \"i\"\naudience = \"a\"",
            "dockgate.toml:3:7: a shared secret of less than 32 bytes",
        ),
        (
            "[auth.x]\nkind = \"jwt\"\njwks = \"https://x/\"\nissuer = \"i\"\naudience = \"a\"\nalgorithms = [\"HS256\"]",
            "dockgate.toml:6:14: `HS256` does not fit the configured key",
        ),
        (
            "[auth.x]\nkind = \"jwt\"\njwks = \"http://x/\"\nissuer = \"i\"\naudience = \"a\"",
            "dockgate.toml:3:8: `http://x/`: keys must come over `https://`",
        ),
        ("[auth.x]\nkind = \"external\"\nurl = \"x\"", "`x` is not an address of a program"),
        ("[admin]\nlisten = [\"tcp://0.0.0.0:1\"]", "the admin socket is for this machine only"),
        ("", "dockgate.toml:1:1: no `[[listener]]`, no `[cache.NAME]` and no"),
        (
            &format!("{listener}url = \"tcp://0.0.0.0:2375\""),
            "dockgate.toml:3:7: `tcp://0.0.0.0:2375` is beyond loopback",
        ),
        (&format!("{listener}url = \"tcp://127.0.0.1\""), "names no port"),
        (&format!("{listener}url = \"unix://x\""), "the path must be absolute"),
        (
            &format!("{listener}url = \"unix:///x\"\nmode = \"999\""),
            "dockgate.toml:4:8: `999` is not a file mode",
        ),
        (
            &format!("{listener}url = \"unix:///x\"\ngroup = \"no-such-group\""),
            "no `no-such-group` in `/etc/group`",
        ),
        (
            &format!("{listener}url = \"unix:///x\"\npolicies = [\"transparent-cache\"]"),
            "policy `transparent-cache` needs its own section",
        ),
        (
            &format!(
                "{listener}url = \"unix:///x\"\npolicies = [\"t\"]\n[policy.t]\nkind = \"namespace\"\n"
            ),
            "`[policy.t]` needs `name`",
        ),
        (
            &format!(
                "{listener}url = \"unix:///x\"\npolicies = [\"t\", \"conservative\"]\n[policy.t]\nkind = \"namespace\"\nname = \"{{user}}\"\n"
            ),
            "`t` must be the last of the policies",
        ),
        (
            &format!(
                "{listener}url = \"unix:///x\"\npolicies = [\"t\"]\n[policy.t]\nkind = \"namespace\"\nname = \"{{user}}\"\nmode = \"audit\"\n"
            ),
            "a namespace cannot only audit",
        ),
        (
            &format!(
                "{listener}url = \"unix:///x\"\npolicies = [\"t\"]\n[policy.t]\nkind = \"namespace\"\nname = \"{{user}}\"\nnetwork_pool = \"10.0.0.0/27\"\n"
            ),
            "`10.0.0.0/27` is no pool of subnets",
        ),
        (
            &format!(
                "{listener}url = \"unix:///x\"\npolicies = [\"t\"]\n[policy.t]\nkind = \"namespace\"\nname = \"{{user}}\"\nregistry = \"main\"\n"
            ),
            "there is no `[registry.main]`",
        ),
        (
            &format!(
                "{listener}url = \"unix:///x\"\npolicies = [\"t\"]\n[policy.t]\nkind = \"namespace\"\nname = \"{{user}}\"\nports = \"some\"\n"
            ),
            "`some` says nothing of ports",
        ),
        (
            "[policy.t]\nkind = \"namespace\"\nname = \"x\"\nquota = { containers = -1 }",
            "dockgate.toml:4:24: not such a number",
        ),
        (
            "[policy.t]\nkind = \"namespace\"\nname = \"x\"\nquota = { image_bytes = \"much\" }",
            "dockgate.toml:4:25: not a size",
        ),
        (
            "[policy.t]\nkind = \"namespace\"\nname = \"x\"\nquota = { cats = 1 }",
            "unknown field `cats`",
        ),
        (
            &format!("{listener}url = \"unix:///x\"\npolicies = [\"frob\"]"),
            "dockgate.toml:4:13: there is no policy `frob`",
        ),
        (
            "[policy.x]\nkind = \"conservative\"\nfetch = [\"https://a/\", \"https://b\"]",
            "dockgate.toml:3:24: `https://b` is not the beginning of addresses that are fetched",
        ),
        (
            "[policy.x]\nkind = \"conservative\"\nfetch = [\"https://u@a/\", \"git://a/\", \"a/\", \"https://a/?b\"]",
            "dockgate.toml:3:44: `https://a/?b` is not the beginning",
        ),
        (
            "[policy.x]\nkind = \"limits\"\nfetch = []",
            "dockgate.toml:3:9: `fetch` is not a key of `kind = \"limits\"`",
        ),
        ("[policy.x]\nkind = \"rego\"", "dockgate.toml:2:8: `kind = \"rego\"` needs `file`"),
        (
            "[policy.x]\nkind = \"rego\"\nfile = \"f\"\nrules = \"r\"",
            "dockgate.toml:4:9: `rules` is not a key of `kind = \"rego\"`",
        ),
        (
            "[policy.x]\nkind = \"rego\"\nfile = \"f\"\ninput_bytes = 0",
            "dockgate.toml:4:15: must be greater than 0",
        ),
        (
            &format!("{listener}url = \"unix:///x\"\n{listener}url = \"unix:///y\""),
            "two listeners are named `a`",
        ),
        (
            &format!(
                "{listener}url = \"unix:///x\"\n[[listener]]\nname = \"b\"\nurl = \"unix:///x\""
            ),
            "has the address of another",
        ),
        (
            &format!(
                "{listener}url = \"unix:///x\"\nmode = \"0600\"\n[[listener]]\nname = \"b\"\n\
                 url = \"unix:///x\"\nmode = \"0666\""
            ),
            "has the address of another",
        ),
        (
            &format!("{listener}url = \"unix://${{NOPE}}\""),
            "environment variable `NOPE` is not set",
        ),
        (&format!("{listener}url = \"unix://${{SOCK\""), "`${` without `}`"),
        (
            &format!("{listener}url = \"unix:///x\"\n[limits]\njson_body = 0"),
            "dockgate.toml:5:13: must be greater than 0",
        ),
        (
            &format!("{listener}url = \"unix:///x\"\n[limits]\nheader_time = \"soon\""),
            "`soon` is not a duration",
        ),
        (
            &format!("{listener}url = \"unix:///x\"\n[log]\nformat = \"xml\""),
            "unknown variant `xml`",
        ),
    ] {
        let error = read(text).expect_err(text);
        assert!(error.contains(wanted), "{text}\n{error}");
        assert!(error.starts_with("dockgate.toml:"), "{error}");
    }
    let insecure = format!("{listener}url = \"tcp://0.0.0.0:2375\"\ninsecure = true");
    assert!(read(&insecure).is_ok());
    let both = format!("{listener}url = \"ftp://x\"\nmode = \"x\"\n[engine]\nurl = \"y\"");
    assert_eq!(read(&both).unwrap_err().matches("dockgate.toml:").count(), 3, "all at once");
}

fn names(listener: &Listener) -> Vec<&str> {
    listener.policies.iter().map(|policy| policy.name.as_str()).collect()
}

#[test]
fn without_a_file_there_is_one_listener_with_the_conservative_policy() {
    let config = without_file(&[], Some("unix:///e".to_owned()), &[]).unwrap();
    assert_eq!(names(&config.listeners[0]), ["conservative"]);
    let open = without_file(&["tcp://127.0.0.1:1".to_owned()], None, &["none".to_owned()]).unwrap();
    assert!(open.listeners[0].policies.is_empty());
    let both = ["none".to_owned(), "conservative".to_owned()];
    assert!(without_file(&[], None, &both).is_err());
}
