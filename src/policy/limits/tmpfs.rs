//! The size of each tmpfs: `Tmpfs`, mounts of that type, and volumes that are one.
//!
//! What must stay true: without a size a tmpfs may take half of the machine's memory, and with 0 all of
//! it; the kernel counts the last `size` or `nr_blocks` and reads octal and hexadecimal, so that only
//! plain sizes pass and one is written.

use super::Judged;
use super::rules::Rules;
use crate::api::doc::Value;
use crate::config::{Size, units};
use crate::policy::Reason;

const LOCAL: &[&str] = &["", "local"];

pub(super) fn create(rules: &Rules<'_>, root: &mut Value) -> Judged {
    if !rules.has_tmpfs() {
        return Ok(());
    }
    let Some(host) = root.get_mut("HostConfig") else { return Ok(()) };
    if let Some(Value::Object(entries)) = host.get_mut("Tmpfs") {
        for (target, options) in entries {
            let place = format!("HostConfig.Tmpfs.{target}");
            let settled = settle(rules, options.as_str().unwrap_or_default(), &place)?;
            *options = Value::String(settled);
        }
    }
    if let Some(Value::List(mounts)) = host.get_mut("Mounts") {
        for (index, mount) in mounts.iter_mut().enumerate() {
            let place = format!("HostConfig.Mounts.{index}");
            match mount.get("Type").and_then(Value::as_str) {
                Some("tmpfs") => of_mount(rules, mount, &place)?,
                _ => {
                    if let Some(options) = mount.get_mut("VolumeOptions")
                        && let Some(driver) = options.get_mut("DriverConfig")
                    {
                        let place = format!("{place}.VolumeOptions.DriverConfig");
                        of_driver(rules, driver, ["Name", "Options"], &place)?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// A volume of the `local` driver may be a tmpfs.
pub(super) fn volume(rules: &Rules<'_>, root: &mut Value) -> Judged {
    if !rules.has_tmpfs() {
        return Ok(());
    }
    of_driver(rules, root, ["Driver", "DriverOpts"], "")
}

fn of_mount(rules: &Rules<'_>, mount: &mut Value, place: &str) -> Judged {
    let Some(options) = mount.at_mut(&["TmpfsOptions"]) else { return Ok(()) };
    let place = format!("{place}.TmpfsOptions.SizeBytes");
    // What no engine takes here yet.
    let more = options.get("Options").map(Value::items).unwrap_or_default();
    let names = more.iter().filter_map(|pair| pair.items().first()?.as_str());
    if let Some(name) = names.into_iter().find(|name| sizes(name)) {
        return Err(unclear(&place, name));
    }
    let asked = match options.get("SizeBytes") {
        None | Some(Value::Null) => 0,
        Some(value) => value.as_i64().unwrap_or(-1),
    };
    let size = match (rules.forced(Size::Tmpfs), asked) {
        (Some(forced), _) => Some(forced),
        (None, 0) => rules.default(Size::Tmpfs).or(rules.cap(Size::Tmpfs)),
        (None, _) => rules.within(Size::Tmpfs, &place, asked).map(|()| None)?,
    };
    if let Some((size, place)) = size.zip(options.at_mut(&["SizeBytes"])) {
        *place = Value::Number(size.into());
    }
    Ok(())
}

fn of_driver(
    rules: &Rules<'_>,
    driver: &mut Value,
    [name, options]: [&'static str; 2],
    place: &str,
) -> Judged {
    let driver_name = driver.get(name).and_then(Value::as_str).unwrap_or_default();
    if !LOCAL.contains(&driver_name) {
        return Ok(());
    }
    let Some(given) = driver.get(options) else { return Ok(()) };
    let text = |key: &str| given.get(key).and_then(Value::as_str).unwrap_or_default();
    let place = [place, options, "o"].into_iter().filter(|part| !part.is_empty());
    let place = place.collect::<Vec<_>>().join(".");
    match text("type") {
        "tmpfs" => {
            let settled = settle(rules, text("o"), &place)?;
            if let Some(place) = driver.at_mut(&[options, "o"]) {
                *place = Value::String(settled);
            }
            Ok(())
        }
        "ramfs" => Err(unclear(&place, "ramfs")),
        _ => Ok(()),
    }
}

/// Mount options with the one size that counts.
fn settle(rules: &Rules<'_>, options: &str, place: &str) -> Result<String, Reason> {
    let given = || options.split(',').filter(|option| !option.is_empty());
    let says = || given().filter(|option| sizes(option));
    let size = match (rules.forced(Size::Tmpfs), rules.cap(Size::Tmpfs)) {
        (Some(forced), _) => Some(forced),
        (None, None) if says().next().is_some() => return Ok(options.to_owned()),
        (None, cap) => {
            let mut size = rules.default(Size::Tmpfs).or(cap);
            for option in says() {
                let asked = option.strip_prefix("size=").and_then(plain);
                let asked = asked.ok_or_else(|| unclear(place, option))?;
                // To the kernel 0 is no limit.
                rules.within(Size::Tmpfs, place, if asked == 0 { -1 } else { asked })?;
                size = Some(asked);
            }
            size
        }
    };
    let size = size.map(|size| format!("size={size}"));
    let others = given().filter(|option| !sizes(option));
    Ok(others.chain(size.as_deref()).collect::<Vec<_>>().join(","))
}

/// `64m`, read in one way only: `010` is 8 to the kernel, and `50%` depends on the machine.
fn plain(text: &str) -> Option<i64> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_plain = matches!(unit.to_ascii_lowercase().as_str(), "" | "k" | "m" | "g");
    let is_octal = text.len() > 1 && text.starts_with('0');
    units::bytes(text).filter(|_| is_plain && !is_octal)
}

/// Whether an option says how large a tmpfs is, in whatever way.
fn sizes(option: &str) -> bool {
    let name = option.split('=').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(name.as_str(), "size" | "nr_blocks")
}

fn unclear(place: &str, found: &str) -> Reason {
    let why = format!("`{found}` says a size that dockgate does not take");
    let reason = Reason::new(Size::Tmpfs.rule(), place.to_owned(), why, "such as `size=64m`");
    Reason { found: Some(found.into()), ..reason }
}

impl Rules<'_> {
    fn has_tmpfs(&self) -> bool {
        let all = self.all();
        let tables = [&all.force.sizes, &all.default.sizes, &all.max.sizes];
        tables.iter().any(|sizes| sizes.contains_key(&Size::Tmpfs))
    }
}
