//! An archive on its way to the engine (a build's context, `PUT archive`, `load`), its entries shown to the policies.
//!
//! `exchange` calls it where a policy reads entries. What must stay true: the bytes go on as they came, and none of a
//! header before the policies have seen its entry; nothing is held back for longer than that; of an archive that cannot
//! be read, nothing more goes on.

use super::refusal::Refusal;
use super::{ListenerState, facts};
use crate::api::endpoint::Versions;
use crate::api::{Endpoint, Typed};
use crate::auth::{Identity, PeerKey};
use crate::policy::{Facts, Reason};
use crate::wire::framing::Framing;
use crate::wire::io::Writer;
use crate::wire::pump::{Inbox, PumpError};
use crate::wire::tar::{Archive, TarEntry, TarError};
use crate::wire::trail::Trail;

/// What the entries of an archive go through.
pub(super) struct EntryFilter<'a> {
    pub state: &'a ListenerState,
    pub identity: &'a Identity,
    pub call: &'a Typed,
    pub engine: Versions,
    pub trail: &'a Trail,
    /// Whose memory it is.
    pub source: PeerKey,
}

/// Why a body did not come to its end.
#[derive(Debug)]
pub(super) enum UploadError {
    Pump(PumpError),
    Refused(Refusal),
}

impl EntryFilter<'_> {
    /// Passes a body on while it comes, as `wire::pump` does.
    pub(super) async fn pump(
        &self,
        from: &mut Inbox<'_>,
        framing: &mut Framing,
        to: &mut Writer<'_>,
        passed: &mut u64,
    ) -> Result<(), UploadError> {
        if self.call.has_open_context() {
            // Boxed: what these need is not carried through every upload.
            return match self.call.endpoint() {
                Endpoint::ImageBuild => {
                    Box::pin(self.pump_context(from, framing, to, passed)).await
                }
                _ => Box::pin(self.pump_files(from, framing, to, passed)).await,
            };
        }
        let mut archive = Archive::default();
        while !framing.is_done() {
            let failed = |error| UploadError::Pump(PumpError::Read(error));
            if from.buffer.is_empty() && !from.more().await.map_err(failed)? {
                return if framing.close() {
                    Ok(())
                } else {
                    Err(UploadError::Pump(PumpError::Cut))
                };
            }
            let mut shown = Ok(());
            let n = framing
                .take_payload(from.buffer.unread(), |part| {
                    if shown.is_ok() {
                        shown = self.show(&mut archive, part);
                    }
                })
                .map_err(|error| UploadError::Pump(error.into()))?;
            if shown.is_ok() && framing.is_done() {
                shown = archive.finish().map_err(|error| unreadable(&error));
            }
            if let Err(reasons) = shown {
                from.buffer.consume(n);
                return Err(UploadError::Refused(Refusal::Denied(reasons)));
            }
            let part = from.buffer.unread().get(..n).unwrap_or(&[]);
            to.write_all(part).await.map_err(|error| UploadError::Pump(PumpError::Write(error)))?;
            *passed += n as u64;
            from.buffer.consume(n);
        }
        Ok(())
    }

    fn show(&self, archive: &mut Archive, part: &[u8]) -> Result<(), Vec<Reason>> {
        let entries = archive.push(part).map_err(|error| unreadable(&error))?;
        entries.iter().try_for_each(|entry| self.show_entry(entry))
    }

    pub(super) fn show_entry(&self, entry: &TarEntry) -> Result<(), Vec<Reason>> {
        let facts = Facts::default();
        let cx = facts::context(self.state, self.identity, self.engine, &facts);
        self.state.chain.entry(self.call, entry, &cx)
    }
}

pub(super) fn unreadable(error: &TarError) -> Vec<Reason> {
    let why = format!("cannot be looked into: {error}");
    let hint = "send a plain tar archive, as `tar` and Docker's own clients make it";
    vec![Reason::new("archive.unreadable", "the archive", why, hint)]
}
