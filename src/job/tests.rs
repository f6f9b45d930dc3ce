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
        group: None,
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

fn of_group(id: &str, group: &str) -> JobRecord {
    JobRecord { group: Some(group.to_owned()), ..record(id) }
}

fn wanted(call: &str, group: Option<&str>) -> WantedJob {
    let (policy, listener, engine) = ("p".to_owned(), "l".to_owned(), "E".to_owned());
    let group = group.map(str::to_owned);
    WantedJob { id: call.to_owned(), group, policy, listener, user: None, engine }
}

#[test]
fn what_is_of_one_group_is_of_one_job_while_that_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let here = jobs(dir.path());
    here.begin(of_group("0a", "7"), 9).unwrap();
    assert_eq!(here.join(&wanted("c1", Some("7"))).as_deref(), Some("0a"));
    assert_eq!(here.join(&wanted("c2", Some("8"))), None);
    assert_eq!(here.join(&wanted("c2", None)), None);
    for other in [
        WantedJob { user: Some("bob".to_owned()), ..wanted("c2", Some("7")) },
        WantedJob { listener: "m".to_owned(), ..wanted("c2", Some("7")) },
        WantedJob { policy: "q".to_owned(), ..wanted("c2", Some("7")) },
        WantedJob { engine: "F".to_owned(), ..wanted("c2", Some("7")) },
    ] {
        assert_eq!(here.join(&other), None, "{other:?}");
    }
    here.bind("0a", "c").unwrap();
    here.bind("0a", "d").unwrap();
    let job = jobs(dir.path()).get("0a").unwrap();
    assert_eq!(job.record.containers, ["c", "d"]);
    assert!(job.members.has("c") && job.members.has("d"));
    assert_eq!(jobs(dir.path()).join(&wanted("c3", Some("7"))).as_deref(), Some("0a"));
    here.end("0a").unwrap();
    assert_eq!(here.join(&wanted("c3", Some("7"))), None, "it is over");
}

#[test]
fn a_job_goes_on_as_long_as_a_container_of_it_may_come() {
    let dir = tempfile::tempdir().unwrap();
    let here = jobs(dir.path());
    here.begin(of_group("0a", "7"), 9).unwrap();
    here.bind("0a", "c").unwrap();
    here.opened("0a");
    here.join(&wanted("c1", Some("7"))).unwrap();
    let seen = here.get("0a").unwrap();
    assert!(!here.ends(&seen), "a call makes another");
    here.bind("0a", "d").unwrap();
    here.opened("c1");
    assert!(!here.ends(&seen), "there is another");
    here.left("0a", &["c".to_owned()]).unwrap();
    let seen = here.get("0a").unwrap();
    assert!(!seen.members.has("c") && seen.members.has("d"));
    assert!(here.ends(&seen) && here.get("0a").unwrap().phase == JobPhase::Ending);
}

#[test]
fn a_call_that_comes_to_nothing_ends_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let here = jobs(dir.path());
    here.begin(of_group("0a", "7"), 9).unwrap();
    assert_eq!(here.without("0a", None), Ok(Rest::Nothing));
    here.join(&wanted("c1", Some("7"))).unwrap();
    assert_eq!(here.without("0a", None), Ok(Rest::Others), "another call makes one");
    here.opened("c1");
    here.bind("0a", "c").unwrap();
    assert_eq!(here.without("0a", None), Ok(Rest::Others));
    assert_eq!(here.without("0a", Some("c")), Ok(Rest::Over));
    here.bind("0a", "d").unwrap();
    assert_eq!(here.without("0a", Some("d")), Ok(Rest::Others));
    assert_eq!(jobs(dir.path()).get("0a").unwrap().record.containers, ["c"]);
}
