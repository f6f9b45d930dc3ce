//! An answer that is coming in, and those who read it meanwhile.
//!
//! The filler (`filler`) writes one, on the fetch thread; any number of readers follow it on the
//! workers. Most of it lies in a draft file of the store; what no disk takes passes through memory,
//! and only then does the slowest reader hold the filler up, for a while. What must stay true: a reader of a body
//! with a length gets the last byte, and one without the end, only after the verdict that the whole
//! is right.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use tokio::sync::{Notify, mpsc, watch};

use super::passage::Passage;
use crate::cache::fresh::{self, NotStored};
use crate::cache::meta::Meta;
use crate::cache::store::{Lock, StoredResponse};
use crate::cache::upstream::Fault;

/// How long one reader may hold up others, where no file lies between.
const STOPPED: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct InFlightBody {
    state: watch::Sender<FlightState>,
    passage: Mutex<Passage>,
    /// A reader has moved on, or gone.
    moved: Notify,
    landed: OnceLock<StoredResponse>,
    outdated: AtomicBool,
    /// Keeps other processes from asking for the same.
    lock: Mutex<Option<Lock>>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct FlightState {
    /// 1xx answers so far.
    pub interim: Vec<Arc<(StatusCode, HeaderMap)>>,
    pub answer: Option<FlightAnswer>,
    /// Bytes of the body that can be read.
    pub written: u64,
    pub end: Option<End>,
}

/// What came of a request to the origin.
#[derive(Clone, Debug)]
pub enum FlightAnswer {
    /// A new answer, whose body grows.
    New(Arc<Head>),
    /// What is stored is still good; with it what the origin said to the client that asked, and only to
    /// that one.
    Stored(Arc<StoredResponse>, Arc<HeaderMap>),
    /// Somebody else has stored it meanwhile.
    Found(Arc<StoredResponse>),
    Failed(Arc<Fault>),
}

#[derive(Debug)]
pub struct Head {
    /// As it is stored, and given to whoever reads along.
    pub meta: Meta,
    /// As it came: for the client that asked.
    pub headers: HeaderMap,
    /// Whether others may have it: what is not storable answers the one request that it came for.
    pub is_shared: bool,
    /// The body's, if the origin says it.
    pub length: Option<u64>,
    pub stored: Result<(), Unstored>,
    /// The draft, and where the body begins in it.
    pub draft: Option<(Arc<File>, u64)>,
}

/// Why an answer goes into no store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unstored {
    #[error("{0}")]
    Response(NotStored),
    #[error("pass-through")]
    PassThrough,
    /// A check has found it wrong.
    #[error("wrong")]
    Wrong,
    /// It is to have a digest and came in a coding of its own.
    #[error("unchecked")]
    Unchecked,
    /// An error of the origin, while something older may be used.
    #[error("stale-if-error")]
    Error,
    /// One object is not to take the place of all others.
    #[error("too-large")]
    TooLarge,
    /// The disk does not take it.
    #[error("disk")]
    Disk,
}

impl Unstored {
    /// Whether the next answer will hardly be stored either, whoever asks.
    pub fn is_of_the_url(self) -> bool {
        use NotStored::{NoFreshness, NoStore, NoValidator, Private, VaryStar};
        matches!(
            self,
            Unstored::PassThrough
                | Unstored::Response(NoFreshness | NoStore | NoValidator | Private | VaryStar)
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Whole,
    Broken,
}

impl InFlightBody {
    /// A new one, and its first reader.
    pub fn begin() -> (Arc<InFlightBody>, Reader) {
        let in_flight = Arc::new(InFlightBody {
            state: watch::Sender::new(FlightState::default()),
            passage: Mutex::default(),
            moved: Notify::new(),
            landed: OnceLock::new(),
            outdated: AtomicBool::new(false),
            lock: Mutex::default(),
        });
        let reader = in_flight.seat(&mut in_flight.passage());
        (in_flight, reader)
    }

    /// Whether something may still come of it for others than it was asked for.
    pub fn is_flying(&self) -> bool {
        let state = self.state.borrow();
        let is_open = match &state.answer {
            None => true,
            Some(FlightAnswer::New(head)) => head.is_shared,
            Some(FlightAnswer::Failed(_) | FlightAnswer::Stored(..) | FlightAnswer::Found(_)) => {
                false
            }
        };
        is_open && state.end.is_none()
    }

    /// What was found whole and right, while it is on its way into the store.
    pub fn landed(&self) -> Option<StoredResponse> {
        self.landed.get().cloned()
    }

    /// How much of the body can be read.
    pub fn so_far(&self) -> u64 {
        self.state.borrow().written
    }

    /// A reader that stands at the first byte; none where that is gone.
    pub fn reader(self: &Arc<InFlightBody>) -> Option<Reader> {
        let mut passage = self.passage();
        if passage.begins.is_some_and(|begins| passage.start > begins) {
            return None;
        }
        Some(self.seat(&mut passage))
    }

    /// Those who wait for it or read it.
    pub fn readers(&self) -> usize {
        self.passage().readers.len()
    }

    fn seat(self: &Arc<InFlightBody>, passage: &mut Passage) -> Reader {
        let id = passage.next_reader;
        passage.next_reader += 1;
        passage.readers.push((id, 0));
        Reader { state: self.state.subscribe(), in_flight: Arc::clone(self), id, at: 0 }
    }

    pub(super) fn interim(&self, status: StatusCode, headers: &HeaderMap) {
        let mut headers = headers.clone();
        fresh::strip_forwarded(&mut headers);
        headers.remove(header::CONTENT_LENGTH);
        self.state.send_modify(|state| {
            // More of them help nobody.
            if state.interim.len() < 16 {
                state.interim.push(Arc::new((status, headers)));
            }
        });
    }

    pub(super) fn answer(&self, answer: FlightAnswer) {
        self.state.send_modify(|state| state.answer = Some(answer));
    }

    pub(super) fn written(&self, bytes: u64) {
        self.state.send_modify(|state| state.written = bytes);
    }

    /// It is not to be stored any more.
    pub(super) fn outdate(&self) {
        self.outdated.store(true, Ordering::Release);
        self.hold(None);
    }

    /// Holds a lock, or lets go of it.
    pub(super) fn hold(&self, lock: Option<Lock>) {
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = lock;
    }

    pub(super) fn is_outdated(&self) -> bool {
        self.outdated.load(Ordering::Acquire)
    }

    /// It is whole and right, and this is what will be stored.
    pub(super) fn land(&self, found: StoredResponse) {
        let _ = self.landed.set(found);
    }

    pub(super) fn end(&self, end: End) {
        self.state.send_modify(|state| state.end = Some(end));
    }

    /// From here on the body passes through memory.
    pub(super) fn pass_from(&self, offset: u64) {
        let mut passage = self.passage();
        passage.begins = Some(offset);
        passage.start = offset;
    }

    /// Waits until there is room for a piece; false when nobody is left to read it.
    pub(super) async fn room(&self) -> bool {
        let mut patience = std::pin::pin!(tokio::time::sleep(STOPPED));
        let mut was_full = false;
        loop {
            let moved = self.moved.notified();
            {
                let mut passage = self.passage();
                if passage.readers.is_empty() {
                    return false;
                }
                passage.trim();
                if was_full && passage.unread() == 0 {
                    passage.widen();
                }
                if passage.has_room() {
                    return true;
                }
            }
            was_full = true;
            tokio::select! {
                () = moved => {}
                () = &mut patience => {
                    self.passage().leave_behind();
                    patience.as_mut().reset(tokio::time::Instant::now() + STOPPED);
                }
            }
        }
    }

    /// Hands a piece on; there is room for it.
    pub(super) fn pass(&self, piece: Bytes) {
        let length = piece.len() as u64;
        self.passage().pieces.push_back(piece);
        self.state.send_modify(|state| state.written += length);
    }

    /// Returns when nobody reads it any more.
    pub(super) async fn deserted(&self) {
        loop {
            let moved = self.moved.notified();
            if self.passage().readers.is_empty() {
                return;
            }
            moved.await;
        }
    }

    fn passage(&self) -> MutexGuard<'_, Passage> {
        self.passage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who follows a body.
#[derive(Debug)]
pub struct Reader {
    in_flight: Arc<InFlightBody>,
    state: watch::Receiver<FlightState>,
    id: u64,
    at: u64,
}

/// A part of the body that is there.
#[derive(Debug)]
pub enum BodyPart {
    /// In the draft's file, from this byte of the body on.
    File {
        at: u64,
        length: u64,
    },
    Bytes(Bytes),
}

/// The body cannot be had, or not to its end.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the origin's answer broke off or was wrong")]
pub struct Broken;

impl Reader {
    /// Waits for what came of the request, handing on the 1xx answers that come before.
    pub async fn answer(&mut self, interim: &mut Interim) -> FlightAnswer {
        loop {
            let news = {
                let state = self.state.borrow_and_update();
                interim.hand_on(&state.interim);
                state.answer.clone()
            };
            match news {
                Some(answer) => return answer,
                // The sender lives as long as `in_flight` does.
                None if self.state.changed().await.is_ok() => {}
                None => {
                    return FlightAnswer::Failed(Arc::new(Fault::Closed(
                        "the fill has ended".to_owned(),
                    )));
                }
            }
        }
    }

    /// Waits for the verdict on the whole. None where it is not kept: then nobody could wait for it.
    pub async fn verdict(&mut self) -> Option<Result<(), Broken>> {
        loop {
            match self.state.borrow_and_update().end {
                Some(End::Whole) => return Some(Ok(())),
                Some(End::Broken) => return Some(Err(Broken)),
                None if self.in_flight.passage().begins.is_some() => return None,
                None => {}
            }
            // The sender lives as long as `in_flight` does.
            if self.state.changed().await.is_err() {
                return Some(Err(Broken));
            }
        }
    }

    /// Goes on from another byte.
    pub fn go_to(&mut self, at: u64) {
        self.at = at;
        self.tell();
    }

    /// How much of the body can be read.
    pub fn so_far(&self) -> u64 {
        self.state.borrow().written
    }

    /// The next part before `end` (where the reader's range ends; none: the body's end), as soon as it
    /// is there; none behind the last one.
    pub async fn next(&mut self, end: Option<u64>) -> Result<Option<BodyPart>, Broken> {
        // What was given out last lay in memory until now: only now there is room for more.
        self.tell();
        loop {
            let (readable, whole, length) = {
                let state = self.state.borrow_and_update();
                let length = match &state.answer {
                    Some(FlightAnswer::New(head)) => head.length,
                    _ => None,
                };
                if state.end == Some(End::Broken) {
                    return Err(Broken);
                }
                (state.written, state.end == Some(End::Whole), length)
            };
            if end.is_some_and(|end| self.at >= end) || (whole && self.at >= readable) {
                return Ok(None);
            }
            // The last byte waits for the verdict.
            let held_back = match length {
                Some(length) if !whole => length.saturating_sub(1),
                _ => u64::MAX,
            };
            let until = readable.min(held_back).min(end.unwrap_or(u64::MAX));
            if until > self.at {
                let piece = self.take(until)?;
                return Ok(Some(piece));
            }
            // The sender lives as long as `in_flight` does.
            self.state.changed().await.map_err(|_| Broken)?;
        }
    }

    fn take(&mut self, until: u64) -> Result<BodyPart, Broken> {
        let passage = self.in_flight.passage();
        let file_ends = passage.begins.unwrap_or(u64::MAX);
        let piece = if self.at < file_ends {
            let length = until.min(file_ends) - self.at;
            BodyPart::File { at: self.at, length }
        } else {
            let mut bytes = passage.at(self.at).ok_or(Broken)?;
            let most = usize::try_from(until - self.at).unwrap_or(usize::MAX);
            bytes.truncate(most);
            BodyPart::Bytes(bytes)
        };
        self.at += match &piece {
            BodyPart::File { length, .. } => *length,
            BodyPart::Bytes(bytes) => bytes.len() as u64,
        };
        Ok(piece)
    }

    /// Says where it is.
    fn tell(&self) {
        let mut passage = self.in_flight.passage();
        let place = passage.readers.iter_mut().find(|(id, at)| *id == self.id && *at != self.at);
        let Some(place) = place else { return };
        place.1 = self.at;
        drop(passage);
        self.in_flight.moved.notify_waiters();
    }
}

/// Where 1xx answers go on their way to one client.
#[derive(Debug, Default)]
pub struct Interim {
    to: Option<mpsc::UnboundedSender<Arc<(StatusCode, HeaderMap)>>>,
    handed_on: usize,
}

impl Interim {
    pub fn new(to: mpsc::UnboundedSender<Arc<(StatusCode, HeaderMap)>>) -> Interim {
        Interim { to: Some(to), handed_on: 0 }
    }

    fn hand_on(&mut self, all: &[Arc<(StatusCode, HeaderMap)>]) {
        let Some(to) = &self.to else { return };
        for one in all.iter().skip(self.handed_on) {
            // A client that has gone wants nothing.
            let _ = to.send(Arc::clone(one));
        }
        self.handed_on = self.handed_on.max(all.len());
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.in_flight.passage().readers.retain(|(id, _)| *id != self.id);
        self.in_flight.moved.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
