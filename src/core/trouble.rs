//! What a failed try leaves in the record: how many in a row, and when the next may be.

use std::collections::BTreeMap;

use super::decide::{VALIDATIONS_PER_DAY, backoff};
use super::failure::{Class, Failure};
use super::leaf::{mix, seed_of};
use super::name::{IssuerId, SubjectName};
use super::record::{FailedValidation, LineageRecord, Trouble};
use super::time::{Span, Timestamp};
use super::window::last_resort;

/// What was tried: the names that were asked for, and of whom.
#[derive(Clone, Debug)]
pub struct Tried {
    pub names: Vec<SubjectName>,
    /// Names that the entry asks for; more than were tried where dead ones were left out.
    pub wanted: Vec<SubjectName>,
    /// `None` where no issuer is configured: nobody's trouble is noted then.
    pub issuer: Option<IssuerId>,
}

/// Days that a lineage without a certificate is taken to have left: its waits are those of one
/// that is well before its end.
const LEFT_WITHOUT_LEAF: Span = Span::days(30);

impl LineageRecord {
    /// Notes a try that failed at `now`; answers with the count of failures in a row and when the
    /// next try may be.
    pub fn note_failure(&mut self, tried: Tried, failure: &Failure, now: Timestamp) -> (u32, Timestamp) {
        let Tried { names, wanted, issuer } = tried;
        let (count, since) = match &self.trouble {
            Some(trouble) if related(self, trouble, &names, &wanted, now) => {
                (trouble.count.saturating_add(1), trouble.since)
            }
            _ => (1, now),
        };
        if failure.reached_validation && failure.name.is_some() {
            self.failed_validations.retain(|failed| failed.at + Span::DAY > now && failed.at <= now);
            let failed = failure.names().map(|name| FailedValidation { name: name.clone(), at: now });
            self.failed_validations.extend(failed);
            // Of each name the newest that matter: many names that fail at once must not push out one
            // another's count.
            let mut seen: BTreeMap<SubjectName, usize> = BTreeMap::new();
            for at in (0..self.failed_validations.len()).rev() {
                let count = seen.entry(self.failed_validations[at].name.clone()).or_default();
                *count += 1;
                if *count > VALIDATIONS_PER_DAY {
                    self.failed_validations.remove(at);
                }
            }
            let surplus = self.failed_validations.len().saturating_sub(Self::VALIDATIONS_MAX);
            self.failed_validations.drain(..surplus);
        }
        let left = self.leaf().map_or(LEFT_WITHOUT_LEAF, |leaf| leaf.left(now));
        let seed = mix(&[seed_of(self.id.as_str()), self.last_number, u64::from(count)]);
        let mut next_at = now + backoff(self).after(count, left, failure.reached_validation, seed);
        if let Class::Limited { until } = failure.class {
            next_at = next_at.max(until);
        }
        self.trouble = issuer.map(|issuer| Trouble {
            count,
            since,
            last_at: now,
            next_at,
            probed_at: None,
            failure: failure.clone(),
            names,
            issuer,
        });
        (count, next_at)
    }
}

/// A changed name set starts afresh. At last resort the old and the new set take turns, and share
/// one history of failures; so do sets of one entry without its dead names.
fn related(
    record: &LineageRecord,
    trouble: &Trouble,
    names: &[SubjectName],
    wanted: &[SubjectName],
    now: Timestamp,
) -> bool {
    let turns = record.current.as_ref().is_some_and(|current| {
        now >= last_resort(&current.leaf) && (current.names == names || current.names == trouble.names)
    });
    let of_the_entry = |set: &[SubjectName]| set.iter().all(|name| wanted.contains(name));
    let one_entry = record.names == wanted && of_the_entry(&trouble.names) && of_the_entry(names);
    trouble.names == names || turns || one_entry
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::core::failure::Fault;
    use crate::core::name::LineageId;

    #[test]
    fn many_names_that_fail_at_once_do_not_push_out_each_others_count() {
        let mut record = LineageRecord::new(LineageId::parse("a.example").unwrap());
        let names: Vec<_> = (0..100).map(|n| SubjectName::parse(&format!("n{n}.example")).unwrap()).collect();
        let tried = Tried { names: names.clone(), wanted: names.clone(), issuer: None };
        let mut failure =
            Failure::transient(Fault::Network, "challenge-connection", "…").blaming_all(names.clone());
        failure.reached_validation = true;
        let mut now = Timestamp::from_secs(1_800_000_000);
        for _ in 0..VALIDATIONS_PER_DAY + 5 {
            record.note_failure(tried.clone(), &failure, now);
            now = now + Span::MINUTE;
        }
        for name in &names {
            let count = record.failed_validations.iter().filter(|failed| failed.name == *name).count();
            assert_eq!(count, VALIDATIONS_PER_DAY, "{name}");
        }
        assert!(record.failed_validations.len() <= LineageRecord::VALIDATIONS_MAX);
    }

    #[test]
    fn failures_in_a_row_are_those_of_one_wish() {
        let names = |list: &[&str]| list.iter().map(|n| SubjectName::parse(n).unwrap()).collect::<Vec<_>>();
        let now = Timestamp::from_secs(1_800_000_000);
        let failure = Failure::transient(Fault::Ca, "ca-down", "503");
        let counted = |record: &mut LineageRecord, asked: &[&str], wanted: &[&str], later: i64| {
            let tried = Tried {
                names: names(asked),
                wanted: names(wanted),
                issuer: Some(IssuerId::parse("letsencrypt").unwrap()),
            };
            record.note_failure(tried, &failure, now + Span::minutes(later)).0
        };
        let mut record = LineageRecord::new(LineageId::parse("a.example").unwrap());
        record.names = names(&["a.example", "b.example"]);
        let (all, some, other) = (&["a.example", "b.example"], &["a.example"], &["c.example"]);
        assert_eq!(counted(&mut record, all, all, 0), 1);
        assert_eq!(counted(&mut record, all, all, 1), 2);
        assert_eq!(counted(&mut record, some, all, 2), 3, "some of the same entry");
        assert_eq!(counted(&mut record, other, other, 3), 1, "another wish begins anew");
        assert_eq!(record.trouble.as_ref().map(|trouble| trouble.since), Some(now + Span::minutes(3)));
    }
}
