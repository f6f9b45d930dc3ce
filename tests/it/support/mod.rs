//! What every test needs: the gate (the real binary), the fake engine, and a raw connection.

pub mod conn;
pub mod engine;
pub mod fsutil;
pub mod gate;
pub mod http;
pub mod tls;

use std::time::{Duration, Instant};

pub use conn::Conn;
pub use engine::Engine;
pub use gate::{Gate, Setup};
pub use http::Head;

/// Longer than anything takes on a busy machine: only a hang reaches it.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Polls until the condition holds; panics with `what` when it never does.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Bytes as text for messages and comparisons.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Bytes that no two places have in common, so that a mix-up shows.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(length);
    out
}

/// One frame of dockerd's multiplexed streams.
pub fn frame(stream: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![stream, 0, 0, 0];
    out.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
    out.extend(payload);
    out
}
