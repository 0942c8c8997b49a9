//! Account key rollover (RFC 8555 §7.3.5).

use serde::Deserialize;
use serde_json::Value;

use crate::account;
use crate::authority::{Authority, Caller, State};
use crate::jwk::Jwk;
use crate::jws::{self, Jws, Signer};
use crate::problem::Problem;
use crate::reply::Reply;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyChange {
    account: String,
    old_key: Value,
}

/// `payload` is a JWS of its own, made by the new key.
pub(crate) fn change(
    ca: &Authority,
    state: &mut State,
    caller: &Caller,
    payload: &[u8],
) -> Result<Reply, Problem> {
    let id = caller.account()?;
    let inner = Jws::parse(payload)?;
    let Signer::Jwk(new_key) = &inner.signer else {
        return Err(Problem::malformed("the inner JWS must carry the new key as jwk"));
    };
    inner.verify(new_key)?;
    if inner.nonce.is_some() || inner.url.as_deref() != Some(&ca.url("key-change")) {
        return Err(Problem::malformed("the inner JWS has the outer url and no nonce"));
    }
    let request: KeyChange = jws::request(&inner.payload)?;
    if ca.id_in("account", &request.account) != Some(id) {
        return Err(Problem::malformed("the inner account is not the one that signed the outer JWS"));
    }
    if Jwk::parse(&request.old_key)? != caller.key {
        return Err(Problem::malformed("oldKey is not the account's key"));
    }
    if let Some((holder, _)) = state.accounts.iter().find(|(_, account)| account.key == *new_key) {
        let holder = ca.url(&format!("account/{holder}"));
        return Err(Problem::malformed("the new key is in use").with_status(409).with_location(holder));
    }
    let account = state.accounts.get_mut(id).ok_or_else(|| Problem::not_found("account"))?;
    account.key = new_key.clone();
    Ok(account::reply(ca, 200, id, account))
}
