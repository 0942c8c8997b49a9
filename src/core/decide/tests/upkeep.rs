//! This node's upkeep.

use super::*;
use crate::core::deploy_window::{DeployWindow, Opening, Zone};
use crate::core::record::{HeldBack, Pin, Refused};
use crate::core::spec::{Output, Part};
use std::path::PathBuf;

fn verdict(upkeep: &Upkeep) -> String {
    match upkeep {
        Upkeep::Install { generation, why } => format!("install {generation} {why}"),
        Upkeep::Notify { hook, generation } => format!("notify {hook} {generation}"),
        Upkeep::Unpin { generation } => format!("unpin {generation}"),
        Upkeep::Settle { hook, generation } => format!("settle {hook} {generation}"),
        Upkeep::Observe { generation, endpoints } => format!("observe {generation} {}", endpoints.len()),
        other => other.verb().to_owned(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "rows read best as one literal")]
fn upkeep_table(rows: Vec<(&str, World, &str)>) {
    let found = rows.iter().map(|(row, world, _)| (*row, verdict(&world.plan().upkeep)));
    same(found, rows.iter().map(|(row, _, expected)| (*row, *expected)));
}

fn owing() -> World {
    World::settled().with(|w| {
        w.record.debts = vec![Debt { receipt: receipt(), failures: 0, next_at: w.now }];
        w.disk.live = Placement::Shows(1);
        w.installed.hooks.insert(hook("nginx"), done(1));
        w.installed.endpoints.clear();
    })
}

#[test]
fn debts_are_paid_before_installs_before_hooks_before_looks() {
    upkeep_table(vec![
        ("all at once", owing(), "clean-up"),
        ("the debt was paid", owing().with(|w| w.record.debts.clear()), "install 2 new-generation"),
        (
            "the debt failed and waits: the rest goes on",
            owing().with(|w| w.record.debts[0].next_at = w.now + Span::MINUTE),
            "install 2 new-generation",
        ),
        (
            "it is on disk",
            owing().with(|w| {
                w.record.debts.clear();
                w.disk.live = Placement::Shows(2);
            }),
            "notify nginx 2",
        ),
        (
            "the hook is done",
            owing().with(|w| {
                w.record.debts.clear();
                w.disk.live = Placement::Shows(2);
                w.installed.hooks.insert(hook("nginx"), done(2));
            }),
            "observe 2 1",
        ),
        ("all is done", World::settled(), "hold"),
        (
            "a debt noted by a clock that was ahead",
            owing().with(|w| w.record.debts[0].next_at = day(3000)),
            "clean-up",
        ),
        (
            "left the configuration: debts are paid, nothing else is touched",
            owing().with(|w| w.spec = None),
            "clean-up",
        ),
        (
            "left the configuration, no debts",
            owing().with(|w| {
                w.spec = None;
                w.record.debts.clear();
            }),
            "hold",
        ),
        (
            "nothing was ever issued",
            owing().with(|w| {
                w.record.debts.clear();
                w.record.current = None;
                w.disk.live = Placement::Missing;
            }),
            "hold",
        ),
    ]);
}

#[test]
fn the_disk_is_put_right_whatever_happened_to_it() {
    let shows = |live: Placement| World::settled().with(|w| w.disk.live = live);
    let leaf = Box::new(leaf(day(5), Span::days(90), 77));
    upkeep_table(vec![
        ("empty", shows(Placement::Missing), "install 2 never-installed"),
        (
            "the placeholder of the first boot",
            shows(Placement::Placeholder(day(40))),
            "install 2 never-installed",
        ),
        ("edited", shows(Placement::Drifted("fullchain.pem was edited".into())), "install 2 drift"),
        ("the generation before", shows(Placement::Shows(1)), "install 2 new-generation"),
        (
            "a generation that the record does not have any more",
            shows(Placement::Shows(3)),
            "install 2 rolled-back",
        ),
        ("somebody's valid and newer pair is held", shows(Placement::Foreign(leaf.clone())), "hold"),
        (
            "deploy --take-back",
            shows(Placement::Foreign(leaf)).with(|w| w.request.take_back = true),
            "install 2 taken-back",
        ),
        (
            "the bytes are lost: nothing to install",
            shows(Placement::Missing).with(|w| w.kept = false),
            "hold",
        ),
    ]);
}

#[test]
fn what_a_person_went_back_to_is_shown_until_it_is_of_no_more_use() {
    let pinned = || {
        World::settled().with(|w| {
            w.record.pin = Some(Pin { generation: 1, reason: "clients break".into(), at: w.now });
        })
    };
    upkeep_table(vec![
        ("the new one is still shown", pinned(), "install 1 rolled-back"),
        (
            "it is shown; the service was told of the new one",
            pinned().with(|w| {
                w.disk.live = Placement::Shows(1);
                w.installed.hooks.insert(hook("nginx"), HookNote::never());
                w.installed.endpoints.insert(endpoint(), note(Sight::Old, 1, w.now, day(11)));
            }),
            "notify nginx 1",
        ),
        (
            "a hook refused the new one before: the pin says what is shown",
            pinned().with(|w| {
                w.record.pin.as_mut().unwrap().generation = 2;
                w.installed.refused = Some(Refused {
                    generation: 2,
                    returned_to: 1,
                    at: day(9),
                    until: day(12),
                    count: 1,
                    words: "nginx -t says no".into(),
                });
            }),
            "hold",
        ),
        ("its last twentieth has begun", pinned().at(day(26)), "unpin 1"),
        ("it was revoked", pinned().with(|w| w.record.previous.as_mut().unwrap().revoked = true), "unpin 1"),
        ("it is kept no longer", pinned().with(|w| w.record.previous = None), "unpin 1"),
        ("its bytes are lost", pinned().with(|w| w.kept = false), "unpin 1"),
    ]);
    let plan = pinned().with(|w| w.disk.live = Placement::Shows(1)).at(day(25)).plan();
    assert!(plan.wake_at <= day(26), "nobody wakes when the pin ends: {plan:?}");
}

/// Open on the days after the tenth, and closed on the tenth: the worlds begin at an epoch day.
fn window(days_until_open: i64) -> DeployWindow {
    let day = |at: Timestamp| (at.secs() / 86_400 + 3) % 7;
    let mut days = [false; 7];
    days[usize::try_from(day(self::day(10) + Span::days(days_until_open))).unwrap()] = true;
    DeployWindow(vec![Opening { days, from: 0, to: 1440, zone: Arc::new(Zone::utc()) }])
}

#[test]
fn what_is_new_waits_for_its_deploy_window_and_nothing_else_does() {
    // Generation 1 is shown, lives until day 30, and was told and seen.
    let waiting = |days: i64| {
        World::settled().with(|w| {
            w.terms().deploy_window = Some(window(days));
            w.disk.live = Placement::Shows(1);
            w.installed.hooks.insert(hook("nginx"), done(1));
            w.installed.endpoints.insert(endpoint(), note(Sight::New, 1, w.now, w.now + Span::HOUR));
        })
    };
    upkeep_table(vec![
        ("the window is open", waiting(0), "install 2 new-generation"),
        ("it opens in three days", waiting(3), "hold"),
        ("deploy by hand", waiting(3).with(|w| w.request.hurry = true), "install 2 new-generation"),
        (
            "what is shown is in its last twentieth",
            waiting(3).with(|w| w.record.previous.as_mut().unwrap().leaf.not_after = w.now + Span::days(3)),
            "install 2 new-generation",
        ),
        (
            "what is shown was revoked",
            waiting(3).with(|w| w.record.previous.as_mut().unwrap().revoked = true),
            "install 2 new-generation",
        ),
        (
            "nothing is shown yet",
            waiting(3).with(|w| w.disk.live = Placement::Missing),
            "install 2 never-installed",
        ),
        (
            "a placeholder is shown",
            waiting(3).with(|w| w.disk.live = Placement::Placeholder(day(30))),
            "install 2 never-installed",
        ),
        (
            "somebody has touched what is shown: that one is put right",
            waiting(3).with(|w| {
                w.disk.live = Placement::Drifted("privkey.pem has mode 0644".into());
                w.disk.named = Some(1);
            }),
            "install 1 drift",
        ),
        (
            "nobody knows which was shown",
            waiting(3).with(|w| w.disk.live = Placement::Drifted("shows what is not known".into())),
            "install 2 drift",
        ),
        (
            "what is shown was never told",
            waiting(3).with(|w| {
                w.installed.hooks.insert(hook("nginx"), HookNote { failures: 1, ..HookNote::never() });
            }),
            "notify nginx 1",
        ),
        (
            "a reload that failed in the window waits for the next",
            waiting(3).with(|w| {
                w.disk.live = Placement::Shows(2);
                w.installed.hooks.insert(hook("nginx"), HookNote { failures: 1, ..done(1) });
                w.installed.endpoints.insert(endpoint(), note(Sight::Old, 2, w.now, w.now + Span::HOUR));
            }),
            "hold",
        ),
        (
            "and is tried at once by hand",
            waiting(3).with(|w| {
                w.request.hurry = true;
                w.disk.live = Placement::Shows(2);
                w.installed.hooks.insert(hook("nginx"), HookNote { failures: 1, ..done(1) });
                w.installed.endpoints.insert(endpoint(), note(Sight::Old, 2, w.now, w.now + Span::HOUR));
            }),
            "notify nginx 2",
        ),
        (
            "a rollback waits for nothing",
            waiting(3).with(|w| w.disk.live = Placement::Shows(3)),
            "install 2 rolled-back",
        ),
    ]);
    let world = waiting(1);
    assert_eq!(world.plan().wake_at, world.installed.endpoints[&endpoint()].next_at);
    let world = waiting(1).with(|w| w.spec().endpoints = List::default());
    let midnight = Timestamp::from_secs(day(11).secs() / 86_400 * 86_400);
    assert_eq!(world.plan().wake_at, midnight, "it wakes when the window opens");
}

#[test]
fn what_is_held_back_waits_for_another_of_its_service_but_not_for_ever() {
    let held = |until: Timestamp| {
        World::settled().with(|w| {
            w.disk.live = Placement::Shows(1);
            w.installed.hooks.insert(hook("nginx"), done(1));
            w.installed.held_back = Some(HeldBack {
                generation: 2,
                by: LineageId::parse("first.example").unwrap(),
                at: w.now,
                until,
            });
        })
    };
    let soon = day(10) + Span::minutes(10);
    upkeep_table(vec![
        ("another went ahead and was not seen to work", held(soon), "hold"),
        ("its time is over", held(day(10)), "install 2 new-generation"),
        ("deploy by hand", held(soon).with(|w| w.request.hurry = true), "install 2 new-generation"),
        (
            "it was another generation",
            held(soon).with(|w| w.installed.held_back.as_mut().unwrap().generation = 1),
            "install 2 new-generation",
        ),
        (
            "what is shown is in its last twentieth",
            held(soon).with(|w| w.record.previous.as_mut().unwrap().leaf.not_after = w.now + Span::days(3)),
            "install 2 new-generation",
        ),
        (
            "noted by a clock that has been put back",
            held(day(90)).with(|w| w.installed.held_back.as_mut().unwrap().at = day(80)),
            "install 2 new-generation",
        ),
        (
            "nothing is shown",
            held(soon).with(|w| w.disk.live = Placement::Missing),
            "install 2 never-installed",
        ),
    ]);
    assert_eq!(held(soon).plan().wake_at, soon);
}

#[test]
fn outputs_are_held_together_by_one_foreign_file() {
    let leaf = Box::new(leaf(day(5), Span::days(90), 77));
    let output =
        |path: &str, part: Part| Output { form: part.into(), path: path.into(), rights: Arc::default() };
    let placed = |first: Placement, second: Placement| {
        World::settled().with(|w| {
            w.spec().outputs = vec![
                output("/etc/mail/cert.pem", Part::Fullchain),
                output("/etc/mail/key.pem", Part::Privkey),
            ]
            .into();
            w.disk.outputs = vec![
                (PathBuf::from("/etc/mail/cert.pem"), first),
                (PathBuf::from("/etc/mail/key.pem"), second),
            ];
        })
    };
    let owed = |w: &mut World| {
        w.installed.hooks.insert(hook("nginx"), done(1));
    };
    upkeep_table(vec![
        ("both right", placed(Placement::Shows(2), Placement::Shows(2)), "hold"),
        ("one missing", placed(Placement::Shows(2), Placement::Missing), "install 2 drift"),
        ("one of the generation before", placed(Placement::Shows(1), Placement::Shows(2)), "install 2 drift"),
        (
            "one chmodded",
            placed(Placement::Shows(2), Placement::Drifted("mode 644".into())),
            "install 2 drift",
        ),
        (
            "one foreign, the other missing: half a pair is worse than none",
            placed(Placement::Foreign(leaf.clone()), Placement::Missing),
            "hold",
        ),
        (
            "one foreign, and a reload is owed for live/",
            placed(Placement::Foreign(leaf.clone()), Placement::Missing).with(owed),
            "notify nginx 2",
        ),
        (
            "one foreign, deploy --take-back",
            placed(Placement::Foreign(leaf), Placement::Shows(2)).with(|w| w.request.take_back = true),
            "install 2 drift",
        ),
    ]);
}

#[test]
fn f15_a_reload_is_owed_until_done_seen_waived_or_superseded() {
    let hooked = |note: Option<HookNote>| {
        World::settled().with(|w| {
            w.installed.hooks.clear();
            if let Some(note) = note {
                w.installed.hooks.insert(hook("nginx"), note);
            }
        })
    };
    let waiting = |until| HookNote { failures: 2, next_at: Some(until), ..done(1) };
    let now = day(10);
    let seen = |sight, generation| {
        hooked(None).with(|w| {
            w.installed.endpoints.insert(endpoint(), note(sight, generation, w.now, w.now + Span::HOUR));
        })
    };
    upkeep_table(vec![
        ("never told", hooked(Some(HookNote::never())), "notify nginx 2"),
        ("told of the one before", hooked(Some(done(1))), "notify nginx 2"),
        ("told", hooked(Some(done(2))), "hold"),
        ("failed, and the next try is in a minute", hooked(Some(waiting(now + Span::MINUTE))), "hold"),
        ("failed, and the next try is now", hooked(Some(waiting(now))), "notify nginx 2"),
        ("failed according to a clock that was ahead", hooked(Some(waiting(day(3000)))), "notify nginx 2"),
        (
            "deploy --skip nginx",
            hooked(Some(waiting(now + Span::MINUTE))).with(|w| w.request.skip = Some(hook("nginx"))),
            "settle nginx 2",
        ),
        (
            "deploy --skip of another hook",
            hooked(Some(done(1))).with(|w| w.request.skip = Some(hook("other"))),
            "notify nginx 2",
        ),
        ("added later, and the new leaf is served already", hooked(None), "settle nginx 2"),
        ("added later, and the old leaf is served", seen(Sight::Old, 2), "notify nginx 2"),
        ("added later, and nobody answers", seen(Sight::Unreachable, 2), "notify nginx 2"),
        (
            "the node's note was lost: look first",
            hooked(None).with(|w| w.installed.endpoints.clear()),
            "observe 2 1",
        ),
        ("added later, last look was for the generation before", seen(Sight::New, 1), "observe 2 1"),
        (
            "added later, and there is nowhere to look",
            hooked(None).with(|w| w.spec().endpoints = List::default()),
            "notify nginx 2",
        ),
        (
            "taken out of the entry while owed",
            hooked(Some(done(1))).with(|w| w.terms().hooks.clear()),
            "hold",
        ),
        (
            "the first of two waits: the second is told",
            hooked(Some(waiting(now + Span::MINUTE))).with(|w| {
                w.terms().hooks.push(hook("postfix"));
                w.installed.hooks.insert(hook("postfix"), done(1));
            }),
            "notify postfix 2",
        ),
        (
            "one waits: the endpoints are looked at all the same",
            hooked(Some(waiting(now + Span::MINUTE))).with(|w| {
                w.installed.endpoints.values_mut().for_each(|n| n.next_at = w.now);
            }),
            "observe 2 1",
        ),
    ]);
    assert_eq!(hooked(Some(waiting(now + Span::MINUTE))).plan().wake_at, now + Span::MINUTE);
}

#[test]
fn f16_endpoints_are_looked_at_when_their_time_has_come() {
    let noted = |sight, generation, at, next_at| {
        World::settled().with(|w| {
            w.installed.endpoints.insert(endpoint(), note(sight, generation, at, next_at));
        })
    };
    let now = day(10);
    upkeep_table(vec![
        ("new, looked at just now", World::settled(), "hold"),
        ("new, six hours ago", noted(Sight::New, 2, day(9), now), "observe 2 1"),
        ("new, but of the generation before", noted(Sight::New, 1, day(9), day(11)), "observe 2 1"),
        ("old, and the next look is later", noted(Sight::Old, 2, day(9), now + Span::MINUTE), "hold"),
        ("never looked at", World::settled().with(|w| w.installed.endpoints.clear()), "observe 2 1"),
        (
            "nothing to look at: unverified",
            World::settled().with(|w| w.spec().endpoints = List::default()),
            "hold",
        ),
        ("looked at by a clock that was ahead", noted(Sight::New, 2, day(3000), day(3000)), "observe 2 1"),
        (
            "a foreign pair is watched too",
            noted(Sight::Old, 2, day(9), now).with(|w| {
                w.disk.live = Placement::Foreign(Box::new(leaf(day(5), Span::days(90), 77)));
            }),
            "observe 2 1",
        ),
    ]);
    assert_eq!(noted(Sight::Old, 2, day(9), now + Span::MINUTE).plan().wake_at, now + Span::MINUTE);
}

#[test]
fn a_refused_generation_stays_away_until_its_time_or_last_resort() {
    let refused = |generation, returned_to, until| {
        World::settled().with(|w| {
            w.installed.refused = Some(Refused {
                generation,
                returned_to,
                at: w.now,
                until,
                count: 1,
                words: "nginx -t failed".into(),
            });
            // Returned to generation 1, which lives until day 30.
            w.installed.hooks.insert(hook("nginx"), done(1));
            w.installed.endpoints.insert(endpoint(), note(Sight::New, 1, w.now, w.now + Span::HOUR));
            w.disk.live = Placement::Shows(1);
        })
    };
    let now = day(10);
    upkeep_table(vec![
        ("its time has not come", refused(2, 1, now + Span::HOUR), "hold"),
        (
            "its time has not come and the disk still shows it",
            refused(2, 1, now + Span::HOUR).with(|w| w.disk.live = Placement::Shows(2)),
            "install 1 rolled-back",
        ),
        ("its time has come", refused(2, 1, now), "install 2 new-generation"),
        ("an older one was refused", refused(1, 0, now + Span::HOUR), "install 2 new-generation"),
        ("the one to return to is gone", refused(2, 7, now + Span::HOUR), "install 2 new-generation"),
        (
            "the one to return to was revoked since",
            refused(2, 1, now + Span::HOUR).with(|w| {
                w.record.previous.as_mut().unwrap().revoked = true;
            }),
            "install 2 new-generation",
        ),
        (
            "the one to return to is in its own last twentieth",
            refused(2, 1, day(40)).with(|w| {
                w.now = day(26);
            }),
            "install 2 new-generation",
        ),
        (
            "the refused one is at last resort itself",
            refused(2, 1, day(100)).with(|w| {
                w.now = day(86);
                w.record.previous.as_mut().unwrap().leaf.not_after = day(200);
            }),
            "install 2 new-generation",
        ),
        (
            "refused by a clock that was ahead",
            refused(2, 1, day(3001)).with(|w| {
                w.installed.refused.as_mut().unwrap().at = day(3000);
            }),
            "install 2 new-generation",
        ),
    ]);
    assert_eq!(refused(2, 1, now + Span::MINUTE).plan().wake_at, now + Span::MINUTE);
    let nearly = refused(2, 1, day(40)).with(|w| {
        w.now = day(25);
        w.installed.endpoints.insert(endpoint(), note(Sight::New, 1, day(25), day(27)));
    });
    assert_eq!(
        nearly.plan().wake_at,
        day(25) + Span::hours(12),
        "the fallback's own end is a date to wake for"
    );
}

#[test]
fn going_back_needs_a_sound_generation_with_a_sixth_of_life_left() {
    let previous = issued(1, day(0), Span::days(90));
    for (row, issued, now, expected) in [
        ("half of life left", previous.clone(), day(45), true),
        ("a sixth of life left", previous.clone(), day(75), false),
        ("a little more than a sixth left", previous.clone(), day(74), true),
        ("expired", previous.clone(), day(91), false),
        ("revoked", Issued { revoked: true, ..previous.clone() }, day(45), false),
        ("not valid yet", previous, day(-1), false),
    ] {
        assert_eq!(worth_returning_to(&issued, now), expected, "{row}");
    }
}

#[test]
fn f60_a_restored_state_does_not_reload_a_server_back_to_an_older_certificate() {
    let served = |bend: fn(&mut crate::core::leaf::Leaf)| {
        World::settled().with(|w| {
            // Notes of this host are lost; a look has shown what is served.
            w.installed.hooks.clear();
            let mut other = leaf(day(8), Span::days(90), 77);
            bend(&mut other);
            let mut note = note(Sight::OtherValid, 2, w.now, w.now + Span::MINUTE);
            note.leaf = Some(other);
            w.installed.endpoints.insert(endpoint(), note);
        })
    };
    upkeep_table(vec![
        ("a younger one of the same CA", served(|_| {}), "hold"),
        ("deploy --take-back", served(|_| {}).with(|w| w.request.take_back = true), "notify nginx 2"),
        ("nothing was looked at yet", served(|_| {}).with(|w| w.installed.endpoints.clear()), "observe 2 1"),
        (
            "a note without a success counts as none, days after the issuance",
            served(|_| {}).with(|w| drop(w.installed.hooks.insert(hook("nginx"), HookNote::never()))),
            "hold",
        ),
        (
            "just issued: the hook is told at once",
            served(|_| {}).with(|w| {
                w.installed.hooks.insert(hook("nginx"), HookNote::never());
                let now = w.now;
                w.current().at = now;
            }),
            "notify nginx 2",
        ),
        ("an older one of the same CA", served(|leaf| leaf.not_before = day(-5)), "notify nginx 2"),
        ("one of another CA", served(|leaf| leaf.issuer = "Another CA".into()), "notify nginx 2"),
        ("one that has expired", served(|leaf| leaf.not_after = day(9)), "notify nginx 2"),
        ("one for other names", served(|leaf| leaf.names = names(&["b.example"])), "notify nginx 2"),
    ]);
}
