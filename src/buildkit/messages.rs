//! gRPC's messages in a stream of DATA: a flag, four bytes of length, and the message.
//!
//! `call` reads those that are judged, `message_io` those that carry bytes. What must stay true: nothing is
//! kept of a message that is longer than allowed, and no more than one message and one frame are.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::reply::H2Reply;

/// How the messages of one direction are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadsMessages {
    /// They go on as they come, unread.
    Streamed,
    /// There is exactly one of at most so many bytes. It is judged when its sender has said all it has to
    /// say, before anything goes on.
    Unary(usize),
    /// Each one of at most so many bytes is judged, in order.
    Each(usize),
}

/// gRPC's own codes (`google.rpc.Code`).
pub(super) const INVALID_ARGUMENT: u8 = 3;
pub(super) const RESOURCE_EXHAUSTED: u8 = 8;

const HEAD: usize = 5;

/// What has come of the messages of one direction.
pub struct Messages {
    most: usize,
    come: BytesMut,
}

impl Messages {
    pub fn new(most: usize) -> Messages {
        Messages { most, come: BytesMut::new() }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.come.extend_from_slice(bytes);
    }

    /// How long the message is that is on its way, where that is known.
    pub(super) fn length(&self) -> Result<Option<usize>, H2Reply> {
        let Some((mut head, _)) = self.come.split_at_checked(HEAD) else { return Ok(None) };
        let flag = head.get_u8();
        if flag != 0 {
            return Err(H2Reply::grpc(INVALID_ARGUMENT, COMPRESSED));
        }
        let length = head.get_u32() as usize;
        if length > self.most {
            let message = format!(
                "dockgate: a message of {length} bytes is longer than the {} that are read",
                self.most
            );
            return Err(H2Reply::grpc(RESOURCE_EXHAUSTED, message));
        }
        Ok(Some(length))
    }

    /// The next one, once it is whole.
    #[expect(clippy::should_implement_trait, reason = "it fails, and goes on when more has come")]
    pub fn next(&mut self) -> Result<Option<Bytes>, H2Reply> {
        match self.length()? {
            Some(length) if self.come.len() - HEAD >= length => {
                self.come.advance(HEAD);
                Ok(Some(self.come.split_to(length).freeze()))
            }
            _ => Ok(None),
        }
    }

    /// Whether nothing is there of a message that did not come to its end.
    pub fn is_empty(&self) -> bool {
        self.come.is_empty()
    }
}

/// One message as it goes over the wire, uncompressed.
pub(super) fn framed(message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEAD + message.len());
    out.put_u8(0);
    out.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    out.put_slice(message);
    out.freeze()
}

const COMPRESSED: &str = "dockgate: a compressed message where messages are read; \
    hint: the client has to send without `grpc-encoding`";

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<Option<Bytes>, H2Reply>) -> u8 {
        result.unwrap_err().code().unwrap()
    }

    #[test]
    fn messages_are_the_same_however_they_are_cut() {
        let sent = [framed(b"one"), framed(b""), framed(&[7; 1000])].concat();
        for cut in [1, 2, 3, 5, 7, 100, sent.len()] {
            let mut messages = Messages::new(1000);
            let mut seen = Vec::new();
            for piece in sent.chunks(cut) {
                messages.push(piece);
                while let Some(message) = messages.next().unwrap() {
                    seen.push(message);
                }
            }
            assert_eq!(seen, [&b"one"[..], b"", &[7; 1000]], "{cut}");
            assert!(messages.is_empty());
        }
    }

    #[test]
    fn what_is_too_long_or_compressed_is_refused_by_its_head() {
        let mut messages = Messages::new(3);
        messages.push(&framed(b"four")[..HEAD]);
        assert_eq!(code(messages.next()), RESOURCE_EXHAUSTED);
        let mut messages = Messages::new(3);
        messages.push(&[1, 0, 0, 0, 0]);
        assert_eq!(code(messages.next()), INVALID_ARGUMENT);
        let mut messages = Messages::new(3);
        messages.push(&framed(b"abc")[..HEAD + 2]);
        assert_eq!(messages.next(), Ok(None));
        assert!(!messages.is_empty());
    }
}
