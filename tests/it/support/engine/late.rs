//! An engine that answers others at once and this call only after a while (`stop`, `commit`).

use std::time::Duration;

use super::{Behaviour, plain};
use crate::support::http::answer;

pub fn behaviour(after: Duration) -> Behaviour {
    plain::with(move |_, _| {
        std::thread::sleep(after);
        answer("200 OK", "late")
    })
}
