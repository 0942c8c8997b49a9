//! What one lineage needs now: three chains of named checks over a gathered situation. In each
//! chain the first check that has something to say decides. Nothing here asks, sleeps or draws.
//!
//! - *Deploy*: this node's upkeep. Local, cheap, never held back by a claim.
//! - *Need*: does the fleet need a certificate?
//! - *Permit*: asked only when there is a need: may we ask for it now?

mod dead_names;
mod need;
mod permit;
mod upkeep;

use self::need::Need;
pub use self::need::abandoned;
pub use self::permit::{VALIDATIONS_PER_DAY, may_pull_forward};
pub use self::upkeep::tried_again;
use super::failure::Backoff;
use super::leaf::Leaf;
pub use super::plan::{Chain, Check, Issuance, Plan, Reason, Upkeep};
use super::record::LineageRecord;
pub use super::situation::{
    Awaiting, Foresight, OnDisk, Placement, Request, Situation, awaiting, may_wait, outputs_held, pinned,
    target, worth_returning_to,
};
use super::time::{Span, Timestamp};
use super::window::{RenewalPoint, RenewalWindow};

/// Longest time without a look, whatever the dates say.
const LOOK_AT_LEAST: Span = Span::DAY;
/// When to look again where something is to be done now: it is decided anew right after it is
/// done, so this counts only where the shell could not even note how it went.
const ACT_AGAIN: Span = Span::MINUTE;
/// A note dated further ahead of now was made by a clock that has been put back since, and its
/// dates bind nobody (F25). Smaller steps only lengthen a wait by themselves.
const STEPPED_BACK: Span = Span::HOUR;

/// The plan for a situation.
pub fn decide(situation: &Situation<'_>) -> Plan {
    Judge { s: situation, wake_at: situation.now + LOOK_AT_LEAST, checks: None }.plan().0
}

/// The plan, and every question on the way to it.
pub fn explain(situation: &Situation<'_>) -> (Plan, Vec<Check>) {
    Judge { s: situation, wake_at: situation.now + LOOK_AT_LEAST, checks: Some(Vec::new()) }.plan()
}

/// Until when the plan for a situation stays the same, if it is to hold as nothing is due, while
/// nothing changes but the time; `None` where there is more to it. Never later than the next date
/// that matters, however far away that is.
pub fn stands_until(situation: &Situation<'_>) -> Option<Timestamp> {
    let (plan, _) = Judge { s: situation, wake_at: Timestamp::MAX, checks: None }.plan();
    let nothing = plan.upkeep == Upkeep::Hold && plan.issuance == Issuance::Hold(Reason::NotDue);
    nothing.then_some(plan.wake_at)
}

/// The plan at `now` of what [`stands_until`] `until`, which is later.
pub fn standing(now: Timestamp, until: Timestamp) -> Plan {
    let issuance = Issuance::Hold(Reason::NotDue);
    Plan { upkeep: Upkeep::Hold, issuance, wake_at: until.min(now + LOOK_AT_LEAST) }
}

/// The instant to renew: the stored choice while its window stands, else a new one.
pub fn renewal_point(record: &LineageRecord) -> Option<RenewalPoint> {
    let leaf = record.leaf()?;
    let suggested = record
        .reading
        .as_ref()
        .filter(|reading| Some(&reading.ari_id) == leaf.ari_id.as_ref())
        .and_then(|reading| reading.window)
        .and_then(|window| RenewalWindow::by_ari(leaf, window));
    let window = suggested.unwrap_or_else(|| RenewalWindow::by_lifetime(leaf));
    match record.point {
        Some(point) if point.window == window => Some(point),
        _ => Some(window.point(leaf)),
    }
}

/// The wait arithmetic for this lineage.
pub fn backoff(record: &LineageRecord) -> Backoff {
    Backoff { lifetime: record.leaf().map_or(Span::days(90), Leaf::lifetime) }
}

#[cfg(test)]
mod tests;

struct Judge<'a> {
    s: &'a Situation<'a>,
    wake_at: Timestamp,
    checks: Option<Vec<Check>>,
}

impl Judge<'_> {
    fn plan(mut self) -> (Plan, Vec<Check>) {
        let upkeep = self.upkeep();
        let issuance = self.issuance();
        if upkeep != Upkeep::Hold || acts(&issuance) {
            self.wake(self.s.now + ACT_AGAIN);
        }
        let wake_at = self.wake_at.max(self.s.now + Span::from_millis(1));
        (Plan { upkeep, issuance, wake_at }, self.checks.unwrap_or_default())
    }

    fn note(&mut self, chain: Chain, question: &'static str, answer: impl FnOnce() -> String) {
        if let Some(checks) = &mut self.checks {
            checks.push(Check { chain, question, answer: answer() });
        }
    }

    fn wake(&mut self, at: Timestamp) {
        if at > self.s.now {
            self.wake_at = self.wake_at.min(at);
        }
    }

    fn issuance(&mut self) -> Issuance {
        let s = self.s;
        let Some(spec) = s.spec else {
            self.note(Chain::Need, "in the configuration?", || "no: kept, not renewed".into());
            return Issuance::Hold(Reason::Retired);
        };
        let Some((need, names)) = self.need(spec) else {
            return Issuance::Hold(Reason::NotDue);
        };
        let issuance = match need {
            Need::Reading => Issuance::Refresh,
            Need::Certificate(need) => match self.permit(spec, need, &names) {
                Some(held) => held,
                None if need == Reason::AttemptOpen => Issuance::Resume,
                None if s.record.current.is_none() => Issuance::Issue { names, why: need },
                None => Issuance::Renew { names, why: need },
            },
        };
        if s.request.upkeep_only && acts(&issuance) {
            // Asked for all the same, as its waits are dates to wake for.
            self.wake(s.now + ACT_AGAIN);
            return Issuance::Hold(Reason::UpkeepOnly);
        }
        issuance
    }
}

/// Something is asked of the outside now.
const fn acts(issuance: &Issuance) -> bool {
    !matches!(issuance, Issuance::Hold(_) | Issuance::Suspend { .. })
}

fn from_the_future(noted: Timestamp, now: Timestamp) -> bool {
    noted.since(now) > STEPPED_BACK
}

fn yes(answer: bool) -> String {
    if answer { "yes" } else { "no" }.into()
}
