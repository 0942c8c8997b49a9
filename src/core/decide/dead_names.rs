//! A certificate without the names that can't be proven any more, where its entry allows that.
//!
//! A name that servers still show is given up at last resort only, when whoever could mend it has had
//! weeks and has been woken. One that the certificate lacks already holds up nothing. Either way it
//! stays wanted: the whole set is asked for again by the usual backoff.

use super::{Judge, renewal_point};
use crate::core::attempt::Attempt;
use crate::core::name::SubjectName;
use crate::core::record::{Issued, LineageRecord, Trouble};
use crate::core::spec::{LineageSpec, OnDeadName};
use crate::core::time::Timestamp;
use crate::core::window::last_resort;

/// Refusals of a name by the CA within a day, or of an order for its sake in a row, after which it counts as
/// dead.
const DEAD_AFTER: usize = 3;

/// Whether an attempt for some of an entry's names is one that was opened to leave out dead ones.
pub(super) fn spares(spec: &LineageSpec, record: &LineageRecord, attempt: &Attempt) -> bool {
    // Else names have been added since, and are not dead.
    let same_entry = spec.same_names(&record.names);
    spec.on_dead_name == OnDeadName::RenewWithout && same_entry && within(&attempt.names, spec)
}

/// Whether dead names were left out of what is held. They are tried for daily and no more often: CAs
/// count failures of a name, and after some hundreds of them refuse it until a person steps in.
pub(super) fn lacks_dead_names(spec: &LineageSpec, record: &LineageRecord) -> bool {
    let held = record.current.as_ref().map(|current| &current.names);
    spec.on_dead_name == OnDeadName::RenewWithout && held.is_some_and(|held| within(held, spec))
}

/// Whether `names` are some of those of the entry, and not all.
fn within(names: &[SubjectName], spec: &LineageSpec) -> bool {
    let some = !names.is_empty() && names.iter().all(|name| spec.names.contains(name));
    some && !spec.same_names(names)
}

impl Judge<'_> {
    /// The names to ask for in place of all, if dead ones are to be left out now.
    pub(super) fn without_dead(&mut self, spec: &LineageSpec) -> Option<Vec<SubjectName>> {
        if spec.on_dead_name != OnDeadName::RenewWithout {
            return None;
        }
        let s = self.s;
        let trouble = s.record.trouble.as_ref()?;
        let asked_some = within(&trouble.names, spec) && spec.same_names(&s.record.names);
        if !asked_some && !spec.same_names(&trouble.names) {
            return None;
        }
        let current = s.record.current.as_ref();
        let names = self
            .again_without(spec, current, trouble)
            .or_else(|| without_refused(spec, s.record, trouble, s.now))?;
        self.note(super::Chain::Need, "leave out dead names?", || {
            let dead: Vec<_> = spec.names.iter().filter(|name| !names.contains(name)).collect();
            format!("yes: {}", dead.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        });
        Some(names)
    }

    /// What is shown lacks them already: it is renewed like any other, and nobody loses a name.
    fn again_without(
        &mut self,
        spec: &LineageSpec,
        current: Option<&Issued>,
        trouble: &Trouble,
    ) -> Option<Vec<SubjectName>> {
        let current = current?;
        let held: Vec<_> = spec.names.iter().filter(|name| current.names.contains(name)).cloned().collect();
        let all_held = held.iter().all(|name| trouble.names.contains(name));
        let one_of_them = trouble.failure.refused_names().any(|name| held.contains(name));
        if !within(&held, spec) || !all_held || one_of_them {
            return None;
        }
        if current.revoked || !self.s.generation_kept {
            return Some(held);
        }
        let due = renewal_point(self.s.record)?.at.min(last_resort(&current.leaf));
        self.wake(due);
        (self.s.now >= due).then_some(held)
    }
}

/// What is left of the last set that was asked for without those names that the CA refuses again and again.
fn without_refused(
    spec: &LineageSpec,
    record: &LineageRecord,
    trouble: &Trouble,
    now: Timestamp,
) -> Option<Vec<SubjectName>> {
    let now_or_never = record.leaf().is_none_or(|leaf| now >= last_resort(leaf));
    if !now_or_never {
        return None;
    }
    let dead = |name: &SubjectName| {
        let refused = trouble.failure.refused_names().any(|refused| refused == name);
        let times = if trouble.failure.reached_validation {
            record.failed_validations.iter().filter(|failed| failed.name == *name).count()
        } else {
            usize::try_from(trouble.count).unwrap_or(usize::MAX)
        };
        refused && times >= DEAD_AFTER
    };
    let left: Vec<_> = trouble.names.iter().filter(|name| !dead(name)).cloned().collect();
    within(&left, spec).then_some(left)
}
