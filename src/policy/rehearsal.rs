//! A request judged without a client and without an engine.
//!
//! `dockgate explain` and policy tests (`*_test.toml`) call it: the same parsing and the same chain as in
//! the gateway, and facts from whoever asks. What must stay true: nothing here decides anything; what is not
//! known is no answer, and least of all that there is nothing.

use std::sync::Arc;

use super::facts::{Owner, Secret};
use super::{Chain, Context, Deed, Edit, Fact, Facts, Finding, Question, Reason, Reply, Step};
use crate::api::buildkit;
use crate::api::call::{self, BadCall, Wanted};
use crate::api::doc::MOST_VALUES;
use crate::api::endpoint::KNOWN;
use crate::api::{Call, Draft};
use crate::auth::Identity;
use crate::wire::framing::Framing;
use crate::wire::head::RequestHead;

#[derive(Debug)]
pub struct Request<'r> {
    pub method: &'r str,
    /// Path and query, with or without `/v1.NN`; or a gRPC method of BuildKit's, whose message `body` is as JSON.
    pub target: &'r str,
    pub body: &'r [u8],
}

#[derive(Debug)]
pub struct Outcome {
    pub verdict: Verdict,
    /// What was changed of the call, and by which policy.
    pub edits: Vec<(String, Edit)>,
    /// What policies that only audit would have refused; of `explain`, what any would.
    pub findings: Vec<Finding>,
    /// What the policies wanted to know.
    pub asked: Vec<Question>,
}

/// Of a question that nobody can answer here, to a policy that only audits.
const NOT_KNOWN: &str = "that is not known here";

#[derive(Debug)]
pub enum Verdict {
    /// Line, headers and JSON as the engine would get them.
    Allowed(Vec<u8>),
    /// By this policy.
    Denied(String, Vec<Reason>),
    /// This policy cannot judge without answers to these.
    Undecided(String, Vec<Question>),
    /// By this policy, which wants these done first; nothing is done here.
    Waits(String, Vec<Deed>),
    /// This policy answers by itself.
    Answered(String, Reply),
    /// It could not be understood.
    Malformed(String),
}

/// In the place of a header that is made for each call.
const NO_TOKEN: &str = "(a token for this call)";
/// More rounds of questions than any honest decision needs.
const MOST_ROUNDS: usize = 64;

/// A session or a build that a request names is taken for the caller's own: nobody has begun one here.
pub fn own(listener: &str, identity: &Identity) -> Fact {
    Fact::Owner(Arc::new(Owner::new(listener, identity.user())))
}

/// With every answer at hand.
pub fn rehearse(
    chain: &Chain,
    listener: &str,
    identity: &Identity,
    request: &Request<'_>,
    knows: &dyn Fn(&Question) -> Fact,
) -> Outcome {
    explore(chain, listener, identity, request, &|question| Some(knows(question)))
}

/// As far as what is known goes.
pub fn explore(
    chain: &Chain,
    listener: &str,
    identity: &Identity,
    request: &Request<'_>,
    knows: &dyn Fn(&Question) -> Option<Fact>,
) -> Outcome {
    decide(chain, false, listener, identity, request, knows)
}

/// The same, asking every policy: what they refuse are findings.
pub fn explain(
    chain: &Chain,
    listener: &str,
    identity: &Identity,
    request: &Request<'_>,
    knows: &dyn Fn(&Question) -> Option<Fact>,
) -> Outcome {
    decide(chain, true, listener, identity, request, knows)
}

fn decide(
    chain: &Chain,
    explains: bool,
    listener: &str,
    identity: &Identity,
    request: &Request<'_>,
    knows: &dyn Fn(&Question) -> Option<Fact>,
) -> Outcome {
    let call = match parse(chain, request) {
        Ok(call) => call,
        Err(why) => {
            let verdict = Verdict::Malformed(why);
            return Outcome { verdict, edits: Vec::new(), findings: Vec::new(), asked: Vec::new() };
        }
    };
    let mut facts = Facts::default();
    let mut asked = Vec::new();
    let mut deciding = if explains { chain.explain(call) } else { chain.decide(call) };
    deciding.keep_edits();
    let mut verdict = Verdict::Malformed("the policies ask without an end".to_owned());
    for _ in 0..MOST_ROUNDS {
        match deciding.step(&Context::new(identity, listener, KNOWN, &facts)) {
            Step::Ask(questions) => {
                let (before, mut open) = (facts.len(), Vec::new());
                for question in questions {
                    match knows(&question) {
                        Some(answer) => facts.insert(question.clone(), answer),
                        None if deciding.refuses_nothing() => {
                            facts.insert(question.clone(), Fact::Failed(NOT_KNOWN.to_owned()));
                        }
                        None => open.push(question.clone()),
                    }
                    asked.push(question);
                }
                // What was answered may be reason enough to refuse.
                if facts.len() == before {
                    open.sort_by_key(Question::to_string);
                    verdict = Verdict::Undecided(deciding.policy().to_owned(), open);
                    break;
                }
            }
            Step::Done(permitted) => {
                verdict = Verdict::Allowed(permitted.render());
                break;
            }
            // Nothing else runs here, no registry hears of a token, and nothing listens for a job.
            Step::Do(deeds)
                if deeds.iter().all(|deed| {
                    matches!(deed.plain(), Deed::Take(_) | Deed::Grant(_) | Deed::Job(_))
                }) =>
            {
                for deed in deeds {
                    if let Deed::Grant(wanted) = deed.plain() {
                        let header = Fact::Header(Secret(NO_TOKEN.into()));
                        facts.insert(deed.granted(wanted), header);
                    }
                    facts.report(deed, Ok(()));
                }
            }
            Step::Do(deeds) => {
                verdict = Verdict::Waits(deciding.policy().to_owned(), deeds);
                break;
            }
            Step::Answered(reply) => {
                verdict = Verdict::Answered(deciding.policy().to_owned(), reply);
                break;
            }
            Step::Denied(reasons) => {
                verdict = Verdict::Denied(deciding.policy().to_owned(), reasons);
                break;
            }
        }
    }
    let edits = deciding.edits().to_vec();
    Outcome { verdict, edits, findings: deciding.into_findings(), asked }
}

#[cfg(test)]
pub fn parsed(chain: &Chain, request: &Request<'_>) -> Result<Call, String> {
    parse(chain, request)
}

fn parse(chain: &Chain, request: &Request<'_>) -> Result<Call, String> {
    let Request { method, target, body } = request;
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n\r\n"
    );
    let head = RequestHead::parse(head.as_bytes()).map_err(|error| error.to_string())?;
    if chain.is_empty() {
        return Ok(Call::verbatim(head));
    }
    let text = |error: BadCall| error.to_string();
    if let ("POST", Some(row)) = (*method, buildkit::find(target)) {
        return call::grpc_from_json(row, body, MOST_VALUES).map_err(text);
    }
    let draft = Draft::parse(&head).map_err(text)?;
    match draft.wanted() {
        Wanted::Stream => Ok(draft.with_stream(Framing::None)),
        Wanted::Json | Wanted::Nothing => draft.with_json(&head, body, MOST_VALUES).map_err(text),
    }
}
