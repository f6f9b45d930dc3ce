//! The worked examples of `CONTRIBUTING.md`: the files that they list are those that the code has them in.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::layers::{Source, sources};

/// One `###` below `## Worked examples`.
struct Example {
    heading: &'static str,
    /// Where the example's own code is: what would be new files.
    own: &'static [&'static str],
    /// What shows that a file knows of it.
    words: &'static [&'static str],
    /// So many files that exist already a new one may touch.
    most: usize,
}

const EXAMPLES: &[Example] = &[
    Example {
        heading: "A policy: `rego`",
        own: &["policy/rego/"],
        words: &["Rego", "rego", "rego.*"],
        most: 4,
    },
    Example {
        heading: "An authenticator: `external`",
        own: &["auth/external/"],
        words: &["External", "external"],
        most: 3,
    },
    Example {
        heading: "An endpoint: `VolumeUpdate`",
        own: &[],
        words: &["VolumeUpdate", "const UPDATE: &Object = &[f(\"Spec\""],
        // Each policy whose word on an endpoint is code and no data is one more.
        most: 5,
    },
    Example {
        heading: "A mirror: `Http`",
        own: &["cache/mirror/"],
        words: &["mod mirror", "mirror::{CacheRules, Http", "Http::new", "understood.http"],
        most: 3,
    },
];

/// An enumeration of kinds: who may match on it is in an example's list.
struct Kinds {
    name: &'static str,
    defined: &'static str,
    example: &'static Example,
    /// Who knows one kind beyond that, because of what this kind alone needs.
    beyond: &'static [(&'static str, &'static str)],
}

const KINDS: &[Kinds] = &[
    Kinds {
        name: "PolicyKind",
        defined: "config/policy.rs",
        example: &EXAMPLES[0],
        beyond: &[("Authz", "run/plan.rs"), ("Conservative", "run/warnings.rs")],
    },
    Kinds {
        name: "AuthKind",
        defined: "config/auth.rs",
        example: &EXAMPLES[1],
        beyond: &[
            ("UnixPeer", "config/check/listener.rs"),
            ("Certificate", "config/check/listener.rs"),
        ],
    },
];

#[test]
fn an_example_lists_the_files_that_know_of_it() {
    let sources = sources();
    for example in EXAMPLES {
        let listed = listed(example);
        let knows = |source: &&Source| {
            let code = source.code();
            !example.own.iter().any(|own| source.name.starts_with(own))
                && example.words.iter().any(|word| has_word(&code, word))
        };
        let found: BTreeSet<String> =
            sources.iter().filter(knows).map(|source| source.name.clone()).collect();
        assert_eq!(listed, found, "`### {}`: listed, and found in `src`", example.heading);
        assert!(listed.len() <= example.most, "`{}` touches {listed:?}", example.heading);
    }
}

#[test]
fn every_kind_is_known_in_the_files_of_its_example_and_nowhere_else() {
    let sources = sources();
    for Kinds { name: kinds, defined, example, beyond } in KINDS {
        let listed = listed(example);
        let definition = sources.iter().find(|source| source.name == *defined).unwrap().code();
        let variants = variants(&definition, kinds);
        assert!(variants.len() > 3, "{kinds}: {variants:?}");
        for (variant, file) in *beyond {
            let source = sources.iter().find(|source| source.name == *file).unwrap();
            let named = format!("{kinds}::{variant}");
            assert!(has_word(&source.code(), &named), "{file} needs no `{named}` any more");
        }
        for variant in variants {
            let named = format!("{kinds}::{variant}");
            for source in sources.iter().filter(|source| has_word(&source.code(), &named)) {
                let is_known = listed.contains(&source.name)
                    || beyond.contains(&(variant.as_str(), source.name.as_str()));
                assert!(is_known, "src/{} names `{named}`", source.name);
            }
        }
    }
}

/// The files of `src` that its list says are edited.
fn listed(example: &Example) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("CONTRIBUTING.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, part) = text
        .split_once(&format!("\n### {}\n", example.heading))
        .unwrap_or_else(|| panic!("CONTRIBUTING.md has no `### {}`", example.heading));
    let part = part.split("\n#").next().unwrap();
    let files = part.lines().filter_map(|line| line.strip_prefix("- `src/"));
    files.map(|line| line.split('`').next().unwrap().to_owned()).collect()
}

fn variants(code: &str, name: &str) -> Vec<String> {
    let (_, body) = code.split_once(&format!("pub enum {name} {{\n")).unwrap();
    let lines = body.split("\n}").next().unwrap().lines();
    let names = lines.map(|line| line.trim().split(['(', ',', ' ']).next().unwrap().to_owned());
    names.filter(|name| name.starts_with(char::is_uppercase)).collect()
}

/// Whether it stands there, and not as a part of a longer name.
fn has_word(code: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back().is_some_and(is_name);
        let after = code[at + word.len()..].chars().next().is_some_and(is_name);
        !before && !after
    })
}
