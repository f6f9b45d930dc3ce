//! In which container a peer runs, by its cgroup.
//!
//! `Caller::container` asks once a connection. What must stay true: a process inside a container
//! cannot name another one, whatever cgroups it makes; where the kernel's words allow two readings,
//! the answer is none.

use std::fs::File;
use std::io::Read as _;

use super::Peer;

const MOST: u64 = 64 * 1024;
const ID: usize = 64;

/// Where a process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::auth) enum PeerPlace {
    /// In the container of this id.
    Container(String),
    /// In none.
    Host,
    /// The kernel does not say.
    Unknown,
}

impl PeerPlace {
    pub(in crate::auth) fn container(&self) -> Option<&str> {
        match self {
            PeerPlace::Container(id) => Some(id),
            PeerPlace::Host | PeerPlace::Unknown => None,
        }
    }
}

pub(in crate::auth) fn place_of(peer: Peer) -> PeerPlace {
    place(peer).unwrap_or(PeerPlace::Unknown)
}

fn place(peer: Peer) -> Option<PeerPlace> {
    // No pid: the peer is in a pid namespace that we do not see into.
    let Peer::Unix { uid, pid: Some(pid @ 1..), .. } = peer else { return None };
    let cgroup = read(pid, "cgroup")?;
    // By now the pid may be another process's: then most likely another user's. Read after the
    // cgroup, so that a process that vanished in between is noticed.
    let status = read(pid, "status")?;
    let is_same_user = effective_uid(&status) == Some(uid);
    (is_same_user && !is_dead(&status))
        .then(|| place_in(&cgroup, rustix::process::geteuid().as_raw()))
}

/// What the text of a `/proc/PID/cgroup` says (cgroups(7)); `own` is our own uid.
fn place_in(cgroup: &str, own: u32) -> PeerPlace {
    let mut found = None;
    for line in cgroup.lines() {
        let path = line.splitn(3, ':').nth(2).unwrap_or_default();
        match (outermost(path, own), found) {
            (None, _) => {}
            (Some(id), None) => found = Some(id),
            (Some(id), Some(other)) if id == other => {}
            // Hierarchies of cgroup v1 that contradict each other: somebody has moved the process.
            (Some(_), Some(_)) => return PeerPlace::Unknown,
        }
    }
    match found {
        Some(id) => PeerPlace::Container(id.to_owned()),
        // Of a process that has ended there may be nothing.
        None if cgroup.is_empty() => PeerPlace::Unknown,
        None => PeerPlace::Host,
    }
}

/// The first id on the way down: whoever may write to the cgroup of a container makes groups of any
/// name below it, but not above.
fn outermost(path: &str, own: u32) -> Option<&str> {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    for component in path.split('/') {
        // systemd gives this subtree to the user, who then names groups as they like: only our own
        // word counts (for an engine without root).
        let owner = component.strip_prefix("user@").and_then(|rest| rest.strip_suffix(".service"));
        if owner.is_some_and(|owner| owner.parse() != Ok(own)) {
            return None;
        }
        if let Some(id) = id_in(component) {
            return Some(id);
        }
    }
    None
}

/// `ID`, `docker-ID.scope`, `cri-containerd-ID.scope`, `…:cri-containerd:ID`, `libpod-ID`, …
fn id_in(component: &str) -> Option<&str> {
    let name = component.strip_suffix(".scope").unwrap_or(component);
    let (before, id) = name.split_at_checked(name.len().checked_sub(ID)?)?;
    let is_id = id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    // `libpod-conmon-ID.scope` and `crio-conmon-ID.scope` hold the monitor, outside.
    let is_monitor = before.ends_with("conmon-");
    let is_apart = before.is_empty() || before.ends_with(['-', ':']);
    (is_id && is_apart && !is_monitor).then_some(id)
}

/// The second number of `Uid:` (proc_pid_status(5)); not the owner of `/proc/PID`, which is root for
/// a process that may not be dumped.
fn effective_uid(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Whether only its parent has not asked for its end yet: the kernel has taken it out of its groups by then
/// (cgroups(7)), so that it would be one of the host.
fn is_dead(status: &str) -> bool {
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_none_or(|state| state.trim_start().starts_with(['Z', 'X', 'x']))
}

fn read(pid: i32, name: &str) -> Option<String> {
    let mut text = String::new();
    let file = File::open(format!("/proc/{pid}/{name}")).ok()?;
    file.take(MOST).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3f1e0c7d5b6a49382716051423324150617283940a1b2c3d4e5f60718293a4b5";
    const B: &str = "aaaa0c7d5b6a49382716051423324150617283940a1b2c3d4e5f60718293bbbb";

    fn container(cgroup: &str) -> Option<String> {
        place_in(&cgroup.replace("{A}", A).replace("{B}", B), 1000).container().map(str::to_owned)
    }

    #[test]
    fn the_ways_in_which_engines_name_the_groups_of_containers() {
        for cgroup in [
            // dockerd, cgroup v2: systemd and cgroupfs drivers, and a removed group.
            "0::/system.slice/docker-{A}.scope\n",
            "0::/docker/{A}\n",
            "0::/system.slice/docker-{A}.scope (deleted)\n",
            // With `--cgroup-parent`.
            "0::/ci.slice/docker-{A}.scope\n",
            "0::/ci/jobs/{A}\n",
            // Seen from a cgroup namespace beside it.
            "0::/../{A}\n",
            "0::/../docker-{A}.scope\n",
            // systemd inside the container.
            "0::/system.slice/docker-{A}.scope/init.scope\n",
            // dockerd, cgroup v1, and hybrid: the last lines have no container.
            "12:pids:/docker/{A}\n11:memory:/docker/{A}\n1:name=systemd:/docker/{A}\n0::/system.slice/containerd.service\n",
            "9:name=systemd:/system.slice/docker-{A}.scope\n4:memory:/system.slice/docker-{A}.scope\n2:cpu,cpuacct:/\n0::/\n",
            // Kubernetes: containerd and CRI-O.
            "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod0f3a.slice/cri-containerd-{A}.scope\n",
            "0::/kubepods/burstable/pod6a1c8f9e-0f3a-4b6a-8a55-2f6c4a0c7d5b/{A}\n",
            "4:memory:/system.slice/containerd.service/kubepods-besteffort-pod0f3a.slice:cri-containerd:{A}\n",
            "0::/kubepods.slice/kubepods-pod0f3a.slice/crio-{A}.scope/container\n",
            // podman.
            "0::/machine.slice/libpod-{A}.scope/container\n",
            "0::/libpod_parent/libpod-{A}\n",
        ] {
            assert_eq!(container(cgroup).as_deref(), Some(A), "{cgroup}");
        }
    }

    #[test]
    fn what_is_no_container() {
        for cgroup in [
            "",
            "0::/\n",
            "0::/init.scope\n",
            "0::/user.slice/user-1000.slice/session-3.scope\n",
            "0::/system.slice/ssh.service\n",
            "0::/machine.slice/libpod-conmon-{A}.scope\n",
            // Not an id: other length, other digits, part of a longer name.
            "0::/docker/{A}0\n",
            "0::/docker/x{A}\n",
            "0::/docker/3F1E0C7D5B6A49382716051423324150617283940A1B2C3D4E5F60718293A4B5\n",
            "4:memory:/process_api/34907a1a4d24a338bfd983dc952194cb\n",
            "no colons {A}\n",
        ] {
            assert_eq!(container(cgroup), None, "{cgroup}");
        }
    }

    #[test]
    fn a_container_cannot_say_that_it_is_another() {
        for cgroup in [
            // Docker in Docker, and a container that may write to its cgroup.
            "0::/system.slice/docker-{A}.scope/docker/{B}\n",
            "0::/docker/{A}/docker-{B}.scope\n",
            "5:memory:/docker/{A}/docker/{B}\n1:name=systemd:/docker/{A}\n",
            "0::/docker/{A}/user@1000.service/docker-{B}.scope\n",
        ] {
            assert_eq!(container(cgroup).as_deref(), Some(A), "{cgroup}");
        }
        assert_eq!(container("5:memory:/docker/{A}\n4:pids:/docker/{B}\n"), None);
    }

    #[test]
    fn groups_that_a_user_may_name_count_only_for_an_engine_of_that_user() {
        let cgroup = |user| {
            format!(
                "0::/user.slice/user-{user}.slice/user@{user}.service/user.slice/docker-{{A}}.scope\n"
            )
        };
        assert_eq!(container(&cgroup(1000)).as_deref(), Some(A));
        assert_eq!(container(&cgroup(1001)), None, "`systemd-run --user --scope --unit=docker-…`");
        assert_eq!(container(&cgroup(0)), None);
    }

    #[test]
    fn a_pid_counts_only_for_the_user_who_connected() {
        let status = "Name:\tx\nUid:\t1000\t1001\t1002\t1003\nGid:\t5\t5\t5\t5\n";
        assert_eq!(effective_uid(status), Some(1001));
        assert_eq!(effective_uid("Uid:\t1\n"), None);
        let pid = i32::try_from(std::process::id()).ok();
        let own = rustix::process::geteuid().as_raw();
        assert!(effective_uid(&read(pid.unwrap(), "status").unwrap()) == Some(own));
        assert_ne!(place_of(Peer::Unix { uid: own, gid: 0, pid }), PeerPlace::Unknown);
        assert_eq!(place_of(Peer::Unix { uid: own + 1, gid: 0, pid }), PeerPlace::Unknown);
        for pid in [None, Some(0), Some(-1), Some(i32::MAX)] {
            assert_eq!(place_of(Peer::Unix { uid: own, gid: 0, pid }), PeerPlace::Unknown);
        }
        assert_eq!(place_of(Peer::Unknown), PeerPlace::Unknown);
        assert_eq!(place_in("0::/init.scope\n", 0), PeerPlace::Host);
        assert_eq!(place_in("", 0), PeerPlace::Unknown);
    }

    proptest::proptest! {
        #[test]
        fn whatever_stands_below_an_id_changes_nothing(below in "(/[a-z0-9:@. -]{0,70}){0,4}") {
            let cgroup = format!("0::/docker/{{A}}{below}\n");
            proptest::prop_assert_eq!(container(&cgroup), Some(A.to_owned()));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = place_in(&text, 0);
        }
    }

    #[test]
    fn a_peer_that_has_ended_is_nowhere() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let uid = rustix::process::geteuid().as_raw();
        let pid = i32::try_from(child.id()).unwrap();
        let peer = Peer::Unix { uid, gid: 0, pid: Some(pid) };
        assert_ne!(place_of(peer), PeerPlace::Unknown, "it runs");
        child.kill().unwrap();
        // Dead, and not asked for yet: until then nobody else has its number.
        let mut waited = rustix::process::WaitIdOptions::EXITED;
        waited |= rustix::process::WaitIdOptions::NOWAIT;
        let id = rustix::process::WaitId::Pid(rustix::process::Pid::from_raw(pid).unwrap());
        rustix::process::waitid(id, waited).unwrap();
        assert_eq!(place_of(peer), PeerPlace::Unknown);
        child.wait().unwrap();
        assert_eq!(place_of(peer), PeerPlace::Unknown);
        assert!(is_dead("Uid:\t0\t0\n") && is_dead("State:\tX (dead)\n"));
        assert!(!is_dead("State:\tS (sleeping)\n"));
    }
}
