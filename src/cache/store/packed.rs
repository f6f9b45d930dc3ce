//! Places as the index keeps them: with a million objects every byte is a megabyte.
//!
//! Part of `index`. What must stay true: what is unpacked is what was packed.
//!
//! `objects/` and the usual partition and schemes are one byte; digits of a hash are packed two in a
//! byte. Places are ASCII: a byte from 0x80 on says how many packed digits follow.

use super::layout::OBJECTS;

/// The common beginnings; the number is the first byte. The last fits every place.
const BEGINNINGS: [&str; 3] = ["shared/https/", "shared/http/", ""];

/// Fewer are not worth the byte that says so.
const SHORTEST_RUN: usize = 8;
const LONGEST_RUN: usize = SHORTEST_RUN + 0x7f;

pub(super) fn pack(place: &str) -> Box<[u8]> {
    let rest = place.strip_prefix(OBJECTS).and_then(|rest| rest.strip_prefix('/')).unwrap_or(place);
    let mut packed = Vec::with_capacity(rest.len() + 1);
    let mut rest = rest.as_bytes();
    for (number, beginning) in (0..).zip(BEGINNINGS) {
        if let Some(behind) = rest.strip_prefix(beginning.as_bytes()) {
            packed.push(number);
            rest = behind;
            break;
        }
    }
    while let Some(first) = rest.first() {
        let run = rest.iter().take(LONGEST_RUN).take_while(|byte| digit(**byte).is_some()).count();
        let (digits, behind) = rest.split_at_checked(run).unwrap_or_default();
        if run >= SHORTEST_RUN {
            packed.push(0x80 | (run - SHORTEST_RUN) as u8);
            let values = |pair: &[u8]| {
                let mut values = pair.iter().filter_map(|byte| digit(*byte));
                values.next().unwrap_or(0) << 4 | values.next().unwrap_or(0)
            };
            packed.extend(digits.chunks(2).map(values));
            rest = behind;
        } else if run > 0 {
            packed.extend_from_slice(digits);
            rest = behind;
        } else {
            packed.push(*first);
            rest = rest.get(1..).unwrap_or_default();
        }
    }
    packed.into_boxed_slice()
}

pub(super) fn unpack(packed: &[u8]) -> String {
    let mut place = format!("{OBJECTS}/");
    let mut bytes = packed.iter().copied();
    let number = bytes.next().unwrap_or_default();
    place.push_str(BEGINNINGS.get(usize::from(number)).copied().unwrap_or_default());
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
    fn hashes_and_beginnings_take_little() {
        let hash = "0123456789abcdef".repeat(4);
        let place = format!("objects/shared/https/h/{hash}/x,o");
        assert_eq!(pack(&place).len(), 1 + 2 + 1 + 32 + 4);
        assert_eq!(unpack(&pack(&place)), place);
    }

    proptest! {
        #[test]
        fn what_is_unpacked_is_what_was_packed(
            rest in "(shared/https?/|own-[0-9a-f]{16}/http/)?([!-~]{0,20}|[0-9a-f]{1,300}|/){0,6}",
        ) {
            let place = format!("objects/{rest}");
            prop_assert_eq!(unpack(&pack(&place)), place);
        }
    }
}
