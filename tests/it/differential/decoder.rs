//! The Go program of `tests/differential`: built once, and spoken to through pipes.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;

use super::compare::Case;

/// In the order in which the program answers for them.
pub const GENERATIONS: [&str; 4] = ["20.10", "23 to 26", "27 and 28", "29"];

/// What an engine understood, canonical, or why it refuses the body.
pub type Answer = Result<Rc<str>, String>;

/// Of each generation: to the client's body, and to what dockgate makes of it.
pub struct Answers {
    pub client: [Answer; 4],
    pub sent: [Answer; 4],
}

pub struct Session {
    pub child: Child,
    pub requests: ChildStdin,
    pub replies: BufReader<ChildStdout>,
}

impl Session {
    pub fn start() -> Session {
        let mut command = Command::new(program());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let requests = child.stdin.take().unwrap();
        let replies = BufReader::with_capacity(1 << 16, child.stdout.take().unwrap());
        Session { child, requests, replies }
    }

    pub fn ask(&mut self, case: &Case<'_>) {
        self.requests.write_all(&request(case)).unwrap();
    }

    pub fn answers(&mut self) -> Answers {
        Answers::read(&mut self.replies)
    }
}

impl Answers {
    pub fn read(replies: &mut impl BufRead) -> Answers {
        let mut last: Rc<str> = "".into();
        let mut next = |_| {
            let mut line = String::new();
            replies.read_line(&mut line).unwrap();
            match line.trim_end_matches('\n').split_at_checked(1) {
                Some(("+", text)) => last = text.into(),
                Some(("=", "")) => {}
                Some(("-", why)) => return Err(why.to_owned()),
                _ => panic!("the decoder answers {line:?}"),
            }
            Ok(Rc::clone(&last))
        };
        Answers { client: GENERATIONS.map(&mut next), sent: GENERATIONS.map(&mut next) }
    }
}

pub fn request(case: &Case<'_>) -> Vec<u8> {
    let sent = case.sent();
    let mut bytes = format!("{} {} {}\n", case.shape.id, case.body.len(), sent.len()).into_bytes();
    bytes.extend_from_slice(&case.body);
    bytes.extend_from_slice(&sent);
    bytes
}

/// The fields of all shapes, as JSON.
pub fn fields() -> String {
    output(Command::new(program()).arg("fields"))
}

/// The path of the program; it is built when its sources or the Go version changed.
fn program() -> PathBuf {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential");
    let mut hasher = DefaultHasher::new();
    output(Command::new("go").arg("version")).hash(&mut hasher);
    let mut files: Vec<_> = fs::read_dir(&sources).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    for file in files {
        (&file, fs::read(&file).unwrap()).hash(&mut hasher);
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("differential");
    let program = folder.join(format!("decoder-{:016x}", hasher.finish()));
    if !program.exists() {
        // Cargo makes the folder around it, and that only when it builds.
        fs::create_dir_all(&folder).unwrap();
        // Tests run side by side: each builds its own, and the last one to rename it wins.
        let place = tempfile::tempdir_in(&folder).unwrap();
        let mine = place.path().join("decoder");
        let mut build = Command::new("go");
        build.args(["build", "-o"]).arg(&mine).arg(".").current_dir(&sources);
        // No network, and no home directory, which Go asks for its cache.
        build
            .env("GOCACHE", folder.join("cache"))
            .env("GOPROXY", "off")
            .env("GOTOOLCHAIN", "local");
        build.env("GOFLAGS", "").env("GOENV", "off").env("GOPATH", folder.join("path"));
        output(&mut build);
        fs::rename(mine, &program).unwrap();
    }
    program
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}\nhint: `apt-get install golang-go`, which `make test` does")
    });
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
