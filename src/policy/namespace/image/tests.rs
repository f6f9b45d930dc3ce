//! What a reference is in the engine, and that nobody else's is.

use proptest::prelude::*;

use super::*;

const US: &str = "dgabcdefghij";
const THEM: &str = "dg2222222222";

fn names() -> ImageNames {
    ImageNames::new("127.0.0.1:5454", US)
}

fn digest() -> String {
    format!("sha256:{}", "0f".repeat(32))
}

#[test]
fn each_reference_has_its_name_in_the_engine_and_its_way_back() {
    let (pinned, both) = (format!("x@{}", digest()), format!("db:5000/a/b:1@{}", digest()));
    for (visible, below) in [
        ("alpine", "docker.io/library/alpine"),
        ("alpine:3.20", "docker.io/library/alpine:3.20"),
        ("team/app:1", "docker.io/team/app:1"),
        ("library/a/b", "docker.io/library/a/b"),
        ("ghcr.io/a/b:1", "ghcr.io/a/b:1"),
        ("localhost/x", "localhost/x"),
        ("localhost:5000/x", "localhost__5000/x"),
        ("127.0.0.1:5454/dg2222222222/x", "127.0.0.1__5454/dg2222222222/x"),
        ("my-host--a.example:0443/x", "my-host--a.example__0443/x"),
        ("[::1]/x", "v6_xx1/x"),
        ("[::1]:5000/x:1", "v6_xx1__5000/x:1"),
        ("[fe80::A:Bc]/x", "v6u041_fe80xxaxbc/x"),
        ("Host.example/x", "u1_host.example/x"),
        ("hoSt.EXAMPLE:1/x", "u4ef_host.example__1/x"),
        ("HOST/x", "uf_host/x"),
        ("n:5000/x", "n__5000/x"),
        ("v6:1/x", "v6__1/x"),
        ("a.b_c/x", "n_a.b_c/x"),
        ("a.b__5000/x", "n_a.b__5000/x"),
        (&pinned, &format!("docker.io/library/{pinned}")),
        (&both, &format!("db__5000/a/b:1@{}", digest())),
    ] {
        let sent = format!("127.0.0.1:5454/{US}/{below}");
        assert_eq!(names().sent(visible).as_deref(), Ok(&*sent), "{visible}");
        assert_eq!(names().shown(&sent).as_deref(), Some(visible), "{sent}");
    }
    for (other, familiar) in
        [("docker.io/x", "x"), ("index.docker.io/a/b", "a/b"), ("library/x", "x")]
    {
        let sent = names().sent(other).unwrap();
        assert_eq!(names().shown(&sent).as_deref(), Some(familiar), "{other}");
    }
}

#[test]
fn what_is_not_below_the_namespace_is_shown_to_nobody() {
    for text in [
        "alpine:3",
        "<none>:<none>",
        "<none>@<none>",
        "",
        "127.0.0.1:5454/dg2222222222/docker.io/library/x:1",
        "127.0.0.1:5455/dgabcdefghij/docker.io/library/x:1",
        "127.0.0.1:5454/dgabcdefghij/x",
        "127.0.0.1:5454/dgabcdefghijk/docker.io/library/x",
        "dgabcdefghij/docker.io/library/x",
        "docker.io/127.0.0.1/dgabcdefghij/x",
        // nobody writes these: what they would be has another name
        "127.0.0.1:5454/dgabcdefghij/docker.io/x",
        "127.0.0.1:5454/dgabcdefghij/index.docker.io/x/y",
        "127.0.0.1:5454/dgabcdefghij/team/app",
        "127.0.0.1:5454/dgabcdefghij/u0_host.io/x",
        "127.0.0.1:5454/dgabcdefghij/u10_host.io/x",
        "127.0.0.1:5454/dgabcdefghij/uf_1234.io/x",
        "127.0.0.1:5454/dgabcdefghij/v6_host/x",
        "127.0.0.1:5454/dgabcdefghij/n_host.io/x",
        "127.0.0.1:5454/dgabcdefghij/n_host/x",
        "127.0.0.1:5454/dgabcdefghij/x_host.io/x",
    ] {
        assert_eq!(names().shown(text), None, "{text}");
    }
}

#[test]
fn a_name_that_would_be_too_long_is_refused_with_what_is_left() {
    let room = LONGEST_NAME - format!("127.0.0.1:5454/{US}/gh.io/").len();
    let name = |length: usize| format!("gh.io/{}", "a".repeat(length));
    assert_eq!(names().sent(&name(room)).unwrap().len(), LONGEST_NAME);
    let said = names().sent(&name(room + 1)).unwrap_err().to_string();
    let most = room + "gh.io/".len();
    assert_eq!(said, format!("repository name must not be more than {most} characters"));
    let tagged = format!("{}:{}", name(room), "t".repeat(128));
    assert!(names().sent(&tagged).is_ok(), "a tag is not of the name");
    let beyond = names().sent(&"a".repeat(300)).unwrap_err().to_string();
    assert_eq!(beyond, "repository name must not be more than 255 characters");
}

#[test]
fn of_a_pair_the_name_is_written_anew() {
    let sent = |name: &str, tag: &str| names().sent_pair(name, tag).map_err(|bad| bad.to_string());
    let x = format!("127.0.0.1:5454/{US}/docker.io/library/x");
    assert_eq!(sent("x", "1"), Ok(x.clone()));
    assert_eq!(sent("x:", ""), Ok(x.clone()), "as `docker pull -a`");
    assert_eq!(sent("x:2", "1"), Ok(format!("{x}:2")));
    assert_eq!(sent("x", &digest()), Ok(x));
    for (name, tag) in [("X", ""), ("", "1"), ("x", ".1"), ("x", "sha256:1"), ("x::", "")] {
        assert!(sent(name, tag).is_err(), "{name} {tag}");
    }
}

#[test]
fn a_request_of_the_engines_is_read_as_it_was_meant() {
    for visible in ["alpine", "[::1]:5000/x", "hoSt.EXAMPLE:1/x/y", "a.b_c/x"] {
        let reference = ImageReference::parse(visible).unwrap();
        let asked = names().repository(&reference);
        assert_eq!(asked.visible(), reference.name(), "{visible}");
        assert_eq!(Repository::parse(&asked.to_string()), Some(asked), "{visible}");
    }
    for text in
        ["alpine", "a/b/c", "dgabcdefghi1/docker.io/a/b", "dgabcdefghij/team/app", "dgabcdefghij"]
    {
        assert_eq!(Repository::parse(text), None, "{text}");
    }
}

#[test]
fn patterns_of_a_list_mean_what_is_seen() {
    let meant = |patterns: &[&str], name: &str| {
        is_meant(patterns.iter().copied(), &ImageReference::parse(name).unwrap())
    };
    for (patterns, name, wanted) in [
        (&["alpine"][..], "alpine:3", true),
        (&["alpine:3"], "alpine:3", true),
        (&["alpine:*"], "alpine:3", true),
        (&["*"], "team/app:1", false),
        (&["*/*"], "team/app:1", true),
        (&["*/app"], "team/app:1", true),
        (&["docker.io/library/alpine"], "alpine:3", false),
        (&["ghcr.io/*/*"], "ghcr.io/a/b:1", true),
        (&["*5454*"], "alpine", false),
        (&["x", "alp*"], "alpine", true),
        (&[], "alpine", false),
    ] {
        assert_eq!(meant(patterns, name), Ok(wanted), "{patterns:?} {name}");
    }
    assert_eq!(meant(&["["], "x").unwrap_err().to_string(), "syntax error in pattern");
    assert_eq!(meant(&["x", "["], "x"), Ok(true), "the second is not looked at");
}

#[test]
fn what_the_engine_tells_is_told_of_what_the_user_has() {
    let at = |rest: &str| format!("127.0.0.1:5454/{US}/{rest}");
    for (said, shown) in [
        (format!("Pulling from {US}/docker.io/library/x"), "Pulling from library/x".to_owned()),
        (format!("Pulling from {US}/localhost__5000/x."), "Pulling from x.".to_owned()),
        (
            format!("Status: Downloaded newer image for {}", at("docker.io/library/x:1")),
            "Status: Downloaded newer image for x:1".to_owned(),
        ),
        (
            format!("The push refers to repository [{}]", at("ghcr.io/a/b")),
            "The push refers to repository [ghcr.io/a/b]".to_owned(),
        ),
        (
            format!("failed to resolve reference \"{}\": no", at("docker.io/library/x:1")),
            "failed to resolve reference \"x:1\": no".to_owned(),
        ),
        (
            format!("Get \"http://127.0.0.1:5454/v2/{US}/db__5000/x/manifests/1\": EOF"),
            "Get \"https://db:5000/v2/x/manifests/1\": EOF".to_owned(),
        ),
        (
            format!(
                "Head \"https://127.0.0.1:5454/v2/{US}/docker.io/a/b/blobs/{}\": EOF",
                digest()
            ),
            format!("Head \"https://registry-1.docker.io/v2/a/b/blobs/{}\": EOF", digest()),
        ),
        (
            format!("no such image: {}: x", at("docker.io/library/x:1")),
            "no such image: x:1: x".to_owned(),
        ),
        (
            format!("{} and {}", at("docker.io/library/x"), at("docker.io/a/b")),
            "x and a/b".to_owned(),
        ),
        // What is read again is whole.
        (
            format!("docker-image://{}", at("docker.io/library/x:1")),
            "docker-image://docker.io/library/x:1".to_owned(),
        ),
        (format!("{US}/?"), "?".to_owned()),
        (format!("{THEM}/docker.io/a/b"), format!("{THEM}/docker.io/a/b")),
        ("Layer already exists".to_owned(), "Layer already exists".to_owned()),
    ] {
        assert_eq!(names().in_text(&said), shown, "{said}");
    }
}

/// What a user may write, from the grammar (`reference/reference.go` of the distribution project).
fn references() -> impl Strategy<Value = String> {
    let label = "[a-zA-Z0-9]([a-zA-Z0-9-]{0,6}[a-zA-Z0-9])?";
    let named = prop::collection::vec(label, 1..4).prop_map(|labels| labels.join("."));
    let host = prop_oneof![
        3 => named.clone(),
        1 => Just("localhost".to_owned()),
        1 => Just("docker.io".to_owned()),
        1 => Just("index.docker.io".to_owned()),
        1 => "[n|v6|uf|n_a|a_b]\\.[a-z0-9_]{1,6}",
        1 => "\\[[0-9a-fA-F:]{1,12}\\]",
    ];
    let port = prop::option::of("[0-9]{1,6}");
    let component = "[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,3}";
    let path = prop::collection::vec(component, 1..4).prop_map(|parts| parts.join("/"));
    let tag = prop::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}");
    let digest = prop::option::of("sha256:[0-9a-f]{64}");
    (prop::option::of((host, port)), path, tag, digest).prop_map(|(host, path, tag, digest)| {
        let port = |port: Option<String>| port.map(|port| format!(":{port}")).unwrap_or_default();
        let host = host.map(|(host, number)| format!("{host}{}/", port(number)));
        let tag = port(tag);
        let digest = digest.map(|digest| format!("@{digest}")).unwrap_or_default();
        format!("{}{path}{tag}{digest}", host.unwrap_or_default())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_is_sent_is_a_reference_of_ours_and_comes_back(text in references()) {
        let Ok(reference) = ImageReference::parse(&text) else { return Ok(()) };
        let sent = names().sent(&text).unwrap();
        let again = ImageReference::parse(&sent).unwrap();
        prop_assert_eq!(&again.host, "127.0.0.1:5454");
        prop_assert_eq!(again.suffix(), reference.suffix());
        prop_assert_eq!(names().visible(&sent), Some(reference.clone()));
        prop_assert_eq!(names().shown(&sent), Some(reference.familiar()));
        prop_assert_eq!(ImageNames::new("127.0.0.1:5454", THEM).shown(&sent), None);
        let asked = names().repository(&reference);
        prop_assert_eq!(Repository::parse(&asked.to_string()), Some(asked));
        prop_assert_eq!(names().in_text(&format!("<{sent}>")), format!("<{}>", reference.familiar()));
    }

    #[test]
    fn two_references_have_two_names(one in references(), other in references()) {
        let parsed = (ImageReference::parse(&one), ImageReference::parse(&other));
        let (Ok(a), Ok(b)) = parsed else { return Ok(()) };
        prop_assert_eq!(names().sent(&one) == names().sent(&other), a == b);
    }

    #[test]
    fn what_is_shown_is_sent_as_it_was(below in "(docker.io|[a-z0-9_.]{1,9}|u[0-9a-f]{1,3}_[a-z.]{1,6}|v6_[0-9a-fx]{1,6}|n_[a-z._]{1,5})(__[0-9]{1,4})?/[a-z0-9]{1,3}(/[a-z0-9._-]{1,5})?") {
        let text = format!("{}{below}", names().prefix());
        let Some(reference) = names().visible(&text) else { return Ok(()) };
        prop_assert_eq!(names().sent_reference(&reference), Ok(text.clone()));
        prop_assert_eq!(names().sent(&reference.name()), Ok(text));
    }

    #[test]
    fn no_text_is_too_odd(text in "\\PC{0,40}") {
        let _ = (ImageReference::parse(&text), AskedImage::parse(&text), names().shown(&text));
        let ours = format!("{US}/{text}");
        let _ = (names().in_text(&ours), Repository::parse(&ours), glob::matches(&text, &text));
    }
}
