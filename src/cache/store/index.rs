//! Which objects are stored and which of them give way first: S3-FIFO (Yang and others, 2023).
//!
//! `quota` asks it for victims. It is rebuilt by a scan and never asked whether something is stored:
//! that is the file system's to say. Pure. What must stay true: the sum of sizes is that of the
//! objects in it; no operation takes longer with the number of objects.

use hashbrown::HashTable;

use super::ghosts::Ghosts;
use super::packed::{self, HostNames};

/// Sizes are counted in these.
pub(super) const BLOCK: u64 = 4096;

/// Of the limit, for objects that were not used again yet.
const SMALL_SHARE: u64 = 10;
const MOST_USES: u8 = 3;
/// Then the oldest gives way although it was used: the lock is short.
const MOST_CHANCES: u32 = 4096;
const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Index {
    table: HashTable<u32>,
    slots: Vec<IndexEntry>,
    /// The first of the slots that are free, linked by `next`.
    free: u32,
    small: Queue,
    main: Queue,
    ghosts: Ghosts,
    hosts: HostNames,
    small_blocks: u64,
}

#[derive(Debug)]
struct IndexEntry {
    id: u64,
    place: Box<[u8]>,
    host: u16,
    /// Towards the ones that came later.
    next: u32,
    previous: u32,
    blocks: u32,
    uses: u8,
    in_main: bool,
}

#[derive(Debug)]
struct Queue {
    oldest: u32,
    newest: u32,
    blocks: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Evicted {
    pub(super) id: u64,
    pub(super) place: String,
}

impl Index {
    /// For objects of this size in all.
    pub(super) fn new(limit: u64) -> Index {
        Index {
            table: HashTable::new(),
            slots: Vec::new(),
            free: NONE,
            small: Queue::new(),
            main: Queue::new(),
            ghosts: Ghosts::default(),
            hosts: HostNames::default(),
            small_blocks: limit / BLOCK * SMALL_SHARE / 100,
        }
    }

    /// A new object, or an old one that has another size now.
    pub(super) fn insert(&mut self, id: u64, place: &str, bytes: u64) {
        let known = self.ghosts.take(id);
        self.put(id, place, bytes, known);
    }

    /// One that was stored before this process was there.
    pub(super) fn insert_old(&mut self, id: u64, place: &str, bytes: u64) {
        if self.slot_of(id).is_none() {
            self.put(id, place, bytes, true);
        }
    }

    /// Behind all others of its queue.
    pub(super) fn renew(&mut self, id: u64) {
        let Some(at) = self.slot_of(id) else { return };
        let in_main = self.slots.get(at as usize).is_some_and(|slot| slot.in_main);
        self.unlink(at);
        self.link(at, in_main);
    }

    pub(super) fn remove(&mut self, id: u64) -> bool {
        let Some(at) = self.slot_of(id) else { return false };
        self.unlink(at);
        self.forget(at);
        true
    }

    pub(super) fn touch(&mut self, id: u64) {
        if let Some(slot) = self.slot_of(id).and_then(|at| self.slots.get_mut(at as usize)) {
            slot.uses = (slot.uses + 1).min(MOST_USES);
        }
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        self.slot_of(id).is_some()
    }

    pub(super) fn objects(&self) -> u64 {
        self.table.len() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        (self.small.blocks + self.main.blocks) * BLOCK
    }

    /// The one that is worth least; it is no longer in the index.
    pub(super) fn evict(&mut self) -> Option<Evicted> {
        let mut chances = 0;
        loop {
            let from_small = self.small.blocks > self.small_blocks || self.main.oldest == NONE;
            let at = if from_small && self.small.oldest != NONE {
                self.small.oldest
            } else {
                self.main.oldest
            };
            let slot = self.slots.get_mut(at as usize)?;
            chances += 1;
            if slot.uses > 0 && chances < MOST_CHANCES {
                slot.uses = if slot.in_main { slot.uses - 1 } else { 0 };
                self.unlink(at);
                self.link(at, true);
                continue;
            }
            let place = format!("{}{}", self.hosts.name(slot.host), packed::unpack(&slot.place));
            let victim = Evicted { id: slot.id, place };
            if !slot.in_main {
                self.ghosts.put(victim.id, self.table.len());
            }
            self.unlink(at);
            self.forget(at);
            return Some(victim);
        }
    }

    fn put(&mut self, id: u64, place: &str, bytes: u64, to_main: bool) {
        let blocks = u32::try_from(bytes.div_ceil(BLOCK)).unwrap_or(u32::MAX);
        if let Some(at) = self.slot_of(id) {
            let in_main = self.slots.get(at as usize).is_some_and(|slot| slot.in_main);
            self.unlink(at);
            if let Some(slot) = self.slots.get_mut(at as usize) {
                slot.blocks = blocks;
            }
            self.link(at, in_main);
            return;
        }
        let (host, rest) = self.hosts.split(place);
        let slot = IndexEntry {
            id,
            place: packed::pack(rest),
            host,
            next: NONE,
            previous: NONE,
            blocks,
            uses: 0,
            in_main: false,
        };
        let at = match self.slots.get_mut(self.free as usize) {
            Some(free) => {
                let at = self.free;
                self.free = free.next;
                *free = slot;
                at
            }
            None => {
                // 4 billion objects are not reached: the slots alone would take 160 GB.
                let Ok(at) = u32::try_from(self.slots.len()) else { return };
                self.slots.push(slot);
                at
            }
        };
        let slots = &self.slots;
        self.table.insert_unique(id, at, |at| slots.get(*at as usize).map_or(0, |slot| slot.id));
        self.link(at, to_main);
    }

    fn slot_of(&self, id: u64) -> Option<u32> {
        let is = |at: &u32| self.slots.get(*at as usize).is_some_and(|slot| slot.id == id);
        self.table.find(id, is).copied()
    }

    fn link(&mut self, at: u32, in_main: bool) {
        let queue = if in_main { &mut self.main } else { &mut self.small };
        let previous = queue.newest;
        queue.newest = at;
        if previous == NONE {
            queue.oldest = at;
        }
        if let Some(slot) = self.slots.get_mut(at as usize) {
            queue.blocks += u64::from(slot.blocks);
            slot.in_main = in_main;
            slot.previous = previous;
            slot.next = NONE;
        }
        if let Some(slot) = self.slots.get_mut(previous as usize) {
            slot.next = at;
        }
    }

    fn unlink(&mut self, at: u32) {
        let Some(slot) = self.slots.get(at as usize) else { return };
        let (next, previous) = (slot.next, slot.previous);
        let queue = if slot.in_main { &mut self.main } else { &mut self.small };
        queue.blocks -= u64::from(slot.blocks);
        if queue.oldest == at {
            queue.oldest = next;
        }
        if queue.newest == at {
            queue.newest = previous;
        }
        if let Some(slot) = self.slots.get_mut(next as usize) {
            slot.previous = previous;
        }
        if let Some(slot) = self.slots.get_mut(previous as usize) {
            slot.next = next;
        }
    }

    /// Of an unlinked slot.
    fn forget(&mut self, at: u32) {
        let Some(slot) = self.slots.get_mut(at as usize) else { return };
        if let Ok(entry) = self.table.find_entry(slot.id, |other| *other == at) {
            entry.remove();
        }
        slot.place = Box::default();
        slot.next = self.free;
        self.free = at;
    }
}

impl Queue {
    fn new() -> Queue {
        Queue { oldest: NONE, newest: NONE, blocks: 0 }
    }
}

#[cfg(test)]
mod tests;
