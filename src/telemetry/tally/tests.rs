//! That counts are right and every label is bounded.

use super::*;

fn tally() -> Arc<Tally> {
    Arc::new(Tally::new("it", Arc::default()))
}

fn record(status: u16, rule: Option<&str>) -> Record {
    let mut record = Record::new("it".into(), "-".into());
    record.status = status;
    record.rule = rule.map(str::to_owned);
    record.verdict = if rule.is_some() { Verdict::Deny } else { Verdict::Allow };
    record
}

#[test]
fn an_observation_is_in_the_first_bucket_that_holds_it() {
    let mut histogram = Histogram::default();
    for micros in [0, 100, 101, 60_000_000, 60_000_001] {
        histogram.observe(Duration::from_micros(micros));
    }
    assert_eq!(histogram.buckets, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
    assert_eq!(histogram.count(), 5);
    assert_eq!(histogram.sum, Duration::from_micros(120_000_202));
    assert!(BOUNDS.is_sorted());
}

#[test]
fn rules_beyond_the_bound_are_one_label() {
    let (first, second) = (tally(), Arc::new(Tally::new("b", Arc::default())));
    for n in 0..MOST_RULES + 20 {
        first.call(&record(403, Some(&format!("r{n}"))));
    }
    second.call(&record(403, Some("r1")));
    let counted = first.counted();
    assert_eq!(counted.denied.len(), MOST_RULES + 1);
    assert_eq!(counted.denied[OTHER], 20);
    assert_eq!(second.counted().denied["r1"], 1);
}

#[test]
fn two_tallies_admit_the_same_rules() {
    let rules = Arc::new(RuleLabels::default());
    for n in 0..MOST_RULES {
        assert!(rules.admit(&format!("r{n}")));
    }
    assert!(rules.admit("r7") && !rules.admit("new") && !rules.admit("new"));
}

#[test]
fn statuses_beyond_the_bound_are_one_outcome() {
    let tally = tally();
    for status in 100..1000 {
        tally.call(&record(status, None));
    }
    let counted = tally.counted();
    let outcomes = &counted.operations["-"].outcomes;
    assert_eq!(outcomes.len(), MOST_OUTCOMES + 1);
    let others = outcomes.iter().find(|((status, _), _)| *status == 0).unwrap();
    assert_eq!(others.1, 900 - MOST_OUTCOMES as u64);
}

#[test]
fn a_rule_without_a_denial_is_not_counted_as_one() {
    let tally = tally();
    let mut allowed = record(200, Some("x"));
    allowed.verdict = Verdict::Allow;
    tally.call(&allowed);
    assert!(tally.counted().denied.is_empty());
}

#[test]
fn a_finding_is_counted_by_each_rule_once_and_is_no_denial() {
    let tally = tally();
    let mut audited = record(200, Some("x"));
    audited.verdict = Verdict::Audit;
    for rule in ["x", "y", "x"] {
        audited.findings.add(rule, String::new);
    }
    tally.call(&audited);
    let counted = tally.counted();
    assert!(counted.denied.is_empty());
    assert_eq!((counted.audited["x"], counted.audited["y"]), (1, 1));
}

#[test]
fn what_is_open_is_closed_by_its_guard() {
    let tally = tally();
    let guards = (tally.connection(), tally.stream("ContainerAttach"), tally.connection());
    assert_eq!(tally.connections.load(Ordering::Relaxed), 2);
    assert_eq!(tally.counted().streams, [("ContainerAttach", 1)]);
    drop(guards);
    assert_eq!(tally.connections.load(Ordering::Relaxed), 0);
    assert_eq!(tally.counted().streams, [("ContainerAttach", 0)]);
}

#[test]
fn authenticators_beyond_the_bound_are_one_label() {
    let tally = tally();
    for n in 0..MOST_AUTHENTICATIONS + 5 {
        tally.authentication(&format!("a{n}"), "recognised");
    }
    tally.authentication("a3", "recognised");
    let counted = tally.counted();
    assert_eq!(counted.authentications.len(), MOST_AUTHENTICATIONS + 1);
    assert_eq!(counted.authentications[3].2, 2);
    assert_eq!(counted.authentications.last().unwrap().2, 5);
}
