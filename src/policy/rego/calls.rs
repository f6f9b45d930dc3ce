//! What a policy calls, looked at before it ever runs.
//!
//! `compile` shows it the syntax tree. The interpreter stops at its time limit between two steps, but
//! nothing stops it inside one builtin, and its own stack has no limit: a function that calls itself
//! would end the process. What must stay true: no call without an end, none deeper than the stack of
//! a worker allows, none of a builtin whose result has no bound or is not always the same.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value;

/// What is wrong, and at which line and column.
#[derive(Debug)]
pub(super) struct CallError {
    pub(super) at: Option<(usize, usize)>,
    pub(super) what: String,
    pub(super) hint: &'static str,
}

/// Builtins that the interpreter has and policies do not.
const REFUSED: &[(&str, &str)] = &[
    ("bits.lsh", "its result may be of any size"),
    ("net.cidr_expand", "its result may be of any size"),
    ("numbers.range", "its result may be of any size"),
    ("numbers.range_step", "its result may be of any size"),
    ("rand.intn", "the same call would not always get the same answer"),
];
/// Levels of syntax in one another, over all rules that are in the middle of being evaluated. A level
/// costs up to 2 KiB of stack, and far less in release builds; a worker has 2 MiB.
const DEEPEST: usize = 800;

/// The rules of a policy whose calls are all right, by name.
pub(super) fn check(ast: &str) -> Result<Vec<String>, CallError> {
    // The reader's own limit of 128 levels is one on the depth of a single rule.
    let ast: Value = ast.parse().map_err(|_| wrong(None, "is nested too deeply"))?;
    let module = ast.pointer("/0/ast").unwrap_or(&Value::Null);
    for import in list(module.get("imports")) {
        check_import(import)?;
    }
    let mut rules: BTreeMap<String, Rule> = BTreeMap::new();
    for rule in list(module.get("rules")) {
        let Some(name) = name_of(rule) else { continue };
        let known = rules.entry(name).or_default();
        known.is_function |= rule.pointer("/Spec/head/Func").is_some();
        known.depth = known.depth.max(depth(rule));
        collect(rule, known);
    }
    for rule in rules.values() {
        if let Some(at) = rule.replaced.first() {
            return Err(wrong(*at, "`with` can only replace parts of `input`"));
        }
        for (called, at) in &rule.calls {
            check_call(called, *at, &rules)?;
        }
    }
    for name in rules.keys() {
        check_end(name, &rules)?;
    }
    let mut known = BTreeMap::new();
    for name in rules.keys() {
        if deepest(name, &rules, &mut HashSet::new(), &mut known) > DEEPEST {
            return Err(wrong(None, &format!("rule `{name}` leads through too many others")));
        }
    }
    Ok(rules.into_keys().collect())
}

/// All definitions of one name together.
#[derive(Debug, Default)]
struct Rule {
    is_function: bool,
    depth: usize,
    calls: Vec<(String, Option<(usize, usize)>)>,
    /// Where `with` puts something into the place of what is not the input.
    replaced: Vec<Option<(usize, usize)>>,
    /// Whatever may be a rule: variables, and paths below `data`.
    mentions: BTreeSet<String>,
}

/// Other files are not read, and another name for a function would hide who calls whom.
fn check_import(import: &Value) -> Result<(), CallError> {
    let path = import.get("refr").map(path_of).unwrap_or_default();
    let first = path.first().map(String::as_str);
    if matches!(first, Some("rego" | "future" | "input")) {
        return Ok(());
    }
    let mut wrong = wrong(place(import), &format!("`import {}` is not possible", path.join(".")));
    wrong.hint = "a policy is one file; its rules have their own names in it";
    Err(wrong)
}

fn check_call(
    called: &str,
    at: Option<(usize, usize)>,
    rules: &BTreeMap<String, Rule>,
) -> Result<(), CallError> {
    if callee(called).and_then(|name| rules.get(name)).is_some_and(|rule| rule.is_function) {
        return Ok(());
    }
    if let Some((_, why)) = REFUSED.iter().find(|(name, _)| *name == called) {
        return Err(wrong(at, &format!("`{called}` is not available: {why}")));
    }
    if called == "print" || regorus::unstable::BUILTINS.contains_key(called) {
        return Ok(());
    }
    Err(wrong(at, &format!("there is no function `{called}`")))
}

/// A function must not come back to itself. (A rule that does is found by the interpreter.)
fn check_end(name: &str, rules: &BTreeMap<String, Rule>) -> Result<(), CallError> {
    let mut seen = HashSet::new();
    let mut open: Vec<&str> = vec![name];
    while let Some(rule) = open.pop().and_then(|name| rules.get(name)) {
        for (called, at) in &rule.calls {
            let Some(called) = callee(called) else { continue };
            if called == name {
                return Err(wrong(*at, &format!("function `{name}` calls itself")));
            }
            if seen.insert(called) {
                open.push(called);
            }
        }
    }
    Ok(())
}

/// The most levels of syntax that evaluating a rule can be in at once.
fn deepest<'r>(
    name: &'r str,
    rules: &'r BTreeMap<String, Rule>,
    open: &mut HashSet<&'r str>,
    known: &mut BTreeMap<&'r str, usize>,
) -> usize {
    if let Some(depth) = known.get(name) {
        return *depth;
    }
    let Some(rule) = rules.get(name) else { return 0 };
    // A name of a variable that is also one of a rule may look like a circle. And whatever is deeper
    // than this many rules is refused in any case: each has several levels.
    if open.len() > DEEPEST || !open.insert(name) {
        return 0;
    }
    let below = rule.mentions.iter().map(|other| deepest(other, rules, open, known)).max();
    open.remove(name);
    let depth = rule.depth + below.unwrap_or_default();
    known.insert(name, depth);
    depth
}

/// The calls below a node of the tree, and what may be rules.
fn collect(node: &Value, rule: &mut Rule) {
    match node {
        Value::Array(items) => items.iter().for_each(|item| collect(item, rule)),
        Value::Object(entries) => {
            if let Some(called) = entries.get("Call").and_then(|call| call.get("fcn")) {
                rule.calls.push((path_of(called).join("."), place(called)));
            }
            rule.replaced.extend(list(entries.get("with_mods")).iter().filter_map(|with| {
                let path = with.get("refr").map(path_of).unwrap_or_default();
                (path.first().map(String::as_str) != Some("input")).then(|| place(with))
            }));
            if entries.contains_key("Var") || entries.contains_key("RefDot") {
                let path = path_of(node);
                match path.first().map(String::as_str) {
                    Some("data") => rule.mentions.extend(path.last().cloned()),
                    _ => rule.mentions.extend(path.into_iter().next()),
                }
            }
            entries.values().for_each(|value| collect(value, rule));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What a rule is called: `allow` of `allow`, `deny contains msg` and `default allow`.
fn name_of(rule: &Value) -> Option<String> {
    let heads = ["/Spec/head/Func", "/Spec/head/Set", "/Spec/head/Compr", "/Default"];
    let head = heads.iter().find_map(|head| rule.pointer(head))?;
    path_of(head.get("refr")?).into_iter().next()
}

/// The names of `a.b["c"]`; what is no such path has none, and of what is one in part, the beginning.
fn path_of(node: &Value) -> Vec<String> {
    if let Some(name) = node.pointer("/Var/value").and_then(Value::as_str) {
        return vec![name.to_owned()];
    }
    let (base, field) = match (node.get("RefDot"), node.get("RefBrack")) {
        (Some(dot), _) => (dot.get("refr"), dot.pointer("/field/1")),
        (_, Some(brack)) => (brack.get("refr"), brack.pointer("/index/String/value")),
        _ => return Vec::new(),
    };
    let mut path = base.map(path_of).unwrap_or_default();
    path.extend(field.and_then(Value::as_str).map(str::to_owned));
    path
}

/// Line and column of the first name of a path, or of a node.
fn place(node: &Value) -> Option<(usize, usize)> {
    let inner = ["RefDot", "RefBrack"].iter().find_map(|kind| node.get(kind)?.get("refr"));
    if let Some(inner) = inner {
        return place(inner);
    }
    let span = node.get("span").or_else(|| node.pointer("/Var/span"))?;
    let number = |key: &str| span.get(key)?.as_u64().and_then(|n| usize::try_from(n).ok());
    Some((number("line")?, number("col")?))
}

fn depth(node: &Value) -> usize {
    match node {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Value::Object(entries) => 1 + entries.values().map(depth).max().unwrap_or_default(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// The policy's own function that a call may mean.
fn callee(called: &str) -> Option<&str> {
    match called.rsplit_once('.') {
        None => Some(called),
        Some((path, name)) => path.starts_with("data.").then_some(name),
    }
}

fn list(node: Option<&Value>) -> &[Value] {
    node.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn wrong(at: Option<(usize, usize)>, what: &str) -> CallError {
    CallError { at, what: what.to_owned(), hint: "" }
}
