//! Moments as the engine writes them, and as clients may write one: `24h`, `2026-11-30`, `1764500000`.
//!
//! Policies that remove what is older than something read them here. What must stay true: a text means the moment that
//! `GetTimestamp` of moby (api/types/time/timestamp.go) makes of it, or none.

use std::iter::Peekable;
use std::str::Bytes;

/// Of the Unix clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixTime {
    pub seconds: i64,
    nanos: u32,
}

/// What time it is somewhere, and by how many seconds its clocks are ahead of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    pub moment: UnixTime,
    ahead: i64,
}

const DAY: i64 = 86_400;
const NANOS: i128 = 1_000_000_000;

impl LocalTime {
    /// RFC 3339, as Go writes a time into JSON.
    pub fn parse(text: &str) -> Option<LocalTime> {
        let (date, rest) = text.split_once('T')?;
        let (clock, ahead) = zone(rest)?;
        let (seconds, nanos) = time_of_day(clock, &[3])?;
        let seconds = days(date)? * DAY + seconds - ahead;
        Some(LocalTime { moment: UnixTime { seconds, nanos }, ahead })
    }
}

impl UnixTime {
    /// What a client means by this, said when it is `now` where the engine is.
    pub fn written(text: &str, now: LocalTime) -> Option<UnixTime> {
        // Go has whole seconds here.
        if text != "0"
            && let Some(duration) = duration(text)
        {
            let now = i128::from(now.moment.seconds) * NANOS + i128::from(now.moment.nanos);
            let seconds = i64::try_from((now - duration).div_euclid(NANOS)).ok()?;
            return Some(UnixTime { seconds, nanos: 0 });
        }
        date(text, now.ahead).or_else(|| number(text))
    }
}

/// A date, with a time or not, with a zone or in the engine's.
fn date(text: &str, ahead: i64) -> Option<UnixTime> {
    let is_local = !(text.contains(['Z', 'z', '+']) || text.matches('-').count() == 3);
    let (date, clock, ahead) = match text.split_once('T') {
        Some((date, rest)) if is_local => (date, Some(rest), ahead),
        Some((date, rest)) => {
            let (clock, ahead) = zone(rest)?;
            (date, Some(clock), ahead)
        }
        None if is_local => (text, None, ahead),
        None => {
            // A date is ten long, and its zone begins behind it.
            let (date, rest) = text.split_at_checked(10)?;
            let (between, ahead) = zone(rest)?;
            between.is_empty().then_some((date, None, ahead))?
        }
    };
    let (seconds, nanos) = match clock {
        Some(clock) => time_of_day(clock, &[1, 2, 3])?,
        None => (0, 0),
    };
    Some(UnixTime { seconds: days(date)? * DAY + seconds - ahead, nanos })
}

/// Seconds of the Unix clock, with a fraction or without.
fn number(text: &str) -> Option<UnixTime> {
    if text.contains('-') {
        return None;
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    Some(UnixTime { seconds: seconds.parse().ok()?, nanos: nanos(fraction)? })
}

/// What stands before a zone, and by how much that is ahead.
fn zone(text: &str) -> Option<(&str, i64)> {
    if let Some(clock) = text.strip_suffix('Z') {
        return Some((clock, 0));
    }
    let (clock, zone) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let (sign, zone) = match (zone.strip_prefix('+'), zone.strip_prefix('-')) {
        (Some(zone), _) => (1, zone),
        (_, Some(zone)) => (-1, zone),
        _ => return None,
    };
    let (hours, minutes) = zone.split_once(':')?;
    Some((clock, sign * (digits(hours, 2, 24)? * 3600 + digits(minutes, 2, 60)? * 60)))
}

/// Hours, minutes and seconds, or as many of them as there may be.
fn time_of_day(text: &str, lengths: &[usize]) -> Option<(i64, u32)> {
    let (text, fraction) = match text.split_once('.') {
        Some((text, fraction)) => (text, Some(fraction)),
        None => (text, None),
    };
    let parts: Vec<&str> = text.split(':').collect();
    if !lengths.contains(&parts.len()) || fraction.is_some() && parts.len() < 3 {
        return None;
    }
    let mut seconds = 0;
    for (part, (most, unit)) in parts.iter().zip([(23, 3600), (59, 60), (59, 1)]) {
        seconds += digits(part, 2, most)? * unit;
    }
    Some((seconds, fraction.map_or(Some(0), nanos)?))
}

/// Days of the Unix clock until a date.
fn days(date: &str) -> Option<i64> {
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let (year, month) = (digits(year, 4, 9999)?, digits(month, 2, 12)?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(is_leap),
        _ => return None,
    };
    let day = digits(day, 2, length).filter(|day| *day > 0)?;
    // Years that begin in March have the odd day at their end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let before = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    Some(before + (month * 153 + 2) / 5 + day - 1 - 719_468)
}

fn digits(text: &str, length: usize, most: i64) -> Option<i64> {
    let is_plain = text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten().filter(|number| *number <= most)
}

/// Of a fraction of a second.
fn nanos(fraction: &str) -> Option<u32> {
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nine: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    nine.parse().ok()
}

/// Nanoseconds (`time.ParseDuration` of Go).
fn duration(text: &str) -> Option<i128> {
    let (sign, text) = match text.as_bytes().first()? {
        b'-' => (-1, text.get(1..)?),
        b'+' => (1, text.get(1..)?),
        _ => (1, text),
    };
    if text == "0" {
        return Some(0);
    }
    let (mut rest, mut sum) = (text.bytes().peekable(), 0i128);
    while rest.peek().is_some() {
        let (whole, length) = run_of_digits(&mut rest)?;
        let mut fraction = (0, 0);
        if rest.next_if_eq(&b'.').is_some() {
            fraction = run_of_digits(&mut rest)?;
        }
        if length + fraction.1 == 0 {
            return None;
        }
        let unit = unit(&mut rest)?;
        let scale = 10i128.pow(fraction.1);
        sum = sum.checked_add(whole.checked_mul(unit)?)?.checked_add(fraction.0 * unit / scale)?;
        i64::try_from(sum).ok()?;
    }
    (!text.is_empty()).then_some(sign * sum)
}

/// A number, and how many digits it has: no more than a duration can have.
fn run_of_digits(rest: &mut Peekable<Bytes<'_>>) -> Option<(i128, u32)> {
    let (mut number, mut length) = (0, 0);
    while let Some(digit) = rest.next_if(u8::is_ascii_digit) {
        number = number * 10 + i128::from(digit - b'0');
        length += 1;
        if length > 19 {
            return None;
        }
    }
    Some((number, length))
}

fn unit(rest: &mut Peekable<Bytes<'_>>) -> Option<i128> {
    let is_other = |byte: &u8| *byte != b'.' && !byte.is_ascii_digit();
    let name: Vec<u8> = std::iter::from_fn(|| rest.next_if(is_other)).collect();
    Some(match std::str::from_utf8(&name).ok()? {
        "ns" => 1,
        // Both signs for a millionth.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => NANOS,
        "m" => 60 * NANOS,
        "h" => 3600 * NANOS,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: &str = "2026-11-30T20:54:50.5+01:00";
    const NOON: i64 = 1_796_040_000;

    fn at(text: &str) -> Option<(i64, u32)> {
        let moment = UnixTime::written(text, LocalTime::parse(NOW).unwrap())?;
        Some((moment.seconds, moment.nanos))
    }

    #[test]
    fn what_the_engine_writes_is_read() {
        let read = |text| {
            let LocalTime { moment, ahead } = LocalTime::parse(text)?;
            Some((moment.seconds, moment.nanos, ahead))
        };
        assert_eq!(read("1970-01-01T00:00:00Z"), Some((0, 0, 0)));
        assert_eq!(read("2026-11-30T12:00:00.000000001Z"), Some((NOON, 1, 0)));
        assert_eq!(read("2026-11-30T13:30:00.5+01:30"), Some((NOON, 500_000_000, 5400)));
        assert_eq!(read("2026-11-30T05:00:00-07:00"), Some((NOON, 0, -25_200)));
        assert_eq!(read("0001-01-01T00:00:00Z"), Some((-62_135_596_800, 0, 0)));
        assert_eq!(read("2024-02-29T00:00:00Z"), Some((1_709_164_800, 0, 0)));
        for wrong in [
            "",
            "T",
            "2026-11-30",
            "2026-11-30T12:00Z",
            "2026-11-30T12:00:00",
            "2026-11-30T24:00:00Z",
            "2026-11-31T12:00:00Z",
            "2025-02-29T12:00:00Z",
            "2026-00-30T12:00:00Z",
            "2026-11-00T12:00:00Z",
            "2026-11-30T12:00:00.Z",
            "2026-11-30T12:00:00+1:00",
            "+026-11-30T12:00:00Z",
            "2026-11-30T12:00:00ü+01:0",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_a_client_writes_means_what_it_does_to_the_engine() {
        let now = 1_796_068_490;
        for (text, wanted) in [
            ("24h", Some((now - 86_400, 0))),
            ("0s", Some((now, 0))),
            ("1ns", Some((now, 0))),
            // Of half a second nothing is left.
            ("600ms", Some((now - 1, 0))),
            ("1h30m", Some((now - 5400, 0))),
            ("1.5h", Some((now - 5400, 0))),
            (".5m", Some((now - 30, 0))),
            ("1.m", Some((now - 60, 0))),
            ("-10m", Some((now + 600, 0))),
            ("+1m", Some((now - 60, 0))),
            ("1000\u{b5}s", Some((now, 0))),
            ("0", Some((0, 0))),
            ("-0", Some((now, 0))),
            ("1796040000", Some((NOON, 0))),
            ("1796040000.5", Some((NOON, 500_000_000))),
            ("1796040000.000000001", Some((NOON, 1))),
            ("2026-11-30", Some((NOON - 13 * 3600, 0))),
            ("2026-11-30Z", Some((NOON - 12 * 3600, 0))),
            ("2026-11-30-02:00", Some((NOON - 10 * 3600, 0))),
            ("2026-11-30+02:00", Some((NOON - 14 * 3600, 0))),
            ("2026-11-30T13", Some((NOON, 0))),
            ("2026-11-30T13:00", Some((NOON, 0))),
            ("2026-11-30T13:00:00", Some((NOON, 0))),
            ("2026-11-30T13:00:00.25", Some((NOON, 250_000_000))),
            ("2026-11-30T12Z", Some((NOON, 0))),
            ("2026-11-30T12:00Z", Some((NOON, 0))),
            ("2026-11-30T12:00:00Z", Some((NOON, 0))),
            ("2026-11-30T12:00:00.25Z", Some((NOON, 250_000_000))),
            ("2026-11-30T10:00-02:00", Some((NOON, 0))),
            ("2026-11-30T14:00:00+02:00", Some((NOON, 0))),
            ("", None),
            ("h", None),
            ("1", Some((1, 0))),
            (".h", None),
            ("1d", None),
            ("1h ", None),
            ("9999999999h", None),
            ("99999999999999999999h", None),
            ("20-1", None),
            ("-5", None),
            ("--1h", None),
            ("2026-11-30z", None),
            ("2026-11-30T", None),
            ("2026-11-30T13:00:00:00", None),
            ("2026-11-30 13:00", None),
            ("1796040000.-5", None),
            ("1796040000.", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(at(text), wanted, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in ".{0,40}", odd in "[-+0-9TZz:.hms]{0,30}") {
            for text in [&text, &odd] {
                let _ = (at(text), LocalTime::parse(text));
            }
        }

        #[test]
        fn dates_are_as_others_read_them(seconds in 0u64..200_000_000_000) {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            let text = humantime::format_rfc3339_seconds(time).to_string();
            let read = LocalTime::parse(&text).unwrap().moment;
            prop_assert_eq!(u64::try_from(read.seconds), Ok(seconds));
        }
    }
}
