//! The caching proxy: one origin request, the first byte at once, never a wrong byte.
//!
//! `run` starts one `Cache` for each `[cache.NAME]`. The story of a request is `serve::answer`: ask,
//! route, look up, decide, fetch, answer. `route`, `mirror`, `fresh` and `range` are pure; `store`
//! keeps objects, `upstream` asks origins, `fill` brings an object in while others read it, `front`
//! speaks to clients. What must stay true: nothing here knows a package format's name (that is data
//! in `policies/cache-rules.toml`), and no body that failed a check is ever completed to a client.

pub mod asked;
pub mod fill;
pub mod fresh;
pub mod front;
pub mod key;
pub mod meta;
pub mod mirror;
pub mod range;
pub mod route;
pub mod store;
pub mod upstream;
