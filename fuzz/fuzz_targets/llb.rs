//! See `properties::llb`.
#![no_main]

#[path = "../properties.rs"]
#[allow(dead_code, reason = "each target uses one of them")]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::llb(data));
