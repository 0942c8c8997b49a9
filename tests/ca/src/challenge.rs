//! Challenges (RFC 8555 §7.1.5, §7.5.1, §8): what the applicant must show, and the looking.

use std::sync::Arc;

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::authority::{Authority, Caller, State};
use crate::authorization::AuthorizationStatus;
use crate::dice::random_text;
use crate::dns01;
use crate::endpoint::Route;
use crate::http01;
use crate::identifier::Identifier;
use crate::instant::{now, rfc3339};
use crate::problem::Problem;
use crate::reply::Reply;
use crate::tls_alpn01;

/// The ways of proving control that the CA can check.
///
/// A further kind is a variant, its name, what it can prove, and an arm in `Subject::validate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ChallengeKind {
    /// RFC 8555 §8.3.
    Http01,
    /// RFC 8555 §8.4, at the server that `CaBuilder::dns_server` names.
    Dns01,
    /// RFC 8737, at the port that `CaBuilder::tls_port` names.
    TlsAlpn01,
}

#[derive(Debug, Clone)]
pub(crate) struct Challenge {
    pub(crate) id: String,
    pub(crate) status: ChallengeStatus,
    pub(crate) error: Option<Problem>,
    kind: ChallengeKind,
    token: String,
    validated: Option<OffsetDateTime>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChallengeStatus {
    Pending,
    Processing,
    Valid,
    Invalid,
}

/// One validation: what is looked for, and where.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) identifier: Identifier,
    pub(crate) token: String,
    /// Token and account key thumbprint (RFC 8555 §8.1).
    pub(crate) key_authorization: String,
    kind: ChallengeKind,
}

impl ChallengeKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::Dns01 => "dns-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        }
    }

    pub(crate) fn can_prove(self, identifier: &Identifier, wildcard: bool) -> bool {
        match self {
            // RFC 8738 §5 and §6 allow these for addresses; wildcards need the DNS (RFC 8555 §8.3 and RFC 8737 §3
            // have none).
            Self::Http01 | Self::TlsAlpn01 => !wildcard,
            // RFC 8738 §7: addresses are never proven by the DNS.
            Self::Dns01 => matches!(identifier, Identifier::Dns(_)),
        }
    }
}

impl Challenge {
    pub(crate) fn new(kind: ChallengeKind) -> Self {
        Self {
            id: random_text::<8>(),
            status: ChallengeStatus::Pending,
            error: None,
            kind,
            token: random_text::<32>(),
            validated: None,
        }
    }

    pub(crate) fn to_json(&self, ca: &Authority) -> Value {
        let mut body = json!({
            "type": self.kind.name(),
            "url": ca.url(&format!("challenge/{}", self.id)),
            "status": self.status.name(),
            "token": self.token,
        });
        if let Some(at) = self.validated {
            body["validated"] = json!(rfc3339(at));
        }
        if let Some(error) = &self.error {
            body["error"] = error.to_json();
        }
        body
    }
}

impl ChallengeStatus {
    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::Valid | Self::Invalid)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Valid => "valid",
            Self::Invalid => "invalid",
        }
    }
}

/// POST to a challenge's URL: an empty payload reads, an object asks for validation (RFC 8555 §7.5.1).
pub(crate) fn read_or_respond(
    ca: &Arc<Authority>,
    state: &mut State,
    caller: &Caller,
    route: &Route,
    payload: &[u8],
) -> Result<Reply, Problem> {
    let missing = || Problem::not_found("challenge");
    let authorization_id = state.challenges.get(&route.id).ok_or_else(missing)?.clone();
    let authorization = state.authorizations.get_mut(&authorization_id).ok_or_else(missing)?;
    caller.must_own(&authorization.account)?;
    let (status, identifier) = (authorization.status(), authorization.identifier.clone());
    let challenge = authorization.challenges.iter_mut().find(|c| c.id == route.id).ok_or_else(missing)?;
    if !payload.is_empty() {
        if !crate::jws::request::<Value>(payload)?.is_object() {
            return Err(Problem::malformed("a challenge is answered with an object"));
        }
        if status != AuthorizationStatus::Pending && challenge.status != ChallengeStatus::Valid {
            return Err(Problem::malformed("the authorization is no longer pending"));
        }
        if challenge.status == ChallengeStatus::Pending {
            challenge.status = ChallengeStatus::Processing;
            let subject = Subject {
                identifier,
                token: challenge.token.clone(),
                key_authorization: format!("{}.{}", challenge.token, caller.key.thumbprint()),
                kind: challenge.kind,
            };
            let (ca, authorization_id, id) = (Arc::clone(ca), authorization_id.clone(), route.id.clone());
            Arc::clone(&ca).spawn(async move {
                let outcome = subject.validate(&ca).await;
                conclude(&ca, &authorization_id, &id, outcome);
            });
        }
    }
    let up = ca.url(&format!("authorization/{authorization_id}"));
    Ok(Reply::json(200, &challenge.to_json(ca)).link(&up, "up"))
}

impl Subject {
    async fn validate(&self, ca: &Authority) -> Result<(), Problem> {
        tokio::time::sleep(ca.config.validation_delay).await;
        if ca.config.trusting {
            return Ok(());
        }
        match self.kind {
            ChallengeKind::Http01 => http01::validate(ca, self).await,
            ChallengeKind::Dns01 => dns01::validate(ca, self).await,
            ChallengeKind::TlsAlpn01 => tls_alpn01::validate(ca, self).await,
        }
    }
}

/// Books the outcome; an authorization decided meanwhile (deactivated, say) stays as it is.
fn conclude(ca: &Authority, authorization: &str, challenge: &str, outcome: Result<(), Problem>) {
    let mut guard = ca.state();
    let state = &mut *guard;
    let Some(authorization) = state.authorizations.get_mut(authorization) else { return };
    let pending = authorization.status() == AuthorizationStatus::Pending;
    let Some(challenge) = authorization.challenges.iter_mut().find(|c| c.id == challenge) else { return };
    match outcome {
        Ok(()) => {
            challenge.status = ChallengeStatus::Valid;
            challenge.validated = Some(now());
            if pending {
                authorization.prove(now() + ca.config.authorization_lifetime);
            }
        }
        Err(problem) => {
            let (account, name) = (authorization.account.clone(), authorization.identifier.clone());
            state.meters.failed(&account, &name);
            challenge.status = ChallengeStatus::Invalid;
            challenge.error = Some(problem);
            if pending {
                authorization.fail();
            }
        }
    }
    drop(guard);
    ca.journal.announce();
}
