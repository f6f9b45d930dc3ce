//! Authenticators for people and machines: `unix-peer`, `basic`, `external`, through the real binary.
