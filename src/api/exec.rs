//! Execs: their JSON bodies.
//!
//! `api::table` puts these into its rows. What must stay true: `Tty` of the start body, not of the
//! create body, decides how the hijacked stream is framed.

use super::answer::{Marks, id};
use super::endpoint::{Param, Resource, q};
use super::shape::{Kind, Object, STRINGS, f};

/// Also `POST /containers/{name}/resize`.
pub const RESIZE_QUERY: &[Param] = &[q("h"), q("w")];

pub const CREATE: &Object = &[
    f("User", Kind::Str),
    f("Privileged", Kind::Bool),
    f("Tty", Kind::Bool),
    // cleared by the engine below 1.42
    f("ConsoleSize", Kind::List(&Kind::Int)).since(42),
    f("AttachStdin", Kind::Bool),
    f("AttachStderr", Kind::Bool),
    f("AttachStdout", Kind::Bool),
    // in moby's `ExecOptions` and sent by the CLI up to 28, but used by no engine
    f("Detach", Kind::Bool).ignored(),
    f("DetachKeys", Kind::Str),
    f("Env", STRINGS),
    f("WorkingDir", Kind::Str).since(35),
    f("Cmd", STRINGS),
    // docker-py repeats the container of the path here
    f("Container", Kind::Any).ignored(),
    f("abortSignal", Kind::Any).ignored(),
];

pub const START: &Object = &[
    f("Detach", Kind::Bool),
    f("Tty", Kind::Bool),
    f("ConsoleSize", Kind::List(&Kind::Int)).since(42),
    // dockerode posts the options of its caller as they are
    f("hijack", Kind::Any).ignored(),
    f("stdin", Kind::Any).ignored(),
    f("stdout", Kind::Any).ignored(),
    f("stderr", Kind::Any).ignored(),
    f("stream", Kind::Any).ignored(),
    f("abortSignal", Kind::Any).ignored(),
];

pub const CREATED: Marks = Marks::Fields(&[("Id", id(Resource::Exec))]);

pub const ANSWER: Marks =
    Marks::Fields(&[("ID", id(Resource::Exec)), ("ContainerID", id(Resource::Container))]);
