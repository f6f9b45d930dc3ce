//! How an object comes in while others read it.
//!
//! `serve` joins or starts a flight; a flight is one request to an origin, run on the fetch thread
//! (`thread`), detached from every client. What must stay true: one flight for one key at a time.

mod ask;
mod filler;
mod flights;
mod growing;
mod judge;
mod thread;

pub use filler::{Job, Purpose, run};
pub use flights::{Flight, Flights};
pub use growing::{Answer, Broken, Growing, Head, Interim, Piece, Reader, Unstored};
pub use thread::Thread;
