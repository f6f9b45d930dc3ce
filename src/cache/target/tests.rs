//! Requests that name a resource in one way only, and the others.

use proptest::prelude::*;

use super::*;

const PLAIN: Arrival<'_> = Arrival { scheme: Scheme::Http, sni: None, forward: false };
const FORWARD: Arrival<'_> = Arrival { forward: true, ..PLAIN };

fn get(target: &str, hosts: &[&str], arrival: &Arrival<'_>) -> Result<Named, Refused> {
    ask(&Method::GET, target, None, hosts, arrival)
}

fn ask(
    method: &Method,
    target: &str,
    authority: Option<&str>,
    hosts: &[&str],
    arrival: &Arrival<'_>,
) -> Result<Named, Refused> {
    let hosts: Vec<&[u8]> = hosts.iter().map(|host| host.as_bytes()).collect();
    let authority = authority.map(str::as_bytes);
    let said = RawRequest { method, target: target.as_bytes(), authority, hosts: &hosts };
    validate(&said, arrival)
}

fn url(named: Result<Named, Refused>) -> Result<String, Refused> {
    named.map(|named| match named {
        Named::Resource(Resource { scheme, host, path, query }) => {
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            format!("{}://{host}{path}{query}", scheme.as_str())
        }
        Named::Tunnel { host, port } => format!("{host}:{port}"),
    })
}

#[test]
fn a_path_and_a_host_make_a_resource() {
    for (target, host, wanted) in [
        ("/", "x", "http://x/"),
        ("/a/b?c=d&e", "X.Example.COM", "http://x.example.com/a/b?c=d&e"),
        ("/a?", "x", "http://x/a?"),
        ("/a?b?c=%", "x", "http://x/a?b?c=%"),
        ("/a", "x:80", "http://x/a"),
        ("/a", "x:", "http://x/a"),
        ("/a", "x:0080", "http://x/a"),
        ("/a", "x:8080", "http://x:8080/a"),
        ("/a", "x:443", "http://x:443/a"),
        ("/a", "x.", "http://x/a"),
        ("/a", "xn--bcher-kva.example", "http://xn--bcher-kva.example/a"),
        ("/a", "my_mirror", "http://my_mirror/a"),
        ("/a", "192.0.2.7:81", "http://192.0.2.7:81/a"),
        ("/a", "[2001:DB8:0::1]:81", "http://[2001:db8::1]:81/a"),
        // As they came: an origin may tell these apart.
        ("/%7Ea/%2b+~!$&'()*,;=:@", "x", "http://x/%7Ea/%2b+~!$&'()*,;=:@"),
        ("//a//b/", "x", "http://x//a//b/"),
        ("/@scope%2fname", "x", "http://x/@scope%2fname"),
        ("/a/...", "x", "http://x/a/..."),
        ("/a/.well-known/..x", "x", "http://x/a/.well-known/..x"),
        ("/%252e%252e/", "x", "http://x/%252e%252e/"),
        ("/%e4%b8", "x", "http://x/%e4%b8"),
        ("/a{b}|c^[d]", "x", "http://x/a{b}|c^[d]"),
    ] {
        assert_eq!(url(get(target, &[host], &PLAIN)).as_deref(), Ok(wanted), "{target} {host}");
    }
}

#[test]
fn a_path_that_others_would_read_otherwise_is_refused() {
    for path in [
        "/..",
        "/../a",
        "/a/../b",
        "/a/./b",
        "/a/.",
        "/%2e%2e/a",
        "/a/.%2E/b",
        "/a%2f..%2fb",
        "/a%2F..",
        "/..%2fa",
        "/a\\b",
        "/a%5c..%5Cb",
        "/a%00",
        "/a%0d%0aHost:%20y",
        "/a%7f",
        "/a b",
        "/a\tb",
        "/a#b",
        "/a<b>",
        "/a\"b",
        "/a`b",
        "/\u{e9}",
        "/a%",
        "/a%4",
        "/a%g0",
        "/a%+1",
    ] {
        assert!(matches!(get(path, &["x"], &PLAIN), Err(Refused::Path(_))), "{path}");
        let absolute = format!("http://x{path}");
        assert!(get(&absolute, &["x"], &FORWARD).is_err(), "{absolute}");
    }
    for target in
        ["", "*", "a", "x:80", "?a", "ftp://x/", "http:/x", "http//x/", "/a?b c", "/a?\r\n"]
    {
        assert_eq!(get(target, &["x"], &FORWARD), Err(Refused::Form), "{target}");
    }
    let long = format!("/{}", "a".repeat(LONGEST_TARGET));
    assert_eq!(get(&long, &["x"], &PLAIN), Err(Refused::Long));
}

#[test]
fn a_host_has_one_spelling_or_none() {
    for host in [
        "",
        ".",
        ":80",
        "a..b",
        ".a",
        "a b",
        "a/b",
        "a?b",
        "a%2eb",
        "a,b",
        "user@a",
        "user:word@a",
        "b\u{fc}cher.example",
        "a:b",
        "a:0",
        "a:65536",
        "a:99999999999",
        "a:+80",
        "a:80:80",
        "[::1",
        "[::1]x",
        "[::1%eth0]",
        "[v1.a]",
        "[127.0.0.1]",
        "::1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.0X1",
        "127.0.0.01",
        "256.0.0.1",
        "a.7",
        "a\r\nb",
    ] {
        let refused = get("/", &[host], &PLAIN);
        assert!(matches!(refused, Err(Refused::Host(_))), "{host}: {refused:?}");
        if host.contains(['/', '?']) || host.is_empty() {
            continue;
        }
        let absolute = get(&format!("http://{host}/"), &["x"], &FORWARD);
        assert!(matches!(absolute, Err(Refused::Host(_))), "{host}: {absolute:?}");
    }
    let label = "a".repeat(64);
    assert!(get("/", &[&label], &PLAIN).is_err());
    let long = format!("{}a", "a.".repeat(127));
    assert!(get("/", &[&long], &PLAIN).is_err());
}

#[test]
fn whatever_names_the_host_says_the_same() {
    assert_eq!(get("/", &[], &PLAIN), Err(Refused::NoHost));
    assert_eq!(get("/", &["x", "x"], &PLAIN), Err(Refused::TwoHosts));
    assert_eq!(get("http://x/", &["x", "x"], &FORWARD), Err(Refused::TwoHosts));
    for arrival in [PLAIN, FORWARD] {
        assert_eq!(get("http://x/", &["y"], &arrival), Err(Refused::HostsDiffer));
        assert_eq!(get("http://x:81/", &["x"], &arrival), Err(Refused::HostsDiffer));
        assert_eq!(get("http://y@x/", &["y"], &arrival), Err(Refused::Host("@")));
        assert_eq!(url(get("http://x:80/a", &["X."], &arrival)).as_deref(), Ok("http://x/a"));
        assert_eq!(
            url(get("HTTP://x?q", &["x"], &arrival)),
            Err(Refused::Path("no `/` at its beginning"))
        );
        assert_eq!(url(get("http://x", &["x"], &arrival)).as_deref(), Ok("http://x/"));
        assert_eq!(url(get("http://x/", &[], &arrival)).as_deref(), Ok("http://x/"));
    }
    let ask = |authority, hosts| ask(&Method::GET, "/", Some(authority), hosts, &PLAIN);
    assert_eq!(url(ask("x", &[])).as_deref(), Ok("http://x/"));
    assert_eq!(url(ask("x", &["X"])).as_deref(), Ok("http://x/"));
    assert_eq!(ask("x", &["y"]), Err(Refused::HostsDiffer));
    assert_eq!(ask("x", &["x", "x"]), Err(Refused::TwoHosts));
}

#[test]
fn only_a_forward_proxy_is_asked_for_the_other_scheme_and_for_tunnels() {
    assert_eq!(get("https://x/", &["x"], &PLAIN), Err(Refused::Scheme));
    assert_eq!(url(get("https://x:443/", &["x"], &FORWARD)).as_deref(), Ok("https://x/"));
    let connect =
        |target, hosts: &[&str], arrival| ask(&Method::CONNECT, target, None, hosts, arrival);
    assert_eq!(connect("x:443", &["x:443"], &PLAIN), Err(Refused::NoProxy));
    assert_eq!(url(connect("X:443", &["x:443"], &FORWARD)).as_deref(), Ok("x:443"));
    assert_eq!(url(connect("[::1]:443", &["[::1]"], &FORWARD)).as_deref(), Ok("[::1]:443"));
    assert_eq!(url(connect("x:443", &[], &FORWARD)).as_deref(), Ok("x:443"));
    assert_eq!(connect("x:443", &["y:443"], &FORWARD), Err(Refused::HostsDiffer));
    assert_eq!(connect("x:443", &["x:444"], &FORWARD), Err(Refused::HostsDiffer));
    for bad in ["x", "x:", "x:0", "/", "http://x:443/", "u@x:443", "*", ""] {
        assert!(connect(bad, &[], &FORWARD).is_err(), "{bad}");
    }
}

#[test]
fn tls_and_host_name_the_same() {
    let tls = |sni, forward| Arrival { scheme: Scheme::Https, sni, forward };
    assert_eq!(url(get("/", &["x:443"], &tls(Some("X"), false))).as_deref(), Ok("https://x/"));
    assert_eq!(
        url(get("/", &["x:8443"], &tls(Some("x"), false))).as_deref(),
        Ok("https://x:8443/")
    );
    assert_eq!(url(get("/", &["x"], &tls(None, false))).as_deref(), Ok("https://x/"));
    for forward in [false, true] {
        assert_eq!(get("/", &["y"], &tls(Some("x"), forward)), Err(Refused::Misdirected));
    }
    assert_eq!(get("https://y/", &["y"], &tls(Some("x"), false)), Err(Refused::Misdirected));
    assert_eq!(
        url(get("http://y/", &["y"], &tls(Some("proxy"), true))).as_deref(),
        Ok("http://y/")
    );
    assert_eq!(Refused::Misdirected.status(), 421);
}

proptest! {
    /// Whatever decodes it, the path leads where its segments say.
    #[test]
    fn no_path_that_is_let_through_can_climb(path in "/([a.%2fFeE5cC/\\\\]|%2[ef]){0,24}") {
        if let Ok(Named::Resource(resource)) = get(&path, &["x"], &PLAIN) {
            prop_assert_eq!(&resource.path, &path);
            let decoded = percent_encoding::percent_decode_str(&path).decode_utf8_lossy();
            for reading in [path.as_str(), &decoded] {
                prop_assert!(!reading.contains('\\'), "{}", reading);
                prop_assert!(!reading.split('/').any(|segment| segment == "." || segment == ".."), "{}", reading);
            }
        }
    }

    #[test]
    fn a_host_that_is_let_through_is_its_own_spelling(host in "[a-cA-C0-9x:.\\[\\]_@-]{1,20}") {
        if let Ok(Named::Resource(resource)) = get("/", &[&host], &PLAIN) {
            let again = get("/", &[&resource.host], &PLAIN);
            prop_assert_eq!(again, Ok(Named::Resource(resource)));
        }
    }

    #[test]
    fn no_request_panics(
        target in proptest::collection::vec(any::<u8>(), 0..60),
        host in proptest::collection::vec(any::<u8>(), 0..30),
        sni in proptest::option::of(".{0,10}"),
    ) {
        for method in [Method::GET, Method::CONNECT] {
            for forward in [false, true] {
                let said = RawRequest { method: &method, target: &target, authority: None, hosts: &[&host] };
                let _ = validate(&said, &Arrival { scheme: Scheme::Https, sni: sni.as_deref(), forward });
            }
        }
    }
}

#[test]
fn a_password_in_a_url_is_what_is_wrong_with_it() {
    let arrival = Arrival { scheme: Scheme::Http, sni: None, forward: true };
    for target in ["http://user:word@a/", "http://user@a/", "http://user:1@a:80/"] {
        for hosts in [&[][..], &[&b"a"[..]][..]] {
            let said = RawRequest {
                method: &Method::GET,
                target: target.as_bytes(),
                authority: None,
                hosts,
            };
            assert_eq!(validate(&said, &arrival), Err(Refused::Host("@")), "{target}");
        }
    }
}
