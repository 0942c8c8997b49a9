//! Accounts (RFC 8555 §7.3): creation, lookup, update, deactivation, and their external binding (§7.3.4).

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::authority::{Authority, Caller, State};
use crate::dice::random_text;
use crate::endpoint::Route;
use crate::jwk::Jwk;
use crate::jws::{self, Jws, Signer};
use crate::problem::Problem;
use crate::reply::Reply;

#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) key: Jwk,
    pub(crate) deactivated: bool,
    contact: Vec<String>,
    terms_agreed: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewAccount {
    contact: Option<Vec<String>>,
    #[serde(default)]
    terms_of_service_agreed: bool,
    #[serde(default)]
    only_return_existing: bool,
    external_account_binding: Option<Value>,
}

#[derive(Deserialize)]
struct Update {
    contact: Option<Vec<String>>,
    status: Option<String>,
}

pub(crate) fn new_account(
    ca: &Authority,
    state: &mut State,
    caller: &Caller,
    peer: IpAddr,
    payload: &[u8],
) -> Result<Reply, Problem> {
    let request: NewAccount = jws::request(payload)?;
    if let Some((id, account)) = state.accounts.iter().find(|(_, account)| account.key == caller.key) {
        if account.deactivated {
            return Err(deactivated());
        }
        return Ok(reply(ca, 200, id, account));
    }
    if request.only_return_existing {
        return Err(Problem::new("accountDoesNotExist", 400, "no account has this key"));
    }
    if ca.config.terms && !request.terms_of_service_agreed {
        return Err(Problem::new("userActionRequired", 403, "the terms of service must be agreed to"));
    }
    let contact = request.contact.unwrap_or_default();
    check_contacts(&contact)?;
    check_binding(ca, state, &caller.key, request.external_account_binding.as_ref())?;
    state.meters.may_register(peer)?;
    let account = Account {
        key: caller.key.clone(),
        deactivated: false,
        contact,
        terms_agreed: request.terms_of_service_agreed,
    };
    let id = random_text::<8>();
    let reply = reply(ca, 201, &id, &account);
    state.accounts.insert(id, account);
    Ok(reply)
}

/// POST to an account's URL: an empty payload reads, anything else updates (RFC 8555 §7.3.2, §7.3.6).
pub(crate) fn read_or_update(
    ca: &Authority,
    state: &mut State,
    caller: &Caller,
    route: &Route,
    payload: &[u8],
) -> Result<Reply, Problem> {
    caller.must_own(&route.id)?;
    let account = state.accounts.get_mut(&route.id).ok_or_else(|| Problem::not_found("account"))?;
    if !payload.is_empty() {
        let update: Update = jws::request(payload)?;
        if let Some(contact) = update.contact {
            check_contacts(&contact)?;
            account.contact = contact;
        }
        match update.status.as_deref() {
            None | Some("valid") => {}
            Some("deactivated") => account.deactivated = true,
            Some(other) => return Err(Problem::malformed(format!("an account can not be made {other:?}"))),
        }
    }
    Ok(reply(ca, 200, &route.id, account))
}

/// RFC 8555 §7.3.6 gives this refusal its own status.
pub(crate) fn deactivated() -> Problem {
    Problem::unauthorized("the account is deactivated").with_status(401)
}

pub(crate) fn reply(ca: &Authority, status: u16, id: &str, account: &Account) -> Reply {
    let body = json!({
        "status": if account.deactivated { "deactivated" } else { "valid" },
        "contact": account.contact,
        "termsOfServiceAgreed": account.terms_agreed,
        "key": account.key.to_json(),
    });
    Reply::json(status, &body).header("location", ca.url(&format!("account/{id}")))
}

/// RFC 8555 §7.3: mailto with one address and no header fields.
fn check_contacts(contacts: &[String]) -> Result<(), Problem> {
    for contact in contacts {
        let Some(address) = contact.strip_prefix("mailto:") else {
            return Err(Problem::new("unsupportedContact", 400, format!("{contact:?} is not a mailto URL")));
        };
        let well_formed = address.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !address.contains([',', '?']) && !domain.contains('@')
        });
        if !well_formed {
            return Err(Problem::new("invalidContact", 400, format!("{contact:?} is not one mail address")));
        }
    }
    Ok(())
}

/// RFC 8555 §7.3.4: an inner JWS, MACed with the key the CA handed out, over the account's public key.
fn check_binding(
    ca: &Authority,
    state: &mut State,
    account_key: &Jwk,
    binding: Option<&Value>,
) -> Result<(), Problem> {
    if ca.config.external_accounts.is_empty() {
        return Ok(());
    }
    let Some(binding) = binding else {
        let detail = "this CA demands an external account binding";
        return Err(Problem::new("externalAccountRequired", 403, detail));
    };
    let inner = Jws::parse(binding.to_string().as_bytes())?;
    let Signer::Kid(kid) = &inner.signer else {
        return Err(Problem::malformed("an external account binding is signed by a kid"));
    };
    if inner.algorithm != "HS256" || inner.nonce.is_some() {
        return Err(Problem::malformed("an external account binding uses HS256 and no nonce"));
    }
    if inner.url.as_deref() != Some(&ca.url("new-account")) {
        return Err(Problem::malformed("the binding's url is not that of newAccount"));
    }
    let secret = ca.config.external_accounts.get(kid);
    if !secret.is_some_and(|secret| inner.verify_mac(secret)) {
        return Err(Problem::unauthorized("the binding's key identifier is unknown or its MAC is wrong"));
    }
    if Jwk::parse(&jws::request(&inner.payload)?)? != *account_key {
        return Err(Problem::malformed("the binding is for another account key"));
    }
    if ca.config.external_accounts_once && !state.spent_bindings.insert(kid.clone()) {
        return Err(Problem::unauthorized("this external account is bound already"));
    }
    Ok(())
}
