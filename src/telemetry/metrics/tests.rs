//! The names of the contract, and that no count is lost.

use super::*;
use crate::telemetry::record::{Record, Verdict};

fn denial(listener: &str) -> Record {
    let mut record = Record::new(listener.into(), "-".into());
    record.operation = "ContainerCreate";
    (record.status, record.verdict) = (403, Verdict::Deny);
    record.rule = Some("container.privileged".to_owned());
    (record.bytes_in, record.bytes_sent) = (7, 11);
    record.mark(Stage::Accept);
    record.mark(Stage::Decide);
    record
}

fn has(text: &str, line: &str) {
    assert!(text.lines().any(|one| one == line), "`{line}` is not in\n{text}");
}

#[test]
fn the_workers_tallies_are_added_up_under_the_names_of_the_contract() {
    let metrics = Metrics::new();
    for worker in 0..3 {
        metrics.tally(worker, "runner").call(&denial("runner"));
    }
    let text = metrics.render();
    has(
        &text,
        "dockgate_requests_total{listener=\"runner\",operation=\"ContainerCreate\",\
         status=\"403\",verdict=\"deny\"} 3",
    );
    has(&text, "dockgate_denied_total{rule=\"container.privileged\"} 3");
    let stage = "{operation=\"ContainerCreate\",stage=\"decide\"}";
    has(&text, &format!("dockgate_request_seconds_count{stage} 3"));
    assert!(!text.contains("stage=\"send\""), "no stage that no call came to");
    has(&text, "dockgate_bytes_total{listener=\"runner\",direction=\"in\"} 21");
    has(&text, "dockgate_bytes_total{listener=\"runner\",direction=\"out\"} 33");
    has(&text, concat!("dockgate_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"));
    has(&text, "dockgate_access_records_lost_total 0");
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn a_reload_finds_the_same_tally_and_loses_no_count() {
    let metrics = Metrics::new();
    let before = metrics.tally(0, "runner");
    let open = before.stream("ContainerAttach");
    let after = metrics.clone().tally(0, "runner");
    assert!(Arc::ptr_eq(&before, &after));
    assert!(!Arc::ptr_eq(&before, &metrics.tally(1, "runner")));
    has(&metrics.render(), "dockgate_last_reload_successful 1");
    metrics.reloaded(true);
    metrics.reloaded(false);
    let text = metrics.render();
    has(&text, "dockgate_last_reload_successful 0");
    has(&text, "dockgate_streams_open{kind=\"ContainerAttach\"} 1");
    has(&text, "dockgate_reloads_total{result=\"ok\"} 1");
    has(&text, "dockgate_reloads_total{result=\"failed\"} 1");
    drop(open);
    has(&metrics.render(), "dockgate_streams_open{kind=\"ContainerAttach\"} 0");
}

#[test]
fn plain_text_calls_a_counter_as_its_samples_and_has_nothing_of_openmetrics() {
    let metrics = Metrics::new();
    metrics.tally(0, "a").call(&denial("a"));
    let (open, text) = (metrics.render(), plain(&metrics.render()));
    has(&open, "# TYPE dockgate_requests counter");
    has(&text, "# TYPE dockgate_requests_total counter");
    has(&text, "# HELP dockgate_bytes_total Bytes of bodies and streams of calls that have ended");
    has(&text, "# TYPE dockgate_request_seconds histogram");
    assert!(!text.contains("# EOF") && !text.contains("# UNIT"));
    let samples = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(samples(&open), samples(&text));
}

#[test]
fn jobs_are_counted_by_their_state_and_what_was_removed_of_them_by_its_kind() {
    let jobs = JobNumbers {
        jobs: vec![("open", 3), ("ending", 1)],
        failing: 1,
        ended: 7,
        removed: vec![("volume", 5)],
    };
    let text = Metrics::new().render_with(Vec::new(), jobs);
    has(&text, "dockgate_jobs{state=\"open\"} 3");
    has(&text, "dockgate_jobs_failing 1");
    has(&text, "dockgate_jobs_ended_total 7");
    has(&text, "dockgate_jobs_removed_total{kind=\"volume\"} 5");
}
