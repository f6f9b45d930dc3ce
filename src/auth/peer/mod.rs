//! `unix-peer`: whoever connected to a unix socket, by `SO_PEERCRED` (unix(7)).
//!
//! The kernel vouches for uid and gid, so there is no credential that could be wrong: a peer is
//! recognised or it is not this authenticator's. What must stay true: a number that stands for
//! "somebody of another user namespace" is nobody unless the operator names it.

mod accounts;
mod container;

use std::collections::BTreeMap;
use std::path::Path;

pub(super) use container::{PeerPlace, place_of};

use super::{Asking, Authenticator, Claims, Deciding, Outcome, Peer, Validity, Who};
use crate::config;
use accounts::{Accounts, Known};

#[derive(Debug)]
pub(super) struct UnixPeer {
    tables: config::UnixPeer,
    accounts: Accounts,
    /// What the kernel says for a uid or gid that has no number in our user namespace.
    overflow: (u32, u32),
}

impl UnixPeer {
    pub(super) fn new(config: &config::UnixPeer) -> UnixPeer {
        UnixPeer {
            tables: config.clone(),
            accounts: Accounts::new(Path::new("/etc")),
            overflow: (overflow("overflowuid"), overflow("overflowgid")),
        }
    }

    fn find(&self, uid: u32, gid: u32) -> Option<Who> {
        // `(uid_t) -1` is "no user" everywhere; a peer without credentials has it.
        if uid == u32::MAX {
            return None;
        }
        let known = self.accounts.known();
        let is_overflow = uid == self.overflow.0;
        let user = match (&self.tables.users, &self.tables.groups) {
            (None, None) if is_overflow => return None,
            (None, None) => known.names(uid).next().map_or_else(|| uid.to_string(), str::to_owned),
            (users, groups) => {
                let by_user =
                    users.as_ref().and_then(|table| look_up(table, uid, known.names(uid)));
                let by_group = || self.by_group(groups.as_ref()?, &known, uid, gid);
                by_user.or_else(by_group)?
            }
        };
        let groups = match is_overflow {
            true => Vec::new(),
            false => self.gids(&known, uid, gid).map(|gid| known.group_name(gid)).collect(),
        };
        Some(Who::new(user, groups, Claims::new()))
    }

    fn by_group(
        &self,
        table: &BTreeMap<String, String>,
        known: &Known,
        uid: u32,
        gid: u32,
    ) -> Option<String> {
        let named = |gid| look_up(table, gid, known.group_names(gid));
        match uid == self.overflow.0 {
            // Whatever `/etc/group` says of `nobody` is not said of a stranger.
            true => named(gid),
            false => self.gids(known, uid, gid).find_map(named),
        }
    }

    /// The group that the peer had when it connected, and those that its user is in.
    fn gids(&self, known: &Known, uid: u32, gid: u32) -> impl Iterator<Item = u32> {
        let own = (gid != self.overflow.1 || known.is_primary(uid, gid)).then_some(gid);
        let others = known.gids(uid).iter().copied().filter(move |other| Some(*other) != own);
        own.into_iter().chain(others.collect::<Vec<_>>())
    }
}

impl Authenticator for UnixPeer {
    fn challenges(&self) -> Vec<String> {
        Vec::new()
    }

    fn holds(&self) -> Validity {
        Validity::Connection
    }

    fn decide<'a>(&'a self, asking: Asking<'a>) -> Deciding<'a> {
        let found = match asking.caller.peer {
            Peer::Unix { uid, gid, .. } => self.find(uid, gid),
            Peer::Tcp(_) | Peer::Unknown => None,
        };
        Box::pin(async { found.map_or(Outcome::Absent, |who| Outcome::Recognised(who.into())) })
    }
}

/// What a table says of a number or of one of its names. A number written in a table is always a
/// number, even if somebody has it for a name.
fn look_up<'n>(
    table: &BTreeMap<String, String>,
    number: u32,
    mut names: impl Iterator<Item = &'n str>,
) -> Option<String> {
    let is_number = |name: &&str| name.bytes().all(|b| b.is_ascii_digit());
    let by_name = || names.find_map(|name| table.get(name).filter(|_| !is_number(&name)));
    table.get(&number.to_string()).or_else(by_name).cloned()
}

fn overflow(name: &str) -> u32 {
    let text = std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
    text.trim().parse().unwrap_or(65534)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\ntoor:x:0:0::/:/bin/sh\n\
        ann:x:1000:100:,,,:/home/ann:/bin/bash\nbob:x:1001:1001::/:/bin/sh\n\
        4242:x:1002:1002::/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
    const GROUP: &str = "root:x:0:\nusers:x:100:\ndocker:x:999:bob,ann\nci:x:998:ann\n\
        bob:x:1001:\nnogroup:x:65534:\nodd:x:997:nobody\n";

    fn table(entries: &[(&str, &str)]) -> Option<BTreeMap<String, String>> {
        let own = |(os, user): &(&str, &str)| ((*os).to_owned(), (*user).to_owned());
        Some(entries.iter().map(own).collect())
    }

    fn peers(
        users: Option<BTreeMap<String, String>>,
        groups: Option<BTreeMap<String, String>>,
    ) -> (tempfile::TempDir, UnixPeer) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("passwd"), PASSWD).unwrap();
        std::fs::write(dir.path().join("group"), GROUP).unwrap();
        let tables = config::UnixPeer { users, groups };
        let accounts = Accounts::new(dir.path());
        (dir, UnixPeer { tables, accounts, overflow: (65534, 65534) })
    }

    fn user(peers: &UnixPeer, uid: u32, gid: u32) -> Option<String> {
        peers.find(uid, gid).map(|who| who.user)
    }

    #[test]
    fn without_tables_the_user_is_the_os_user() {
        let (_dir, peers) = peers(None, None);
        let ann = peers.find(1000, 100).unwrap();
        assert_eq!((ann.user.as_str(), ann.groups), ("ann", vec_of(&["users", "docker", "ci"])));
        assert_eq!(user(&peers, 0, 0).as_deref(), Some("root"), "the first name of a number");
        let stranger = peers.find(5000, 5001).unwrap();
        assert_eq!((stranger.user.as_str(), stranger.groups), ("5000", vec_of(&["5001"])));
    }

    #[test]
    fn with_a_table_whoever_is_not_in_it_is_not_recognised() {
        let (_dir, peers) = peers(table(&[("ann", "runner"), ("1001", "robert")]), None);
        assert_eq!(user(&peers, 1000, 100).as_deref(), Some("runner"));
        assert_eq!(user(&peers, 1001, 1001).as_deref(), Some("robert"));
        assert_eq!(user(&peers, 0, 0), None);
        assert_eq!(user(&peers, 5000, 5000), None);
        let (_dir, peers) = self::peers(table(&[]), None);
        assert_eq!(user(&peers, 1000, 100), None, "an empty table is a table");
    }

    #[test]
    fn a_table_may_use_any_name_of_a_number_and_a_number_is_never_a_name() {
        let (_dir, peers) = peers(table(&[("toor", "admin"), ("4242", "answer")]), None);
        assert_eq!(user(&peers, 0, 0).as_deref(), Some("admin"));
        assert_eq!(user(&peers, 1002, 1002), None, "uid 1002 has the name `4242`");
        assert_eq!(user(&peers, 4242, 1).as_deref(), Some("answer"));
    }

    #[test]
    fn groups_come_after_users_and_count_by_number_primary_and_membership() {
        let users = table(&[("ann", "ann")]);
        let groups = table(&[("docker", "member"), ("1003", "primary"), ("users", "users")]);
        let (_dir, peers) = peers(users, groups);
        assert_eq!(user(&peers, 1000, 100).as_deref(), Some("ann"));
        assert_eq!(user(&peers, 1001, 1001).as_deref(), Some("member"));
        assert_eq!(user(&peers, 5000, 1003).as_deref(), Some("primary"));
        assert_eq!(user(&peers, 5000, 5000), None);
    }

    #[test]
    fn a_user_of_another_namespace_is_nobody_unless_the_table_names_it() {
        let (_dir, peers) = peers(None, None);
        assert_eq!(user(&peers, 65534, 65534), None);
        assert_eq!(user(&peers, u32::MAX, 0), None);
        let (_dir, peers) =
            self::peers(table(&[("nobody", "unmapped"), ("4294967295", "x")]), None);
        assert_eq!(user(&peers, 65534, 65534).as_deref(), Some("unmapped"));
        assert_eq!(peers.find(65534, 65534).unwrap().groups, vec_of(&[]));
        assert_eq!(user(&peers, u32::MAX, u32::MAX), None);
        let (_dir, peers) = self::peers(None, table(&[("odd", "odd"), ("nogroup", "n")]));
        assert_eq!(user(&peers, 65534, 1).as_deref(), None, "membership of `nobody`");
        assert_eq!(user(&peers, 65534, 65534).as_deref(), Some("n"), "it is named");
        assert_eq!(user(&peers, 1000, 65534).as_deref(), None);
    }

    #[test]
    fn accounts_made_and_changed_later_are_seen() {
        let (dir, peers) = peers(table(&[("eve", "eve")]), table(&[("docker", "member")]));
        assert_eq!(user(&peers, 1003, 1003), None);
        assert_eq!(user(&peers, 1000, 100).as_deref(), Some("member"));
        let more = format!("{PASSWD}eve:x:1003:1003::/:/bin/sh\n");
        std::fs::write(dir.path().join("passwd"), more).unwrap();
        std::fs::write(dir.path().join("group"), "docker:x:999:bob\n").unwrap();
        assert_eq!(user(&peers, 1003, 1003).as_deref(), Some("eve"));
        assert_eq!(user(&peers, 1000, 100), None, "no longer a member");
        std::fs::remove_file(dir.path().join("passwd")).unwrap();
        assert_eq!(user(&peers, 1003, 1003), None, "without the file there are only numbers");
    }

    fn vec_of(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }
}
