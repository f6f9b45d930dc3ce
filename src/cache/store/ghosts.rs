//! What was evicted lately: if it comes back, it was worth keeping.
//!
//! Part of `index`. What must stay true: as many are remembered as there are objects, more or less, in
//! four bytes each; a wrong answer costs a place in a queue and nothing else.

const WAYS: usize = 4;

/// Sets of four fingerprints, the newest first.
#[derive(Debug, Default)]
pub(super) struct Ghosts {
    sets: Vec<[u32; WAYS]>,
}

impl Ghosts {
    /// `objects`: how many are stored now.
    pub(super) fn put(&mut self, id: u64, objects: usize) {
        if self.sets.len() * WAYS < objects {
            // Those remembered are forgotten; it happens when the store has doubled.
            self.sets = vec![[0; WAYS]; objects.next_power_of_two().div_ceil(WAYS)];
        }
        if let Some(set) = self.set(id) {
            set.rotate_right(1);
            set[0] = fingerprint(id);
        }
    }

    /// Whether it is remembered; it is not from now on.
    pub(super) fn take(&mut self, id: u64) -> bool {
        let wanted = fingerprint(id);
        let Some(set) = self.set(id) else { return false };
        let found = set.iter_mut().find(|one| **one == wanted);
        found.map(|one| *one = 0).is_some()
    }

    fn set(&mut self, id: u64) -> Option<&mut [u32; WAYS]> {
        let at = (id >> 32) as usize & self.sets.len().checked_sub(1)?;
        self.sets.get_mut(at)
    }
}

/// Never 0, which is nobody's.
fn fingerprint(id: u64) -> u32 {
    (id & 0xffff_ffff).max(1) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a hash's quality, as the index has them.
    fn id(n: u64) -> u64 {
        let mut x = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    #[test]
    fn the_last_ones_are_remembered_once() {
        let mut ghosts = Ghosts::default();
        assert!(!ghosts.take(id(1)));
        for n in 0..100_000 {
            ghosts.put(id(n), 1024);
        }
        assert!(!ghosts.take(id(1)), "long ago");
        let remembered = (99_000..100_000).filter(|n| ghosts.take(id(*n))).count();
        assert!(remembered > 800, "{remembered} of the last 1000");
        assert!(!(0..100_000).any(|n| ghosts.take(id(n)) && n >= 99_000));
    }
}
