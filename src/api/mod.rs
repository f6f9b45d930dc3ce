//! The Docker Engine API as types: what a request asks for, and nothing about whether it may.
//!
//! Pure: values in, values out; no socket, no clock, no tokio. `gateway` parses each request into a
//! `Call` here, policies judge and change it, `engine` sends what it renders. What must stay true: a
//! `Call` is made only in `call`, and a `Typed` one renders nothing that was not parsed.

pub mod answer;
pub mod build;
pub mod buildkit;
pub mod call;
pub mod container;
pub mod container_answer;
pub mod doc;
pub mod dockerfile;
pub mod endpoint;
pub mod exec;
pub mod grammar;
pub mod image_ops;
pub mod json;
pub mod network;
pub mod path;
pub mod plugin;
pub mod query;
pub mod route;
pub mod shape;
pub mod swarm;
pub mod swarm_answer;
pub mod system;
pub mod table;
pub mod volume;

pub use call::{Call, Draft, Typed, Verbatim};
pub use endpoint::{Class, Row};
pub use table::Endpoint;
