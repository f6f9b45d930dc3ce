//! How names stand inside the values of requests and answers: one grammar for each way of writing.
//!
//! Policies read the values of requests here, and `api::answer` those of answers. What must stay
//! true: what is found is what dockerd would look up, and no policy splits such a text by itself.

pub mod filters;
pub mod glob;
pub mod image;
pub mod image_reference;
pub mod mode;
pub mod moment;
pub mod mounts;
pub mod path;
pub mod reference;
