//! Asked only when there is a need: may the CA be asked now?

use super::dead_names::lacks_dead_names;
use super::{Judge, backoff, from_the_future, renewal_point};
use crate::core::attempt::Phase;
use crate::core::failure::{Backoff, Class};
use crate::core::name::{IssuerId, SubjectName};
use crate::core::plan::{Chain, Issuance, Reason};
use crate::core::record::{LineageRecord, Trouble};
use crate::core::spec::LineageSpec;
use crate::core::time::{Span, Timestamp};
use crate::core::window::last_resort;

/// How often a failing lineage gets a free look.
const PROBE_EVERY: Span = Span::minutes(30);
/// Least time between attempts that a free look pulled forward, after one that reached
/// validation: ten a day.
const PULL_AFTER_VALIDATION: Span = Span::minutes(144);
/// Failed validations that one name may have in a day, far from where CAs pause a name.
pub const VALIDATIONS_PER_DAY: usize = 10;
/// Longest wait at last resort, before the lifetime's scale.
const LAST_RESORT_WAIT: Span = Span::HOUR;

/// Whether a free look that passed may start the next attempt now.
pub fn may_pull_forward(record: &LineageRecord, trouble: &Trouble, now: Timestamp) -> bool {
    let backoff = backoff(record);
    let gap = if trouble.failure.reached_validation { PULL_AFTER_VALIDATION } else { PROBE_EVERY };
    now.since(trouble.last_at) >= backoff.scaled(gap)
}

impl Judge<'_> {
    pub(super) fn permit(
        &mut self,
        spec: &LineageSpec,
        need: Reason,
        names: &[SubjectName],
    ) -> Option<Issuance> {
        let s = self.s;
        let hold = |why, until| Some(Issuance::Suspend { need, why, until });
        if let Some(pause) = s.record.pause.as_ref().filter(|pause| pause.until > s.now) {
            self.note(Chain::Permit, "paused?", || {
                format!("until {}: {}", pause.until.brief(), pause.reason)
            });
            self.wake(pause.until);
            return hold(Reason::Paused, pause.until);
        }
        // Another CA's troubles say nothing about the one that is asked.
        let trouble = s.record.trouble.as_ref().filter(|trouble| {
            Some(&trouble.issuer) == self.asked(spec, need) && !from_the_future(trouble.last_at, s.now)
        });
        if let Some(Class::Limited { until }) = trouble.map(|t| t.failure.class)
            && until > s.now
        {
            self.note(Chain::Permit, "allowed by the CA?", || format!("not before {}", until.brief()));
            self.wake(until);
            return hold(Reason::CaLimit, until);
        }
        let by_hand = s.request.by_hand || s.request.force;
        let proven = need == Reason::AttemptOpen
            && s.record.attempt.as_ref().is_some_and(|a| a.phase >= Phase::Finalizing);
        if !proven && let Some((name, until)) = self.validation_cap(names) {
            self.note(Chain::Permit, "failed validations today?", || {
                format!("{VALIDATIONS_PER_DAY} of {name}; next {}", until.brief())
            });
            self.wake(until);
            return hold(Reason::ValidationCap, until);
        }
        if !by_hand
            && let Some(trouble) = trouble
            && self.still_counts(spec, trouble)
            && let Some(held) = self.wait_after(spec, need, trouble)
        {
            return Some(held);
        }
        if let Some(until) = self.too_soon(need) {
            self.note(Chain::Permit, "long enough since the last?", || {
                format!("not before {}", until.brief())
            });
            self.wake(until);
            return hold(Reason::TooSoon, until);
        }
        self.note(Chain::Permit, "may ask?", || "yes".into());
        None
    }

    fn asked<'a>(&'a self, spec: &'a LineageSpec, need: Reason) -> Option<&'a IssuerId> {
        match &self.s.record.attempt {
            Some(attempt) if need == Reason::AttemptOpen => Some(&attempt.issuer),
            _ => spec.issuer(),
        }
    }

    /// A changed entry starts afresh. Trying the old name set in its place, or one without dead names,
    /// is no change of the entry: the names that were wanted then are still wanted.
    fn still_counts(&self, spec: &LineageSpec, trouble: &Trouble) -> bool {
        let record = self.s.record;
        let old_set = || record.current.as_ref().is_some_and(|c| c.names == trouble.names);
        let fewer = || trouble.names.iter().all(|name| spec.names.contains(name));
        spec.same_names(&trouble.names) || (spec.same_names(&record.names) && (old_set() || fewer()))
    }

    fn wait_after(&mut self, spec: &LineageSpec, need: Reason, trouble: &Trouble) -> Option<Issuance> {
        let s = self.s;
        let backoff = backoff(s.record);
        let floor = trouble.last_at + backoff.floor(trouble.failure.reached_validation);
        let mut until = trouble.next_at.max(floor);
        if let Some(leaf) = s.record.leaf() {
            self.wake(last_resort(leaf));
        }
        if let Some(leaf) = s.record.leaf()
            && s.now >= last_resort(leaf)
        {
            let wait = backoff.scaled(LAST_RESORT_WAIT).min(Backoff::twelfth(leaf.left(s.now)));
            until = until.min((trouble.last_at + wait).max(floor));
        }
        if until <= s.now {
            return None;
        }
        self.note(Chain::Permit, "backing off?", || {
            let failures = if trouble.count == 1 { "failure" } else { "failures" };
            format!("until {} after {} {failures}: {}", until.brief(), trouble.count, trouble.failure.code)
        });
        let probed_at = trouble.probed_at.filter(|at| *at <= s.now);
        let probe_at =
            probed_at.unwrap_or(trouble.last_at).max(trouble.last_at) + backoff.scaled(PROBE_EVERY);
        let looks_help = !matches!(trouble.failure.class, Class::Refused | Class::Broken)
            && !lacks_dead_names(spec, s.record);
        if !looks_help || probe_at >= until {
            self.wake(until);
            return Some(Issuance::Suspend { need, why: Reason::BackingOff, until });
        }
        if s.now >= probe_at {
            return Some(Issuance::Probe { need });
        }
        self.wake(probe_at);
        Some(Issuance::Suspend { need, why: Reason::BackingOff, until })
    }

    /// The name that failed too often today and when it may be tried again.
    fn validation_cap(&self, names: &[SubjectName]) -> Option<(SubjectName, Timestamp)> {
        let s = self.s;
        let day = backoff(s.record).scaled(Span::DAY);
        names
            .iter()
            .filter_map(|name| {
                let recent: Vec<_> = s
                    .record
                    .failed_validations
                    .iter()
                    .filter(|failed| failed.name == *name && failed.at + day > s.now && failed.at <= s.now)
                    .map(|failed| failed.at)
                    .collect();
                let oldest = recent.len().checked_sub(VALIDATIONS_PER_DAY)?;
                Some((name.clone(), recent[oldest] + day))
            })
            .max_by_key(|(_, until)| *until)
    }

    /// A floor against renewal loops (F27): a tenth of a life between issuances.
    ///
    /// A lost generation and a CA that wants one back at once can't wait that long; but twice in
    /// a tenth of a life is a loop too, whoever's fault it is, so these are counted from the
    /// issuance before the last.
    fn too_soon(&self, need: Reason) -> Option<Timestamp> {
        let s = self.s;
        let exempt = s.request.force
            || matches!(need, Reason::Forced | Reason::AttemptOpen | Reason::Revoked)
            || need.is_changed_spec();
        if exempt {
            return None;
        }
        let past_window = need == Reason::AriWindow
            && renewal_point(s.record).is_some_and(|point| point.window.interval.end <= s.now);
        let urgent = past_window || need == Reason::GenerationLost;
        let last = if urgent { s.record.previous.as_ref()? } else { s.record.current.as_ref()? };
        if last.at > s.now {
            return None;
        }
        // Of the life that was left when it came: some CAs date leaves back or hand out short rests.
        let life = last.leaf.lifetime().min(last.leaf.left(last.at));
        let until = last.at + life.over(10).max(backoff(s.record).floor(false));
        (until > s.now).then_some(until)
    }
}
