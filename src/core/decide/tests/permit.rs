//! When a needed certificate may be asked for.

use super::*;
use crate::core::record::{FailedValidation, Pause};

const TRANSIENT: Class = Class::Transient;

/// Due since day 60, now a little after noon of day 61.
fn due() -> World {
    World::settled().at(day(61))
}

fn minutes(count: i64) -> Span {
    Span::minutes(count)
}

#[test]
fn our_own_backoff_is_kept_unless_asked_by_hand() {
    let now = day(61);
    let waiting = || due().failed(Class::Refused, 4, now - minutes(20), now + Span::hours(20));
    table(vec![
        ("nothing failed", due(), "renew lifetime-window"),
        ("failed, and the wait goes on after a restart", waiting(), "suspend backing-off"),
        (
            "failed, and the wait is over",
            due().failed(Class::Refused, 4, now - Span::DAY, now),
            "renew lifetime-window",
        ),
        ("renew NAME", waiting().with(|w| w.request.by_hand = true), "renew lifetime-window"),
        ("renew --force", waiting().with(|w| w.request.force = true), "renew forced"),
        ("renew --force with nothing due", World::settled().with(|w| w.request.force = true), "renew forced"),
        ("renew NAME with nothing due", World::settled().with(|w| w.request.by_hand = true), "hold not-due"),
        (
            "deploy only, and a renewal is due",
            due().with(|w| w.request.upkeep_only = true),
            "hold upkeep-only",
        ),
        (
            "the attempt of this pass just failed",
            waiting().with(|w| w.request.upkeep_only = true),
            "suspend backing-off",
        ),
        (
            "the names were changed since it failed",
            waiting().with(|w| w.spec().names = names(&["b.example"]).into()),
            "renew names-changed",
        ),
        (
            "the dead name was taken out of a set that failed to renew",
            waiting().with(|w| {
                let set = names(&["a.example", "dead.example"]);
                w.current().names.clone_from(&set);
                w.record.names.clone_from(&set);
                w.record.trouble.as_mut().unwrap().names = set;
            }),
            "renew names-changed",
        ),
        (
            "never issued, and the names that failed are wanted no more",
            waiting().with(|w| {
                w.record.current = None;
                w.record.trouble.as_mut().unwrap().names = names(&["x.example"]);
            }),
            "issue never-issued",
        ),
        (
            "the CA was changed since it failed",
            waiting().with(|w| w.terms().issuers = vec![ca("zerossl")]),
            "renew issuer-changed",
        ),
        (
            "another CA was put first since it failed",
            waiting().with(|w| {
                w.terms().issuers = vec![ca("zerossl"), ca("letsencrypt")];
            }),
            "renew lifetime-window",
        ),
        (
            "a key change is no reason for haste",
            waiting().with(|w| w.terms().key = KeyKind::Rsa2048),
            "suspend backing-off",
        ),
        (
            "an open attempt that was parked waits too",
            waiting().attempting(Phase::Validating, |_| {}),
            "suspend backing-off",
        ),
        (
            "failed according to a clock that was years ahead",
            due().failed(TRANSIENT, 1, day(3000), day(3001)),
            "renew lifetime-window",
        ),
        (
            "the clock was put back by a minute",
            due().failed(Class::Refused, 1, now + minutes(1), now + minutes(2)),
            "suspend backing-off",
        ),
    ]);
}

#[test]
fn the_cas_own_wait_binds_everybody() {
    let now = day(86);
    let limited = |until| {
        World::settled().at(now).failed(Class::Limited { until }, 1, now - minutes(90), now - minutes(80))
    };
    let told = || limited(now + Span::hours(30));
    table(vec![
        ("at last resort", told(), "suspend ca-limit"),
        (
            "after expiry",
            told().with(|w| {
                w.now = day(91);
                w.record.trouble.as_mut().unwrap().failure.class = Class::Limited { until: day(92) };
            }),
            "suspend ca-limit",
        ),
        ("renew NAME", told().with(|w| w.request.by_hand = true), "suspend ca-limit"),
        ("renew --force", told().with(|w| w.request.force = true), "suspend ca-limit"),
        (
            "the names were changed",
            told().with(|w| w.spec().names = names(&["b.example"]).into()),
            "suspend ca-limit",
        ),
        ("an order is open there", told().attempting(Phase::Ordered, |_| {}), "suspend ca-limit"),
        ("its time is over", limited(now), "renew last-resort"),
        (
            "another CA is asked now",
            told().with(|w| w.terms().issuers = vec![ca("zerossl")]),
            "renew issuer-changed",
        ),
    ]);
}

#[test]
fn last_resort_shortens_the_daily_wait_but_no_floor() {
    let now = day(86);
    let failed = |ago: Span, reached| {
        World::settled().at(now).failed(Class::Refused, 9, now - ago, now + Span::hours(20)).with(|w| {
            w.record.trouble.as_mut().unwrap().failure.reached_validation = reached;
        })
    };
    let expired = |since: Span, ago: Span, reached| {
        failed(ago, reached).with(|w| {
            let shift = Span::days(4) + since;
            w.now = w.now + shift;
            let trouble = w.record.trouble.as_mut().unwrap();
            trouble.last_at = trouble.last_at + shift;
            trouble.next_at = trouble.next_at + shift;
        })
    };
    table(vec![
        ("failed an hour ago", failed(minutes(60), false), "renew last-resort"),
        ("failed half an hour ago", failed(minutes(30), false), "suspend backing-off"),
        (
            "just expired, failed half a minute ago",
            expired(minutes(5), Span::secs(30), false),
            "suspend backing-off",
        ),
        (
            "just expired, failed a minute ago",
            expired(minutes(5), Span::secs(60), false),
            "renew last-resort",
        ),
        (
            "just expired, a validation failed 14 minutes ago",
            expired(minutes(5), minutes(14), true),
            "suspend backing-off",
        ),
        (
            "just expired, a validation failed 15 minutes ago",
            expired(minutes(5), minutes(15), true),
            "renew last-resort",
        ),
        (
            "expired a week ago, failed 59 minutes ago",
            expired(Span::days(7), minutes(59), false),
            "suspend backing-off",
        ),
        (
            "expired a week ago, failed an hour ago",
            expired(Span::days(7), minutes(60), false),
            "renew last-resort",
        ),
    ]);
    let before = World::settled().at(day(85)).failed(Class::Refused, 9, day(85), day(86)).with(|w| {
        w.terms().key = KeyKind::Rsa2048;
        w.spec().endpoints = List::default();
    });
    assert_eq!(
        before.plan().wake_at,
        day(85) + Span::hours(12),
        "last resort shortens the wait: wake for it"
    );
}

#[test]
fn f29_free_looks_come_every_half_hour_while_failing() {
    let now = day(61);
    let failed = |class, ago| due().failed(class, 4, now - ago, now + Span::hours(20));
    table(vec![
        ("failed 29 minutes ago", failed(TRANSIENT, minutes(29)), "suspend backing-off"),
        ("failed 30 minutes ago", failed(TRANSIENT, minutes(30)), "probe"),
        (
            "looked 10 minutes ago",
            failed(TRANSIENT, minutes(300)).with(|w| {
                w.record.trouble.as_mut().unwrap().probed_at = Some(now - minutes(10));
            }),
            "suspend backing-off",
        ),
        (
            "looked 30 minutes ago",
            failed(TRANSIENT, minutes(300)).with(|w| {
                w.record.trouble.as_mut().unwrap().probed_at = Some(now - minutes(30));
            }),
            "probe",
        ),
        (
            "a look noted by a clock that was ahead",
            failed(TRANSIENT, minutes(300)).with(|w| {
                w.record.trouble.as_mut().unwrap().probed_at = Some(now + Span::days(300));
            }),
            "probe",
        ),
        ("refused: looking changes nothing", failed(Class::Refused, minutes(300)), "suspend backing-off"),
        ("broken: looking changes nothing", failed(Class::Broken, minutes(300)), "suspend backing-off"),
        (
            "the next try comes sooner than the look",
            due().failed(TRANSIENT, 2, now - minutes(5), now + minutes(5)),
            "suspend backing-off",
        ),
        (
            "deploy only",
            failed(TRANSIENT, minutes(30)).with(|w| w.request.upkeep_only = true),
            "hold upkeep-only",
        ),
    ]);
    assert_eq!(
        failed(TRANSIENT, minutes(29)).plan().wake_at,
        now + minutes(1),
        "the look is a date to wake for"
    );
}

#[test]
fn a_good_look_pulls_the_next_attempt_forward_but_not_too_often() {
    let now = day(61);
    let may = |ago, reached| {
        let world = due().failed(TRANSIENT, 4, now - ago, now + Span::hours(20));
        let mut trouble = world.record.trouble.clone().unwrap();
        trouble.failure.reached_validation = reached;
        may_pull_forward(&world.record, &trouble, now)
    };
    for (row, ago, reached, expected) in [
        ("29 minutes after a CA that was down", minutes(29), false, false),
        ("30 minutes after a CA that was down", minutes(30), false, true),
        ("two hours after a failed validation", minutes(120), true, false),
        ("ten a day after failed validations", minutes(144), true, true),
    ] {
        assert_eq!(may(ago, reached), expected, "{row}");
    }
}

#[test]
fn ten_failed_validations_of_one_name_are_enough_for_a_day() {
    let now = day(61);
    let failures = |name: &str, count: i64, ago: Span| {
        let name = names(&[name]).remove(0);
        due().with(|w| {
            w.record.failed_validations = (0..count)
                .map(|n| FailedValidation { name: name.clone(), at: now - ago + Span::minutes(n) })
                .collect();
        })
    };
    table(vec![
        ("nine", failures("a.example", 9, Span::hours(20)), "renew lifetime-window"),
        ("ten", failures("a.example", 10, Span::hours(20)), "suspend validation-cap"),
        (
            "ten, at last resort",
            failures("a.example", 10, Span::hours(20)).with(|w| {
                w.record.current.as_mut().unwrap().leaf.not_after = now + Span::HOUR;
            }),
            "suspend validation-cap",
        ),
        (
            "ten, by hand",
            failures("a.example", 10, Span::hours(20)).with(|w| w.request.by_hand = true),
            "suspend validation-cap",
        ),
        (
            "ten at this very instant",
            due().with(|w| {
                let name = names(&["a.example"]).remove(0);
                w.record.failed_validations = vec![FailedValidation { name, at: now }; 10];
            }),
            "suspend validation-cap",
        ),
        (
            "ten of a name that is no longer asked for",
            failures("b.example", 10, Span::hours(20)),
            "renew lifetime-window",
        ),
        (
            "ten, the first over a day ago",
            failures("a.example", 10, Span::hours(24)),
            "renew lifetime-window",
        ),
        (
            "ten, and the open order still has names to prove",
            failures("a.example", 10, Span::hours(20)).attempting(Phase::Validating, |_| {}),
            "suspend validation-cap",
        ),
        (
            "ten, and the open order has nothing left to prove",
            failures("a.example", 10, Span::hours(20)).attempting(Phase::Finalizing, |_| {}),
            "resume",
        ),
        (
            "ten, noted by a clock that was ahead",
            failures("a.example", 10, Span::days(-90)),
            "renew lifetime-window",
        ),
    ]);
    match failures("a.example", 12, Span::hours(20)).plan().issuance {
        Issuance::Suspend { until, .. } => {
            assert_eq!(until, now + Span::hours(4) + minutes(2), "the third of twelve ages out");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn f27_a_tenth_of_life_lies_between_two_issuances() {
    let young = |days: i64| World::settled().at(day(days));
    let lost = |days| young(days).with(|w| w.kept = false);
    let past_window = |days: i64| {
        young(days).with(|w| {
            w.ari = true;
            w.record.reading = Some(reading("aki.2", 1, 2, w.now));
        })
    };
    let in_window = |days: i64| {
        young(days).with(|w| {
            w.ari = true;
            w.record.reading = Some(reading("aki.2", 1, 2, w.now));
            let leaf = w.current().leaf.clone();
            w.record.reading.as_mut().unwrap().window =
                Some(crate::core::time::Interval::new(day(1), day(20)));
            w.record.point = renewal_point(&w.record).map(|p| RenewalPoint { at: day(1), ..p });
            assert_eq!(leaf.lifetime(), Span::days(90));
        })
    };
    let just_before = |w: &mut World| w.record.previous.as_mut().unwrap().at = day(2);
    table(vec![
        ("the CA wants it back within the window, day 3", in_window(3), "suspend too-soon"),
        ("the CA wants it back within the window, day 9", in_window(9), "renew ari-window"),
        ("the CA's window is over, day 3", past_window(3), "renew ari-window"),
        (
            "the CA's window is over again right after the last time",
            past_window(3).with(just_before),
            "suspend too-soon",
        ),
        ("lost on day 3", lost(3), "renew generation-lost"),
        ("lost again right after the last loss", lost(3).with(just_before), "suspend too-soon"),
        (
            "lost again right after the last loss, --force",
            lost(3).with(just_before).with(|w| w.request.force = true),
            "renew generation-lost",
        ),
        ("--force on day 3", young(3).with(|w| w.request.force = true), "renew forced"),
        (
            "names changed on day 3",
            young(3).with(|w| w.spec().names = names(&["b.example"]).into()),
            "renew names-changed",
        ),
        ("revoked on day 3", young(3).with(|w| w.current().revoked = true), "renew revoked"),
        ("an attempt is open on day 3", young(3).attempting(Phase::Ordered, |_| {}), "resume"),
        (
            "the CA gave one with four days left: last resort after a tenth of those",
            young(86).with(|w| {
                w.current().at = day(86) - Span::hours(11);
            }),
            "renew last-resort",
        ),
        (
            "the CA gave one with four days left, just now",
            young(86).with(|w| {
                w.current().at = day(86) - Span::hours(1);
            }),
            "suspend too-soon",
        ),
        (
            "issued by a clock that was ahead",
            young(86).with(|w| w.current().at = day(300)),
            "renew last-resort",
        ),
    ]);
}

#[test]
fn constants_shrink_under_a_lifetime_of_a_day() {
    let now = day(0) + minutes(50);
    let hour = |ago: Span| {
        World::settled().with(|w| w.record.current = Some(issued(2, day(0), Span::HOUR))).at(now).failed(
            TRANSIENT,
            4,
            now - ago,
            now + minutes(9),
        )
    };
    table(vec![
        (
            "a one-hour certificate: the free look comes after 75 s",
            hour(Span::secs(74)),
            "suspend backing-off",
        ),
        ("a one-hour certificate: looked for after 75 s", hour(Span::secs(75)), "probe"),
    ]);
    let end = |ago: Span| {
        hour(ago).with(|w| {
            w.now = day(0) + minutes(58);
            let trouble = w.record.trouble.as_mut().unwrap();
            trouble.last_at = w.now - ago;
            trouble.next_at = w.now + minutes(1);
        })
    };
    table(vec![
        ("two minutes left: the wait is a twelfth of them", end(Span::secs(9)), "suspend backing-off"),
        ("two minutes left: ten seconds are enough", end(Span::secs(10)), "renew last-resort"),
    ]);
}

#[test]
fn a_pause_is_kept_until_its_end() {
    let paused = |w: World, until| {
        w.with(|w| {
            w.record.pause = Some(Pause { until, reason: "migration".into(), at: w.now });
        })
    };
    table(vec![
        ("due", paused(due(), day(70)), "suspend paused"),
        ("at last resort", paused(World::settled().at(day(86)), day(87)), "suspend paused"),
        ("an attempt is open", paused(due().attempting(Phase::Ordered, |_| {}), day(70)), "suspend paused"),
        ("its end has come", paused(due(), day(61)), "renew lifetime-window"),
        ("not due anyway", paused(World::settled(), day(70)), "hold not-due"),
    ]);
    assert_eq!(paused(due(), day(61) + minutes(7)).plan().wake_at, day(61) + minutes(7));
}
