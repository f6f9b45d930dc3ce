//! Rules as a page for people: `docs/rules.md`.
//!
//! A test compares that file with what is written here. What must stay true: the page says nothing that is
//! not in the rules, and every id that a refusal can carry is in its index.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Node, Operation, PathRule, Requirement, Rule, Rules};
use crate::api::doc::Value;
use crate::api::endpoint::Row;
use crate::api::table;

const BEGINNING: &str = "\
# The rules of `conservative`

Made from [`policies/conservative.toml`](../policies/conservative.toml); do not edit. What the words mean, how to write
rules of your own, and what the policy does not stop: [conservative](policies/conservative.md).

An operation that is not here is refused. So is every field, query parameter and header that an operation does not list,
unless it carries its zero value: absent, null, false, 0, or empty. The id of the rule stands in the client's message,
in the access log and in the metrics. `*` is every element of a list, or every value of a map.
";

/// Ids of refusals that no file of rules has: what is judged by the program itself.
pub(super) const OF_THE_PROGRAM: &[(&str, &str)] = &[
    ("api.version", "the client speaks an API version that dockgate or the engine does not"),
    ("authz.failed", "a policy `authz`: the plugin did not answer, or not as plugins do (500)"),
    (
        "archive.unreadable",
        "a policy looks into the archive, which is compressed or can be read in two ways",
    ),
    ("authz.request", "a policy `authz`: the plugin refused the call"),
    ("authz.response", "a policy `authz`: the plugin refused the answer"),
    (
        "build.buildkit",
        "BuildKit as docker below 23 asks for it, with another context than a session's or with attestations",
    ),
    ("build.malformed", "a message with which BuildKit would end, and the engine with it"),
    (
        "build.outputs",
        "outputs of a classic build; of one by BuildKit as docker below 23 asks for it, exporters that others may not have",
    ),
    ("build.not-own", "a build of BuildKit's that another caller has begun, or nobody"),
    (
        "build.session",
        "a session of BuildKit's that another caller has opened, or nobody, or that builds in another way already; in one's own, what no build of it that runs can want",
    ),
    (
        "build.source-policy",
        "BuildKit's source policy: rules that allow in a client's; and on engines below 24, which have none, builds whose Dockerfile comes from elsewhere than their session or is read by another program",
    ),
    ("closed-world.method", "a method of gRPC that the tables do not have"),
    (
        "build.dockerfile",
        "what the Dockerfile fetches cannot be told, or which file of the context it is: [what it fetches](policies/conservative.md#what-a-dockerfile-fetches)",
    ),
    ("build.fetch", "the Dockerfile has the engine fetch an address that is not within `fetch`"),
    (
        "build.frontend",
        "the Dockerfile is to be read by another frontend, in a build that has no source policy",
    ),
    ("namespace.build", "a policy `namespace`: a form of build that cannot be held to one yet"),
    (
        "namespace.dockerfile",
        "a policy `namespace`: which image a line of the Dockerfile means cannot be told, or it is not there",
    ),
    ("namespace.filters", "a policy `namespace`: filters that cannot be read (400)"),
    (
        "namespace.foreign",
        "a policy `namespace`: something of the host's or the engine's that is nobody's own",
    ),
    (
        "job.bind",
        "on the socket of a [job](policies/temporary-listener.md): a path of the job's own container that cannot be bound",
    ),
    (
        "job.container",
        "on the socket of a [job](policies/temporary-listener.md): the call would change the job's own container, or a network that it is in",
    ),
    (
        "job.peer",
        "the socket of a [job](policies/temporary-listener.md): the caller is in no container of that job",
    ),
    ("namespace.name", "a policy `namespace`: whose namespace the caller is in is not known"),
    ("namespace.network", "a policy `namespace`: its own bridge could not be made (503)"),
    (
        "namespace.operation",
        "a policy `namespace`: an operation that is not for namespaces, or not yet: [which](policies/namespace.md#not-yet)",
    ),
    (
        "namespace.registry",
        "a policy `namespace`: images would come by a registry, and none is named",
    ),
    (
        "namespace.unknown",
        "a policy `namespace`: the engine's word about something cannot be understood (502)",
    ),
    ("closed-world.call", "the call could not be looked into; a fault of dockgate"),
    ("closed-world.field", "a key of the JSON body that no known API version has"),
    ("closed-world.http2", "HTTP/2 with prior knowledge, which nobody looks into"),
    ("closed-world.query", "a query parameter that no known API version has"),
    (
        "container.network-by-name",
        "the container, made elsewhere, is connected to a network by its name alone, and would start in whatever has it then",
    ),
    ("container.not-own", "the container could not have been made here"),
    (
        "exec.not-own",
        "the exec was not made by this caller through this listener; to the client it does not exist (404)",
    ),
    ("facts.too-many", "the call refers to more things than dockgate asks the engine about"),
    (
        "named.container",
        "the container is named by a policy of the listener, and so the operator's",
    ),
    ("named.network", "the network is named by a policy of the listener, and so the operator's"),
    ("named.unknown", "the engine could not say whether one that a policy names is meant"),
    ("named.volume", "the volume is named by a policy of the listener, and so the operator's"),
    ("limits.*", "a policy `limits`: [what it says](policies/limits.md)"),
    ("name.absent", "what the call names does not exist; to the client it is the engine's own 404"),
    ("network.not-own", "the network could not have been made here"),
    ("network.name-taken", "there is a network of that name (409, in the engine's words)"),
    ("policy.answer", "a policy answered what the engine had answered; a fault of dockgate (500)"),
    ("policy.deed", "what a policy wants done first could not be done on the engine (502)"),
    ("rego.*", "a policy `rego`: [what it says](policies/rego.md)"),
    ("rules.operation", "the file of rules does not have the operation"),
    (
        "rules.own",
        "`path = \"own\"` stands with an operation whose path names nothing that can be judged",
    ),
    ("rules.unlisted", "the file of rules does not have the field, parameter or header"),
    (
        "temporary.cgroup",
        "a policy `temporary-listener` with `shared_cgroup`, and the socket of its jobs: the container asks for another cgroup than the job's",
    ),
    (
        "temporary.listener",
        "a policy `temporary-listener`: the job could not be opened, so that its container is not made (502)",
    ),
    (
        "temporary.path",
        "a policy `temporary-listener`, and the socket of a job: a mount leads to the engine's or dockgate's sockets, or around them",
    ),
    (
        "temporary.socket",
        "a policy `temporary-listener`: the container gets no socket, and asks for the engine's",
    ),
    (
        "transparent-cache.files",
        "a policy `transparent-cache`: the certificate cannot be taken out of a container that is committed or exported (502)",
    ),
    ("volume.not-own", "the volume could not have been made here"),
];

impl Rules {
    /// As Markdown.
    pub fn page(&self) -> String {
        let mut page = BEGINNING.to_owned();
        self.refusals(&mut page);
        let mut rows: Vec<&Row> = table::all().collect();
        rows.sort_by_key(|row| row.endpoint.id());
        for row in rows {
            if let Some(operation) = self.operations.get(&row.endpoint) {
                section(&mut page, row, operation);
            }
        }
        self.index(&mut page);
        page
    }

    fn refusals(&self, page: &mut String) {
        page.push_str(
            "\n## Refused as a whole\n\n| rule | operations | why |\n| --- | --- | --- |\n",
        );
        let mut families: BTreeMap<&str, (Vec<&str>, String)> = BTreeMap::new();
        for (endpoint, refusal) in &self.refused {
            let said = sentence(&refusal.why, &refusal.hint);
            families.entry(&refusal.id).or_insert((Vec::new(), said)).0.push(endpoint.id());
        }
        for (id, (operations, why)) in families {
            let operations = operations.join(", ");
            let _ = writeln!(page, "| `{id}` | {operations} | {} |", cell(&why));
        }
    }

    fn index(&self, page: &mut String) {
        let mut index: BTreeMap<&str, String> = BTreeMap::new();
        for (id, what) in OF_THE_PROGRAM {
            index.insert(id, (*what).to_owned());
        }
        for (endpoint, refusal) in &self.refused {
            let entry = index.entry(&refusal.id).or_default();
            add(entry, endpoint.id());
        }
        for (endpoint, operation) in &self.operations {
            for (field, rule) in listed(operation) {
                if !rule.id.is_empty() {
                    let entry = index.entry(&rule.id).or_default();
                    add(entry, &format!("{} `{field}`", endpoint.id()));
                }
            }
        }
        page.push_str("\n## All rule ids\n\n| rule | where |\n| --- | --- |\n");
        for (id, places) in index {
            let _ = writeln!(page, "| `{id}` | {} |", cell(&places));
        }
    }
}

fn section(page: &mut String, row: &Row, operation: &Operation) {
    let method = format!("{:?}", row.method).to_uppercase();
    let _ = writeln!(page, "\n## {}\n\n`{method} {}`", row.endpoint.id(), plain_path(row));
    let own = match operation.path {
        Some(PathRule::Own) => "What the path names could have been made here, by the same rules.",
        Some(PathRule::OwnToEnd) => {
            "What the path names could have been made here, by the same rules; what it refers to may be gone."
        }
        Some(PathRule::Is(_)) | None => "",
    };
    if !own.is_empty() {
        let _ = writeln!(page, "\n{own}");
    }
    let listed = listed(operation);
    let free = |dropped: bool| {
        let names = listed.iter().filter(|(_, rule)| match rule.must {
            Requirement::BeAnything => !dropped,
            Requirement::BeDropped => dropped,
            Requirement::BeZero | Requirement::BeNull | Requirement::Be(_) => false,
        });
        names.map(|(field, _)| format!("`{field}`")).collect::<Vec<_>>().join(", ")
    };
    for (words, names) in [("May be anything", free(false)), ("Not sent on", free(true))] {
        if !names.is_empty() {
            let _ = writeln!(page, "\n{words}: {names}.");
        }
    }
    let checked: Vec<_> = listed.iter().filter(|(_, rule)| !rule.id.is_empty()).collect();
    if !checked.is_empty() {
        page.push_str(
            "\n| field | allowed | rule | the client is told |\n| --- | --- | --- | --- |\n",
        );
        for (field, rule) in checked {
            let told = cell(&sentence(&rule.why, &rule.hint));
            let allowed = cell(&allowed(&rule.must));
            let _ = writeln!(page, "| `{field}` | {allowed} | `{}` | {told} |", rule.id);
        }
    }
    for (path, value) in &operation.fills {
        let value = match value {
            Value::Bool(value) => value.to_string(),
            value => value.as_str().unwrap_or_default().to_owned(),
        };
        let _ = writeln!(page, "\nLeft out, `{}` becomes `{value}`.", path.join("."));
    }
    if !operation.redact.is_empty() {
        let names = operation.redact.iter().map(|path| format!("`{}`", path.join(".")));
        let names = names.collect::<Vec<_>>().join(", ");
        let _ = writeln!(page, "\nEmptied in the answer: {names}.");
    }
}

/// Every place with a rule: of the path, the query, the headers and the body.
fn listed(operation: &Operation) -> Vec<(String, &Rule)> {
    let mut listed = Vec::new();
    if let Some(PathRule::Is(rule)) = &operation.path {
        listed.push(("{name}".to_owned(), rule));
    }
    listed.extend(operation.query.iter().map(|(name, rule)| (format!("?{name}"), rule)));
    listed.extend(operation.headers.iter().map(|(name, rule)| (format!("{name}:"), rule)));
    below(&operation.body, "", &mut listed);
    listed
}

fn below<'r>(node: &'r Node, at: &str, listed: &mut Vec<(String, &'r Rule)>) {
    if let Some(rule) = &node.rule {
        let is_looked_into = node.looks_inside() && matches!(rule.must, Requirement::BeAnything);
        if !is_looked_into {
            listed.push((at.to_owned(), rule));
        }
    }
    let join = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
    for (name, node) in &node.fields {
        below(node, &join(name), listed);
    }
    if let Some(node) = &node.each {
        below(node, &join("*"), listed);
    }
}

/// As in the Engine API's definition: `/images/{name}/push`, not `{name:.*}`.
fn plain_path(row: &Row) -> String {
    row.path.replace(":.*}", "}")
}

/// From the predicates, not from what the file says of them.
fn allowed(must: &Requirement) -> String {
    match must {
        Requirement::BeAnything => "anything".to_owned(),
        Requirement::BeDropped => "anything; not sent on".to_owned(),
        Requirement::BeZero => "zero".to_owned(),
        Requirement::BeNull => "null".to_owned(),
        Requirement::Be(allowed) => {
            let words: Vec<_> = allowed.iter().map(super::Allowed::describe).collect();
            words.join(", or ")
        }
    }
}

fn sentence(why: &str, hint: &str) -> String {
    if hint.is_empty() { why.to_owned() } else { format!("{why}. hint: {hint}") }
}

fn add(places: &mut String, place: &str) {
    if !places.is_empty() {
        places.push_str(", ");
    }
    places.push_str(place);
}

/// A bar ends a cell of a table, also within backticks.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
