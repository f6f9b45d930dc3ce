//! What policies that only audit would have refused, in the record of the call.
//!
//! `gateway` calls it when a call was decided and when its answer was judged. What must stay true: whoever
//! refuses a call later has the last word on its verdict.

use serde_json::{Value, json};

use crate::policy::{Finding, FindingDetail};
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

fn line(Finding { policy, reason, .. }: &Finding) -> String {
    let mut line = json!({
        "policy": policy, "rule": reason.rule, "field": reason.field, "why": reason.why,
    });
    let found = match reason.found.as_deref() {
        Some(FindingDetail::Text(text)) => json!({ "found": text }),
        // Cannot fail: it is texts and JSON.
        Some(FindingDetail::ByRule(found)) => serde_json::to_value(found).unwrap_or_default(),
        None => Value::Null,
    };
    if let (Some(line), Value::Object(found)) = (line.as_object_mut(), found) {
        line.extend(found);
    }
    line.to_string()
}
