//! Looking before the leap: what names look like to a CA, asked for free, before an attempt is spent
//! and after one was refused.

use crate::agent::{Agent, Scene};
use crate::core::finding::{Finding, Weight};
use crate::core::name::SubjectName;
use crate::core::preflight::{IssuerView, judge, together};
use crate::core::spec::{LineageSpec, Wanted};
use crate::core::time::Span;
use crate::ports::{Inquiry, Preflight};

/// Longest look while an attempt waits for it.
const WITHIN: Span = Span::secs(30);

/// What was found of some names of a lineage.
#[derive(Clone, Debug, Default)]
pub struct Foreseen {
    /// The worst first; what is the same of many names is said once.
    pub findings: Vec<Finding>,
    /// Names that there was no time for.
    pub unseen: usize,
}

/// Looks at `names` as the issuers of `spec` will.
pub async fn foresee(
    preflight: &dyn Preflight,
    wanted: &Wanted,
    spec: &LineageSpec,
    names: &[SubjectName],
    issuers: &[IssuerView],
    within: Span,
) -> Foreseen {
    let solvers = spec.solvers.iter().filter_map(|id| wanted.solvers.get(id)).cloned().collect();
    let inquiry = Inquiry { names: names.to_vec(), solvers, within };
    let facts = preflight.look(&inquiry).await;
    let of_names: Vec<_> = facts.iter().map(|facts| (facts.name.clone(), judge(facts, issuers))).collect();
    Foreseen { findings: together(&of_names), unseen: names.len().saturating_sub(facts.len()) }
}

impl Agent {
    /// What speaks against an attempt for `names` now; nothing where nobody looks.
    pub(super) async fn foresee(
        &self,
        scene: &Scene,
        spec: &LineageSpec,
        names: &[SubjectName],
    ) -> Vec<Finding> {
        let Some(preflight) = &self.preflight else { return Vec::new() };
        // The one that is asked now is the one that counts.
        let mut issuers = Vec::new();
        if let Some(id) = spec.issuer()
            && let Some(ca) = scene.cas.get(id)
        {
            issuers.push(IssuerView {
                id: id.clone(),
                identities: ca.caa_identities().await.ok(),
                account: ca.known_account().await.ok().flatten(),
            });
        }
        foresee(&**preflight, &scene.wanted, spec, names, &issuers, WITHIN).await.findings
    }
}

/// The gravest findings as one sentence for a failure's words; `None` where nothing is worth telling.
pub(super) fn told(findings: &[Finding]) -> Option<String> {
    let worth = findings.iter().filter(|finding| finding.weight > Weight::Note);
    let told: Vec<_> = worth
        .take(TOLD_MOST)
        .map(|finding| {
            let Finding { code, words, evidence, fix, .. } = finding;
            format!("{words} ({evidence}) [{code}]; {fix}")
        })
        .collect();
    (!told.is_empty()).then(|| told.join(". "))
}

/// Findings told beside a CA's words; `doctor` shows all.
const TOLD_MOST: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_beside_a_refusal_is_short_and_leaves_notes_out() {
        let grave = Finding::error("caa-denies", "a.example: nobody may issue").seen("CAA").fix("add one");
        let note = Finding::note("dns-silent", "x");
        assert_eq!(told(&[note.clone()]), None);
        assert_eq!(
            told(&[grave.clone(), note, grave.clone(), grave]).unwrap().matches("caa-denies").count(),
            TOLD_MOST
        );
    }
}
