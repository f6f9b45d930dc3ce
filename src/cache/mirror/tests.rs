//! Routes with rules and without, each ecosystem's paths, and complaints about files of rules.

use http::{HeaderMap, Method};

use super::*;
use crate::cache::hosts::HostSet;
use crate::cache::key::Partition;

fn http(rules: CacheRules) -> Http {
    Http::new(rules, fresh::FreshnessRules::default(), [])
}

fn builtin() -> Http {
    http(CacheRules::builtin().unwrap())
}

fn asked<'a>(
    method: &'a Method,
    host: &'a str,
    path: &'a str,
    headers: &'a HeaderMap,
) -> RequestTarget<'a> {
    let partition = Partition::Own(7);
    RequestTarget {
        method,
        scheme: Scheme::Https,
        host,
        path,
        query: Some("q=1"),
        headers,
        partition,
    }
}

fn fields(name: &'static str) -> HeaderMap {
    [(http::HeaderName::from_static(name), http::HeaderValue::from_static("x"))]
        .into_iter()
        .collect()
}

fn route(mirror: &Http, host: &str, path: &str) -> Route {
    mirror.route(&asked(&Method::GET, host, path, &HeaderMap::new())).unwrap()
}

/// How a path is treated, in a word.
fn treated(mirror: &Http, host: &str, path: &str) -> &'static str {
    let route = route(mirror, host, path);
    let general = route.kind == GENERAL;
    match route.kind {
        Kind::Artifact if route.verify.is_some() => "verified",
        Kind::Artifact => "artifact",
        Kind::Restricted => "restricted",
        Kind::PassThrough => "pass",
        Kind::Metadata { ttl: Some(Duration::ZERO), .. } => "revalidated",
        Kind::Metadata { .. } if general && route.rules.heuristic => "heuristic",
        Kind::Metadata { .. } if general && route.rules == fresh::FreshnessRules::default() => {
            "general"
        }
        Kind::Metadata { .. } if general => "indexed",
        Kind::Metadata { .. } | Kind::Permitted => "other",
    }
}

const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn each_ecosystems_paths_are_treated_as_they_are_meant() {
    let mirror = builtin();
    let sixty = HASH.get(..60).unwrap();
    let forty = HASH.get(..40).unwrap();
    let by_sha256 = format!("/debian/dists/sid/main/binary-amd64/by-hash/SHA256/{HASH}");
    let by_sha1 = format!("/ubuntu/dists/noble/main/by-hash/SHA1/{forty}");
    let primary = format!("/fedora/releases/42/x86_64/os/repodata/{HASH}-primary.xml.zst");
    let wheel = format!("/packages/0a/1b/{sixty}/six-1.16.0-py2.py3-none-any.whl");
    let proxied = format!(
        "/artifactory/api/pypi/all/packages/packages/0a/1b/{sixty}/six-1.16.0.tar.gz.metadata"
    );
    let blob_elsewhere = format!("/v2/team/app/blobs/sha256%3A{HASH}");
    for (path, wanted) in [
        (by_sha256.as_str(), "verified"),
        (&by_sha1, "artifact"),
        (&primary, "verified"),
        (&wheel, "artifact"),
        (&proxied, "artifact"),
        ("/nar/1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3.nar.xz", "artifact"),
        ("/debian/dists/sid/InRelease", "revalidated"),
        ("/debian/dists/sid/main/i18n/Translation-en.xz", "revalidated"),
        ("/flat/Packages.gz", "revalidated"),
        ("/repo/repodata/repomd.xml", "revalidated"),
        ("/repo/repodata/repomd.xml.asc", "revalidated"),
        ("/alpine/v3.20/main/x86_64/APKINDEX.tar.gz", "revalidated"),
        ("/core/os/x86_64/core.db", "revalidated"),
        ("/maven2/org/x/y/maven-metadata.xml.sha1", "revalidated"),
        ("/maven2/org/x/y/1-SNAPSHOT/y-1-20260101.010101-1.jar", "revalidated"),
        ("/simple/requests/", "indexed"),
        ("/golang.org/x/net/@v/list", "indexed"),
        ("/golang.org/x/net/@latest", "indexed"),
        ("/charts/index.yaml", "indexed"),
        ("/conda-forge/noarch/repodata.json.zst", "indexed"),
        ("/debian/pool/main/c/curl/curl_7.88.1-10+deb12u8_amd64.deb", "heuristic"),
        ("/debian/pool/main/c/curl/curl_7.88.1.orig.tar.gz", "heuristic"),
        ("/debian/pool/main/c/curl/curl_7.88.1-10.debian.tar.xz", "heuristic"),
        ("/fedora/releases/42/Everything/x86_64/os/Packages/b/bash-5.2.rpm", "heuristic"),
        ("/alpine/v3.20/main/x86_64/busybox-1.36.1-r29.apk", "heuristic"),
        ("/core/os/x86_64/bash-5.2.037-1-x86_64.pkg.tar.zst.sig", "heuristic"),
        ("/lodash/-/lodash-4.17.21.tgz", "heuristic"),
        ("/@types%2fnode/-/node-20.0.0.tgz", "heuristic"),
        ("/crates/serde/serde-1.0.0.crate", "heuristic"),
        ("/api/v1/crates/serde/1.0.0/download", "heuristic"),
        ("/maven2/org/x/y/1.0/y-1.0.pom.sha1", "heuristic"),
        ("/golang.org/x/net/@v/v0.30.0.zip", "heuristic"),
        ("/gems/rake-13.2.1.gem", "heuristic"),
        ("/v3-flatcontainer/x/1.0.0/x.1.0.0.nupkg", "heuristic"),
        ("/conda-forge/linux-64/python-3.12.0.conda", "heuristic"),
        // Of these only their own hosts are known to be careful.
        ("/dist/v20.11.0/node-v20.11.0-linux-x64.tar.xz", "general"),
        ("/dist/2026-01-15/rust-1.93.0-x86_64-unknown-linux-gnu.tar.xz", "general"),
        ("/terraform/1.9.0/terraform_1.9.0_linux_amd64.zip", "general"),
        ("/x/y/releases/download/v1/z.tar.gz", "general"),
        ("/distributions/gradle-8.10-bin.zip", "general"),
        ("/sumdb/sum.golang.org/tile/8/0/x001/234", "general"),
        ("/sumdb/sum.golang.org/latest", "general"),
        // What a name cannot tell.
        ("/golang.org/x/net/@v/master.info", "general"),
        ("/lodash", "general"),
        ("/se/rd/serde", "general"),
        ("/info/rake", "general"),
        ("/", "general"),
        ("/pool/x.deb/y", "general"),
        ("/x.deb", "general"),
        ("/flat/x_1.0_amd64.deb", "heuristic"),
        ("/wheels/six-1.16.0-py3-none-any.whl", "heuristic"),
        (blob_elsewhere.as_str(), "verified"),
        ("/git/x.git/info/refs", "pass"),
        (&format!("/by-hash/SHA256/{}", HASH.to_uppercase()), "general"),
        (&format!("/packages/0a/1b/{HASH}/x.whl"), "heuristic"),
    ] {
        assert_eq!(treated(&mirror, "mirror.example", path), wanted, "{path}");
    }
    let by_commit = format!("/symfony/console/legacy.zip/{forty}");
    let zipball = format!("/repos/symfony/console/zipball/{forty}");
    let archive = format!("/x/y/archive/{forty}.tar.gz");
    let blob = format!("/v2/library/alpine/blobs/sha256:{HASH}");
    let hub = format!("/registry-v2/docker/registry/v2/blobs/sha256/01/{HASH}/data");
    for (host, path) in [
        ("archive.ubuntu.com", "/ubuntu/pool/main/c/curl/curl_8.5.0-2_amd64.deb"),
        ("de.archive.ubuntu.com:80", "/ubuntu/pool/main/c/curl/curl_8.5.0-2_amd64.deb"),
        ("dl.fedoraproject.org", "/pub/fedora/bash-5.2.rpm"),
        ("download.opensuse.org", "/tumbleweed/repo/oss/x86_64/bash-5.2.rpm"),
        ("dl-cdn.alpinelinux.org", "/alpine/v3.20/main/x86_64/busybox-1.36.1-r29.apk"),
        ("geo.mirror.pkgbuild.com", "/core/os/x86_64/bash-5.2.037-1-x86_64.pkg.tar.zst"),
        ("repo.maven.apache.org", "/maven2/org/x/y/1.0/y-1.0.jar"),
        ("services.gradle.org", "/distributions/gradle-8.10-bin.zip"),
        ("proxy.golang.org", "/golang.org/x/net/@v/v0.30.0.mod"),
        ("proxy.golang.org", "/sumdb/sum.golang.org/tile/8/0/x001/234"),
        ("rubygems.org", "/quick/Marshal.4.8/rake-13.2.1.gemspec.rz"),
        ("api.nuget.org", "/v3-flatcontainer/x/1.0.0/x.nuspec"),
        ("repo.anaconda.com", "/pkgs/main/linux-64/python-3.12.0.tar.bz2"),
        ("nodejs.org", "/dist/v20.11.0/SHASUMS256.txt"),
        ("static.rust-lang.org", "/dist/2026-01-15/channel-rust-stable.toml"),
        ("releases.hashicorp.com", "/terraform/1.9.0/terraform_1.9.0_SHA256SUMS.72D7468F.sig"),
        ("deb.debian.org", "/debian/pool/main/c/curl/curl_7.88.1-10+deb12u8_amd64.deb"),
        (
            "security.debian.org",
            "/debian-security/pool/updates/main/o/openssl/openssl_3.0.15-1_amd64.deb",
        ),
        ("ftp.de.debian.org", "/debian/pool/main/c/curl/curl_7.88.1.orig.tar.gz"),
        ("deb.debian.org", "/debian/pool/main/c/curl/curl_7.88.1-10.dsc"),
        (
            "download.fedoraproject.org",
            "/pub/fedora/linux/releases/42/Everything/x86_64/os/Packages/b/bash-5.2.rpm",
        ),
        ("registry.npmjs.org", "/lodash/-/lodash-4.17.21.tgz"),
        ("registry.npmjs.org", "/@types/node/-/node-20.0.0.tgz"),
        ("registry.yarnpkg.com", "/@babel/core/-/core-7.24.0.tgz"),
        ("static.crates.io", "/crates/serde/serde-1.0.0.crate"),
        ("static.crates.io", "/crates/serde/1.0.0/download"),
        ("crates.io", "/api/v1/crates/serde/1.0.0/download"),
        ("files.pythonhosted.org", "/packages/source/s/six/six-1.16.0.tar.gz"),
        ("files.pythonhosted.org", "/packages/py3/s/six/six-1.16.0-py2.py3-none-any.whl"),
        ("www.nuget.org", "/api/v2/package/Newtonsoft.Json/13.0.3"),
        ("index.rubygems.org", "/gems/rake-13.2.1.gem"),
        ("hackage.haskell.org", "/package/aeson-2.2.1.0/aeson-2.2.1.0.tar.gz"),
        ("www.cpan.org", "/authors/id/E/ET/ETHER/Moose-2.2207.tar.gz"),
        ("cpan.metacpan.org", "/authors/id/E/ET/ETHER/sub/Moose-2.2207.tgz"),
        ("conda.anaconda.org", "/conda-forge/linux-64/numpy-1.26.4-py312h1.conda"),
        ("downloads.gradle.org", "/distributions/gradle-8.10-all.zip"),
        ("repo1.maven.org", "/maven2/junit/junit/4.13.2/junit-4.13.2.jar.sha1"),
        ("codeload.github.com", by_commit.as_str()),
        ("api.github.com", zipball.as_str()),
        ("github.com", archive.as_str()),
    ] {
        assert_eq!(treated(&mirror, host, path), "artifact", "{host}{path}");
    }
    for (host, path, wanted) in [
        ("static.rust-lang.org", "/dist/channel-rust-stable.toml", "general"),
        ("nodejs.org", "/dist/index.json", "general"),
        ("nodejs.org", "/dist/latest-v20.x/SHASUMS256.txt", "general"),
        ("api.nuget.org", "/v3-flatcontainer/x/index.json", "indexed"),
        ("repo.maven.apache.org", "/maven2/org/x/y/1-SNAPSHOT/y-1.jar", "revalidated"),
        ("archive.ubuntu.com", "/ubuntu/dists/noble/InRelease", "revalidated"),
        ("github.com", "/x/y/releases/download/v1/z.tar.gz", "heuristic"),
        ("github.com", "/x/y/info/refs", "pass"),
        ("github.com", "/x/y/archive/refs/heads/main.tar.gz", "general"),
        ("registry-1.docker.io", blob.as_str(), "verified"),
        ("production.cloudflare.docker.com", hub.as_str(), "verified"),
        ("registry-1.docker.io", "/v2/library/alpine/manifests/latest", "general"),
        ("deb.debian.org", "/debian/dists/bookworm/InRelease", "revalidated"),
        ("pypi.org", "/simple/six/", "indexed"),
        ("pypi.org", "/pypi/six/json", "indexed"),
        ("registry.npmjs.org", "/lodash", "indexed"),
        ("registry.npmjs.org", "/@types%2fnode", "indexed"),
        ("registry.npmjs.org", "/@types/node", "indexed"),
        ("registry.npmjs.org", "/-/v1/search", "general"),
        ("index.crates.io", "/config.json", "indexed"),
        ("index.crates.io", "/1/a", "indexed"),
        ("index.crates.io", "/3/s/syn", "indexed"),
        ("index.crates.io", "/se/rd/serde", "indexed"),
        ("rubygems.org", "/versions", "revalidated"),
        ("index.rubygems.org", "/info/rake", "revalidated"),
        ("hackage.haskell.org", "/01-index.tar.gz", "revalidated"),
        ("hackage.haskell.org", "/timestamp.json", "revalidated"),
        ("hackage.haskell.org", "/package/aeson-2.2.1.0/aeson.cabal", "general"),
        ("www.cpan.org", "/modules/02packages.details.txt.gz", "revalidated"),
        ("www.cpan.org", "/authors/id/E/ET/ETHER/CHECKSUMS", "revalidated"),
        ("repo.packagist.org", "/p2/symfony/console.json", "indexed"),
        ("repo.packagist.org", "/packages.json", "indexed"),
        ("api.nuget.org", "/v3/index.json", "indexed"),
        ("conda.anaconda.org", "/conda-forge/noarch/repodata.json.zst", "indexed"),
        ("dl-cdn.alpinelinux.org", "/alpine/v3.20/main/x86_64/APKINDEX.tar.gz", "revalidated"),
        ("geo.mirror.pkgbuild.com", "/core/os/x86_64/core.db", "revalidated"),
        ("download.opensuse.org", "/tumbleweed/repo/oss/repodata/repomd.xml", "revalidated"),
        ("proxy.golang.org", "/golang.org/x/net/@latest", "indexed"),
    ] {
        assert_eq!(treated(&mirror, host, path), wanted, "{host}{path}");
    }
}

#[test]
fn a_hash_in_the_path_is_what_the_body_is_to_have() {
    let path = format!("/dists/sid/by-hash/SHA256/{HASH}");
    let Some(digest) = route(&builtin(), "x", &path).verify else { panic!("not verified") };
    assert_eq!(digest[..4], [0x01, 0x23, 0x45, 0x67]);
    assert!(route(&builtin(), "x", "/dists/sid/Release").verify.is_none());
}

#[test]
fn unknown_hosts_of_ecosystems_that_an_operator_names_are_believed_for_a_while() {
    let named = builtin().with_ecosystems(vec!["deb".to_owned(), "npm".to_owned()]);
    let rules = |host, path, field| {
        let asked = fields(field);
        named.route(&self::asked(&Method::GET, host, path, &asked)).unwrap().rules
    };
    let (deb, rpm, npm) = ("/pool/a/a_1_all.deb", "/a-1.rpm", "/x/-/x-1.0.0.tgz");
    let hour = Duration::from_secs(3600);
    for (host, path, field, undated) in [
        ("mirror.example", deb, "user-agent", hour),
        ("mirror.example", npm, "user-agent", hour),
        ("mirror.example", rpm, "user-agent", Duration::ZERO),
        ("mirror.example", "/dists/sid/InRelease", "user-agent", Duration::ZERO),
        ("mirror.example", "/x", "user-agent", Duration::ZERO),
        ("deb.debian.org", deb, "user-agent", Duration::ZERO),
        ("mirror.example", deb, "authorization", Duration::ZERO),
    ] {
        let rules = rules(host, path, field);
        assert_eq!(rules.heuristic_undated, undated, "{host} {path} {field}");
    }
}

#[test]
fn what_no_rule_is_about_is_guessed_for_minutes_and_never_with_credentials() {
    let mirror = builtin().guessing();
    let rules = |path, field| {
        let headers = fields(field);
        mirror.route(&asked(&Method::GET, "mirror.example", path, &headers)).unwrap().rules
    };
    let guessed = rules("/x", "user-agent");
    assert!(guessed.heuristic && guessed.heuristic_most == Duration::from_secs(300));
    assert!(guessed.heuristic_undated.is_zero(), "what does not say when it changed");
    assert!(rules("/x", "test-id").heuristic, "what nobody knows says nothing of who asks");
    for credential in ["authorization", "cookie", "private-token", "x-anything"] {
        assert!(!rules("/x", credential).heuristic, "{credential}");
    }
    assert!(!rules("/simple/x/", "user-agent").heuristic, "an index of which a rule says more");
    let version = rules("/pool/a/a_1_all.deb", "user-agent");
    assert_eq!(version.heuristic_most, Duration::from_secs(24 * 3600), "by its own rule");
}

#[test]
fn without_a_rule_a_route_is_the_request_itself() {
    let mirror = http(CacheRules::parse("", "x".as_ref()).unwrap());
    let route = route(&mirror, "x.org:81", "/a//b%2f");
    assert_eq!(route.key.to_string(), "https://x.org:81/a//b%2f?q=1");
    assert_eq!(route.key.partition, Partition::Own(7));
    assert_eq!(route.kind, GENERAL);
    assert!(!route.follow && route.negative.is_none());
    let fetch = route.source;
    assert_eq!(
        (fetch.scheme, &*fetch.host, &*fetch.target),
        (Scheme::Https, "x.org:81", "/a//b%2f?q=1")
    );
}

#[test]
fn a_host_may_be_somewhere_else() {
    let origin = Origin { scheme: Scheme::Http, host: "127.0.0.1:9000".to_owned() };
    let rules = CacheRules::parse("", "x".as_ref()).unwrap();
    let mirror = Http::new(rules, fresh::FreshnessRules::default(), [("x.org".to_owned(), origin)]);
    let there = route(&mirror, "x.org", "/a");
    let fetch = there.source;
    assert_eq!((fetch.scheme, &*fetch.host), (Scheme::Http, "127.0.0.1:9000"));
    assert_eq!(there.key.to_string(), "https://x.org/a?q=1", "kept under the name asked for");
    let fetch = route(&mirror, "y.org", "/a").source;
    assert_eq!(&*fetch.host, "y.org");
    let host = "archive.ubuntu.com".to_owned();
    let known = [("apt.x.org".to_owned(), Origin { scheme: Scheme::Http, host })];
    let mirror = Http::new(CacheRules::builtin().unwrap(), fresh::FreshnessRules::default(), known);
    assert_eq!(
        route(&mirror, "apt.x.org", "/pool/a.deb").kind,
        Kind::Artifact,
        "rules are about it"
    );
}

#[test]
fn every_key_of_a_rule_does_what_it_says() {
    let text = r#"
        [hosts]
        ours = ["*.x.org"]
        [[rule]]
        name = "a"
        hosts = ["@ours", "y.org"]
        paths = ["/a/**"]
        ttl = "5m"
        stale = "1h"
        stale_if_error = "2h"
        negative = "30s"
        follow = true
        share_authorized = true
        query = "ignore"
        [[rule]]
        name = "b"
        paths = ["/b"]
        heuristic = true
        [[rule]]
        name = "c"
        paths = ["/c"]
        methods = ["POST"]
        kind = "pass"
        [[rule]]
        name = "late"
        paths = ["/**"]
        revalidate = "always"
    "#;
    let mirror = http(CacheRules::parse(text, "x".as_ref()).unwrap());
    let minutes = |count: u64| Duration::from_secs(count * 60);
    for host in ["w.x.org", "y.org", "y.org:8080"] {
        let a = route(&mirror, host, "/a/1");
        assert_eq!(a.kind, Kind::Metadata { ttl: Some(minutes(5)), stale: minutes(60) });
        assert_eq!(a.rules.stale_while_revalidate, minutes(60));
        assert_eq!(a.rules.stale_if_error, minutes(120));
        assert_eq!(a.negative, Some(Duration::from_secs(30)));
        assert!(a.follow && a.rules.share_authorized);
        assert_eq!((a.key.query, a.key.partition), (None, Partition::Own(7)));
        let fetch = a.source;
        assert_eq!(fetch.target, "/a/1?q=1", "the origin sees the query");
    }
    let always = Kind::Metadata { ttl: Some(Duration::ZERO), stale: Duration::ZERO };
    assert_eq!(route(&mirror, "x.org", "/a/1").kind, always, "the next rule that fits");
    let b = route(&mirror, "x", "/b");
    assert!(b.rules.heuristic && b.kind == GENERAL);
    assert_eq!(route(&mirror, "x", "/c").kind, always, "a rule of another method");
    let post = Method::POST;
    let headers = HeaderMap::new();
    assert_eq!(mirror.route(&asked(&post, "x", "/c", &headers)).unwrap().kind, Kind::PassThrough);
    assert_eq!(mirror.route(&asked(&post, "x", "/d", &headers)).unwrap().kind, GENERAL);
}

#[test]
fn a_file_that_extends_puts_its_own_first_and_adds_hosts() {
    let text = r#"
        extends = "builtin"
        [hosts]
        apt = ["deb.example.org"]
        [[rule]]
        name = "apt-index"
        paths = ["/ours"]
        ttl = "1m"
        [[rule]]
        name = "no-rpm"
        paths = ["/**/*.rpm"]
        kind = "pass"
    "#;
    let mirror = http(CacheRules::parse(text, "x".as_ref()).unwrap());
    let kind = |host, path| route(&mirror, host, path).kind;
    assert_eq!(kind("deb.example.org", "/pool/a.deb"), Kind::Artifact);
    assert_eq!(kind("archive.ubuntu.com", "/pool/a.deb"), Kind::Artifact);
    assert_eq!(kind("x", "/a.rpm"), Kind::PassThrough);
    assert_eq!(kind("x", "/dists/sid/InRelease"), GENERAL, "a rule of that name is in its place");
    assert_ne!(kind("x", "/APKINDEX.tar.gz"), GENERAL);
}

#[test]
fn every_complaint_says_where_and_what_to_do() {
    let rule = "[[rule]]\nname = \"a\"\n";
    for (text, wanted) in [
        ("frob = 1", "rules.toml:1:1: unknown field `frob`"),
        ("extends = \"x\"", "rules.toml:1:11: must be `builtin`"),
        ("[hosts]\na = [\"b c\"]", "rules.toml:2:6: `b c` is not a host"),
        ("[[rule]]\nname = \"a\"", "missing field `paths`"),
        (&format!("{rule}paths = []"), "rules.toml:3:9: no paths"),
        (&format!("{rule}paths = [\"a\"]"), "rules.toml:3:10: `a`: does not begin with `/`"),
        (&format!("{rule}paths = [\"/<sha256>/<sha256>\"]"), "has `<sha256>` twice"),
        (&format!("{rule}paths = [\"/a\"]\nkind = \"x\""), "rules.toml:4:8: `x` is not a kind"),
        (&format!("{rule}paths = [\"/a\"]\nttl = \"x\""), "rules.toml:4:7: `x` is not a duration"),
        (
            &format!("{rule}paths = [\"/a\"]\nhosts = [\"@x\"]"),
            "rules.toml:4:10: there is no group `@x`",
        ),
        (
            &format!("{rule}paths = [\"/a\"]\nkind = \"artifact\"\nttl = \"1m\""),
            "rules.toml:5:7: `ttl` does nothing for `kind = \"artifact\"`",
        ),
        (
            &format!("{rule}paths = [\"/a\"]\nkind = \"pass\"\nquery = \"keep\""),
            "`query` does nothing for `kind = \"pass\"`",
        ),
        (
            &format!("{rule}paths = [\"/a\"]\nelsewhere = \"heuristic\""),
            "`elsewhere` does nothing for `kind = \"metadata\"`",
        ),
        (
            &format!("{rule}paths = [\"/a\"]\nkind = \"artifact\"\nelsewhere = \"heuristic\""),
            "does nothing for a rule of all hosts",
        ),
        (
            &format!("{rule}paths = [\"/a\"]\nkind = \"artifact\"\nverify = \"sha256\""),
            "a path without `<sha256>`",
        ),
        (
            &format!("{rule}paths = [\"/a\"]\nttl = \"1m\"\nrevalidate = \"always\""),
            "contradict each other",
        ),
        (
            &format!("{rule}paths = [\"/a\"]\nttl = \"1m\"\nheuristic = true"),
            "`heuristic` does nothing beside",
        ),
        (
            &format!("{rule}paths = [\"/a\"]\nmethods = [\"POST\"]"),
            "answers to `POST` are not stored",
        ),
        (&format!("{rule}paths = [\"/a\"]\nnegative = \"2h\""), "at most `1h`"),
        (
            &format!("{rule}paths = [\"/a\"]\n{rule}paths = [\"/b\"]"),
            "rules.toml:5:8: two rules are named `a`",
        ),
    ] {
        let error = CacheRules::parse(text, "rules.toml".as_ref()).expect_err(text).to_string();
        assert!(error.contains(wanted), "{text}\n{error}");
        assert!(error.starts_with("rules.toml:"), "{error}");
    }
    let two = format!("{rule}paths = [\"a\"]\nttl = \"x\"");
    let error = CacheRules::parse(&two, "rules.toml".as_ref()).unwrap_err().to_string();
    assert_eq!(error.matches("rules.toml:").count(), 2, "all at once");
}

#[test]
fn the_built_in_rules_name_each_rule_once_and_no_host_twice() {
    let rules = CacheRules::builtin().unwrap();
    let mut names: Vec<&str> = rules.rules.iter().map(|rule| rule.name.as_str()).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(rules.rules.iter().all(|rule| rule.hosts != HostSet::default()
        || matches!(rule.treat, Treatment::Artifact { elsewhere: true })));
}

#[test]
fn the_documentation_has_every_key_and_its_example_is_right() {
    let page = include_str!("../../../docs/cache.md");
    let (_, example) = page.split_once("```toml\n# rules.toml\n").unwrap();
    let example = example.split("```").next().unwrap();
    let mirror = http(CacheRules::parse(example, "rules.toml".as_ref()).unwrap());
    assert_eq!(route(&mirror, "deb.example.com", "/pool/a.deb").kind, Kind::Artifact);
    let nightly = route(&mirror, "x.example.com", "/a/nightly/b.zip").kind;
    let minutes = |count: u64| Duration::from_secs(count * 60);
    assert_eq!(nightly, Kind::Metadata { ttl: Some(minutes(10)), stale: minutes(60) });
    let rule = "[[rule]]\nfrob = 1";
    let unknown = CacheRules::parse(rule, "x".as_ref()).unwrap_err().to_string();
    let known: Vec<&str> = unknown.split('`').skip(3).step_by(2).collect();
    assert!(known.len() > 10, "{unknown}");
    for key in known {
        assert!(page.contains(&format!("| `{key}` |")), "{key}");
    }
}
