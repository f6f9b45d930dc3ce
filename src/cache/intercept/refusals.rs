//! Which clients want nothing of our certificates: remembered for all containers of an image, beyond a restart.
//!
//! `intercept` asks before it shakes hands, and tells what came of it. What must stay true: memory and file
//! are bounded, and an image has its share only, so that nobody pushes others' out; a file that is damaged
//! or cannot be written costs lost handshakes and nothing else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::fingerprint::Fingerprint;

const MOST: usize = 4096;
/// Days after which a client is asked again: its image may have got another one by then, and it costs one handshake.
const LASTS: u64 = 30;
const MOST_OF_IMAGE: usize = 256;
const LONGEST_IMAGE: usize = 256;
const LARGEST_FILE: u64 = (MOST * (LONGEST_IMAGE + 64)) as u64;
/// Its first line.
const FORM: &str = "dockgate refusals 2";
/// Of one without dates.
const OLD_FORM: &str = "dockgate refusals 1";
/// Between two writes.
const PAUSE: Duration = Duration::from_millis(200);

/// Kinds of clients, by image.
type Client = (Box<str>, Fingerprint);

#[derive(Debug)]
pub(super) struct Refusals {
    known: Mutex<KnownRefusals>,
    file: Option<PathBuf>,
}

#[derive(Debug, Default)]
struct KnownRefusals {
    /// And since when: days since 1970.
    all: BTreeMap<Client, u64>,
    /// The oldest first.
    order: VecDeque<Client>,
    /// Clients that have spoken with us; bounded as the others.
    content: BTreeSet<Client>,
    /// Since the file was written.
    is_changed: bool,
    is_writing: bool,
}

impl Refusals {
    /// As they were before; none where there is no such file, or none that can be read.
    pub(super) fn open(file: Option<PathBuf>) -> Refusals {
        let mut known = KnownRefusals::default();
        if let Some(path) = &file {
            match read(path) {
                Ok(all) => all.into_iter().for_each(|(image, which, day)| {
                    known.add(&image, which, day);
                }),
                Err(error) => {
                    let path = path.display();
                    tracing::warn!(%error, "`{path}` is not used: which clients refuse our certificates is learned anew");
                }
            }
        }
        Refusals { known: Mutex::new(known), file }
    }

    pub(super) fn knows(&self, image: &str, which: Fingerprint) -> bool {
        self.lock().knows(image, which, today())
    }

    /// It has spoken with us: a connection that it ends without a word says nothing.
    pub(super) fn is_content(&self, image: &str, which: Fingerprint) {
        let mut known = self.lock();
        if known.content.len() < MOST {
            known.content.insert((image.into(), which));
        }
    }

    /// False where it was known. `says_so`: by an alert, and not only by leaving.
    pub(super) fn remember(
        self: &Arc<Refusals>,
        image: &str,
        which: Fingerprint,
        says_so: bool,
    ) -> bool {
        let mut known = self.lock();
        if !says_so && known.content.contains(&(image.into(), which)) {
            return false;
        }
        let today = today();
        if known.knows(image, which, today) || !known.add(image, which, today) {
            return false;
        }
        known.is_changed = true;
        if self.file.is_some() && !known.is_writing {
            known.is_writing = true;
            let refusals = Arc::clone(self);
            // Of a file that belongs to a disk which may be slow.
            tokio::task::spawn_blocking(move || refusals.write_until_done());
        }
        true
    }

    /// Whether all that is known is in the file.
    pub(super) fn is_written(&self) -> bool {
        let known = self.lock();
        !known.is_changed && !known.is_writing
    }

    fn write_until_done(&self) {
        let Some(path) = &self.file else { return };
        loop {
            let lines = {
                let mut known = self.lock();
                if !std::mem::take(&mut known.is_changed) {
                    known.is_writing = false;
                    return;
                }
                known.lines()
            };
            if let Err(error) = write(path, &lines) {
                tracing::warn!(%error, "`{}` cannot be written", path.display());
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn lock(&self) -> MutexGuard<'_, KnownRefusals> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KnownRefusals {
    fn knows(&self, image: &str, which: Fingerprint, today: u64) -> bool {
        let since = self.all.get(&(image.into(), which));
        // Not after a clock that was set back, either.
        since.is_some_and(|day| today.abs_diff(*day) < LASTS)
    }

    fn add(&mut self, image: &str, which: Fingerprint, day: u64) -> bool {
        let client: Client = (image.into(), which);
        if !is_image(image) {
            return false;
        }
        self.content.remove(&client);
        if self.all.insert(client.clone(), day).is_some() {
            self.order.retain(|other| *other != client);
        }
        let of_image = self.order.iter().filter(|(other, _)| **other == *image).count();
        let oldest = match of_image >= MOST_OF_IMAGE {
            true => self.order.iter().position(|(other, _)| **other == *image),
            false => (self.order.len() >= MOST).then_some(0),
        };
        if let Some(gone) = oldest.and_then(|at| self.order.remove(at)) {
            self.all.remove(&gone);
        }
        self.order.push_back(client);
        true
    }

    fn lines(&self) -> String {
        let line = |client: &Client| {
            let (image, which) = client;
            format!("{which} {} {image}\n", self.all.get(client).copied().unwrap_or_default())
        };
        let lines = self.order.iter().map(line);
        format!("{FORM}\n{}", lines.collect::<String>())
    }
}

/// What can stand in a line.
fn is_image(image: &str) -> bool {
    (1..=LONGEST_IMAGE).contains(&image.len()) && image.bytes().all(|b| b.is_ascii_graphic())
}

fn today() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_secs() / (24 * 60 * 60)
}

fn read(path: &Path) -> io::Result<Vec<(String, Fingerprint, u64)>> {
    let mut text = String::new();
    match File::open(path) {
        Ok(file) => file.take(LARGEST_FILE + 1).read_to_string(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "it is damaged");
    if text.len() as u64 > LARGEST_FILE || !text.ends_with('\n') {
        return Err(damaged());
    }
    let mut lines = text.lines();
    let has_days = match lines.next() {
        Some(FORM) => true,
        Some(OLD_FORM) => false,
        _ => return Err(damaged()),
    };
    let today = today();
    let line = |line: &str| {
        let (which, rest) = line.split_once(' ')?;
        let (day, image) = match has_days {
            true => {
                rest.split_once(' ').and_then(|(day, image)| Some((day.parse().ok()?, image)))?
            }
            false => (today, rest),
        };
        is_image(image).then_some(())?;
        Some((image.to_owned(), which.parse().ok()?, day))
    };
    lines.map(|one| line(one).ok_or_else(damaged)).collect()
}

/// Whole or not at all.
fn write(path: &Path, lines: &str) -> io::Result<()> {
    let draft = path.with_extension(format!("{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| {
            file.write_all(lines.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}

#[cfg(test)]
mod tests;
