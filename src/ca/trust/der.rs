//! DER, as far as key stores and names need it: one value after the other, with definite lengths only.
//!
//! What must stay true: nothing is read beyond the input, and what is not read by `next` is an error.

pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_ID: u8 = 0x06;
pub(super) const UTF8_STRING: u8 = 0x0c;
pub(super) const BMP_STRING: u8 = 0x1e;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
/// `[0]`, with values in it.
pub(super) const CONTEXT_0: u8 = 0xa0;

/// The values that stand in a piece of DER.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    rest: &'a [u8],
}

impl<'a> Values<'a> {
    /// The values in the one value that a whole piece of DER is.
    pub(super) fn within(der: &'a [u8], tag: u8) -> Option<Values<'a>> {
        Values { rest: der }.enter_last(tag)
    }

    pub(super) fn of(der: &'a [u8]) -> Values<'a> {
        Values { rest: der }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The content of the next value, which must have this tag.
    pub(super) fn next(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, rest) = self.rest.split_first()?;
        if *found != tag {
            return None;
        }
        let (length, rest) = length(rest)?;
        let (content, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(content)
    }

    /// The values in the next value.
    pub(super) fn enter(&mut self, tag: u8) -> Option<Values<'a>> {
        self.next(tag).map(Values::of)
    }

    /// Like `enter`, and nothing may come behind it.
    pub(super) fn enter_last(&mut self, tag: u8) -> Option<Values<'a>> {
        self.enter(tag).filter(|_| self.is_empty())
    }

    /// Like `next`, and nothing may come behind it.
    pub(super) fn last(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next(tag).filter(|_| self.is_empty())
    }
}

/// The shortest form only, as DER wants it, of less than 4 GiB.
fn length(der: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = der.split_first()?;
    if *first < 0x80 {
        return Some((usize::from(*first), rest));
    }
    let count = usize::from(*first & 0x7f);
    if !(1..=4).contains(&count) {
        return None;
    }
    let (bytes, rest) = rest.split_at_checked(count)?;
    let value = bytes.iter().fold(0_usize, |value, byte| (value << 8) | usize::from(*byte));
    let is_shortest = value >= 0x80 && bytes.first() != Some(&0);
    is_shortest.then_some((value, rest))
}

/// `None` for 4 GiB and more.
pub(super) fn written(tag: u8, content: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(content.len()).ok()?.to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let mut out = vec![tag];
    match content.len() {
        short @ ..0x80 => out.push(u8::try_from(short).ok()?),
        _ => {
            out.push(0x80 | u8::try_from(length.len() - zeros).ok()?);
            out.extend(length.iter().skip(zeros));
        }
    }
    out.extend_from_slice(content);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000] {
            let content = vec![7; length];
            let der = written(OCTET_STRING, &content).unwrap();
            assert_eq!(Values::of(&der).last(OCTET_STRING), Some(content.as_slice()), "{length}");
            assert_eq!(Values::of(&der[..der.len() - 1]).next(OCTET_STRING), None);
            assert_eq!(Values::of(&der).next(SEQUENCE), None);
            let longer = [der.as_slice(), &[0]].concat();
            assert_eq!(Values::of(&longer).last(OCTET_STRING), None);
        }
    }

    #[test]
    fn lengths_have_one_form() {
        for bad in [
            &[4, 0x80, 0, 0][..],
            &[4, 0x81, 1, 0],
            &[4, 0x82, 0, 0x80],
            &[4, 0x85, 0, 0, 0, 0, 1, 0],
            &[4],
            &[],
        ] {
            assert_eq!(Values::of(bad).next(OCTET_STRING), None, "{bad:?}");
        }
    }
}
