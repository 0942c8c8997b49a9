//! Three questions with three answers. `/livez`: does the loop move? `/readyz`: could every
//! server start with what is installed? `/healthz`: do clients see what they should?

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::Now;
use super::pulse::Pulse;
use crate::core::census::Census;
use crate::core::time::Timestamp;

/// What the answers are made from. No answer waits for the agent.
pub struct Health {
    pulse: Arc<Pulse>,
    now: Now,
    census: Mutex<Option<Arc<Census>>>,
}

/// An answer to one of the questions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Answer {
    /// Also the HTTP status: 200 or 503.
    pub ok: bool,
    pub now: Timestamp,
    /// End of the last pass; `None` before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_pass: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lineages: Option<usize>,
    /// At most [`Health::WRONG_MAX`]; `more` counts the rest.
    pub wrong: Vec<Complaint>,
    pub more: usize,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Complaint {
    /// `None` where it concerns the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lineage: Option<String>,
    pub code: &'static str,
    pub words: String,
}

impl Health {
    /// Complaints listed in one answer.
    pub const WRONG_MAX: usize = 100;

    pub fn new(pulse: Arc<Pulse>, now: Now) -> Self {
        Self { pulse, now, census: Mutex::default() }
    }

    /// Takes the state after a pass.
    pub fn set(&self, census: Arc<Census>) {
        *self.census.lock().unwrap_or_else(PoisonError::into_inner) = Some(census);
    }

    /// Loop progress and nothing else: a restart mends a hang, never a CA that is down.
    pub fn live(&self) -> Answer {
        let census = self.latest();
        self.answer(census.as_deref(), self.hang().into_iter())
    }

    /// Whether every lineage has a pair that is valid now.
    pub fn ready(&self) -> Answer {
        let (census, now) = (self.latest(), (self.now)());
        match census.as_deref() {
            None => self.answer(None, std::iter::once(no_pass())),
            Some(census) => self.answer(
                Some(census),
                census.unusable(now).map(|row| Complaint {
                    lineage: Some(row.lineage.to_string()),
                    code: "not-usable",
                    words: "no pair that is valid now is installed".into(),
                }),
            ),
        }
    }

    /// Everything, served truth included.
    pub fn healthy(&self) -> Answer {
        let (census, now) = (self.latest(), (self.now)());
        let first = self.hang().into_iter().chain(census.is_none().then(no_pass));
        let rest = census.iter().flat_map(|census| census.wrongs(now)).map(|wrong| Complaint {
            lineage: Some(wrong.lineage.to_string()),
            code: wrong.code,
            words: wrong.words,
        });
        self.answer(census.as_deref(), first.chain(rest))
    }

    fn answer(&self, census: Option<&Census>, complaints: impl Iterator<Item = Complaint>) -> Answer {
        let mut complaints = complaints;
        let wrong: Vec<_> = complaints.by_ref().take(Self::WRONG_MAX).collect();
        Answer {
            ok: wrong.is_empty(),
            now: (self.now)(),
            last_pass: census.map(|census| census.at),
            lineages: census.map(|census| census.rows.len()),
            wrong,
            more: complaints.count(),
        }
    }

    fn hang(&self) -> Option<Complaint> {
        let late = self.pulse.overdue()?;
        Some(Complaint {
            lineage: None,
            code: "loop-stuck",
            words: format!("the loop should have moved {late} ago"),
        })
    }

    fn latest(&self) -> Option<Arc<Census>> {
        self.census.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn no_pass() -> Complaint {
    Complaint { lineage: None, code: "starting", words: "the first pass has not ended yet".into() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::core::census::{Row, Standing};
    use crate::core::name::LineageId;
    use crate::core::time::Span;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn health() -> (Health, Arc<Pulse>) {
        let pulse = Arc::new(Pulse::default());
        (Health::new(pulse.clone(), Arc::new(|| NOW)), pulse)
    }

    fn row(number: usize, left: Span, mismatched: u32) -> Row {
        Row {
            lineage: LineageId::parse(&format!("host{number}.example")).unwrap(),
            issuer: None,
            not_after: Some(NOW + left),
            served_until: None,
            owed: 0,
            mismatched,
            standing: Standing::Installed,
            trouble: None,
            plight: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hang_is_neither_readiness_nor_truth_and_truth_is_not_life() {
        let (health, pulse) = health();
        assert!(health.live().ok, "starting is alive");
        assert_eq!(health.ready().wrong[0].code, "starting");
        pulse.beat(Span::HOUR);

        health.set(Arc::new(Census::of(NOW, vec![row(1, Span::days(3), 1)])));
        assert!(health.live().ok);
        assert!(health.ready().ok, "installed is ready, whatever is served");
        assert_eq!(health.healthy().wrong[0].code, "served-other");

        health.set(Arc::new(Census::of(NOW, vec![row(1, Span::ZERO, 0)])));
        assert!(health.live().ok, "an expired certificate is no reason to restart");
        assert_eq!(health.ready().wrong[0].lineage.as_deref(), Some("host1.example"));

        tokio::time::advance(Span::hours(2).to_std()).await;
        assert_eq!(health.live().wrong[0].code, "loop-stuck");
        assert_eq!(health.healthy().wrong.len(), 2);
    }

    #[test]
    fn a_thousand_complaints_are_a_hundred_and_a_number() {
        let (health, _) = health();
        let rows = (0..1000).map(|number| row(number, Span::ZERO, 0)).collect();
        health.set(Arc::new(Census::of(NOW, rows)));
        let answer = health.healthy();
        assert_eq!((answer.wrong.len(), answer.more, answer.ok), (Health::WRONG_MAX, 900, false));
    }
}
