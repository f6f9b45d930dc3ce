//! `docs/rules.md` is what the rules say. `UPDATE_DOCS=1` writes it anew instead of comparing.

use std::fs;
use std::path::{Path, PathBuf};

use dockgate::policy::conservative::Rules;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page() -> String {
    Rules::builtin().unwrap().page()
}

#[test]
fn the_page_of_rules_is_made_from_the_rules() {
    let file = root().join("docs/rules.md");
    let made = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, made).unwrap();
        return;
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    let differs = made.lines().zip(written.lines()).find(|(made, written)| made != written);
    let is_same = made == written;
    assert!(is_same, "docs/rules.md is not up to date: UPDATE_DOCS=1 makes it; first: {differs:?}");
}

/// Ids that stand in the program and not in a file of rules.
#[test]
fn every_id_of_a_refusal_is_in_the_index() {
    let page = page();
    let (_, index) = page.split_once("## All rule ids").unwrap();
    let mut sources = Vec::new();
    for folder in ["src/policy", "src/gateway"] {
        collect(&root().join(folder), &mut sources);
    }
    let mut found = 0;
    for file in sources.iter().filter(|file| !file.iter().any(|part| part == "tests")) {
        let source = fs::read_to_string(file).unwrap();
        let calls = source.split("Reason::new(").chain(source.split("not_own(")).skip(1);
        for call in calls {
            let Some(id) = call.trim_start().strip_prefix('"').and_then(|c| c.split('"').next())
            else {
                continue;
            };
            found += 1;
            let family = format!("{}.*", id.split('.').next().unwrap());
            let is_there = [id, &family].iter().any(|id| index.contains(&format!("| `{id}` |")));
            assert!(is_there, "`OF_THE_PROGRAM` of rules/page.rs lacks {id} of {}", file.display());
        }
    }
    assert!(found > 8, "only {found} ids were found");
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let is_test = path.file_stem().is_some_and(|name| name == "tests");
            into.extend((!is_test).then_some(path));
        }
    }
}
