//! Policy tests: requests, and what one policy is expected to make of them (`NAME_test.toml`).
//!
//! `run::plan` reads the file that stands beside a policy's and gives its text here with a chain of that
//! policy alone; `dockgate check` prints what comes back. What must stay true: a request goes the same
//! way as in the gateway; nothing is asked of anybody but the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;

use super::rehearsal::{Outcome, Request, Verdict, own, rehearse};
use super::{Chain, Fact, Question, Reason};
use crate::auth::Identity;
use crate::config::{Complaints, Invalid, SourceText};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    test: Vec<Test>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Test {
    name: Spanned<String>,
    /// `METHOD TARGET`.
    request: Spanned<String>,
    #[serde(default)]
    listener: Option<String>,
    user: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    claims: serde_json::Map<String, Value>,
    /// The id of the container that the caller runs in.
    container: Option<String>,
    body: Option<String>,
    expect: Spanned<Expect>,
    rule: Option<Spanned<String>>,
    rewritten: Option<Spanned<String>>,
    #[serde(default)]
    engine: GivenEngine,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expect {
    Allow,
    Deny,
}

/// What there is, as inspect would say it; anything else is absent.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct GivenEngine {
    containers: BTreeMap<String, Spanned<String>>,
    networks: BTreeMap<String, Spanned<String>>,
    volumes: BTreeMap<String, Spanned<String>>,
    info: Option<Spanned<String>>,
    /// Where paths of the host lead; others lead to themselves.
    paths: BTreeMap<PathBuf, PathBuf>,
}

/// Runs every test of a file; how many there were, or what went otherwise than expected.
pub fn run(text: &str, file: &Path, chain: &Chain) -> Result<usize, Invalid> {
    let source = SourceText::new(file, text);
    let tests: File = toml::from_str(text).map_err(|error| source.malformed(&error))?;
    let mut complaints = Complaints::about(source);
    for test in &tests.test {
        if let Err((byte, what)) = test.run(chain) {
            let what = format!("test `{}`: {what}", test.name.get_ref());
            complaints.add(byte, what, "");
        }
    }
    complaints.or(tests.test.len())
}

/// At which byte, and what is wrong there.
type CaseError = (usize, String);

impl Test {
    fn run(&self, chain: &Chain) -> Result<(), CaseError> {
        let start = self.request.span().start;
        let bad = || (start, "`request` is not `METHOD /path`".to_owned());
        let (method, target) = self.request.get_ref().split_once(' ').ok_or_else(bad)?;
        let known = self.engine.answers()?;
        let user = self.user.as_deref();
        if user.is_none() && !(self.groups.is_empty() && self.claims.is_empty()) {
            return Err((start, "`groups` and `claims` are those of a `user`".to_owned()));
        }
        let (groups, claims) = (self.groups.clone(), self.claims.clone());
        let identity = Identity::imagined_as(user, groups, claims, self.container.clone());
        let body = self.body.as_deref().unwrap_or_default().as_bytes();
        let request = Request { method, target, body };
        let listener = self.listener.as_deref().unwrap_or("test");
        let knows = |question: &Question| match matches!(question, Question::Begun { .. }) {
            true => own(listener, &identity),
            false => self.engine.answer(&known, question),
        };
        let Outcome { verdict, .. } = rehearse(chain, listener, &identity, &request, &knows);
        let expected = (self.expect.span().start, *self.expect.get_ref());
        match (verdict, expected) {
            (Verdict::Malformed(why), _) => {
                Err((start, format!("no policy was asked, the request is refused before: {why}")))
            }
            // The file answers everything.
            (Verdict::Undecided(..) | Verdict::Waits(..), _) => {
                Err((start, "it was not decided".to_owned()))
            }
            (Verdict::Answered(..), (_, Expect::Allow)) if self.rewritten.is_none() => Ok(()),
            (Verdict::Answered(_, reply), (at, _)) => {
                Err((at, format!("it was answered with {}, and nothing is sent", reply.status)))
            }
            (Verdict::Allowed(sent), (_, Expect::Allow)) => self.compare(&sent),
            (Verdict::Denied(_, reasons), (_, Expect::Deny)) => self.is_by_rule(&reasons),
            (Verdict::Allowed(_), (at, Expect::Deny)) => Err((at, "it was allowed".to_owned())),
            (Verdict::Denied(_, reasons), (at, Expect::Allow)) => {
                let first = reasons.first().map(Reason::message).unwrap_or_default();
                Err((at, format!("it was denied: {first}")))
            }
        }
    }

    fn is_by_rule(&self, reasons: &[Reason]) -> Result<(), CaseError> {
        if let Some(rewritten) = &self.rewritten {
            return Err((rewritten.span().start, "`rewritten` needs `expect = \"allow\"`".into()));
        }
        let Some(rule) = &self.rule else { return Ok(()) };
        let was: Vec<&str> = reasons.iter().map(|reason| reason.rule.as_ref()).collect();
        match was.contains(&rule.get_ref().as_str()) {
            true => Ok(()),
            false => Err((rule.span().start, format!("the rule was `{}`", was.join("`, `")))),
        }
    }

    /// The body that would be sent, as JSON: order and spaces do not count.
    fn compare(&self, sent: &[u8]) -> Result<(), CaseError> {
        if let Some(rule) = &self.rule {
            return Err((rule.span().start, "`rule` needs `expect = \"deny\"`".to_owned()));
        }
        let Some(rewritten) = &self.rewritten else { return Ok(()) };
        let wanted = json(rewritten)?;
        let sent = String::from_utf8_lossy(sent);
        let body = sent.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        match body.parse::<Value>() {
            Ok(body) if body == wanted => Ok(()),
            _ => Err((rewritten.span().start, format!("the engine would get `{body}`"))),
        }
    }
}

impl GivenEngine {
    /// What the file says, read once for each test.
    fn answers(&self) -> Result<Vec<(Question, Fact)>, CaseError> {
        type Ask = fn(String) -> Question;
        let kinds: [(&BTreeMap<String, Spanned<String>>, Ask); 3] = [
            (&self.containers, Question::Container),
            (&self.networks, Question::Network),
            (&self.volumes, Question::Volume),
        ];
        let named = kinds.into_iter().flat_map(|(named, ask)| {
            named.iter().map(move |(name, text)| (ask(name.clone()), text))
        });
        let info = self.info.iter().map(|text| (Question::Info, text));
        named
            .chain(info)
            .map(|(question, text)| Ok((question, Fact::Json(Arc::new(json(text)?)))))
            .collect()
    }

    fn answer(&self, known: &[(Question, Fact)], question: &Question) -> Fact {
        if let Question::HostPath(path) = question {
            return Fact::Path(self.paths.get(path).unwrap_or(path).clone());
        }
        if let Question::Aliases(paths) = question {
            let leads = |path| self.paths.get(path).unwrap_or(path).clone();
            return Fact::Paths(paths.iter().map(leads).collect());
        }
        if let Question::MountsBelow(_) = question {
            return Fact::Paths(Vec::new());
        }
        let found = known.iter().find(|(asked, _)| asked == question);
        found.map_or(Fact::Absent, |(_, answer)| answer.clone())
    }
}

fn json(text: &Spanned<String>) -> Result<Value, CaseError> {
    let start = text.span().start;
    text.get_ref().parse().map_err(|error| (start, format!("is not JSON: {error}")))
}
