//! How a root is put into the files from which programs in a container take their trust.
//!
//! Whoever creates a container reads such a file out of it, asks here for the one with the root, and puts that in
//! its place. Pure: bytes in, bytes out. The content of a container's files is whatever its image's maker wanted:
//! any input gives a value or an error.

pub mod bundle;
mod der;
pub mod hashed;
pub mod keystore;
