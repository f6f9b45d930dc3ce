//! The terminator between a real client and a real server of the h2 crate, in one process.

mod abuse;
mod bounds;
mod bytes;
mod frames;
mod relay;
mod rest;
mod support;
