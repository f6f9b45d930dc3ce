//! JSON that others answer: the engine, plugins, and dockgate's own admin socket.
//!
//! `engine`, `gateway` and `cli` read bodies of answers with it. What must stay true: nothing that a client sends is
//! read here. A client's JSON has a second reader, dockerd, which takes keys and duplicates in its own way; that is
//! what `api::doc` is for, and why `clippy.toml` forbids serde_json's readers of bytes elsewhere. An answer has no
//! second reader to disagree with: what dockgate reads of it, it uses itself or sends on as it has read it.

use serde::de::DeserializeOwned;

#[expect(clippy::disallowed_methods, reason = "an answer, not a request: see above")]
pub fn read<T: DeserializeOwned>(body: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(body)
}
