//! What policies that only audit would have refused, in the record of the call.
//!
//! `gateway` calls it when a call was decided and when its answer was judged. What must stay true: whoever
//! refuses a call later has the last word on its verdict.

use serde_json::{Value, json};

use crate::policy::{Finding, Found};
use crate::telemetry::access::{Record, Verdict};

pub(super) fn note(record: &mut Record, findings: Vec<Finding>) {
    for finding in findings {
        let rule = finding.reason.rule.to_string();
        record.findings.add(&rule, || line(&finding));
        if record.verdict == Verdict::Allow {
            (record.verdict, record.rule) = (Verdict::Audit, Some(rule));
        }
    }
}

fn line(Finding { policy, reason }: &Finding) -> String {
    let mut line = json!({
        "policy": policy, "rule": reason.rule, "field": reason.field, "why": reason.why,
    });
    let lesson = reason.lesson.as_deref().map(serde_json::to_value::<&Found>);
    if let Some(line) = line.as_object_mut() {
        line.extend(reason.found.as_deref().map(|found| ("found".to_owned(), found.into())));
        if let Some(Ok(Value::Object(lesson))) = lesson {
            line.extend(lesson);
        }
    }
    line.to_string()
}
