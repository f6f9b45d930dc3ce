//! HTTP asked by authenticators: key sets, and programs that decide outside.
//!
//! `jwt` and `external` use it. What must stay true: an answer is bounded in size and time, no
//! redirect is followed, and a server's certificate is verified.
