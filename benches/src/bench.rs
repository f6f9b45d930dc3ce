//! `make bench`: dockgate beside HAProxy and the direct socket, in one run, as one table.
//! The same clients talk to all targets; a stub engine answers behind all of them.
//! See `README.md` for what the rows mean.

mod answers;
mod bulk;
mod doors;
mod http;
mod load;
mod memory;
mod plan;
mod process;
mod rego;
mod route;
mod stream;
mod stub;
mod table;
mod targets;
mod token;
mod way;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use plan::{Effort, Run};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use targets::Target;

const USAGE: &str = "usage: bench run --dockgate PATH --haproxy PATH [--only NAME] [--quick]\n       \
    bench stub SOCKET";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["stub", socket] => raise_files().and_then(|()| stub::serve(Path::new(socket))),
        ["leash", program, ..] => targets::leash(program, &args[2..]),
        ["run", options @ ..] => match Options::parse(options) {
            Some(options) => return run(options),
            None => Err(io::Error::other(USAGE)),
        },
        _ => Err(io::Error::other(USAGE)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

#[derive(Default)]
struct Options {
    dockgate: PathBuf,
    haproxy: PathBuf,
    only: Option<String>,
    quick: bool,
}

impl Options {
    fn parse(words: &[&str]) -> Option<Self> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--dockgate" => options.dockgate = words.next()?.into(),
                "--haproxy" => options.haproxy = words.next()?.into(),
                "--only" => options.only = Some((*words.next()?).to_string()),
                "--quick" => options.quick = true,
                _ => return None,
            }
        }
        Some(options)
    }
}

/// A missed bar is reported and is no failure; what could not be run is one.
fn run(options: Options) -> ExitCode {
    let begin = std::time::Instant::now();
    let mut run = match prepare(options) {
        Ok(run) => run,
        Err(error) => {
            eprintln!("bench: {error}");
            return ExitCode::from(2);
        }
    };
    println!("{}", table::header());
    run.everything();
    println!("\n{} bars missed, {:.0} s", run.missed, begin.elapsed().as_secs_f64());
    for note in &run.notes {
        println!("- not run: {note}");
    }
    run.targets = [const { None }; 4];
    let _ = std::fs::remove_dir_all(&run.dir);
    if run.notes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Starts the targets; one that does not start becomes a note.
fn prepare(options: Options) -> io::Result<Run> {
    raise_files()?;
    let dir = std::env::temp_dir().join(format!("dockgate-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    describe(&options);
    let effort = if options.quick { Effort::QUICK } else { Effort::FULL };
    let stub = Target::stub(&dir)?;
    let mut notes = Vec::new();
    let mut or_note = |name: &str, target: io::Result<Target>| match target {
        Ok(target) => Some(target),
        Err(error) => {
            notes.push(format!("{name}: {error}"));
            None
        }
    };
    let targets = [
        Some(stub),
        or_note("haproxy", Target::haproxy(&dir, &options.haproxy)),
        or_note("dockgate", Target::dockgate(&dir, &options.dockgate, "conservative")),
        or_note("dockgate, no policy", Target::dockgate(&dir, &options.dockgate, "none")),
    ];
    let programs =
        [None, Some(options.haproxy), Some(options.dockgate.clone()), Some(options.dockgate)];
    Ok(Run { targets, programs, effort, only: options.only, notes, dir, missed: 0 })
}

/// A thousand streams are two thousand sockets in a proxy; ten thousand connections more than some
/// limits allow, which only root may raise.
fn raise_files() -> io::Result<()> {
    let most = getrlimit(Resource::Nofile).maximum;
    let wanted = Some(65_536.max(most.unwrap_or(0)));
    let raised = Rlimit { current: wanted, maximum: most.and(wanted) };
    if setrlimit(Resource::Nofile, raised).is_ok() {
        return Ok(());
    }
    let limit = Rlimit { current: most, maximum: most };
    Ok(setrlimit(Resource::Nofile, limit)?)
}

/// The machine, the date and the versions, above the table.
fn describe(options: &Options) {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let says = |program: &Path, args: &[&str]| {
        let output = Command::new(program).args(args).output();
        let text = output.map_or(String::new(), |output| {
            String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_string()
        });
        if text.is_empty() { format!("{}: not run", program.display()) } else { text }
    };
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name\t: "));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "{}; {cores} cores, {}; Linux {}; load at start {}; {}; {}{}\n",
        says(Path::new("date"), &["-u", "+%F %H:%M UTC"]),
        model.unwrap_or("unknown processor"),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/loadavg").split(' ').next().unwrap_or_default(),
        says(&options.haproxy, &["-v"]),
        says(&options.dockgate, &["--version"]),
        if options.quick { "; quick" } else { "" },
    );
}
