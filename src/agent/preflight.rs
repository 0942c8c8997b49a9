//! Looking before the leap: what names look like to a CA, asked for free, before an attempt is spent
//! and after one was refused.

use crate::agent::{Agent, Scene};
use crate::core::decide::{Foresight, Request};
use crate::core::event::Event;
use crate::core::failure::{Failure, Fault, plain};
use crate::core::finding::{Finding, Weight};
use crate::core::name::SubjectName;
use crate::core::preflight::{IssuerView, PUT_OFF, hopeless, judge, together, worth_a_wait};
use crate::core::record::LineageRecord;
use crate::core::spec::{LineageSpec, Wanted};
use crate::core::time::Span;
use crate::core::window::last_resort;
use crate::ports::{Inquiry, Preflight};

/// Longest look once the CA has refused, and longest wait for what it calls itself.
const WITHIN: Span = Span::secs(20);
/// Longest look before a first order: nobody has said yet that anything is wrong.
const FIRST_WITHIN: Span = Span::secs(10);

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
        within: Span,
    ) -> Vec<Finding> {
        let Some(preflight) = &self.preflight else { return Vec::new() };
        // The one that is asked now is the one that counts.
        let mut issuers = Vec::new();
        if let Some(id) = spec.issuer()
            && let Some(ca) = scene.cas.get(id)
        {
            issuers.push(IssuerView {
                id: id.clone(),
                identities: self.clock.timeout(within, ca.caa_identities()).await.and_then(Result::ok),
                account: ca.known_account().await.ok().flatten(),
            });
        }
        foresee(&**preflight, &scene.wanted, spec, names, &issuers, within).await.findings
    }
}

impl Agent {
    /// Before an order: what is seen of its names from here, and whether that is reason not to make it now.
    ///
    /// Codes: `put-off`, and those of findings.
    pub(super) async fn foretell(
        &self,
        scene: &Scene,
        spec: &LineageSpec,
        record: &LineageRecord,
        names: &[SubjectName],
        request: &Request,
    ) -> Result<(), Failure> {
        match puts_off(record, spec, names) {
            Some(_) if request.foresight == Foresight::Skipped => Ok(()),
            Some(before) => {
                let heeded = request.foresight == Foresight::Heeded;
                self.look_ahead(scene, spec, record, names, heeded.then_some(before)).await
            }
            None if request.by_hand || request.force => Ok(()),
            None => self.worth_trying(scene, spec, record, names).await,
        }
    }

    /// Before a first order, of which nothing is known from the CA: names that the certificate in hand
    /// lacks are looked at. `before`: how often it was put off already, where it may be.
    async fn look_ahead(
        &self,
        scene: &Scene,
        spec: &LineageSpec,
        record: &LineageRecord,
        names: &[SubjectName],
        before: Option<u32>,
    ) -> Result<(), Failure> {
        let Some(preflight) = &self.preflight else { return Ok(()) };
        let proved = |name: &SubjectName| {
            record.current.as_ref().is_some_and(|current| {
                current.names.contains(name)
                    && current.issuer.as_ref().is_none_or(|id| spec.issuers.contains(id))
            })
        };
        let seen: Vec<_> =
            names.iter().filter(|name| !proved(name) && preflight.could_see(name)).cloned().collect();
        if seen.is_empty() {
            return Ok(());
        }
        let mut findings = self.foresee(scene, spec, &seen, FIRST_WITHIN).await;
        without_what_hooks_start(spec, &mut findings);
        let late = record.leaf().is_some_and(|leaf| self.clock.now() >= last_resort(leaf));
        if let Some(before) = before.filter(|_| !late)
            && let Some(finding) = worth_a_wait(before, &findings)
        {
            let words = told(std::slice::from_ref(finding)).unwrap_or_default();
            let words = format!(
                "the CA was not asked yet: {words}; if DNS is another for the CA, `nolapse renew {}` asks it now",
                spec.id
            );
            return Err(Failure::transient(Fault::Config, PUT_OFF, words));
        }
        if let Some(words) = told(&findings) {
            self.tell(&Event::Foreseen { lineage: spec.id.clone(), words });
        }
        Ok(())
    }

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
        let mut findings = self.foresee(scene, spec, names, WITHIN).await;
        without_what_hooks_start(spec, &mut findings);
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
        match told(&self.foresee(scene, spec, &names, WITHIN).await) {
            Some(told) => {
                let words = format!("{}; looked at from here: {told}", failure.words);
                Failure { words: plain(&words, Failure::WORDS_MAX), ..failure }
            }
            None => failure,
        }
    }
}

/// How often the first order of an entry's names was put off; `None` where the CA was asked for them before,
/// or others are asked for.
fn puts_off(record: &LineageRecord, spec: &LineageSpec, names: &[SubjectName]) -> Option<u32> {
    if spec.same_names(&record.names) || !spec.same_names(names) {
        return None;
    }
    let put_off = record.trouble.as_ref().filter(|trouble| {
        trouble.failure.code == PUT_OFF
            && spec.same_names(&trouble.names)
            && spec.issuer() == Some(&trouble.issuer)
    });
    Some(put_off.map_or(0, |trouble| trouble.count))
}

/// Hooks before an attempt may start what answers.
fn without_what_hooks_start(spec: &LineageSpec, findings: &mut Vec<Finding>) {
    if !spec.around.before.is_empty() {
        findings.retain(|finding| finding.code != "unreachable");
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
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;
    use crate::core::name::{IssuerId, LineageId};
    use crate::core::record::Trouble;
    use crate::core::spec::{KeyKind, Terms};
    use crate::core::time::Timestamp;

    fn names(texts: &[&str]) -> Vec<SubjectName> {
        texts.iter().map(|text| SubjectName::parse(text).unwrap()).collect()
    }

    fn spec(wanted: &[&str]) -> LineageSpec {
        let terms = Terms {
            issuers: vec![IssuerId::parse("first").unwrap()],
            profile: None,
            key: KeyKind::EcdsaP256,
            reuse_key: false,
            solvers: Vec::new(),
            on_dead_name: crate::core::spec::OnDeadName::default(),
            hooks: Vec::new(),
            after: Vec::new(),
            around: crate::core::spec::Around::default(),
            observe_timeout: Span::secs(30),
            deploy_window: None,
            rights: Arc::default(),
            labels: crate::core::labels::Labels::default(),
        };
        LineageSpec {
            id: LineageId::parse("a.example").unwrap(),
            names: names(wanted).into(),
            endpoints: crate::core::list::List::default(),
            outputs: crate::core::list::List::default(),
            origin: crate::core::spec::Origin::default(),
            terms: Arc::new(terms),
        }
    }

    #[test]
    fn f38_only_the_first_order_of_a_set_of_names_is_looked_at_and_a_renewal_asks_nobody() {
        let spec = spec(&["a.example", "b.example"]);
        let both = spec.names.to_vec();
        let trouble = |code: &str, count: u32, issuer: &str, of: &[SubjectName]| Trouble {
            count,
            since: Timestamp::from_secs(0),
            last_at: Timestamp::from_secs(0),
            next_at: Timestamp::from_secs(0),
            probed_at: None,
            failure: Failure::transient(Fault::Config, code, "x"),
            names: of.to_vec(),
            issuer: IssuerId::parse(issuer).unwrap(),
        };
        let put_off = |count| Some(trouble(PUT_OFF, count, "first", &both));
        for (situation, asked_for, failed, tried, expected) in [
            ("nothing was ever tried", &[][..], None, &both, Some(0)),
            ("it was put off once", &[], put_off(1), &both, Some(1)),
            ("and twice", &[], put_off(2), &both, Some(2)),
            ("a port was taken", &[], Some(trouble("port-in-use", 5, "first", &both)), &both, Some(0)),
            ("another CA was meant", &[], Some(trouble(PUT_OFF, 2, "second", &both)), &both, Some(0)),
            ("a name was added", &both[..1], None, &both, Some(0)),
            ("then it was put off", &both[..1], put_off(1), &both, Some(1)),
            ("it was ordered before", &both, None, &both, None),
            ("the CA refused it", &both, Some(trouble("caa", 1, "first", &both)), &both, None),
            ("the old names at last resort", &both[..1], put_off(1), &both[..1].to_vec(), None),
        ] {
            let mut record = LineageRecord::new(spec.id.clone());
            record.names = asked_for.to_vec();
            record.trouble = failed;
            assert_eq!(puts_off(&record, &spec, tried), expected, "{situation}");
        }
    }

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
