//! Bytes: sockets, buffers, HTTP/1.1 heads and framing, and the copying of streams.
//!
//! Everything above uses this layer and nothing here knows Docker. What must stay true: no read is
//! unbounded, a half-close is never turned into a full close, and no byte is held back while the
//! other side could have it.

mod acked;
pub mod address;
pub mod buffer;
pub mod chunked;
pub mod frames;
pub mod framing;
pub mod head;
pub mod io;
pub mod items;
pub mod linger;
pub mod pump;
pub mod relay;
pub mod splice;
pub mod tar;
mod tls;
pub mod trail;
pub mod url;
