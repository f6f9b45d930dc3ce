//! The generic mirror of HTTP, and its rules by host and path.
