//! From a file in Rego to an evaluator that is ready.
//!
//! `Rego::new` calls it, once for each reading of the configuration. What must stay true: what can be
//! known to be wrong before a request comes is a complaint here, with line and column.

use std::num::NonZeroU32;
use std::time::Duration;

use regorus::Engine;
use regorus::utils::limits::ExecutionTimerConfig;

use super::calls;
use crate::config::{File, Invalid, Place};

/// What is evaluated: `allow`, `deny` and `patch` at once, so that what they share is worked out once.
pub(super) const VERDICT: &str = "data.dockgate_gateway.verdict";
/// What a policy's package may be, and what it is told where it is another.
pub(super) struct Packages {
    names: &'static [&'static str],
    hint: &'static str,
}

/// Our own package, and opa-docker-authz's.
pub(super) const OF_CALLS: Packages = Packages {
    names: &["data.dockgate", "data.docker.authz"],
    hint: "write `package dockgate` (or `package docker.authz`, as for opa-docker-authz)",
};
pub(super) const OF_PUSHES: Packages =
    Packages { names: &["data.dockgate.push"], hint: "write `package dockgate.push`" };
/// A look at the clock costs less than a step of the interpreter.
const STEPS_BETWEEN_LOOKS: NonZeroU32 = NonZeroU32::MIN.saturating_add(15);

pub(super) struct Compiled {
    /// Such as `data.dockgate`.
    pub(super) package: String,
    /// Never used itself: evaluators are its clones.
    pub(super) engine: Engine,
}

pub(super) fn compile(
    file: &File,
    timeout: Duration,
    packages: &Packages,
) -> Result<Compiled, Invalid> {
    let name = file.path.display().to_string();
    let text = String::from_utf8(file.read()?)
        .map_err(|_| Invalid::at(&Place::in_file(&file.path), "is not UTF-8", ""))?;
    let complain = |error: anyhow::Error, hint: &str| {
        let (place, what) = taken_apart(&error.to_string());
        let place = place.map(|(line, column)| Place::new(&file.path, line, column));
        Invalid::at(&place.unwrap_or_else(|| Place::in_file(&file.path)), what, hint)
    };
    let (mut engine, package) = parse(&name, &text).map_err(|error| complain(error, ""))?;
    if !packages.names.contains(&package.as_str()) {
        let what = format!("the package is `{}`", package.trim_start_matches("data."));
        return Err(Invalid::at(&Place::new(&file.path, 1, 1), what, packages.hint));
    }
    let ast = engine.get_ast_as_json().map_err(|error| complain(error, ""))?;
    let rules = calls::check(&ast).map_err(|wrong| {
        let place = match wrong.at {
            Some((line, column)) => Place::new(&file.path, line, column),
            None => Place::in_file(&file.path),
        };
        Invalid::at(&place, wrong.what, wrong.hint)
    })?;
    if !rules.iter().any(|rule| rule == "allow") {
        return Err(Invalid::at(
            &Place::in_file(&file.path),
            "there is no rule `allow`: nothing would be allowed",
            "`default allow := true` leaves it to `deny`",
        ));
    }
    engine
        .add_policy("dockgate".to_owned(), verdict(&package, &rules))
        .map_err(|e| complain(e, ""))?;
    engine.set_gather_prints(true);
    engine.set_execution_timer_config(ExecutionTimerConfig {
        limit: timeout,
        check_interval: STEPS_BETWEEN_LOOKS,
    });
    // Analyses all rules, and evaluates none of them.
    engine.eval_rule(READY.to_owned()).map_err(|error| complain(error, ""))?;
    Ok(Compiled { package, engine })
}

const READY: &str = "data.dockgate_gateway.ready";

/// As Rego of today; a file that is none, as that of before 1.0, where `if` and `contains` were not
/// needed. A file that is neither is complained of as one of today.
fn parse(name: &str, text: &str) -> anyhow::Result<(Engine, String)> {
    let attempt = |is_old: bool| {
        let mut engine = Engine::new();
        engine.set_rego_v0(is_old);
        let package = engine.add_policy(name.to_owned(), text.to_owned())?;
        engine.set_rego_v0(false);
        Ok((engine, package))
    };
    attempt(false).or_else(|error| attempt(true).map_err(|_: anyhow::Error| error))
}

/// The rules that are asked, in a package that no policy can have.
fn verdict(package: &str, rules: &[String]) -> String {
    let word = |name: &str| match rules.iter().any(|rule| rule == name) {
        true => format!("[x | x := {package}.{name}]"),
        false => "[]".to_owned(),
    };
    format!(
        "package dockgate_gateway\nready := true\nverdict := [{}, {}, {}]\n",
        word("allow"),
        word("deny"),
        word("patch")
    )
}

/// Line and column of an error of the interpreter, and its words.
pub(super) fn taken_apart(error: &str) -> (Option<(usize, usize)>, String) {
    let place = error.lines().find_map(|line| {
        let mut parts = line.strip_prefix("--> ")?.rsplit(':');
        let column = parts.next()?.parse().ok()?;
        Some((parts.next()?.parse().ok()?, column))
    });
    let words = error.lines().find_map(|line| line.strip_prefix("error: "));
    let words = words.or_else(|| error.lines().find(|line| !line.trim().is_empty()));
    (place, words.unwrap_or_default().to_owned())
}
