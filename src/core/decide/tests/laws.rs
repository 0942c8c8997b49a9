//! Laws that hold for every plan, and what follows from them over a life.

use proptest::prelude::*;

use super::*;
use crate::core::record::{FailedValidation, Refused};

fn date() -> impl Strategy<Value = Timestamp> {
    (-200i64..3000, 0i64..86_400).prop_map(|(d, s)| day(d) + Span::secs(s))
}

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![
        Just(Class::Transient),
        Just(Class::Refused),
        Just(Class::Broken),
        date().prop_map(|until| Class::Limited { until }),
    ]
}

fn placement() -> impl Strategy<Value = Placement> {
    prop_oneof![
        Just(Placement::Missing),
        (0u64..4).prop_map(Placement::Shows),
        Just(Placement::Drifted("edited".into())),
        date().prop_map(Placement::Placeholder),
        (date(), 1i64..400).prop_map(|(at, d)| Placement::Foreign(Box::new(leaf(at, Span::days(d), 99)))),
    ]
}

prop_compose! {
    fn world()(
        now in date(), lifetime in 60i64..40_000_000, start in date(), issued_at in date(),
        trouble in proptest::option::of((class(), 0u32.., date(), date(), proptest::option::of(date()), any::<bool>())),
        attempt in proptest::option::of((date(), date(), 0usize..4)),
        ari in any::<bool>(), window in proptest::option::of((date(), date(), date(), date(), 0u8..4)),
        live in placement(), debt in proptest::option::of(date()), refused in proptest::option::of((date(), date())),
        hook_note in proptest::option::of((0u64..4, proptest::option::of(date()))),
        seen in proptest::option::of((date(), date(), 0u64..4)),
        flags in any::<[bool; 6]>(), other_names in any::<bool>(), retired in proptest::bool::weighted(0.1),
    ) -> World {
        let mut w = World::settled();
        w.now = now;
        w.ari = ari;
        w.kept = flags[0];
        w.record.current = flags[1].then(|| Issued { at: issued_at, ..issued(2, start, Span::secs(lifetime)) });
        w.request.by_hand = flags[2];
        w.request.force = flags[3];
        w.request.take_back = flags[4];
        w.request.upkeep_only = flags[5];
        if other_names {
            w.spec().names = names(&["a.example", "b.example"]).into();
        }
        w.disk.live = live;
        w.record.debts = debt.map(|next_at| Debt { receipt: receipt(), failures: 1, next_at }).into_iter().collect();
        w.installed.refused = refused.map(|(at, until)| Refused {
            generation: 2, returned_to: 1, at, until, count: 1, words: String::new(),
        });
        w.installed.hooks.clear();
        if let Some((done, next_at)) = hook_note {
            w.installed.hooks.insert(hook("nginx"), HookNote { done, next_at, ..HookNote::never() });
        }
        w.installed.endpoints.clear();
        if let Some((at, next_at, generation)) = seen {
            w.installed.endpoints.insert(endpoint(), note(Sight::Old, generation, at, next_at));
        }
        if let Some((from, to, at, next_at, salt)) = window {
            w.record.reading = Some(Reading {
                ari_id: format!("aki.{salt}"),
                window: Some(crate::core::time::Interval::new(from, to)),
                explanation: None, at, next_at,
            });
        }
        if let Some((class, count, last_at, next_at, probed_at, reached)) = trouble {
            w = w.failed(class, count, last_at, next_at);
            let trouble = w.record.trouble.as_mut().unwrap();
            trouble.probed_at = probed_at;
            trouble.failure.reached_validation = reached;
        }
        if let Some((started, deadline, phase)) = attempt {
            let phase = [Phase::Prepared, Phase::Ordered, Phase::Validating, Phase::Finalizing][phase];
            w = w.attempting(phase, |a| { a.started = started; a.deadline = deadline; });
        }
        w.record.failed_validations = vec![
            FailedValidation { name: names(&["a.example"]).remove(0), at: issued_at }; if flags[4] { 12 } else { 2 }
        ];
        if retired {
            w.spec = None;
        }
        w
    }
}

fn asks_the_ca(issuance: &Issuance) -> bool {
    matches!(issuance, Issuance::Issue { .. } | Issuance::Renew { .. } | Issuance::Resume)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn any_situation_has_one_plan_that_wakes_later_and_never_asks_against_the_cas_word(world in world()) {
        // `plan` asserts: same inputs, same plan; explain agrees; wake-at later than now, within
        // a day and within its own wait.
        let plan = world.plan();
        if let Some(trouble) = &world.record.trouble
            && let Class::Limited { until } = trouble.failure.class
            && until > world.now
            && trouble.last_at <= world.now
        {
            prop_assert!(!asks_the_ca(&plan.issuance), "{:?}", plan);
        }
    }

    #[test]
    fn nothing_changes_between_now_and_the_wake(world in world(), part in 0u32..1_000_000) {
        // The wake is never later than the next date that matters: until then the plan stands.
        let plan = world.plan();
        if plan.upkeep != Upkeep::Hold || acts(&plan.issuance) || plan.issuance == Issuance::Hold(Reason::UpkeepOnly) {
            return Ok(());
        }
        let between = plan.wake_at.since(world.now).millionths(part);
        let later = world.clone().with(|w| w.now = w.now + between).plan();
        prop_assert_eq!(&later.upkeep, &plan.upkeep);
        prop_assert!(!asks_the_ca(&later.issuance) && !matches!(later.issuance, Issuance::Refresh | Issuance::Probe { .. }),
            "{:?} slept through {:?}", plan, later);
    }

    #[test]
    fn what_stands_until_a_date_is_the_plan_at_each_instant_before_it(
        world in world(), quiet in any::<bool>(), part in 0u32..1_000_000
    ) {
        let world = if quiet {
            // Most of the others have something to do.
            let dates = world.installed.hooks.values().next().and_then(|note| note.next_at);
            World::settled().with(|w| {
                w.installed.hooks.get_mut(&hook("nginx")).unwrap().next_at = dates;
                w.ari = world.ari;
                w.record.trouble = world.record.trouble.clone();
                w.installed.refused = world.installed.refused.clone();
            })
        } else {
            world
        };
        let Some(until) = stands_until(&world.situation()) else { return Ok(()) };
        prop_assert_eq!(world.plan(), standing(world.now, until));
        let later = world.clone().with(|w| w.now = w.now + until.since(w.now).millionths(part));
        if later.now < until {
            prop_assert_eq!(later.plan(), standing(later.now, until));
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn f27_at_most_three_issuances_a_lifetime_and_never_expired(
        lifetime in prop_oneof![300i64..86_400, 86_400i64..34_387_200], backdated in 0i64..60, ari in any::<bool>(), salt in any::<u8>()
    ) {
        let (count, span, lapsed) = live(Span::secs(lifetime), Span::secs(backdated), ari, salt);
        prop_assert!(!lapsed);
        prop_assert!(count <= 3 * span, "{count} issuances in {span} lifetimes");
    }

    #[test]
    fn f27_a_ca_that_always_wants_it_back_is_held_to_two_in_a_tenth_of_life(lifetime in 300i64..34_387_200, back in 1i64..100) {
        let lifetime = Span::secs(lifetime);
        let mut world = World::settled().with(|w| {
            w.record.current = Some(issued(2, day(0), lifetime));
            w.record.previous = None;
            w.ari = true;
        }).at(day(0));
        let mut count = 0;
        while world.now < day(0) + lifetime {
            let plan = world.plan();
            match plan.issuance {
                Issuance::Refresh => {
                    let leaf = world.current().leaf.clone();
                    let window = crate::core::time::Interval::new(leaf.not_before, leaf.not_before + Span::from_millis(back));
                    world.record.reading = Some(Reading {
                        ari_id: leaf.ari_id.unwrap(), window: Some(window), explanation: None,
                        at: world.now, next_at: world.now + Span::hours(6),
                    });
                }
                Issuance::Renew { .. } => { count += 1; world = world.renewed(lifetime, Span::secs(1)); }
                _ => world = world.clone().at(plan.wake_at),
            }
            prop_assert!(count <= 21, "{count} issuances by {}", world.now);
        }
    }
}

#[test]
fn f28_a_hundred_thousand_failures_in_a_row_never_wait_less_than_the_floor() {
    let mut world = World::settled().at(day(60));
    let mut last = None;
    let mut count = 0u32;
    while count < 100_000 {
        let plan = decide(&world.situation());
        match plan.issuance {
            Issuance::Renew { .. } => {
                let floor = backoff(&world.record).floor(false);
                assert!(last.is_none_or(|last| world.now.since(last) >= floor), "after {count} failures");
                last = Some(world.now);
                count += 1;
                let left = world.record.leaf().unwrap().left(world.now);
                let wait =
                    backoff(&world.record).after(count.saturating_mul(50_000), left, false, u64::from(count));
                let (now, next_at) = (world.now, world.now + wait);
                world = world.failed(Class::Transient, count, now, next_at);
            }
            Issuance::Probe { .. } => world.record.trouble.as_mut().unwrap().probed_at = Some(world.now),
            _ => {
                assert!(plan.wake_at > world.now);
                world = world.at(plan.wake_at);
            }
        }
    }
}

/// Issuances, lifetimes lived (rounded up) and whether the certificate ever expired, in a world
/// where every issuance succeeds at once.
fn live(lifetime: Span, backdated: Span, ari: bool, salt: u8) -> (i64, i64, bool) {
    const LIVES: i64 = 5;
    let mut world = World::settled()
        .with(|w| {
            w.record.current = None;
            w.record.previous = None;
            w.record.last_number = u64::from(salt);
            w.ari = ari;
        })
        .at(day(0));
    let (mut count, mut lapsed) = (0, false);
    let end = day(0) + lifetime.times(LIVES);
    while world.now < end {
        let plan = world.plan();
        match plan.issuance {
            Issuance::Issue { .. } | Issuance::Renew { .. } => {
                count += 1;
                world = world.renewed(lifetime, backdated);
            }
            Issuance::Refresh => {
                let leaf = world.current().leaf.clone();
                let ari_id = leaf.ari_id.clone().unwrap();
                let third = leaf.not_after - leaf.lifetime().over(3);
                world.record.reading = Some(Reading {
                    ari_id,
                    window: Some(crate::core::time::Interval::new(third, third + leaf.lifetime().over(50))),
                    explanation: None,
                    at: world.now,
                    next_at: world.now + backoff(&world.record).scaled(Span::hours(6)),
                });
                world.record.point = renewal_point(&world.record);
            }
            _ => world = world.at(plan.wake_at),
        }
        lapsed |= world.record.leaf().is_some_and(|leaf| !leaf.valid_at(world.now));
    }
    (count, LIVES, lapsed)
}

impl World {
    /// Issued, installed, told and observed at once.
    fn renewed(mut self, lifetime: Span, backdated: Span) -> Self {
        let number = self.record.last_number + 1;
        let salt = u8::try_from(number % 251).unwrap();
        let fresh = Issued {
            at: self.now,
            leaf: leaf(self.now - backdated, lifetime + backdated, salt),
            number,
            ..issued(1, day(0), lifetime)
        };
        self.record.previous = self.record.current.replace(fresh);
        self.record.last_number = number;
        self.record.trouble = None;
        self.record.reading = None;
        self.record.point = None;
        self.disk.live = Placement::Shows(number);
        self.installed.hooks.insert(hook("nginx"), done(number));
        let now = self.now;
        self.installed.endpoints.insert(endpoint(), note(Sight::New, number, now, now + Span::hours(6)));
        self
    }
}
