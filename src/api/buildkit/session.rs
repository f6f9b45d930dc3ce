//! What the engine asks a client for over its session (BuildKit's `session` packages).
//!
//! `gateway` lets these methods through and no other, and `policy` says when. What must stay true: a service that is not
//! here is not asked; of each method it is known where it names what it is about.

use http::HeaderMap;
use percent_encoding::percent_decode_str;

use crate::api::doc::Value;
use crate::api::shape::{Kind, LABELS, Object, STRINGS, n};

/// How a folder is asked for.
pub const DIFF_COPY: &str = "/moby.filesync.v1.FileSync/DiffCopy";
/// Likewise, in a form that no engine asks for.
pub const TAR_STREAM: &str = "/moby.filesync.v1.FileSync/TarStream";

/// What a client has for a registry, in clear.
pub const CREDENTIALS: &str = "/moby.filesync.v1.Auth/Credentials";
/// A token of a registry's, which the client has asked for.
pub const FETCH_TOKEN: &str = "/moby.filesync.v1.Auth/FetchToken";
/// By which key a client shows that another session is its own too; engines ask it first, and for tokens only where there is one.
pub const TOKEN_AUTHORITY: &str = "/moby.filesync.v1.Auth/GetTokenAuthority";

/// What is asked by `CREDENTIALS`, and answered.
pub const CREDENTIALS_ASKED: &Object = &[n(1, "Host", Kind::Str)];
pub const CREDENTIALS_ANSWER: &Object = &[n(1, "Username", Kind::Str), n(2, "Secret", Kind::Str)];
/// What is answered to `FETCH_TOKEN`: in seconds, and from when on it is kept.
pub const TOKEN_ANSWER: &Object =
    &[n(1, "Token", Kind::Str), n(2, "ExpiresIn", Kind::Int), n(3, "IssuedAt", Kind::Int)];
/// 32 bytes, to `TOKEN_AUTHORITY`.
pub const AUTHORITY_ANSWER: &Object = &[n(1, "PublicKey", Kind::Bytes)];

/// Addresses below which BuildKit asks the build's own session for the bytes, and nobody else (source/http/transport.go).
/// It compares the host byte by byte, so that one in other case or with a port is a host like others.
pub const UPLOADS: &str = "http://buildkit-session/";

/// What a method is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallbackKind {
    /// Whether it is still there.
    Health,
    /// Contexts and Dockerfiles.
    Folder,
    /// Takes what comes out of a build.
    Export,
    /// What comes out of a build, and how.
    FindExporters,
    /// Credentials for a registry.
    Credentials,
    Secret,
    /// An agent for ssh.
    Agent,
    /// An archive in the place of a folder.
    Upload,
    /// Layouts on the client's disk.
    Content,
    /// The same, written to.
    ContentWrite,
}

/// One method, and where it names what it is about.
#[derive(Debug)]
pub struct CallbackMethod {
    pub path: &'static str,
    pub kind: CallbackKind,
    name: NamePlace,
}

#[derive(Debug)]
enum NamePlace {
    None,
    Metadata(&'static str),
    /// Its one message, which has this field.
    Message(&'static Object, &'static str),
}

/// Full paths of methods.
pub const CALLBACKS: &[CallbackMethod] = &[
    plain("/grpc.health.v1.Health/Check", CallbackKind::Health),
    fields(DIFF_COPY, CallbackKind::Folder, "dir-name"),
    fields(TAR_STREAM, CallbackKind::Folder, "dir-name"),
    plain("/moby.filesync.v1.FileSend/DiffCopy", CallbackKind::Export),
    plain("/moby.exporter.v1.Exporter/FindExporters", CallbackKind::FindExporters),
    auth(CREDENTIALS, CREDENTIALS_ASKED),
    auth(
        FETCH_TOKEN,
        &[
            n(1, "ClientID", Kind::Str),
            n(2, "Host", Kind::Str),
            n(3, "Realm", Kind::Str),
            n(4, "Service", Kind::Str),
            n(5, "Scopes", STRINGS),
        ],
    ),
    auth(TOKEN_AUTHORITY, &[n(1, "Host", Kind::Str), n(2, "Salt", Kind::Bytes)]),
    auth(
        "/moby.filesync.v1.Auth/VerifyTokenAuthority",
        &[n(1, "Host", Kind::Str), n(2, "Payload", Kind::Bytes), n(3, "Salt", Kind::Bytes)],
    ),
    message(
        "/moby.buildkit.secrets.v1.Secrets/GetSecret",
        CallbackKind::Secret,
        &[n(1, "ID", Kind::Str), n(2, "annotations", LABELS)],
        "ID",
    ),
    message(
        "/moby.sshforward.v1.SSH/CheckAgent",
        CallbackKind::Agent,
        &[n(1, "ID", Kind::Str)],
        "ID",
    ),
    fields("/moby.sshforward.v1.SSH/ForwardAgent", CallbackKind::Agent, "buildkit.ssh.id"),
    plain("/moby.upload.v1.Upload/Pull", CallbackKind::Upload),
    plain("/containerd.services.content.v1.Content/Info", CallbackKind::Content),
    plain("/containerd.services.content.v1.Content/Read", CallbackKind::Content),
    plain("/containerd.services.content.v1.Content/List", CallbackKind::Content),
    plain("/containerd.services.content.v1.Content/Status", CallbackKind::Content),
    plain("/containerd.services.content.v1.Content/ListStatuses", CallbackKind::Content),
    plain("/containerd.services.content.v1.Content/Update", CallbackKind::ContentWrite),
    plain("/containerd.services.content.v1.Content/Write", CallbackKind::ContentWrite),
    plain("/containerd.services.content.v1.Content/Abort", CallbackKind::ContentWrite),
];

/// One that the engine may ask of a client.
pub fn callback(path: &str) -> Option<&'static CallbackMethod> {
    CALLBACKS.iter().find(|method| method.path == path)
}

impl CallbackMethod {
    /// What its message is, where that names something.
    pub fn message(&self) -> Option<&'static Object> {
        match self.name {
            NamePlace::Message(shape, _) => Some(shape),
            NamePlace::None | NamePlace::Metadata(_) => None,
        }
    }

    /// What the message names; nothing is the client's own choice.
    pub fn named<'v>(&self, message: &'v Value) -> &'v str {
        match self.name {
            NamePlace::Message(_, field) => {
                message.get(field).and_then(Value::as_str).unwrap_or_default()
            }
            NamePlace::None | NamePlace::Metadata(_) => "",
        }
    }

    /// What its fields name, as clients read them; None where they could be read in two ways.
    pub fn named_in(&self, fields: &HeaderMap) -> Option<String> {
        let NamePlace::Metadata(field) = self.name else { return Some(String::new()) };
        let mut all = fields.get_all(field).iter();
        let text = match (all.next(), all.next()) {
            (None, _) => return Some(String::new()),
            (Some(one), None) => one.to_str().ok()?,
            (Some(_), Some(_)) => return None,
        };
        // filesync.go, `encodeOpts`: escaped as in a query where it is not ASCII.
        let mut encoded = fields.get_all(format!("{field}-encoded")).iter();
        match (encoded.next().map(|said| said.as_bytes()), encoded.next()) {
            (None, _) => Some(text.to_owned()),
            (Some(b"1"), None) => {
                let text = text.replace('+', " ");
                percent_decode_str(&text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
            }
            _ => None,
        }
    }
}

const fn plain(path: &'static str, kind: CallbackKind) -> CallbackMethod {
    CallbackMethod { path, kind, name: NamePlace::None }
}

const fn fields(path: &'static str, kind: CallbackKind, field: &'static str) -> CallbackMethod {
    CallbackMethod { path, kind, name: NamePlace::Metadata(field) }
}

const fn message(
    path: &'static str,
    kind: CallbackKind,
    shape: &'static Object,
    field: &'static str,
) -> CallbackMethod {
    CallbackMethod { path, kind, name: NamePlace::Message(shape, field) }
}

const fn auth(path: &'static str, shape: &'static Object) -> CallbackMethod {
    message(path, CallbackKind::Credentials, shape, "Host")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_the_name_that_its_client_reads() {
        let method = callback(DIFF_COPY).unwrap();
        let named = |fields: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in fields {
                map.append(*name, value.parse().unwrap());
            }
            method.named_in(&map)
        };
        assert_eq!(named(&[]).as_deref(), Some(""));
        assert_eq!(named(&[("dir-name", "a%20b+c")]).as_deref(), Some("a%20b+c"));
        let encoded = ("dir-name-encoded", "1");
        assert_eq!(named(&[("dir-name", "a%20b+%C3%A4"), encoded]).as_deref(), Some("a b ä"));
        for unclear in [
            &[("dir-name", "a"), ("dir-name", "b")][..],
            &[("dir-name", "a"), encoded, encoded],
            &[("dir-name", "a"), ("dir-name-encoded", "t")],
            &[("dir-name", "%ff"), encoded],
        ] {
            assert_eq!(named(unclear), None, "{unclear:?}");
        }
    }

    #[test]
    fn every_method_is_one() {
        for method in CALLBACKS {
            let found = callback(method.path).map(|found| (found.path, found.kind));
            assert_eq!(found, Some((method.path, method.kind)));
        }
        assert!(callback("/moby.filesync.v1.FileSync/diffcopy").is_none());
    }
}
