//! Against origins and proxies that are written here, each misbehaving in one way.

mod faults;
mod origin;
mod plain;
mod proxy;
mod redirects;
mod secure;

use bytes::Bytes;

use super::*;
use origin::{Origin, answer};

fn settings() -> UpstreamSettings {
    let allow_private = vec!["127.0.0.1/32".parse().unwrap()];
    UpstreamSettings { id: "us".to_owned(), allow_private, ..UpstreamSettings::default() }
}

fn upstream() -> Upstream {
    Upstream::new(settings()).unwrap()
}

fn fetch(scheme: Scheme, host: &str, target: &str) -> Fetch {
    Fetch { scheme, host: host.to_owned(), target: target.to_owned() }
}

impl Upstream {
    async fn get(&self, origin: &Origin, target: &str) -> Result<OriginResponse, Fault> {
        self.get_with(&fetch(Scheme::Http, &origin.host(), target), &[]).await
    }

    async fn get_with(
        &self,
        fetch: &Fetch,
        headers: &[(&str, &str)],
    ) -> Result<OriginResponse, Fault> {
        self.send(fetch, Method::GET, head(headers), RequestBody::Empty, None, None).await
    }
}

fn head(fields: &[(&str, &str)]) -> HeaderMap {
    let parse = |&(name, value): &(&str, &str)| {
        (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())
    };
    fields.iter().map(parse).collect()
}

impl AnswerBody {
    async fn text(&mut self) -> Result<String, Fault> {
        let mut whole = Vec::new();
        while let Some(piece) = self.next().await {
            let piece: Bytes = piece?;
            assert!(!piece.is_empty());
            whole.extend_from_slice(&piece);
        }
        assert!(self.next().await.is_none());
        Ok(String::from_utf8(whole).unwrap())
    }
}

#[test]
fn the_fields_of_an_answer_lie_apart_from_what_they_were_read_into() {
    let block = Bytes::from(b"one two \xff".repeat(100));
    let value = |from: usize, to: usize| HeaderValue::from_maybe_shared(block.slice(from..to));
    let mut headers = HeaderMap::new();
    for (name, from, to) in
        [("set-cookie", 0, 3), ("set-cookie", 4, 7), ("etag", 8, 9), ("vary", 1, 1)]
    {
        headers.append(name, value(from, to).unwrap());
    }
    let copy = apart(&headers);
    assert_eq!(copy, headers);
    drop(headers);
    assert!(block.is_unique(), "nothing of the copy is a part of it");
}
