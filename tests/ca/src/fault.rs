//! Misbehaviour on demand.

use std::time::{Duration, SystemTime};

use crate::endpoint::Endpoint;

/// One scripted misbehaviour: what happens, where, after how many good requests and how often.
///
/// Faults are tried in the order they were set; the first that fits a request is applied to it.
#[derive(Debug, Clone)]
pub struct Fault {
    effect: Effect,
    endpoint: Option<Endpoint>,
    after: u32,
    remaining: Option<u32>,
}

impl Fault {
    /// A fault at every endpoint, until cleared.
    pub fn new(effect: Effect) -> Self {
        Self { effect, endpoint: None, after: 0, remaining: None }
    }

    /// Only at this endpoint.
    pub fn at(self, endpoint: Endpoint) -> Self {
        Self { endpoint: Some(endpoint), ..self }
    }

    /// Only for this many requests.
    pub fn times(self, times: u32) -> Self {
        Self { remaining: Some(times), ..self }
    }

    /// Only after this many fitting requests have been served well.
    pub fn after(self, requests: u32) -> Self {
        Self { after: requests, ..self }
    }
}

/// What a fault does to a request.
///
/// The last three lie about the certificate or the order; they act at [`Endpoint::Finalize`] and nowhere else.
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
    /// Exactly this answer.
    Raw { status: u16, content_type: String, body: Vec<u8> },
    /// Issue a leaf that breaks a promise.
    Leaf(LeafLie),
    /// Keep the order `processing` for this many polls, or for ever with `None`.
    Processing(Option<u32>),
    /// Turn the order `invalid` after an accepted finalize.
    FailOrder,
}

/// What is wrong with an issued leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeafLie {
    /// It certifies a key nobody asked for.
    OtherKey,
    /// The last of the names is missing (with a single name: it names someone else).
    MissingName,
    /// It expired an hour ago.
    Expired,
    /// It becomes valid in an hour.
    NotYetValid,
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

/// The faults in force.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The effect on a request at `endpoint`, if any; counts the request.
    pub(crate) fn strike(&mut self, endpoint: Endpoint) -> Option<Effect> {
        let mut effect = None;
        for fault in &mut self.0 {
            if fault.endpoint.is_some_and(|at| at != endpoint) || !fault.effect.concerns(endpoint) {
                continue;
            }
            if fault.after > 0 {
                fault.after -= 1;
            } else if effect.is_none() && fault.remaining != Some(0) {
                fault.remaining = fault.remaining.map(|left| left - 1);
                effect = Some(fault.effect.clone());
            }
        }
        self.0.retain(|fault| fault.remaining != Some(0));
        effect
    }
}

impl Effect {
    fn concerns(&self, endpoint: Endpoint) -> bool {
        match self {
            Self::Leaf(_) | Self::Processing(_) | Self::FailOrder => endpoint == Endpoint::Finalize,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_waits_strikes_and_ends() {
        let mut faults = Faults::default();
        faults.add(Fault::new(Effect::Close).at(Endpoint::NewOrder).after(1).times(2));
        let mut struck = |endpoint| faults.strike(endpoint).is_some();
        assert!(!struck(Endpoint::Directory));
        assert!(!struck(Endpoint::NewOrder), "the first fitting request is let through");
        assert!(struck(Endpoint::NewOrder));
        assert!(struck(Endpoint::NewOrder));
        assert!(!struck(Endpoint::NewOrder), "it strikes twice only");
    }

    #[test]
    fn lies_about_the_leaf_wait_for_finalize() {
        let mut faults = Faults::default();
        faults.add(Fault::new(Effect::Leaf(LeafLie::Expired)).times(1));
        assert!(faults.strike(Endpoint::NewOrder).is_none());
        assert!(faults.strike(Endpoint::Finalize).is_some());
    }
}
