//! Certificates in a PEM bundle, found by what they are and not by how they are written.
//!
//! What must stay true: all other bytes stay what they are.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use memchr::memmem;

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
const END: &[u8] = b"-----END CERTIFICATE-----";

/// A bundle without these certificates, each with its line end.
pub(super) fn without(bundle: &[u8], roots: &[Vec<u8>]) -> Vec<u8> {
    let (mut rest, mut from) = (Vec::with_capacity(bundle.len()), 0);
    for block in blocks(bundle) {
        if decoded(bundle, &block).is_none_or(|der| !roots.contains(&der)) {
            continue;
        }
        rest.extend_from_slice(bundle.get(from..block.start).unwrap_or_default());
        from = block.end;
        if bundle.get(from) == Some(&b'\n') {
            from += 1;
        }
    }
    rest.extend_from_slice(bundle.get(from..).unwrap_or_default());
    rest
}

/// All that there are, as DER.
pub(super) fn certificates(bundle: &[u8]) -> Vec<Vec<u8>> {
    blocks(bundle).filter_map(|block| decoded(bundle, &block)).collect()
}

fn blocks(bundle: &[u8]) -> impl Iterator<Item = std::ops::Range<usize>> {
    memmem::find_iter(bundle, BEGIN).filter_map(|start| {
        let length = memmem::find(bundle.get(start..)?, END)?;
        Some(start..start + length + END.len())
    })
}

fn decoded(bundle: &[u8], block: &std::ops::Range<usize>) -> Option<Vec<u8>> {
    let text = bundle.get(block.start + BEGIN.len()..block.end.checked_sub(END.len())?)?;
    let text: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    BASE64_STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(der: &[u8], width: usize) -> String {
        let text = BASE64_STANDARD.encode(der);
        let lines: Vec<&str> =
            text.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    }

    #[test]
    fn a_certificate_is_found_however_its_lines_are_broken() {
        let (ours, other) = (vec![1; 300], vec![2; 300]);
        let bundle =
            format!("# a\n{}# b\n{}{}end", pem(&ours, 64), pem(&other, 64), pem(&ours, 76));
        let rest = without(bundle.as_bytes(), std::slice::from_ref(&ours));
        assert_eq!(rest, format!("# a\n# b\n{}end", pem(&other, 64)).into_bytes());
        assert_eq!(certificates(bundle.as_bytes()), [ours.clone(), other, ours]);
    }

    #[test]
    fn what_is_cut_or_nonsense_stays() {
        for text in [
            "",
            "-----BEGIN CERTIFICATE-----",
            "-----BEGIN CERTIFICATE-----\n%\n-----END CERTIFICATE-----\n",
        ] {
            assert_eq!(without(text.as_bytes(), &[Vec::new(), vec![0]]), text.as_bytes());
        }
    }
}
