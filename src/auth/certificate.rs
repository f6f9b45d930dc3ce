//! `certificate`: the user of the client's verified certificate.

use super::{Asking, Authenticator, Deciding, Outcome};
use crate::config::CertificateName;

#[derive(Debug)]
pub(super) struct Certificate;

impl Certificate {
    pub(super) fn new(_name: CertificateName) -> Certificate {
        Certificate
    }
}

impl Authenticator for Certificate {
    fn challenges(&self) -> Vec<String> {
        Vec::new()
    }

    fn is_by_connection(&self) -> bool {
        true
    }

    fn decide<'a>(&'a self, _asking: Asking<'a>) -> Deciding<'a> {
        Box::pin(async { Outcome::Absent })
    }
}
