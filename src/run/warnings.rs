//! What a configuration may say and yet is unwise on this machine.
//!
//! `dockgate check` prints it, `serve` writes it to its log. What must stay true: nothing here is an error, and of
//! what cannot be seen from here nothing is said.

use std::path::Path;

use crate::config::{AllowedBind, Config, Policy, PolicyKind};
use crate::policy::mount_table::MountTable;

/// Whoever writes there as root in a container leaves files that act on the host: setuid programs, device nodes.
const HARMLESS: &[&str] = &["nosuid", "nodev"];

pub fn warnings(config: &Config) -> Vec<String> {
    // Paths of another machine.
    if !config.engine.url.starts_with("unix://") {
        return Vec::new();
    }
    let Some(table) = std::fs::read("/proc/self/mountinfo").ok() else { return Vec::new() };
    let Some(table) = MountTable::parse(&table) else { return Vec::new() };
    let mut said = Vec::new();
    for policy in config.listeners.iter().flat_map(|listener| &listener.policies) {
        for bind in writable(policy) {
            // Once, however many listeners have it.
            said.extend(warning(&table, bind).filter(|one| !said.contains(one)));
        }
    }
    said
}

fn writable(policy: &Policy) -> impl Iterator<Item = &AllowedBind> {
    let binds = match &policy.kind {
        PolicyKind::Conservative(conservative) => conservative.binds.as_slice(),
        // No other lends directories.
        _ => &[],
    };
    binds.iter().filter(|bind| bind.writable)
}

fn warning(table: &MountTable, bind: &AllowedBind) -> Option<String> {
    let real = std::fs::canonicalize(&bind.host).ok()?;
    let lacks = lacking(table, &real)?;
    let (place, host) = (&bind.place, bind.host.display());
    Some(format!(
        "{place}: containers can leave setuid programs and device nodes in `{host}`: it is mounted \
         without {lacks}\n  hint: give it a mount of its own, or `mount --bind {host} {host} && mount -o \
         remount,bind,nosuid,nodev {host}`"
    ))
}

fn lacking(table: &MountTable, path: &Path) -> Option<String> {
    let lacks: Vec<_> =
        table.lacks(path, HARMLESS).iter().map(|option| format!("`{option}`")).collect();
    (!lacks.is_empty()).then(|| lacks.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn said(mode: &str, engine: &str, host: &Path) -> Vec<String> {
        let host = host.display();
        let text = format!(
            "[engine]\nurl = \"{engine}\"\n[[listener]]\nname = \"a\"\nurl = \"unix:///x\"\npolicies = [\"p\"]\n\
             [[listener]]\nname = \"b\"\nurl = \"unix:///y\"\npolicies = [\"p\"]\n\
             [policy.p]\nkind = \"conservative\"\nbinds = [{{ host = \"{host}\", mode = \"{mode}\" }}]\n"
        );
        warnings(&config::parse(&text, Path::new("t"), Path::new(""), &|_| None).unwrap())
    }

    #[test]
    fn a_writable_path_without_nosuid_and_nodev_is_said_once_with_its_place() {
        let table = std::fs::read("/proc/self/mountinfo").unwrap();
        let table = MountTable::parse(&table).unwrap();
        // `/` is mounted with neither, wherever there are setuid programs.
        let dir = Path::new("/usr");
        let lacks = lacking(&table, &dir.canonicalize().unwrap());
        let said_ = said("rw", "unix:///e", dir);
        assert_eq!(said_.len(), usize::from(lacks.is_some()), "{said_:?}");
        for one in said_ {
            assert!(one.starts_with("t:13:19: ") && one.contains("  hint: "), "{one}");
        }
        assert!(said("ro", "unix:///e", dir).is_empty(), "nothing can be left there");
        assert!(said("rw", "tcp://10.0.0.1:2375", dir).is_empty(), "on another machine");
        assert!(said("rw", "unix:///e", Path::new("/no/such/path")).is_empty());
    }

    #[test]
    fn a_mount_with_both_options_is_not_worth_a_word() {
        let table = b"1 0 8:1 / / rw - ext4 d rw\n2 1 0:5 / /srv rw,nosuid,nodev - tmpfs t rw\n";
        let table = MountTable::parse(table).unwrap();
        assert_eq!(lacking(&table, Path::new("/srv/x")), None);
        assert_eq!(lacking(&table, Path::new("/home")).unwrap(), "`nosuid` and `nodev`");
    }
}
