//! A build's context on its way to the engine: unpacked, and its Dockerfile held back until it has been judged.
//!
//! `entries` calls it where a policy reads Dockerfiles. What must stay true: the engine gets no byte of a Dockerfile that was
//! not judged, and can take no other file of the context for it; all else streams. Nothing is held but the Dockerfile, which
//! is bounded and counted.

use super::budget::Lease;
use super::entries::{EntryFilter, UploadError, unreadable};
use super::refusal::Refusal;
use super::unpack::Unpacker;
use super::{ListenerState, deeds, facts};
use crate::api::dockerfile::{AskedBuild, ContextError, DockerfileFinder};
use crate::api::endpoint::Versions;
use crate::auth::Identity;
use crate::policy::{Context, Facts, Reason, Step};
use crate::wire::framing::Framing;
use crate::wire::io::Writer;
use crate::wire::pump::{Inbox, PumpError};
use crate::wire::tar::{Archive, TarEntry, TarError, padding, with_length};
use crate::wire::trail::Trail;

/// Of an entry.
const HEADER: usize = 512;

struct BuildContext<'f, 'a> {
    filter: &'f EntryFilter<'a>,
    build: AskedBuild,
    unpacker: Unpacker,
    archive: Archive,
    finder: DockerfileFinder,
    held: Option<HeldFile>,
    /// What may go on, and has not yet.
    out: Vec<u8>,
    in_chunks: bool,
}

/// A Dockerfile as far as it has come.
struct HeldFile {
    entry: TarEntry,
    header: Vec<u8>,
    /// With what fills its last block.
    content: Vec<u8>,
    size: usize,
    left: usize,
    _lease: Option<Lease>,
}

impl EntryFilter<'_> {
    /// Passes a build's context on while it comes.
    pub(super) async fn pump_context(
        &self,
        from: &mut Inbox<'_>,
        framing: &mut Framing,
        to: &mut Writer<'_>,
        passed: &mut u64,
    ) -> Result<(), UploadError> {
        let mut context = BuildContext::new(self)?;
        let mut part = Vec::new();
        while !framing.is_done() {
            let failed = |error| UploadError::Pump(PumpError::Read(error));
            if from.buffer.is_empty() && !from.more().await.map_err(failed)? {
                if !framing.close() {
                    return Err(UploadError::Pump(PumpError::Cut));
                }
                break;
            }
            part.clear();
            let n = framing
                .take_payload(from.buffer.unread(), |payload| part.extend_from_slice(payload))
                .map_err(|error| UploadError::Pump(error.into()))?;
            from.buffer.consume(n);
            *passed += n as u64;
            context.take(&part, to).await?;
        }
        context.finish(to).await
    }
}

impl<'f, 'a> BuildContext<'f, 'a> {
    fn new(filter: &'f EntryFilter<'a>) -> Result<BuildContext<'f, 'a>, UploadError> {
        let build = AskedBuild::of_call(filter.call).ok_or_else(|| {
            let why = "cannot be read, and a Dockerfile's variables depend on them";
            denied(vec![Reason::new("build.dockerfile", "?buildargs", why, "")])
        })?;
        let finder = DockerfileFinder::new(&build.filename);
        let in_chunks = filter.call.sends_chunks();
        Ok(BuildContext {
            build,
            filter,
            unpacker: Unpacker::new(in_chunks),
            archive: Archive::default(),
            finder: finder.map_err(|error| denied(vec![misplaced(error)]))?,
            held: None,
            out: Vec::new(),
            in_chunks,
        })
    }

    async fn take(&mut self, part: &[u8], to: &mut Writer<'_>) -> Result<(), UploadError> {
        for piece in self.unpacker.pieces(part) {
            let plain = self.unpacker.take(piece).map_err(denied)?;
            self.plain(&plain, to).await?;
        }
        Ok(())
    }

    async fn plain(&mut self, mut bytes: &[u8], to: &mut Writer<'_>) -> Result<(), UploadError> {
        while !bytes.is_empty() {
            let most = self.held.as_ref().map_or(bytes.len(), |held| held.left.min(bytes.len()));
            let now = bytes.get(..most).unwrap_or_default();
            let (n, entry) = self.archive.take(now).map_err(|error| denied(unreadable(&error)))?;
            let taken = bytes.get(..n).unwrap_or_default();
            bytes = bytes.get(n..).unwrap_or_default();
            if let Some(held) = &mut self.held {
                held.content.extend_from_slice(taken);
                held.left = held.left.saturating_sub(n);
                self.release(to).await?;
                continue;
            }
            let Some(entry) = entry else {
                self.out.extend_from_slice(taken);
                continue;
            };
            self.filter.show_entry(&entry).map_err(denied)?;
            let found = self.finder.is_dockerfile(&entry);
            let is_it = found.map_err(|error| denied(vec![misplaced(error)]))?;
            self.out.extend_from_slice(taken);
            if is_it {
                self.hold(entry)?;
                self.release(to).await?;
            }
        }
        self.flush(to).await
    }

    fn hold(&mut self, entry: TarEntry) -> Result<(), UploadError> {
        let EntryFilter { state, source, .. } = self.filter;
        let size = usize::try_from(entry.size).unwrap_or(usize::MAX);
        let mut lease = None;
        let whole = size.saturating_add(padding(size));
        let covered = state.budgets.bodies.cover(&mut lease, *source, whole);
        covered.map_err(|full| UploadError::Refused(full.into()))?;
        let header = self.out.split_off(self.out.len().saturating_sub(HEADER));
        let content = Vec::with_capacity(whole);
        self.held = Some(HeldFile { entry, header, content, size, left: whole, _lease: lease });
        Ok(())
    }

    /// Sends the Dockerfile on, once all of it has come and nothing speaks against it.
    async fn release(&mut self, to: &mut Writer<'_>) -> Result<(), UploadError> {
        let Some(held) = self.held.take_if(|held| held.left == 0) else {
            return self.flush(to).await;
        };
        let EntryFilter { state, identity, engine, trail, .. } = *self.filter;
        let file = held.content.get(..held.size).unwrap_or_default();
        let judging = judge(state, identity, engine, trail, (&self.build, file));
        match judging.await.map_err(UploadError::Refused)? {
            None => {
                self.out.extend_from_slice(&held.header);
                self.out.extend_from_slice(&held.content);
            }
            Some(changed) => {
                // The length of the archive would be another.
                let to = changed.len() as u64;
                let header = with_length(&held.entry, &held.header, to).filter(|_| self.in_chunks);
                let header = header.ok_or_else(|| denied(vec![unchangeable()]))?;
                self.out.extend_from_slice(&header);
                self.out.extend_from_slice(&changed);
                self.out.resize(self.out.len() + padding(changed.len()), 0);
            }
        }
        self.flush(to).await
    }

    /// All but the beginning of a header, which may be the Dockerfile's.
    async fn flush(&mut self, to: &mut Writer<'_>) -> Result<(), UploadError> {
        let ready = self.out.len().saturating_sub(self.archive.unfinished());
        let kept = self.out.split_off(ready);
        let flushed = self.flush_all(to).await;
        self.out = kept;
        flushed
    }

    async fn flush_all(&mut self, to: &mut Writer<'_>) -> Result<(), UploadError> {
        if self.out.is_empty() {
            return Ok(());
        }
        let written = if self.in_chunks {
            let size = format!("{:x}\r\n", self.out.len());
            self.out.extend_from_slice(b"\r\n");
            to.write_two(size.as_bytes(), &self.out).await
        } else {
            to.write_all(&self.out).await
        };
        self.out.clear();
        written.map_err(|error| UploadError::Pump(PumpError::Write(error)))
    }

    async fn finish(mut self, to: &mut Writer<'_>) -> Result<(), UploadError> {
        let rest = self.unpacker.finish().map_err(denied)?;
        self.plain(&rest, to).await?;
        if let Some(held) = &mut self.held {
            // An archive may end with its last file.
            if held.content.len() < held.size {
                return Err(denied(unreadable(&TarError::Checksum)));
            }
            held.left = 0;
            self.release(to).await?;
        }
        self.flush_all(to).await?;
        self.archive.finish().map_err(|error| denied(unreadable(&error)))?;
        if self.in_chunks {
            let end = to.write_all(b"0\r\n\r\n").await;
            end.map_err(|error| UploadError::Pump(PumpError::Write(error)))?;
        }
        Ok(())
    }
}

/// Shows a whole Dockerfile to the policies that read them.
pub(super) async fn judge(
    state: &ListenerState,
    identity: &Identity,
    engine: Versions,
    trail: &Trail,
    (build, file): (&AskedBuild, &[u8]),
) -> Result<Option<Vec<u8>>, Refusal> {
    let asking = |cx: &Context<'_>| state.chain.dockerfile(build, file, cx);
    ask(state, identity, engine, trail, asking).await
}

/// Asks the policies of something that is no call, until none wants to know more.
pub(super) async fn ask<T>(
    state: &ListenerState,
    identity: &Identity,
    engine: Versions,
    trail: &Trail,
    asking: impl Fn(&Context<'_>) -> Step<T>,
) -> Result<T, Refusal> {
    let mut facts = Facts::default();
    loop {
        match asking(&facts::context(state, identity, engine, &facts)) {
            Step::Done(done) => return Ok(done),
            Step::Denied(reasons) => return Err(Refusal::Denied(reasons)),
            Step::Answered(reply) => return Err(Refusal::Answered(reply)),
            Step::Ask(questions) => {
                facts::find_out(state, engine, identity, questions, trail, &mut facts).await?;
            }
            Step::Do(wanted) => {
                let none = &mut Vec::new();
                let who = (identity, engine);
                deeds::carry_out(state, who, wanted, trail, &mut facts, none).await?;
            }
        }
    }
}

fn unchangeable() -> Reason {
    let why = "cannot be changed: the archive says its length beforehand";
    let hint = "send the context in chunks, as Docker's own clients do";
    Reason::new("build.dockerfile", "Dockerfile", why, hint)
}

fn denied(reasons: Vec<Reason>) -> UploadError {
    UploadError::Refused(Refusal::Denied(reasons))
}

fn misplaced(error: ContextError) -> Reason {
    let hint = "send the Dockerfile as a file of its own, once";
    Reason::new("build.dockerfile", error.subject(), error.to_string(), hint)
}
