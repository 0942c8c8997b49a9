//! Orders (RFC 8555 §7.1.3, §7.4): asking for a certificate, and getting it.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::json;
use time::OffsetDateTime;

use crate::authority::{Authority, Caller, State};
use crate::authorization::{self, AuthorizationStatus};
use crate::dice::random_text;
use crate::effect::Effect;
use crate::endpoint::Route;
use crate::identifier::Identifier;
use crate::instant::{now, parse_rfc3339, rfc3339};
use crate::jws;
use crate::limits::Exempt;
use crate::problem::Problem;
use crate::renewal;
use crate::reply::Reply;

#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) account: String,
    pub(crate) identifiers: Vec<Identifier>,
    pub(crate) profile: Option<String>,
    pub(crate) replaces: Option<String>,
    pub(crate) not_before: Option<OffsetDateTime>,
    pub(crate) not_after: Option<OffsetDateTime>,
    pub(crate) expires: OffsetDateTime,
    pub(crate) authorizations: Vec<String>,
    pub(crate) stage: Stage,
    /// What of the limits does not apply to it.
    pub(crate) exempt: Exempt,
}

/// Where an order stands (RFC 8555 §7.1.6). Pending and ready are one stage: the authorizations tell them apart.
#[derive(Debug, Clone)]
pub(crate) enum Stage {
    Open,
    /// The certificate exists but is not shown yet; `None` polls left means never by itself.
    Processing {
        certificate: String,
        polls_left: Option<u32>,
    },
    Valid {
        certificate: String,
    },
    Invalid {
        error: Problem,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewOrder {
    identifiers: Vec<NamedIdentifier>,
    not_before: Option<String>,
    not_after: Option<String>,
    replaces: Option<String>,
    profile: Option<String>,
}

#[derive(Deserialize)]
struct NamedIdentifier {
    #[serde(rename = "type")]
    kind: String,
    value: String,
}

#[derive(Deserialize)]
struct Finalize {
    csr: String,
}

impl Order {
    /// Whether every name is proven; the error is why the order can never be fulfilled.
    fn proven(&self, state: &State) -> Result<bool, Problem> {
        let mut all = true;
        for authorization in self.authorizations.iter().filter_map(|id| state.authorizations.get(id)) {
            match authorization.status() {
                AuthorizationStatus::Valid => {}
                AuthorizationStatus::Pending => all = false,
                AuthorizationStatus::Invalid => {
                    let unproven = || {
                        Problem::unauthorized(format!("{} was not proven in time", authorization.identifier))
                    };
                    return Err(authorization.failure().cloned().unwrap_or_else(unproven));
                }
                AuthorizationStatus::Deactivated | AuthorizationStatus::Expired => {
                    let name = &authorization.identifier;
                    return Err(Problem::unauthorized(format!("the authorization for {name} is gone")));
                }
            }
        }
        if self.expires <= now() { Err(Problem::malformed("the order expired")) } else { Ok(all) }
    }
}

/// Brings an order's stage up to date and renders it.
fn render(ca: &Authority, state: &mut State, id: &str) -> Result<Reply, Problem> {
    let order = state.orders.get(id).ok_or_else(|| Problem::not_found("order"))?;
    let mut ready = false;
    if matches!(order.stage, Stage::Open) {
        match order.proven(state) {
            Ok(all) => ready = all,
            Err(error) => state.orders.get_mut(id).expect("just read").stage = Stage::Invalid { error },
        }
    }
    let order = &state.orders[id];
    let mut body = json!({
        "expires": rfc3339(order.expires),
        "identifiers": order.identifiers.iter().map(Identifier::to_json).collect::<Vec<_>>(),
        "authorizations": order
            .authorizations
            .iter()
            .map(|id| ca.url(&format!("authorization/{id}")))
            .collect::<Vec<_>>(),
        "finalize": ca.url(&format!("order/{id}/finalize")),
    });
    body["status"] = json!(match &order.stage {
        Stage::Open if ready => "ready",
        Stage::Open => "pending",
        Stage::Processing { .. } => "processing",
        Stage::Valid { .. } => "valid",
        Stage::Invalid { .. } => "invalid",
    });
    let optional = [
        ("profile", order.profile.clone()),
        ("replaces", order.replaces.clone()),
        ("notBefore", order.not_before.map(rfc3339)),
        ("notAfter", order.not_after.map(rfc3339)),
    ];
    for (member, value) in optional {
        if let Some(value) = value {
            body[member] = json!(value);
        }
    }
    match &order.stage {
        Stage::Valid { certificate } => {
            body["certificate"] = json!(ca.url(&format!("certificate/{certificate}")));
        }
        Stage::Invalid { error } if ca.config.order_errors => body["error"] = error.to_json(),
        _ => {}
    }
    let reply = Reply::json(200, &body).header("location", ca.url(&format!("order/{id}")));
    Ok(match (&order.stage, &ca.config.poll_retry_after) {
        (Stage::Processing { .. }, Some(wait)) => reply.header("retry-after", wait.header_value()),
        _ => reply,
    })
}

pub(crate) fn new_order(
    ca: &Authority,
    state: &mut State,
    caller: &Caller,
    payload: &[u8],
) -> Result<Reply, Problem> {
    let account = caller.account()?.to_owned();
    let request: NewOrder = jws::request(payload)?;
    let identifiers = identifiers(ca, state, &request.identifiers)?;
    let profile = profile(ca, request.profile)?;
    if let Some(replaced) = &request.replaces
        && ca.config.renewal_info
    {
        check_replaces(state, &account, &identifiers, replaced)?;
    }
    let (not_before, not_after) = validity(ca, request.not_before.as_deref(), request.not_after.as_deref())?;
    if ca.config.order_reuse
        && let Some(id) = same_open_order(state, &account, &identifiers, profile.as_deref())
    {
        return Ok(render(ca, state, &id)?.with_status(201));
    }
    let exempt = exemption(state, &account, &identifiers, request.replaces.as_deref());
    state.meters.may_order(&account, &identifiers, exempt)?;
    let authorizations = identifiers
        .iter()
        .map(|name| authorization::obtain(ca, state, &account, name))
        .collect::<Result<Vec<_>, _>>()?;
    let id = random_text::<8>();
    let order = Order {
        account,
        identifiers,
        profile,
        replaces: request.replaces.filter(|_| ca.config.renewal_info),
        not_before,
        not_after,
        expires: now() + ca.config.pending_lifetime,
        authorizations,
        stage: Stage::Open,
        exempt,
    };
    state.orders.insert(id.clone(), order);
    Ok(render(ca, state, &id)?.with_status(201))
}

/// POST-as-GET. Each look at a processing order brings it nearer to its end.
pub(crate) fn read(
    ca: &Authority,
    state: &mut State,
    caller: &Caller,
    route: &Route,
) -> Result<Reply, Problem> {
    let order = state.orders.get_mut(&route.id).ok_or_else(|| Problem::not_found("order"))?;
    caller.must_own(&order.account)?;
    if let Stage::Processing { certificate, polls_left: Some(left) } = &mut order.stage {
        if *left == 0 {
            order.stage = Stage::Valid { certificate: std::mem::take(certificate) };
        } else {
            *left -= 1;
        }
    }
    render(ca, state, &route.id)
}

pub(crate) fn finalize(
    ca: &Authority,
    state: &mut State,
    caller: &Caller,
    route: &Route,
    payload: &[u8],
    effect: Option<&Effect>,
) -> Result<Reply, Problem> {
    let order = state.orders.get(&route.id).ok_or_else(|| Problem::not_found("order"))?;
    caller.must_own(&order.account)?;
    let ready = matches!(order.stage, Stage::Open) && order.proven(state).is_ok_and(|all| all);
    if !ready {
        return Err(Problem::new("orderNotReady", 403, "the order is not ready to be finalized"));
    }
    let request: Finalize = jws::request(payload)?;
    let csr = crate::csr::Csr::parse(&jws::decode("csr", &request.csr)?)?;
    let ordered: BTreeSet<Identifier> = order.identifiers.iter().cloned().collect();
    if csr.names != ordered {
        return Err(Problem::bad_csr("the CSR's names are not the order's names"));
    }
    // RFC 8555 §11.1: neither this account's key nor another's.
    if csr.jwk.as_ref().is_some_and(|key| state.accounts.values().any(|account| account.key == *key)) {
        return Err(Problem::bad_csr("the CSR's key is an account key"));
    }
    let lie = if let Some(Effect::Leaf(lie)) = effect { Some(*lie) } else { None };
    let stage = if let Some(Effect::FailOrder) = effect {
        Stage::Invalid { error: Problem::new("serverInternal", 500, "issuance failed after finalization") }
    } else {
        let certificate = crate::issuance::issue(ca, state, &route.id, &csr, lie)?;
        match effect {
            Some(Effect::Processing(polls)) => Stage::Processing { certificate, polls_left: *polls },
            _ if ca.config.processing_polls > 0 => {
                Stage::Processing { certificate, polls_left: Some(ca.config.processing_polls - 1) }
            }
            _ => Stage::Valid { certificate },
        }
    };
    state.orders.get_mut(&route.id).expect("found above").stage = stage;
    render(ca, state, &route.id)
}

/// The names asked for, each once, or a problem that tells which are at fault (RFC 8555 §6.7.1).
fn identifiers(ca: &Authority, state: &State, asked: &[NamedIdentifier]) -> Result<Vec<Identifier>, Problem> {
    let mut names: Vec<Identifier> = Vec::new();
    let mut refused = Vec::new();
    for NamedIdentifier { kind, value } in asked {
        if !matches!(kind.as_str(), "dns" | "ip") {
            let detail = format!("identifier type {kind:?} is not supported");
            return Err(Problem::new("unsupportedIdentifier", 400, detail));
        }
        let name = Identifier::parse(kind, value).map_err(Problem::malformed)?;
        if state.rejected_names.contains(&name.to_string()) {
            refused.push(name.clone());
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        return Err(Problem::malformed("an order names at least one identifier"));
    }
    if names.len() > ca.config.max_names {
        return Err(Problem::malformed(format!(
            "an order names at most {} identifiers",
            ca.config.max_names
        )));
    }
    if refused.is_empty() {
        return Ok(names);
    }
    let problem = Problem::new("rejectedIdentifier", 400, "this CA does not issue for some of the names");
    Err(refused.into_iter().fold(problem, |problem, name| {
        let detail = format!("policy forbids issuing for {name}");
        problem.with_subproblem(name, "rejectedIdentifier", detail)
    }))
}

/// A CA that advertises no profiles does not know the member and passes over it (RFC 8555 §7.4).
fn profile(ca: &Authority, asked: Option<String>) -> Result<Option<String>, Problem> {
    match asked {
        Some(name) if !ca.config.profiles.is_empty() => {
            if ca.config.profiles.contains_key(&name) {
                Ok(Some(name))
            } else {
                Err(Problem::new("invalidProfile", 400, format!("profile {name:?} is not offered")))
            }
        }
        _ => Ok(None),
    }
}

/// RFC 9773 §5: same account, a name in common, and nobody else has replaced it.
fn check_replaces(
    state: &State,
    account: &str,
    identifiers: &[Identifier],
    replaced: &str,
) -> Result<(), Problem> {
    let predecessor = state.certificates.values().find(|certificate| certificate.cert_id == replaced);
    let predecessor = predecessor
        .ok_or_else(|| Problem::malformed(format!("replaces: no certificate {replaced:?} is known")))?;
    if predecessor.account != account {
        return Err(Problem::unauthorized("replaces: the certificate belongs to another account"));
    }
    if !identifiers.iter().any(|name| predecessor.names.contains(&name.to_string())) {
        return Err(Problem::malformed("replaces: the certificate has no name in common with the order"));
    }
    let taken = state.orders.values().any(|order| {
        order.replaces.as_deref() == Some(replaced)
            && match &order.stage {
                Stage::Invalid { .. } => false,
                Stage::Open => order.proven(state).is_ok(),
                Stage::Processing { .. } | Stage::Valid { .. } => true,
            }
    });
    if taken {
        return Err(Problem::new("alreadyReplaced", 409, "another order replaces this certificate already"));
    }
    Ok(())
}

/// A replacement inside its window is free of all limits, a certificate for the same set again of those on
/// accounts and domains: as Let's Encrypt has it.
fn exemption(state: &State, account: &str, identifiers: &[Identifier], replaced: Option<&str>) -> Exempt {
    let mut wanted: Vec<String> = identifiers.iter().map(ToString::to_string).collect();
    wanted.sort_unstable();
    let predecessor = replaced
        .and_then(|id| state.certificates.values().find(|certificate| certificate.cert_id == id))
        .filter(|certificate| certificate.account == account);
    if predecessor.is_some_and(|certificate| renewal::window_is_open(state, certificate)) {
        return Exempt::FromAll;
    }
    let same = state.certificates.values().any(|certificate| {
        let mut names = certificate.names.clone();
        names.sort_unstable();
        names == wanted
    });
    if same { Exempt::AsRenewal } else { Exempt::FromNone }
}

/// Requested dates, where the CA lets clients choose them; most public CAs refuse.
fn validity(
    ca: &Authority,
    not_before: Option<&str>,
    not_after: Option<&str>,
) -> Result<(Option<OffsetDateTime>, Option<OffsetDateTime>), Problem> {
    if (not_before.is_some() || not_after.is_some()) && !ca.config.requested_validity {
        return Err(Problem::malformed("notBefore and notAfter are not supported"));
    }
    let parse = |member: &str, text: Option<&str>| {
        text.map(|text| {
            parse_rfc3339(text).ok_or_else(|| Problem::malformed(format!("{member} is not an RFC 3339 date")))
        })
        .transpose()
    };
    let (from, to) = (parse("notBefore", not_before)?, parse("notAfter", not_after)?);
    if to.is_some_and(|to| to <= from.unwrap_or_else(now)) {
        return Err(Problem::malformed("notAfter is not after notBefore"));
    }
    Ok((from, to))
}

fn same_open_order(
    state: &State,
    account: &str,
    identifiers: &[Identifier],
    profile: Option<&str>,
) -> Option<String> {
    let wanted: BTreeSet<&Identifier> = identifiers.iter().collect();
    let found = state.orders.iter().find(|(_, order)| {
        order.account == account
            && order.profile.as_deref() == profile
            && matches!(order.stage, Stage::Open)
            && order.proven(state).is_ok()
            && order.identifiers.iter().collect::<BTreeSet<_>>() == wanted
    });
    found.map(|(id, _)| id.clone())
}

/// Lets every order that was held back finish at its next poll.
pub(crate) fn release_all(state: &mut State) {
    for order in state.orders.values_mut() {
        if let Stage::Processing { polls_left, .. } = &mut order.stage {
            *polls_left = Some(0);
        }
    }
}
