//! A body of JSON values one after another, taken apart while it comes.
//!
//! The gateway shows each to the policies (`gateway::items`). Values are separated by anything that JSON takes for white
//! space, or by the record separator of RFC 7464, and what separates them stays as it came. What must stay true: a value
//! is given out as soon as it is complete, and only then; nothing is kept beyond one value of bounded size.

/// Of one value: an event or a line of progress is some hundred bytes; an image's history is longer.
pub const MOST_ITEM: usize = 1 << 20;

/// What separates records besides white space.
const RECORD_SEPARATOR: u8 = 0x1e;

#[derive(Debug, Default)]
pub struct Items {
    /// What has come.
    pending: Vec<u8>,
    /// How much of it was given out.
    given: usize,
    /// How much of it was looked at.
    seen: usize,
    /// Where the value begins.
    start: Option<usize>,
    depth: u32,
    in_string: bool,
    is_escaped: bool,
    /// A bare number or word: it ends where something else begins.
    is_bare: bool,
}

/// One value, with what came before and behind it and belongs to no other.
#[derive(Debug, PartialEq, Eq)]
pub struct Item {
    pub before: Vec<u8>,
    pub json: Vec<u8>,
    pub behind: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a value of the stream is larger than {MOST_ITEM} bytes")]
pub struct TooLarge;

impl Items {
    pub fn push(&mut self, bytes: &[u8]) {
        // Once for all values that came together.
        self.pending.drain(..self.given.min(self.pending.len()));
        self.seen -= self.given;
        self.start = self.start.map(|start| start - self.given);
        self.given = 0;
        self.pending.extend_from_slice(bytes);
    }

    /// How many bytes are held.
    pub fn held(&self) -> usize {
        self.pending.capacity()
    }

    /// The next value that is complete.
    pub fn take(&mut self) -> Result<Option<Item>, TooLarge> {
        while let Some(byte) = self.pending.get(self.seen).copied() {
            if self.start.is_none() {
                if is_between(byte) {
                    self.seen += 1;
                    continue;
                }
                self.start = Some(self.seen);
                self.is_bare = !matches!(byte, b'{' | b'[' | b'"');
            } else if self.is_bare && (is_between(byte) || matches!(byte, b'{' | b'[' | b'"')) {
                return Ok(Some(self.give(self.seen)));
            }
            self.seen += 1;
            if self.is_over(byte) {
                return Ok(Some(self.give(self.seen)));
            }
        }
        match self.pending.len() - self.given > MOST_ITEM {
            true => Err(TooLarge),
            false => Ok(None),
        }
    }

    /// The stream is over: the last value, if that could have gone on, and what is left behind it, which is no value.
    pub fn end(mut self) -> (Option<Item>, Vec<u8>) {
        let item = match self.start {
            Some(_) if self.is_bare => Some(self.give(self.seen)),
            _ => None,
        };
        (item, self.pending.split_off(self.given.min(self.pending.len())))
    }

    /// Whether only white space is left.
    pub fn is_between(&self) -> bool {
        self.start.is_none()
    }

    /// Whether a value ends with this byte.
    fn is_over(&mut self, byte: u8) -> bool {
        if self.in_string {
            match (self.is_escaped, byte) {
                (true, _) => self.is_escaped = false,
                (false, b'\\') => self.is_escaped = true,
                (false, b'"') => {
                    self.in_string = false;
                    return self.depth == 0;
                }
                (false, _) => {}
            }
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }

    /// Gives out what ends here, with the white space behind it that is there.
    fn give(&mut self, end: usize) -> Item {
        let start = self.start.take().unwrap_or(end);
        let white = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        let rest = self.pending.get(end..).unwrap_or_default();
        let behind = end + rest.iter().take_while(white).count();
        let part = |from: usize, to: usize| self.pending.get(from..to).unwrap_or_default().to_vec();
        let (before, json) = (part(self.given, start), part(start, end));
        let item = Item { before, json, behind: part(end, behind) };
        (self.given, self.seen, self.depth, self.is_bare) = (behind, behind, 0, false);
        item
    }
}

fn is_between(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | RECORD_SEPARATOR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(pieces: &[&[u8]]) -> (Vec<Item>, Vec<u8>) {
        let (mut items, mut found) = (Items::default(), Vec::new());
        for piece in pieces {
            items.push(piece);
            while let Some(item) = items.take().unwrap() {
                found.push(item);
            }
        }
        let (last, rest) = items.end();
        found.extend(last);
        (found, rest)
    }

    fn values(pieces: &[&[u8]]) -> Vec<String> {
        let (items, _) = all(pieces);
        items.into_iter().map(|item| String::from_utf8(item.json).unwrap()).collect()
    }

    #[test]
    fn a_value_is_given_out_as_soon_as_it_is_complete() {
        let mut items = Items::default();
        items.push(br#"{"a":"}\"{"}"#);
        let item = items.take().unwrap().unwrap();
        assert_eq!((item.json.as_slice(), item.behind.len()), (br#"{"a":"}\"{"}"#.as_slice(), 0));
        items.push(b"\r\n{\"b\"");
        assert_eq!(items.take(), Ok(None));
        assert!(!items.is_between());
        items.push(b":[1,{}]}\n");
        let item = items.take().unwrap().unwrap();
        assert_eq!((item.before.as_slice(), item.behind.as_slice()), (&b"\r\n"[..], &b"\n"[..]));
        assert_eq!(item.json, br#"{"b":[1,{}]}"#);
        assert!(items.is_between());
    }

    #[test]
    fn values_of_all_kinds_and_separators_are_told_apart() {
        assert_eq!(
            values(&[b"{}[]\"x\\\\\"1 true{}null"]),
            ["{}", "[]", r#""x\\""#, "1", "true", "{}", "null"]
        );
        let (items, rest) = all(&[b"\x1e{\"a\":1}\n\x1e{\"a\":2}\n"]);
        assert_eq!(items[1].before, b"\x1e");
        assert_eq!((items.len(), rest.len()), (2, 0));
    }

    #[test]
    fn what_is_not_complete_is_no_value_and_one_without_end_is_refused() {
        let (items, rest) = all(&[br#"{"a":1}{"b"#]);
        assert_eq!((items.len(), rest.as_slice()), (1, br#"{"b"#.as_slice()));
        let mut items = Items::default();
        items.push(b"[");
        items.push(&vec![b'1'; MOST_ITEM]);
        assert_eq!(items.take(), Err(TooLarge));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_cuts_do_not_matter(bytes in r#"([\x1e \r\n]|[{}\[\]"\\a1]){0,60}"#, cut in 0usize..60) {
            let bytes = bytes.as_bytes();
            let cut = cut.min(bytes.len());
            let joined = |(items, rest): (Vec<Item>, Vec<u8>)| {
                let mut out = Vec::new();
                for item in items {
                    out.extend(item.before);
                    out.extend(item.json);
                    out.extend(item.behind);
                }
                out.extend(rest);
                out
            };
            prop_assert_eq!(joined(all(&[bytes])), bytes);
            prop_assert_eq!(joined(all(&[&bytes[..cut], &bytes[cut..]])), bytes);
            prop_assert_eq!(values(&[bytes]), values(&[&bytes[..cut], &bytes[cut..]]));
        }
    }
}
