//! The policies that are shipped, and those as for opa-docker-authz: each has tests beside it, and
//! they pass; and `dockgate check` says where one does not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use dockgate::config;
use dockgate::run::policy_tests;

use crate::support::engine::plain;
use crate::support::gate::dockgate;
use crate::support::{Engine, Setup, text};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below a folder whose name ends so.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let of = |path: PathBuf| match path.is_dir() {
        true => files(&path, ending),
        false => {
            Some(path).filter(|path| path.to_str().unwrap().ends_with(ending)).into_iter().collect()
        }
    };
    let mut found: Vec<PathBuf> = entries.flat_map(of).collect();
    found.sort();
    found
}

/// A configuration with one listener and this policy.
fn configuration(policy: &Path) -> String {
    let name = policy.file_stem().unwrap().to_str().unwrap();
    let (kind, key) = match policy.extension().and_then(|kind| kind.to_str()) {
        Some("rego") => ("rego", "file"),
        _ => ("conservative", "rules"),
    };
    format!(
        "[[listener]]\nname = \"a\"\nurl = \"unix:///run/a.sock\"\npolicies = [\"{name}\"]\n\
         [policy.{name}]\nkind = \"{kind}\"\n{key} = \"{}\"\n",
        policy.display()
    )
}

fn run(policy: &Path) -> Result<usize, String> {
    let text = configuration(policy);
    let config = config::parse(&text, Path::new("dockgate.toml"), Path::new(""), &|_| None);
    policy_tests(&config.unwrap()).map_err(|invalid| invalid.to_string())
}

/// The policy that stands beside a file of tests.
fn policy_of(tests: &Path) -> PathBuf {
    let stem = tests.to_str().unwrap().strip_suffix("_test.toml").unwrap();
    let rego = PathBuf::from(format!("{stem}.rego"));
    if rego.exists() { rego } else { PathBuf::from(format!("{stem}.toml")) }
}

#[test]
fn the_tests_of_every_shipped_policy_pass() {
    let mut count = 0;
    for folder in ["policies", "tests/data/opa-docker-authz"] {
        for tests in files(&root().join(folder), "_test.toml") {
            count += run(&policy_of(&tests)).unwrap_or_else(|failures| panic!("{failures}"));
        }
    }
    assert!(count >= 38, "only {count} tests ran");
}

#[test]
fn every_policy_in_rego_has_tests() {
    let mut policies = files(&root().join("policies"), ".rego");
    policies.extend(files(&root().join("tests/data/opa-docker-authz"), ".rego"));
    assert!(policies.len() >= 6, "{policies:?}");
    for policy in policies {
        let stem = policy.file_stem().unwrap().to_str().unwrap();
        assert!(
            policy.with_file_name(format!("{stem}_test.toml")).exists(),
            "{}",
            policy.display()
        );
    }
}

#[test]
fn the_examples_of_the_documentation_work() {
    let page = |name: &str| fs::read_to_string(root().join("docs/policies").join(name)).unwrap();
    let block = |page: &str, fence: &str, nth: usize| {
        let (block, _) =
            page.split(&format!("```{fence}\n")).nth(nth).unwrap().split_once("```").unwrap();
        block.to_owned()
    };
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| fs::write(dir.path().join(name), text).unwrap();
    write("ours.rego", block(&page("rego.md"), "rego", 1));
    write("ours_test.toml", block(&page("tests.md"), "toml", 1));
    assert_eq!(run(&dir.path().join("ours.rego")), Ok(2));
    let binds = root().join("policies/examples/read-only-binds.rego");
    write("binds.rego", fs::read_to_string(binds).unwrap());
    write("binds_test.toml", block(&page("tests.md"), "toml", 2));
    assert_eq!(run(&dir.path().join("binds.rego")), Ok(1));
}

#[test]
fn through_the_gateway_a_policy_refuses_with_its_words_and_patches_what_the_next_one_judges() {
    let dir = tempfile::tempdir().unwrap();
    let policy = r#"package dockgate
allow := true
deny contains "not on Sundays" if input.Body.Image == "sunday"
patch := [{"op": "add", "path": "/HostConfig", "value": {"Privileged": true}}] if input.Body.Image == "evil"
patch := [{"op": "add", "path": "/Labels", "value": {"office": "oslo"}}] if input.Body.Image == "good"
"#;
    fs::write(dir.path().join("ours.rego"), policy).unwrap();
    let engine = Engine::start(plain::behaviour());
    let gate = Setup::new(&engine)
        .files(dir)
        .policies(r#"["ours", "conservative"]"#)
        .tables("[policy.ours]\nkind = \"rego\"\nfile = \"ours.rego\"\n")
        .start();
    let create = |image: &str| {
        let body = format!("{{\"Image\":\"{image}\"}}");
        gate.client().ask(format!(
            "POST /v1.41/containers/create HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    };
    let (status, said) = create("sunday");
    assert_eq!(status, 403, "{said}");
    assert!(
        said.contains("dockgate: /containers/create: not on Sundays (rule rego.ours)"),
        "{said}"
    );
    let (status, said) = create("evil");
    assert!(status == 403 && said.contains("HostConfig.Privileged"), "{said}");
    assert!(engine.seen().is_empty());
    assert_eq!(create("good").0, 200);
    let seen = engine.seen();
    assert!(seen[0].contains(r#"{"Image":"good","Labels":{"office":"oslo"}"#), "{seen:?}");
}

#[test]
fn a_failing_test_is_a_complaint_of_check_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("ours.rego"), "package dockgate\nallow if input.Method == \"GET\"").unwrap();
    fs::write(at("dockgate.toml"), configuration(&at("ours.rego"))).unwrap();
    let check = |tests: &str| {
        fs::write(at("ours_test.toml"), tests).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_dockgate"));
        let output = command.arg("check").arg("-c").arg(at("dockgate.toml")).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let test = |rest: &str| format!("[[test]]\nname = \"t\"\nrequest = \"GET /info\"\n{rest}");
    assert_eq!(check(&test("expect = \"allow\"")), (Some(0), String::new()));
    for (tests, wanted) in [
        (test("expect = \"deny\""), ":4:10: test `t`: it was allowed"),
        (
            test("expect = \"allow\"").replace("GET", "POST").replace("info", "auth"),
            ":4:10: test `t`: it was denied: dockgate: /auth: is not allowed by `data.dockgate.allow`",
        ),
        (
            test("expect = \"deny\"\nrule = \"x\"").replace("GET /info", "DELETE /volumes/v"),
            ":5:8: test `t`: the rule was `rego.ours`",
        ),
        (test("expect = \"allow\"\nrewritten = '{}'"), ":5:13: test `t`: the engine would get ``"),
        (
            test("expect = \"allow\"").replace("/info", "/nothing"),
            ":3:11: test `t`: no policy was asked",
        ),
        (test("expect = \"allow\"\ncolour = 1"), ":5:1: unknown field `colour`"),
        (test("expect = \"perhaps\""), ":4:10: unknown variant `perhaps`"),
    ] {
        let (code, said) = check(&tests);
        assert_eq!(code, Some(1), "{tests}");
        assert!(said.contains(&format!("ours_test.toml{wanted}")), "{tests}\n{said}");
    }
}

/// `/usr` has setuid programs, wherever it is mounted: so it has neither option.
#[test]
fn check_says_what_is_unwise_on_this_machine_and_takes_it_for_valid() {
    let dir = tempfile::tempdir().unwrap();
    let said = |mode: &str| {
        let config = format!(
            "[[listener]]\nname = \"a\"\nurl = \"unix:///nowhere/a.sock\"\npolicies = [\"p\"]\n\
             [policy.p]\nkind = \"conservative\"\nbinds = [{{ host = \"/usr\", mode = \"{mode}\" }}]\n"
        );
        fs::write(dir.path().join("g.toml"), config).unwrap();
        let checked =
            dockgate(&["check", "-c", "g.toml"]).current_dir(dir.path()).output().unwrap();
        assert!(checked.status.success() && checked.stdout.is_empty(), "{checked:?}");
        text(&checked.stderr)
    };
    let warned = said("rw");
    assert!(
        warned.starts_with("warning: g.toml:7:19: containers can leave setuid programs"),
        "{warned}"
    );
    assert!(warned.contains("without `nosuid`") || warned.contains("without `nodev`"), "{warned}");
    assert!(warned.contains("\n  hint: give it a mount of its own"), "{warned}");
    assert_eq!(said("ro"), "", "not one byte");
}
