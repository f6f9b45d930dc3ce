//! Uploads that were begun through us and not ended: what nobody goes on with is deleted upstream.
//!
//! `push` says when one is begun, gone on with and ended. Registries keep what was uploaded of them, some for ever. `List` is
//! pure. One task, on the thread that fetches, deletes what is due; there is none while there are no uploads. What must
//! stay true: what a client is at work on is left alone; no more is remembered than `MOST`, the longest untouched are
//! forgotten first; nobody but their own upstream, in the name of who began them, is asked to delete them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::{HeaderMap, Method};

use super::ask::ask_as;
use super::upstream::{RegistryUpstream, Whose};
use crate::cache::Cache;
use crate::cache::route::Fetch;

const MOST: usize = 10_000;
/// Of an answer to DELETE.
const LONGEST: usize = 64 * 1024;
/// Between two looks, where the next one is due later.
const PAUSE: Duration = Duration::from_secs(60);

/// By scheme, host and path: a query is what the upload's state is, which each step changes.
type Id = String;

#[derive(Debug)]
pub(super) struct Uploads {
    list: Arc<Mutex<List>>,
    /// In ms; 0: nothing is remembered.
    ttl: u64,
}

#[derive(Debug, Default)]
struct List {
    all: HashMap<Id, Tracked>,
    /// Whether the task runs.
    is_watched: bool,
}

#[derive(Clone, Debug)]
struct Tracked {
    upload: BegunUpload,
    touched: u64,
    /// Requests that are at work on it.
    busy: usize,
}

/// Where one goes on, and in whose name.
#[derive(Clone, Debug)]
pub(super) struct BegunUpload {
    pub to: Fetch,
    pub upstream: Arc<RegistryUpstream>,
    pub whose: Whose,
    pub scope: String,
}

/// While it is held, a client is at work on the upload.
pub(super) struct AtWork<'c> {
    uploads: &'c Uploads,
    cache: &'c Cache,
    id: Id,
}

impl Uploads {
    pub(super) fn new(ttl: u64) -> Uploads {
        Uploads { list: Arc::default(), ttl }
    }

    pub(super) fn at_work<'c>(&'c self, cache: &'c Cache, on: &Fetch) -> AtWork<'c> {
        let id = id(on);
        locked(&self.list).begin(&id);
        AtWork { uploads: self, cache, id }
    }

    /// It goes on there: begun, or moved from where it was.
    pub(super) fn goes_on(&self, cache: &Arc<Cache>, from: &Fetch, upload: BegunUpload) {
        if self.ttl == 0 {
            return;
        }
        let mut list = locked(&self.list);
        list.move_to(&id(from), upload, cache.now());
        if !std::mem::replace(&mut list.is_watched, true) {
            drop(list);
            let watch = watch(Arc::clone(&self.list), self.ttl, Arc::downgrade(cache));
            cache.thread.run_untracked(watch);
        }
    }

    pub(super) fn ended(&self, upload: &Fetch) {
        locked(&self.list).all.remove(&id(upload));
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        locked(&self.uploads.list).end(&self.id, self.cache.now());
    }
}

impl List {
    fn begin(&mut self, id: &Id) {
        if let Some(open) = self.all.get_mut(id) {
            open.busy += 1;
        }
    }

    fn end(&mut self, id: &Id, now: u64) {
        if let Some(open) = self.all.get_mut(id) {
            open.busy = open.busy.saturating_sub(1);
            open.touched = now;
        }
    }

    fn move_to(&mut self, from: &Id, upload: BegunUpload, now: u64) {
        let id = id(&upload.to);
        // Who is at work on it still says so when it ends.
        let busy = match *from == id {
            true => self.all.get(&id).map_or(0, |open| open.busy),
            false => 0,
        };
        self.all.remove(from);
        if self.all.len() >= MOST {
            let oldest = self.all.iter().min_by_key(|(_, open)| open.touched);
            if let Some(id) = oldest.map(|(id, _)| id.clone()) {
                self.all.remove(&id);
            }
        }
        self.all.insert(id, Tracked { upload, touched: now, busy });
    }

    /// Those that nobody has touched for so long; they are in the list no more.
    fn take_due(&mut self, now: u64, ttl: u64) -> Vec<BegunUpload> {
        let is_due =
            |_: &Id, open: &mut Tracked| open.busy == 0 && now.saturating_sub(open.touched) >= ttl;
        self.all.extract_if(is_due).map(|(_, open)| open.upload).collect()
    }
}

/// Ends with the last upload, and with the cache.
async fn watch(list: Arc<Mutex<List>>, ttl: u64, cache: Weak<Cache>) {
    loop {
        tokio::time::sleep(PAUSE.min(Duration::from_millis(ttl))).await;
        let Some(cache) = cache.upgrade() else { return };
        let due = locked(&list).take_due(cache.now(), ttl);
        for upload in due {
            delete(&cache, &upload).await;
        }
        let mut list = locked(&list);
        if list.all.is_empty() {
            list.is_watched = false;
            return;
        }
    }
}

/// At best: an upstream that does not take it keeps what it has.
async fn delete(cache: &Arc<Cache>, upload: &BegunUpload) {
    let BegunUpload { to, upstream, whose, scope } = upload;
    // Where it went on elsewhere, the URL itself is the credential.
    let is_there = (to.scheme, &to.host) == (upstream.scheme, &upstream.host);
    let whose = if is_there { whose } else { &Whose::Nobody };
    let (name, headers) = ((&**upstream, whose, scope.as_str()), HeaderMap::new());
    let said = ask_as(cache, name, to.clone(), Method::DELETE, headers, None, LONGEST).await;
    let status = said.map_or(0, |answer| answer.status.as_u16());
    tracing::info!(host = %to.host, status, "an upload that nobody went on with is deleted");
}

fn id(fetch: &Fetch) -> Id {
    let path = fetch.target.split('?').next().unwrap_or_default();
    format!("{}://{}{path}", fetch.scheme.as_str(), fetch.host)
}

fn locked(list: &Mutex<List>) -> MutexGuard<'_, List> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::upstream::tests::upstream;
    use super::*;
    use crate::cache::key::Scheme;

    fn at(target: &str) -> Fetch {
        Fetch { scheme: Scheme::Https, host: "a".to_owned(), target: target.to_owned() }
    }

    fn upload(target: &str) -> BegunUpload {
        let upstream = upstream("a", "a", "");
        BegunUpload { to: at(target), upstream, whose: Whose::Nobody, scope: String::new() }
    }

    fn begun(target: &str, now: u64) -> List {
        let mut list = List::default();
        list.move_to(&id(&at("/start")), upload(target), now);
        list
    }

    fn due(list: &mut List, now: u64) -> Vec<String> {
        list.take_due(now, 100).into_iter().map(|upload| upload.to.target).collect()
    }

    #[test]
    fn what_nobody_goes_on_with_is_due_once() {
        let mut list = begun("/u/1?s=1", 1000);
        assert_eq!(due(&mut list, 1099), [""; 0]);
        assert_eq!(due(&mut list, 900), [""; 0], "the clock was set back");
        assert_eq!(due(&mut list, 1100), ["/u/1?s=1"]);
        assert_eq!(due(&mut list, 9999), [""; 0]);
    }

    #[test]
    fn one_that_is_gone_on_with_is_due_later_and_by_its_last_url() {
        let mut list = begun("/u/1?s=1", 0);
        list.begin(&id(&at("/u/1?s=1")));
        assert_eq!(due(&mut list, 500), [""; 0], "somebody is at work on it");
        list.move_to(&id(&at("/u/1?s=1")), upload("/u/1?s=2"), 500);
        list.end(&id(&at("/u/1?s=1")), 510);
        assert_eq!(due(&mut list, 609), [""; 0]);
        assert_eq!(due(&mut list, 610), ["/u/1?s=2"]);
    }

    #[test]
    fn a_client_that_breaks_off_leaves_what_was_begun() {
        let mut list = begun("/u/1", 0);
        list.begin(&id(&at("/u/1")));
        list.end(&id(&at("/u/1")), 50);
        assert_eq!(due(&mut list, 150), ["/u/1"]);
    }

    #[test]
    fn one_that_moves_is_one_upload() {
        let mut list = begun("/u/1", 0);
        list.begin(&id(&at("/u/1")));
        list.move_to(&id(&at("/u/1")), upload("/u/2"), 10);
        list.end(&id(&at("/u/1")), 10);
        assert_eq!(due(&mut list, 110), ["/u/2"]);
    }

    #[test]
    fn of_too_many_the_longest_untouched_is_forgotten() {
        let mut list = List::default();
        for now in 0..=MOST as u64 {
            list.move_to(&String::new(), upload(&format!("/u/{now}")), now);
        }
        assert_eq!(list.all.len(), MOST);
        assert!(!list.all.contains_key(&id(&at("/u/0"))));
    }
}
