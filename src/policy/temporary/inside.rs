//! What holds on a job's socket besides the policies that the configuration names.
//!
//! `run::plan` puts `PeerInJob` in front of these and `InJob` behind them, before the namespace. What must stay true: only
//! who runs in the job's own container, or in one that was made through the socket, is served; a container that asks for the
//! engine's socket gets the job's.

use super::members::Members;
use super::socket::{self, Sockets};
use super::{LINKS, cgroup, container_of, removed};
use crate::api::doc::Value;
use crate::api::{Endpoint, Row, Typed};
use crate::policy::{
    Answer, Context, Deed, Edit, Fact, Policy, Question, Reads, Reason, Verdict, edit,
};

/// Lets in who is of the job.
#[derive(Debug)]
pub struct PeerInJob {
    job: String,
    members: Members,
    /// Of a job that is no container's: the user whose processes on the host are of it.
    owner: Option<u32>,
}

impl PeerInJob {
    pub fn new(job: &str, members: &Members, owner: Option<u32>) -> PeerInJob {
        PeerInJob { job: job.to_owned(), members: members.clone(), owner }
    }
}

impl Policy for PeerInJob {
    fn name(&self) -> &str {
        "job"
    }

    fn request(&self, _: &Typed, cx: &Context<'_>) -> Verdict {
        if self.members.is_over() {
            return Verdict::deny(self.refused(format!("job `{}` is over", self.job)));
        }
        let Some(peer) = cx.identity.container() else {
            let is_of_host = cx.identity.is_of_host();
            if self.owner.is_some() && cx.identity.uid() == self.owner && is_of_host {
                return Verdict::pass();
            }
            let why = "this socket serves processes in containers of its job, and which one you are in is not known";
            return Verdict::deny(self.refused(why.to_owned()));
        };
        if self.members.has(peer) {
            return Verdict::pass();
        }
        // As the namespace shows the engine: what is another's is not there.
        let question = Question::Container(peer.to_owned());
        match cx.facts.get(&question) {
            None => Verdict::Ask(vec![question]),
            Some(Fact::Json(_)) => Verdict::pass(),
            Some(_) => {
                let why = format!("this socket is job `{}`'s, and your container is not", self.job);
                Verdict::deny(self.refused(why))
            }
        }
    }
}

impl PeerInJob {
    fn refused(&self, why: String) -> Reason {
        Reason::new("job.peer", "request", why, "")
    }
}

/// Gives the job's socket to those of its containers that ask for one.
#[derive(Debug)]
pub struct InJob {
    job: String,
    sockets: Sockets,
    /// Whether all that the job makes is in one cgroup.
    shares_cgroup: bool,
}

impl InJob {
    pub fn new(job: &str, sockets: Sockets, shares_cgroup: bool) -> InJob {
        InJob { job: job.to_owned(), sockets, shares_cgroup }
    }

    fn create(&self, root: &Value, cx: &Context<'_>) -> Result<Vec<Edit>, Verdict> {
        let mut changed = root.clone();
        let mut notes = Vec::new();
        if !self.sockets.asked(root).is_empty() {
            let borrowed = socket::borrowed(root, cx)?;
            if let Some(reason) = socket::unfit(&self.sockets, root, &borrowed, None) {
                return Err(Verdict::deny(reason));
            }
            let socket = self.sockets.of(&self.job);
            let links = socket.put(&mut changed, &self.sockets, &borrowed);
            notes.push(Edit::Note(LINKS, links.join("\n")));
        }
        if self.shares_cgroup {
            cgroup::put(&mut changed, cgroup::parent(&self.job, cx)?)?;
        }
        let mut edits = edit::between(root, changed);
        edits.extend(notes);
        Ok(edits)
    }
}

impl Policy for InJob {
    fn name(&self) -> &str {
        "job"
    }

    fn request(&self, call: &Typed, cx: &Context<'_>) -> Verdict {
        let judged = match (call.endpoint(), call.doc()) {
            (Endpoint::ContainerCreate, Some(doc)) => self.create(&doc.root, cx),
            (Endpoint::ImageBuild, _) if self.shares_cgroup => cgroup::parent(&self.job, cx)
                .map(|parent| vec![Edit::Query("cgroupparent".into(), Some(parent))]),
            _ => Ok(Vec::new()),
        };
        judged.map_or_else(|verdict| verdict, Verdict::Pass)
    }

    fn strip(&self, made: &mut Value, _: &Context<'_>) {
        self.sockets.strip(made);
        cgroup::strip(made);
    }

    fn reads_answer(&self, row: &Row, _: &Context<'_>) -> Reads {
        match row.endpoint {
            Endpoint::ContainerCreate => Reads::Whole,
            _ => Reads::Nothing,
        }
    }

    fn answer(&self, answer: &mut Answer<'_>, cx: &Context<'_>) -> Verdict {
        let links = answer.call.note(LINKS).filter(|links| !links.is_empty());
        let (Some(links), Some(container)) = (links, container_of(answer)) else {
            return Verdict::pass();
        };
        let linked = Deed::Link {
            container: container.to_owned(),
            links: links.lines().map(str::to_owned).collect(),
            to: socket::INSIDE.to_owned(),
        };
        match cx.facts.outcome(&linked) {
            None => Verdict::Do(vec![linked]),
            Some(Ok(())) => Verdict::pass(),
            Some(Err(why)) => {
                let why = format!("{linked} could not be done: {why}");
                removed(container, why, cx)
            }
        }
    }
}
