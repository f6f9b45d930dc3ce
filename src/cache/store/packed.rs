//! Places as the index keeps them: with a million objects every byte is a megabyte.
//!
//! Part of `index`. What must stay true: what is unpacked is what was packed.
//!
//! What a host's objects have in common is stored once. Digits of a hash are packed two in a byte:
//! places are ASCII, so a byte from 0x80 on says how many packed digits follow.

use std::collections::HashMap;

/// Fewer are not worth the byte that says so.
const SHORTEST_RUN: usize = 8;
const LONGEST_RUN: usize = SHORTEST_RUN + 0x7f;
/// `objects/<partition>/<scheme>/<host>`
const FOLDERS: usize = 4;

/// The folders of hosts. They are never forgotten: there can be 65,535 of them, then names are long.
#[derive(Debug, Default)]
pub(super) struct HostNames {
    names: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u16>,
}

impl HostNames {
    /// The number of the host's folder, 0 if it has none, and what is to be kept beside it.
    pub(super) fn split<'a>(&mut self, place: &'a str) -> (u16, &'a str) {
        let Some((end, _)) = place.match_indices('/').nth(FOLDERS - 1) else { return (0, place) };
        let Some((folder, rest)) = place.split_at_checked(end) else { return (0, place) };
        if let Some(number) = self.numbers.get(folder) {
            return (*number, rest);
        }
        let Ok(number) = u16::try_from(self.names.len() + 1) else { return (0, place) };
        self.names.push(folder.into());
        self.numbers.insert(folder.into(), number);
        (number, rest)
    }

    pub(super) fn name(&self, number: u16) -> &str {
        let at = usize::from(number).checked_sub(1);
        at.and_then(|at| self.names.get(at)).map_or("", |name| name)
    }
}

pub(super) fn pack(place: &str) -> Box<[u8]> {
    let mut packed = Vec::with_capacity(place.len());
    let mut rest = place.as_bytes();
    while let Some(first) = rest.first() {
        let run = rest.iter().take(LONGEST_RUN).take_while(|byte| digit(**byte).is_some()).count();
        let (digits, behind) = rest.split_at_checked(run).unwrap_or_default();
        if run >= SHORTEST_RUN {
            packed.push(0x80 | (run - SHORTEST_RUN) as u8);
            packed.extend(digits.chunks(2).map(|pair| {
                let mut values = pair.iter().filter_map(|byte| digit(*byte));
                values.next().unwrap_or(0) << 4 | values.next().unwrap_or(0)
            }));
            rest = behind;
        } else if run > 0 {
            packed.extend_from_slice(digits);
            rest = behind;
        } else {
            packed.push(*first);
            rest = rest.get(1..).unwrap_or_default();
        }
    }
    // A copy of its very size; shrinking would leave holes that nobody fills.
    Box::from(packed.as_slice())
}

pub(super) fn unpack(packed: &[u8]) -> String {
    let mut place = String::with_capacity(packed.len() * 2);
    let mut bytes = packed.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte < 0x80 {
            place.push(char::from(byte));
            continue;
        }
        let run = usize::from(byte & 0x7f) + SHORTEST_RUN;
        let pairs = bytes.by_ref().take(run.div_ceil(2));
        let digits = pairs.flat_map(|pair| [pair >> 4, pair & 15]).take(run);
        place.extend(digits.filter_map(|digit| char::from_digit(digit.into(), 16)));
    }
    place
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hashes_take_half() {
        let place = format!("/{}/x,o", "0123456789abcdef".repeat(4));
        assert_eq!(pack(&place).len(), 1 + 1 + 32 + 4);
        assert_eq!(unpack(&pack(&place)), place);
    }

    #[test]
    fn what_a_host_has_in_common_is_kept_once() {
        let mut hosts = HostNames::default();
        assert_eq!(hosts.split("objects/shared/https/a/b/c,o"), (1, "/b/c,o"));
        assert_eq!(hosts.split("objects/shared/https/b/,o"), (2, "/,o"));
        assert_eq!(hosts.split("objects/shared/https/a/d,o"), (1, "/d,o"));
        assert_eq!(hosts.split("objects/x"), (0, "objects/x"));
        assert_eq!((hosts.name(0), hosts.name(2)), ("", "objects/shared/https/b"));
        for n in 0..70_000 {
            let place = format!("objects/shared/http/{n}/x");
            let (number, rest) = hosts.split(&place);
            assert_eq!(format!("{}{rest}", hosts.name(number)), place);
        }
    }

    proptest! {
        #[test]
        fn what_is_unpacked_is_what_was_packed(place in "([!-~]{0,20}|[0-9a-f]{1,300}|/){0,6}") {
            prop_assert_eq!(unpack(&pack(&place)), place);
        }
    }
}
