//! The caching proxy between a raw client and origins that do what a test wants.
//!
//! `rig` runs a cache in this process, in front of an `Origin` that is a thread for each connection and
//! writes every byte by hand.

mod between;
mod by_path;
mod credentials;
mod disk;
mod herd;
mod intercept;
mod judge;
mod liars;
mod mirrors;
pub mod origin;
mod ranges;
mod restricted;
mod reuse;
mod rig;
