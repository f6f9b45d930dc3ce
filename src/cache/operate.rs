//! What an operator asks of a running cache: to drop what is stored, and what gave way.
//!
//! Called for the admin socket. What must stay true: nothing that was removed is still served from
//! memory when the operator is told so; what was target for before something is removed is not stored
//! after it.

use std::collections::BTreeSet;
use std::io;

use super::key::{Key, Partition, Scheme};
use super::store::{Purged, Scope};
use super::target::host_key;
use super::{Cache, registry};

/// Of a list, at a time.
const PAGE: usize = 1000;

impl Cache {
    pub async fn purge(&self, scope: &Scope) -> io::Result<Purged> {
        // Whatever the scope: what is on its way ends for its readers and is not kept.
        self.flights.outdate(|_| true);
        self.hot.clear();
        let shared = self.shared_below(scope).await?;
        let mut purged = self.store.purge(scope).await;
        for blob in shared {
            // Another repository that has it has it fetched anew.
            let blob = self.store.purge(&Scope::Prefix(blob)).await?;
            purged = purged.map(|all| Purged {
                objects: all.objects + blob.objects,
                bytes: all.bytes + blob.bytes,
            });
        }
        self.registry.iter().for_each(|registry| registry.purged());
        // What came to memory meanwhile may have been found before it was removed.
        self.hot.clear();
        purged
    }

    /// What repositories in a scope have that is kept once for all of them, as URLs.
    async fn shared_below(&self, scope: &Scope) -> io::Result<BTreeSet<String>> {
        let mut shared = BTreeSet::new();
        // Of the others, what is shared lies where the rest does.
        let (Some(_), Scope::Prefix(_)) = (&self.registry, scope) else { return Ok(shared) };
        let mut after = None;
        loop {
            let page = self.store.list(scope, after.as_deref(), PAGE).await?;
            shared.extend(page.items.iter().filter_map(|one| registry::shared(&one.key)));
            after = page.next;
            if after.is_none() {
                return Ok(shared);
            }
        }
    }

    /// Every response to one URL, whoever's it is, and what that has in common with others; how many.
    pub async fn purge_url(&self, key: &Key) -> io::Result<u64> {
        let removed = self.forget_url(key).await?;
        self.registry.iter().for_each(|registry| registry.purged());
        let shared = self.registry.as_ref().and_then(|_| registry::shared(key));
        match shared.and_then(|url| self.key_of(&url)).filter(|shared| shared.path != key.path) {
            Some(shared) => Ok(removed + self.forget_url(&shared).await?),
            None => Ok(removed),
        }
    }

    /// Every response to one URL, whoever's it is; how many.
    pub(super) async fn forget_url(&self, key: &Key) -> io::Result<u64> {
        let is_same = |other: &Key| Key { partition: key.partition, ..other.clone() } == *key;
        self.flights.outdate(is_same);
        self.hot.forget(key);
        let removed = self.store.remove_everywhere(key).await;
        self.hot.forget(key);
        removed
    }

    /// Objects that had to give way since the process began, whatever was reloaded.
    pub fn evicted(&self) -> u64 {
        self.stats.evicted_before() + self.store.usage().evicted
    }
}

/// As an operator writes them. The errors are for people.
impl Scope {
    pub fn of_host(text: &str) -> Result<Scope, String> {
        let of = |scheme| host_key(text, scheme).map_err(|_| format!("`{text}` is not a host"));
        let (http, https) = (of(Scheme::Http)?, of(Scheme::Https)?);
        if http != https {
            return Err(format!(
                "`{text}` has the port of one scheme. hint: leave it out, or give the beginning of \
                 a URL"
            ));
        }
        Ok(Scope::Host(http))
    }

    /// URLs of one host that begin with this one.
    pub fn of_prefix(text: &str) -> Result<Scope, String> {
        let bad = || {
            format!("`{text}` is not the beginning of a URL. hint: such as `https://host/path/`")
        };
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Scheme::Http, rest),
            Some(("https", rest)) => (Scheme::Https, rest),
            _ => return Err(bad()),
        };
        // Without a path it is still about one host: `host` is no beginning of `host.example`.
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = host_key(host, scheme).map_err(|_| bad())?;
        Ok(Scope::Prefix(format!("{}://{host}/{path}", scheme.as_str())))
    }

    pub fn of_partition(text: &str) -> Result<Scope, String> {
        let partition = text.parse::<Partition>().map_err(|()| {
            format!(
                "`{text}` is not a partition. hint: `shared`, or `own-` and 16 digits as listed"
            )
        })?;
        Ok(Scope::Partition(partition))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_one_as_keys_have_it() {
        let host = |text: &str| Scope::of_host(text);
        assert_eq!(host("Files.Example"), Ok(Scope::Host("files.example".to_owned())));
        assert_eq!(host("a.example:8080"), Ok(Scope::Host("a.example:8080".to_owned())));
        for bad in ["", "a/b", "https://a.example", "a b", "a.example:443", "a.example:80", "*"] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_prefix_never_reaches_another_host() {
        let prefix = |text: &str| Scope::of_prefix(text);
        let is = |text: &str| Ok(Scope::Prefix(text.to_owned()));
        assert_eq!(prefix("https://A.example:443/Simple"), is("https://a.example/Simple"));
        assert_eq!(prefix("http://a.example"), is("http://a.example/"));
        for bad in ["", "a.example/x", "ftp://a.example/", "https://", "https:///x", "http://u@a/x"]
        {
            assert!(prefix(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_partition_is_named_as_it_is_listed() {
        for partition in [Partition::Shared, Partition::Own(0xabc)] {
            let name = partition.to_string();
            assert_eq!(Scope::of_partition(&name), Ok(Scope::Partition(partition)));
        }
        for bad in ["", "own", "own-abc", "Shared", "own-+00000000000abc"] {
            assert!(Scope::of_partition(bad).is_err(), "{bad}");
        }
    }
}
