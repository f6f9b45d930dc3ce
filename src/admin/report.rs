//! What is said of listeners, jobs and caches over the admin socket, as JSON.
//!
//! Written by `listeners` and `caches`, read by `dockgate listener` and `dockgate cache`. What must stay true: a field keeps its name and its
//! meaning; sizes are in bytes, times in ms since 1970.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::cache::key::Key;
use crate::cache::meta::Stored;
use crate::cache::stats::Sums;
use crate::cache::store::{Listed, Page, Verified};

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Listeners {
    pub listeners: Vec<ListenerReport>,
}

/// A listening socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListenerReport {
    pub name: String,
    /// Where it really is.
    pub url: String,
    /// The listener of the configuration that it is like, if it was opened at run time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub like: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Savings {
    pub caches: Vec<Saving>,
}

/// What one cache has saved since the process began.
#[derive(Debug, Serialize, Deserialize)]
pub struct Saving {
    pub name: String,
    pub objects: u64,
    /// On the disk.
    pub bytes: u64,
    pub limit: u64,
    /// Not all that is stored is counted yet.
    pub scanning: bool,
    pub evicted: u64,
    pub disk_errors: u64,
    /// Requests to origins that are on their way.
    pub in_flight: u64,
    /// Of small objects, beside the disk.
    pub memory: u64,
    pub total: Sums,
    pub domains: BTreeMap<String, Sums>,
    pub tenants: BTreeMap<String, Sums>,
    /// Why answers were not stored, and how many.
    pub not_stored: BTreeMap<String, u64>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Objects {
    pub objects: Vec<Object>,
    /// `after` of the next page; null: these were the last.
    pub next: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Object {
    pub url: String,
    /// What clients of a registry call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `shared`, or whose it is.
    pub partition: String,
    /// `artifact` or `metadata`.
    pub kind: String,
    pub status: u16,
    pub bytes: u64,
    /// When the answer's head came.
    pub stored: u64,
    /// The request's fields that the answer is for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vary: BTreeMap<String, Option<String>>,
}

/// A page of objects whose bodies were read.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Checked {
    pub objects: u64,
    pub bytes: u64,
    pub wrong: Vec<Fault>,
    pub next: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Fault {
    /// Its URL, or its place in the store.
    pub object: String,
    pub fault: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Purged {
    pub objects: u64,
    /// Not known where one URL was purged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

impl Saving {
    pub fn of(cache: &Cache) -> Saving {
        let (usage, stats) = (cache.store.usage(), &cache.stats);
        let domains = stats.by_domain();
        Saving {
            name: cache.name.clone(),
            objects: usage.objects,
            bytes: usage.bytes,
            limit: usage.limit,
            scanning: usage.scanning,
            evicted: cache.evicted(),
            disk_errors: stats.disk_errors(),
            in_flight: cache.flights() as u64,
            memory: cache.hot.bytes(),
            total: Sums::total(domains.values()),
            domains,
            tenants: stats.by_tenant(),
            not_stored: stats.reasons(),
        }
    }
}

impl From<Page<Listed>> for Objects {
    fn from(page: Page<Listed>) -> Objects {
        Objects::of(page, |_| None)
    }
}

impl Objects {
    /// `called`: what clients call it.
    pub fn of(page: Page<Listed>, called: impl Fn(&Key) -> Option<String>) -> Objects {
        let object = |listed: Listed| Object {
            url: listed.key.to_string(),
            name: called(&listed.key),
            partition: listed.key.partition.to_string(),
            kind: match listed.kind {
                Stored::Artifact => "artifact".to_owned(),
                Stored::Metadata => "metadata".to_owned(),
            },
            status: listed.status,
            bytes: listed.length,
            stored: listed.stored_ms,
            vary: listed.vary.into_iter().collect(),
        };
        Objects { objects: page.items.into_iter().map(object).collect(), next: page.next }
    }
}

impl From<Page<Verified>> for Checked {
    fn from(page: Page<Verified>) -> Checked {
        let mut checked = Checked { next: page.next, ..Checked::default() };
        for Verified { name, length, wrong } in page.items {
            checked.objects += 1;
            checked.bytes += length;
            let fault = wrong.map(|wrong| Fault { object: name, fault: wrong.to_string() });
            checked.wrong.extend(fault);
        }
        checked
    }
}

/// What `/jobs` says.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct JobsReport {
    pub jobs: Vec<JobReport>,
}

/// A container, or a process of the host, that has a Docker socket of its own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct JobReport {
    pub id: String,
    /// `opening`, `open`, `ending` or `gone`.
    pub state: String,
    pub listener: String,
    pub user: Option<String>,
    pub containers: Vec<String>,
    /// Of one that is no container's: what it is called, and whose process it ends with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    pub socket: String,
    /// In seconds since 1970.
    pub began: u64,
    /// Why it could not be ended yet.
    pub error: Option<String>,
}
