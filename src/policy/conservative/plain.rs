//! Predicates that need nothing but the value.
//!
//! `judge` asks here. What must stay true: a value of an unexpected type does not hold, and neither does
//! what could be read in two ways.

use super::rules::Allowed;
use crate::api::doc::Value;
use crate::api::grammar::path::cleaned;
use crate::config::units;

pub(super) fn holds(allowed: &Allowed, value: &Value) -> bool {
    match allowed {
        Allowed::OneOf(items) => items.iter().any(|item| item.is(value)) || is_nothing(value),
        Allowed::Range { least, most } => number(value).is_some_and(|number| {
            least.is_none_or(|least| number >= least) && most.is_none_or(|most| number <= most)
        }),
        Allowed::Size(least, most) => {
            text(value).and_then(units::bytes).is_some_and(|size| (*least..=*most).contains(&size))
        }
        Allowed::Matches(pattern) => text(value).is_some_and(|text| pattern.holds(text)),
        Allowed::NotMatches(pattern) => text(value).is_some_and(|text| !pattern.holds(text)),
        Allowed::KeysMatch(pattern) => {
            is_map(value) && value.entries().iter().all(|(key, _)| pattern.holds(key))
        }
        Allowed::KeysNotMatch(pattern) => {
            is_map(value) && !value.entries().iter().any(|(key, _)| pattern.holds(key))
        }
        Allowed::Outside(paths) => text(value).is_some_and(|text| is_outside(text, paths)),
        Allowed::Capabilities(names) => text(value).is_some_and(|text| {
            let wanted = capability(text);
            names.contains(&wanted)
        }),
        Allowed::Ulimits(limits) => match value {
            Value::String(text) => text.split(',').all(|one| ulimit_in_text(one, limits)),
            list => list.items().iter().all(|one| ulimit(one, limits)) && is_list(list),
        },
        Allowed::VolumeOptions => volume_options(value),
        Allowed::TmpfsOptions(names) => {
            is_map(value)
                && value.entries().iter().all(|(_, options)| mount_options(options, names))
        }
        Allowed::Changes(names) => text(value).is_some_and(|text| changes(text, names)),
        Allowed::Filters => filters(value),
        Allowed::FiltersWith(names) => {
            is_map(value) && names.iter().any(|name| value.get(name).is_some_and(|v| !v.is_zero()))
        }
        // These need more than the value, and are decided in `judge`.
        Allowed::Retries(_)
        | Allowed::RegistryOfName
        | Allowed::RegistryOfNames
        | Allowed::RegistryAddress
        | Allowed::BuildSource
        | Allowed::Exporter
        | Allowed::Cache
        | Allowed::Ports(_)
        | Allowed::NewNetwork
        | Allowed::NamedVolume
        | Allowed::Bind
        | Allowed::OwnSocket
        | Allowed::OwnContainer(_)
        | Allowed::OwnNetwork
        | Allowed::NoHostMounts
        | Allowed::EngineDefault => false,
    }
}

/// Names and ids are regular expressions to the engine (`filters.Args.Match` of moby), compiled anew for each
/// container and network, also when the client has left. Labels are not.
fn filters(value: &Value) -> bool {
    const MOST: usize = 256;
    const LONGEST: usize = 1024;
    // Of all patterns together, in bytes.
    const MOST_PATTERNS: usize = 2048;
    let (mut count, mut patterns) = (0, 0);
    let mut is_plain = |key: &str, value: &str| {
        count += 1;
        let is_label = matches!(key, "label" | "label!");
        patterns += if is_label { 0 } else { value.len() };
        count <= MOST
            && value.len() <= LONGEST
            && patterns <= MOST_PATTERNS
            && (is_label || is_cheap_pattern(value))
    };
    is_map(value)
        && value.entries().iter().all(|(key, values)| match values {
            // `{"label": {"a=b": true}}`, and `{"label": ["a=b"]}` from older clients.
            Value::Object(entries) => entries.iter().all(|(value, _)| is_plain(key, value)),
            Value::List(items) => items.iter().all(|one| is_plain(key, text(one).unwrap_or(""))),
            Value::Null => true,
            Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        })
}

/// Whether a regular expression of Go's costs about as much as it is long: repetition in braces and classes of
/// Unicode, also by case-folding (`(?i)`), make megabytes of a few bytes (`regexp/syntax` of Go).
fn is_cheap_pattern(pattern: &str) -> bool {
    let escapes = pattern.split('\\').skip(1);
    pattern.is_ascii()
        && !pattern.contains(['{', '}'])
        && !pattern.contains("(?")
        && escapes.into_iter().all(|rest| !rest.starts_with(['p', 'P', 'Q', 'x', 'C']))
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        // Null in a list of strings is Go's empty string.
        Value::Null => Some(""),
        _ => None,
    }
}

/// In a query everything is text.
fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn is_nothing(value: &Value) -> bool {
    matches!(value, Value::Null) || matches!(value, Value::String(text) if text.is_empty())
}

fn is_map(value: &Value) -> bool {
    matches!(value, Value::Object(_))
}

fn is_list(value: &Value) -> bool {
    matches!(value, Value::List(_))
}

/// `cap_sys_admin`, `CAP_SYS_ADMIN` and `SYS_ADMIN` are one (`oci/caps/utils.go`).
fn capability(name: &str) -> String {
    let upper = name.trim().to_ascii_uppercase();
    upper.strip_prefix("CAP_").map(str::to_owned).unwrap_or(upper)
}

/// Cleaned as Go cleans paths; a relative one counts from `/`.
fn is_outside(path: &str, roots: &[String]) -> bool {
    let parts = cleaned(path);
    let is_below = |root: &String| {
        let mut root = root.split('/').filter(|part| !part.is_empty());
        let mut parts = parts.iter();
        root.all(|wanted| parts.next().is_some_and(|part| *part == wanted))
    };
    !roots.iter().any(is_below)
}

/// Names are upper-cased by dockerd (`oci_linux.go`), so they are compared without case.
fn ulimit(one: &Value, limits: &std::collections::BTreeMap<String, i64>) -> bool {
    if one.is_zero() {
        return true;
    }
    let name = one.get("Name").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    let Some(most) = limits.get(&name) else { return false };
    let within = |key| match one.get(key) {
        None | Some(Value::Null) => true,
        Some(value) => {
            value.as_i64().is_some_and(|limit| *most == -1 || (0..=*most).contains(&limit))
        }
    };
    within("Soft") && within("Hard")
}

/// `nofile=1024:2048`, as BuildKit's frontends take it (`units.ParseUlimit`).
fn ulimit_in_text(one: &str, limits: &std::collections::BTreeMap<String, i64>) -> bool {
    let Some((name, numbers)) = one.split_once('=') else { return one.is_empty() };
    let Some(most) = limits.get(&name.to_ascii_lowercase()) else { return false };
    let within = |number: &str| {
        let number = number.parse::<i64>();
        number.is_ok_and(|limit| *most == -1 || (0..=*most).contains(&limit))
    };
    numbers.split(':').count() <= 2 && numbers.split(':').all(within)
}

/// What the driver `local` takes without reaching beyond itself: a size, or a tmpfs
/// (`volume/local/local_unix.go`: it hands `type`, `o` and `device` to mount(2) as root).
fn volume_options(options: &Value) -> bool {
    const TMPFS: [&str; 9] =
        ["size", "uid", "gid", "mode", "nr_inodes", "noexec", "nosuid", "nodev", "rw"];
    if !is_map(options) {
        return false;
    }
    let get = |key| options.get(key).and_then(Value::as_str).unwrap_or_default();
    let names = options.entries().iter().map(|(key, _)| key.as_ref());
    let is_sized = names.clone().all(|key| key == "size");
    let tmpfs: Vec<String> = TMPFS.iter().map(|name| (*name).to_owned()).collect();
    let is_tmpfs = get("type") == "tmpfs"
        && get("device") == "tmpfs"
        && names.clone().all(|key| matches!(key, "type" | "device" | "o"))
        && options.get("o").is_none_or(|given| mount_options(given, &tmpfs));
    is_sized || is_tmpfs
}

/// `size=64m,mode=1777`: each of these names.
fn mount_options(options: &Value, names: &[String]) -> bool {
    let Some(options) = text(options) else { return false };
    let name = |option: &str| option.split('=').next().unwrap_or_default().trim().to_owned();
    options
        .split(',')
        .filter(|option| !option.is_empty())
        .all(|option| names.contains(&name(option)))
}

/// Lines of a Dockerfile. What goes on in the next line, or is not what it seems, is refused: a
/// continuation, a parser directive, a heredoc.
fn changes(text: &str, names: &[String]) -> bool {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).all(|line| {
        let is_plain =
            !line.ends_with(['\\', '`']) && !line.starts_with('#') && !line.contains("<<");
        is_plain && names.contains(&instruction(line).0) && change(line)
    })
}

/// What an instruction puts into the image is judged as in a body.
fn change(line: &str) -> bool {
    let (name, rest) = instruction(line);
    match name.as_str() {
        "LABEL" => is_plain_label(rest),
        "WORKDIR" => {
            let roots = ["/proc", "/sys", "/dev"].map(str::to_owned);
            !rest.contains(['$', '\\', '"', '\'']) && is_outside(rest, &roots)
        }
        "HEALTHCHECK" => is_slow_probe(rest),
        // Carried out by a later build, with these words. The engine refuses one within another.
        "ONBUILD" => instruction(rest).0 != "ONBUILD" && change(rest),
        _ => true,
    }
}

fn instruction(line: &str) -> (String, &str) {
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    (name.to_ascii_uppercase(), rest.trim())
}

/// `--interval=30s --start-interval=5s … CMD …`: whole seconds, minutes or hours.
fn is_slow_probe(rest: &str) -> bool {
    let flags = rest.split_whitespace().take_while(|word| word.starts_with("--"));
    // Docker takes quotes out of flags.
    if flags.clone().any(|flag| flag.contains(['"', '\'', '\\'])) {
        return false;
    }
    flags.filter(|flag| flag.to_ascii_lowercase().contains("interval")).all(|flag| {
        let duration = flag.split_once('=').map_or("", |(_, duration)| duration);
        let number = duration.strip_suffix(['s', 'm', 'h']).unwrap_or_default();
        number.parse::<u32>().is_ok_and(|number| number > 0)
    })
}

/// No label of dockgate's own, however it is quoted or put together.
fn is_plain_label(line: &str) -> bool {
    let bare: String = line.chars().filter(|c| !matches!(c, '"' | '\'' | '\\' | '`')).collect();
    !line.contains('$') && !bare.to_ascii_lowercase().contains("io.dockgate.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn paths_are_compared_by_component_after_cleaning() {
        let roots = strings(&["/proc", "/sys"]);
        for inside in
            ["/proc", "/proc/self/fd/8", "//proc", "/a/../proc/1", "proc", "./proc/x", "/./proc"]
        {
            assert!(!is_outside(inside, &roots), "{inside}");
        }
        for outside in ["/", "/processed", "/a/proc", "/proc/../x", "x"] {
            assert!(is_outside(outside, &roots), "{outside}");
        }
    }

    #[test]
    fn a_filter_is_no_costly_pattern() {
        let holds = |json: &str| {
            let kind = crate::api::shape::FILTERS;
            filters(&crate::api::doc::parse(json.as_bytes(), &kind).unwrap().root)
        };
        assert!(holds(r#"{"name":{"^/a(b|c).*$":true},"status":["running"],"x":null}"#));
        assert!(holds(r#"{"label":{"a={\"b\":1}":true},"label!":["{x}"]}"#), "no pattern");
        let (long, many) = ("a".repeat(1025), vec!["a"; 257].join("\",\""));
        for bad in [
            r#"{"name":{"a{1000}":true}}"#.to_owned(),
            r#"{"id":["\\p{L}"]}"#.to_owned(),
            r#"{"name":"a"}"#.to_owned(),
            format!(r#"{{"name":["{long}"]}}"#),
            format!(r#"{{"label":["{many}"]}}"#),
            "[]".to_owned(),
        ] {
            let json = crate::api::doc::parse(bad.as_bytes(), &crate::api::shape::FILTERS);
            assert!(!json.is_ok_and(|doc| filters(&doc.root)), "{bad}");
        }
    }

    #[test]
    fn a_change_is_one_line_and_no_label_of_ours() {
        let names = strings(&["CMD", "LABEL", "ENV", "WORKDIR", "HEALTHCHECK", "ONBUILD"]);
        for good in [
            "WORKDIR /src",
            "HEALTHCHECK --interval=5s CMD true",
            "ONBUILD RUN id",
            "CMD [\"sh\"]",
            "cmd x",
            "LABEL a=b",
            "ENV A=$B\nCMD x",
        ] {
            assert!(changes(good, &names), "{good}");
        }
        for bad in [
            "RUN id",
            "LABEL io.dockgate.job=x",
            "LABEL \"io.dock\"gate.job=x",
            r"LABEL io.dock\gate.job=x",
            "LABEL io.dock$X.job=x",
            "LAB\\\nEL io.dockgate.job=x",
            "# escape=`\nCMD x",
            "CMD <<E\nE",
            "ONBUILD LABEL io.dockgate.job=x",
            "WORKDIR /proc/self/fd/8",
            "WORKDIR /pr$X",
            "ONBUILD WORKDIR /proc",
            "HEALTHCHECK --interval=1ms CMD true",
            "HEALTHCHECK --timeout=1s --start-interval=0.1s CMD true",
            "HEALTHCHECK --interval CMD true",
            "HEALTHCHECK --int'erval'=1ms CMD true",
            "ONBUILD ONBUILD CMD x",
        ] {
            assert!(!changes(bad, &names), "{bad}");
        }
    }

    #[test]
    fn options_of_a_local_volume_reach_nothing_else() {
        let options = |json: &str| {
            let kind = crate::api::shape::LABELS;
            volume_options(&crate::api::doc::parse(json.as_bytes(), &kind).unwrap().root)
        };
        assert!(options(r#"{"size":"1g"}"#));
        assert!(options(r#"{"type":"tmpfs","device":"tmpfs","o":"size=64m,uid=1000"}"#));
        for bad in [
            r#"{"type":"none","o":"bind","device":"/"}"#,
            r#"{"type":"tmpfs","device":"/","o":"bind"}"#,
            r#"{"type":"tmpfs","device":"tmpfs","o":"bind"}"#,
            r#"{"type":"tmpfs","device":"tmpfs","o":"size=1,remount"}"#,
            r#"{"type":"ext4","device":"/dev/sda1"}"#,
            r#"{"type":"nfs","o":"addr=10.0.0.1","device":":/"}"#,
            r#"{"size":"1g","device":"/"}"#,
            r#"{"Type":"none"}"#,
        ] {
            assert!(!options(bad), "{bad}");
        }
    }
}
