//! What the caches have saved, as a table for people.
//!
//! Used by `cache`; pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::admin::report::{Saving, Savings};
use crate::cache::stats::{Outcome, Sums};

pub(super) fn write_savings(savings: &Savings) -> String {
    let mut out = String::new();
    for (at, saving) in savings.caches.iter().enumerate() {
        if at > 0 {
            out.push('\n');
        }
        write(&mut out, saving);
    }
    if savings.caches.is_empty() {
        out.push_str("there is no cache\n");
    }
    out
}

/// Three digits and a binary unit, as in the configuration.
#[expect(clippy::cast_precision_loss, reason = "for people")]
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut units = UNITS.into_iter();
    let (mut number, mut unit) = (bytes as f64, units.next().unwrap_or_default());
    // 999.5 would be shown as 1000.
    while number >= 999.5 {
        let Some(larger) = units.next() else { break };
        (number, unit) = (number / 1024.0, larger);
    }
    match bytes < 1000 || number >= 9.95 {
        true => format!("{number:.0}{unit}"),
        false => format!("{number:.1}{unit}"),
    }
}

fn write(out: &mut String, saving: &Saving) {
    let total = &saving.total;
    let scanning = if saving.scanning { ", still counting" } else { "" };
    let _ = write!(
        out,
        "cache {}: {} objects, {} of {}{scanning}\n\
         evicted {}, in flight {}, disk errors {}, in memory {}\n\n",
        saving.name,
        saving.objects,
        size(saving.bytes),
        size(saving.limit),
        saving.evicted,
        saving.in_flight,
        saving.disk_errors,
        size(saving.memory),
    );
    let width = saving.domains.keys().chain(saving.tenants.keys()).map(|name| name.len() + 2);
    let width = width.max().unwrap_or_default().clamp(9, 60);
    let _ = writeln!(
        out,
        "{:width$}  {:>9}  {:>6}  {:>8}  {:>8}  {:>8}  {:>8}  {:>9}",
        "", "requests", "hits", "sent", "saved", "fetched", "stored", "to origin"
    );
    line(out, width, "all", total);
    for (title, all) in [("by domain", &saving.domains), ("by tenant", &saving.tenants)] {
        if !all.is_empty() {
            let _ = writeln!(out, "{title}");
            most_first(all).for_each(|(name, sums)| line(out, width, &format!("  {name}"), sums));
        }
    }
    let outcomes = Outcome::ALL.into_iter().map(Outcome::as_str);
    let outcomes = outcomes.filter_map(|name| Some((name, *total.requests.get(name)?)));
    counts(out, "results", outcomes);
    counts(out, "not stored", saving.not_stored.iter().map(|(why, n)| (why.as_str(), *n)));
}

fn line(out: &mut String, width: usize, name: &str, sums: &Sums) {
    let _ = writeln!(
        out,
        "{name:width$}  {:>9}  {:>6}  {:>8}  {:>8}  {:>8}  {:>8}  {:>9}",
        sums.requests.values().sum::<u64>(),
        ratio(sums.saved(), sums.answered()),
        size(sums.bytes_sent),
        size(sums.bytes_saved),
        size(sums.bytes_fetched),
        size(sums.bytes_stored),
        sums.origin_requests,
    );
}

fn most_first(all: &BTreeMap<String, Sums>) -> impl Iterator<Item = (&String, &Sums)> {
    let mut all: Vec<_> = all.iter().collect();
    all.sort_by_key(|(_, sums)| std::cmp::Reverse(sums.bytes_sent));
    all.into_iter()
}

fn counts<'a>(out: &mut String, title: &str, all: impl Iterator<Item = (&'a str, u64)>) {
    let all: Vec<_> = all.filter(|(_, n)| *n > 0).map(|(name, n)| format!("{name} {n}")).collect();
    if !all.is_empty() {
        let _ = writeln!(out, "\n{title}: {}", all.join(", "));
    }
}

/// In percent.
#[expect(clippy::cast_precision_loss, reason = "for people")]
fn ratio(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".to_owned(),
        _ => format!("{:.1}%", part as f64 * 100.0 / whole as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits_and_the_units_of_the_configuration() {
        for (bytes, wanted) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1.0kB"),
            (1024, "1.0kB"),
            (10_240, "10kB"),
            (999 << 10, "999kB"),
            ((1 << 20) - 1, "1.0MB"),
            (50 << 30, "50GB"),
            (3 << 29, "1.5GB"),
            (u64::MAX, "16777216TB"),
        ] {
            assert_eq!(size(bytes), wanted, "{bytes}");
        }
    }

    #[test]
    fn a_report_has_the_largest_domain_first_and_no_zeros() {
        let sums = |hits: u64, misses: u64, sent| Sums {
            requests: [("hit".into(), hits), ("miss".into(), misses), ("stale".into(), 0)].into(),
            bytes_sent: sent,
            ..Sums::default()
        };
        let domains: BTreeMap<_, _> =
            [("a.example".to_owned(), sums(1, 1, 10)), ("b.example".to_owned(), sums(2, 0, 99))]
                .into();
        let saving = Saving {
            name: "main".to_owned(),
            objects: 3,
            bytes: 4096,
            limit: 50 << 30,
            scanning: false,
            evicted: 1,
            disk_errors: 0,
            in_flight: 0,
            memory: 0,
            total: Sums::total(domains.values()),
            domains,
            tenants: BTreeMap::new(),
            not_stored: [("no-store".to_owned(), 7)].into(),
        };
        let text = write_savings(&Savings { caches: vec![saving] });
        assert!(text.starts_with("cache main: 3 objects, 4.0kB of 50GB\n"), "{text}");
        assert!(text.find("b.example") < text.find("a.example"), "{text}");
        assert!(text.contains("all") && text.contains("75.0%"), "{text}");
        assert!(text.contains("results: hit 3, miss 1\n"), "{text}");
        assert!(text.contains("not stored: no-store 7\n") && !text.contains("by tenant"), "{text}");
    }
}
