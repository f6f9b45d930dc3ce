//! What is known of jobs, and after whatever end of the process.

use super::*;

fn record(id: &str) -> JobRecord {
    JobRecord {
        id: id.to_owned(),
        policy: "p".to_owned(),
        listener: "l".to_owned(),
        user: None,
        engine: "E".to_owned(),
        containers: Vec::new(),
        prefix: format!("dg{id}-"),
        images: format!("r/dg{id}/"),
        began: now(),
        gone: None,
    }
}

fn jobs(dir: &Path) -> Jobs {
    Jobs::of(&dir.join("ledger"), &dir.join("sockets")).unwrap().0
}

#[test]
fn a_job_is_in_the_ledger_before_anything_else_knows_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let here = jobs(dir.path());
    let job = here.begin(record("0a"), 2).unwrap();
    assert_eq!(job.phase, JobPhase::Opening);
    let after = jobs(dir.path());
    assert_eq!(after.get("0a").map(|job| job.record), Some(job.record.clone()));
    // The engine may still make it: it is not over yet.
    assert_eq!(after.get("0a").unwrap().phase, JobPhase::Opening);
    here.bind("0a", "c").unwrap();
    assert!(job.members.has("c"), "who judges calls knows it");
    here.opened("0a");
    assert_eq!(here.get("0a").unwrap().phase, JobPhase::Open);
    assert_eq!(jobs(dir.path()).get("0a").unwrap().phase, JobPhase::Open);
}

#[test]
fn a_call_that_ended_without_a_container_leaves_a_job_that_is_looked_after() {
    let dir = tempfile::tempdir().unwrap();
    let here = jobs(dir.path());
    here.begin(record("0a"), 2).unwrap();
    assert!(!here.get("0a").unwrap().is_due());
    here.opened("0a");
    assert!(here.get("0a").unwrap().is_due());
}

#[test]
fn there_are_no_more_than_may_be_and_none_that_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let here = jobs(dir.path());
    here.begin(record("0a"), 1).unwrap();
    let refused = here.begin(record("0b"), 1).unwrap_err();
    assert!(refused.contains("jobs.sockets"), "{refused}");
    here.end("0a").unwrap();
    here.gone("0a").unwrap();
    here.begin(record("0b"), 1).unwrap();
    assert_eq!(here.get("0a").unwrap().phase, JobPhase::Gone);

    std::fs::write(dir.path().join("file"), "").unwrap();
    let nowhere = Jobs {
        ledger: Ledger::new(&dir.path().join("file/ledger")),
        dir: dir.path().to_owned(),
        jobs: Mutex::default(),
        due: Notify::new(),
    };
    assert!(nowhere.begin(record("0c"), 1).is_err());
    assert!(nowhere.all().is_empty());
}

#[test]
fn what_cannot_be_ended_is_tried_again_and_not_all_the_time() {
    let dir = tempfile::tempdir().unwrap();
    let here = jobs(dir.path());
    here.begin(record("0a"), 1).unwrap();
    here.end("0a").unwrap();
    assert!(here.get("0a").unwrap().is_due());
    let pauses: Vec<u32> = (0..9).map(|_| here.failed("0a", "it is used")).collect();
    assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 64, 64, 64]);
    let job = here.get("0a").unwrap();
    assert!(!job.is_due() && job.error.as_deref() == Some("it is used"));
}

#[test]
fn what_is_gone_stays_gone_until_it_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let here = jobs(dir.path());
    here.begin(record("0a"), 1).unwrap();
    here.gone("0a").unwrap();
    assert!(!jobs(dir.path()).get("0a").unwrap().is_served());
    here.forget("0a");
    assert!(here.all().is_empty() && jobs(dir.path()).all().is_empty());
}
