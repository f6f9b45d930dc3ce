//! How an object comes in while others read it.
//!
//! `serve` joins or starts a flight; a flight is one request to an origin, run on the fetch thread
//! (`thread`), detached from every client. What must stay true: one flight for one key at a time.

mod ask;
mod filler;
mod flights;
mod in_flight;
mod job;
mod judge;
mod passage;
mod recheck;
mod thread;

pub use filler::run;
pub use flights::{Flight, Flights};
pub use in_flight::{
    BodyPart, Broken, FlightAnswer, Head, InFlightBody, Interim, Reader, Unstored,
};
pub use job::{Job, Purpose};
pub use recheck::{Checks, recheck};
pub use thread::Thread;
