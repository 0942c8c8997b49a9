//! What is remembered of a lineage of which there is nothing to say: that it holds, until when, and
//! what people would be shown of it. The inputs that it was judged from are the shell's to compare;
//! why that is enough is in `docs/decisions/0015-what-holds-is-remembered.md`.

use super::census::{Row, Standing};
use super::decide::{Placement, Plan, Situation, renewal_point, standing, stands_until};
use super::endpoint::Endpoint;
use super::ladder::{Ladder, Observed};
use super::leaf::Brief;
use super::name::HookId;
use super::record::{EndpointNote, GenerationNumber, Issued, Sight};
use super::spec::LineageSpec;
use super::time::Timestamp;

/// Not due, installed, told and seen; and nobody's trouble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memo {
    /// The first instant at which anything could be due.
    pub until: Timestamp,
    pub generation: GenerationNumber,
    /// Which of the entry's issuers it is shown with.
    pub issuer: u8,
    /// The leaf that is current, installed, and served wherever there is an endpoint.
    pub leaf: Brief,
    pub renews_at: Option<Timestamp>,
    /// One for each endpoint of the entry, in its order.
    pub looks: Vec<Look>,
    /// When each hook of the entry was told, in its order.
    pub told_at: Vec<Option<Timestamp>>,
}

/// An endpoint was seen to serve the leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    pub at: Timestamp,
    pub next_at: Timestamp,
    /// Why the chain is not trusted.
    pub words: Option<String>,
}

impl Memo {
    /// `None` where there is anything to say. What is asked by hand must be nothing.
    pub fn of(s: &Situation<'_>) -> Option<Self> {
        let (spec, current) = (s.spec?, s.record.current.as_ref()?);
        let until = stands_until(s)?;
        let shown = |placement: &Placement| *placement == Placement::Shows(current.number);
        let quiet = s.record.trouble.is_none()
            && s.record.persist.is_empty()
            && s.record.attempt.is_none()
            && s.record.pause.is_none()
            && s.record.pin.is_none()
            && s.record.debts.is_empty()
            && s.installed.refused.is_none()
            && s.installed.held_back.is_none()
            && s.installed.foreign.is_none()
            && shown(&s.disk.live)
            && s.disk.outputs.iter().all(|(_, placement)| shown(placement));
        if !quiet {
            return None;
        }
        let issuer = match &current.issuer {
            Some(issuer) => spec.issuers.iter().position(|known| known == issuer)?,
            None => 0,
        };
        let look = |endpoint: &Endpoint| seen(s.installed.endpoints.get(endpoint)?, current);
        let told_at = |hook: &HookId| {
            let note = s.installed.hooks.get(hook)?;
            let done = note.done >= current.number && note.failures == 0;
            (done && note.next_at.is_none() && note.words.is_none()).then_some(note.done_at)
        };
        Some(Self {
            until,
            generation: current.number,
            issuer: u8::try_from(issuer).ok()?,
            leaf: current.leaf.brief(),
            renews_at: renewal_point(s.record).map(|point| point.at),
            looks: spec.endpoints.iter().map(look).collect::<Option<_>>()?,
            told_at: spec.hooks.iter().map(told_at).collect::<Option<_>>()?,
        })
    }

    /// Between the judgement and `until`.
    pub fn plan(&self, now: Timestamp) -> Plan {
        standing(now, self.until)
    }

    pub fn row(&self, spec: &LineageSpec) -> Row {
        Row {
            lineage: spec.id.clone(),
            issuer: spec.issuers.get(usize::from(self.issuer)).cloned(),
            not_after: Some(self.leaf.not_after),
            served_until: (!self.looks.is_empty()).then_some(self.leaf.not_after),
            owed: 0,
            mismatched: 0,
            standing: if self.looks.is_empty() { Standing::Unverified } else { Standing::Observed },
            trouble: None,
            plight: None,
        }
    }

    pub fn ladder(&self) -> Ladder {
        Ladder {
            issued: true,
            installed: true,
            hooks_owed: Vec::new(),
            endpoints_owed: Vec::new(),
            deploys_at: None,
            refused: None,
            pinned: None,
            observed: if self.looks.is_empty() { Observed::Unverified } else { Observed::Yes },
        }
    }
}

fn seen(note: &EndpointNote, current: &Issued) -> Option<Look> {
    let same = note.leaf.as_ref().is_some_and(|leaf| leaf.brief() == current.leaf.brief());
    // What was counted over several looks, or found in a chain, is told from the note.
    let plain = note.tally.is_none() && note.flaws.is_empty() && !note.accepted;
    let well = same && plain && note.sight == Sight::New && note.generation == current.number;
    well.then(|| Look { at: note.at, next_at: note.next_at, words: note.words.clone() })
}
