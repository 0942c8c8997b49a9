//! How often the same thing may be said. A fault that repeats every millisecond must not fill a
//! disk with log lines (caddy#4448 wrote gigabytes).

use std::collections::BTreeMap;

use crate::core::time::{Span, Timestamp};

/// Counts what was said per subject and window.
#[derive(Default)]
pub struct Quota {
    slots: BTreeMap<Subject, Slot>,
    swept_at: Option<Timestamp>,
}

/// What a line is about: two lines with the same subject are repeats of each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// Where in the program the line comes from.
    pub place: &'static str,
    pub line: u32,
    /// The kind of event; empty where the place says it all.
    pub kind: String,
    pub lineage: String,
}

/// Lines that were held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppressed {
    pub subject: Subject,
    pub count: u64,
}

struct Slot {
    since: Timestamp,
    said: u32,
    held: u64,
}

impl Quota {
    /// Length of a window.
    pub const WINDOW: Span = Span::minutes(1);
    /// Lines of one subject in one window.
    pub const LINES_MAX: u32 = 10;
    /// Subjects told apart; further ones share one quota for each place in the program.
    pub const SUBJECTS_MAX: usize = 20_000;

    /// Whether a line may be written now.
    pub fn allows(&mut self, mut subject: Subject, now: Timestamp) -> bool {
        if self.slots.len() >= Self::SUBJECTS_MAX && !self.slots.contains_key(&subject) {
            subject.lineage.clear();
            subject.kind.clear();
        }
        let slot = self.slots.entry(subject).or_insert(Slot { since: now, said: 0, held: 0 });
        if over(slot.since, now) {
            *slot = Slot { since: now, said: 0, held: slot.held };
        }
        if slot.said < Self::LINES_MAX {
            slot.said += 1;
            return true;
        }
        slot.held = slot.held.saturating_add(1);
        false
    }

    /// What was held back since the last sweep; at most one a window, storm or not.
    pub fn sweep(&mut self, now: Timestamp) -> Vec<Suppressed> {
        if self.swept_at.is_some_and(|at| !over(at, now)) {
            return Vec::new();
        }
        self.swept_at = Some(now);
        let mut found = Vec::new();
        self.slots.retain(|subject, slot| {
            if slot.held > 0 {
                found.push(Suppressed { subject: subject.clone(), count: slot.held });
                slot.held = 0;
            }
            !over(slot.since, now)
        });
        found
    }
}

/// A clock that was set back ends the window too, else it would last until the clock catches up.
fn over(since: Timestamp, now: Timestamp) -> bool {
    now < since || now.since(since) >= Quota::WINDOW
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn subject(lineage: &str) -> Subject {
        Subject { place: "here", line: 1, kind: "hook-failed".into(), lineage: lineage.into() }
    }

    #[test]
    fn caddy_4448_a_storm_is_ten_lines_and_a_count() {
        let mut quota = Quota::default();
        assert!(quota.sweep(START).is_empty());
        let storm = (0..5000).filter(|_| quota.allows(subject("a"), START)).count();
        assert_eq!(storm, 10);
        assert!(quota.allows(subject("b"), START), "another lineage has its own quota");
        assert!(quota.sweep(START).is_empty(), "one report a window");
        let after = START + Quota::WINDOW;
        assert_eq!(quota.sweep(after), [Suppressed { subject: subject("a"), count: 4990 }]);
        assert!(quota.allows(subject("a"), after));
        assert!(quota.sweep(after + Quota::WINDOW).is_empty(), "told once");
    }

    #[test]
    fn caddy_4448_a_storm_without_end_is_reported_while_it_lasts() {
        let mut quota = Quota::default();
        quota.sweep(START);
        let mut reports = 0;
        // Starts half a window after the first sweep, so that the two never fall together.
        for second in 30..630 {
            let now = START + Span::secs(second);
            reports += quota.sweep(now).len();
            while quota.allows(subject("a"), now) {}
            assert!(!quota.allows(subject("a"), now));
        }
        assert_eq!(reports, 10);
    }

    #[test]
    fn a_clock_set_back_does_not_silence_the_log() {
        let mut quota = Quota::default();
        while quota.allows(subject("a"), START) {}
        assert!(quota.allows(subject("a"), START - Span::days(30)));
    }

    #[test]
    fn memory_is_bounded_whatever_is_logged() {
        let mut quota = Quota::default();
        for number in 0..Quota::SUBJECTS_MAX + 1000 {
            quota.allows(subject(&number.to_string()), START);
        }
        assert!(quota.slots.len() <= Quota::SUBJECTS_MAX + 1);
    }

    proptest::proptest! {
        #[test]
        fn no_line_is_lost_uncounted(gaps in proptest::collection::vec(0i64..40_000, 1..300)) {
            let mut quota = Quota::default();
            let (mut now, mut said, mut told) = (START, 0, 0);
            for gap in &gaps {
                now = now + Span::from_millis(*gap);
                told += quota.sweep(now).iter().map(|held| held.count).sum::<u64>();
                said += u64::from(quota.allows(subject("a"), now));
            }
            let end = now + Quota::WINDOW + Quota::WINDOW;
            told += quota.sweep(end).iter().map(|held| held.count).sum::<u64>();
            proptest::prop_assert_eq!(said + told, gaps.len() as u64);
        }
    }
}
