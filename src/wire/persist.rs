//! What `dns-persist` prints: the texts that a certificate's names need, and what stands there now.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::agent::{Book, Scene};
use crate::core::failure::{Failure, Fault};
use crate::core::name::{IssuerId, LineageId, SubjectName};
use crate::core::order::PersistTerms;
use crate::core::spec::{PersistSpec, SolverKind, SolverSpec};
use crate::core::time::Timestamp;
use crate::solve::dns::Lookup;
use crate::solve::persist::{PersistEye, wanted};
use crate::wire::Wired;

/// One text to set, for one or two names: a wildcard and its apex share a place.
pub struct PersistSheet {
    pub issuer: IssuerId,
    pub names: Vec<SubjectName>,
    /// As a zone file has it.
    pub line: String,
    /// Whether it allows every name below, as the certificate's wildcard needs.
    pub wildcard: bool,
    /// What each server shows, one a line.
    pub servers: Vec<String>,
    /// When what stands ends, if it does; or what is wrong with it.
    pub verdict: Result<Option<Timestamp>, Failure>,
}

/// For every issuer and name of a certificate. Opens the account, places no order, and changes nothing in DNS.
///
/// Codes: `persist-unknown`, and those of the CA's account.
pub async fn persist_sheets(
    wired: &Wired,
    id: &LineageId,
    until: Option<Timestamp>,
) -> Result<Vec<PersistSheet>, Failure> {
    let scene = wired.agent.scene();
    let Some(spec) = scene.wanted.lineages.get(id) else { return Ok(Vec::new()) };
    let record = Book::new(&*wired.agent.store).record(id).await?;
    let eye = eye(&scene, id, &wired.agent.clock);
    let mut by_base: BTreeMap<&str, Vec<SubjectName>> = BTreeMap::new();
    for name in &spec.names {
        if let Some(base) = name.base() {
            by_base.entry(base).or_default().push(name.clone());
        }
    }
    let mut sheets = Vec::new();
    for issuer in &spec.issuers {
        let Some(ca) = scene.cas.get(issuer) else { continue };
        for (base, names) in &by_base {
            let guessed = ca.persist_terms(base).await?;
            // Opened just now, where it was not known before.
            let account = ca.known_account().await?;
            let learned = record.value.persist_terms(names, issuer, account.as_deref());
            let Some(terms) = learned.or(guessed) else {
                let words = format!(
                    "the directory of {issuer} does not tell what a text for dns-persist-01 must hold; the first \
                     renewal with a solver of that type learns it from the order, and its failure tells the text"
                );
                return Err(Failure::refused(Fault::Ca, "persist-unknown", words));
            };
            sheets.push(sheet(&eye, issuer, names.clone(), &terms, until).await);
        }
    }
    Ok(sheets)
}

async fn sheet(
    eye: &PersistEye,
    issuer: &IssuerId,
    names: Vec<SubjectName>,
    terms: &PersistTerms,
    until: Option<Timestamp>,
) -> PersistSheet {
    // What a wildcard needs is enough for its apex.
    let name = names.iter().find(|name| name.is_wildcard()).or_else(|| names.first()).cloned();
    let mut sheet = PersistSheet {
        issuer: issuer.clone(),
        names,
        line: String::new(),
        wildcard: name.as_ref().is_some_and(SubjectName::is_wildcard),
        servers: Vec::new(),
        verdict: Ok(None),
    };
    let Some(name) = name else { return sheet };
    let place = name.base().and_then(crate::codec::persist::place_of);
    if let (Some(record), Some(place)) = (wanted(&name, terms), &place) {
        sheet.line = crate::codec::persist::PersistRecord { until, ..record }.zone_line(place);
    }
    match eye.look(&name, terms).await {
        Ok(view) => {
            sheet.servers = view.servers.iter().map(ToString::to_string).collect();
            sheet.verdict = view.verdict(&name, terms);
        }
        Err(failure) => sheet.verdict = Err(failure),
    }
    sheet
}

/// As the certificate's own solver looks, where it has one of that type.
fn eye(scene: &Scene, id: &LineageId, clock: &crate::sys::clock::Clock) -> PersistEye {
    let solvers = scene.wanted.lineages.get(id).map(|spec| spec.solvers.clone()).unwrap_or_default();
    let found =
        solvers.iter().filter_map(|id| scene.wanted.solvers.get(id)).find_map(|solver| match solver {
            SolverSpec { kind: SolverKind::Persist(persist), check_port, .. } => Some((persist, *check_port)),
            _ => None,
        });
    let usual = PersistSpec::default();
    let (persist, port) = found.unwrap_or((&usual, None));
    let lookup = Lookup::new(persist.resolvers.clone(), port.unwrap_or(super::scene::DNS_PORT), clock);
    PersistEye::new(Arc::new(lookup), persist.authoritative.clone(), clock)
}
