//! Prometheus' text formats read as strictly as `promtool check metrics` does, and then some.
//!
//! `read` complains about whatever a server could misread or a linter would find; `Page` looks values
//! up for the tests of `admin.rs`. The samples below show that it does find faults.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dockgate::telemetry::access::{Record, Stage, Verdict};
use dockgate::telemetry::metrics::{Metrics, plain};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `text/plain; version=0.0.4`.
    Plain,
    OpenMetrics,
}

pub type Labels = BTreeMap<String, String>;

#[derive(Debug, Default)]
pub struct Page {
    pub kinds: BTreeMap<String, String>,
    samples: HashMap<(String, Labels), f64>,
}

impl Page {
    /// The sum of all series of a name that have these labels among theirs.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let is_meant = |of: &Labels| {
            labels.iter().all(|(key, value)| of.get(*key).is_some_and(|other| other == value))
        };
        let found = self.samples.iter().filter(|((other, of), _)| other == name && is_meant(of));
        found.map(|(_, value)| value).sum()
    }

    /// Every value that a label has.
    pub fn values_of(&self, label: &str) -> BTreeSet<&str> {
        self.samples.keys().filter_map(|(_, of)| of.get(label).map(String::as_str)).collect()
    }
}

pub fn read(text: &str, format: Format) -> Result<Page, String> {
    let body = match format {
        Format::Plain => text,
        Format::OpenMetrics => {
            let body = text.strip_suffix("# EOF\n").ok_or("does not end with `# EOF`")?;
            if body.contains("# EOF") { Err("`# EOF` before the end")? } else { body }
        }
    };
    if !body.ends_with('\n') {
        return Err("does not end with a line feed".to_owned());
    }
    let mut reader = Reader { format, page: Page::default(), helped: None, family: None };
    for line in body.lines() {
        reader.line(line).map_err(|why| format!("{why}: `{line}`"))?;
    }
    reader.end_family()?;
    Ok(reader.page)
}

struct Reader {
    format: Format,
    page: Page,
    /// The family whose HELP has come and whose TYPE has not.
    helped: Option<String>,
    family: Option<Family>,
}

struct Family {
    name: String,
    kind: String,
    /// In their order, for histograms.
    samples: Vec<(String, Labels, f64)>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or("no help")?;
            self.end_family()?;
            if self.helped.is_some() || self.page.kinds.contains_key(name) || help.trim().is_empty()
            {
                return Err("an empty help, or a family twice".to_owned());
            }
            self.helped = Some(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or("no type")?;
            if self.helped.take().as_deref() != Some(name) {
                return Err("TYPE is not behind its HELP".to_owned());
            }
            self.check_name(name, kind)?;
            self.page.kinds.insert(name.to_owned(), kind.to_owned());
            let (name, kind) = (name.to_owned(), kind.to_owned());
            self.family = Some(Family { name, kind, samples: Vec::new() });
        } else if let Some(rest) = line.strip_prefix("# UNIT ") {
            let (name, unit) = rest.split_once(' ').ok_or("no unit")?;
            let family = self.family.as_ref().filter(|family| family.name == name);
            if self.format == Format::Plain || family.is_none_or(|of| !of.samples.is_empty()) {
                return Err("UNIT is out of place".to_owned());
            }
            if !name.ends_with(&format!("_{unit}")) {
                return Err("the name does not end with its unit".to_owned());
            }
        } else if line.starts_with('#') || line.is_empty() {
            return Err("neither a sample nor HELP, TYPE or UNIT".to_owned());
        } else {
            self.sample(line)?;
        }
        Ok(())
    }

    fn check_name(&self, name: &str, kind: &str) -> Result<(), String> {
        let mut chars = name.chars();
        let starts = chars.next().is_some_and(|c| c.is_ascii_lowercase() || "_:".contains(c));
        if !starts || !chars.all(is_of_name) {
            return Err("the name has other characters than a-z, 0-9, _ and :".to_owned());
        }
        if !matches!(kind, "counter" | "gauge" | "histogram") {
            return Err(format!("type `{kind}`"));
        }
        let is_plain_counter = kind == "counter" && self.format == Format::Plain;
        if name.ends_with("_total") != is_plain_counter {
            return Err("`_total` is for counters".to_owned());
        }
        if ["_sum", "_count", "_bucket"].iter().any(|suffix| name.ends_with(suffix)) {
            return Err("the name ends like a part of a histogram".to_owned());
        }
        let stem = name.strip_suffix("_total").unwrap_or(name);
        for (at, word) in stem.split('_').rev().enumerate() {
            if matches!(
                word,
                "ms" | "milliseconds" | "microseconds" | "minutes" | "kb" | "kilobytes"
            ) || (matches!(word, "seconds" | "bytes") && at > 0)
            {
                return Err(format!("`{word}`: a base unit at the name's end"));
            }
        }
        Ok(())
    }

    fn sample(&mut self, line: &str) -> Result<(), String> {
        let end = line.find(|c| !is_of_name(c)).ok_or("no value")?;
        let (name, rest) = line.split_at(end);
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest)?,
            None => (Labels::new(), rest),
        };
        let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
        let number: f64 = match value {
            "+Inf" | "-Inf" | "NaN" => return Err("no finite value".to_owned()),
            _ => value.parse().map_err(|_| "the value is no number")?,
        };
        let family = self.family.as_mut().ok_or("a sample before HELP and TYPE")?;
        let suffix = name.strip_prefix(&family.name).ok_or("a sample of another family")?;
        let expected: &[&str] = match (family.kind.as_str(), self.format) {
            ("counter", Format::OpenMetrics) => &["_total"],
            ("histogram", _) => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        if !expected.contains(&suffix) {
            return Err("a sample of another family".to_owned());
        }
        if labels.contains_key("le") != (suffix == "_bucket") {
            return Err("`le` is for buckets".to_owned());
        }
        if family.kind != "gauge" && number < 0.0 {
            return Err("a negative count".to_owned());
        }
        if family.kind == "counter" && !labels.values().all(|value| value.len() < 128) {
            return Err("a label that long is no word".to_owned());
        }
        family.samples.push((suffix.to_owned(), labels.clone(), number));
        match self.page.samples.insert((name.to_owned(), labels), number) {
            Some(_) => Err("a series twice".to_owned()),
            None => Ok(()),
        }
    }

    fn end_family(&mut self) -> Result<(), String> {
        match self.family.take() {
            Some(family) if family.kind == "histogram" => {
                histogram(&family).map_err(|why| format!("{why}: histogram {}", family.name))
            }
            _ => Ok(()),
        }
    }
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == ':'
}

/// Behind `{`: the labels, and what comes behind `}`.
fn labels(mut rest: &str) -> Result<(Labels, &str), String> {
    let mut found = Labels::new();
    loop {
        let (name, behind) = rest.split_once("=\"").ok_or("a label without a quoted value")?;
        let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| is_of_name(c) && c != ':');
        if !is_name {
            return Err(format!("the label name `{name}`"));
        }
        let mut value = String::new();
        let mut chars = behind.char_indices();
        let end = loop {
            match chars.next().ok_or("a label's value without its end")? {
                (at, '"') => break at + 1,
                (_, '\\') => match chars.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, c @ ('\\' | '"'))) => value.push(c),
                    _ => return Err("an unknown escape".to_owned()),
                },
                (_, c) => value.push(c),
            }
        };
        if value.is_empty() || found.insert(name.to_owned(), value).is_some() {
            return Err(format!("label `{name}` twice or empty"));
        }
        rest = &behind[end..];
        match rest.strip_prefix(',') {
            Some(behind) => rest = behind,
            None => return Ok((found, rest.strip_prefix('}').ok_or("labels without their end")?)),
        }
    }
}

/// Its suffix, its `le`, its value.
type Part<'a> = (&'a str, Option<f64>, f64);

fn histogram(family: &Family) -> Result<(), String> {
    let mut groups: BTreeMap<Labels, Vec<Part<'_>>> = BTreeMap::new();
    for (suffix, labels, value) in &family.samples {
        let mut labels = labels.clone();
        let le = match labels.remove("le").as_deref() {
            Some("+Inf") => Some(f64::INFINITY),
            Some(le) => Some(le.parse().map_err(|_| "`le` is no number")?),
            None => None,
        };
        groups.entry(labels).or_default().push((suffix, le, *value));
    }
    for samples in groups.values() {
        let one = |wanted| samples.iter().find(|(suffix, ..)| *suffix == wanted).map(|one| one.2);
        one("_sum").ok_or("no _sum")?;
        let count = one("_count").ok_or("no _count")?;
        let buckets: Vec<_> = samples.iter().filter_map(|(_, le, n)| Some(((*le)?, *n))).collect();
        if buckets.last() != Some(&(f64::INFINITY, count)) {
            return Err("the last bucket is not +Inf with the count".to_owned());
        }
        if !buckets.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1) {
            return Err("buckets do not add up".to_owned());
        }
    }
    Ok(())
}

const GOOD: &str = "\
# HELP a_requests_total Calls
# TYPE a_requests_total counter
a_requests_total{path=\"a \\\"b\\\" \\\\ \\n,}\",x=\"1\"} 3
a_requests_total{path=\"b\",x=\"1\"} 4
# HELP a_open Open
# TYPE a_open gauge
a_open -1
# HELP a_seconds Time
# TYPE a_seconds histogram
a_seconds_bucket{le=\"0.1\"} 1
a_seconds_bucket{le=\"+Inf\"} 2
a_seconds_sum 5.5
a_seconds_count 2
";

#[test]
fn a_good_page_is_read() {
    let page = read(GOOD, Format::Plain).unwrap();
    assert_eq!(page.kinds.len(), 3);
    assert_eq!(page.value("a_requests_total", &[("x", "1")]), 7.0);
    assert_eq!(page.value("a_requests_total", &[("path", "b")]), 4.0);
    assert!(page.values_of("path").contains("a \"b\" \\ \n,}"));
}

#[test]
fn every_fault_is_found() {
    let faults = [
        ("# HELP a_open Open\n", ""),
        ("# TYPE a_open gauge\n", ""),
        ("# HELP a_open Open", "# HELP a_open "),
        ("# TYPE a_open gauge", "# TYPE a_open summary"),
        ("# TYPE a_open gauge\na_open -1", "a_open -1\n# TYPE a_open gauge"),
        ("a_open -1\n", "a_open -1\na_open -1\n"),
        ("a_open -1", "a_open"),
        ("a_open -1", "a_open  -1"),
        ("a_open -1", "a_open one"),
        ("a_open -1", "a_open NaN"),
        ("a_open -1", "a_open -1 1700000000"),
        ("a_open -1", "a_closed -1"),
        ("a_open -1\n", "a_open -1\n\n"),
        ("a_open -1\n", "a_open -1\n# a comment\n"),
        ("a_open", "a_open_total"),
        ("a_open", "a_open_ms"),
        ("a_open", "a_seconds_open"),
        ("a_open", "a_Open"),
        ("a_open", "a_open_count"),
        ("a_requests_total", "a_requests"),
        ("\"b\",x=\"1\"} 4", "\"b\",x=\"1\"} -4"),
        ("path=\"b\"", "path=\"a \\\"b\\\" \\\\ \\n,}\""),
        ("path=\"b\"", "path=\"a\"b\""),
        ("path=\"b\"", "path=\"\\b\""),
        ("path=\"b\"", "path=\"\""),
        ("path=\"b\"", "path=b"),
        ("path=\"b\"", "le=\"b\""),
        ("path=\"b\"", "Path=\"b\""),
        ("path=\"b\"", "x=\"1\""),
        ("x=\"1\"} 4", "x=\"1\" 4"),
        ("le=\"0.1\"} 1", "le=\"0.1\"} 3"),
        ("le=\"0.1\"", "le=\"x\""),
        ("a_seconds_bucket{le=\"+Inf\"} 2\n", ""),
        ("a_seconds_count 2", "a_seconds_count 3"),
        ("a_seconds_sum 5.5\n", ""),
        ("a_seconds_count 2\n", ""),
        ("a_seconds_count 2\n", "a_seconds_count 2"),
        ("a_seconds_count 2\n", "a_seconds_count 2\n# HELP a_open Open\n# TYPE a_open gauge\n"),
        ("a_seconds_count 2\n", "a_seconds_count 2\n# EOF\n"),
    ];
    for (from, to) in faults {
        assert!(GOOD.contains(from), "{from}");
        let bad = GOOD.replace(from, to);
        assert!(read(&bad, Format::Plain).is_err(), "`{from}` as `{to}` was not found:\n{bad}");
    }
}

#[test]
fn openmetrics_has_its_own_rules() {
    let good = "# HELP a_bytes Bytes\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\n\
                a_bytes_total 3\n# EOF\n";
    assert_eq!(read(good, Format::OpenMetrics).unwrap().value("a_bytes_total", &[]), 3.0);
    for (from, to) in [
        ("# EOF\n", ""),
        ("# EOF\n", "# EOF\n# EOF\n"),
        ("a_bytes_total 3", "a_bytes 3"),
        ("# UNIT a_bytes bytes", "# UNIT a_bytes seconds"),
        ("# UNIT a_bytes bytes\na_bytes_total 3", "a_bytes_total 3\n# UNIT a_bytes bytes"),
        ("a_bytes ", "a_bytes_total "),
    ] {
        let bad = good.replace(from, to);
        assert!(read(&bad, Format::OpenMetrics).is_err(), "`{from}` as `{to}`:\n{bad}");
    }
}

#[test]
fn what_dockgate_counts_is_well_formed_in_both_formats() {
    let metrics = Metrics::new();
    // A name that nobody should give a listener, and a rule that nobody should write.
    let tally = metrics.tally(0, "we\"ird\\\n");
    let mut record = Record::new("it".into(), "-".into());
    record.operation = "ContainerCreate";
    (record.status, record.verdict) = (403, Verdict::Deny);
    record.rule = Some("a\nb\"}".to_owned());
    for stage in Stage::ALL {
        record.mark(stage);
    }
    tally.call(&record);
    let open = (tally.connection(), tally.stream("ContainerAttach"));
    tally.handshake("ok");
    tally.authentication("ldap", "refused");
    let text = metrics.render();
    for (text, format) in [(plain(&text), Format::Plain), (text, Format::OpenMetrics)] {
        let page = read(&text, format).unwrap_or_else(|why| panic!("{why}\n{text}"));
        assert_eq!(page.value("dockgate_denied_total", &[("rule", "a\nb\"}")]), 1.0);
        let here = ("listener", "we\"ird\\\n");
        assert_eq!(page.value("dockgate_requests_total", &[here, ("verdict", "deny")]), 1.0);
        assert_eq!(page.value("dockgate_request_seconds_count", &[("stage", "send")]), 1.0);
        assert_eq!(page.value("dockgate_connections_open", &[here]), 1.0);
        assert_eq!(page.value("dockgate_streams_open", &[("kind", "ContainerAttach")]), 1.0);
        assert_eq!(page.value("dockgate_tls_handshakes_total", &[here, ("result", "ok")]), 1.0);
        let refused = [here, ("method", "ldap"), ("result", "refused")];
        assert_eq!(page.value("dockgate_authentications_total", &refused), 1.0);
    }
    drop(open);
}

#[test]
fn every_metric_is_in_the_documentation_and_no_other() {
    let metrics = Metrics::new();
    let page = read(&plain(&metrics.render()), Format::Plain).unwrap();
    let docs = include_str!("../../docs/metrics.md");
    let rows = docs.lines().filter_map(|line| line.strip_prefix("| `"));
    let named: BTreeMap<_, _> = rows
        .filter_map(|row| {
            let (name, rest) = row.split_once('`')?;
            Some((name.to_owned(), rest.split('|').nth(1)?.trim().to_owned()))
        })
        .collect();
    assert_eq!(named, page.kinds, "names and types");
}
