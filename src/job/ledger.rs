//! The ledger: what must be known of jobs after whatever end of this process.
//!
//! A file a job, JSON that can be read by people. `Jobs` writes it before the engine is asked for anything. What must stay
//! true: a job is written whole or not at all, and is on the disk when `put` returns; a file that cannot be read is left
//! alone and told; what is only noted is what the engine knows too.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::process::ProcessId;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    pub id: String,
    /// The `[policy.NAME]` that says what holds inside.
    pub policy: String,
    /// The listener that its container was made through.
    pub listener: String,
    pub user: Option<String>,
    /// The engine's own id: with another one nothing is removed.
    pub engine: String,
    /// Its own containers, once they are made.
    #[serde(default)]
    pub containers: Vec<String>,
    /// What its containers have in common, where it may have several.
    #[serde(default)]
    pub group: Option<String>,
    /// The gateway whose call is to make it.
    #[serde(default)]
    pub opener: Option<ProcessId>,
    /// Whose it is where that is no container.
    #[serde(default)]
    pub process: Option<JobProcess>,
    /// What the engine's names of the job's things begin with, and its names of the job's images.
    pub prefix: String,
    pub images: String,
    /// In seconds since 1970.
    pub began: u64,
    /// When its end began: it is never open again, whatever becomes of its container.
    #[serde(default)]
    pub ending: Option<u64>,
    /// When all of it was gone; it is kept for what may still come of calls that were under way.
    pub gone: Option<u64>,
}

/// A process of the host: its job is over when it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobProcess {
    /// For people.
    pub name: String,
    /// Whose processes may use the socket.
    pub uid: u32,
    pub process: ProcessId,
}

impl JobProcess {
    /// No two that are open have the same.
    pub fn key(&self) -> (u32, &str) {
        (self.uid, &self.name)
    }
}

impl JobRecord {
    /// Whether it is to have a container, and that is not known.
    pub fn lacks_container(&self) -> bool {
        self.containers.is_empty() && self.process.is_none()
    }

    /// Whether there can be containers of it that are not known.
    pub fn may_have_more(&self) -> bool {
        self.lacks_container() || self.group.is_some()
    }

    /// Whether the call that is to make its container may still run.
    pub fn is_being_made(&self) -> bool {
        self.opener.as_ref().is_some_and(ProcessId::is_there)
    }
}

impl JobRecord {
    /// Whether a note says more than this: its first container. Nothing else is noted.
    fn takes(&self, noted: &JobRecord) -> bool {
        let with = JobRecord { containers: noted.containers.clone(), ..self.clone() };
        self.lacks_container() && self.ending.is_none() && self.gone.is_none() && with == *noted
    }
}

/// How the names of notes end.
const NOTE: &str = "note";

#[derive(Debug)]
pub struct Ledger {
    folder: PathBuf,
}

impl Ledger {
    pub fn new(folder: &Path) -> Ledger {
        Ledger { folder: folder.to_owned() }
    }

    /// All jobs, and what is wrong with files that are none.
    pub fn read(&self) -> io::Result<(Vec<JobRecord>, Vec<String>)> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((Vec::new(), Vec::new()));
            }
            Err(error) => return Err(error),
        };
        let (mut jobs, mut wrong, mut notes) = (Vec::<JobRecord>::new(), Vec::new(), Vec::new());
        for entry in entries {
            let path = entry?.path();
            match path.extension().and_then(|end| end.to_str()) {
                Some("json") => match read(&path) {
                    Ok(job) => jobs.push(job),
                    Err(error) => wrong.push(format!("`{}`: {error}", path.display())),
                },
                // Of a process that ended while it wrote.
                Some("draft") => fs::remove_file(&path)?,
                Some(NOTE) => notes.push(path),
                _ => {}
            }
        }
        for note in notes {
            let Ok(noted) = read(&note) else {
                fs::remove_file(&note)?;
                continue;
            };
            match jobs.iter_mut().find(|job| job.id == noted.id) {
                Some(job) if job.takes(&noted) => *job = noted,
                Some(_) => {}
                None => fs::remove_file(&note)?,
            }
        }
        Ok((jobs, wrong))
    }

    /// As `put`, but not waited for: what of it is lost with the machine's power the engine can tell as well. It is beside the
    /// record, which stays whole whatever becomes of it.
    pub fn note(&self, job: &JobRecord) -> io::Result<()> {
        let draft = self.folder.join(format!("{}.draft", job.id));
        let written = write(&draft, job).map(drop);
        let written = written.and_then(|()| fs::rename(&draft, self.note_path(&job.id)));
        if written.is_err() {
            let _ = fs::remove_file(&draft);
        }
        written
    }

    pub fn put(&self, job: &JobRecord) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let draft = self.folder.join(format!("{}.draft", job.id));
        let written = write(&draft, job).and_then(|file| file.sync_all());
        // What was noted before is older.
        let written = written.and_then(|()| removed(&self.note_path(&job.id)));
        let written = written.and_then(|()| fs::rename(&draft, self.path(&job.id)));
        if written.is_err() {
            // On a disk that is full its room is what the next one needs.
            let _ = fs::remove_file(&draft);
        }
        written?;
        File::open(&self.folder)?.sync_all()
    }

    pub fn remove(&self, id: &str) -> io::Result<()> {
        removed(&self.note_path(id))?;
        removed(&self.path(id))
    }

    fn note_path(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.{NOTE}"))
    }

    fn path(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }
}

fn removed(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write(draft: &Path, job: &JobRecord) -> io::Result<File> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(draft)?;
    file.write_all(&serde_json::to_vec_pretty(job)?)?;
    Ok(file)
}

fn read(path: &Path) -> Result<JobRecord, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let job: JobRecord = text
        .parse::<serde_json::Value>()
        .and_then(serde_json::from_value)
        .map_err(|error| error.to_string())?;
    match path.file_stem().and_then(|stem| stem.to_str()) == Some(&job.id) && is_id(&job.id) {
        true => Ok(job),
        false => Err("it is named otherwise than its job".to_owned()),
    }
}

/// It is a part of paths and names.
fn is_id(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: &str) -> JobRecord {
        JobRecord {
            id: id.to_owned(),
            policy: "sockets".to_owned(),
            listener: "ci".to_owned(),
            user: Some("ann".to_owned()),
            engine: "ABCD".to_owned(),
            containers: Vec::new(),
            group: None,
            opener: None,
            process: None,
            prefix: "dgaaaaaaaaaa-".to_owned(),
            images: "127.0.0.1:9/dgaaaaaaaaaa/".to_owned(),
            began: 1,
            ending: None,
            gone: None,
        }
    }

    #[test]
    fn what_was_put_is_there_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(&dir.path().join("state/jobs"));
        assert_eq!(ledger.read().unwrap(), (Vec::new(), Vec::new()));
        let mut one = job("0a");
        ledger.put(&one).unwrap();
        one.containers.push("c".repeat(64));
        ledger.put(&one).unwrap();
        assert_eq!(ledger.read().unwrap(), (vec![one], Vec::new()));
        ledger.remove("0a").unwrap();
        ledger.remove("0a").unwrap();
        assert_eq!(ledger.read().unwrap().0, []);
    }

    #[test]
    fn what_is_no_job_is_told_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(dir.path());
        ledger.put(&job("0b")).unwrap();
        fs::write(dir.path().join("0c.json"), "{").unwrap();
        fs::copy(dir.path().join("0b.json"), dir.path().join("0d.json")).unwrap();
        fs::write(dir.path().join("0e.draft"), "").unwrap();
        let (jobs, wrong) = ledger.read().unwrap();
        assert_eq!((jobs.len(), wrong.len()), (1, 2), "{wrong:?}");
        assert!(dir.path().join("0c.json").exists() && !dir.path().join("0e.draft").exists());
    }

    #[test]
    fn what_is_noted_is_there_after_a_kill_and_what_the_power_takes_of_it_is_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(dir.path());
        let files = || fs::read_dir(dir.path()).unwrap().count();
        let bare = job("0a");
        let noted = JobRecord { containers: vec!["c".repeat(64)], ..bare.clone() };
        ledger.put(&bare).unwrap();
        ledger.note(&noted).unwrap();
        assert_eq!(ledger.read().unwrap(), (vec![noted.clone()], Vec::new()));
        // As some file systems leave it.
        fs::write(dir.path().join("0a.note"), "").unwrap();
        assert_eq!(ledger.read().unwrap(), (vec![bare.clone()], Vec::new()));
        // What is put later holds, also where the note has come back.
        let ended = JobRecord { ending: Some(2), ..noted.clone() };
        ledger.note(&noted).unwrap();
        ledger.put(&ended).unwrap();
        assert_eq!(files(), 1);
        for later in [ended, JobRecord { gone: Some(3), ..bare.clone() }] {
            ledger.put(&later).unwrap();
            ledger.note(&noted).unwrap();
            assert_eq!(ledger.read().unwrap().0, [later]);
        }
        ledger.remove("0a").unwrap();
        assert_eq!(files(), 0);
        ledger.note(&noted).unwrap();
        assert_eq!((ledger.read().unwrap().0, files()), (Vec::new(), 0), "of no job");
    }
}
