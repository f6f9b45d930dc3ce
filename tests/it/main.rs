//! The integration tests: the real binary between a fake engine and a raw client.
//!
//! One binary, so that everything links once. Modules are named after the stages of a call (accept,
//! parse, decide, send, answer) and after features; `support` starts `dockgate`, plays the engine and
//! speaks HTTP by hand, because what is tested is bytes. Nothing here asserts on time but with
//! timeouts that only a hang reaches.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a helper of a test fails by panicking"
)]
#![allow(unreachable_pub, reason = "modules of a binary share their helpers")]

mod support;

mod accept;
mod admin;
mod answer;
mod audit;
mod auth_external;
mod auth_jwt;
mod auth_people;
mod authenticate;
mod authz;
mod build_slots;
mod buildkit;
mod builds;
mod cache;
mod cache_admin;
mod cache_listen;
mod certs;
mod conservative;
mod corpus;
mod decide;
mod differential;
mod ends;
mod engine_away;
mod examples;
mod exhaustion;
mod explain_command;
mod fuzz_corpus;
mod hijack;
mod hijack_ends;
mod layers;
mod learn;
mod lifecycle;
mod limits;
mod logs;
mod loops;
mod metrics_text;
mod namespace_index;
mod native;
mod parse;
#[cfg(feature = "rego")]
mod policy_files;
mod policy_limits;
mod profiles;
mod reload;
mod restart;
mod revoke;
mod rules_page;
mod runtime_listeners;
mod send;
mod service_manager;
mod session_builds;
mod streams;
mod tls;
mod voice;
