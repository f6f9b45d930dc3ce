//! Dates and seconds as fields write them.
//!
//! Used by all of `fresh`. What must stay true: a date that only nearly follows the grammar is none
//! (RFC 9111 §5.3), but for the case of its letters (RFC 9111 §4.2).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{DATE, HeaderMap, HeaderName, HeaderValue};

/// More seconds than any age or lifetime: 34 thousand years, and still milliseconds fit in an `u64`.
pub(super) const FOREVER: u64 = 1 << 40;

/// Sets `Date` to when the response came, where the origin gave none or none that can be read.
pub fn repair_date(headers: &mut HeaderMap, response_time: u64) {
    if date_of(headers, &DATE).is_some() {
        return;
    }
    let seconds = (response_time / 1000).min(LAST);
    let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.insert(DATE, value);
    }
}

/// The end of the year 9999, the last that a date can name.
const LAST: u64 = 253_402_300_799;

/// The date in a field, in seconds since 1970. Lines that disagree are no date.
pub(super) fn date_of(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    if lines.any(|line| line != first) {
        return None;
    }
    parse_date(first.to_str().ok()?)
}

/// All three forms of RFC 9110 §5.6.7. The day of the week need not be the right one.
pub(super) fn parse_date(text: &str) -> Option<u64> {
    let text = proper_case(text.trim_matches([' ', '\t']));
    let time = httpdate::parse_http_date(&text).ok().or_else(|| on_another_weekday(&text))?;
    Some(SystemTime::duration_since(&time, UNIX_EPOCH).ok()?.as_secs())
}

fn on_another_weekday(text: &str) -> Option<SystemTime> {
    let (day, rest) = text.split_at_checked(text.find([' ', ','])?)?;
    let long = WEEKDAYS.contains(&day);
    let short = WEEKDAYS.iter().any(|name| name.get(..3) == Some(day));
    WEEKDAYS.iter().filter(|_| long || short).find_map(|name| {
        let name = if long { name } else { name.get(..3)? };
        httpdate::parse_http_date(&format!("{name}{rest}")).ok()
    })
}

const WEEKDAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// `SUN, 06 nov 1994 08:49:37 gmt` as a date is written.
fn proper_case(text: &str) -> String {
    let mut proper = String::with_capacity(text.len());
    let mut first = true;
    for char in text.chars() {
        proper.push(if first { char.to_ascii_uppercase() } else { char.to_ascii_lowercase() });
        first = !char.is_ascii_alphabetic();
    }
    if proper.ends_with(" Gmt") {
        proper.truncate(proper.len() - 3);
        proper.push_str("GMT");
    }
    proper
}

/// delta-seconds (RFC 9111 §1.2.2): digits only, and what is too large is as large as can be.
pub(super) fn seconds(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| (sum * 10 + u64::from(digit - b'0')).min(FOREVER);
    Some(text.iter().fold(0, add))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_forms_name_the_same_second() {
        for text in [
            "Wed, 09 Feb 2033 04:05:06 GMT",
            "Wednesday, 09-Feb-33 04:05:06 GMT",
            "Wed Feb  9 04:05:06 2033",
            "wed, 09 FEB 2033 04:05:06 gmt",
            "WEDNESDAY, 09-fEB-33 04:05:06 Gmt",
            "Mon, 09 Feb 2033 04:05:06 GMT",
            "Sunday, 09-Feb-33 04:05:06 GMT",
            "Fri Feb  9 04:05:06 2033",
            "  Wed, 09 Feb 2033 04:05:06 GMT\t",
        ] {
            assert_eq!(parse_date(text), Some(1_991_534_706), "{text}");
        }
    }

    #[test]
    fn the_last_year_of_four_digits_can_be_named() {
        assert_eq!(parse_date("Fri, 31 Dec 9999 23:59:59 GMT"), Some(LAST));
    }

    #[test]
    fn what_is_nearly_a_date_is_none() {
        for text in [
            "",
            "0",
            "-1",
            "now",
            "Wed, 09 Feb 2033 04:05:06 UTC",
            "Wed, 09 Feb 2033 04:05:06 +0000",
            "Wed, 09 Feb 2033 04:05:06 CET",
            "Wed, 09 Feb 2033 04:05:06",
            "Wed, 09 Feb 33 04:05:06 GMT",
            "Wed 09 Feb 2033 04:05:06 GMT",
            "Wed, 09  Feb  2033 04:05:06 GMT",
            "Wed, 09-Feb-2033 04:05:06 GMT",
            "Wed, 09 Feb 2033 04.05.06 GMT",
            "Wed, 09 Feb 2033 4:05:06 GMT",
            "Wed, 9 Feb 2033 04:05:06 GMT",
            "Xyz, 09 Feb 2033 04:05:06 GMT",
            ", 09 Feb 2033 04:05:06 GMT",
            "Wed, 30 Feb 2033 04:05:06 GMT",
            "Wed, 09 Feb 2033 25:05:06 GMT",
            "Wed, 09 Feb 2033 04:05:06 GMT, Wed, 09 Feb 2033 04:05:06 GMT",
            "W\u{e9}d, 09 Feb 2033 04:05:06 GMT",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }

    #[test]
    fn seconds_are_digits_only_and_end_at_forever() {
        assert_eq!(seconds(b"0"), Some(0));
        assert_eq!(seconds(b"000120"), Some(120));
        assert_eq!(seconds(b"2147483648"), Some(2_147_483_648));
        assert_eq!(seconds(b"99999999999999999999999999999"), Some(FOREVER));
        for text in [&b""[..], b"-1", b"+1", b"1.0", b"1s", b"'1'", b" 1", b"\xb2"] {
            assert_eq!(seconds(text), None, "{text:?}");
        }
    }

    #[test]
    fn lines_that_disagree_are_no_date() {
        let mut headers = HeaderMap::new();
        headers.append(DATE, HeaderValue::from_static("Wed, 09 Feb 2033 04:05:06 GMT"));
        headers.append(DATE, HeaderValue::from_static("Wed, 09 Feb 2033 04:05:06 GMT"));
        assert_eq!(date_of(&headers, &DATE), Some(1_991_534_706));
        headers.append(DATE, HeaderValue::from_static("Wed, 09 Feb 2033 04:05:07 GMT"));
        assert_eq!(date_of(&headers, &DATE), None);
    }

    #[test]
    fn a_date_is_set_only_where_none_can_be_read() {
        let mut headers = HeaderMap::new();
        repair_date(&mut headers, 1_991_534_706_999);
        assert_eq!(headers[DATE], "Wed, 09 Feb 2033 04:05:06 GMT");
        repair_date(&mut headers, 0);
        assert_eq!(headers[DATE], "Wed, 09 Feb 2033 04:05:06 GMT");
        headers.insert(DATE, HeaderValue::from_static("yesterday"));
        repair_date(&mut headers, u64::MAX);
        assert_eq!(headers[DATE], "Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
