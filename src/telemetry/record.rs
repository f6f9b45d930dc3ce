//! What is known of one call, for the access log and the metrics.
//!
//! `gateway` fills a `Record` while a call passes; `access::Log` writes it and `Tally` counts it when
//! the call has ended. What must stay true: nothing of a header, a body or a secret query is in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// What became of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    #[default]
    Allow,
    /// A policy that only audits would have refused it.
    Audit,
    /// A policy refused it.
    Deny,
    /// It could not be understood, or a limit of the gateway was reached.
    Reject,
    /// The engine did not answer.
    Fail,
}

impl Verdict {
    pub const fn as_str(self) -> &'static str {
        match self {
            Verdict::Allow => "allow",
            Verdict::Audit => "audit",
            Verdict::Deny => "deny",
            Verdict::Reject => "reject",
            Verdict::Fail => "fail",
        }
    }
}

/// The six words of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Accept,
    Authenticate,
    Parse,
    Decide,
    Send,
    Answer,
}

impl Stage {
    pub const ALL: [Stage; 6] = [
        Stage::Accept,
        Stage::Authenticate,
        Stage::Parse,
        Stage::Decide,
        Stage::Send,
        Stage::Answer,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Stage::Accept => "accept",
            Stage::Authenticate => "authenticate",
            Stage::Parse => "parse",
            Stage::Decide => "decide",
            Stage::Send => "send",
            Stage::Answer => "answer",
        }
    }

    const fn done(self) -> &'static str {
        match self {
            Stage::Accept => "accepted",
            Stage::Authenticate => "authenticated",
            Stage::Parse => "parsed",
            Stage::Decide => "decided",
            Stage::Send => "sent",
            Stage::Answer => "answered",
        }
    }
}

/// How long each stage took; none for a stage that the call did not come to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stages {
    took: [Option<Duration>; 6],
    last: Option<Instant>,
}

impl Stages {
    pub fn each(&self) -> impl Iterator<Item = (Stage, Duration)> {
        Stage::ALL.into_iter().zip(self.took).filter_map(|(stage, took)| Some((stage, took?)))
    }
}

/// Who made a call, as the logs say it: rendered once for all calls of an identity.
#[derive(Debug, PartialEq, Eq)]
pub struct Labels {
    pub(super) user: Option<String>,
    /// The name of the authenticator in the configuration.
    pub(super) auth: Option<String>,
    pub(super) groups_json: String,
    pub(super) groups_plain: String,
    pub(super) claims_json: String,
}

impl Labels {
    pub fn new(
        user: Option<&str>,
        auth: Option<&str>,
        groups: &[String],
        claims: &serde_json::Map<String, serde_json::Value>,
    ) -> Labels {
        // Strings and values that were JSON before cannot fail to be JSON.
        let json = |rendered: serde_json::Result<String>, empty: &str| {
            rendered.unwrap_or_else(|_| empty.to_owned())
        };
        Labels {
            user: user.map(str::to_owned),
            auth: auth.map(str::to_owned),
            groups_json: json(serde_json::to_string(groups), "[]"),
            groups_plain: if groups.is_empty() { "-".to_owned() } else { groups.join(",") },
            claims_json: json(serde_json::to_string(claims), "{}"),
        }
    }
}

/// What policies that only audit would have refused in one call.
#[derive(Debug, Default)]
pub struct Findings {
    /// JSON objects.
    lines: Vec<String>,
    left_out: usize,
    /// Each once.
    pub(super) rules: Vec<String>,
}

impl Findings {
    /// Of one call: a body with thousands of mounts is thousands of findings, and a record is one line.
    const MOST: usize = 64;

    /// `line` is made if there is room for it.
    pub fn add(&mut self, rule: &str, line: impl FnOnce() -> String) {
        if !self.rules.iter().any(|known| known == rule) {
            self.rules.push(rule.to_owned());
        }
        match self.lines.len() < Findings::MOST {
            true => self.lines.push(line()),
            false => self.left_out += 1,
        }
    }

    /// A JSON list; what had no room is counted in its last element.
    pub(super) fn render(&self) -> Option<String> {
        let rest = (self.left_out > 0).then(|| format!("{{\"left_out\":{}}}", self.left_out));
        let all: Vec<&str> = self.lines.iter().chain(&rest).map(String::as_str).collect();
        (!all.is_empty()).then(|| format!("[{}]", all.join(",")))
    }
}

/// What a request to a registry was about.
#[derive(Debug, Default)]
pub struct RegistryCall {
    /// The upstream's host.
    pub upstream: Option<String>,
    /// As the client calls it.
    pub repository: Option<String>,
    /// A tag or a digest, as it was asked for.
    pub reference: Option<String>,
    /// What was given, or written.
    pub digest: Option<String>,
}

/// What a request to a cache was about.
#[derive(Debug, Default)]
pub struct CacheCall {
    /// With its scheme, where the request was understood.
    pub host: Option<String>,
    /// As the statistics call it.
    pub result: &'static str,
    /// The id of the container that has asked, of a transparent cache.
    pub container: Option<Arc<str>>,
}

#[derive(Debug)]
pub struct Record {
    pub started: Instant,
    pub listener: Arc<str>,
    /// None as long as nobody was recognised.
    pub identity: Option<Arc<Labels>>,
    /// Whose part of the engine was shown.
    pub namespace: Option<Box<str>>,
    pub method: String,
    /// Without the query, which may carry secrets (dockerode repeats a create body in it).
    pub path: String,
    pub status: u16,
    pub bytes_in: u64,
    pub bytes_sent: u64,
    pub operation: &'static str,
    pub verdict: Verdict,
    pub rule: Option<String>,
    /// What policies that only audit would have refused.
    pub findings: Findings,
    /// Keys of the body that no engine knows and that were not sent on.
    pub dropped: Vec<String>,
    pub client: Arc<str>,
    /// Of a request to a registry.
    pub registry: Option<Box<RegistryCall>>,
    pub cache: Option<Box<CacheCall>>,
    pub stages: Stages,
    /// The engine took the connection over: what comes now is the stream, no stage of the call.
    pub relayed: bool,
}

impl Record {
    pub fn new(listener: Arc<str>, client: Arc<str>) -> Record {
        Record {
            started: Instant::now(),
            listener,
            identity: None,
            namespace: None,
            method: String::new(),
            path: String::new(),
            status: 0,
            bytes_in: 0,
            bytes_sent: 0,
            operation: "-",
            verdict: Verdict::default(),
            rule: None,
            findings: Findings::default(),
            dropped: Vec::new(),
            client,
            registry: None,
            cache: None,
            stages: Stages::default(),
            relayed: false,
        }
    }

    /// Ends the stage that the call is in, which is its last before the answer: it goes no further.
    pub fn ends_early(&mut self) {
        let unfinished =
            Stage::ALL.into_iter().zip(self.stages.took).find(|(_, took)| took.is_none());
        if let Some((stage, _)) = unfinished {
            self.mark(stage);
        }
    }

    /// Ends a stage: it took the time since the one before, or since `started`. A stage that comes
    /// twice keeps the sum; a relayed stream is no stage.
    pub fn mark(&mut self, stage: Stage) {
        if self.relayed {
            return;
        }
        let Record { listener, client, method, path, operation, status, rule, .. } = &*self;
        let user = self.identity.as_ref().and_then(|who| who.user.as_deref());
        let said = stage.done();
        tracing::debug!(%listener, %client, user, method, path, operation, status, rule, "{said}");
        let now = Instant::now();
        let took = now.saturating_duration_since(self.stages.last.unwrap_or(self.started));
        self.stages.last = Some(now);
        if let Some(slot) = self.stages.took.get_mut(stage as usize) {
            *slot = Some(slot.unwrap_or_default() + took);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stages(record: &Record) -> Vec<&'static str> {
        record.stages.each().map(|(stage, _)| stage.as_str()).collect()
    }

    #[test]
    fn marks_divide_the_time_since_the_start() {
        let mut record = Record::new("it".into(), "-".into());
        record.started = Instant::now().checked_sub(Duration::from_secs(5)).unwrap();
        record.mark(Stage::Accept);
        record.mark(Stage::Parse);
        let took: Vec<_> = record.stages.each().collect();
        assert_eq!(stages(&record), ["accept", "parse"]);
        assert!(took[0].1 >= Duration::from_secs(5), "since `started`");
        let all: Duration = took.iter().map(|(_, took)| *took).sum();
        assert_eq!(all, record.stages.last.unwrap() - record.started);
    }

    #[test]
    fn a_refusal_belongs_to_the_stage_that_refused() {
        let mut record = Record::new("it".into(), "-".into());
        record.mark(Stage::Accept);
        record.ends_early();
        record.mark(Stage::Answer);
        assert_eq!(stages(&record), ["accept", "authenticate", "answer"]);
        let mut record = Record::new("it".into(), "-".into());
        record.ends_early();
        assert_eq!(stages(&record), ["accept"]);
    }

    #[test]
    fn a_relayed_stream_is_no_stage() {
        let mut record = Record::new("it".into(), "-".into());
        record.mark(Stage::Send);
        record.relayed = true;
        record.mark(Stage::Answer);
        assert_eq!(stages(&record), ["send"]);
    }

    #[test]
    fn a_record_has_room_for_so_many_findings_and_counts_the_rest() {
        let mut findings = Findings::default();
        assert_eq!(findings.render(), None);
        for n in 0..Findings::MOST + 3 {
            findings.add(["a", "b"][n % 2], || n.to_string());
        }
        assert_eq!(findings.rules, ["a", "b"]);
        let rendered: serde_json::Value = findings.render().unwrap().parse().unwrap();
        assert_eq!(rendered[Findings::MOST - 1], Findings::MOST - 1);
        assert_eq!(rendered[Findings::MOST], serde_json::json!({ "left_out": 3 }));
    }

    #[test]
    fn labels_are_json_whatever_a_provider_calls_its_groups() {
        let groups = ["a\"b".to_owned(), "c\td".to_owned()];
        let claims = serde_json::json!({ "tenant": "x\n", "roles": ["r"] });
        let labels = Labels::new(Some("u"), Some("sso"), &groups, claims.as_object().unwrap());
        assert_eq!(labels.groups_json, r#"["a\"b","c\td"]"#);
        assert_eq!(labels.groups_plain, "a\"b,c\td");
        assert_eq!(labels.claims_json, r#"{"tenant":"x\n","roles":["r"]}"#);
    }
}
