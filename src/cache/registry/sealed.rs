//! Where an upload goes on, as a text that only we can read and make.
//!
//! `push` gives it to clients in place of an upstream's `Location` and reads it when they come back; a restart in between
//! changes nothing. What must stay true: a client can lead us nowhere that an upstream has not; what one user was given
//! for one repository is good for no other.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub(super) struct Seal(LessSafeKey);

impl Seal {
    /// `secret`: of the registry's directory.
    pub(super) fn new(secret: &[u8]) -> Option<Seal> {
        let key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"uploads of a registry");
        Some(Seal(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).ok()?)))
    }

    pub(super) fn close(&self, url: &str, whose: &str) -> Option<String> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut text = url.as_bytes().to_vec();
        let sealing = Nonce::assume_unique_for_key(nonce);
        self.0.seal_in_place_append_tag(sealing, Aad::from(whose.as_bytes()), &mut text).ok()?;
        let mut all = nonce.to_vec();
        all.extend_from_slice(&text);
        Some(URL_SAFE_NO_PAD.encode(all))
    }

    pub(super) fn open(&self, sealed: &str, whose: &str) -> Option<String> {
        let all = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, text) = all.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let url = self.0.open_in_place(nonce, Aad::from(whose.as_bytes()), &mut text).ok()?;
        String::from_utf8(url.to_vec()).ok()
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_was_given_it_can_use_it() {
        let seal = Seal::new(b"secret").unwrap();
        let url = "https://a.example/v2/x/blobs/uploads/1?_state=y";
        let closed = seal.close(url, "u team/x").unwrap();
        assert_eq!(seal.open(&closed, "u team/x").as_deref(), Some(url));
        assert_ne!(seal.close(url, "u team/x").unwrap(), closed);
        assert_eq!(seal.open(&closed, "v team/x"), None);
        assert_eq!(Seal::new(b"other").unwrap().open(&closed, "u team/x"), None);
        for broken in ["", "AAAA", &closed.replace(|c: char| c.is_ascii_digit(), "A"), "ü"] {
            assert_eq!(seal.open(broken, "u team/x"), None);
        }
    }
}
