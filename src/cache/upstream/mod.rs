//! How origins are asked.
