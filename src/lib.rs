//! dockgate: a policy gateway for the Docker Engine API.
//!
//! ```text
//! client ──▶ listener ──▶ auth ──▶ api::parse ──▶ policy::Chain ──▶ engine ──▶ dockerd
//! client ◀── answer / stream / hijack ◀── the same policies, in reverse ◀──────┘
//! ```
//!
//! `gateway::call` tells the story in one function: accept, authenticate, parse, decide, send,
//! answer. The modules, from the rim to the middle and back:

pub mod cli;
pub mod run;

pub mod admin;
pub mod listener;

pub mod buildkit;
pub mod cache;
pub mod gateway;
pub mod job;

pub mod auth;
pub mod ca;
pub mod engine;
mod http_client;
pub mod policy;

pub mod api;
pub mod config;

pub mod telemetry;
pub mod wire;
