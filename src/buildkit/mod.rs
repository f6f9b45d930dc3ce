//! BuildKit's protocol: HTTP/2 with gRPC in it, behind an upgrade or on a listener's socket.
//!
//! `gateway` hands connections over whose client speaks it. What must stay true: nothing here reaches an
//! engine, and everything is bounded: streams, heads, what is on its way, and how long nothing useful comes.

pub mod refusing;
