//! What can go wrong with one request, and with the answer to it.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::endpoint::Endpoint;
use crate::lie::{ChainLie, LeafLie};

/// What a fault does to a request.
///
/// `Leaf`, `Processing` and `FailOrder` act at [`Endpoint::Finalize`], `Chain` at [`Endpoint::Certificate`],
/// and nowhere else.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Effect {
    /// Accept the request and never answer.
    Stall,
    /// Answer, but only after this long.
    Delay(Duration),
    /// Close the connection; the request has no effect.
    Close,
    /// Carry the request out, then close the connection instead of answering.
    LoseAnswer,
    /// Answer with this status and an HTML page, as a proxy in front of a broken CA does.
    Html(u16),
    /// 503 with a `Retry-After`.
    Unavailable(RetryAfter),
    /// 429 `rateLimited`, with a `Retry-After` if one is given.
    RateLimited(Option<RetryAfter>),
    /// `badNonce` with a fresh nonce, whatever nonce was shown.
    BadNonce,
    /// An ACME problem; `kind` is the part after `urn:ietf:params:acme:error:` or a whole URI.
    Problem { kind: String, status: u16, detail: String },
    /// The terms changed: `userActionRequired`, with the page where a person may agree (RFC 8555 §7.3.3).
    NewTerms { instance: String },
    /// Exactly this answer.
    Raw { status: u16, content_type: String, body: Vec<u8> },
    /// Point somewhere else instead of answering.
    Redirect { status: u16, target: String },
    /// Carry the request out and change one place of the JSON answer. The place is a JSON pointer whose parent
    /// exists; `None` takes it out.
    Edit { place: String, value: Option<Value> },
    /// Carry the request out and say this member of the JSON answer a second time, at its end.
    SayTwice { member: String, value: Value },
    /// Carry the request out and send this body in place of the answer's, with its status and headers.
    Body(Vec<u8>),
    /// Carry the request out and send this header with these values, one line each; none leaves it out.
    /// Values may hold what HTTP forbids: they are sent octet for octet.
    Header { name: &'static str, values: Vec<String> },
    /// Carry the request out and claim that the body is gzip. It is, of this many spaces.
    Gzip { inflated: usize },
    /// Carry the request out and send the answer in a way no server should.
    Send(Delivery),
    /// Issue a leaf that breaks a promise.
    Leaf(LeafLie),
    /// Hand out another file than the chain.
    Chain(ChainLie),
    /// Keep the order `processing` for this many polls, or for ever with `None`.
    Processing(Option<u32>),
    /// Turn the order `invalid` after an accepted finalize.
    FailOrder,
}

/// How an answer goes out, below HTTP.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Delivery {
    /// The connection ends at this place.
    Cut(Stage),
    /// So many octets at a time, with a rest between; the head comes at once.
    Slow { octets: usize, every: Duration },
    /// The body again and again, until the client hangs up.
    Endless,
    /// One header line after the other, until the client hangs up.
    EndlessHead,
    /// The body without a length, and the connection stays open after it.
    Open,
    /// The head says that the body is this long; then the connection ends after the real one.
    Claim(u64),
    /// Exactly these octets instead, then the end.
    Octets(Vec<u8>),
}

/// A place in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// In the middle of the status line.
    StatusLine,
    /// In the middle of the headers.
    Headers,
    /// After the last header, before the body.
    Head,
    /// In the middle of the body.
    Body,
}

/// The value of a `Retry-After` header (RFC 9110 §10.2.3).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryAfter {
    /// A number of seconds from now.
    Seconds(u64),
    /// A date in the HTTP form.
    HttpDate(SystemTime),
    /// Any text, for clients that must survive nonsense.
    Raw(String),
}

impl RetryAfter {
    pub(crate) fn header_value(&self) -> String {
        match self {
            Self::Seconds(seconds) => seconds.to_string(),
            Self::HttpDate(at) => httpdate::fmt_http_date(*at),
            Self::Raw(text) => text.clone(),
        }
    }
}

impl Effect {
    pub(crate) fn concerns(&self, endpoint: Endpoint) -> bool {
        match self {
            Self::Leaf(_) | Self::Processing(_) | Self::FailOrder => endpoint == Endpoint::Finalize,
            Self::Chain(_) => endpoint == Endpoint::Certificate,
            _ => true,
        }
    }
}
