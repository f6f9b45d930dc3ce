//! Parts of a body (RFC 9110 §14): which a request wants, and how the answer with them is laid out.
//!
//! Called by `serve` for what is stored or being fetched, and by `fill` to go on where an origin broke
//! off. What must stay true: an answer's length is known before its first byte; no byte is sent twice,
//! whatever ranges overlap, so that a short request cannot ask for a long answer; what is not understood
//! is ignored and the whole body sent.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    self, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

/// Clients of chunked metadata ask for some hundreds at once; each part costs about a hundred bytes.
const MOST_RANGES: usize = 1024;
/// Of what is sent, not of what it is part of: wrong for a part.
const OF_THE_CONTENT: [HeaderName; 2] =
    [HeaderName::from_static("content-digest"), HeaderName::from_static("content-md5")];

/// The bytes from `start` up to, without, `end`; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: u64,
    pub end: u64,
}

/// What a `Range` says before the body's length is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranges(Vec<Range>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Range {
    /// To the last byte named, which counts too.
    Between(u64, u64),
    From(u64),
    Last(u64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    Whole,
    /// One or more, none overlapping another; in the order asked for, unless some had to be joined.
    Parts(Vec<Span>),
    /// Nothing of the body: 416.
    Nothing,
}

/// An answer's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    pub status: StatusCode,
    /// Of all pieces together.
    pub length: u64,
    pub pieces: Vec<RangePart>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangePart {
    /// Between parts.
    Text(Bytes),
    Body(Span),
}

/// `Content-Range` of a 206.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    pub span: Span,
    /// The whole body's length, if the origin knows.
    pub complete: Option<u64>,
}

impl Span {
    pub fn length(self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

/// What of a response of status 200 with these headers and this length a request wants.
pub fn wanted(method: &Method, request: &HeaderMap, response: &HeaderMap, length: u64) -> Wanted {
    match Ranges::of(method, request) {
        Some(ranges) if if_range_holds(request, response) => ranges.within(length),
        _ => Wanted::Whole,
    }
}

impl Ranges {
    /// `None` also for what is to be ignored: other units and methods, and what makes no sense.
    pub fn of(method: &Method, request: &HeaderMap) -> Option<Ranges> {
        if *method != Method::GET {
            return None;
        }
        let value = only(request, &RANGE)?;
        let (unit, set) = value.to_str().ok()?.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let members = set.split(',').map(|one| one.trim_matches([' ', '\t']));
        let ranges: Option<Vec<Range>> =
            members.filter(|one| !one.is_empty()).take(MOST_RANGES + 1).map(Range::parse).collect();
        ranges.filter(|all| (1..=MOST_RANGES).contains(&all.len())).map(Ranges)
    }

    /// Where the first byte wanted is, when that does not hang on the length.
    pub fn start(&self) -> Option<u64> {
        let starts = self.0.iter().map(|range| match range {
            Range::Between(start, _) | Range::From(start) => Some(*start),
            Range::Last(_) => None,
        });
        starts.collect::<Option<Vec<u64>>>()?.into_iter().min()
    }

    pub fn within(&self, length: u64) -> Wanted {
        let spans: Vec<Span> = self.0.iter().filter_map(|range| range.within(length)).collect();
        match spans.is_empty() {
            // The last bytes of an empty body are all of it, for which there is no `Content-Range`.
            true if length == 0 && self.0.iter().any(Range::is_suffix) => Wanted::Whole,
            true => Wanted::Nothing,
            false => Wanted::Parts(joined(spans)),
        }
    }
}

impl Range {
    fn parse(text: &str) -> Option<Range> {
        let (first, last) = text.split_once('-')?;
        match (first.is_empty(), last.is_empty()) {
            (true, _) => Some(Range::Last(number(last)?)),
            (false, true) => Some(Range::From(number(first)?)),
            (false, false) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Range::Between(first, last))
            }
        }
    }

    fn within(&self, length: u64) -> Option<Span> {
        let (start, end) = match *self {
            Range::Between(first, last) => (first, last.saturating_add(1).min(length)),
            Range::From(first) => (first, length),
            Range::Last(count) => (length.saturating_sub(count), length),
        };
        (start < end).then_some(Span { start, end })
    }

    fn is_suffix(&self) -> bool {
        matches!(self, Range::Last(count) if *count > 0)
    }
}

/// Whether `If-Range` allows for a part (RFC 9110 §13.1.5): the client's other parts are of this very
/// response.
pub fn if_range_holds(request: &HeaderMap, response: &HeaderMap) -> bool {
    if !request.contains_key(IF_RANGE) {
        return true;
    }
    let Some(condition) = only(request, &IF_RANGE) else { return false };
    if condition.as_bytes().contains(&b'"') {
        let is_strong = condition.as_bytes().starts_with(b"\"");
        return is_strong && only(response, &ETAG) == Some(condition);
    }
    let date = |value: Option<&HeaderValue>| httpdate::parse_http_date(value?.to_str().ok()?).ok();
    let modified = date(only(response, &LAST_MODIFIED));
    // Two versions may have been made within the second of the first answer (§8.8.2.2).
    let is_strong = match (modified, date(only(response, &DATE))) {
        (Some(modified), Some(sent)) => {
            sent.duration_since(modified).is_ok_and(|age| age >= Duration::from_secs(1))
        }
        _ => false,
    };
    is_strong && modified == date(Some(condition))
}

/// Lays an answer out and makes the head of a 200 its own. No stored body may hold `boundary`: it is to
/// be random, of letters and digits.
pub fn layout(wanted: &Wanted, length: u64, headers: &mut HeaderMap, boundary: &str) -> Layout {
    let layout = match wanted {
        Wanted::Whole => {
            let span = Span { start: 0, end: length };
            let pieces = if length == 0 { Vec::new() } else { vec![RangePart::Body(span)] };
            Layout { status: StatusCode::OK, length, pieces }
        }
        Wanted::Nothing => {
            headers.insert(CONTENT_RANGE, text(format!("bytes */{length}")));
            headers.remove(CONTENT_TYPE);
            headers.remove(header::CONTENT_ENCODING);
            let status = StatusCode::RANGE_NOT_SATISFIABLE;
            Layout { status, length: 0, pieces: Vec::new() }
        }
        Wanted::Parts(spans) => match spans.as_slice() {
            [one] => {
                headers.insert(CONTENT_RANGE, text(content_range(*one, length)));
                part(one.length(), vec![RangePart::Body(*one)])
            }
            several => {
                let of_parts = headers.remove(CONTENT_TYPE);
                let kind = format!("multipart/byteranges; boundary={boundary}");
                headers.insert(CONTENT_TYPE, text(kind));
                multipart(several, length, of_parts.as_ref(), boundary)
            }
        },
    };
    if layout.status != StatusCode::OK {
        OF_THE_CONTENT.iter().for_each(|name| drop(headers.remove(name)));
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(layout.length));
    layout
}

/// For the rest of a body from `start` on.
pub fn rest(start: u64) -> HeaderValue {
    text(format!("bytes={start}-"))
}

/// `None` if it is missing, or makes no sense.
pub fn content_range_of(response: &HeaderMap) -> Option<ContentRange> {
    let value = only(response, &CONTENT_RANGE)?.to_str().ok()?;
    let (unit, rest) = value.split_once(' ')?;
    let (range, complete) = rest.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let span = Span { start: exact(first)?, end: exact(last)?.checked_add(1)? };
    let complete = if complete == "*" { None } else { Some(exact(complete)?) };
    let is_within = span.start < span.end && complete.is_none_or(|complete| span.end <= complete);
    (unit.eq_ignore_ascii_case("bytes") && is_within).then_some(ContentRange { span, complete })
}

/// Those that overlap become one (RFC 9110 §14.2), and then all are in order.
fn joined(spans: Vec<Span>) -> Vec<Span> {
    let mut sorted = spans.clone();
    sorted.sort_by_key(|span| span.start);
    let mut all: Vec<Span> = Vec::with_capacity(sorted.len());
    for span in sorted {
        match all.last_mut() {
            Some(last) if span.start < last.end => last.end = last.end.max(span.end),
            _ => all.push(span),
        }
    }
    if all.len() == spans.len() { spans } else { all }
}

fn multipart(
    spans: &[Span],
    length: u64,
    content_type: Option<&HeaderValue>,
    boundary: &str,
) -> Layout {
    let mut pieces = Vec::with_capacity(spans.len() * 2 + 1);
    for (index, span) in spans.iter().enumerate() {
        let mut head = Vec::from(if index == 0 { "--" } else { "\r\n--" });
        head.extend(boundary.as_bytes());
        if let Some(content_type) = content_type {
            head.extend(b"\r\nContent-Type: ");
            head.extend(content_type.as_bytes());
        }
        head.extend(b"\r\nContent-Range: ");
        head.extend(content_range(*span, length).as_bytes());
        head.extend(b"\r\n\r\n");
        pieces.push(RangePart::Text(head.into()));
        pieces.push(RangePart::Body(*span));
    }
    pieces.push(RangePart::Text(format!("\r\n--{boundary}--\r\n").into()));
    let lengths = pieces.iter().map(|piece| match piece {
        RangePart::Text(text) => text.len() as u64,
        RangePart::Body(span) => span.length(),
    });
    // An origin may claim any length.
    part(lengths.fold(0, u64::saturating_add), pieces)
}

fn part(length: u64, pieces: Vec<RangePart>) -> Layout {
    Layout { status: StatusCode::PARTIAL_CONTENT, length, pieces }
}

fn content_range(span: Span, length: u64) -> String {
    format!("bytes {}-{}/{length}", span.start, span.end.saturating_sub(1))
}

/// A field that may stand once only.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut all = headers.get_all(name).iter();
    all.next().filter(|_| all.next().is_none())
}

/// Digits; what is larger than any body is as large as can be.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

fn exact(digits: &str) -> Option<u64> {
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Of digits, and of a boundary that is made here.
fn text(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests;
