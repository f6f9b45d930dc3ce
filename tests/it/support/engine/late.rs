//! An engine that answers others at once and this call (`stop`, `commit`) only when the test has made the file `go`.

use std::path::PathBuf;

use super::{Behaviour, plain};
use crate::support::http::answer;
use crate::support::wait_until;

pub fn behaviour(go: PathBuf) -> Behaviour {
    plain::with(move |_, _| {
        wait_until("the test's word", || go.exists());
        answer("200 OK", "late")
    })
}
