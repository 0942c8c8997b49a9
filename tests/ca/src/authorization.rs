//! Authorizations (RFC 8555 §7.1.4, §7.5): an account's right to a name, and the challenges that prove it.

use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::authority::{Authority, Caller, State};
use crate::challenge::{Challenge, ChallengeStatus};
use crate::dice::random_text;
use crate::endpoint::Route;
use crate::identifier::Identifier;
use crate::instant::{now, rfc3339};
use crate::jws;
use crate::problem::Problem;
use crate::reply::Reply;

#[derive(Debug, Clone)]
pub(crate) struct Authorization {
    pub(crate) account: String,
    /// Never with `*.`; see `wildcard`.
    pub(crate) identifier: Identifier,
    pub(crate) wildcard: bool,
    pub(crate) expires: OffsetDateTime,
    pub(crate) challenges: Vec<Challenge>,
    recorded: AuthorizationStatus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthorizationStatus {
    Pending,
    Valid,
    Invalid,
    Deactivated,
    Expired,
}

impl Authorization {
    /// The status at this instant: what was recorded, unless time has run out.
    pub(crate) fn status(&self) -> AuthorizationStatus {
        match self.recorded {
            AuthorizationStatus::Pending if self.expires <= now() => AuthorizationStatus::Invalid,
            AuthorizationStatus::Valid if self.expires <= now() => AuthorizationStatus::Expired,
            status => status,
        }
    }

    pub(crate) fn prove(&mut self, expires: OffsetDateTime) {
        self.recorded = AuthorizationStatus::Valid;
        self.expires = expires;
    }

    /// One failed challenge ends the authorization (RFC 8555 §7.1.6).
    pub(crate) fn fail(&mut self) {
        self.recorded = AuthorizationStatus::Invalid;
    }

    pub(crate) fn failure(&self) -> Option<&Problem> {
        self.challenges.iter().find_map(|challenge| challenge.error.as_ref())
    }

    fn to_json(&self, ca: &Authority) -> Value {
        let status = self.status();
        // RFC 8555 §7.1.4: once decided, only the challenge that decided is listed.
        let decided = self.challenges.iter().any(|challenge| challenge.status.is_final());
        let account = ca.url(&format!("account/{}", self.account));
        let mut challenges: Vec<Value> = self
            .challenges
            .iter()
            .filter(|challenge| !decided || challenge.status.is_final())
            .map(|challenge| challenge.to_json(ca, &account))
            .collect();
        if ca.config.decoy_challenge && !decided {
            // A type nobody knows, without a token: clients must pass over it (RFC 8555 §7.1.5).
            let url = ca.url("challenge/decoy");
            challenges.insert(0, json!({ "type": "decoy-00", "status": "pending", "url": url }));
        }
        let mut body = json!({
            "status": status.name(),
            "identifier": self.identifier.to_json(),
            "challenges": challenges,
            "expires": rfc3339(self.expires),
        });
        if self.wildcard {
            body["wildcard"] = json!(true);
        }
        body
    }
}

impl AuthorizationStatus {
    fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Deactivated => "deactivated",
            Self::Expired => "expired",
        }
    }
}

#[derive(Deserialize)]
struct Update {
    status: String,
}

/// POST to an authorization's URL: an empty payload reads; deactivation is the only update (RFC 8555 §7.5.2).
pub(crate) fn read_or_update(
    ca: &Authority,
    state: &mut State,
    caller: &Caller,
    route: &Route,
    payload: &[u8],
) -> Result<Reply, Problem> {
    let authorization =
        state.authorizations.get_mut(&route.id).ok_or_else(|| Problem::not_found("authorization"))?;
    caller.must_own(&authorization.account)?;
    if !payload.is_empty() {
        let update: Update = jws::request(payload)?;
        if update.status != "deactivated" {
            return Err(Problem::malformed("an authorization can only be deactivated"));
        }
        authorization.recorded = AuthorizationStatus::Deactivated;
    }
    let reply = Reply::json(200, &authorization.to_json(ca));
    let waiting = authorization.challenges.iter().any(|c| c.status == ChallengeStatus::Processing);
    Ok(match &ca.config.poll_retry_after {
        Some(retry_after) if waiting => reply.header("retry-after", retry_after.header_value()),
        _ => reply,
    })
}

/// A valid authorization found for the name, if the dice allow its reuse, else a new pending one.
pub(crate) fn obtain(
    ca: &Authority,
    state: &mut State,
    account: &str,
    name: &Identifier,
) -> Result<String, Problem> {
    let (identifier, wildcard) = name.base();
    let reusable = state.authorizations.iter().find(|(_, held)| {
        held.account == account
            && held.identifier == identifier
            && held.wildcard == wildcard
            && held.status() == AuthorizationStatus::Valid
    });
    if let Some(id) = reusable.map(|(id, _)| id.clone())
        && state.dice.hits(ca.config.authorization_reuse)
    {
        return Ok(id);
    }
    let challenges: Vec<Challenge> = ca
        .config
        .challenges
        .iter()
        .filter(|kind| kind.can_prove(&identifier, wildcard))
        .map(|kind| Challenge::new(*kind))
        .collect();
    if challenges.is_empty() {
        let detail = format!("no challenge type offered here can prove {name}");
        return Err(Problem::new("rejectedIdentifier", 400, detail.clone()).with_subproblem(
            name.clone(),
            "rejectedIdentifier",
            detail,
        ));
    }
    let id = random_text::<8>();
    for challenge in &challenges {
        state.challenges.insert(challenge.id.clone(), id.clone());
    }
    let authorization = Authorization {
        account: account.to_owned(),
        identifier,
        wildcard,
        expires: now() + ca.config.pending_lifetime,
        challenges,
        recorded: AuthorizationStatus::Pending,
    };
    state.authorizations.insert(id.clone(), authorization);
    Ok(id)
}
