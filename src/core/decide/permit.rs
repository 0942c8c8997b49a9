//! Asked only when there is a need: may the CA be asked now?

use super::{Judge, backoff, renewal_point};
use crate::core::failure::Class;
use crate::core::name::SubjectName;
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
        let trouble = s.record.trouble.as_ref();
        if let Some(Class::Limited { until }) = trouble.map(|t| t.failure.class)
            && until > s.now
        {
            self.note(Chain::Permit, "allowed by the CA?", || format!("not before {}", until.brief()));
            self.wake(until);
            return hold(Reason::CaLimit, until);
        }
        let by_hand = s.request.by_hand || s.request.force;
        if let Some((name, until)) = self.validation_cap(names) {
            self.note(Chain::Permit, "failed validations today?", || {
                format!("{VALIDATIONS_PER_DAY} of {name}; next {}", until.brief())
            });
            self.wake(until);
            return hold(Reason::ValidationCap, until);
        }
        if !by_hand
            && let Some(trouble) = trouble
            && self.still_counts(spec, trouble)
            && let Some(held) = self.wait_after(need, trouble)
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

    /// A changed entry starts afresh; the old name set does not count as a change.
    fn still_counts(&self, spec: &LineageSpec, trouble: &Trouble) -> bool {
        let old_set = self.s.record.current.as_ref().is_some_and(|c| c.names == trouble.names);
        (spec.same_names(&trouble.names) || old_set) && spec.issuers.contains(&trouble.issuer)
    }

    fn wait_after(&mut self, need: Reason, trouble: &Trouble) -> Option<Issuance> {
        let s = self.s;
        let backoff = backoff(s.record);
        let floor = trouble.last_at + backoff.floor(trouble.failure.reached_validation);
        let mut until = trouble.next_at.max(floor);
        if let Some(leaf) = s.record.leaf()
            && s.now >= last_resort(leaf)
        {
            let wait = backoff.scaled(LAST_RESORT_WAIT).min(leaf.left(s.now).over(12));
            until = until.min((trouble.last_at + wait).max(floor));
        }
        if until <= s.now {
            return None;
        }
        self.note(Chain::Permit, "backing off?", || {
            format!("until {} after {} failures: {}", until.brief(), trouble.count, trouble.failure.code)
        });
        let probe_at =
            trouble.probed_at.unwrap_or(trouble.last_at).max(trouble.last_at) + backoff.scaled(PROBE_EVERY);
        if matches!(trouble.failure.class, Class::Refused | Class::Broken) || probe_at >= until {
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
    fn too_soon(&self, need: Reason) -> Option<Timestamp> {
        let s = self.s;
        let current = s.record.current.as_ref()?;
        let past_window = need == Reason::AriWindow
            && renewal_point(s.record).is_some_and(|point| point.window.interval.end <= s.now);
        let exempt = need == Reason::Forced
            || need == Reason::AttemptOpen
            || need == Reason::Revoked
            || need.is_changed_spec()
            || past_window;
        let until = current.at + current.leaf.lifetime().over(10);
        (!exempt && until > s.now && current.at <= s.now).then_some(until)
    }
}
