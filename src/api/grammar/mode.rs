//! `HostConfig.NetworkMode`, `networkmode` of a build and the names of networks: one text, many meanings.
//!
//! Policies and `api::answer` read it here. What must stay true: the words are dockerd's
//! (`api/types/container/hostconfig_unix.go`), exact and in lower case, as it compares them.

use super::reference::{CONTAINER, Reference};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkMode<'t> {
    /// Nothing, or `default`: no network's name.
    Default,
    Bridge,
    Host,
    None,
    /// The namespace of a container.
    Container(Reference<'t>),
    /// `ns:PATH`: a namespace of the host, for engines that know it (Podman).
    Namespace(&'t str),
    /// A network that somebody has made, by name or id.
    Named(&'t str),
}

impl<'t> NetworkMode<'t> {
    pub fn of(text: &'t str) -> NetworkMode<'t> {
        match text {
            "" | "default" => NetworkMode::Default,
            "bridge" => NetworkMode::Bridge,
            "host" => NetworkMode::Host,
            "none" => NetworkMode::None,
            _ => match (Reference::parse(text, CONTAINER), text.strip_prefix("ns:")) {
                (Some(reference), _) => NetworkMode::Container(reference),
                (None, Some(path)) => NetworkMode::Namespace(path),
                (None, None) => NetworkMode::Named(text),
            },
        }
    }

    pub fn is_default(self) -> bool {
        self == NetworkMode::Default
    }

    /// Whether it means a network that somebody has made (moby's `NetworkMode.IsUserDefined`).
    pub fn is_user_defined(self) -> bool {
        matches!(self, NetworkMode::Named(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_a_word_a_container_or_a_network() {
        let container = |name| NetworkMode::Container(Reference::parse(name, CONTAINER).unwrap());
        for (text, mode) in [
            ("", NetworkMode::Default),
            ("default", NetworkMode::Default),
            ("bridge", NetworkMode::Bridge),
            ("host", NetworkMode::Host),
            ("none", NetworkMode::None),
            ("Host", NetworkMode::Named("Host")),
            ("front", NetworkMode::Named("front")),
            ("container", NetworkMode::Named("container")),
            ("container:", container("container:")),
            ("container:a", container("container:a")),
            ("ns:/proc/1/ns/net", NetworkMode::Namespace("/proc/1/ns/net")),
        ] {
            assert_eq!(NetworkMode::of(text), mode, "{text}");
        }
    }
}
