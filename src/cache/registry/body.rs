//! A request's body that is read whole before anything is done.
//!
//! Manifests and forms. What must stay true: no more is held than the bound, and what breaks off is not taken for whole.

use bytes::Bytes;

use crate::cache::upstream::RequestBody;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotWhole {
    TooLong,
    BrokeOff,
}

impl NotWhole {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            NotWhole::TooLong => "the body is too long",
            NotWhole::BrokeOff => "the body broke off",
        }
    }
}

pub(super) async fn collect(body: RequestBody, most: usize) -> Result<Bytes, NotWhole> {
    let (mut pieces, mut left) = match body {
        RequestBody::Empty => return Ok(Bytes::new()),
        RequestBody::Whole(bytes) if bytes.len() > most => return Err(NotWhole::TooLong),
        RequestBody::Whole(bytes) => return Ok(bytes),
        RequestBody::Stream { pieces, length } => (pieces, length),
    };
    if left.is_some_and(|left| left > most as u64) {
        return Err(NotWhole::TooLong);
    }
    let mut all = Vec::new();
    while left != Some(0) {
        let Some(Ok(piece)) = pieces.recv().await else { return Err(NotWhole::BrokeOff) };
        // Without a length an empty piece says that it is whole: see `RequestBody::Stream`.
        if piece.is_empty() && left.is_none() {
            break;
        }
        if all.len() + piece.len() > most {
            return Err(NotWhole::TooLong);
        }
        if let Some(left) = &mut left {
            *left = left.checked_sub(piece.len() as u64).ok_or(NotWhole::BrokeOff)?;
        }
        all.extend_from_slice(&piece);
    }
    Ok(all.into())
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    async fn of(
        pieces: &[&'static str],
        length: Option<u64>,
        most: usize,
    ) -> Result<Bytes, NotWhole> {
        let (sender, receiver) = mpsc::channel(8);
        for piece in pieces {
            sender.send(Ok(Bytes::from_static(piece.as_bytes()))).await.unwrap();
        }
        drop(sender);
        collect(RequestBody::Stream { pieces: receiver, length }, most).await
    }

    #[tokio::test]
    async fn what_is_whole_is_taken_and_nothing_else() {
        assert_eq!(of(&["ab", "c"], Some(3), 3).await, Ok(Bytes::from_static(b"abc")));
        assert_eq!(of(&["ab", ""], None, 3).await, Ok(Bytes::from_static(b"ab")));
        assert_eq!(of(&["ab"], None, 3).await, Err(NotWhole::BrokeOff));
        assert_eq!(of(&["ab"], Some(3), 3).await, Err(NotWhole::BrokeOff));
        assert_eq!(of(&["ab", "cd", ""], None, 3).await, Err(NotWhole::TooLong));
        assert_eq!(of(&["ab"], Some(4), 3).await, Err(NotWhole::TooLong));
    }
}
