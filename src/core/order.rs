//! What a CA says of an order, in our own words (RFC 8555 §7.1).

use serde::{Deserialize, Serialize};

use super::name::{SolverId, SubjectName, Token};
use super::pattern::NamePattern;
use super::record::ChallengeKind;
use super::time::Span;

/// What to ask a CA for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRequest {
    pub names: Vec<SubjectName>,
    pub profile: Option<super::spec::Profile>,
    /// ARI id of the certificate that the order replaces (RFC 9773 §5).
    pub replaces: Option<String>,
}

/// An order as last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderView {
    pub url: String,
    pub status: OrderStatus,
    pub error: Option<Problem>,
    /// The CA's wish for the next look, already clamped.
    pub retry_after: Option<Span>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderStatus {
    Pending,
    Ready,
    Processing,
    Valid,
    Invalid,
}

/// One name's authorization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationView {
    /// As ordered: a wildcard keeps its star.
    pub name: SubjectName,
    pub status: AuthorizationStatus,
    pub challenges: Vec<ChallengeView>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorizationStatus {
    Pending,
    Valid,
    Invalid,
    /// Expired, deactivated or revoked.
    Dead,
}

/// One way that the CA offers for one name.
#[derive(Clone, PartialEq, Eq)]
pub struct ChallengeView {
    /// `None` for a kind that we don't know.
    pub kind: Option<ChallengeKind>,
    pub url: String,
    /// For dns-persist-01, which has none, a stand-in that nobody outside is told. `None` for a kind that
    /// we don't know.
    pub token: Option<Token>,
    pub key_authorization: String,
    pub status: ChallengeStatus,
    pub error: Option<Problem>,
    pub terms: Terms,
}

/// A key authorization is as good as an answer until the order ends: it stays out of logs.
impl std::fmt::Debug for ChallengeView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChallengeView")
            .field("kind", &self.kind)
            .field("status", &self.status)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

/// What proof depends on beyond a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Terms {
    #[default]
    Token,
    /// dns-account-01: the place depends on the account, which has this URL.
    Account(String),
    Persist(PersistTerms),
    /// The CA's challenge can't be used, in words safe to print.
    Unusable(String),
}

/// What a text for dns-persist-01 must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PersistTerms {
    /// Names that the CA goes by; one of them stands in the text. At least one.
    pub issuers: Vec<String>,
    /// What the text may call the account, the preferred first. At least one.
    pub accounts: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChallengeStatus {
    Pending,
    Processing,
    Valid,
    Invalid,
}

/// A problem document (RFC 8555 §6.7), its texts made safe for printing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Without the `urn:ietf:params:acme:error:` prefix.
    pub kind: String,
    pub detail: String,
    /// HTTP status, 0 where there is none.
    pub status: u16,
    /// Problems of single names.
    pub of_names: Vec<(SubjectName, String)>,
}

/// One thing to prove, and by whom.
#[derive(Clone, PartialEq, Eq)]
pub struct ChallengeTask {
    pub solver: SolverId,
    pub kind: ChallengeKind,
    pub name: SubjectName,
    pub token: Token,
    pub key_authorization: String,
    /// Where the CA is told that the answer stands.
    pub url: String,
    pub terms: Terms,
}

impl std::fmt::Debug for ChallengeTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} for {} by {}", self.kind.word(), self.name, self.solver)
    }
}

/// What one configured solver can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub solver: SolverId,
    pub kinds: Vec<ChallengeKind>,
    /// The only names that it is for; all where there are none.
    pub names: Vec<NamePattern>,
}

impl Offer {
    pub fn is_for(&self, name: &SubjectName) -> bool {
        self.names.is_empty() || self.names.iter().any(|pattern| pattern.fits(name))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_offer_is_for_what_fits_any_of_its_names_and_for_all_without_any() {
        let name = |text: &str| SubjectName::parse(text).unwrap();
        let offer = |names: &[&str]| Offer {
            solver: SolverId::parse("web").unwrap(),
            kinds: vec![ChallengeKind::Http01],
            names: names.iter().map(|text| NamePattern::of(name(text))).collect(),
        };
        for (names, asked, fits) in [
            (&[][..], "a.example", true),
            (&["b.example", "a.example"], "a.example", true),
            (&["b.example", "*.c.example"], "x.c.example", true),
            (&["b.example", "*.c.example"], "a.example", false),
        ] {
            assert_eq!(offer(names).is_for(&name(asked)), fits, "{names:?} {asked}");
        }
    }
}
