//! The filters of lists and prunes: `{"label":["a=b"]}`, or Docker's old form `{"label":{"a=b":true}}`.
//!
//! `policy::named` asks which things a prune takes. What must stay true: both forms mean the same,
//! as to moby's `filters.FromJSON`.

use serde_json::Value as Json;

use crate::api::doc::Value;

/// The values of one filter.
pub fn values<'f>(filters: &'f Value, key: &str) -> Vec<&'f str> {
    match filters.get(key) {
        Some(Value::Object(entries)) => entries.iter().map(|(text, _)| &**text).collect(),
        Some(list) => list.items().iter().filter_map(Value::as_str).collect(),
        None => Vec::new(),
    }
}

/// Whether a prune with these filters takes what has these labels: all of `label` must hold and none of
/// `label!` (`filters.Args.MatchKVList` of moby).
pub fn takes(filters: &Value, labels: Option<&Json>) -> bool {
    let has = |wanted: &str| {
        let (key, value) = match wanted.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (wanted, None),
        };
        let found = labels.and_then(|labels| labels.get(key)).and_then(Json::as_str);
        found.is_some_and(|found| value.is_none_or(|value| value == found))
    };
    values(filters, "label").into_iter().all(has) && !values(filters, "label!").into_iter().any(has)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::doc;
    use crate::api::shape::FILTERS;

    #[test]
    fn both_forms_of_a_filter_mean_the_same() {
        let labels = json!({ "a": "b", "c": "" });
        for (label, all, none) in [
            ("a", true, false),
            ("a=b", true, false),
            ("a=", false, true),
            ("c=", true, false),
            ("x", false, true),
        ] {
            for (key, wanted) in [("label", all), ("label!", none)] {
                for values in [json!([label]), json!({ label: true })] {
                    let text = json!({ key: values }).to_string();
                    let filters = doc::parse(text.as_bytes(), &FILTERS).unwrap().root;
                    assert_eq!(takes(&filters, Some(&labels)), wanted, "{text}");
                }
            }
        }
    }
}
