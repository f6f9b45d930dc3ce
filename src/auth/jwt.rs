//! `jwt`: not built yet.

use super::{Asking, Authenticator, Deciding, Outcome};
use crate::config::{self, Invalid};

#[derive(Debug)]
pub(super) struct Jwt;

impl Jwt {
    pub(super) fn new(_config: &config::Jwt) -> Result<Jwt, Invalid> {
        Ok(Jwt)
    }
}

impl Authenticator for Jwt {
    fn challenges(&self) -> Vec<String> {
        Vec::new()
    }

    fn decide<'a>(&'a self, _asking: Asking<'a>) -> Deciding<'a> {
        Box::pin(async { Outcome::Absent })
    }
}
