//! What a CA grants: Let's Encrypt's table of July 2026. An order that says which certificate it
//! replaces is free of the limits on orders, once per certificate.

use std::collections::BTreeMap;

use nolapse::core::name::SubjectName;
use nolapse::core::time::{Span, Timestamp};

/// So many at once, and one more each so often.
#[derive(Clone, Copy)]
struct Rate {
    burst: i64,
    refill: Span,
}

/// 300 orders per account in 3 hours.
const ORDERS: Rate = Rate { burst: 300, refill: Span::secs(36) };
/// 5 certificates per exact set of names in 7 days.
const SETS: Rate = Rate { burst: 5, refill: Span::minutes(7 * 24 * 60 / 5) };
/// 5 failed validations per name in an hour.
const FAILURES: Rate = Rate { burst: 5, refill: Span::minutes(12) };
/// Most failed validations of one name in a day that we may cause, far from where a name is paused.
const FAILURES_A_DAY: usize = 10;
/// The shortest lifetime that the table was made for; a CA of shorter ones grants more.
const TABLE_LIFETIME: Span = Span::hours(160);

/// How much of each was used.
pub struct Limits {
    lifetime: Span,
    orders: Meter,
    sets: BTreeMap<Vec<SubjectName>, Meter>,
    failures: BTreeMap<SubjectName, Meter>,
    failed: BTreeMap<SubjectName, Vec<Timestamp>>,
    /// How often one of them was reached.
    pub reached: u64,
}

/// When everything that was used will have been refilled.
#[derive(Clone, Copy, Default)]
struct Meter(Option<Timestamp>);

impl Meter {
    /// When the next may come, if not now.
    fn wait(self, rate: Rate, now: Timestamp) -> Option<Span> {
        let full_at = self.0.unwrap_or(now).max(now) + rate.refill;
        let wait = full_at.since(now) - rate.refill.times(rate.burst);
        wait.is_positive().then_some(wait)
    }

    fn take(&mut self, rate: Rate, now: Timestamp) {
        self.0 = Some(self.0.unwrap_or(now).max(now) + rate.refill);
    }
}

impl Limits {
    pub fn new(lifetime: Span) -> Self {
        Self {
            lifetime,
            orders: Meter::default(),
            sets: BTreeMap::new(),
            failures: BTreeMap::new(),
            failed: BTreeMap::new(),
            reached: 0,
        }
    }

    fn per_set(&self) -> Rate {
        let part = self.lifetime.min(TABLE_LIFETIME).millis();
        let scaled =
            i128::from(SETS.refill.millis()) * i128::from(part) / i128::from(TABLE_LIFETIME.millis());
        Rate { burst: SETS.burst, refill: Span::from_millis(i64::try_from(scaled).unwrap()) }
    }

    /// Whether an order may be placed, or when.
    pub fn order(&mut self, names: &[SubjectName], free: bool, now: Timestamp) -> Result<(), Span> {
        if free {
            return Ok(());
        }
        let per_set = self.per_set();
        let set = self.sets.get(&sorted(names)).copied().unwrap_or_default();
        let failing = names.iter().filter_map(|name| self.failures.get(name)?.wait(FAILURES, now)).max();
        let wait =
            [self.orders.wait(ORDERS, now), set.wait(per_set, now), failing].into_iter().flatten().max();
        if let Some(wait) = wait {
            self.reached += 1;
            return Err(wait);
        }
        self.orders.take(ORDERS, now);
        Ok(())
    }

    pub fn issued(&mut self, names: &[SubjectName], free: bool, now: Timestamp) {
        let per_set = self.per_set();
        if !free {
            self.sets.entry(sorted(names)).or_default().take(per_set, now);
        }
    }

    /// Counts a failed validation; says what is wrong with there being one more.
    pub fn failed(&mut self, name: &SubjectName, now: Timestamp) -> Option<String> {
        self.failures.entry(name.clone()).or_default().take(FAILURES, now);
        let day = self.failed.entry(name.clone()).or_default();
        day.retain(|at| now < *at + Span::DAY);
        day.push(now);
        (day.len() > FAILURES_A_DAY).then(|| format!("{} failed validations of {name} in a day", day.len()))
    }
}

fn sorted(names: &[SubjectName]) -> Vec<SubjectName> {
    let mut names = names.to_vec();
    names.sort();
    names
}

#[test]
fn a_limit_grants_its_burst_and_then_one_each_so_often() {
    let start = Timestamp::from_secs(1_800_000_000);
    let names = [SubjectName::parse("a.example").unwrap()];
    let mut limits = Limits::new(Span::days(90));
    for _ in 0..5 {
        assert_eq!(limits.order(&names, false, start), Ok(()));
        limits.issued(&names, false, start);
    }
    let wait = limits.order(&names, false, start).unwrap_err();
    assert!(wait > Span::hours(33) && wait < Span::hours(34), "{wait}");
    assert_eq!(limits.order(&names, true, start), Ok(()), "a replacement is free");
    assert_eq!(limits.order(&names, false, start + wait), Ok(()));
    assert_eq!(limits.reached, 1);
}
