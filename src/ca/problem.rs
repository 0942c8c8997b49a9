//! What a CA says when it refuses, read leniently, and what that means for an operator.

use serde_json::{Value, json};

use crate::core::failure::{Class, Failure, Fault, plain};
use crate::core::name::SubjectName;
use crate::core::order::Problem;
use crate::core::time::{Span, Timestamp};

/// A problem document (RFC 7807, RFC 8555 §6.7) whatever shape it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) problem: Problem,
    /// Where a person can do what the CA wants done (RFC 8555 §7.3.3); https only.
    instance: Option<String>,
}

/// What was asked, as far as it changes what an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Directory,
    NewNonce,
    NewAccount,
    Account,
    NewOrder { replaces: bool, profile: bool },
    Order,
    Authorization,
    Challenge,
    Finalize,
    Certificate,
    RenewalInfo,
}

impl Call {
    const fn words(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::NewNonce => "new-nonce",
            Self::NewAccount => "new-account",
            Self::Account => "account",
            Self::NewOrder { .. } => "new-order",
            Self::Order => "order",
            Self::Authorization => "authorization",
            Self::Challenge => "challenge",
            Self::Finalize => "finalize",
            Self::Certificate => "certificate",
            Self::RenewalInfo => "renewal-info",
        }
    }

    /// Whether the answer is about an order that we think exists.
    const fn about_an_order(self) -> bool {
        matches!(
            self,
            Self::Order | Self::Authorization | Self::Challenge | Self::Finalize | Self::Certificate
        )
    }
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.words())
    }
}

/// Longest problem type kept, in characters.
const KIND_MOST: usize = 60;
/// Longest text of one problem kept, in characters.
const DETAIL_MOST: usize = 600;
/// Subproblems read of one document.
const SUBPROBLEMS_MOST: usize = 100;
/// Longest remote URL repeated to people, in characters.
const URL_MOST: usize = 300;

/// Longest wait that a rate limit may ask for; the longest known one is a week.
const LIMIT_MOST: Span = Span::days(7);
/// Longest wait that a CA in trouble may ask for: it may well recover sooner.
const DOWN_MOST: Span = Span::HOUR;

impl Document {
    /// What a refusal with this body says; made up where it holds no problem document.
    pub(super) fn of(http_status: u16, body: &[u8]) -> Self {
        match serde_json::from_slice::<Value>(body) {
            Ok(value @ Value::Object(_)) => Self::read(&value, http_status),
            _ => Self::synthetic(http_status, body),
        }
    }

    /// Reads any JSON object. Wrong shapes lose the member, never the document.
    pub(super) fn read(value: &Value, http_status: u16) -> Self {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let status = match value.get("status") {
            Some(Value::Number(number)) => number.as_u64().and_then(|n| u16::try_from(n).ok()),
            Some(Value::String(digits)) => digits.parse().ok(),
            _ => None,
        };
        let detail = [value.get("detail"), value.get("title"), value.get("message")]
            .into_iter()
            .map(text)
            .find(|words| !words.trim().is_empty())
            .unwrap_or_else(|| "the CA gives no reason".to_owned());
        let of_names = value
            .get("subproblems")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .take(SUBPROBLEMS_MOST)
            .filter_map(|sub| {
                let name = sub.get("identifier")?.get("value")?.as_str()?;
                let name = SubjectName::parse(name).ok()?;
                Some((name, plain(&text(sub.get("detail")), DETAIL_MOST)))
            })
            .collect();
        let instance = text(value.get("instance"));
        Self {
            problem: Problem {
                kind: kind(&text(value.get("type"))),
                detail: plain(&detail, DETAIL_MOST),
                // The status line is what the server did; the member is what it says it did.
                status: if http_status == 0 { status.unwrap_or(0) } else { http_status },
                of_names,
            },
            instance: instance.starts_with("https://").then(|| plain(&instance, URL_MOST)),
        }
    }

    /// Stands in for a body that is no problem document: a proxy's page, nothing at all.
    pub(super) fn synthetic(http_status: u16, body: &[u8]) -> Self {
        let shown = plain(String::from_utf8_lossy(body).trim(), 200);
        let detail = if shown.is_empty() {
            format!("HTTP {http_status} without a body")
        } else {
            format!("HTTP {http_status} with a body that is no ACME problem: {shown}")
        };
        Self {
            problem: Problem { kind: String::new(), detail, status: http_status, of_names: Vec::new() },
            instance: None,
        }
    }

    /// The document again, in the one shape that `instant-acme` reads without fail.
    pub(super) fn canonical(&self) -> Value {
        let problem = &self.problem;
        let subproblems: Vec<_> = problem
            .of_names
            .iter()
            .map(|(name, words)| {
                let kind = if matches!(name, SubjectName::Ip(_)) { "ip" } else { "dns" };
                json!({ "identifier": { "type": kind, "value": name.to_string() }, "detail": words })
            })
            .collect();
        let kind = match problem.kind.as_str() {
            "" => "about:blank".to_owned(),
            kind => format!("{PREFIX}{kind}"),
        };
        json!({ "type": kind, "detail": problem.detail, "status": problem.status, "subproblems": subproblems })
    }

    pub(super) fn is(&self, kind: &str) -> bool {
        self.problem.kind == kind
    }

    /// What this refusal of `call` means. `wish` is the CA's Retry-After.
    pub(super) fn failure(&self, call: Call, wish: Option<Span>, now: Timestamp) -> Failure {
        let Problem { kind, detail, status, of_names } = &self.problem;
        let asked = call.words();
        let said = match kind.as_str() {
            "" => detail.clone(),
            kind => format!("{detail} ({kind})"),
        };
        let refused = |fault, code: &str, words: String| Failure::refused(fault, code, words);
        let transient = |fault, code: &str, words: String| Failure::transient(fault, code, words);
        let about_replaces = || detail.to_ascii_lowercase().contains("replace");
        let about_profile = || detail.to_ascii_lowercase().contains("profile");
        let (replaces, profile) = match call {
            Call::NewOrder { replaces, profile } => (replaces, profile),
            _ => (false, false),
        };
        let client_error = (400..500).contains(status);

        if kind == "rateLimited" || *status == 429 {
            return limited(asked, &said, wish, kind == "rateLimited", now);
        }
        match kind.as_str() {
            "badNonce" => {
                return transient(
                    Fault::Ca,
                    "bad-nonce",
                    format!("{asked}: the CA refused one nonce after another; asked again later"),
                );
            }
            // Only of what was asked: as an answer to anything else it is one more odd refusal.
            "alreadyReplaced" if replaces => return replaces_refused(&said),
            "invalidProfile" if profile => return profile_refused(&said),
            "accountDoesNotExist" => {
                return transient(
                    Fault::Ca,
                    "account-missing",
                    format!("the CA does not know our account any more: {said}"),
                );
            }
            "externalAccountRequired" => return eab_required(&said),
            "userActionRequired" => {
                let place = match &self.instance {
                    Some(url) => format!(" at {url}"),
                    None => String::new(),
                };
                return refused(
                    Fault::Config,
                    "terms-changed",
                    format!(
                        "{asked}: the CA wants a person to act{place}, as a rule to agree to new terms: {said}"
                    ),
                );
            }
            "orderNotReady" => {
                return transient(
                    Fault::Ca,
                    "order-not-ready",
                    format!("{asked}: the order is not ready yet; it is read again: {said}"),
                );
            }
            "badCSR" => {
                return refused(
                    Fault::Ours,
                    "bad-csr",
                    format!(
                        "the CA does not take the certificate request: {said} (some CAs also say this when `contact` is missing)"
                    ),
                );
            }
            "badPublicKey" if call == Call::NewAccount => {
                return Failure::broken(
                    "account-key-refused",
                    format!("the CA refuses our account key: {said}"),
                );
            }
            "badPublicKey" => {
                return refused(
                    Fault::Config,
                    "bad-public-key",
                    format!("the CA does not take this kind of key: {said}; choose another `key`"),
                );
            }
            "badSignatureAlgorithm" => {
                return Failure::broken(
                    "account-key-refused",
                    format!("{asked}: the CA does not take ES256 signatures: {said}"),
                );
            }
            "invalidContact" | "unsupportedContact" => {
                return refused(
                    Fault::Config,
                    "contact-refused",
                    format!("the CA does not take the issuer's `contact`: {said}"),
                );
            }
            "caa" => {
                return refused(
                    Fault::Config,
                    "caa",
                    format!("a CAA record forbids this CA: {said}; change the DNS record or the issuer"),
                )
                .blaming_all(blamed(of_names));
            }
            _ => {}
        }
        let names_rejected =
            matches!(kind.as_str(), "rejectedIdentifier" | "unsupportedIdentifier") || !of_names.is_empty();
        if client_error && names_rejected {
            let each: Vec<_> = of_names.iter().map(|(name, words)| format!("{name}: {words}")).collect();
            let words = format!("{asked}: the CA does not take these names: {said} {}", each.join("; "));
            return refused(Fault::Config, "rejected-name", words.trim_end().to_owned())
                .blaming_all(blamed(of_names));
        }
        if profile && client_error && about_profile() {
            return profile_refused(&said);
        }
        if replaces {
            let usual = matches!(kind.as_str(), "malformed" | "notFound" | "unauthorized" | "conflict");
            if client_error && (usual || *status == 409) || kind == "serverInternal" && about_replaces() {
                return replaces_refused(&said);
            }
        }
        if *status >= 500 || kind == "serverInternal" {
            return down(&format!("{asked} → {status}: {said}"), wish, now);
        }
        if call.about_an_order() {
            // 403 too: after the account was registered anew its old orders are somebody else's.
            let lost = matches!(status, 404 | 410) || call == Call::Order && matches!(status, 401 | 403);
            if lost {
                return transient(
                    Fault::Ca,
                    "order-gone",
                    format!("the CA does not know the order any more: {said}; a new one follows"),
                );
            }
        }
        match (call, status) {
            (Call::Directory, _) => refused(
                Fault::Config,
                "directory-missing",
                format!("there is no ACME directory at the issuer's `directory`: {said}; check its URL"),
            ),
            (_, 408 | 425) => down(&format!("{asked} → {status}: {said}"), wish, now),
            (Call::NewAccount | Call::Account, _) => refused(
                Fault::Config,
                "account-refused",
                format!(
                    "the CA refuses the account: {said}; where it was deactivated, move the issuer's entry out of \
                     the state directory's accounts, so that a new one is registered"
                ),
            ),
            _ if kind == "malformed" => {
                refused(Fault::Ours, "malformed", format!("{asked}: the CA can't read our request: {said}"))
            }
            _ => refused(Fault::Ca, "refused-by-ca", format!("{asked} → {status}: {said}")),
        }
    }
}

impl From<Problem> for Document {
    fn from(problem: Problem) -> Self {
        Self { problem, instance: None }
    }
}

const PREFIX: &str = "urn:ietf:params:acme:error:";

/// A problem type without its prefix; types of nobody's are kept as they are.
fn kind(text: &str) -> String {
    let bare = text.strip_prefix(PREFIX).or(text.strip_prefix("urn:acme:error:")).unwrap_or(text);
    if bare == "about:blank" { String::new() } else { plain(bare, KIND_MOST) }
}

/// A problem inside an order or a challenge.
pub(super) fn of(problem: &instant_acme::Problem) -> Problem {
    let of_names = problem
        .subproblems
        .iter()
        .take(SUBPROBLEMS_MOST)
        .filter_map(|sub| {
            let name = SubjectName::parse(&sub.identifier.as_ref()?.authorized(false).to_string()).ok()?;
            Some((name, plain(sub.detail.as_deref().unwrap_or_default(), DETAIL_MOST)))
        })
        .collect();
    Problem {
        kind: kind(problem.r#type.as_deref().unwrap_or_default()),
        detail: plain(problem.detail.as_deref().unwrap_or("the CA gives no reason"), DETAIL_MOST),
        status: problem.status.unwrap_or(0),
        of_names,
    }
}

fn blamed(of_names: &[(SubjectName, String)]) -> impl Iterator<Item = SubjectName> {
    of_names.iter().map(|(name, _)| name.clone())
}

fn limited(asked: &str, said: &str, wish: Option<Span>, typed: bool, now: Timestamp) -> Failure {
    match wish {
        Some(wish) => {
            let until = now + wish.between(Span::secs(1), LIMIT_MOST);
            Failure::new(
                Class::Limited { until },
                Fault::Ca,
                "rate-limited",
                format!("{asked}: a rate limit of the CA, until {until}: {said}"),
            )
        }
        // Let's Encrypt pauses names this way: it waits for a person, not for a time.
        None if typed => Failure::refused(
            Fault::Config,
            "rate-limited",
            format!("{asked}: the CA has paused us and names no time; do what it says: {said}"),
        ),
        None => {
            Failure::transient(Fault::Ca, "rate-limited", format!("{asked}: a rate limit of the CA: {said}"))
        }
    }
}

fn down(words: &str, wish: Option<Span>, now: Timestamp) -> Failure {
    let class = match wish {
        Some(wish) if wish.is_positive() => Class::Limited { until: now + wish.min(DOWN_MOST) },
        _ => Class::Transient,
    };
    Failure::new(class, Fault::Ca, "ca-down", format!("the CA is in trouble; {words}"))
}

fn replaces_refused(said: &str) -> Failure {
    Failure::transient(
        Fault::Ca,
        "replaces-refused",
        format!("the CA does not accept which certificate is replaced; asked again without: {said}"),
    )
}

fn profile_refused(said: &str) -> Failure {
    Failure::refused(
        Fault::Config,
        "profile-refused",
        format!("the CA refuses the `profile`: {said}; choose another or leave it out"),
    )
}

pub(super) fn eab_required(said: &str) -> Failure {
    Failure::refused(
        Fault::Config,
        "eab-required",
        format!(
            "the CA registers accounts with an external account binding only: {said}; get a key id and a MAC key \
             from the CA and set the issuer's `eab`"
        ),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_secs(1_800_000_000);
    const PLAIN_ORDER: Call = Call::NewOrder { replaces: false, profile: false };
    const REPLACING: Call = Call::NewOrder { replaces: true, profile: false };
    const PROFILED: Call = Call::NewOrder { replaces: false, profile: true };

    fn judged(call: Call, status: u16, kind: &str, detail: &str, wish: Option<Span>) -> Failure {
        let value = json!({ "type": format!("{PREFIX}{kind}"), "detail": detail });
        Document::read(&value, status).failure(call, wish, NOON)
    }

    #[test]
    fn each_refusal_says_whose_fault_it_is_and_when_to_ask_again() {
        let soon = Some(Span::minutes(5));
        let until = |span| Class::Limited { until: NOON + span };
        let (refused, transient, broken) = (Class::Refused, Class::Transient, Class::Broken);
        #[rustfmt::skip]
        let table = [
            // call, status, type, detail, Retry-After → code, class, fault
            (PLAIN_ORDER, 429, "rateLimited", "too many", soon, "rate-limited", until(Span::minutes(5)), Fault::Ca),
            (PLAIN_ORDER, 429, "rateLimited", "too many", Some(Span::MAX), "rate-limited", until(Span::days(7)), Fault::Ca),
            (PLAIN_ORDER, 429, "rateLimited", "paused, see https://…", None, "rate-limited", refused, Fault::Config),
            (PLAIN_ORDER, 429, "other", "slow down", None, "rate-limited", transient, Fault::Ca),
            (PLAIN_ORDER, 503, "", "busy", soon, "ca-down", until(Span::minutes(5)), Fault::Ca),
            (PLAIN_ORDER, 503, "", "busy", Some(Span::days(400)), "ca-down", until(Span::HOUR), Fault::Ca),
            (PLAIN_ORDER, 500, "serverInternal", "oops", None, "ca-down", transient, Fault::Ca),
            (PLAIN_ORDER, 400, "badNonce", "old", None, "bad-nonce", transient, Fault::Ca),
            (PLAIN_ORDER, 400, "rejectedIdentifier", "no", None, "rejected-name", refused, Fault::Config),
            (PLAIN_ORDER, 400, "unsupportedIdentifier", "no", None, "rejected-name", refused, Fault::Config),
            (PLAIN_ORDER, 400, "malformed", "what?", None, "malformed", refused, Fault::Ours),
            (PLAIN_ORDER, 403, "unauthorized", "no", None, "refused-by-ca", refused, Fault::Ca),
            (PLAIN_ORDER, 400, "accountDoesNotExist", "who?", None, "account-missing", transient, Fault::Ca),
            (PLAIN_ORDER, 403, "userActionRequired", "terms", None, "terms-changed", refused, Fault::Config),
            (PLAIN_ORDER, 403, "caa", "no", None, "caa", refused, Fault::Config),
            (PLAIN_ORDER, 418, "brandNew", "tea", None, "refused-by-ca", refused, Fault::Ca),
            (REPLACING, 409, "alreadyReplaced", "by another", None, "replaces-refused", transient, Fault::Ca),
            (REPLACING, 404, "malformed", "no such certificate", None, "replaces-refused", transient, Fault::Ca),
            (REPLACING, 403, "unauthorized", "not yours", None, "replaces-refused", transient, Fault::Ca),
            (REPLACING, 409, "conflict", "taken", None, "replaces-refused", transient, Fault::Ca),
            (REPLACING, 500, "serverInternal", "checking replaces", None, "replaces-refused", transient, Fault::Ca),
            (REPLACING, 500, "serverInternal", "database", None, "ca-down", transient, Fault::Ca),
            (REPLACING, 400, "rejectedIdentifier", "no", None, "rejected-name", refused, Fault::Config),
            (REPLACING, 429, "rateLimited", "too many", soon, "rate-limited", until(Span::minutes(5)), Fault::Ca),
            (PROFILED, 400, "invalidProfile", "none such", None, "profile-refused", refused, Fault::Config),
            (PROFILED, 403, "unauthorized", "profile not for you", None, "profile-refused", refused, Fault::Config),
            (PROFILED, 400, "malformed", "unknown Profile", None, "profile-refused", refused, Fault::Config),
            (PROFILED, 400, "malformed", "csr", None, "malformed", refused, Fault::Ours),
            (Call::NewAccount, 403, "externalAccountRequired", "eab", None, "eab-required", refused, Fault::Config),
            (Call::NewAccount, 403, "unauthorized", "deactivated", None, "account-refused", refused, Fault::Config),
            (Call::NewAccount, 400, "invalidContact", "x", None, "contact-refused", refused, Fault::Config),
            (Call::NewAccount, 400, "badSignatureAlgorithm", "x", None, "account-key-refused", broken, Fault::Ours),
            (Call::Order, 404, "malformed", "no order", None, "order-gone", transient, Fault::Ca),
            (Call::Order, 403, "unauthorized", "not yours", None, "order-gone", transient, Fault::Ca),
            (Call::Finalize, 403, "orderNotReady", "wait", None, "order-not-ready", transient, Fault::Ca),
            (Call::Finalize, 403, "unauthorized", "no", None, "refused-by-ca", refused, Fault::Ca),
            (Call::Finalize, 400, "badCSR", "no", None, "bad-csr", refused, Fault::Ours),
            (Call::Finalize, 400, "badPublicKey", "weak", None, "bad-public-key", refused, Fault::Config),
            (Call::Directory, 404, "", "nothing", None, "directory-missing", refused, Fault::Config),
            (Call::Directory, 502, "", "gateway", None, "ca-down", transient, Fault::Ca),
        ];
        for (call, status, kind, detail, wish, code, class, fault) in table {
            let failure = judged(call, status, kind, detail, wish);
            let seen = (failure.code.as_str(), failure.class, failure.fault);
            assert_eq!(seen, (code, class, fault), "{call:?} {status} {kind} {detail}");
            assert!(
                failure.words.contains(detail) || code == "bad-nonce",
                "the CA's words are lost: {failure}"
            );
        }
    }

    #[test]
    fn the_name_to_blame_comes_from_the_subproblems() {
        let value = json!({
            "type": "urn:ietf:params:acme:error:malformed", "detail": "some names", "status": "400",
            "subproblems": [
                { "type": "x", "detail": "whatever", "identifier": { "type": "dns", "value": "../x" } },
                { "detail": "on a list\u{1b}[2J", "identifier": { "type": "dns", "value": "bad.example" } },
            ],
        });
        let failure = Document::read(&value, 400).failure(PLAIN_ORDER, None, NOON);
        assert_eq!(failure.code, "rejected-name");
        assert_eq!(failure.name.unwrap().to_string(), "bad.example");
        assert!(failure.words.contains("on a list\\u{1b}[2J"));
    }

    #[test]
    fn terms_are_linked_by_https_only() {
        let said = |instance: &str| {
            let value = json!({ "type": format!("{PREFIX}userActionRequired"), "instance": instance });
            Document::read(&value, 403).failure(PLAIN_ORDER, None, NOON).words
        };
        assert!(said("https://ca.example/terms").contains("https://ca.example/terms"));
        assert!(!said("javascript:alert(1)").contains("alert"));
    }

    #[test]
    fn any_shape_becomes_a_document_that_the_library_reads() {
        for value in [
            json!({}),
            json!({ "type": 7, "detail": ["x"], "status": "teapot", "subproblems": null }),
            json!({ "status": 99_999_999, "subproblems": [null, 1, {}, { "identifier": { "type": "odd", "value": "x" } }] }),
            json!({ "detail": "x", "subproblems": [{ "identifier": { "type": "ip", "value": "192.0.2.1" } }] }),
        ] {
            let canonical = Document::read(&value, 400).canonical();
            let read: instant_acme::Problem = serde_json::from_value(canonical).unwrap();
            assert_eq!(read.status, Some(400), "{value}");
        }
    }
}
