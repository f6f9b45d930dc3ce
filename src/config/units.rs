//! Values as people write them: `2g` of memory, 1.5 CPUs; and back, for messages.
//!
//! `config::check` reads them, `policy::limits` reads those of clients and prints both. What must stay
//! true: what cannot be read in one way only is not read; units are binary, as docker's own are.

const UNITS: [(char, i64); 5] =
    [('t', 1 << 40), ('g', 1 << 30), ('m', 1 << 20), ('k', 1 << 10), ('b', 1)];
const NANO: i64 = 1_000_000_000;

/// `512m`, `2g`, `2GB`, `1.5GiB` or a number of bytes.
pub fn bytes(text: &str) -> Option<i64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at_checked(digits)?;
    let factor = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(unit) {
        "" => 1,
        short => UNITS.iter().find(|(name, _)| short.chars().eq([*name]))?.1,
    };
    scaled(number, factor)
}

/// Billionths of a CPU, from `1.5` or `2`.
pub fn cpus(text: &str) -> Option<i64> {
    scaled(text, NANO)
}

pub fn show_bytes(bytes: i64) -> String {
    let fits = |(_, factor): &&(char, i64)| bytes != 0 && bytes % factor == 0;
    match UNITS.iter().find(fits) {
        Some(('b', _)) | None => bytes.to_string(),
        Some((name, factor)) => format!("{}{name}", bytes / factor),
    }
}

pub fn show_cpus(nano: i64) -> String {
    let text = format!("{}.{:09}", nano / NANO, (nano % NANO).abs());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A decimal number times a factor, as a whole number.
fn scaled(number: &str, factor: i64) -> Option<i64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(part) || part.len() > 9 {
        return None;
    }
    let tenths = 10i128.checked_pow(u32::try_from(part.len()).ok()?)?;
    let whole = whole.parse::<i64>().ok()?;
    let all = i128::from(whole).checked_mul(tenths)?.checked_add(part.parse().ok()?)?;
    i64::try_from(all.checked_mul(factor.into())? / tenths).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        for (text, wanted) in [
            ("0", Some(0)),
            ("1024", Some(1024)),
            ("512m", Some(512 << 20)),
            ("2g", Some(2 << 30)),
            ("2GB", Some(2 << 30)),
            ("1.5GiB", Some(3 << 29)),
            ("1t", Some(1 << 40)),
            ("7b", Some(7)),
            ("", None),
            ("g", None),
            ("-1", None),
            ("1e9", None),
            ("0x10", None),
            ("1 g", None),
            ("1.g", None),
            ("1.2.3", None),
            ("50%", None),
            ("ſ", None),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775807k", None),
        ] {
            assert_eq!(bytes(text), wanted, "{text}");
        }
        assert_eq!(cpus("1.5"), Some(1_500_000_000));
        assert_eq!(cpus("0.000000001"), Some(1));
        assert_eq!(cpus("1g"), None);
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_the_same(value in 0..i64::MAX) {
            prop_assert_eq!(bytes(&show_bytes(value)), Some(value));
            prop_assert_eq!(cpus(&show_cpus(value)), Some(value));
        }

        #[test]
        fn nothing_panics(text in ".{0,20}", number in any::<i64>()) {
            let _ = (bytes(&text), cpus(&text), show_bytes(number), show_cpus(number));
        }
    }
}
