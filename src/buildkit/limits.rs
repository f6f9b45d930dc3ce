//! What one HTTP/2 connection may cost, each bound with its reason.
//!
//! `terminate` makes both of its ends with them. What must stay true: every figure that h2 lets one set is set
//! here and nowhere else, so that a new version of it changes nothing by itself.

use std::time::Duration;

use h2::{client, server};

/// The bounds of one connection, its two ends together.
#[derive(Clone, Debug)]
pub struct H2Limits {
    /// Open at once. A build takes three (Solve, Status, Session), and compose builds fifty side by side over
    /// one connection; in a session the engine opens one for each source, secret and output.
    pub streams: u32,
    /// Of a head, decoded. BuildKit's metadata are some hundred bytes; credentials come in messages.
    pub head_bytes: u32,
    /// What one stream may have on its way that nobody has taken. On a socket of this host it turns round in
    /// some 50 microseconds, so that it holds nothing up.
    pub stream_window: u32,
    /// What all of them may have. h2 gives both windows back together: as many streams as there may be, each
    /// stuck with all of its window, are to hold up no other one.
    pub connection_window: u32,
    /// What one stream may have waiting for the socket.
    pub send_bytes: usize,
    /// What all messages that are read whole may take, while they come and are judged.
    pub message_bytes: usize,
    /// Streams that were ended here and whose late frames are still to be ignored, for a second: calls that are
    /// refused while their messages are on their way. Beyond it such frames make a stream faulty.
    pub reset_streams: usize,
    /// Streams that a peer has opened and reset before they were looked at (CVE-2023-44487).
    pub unseen_resets: usize,
    /// Streams reset for what is wrong with them, in the life of a connection (CVE-2025-8671).
    pub faulty_streams: usize,
    /// Calls that a client gives up before it has an answer, more than were answered meanwhile. Each has cost
    /// an authentication.
    pub early_resets: u32,
    /// How long a connection may ask nothing at first; none: for ever, as a session must.
    pub first_request: Option<Duration>,
    /// How long it may ask nothing between calls; none: for ever.
    pub between_requests: Option<Duration>,
    /// How long what we say ourselves waits for a client to take it, and for a connection to end that has
    /// nothing more to say.
    pub last_words: Duration,
}

impl Default for H2Limits {
    fn default() -> H2Limits {
        H2Limits {
            streams: 256,
            head_bytes: 64 * 1024,
            stream_window: 64 * 1024,
            connection_window: 256 * 64 * 1024,
            send_bytes: 64 * 1024,
            message_bytes: 32 * 1024 * 1024,
            reset_streams: 512,
            unseen_resets: 32,
            faulty_streams: 1024,
            early_resets: 128,
            first_request: None,
            between_requests: None,
            last_words: Duration::from_secs(5),
        }
    }
}

impl H2Limits {
    pub(super) fn server(&self) -> server::Builder {
        let mut builder = server::Builder::new();
        builder
            .max_concurrent_streams(self.streams)
            .max_header_list_size(self.head_bytes)
            .max_frame_size(FRAME)
            .initial_window_size(self.stream_window)
            .initial_connection_window_size(self.connection_window)
            .max_send_buffer_size(self.send_bytes)
            .max_concurrent_reset_streams(self.reset_streams)
            .max_pending_accept_reset_streams(self.unseen_resets)
            .max_local_error_reset_streams(Some(self.faulty_streams));
        builder
    }

    pub(super) fn client(&self) -> client::Builder {
        let mut builder = client::Builder::new();
        builder
            .enable_push(false)
            .max_header_list_size(self.head_bytes)
            .max_frame_size(FRAME)
            .initial_window_size(self.stream_window)
            .initial_connection_window_size(self.connection_window)
            .max_send_buffer_size(self.send_bytes)
            .max_concurrent_reset_streams(self.reset_streams)
            .max_local_error_reset_streams(Some(self.faulty_streams));
        builder
    }
}

/// The least there is (RFC 9113 §6.5.2), and what both gRPC libraries and h2 begin with.
const FRAME: u32 = 16 * 1024;
