//! Looking before the leap: what names look like to a CA, asked for free, before an attempt is spent
//! and after one was refused.

use crate::agent::{Agent, Scene};
use crate::core::failure::{Failure, Fault, plain};
use crate::core::finding::{Finding, Weight};
use crate::core::name::SubjectName;
use crate::core::preflight::{IssuerView, hopeless, judge, together};
use crate::core::record::LineageRecord;
use crate::core::spec::{LineageSpec, Wanted};
use crate::core::time::Span;
use crate::core::window::last_resort;
use crate::ports::{Inquiry, Preflight};

/// Longest look while an attempt waits for it.
const WITHIN: Span = Span::secs(20);

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

impl Agent {
    /// After a failure: whether what the CA refused for is still to be seen from here. At last resort
    /// nothing holds a try back.
    ///
    /// Codes: those of the findings.
    pub(super) async fn worth_trying(
        &self,
        scene: &Scene,
        spec: &LineageSpec,
        record: &LineageRecord,
        names: &[SubjectName],
    ) -> Result<(), Failure> {
        let Some(trouble) = &record.trouble else { return Ok(()) };
        let late = record.leaf().is_some_and(|leaf| self.clock.now() >= last_resort(leaf));
        // Of a changed set of names nothing was refused yet, and not by another CA either.
        let other_ca = spec.issuer() != Some(&trouble.issuer);
        if late || other_ca || !spec.same_names(&trouble.names) && trouble.names != names {
            return Ok(());
        }
        let mut findings = self.foresee(scene, spec, names).await;
        if !spec.around.before.is_empty() {
            // What they start may be what answers.
            findings.retain(|finding| finding.code != "unreachable");
        }
        let Some(finding) = hopeless(&trouble.failure.code, trouble.count, &findings) else { return Ok(()) };
        let words = told(std::slice::from_ref(finding)).unwrap_or_default();
        // Not refused for good: free looks go on, and the next one that finds it mended ends the wait.
        let held =
            Failure::transient(Fault::Config, &finding.code, format!("the CA was not asked again: {words}"));
        // Who is to blame is known from the CA still.
        Err(held.blaming_all(trouble.failure.names().cloned()))
    }

    /// Adds what is seen from here to a CA's words about names.
    pub(super) async fn with_foresight(
        &self,
        scene: &Scene,
        spec: &LineageSpec,
        failure: Failure,
    ) -> Failure {
        let about_names = failure.reached_validation || matches!(failure.code.as_str(), "caa" | "order-caa");
        if self.preflight.is_none() || !about_names {
            return failure;
        }
        let mut names: Vec<_> = failure.names().cloned().collect();
        if names.is_empty() {
            names = spec.names.to_vec();
        }
        match told(&self.foresee(scene, spec, &names).await) {
            Some(told) => {
                let words = format!("{}; looked at from here: {told}", failure.words);
                Failure { words: plain(&words, Failure::WORDS_MAX), ..failure }
            }
            None => failure,
        }
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
        assert_eq!(told(std::slice::from_ref(&note)), None);
        assert_eq!(
            told(&[grave.clone(), note, grave.clone(), grave]).unwrap().matches("caa-denies").count(),
            TOLD_MOST
        );
    }
}
