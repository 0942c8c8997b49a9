//! Revocation (RFC 8555 §7.6): by the account, by whoever controls all the names, or by the certificate's key.

use serde::Deserialize;

use crate::authority::{Caller, State};
use crate::authorization::AuthorizationStatus;
use crate::jws;
use crate::problem::Problem;
use crate::reply::Reply;

#[derive(Deserialize)]
struct Revocation {
    certificate: String,
    #[serde(default)]
    reason: u8,
}

pub(crate) fn revoke(state: &mut State, caller: &Caller, payload: &[u8]) -> Result<Reply, Problem> {
    let request: Revocation = jws::request(payload)?;
    let der = jws::decode("certificate", &request.certificate)?;
    let found = state.certificates.iter().find(|(_, certificate)| certificate.leaf_der == der);
    let (id, certificate) = found.ok_or_else(|| Problem::not_found("certificate"))?;
    let entitled = match &caller.account {
        None => certificate.key.as_ref() == Some(&caller.key),
        Some(account) => *account == certificate.account || controls_all(state, account, &certificate.names),
    };
    if !entitled {
        return Err(Problem::unauthorized("neither the account nor the key may revoke this certificate"));
    }
    // RFC 5280 §5.3.1 leaves 7 unused and ends at 10.
    if request.reason == 7 || request.reason > 10 {
        let detail = format!("{} is not a reason code", request.reason);
        return Err(Problem::new("badRevocationReason", 400, detail));
    }
    if certificate.revoked.is_some() {
        return Err(Problem::new("alreadyRevoked", 400, "the certificate is revoked already"));
    }
    let id = id.clone();
    if let Some(certificate) = state.certificates.get_mut(&id) {
        certificate.revoked = Some(request.reason);
    }
    Ok(Reply::empty(200))
}

fn controls_all(state: &State, account: &str, names: &[String]) -> bool {
    names.iter().all(|name| {
        state.authorizations.values().any(|held| {
            let proven =
                if held.wildcard { format!("*.{}", held.identifier) } else { held.identifier.to_string() };
            held.account == account && proven == *name && held.status() == AuthorizationStatus::Valid
        })
    })
}
