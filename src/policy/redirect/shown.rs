//! Answers about a container, without what was put into it.
//!
//! `redirect` calls it with answers. What must stay true: what the container's own programs have changed is shown.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::hosts;
use crate::config::TransparentCache;

/// `archive.ChangeDelete` of moby.
const DELETED: u64 = 2;

pub(super) fn inspect(settings: &TransparentCache, json: Option<&mut Json>) {
    let place = json.and_then(|json| json.pointer_mut("/HostConfig/ExtraHosts"));
    let Some(place) = place else { return };
    let Json::Array(entries) = place else { return };
    let count = entries.len();
    entries.retain(|one| !one.as_str().is_some_and(|entry| hosts::is_ours(settings, entry)));
    // One that was made without any has no list.
    if entries.is_empty() && count > 0 {
        *place = Json::Null;
    }
}

/// Paths of files that were put there, and the folders that are told of for nothing else.
pub(super) fn changes(json: Option<&mut Json>, ours: &BTreeSet<String>) {
    let Some(Json::Array(list)) = json else { return };
    let path = |one: &Json| one.get("Path").and_then(Json::as_str).unwrap_or_default().to_owned();
    list.retain(|one| !ours.contains(&path(one)));
    let is_above = |folder: &str, other: &str| {
        other.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    };
    let is_way_to_ours = |one: &Json| {
        let kind = one.get("Kind").and_then(Json::as_u64);
        kind != Some(DELETED) && ours.iter().any(|file| is_above(&path(one), file))
    };
    let others: Vec<String> = list.iter().filter(|one| !is_way_to_ours(one)).map(path).collect();
    list.retain(|one| {
        !is_way_to_ours(one) || others.iter().any(|other| is_above(&path(one), other))
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(kind: u64, path: &str) -> Json {
        json!({ "Path": path, "Kind": kind })
    }

    #[test]
    fn folders_are_told_of_only_for_what_is_not_ours() {
        let ours = ["/etc/ssl/certs/ca.crt", "/usr/local/share/x/dockgate.crt"];
        let ours = ours.map(str::to_owned).into_iter().collect();
        let own = [change(0, "/etc"), change(1, "/etc/mine"), change(2, "/usr/local/share")];
        let mut all = json!([
            change(0, "/etc"),
            change(0, "/etc/ssl"),
            change(0, "/etc/ssl/certs"),
            change(0, "/etc/ssl/certs/ca.crt"),
            change(1, "/etc/mine"),
            change(0, "/usr"),
            change(0, "/usr/local"),
            change(2, "/usr/local/share"),
            change(1, "/usr/local/share/x"),
            change(1, "/usr/local/share/x/dockgate.crt"),
        ]);
        changes(Some(&mut all), &ours);
        let kept = [own.as_slice(), &[change(0, "/usr"), change(0, "/usr/local")]].concat();
        assert_eq!(all, json!([kept[0], kept[1], kept[3], kept[4], kept[2]]));
    }
}
