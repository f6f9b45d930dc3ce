//! Every way to mount something into a container, in one form.
//!
//! `conservative` judges these, and `rego` shows the host's paths among them to its rules. There are four
//! ways in a create body: `HostConfig.Binds`, `HostConfig.Mounts`, `HostConfig.Tmpfs` and `Volumes`; what one
//! of them cannot say another can. What must stay true: what dockerd would mount from the host is a
//! `MountSource::Host` here, however it was written (`volume/mounts/linux_parser.go` of moby).

use crate::api::doc::Value;

/// One mount, and where it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount<'b> {
    /// Such as `HostConfig.Binds.0`.
    pub list: &'static str,
    pub index: usize,
    pub source: MountSource<'b>,
    pub target: &'b str,
    pub read_only: bool,
    /// Of a bind: what stands behind the second colon, and of a mount what says the same.
    pub options: Vec<&'b str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource<'b> {
    /// A path of the host.
    Host(&'b str),
    /// A volume, by name; empty for an anonymous one.
    Volume(&'b str),
    Image(&'b str),
    Tmpfs,
    /// Another type (`npipe`, `cluster`, or one that does not exist yet).
    Other(&'b str),
}

/// Where clients expect the engine's socket.
pub const ENGINE_SOCKETS: [&str; 2] = ["/var/run/docker.sock", "/run/docker.sock"];
pub const BINDS: &str = "HostConfig.Binds";
pub const MOUNTS: &str = "HostConfig.Mounts";

/// The mounts of a create body.
pub fn of(create: &Value) -> Vec<Mount<'_>> {
    let Some(host_config) = create.get("HostConfig") else { return Vec::new() };
    let list = |key| host_config.get(key).map(Value::items).unwrap_or_default();
    let binds = list("Binds").iter().enumerate().map(|(index, bind)| of_bind(index, bind));
    let mounts = list("Mounts").iter().enumerate().map(|(index, mount)| of_mount(index, mount));
    binds.chain(mounts).collect()
}

/// The source of `source:target[:options]`, and the rest.
pub fn source_of_bind(text: &str) -> (MountSource<'_>, &str) {
    match text.split_once(':') {
        // `target` alone is an anonymous volume.
        None => (MountSource::Volume(""), text),
        Some((name, rest)) if is_volume_name(name) => (MountSource::Volume(name), rest),
        // Relative paths too: no engine takes them, but none may ever.
        Some((path, rest)) => (MountSource::Host(path), rest),
    }
}

pub fn of_bind(index: usize, bind: &Value) -> Mount<'_> {
    // Null in a list of strings is Go's empty string.
    let (source, rest) = source_of_bind(bind.as_str().unwrap_or_default());
    let (target, options) = rest.split_once(':').unwrap_or((rest, ""));
    let options: Vec<&str> = options.split(',').filter(|option| !option.is_empty()).collect();
    let read_only = options.contains(&"ro");
    Mount { list: BINDS, index, source, target, read_only, options }
}

pub fn of_mount(index: usize, mount: &Value) -> Mount<'_> {
    let text = |key| mount.get(key).and_then(Value::as_str).unwrap_or_default();
    let source = match text("Type") {
        "bind" => MountSource::Host(text("Source")),
        "volume" => MountSource::Volume(text("Source")),
        "image" => MountSource::Image(text("Source")),
        "tmpfs" => MountSource::Tmpfs,
        other => MountSource::Other(other),
    };
    let read_only = mount.get("ReadOnly").is_some_and(|value| *value == Value::Bool(true));
    let propagation = mount.get("BindOptions").and_then(|options| options.get("Propagation"));
    let options = propagation.and_then(Value::as_str).into_iter().collect();
    Mount { list: MOUNTS, index, source, target: text("Target"), read_only, options }
}

/// `[a-zA-Z0-9][a-zA-Z0-9_.-]*` (`names.RestrictedNamePattern` of moby).
fn is_volume_name(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::container::CREATE;
    use crate::api::doc;
    use crate::api::shape::Kind;

    fn sources(json: &str) -> Vec<String> {
        let body = format!(r#"{{"Image":"x","HostConfig":{json}}}"#);
        let doc = doc::parse(body.as_bytes(), &Kind::Object(CREATE)).unwrap();
        of(&doc.root).iter().map(|mount| format!("{:?}", mount.source)).collect()
    }

    #[test]
    fn whatever_dockerd_takes_for_a_path_of_the_host_is_one() {
        for bind in [
            "/:/h",
            "/a:/b:ro",
            "//:/h",
            "./x:/y",
            "../x:/y",
            "~/x:/y",
            ":/y",
            ".:/y",
            "a/b:/y",
            r"C:\\x:/y",
        ] {
            let found = sources(&format!(r#"{{"Binds":["{bind}"]}}"#));
            let is_host = found[0].starts_with("Host");
            // `C` is the name of a volume: dockerd on Linux reads it so too.
            assert_eq!(is_host, !bind.starts_with('C'), "{bind}: {found:?}");
        }
        let found = sources(r#"{"Mounts":[{"Type":"bind","Source":"/","Target":"/h"}]}"#);
        assert_eq!(found, [r#"Host("/")"#]);
    }

    #[test]
    fn volumes_are_volumes() {
        let found = sources(
            r#"{"Binds":["data:/d","/anonymous",null],"Mounts":[{"Type":"volume","Source":"v"},{"Type":"tmpfs"},{"Type":"Bind"}]}"#,
        );
        let wanted = [
            r#"Volume("data")"#,
            r#"Volume("")"#,
            r#"Volume("")"#,
            r#"Volume("v")"#,
            "Tmpfs",
            r#"Other("Bind")"#,
        ];
        assert_eq!(found, wanted);
    }
}
