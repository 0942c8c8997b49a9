//! Renewal information (RFC 9773): when the CA would like a certificate replaced.

use std::time::{Duration, SystemTime};

use serde_json::json;
use time::OffsetDateTime;

use crate::authority::{Authority, State};
use crate::certificate::Certificate;
use crate::endpoint::Route;
use crate::instant::{now, rfc3339};
use crate::problem::Problem;
use crate::reply::Reply;

const HOUR: Duration = Duration::from_hours(1);

/// Where the suggested window lies.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum RenewalWindow {
    /// Around the last third of the lifetime (the middle, below ten days), 2 % of the lifetime wide; in the
    /// past once the certificate is revoked. This is what Let's Encrypt does.
    Usual,
    /// Between two fractions of the lifetime, counted from its beginning.
    Fraction { start: f64, end: f64 },
    /// Exactly this, sensible or not, with an `explanationURL` if one is given.
    Explicit { start: SystemTime, end: SystemTime, explanation: Option<String> },
}

impl RenewalWindow {
    fn of(&self, certificate: &Certificate) -> (OffsetDateTime, OffsetDateTime, Option<&str>) {
        let (from, to) = (certificate.not_before, certificate.not_after);
        let lifetime = to - from;
        match self {
            Self::Usual if certificate.revoked.is_some() => (now() - HOUR, now() - HOUR / 2, None),
            Self::Usual => {
                let centre =
                    if lifetime < time::Duration::days(10) { to - lifetime / 2 } else { to - lifetime / 3 };
                (centre - lifetime / 100, centre + lifetime / 100, None)
            }
            Self::Fraction { start, end } => (from + lifetime * *start, from + lifetime * *end, None),
            Self::Explicit { start, end, explanation } => {
                ((*start).into(), (*end).into(), explanation.as_deref())
            }
        }
    }
}

/// Whether the suggested window of this certificate has begun.
pub(crate) fn window_is_open(state: &State, certificate: &Certificate) -> bool {
    let window = state.renewal_windows.get(&certificate.cert_id).unwrap_or(&state.renewal_window);
    window.of(certificate).0 <= now()
}

/// An unauthenticated GET (RFC 9773 §4.1).
pub(crate) fn info(ca: &Authority, state: &State, route: &Route) -> Result<Reply, Problem> {
    let certificate = state.certificates.values().find(|certificate| certificate.cert_id == route.id);
    let certificate =
        certificate.filter(|_| ca.config.renewal_info).ok_or_else(|| Problem::not_found("certificate"))?;
    let window = state.renewal_windows.get(&route.id).unwrap_or(&state.renewal_window);
    let (start, end, explanation) = window.of(certificate);
    let mut body = json!({ "suggestedWindow": { "start": rfc3339(start), "end": rfc3339(end) } });
    if let Some(url) = explanation {
        body["explanationURL"] = json!(url);
    }
    let reply = Reply::json(200, &body);
    Ok(match &ca.config.renewal_retry_after {
        Some(retry_after) => reply.header("retry-after", retry_after.header_value()),
        None => reply,
    })
}
