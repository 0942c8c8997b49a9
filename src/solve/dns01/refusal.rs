//! A vendor's no, sorted by who must act and told without secrets.

use super::credentials::Credentials;
use crate::core::failure::{Failure, Fault, plain};
use crate::core::vendor::Vendor;

/// Characters of a vendor's words kept in a failure.
const SHOWN: usize = 300;

/// Why a change was not made, as far as it was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// HTTP 401.
    Unauthorized,
    /// HTTP 404: the zone, or the path of the interface.
    NotFound,
    /// No answer.
    Unreached(String),
    /// An answer that can't be read.
    Unread(String),
    /// What was configured can't be used.
    Unusable(String),
    /// Anything else, in the vendor's words.
    Said(String),
}

/// What these say stays as it is until somebody acts.
const REFUSING: &[&str] = &[
    "access denied",
    "accessdenied",
    "authenticat",
    "authoriz",
    "forbidden",
    "invalid api",
    "invalid key",
    "invalid token",
    "permission",
    "no suitable",
    "zone found",
    "not found",
    "signature",
    "badrequest",
];

impl Refusal {
    /// Said about the change itself, not about who asks, how often, or what lies between.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Said(said) => !matches!(status(said), Some(401 | 403 | 429 | 500..)),
            Self::Unread(_) => true,
            Self::Unauthorized | Self::NotFound | Self::Unreached(_) | Self::Unusable(_) => false,
        }
    }

    pub fn failure(&self, vendor: &Vendor, credentials: &Credentials) -> Failure {
        let name = vendor.name;
        let safe = |said: &str| plain(&credentials.masked(&without_paths(&without_body(said))), SHOWN);
        match self {
            Self::Unauthorized => Failure::refused(
                Fault::Config,
                "dns-refused",
                format!("{name} refuses the credentials (401); compare them, and what they may do"),
            ),
            Self::NotFound => Failure::refused(
                Fault::Config,
                "dns-refused",
                format!(
                    "{name} does not have it (404); see that the zone is hosted there, in this account, and that \
                     `url` is right where one is set"
                ),
            ),
            Self::Unreached(said) => {
                let words = format!("{name} could not be reached: {}", safe(said));
                Failure::transient(Fault::Network, "dns-unreachable", words)
            }
            Self::Unread(said) => {
                let words = format!("{name} answered what can't be read: {}", safe(said));
                Failure::transient(Fault::Network, "dns-change-failed", words)
            }
            Self::Unusable(said) => {
                let words = format!("the account with {name} can't be used: {}", safe(said));
                Failure::refused(Fault::Config, "dns-credentials", words)
            }
            Self::Said(said) => Self::sorted(vendor, said, &safe(said)),
        }
    }

    /// By the status, where one is told, else by words.
    fn sorted(vendor: &Vendor, said: &str, shown: &str) -> Failure {
        let name = vendor.name;
        let lower = said.to_ascii_lowercase();
        match status(said) {
            Some(429) => {
                let words = format!("{name} asks for patience (429): {shown}");
                Failure::transient(Fault::Network, "dns-change-failed", words)
            }
            Some(401 | 403) => {
                let words =
                    format!("{name} refuses the credentials: {shown}; compare them, and what they may do");
                Failure::refused(Fault::Config, "dns-refused", words)
            }
            Some(500..) => {
                let words = format!("{name} has trouble of its own: {shown}");
                Failure::transient(Fault::Network, "dns-change-failed", words)
            }
            Some(_) => Failure::refused(Fault::Config, "dns-refused", format!("{name} says no: {shown}")),
            None if REFUSING.iter().any(|word| lower.contains(word)) => {
                Failure::refused(Fault::Config, "dns-refused", format!("{name} says no: {shown}"))
            }
            // Some say in words of their own that they were asked too often: it may pass.
            None => Failure::transient(
                Fault::Network,
                "dns-change-failed",
                format!("{name} did not make the change: {shown}"),
            ),
        }
    }
}

/// The first number that can be a status of HTTP.
fn status(said: &str) -> Option<u16> {
    said.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| word.len() == 3)
        .find_map(|word| word.parse().ok().filter(|number| (400..600).contains(number)))
}

/// What an answer said that could not be read may be a token that was just lent.
fn without_body(said: &str) -> String {
    match said.find("(body:") {
        Some(at) => said[..at].trim_end().to_owned(),
        None => said.to_owned(),
    }
}

/// Of every URL its origin alone: some vendors take credentials in the query.
fn without_paths(said: &str) -> String {
    let mut out = String::with_capacity(said.len());
    let mut rest = said;
    while let Some(at) = rest.find("://") {
        let after = at + "://".len();
        let authority = rest[after..].find(['/', '?', '#', ' ', ')']).map_or(rest.len(), |end| after + end);
        let end = rest[authority..].find([' ', ')', '"', '\n']).map_or(rest.len(), |end| authority + end);
        // Nobody's user and password either.
        let host = rest[after..authority].rsplit('@').next().unwrap_or_default();
        out.push_str(&rest[..after]);
        out.push_str(host);
        let tail = &rest[authority..end];
        if !tail.is_empty() {
            out.push_str("/…");
            out.push_str(if tail.ends_with(':') { ":" } else { "" });
        }
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::failure::Class;
    use proptest::prelude::*;

    fn told(refusal: &Refusal) -> Failure {
        let vendor = Vendor::of("cloudflare").unwrap();
        refusal.failure(vendor, &Credentials::of(&[], &[("token", "hush-hush")]))
    }

    #[test]
    fn a_no_is_told_from_a_not_now() {
        for (said, class, code) in [
            ("HTTP 403: Forbidden", Class::Refused, "dns-refused"),
            ("HTTP 429: slow down", Class::Transient, "dns-change-failed"),
            ("HTTP 500", Class::Transient, "dns-change-failed"),
            ("HTTP 503: later", Class::Transient, "dns-change-failed"),
            ("BadRequest {\"error\":\"ttl\"}", Class::Refused, "dns-refused"),
            ("HTTP 422: bad record", Class::Refused, "dns-refused"),
            ("Route53 API error: 403 Forbidden - InvalidClientTokenId", Class::Refused, "dns-refused"),
            ("No Cloudflare zone found for example.com", Class::Refused, "dns-refused"),
            ("login: Authentication failed", Class::Refused, "dns-refused"),
            ("job 41234 is still running", Class::Transient, "dns-change-failed"),
        ] {
            let failure = told(&Refusal::Said(said.into()));
            assert_eq!((failure.class, failure.code.as_str()), (class, code), "{said}");
        }
        assert_eq!(told(&Refusal::Unauthorized).class, Class::Refused);
        assert_eq!(told(&Refusal::NotFound).class, Class::Refused);
        assert_eq!(told(&Refusal::Unreached("no route".into())).code, "dns-unreachable");
        assert_eq!(told(&Refusal::Unusable("the region".into())).code, "dns-credentials");
    }

    #[test]
    fn what_was_asked_for_and_what_could_not_be_read_stay_out() {
        for (refusal, shown) in [
            (
                Refusal::Unreached(
                    "Failed to send request to https://api.example/v1?key=abc: error sending request for url (https://api.example/v1?key=abc)"
                        .into(),
                ),
                "Cloudflare could not be reached: Failed to send request to https://api.example/…: error sending request for url (https://api.example/…)",
            ),
            (
                Refusal::Unread(
                    "Failed to deserialize response: expected value (body: {\"access_token\":\"lent\"})".into(),
                ),
                "Cloudflare answered what can't be read: Failed to deserialize response: expected value",
            ),
            (
                Refusal::Said("HTTP 400: token hush-hush is bad".into()),
                "Cloudflare says no: HTTP 400: token … is bad",
            ),
            (Refusal::Said("see https://user:pw@api.example".into()), "Cloudflare did not make the change: see https://api.example"),
        ] {
            assert_eq!(told(&refusal).words, shown);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_said_is_told_within_bounds(said in "\\PC{0,400}") {
            for refusal in [Refusal::Said(said.clone()), Refusal::Unread(said.clone()), Refusal::Unreached(said)] {
                prop_assert!(told(&refusal).words.chars().count() <= SHOWN + 160);
            }
        }

        #[test]
        fn no_query_survives(host in "[a-z]{1,9}", query in "[a-z0-9=&]{8,20}") {
            let shown = without_paths(&format!("to https://{host}/p?{query}: gone"));
            prop_assert_eq!(shown, format!("to https://{host}/…: gone"));
        }
    }
}
