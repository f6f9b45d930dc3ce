//! HTTP/2 where a policy is active: nothing of it is for the engine, and each request is told so.
//!
//! `refusal` turns connections over to it: those whose client was let speak BuildKit's protocol, to hear in
//! it that it may not, and those that begin with the preface. What must stay true: on the latter each
//! request is authenticated by itself before it is told anything of the policies; each leaves a record.

use std::sync::Arc;
use std::time::Instant;

use http::request::Parts;

use super::refusal::Refusal;
use super::{ClientConnection, ListenerState};
use crate::auth::{AuthError, Caller};
use crate::buildkit::refusing::{self, Deciding, H2Reply, Refuse, is_grpc};
use crate::policy::buildkit::{self, BUILDKIT};
use crate::telemetry::access::{Labels, Record, Verdict};
use crate::wire::head::{Lines, RequestHead, put_line};

/// gRPC's own codes (`google.rpc.Code`).
const PERMISSION_DENIED: u8 = 7;
const UNAVAILABLE: u8 = 14;
const UNAUTHENTICATED: u8 = 16;
/// Of a path, in the log.
const LONGEST_PATH: usize = 1024;

/// What is served instead of HTTP/1.1 from here on.
#[derive(Debug)]
pub(super) enum Speaks {
    /// The client asks, and whoever it is was recognised, if anybody.
    Upgraded { who: Option<Arc<Labels>>, message: String },
    /// The client waits to be asked (`/session`).
    Waits,
    /// The client has begun with the preface.
    Preface,
}

/// An empty SETTINGS frame and GOAWAY with `HTTP_1_1_REQUIRED` (RFC 9113 §6.5, §6.8, §7).
pub(super) fn goaway(debug: &str) -> Vec<u8> {
    let mut out = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
    let length = u32::try_from(8 + debug.len()).unwrap_or(8).to_be_bytes();
    out.extend(length.iter().skip(1));
    out.extend([7, 0, 0, 0, 0, 0]);
    out.extend([0, 0, 0, 0]);
    out.extend(13u32.to_be_bytes());
    out.extend(debug.bytes());
    out
}

/// Serves the rest of a connection.
pub(super) async fn serve(
    state: Arc<ListenerState>,
    client: &mut ClientConnection,
    speaks: Speaks,
) {
    let drain = state.drain.clone();
    let who = match speaks {
        Speaks::Waits => return refusing::hold(&mut client.stream, &drain).await,
        Speaks::Upgraded { who, message } => Who::Known { who, message },
        Speaks::Preface => {
            let certificates = &client.caller.certificates;
            let trusts = |state: &ListenerState| {
                state.trust.as_ref().is_none_or(|trust| trust.still_trusts(certificates))
            };
            let is_trusted = client.trusted == state.generation || trusts(&state);
            Who::Asked { caller: client.caller.clone(), is_trusted }
        }
    };
    let name = Arc::clone(&client.name);
    let read = client.buffer.unread().to_vec();
    client.buffer.clear();
    let refuse = Arc::new(Refusing { state, name, who });
    refusing::serve(&mut client.stream, read, refuse, &drain).await;
    client.stream.say_end();
}

enum Who {
    Known { who: Option<Arc<Labels>>, message: String },
    Asked { caller: Caller, is_trusted: bool },
}

struct Refusing {
    state: Arc<ListenerState>,
    /// Of the client, in the log.
    name: Arc<str>,
    who: Who,
}

impl Refuse for Refusing {
    fn decide<'a>(&'a self, asked: &'a Parts) -> Deciding<'a> {
        Box::pin(async move {
            let state = &*self.state;
            let mut record = Record::new(Arc::clone(&state.listener), Arc::clone(&self.name));
            record.started = Instant::now();
            record.method = asked.method.to_string();
            record.path = asked.uri.path().chars().take(LONGEST_PATH).collect();
            record.operation = if is_grpc(asked) { "Grpc" } else { "Http2" };
            let answer = self.answer(asked, &mut record).await;
            record.status = match &answer {
                H2Reply::Grpc { .. } => 200,
                H2Reply::Json { status, .. } => *status,
            };
            state.finish(&mut record);
            answer
        })
    }
}

impl Refusing {
    async fn answer(&self, asked: &Parts, record: &mut Record) -> H2Reply {
        let message = match &self.who {
            Who::Known { who, message } => {
                record.identity.clone_from(who);
                message.clone()
            }
            Who::Asked { caller, is_trusted } => {
                let known = match is_trusted {
                    true => self.recognise(caller, asked).await,
                    false => Err(AuthError::Distrusted),
                };
                match known {
                    Ok(labels) => record.identity = labels,
                    Err(error) => {
                        record.verdict = Verdict::Reject;
                        return self.turn_away(error, is_grpc(asked));
                    }
                }
                buildkit::refusal("HTTP/2").message()
            }
        };
        if !is_grpc(asked) {
            record.verdict = Verdict::Reject;
            let message = format!("dockgate: {}", Refusal::Http2);
            return H2Reply::Json { status: 505, message, challenges: Vec::new() };
        }
        record.verdict = Verdict::Deny;
        record.rule = Some(BUILDKIT.to_owned());
        H2Reply::Grpc { code: PERMISSION_DENIED, message }
    }

    async fn recognise(
        &self,
        caller: &Caller,
        asked: &Parts,
    ) -> Result<Option<Arc<Labels>>, AuthError> {
        let state = &*self.state;
        let known = state.authentication.recognise(&state.listener, caller, &lines(asked)).await;
        match &known {
            Ok(identity) => {
                if let Some(method) = identity.method() {
                    state.tally.authentication(method, "recognised");
                }
            }
            Err(error) => state.tally.authentication(error.by(), error.result()),
        }
        Ok(known?.labels())
    }

    fn turn_away(&self, error: AuthError, is_grpc: bool) -> H2Reply {
        tracing::info!(listener = %self.state.listener, client = %self.name, "{error}");
        let is_unavailable = matches!(error, AuthError::Unavailable { .. });
        let refusal = Refusal::from(error);
        let (status, message) = (refusal.status(), refusal.message());
        match is_grpc {
            true => {
                let code = if is_unavailable { UNAVAILABLE } else { UNAUTHENTICATED };
                H2Reply::Grpc { code, message }
            }
            false => {
                let challenges =
                    if status == 401 { self.state.authentication.challenges() } else { &[] };
                H2Reply::Json { status, message, challenges: challenges.to_vec() }
            }
        }
    }
}

/// The headers as authenticators read them. Where they cannot be had in that form there is no credential.
fn lines(asked: &Parts) -> Lines {
    let mut head = b"POST / HTTP/1.1\r\n".to_vec();
    for (name, value) in &asked.headers {
        put_line(&mut head, name.as_str(), value.as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    RequestHead::parse(&head).map(|head| head.headers).unwrap_or_default()
}
