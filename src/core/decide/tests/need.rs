//! What makes a certificate needed, and what does not.

use super::*;
use crate::core::decide::abandoned;
use crate::core::spec::Profile;

#[test]
fn what_the_entry_asks_for_is_compared_with_what_there_is() {
    let settled = World::settled;
    let profile = |name: &str, required| Some(Profile { name: name.into(), required });
    table(vec![
        ("nothing changed and ten days old", settled(), "hold not-due"),
        ("never issued", settled().with(|w| w.record.current = None), "issue never-issued"),
        (
            "a name was added",
            settled().with(|w| w.spec().names = names(&["a.example", "b.example"]).into()),
            "renew names-changed",
        ),
        (
            "a name was taken away",
            settled().with(|w| {
                w.current().names = names(&["a.example", "b.example"]);
            }),
            "renew names-changed",
        ),
        (
            "the same names in another order",
            settled().with(|w| {
                w.current().names = names(&["b.example", "a.example"]);
                w.spec().names = names(&["a.example", "b.example"]).into();
            }),
            "hold not-due",
        ),
        (
            "the CA put more names on the leaf than asked",
            settled().with(|w| {
                w.current().leaf.names = names(&["a.example", "www.a.example"]);
            }),
            "hold not-due",
        ),
        ("RSA is wanted now", settled().with(|w| w.terms().key = KeyKind::Rsa2048), "renew key-kind-changed"),
        (
            "another CA is wanted now",
            settled().with(|w| w.terms().issuers = vec![ca("zerossl")]),
            "renew issuer-changed",
        ),
        (
            "a second CA was put first, the old one is still listed",
            settled().with(|w| {
                w.terms().issuers = vec![ca("zerossl"), ca("letsencrypt")];
            }),
            "hold not-due",
        ),
        (
            "the record was told anew from the generation: issuer unknown",
            settled().with(|w| {
                w.current().issuer = None;
            }),
            "hold not-due",
        ),
        (
            "a required profile is new",
            settled().with(|w| w.terms().profile = profile("shortlived", true)),
            "renew profile-changed",
        ),
        (
            "the required profile is the one we have",
            settled().with(|w| {
                w.terms().profile = profile("shortlived", true);
                w.current().profile = Some("shortlived".into());
            }),
            "hold not-due",
        ),
        (
            "a preferred profile waits for the next renewal",
            settled().with(|w| {
                w.terms().profile = profile("shortlived", false);
            }),
            "hold not-due",
        ),
        (
            "issuer and profile are unknown after the record was told anew: not a change",
            settled().with(|w| {
                w.terms().profile = profile("shortlived", true);
                w.current().issuer = None;
            }),
            "hold not-due",
        ),
        (
            "key and certificate are lost from store and disk",
            settled().with(|w| w.kept = false),
            "renew generation-lost",
        ),
        ("the current one was revoked", settled().with(|w| w.current().revoked = true), "renew revoked"),
        ("left the configuration", settled().with(|w| w.spec = None), "hold retired"),
        ("left the configuration and expired", settled().at(day(95)).with(|w| w.spec = None), "hold retired"),
    ]);
}

#[test]
fn f27_lifetime_decides_where_the_ca_says_nothing() {
    let short = |hours: i64| {
        World::settled()
            .with(|w| w.record.current = Some(issued(2, day(0), Span::hours(160))))
            .at(day(0) + Span::hours(hours))
    };
    table(vec![
        ("90 days, day 58: before the window", World::settled().at(day(58)), "hold not-due"),
        ("90 days, day 60: a third is left", World::settled().at(day(60)), "renew lifetime-window"),
        ("90 days, day 86: last resort", World::settled().at(day(86)), "renew last-resort"),
        ("90 days, day 200: long expired", World::settled().at(day(200)), "renew last-resort"),
        ("160 hours, hour 75: before half-life", short(75), "hold not-due"),
        ("160 hours, hour 80: half-life", short(80), "renew lifetime-window"),
    ]);
}

#[test]
fn f46_renewal_information_is_advice_with_a_backstop() {
    let ari = |now: i64, reading: Option<Reading>| {
        World::settled().at(day(now)).with(|w| {
            w.ari = true;
            w.record.reading = reading;
        })
    };
    let fresh = |from, to, now| Some(reading("aki.2", from, to, day(now)));
    table(vec![
        ("never asked", ari(10, None), "refresh"),
        ("asked six hours ago", ari(10, Some(reading("aki.2", 58, 60, day(9)))), "refresh"),
        ("window later", ari(10, fresh(58, 60, 10)), "hold not-due"),
        ("window pulled forward and over", ari(10, fresh(8, 9, 10)), "renew ari-window"),
        ("window later than a third of life", ari(70, fresh(75, 76, 70)), "hold not-due"),
        (
            "window wholly in the last twentieth is absurd: lifetime decides",
            ari(70, fresh(87, 88, 70)),
            "renew lifetime-window",
        ),
        ("window backwards is absurd", ari(10, fresh(9, 8, 10)), "hold not-due"),
        ("window of the year before is absurd", ari(10, fresh(-300, -290, 10)), "hold not-due"),
        (
            "the answer is about another certificate",
            ari(10, Some(reading("aki.1", 8, 9, day(10)))),
            "refresh",
        ),
        (
            "the CA gave no usable answer",
            ari(60, Some(Reading { window: None, ..reading("aki.2", 0, 0, day(60)) })),
            "renew lifetime-window",
        ),
        ("last resort overrides a later window", ari(86, fresh(86, 89, 86)), "renew last-resort"),
        (
            "the leaf has no id to ask by",
            ari(10, None).with(|w| w.current().leaf.ari_id = None),
            "hold not-due",
        ),
        ("the CA is known to have no such service", ari(10, None).with(|w| w.ari = false), "hold not-due"),
        (
            "asked by a clock that was years ahead",
            ari(10, Some(reading("aki.2", 58, 60, day(3000)))),
            "refresh",
        ),
    ]);
}

#[test]
fn the_point_is_chosen_once_and_survives_polls_and_restarts() {
    let mut world = World::settled().with(|w| {
        w.ari = true;
        w.record.reading = Some(reading("aki.2", 50, 60, day(10)));
    });
    let first = renewal_point(&world.record).unwrap();
    assert!(first.at >= day(50) && first.at < day(60));
    world.record.point = Some(first);
    world.record.reading = Some(reading("aki.2", 50, 60, day(11)));
    assert_eq!(renewal_point(&world.record), Some(first), "a second poll with the same window");
    world.record.point = None;
    assert_eq!(renewal_point(&world.record), Some(first), "the stored choice was lost with the record");
    world.record.point = Some(first);
    world.record.reading = Some(reading("aki.2", 20, 30, day(12)));
    assert!(renewal_point(&world.record).unwrap().at < day(30), "a moved window moves the point");
    world.record.reading = Some(reading("aki.1", 20, 30, day(12)));
    assert!(
        renewal_point(&world.record).unwrap().at > day(58),
        "another certificate's window is nothing to us"
    );
}

#[test]
fn an_open_attempt_goes_on_only_while_it_leads_where_the_entry_wants() {
    let settled = World::settled;
    let open = |w: World| w.attempting(Phase::Presented, |_| {});
    let demanded = |name: &str| Some(Profile { name: name.into(), required: true });
    // For `asked` out of two names, of which dead ones may be left out; `known` is what was wanted then.
    let sparing = |asked: &[&str], known: &[&str]| {
        let changed = settled().with(|w| {
            w.spec().names = names(&["a.example", "b.example"]).into();
            w.terms().on_dead_name = OnDeadName::RenewWithout;
            w.record.names = names(known);
        });
        changed.attempting(Phase::Presented, |attempt| attempt.names = names(asked))
    };
    let rows: Vec<(&str, World, &str, bool)> = vec![
        ("started a minute ago", open(settled().at(day(60))), "resume", false),
        ("started before anything was due", open(settled()), "resume", false),
        ("the first ever", open(settled().with(|w| w.record.current = None)), "resume", false),
        (
            "past its deadline",
            open(settled().at(day(60))).with(|w| w.now = w.now + Span::hours(6)),
            "renew lifetime-window",
            true,
        ),
        (
            "past its deadline and nothing is due any more",
            open(settled()).with(|w| w.now = w.now + Span::hours(5)),
            "hold not-due",
            true,
        ),
        (
            "the entry wants other names now",
            open(settled()).with(|w| w.spec().names = names(&["b.example"]).into()),
            "renew names-changed",
            true,
        ),
        (
            "the names were changed and changed back",
            settled().attempting(Phase::Presented, |a| a.names = names(&["b.example"])),
            "hold not-due",
            true,
        ),
        (
            "the entry wants another key now",
            open(settled()).with(|w| w.terms().key = KeyKind::Rsa2048),
            "renew key-kind-changed",
            true,
        ),
        (
            "the entry wants another CA now",
            open(settled()).with(|w| w.terms().issuers = vec![ca("zerossl")]),
            "renew issuer-changed",
            true,
        ),
        (
            "the entry demands a profile that was not asked for",
            open(settled()).with(|w| {
                w.terms().profile = Some(Profile { name: "shortlived".into(), required: true });
            }),
            "renew profile-changed",
            true,
        ),
        (
            "the preferred profile was refused and left out",
            open(settled()).with(|w| {
                w.terms().profile = Some(Profile { name: "shortlived".into(), required: false });
            }),
            "resume",
            false,
        ),
        (
            "the old set at last resort, as the changed one fails",
            settled()
                .at(day(86))
                .with(|w| {
                    w.spec().names = names(&["b.example"]).into();
                })
                .attempting(Phase::Presented, |_| {}),
            "resume",
            false,
        ),
        (
            "… at the very instant that last resort begins",
            settled()
                .at(day(85) + Span::hours(12))
                .with(|w| {
                    w.spec().names = names(&["b.example"]).into();
                })
                .attempting(Phase::Presented, |_| {}),
            "resume",
            false,
        ),
        (
            "… and a minute before",
            settled()
                .at(day(85) + Span::hours(12) - Span::MINUTE)
                .with(|w| {
                    w.spec().names = names(&["b.example"]).into();
                })
                .attempting(Phase::Presented, |_| {}),
            "renew names-changed",
            true,
        ),
        (
            "never issued, and for names that nobody wants",
            settled()
                .with(|w| w.record.current = None)
                .attempting(Phase::Presented, |a| a.names = names(&["b.example"])),
            "issue never-issued",
            true,
        ),
        (
            "the profile that the entry demands was asked for",
            open(settled().with(|w| w.terms().profile = demanded("shortlived")))
                .with(|w| w.record.attempt.as_mut().unwrap().profile = demanded("shortlived")),
            "resume",
            false,
        ),
        (
            "another profile was asked for",
            open(settled().with(|w| w.terms().profile = demanded("shortlived")))
                .with(|w| w.record.attempt.as_mut().unwrap().profile = demanded("classic")),
            "renew profile-changed",
            true,
        ),
        ("dead names were left out", sparing(&["a.example"], &["a.example", "b.example"]), "resume", false),
        (
            "… and a name was added to the entry since",
            sparing(&["a.example"], &["a.example"]),
            "renew names-changed",
            true,
        ),
        (
            "… but it has one that the entry does not",
            sparing(&["a.example", "x.example"], &["a.example", "b.example"]),
            "renew names-changed",
            true,
        ),
        (
            "… but the entry allows that no more",
            sparing(&["a.example"], &["a.example", "b.example"])
                .with(|w| w.terms().on_dead_name = OnDeadName::default()),
            "renew names-changed",
            true,
        ),
        (
            "left the configuration: kept until its deadline, an entry may just be broken",
            open(settled()).with(|w| w.spec = None),
            "hold retired",
            false,
        ),
        (
            "left the configuration and past its deadline",
            open(settled()).with(|w| {
                w.spec = None;
                w.now = w.now + Span::hours(5);
            }),
            "hold retired",
            true,
        ),
    ];
    for (row, world, expected, gone) in rows {
        let plan = world.plan();
        assert_eq!(words(&plan.issuance), expected, "{row}");
        assert_eq!(abandoned(&world.record, world.spec.as_ref(), world.now), gone, "{row}");
        // What stands at the solvers for a dead attempt is taken away whether or not there is a new one.
        assert_eq!(plan.upkeep == Upkeep::CleanUp, gone, "{row}");
        if !gone {
            assert!(plan.wake_at <= world.record.attempt.as_ref().unwrap().deadline, "{row}");
        }
    }
}

#[test]
fn f39_the_old_names_are_renewed_at_last_resort_when_a_changed_set_keeps_failing() {
    let changed = |now: Timestamp| {
        World::settled().at(now).with(|w| {
            w.spec().names = names(&["a.example", "dead.example"]).into();
            w.record.names = names(&["a.example", "dead.example"]);
        })
    };
    let failing = |now| changed(now).failed(Class::Refused, 9, now - Span::hours(2), now - Span::HOUR);
    let asked = |world: &World| match world.plan().issuance {
        Issuance::Renew { names, .. } => names.len(),
        other => panic!("{other:?}"),
    };
    let early = failing(day(80));
    assert_eq!((words(&early.plan().issuance).as_str(), asked(&early)), ("renew names-changed", 2));
    let late = failing(day(86));
    assert_eq!((words(&late.plan().issuance).as_str(), asked(&late)), ("renew old-names-kept", 1));
    let untried = changed(day(86));
    assert_eq!((words(&untried.plan().issuance).as_str(), asked(&untried)), ("renew names-changed", 2));
    let waiting = changed(day(85))
        .failed(Class::Refused, 9, day(85), day(86))
        .with(|w| w.spec().endpoints = List::default());
    assert_eq!(waiting.plan().wake_at, day(85) + Span::hours(12), "last resort is a date to wake for");
}

#[test]
fn old_and_new_names_take_turns_with_a_floor_between_them() {
    let mut world = World::settled().at(day(86)).with(|w| {
        w.spec().names = names(&["a.example", "dead.example"]).into();
        w.record.names = names(&["a.example", "dead.example"]);
    });
    let mut asked = Vec::new();
    let mut last: Option<Timestamp> = None;
    while asked.len() < 40 {
        let plan = world.plan();
        match plan.issuance {
            Issuance::Renew { names, .. } => {
                let floor = backoff(&world.record).floor(true);
                assert!(last.is_none_or(|last| world.now.since(last) >= floor), "hot loop at {}", world.now);
                last = Some(world.now);
                asked.push(names.len());
                let count = world.record.trouble.as_ref().map_or(0, |t| t.count) + 1;
                let wait = backoff(&world.record).after(count, Span::days(4), true, 0);
                let (now, next_at) = (world.now, world.now + wait);
                world = world.failed(Class::Transient, count, now, next_at);
                let trouble = world.record.trouble.as_mut().unwrap();
                trouble.names = names;
                trouble.failure.reached_validation = true;
            }
            Issuance::Probe { .. } => world.record.trouble.as_mut().unwrap().probed_at = Some(world.now),
            _ => world = world.clone().at(plan.wake_at),
        }
    }
    let old = asked.iter().filter(|count| **count == 1).count();
    assert!((15..=25).contains(&old), "one set starves the other: {asked:?}");
}

/// Dead names, and what each row asks for: `+` is the whole set.
#[test]
fn f39_dead_names_are_left_out_where_the_entry_allows_it() {
    let all = ["a.example", "b.example", "dead.example"];
    let entry = |world: World| {
        world.with(|w| {
            w.spec().names = names(&all).into();
            w.terms().on_dead_name = OnDeadName::RenewWithout;
            w.record.names = names(&all);
        })
    };
    let holding = |held: &[&str], at: Timestamp| {
        entry(World::settled().at(at)).with(|w| w.current().names = names(held))
    };
    let blaming = |world: World, asked: &[&str], dead: &[&str], count: u32| {
        let at = world.now - Span::hours(2);
        world.failed(Class::Transient, count, at, at + Span::HOUR).with(|w| {
            let trouble = w.record.trouble.as_mut().unwrap();
            trouble.names = names(asked);
            trouble.failure = trouble.failure.clone().blaming_all(names(dead));
            (trouble.failure.reached_validation, trouble.failure.fault) = (true, Fault::Network);
            for name in names(dead) {
                let failed = FailedValidation { name, at: w.now - Span::hours(2) };
                w.record.failed_validations.extend(vec![failed; usize::try_from(count.min(9)).unwrap()]);
            }
        })
    };
    let with_failure = |world: World, change: fn(&mut Failure)| {
        world.with(|w| change(&mut w.record.trouble.as_mut().unwrap().failure))
    };
    let never = |at: Timestamp| entry(World::settled().at(at)).with(|w| w.record.current = None);
    let rows = vec![
        (
            "a name died; weeks are left",
            blaming(holding(&all, day(62)), &all, &["dead.example"], 9),
            "+ lifetime-window",
        ),
        (
            "last resort",
            blaming(holding(&all, day(86)), &all, &["dead.example"], 9),
            "a.example b.example dead-names-left-out",
        ),
        (
            "two at once",
            blaming(holding(&all, day(86)), &all, &["b.example", "dead.example"], 9),
            "a.example dead-names-left-out",
        ),
        (
            "last resort, but failed twice only",
            blaming(holding(&all, day(86)), &all, &["dead.example"], 2),
            "+ last-resort",
        ),
        (
            "last resort, and no name is to blame",
            blaming(holding(&all, day(86)), &all, &[], 9),
            "+ last-resort",
        ),
        ("every name is dead", blaming(holding(&all, day(86)), &all, &all, 9), "+ last-resort"),
        (
            "the rest failed in a passing trouble",
            blaming(holding(&all, day(86)), &all[..2], &[], 9),
            "a.example b.example dead-names-left-out",
        ),
        (
            "another one died since",
            blaming(holding(&all, day(86)), &all[..2], &["b.example"], 9),
            "a.example dead-names-left-out",
        ),
        (
            "the entry does not allow it",
            blaming(holding(&all, day(86)), &all, &["dead.example"], 9)
                .with(|w| w.terms().on_dead_name = OnDeadName::Fail),
            "+ last-resort",
        ),
        (
            "left out before, and not due",
            blaming(holding(&all[..2], day(20)), &all, &["dead.example"], 9),
            "+ names-changed",
        ),
        (
            "left out before, and due: nobody loses a name by it",
            blaming(holding(&all[..2], day(62)), &all, &["dead.example"], 9),
            "a.example b.example dead-names-left-out",
        ),
        (
            "left out before, due, and one that is shown died too",
            blaming(holding(&all[..2], day(62)), &all, &["b.example"], 9),
            "+ names-changed",
        ),
        (
            "all of that, at last resort",
            blaming(holding(&all[..2], day(86)), &all[..2], &["b.example"], 9),
            "a.example dead-names-left-out",
        ),
        ("never issued, failed twice", blaming(never(day(1)), &all, &["dead.example"], 2), "+ never-issued"),
        (
            "never issued, failed three times",
            blaming(never(day(1)), &all, &["dead.example"], 3),
            "a.example b.example dead-names-left-out",
        ),
        (
            "the vendor of our DNS refuses us: the names are fine",
            with_failure(blaming(holding(&all, day(86)), &all, &["dead.example"], 9), |failure| {
                (failure.reached_validation, failure.code) = (false, "dns-refused".into());
            }),
            "+ last-resort",
        ),
        (
            "the CA failed by itself while it looked",
            with_failure(blaming(holding(&all, day(86)), &all, &["dead.example"], 9), |failure| {
                failure.fault = Fault::Ca;
            }),
            "+ last-resort",
        ),
        (
            "the CA does not take the name at all",
            with_failure(blaming(holding(&all, day(86)), &all, &["dead.example"], 3), |failure| {
                (failure.reached_validation, failure.code) = (false, "rejected-name".into());
            }),
            "a.example b.example dead-names-left-out",
        ),
        (
            "left out before, and its key is lost",
            blaming(holding(&all[..2], day(20)), &all, &["dead.example"], 9).with(|w| w.kept = false),
            "a.example b.example dead-names-left-out",
        ),
        (
            "left out before, and the CA wants it back now",
            blaming(holding(&all[..2], day(20)), &all, &["dead.example"], 9).with(|w| {
                w.ari = true;
                w.record.reading = Some(reading("aki.2", 5, 6, w.now - Span::HOUR));
            }),
            "a.example b.example dead-names-left-out",
        ),
        (
            "names were added since",
            blaming(never(day(1)), &["a.example", "dead.example"], &["dead.example"], 9)
                .with(|w| w.record.names = names(&["a.example", "dead.example"])),
            "+ never-issued",
        ),
    ];
    for (row, world, expected) in rows {
        let (asked, why) = match world.plan().issuance {
            Issuance::Renew { names, why } | Issuance::Issue { names, why } => (names, why),
            other => panic!("{row}: {other:?}"),
        };
        let asked = if world.spec.as_ref().unwrap().same_names(&asked) {
            "+".to_owned()
        } else {
            asked.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(format!("{asked} {why}"), expected, "{row}");
    }
}

#[test]
fn f47_what_lacks_a_dead_name_still_hears_its_ca() {
    let all = ["a.example", "dead.example"];
    let mut world = World::settled().at(day(20)).with(|w| {
        w.spec().names = names(&all).into();
        w.terms().on_dead_name = OnDeadName::RenewWithout;
        w.record.names = names(&all);
        w.ari = true;
    });
    world = world.failed(Class::Transient, 9, day(19), day(21)).with(|w| {
        w.record.trouble.as_mut().unwrap().names = names(&all);
    });
    assert_eq!(world.plan().issuance, Issuance::Refresh);
}
