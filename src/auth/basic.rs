//! `basic`: not built yet.

use super::{Asking, Authenticator, Deciding, Outcome};
use crate::config::{self, Invalid};

#[derive(Debug)]
pub(super) struct Basic;

impl Basic {
    pub(super) fn new(_config: &config::File) -> Result<Basic, Invalid> {
        Ok(Basic)
    }
}

impl Authenticator for Basic {
    fn challenges(&self) -> Vec<String> {
        Vec::new()
    }

    fn decide<'a>(&'a self, _asking: Asking<'a>) -> Deciding<'a> {
        Box::pin(async { Outcome::Absent })
    }
}
