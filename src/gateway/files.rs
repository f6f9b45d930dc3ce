//! An archive of images on its way (`load` to the engine, `save` from it), with files in it that policies change.
//!
//! `entries` and `answer` call it where a policy reads files. What must stay true: of a file that a policy wants nothing goes on
//! but what it makes of it; all else streams; nothing is held but one such file, and documents, which are bounded and counted.
//! The engine has the end of what is loaded when the policies have judged all that is in it, and not before.

use super::ListenerState;
use super::budget::Lease;
use super::context::ask;
use super::counted::{self, CountedFile};
use super::entries::{EntryFilter, UploadError, unreadable};
use super::items::StreamEnd;
use super::refusal::Refusal;
use super::unpack::Unpacker;
use crate::api::endpoint::Versions;
use crate::api::{Endpoint, Typed};
use crate::auth::{Identity, PeerKey};
use crate::policy::{Contents, Context, Reason};
use crate::wire::framing::Framing;
use crate::wire::io::Writer;
use crate::wire::pump::{Inbox, PumpError};
use crate::wire::tar::{Archive, EntryKind, TarEntry, TarError, padding, with_length};
use crate::wire::trail::Trail;

/// Of an entry.
const HEADER: usize = 512;
/// What an entry's path and digests take, at most.
const PER_PATH: usize = 1024;
/// Behind the last entry, where `tar` fills up a record.
const MOST_BEHIND: usize = 1 << 20;

/// Whose archive it is, and of what call.
#[derive(Clone, Copy)]
pub(super) struct ArchiveOf<'a> {
    pub state: &'a ListenerState,
    pub identity: &'a Identity,
    pub call: &'a Typed,
    pub engine: Versions,
    pub trail: &'a Trail,
    pub source: PeerKey,
}

/// An archive that is fed.
pub(super) struct Files<'a> {
    of: ArchiveOf<'a>,
    archive: Archive,
    held: Option<HeldFile>,
    counting: Option<Counting>,
    /// What may go on, and has not yet.
    out: Vec<u8>,
}

/// Of what is loaded, all that is in it.
struct Counting {
    contents: Contents,
    file: Option<CountedFile>,
    /// How much of `out` belongs to entries whose headers are complete: behind them the archive may be at its end.
    entered: usize,
    /// What documents take.
    kept: usize,
    lease: Option<Lease>,
}

/// A file as far as it has come.
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
    /// Passes the archive of a `load` on while it comes, unpacked.
    pub(super) async fn pump_files(
        &self,
        from: &mut Inbox<'_>,
        framing: &mut Framing,
        to: &mut Writer<'_>,
        passed: &mut u64,
    ) -> Result<(), UploadError> {
        let EntryFilter { state, identity, call, engine, trail, source } = *self;
        let mut files = Files::new(ArchiveOf { state, identity, call, engine, trail, source });
        // A request of HTTP/1.0 has no chunks, and its length was said.
        let in_chunks = call.sends_chunks();
        let mut unpacker = Unpacker::new(in_chunks);
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
            for piece in unpacker.pieces(&part) {
                let plain = unpacker.take(piece).map_err(denied)?;
                files.take(&plain, in_chunks).await.map_err(UploadError::Refused)?;
                send(&files.ready(), in_chunks, to).await?;
            }
        }
        let rest = unpacker.finish().map_err(denied)?;
        files.take(&rest, in_chunks).await.map_err(UploadError::Refused)?;
        let rest = files.finish(in_chunks).await.map_err(UploadError::Refused)?;
        send(&rest, in_chunks, to).await?;
        if in_chunks {
            let end = to.write_all(b"0\r\n\r\n").await;
            end.map_err(|error| UploadError::Pump(PumpError::Write(error)))?;
        }
        Ok(())
    }
}

impl<'a> Files<'a> {
    pub(super) fn new(of: ArchiveOf<'a>) -> Files<'a> {
        let counting = (of.call.endpoint() == Endpoint::ImageLoad).then(|| Counting {
            contents: Contents::default(),
            file: None,
            entered: 0,
            kept: 0,
            lease: None,
        });
        Files { of, archive: Archive::default(), held: None, counting, out: Vec::new() }
    }

    /// Passes an archive of the engine's on, behind its head, while it comes.
    pub(super) async fn pass(
        mut self,
        head: Vec<u8>,
        from: &mut Inbox<'_>,
        framing: &mut Framing,
        to: &mut Writer<'_>,
        sent: &mut u64,
        in_chunks: bool,
    ) -> StreamEnd {
        let mut out = head;
        let mut part = Vec::new();
        loop {
            part.clear();
            let body = from.buffer.unread();
            let Ok(n) = framing.take_payload(body, |payload| part.extend_from_slice(payload))
            else {
                return StreamEnd::Cut;
            };
            from.buffer.consume(n);
            let is_over = framing.is_done();
            let shown = match self.take(&part, true).await {
                Ok(()) if is_over => self.finish(true).await,
                Ok(()) => Ok(self.ready()),
                Err(refusal) => Err(refusal),
            };
            match shown {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) if in_chunks => out.extend_from_slice(&chunk(&bytes)),
                Ok(bytes) => out.extend_from_slice(&bytes),
                // The client has the head already, and can only be told by the end.
                Err(refusal) => {
                    tracing::warn!(why = %refusal, "an archive of the engine's cannot be passed on");
                    return StreamEnd::Cut;
                }
            }
            if is_over && in_chunks {
                out.extend_from_slice(b"0\r\n\r\n");
            }
            *sent += out.len() as u64;
            if !out.is_empty() && to.write_all(&out).await.is_err() {
                return StreamEnd::ClientLeft;
            }
            out.clear();
            if is_over {
                return StreamEnd::Complete;
            }
            match from.more().await {
                Ok(true) => {}
                Ok(false) if framing.close() => {}
                Ok(false) | Err(_) => return StreamEnd::Cut,
            }
        }
    }

    async fn take(&mut self, mut bytes: &[u8], may_grow: bool) -> Result<(), Refusal> {
        while !bytes.is_empty() {
            let file = self.counting.as_ref().and_then(|counting| counting.file.as_ref());
            let left = self.held.as_ref().map(|held| held.left).or(file.map(CountedFile::left));
            let most = left.map_or(bytes.len(), |left| left.min(bytes.len()));
            let now = bytes.get(..most).unwrap_or_default();
            let (n, entry) =
                self.archive.take(now).map_err(|error| Refusal::Denied(unreadable(&error)))?;
            let taken = bytes.get(..n).unwrap_or_default();
            bytes = bytes.get(n..).unwrap_or_default();
            if let Some(held) = &mut self.held {
                held.content.extend_from_slice(taken);
                held.left = held.left.saturating_sub(n);
                self.release(may_grow).await?;
                continue;
            }
            self.out.extend_from_slice(taken);
            self.count(taken)?;
            let Some(entry) = entry else { continue };
            let is_wanted = self.of.state.chain.wants_file(self.of.call, &entry);
            if is_wanted.map_err(|reason| Refusal::Denied(vec![reason]))? {
                self.hold(entry)?;
                self.release(may_grow).await?;
            } else {
                self.enter(&entry)?;
            }
        }
        Ok(())
    }

    /// All but what may be the end, or the beginning of a header, whose file may be wanted.
    fn ready(&mut self) -> Vec<u8> {
        let ready = match &mut self.counting {
            None => self.out.len().saturating_sub(self.archive.unfinished()),
            // The last byte of a body is its end too.
            Some(counting) => {
                let ready = counting.entered.saturating_sub(1);
                counting.entered -= ready;
                ready
            }
        };
        let kept = self.out.split_off(ready);
        std::mem::replace(&mut self.out, kept)
    }

    async fn finish(&mut self, may_grow: bool) -> Result<Vec<u8>, Refusal> {
        if let Some(held) = &mut self.held {
            // An archive may end with its last file.
            if held.content.len() < held.size {
                return Err(Refusal::Denied(unreadable(&TarError::Checksum)));
            }
            held.left = 0;
            self.release(may_grow).await?;
        }
        self.archive.finish().map_err(|error| Refusal::Denied(unreadable(&error)))?;
        if let Some(mut counting) = self.counting.take() {
            if counting.file.as_ref().is_some_and(|file| !file.is_whole()) {
                return Err(Refusal::Denied(unreadable(&TarError::Checksum)));
            }
            counting.end_file().map_err(Refusal::Denied)?;
            let judged = self.of.state.chain.contents(self.of.call, &counting.contents);
            judged.map_err(|reason| Refusal::Denied(vec![reason]))?;
        }
        Ok(std::mem::take(&mut self.out))
    }

    /// What has come of a file, or what is between entries.
    fn count(&mut self, taken: &[u8]) -> Result<(), Refusal> {
        let Some(counting) = &mut self.counting else { return Ok(()) };
        let Some(file) = &mut counting.file else {
            return match self.out.len().saturating_sub(counting.entered) > MOST_BEHIND {
                true => Err(Refusal::Denied(unreadable(&TarError::Extension))),
                false => Ok(()),
            };
        };
        counting.entered = self.out.len();
        file.take(taken).map_err(Refusal::Denied)?;
        let ArchiveOf { state, source, .. } = self.of;
        state.budgets.bodies.cover(&mut counting.lease, source, counting.kept + file.kept())?;
        if file.left() == 0 {
            counting.end_file().map_err(Refusal::Denied)?;
        }
        Ok(())
    }

    /// An entry whose header is complete goes on.
    fn enter(&mut self, entry: &TarEntry) -> Result<(), Refusal> {
        let Some(counting) = &mut self.counting else { return Ok(()) };
        counting.entered = self.out.len();
        counting.kept += PER_PATH;
        let ArchiveOf { state, source, .. } = self.of;
        state.budgets.bodies.cover(&mut counting.lease, source, counting.kept)?;
        counting.enter(entry).map_err(Refusal::Denied)
    }

    fn hold(&mut self, entry: TarEntry) -> Result<(), Refusal> {
        let ArchiveOf { state, source, .. } = self.of;
        let size = usize::try_from(entry.size).unwrap_or(usize::MAX);
        let whole = size.saturating_add(padding(size));
        let mut lease = None;
        state.budgets.bodies.cover(&mut lease, source, whole)?;
        let header = self.out.split_off(self.out.len().saturating_sub(HEADER));
        let content = Vec::with_capacity(whole);
        self.held = Some(HeldFile { entry, header, content, size, left: whole, _lease: lease });
        Ok(())
    }

    /// What the policies make of a file, once all of it has come.
    async fn release(&mut self, may_grow: bool) -> Result<(), Refusal> {
        let Some(held) = self.held.take_if(|held| held.left == 0) else { return Ok(()) };
        let ArchiveOf { state, identity, call, engine, trail, source } = self.of;
        let file = held.content.get(..held.size).unwrap_or_default();
        let asking = |cx: &Context<'_>| state.chain.file(call, &held.entry, file, cx);
        let changed = ask(state, identity, engine, trail, asking).await?;
        if let Some(counting) = &mut self.counting {
            let goes_on = changed.as_deref().unwrap_or(file);
            counting.kept += goes_on.len();
            state.budgets.bodies.cover(&mut counting.lease, source, counting.kept)?;
            let document = counted::document(goes_on);
            let added = counting.contents.add(&held.entry.path, document);
            added.map_err(|why| Refusal::Denied(spoilt(&held.entry.path, why)))?;
        }
        match changed {
            None => {
                self.out.extend_from_slice(&held.header);
                self.out.extend_from_slice(&held.content);
            }
            Some(changed) => {
                let (from, to) = (held.size as u64, changed.len() as u64);
                let header =
                    with_length(&held.entry, &held.header, to).filter(|_| may_grow || from == to);
                let header = header.ok_or_else(|| Refusal::Denied(vec![unchangeable()]))?;
                self.out.extend_from_slice(&header);
                self.out.extend_from_slice(&changed);
                self.out.resize(self.out.len() + padding(changed.len()), 0);
            }
        }
        if let Some(counting) = &mut self.counting {
            counting.entered = self.out.len();
        }
        Ok(())
    }
}

impl Counting {
    fn enter(&mut self, entry: &TarEntry) -> Result<(), Vec<Reason>> {
        let added = match entry.kind {
            EntryKind::File => {
                self.file = Some(CountedFile::new(entry.path.clone(), entry.size));
                return if entry.size == 0 { self.end_file() } else { Ok(()) };
            }
            EntryKind::Symlink => self.contents.link(&entry.path, &entry.link),
            EntryKind::Directory => self.contents.folder(&entry.path),
            // No policy lets these through.
            _ => Err("is no file"),
        };
        added.map_err(|why| spoilt(&entry.path, why))
    }

    fn end_file(&mut self) -> Result<(), Vec<Reason>> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let path = file.path.clone();
        self.kept += file.kept();
        self.contents.add(&path, file.end()?).map_err(|why| spoilt(&path, why))
    }
}

fn spoilt(path: &[u8], why: &'static str) -> Vec<Reason> {
    let path = String::from_utf8_lossy(path).into_owned();
    vec![Reason::new("archive.unreadable", path, why, "")]
}

/// As one chunk, where there are chunks.
async fn send(bytes: &[u8], in_chunks: bool, to: &mut Writer<'_>) -> Result<(), UploadError> {
    if bytes.is_empty() {
        return Ok(());
    }
    let written = match in_chunks {
        true => to.write_all(&chunk(bytes)).await,
        false => to.write_all(bytes).await,
    };
    written.map_err(|error| UploadError::Pump(PumpError::Write(error)))
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut out = format!("{:x}\r\n", bytes.len()).into_bytes();
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
    out
}

fn denied(reasons: Vec<Reason>) -> UploadError {
    UploadError::Refused(Refusal::Denied(reasons))
}

fn unchangeable() -> Reason {
    let why = "cannot be changed: the archive says its length beforehand";
    Reason::new(
        "archive.unreadable",
        "the archive",
        why,
        "send it in chunks, as Docker's own clients do",
    )
}
