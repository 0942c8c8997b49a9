//! Problem documents (RFC 8555 §6.7): every refusal the CA utters.

use std::borrow::Cow;

use serde_json::{Value, json};

use crate::effect::RetryAfter;
use crate::identifier::Identifier;
use crate::reply::Reply;

const PREFIX: &str = "urn:ietf:params:acme:error:";

#[derive(Debug, Clone)]
pub(crate) struct Problem {
    kind: Cow<'static, str>,
    status: u16,
    detail: String,
    /// The names at fault, each with its own type and detail (RFC 8555 §6.7.1).
    subproblems: Vec<(Identifier, &'static str, String)>,
    /// What the CA would have accepted, for badSignatureAlgorithm (RFC 8555 §6.2).
    algorithms: Option<&'static [&'static str]>,
    retry_after: Option<RetryAfter>,
    location: Option<String>,
    /// Where a person can do something about it.
    instance: Option<String>,
}

impl Problem {
    /// `kind` is the part after the ACME prefix, or a whole URI.
    pub(crate) fn new(kind: impl Into<Cow<'static, str>>, status: u16, detail: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            status,
            detail: detail.into(),
            subproblems: Vec::new(),
            algorithms: None,
            retry_after: None,
            location: None,
            instance: None,
        }
    }

    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new("malformed", 400, detail)
    }

    pub(crate) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new("unauthorized", 403, detail)
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::malformed(format!("no such {what}")).with_status(404)
    }

    pub(crate) fn bad_csr(detail: impl Into<String>) -> Self {
        Self::new("badCSR", 400, detail)
    }

    pub(crate) fn bad_nonce() -> Self {
        Self::new("badNonce", 400, "the nonce is unknown or was used before")
    }

    pub(crate) fn bad_signature_algorithm(given: &str, accepted: &'static [&'static str]) -> Self {
        let detail = format!("signature algorithm {given:?} is not accepted here");
        Self { algorithms: Some(accepted), ..Self::new("badSignatureAlgorithm", 400, detail) }
    }

    pub(crate) fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    pub(crate) fn with_retry_after(self, retry_after: Option<RetryAfter>) -> Self {
        Self { retry_after, ..self }
    }

    pub(crate) fn with_location(self, url: String) -> Self {
        Self { location: Some(url), ..self }
    }

    pub(crate) fn with_instance(self, url: String) -> Self {
        Self { instance: Some(url), ..self }
    }

    pub(crate) fn with_subproblem(mut self, name: Identifier, kind: &'static str, detail: String) -> Self {
        self.subproblems.push((name, kind, detail));
        self
    }

    /// The type for the log, without the ACME prefix.
    pub(crate) fn short_kind(&self) -> String {
        self.kind.trim_start_matches(PREFIX).to_owned()
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut document = json!({ "type": uri(&self.kind), "detail": self.detail, "status": self.status });
        if !self.subproblems.is_empty() {
            document["subproblems"] = self
                .subproblems
                .iter()
                .map(|(name, kind, detail)| {
                    json!({ "type": uri(kind), "detail": detail, "identifier": name.to_json() })
                })
                .collect();
        }
        if let Some(instance) = &self.instance {
            document["instance"] = json!(instance);
        }
        if let Some(algorithms) = self.algorithms {
            document["algorithms"] = json!(algorithms);
        }
        document
    }

    pub(crate) fn into_reply(self) -> Reply {
        let mut reply = Reply::json(self.status, &self.to_json()).content_type("application/problem+json");
        if let Some(retry_after) = &self.retry_after {
            reply = reply.header("retry-after", retry_after.header_value());
        }
        if let Some(instance) = &self.instance {
            reply = reply.link(instance, "terms-of-service");
        }
        if let Some(location) = self.location {
            reply = reply.header("location", location);
        }
        reply
    }
}

fn uri(kind: &str) -> String {
    if kind.contains(':') { kind.to_owned() } else { format!("{PREFIX}{kind}") }
}
