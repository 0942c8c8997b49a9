//! Turning a finalized order into a certificate, truthfully or as a fault asks.

use std::time::Duration;

use rcgen::{KeyPair, PublicKeyData as _, SubjectPublicKeyInfo};
use time::OffsetDateTime;

use crate::authority::{Authority, State};
use crate::certificate::{Certificate, LeafFacts};
use crate::csr::Csr;
use crate::dice::random_text;
use crate::hierarchy::LeafPlan;
use crate::identifier::Identifier;
use crate::instant::now;
use crate::lie::LeafLie;
use crate::problem::Problem;

const HOUR: Duration = Duration::from_hours(1);

/// Signs and records the certificate; gives its id.
pub(crate) fn issue(
    ca: &Authority,
    state: &mut State,
    order_id: &str,
    csr: &Csr,
    lie: Option<LeafLie>,
) -> Result<String, Problem> {
    let order = &state.orders[order_id];
    let profile = order.profile.as_ref().and_then(|name| ca.config.profiles.get(name));
    let lifetime = profile.map_or(state.lifetime, |profile| profile.lifetime);
    // One reading of the clock, or a lifetime could come out a second too long.
    let now = now();
    let mut not_before = order.not_before.unwrap_or(now - ca.config.backdate);
    let mut not_after = order.not_after.unwrap_or(order.not_before.unwrap_or(now) + lifetime);
    let mut names = order.identifiers.clone();
    let stranger;
    let mut key = &csr.key;
    match lie {
        None | Some(LeafLie::Authority | LeafLie::StagingRoot) => {}
        Some(LeafLie::OtherKey) => {
            stranger = unrelated_key()?;
            key = &stranger;
        }
        Some(LeafLie::MissingName) => {
            names.pop();
            if names.is_empty() {
                names.push(Identifier::Dns("someone-else.example".to_owned()));
            }
        }
        Some(LeafLie::Expired) => {
            not_after = now - HOUR;
            not_before = not_after - lifetime;
        }
        Some(LeafLie::NotYetValid) => {
            not_before = now + HOUR;
            not_after = not_before + lifetime;
        }
        Some(LeafLie::ExtraName) => names.push(Identifier::Dns("extra.example".to_owned())),
        Some(LeafLie::Year1970) => {
            not_before = OffsetDateTime::UNIX_EPOCH;
            not_after = not_before + 24 * HOUR;
        }
        // 9999-12-31T23:59:59Z.
        Some(LeafLie::Year9999) => {
            not_after = OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(253_402_300_799);
        }
        Some(LeafLie::Reversed) => (not_before, not_after) = (now + HOUR, now - HOUR),
    }
    let authority = lie == Some(LeafLie::Authority);
    let staged = lie == Some(LeafLie::StagingRoot);
    let plan = LeafPlan { key, names, not_before, not_after, common_name: ca.config.common_name, authority };
    let signer = if staged { &ca.staging } else { &ca.hierarchy };
    let leaf = signer.sign_leaf(&plan).map_err(|error| broken(&error))?;
    let facts = LeafFacts::read(leaf.der()).ok_or_else(|| broken(&"the leaf can not be read back"))?;
    let certificate = Certificate {
        account: order.account.clone(),
        order: order_id.to_owned(),
        cert_id: facts.cert_id,
        serial: facts.serial,
        names: plan.names.iter().map(ToString::to_string).collect(),
        profile: order.profile.clone(),
        replaces: order.replaces.clone(),
        not_before,
        not_after,
        leaf_der: leaf.der().to_vec(),
        leaf_pem: leaf.pem(),
        key: facts.key,
        revoked: None,
        staged,
    };
    let exempt = order.exempt;
    let identifiers = order.identifiers.clone();
    state.meters.issued(&identifiers, exempt);
    let id = random_text::<8>();
    state.certificates.insert(id.clone(), certificate);
    state.issued.push(id.clone());
    Ok(id)
}

fn unrelated_key() -> Result<SubjectPublicKeyInfo, Problem> {
    let key = KeyPair::generate().map_err(|error| broken(&error))?;
    SubjectPublicKeyInfo::from_der(&key.subject_public_key_info()).map_err(|error| broken(&error))
}

fn broken(error: &dyn std::fmt::Display) -> Problem {
    Problem::new("serverInternal", 500, format!("issuance: {error}"))
}
