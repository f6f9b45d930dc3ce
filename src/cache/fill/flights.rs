//! Which requests to origins are on their way.
//!
//! What must stay true: whoever asks for what is on its way joins it, a flight that has failed or passed
//! its first bytes on is joined by nobody, and of each variant of a URL one flight is on its way. That a
//! URL has variants shows with its first answer: from then on, in one step with the flight that brought
//! it, everybody is told apart by what that answer varies by.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderName;
use quick_cache::unsync::Cache as Bounded;

use super::in_flight::{InFlightBody, Reader};
use crate::cache::key::Key;
use crate::cache::meta::Meta;
use crate::cache::store::StoredResponse;

/// URLs of which it is remembered what they vary by.
const MOST_VARYING: usize = 10_000;

/// The request's fields that an answer varies by, as in `Meta`.
pub(super) type Variant = Vec<(String, Option<String>)>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Flight {
    pub key: Key,
    /// None where it was not known that there are any; until the first answer all share one flight.
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

#[derive(Debug)]
struct All {
    flying: HashMap<Key, Vec<Flying>>,
    varying: Bounded<Key, Arc<[HeaderName]>>,
}

#[derive(Debug)]
struct Flying {
    variant: Option<Variant>,
    /// Joined by nobody.
    is_alone: bool,
    in_flight: Arc<InFlightBody>,
}

impl Default for All {
    fn default() -> All {
        All { flying: HashMap::new(), varying: Bounded::new(MOST_VARYING) }
    }
}

impl Flights {
    /// A place in the flight, and the flight itself if it has just begun. `vary`: what answers to this URL
    /// were seen to vary by, where nothing newer is known; `variant`: these fields of the request. What has
    /// landed is joined by nobody: it is as good as stored, and who asks the origin nevertheless wants
    /// something newer.
    pub fn join(
        &self,
        key: &Key,
        vary: Option<&[HeaderName]>,
        variant: impl Fn(&[HeaderName]) -> Variant,
    ) -> (Reader, Option<(Flight, Arc<InFlightBody>)>) {
        let mut all = self.all();
        let variant = all.variant(key, vary, variant);
        if let Some(reader) = all.find(key, &variant).and_then(InFlightBody::reader) {
            return (reader, None);
        }
        let (in_flight, reader) = InFlightBody::begin();
        all.add(key, variant.clone(), false, &in_flight);
        (reader, Some((Flight { key: key.clone(), variant }, in_flight)))
    }

    /// A flight that nobody joins, but that a write outdates like others.
    pub fn alone(&self, key: &Key) -> (Reader, Flight, Arc<InFlightBody>) {
        let (in_flight, reader) = InFlightBody::begin();
        self.all().add(key, None, true, &in_flight);
        (reader, Flight { key: key.clone(), variant: None }, in_flight)
    }

    /// How much of the body is there, if it is on its way.
    pub fn so_far(&self, key: &Key, variant: impl Fn(&[HeaderName]) -> Variant) -> Option<u64> {
        let mut all = self.all();
        let variant = all.variant(key, None, variant);
        all.find(key, &variant).map(|in_flight| in_flight.so_far())
    }

    /// The head of an answer is there: what it varies by, and which variant it is. To be said before
    /// anybody is told of the answer.
    pub fn varies(&self, key: &Key, in_flight: &Arc<InFlightBody>, variant: &Variant) {
        let mut all = self.all();
        let names: Option<Vec<HeaderName>> =
            variant.iter().map(|(name, _)| HeaderName::from_bytes(name.as_bytes()).ok()).collect();
        let varies = names.filter(|names| !names.is_empty());
        match &varies {
            Some(names) => all.varying.insert(key.clone(), names.as_slice().into()),
            None => drop(all.varying.remove(key)),
        }
        let flying = all.flying.get_mut(key).into_iter().flatten();
        for one in flying.filter(|one| Arc::ptr_eq(&one.in_flight, in_flight)) {
            one.variant = varies.as_ref().map(|_| variant.clone());
        }
    }

    /// What is whole and not committed yet, if it is for whom it is wanted.
    pub fn landed(&self, key: &Key, is_wanted: impl Fn(&Meta) -> bool) -> Option<StoredResponse> {
        let all = self.all();
        let mut landed = all.flying.get(key)?.iter().filter_map(|one| one.in_flight.landed());
        landed.find(|found| is_wanted(&found.meta))
    }

    /// It has ended: what came of it is in the store, or nowhere.
    pub fn end(&self, key: &Key, in_flight: &Arc<InFlightBody>) {
        let mut all = self.all();
        let Some(flying) = all.flying.get_mut(key) else { return };
        flying.retain(|one| !Arc::ptr_eq(&one.in_flight, in_flight));
        if flying.is_empty() {
            all.flying.remove(key);
        }
    }

    /// What is on its way for these keys began before something changed: it ends for those who read it,
    /// and nobody else gets it.
    pub fn outdate(&self, is_meant: impl Fn(&Key) -> bool) {
        self.all().flying.retain(|key, flying| {
            let is_meant = is_meant(key);
            if is_meant {
                flying.iter().for_each(|one| one.in_flight.outdate());
            }
            !is_meant
        });
    }

    pub fn count(&self) -> usize {
        self.all().flying.values().map(Vec::len).sum()
    }

    /// Those who wait for an answer or read one.
    pub fn readers(&self) -> usize {
        self.all().flying.values().flatten().map(|one| one.in_flight.readers()).sum()
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl All {
    fn variant(
        &mut self,
        key: &Key,
        vary: Option<&[HeaderName]>,
        variant: impl Fn(&[HeaderName]) -> Variant,
    ) -> Option<Variant> {
        let known = self.varying.get(key).map(|names| &**names).or(vary);
        known.filter(|names| !names.is_empty()).map(variant)
    }

    fn find(&self, key: &Key, variant: &Option<Variant>) -> Option<&Arc<InFlightBody>> {
        let mut flying = self.flying.get(key)?.iter();
        let is_it =
            |one: &&Flying| !one.is_alone && one.variant == *variant && one.in_flight.is_flying();
        flying.find(is_it).map(|one| &one.in_flight)
    }

    fn add(
        &mut self,
        key: &Key,
        variant: Option<Variant>,
        is_alone: bool,
        in_flight: &Arc<InFlightBody>,
    ) {
        let in_flight = Arc::clone(in_flight);
        self.flying.entry(key.clone()).or_default().push(Flying { variant, is_alone, in_flight });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::key::{Partition, Scheme};

    fn key() -> Key {
        Key {
            partition: Partition::Shared,
            scheme: Scheme::Http,
            host: "a.example".into(),
            path: "/".into(),
            query: None,
        }
    }

    /// The variant of a client that wants this language.
    fn of(language: &str) -> impl Fn(&[HeaderName]) -> Variant {
        move |names| {
            names.iter().map(|name| (name.to_string(), Some(language.to_owned()))).collect()
        }
    }

    fn join(flights: &Flights, language: &str) -> (Reader, Option<Arc<InFlightBody>>) {
        let (reader, started) = flights.join(&key(), None, of(language));
        (reader, started.map(|(_, in_flight)| in_flight))
    }

    #[test]
    fn of_each_variant_one_flight_is_on_its_way_whenever_it_is_asked_for() {
        let flights = Flights::default();
        let language = [HeaderName::from_static("accept-language")];
        let (_leader, english) = join(&flights, "en");
        let english = english.unwrap();
        let (_waiting, joined) = join(&flights, "fr");
        assert!(joined.is_none(), "nobody knows yet that there are variants");
        flights.varies(&key(), &english, &of("en")(&language));
        let (_late, joined) = join(&flights, "en");
        assert!(joined.is_none(), "it is on its way, under the name that it has now");
        let (_second, french) = join(&flights, "fr");
        assert!(french.is_some(), "another variant is asked for");
        let (_third, joined) = join(&flights, "fr");
        assert!(joined.is_none());
        flights.end(&key(), &english);
        let (_fourth, joined) = join(&flights, "fr");
        assert!(joined.is_none(), "also when the flight that has shown the variants has ended");
        assert_eq!((flights.count(), flights.readers()), (1, 3));
        flights.end(&key(), &french.unwrap());
        assert_eq!(flights.count(), 0);
        let (_again, started) = flights.join(&key(), None, of("de"));
        assert_eq!(started.unwrap().0.variant, Some(of("de")(&language)), "it is remembered");
    }

    #[test]
    fn what_no_longer_varies_is_one_flight_again() {
        let flights = Flights::default();
        let (_one, english) = join(&flights, "en");
        let language = [HeaderName::from_static("accept-language")];
        flights.varies(&key(), &english.unwrap(), &of("en")(&language));
        let (_two, french) = join(&flights, "fr");
        flights.varies(&key(), &french.unwrap(), &Vec::new());
        let (_three, joined) = join(&flights, "de");
        assert!(joined.is_none());
    }

    #[test]
    fn who_flies_alone_is_joined_by_nobody() {
        let flights = Flights::default();
        let (_reader, _, in_flight) = flights.alone(&key());
        assert!(join(&flights, "en").1.is_some());
        flights.outdate(|_| true);
        assert!(in_flight.is_outdated() && flights.count() == 0);
    }
}
