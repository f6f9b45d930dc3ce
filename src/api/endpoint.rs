//! The vocabulary of the endpoint table: what one row says about one route of the Engine API.
//!
//! `api::table` is written in these words and `api::call` reads them. A row is data: adding a
//! route or a query parameter of a new engine is one line in the table, and every policy that
//! matches on `Endpoint`, `Class` or `Makes` stops compiling until it has an opinion.

use std::fmt;

use super::answer::Marks;
use super::shape::{Kind, Object};

/// API versions are `1.minor` since 2013; only the minor number is kept.
pub type Minor = u16;

/// The oldest version that dockgate speaks (engines 25 and later refuse older ones too).
pub const OLDEST: Minor = 24;
/// The newest version whose fields the tables know.
pub const NEWEST: Minor = 55;

/// The range of versions that an engine speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    pub newest: Minor,
    pub oldest: Minor,
}

/// What dockgate itself speaks.
pub const KNOWN: Versions = Versions { newest: NEWEST, oldest: OLDEST };

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    Delete,
    Get,
    Head,
    Options,
    Post,
    Put,
}

/// What an operator calls the thing that a route is about; policies allow or refuse by class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// `/_ping`, `/version`, `/info` and `OPTIONS`: what every client asks first.
    Info,
    /// The engine as a whole: `/events`, `/system/df`, `/auth`.
    System,
    Container,
    /// A route that makes a container, or an image out of one.
    ContainerCreate,
    Exec,
    Image,
    /// `/distribution` and `/images/search`: the engine asks a registry for the client.
    Registry,
    Build,
    /// `/session` and `/grpc`, HTTP/2 inside a hijacked connection, and each gRPC method in it.
    BuildKit,
    Network,
    Volume,
    Plugin,
    Swarm,
    Checkpoint,
    Debug,
}

/// The kinds of thing that a name or id in a request can mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// What a build has left in the engine's content store, by its digest.
    BuildContent,
    BuildId,
    Checkpoint,
    Config,
    Container,
    Exec,
    Image,
    Network,
    Node,
    Plugin,
    /// A registry's host name.
    Registry,
    Secret,
    Service,
    Session,
    Task,
    Volume,
}

/// What a route makes, or begins, of its own: what others count, mark or clean up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Makes {
    /// It reads, removes, or changes something that there is.
    Nothing,
    Container,
    /// Other resources for a container that there is.
    Update,
    Exec,
    /// An image, and containers on the way, one for each `RUN`.
    Build,
    /// An image, or another name for one.
    Image,
    Volume,
    Network,
    /// A container's place in another network.
    Endpoint,
    /// Processes, of a container that there is.
    Running,
    /// Containers that the engine makes by itself, on any node.
    Service,
    /// Whatever else a swarm has: nodes, secrets, configs, volumes of the cluster.
    Swarm,
    Plugin,
    Checkpoint,
}

#[derive(Clone, Copy, Debug)]
pub enum BodyKind {
    None,
    Json(&'static Object),
    /// A JSON body whose root is a list (plugin privileges and settings).
    JsonList(&'static super::shape::Kind),
    /// A protobuf message behind gRPC's framing.
    Message(&'static Object),
    Tar,
    /// Bytes whose meaning dockgate does not know (HTTP/2 behind an upgrade).
    Raw,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerKind {
    /// Nothing but a status and headers.
    None,
    Json,
    /// JSON values one after another for as long as the call lasts.
    JsonStream,
    /// Bytes of a log or a profile, in chunks.
    RawStream,
    Tar,
    /// Messages of gRPC, one or many.
    Grpc,
    HijackTcp,
    HijackH2c,
    WebSocket,
    Text,
}

/// One query parameter.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    pub name: &'static str,
    /// `t`, `names`, `changes`…: dockerd reads every value, not only the first.
    pub many: bool,
    pub since: Minor,
    pub until: Minor,
    pub names: Option<Resource>,
    /// What the engine takes where it is left out.
    pub means: Option<&'static str>,
    /// Sent by real clients and read by no engine: dropped.
    pub ignored: bool,
    /// Its value is JSON, which dockerd decodes as it does bodies.
    pub json: Option<Kind>,
}

/// One request header that the engine reads on this route.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Lower case; a trailing `*` stands for a family (`x-meta-*`).
    pub name: &'static str,
    /// dockerd reads every value, not only the first.
    pub many: bool,
    pub names: Option<Resource>,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Resource::BuildContent => "content",
            Resource::BuildId => "build",
            Resource::Checkpoint => "checkpoint",
            Resource::Config => "config",
            Resource::Container => "container",
            Resource::Exec => "exec",
            Resource::Image => "image",
            Resource::Network => "network",
            Resource::Node => "node",
            Resource::Plugin => "plugin",
            Resource::Registry => "registry",
            Resource::Secret => "secret",
            Resource::Service => "service",
            Resource::Session => "session",
            Resource::Task => "task",
            Resource::Volume => "volume",
        })
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub method: Method,
    /// As moby registers it: `{name:.*}` is greedy and may hold `/`, `{id}` may not.
    pub path: &'static str,
    pub endpoint: super::table::Endpoint,
    pub class: Class,
    pub body: BodyKind,
    /// Keys of its body that no engine in the tables knows are left out: it makes nothing that runs.
    pub drops_unknown: bool,
    pub answer: AnswerKind,
    pub since: Minor,
    pub until: Minor,
    /// Not there only where it must be said and is not, which does not compile (`table`).
    pub(super) makes: Option<Makes>,
    /// What the first and the second capture of the path name.
    pub path_names: &'static [Resource],
    pub query: &'static [Param],
    pub headers: &'static [Header],
    /// Where the answer, or each item of a stream, names resources.
    pub answers: Marks,
}

pub const fn q(name: &'static str) -> Param {
    Param {
        name,
        many: false,
        since: OLDEST,
        until: Minor::MAX,
        names: None,
        means: None,
        ignored: false,
        json: None,
    }
}

impl Param {
    pub const fn many(mut self) -> Self {
        self.many = true;
        self
    }
    pub const fn since(mut self, minor: Minor) -> Self {
        self.since = minor;
        self
    }
    pub const fn until(mut self, minor: Minor) -> Self {
        self.until = minor;
        self
    }
    pub const fn names(mut self, resource: Resource) -> Self {
        self.names = Some(resource);
        self
    }
    pub const fn ignored(mut self) -> Self {
        self.ignored = true;
        self
    }
    /// What it means to leave it out.
    pub const fn means(mut self, default: &'static str) -> Self {
        self.means = Some(default);
        self
    }
    pub const fn json(mut self, kind: Kind) -> Self {
        self.json = Some(kind);
        self
    }
}

pub const fn h(name: &'static str) -> Header {
    Header { name, many: false, names: None }
}

impl Header {
    pub const fn many(mut self) -> Self {
        self.many = true;
        self
    }
    pub const fn names(mut self, resource: Resource) -> Self {
        self.names = Some(resource);
        self
    }
}

/// A row with the commonest values; the builder methods below say what differs.
pub const fn row(
    method: Method,
    path: &'static str,
    endpoint: super::table::Endpoint,
    class: Class,
    answer: AnswerKind,
) -> Row {
    Row {
        method,
        path,
        endpoint,
        class,
        body: BodyKind::None,
        drops_unknown: false,
        answer,
        since: OLDEST,
        until: Minor::MAX,
        makes: match method {
            Method::Delete | Method::Get | Method::Head | Method::Options => Some(Makes::Nothing),
            Method::Post | Method::Put => None,
        },
        path_names: &[],
        query: &[],
        headers: &[],
        answers: Marks::Nothing,
    }
}

impl Row {
    pub fn makes(&self) -> Makes {
        self.makes.unwrap_or(Makes::Nothing)
    }

    pub const fn making(mut self, makes: Makes) -> Self {
        self.makes = Some(makes);
        self
    }

    pub const fn body(mut self, body: BodyKind) -> Self {
        self.body = body;
        self
    }
    pub const fn dropping_unknown(mut self) -> Self {
        self.drops_unknown = true;
        self
    }
    pub const fn since(mut self, minor: Minor) -> Self {
        self.since = minor;
        self
    }
    pub const fn until(mut self, minor: Minor) -> Self {
        self.until = minor;
        self
    }
    /// What the captures of the path name.
    pub const fn of(mut self, names: &'static [Resource]) -> Self {
        self.path_names = names;
        self
    }
    pub const fn query(mut self, query: &'static [Param]) -> Self {
        self.query = query;
        self
    }
    pub const fn headers(mut self, headers: &'static [Header]) -> Self {
        self.headers = headers;
        self
    }
    /// Where the answer names resources.
    pub const fn answers(mut self, marks: Marks) -> Self {
        self.answers = marks;
        self
    }
}
