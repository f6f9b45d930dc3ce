//! BuildKit's protocol: HTTP/2 with gRPC in it, behind an upgrade or on a listener's socket.
//!
//! `gateway` hands connections over whose client speaks it, and judges what is asked on them. What must stay
//! true: nothing reaches an engine that was not judged, and everything is bounded: streams, heads, messages,
//! what is on its way, and how long nothing useful comes.

mod call;
mod held;
mod limits;
pub mod message_io;
pub mod messages;
mod pump;
pub mod refusing;
mod reply;
mod rest;
mod running;
pub mod terminate;
mod upstream;
mod wellformed;

#[cfg(test)]
mod tests;
