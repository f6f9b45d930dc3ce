//! What `dockgate explain -- COMMAND` has seen, for a person to read.
//!
//! `explain::command` gives it every call. What must stay true: calls of one operation are the same text, in whatever order they
//! were made side by side; a reason is said once; a call against which anything speaks is never among those that are allowed.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::gateway::{Seen, SeenCall};
use crate::policy::{Edit, Finding, FindingDetail, Reason, RequestPart};

/// More than a command makes; what comes after is counted.
const MOST: usize = 16_384;

const NOT_JUDGED: &str = "not judged: what the Dockerfile fetches and runs. BuildKit asks for that while it builds, and a \
    listener judges it then; `DOCKER_BUILDKIT=0` shows it here\n";

#[derive(Debug, Default)]
pub(super) struct Seeing(Mutex<SeenCalls>);

#[derive(Debug, Default)]
struct SeenCalls {
    calls: Vec<JudgedCall>,
    left_out: usize,
}

#[derive(Debug)]
struct JudgedCall {
    call: SeenCall,
    refused: Vec<Why>,
    audited: Vec<Why>,
    changed: Vec<String>,
}

/// What speaks against a call.
#[derive(Clone, Debug, Default, PartialEq)]
struct Why {
    /// None where it is no policy's word on the call.
    policy: String,
    text: String,
    /// What it uses was refused when it was made.
    follows: bool,
}

impl Why {
    fn new(policy: &str, reason: &Reason) -> Why {
        const FOLLOWS: &[&str] = &["container.not-own", "network.not-own", "volume.not-own"];
        let follows = FOLLOWS.contains(&&*reason.rule);
        Why { policy: policy.to_owned(), text: short(&reason.message()), follows }
    }
}

/// What came of all of it.
pub(super) struct Said {
    pub(super) text: String,
    /// How many different calls there were, and how many of them are refused.
    pub(super) calls: usize,
    pub(super) denied: usize,
}

impl Seeing {
    pub(super) fn saw(&self, call: SeenCall, what: Seen) {
        let mut judged =
            JudgedCall { call, refused: Vec::new(), audited: Vec::new(), changed: Vec::new() };
        match what {
            Seen::Judged(findings, edits) => {
                for Finding { policy, reason, audits } in worth_telling(findings) {
                    let told = if audits { &mut judged.audited } else { &mut judged.refused };
                    told.push(Why::new(&policy, &reason));
                }
                let added = edits.iter().filter(|(_, edit)| adds(edit));
                let change = |(policy, edit): &(String, Edit)| {
                    format!("{policy}: {}", cut(&edit.to_string()))
                };
                judged.changed = added.map(change).collect();
            }
            Seen::Refused(reasons) => {
                judged.refused.extend(reasons.iter().map(|reason| Why::new("", reason)));
            }
            Seen::Rejected(message) => {
                judged.refused.push(Why { text: short(&message), ..Why::default() });
            }
        }
        judged.call.line = short(&judged.call.line);
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.calls.len() < MOST {
            true => seen.calls.push(judged),
            false => seen.left_out += 1,
        }
    }

    /// How many different calls there are so far.
    pub(super) fn different(&self) -> usize {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines: Vec<&str> = seen.calls.iter().map(|one| one.call.line.as_str()).collect();
        lines.sort_unstable();
        lines.dedup();
        lines.len() + seen.left_out
    }

    pub(super) fn said(&self) -> Said {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = merged(&seen.calls);
        let mut told: Vec<&Why> = Vec::new();
        let mut out = String::new();
        let mut asked: BTreeMap<&str, usize> = BTreeMap::new();
        for one in &calls {
            let is_plain = one.refused.is_empty() && one.audited.is_empty();
            if is_plain && is_harmless(one.call) {
                *asked.entry(one.call.operation).or_default() += one.times;
                continue;
            }
            let verdict = if one.refused.is_empty() { "allowed" } else { "denied " };
            let times =
                if one.times > 1 { format!(" ({} times)", one.times) } else { String::new() };
            out.push_str(&format!("{verdict}  {}{times}\n", one.call.line));
            let is_told = |why: &&Why| told.contains(why) || (why.follows && !told.is_empty());
            let fresh: Vec<_> = one.refused.iter().filter(|why| !is_told(why)).collect();
            if fresh.is_empty() && !one.refused.is_empty() {
                out.push_str("         for what stands above\n");
            }
            for why in fresh {
                let by = if why.policy.is_empty() { "" } else { ": " };
                out.push_str(&format!("         {}{by}{}\n", why.policy, why.text));
                told.push(why);
            }
            for Why { policy, text, .. } in one.audited.iter().filter(|why| !why.follows) {
                out.push_str(&format!("         {policy} (audit): {text}\n"));
            }
            for change in &one.changed {
                out.push_str(&format!("         changed by {change}\n"));
            }
        }
        if !asked.is_empty() {
            let each = asked.iter().map(|(operation, times)| match times {
                1 => (*operation).to_owned(),
                times => format!("{operation} ({times} times)"),
            });
            let each: Vec<String> = each.collect();
            out.push_str(&format!("allowed  besides: {}\n", each.join(", ")));
        }
        if seen.left_out > 0 {
            out.push_str(&format!("{} more calls are not shown\n", seen.left_out));
        }
        // A recorder runs no frontend: what that would ask for nobody has seen.
        if calls.iter().any(|one| one.refused.is_empty() && one.call.operation == "Solve") {
            out.push_str(NOT_JUDGED);
        }
        let denied = calls.iter().filter(|one| !one.refused.is_empty()).count();
        Said { text: out, denied, calls: calls.len() }
    }
}

struct Merged<'s> {
    call: &'s SeenCall,
    refused: Vec<Why>,
    audited: Vec<Why>,
    changed: Vec<String>,
    times: usize,
}

/// Calls of the same words are one; operations stand in the order in which they came first, and calls of one operation in
/// that of their words: clients make some of them side by side.
fn merged(calls: &[JudgedCall]) -> Vec<Merged<'_>> {
    let mut order: Vec<&str> = Vec::new();
    let mut all: BTreeMap<(usize, &str), Merged<'_>> = BTreeMap::new();
    for one in calls {
        let operation = one.call.operation;
        let place = order.iter().position(|known| *known == operation).unwrap_or_else(|| {
            order.push(operation);
            order.len() - 1
        });
        let merged = all.entry((place, &one.call.line)).or_insert_with(|| Merged {
            call: &one.call,
            refused: Vec::new(),
            audited: Vec::new(),
            changed: Vec::new(),
            times: 0,
        });
        // What is refused of a call's body comes beside what was said of the call.
        merged.times += usize::from(!one.refused.iter().any(|why| why.policy.is_empty()));
        merged.times = merged.times.max(1);
        add(&mut merged.refused, &one.refused);
        add(&mut merged.audited, &one.audited);
        add(&mut merged.changed, &one.changed);
    }
    all.into_values().collect()
}

fn add<T: Clone + PartialEq>(to: &mut Vec<T>, more: &[T]) {
    for one in more {
        if !to.contains(one) {
            to.push(one.clone());
        }
    }
}

/// What changes nothing: questions, what opens a connection for what is judged by itself, and what a builder is told beside
/// the builds.
fn is_harmless(call: &SeenCall) -> bool {
    const HARMLESS: &[&str] =
        &["Grpc", "Session", "TraceExport", "ContainerWait", "ContainerResize"];
    const BUILDS: &[&str] = &["Solve", "BridgeSolve", "NewContainer", "ExecProcess", "Prune"];
    let is_builders = call.line.starts_with("POST /moby.buildkit.");
    call.asks
        || HARMLESS.contains(&call.operation)
        || (is_builders && !BUILDS.contains(&call.operation))
}

/// Whether it gives the call something; else it takes out what says nothing, or says in another way what is meant.
fn adds(edit: &Edit) -> bool {
    // What was called by its name is called by its id.
    let is_id = |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    match edit {
        Edit::Body(_, Some(value)) => !value.as_str().is_some_and(is_id),
        Edit::Query(_, Some(value)) => !is_id(value),
        _ => false,
    }
}

/// The beginning of it: what BuildKit is told of sources fills a page.
fn cut(text: &str) -> String {
    const MOST: usize = 160;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Without our own name before it, and with ids as people write them.
fn short(text: &str) -> String {
    let text = text.strip_prefix("dockgate: ").unwrap_or(text);
    let mut out = String::with_capacity(text.len());
    for word in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let id = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let is_id = id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit());
        match (is_id, id.get(..12)) {
            (true, Some(start)) => {
                out.push_str(start);
                out.push_str(word.get(id.len()..).unwrap_or_default());
            }
            _ => out.push_str(word),
        }
    }
    out
}

/// Where a policy refuses a whole operation, what else was in it is no matter.
pub(super) fn worth_telling(findings: Vec<Finding>) -> Vec<Finding> {
    let mut whole: Vec<String> = Vec::new();
    let mut kept = Vec::new();
    for finding in findings {
        if whole.contains(&finding.policy) {
            continue;
        }
        if is_of_operation(&finding.reason) {
            whole.push(finding.policy.clone());
        }
        kept.push(finding);
    }
    kept
}

fn is_of_operation(reason: &Reason) -> bool {
    matches!(
        reason.found.as_deref(),
        Some(FindingDetail::ByRule(found)) if found.part == RequestPart::Operation
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str, operation: &'static str) -> SeenCall {
        SeenCall { line: line.to_owned(), operation, asks: line.starts_with("GET") }
    }

    fn refused(policy: &str, rule: &'static str, field: &str) -> Finding {
        let reason = Reason::new(rule, field.to_owned(), "must be false", "");
        Finding { policy: policy.to_owned(), reason, audits: false }
    }

    fn said(calls: Vec<(SeenCall, Seen)>) -> Said {
        let seeing = Seeing::default();
        calls.into_iter().for_each(|(call, seen)| seeing.saw(call, seen));
        seeing.said()
    }

    #[test]
    fn calls_of_one_operation_are_the_same_text_in_any_order() {
        let made = |name: &str| {
            let found = vec![refused("p", "container.privileged", "HostConfig.Privileged")];
            let line = format!("POST /containers/create?name={name}");
            (call(&line, "ContainerCreate"), Seen::Judged(found, Vec::new()))
        };
        let start = || {
            let found = vec![refused("p", "container.not-own", &"a".repeat(64))];
            (call("POST /containers/a/start", "ContainerStart"), Seen::Judged(found, Vec::new()))
        };
        let asks = || (call("GET /info", "SystemInfo"), Seen::Judged(Vec::new(), Vec::new()));
        let one = said(vec![asks(), made("a"), made("b"), asks(), start()]);
        let other = said(vec![made("b"), asks(), made("a"), start(), asks()]);
        assert_eq!(one.text, other.text);
        assert_eq!((one.calls, one.denied), (4, 3));
        let wanted = "\
denied   POST /containers/create?name=a
         p: HostConfig.Privileged: must be false (rule container.privileged)
denied   POST /containers/create?name=b
         for what stands above
denied   POST /containers/a/start
         for what stands above
allowed  besides: SystemInfo (2 times)
";
        assert_eq!(one.text, wanted);
    }

    #[test]
    fn a_refusal_of_what_follows_a_call_is_the_calls() {
        let build = || call("POST /build", "ImageBuild");
        let why = Reason::new("build.fetch", "Dockerfile:2", "must be allowed", "");
        let calls = vec![
            (build(), Seen::Judged(Vec::new(), Vec::new())),
            (build(), Seen::Refused(vec![why])),
            (call("POST /nosuch", "-"), Seen::Rejected("dockgate: no such page".to_owned())),
        ];
        let Said { text, calls, denied } = said(calls);
        let wanted = "\
denied   POST /build
         Dockerfile:2: must be allowed (rule build.fetch)
denied   POST /nosuch
         no such page
";
        assert_eq!((text.as_str(), calls, denied), (wanted, 2, 2));
    }

    #[test]
    fn what_follows_from_nothing_is_told() {
        let found = vec![refused("p", "container.not-own", &"a".repeat(64))];
        let said = said(vec![(call("POST /x", "X"), Seen::Judged(found, Vec::new()))]);
        assert!(said.text.contains("         p: aaaaaaaaaaaa: must be false"), "{}", said.text);
    }
}
