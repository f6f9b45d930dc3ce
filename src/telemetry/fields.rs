//! A record as a line: JSON, LTSV, or text for people.
//!
//! `access::Log` has each record put into its format here. What must stay true: a record is one line, whatever a
//! client has put into it, with the names of the contract; nothing moves a terminal's cursor.

use std::io::Write as _;
use std::time::{Duration, SystemTime};

use super::printable::{is_plain, printable};
use super::record::{Record, Verdict};

pub(super) struct Fields<'r>(Vec<(&'static str, Field<'r>)>);

enum Field<'r> {
    Text(&'r str),
    Own(String),
    Number(u64),
    /// Milliseconds with three decimals.
    Duration(Duration),
    /// JSON as it is.
    Json(String),
    /// JSON as it is, and what LTSV has instead.
    Rendered {
        json: &'r str,
        plain: &'r str,
    },
}

impl<'r> Fields<'r> {
    pub(super) fn of(record: &'r Record, hostname: &'r str) -> Fields<'r> {
        let now = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let text = |value: Option<&'r str>| Field::Text(value.unwrap_or("-"));
        let who = record.identity.as_deref();
        let (groups, groups_plain, claims) = match who {
            Some(who) => (&*who.groups_json, &*who.groups_plain, &*who.claims_json),
            None => ("[]", "-", "{}"),
        };
        let mut fields = vec![
            ("time", Field::Own(now)),
            ("listener", Field::Text(&record.listener)),
            ("user", text(who.and_then(|who| who.user.as_deref()))),
            ("namespace", text(record.namespace.as_deref())),
            ("method", Field::Text(&record.method)),
            ("path", Field::Text(&record.path)),
            ("status", Field::Number(record.status.into())),
            ("bytes_in", Field::Number(record.bytes_in)),
            ("bytes_sent", Field::Number(record.bytes_sent)),
            ("duration_ms", Field::Duration(record.started.elapsed())),
            ("operation", Field::Text(record.operation)),
            ("verdict", Field::Text(record.verdict.as_str())),
            ("rule", text(record.rule.as_deref())),
            ("client", Field::Text(&record.client)),
            ("hostname", Field::Text(hostname)),
            ("auth", text(who.and_then(|who| who.auth.as_deref()))),
            ("groups", Field::Rendered { json: groups, plain: groups_plain }),
            ("claims", Field::Rendered { json: claims, plain: claims }),
        ];
        if let Some(of) = &record.registry {
            fields.push(("upstream", text(of.upstream.as_deref())));
            fields.push(("repository", text(of.repository.as_deref())));
            fields.push(("reference", text(of.reference.as_deref())));
            fields.push(("digest", text(of.digest.as_deref())));
        }
        if let Some(of) = &record.cache {
            fields.push(("host", text(of.host.as_deref())));
            fields.push(("result", Field::Text(of.result)));
            fields.push(("container", text(of.container.as_deref())));
        }
        // Only there when somebody audits: `dockgate learn` reads it.
        if let Some(findings) = record.findings.render() {
            fields.push(("findings", Field::Json(findings)));
        }
        // Only there when something was.
        if !record.dropped.is_empty() {
            let names = serde_json::to_string(&record.dropped).unwrap_or_default();
            fields.push(("dropped", Field::Json(names)));
        }
        Fields(fields)
    }

    pub(super) fn put_json(&self, out: &mut Vec<u8>) {
        for (index, (name, field)) in self.0.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"{\"" } else { b",\"" });
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            match field {
                Field::Text(text) => put_json_text(out, text),
                Field::Own(text) => put_json_text(out, text),
                Field::Number(number) => put_number(out, *number),
                Field::Duration(duration) => put_duration(out, *duration),
                Field::Json(json) => out.extend_from_slice(printable(json).as_bytes()),
                Field::Rendered { json, .. } => out.extend_from_slice(printable(json).as_bytes()),
            }
        }
        out.extend_from_slice(b"}\n");
    }

    pub(super) fn put_ltsv(&self, out: &mut Vec<u8>) {
        for (index, (name, field)) in self.0.iter().enumerate() {
            if index > 0 {
                out.push(b'\t');
            }
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
            match field {
                Field::Text(text) => put_ltsv_text(out, text),
                Field::Own(text) => put_ltsv_text(out, text),
                Field::Number(number) => put_number(out, *number),
                Field::Duration(duration) => put_duration(out, *duration),
                Field::Json(json) => put_ltsv_text(out, json),
                Field::Rendered { plain, .. } => put_ltsv_text(out, plain),
            }
        }
        out.push(b'\n');
    }
}

/// For people who look on: who has asked what and what became of it, and no more.
pub(super) fn put_text(record: &Record, out: &mut Vec<u8>) {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let time = now.get(11..19).unwrap_or_default();
    let who = record.identity.as_deref().and_then(|who| who.user.as_deref());
    let who = who.or(record.namespace.as_deref()).unwrap_or("-");
    let host = record.cache.as_ref().and_then(|of| of.host.as_deref()).unwrap_or_default();
    let took = record.started.elapsed();
    let Record { listener, method, path, status, verdict, rule, .. } = record;
    let mut line = format!(
        "{time} {listener} {who} {method} {host}{path} {status} {}.{:03} ms",
        took.as_millis(),
        took.as_micros() % 1000,
    );
    if let Some(of) = &record.cache {
        line.extend([" ", of.result]);
    }
    if *verdict != Verdict::Allow {
        line.extend([" ", verdict.as_str()]);
    }
    if let Some(rule) = rule {
        line.extend([" ", rule]);
    }
    out.extend_from_slice(printable(&line).as_bytes());
    out.push(b'\n');
}

fn put_json_text(out: &mut Vec<u8>, text: &str) {
    if is_plain(text) && text.bytes().all(|b| b != b'"' && b != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        // A string cannot fail to be JSON.
        let json = serde_json::to_string(text).unwrap_or_default();
        out.extend_from_slice(printable(&json).as_bytes());
    }
}

/// LTSV has no way to write a tab or a line end: they become blanks.
fn put_ltsv_text(out: &mut Vec<u8>, text: &str) {
    let blank = |c: char| if c.is_ascii_control() { ' ' } else { c };
    match is_plain(text) {
        true => out.extend_from_slice(text.as_bytes()),
        false => {
            let text: String = text.chars().map(blank).collect();
            out.extend_from_slice(printable(&text).as_bytes());
        }
    }
}

fn put_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn put_duration(out: &mut Vec<u8>, duration: Duration) {
    let micros = duration.as_micros();
    put_number(out, u64::try_from(micros / 1000).unwrap_or(u64::MAX));
    let _ = write!(out, ".{:03}", micros % 1000);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::access::Format;
    use super::super::record::Labels;
    use super::*;

    const NAMES: &str = "time listener user namespace method path status bytes_in bytes_sent \
                         duration_ms operation verdict rule client hostname auth groups claims";

    fn line(format: Format, identity: Option<Labels>) -> String {
        let mut record = Record::new("runner".into(), "uid=1000 pid=7".into());
        record.method = "GET".to_owned();
        record.path = "/v1.41/\t\"x\"\n".to_owned();
        record.identity = identity.map(Arc::new);
        let mut out = Vec::new();
        let fields = Fields::of(&record, "host");
        match format {
            Format::Ltsv => fields.put_ltsv(&mut out),
            Format::Text => put_text(&record, &mut out),
            Format::Json | Format::Auto | Format::Off => fields.put_json(&mut out),
        }
        String::from_utf8(out).unwrap()
    }

    fn somebody() -> Labels {
        let claims = serde_json::json!({ "tenant": "a\tb" });
        let groups = ["ops".to_owned(), "d\tev".to_owned()];
        Labels::new(Some("sam"), Some("sso"), &groups, claims.as_object().unwrap())
    }

    #[test]
    fn a_record_is_one_line_with_the_names_of_the_contract() {
        let parsed: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&line(Format::Json, None)).unwrap();
        assert_eq!(parsed.keys().cloned().collect::<Vec<_>>().join(" "), NAMES);
        assert_eq!(parsed["path"], "/v1.41/\t\"x\"\n");
        assert!(parsed["duration_ms"].is_f64());
        assert_eq!((&parsed["user"], &parsed["auth"]), (&"-".into(), &"-".into()));
        assert_eq!(parsed["groups"], serde_json::json!([]));
        assert_eq!(parsed["claims"], serde_json::json!({}));
    }

    #[test]
    fn nothing_that_a_client_chose_reaches_a_terminal_as_it_is() {
        const HOSTILE: &str = "a\u{9b}2J\u{202e}b\u{7f}\u{1b}\u{200f}";
        let mut record = Record::new(HOSTILE.into(), HOSTILE.into());
        (record.method, record.path) = (HOSTILE.to_owned(), HOSTILE.to_owned());
        record.rule = Some(HOSTILE.to_owned());
        record.findings.add("r", || serde_json::json!({ "found": HOSTILE }).to_string());
        let claims = serde_json::json!({ HOSTILE: HOSTILE });
        let (groups, claims) = ([HOSTILE.to_owned()], claims.as_object().unwrap());
        let labels = Labels::new(Some(HOSTILE), Some(HOSTILE), &groups, claims);
        record.identity = Some(Arc::new(labels));
        let fields = Fields::of(&record, HOSTILE);
        let (mut json, mut ltsv) = (Vec::new(), Vec::new());
        fields.put_json(&mut json);
        fields.put_ltsv(&mut ltsv);
        for line in [&json, &ltsv] {
            let line = std::str::from_utf8(line).unwrap();
            assert!(
                line.trim_end_matches('\n')
                    .replace('\t', "")
                    .bytes()
                    .all(|b| matches!(b, b' '..=b'~')),
                "{line}"
            );
        }
        let parsed: serde_json::Value = std::str::from_utf8(&json).unwrap().parse().unwrap();
        for field in ["listener", "user", "method", "path", "rule", "client", "hostname", "auth"] {
            assert_eq!(parsed[field], HOSTILE, "{field}: the same to who reads it as JSON");
        }
        assert_eq!(parsed["claims"][HOSTILE], HOSTILE);
        assert_eq!(
            (&parsed["groups"][0], &parsed["findings"][0]["found"]),
            (&HOSTILE.into(), &HOSTILE.into())
        );
    }

    #[test]
    fn the_identity_is_in_the_record() {
        let parsed: serde_json::Value = line(Format::Json, Some(somebody())).parse().unwrap();
        assert_eq!((&parsed["user"], &parsed["auth"]), (&"sam".into(), &"sso".into()));
        assert_eq!(parsed["groups"], serde_json::json!(["ops", "d\tev"]));
        assert_eq!(parsed["claims"], serde_json::json!({ "tenant": "a\tb" }));
    }

    #[test]
    fn ltsv_stays_one_line_with_one_tab_between_two_fields() {
        let names = NAMES.split(' ').count();
        for identity in [None, Some(somebody())] {
            let ltsv = line(Format::Ltsv, identity);
            assert_eq!(ltsv.matches('\n').count(), 1);
            assert_eq!(ltsv.matches('\t').count(), names - 1);
        }
        let ltsv = line(Format::Ltsv, Some(somebody()));
        assert!(ltsv.contains("\tgroups:ops,d ev\tclaims:{\"tenant\":\"a\\tb\"}\n"), "{ltsv}");
        assert!(line(Format::Ltsv, None).ends_with("\tauth:-\tgroups:-\tclaims:{}\n"));
    }
}
