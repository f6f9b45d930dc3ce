//! What policies ask to know: found out here, once for each call.
//!
//! `gateway` calls it between two steps of a decision. What must stay true: bounded in number; what
//! cannot be found out is an `Fact::Failed`, and an engine that is away is the engine's own refusal.

use std::collections::HashSet;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;

use super::ListenerState;
use super::layouts;
use super::refusal::Refusal;
use crate::api::endpoint::{NEWEST, Resource, Versions};
use crate::auth::{ClientCredentials, Identity, LoginAnswer};
use crate::engine::{Address, Entry, Inspected, Subject, WhichEngine};
use crate::policy::facts::Secret;
use crate::policy::mount_table::MountTable;
use crate::policy::{Context, Fact, Facts, Look, Question, TrustQuestion, WantedLogin};
use crate::wire::trail::Trail;

/// Of one call. Policies have bounds of their own, which they explain better.
const MOST_FACTS: usize = 512;
/// How many questions of one call are on their way at one time.
const AT_ONCE: usize = 8;
/// How long the file system may take to say where a path leads, and the resolver where a name does.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a view may ask for more before it says what it shows.
const MOST_LOOKS: usize = 8;

/// Answers every question; `facts` then has them all.
pub(super) async fn find_out(
    state: &ListenerState,
    engine: Versions,
    identity: &Identity,
    questions: Vec<Question>,
    trail: &Trail,
    facts: &mut Facts,
) -> Result<(), Refusal> {
    let (mut open, mut seen) = (Vec::with_capacity(questions.len()), HashSet::new());
    for question in questions {
        if facts.get(&question).is_none() && seen.insert(question.clone()) {
            open.push(question);
        }
    }
    let beyond = open.split_off(open.len().min(MOST_FACTS.saturating_sub(facts.len())));
    let asking = open.into_iter().map(|question| async move {
        let answer = Box::pin(answer(state, engine, identity, &question, trail)).await;
        (question, answer)
    });
    let mut answers = stream::iter(asking).buffered(AT_ONCE);
    while let Some((question, answer)) = answers.next().await {
        facts.insert(question, answer?);
    }
    for question in beyond {
        // For the policy to refuse, or to write down.
        let why = format!("there are more than {MOST_FACTS} other questions");
        facts.insert(question, Fact::Failed(why));
    }
    Ok(())
}

/// As the policies see the engine, of which one may show another.
async fn answer(
    state: &ListenerState,
    engine: Versions,
    identity: &Identity,
    question: &Question,
    trail: &Trail,
) -> Result<Fact, Refusal> {
    if let Question::OfEngine(question) = question {
        return of_engine(state, engine, question, trail).await;
    }
    let Some(view) = state.chain.view() else {
        return of_engine(state, engine, question, trail).await;
    };
    let mut known = Facts::default();
    for _ in 0..MOST_LOOKS {
        let open = match view.look(question, &context(state, identity, engine, &known)) {
            Look::Same => return of_engine(state, engine, question, trail).await,
            Look::Known(fact) => return Ok(fact),
            Look::Ask(questions) => questions,
        };
        for question in open {
            let fact = of_engine(state, engine, &question, trail).await?;
            known.insert(question, fact);
        }
    }
    Ok(Fact::Failed("it leads to too many others".to_owned()))
}

async fn of_engine(
    state: &ListenerState,
    engine: Versions,
    question: &Question,
    trail: &Trail,
) -> Result<Fact, Refusal> {
    let subject = match question {
        Question::OfEngine(question) => {
            return Box::pin(of_engine(state, engine, question, trail)).await;
        }
        Question::ExecInspect(id) => Subject::Exec(id),
        Question::Container(name) => Subject::Container(name),
        Question::Network(name) => Subject::Network(name),
        Question::Volume(name) => Subject::Volume(name),
        Question::Image(name) => Subject::Image(name),
        Question::Info => Subject::Info,
        Question::WhichEngine => {
            let version = engine.newest.min(NEWEST);
            // Of an engine that does nothing there is nothing to follow.
            let which = match state.witness {
                Some(_) => state.engine.asked_which(version, trail).await?,
                None => state.engine.which(version, trail).await?,
            };
            return Ok(which.map_or(Fact::Absent, |WhichEngine { id, cgroup_driver }| {
                let json = serde_json::json!({ "ID": id, "CgroupDriver": cgroup_driver });
                Fact::Json(Arc::new(json))
            }));
        }
        Question::List(resource, filters) => Subject::List(*resource, filters.as_deref()),
        Question::Indexed(resource, text) => return Ok(indexed(state, *resource, text)),
        Question::HostPath(path) => return Ok(resolve(path.clone()).await),
        Question::MountsBelow(path) => {
            return Ok(mounts_below(state.engine.address(), path.clone()).await);
        }
        Question::Aliases(paths) => {
            return Ok(aliases(state.engine.address(), Arc::clone(paths)).await);
        }
        Question::Addresses(name) => return Ok(addresses(name).await),
        Question::Exec(_) => return Ok(state.memory.recall(question).unwrap_or(Fact::Absent)),
        Question::Begun { waits: false, .. } => {
            return Ok(state.memory.recall(question).unwrap_or(Fact::Absent));
        }
        Question::Begun { what, id, waits: true } => {
            let waiting = state.memory.await_fact(Question::begun(*what, id));
            return Ok(tokio::time::timeout(PATIENCE, waiting).await.unwrap_or(Fact::Absent));
        }
        Question::Fresh => return Ok(fresh()),
        // A deed's, and not done.
        Question::Granted(_) | Question::Job(_) => return Ok(Fact::Absent),
        Question::Trust(TrustQuestion::Anchor(cache)) => {
            return Ok(state.memory.trusting.anchor(cache));
        }
        Question::Trust(TrustQuestion::Installed(container)) => {
            return Ok(state.memory.trusting.installed(container));
        }
        Question::Layout(image) => return Ok(layouts::find(state, engine, image, trail).await),
        Question::Login(wanted) => return Ok(login(state, wanted).await),
        Question::Plugin { name, method, body } => {
            return Ok(state.plugins.ask(name, method, body).await);
        }
    };
    let found = state.engine.look_up(engine.newest.min(NEWEST), subject, trail).await?;
    Ok(match found {
        Inspected::Json(json) => Fact::Json(Arc::new(json)),
        Inspected::Nothing => Fact::Absent,
        Inspected::Failed(why) => Fact::Failed(why),
    })
}

fn indexed(state: &ListenerState, resource: Resource, text: &str) -> Fact {
    // Of an engine that does nothing there is nothing to follow.
    if state.witness.is_some() {
        return Fact::Absent;
    }
    state.engine.known(resource, text).map_or(Fact::Absent, |Entry { id, name }| {
        Fact::Json(Arc::new(serde_json::json!({ "Id": *id, "Name": *name })))
    })
}

async fn login(state: &ListenerState, wanted: &WantedLogin) -> Fact {
    let WantedLogin { registry, host, username, password: Secret(password) } = wanted;
    let answer = match ClientCredentials::login(username, password) {
        Some(own) => state.memory.logins.check(registry, host, own).await,
        None => LoginAnswer::Refused("a name has no colon".to_owned()),
    };
    let (status, message) = match answer {
        LoginAnswer::Good => (200, String::new()),
        LoginAnswer::Refused(why) => (401, why),
        LoginAnswer::Failed(why) => (500, why),
    };
    Fact::Json(Arc::new(serde_json::json!({ "status": status, "message": message })))
}

/// On the machine that the engine runs on too; the policy knows whether that is this one. A file system that
/// is away keeps a thread of its own waiting, no other call.
async fn resolve(path: PathBuf) -> Fact {
    let resolving = tokio::task::spawn_blocking(move || std::fs::canonicalize(path));
    match tokio::time::timeout(PATIENCE, resolving).await {
        Ok(Ok(Ok(path))) => Fact::Path(path),
        Ok(Ok(Err(error))) if error.kind() == std::io::ErrorKind::NotFound => Fact::Absent,
        Ok(Ok(Err(error))) => Fact::Failed(error.to_string()),
        Ok(Err(_)) | Err(_) => Fact::Failed("the file system does not answer".to_owned()),
    }
}

async fn mounts_below(engine: &Address, path: PathBuf) -> Fact {
    with_mounts(engine, move |table| table.below(&path)).await
}

async fn aliases(engine: &Address, paths: Arc<[PathBuf]>) -> Fact {
    with_mounts(engine, move |table| aliases_in(table, &paths)).await
}

/// Where these paths lead, and by which others the same is found. What is not there is known by what is above it.
pub fn aliases_in(table: &MountTable, paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in paths {
        let there = path.ancestors().find_map(|above| {
            let rest = path.strip_prefix(above).ok()?;
            Some(std::fs::canonicalize(above).ok()?.join(rest).components().collect())
        });
        let real: PathBuf = there.unwrap_or_else(|| path.clone());
        found.extend(table.aliases(&real));
        found.push(real);
    }
    found
}

/// As the engine sees them where its process lets us look, for it may have a mount namespace of its own; else
/// as this process does.
async fn with_mounts(
    engine: &Address,
    paths: impl FnOnce(&MountTable) -> Vec<PathBuf> + Send + 'static,
) -> Fact {
    let socket = match engine {
        Address::Unix(socket) => Some(socket.clone()),
        Address::Tcp(_) | Address::Tls(..) => None,
    };
    let reading = tokio::task::spawn_blocking(move || {
        let engines = socket.and_then(|socket| std::fs::read(mount_info_of(&socket)?).ok());
        let text = engines.map_or_else(|| std::fs::read("/proc/self/mountinfo"), Ok)?;
        let table = MountTable::parse(&text).ok_or(std::io::ErrorKind::InvalidData)?;
        Ok::<_, std::io::Error>(paths(&table))
    });
    match tokio::time::timeout(PATIENCE, reading).await {
        Ok(Ok(Ok(paths))) => Fact::Paths(paths),
        Ok(Ok(Err(error))) => Fact::Failed(error.to_string()),
        Ok(Err(_)) | Err(_) => Fact::Failed("the file system does not answer".to_owned()),
    }
}

/// Of whoever listens at a socket (`SO_PEERCRED`).
fn mount_info_of(socket: &Path) -> Option<PathBuf> {
    let conn = UnixStream::connect(socket).ok()?;
    let pid = getsockopt(&conn, PeerCredentials).ok()?.pid();
    (pid > 0).then(|| format!("/proc/{pid}/mountinfo").into())
}

/// By this machine's resolver, which is the engine's too where the engine runs here.
async fn addresses(name: &str) -> Fact {
    match tokio::time::timeout(PATIENCE, tokio::net::lookup_host((name, 443))).await {
        Ok(Ok(found)) => Fact::Addresses(found.map(|address| address.ip()).collect()),
        Ok(Err(error)) => Fact::Failed(error.to_string()),
        Err(_) => Fact::Failed("the resolver does not answer".to_owned()),
    }
}

fn fresh() -> Fact {
    let mut random = [0; 16];
    match aws_lc_rs::rand::fill(&mut random) {
        Ok(()) => Fact::Fresh(format!("{:032x}", u128::from_be_bytes(random))),
        Err(_) => Fact::Failed("the kernel gives no random bytes".to_owned()),
    }
}

/// The same for all steps of one decision.
pub(super) fn context<'a>(
    state: &'a ListenerState,
    identity: &'a Identity,
    engine: Versions,
    facts: &'a Facts,
) -> Context<'a> {
    let thorough = state.witness.is_some();
    Context { thorough, ..Context::new(identity, &state.listener, engine, facts) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_link_is_found_by_where_it_leads_and_what_is_not_there_by_what_is_above() {
        let dir = tempfile::tempdir().unwrap();
        let real = std::fs::canonicalize(dir.path()).unwrap();
        std::fs::create_dir(real.join("to")).unwrap();
        std::os::unix::fs::symlink("to", real.join("link")).unwrap();
        let table = MountTable::parse(b"").unwrap();
        let paths = [real.join("link"), real.join("link/none/x")];
        assert_eq!(aliases_in(&table, &paths), [real.join("to"), real.join("to/none/x")]);
    }

    #[tokio::test]
    async fn mounts_are_those_of_the_process_that_listens_or_our_own() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("e.sock");
        let _listener = UnixListener::bind(&socket).unwrap();
        let own = format!("/proc/{}/mountinfo", std::process::id());
        assert_eq!(mount_info_of(&socket), Some(own.into()));
        assert_eq!(mount_info_of(&dir.path().join("nobody.sock")), None);
        for engine in [Address::Unix(socket), Address::Tcp("127.0.0.1:1".to_owned())] {
            let all = mounts_below(&engine, "/".into()).await;
            let Fact::Paths(all) = all else { panic!("{all:?}") };
            assert!(all.iter().any(|path| path == "/proc"), "{all:?}");
            let below = mounts_below(&engine, dir.path().to_owned()).await;
            assert_eq!(below, Fact::Paths(Vec::new()));
        }
    }

    #[tokio::test]
    async fn a_name_has_the_addresses_that_this_machine_knows() {
        let Fact::Addresses(found) = addresses("localhost").await else { panic!() };
        assert!(!found.is_empty() && found.iter().all(std::net::IpAddr::is_loopback), "{found:?}");
        assert!(matches!(addresses("no such name").await, Fact::Failed(_)));
    }
}
