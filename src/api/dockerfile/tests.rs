//! What Dockerfiles fetch, as engines read them.

use std::collections::BTreeMap;

use super::*;

fn fetched(text: &str, builder: Builder, args: &[(&str, &str)], target: &str) -> Vec<String> {
    let args: BTreeMap<String, String> =
        args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let with = BuildSettings { builder, args: &args, target };
    let show = |one: &Fetch| {
        let more = if one.name.is_whole { "" } else { "…" };
        let kind = if one.kind == FetchKind::Base { FetchKind::Image } else { one.kind };
        format!("{} {kind:?} {}{more}", one.line, one.name.known)
    };
    match fetches(text.as_bytes(), &with) {
        Ok(found) => found.iter().map(show).collect(),
        Err(why) => vec![why.to_string()],
    }
}

/// By the classic builder.
fn classic(text: &str) -> Vec<String> {
    fetched(text, Builder::Classic, &[], "")
}

fn buildkit(text: &str) -> Vec<String> {
    fetched(text, Builder::BuildKit, &[], "")
}

#[test]
fn images_are_those_that_are_no_stages() {
    assert_eq!(classic("FROM alpine"), ["1 Image alpine"]);
    assert_eq!(
        classic("from --platform=$X 10.0.0.1:5000/x:1 as Base"),
        ["1 Image 10.0.0.1:5000/x:1"]
    );
    assert_eq!(classic("FROM scratch\nCOPY a b"), [""; 0]);
    let stages = "FROM a AS One\nFROM one\nCOPY --from=oNe x y\nCOPY --from=0 x y\nCOPY --from=b x y\n\
                  COPY --from=7 x y\nFROM \"q\"uo't'ed\\:1";
    let wanted = ["1 Image a", "5 Image b", "6 Image 7", "7 Image quoted:1"];
    assert_eq!(classic(stages), wanted);
    assert_eq!(classic("FROM scratch AS s\nFROM s\nADD --from=s a b"), [""; 0]);
    let mounts = "FROM scratch\nRUN --mount=type=bind,FROM=10.0.0.1/x,target=/x --mount=from=y true\n\
                  RUN --mount='type=bind,\"from=z\"' true";
    assert_eq!(classic(mounts), ["2 Image 10.0.0.1/x", "2 Image y", "3 Image …"]);
    assert_eq!(classic("FROM scratch\nCOPY --from=$X/y a b"), ["2 Image …"]);
}

#[test]
fn urls_are_sources_of_add() {
    let text = "FROM scratch\nADD http://10.0.0.1/x a HTTPS://b/ /y\nADD [\"http://c\", \"/d\"]\n\
                COPY http://e /f\nADD f http://g";
    let wanted = ["2 Url HTTPS://b/", "2 Url http://10.0.0.1/x", "3 Url http://c"];
    assert_eq!(classic(text), wanted);
    assert_eq!(classic("FROM scratch\nADD --chown=1:1 \"ht\"t'p'\\://x /y"), ["2 Url http://x"]);
    let git = "FROM scratch\nADD https://a/b.git#c git@d:e git://f user@g:h i /x";
    assert_eq!(classic(git), ["2 Url https://a/b.git#c"]);
    let wanted = ["2 Git git://f", "2 Git git@d:e", "2 Git https://a/b.git#c", "2 Git user@g:h"];
    assert_eq!(buildkit(git), wanted);
    assert_eq!(buildkit("FROM scratch\nADD https://a/b%2egit /x"), ["2 Git https://a/b%2egit"]);
    let onbuild =
        "FROM scratch\nONBUILD ADD http://a /b\nonbuild COPY --from=c /d /e\nONBUILD RUN x";
    assert_eq!(classic(onbuild), ["2 Url http://a", "3 Image c"]);
}

#[test]
fn variables_are_known_or_nothing_is_said() {
    let arg = "ARG V=1\nARG R=\"docker.io/x:${V}\"\nFROM ${R}-y";
    assert_eq!(classic(arg), ["3 Image docker.io/x:1-y"]);
    let given = fetched(arg, Builder::Classic, &[("R", "10.0.0.1/z")], "");
    assert_eq!(given, ["3 Image 10.0.0.1/z-y"]);
    for (word, wanted) in [
        ("${A:-b}", "b"),
        ("${A-b}", "b"),
        ("${E:-b}", "b"),
        ("${E-b}", ""),
        ("a${A:+b}", "a"),
        ("${V:+b}", "b"),
        ("${V+b$V}", "b1"),
        ("${V:?no}", "1"),
        ("${A:-${V}2}", "12"),
        ("'$V'", "$V"),
        ("\"$V\\$V\"", "1$V"),
        ("\\$V", "$V"),
        ("a$", "a$"),
        ("a$V", "a1"),
        ("a$V.b", "a1.b"),
        ("a$$", "a…"),
        ("a${V#1}", "a…"),
        ("a${V/1/2}", "a…"),
        ("a$1", "a…"),
        ("a${A:?no}", "…"),
        ("a${", "…"),
        ("a'b", "…"),
        ("a${A:b}", "a…"),
    ] {
        let text = format!("ARG V=1\nARG E=\nFROM {word}");
        assert_eq!(classic(&text), [format!("3 Image {wanted}")], "{word}");
    }
    // An image may have set any variable, and goes before `ARG`.
    let text =
        "FROM a\nARG U=http://x\nADD $U /y\nADD https://b/$U /y\nENV U=http://c\nADD $U/d /y";
    let wanted = ["1 Image a", "3 Url …", "4 Url https://b/…", "6 Url http://c/d"];
    assert_eq!(classic(text), wanted);
    let text = "FROM scratch AS s\nENV A http://a b\nARG U=http://x\nFROM s\nADD $A $U /y";
    assert_eq!(classic(text), ["5 Url http://a b"]);
    let text = "ARG U=http://x\nFROM scratch\nADD $U /y\nARG U\nADD $U $HTTP_PROXY /y";
    assert_eq!(classic(text), ["5 Url http://x"]);
    let proxy = [("HTTP_PROXY", "http://p")];
    assert_eq!(fetched(text, Builder::Classic, &proxy, ""), ["5 Url http://p", "5 Url http://x"]);
    assert_eq!(classic("FROM a-$TARGETARCH"), ["1 Image a-"]);
    assert_eq!(buildkit("FROM a-$TARGETARCH"), ["1 Image a-…"]);
    assert_eq!(classic("ARG $X=1\nFROM ${Y}c"), ["2 Image c"], "names have variables too");
    assert_eq!(classic("ARG ${X#a}=1\nFROM b$Y"), ["2 Image b…"], "any may have that name");
}

#[test]
fn lines_go_on_as_engines_say() {
    let text = "FROM alpine \\\n # a comment\n\n  AS x\nADD \\  \nht\\\ntp://a /b";
    assert_eq!(classic(text), ["1 Image alpine", "5 Url http://a"]);
    assert_eq!(classic("\u{feff}# escape=`\nFROM `\r\nb`\r\n\r\n:1"), ["2 Image b:1"]);
    assert_eq!(classic("FROM a\\\\\nFROM b"), ["1 Image a\\", "2 Image b"], "two are none");
    assert_eq!(
        classic("# x\n# escape=`\nFROM a\\\nb"),
        ["3 Image ab"],
        "behind a comment it is none"
    );
    // 20.10 stops at `check`, newer engines do not.
    let check = "# check=skip=all\n# escape=`\nFROM a`\nFROM b";
    assert_eq!(classic(check), ["3 Image a`", "4 Image b"]);
    assert_eq!(classic("FROM a\rFROM b"), ["line 1 has a control character in it"]);
    assert_eq!(classic("FROM a\r"), ["1 Image a"]);
    assert_eq!(
        classic("FROM scratch\nADD --a\u{e0}=1 b c"),
        ["line 2 has a flag that is not ASCII"]
    );
    assert_eq!(
        classic("#\u{a0}escape=`\nFROM a"),
        ["line 1 begins with white space that not all engines take for such"]
    );
}

#[test]
fn what_stands_in_a_heredoc_is_an_instruction_to_old_engines_only() {
    let plain = "FROM scratch\nRUN <<EOF\nADD http://a /b\nEOF\nADD http://c /d";
    assert_eq!(classic(plain), ["5 Url http://c"], "`EOF` is no instruction, so old ones fail");
    let hidden = "FROM scratch\nRUN <<USER\nADD http://a /b\nUSER\nADD http://c /d";
    assert_eq!(classic(hidden), ["3 Url http://a", "5 Url http://c"]);
    let python = "FROM scratch\nCOPY <<-\"E\" /x\nfrom a import b\n\tE\nADD http://c /d";
    assert_eq!(classic(python), ["5 Url http://c"]);
    // From 28 on also with a blank.
    let spaced = "FROM scratch\nRUN cat << USER\nADD http://a /b\nUSER";
    assert_eq!(classic(spaced), ["3 Url http://a"]);
    for text in ["RUN [\"a\", \"<<E\"]", "RUN echo '<<E'", "RUN a <<<b", "CMD <<E", "RUN a<<E"] {
        let text = format!("FROM scratch\n{text}\nADD http://c /d");
        assert_eq!(classic(&text), ["3 Url http://c"], "{text}");
    }
    for text in ["RUN <<E ${a:-b}", "RUN <<$E", "RUN << $((1)) "] {
        let found = classic(&format!("FROM scratch\n{text}\nE"));
        assert!(found[0].starts_with("line 2 has "), "{text} {found:?}");
    }
    assert_eq!(classic("FROM scratch\nONBUILD RUN <<E\nADD http://a /b\nE"), [""; 0]);
}

#[test]
fn a_list_in_json_is_read_as_go_reads_it() {
    let early = "FROM scratch\nADD [\"http://a\", \"/b\"] x";
    assert_eq!(classic(early), ["2 Url http://a"], "older engines end at the bracket");
    assert_eq!(classic("FROM scratch\nADD [\"\\u0068ttp://a\", \"/b\"]"), ["2 Url http://a"]);
    let half = classic("FROM scratch\nADD [\"http://a/\\ud800\", \"/b\"]");
    assert_eq!(half, ["line 2 has a list with escapes that cannot be read"]);
    assert_eq!(
        classic("FROM scratch\nADD [1]"),
        ["line 2 has a list of something else than texts"]
    );
    assert_eq!(classic("FROM scratch\nADD [a http://b /c"), ["2 Url http://b"]);
}

#[test]
fn frontends_are_for_buildkit() {
    for text in [
        "# syntax=a/b:1 c\nFROM scratch",
        "\u{feff}#syntax = a/b:1\nFROM scratch",
        "#!/x\n# SYNTAX=a/b:1\nFROM scratch",
        "# escape=`\n# future=x\n# syntax=a/b:1\nFROM scratch",
        "// syntax=a/b:1\nFROM scratch\nRUN <<E",
    ] {
        let found = buildkit(text);
        assert!(found.iter().any(|one| one.ends_with("Frontend a/b:1")), "{text} {found:?}");
        assert!(!classic(text).iter().any(|one| one.contains("Frontend")), "{text}");
    }
    for text in ["// syntax=a/b:1\n", "{\"x\": 1, \"syntax\": \"a/b:1\"}"] {
        assert_eq!(buildkit(text), ["line 1 has an instruction that dockgate does not know"]);
    }
    assert_eq!(buildkit("# a\n# syntax=b\nFROM scratch"), [""; 0]);
    let args = [("BUILDKIT_SYNTAX", "10.0.0.1/x")];
    assert_eq!(fetched("FROM scratch", Builder::BuildKit, &args, ""), ["1 Frontend 10.0.0.1/x"]);
}

#[test]
fn what_no_engine_builds_is_not_counted() {
    let text = "FROM a AS x\nFROM b AS y\nADD http://c /d\nFROM e";
    assert_eq!(fetched(text, Builder::Classic, &[], "X"), ["1 Image a"]);
    assert_eq!(fetched(text, Builder::Classic, &[], "z").len(), 4);
    let twice = "FROM a AS x\nFROM b AS x";
    assert_eq!(fetched(twice, Builder::Classic, &[], "x").len(), 2);
    assert_eq!(classic("FROM a b"), [""; 0], "engines fail");
    assert_eq!(classic("RUN x\nFROM a"), [""; 0], "engines fail");
    assert_eq!(classic(""), [""; 0]);
    let unknown = classic("FROM a\nFETCH http://b");
    assert_eq!(unknown, ["line 2 has an instruction that dockgate does not know"]);
}

#[test]
fn the_registry_is_told_where_the_name_decides_it() {
    let registry = |known: &str, is_whole| {
        let name = Expanded { known: known.to_owned(), is_whole };
        let one = Fetch { line: 1, kind: FetchKind::Image, name, written: String::new() };
        one.registry().map(str::to_owned)
    };
    assert_eq!(registry("a", true).as_deref(), Some("docker.io"));
    assert_eq!(registry("ghcr.io/a:", false).as_deref(), Some("ghcr.io"));
    assert_eq!(registry("a:", false), None, "`a:5000/b` is at `a`");
}

#[test]
fn a_trigger_is_an_instruction_of_which_nothing_else_is_known() {
    let args = BTreeMap::from([("A".to_owned(), "b".to_owned())]);
    let with = BuildSettings { builder: Builder::Classic, args: &args, target: "" };
    let known = |trigger: &str| -> Vec<String> {
        let found = triggered(trigger, &with).unwrap();
        found.into_iter().map(|one| one.name.known).collect()
    };
    assert_eq!(known("ADD http://a \\\nhttp://b$A /c"), ["http://a", "http://b"]);
    assert_eq!(known("COPY --from=c --from=$A /d /e"), ["", "c"]);
    assert_eq!(known("RUN true"), [""; 0]);
    assert_eq!(known("ADD $A /x"), [""]);
    assert!(triggered("FETCH x", &with).is_err());
}

#[test]
fn files_that_grow_are_refused_and_cost_little() {
    let mut text = "FROM scratch\nENV a=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n".to_owned();
    text.push_str(&"ENV a=$a$a\n".repeat(100));
    text.push_str(&format!("ADD {}/x\n", "$a'".repeat(100_000)));
    text.push_str(&format!("ADD {} /x\n", "$a ".repeat(100_000)));
    let found = classic(&text);
    assert_eq!(found, ["line 104 is where its variables have grown too large"]);
    let deep = format!("FROM {}x{}", "${a:-".repeat(50_000), "}".repeat(50_000));
    assert_eq!(classic(&deep), ["1 Image …"]);
    let clones =
        format!("FROM scratch AS a\nENV x={}\n{}", "y".repeat(9000), "FROM a\n".repeat(8000));
    assert!(classic(&clones)[0].contains("grown too large"));
    assert!(classic(&"FROM a\n".repeat(9000))[0].contains("one instruction too many"));
    let many: String = (0..200).map(|n| format!("FROM a{n}\n")).collect();
    assert_eq!(classic(&many), ["line 129 refers to one thing too many"]);
    assert!(classic(&" ".repeat(MOST_BYTES + 1))[0].contains("more than 1 MiB"));
}

proptest::proptest! {
    #[test]
    fn nothing_that_can_be_written_is_a_panic(
        parts in proptest::collection::vec(
            proptest::sample::select(vec![
                "FROM", "ADD", "COPY", "RUN", "ENV", "ARG", "ONBUILD", " ", "\n", "\\", "`", "\"", "'", "$", "{",
                "}", ":-", "=", "a", "http://b", "--from=", "--mount=", "<<", "E", "[", "]", "#", "escape", "\u{e4}",
                "\t", "\r\n", ",", "/", "scratch",
            ]),
            0..60,
        )
    ) {
        let text = parts.concat();
        for found in [classic(&text), buildkit(&text)] {
            // A URL that stands there for all to see is never overlooked.
            let plain = format!("FROM scratch\nADD http://10.0.0.1/ /x\n{text}");
            proptest::prop_assert!(found.len() <= MOST_FETCHES);
            let again = classic(&plain);
            let is_seen = again.iter().any(|one| one == "2 Url http://10.0.0.1/" || one.starts_with("line "));
            // Or no engine reads the file at all.
            let fails = again.is_empty();
            proptest::prop_assert!(is_seen || fails, "{again:?}");
        }
    }
}
