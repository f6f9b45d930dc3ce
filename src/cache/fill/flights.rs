//! Which requests to origins are on their way.
//!
//! What must stay true: whoever asks for what is on its way joins it, and a flight that has failed
//! or passed its first bytes on is joined by nobody.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::growing::{Growing, Reader};
use crate::cache::key::Key;
use crate::cache::meta::Meta;
use crate::cache::store::Found;

/// A variant is only known after the first answer; until then all share one flight.
pub(super) type Variant = Vec<(String, Option<String>)>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Flight {
    pub key: Key,
    pub variant: Option<Variant>,
}

impl Flight {
    /// What other processes are kept out by: variants do not wait for each other.
    pub(super) fn lock_key(&self) -> Key {
        let mut key = self.key.clone();
        if let Some(variant) = &self.variant {
            // No query has a space.
            let query = key.query.as_deref().unwrap_or_default();
            key.query = Some(format!("{query} {variant:?}").into());
        }
        key
    }
}

#[derive(Debug, Default)]
pub struct Flights(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    flying: HashMap<Flight, Arc<Growing>>,
    /// How many flew alone.
    solitary: u64,
}

impl Flights {
    /// A place in the flight, and the flight itself if it has just begun. What has landed is joined by
    /// nobody: it is as good as stored, and who asks the origin nevertheless wants something newer.
    pub fn join(&self, flight: &Flight) -> (Reader, Option<Arc<Growing>>) {
        let mut all = self.all();
        if let Some(growing) = all.flying.get(flight)
            && growing.is_flying()
            && let Some(reader) = growing.reader()
        {
            return (reader, None);
        }
        let (growing, reader) = Growing::begin();
        all.flying.insert(flight.clone(), Arc::clone(&growing));
        (reader, Some(growing))
    }

    /// A flight that nobody joins, but that a write outdates like others.
    pub fn alone(&self, key: &Key) -> (Flight, Reader, Arc<Growing>) {
        let (growing, reader) = Growing::begin();
        let mut all = self.all();
        all.solitary += 1;
        let which = vec![("alone".to_owned(), Some(all.solitary.to_string()))];
        let flight = Flight { key: key.clone(), variant: Some(which) };
        all.flying.insert(flight.clone(), Arc::clone(&growing));
        (flight, reader, growing)
    }

    /// The flight, if it is on its way.
    pub fn find(&self, flight: &Flight) -> Option<Reader> {
        self.all().flying.get(flight).filter(|growing| growing.is_flying())?.reader()
    }

    /// What is whole and not committed yet, if it is for whom it is wanted.
    pub fn landed(&self, key: &Key, is_wanted: impl Fn(&Meta) -> bool) -> Option<Found> {
        let all = self.all();
        let of_key = all.flying.iter().filter(|(flight, _)| flight.key == *key);
        let mut landed = of_key.filter_map(|(_, growing)| growing.landed());
        landed.find(|found| is_wanted(&found.meta))
    }

    /// It has ended: what came of it is in the store, or nowhere.
    pub fn end(&self, flight: &Flight, growing: &Arc<Growing>) {
        let mut all = self.all();
        if all.flying.get(flight).is_some_and(|now| Arc::ptr_eq(now, growing)) {
            all.flying.remove(flight);
        }
    }

    /// What is on its way for these keys began before something changed: it ends for those who read it,
    /// and nobody else gets it.
    pub fn outdate(&self, is_meant: impl Fn(&Key) -> bool) {
        self.all().flying.retain(|flight, growing| {
            let is_meant = is_meant(&flight.key);
            if is_meant {
                growing.outdate();
            }
            !is_meant
        });
    }

    pub fn count(&self) -> usize {
        self.all().flying.len()
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
