//! Layers: who may import whom, as in `docs/ARCHITECTURE.md`, checked against every file in `src`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each module and its layer. A new folder in `src` must be given its place here.
const LAYERS: &[(&str, u8)] = &[
    ("main", 6),
    ("lib", 6),
    ("cli", 6),
    ("run", 6),
    ("admin", 5),
    ("gateway", 4),
    ("buildkit", 4),
    ("job", 4),
    ("cache", 4),
    ("registry", 4),
    ("listener", 3),
    ("policy", 2),
    ("auth", 2),
    ("ca", 2),
    ("engine", 2),
    ("http_client", 2),
    ("api", 1),
    ("config", 1),
    ("wire", 0),
    ("telemetry", 0),
];

/// Neighbours of one layer that may know this much of each other, and no more.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("engine", "policy::Permitted"),
    ("policy", "auth::Identity"),
    ("auth", "http_client::HttpClient"),
    ("gateway", "buildkit::"),
    ("cache", "registry::"),
    ("registry", "cache::store"),
    ("registry", "cache::route"),
    // The last layer is one story.
    ("main", "cli"),
    ("cli", "run"),
    ("cli", "config"),
];

/// What a module must not name outside its tests, because it is pure.
const IMPURE: &[&str] = &[
    "tokio",
    "hyper",
    "async fn",
    ".await",
    "TcpStream",
    "TcpListener",
    "UnixStream",
    "UnixListener",
    "Instant::now",
    "SystemTime::now",
    "thread::",
];

/// Names that more than three files may give to a type: each command's own arguments, and what is behind a
/// handle that is cloned.
const IN_MANY_FILES: &[&str] = &["Args", "Inner"];

const MOST_LINES: usize = 800;
const MOST_OF_THE_STORY: usize = 60;

pub(crate) struct Source {
    /// From `src`, such as `wire/head.rs`.
    pub(crate) name: String,
    text: String,
}

impl Source {
    /// `wire` of `wire/head.rs`, `run` of `run.rs`.
    fn module(&self) -> &str {
        let first = self.name.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// The code without comments, and without tests, which may use anything.
    pub(crate) fn code(&self) -> String {
        if self.name.ends_with("tests.rs") || self.name.contains("/tests/") {
            return String::new();
        }
        let code = self.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        lines.map(|line| line.split(" // ").next().unwrap_or(line)).collect::<Vec<_>>().join("\n")
    }

    /// Every path from the root of the crate that the code names.
    fn imports(&self) -> Vec<String> {
        let code = self.code();
        let mut found = Vec::new();
        let depth = self.name.matches('/').count() + usize::from(!self.name.ends_with("mod.rs"));
        for root in ["crate::".to_owned(), "super::".repeat(depth.max(1))] {
            if self.name == "lib.rs" || self.name == "main.rs" {
                continue;
            }
            for (at, _) in code.match_indices(&root) {
                let before = code[..at].chars().next_back().unwrap_or(' ');
                if before == ':' || before.is_alphanumeric() || before == '$' {
                    continue;
                }
                expand(&code[at + root.len()..], &mut found);
            }
        }
        found
    }
}

/// `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(rest: &str, found: &mut Vec<String>) {
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':' && c != '*');
    let path = &rest[..end.unwrap_or(rest.len())];
    let behind = &rest[path.len()..];
    if !path.is_empty() && !path.ends_with("::") {
        found.push(path.to_owned());
        return;
    }
    let Some(group) = behind.strip_prefix('{') else { return };
    let (mut depth, mut item) = (0, String::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' | ',' if depth == 0 => {
                let mut inner = Vec::new();
                expand(&(item.trim().to_owned() + ";"), &mut inner);
                found.extend(inner.into_iter().map(|rest| format!("{path}{rest}")));
                item.clear();
                if c == '}' {
                    return;
                }
                continue;
            }
            _ => {}
        }
        item.push(c);
    }
}

pub(crate) fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        let entries: Vec<PathBuf> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        for path in entries {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                found.push(Source { name, text: fs::read_to_string(&path).unwrap() });
            }
        }
    }
    assert!(found.len() > 40, "only {} sources in {}", found.len(), root.display());
    found
}

fn layer(module: &str) -> u8 {
    let found = LAYERS.iter().find(|(name, _)| *name == module);
    found.unwrap_or_else(|| panic!("module `{module}` has no place in the table")).1
}

fn may_import(module: &str, path: &str) -> bool {
    let other = path.split("::").next().unwrap_or_default();
    // A name at the root that is no module is of that file itself (`crate::main`).
    other == module
        || layer(other) < layer(module)
        || EXCEPTIONS.iter().any(|(from, to)| *from == module && path.starts_with(to))
}

#[test]
fn every_import_goes_down_the_layers() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for source in sources() {
        for path in source.imports() {
            seen += 1;
            if !may_import(source.module(), &path) {
                wrong.push(format!("src/{} imports {path}", source.name));
            }
        }
    }
    assert!(seen > 100, "only {seen} imports were found: does the test still read them?");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_exception_is_still_needed_or_of_a_module_to_come() {
    let sources = sources();
    let exists = |module: &str| sources.iter().any(|source| source.module() == module);
    for (from, to) in EXCEPTIONS {
        let other = to.split("::").next().unwrap_or_default();
        if !exists(from) || !exists(other) || layer(from) == layer("run") {
            continue;
        }
        let used = sources.iter().any(|source| {
            source.module() == *from && source.imports().iter().any(|p| p.starts_with(to))
        });
        assert!(used, "`{from}` may import `{to}` and does not");
    }
}

#[test]
fn the_middle_is_pure() {
    let mut wrong = Vec::new();
    for source in sources() {
        if !matches!(source.module(), "api" | "policy" | "config" | "ca") {
            continue;
        }
        let code = source.code();
        wrong.extend(
            IMPURE
                .iter()
                .filter(|word| code.contains(**word))
                .map(|word| format!("src/{} names `{word}`", source.name)),
        );
        if source.module() != "config" && (code.contains("std::fs") || code.contains("std::env")) {
            wrong.push(format!("src/{} reads files or the environment", source.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A second reader of `container:x`, `a:b:ro` or an image's name would be a way round the first.
#[test]
fn how_names_are_written_is_read_in_one_place() {
    let words = ["\"container:\"", "\"ns:\"", "\"sha256:\"", "strip_prefix('/')"];
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.name.starts_with("policy/")) {
        let code = source.code();
        wrong.extend(words.iter().filter(|word| code.contains(**word)).map(|word| {
            format!("src/{} reads `{word}` by itself, not in `api::grammar`", source.name)
        }));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_says_what_it_is_for_and_is_of_readable_length() {
    for source in sources() {
        assert!(source.text.starts_with("//! "), "src/{} has no header", source.name);
        let lines = source.text.lines().count();
        assert!(lines <= MOST_LINES, "src/{} has {lines} lines", source.name);
    }
}

#[test]
fn the_story_of_a_call_is_one_short_function_in_its_six_words() {
    let sources = sources();
    let gateway = sources.iter().find(|source| source.name == "gateway/mod.rs").unwrap();
    let (_, story) = gateway.text.split_once("\nasync fn call(").expect("gateway::call");
    let story = story.split("\n}\n").next().unwrap_or_default();
    let lines = story.lines().count() + 1;
    assert!(lines <= MOST_OF_THE_STORY, "gateway::call has {lines} lines");
    let mut from = 0;
    for word in ["accept", "authenticate", "parse", "decide", "send", "answer"] {
        let at = story[from..].find(&format!("{word}("));
        from += at.unwrap_or_else(|| panic!("`{word}` is missing or out of order in {story}"));
    }
}

#[test]
fn a_name_of_a_type_says_which_one_it_is() {
    let mut files: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources() {
        for name in source.text.lines().filter_map(type_defined) {
            files.entry(name.to_owned()).or_default().insert(source.name.clone());
        }
    }
    let (mut wrong, mut unused) = (Vec::new(), IN_MANY_FILES.to_vec());
    for (name, files) in files.iter().filter(|(_, files)| files.len() > 3) {
        unused.retain(|allowed| allowed != name);
        if !IN_MANY_FILES.contains(&name.as_str()) {
            wrong.push(format!("`{name}` is a type in {files:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(unused.is_empty(), "{unused:?} need no exception");
}

/// The type that a line at the margin of a file defines.
fn type_defined(line: &str) -> Option<&str> {
    let line = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ")?.1,
        Some(rest) => rest.trim_start(),
        None => line,
    };
    let kinds = ["struct ", "enum ", "trait ", "type "];
    let rest = kinds.iter().find_map(|kind| line.strip_prefix(kind))?;
    rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

#[test]
fn imports_are_read_as_they_are_written() {
    let source = |name: &str, text: &str| Source { name: name.to_owned(), text: text.to_owned() };
    let imports =
        source("a/b.rs", "use crate::x::{y, z::{A, B}};\nlet _ = crate::w::f();").imports();
    assert_eq!(imports, ["x::y", "x::z::A", "x::z::B", "w::f"]);
    assert_eq!(source("a/mod.rs", "use super::x::Y;").imports(), ["x::Y"]);
    assert_eq!(source("a/b.rs", "use super::x::Y;\nuse super::super::q::Z;").imports(), ["q::Z"]);
    assert!(
        source("a/b.rs", "// use crate::x;\n#[cfg(test)]\nmod tests {\nuse crate::y;")
            .imports()
            .is_empty()
    );
    assert!(!may_import("wire", "api::Call") && !may_import("policy", "engine::Engine"));
    assert!(may_import("gateway", "engine::Engine") && !may_import("engine", "policy::Chain"));
}
