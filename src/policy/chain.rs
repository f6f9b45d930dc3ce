//! The policies of one listener in their order, and the evidence that they were asked.
//!
//! `gateway` holds a chain for each listener and takes its calls and answers through it, step by step:
//! a step may need facts. What must stay true: a `Deciding` that every policy has let through is the only
//! maker of a `Permitted`; with any policy in the chain a call is typed, names only what the tables know,
//! and asks by an API version that they know.

use std::ops::Deref;

use super::builds::Builds;
use super::edit::{self, Edit};
use super::named::Named;
use super::versions::KnownVersions;
use super::{
    Answer, Contents, Context, Deed, Item, Policy, Question, Reads, Reason, Reply, Verdict, View,
};
use crate::api::doc::Value;
use crate::api::dockerfile::AskedBuild;
use crate::api::endpoint::BodyKind;
use crate::api::{Call, Endpoint, Row, Typed};
use crate::wire::tar::TarEntry;

/// Something that every policy of its listener has allowed.
#[derive(Debug)]
pub struct Permitted<T>(T);

/// A policy in its place.
#[derive(Debug)]
pub struct Link {
    policy: Box<dyn Policy>,
    /// It decides and its decisions are written down, but the call goes on as it is.
    audits: bool,
}

#[derive(Debug, Default)]
pub struct Chain {
    links: Vec<Link>,
}

/// What a policy that only audits would have refused.
#[derive(Clone, Debug)]
pub struct Finding {
    pub policy: String,
    pub reason: Reason,
    /// Whether it is no refusal: the policy only audits.
    pub audits: bool,
}

/// What comes next of something that is being decided.
#[derive(Debug)]
pub enum Step<T> {
    /// These must be answered before the next step.
    Ask(Vec<Question>),
    /// These must be done before the next step.
    Do(Vec<Deed>),
    Done(T),
    Denied(Vec<Reason>),
    /// A policy has answered by itself.
    Answered(Reply),
}

/// A call on its way through the chain.
#[derive(Debug)]
pub struct Deciding<'c> {
    links: &'c [Link],
    /// A refusal is written down, and the next policy is asked.
    explains: bool,
    call: Option<Call>,
    next: usize,
    /// Whose turn it is to say what slot the call must have.
    next_slot: usize,
    findings: Vec<Finding>,
    /// What each policy has changed, for whoever wants to see it.
    edits: Option<Vec<(String, Edit)>>,
}

/// An answer on its way back through the chain.
#[derive(Debug)]
pub struct Answering<'c> {
    links: &'c [Link],
    left: usize,
    findings: Vec<Finding>,
}

impl Link {
    pub fn new(policy: Box<dyn Policy>) -> Link {
        Link { policy, audits: false }
    }

    pub fn auditing(policy: Box<dyn Policy>) -> Link {
        Link { policy, audits: true }
    }

    /// A policy that shows others another engine knows the engine itself.
    fn context<'a>(&self, cx: &Context<'a>) -> Context<'a> {
        match self.policy.view() {
            Some(_) => Context { facts: cx.facts.of_engine(), ..*cx },
            None => *cx,
        }
    }

    /// And asks and does there.
    fn asked(&self, verdict: Verdict) -> Verdict {
        match (self.policy.view(), verdict) {
            (Some(_), Verdict::Ask(questions)) => Verdict::Ask(
                questions.into_iter().map(|one| Question::OfEngine(Box::new(one))).collect(),
            ),
            (Some(_), Verdict::Do(deeds)) => {
                Verdict::Do(deeds.into_iter().map(|one| Deed::OfEngine(Box::new(one))).collect())
            }
            (_, verdict) => verdict,
        }
    }
}

impl Chain {
    /// A chain of these policies, or of none: a byte-faithful pass-through.
    pub fn new(mut links: Vec<Link>) -> Chain {
        let enforced = links.iter().filter(|link| !link.audits);
        let names = enforced.flat_map(|link| link.policy.names()).collect();
        if let Some(named) = Named::new(names) {
            links.insert(0, Link::new(Box::new(named)));
        }
        if !links.is_empty() {
            // Where nothing is enforced, this is not either.
            let audits = links.iter().all(|link| link.audits);
            links.insert(0, Link { policy: Box::new(Builds), audits });
            links.insert(0, Link::new(Box::new(KnownVersions)));
        }
        Chain { links }
    }

    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// What the policies see of the engine, where the last of them shows another.
    pub fn view(&self) -> Option<&dyn View> {
        self.links.iter().rev().find_map(|link| link.policy.view())
    }

    pub fn decide(&self, call: Call) -> Deciding<'_> {
        Deciding {
            links: &self.links,
            explains: false,
            call: Some(call),
            next: 0,
            next_slot: 0,
            findings: Vec::new(),
            edits: None,
        }
    }

    /// The same for `dockgate explain`, where no engine is behind it: all policies are asked for all of their reasons, and what
    /// they refuse is a finding each and goes on. What is no whole call (an answer, a file of an archive) is refused as ever.
    pub fn explain(&self, call: Call) -> Deciding<'_> {
        Deciding { explains: true, ..self.decide(call) }
    }

    /// Whether a connection may carry HTTP/2, which nobody looks into: where all policies only audit it passes, and is a
    /// finding. Elsewhere each request of it is refused by itself.
    pub fn passes_http2(&self) -> bool {
        only_audits(&self.links)
    }

    /// How much of the answer to this call any policy wants to see.
    pub fn reads_answer(&self, call: &Call, cx: &Context<'_>) -> Reads {
        call.row().map_or(Reads::Nothing, |row| self.reads_row(row, cx))
    }

    /// The same, of any call to this route.
    pub fn reads_row(&self, row: &Row, cx: &Context<'_>) -> Reads {
        let reads = self.links.iter().map(|link| link.policy.reads_answer(row, cx));
        reads.max().unwrap_or_default()
    }

    /// Whether any policy wants to see this body of an answer that is read whole.
    pub fn reads_body(&self, call: &Typed, body: &[u8], cx: &Context<'_>) -> bool {
        let row = call.row();
        self.links.iter().any(|link| {
            link.policy.reads_answer(row, cx) != Reads::Nothing && link.policy.reads_body(row, body)
        })
    }

    /// Shows one value of a stream to the policies that read it, the last one first. Those that only audit are not asked:
    /// nothing of a stream is a finding.
    pub fn item(&self, call: &Typed, item: &mut serde_json::Value, cx: &Context<'_>) -> Item {
        let reads =
            |link: &&Link| !link.audits && link.policy.reads_answer(call.row(), cx) >= Reads::Items;
        let keeps = |link: &Link| link.policy.item(call, item, &link.context(cx)) == Item::Keep;
        match self.links.iter().rev().filter(reads).all(keeps) {
            true => Item::Keep,
            false => Item::Drop,
        }
    }

    /// Whether any policy shows texts of the builder otherwise than they are. Those that only audit change nothing.
    pub fn shows_texts(&self) -> bool {
        self.links.iter().any(|link| !link.audits && link.policy.shows_texts())
    }

    /// How a text of the builder is shown, by the policies, the last one first. None: as it is.
    pub fn text(&self, text: &str, cx: &Context<'_>) -> Option<String> {
        let links = self.links.iter().rev().filter(|link| !link.audits);
        links.fold(None, |shown, link| {
            let before = shown.as_deref().unwrap_or(text);
            link.policy.text(before, &link.context(cx)).or(shown)
        })
    }

    /// Whether any policy wants to see the entries of the archive that this call sends. Those that only audit do not: what
    /// they would find comes too late for the record of a call that is under way.
    pub fn reads_entries(&self, call: &Call, cx: &Context<'_>) -> bool {
        let Call::Typed(call) = call else { return false };
        matches!(call.row().body, BodyKind::Tar)
            && self.links.iter().any(|link| !link.audits && link.policy.reads_entries(call, cx))
    }

    /// Shows one entry of an archive to the policies that read them, in their order.
    pub fn entry(
        &self,
        call: &Typed,
        entry: &TarEntry,
        cx: &Context<'_>,
    ) -> Result<(), Vec<Reason>> {
        let reads = |link: &&Link| !link.audits && link.policy.reads_entries(call, cx);
        self.links
            .iter()
            .filter(reads)
            .try_for_each(|link| link.policy.entry(call, entry, &link.context(cx)))
    }

    /// Whether any policy changes files of the archive that this route takes or gives.
    pub fn reads_files(&self, row: &Row) -> bool {
        file_readers(&self.links, row).next().is_some()
    }

    /// Whether any of them wants this file whole.
    pub fn wants_file(&self, call: &Typed, entry: &TarEntry) -> Result<bool, Reason> {
        let mut readers = file_readers(&self.links, call.row());
        readers.try_fold(false, |any, link| Ok(link.policy.wants_file(call, entry)? || any))
    }

    /// Shows them a file, in their order; to be called again with the facts that a step asks for. What comes of it is the
    /// file as they have changed it, if they have.
    pub fn file(
        &self,
        call: &Typed,
        entry: &TarEntry,
        content: &[u8],
        cx: &Context<'_>,
    ) -> Step<Option<Vec<u8>>> {
        let mut changed: Option<Vec<u8>> = None;
        for link in file_readers(&self.links, call.row()) {
            let now = changed.as_deref().unwrap_or(content);
            match link.policy.file(call, entry, now, &link.context(cx)) {
                Ok(None) => {}
                Ok(Some(file)) => changed = Some(file),
                Err(verdict) => match link.asked(verdict) {
                    Verdict::Pass(_) => {}
                    Verdict::Ask(questions) => return Step::Ask(questions),
                    Verdict::Do(deeds) => return Step::Do(deeds),
                    Verdict::Deny(reasons) => return Step::Denied(reasons),
                    Verdict::Answer(reply) => return Step::Answered(reply),
                },
            }
        }
        Step::Done(changed)
    }

    /// Shows them all that an archive holds.
    pub fn contents(&self, call: &Typed, contents: &Contents) -> Result<(), Reason> {
        let mut readers = file_readers(&self.links, call.row());
        readers.try_for_each(|link| link.policy.contents(call, contents))
    }

    /// Shows the Dockerfile of a build to the policies that read them, in their order; to those that only audit it is not
    /// shown, as entries are not. To be called again with the facts that a step asks for.
    /// What comes of it is the file as they have changed it, if they have.
    pub fn dockerfile(
        &self,
        build: &AskedBuild,
        file: &[u8],
        cx: &Context<'_>,
    ) -> Step<Option<Vec<u8>>> {
        let mut changed: Option<Vec<u8>> = None;
        for link in readers(&self.links) {
            let cx = &link.context(cx);
            let now = changed.as_deref().unwrap_or(file);
            match link.asked(link.policy.dockerfile(build, now, cx)) {
                Verdict::Pass(_) => {}
                Verdict::Ask(questions) => return Step::Ask(questions),
                Verdict::Do(deeds) => return Step::Do(deeds),
                Verdict::Deny(reasons) => return Step::Denied(reasons),
                Verdict::Answer(_) => return Step::Denied(vec![has_an_answer(link)]),
            }
            match link.policy.dockerfile_sent(build, now, cx) {
                Ok(None) => {}
                Ok(Some(file)) => changed = Some(file),
                Err(reason) => return Step::Denied(vec![reason]),
            }
        }
        Step::Done(changed)
    }

    /// Whether the engine may ask the client of a build for its credentials for this registry; of the policies that only
    /// audit none is asked. To be called again with the facts that a step asks for.
    pub fn credentials(&self, host: &str, cx: &Context<'_>) -> Step<()> {
        let enforced = self.links.iter().filter(|link| !link.audits);
        all_of(enforced, |policy, cx| policy.credentials(host, cx), cx)
    }

    /// Whether any policy wants to see the Dockerfiles of builds.
    pub fn reads_dockerfiles(&self) -> bool {
        readers(&self.links).next().is_some()
    }

    /// Shows an answer to the policies, the last one first.
    pub fn answer(&self) -> Answering<'_> {
        Answering { links: &self.links, left: self.links.len(), findings: Vec::new() }
    }
}

impl Deciding<'_> {
    /// Asks the policies in turn; the first refusal ends it. To be called again with the facts that a
    /// step asks for.
    pub fn step(&mut self, cx: &Context<'_>) -> Step<Permitted<Call>> {
        let Some(mut call) = self.call.take() else {
            return Step::Denied(vec![Reason::new("closed-world.call", "request", "is over", "")]);
        };
        if self.links.is_empty() {
            return Step::Done(Permitted(call));
        }
        let typed = match &mut call {
            Call::Typed(typed) => typed,
            Call::Http2 if only_audits(self.links) => {
                self.findings.push(closed_world_found(http2()));
                return Step::Done(Permitted(call));
            }
            Call::Http2 => return Step::Denied(vec![http2()]),
            Call::Verbatim(_) => return Step::Denied(vec![must_be_parsed()]),
        };
        if self.next == 0
            && let Err(reason) = closed_world(typed)
        {
            // What only audits lets pass; what nobody knows is not sent all the same.
            let audits = only_audits(self.links);
            match audits || self.explains {
                true => self.findings.push(Finding { audits, ..closed_world_found(reason) }),
                false => return Step::Denied(vec![reason]),
            }
        }
        while let Some(link) = self.links.get(self.next) {
            let later = Later(self.links.get(self.next + 1..).unwrap_or_default());
            let thorough = link.audits || self.explains;
            let here = Context { later, thorough, ..link.context(cx) };
            match link.asked(link.policy.request(typed, &here)) {
                // What only audits changes nothing, does nothing and answers nothing.
                Verdict::Pass(_) | Verdict::Do(_) | Verdict::Answer(_) if link.audits => {}
                Verdict::Pass(edits) => {
                    if let Some(kept) = &mut self.edits {
                        let named = |edit: &Edit| (link.policy.name().to_owned(), edit.clone());
                        kept.extend(edits.iter().map(named));
                    }
                    edit::apply(typed, edits);
                }
                Verdict::Ask(questions) => {
                    self.call = Some(call);
                    return Step::Ask(questions);
                }
                Verdict::Do(deeds) => {
                    self.call = Some(call);
                    return Step::Do(deeds);
                }
                Verdict::Deny(reasons) if link.audits || self.explains => {
                    let found = |reason| Finding::of(link, reason);
                    self.findings.extend(reasons.into_iter().map(found));
                }
                Verdict::Deny(reasons) => return Step::Denied(reasons),
                Verdict::Answer(reply) => return Step::Answered(reply),
            }
            self.next += 1;
        }
        while let Some(link) = self.links.get(self.next_slot) {
            let deed = link.policy.slot(typed, cx).map(|slot| (slot.refusal(), Deed::Take(slot)));
            match deed.map(|(refusal, deed)| (refusal, cx.facts.outcome(&deed), deed)) {
                None | Some((_, Some(Ok(())), _)) => {}
                Some((_, None, deed)) => {
                    self.call = Some(call);
                    return Step::Do(vec![deed]);
                }
                Some((reason, Some(Err(_)), _)) if link.audits || self.explains => {
                    self.findings.push(Finding::of(link, reason));
                }
                Some((reason, Some(Err(_)), _)) => return Step::Denied(vec![reason]),
            }
            self.next_slot += 1;
        }
        // By BuildKit it has its Dockerfile from a session.
        let is_build = typed.endpoint() == Endpoint::ImageBuild
            && typed.query().get("version").is_none_or(|version| version != "2");
        let is_read = is_build && readers(self.links).next().is_some();
        if is_read || file_readers(self.links, typed.row()).next().is_some() {
            typed.open_context();
        }
        Step::Done(Permitted(call))
    }

    /// The policy whose turn it is.
    pub fn policy(&self) -> &str {
        self.turn().map_or("", |link| link.policy.name())
    }

    /// Whether the policy that is asked refuses nothing: it only audits, or only rewrites.
    pub fn refuses_nothing(&self) -> bool {
        self.turn().is_some_and(|link| link.audits || !link.policy.judges())
    }

    fn turn(&self) -> Option<&Link> {
        self.links.get(self.next).or_else(|| self.links.get(self.next_slot))
    }

    /// Keeps what is changed from here on.
    pub fn keep_edits(&mut self) {
        self.edits = Some(Vec::new());
    }

    /// What was changed since, and by which policy.
    pub fn edits(&self) -> &[(String, Edit)] {
        self.edits.as_deref().unwrap_or_default()
    }

    /// What policies that only audit would have refused.
    pub fn into_findings(self) -> Vec<Finding> {
        self.findings
    }
}

impl Answering<'_> {
    /// Asks the policies that read this answer, the last one first.
    pub fn step(&mut self, answer: &mut Answer<'_>, cx: &Context<'_>) -> Step<()> {
        while let Some(link) = self.left.checked_sub(1).and_then(|index| self.links.get(index)) {
            if link.policy.reads_answer(answer.call.row(), cx) != Reads::Nothing {
                let verdict = match link.audits {
                    true => self.audit(link, answer, cx),
                    false => link.asked(link.policy.answer(answer, &link.context(cx))),
                };
                match verdict {
                    Verdict::Pass(_) => {}
                    Verdict::Ask(questions) => return Step::Ask(questions),
                    Verdict::Do(deeds) => return Step::Do(deeds),
                    Verdict::Deny(reasons) => return Step::Denied(reasons),
                    Verdict::Answer(_) => return Step::Denied(vec![has_an_answer(link)]),
                }
            }
            self.left -= 1;
        }
        Step::Done(())
    }

    /// What policies that only audit would have refused.
    pub fn into_findings(self) -> Vec<Finding> {
        self.findings
    }

    /// An answer that an auditing policy changes or refuses goes on as it was; what it remembers stays.
    fn audit(&mut self, link: &Link, answer: &Answer<'_>, cx: &Context<'_>) -> Verdict {
        match link.policy.answer(&mut answer.clone(), cx) {
            Verdict::Ask(questions) => return Verdict::Ask(questions),
            Verdict::Do(mut deeds) => {
                deeds.retain(|deed| deed.is_memory() && cx.facts.outcome(deed).is_none());
                if !deeds.is_empty() {
                    return Verdict::Do(deeds);
                }
            }
            Verdict::Deny(reasons) => {
                self.findings.extend(reasons.into_iter().map(|reason| Finding::of(link, reason)));
            }
            Verdict::Pass(_) | Verdict::Answer(_) => {}
        }
        Verdict::pass()
    }
}

/// What comes of something that is no call, and that they can only allow or refuse.
fn all_of<'c>(
    links: impl Iterator<Item = &'c Link>,
    judge: impl Fn(&dyn Policy, &Context<'_>) -> Verdict,
    cx: &Context<'_>,
) -> Step<()> {
    for link in links {
        match link.asked(judge(&*link.policy, &link.context(cx))) {
            Verdict::Pass(_) => {}
            Verdict::Ask(questions) => return Step::Ask(questions),
            Verdict::Do(deeds) => return Step::Do(deeds),
            Verdict::Deny(reasons) => return Step::Denied(reasons),
            Verdict::Answer(_) => return Step::Denied(vec![has_an_answer(link)]),
        }
    }
    Step::Done(())
}

/// Whom Dockerfiles are shown to.
fn readers(links: &[Link]) -> impl Iterator<Item = &Link> {
    links.iter().filter(|link| !link.audits && link.policy.reads_dockerfile())
}

/// Who changes files of archives; those that only audit change nothing.
fn file_readers<'c>(links: &'c [Link], row: &Row) -> impl Iterator<Item = &'c Link> {
    links.iter().filter(|link| !link.audits && link.policy.reads_files(row))
}

fn has_an_answer(link: &Link) -> Reason {
    let why = format!("policy `{}` answers what the engine has answered", link.policy.name());
    Reason { status: 500, ..Reason::new("policy.answer", "answer", why, "") }
}

impl Finding {
    fn of(link: &Link, reason: Reason) -> Finding {
        Finding { policy: link.policy.name().to_owned(), reason, audits: link.audits }
    }
}

impl<T> Deref for Permitted<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// The policies behind the one that is asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Later<'c>(&'c [Link]);

impl Later<'_> {
    /// Whether they show callers nothing but what is the callers' own.
    pub fn is_own(self) -> bool {
        self.0.iter().any(|link| link.policy.view().is_some())
    }

    /// Takes off a container's create body what they put on every container.
    pub fn strip(self, made: &mut Value, cx: &Context<'_>) {
        self.0.iter().filter(|link| !link.audits).for_each(|link| link.policy.strip(made, cx));
    }
}

fn closed_world_found(reason: Reason) -> Finding {
    Finding { policy: "closed-world".to_owned(), reason, audits: true }
}

fn http2() -> Reason {
    let why = "must not be spoken while a policy is active: dockgate cannot look into it";
    Reason::new("closed-world.http2", "HTTP/2", why, "")
}

/// All but the rule of versions, which stands first.
fn only_audits(links: &[Link]) -> bool {
    links.iter().skip(1).all(|link| link.audits)
}

fn must_be_parsed() -> Reason {
    Reason::new("closed-world.call", "request", "must be parsed", "")
}

/// What dockgate does not know is not sent, whatever the policies are: the next engine may read it. And where it may be a
/// limit, what lacks it is not made.
fn closed_world(call: &Typed) -> Result<(), Reason> {
    if let Some(field) = call.refused_field() {
        return Err(Reason::new(
            "closed-world.field",
            field.path.clone(),
            "is not a field of the Engine API that dockgate knows",
            "leave it out",
        ));
    }
    if let Some(name) = call.unknown_query().first() {
        return Err(Reason::new(
            "closed-world.query",
            format!("?{name}"),
            "is not a query parameter of the Engine API that dockgate knows",
            "leave it out",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
