//! What is known of jobs, and after whatever end of the process.

use super::*;

pub(in crate::job) fn record(id: &str) -> JobRecord {
    JobRecord {
        id: id.to_owned(),
        policy: "p".to_owned(),
        listener: "l".to_owned(),
        user: None,
        engine: "E".to_owned(),
        containers: Vec::new(),
        group: None,
        opener: ProcessId::own(),
        process: None,
        prefix: format!("dg{id}-"),
        images: format!("r/dg{id}/"),
        began: now(),
        ending: None,
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
fn an_end_that_has_begun_is_one_after_a_restart_too() {
    let dir = tempfile::tempdir().unwrap();
    let here = jobs(dir.path());
    here.begin(record("0a"), 2).unwrap();
    here.bind("0a", "c").unwrap();
    here.opened("0a");
    here.end("0a").unwrap();
    let after = jobs(dir.path()).get("0a").unwrap();
    assert!(after.phase == JobPhase::Ending && !after.is_served() && after.is_due());
    // What is gone does not end again.
    here.gone("0a").unwrap();
    here.end("0a").unwrap();
    assert_eq!(here.get("0a").unwrap().phase, JobPhase::Gone);
    assert!(here.end("0b").unwrap_err().contains("no job"));
}

#[test]
fn a_container_that_comes_after_the_end_is_not_its_jobs() {
    let dir = tempfile::tempdir().unwrap();
    let here = jobs(dir.path());
    here.begin(record("0a"), 2).unwrap();
    here.end("0a").unwrap();
    assert!(here.bind("0a", "c").unwrap_err().contains("ended"));
    here.gone("0a").unwrap();
    assert!(here.bind("0a", "c").unwrap_err().contains("ended"));
}

#[test]
fn what_cannot_be_written_down_ends_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let here = jobs(dir.path());
    here.begin(record("0a"), 2).unwrap();
    std::fs::remove_dir_all(dir.path().join("ledger")).unwrap();
    std::fs::write(dir.path().join("ledger"), "").unwrap();
    here.end("0a").unwrap();
    assert_eq!(here.get("0a").unwrap().phase, JobPhase::Ending);
    // Nor can it be taken out of there.
    assert!(here.gone("0a").is_err());
    assert_eq!(here.get("0a").unwrap().phase, JobPhase::Ending, "tried again");
    // There is no room: it is gone all the same, for this process.
    std::fs::remove_file(dir.path().join("ledger")).unwrap();
    std::fs::create_dir_all(dir.path().join("ledger/0a.draft")).unwrap();
    assert_eq!(here.gone("0a").unwrap(), Some(Swept::default()));
    assert_eq!(here.get("0a").unwrap().phase, JobPhase::Gone);
}

#[test]
fn a_create_whose_gateway_has_ended_is_waited_for_by_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let here = jobs(dir.path());
    here.begin(JobRecord { opener: None, ..record("0a") }, 2).unwrap();
    let after = jobs(dir.path()).get("0a").unwrap();
    assert!(after.phase == JobPhase::Open && after.is_due());
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
        open_dir: dir.path().to_owned(),
        jobs: Mutex::default(),
        counts: Mutex::default(),
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
fn what_was_wrong_once_is_over_when_the_job_was_looked_after_and_holds_up_no_end() {
    let dir = tempfile::tempdir().unwrap();
    let here = jobs(dir.path());
    here.begin(record("0a"), 1).unwrap();
    here.bind("0a", "c").unwrap();
    here.opened("0a");
    here.failed("0a", "the engine is away");
    here.succeeded("0a");
    assert_eq!(here.get("0a").unwrap().error, None);
    here.failed("0a", "the engine is away");
    here.end("0a").unwrap();
    assert!(here.get("0a").unwrap().is_due());
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

#[test]
fn what_was_removed_is_counted_in_every_try() {
    let dir = tempfile::tempdir().unwrap();
    let here = jobs(dir.path());
    here.begin(record("0a"), 1).unwrap();
    here.end("0a").unwrap();
    here.swept("0a", Swept { containers: 2, images: 1, ..Swept::default() });
    here.failed("0a", "a network is used");
    here.swept("0a", Swept { networks: 1, ..Swept::default() });
    let all = Swept { containers: 2, networks: 1, volumes: 0, images: 1 };
    assert_eq!(here.gone("0a").unwrap(), Some(all));
    let counts = here.counts();
    assert_eq!((counts.ended, counts.removed), (1, all));
}

#[test]
fn a_job_of_a_process_has_no_container_to_wait_for() {
    let dir = tempfile::tempdir().unwrap();
    let here = jobs(dir.path());
    let process = ProcessId::own().unwrap();
    let of = ledger::JobProcess { name: "tree".to_owned(), uid: 7, process };
    here.begin(JobRecord { process: Some(of), ..record("0a") }, 1).unwrap();
    here.opened("0a");
    let job = here.get("0a").unwrap();
    assert!(job.phase == JobPhase::Open && !job.is_due());
    assert_eq!(here.folder(&job.record), dir.path().join("sockets-open/0a"));
    assert_eq!(jobs(dir.path()).get("0a").unwrap().phase, JobPhase::Open);
}

#[tokio::test]
async fn the_job_of_a_process_ends_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let here = Arc::new(jobs(dir.path()));
    let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let process = ProcessId::of(i32::try_from(child.id()).unwrap()).unwrap();
    let of = ledger::JobProcess { name: "tree".to_owned(), uid: 7, process };
    let job = here.begin(JobRecord { process: Some(of), ..record("0a") }, 1).unwrap();
    here.opened("0a");
    let following = tokio::spawn(follow_process(Arc::clone(&here), job.record));
    tokio::task::yield_now().await;
    assert_eq!(here.get("0a").unwrap().phase, JobPhase::Open);
    child.kill().unwrap();
    following.await.unwrap();
    assert_eq!(here.get("0a").unwrap().phase, JobPhase::Ending);
    child.wait().unwrap();
}
