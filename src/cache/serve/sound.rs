//! What the URL says the digest of is looked at before it is given out of the store.
//!
//! `serve` comes here with what it has found. What must stay true: nobody gets the last byte of something that is not
//! what its digest says, whatever a disk has made of it; what is small, or wanted in part, is fetched anew without the
//! client's noticing, and what is large is sent while it is looked at.

use http::{Method, header};

use super::Case;
use crate::cache::fill::{Reader, recheck};
use crate::cache::store::{Body, StoredResponse};

/// Up to here a client waits for the verdict.
const SMALL: u64 = 1 << 20;

impl Case<'_> {
    /// None: it is damaged, and not stored any more.
    pub(super) async fn sound(&self, found: StoredResponse) -> Option<StoredResponse> {
        if !self.is_unchecked(&found) || self.is_checked_while_sent(&found) {
            return Some(found);
        }
        let expected = self.route.verify?;
        match recheck(self.cache, &found, expected)?.verdict().await {
            Some(Err(_)) => None,
            Some(Ok(())) | None => Some(found),
        }
    }

    /// Who reads it along with who looks at it.
    pub(super) fn checked_while_sent(&self, found: &StoredResponse) -> Option<Reader> {
        let is_meant = self.is_unchecked(found) && self.is_checked_while_sent(found);
        recheck(self.cache, found, self.route.verify.filter(|_| is_meant)?)
    }

    fn is_unchecked(&self, found: &StoredResponse) -> bool {
        let Body::File { file, .. } = &found.body else { return false };
        self.route.verify.is_some()
            && self.request.method == Method::GET
            && !self.cache.checks.knows(file, self.now)
    }

    fn is_checked_while_sent(&self, found: &StoredResponse) -> bool {
        found.meta.length > SMALL && !self.request.headers.contains_key(header::RANGE)
    }
}
