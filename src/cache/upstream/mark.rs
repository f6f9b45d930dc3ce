//! Our mark on requests, by which a loop is seen: `Via` (RFC 9110 §7.6.3) and `CDN-Loop` (RFC 8586).
//!
//! What must stay true: a request that carries our mark is refused, and each that leaves carries it
//! behind what it carried before.

use http::header::VIA;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Fault, Unusable};

#[derive(Debug)]
pub(super) struct Mark {
    id: String,
    via: HeaderValue,
    cdn_loop: HeaderValue,
}

impl Mark {
    pub(super) fn new(id: &str) -> Result<Mark, Unusable> {
        let unusable = || Unusable::Id(id.to_owned());
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!#$&'*+".contains(&byte);
        if id.is_empty() || !id.bytes().all(token) {
            return Err(unusable());
        }
        Ok(Mark {
            id: id.to_owned(),
            via: HeaderValue::from_str(&format!("1.1 {id}")).map_err(|_| unusable())?,
            cdn_loop: HeaderValue::from_str(id).map_err(|_| unusable())?,
        })
    }

    /// Whether a request has been here before.
    pub(super) fn is_on(&self, headers: &HeaderMap) -> bool {
        // `1.1 id (comment)`; `id; parameter`. A comment that is cut at its comma is not harmful.
        let vias = items(headers, VIA).filter_map(|item| item.split_ascii_whitespace().nth(1));
        let ids = items(headers, CDN_LOOP).filter_map(|item| item.split(';').next());
        vias.chain(ids).any(|id| id.trim().eq_ignore_ascii_case(&self.id))
    }

    pub(super) fn leave(&self, headers: &mut HeaderMap) -> Result<(), Fault> {
        if self.is_on(headers) {
            return Err(Fault::Loop);
        }
        headers.append(VIA, self.via.clone());
        headers.append(CDN_LOOP, self.cdn_loop.clone());
        Ok(())
    }
}

fn items(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','))
}

const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(name: &'static str, value: &'static str) -> Result<HeaderMap, Fault> {
        let mut headers = HeaderMap::from_iter([(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )]);
        Mark::new("us")?.leave(&mut headers).map(|()| headers)
    }

    impl From<Unusable> for Fault {
        fn from(unusable: Unusable) -> Fault {
            Fault::Target(unusable.to_string())
        }
    }

    #[test]
    fn our_own_mark_is_a_loop() {
        for (name, value) in [
            ("via", "1.1 us"),
            ("via", "1.0 other, HTTP/1.1 US (dockgate)"),
            ("cdn-loop", "us"),
            ("cdn-loop", "other; a=\"b\", us; c"),
        ] {
            assert_eq!(marked(name, value), Err(Fault::Loop), "{name}: {value}");
        }
    }

    #[test]
    fn marks_of_others_are_kept_before_ours() {
        let headers = marked("via", "1.1 usher, 1.1 other (us)").unwrap();
        let vias: Vec<_> = headers.get_all(VIA).into_iter().collect();
        assert_eq!(vias, ["1.1 usher, 1.1 other (us)", "1.1 us"]);
        assert_eq!(headers[CDN_LOOP], "us");
        assert!(marked("cdn-loop", "other; us, usher").is_ok());
    }

    #[test]
    fn an_id_is_a_token() {
        for id in ["", "a b", "a,b", "a;b", "a\r\nb", "ä"] {
            assert!(Mark::new(id).is_err(), "{id:?}");
        }
        Mark::new("dockgate-0f3a").unwrap();
    }
}
